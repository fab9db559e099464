"""fsck: a good store passes, and whatever row is damaged, the first bad block is named."""

import pytest

from ledger import rows
from ledger.fsck import DamagedAt, verify_all
from ledger.reader import checkpoint_rows
from ledger.store import MemoryStore
from primitives.errors import ChainError
from primitives.notes import Checkpoint, assemble_note, sign_note
from tests.ledger.chain_fixtures import KINDS, Ledger, key_of


@pytest.fixture(scope="module")
def good() -> tuple[Ledger, dict[bytes, bytes]]:
    """A ledger of four blocks with a checkpoint, and its rows."""
    ledger = Ledger(MemoryStore())
    a, b = ledger.banks["bank-a"], ledger.banks["bank-b"]
    for i in range(4):
        ledger.extend(a.notes(120), b.sets(**{f"k{i}": "v", f"k{i - 1}": ""}))
    text = Checkpoint(ledger.genesis.origin, ledger.chain.log_size, ledger.chain.log_root).text()
    note = assemble_note(text, [sign_note(text, ledger.genesis.origin, key_of("bank-a", "log"))])
    ledger.store.write(checkpoint_rows(ledger.store, note), sync=True)
    ledger.add(b.notes(1))
    assert isinstance(ledger.store, MemoryStore)
    return ledger, ledger.store.rows()


def test_good_store_passes_block_by_block(good: tuple[Ledger, dict[bytes, bytes]]) -> None:
    ledger, _ = good
    progress = list(verify_all(ledger.store, ledger.genesis, KINDS))
    assert [item.height for item in progress] == [0, 1, 2, 3, 4]
    assert sum(item.event_count for item in progress) == ledger.chain.log_size - 5


def _damaged(rows_: dict[bytes, bytes], key: bytes, value: bytes | None) -> MemoryStore:
    store = MemoryStore()
    store.write(rows_.items(), sync=True)
    store.write([(key, value)], sync=True)
    return store


def test_any_damaged_or_missing_row_is_found(good: tuple[Ledger, dict[bytes, bytes]]) -> None:
    ledger, all_rows = good
    kinds = set()
    for number, (key, value) in enumerate(sorted(all_rows.items())):
        # Positions, leaves and nodes are many and alike: a sample of them is enough.
        if key[:1] == b"W" or (key[:1] in b"pn" and number % 41):
            continue
        if key[:1] == b"B" and rows.waiting_key(key[1:]) in all_rows:
            continue
        kinds.add(key[:1])
        changed = value[:-1] + bytes([value[-1] ^ 1]) if value else b"x"
        for damage in (changed,) if key[:1] == b"c" else (changed, None):
            with pytest.raises(ChainError):
                list(verify_all(_damaged(all_rows, key, damage), ledger.genesis, KINDS))
    assert kinds >= {b"b", b"x", b"h", b"B", b"p", b"t", b"q", b"s", b"n", b"M", b"L", b"m"}


@pytest.mark.parametrize("height", [1, 3])
def test_first_bad_block_is_named(good: tuple[Ledger, dict[bytes, bytes]], height: int) -> None:
    ledger, all_rows = good
    key = rows.block_key(height)
    value = all_rows[key]
    damaged = _damaged(all_rows, key, value[:-1] + bytes([value[-1] ^ 1]))
    passed = []
    with pytest.raises(DamagedAt) as found:
        passed += [item.height for item in verify_all(damaged, ledger.genesis, KINDS)]
    assert found.value.height == height


def test_row_that_nothing_wrote_is_found(good: tuple[Ledger, dict[bytes, bytes]]) -> None:
    ledger, all_rows = good
    for key in (rows.state_row_key(b"value/forged"), rows.member_log_key("nobody"), b"q" + bytes(12)):
        with pytest.raises(DamagedAt, match="differs"):
            list(verify_all(_damaged(all_rows, key, b"x"), ledger.genesis, KINDS))
