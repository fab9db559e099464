"""The log in tiles against the tree of RFC 6962 in memory."""

from collections.abc import Iterator
from hashlib import sha256
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.log_tiles import EMPTY_TIP, LogTip, TileReader, check_size, merge_added, tile_rows
from ledger.rows import piece_prefix
from ledger.store import MemoryStore, Put, prefix_stop
from primitives import merkle
from primitives.errors import ProofError, StorageError

LEAVES = [sha256(i.to_bytes(4, "big")).digest() for i in range(70_000)]


def grow(store: MemoryStore, tip: LogTip, sizes: list[int], log: bytes = b"") -> LogTip:
    """Append blocks of these sizes, each in two growths, and write their rows."""
    for size in sizes:
        leaves = LEAVES[tip.size : tip.size + size]
        middle, first = tip.extend(leaves[:-1])
        after, second = middle.extend(leaves[-1:])
        store.write(tile_rows(store, log, tip, merge_added(first, second)), sync=True)
        tip = after
    return tip


@settings(max_examples=40)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=6), st.data())
def test_roots_and_proofs_at_any_size_are_those_of_the_plain_tree(sizes: list[int], data: st.DataObject) -> None:
    store = MemoryStore()
    tip = grow(store, EMPTY_TIP, sizes)
    reader = TileReader(store)
    assert tip.root() == merkle.root_of(LEAVES[: tip.size])
    assert reader.tip(tip.size) == tip
    size = data.draw(st.integers(1, tip.size))
    index = data.draw(st.integers(0, size - 1))
    assert reader.root(size) == merkle.root_of(LEAVES[:size])
    assert reader.inclusion(index, size) == merkle.inclusion_path(LEAVES[:size], index)
    old = data.draw(st.integers(0, size))
    path = reader.consistency(old, size)
    merkle.verify_consistency(old, merkle.root_of(LEAVES[:old]), size, merkle.root_of(LEAVES[:size]), path)


def test_log_grown_leaf_by_leaf_equals_one_grown_at_once() -> None:
    slow, fast = MemoryStore(), MemoryStore()
    tip = grow(slow, EMPTY_TIP, [1] * 1_100)
    assert tip == grow(fast, EMPTY_TIP, [1_100])
    tiles = {key: value for key, value in slow.rows().items() if key[:1] == b"t"}
    assert tiles == {key: value for key, value in fast.rows().items() if key[:1] == b"t"}


def test_pieces_of_a_completed_tile_are_deleted_and_small_blocks_write_little() -> None:
    store = MemoryStore()
    tip = grow(store, EMPTY_TIP, [2] * 127)
    prefix = piece_prefix(b"", 0, 0)
    assert len(list(store.iterate(prefix, prefix_stop(prefix)))) == 127
    _, added = tip.extend(LEAVES[254:255])
    assert sum(len(value or b"") for _, value in tile_rows(store, b"", tip, added)) == 32
    grow(store, tip, [3])
    assert list(store.iterate(prefix, prefix_stop(prefix))) == []
    assert len(TileReader(store).tile(0, 0)) == 8_192
    assert len(TileReader(store).tile(0, 1)) == 32
    assert len(TileReader(store).tile(1, 0)) == 32


def test_tiles_of_a_tree_of_70000_are_as_c2sp_describes_them() -> None:
    store = MemoryStore()
    grow(store, EMPTY_TIP, [65_000, 5_000])
    reader = TileReader(store)
    widths = {
        (level, index): len(reader.tile(level, index)) // 32 for level, index in [(0, 272), (0, 273), (1, 0), (1, 1)]
    }
    assert widths == {(0, 272): 256, (0, 273): 112, (1, 0): 256, (1, 1): 17}
    assert len(reader.tile(2, 0)) == 32
    assert reader.tile(1, 1)[:32] == merkle.root_of(LEAVES[65_536 : 65_536 + 256])
    assert reader.tip(70_000).root() == merkle.root_of(LEAVES)


def test_logs_of_two_names_do_not_meet() -> None:
    store = MemoryStore()
    one = grow(store, EMPTY_TIP, [300], b"a")
    two = grow(store, EMPTY_TIP, [5], b"ab")
    assert TileReader(store, b"a").tip(300) == one
    assert TileReader(store, b"ab").tip(5) == two


def test_log_without_its_rows_is_damaged_and_sizes_are_checked() -> None:
    store = MemoryStore()
    grow(store, EMPTY_TIP, [10])
    with pytest.raises(StorageError, match="hashes missing"):
        TileReader(store).tip(11)
    with pytest.raises(StorageError, match="hashes missing"):
        TileReader(store).root(300)
    with pytest.raises(ProofError, match="no such log size"):
        check_size(11, 10)


def test_a_tile_completed_between_two_readings_is_still_read_whole() -> None:
    class CompletedMeanwhile(MemoryStore):
        """A store whose writer completes the tile just before the pieces are read."""

        completing: ClassVar[list[list[Put]]] = []

        def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
            if self.completing:
                self.write(self.completing.pop(), sync=True)
            return super().iterate(start, stop, reverse)

    store = CompletedMeanwhile()
    tip = grow(store, EMPTY_TIP, [200])
    _, added = tip.extend(LEAVES[200:300])
    store.completing.append(tile_rows(store, b"", tip, added))
    assert TileReader(store).leaf_hash(199) == LEAVES[199]
    assert not store.completing
