"""Packed maps: what is found, what a crash leaves, and what a reader beside the writer sees."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.packed_map import (
    ENTRY_SIZE,
    RUNS_MERGED,
    PackedMap,
    all_entries,
    manifest_key,
    manifest_of,
    places_of,
    run_prefix,
)
from ledger.store import MemoryStore, Put
from primitives.errors import StorageError
from primitives.ids import Height

NAME = b"e"


def entry(key: bytes, place: int) -> bytes:
    """Return an entry of a short key."""
    return key.ljust(16, b"\0") + place.to_bytes(8, "big")


def filled(store: MemoryStore, runs: int, each: int, *, keys: int = 1 << 30, merge: bool = True) -> list[bytes]:
    """Add runs of random entries, their keys out of so many, merging as is due; return all entries."""
    chance = random.Random(5)
    packed, entries = PackedMap(store, NAME), []
    for number in range(runs):
        run = [entry(chance.randrange(keys).to_bytes(8, "big"), number * each + index) for index in range(each)]
        store.write(packed.add(sorted(run), Height(number + 1)), sync=False)
        entries += run
        while merge and packed.step():
            pass
    return entries


def found(store: MemoryStore, key: bytes) -> list[int]:
    return [int.from_bytes(place, "big") for place in places_of(store, NAME, key)[1]]


@pytest.mark.parametrize("keys", [3, 500, 1 << 30])
def test_every_place_of_every_key_is_found_in_order_and_no_other(keys: int) -> None:
    store = MemoryStore()
    entries = filled(store, 40, 300, keys=keys)
    by_key: dict[bytes, list[int]] = {}
    for item in entries:
        by_key.setdefault(item[:16], []).append(int.from_bytes(item[16:], "big"))
    for key, places in by_key.items():
        assert found(store, key) == places
    assert found(store, b"\xff" * 16) == []
    assert found(store, bytes(16)) == by_key.get(bytes(16), [])
    assert sorted(all_entries(store, NAME)) == sorted(entries)


def test_runs_are_merged_so_that_few_are_read() -> None:
    store = MemoryStore()
    filled(store, RUNS_MERGED**2 + 5, 20)
    manifest = manifest_of(store, NAME)
    assert [run.level for run in manifest.runs] == [2, 0, 0, 0, 0, 0]
    assert manifest.height == RUNS_MERGED**2 + 5
    numbers = {key[2:6] for key in store.rows() if key[:1] == b"r"}
    assert len(numbers) == len(manifest.runs), "rows of merged runs are gone"
    prefix = run_prefix(NAME, manifest.runs[0].number)
    assert sum(key.startswith(prefix) for key in store.rows()) == -(-(RUNS_MERGED**2) * 20 // 170), "rows are full"


@given(st.integers(0, 400), st.integers(1, 40))
def test_a_crash_at_any_write_loses_and_doubles_nothing(cut: int, each: int) -> None:
    store = CutStore(cut)
    entries: list[bytes] = []
    try:
        packed = PackedMap(store, NAME)
        for number in range(2 * RUNS_MERGED + 3):
            run = [entry(bytes([index, number]), number * each + index) for index in range(each)]
            store.write(packed.add(run, Height(number + 1)), sync=False)
            entries += run
            packed.step()
    except PowerCut:
        pass
    store.left = 1 << 30
    again = PackedMap(store, NAME)
    assert again.height * each == len(entries), "the run and its height go in one write"
    while again.step():
        pass
    assert sorted(all_entries(store, NAME)) == sorted(entries)
    numbers = {key[2:6] for key in store.rows() if key[:1] == b"r"}
    assert len(numbers) == len(manifest_of(store, NAME).runs), "no rows of an unfinished merge stay"


def test_a_reader_beside_a_merge_misses_nothing() -> None:
    store = BesideStore()
    entries = filled(store, RUNS_MERGED, 50, merge=False)
    store.packed = PackedMap(store, NAME)
    for item in entries[::7]:
        assert int.from_bytes(item[16:], "big") in found(store, item[:16])
    while store.packed.step():
        pass
    assert [run.level for run in manifest_of(store, NAME).runs] == [1]


def test_a_map_that_changes_without_end_is_told() -> None:
    store = MemoryStore()
    packed = PackedMap(store, NAME)

    class Restless(MemoryStore):
        def get(self, key: bytes) -> bytes | None:
            store.write(packed.add([], Height(packed.height + 1)), sync=False)
            return store.get(key)

    with pytest.raises(StorageError, match="without end"):
        places_of(Restless(), NAME, bytes(16))


@pytest.mark.parametrize("change", ["cut", "swapped", "gone"])
def test_damage_of_a_run_is_found(change: str) -> None:
    store = MemoryStore()
    filled(store, 1, 400)
    key, value = next((key, value) for key, value in store.rows().items() if key[:1] == b"r")
    swapped = value[ENTRY_SIZE : 2 * ENTRY_SIZE] + value[:ENTRY_SIZE] + value[2 * ENTRY_SIZE :]
    changed = {"cut": value[:-ENTRY_SIZE], "swapped": swapped, "gone": None}[change]
    store.write([(key, changed)], sync=False)
    with pytest.raises(StorageError):
        list(all_entries(store, NAME))


def test_a_damaged_manifest_is_told() -> None:
    store = MemoryStore()
    store.write([(manifest_key(NAME), b"\xc1")], sync=False)
    with pytest.raises(StorageError, match="manifest"):
        PackedMap(store, NAME)


class PowerCut(Exception):
    """The disk took its last write."""


class CutStore(MemoryStore):
    """Takes so many writes and no more."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        if self.left == 0:
            raise PowerCut
        self.left -= 1
        super().write(puts, sync=sync)


class BesideStore(MemoryStore):
    """Lets a merge go on at every iteration of a reader."""

    packed: PackedMap | None = None
    inside = False

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        if self.packed is not None and not self.inside:
            self.inside = True
            self.packed.step()
            self.inside = False
        return super().iterate(start, stop, reverse)
