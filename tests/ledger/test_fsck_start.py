"""fsck from a later block on: what that block leaves is proved, what stands above is executed, and damage is found."""

from __future__ import annotations

import pytest

from ledger import rows
from ledger.checkpoint_rows import checkpoint_rows
from ledger.fsck import Damaged, NoSuchStart, verify_all
from ledger.reader import LedgerReader
from ledger.store import MemoryStore
from primitives.notes import Checkpoint, assemble_note, sign_note
from tests.ledger.chain_fixtures import KINDS, Ledger, key_of
from tests.ledger.governance_fixtures import Council

SECRET = bytes(range(32))
BLOCKS = 9
Rows = dict[bytes, bytes]


@pytest.fixture(scope="module")
def good() -> tuple[Ledger, Rows]:
    """A ledger whose tiles fill in the middle of a block, and stay partial over several."""
    ledger = Ledger(MemoryStore())
    a, b = ledger.banks["bank-a"], ledger.banks["bank-b"]
    for number in range(BLOCKS):
        ledger.extend(a.notes(61), b.sets(**{f"k{number}": "v", f"k{number - 1}": ""}))
    text = Checkpoint(ledger.genesis.origin, ledger.chain.log_size, ledger.chain.log_root).text()
    note = assemble_note(text, [sign_note(text, ledger.genesis.origin, key_of("bank-a", "log"))])
    ledger.store.write(checkpoint_rows(ledger.store, note), sync=True)
    assert isinstance(ledger.store, MemoryStore)
    return ledger, ledger.store.rows()


def checked(ledger: Ledger, all_rows: Rows, start: int, *changes: tuple[bytes, bytes | None]) -> list[int]:
    """Return the heights that were found good from `start` on."""
    store = MemoryStore()
    store.write([*all_rows.items(), *changes], sync=True)
    return [item.height for item in verify_all(store, ledger.genesis, KINDS, start=start)]


@pytest.mark.parametrize("start", range(BLOCKS + 1))
def test_a_good_store_passes_from_every_block_on(start: int, good: tuple[Ledger, Rows]) -> None:
    assert checked(*good, start) == list(range(start, BLOCKS + 1))


@pytest.mark.parametrize("start", [-1, BLOCKS + 1])
def test_a_block_that_is_not_there_is_no_start(start: int, good: tuple[Ledger, Rows]) -> None:
    with pytest.raises(NoSuchStart, match=f"from 0 to {BLOCKS}"):
        checked(*good, start)


def test_what_changes_and_what_lies_above_the_start_is_judged(good: tuple[Ledger, Rows]) -> None:
    ledger, all_rows = good
    start = 5
    first_index = LedgerReader(ledger.store, ledger.genesis).block(start)
    assert first_index is not None
    judged = [key for key in all_rows if key[:1] in b"sMq" or key in (rows.block_key(7), rows.execution_key(6))]
    judged += [key for key in all_rows if key[:1] == b"t" and int.from_bytes(key[-8:], "big")]
    assert {key[:1] for key in judged} == {b"s", b"M", b"q", b"b", b"x", b"t"}
    missed = []
    for key in judged:
        for value in (None, all_rows[key] + b"\0"):
            try:
                checked(ledger, all_rows, start, (key, value))
            except Damaged:
                continue
            missed.append((key, value))
    assert missed == []


def test_blocks_below_the_start_are_believed(good: tuple[Ledger, Rows]) -> None:
    ledger, all_rows = good
    key = rows.execution_key(2)
    assert checked(ledger, all_rows, 5, (key, None)) == list(range(5, BLOCKS + 1))
    with pytest.raises(Damaged):
        checked(ledger, all_rows, 0, (key, None))


def test_the_block_to_begin_at_is_proved_by_its_certificate(good: tuple[Ledger, Rows]) -> None:
    ledger, all_rows = good
    other = all_rows[rows.block_key(4)]
    with pytest.raises(Damaged) as found:
        checked(ledger, all_rows, 5, (rows.block_key(5), other))
    assert found.value.height == 5


def test_a_later_epoch_is_reached_by_handovers_from_the_genesis() -> None:
    council = Council()
    for number in (1, 2):
        council.rekey(number, 1)
        council.block()
    assert isinstance(council.store, MemoryStore)
    reader = LedgerReader(council.store, council.genesis)
    tip = reader.tip()
    assert tip is not None
    last = reader.header(tip.height)
    assert last is not None
    assert last.epoch == 2
    for start in range(tip.height + 1):
        found = [item.height for item in verify_all(council.store, council.genesis, start=start)]
        assert found == list(range(start, tip.height + 1))
