"""fsck of a store that was made from a snapshot: it begins there, and finds whatever row is not the chain's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ledger import rows
from ledger.chain import Chain
from ledger.fsck import Damaged, verify_all
from ledger.genesis import Genesis
from ledger.reader import LedgerReader
from ledger.store import MemoryStore
from primitives.encoding import encode
from primitives.ids import Height
from tests.ledger.governance_fixtures import Council
from tests.ledger.snapshot_fixtures import made, make_stable, restored
from tests.ledger.test_snapshots import follow

Rows = dict[bytes, bytes]


@pytest.fixture(scope="module")
def joined() -> tuple[Genesis, Rows, int]:
    """The rows of a store that began in the second epoch and went on for some blocks, and its base."""
    council = Council()
    council.rekey(1, 1)
    council.block()
    make_stable(council.store, council.genesis, council.set)
    snapshot = made(council.store, council.genesis)
    store = restored(snapshot, council.genesis)
    council.vote(council.propose(council.rekeying(2, 1)), 0, 1)
    follow(Chain(store, council.genesis), store, LedgerReader(council.store, council.genesis))
    make_stable(store, council.genesis, council.set)
    return council.genesis, store.rows(), int(snapshot.manifest.height)


def damage_of(genesis: Genesis, all_rows: Rows, *changes: tuple[bytes, bytes | None]) -> Damaged | None:
    store = MemoryStore()
    store.write([*all_rows.items(), *changes], sync=True)
    try:
        for _ in verify_all(store, genesis):
            pass
    except Damaged as found:
        return found
    return None


def test_a_store_from_a_snapshot_passes_from_its_base_on(joined: tuple[Genesis, Rows, int]) -> None:
    genesis, all_rows, base = joined
    store = MemoryStore()
    store.write(all_rows.items(), sync=True)
    progress = list(verify_all(store, genesis))
    assert [item.height for item in progress] == list(range(base, base + 4))
    assert sum(item.event_count for item in progress) == 3


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "last byte flipped": lambda value: value[:-1] + bytes([value[-1] ^ 1]) if value else b"\x01",
    "row gone": lambda _: None,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_of_any_row_of_such_a_store_is_found(damage: str, joined: tuple[Genesis, Rows, int]) -> None:
    genesis, all_rows, _ = joined
    kinds, missed = set(), []
    for number, (key, value) in enumerate(sorted(all_rows.items())):
        if key[:1] == b"n" and number % 7:
            continue  # many and alike: a sample of them is enough
        if key[:1] == b"c":
            continue  # what a checkpoint's signatures must be is the policy's affair, and one that is gone is no damage
        kinds.add(key[:1])
        if damage_of(genesis, all_rows, (key, DAMAGES[damage](value))) is None:
            missed.append(key)
    assert missed == []
    assert kinds >= {b"b", b"x", b"h", b"B", b"q", b"s", b"n", b"M", b"L", b"m", b"E"}


def test_a_base_that_no_snapshot_left_is_found(joined: tuple[Genesis, Rows, int]) -> None:
    """A forged base would hide what lies below it."""
    genesis, all_rows, base = joined
    for height, first in ((base + 1, 1), (base - 1, 1), (base, 2), (base + 99, 1), (0, 0)):
        forged = encode(rows.BaseRow(Height(height), Height(first)))
        assert damage_of(genesis, all_rows, (rows.BASE_KEY, forged)) is not None, (height, first)


def test_a_row_below_the_base_that_nothing_wrote_is_found(joined: tuple[Genesis, Rows, int]) -> None:
    genesis, all_rows, base = joined
    for key in (
        rows.execution_key(base),
        b"p" + bytes(16) + rows.position_bytes(1, 0),
        rows.batch_leaf_key("bank-0", 0),
        rows.handover_key(1),
        rows.tile_key(b"", 0, 0),
        rows.batch_key(bytes(32)),
    ):
        assert damage_of(genesis, all_rows, (key, b"x")) is not None, key
