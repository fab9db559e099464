"""Packed maps: what is found, what a crash leaves, what merging costs, and what a reader beside the writer sees."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import packed_map
from ledger.packed_map import (
    ENTRY_SIZE,
    FENCES,
    KEY_SIZE,
    READS_MAX,
    ROW_ENTRIES,
    PackedReader,
    all_entries,
    entries_in,
    fences_of,
    manifest_key,
    manifest_of,
    row_key,
    rows_with,
    run_prefix,
)
from ledger.packed_merging import PACE, ROWS_HELD, RUNS_MERGED, PackedMap
from ledger.store import MemoryStore, Put
from primitives.errors import StorageError

NAME = b"e"


def entry(key: bytes, place: int) -> bytes:
    """Return an entry of a short key."""
    return key.ljust(KEY_SIZE, b"\0") + place.to_bytes(8, "big")


def add(store: MemoryStore, packed: PackedMap, entries: list[bytes]) -> None:
    store.write(packed.add(iter([sorted(entries)])), sync=False)


def finish(packed: PackedMap) -> None:
    while packed.step(1 << 20):
        pass


def filled(store: MemoryStore, runs: int, each: int, *, keys: int = 1 << 30, merge: bool = True) -> list[bytes]:
    """Add runs of random entries, their keys out of so many, merging as is due; return all entries."""
    chance = random.Random(5)
    packed, entries = PackedMap(store, NAME), []
    for number in range(runs):
        run = [entry(chance.randrange(keys).to_bytes(8, "big"), number * each + index) for index in range(each)]
        add(store, packed, run)
        entries += run
        if merge:
            finish(packed)
    return entries


def found(store: MemoryStore, key: bytes) -> list[int]:
    return [int.from_bytes(place, "big") for place in PackedReader(store, NAME).places(key)]


@pytest.mark.parametrize("keys", [3, 500, 1 << 30])
def test_every_place_of_every_key_is_found_in_order_and_no_other(keys: int) -> None:
    store = MemoryStore()
    entries = filled(store, 40, 300, keys=keys)
    by_key: dict[bytes, list[int]] = {}
    for item in entries:
        by_key.setdefault(item[:16], []).append(int.from_bytes(item[16:], "big"))
    reader = PackedReader(store, NAME)
    for key, places in by_key.items():
        assert [int.from_bytes(place, "big") for place in reader.places(key)] == places
        assert reader.places(key, 1) == reader.places(key)[:1]
    assert found(store, b"\xff" * 16) == []
    assert found(store, bytes(16)) == by_key.get(bytes(16), [])
    assert sorted(all_entries(store, NAME)) == sorted(entries)


def test_rows_with_a_key_are_the_one_that_begins_below_it_and_those_that_begin_with_it() -> None:
    fences = b"".join(entry(key, 0)[:KEY_SIZE] for key in (b"b", b"d", b"d", b"f"))
    rows = {
        key: list(rows_with(fences, entry(key, 0)[:KEY_SIZE], entry(key, 0)[:KEY_SIZE]))
        for key in (b"a", b"b", b"c", b"d", b"e", b"g")
    }
    assert rows == {b"a": [], b"b": [0], b"c": [0], b"d": [0, 1, 2], b"e": [2], b"g": [3]}
    assert list(rows_with(b"", bytes(16), bytes(16))) == []


def test_places_of_a_range_of_keys_are_those_of_the_keys_in_it() -> None:
    store = MemoryStore()
    entries = filled(store, 20, 400, keys=1 << 12)
    for low, high in ((0, 1 << 12), (100, 2_000), (7, 7), (5_000, 6_000)):
        first, last = (entry(key.to_bytes(8, "big"), 0)[:KEY_SIZE] for key in (low, high))
        expected = sorted(item[KEY_SIZE:] for item in entries if first <= item[:KEY_SIZE] <= last)
        assert sorted(PackedReader(store, NAME).places_between(first, last)) == expected
        assert bool(expected) == (low < 5_000)


def test_runs_are_merged_so_that_few_are_read() -> None:
    store = MemoryStore()
    filled(store, RUNS_MERGED**2 + 5, 20)
    manifest = manifest_of(store, NAME)
    assert [run.level for run in manifest.runs] == [2, 0, 0, 0, 0, 0]
    assert manifest.merges == ()
    assert numbers(store) == {run.number for run in manifest.runs}, "rows of merged runs are gone"
    prefix = run_prefix(NAME, manifest.runs[0].number)
    assert sum(row_key(prefix, 0) <= key < row_key(prefix, FENCES) for key in store.rows()) == -(
        -(RUNS_MERGED**2) * 20 // ROW_ENTRIES
    ), "rows are full"


def numbers(store: MemoryStore) -> set[int]:
    """Return the numbers of the runs of which there are rows."""
    return {int.from_bytes(key[1:5], "big") for key in store.rows() if key[:1] == b"P"}


def test_a_merge_goes_on_as_evenly_as_entries_come_and_ends_before_the_next_is_due() -> None:
    store = CountingStore()
    packed = PackedMap(store, NAME)
    chance, each, part = random.Random(7), 20 * ROW_ENTRIES, 1_000
    written, runs = [], []
    for _ in range(RUNS_MERGED * 10):
        add(store, packed, [entry(chance.randbytes(16), index) for index in range(each)])
        for came in range(0, each, part):
            before = store.entries
            packed.step(min(part, each - came))
            written.append(store.entries - before)
        levels = [run.level for run in manifest_of(store, NAME).runs]
        runs.append(levels.count(0))
        assert levels == sorted(levels, reverse=True)
    assert max(runs) <= RUNS_MERGED + RUNS_MERGED // PACE + 1
    assert max(written) <= PACE * part + RUNS_MERGED * 2 * ROWS_HELD * ROW_ENTRIES, "a step is bounded"
    while_merging = written[len(written) // 2 : -(-len(written) * 3 // 4)]
    assert sum(while_merging) <= PACE * part * len(while_merging)


def test_levels_are_merged_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.packed_merging.RUNS_MERGED", 2)
    store = MemoryStore()
    packed = PackedMap(store, NAME)
    chance, under_way = random.Random(9), 0
    for _ in range(64):
        add(store, packed, [entry(chance.randbytes(16), index) for index in range(6_000)])
        packed.step(6_000)
        under_way = max(under_way, len(manifest_of(store, NAME).merges))
    assert under_way > 1
    assert len(manifest_of(store, NAME).runs) < 16
    assert sum(1 for _ in all_entries(store, NAME)) == 64 * 6_000


@given(st.integers(0, 120), st.integers(1, 40), st.integers(0, 2**32))
def test_a_crash_at_any_write_loses_and_doubles_nothing(cut: int, scale: int, seed: int) -> None:
    store = CutStore(cut)
    entries: list[bytes] = []
    chance, packed = random.Random(seed), PackedMap(store, NAME)
    try:
        for number in range(2 * RUNS_MERGED + 3):
            run = [entry(chance.randbytes(3), number * 1_000 + index) for index in range(scale * 25)]
            add(store, packed, run)
            entries += run
            packed.step(len(run))
    except PowerCut:
        pass
    store.left = 1 << 30
    again = PackedMap(store, NAME)
    assert sorted(all_entries(store, NAME)) == sorted(entries)
    finish(again)
    assert sorted(all_entries(store, NAME)) == sorted(entries)
    assert numbers(store) == {run.number for run in manifest_of(store, NAME).runs}, "no rows of others stay"


def test_a_merge_goes_on_after_a_restart_behind_what_it_wrote() -> None:
    store = CountingStore()
    entries = filled(store, RUNS_MERGED, 4_000, merge=False)
    packed = PackedMap(store, NAME)
    begun = [0]
    while not manifest_of(store, NAME).runs[0].level:
        assert len(begun) < 100, "it ends"
        before = store.entries
        packed = PackedMap(store, NAME)  # as after a crash
        packed.step(1)
        begun.append(begun[-1] + store.entries - before)
    assert len(begun) > 5
    assert all(less < more for less, more in pairwise(begun))
    assert begun[-1] == len(entries), "each entry was written once"
    finish(PackedMap(store, NAME))
    assert list(all_entries(store, NAME)) == sorted(entries)
    assert numbers(store) == {manifest_of(store, NAME).runs[0].number}


def test_maps_of_a_store_leave_each_others_rows_alone() -> None:
    store = MemoryStore()
    for name in (b"e", b"u"):
        packed = PackedMap(store, name)
        store.write(packed.add(iter([[entry(name, 1)]])), sync=False)
    for name in (b"e", b"k", b"u"):
        PackedMap(store, name)
    for name in (b"e", b"u"):
        assert list(all_entries(store, name)) == [entry(name, 1)]


def test_new_rows_come_behind_all_that_are_there() -> None:
    store = MemoryStore()
    for _ in range(3):
        for name in (b"u", b"e"):
            before = max((key for key in store.rows() if key[:1] == b"P"), default=b"")
            packed = PackedMap(store, name)
            rows = packed.add(iter([[entry(name, index) for index in range(200)]]))
            assert all(key[:5] >= before[:5] for key, _ in rows if key[:1] == b"P")
            store.write(rows, sync=False)
    assert min(store.rows())[:1] == b"P"


def test_a_reader_beside_a_merge_misses_nothing() -> None:
    store = BesideStore()
    entries = filled(store, RUNS_MERGED, 50, merge=False)
    store.packed = PackedMap(store, NAME)
    reader = PackedReader(store, NAME)
    for item in entries[::7]:
        assert item[16:] in reader.places(item[:16])
    assert store.packed is not None
    finish(store.packed)
    assert [run.level for run in manifest_of(store, NAME).runs] == [1]
    for item in entries[::7]:
        assert item[16:] in reader.places(item[:16])


def test_a_map_that_changes_without_end_is_told() -> None:
    store = MemoryStore()
    packed = PackedMap(store, NAME)
    reads = []

    class Restless(MemoryStore):
        def get(self, key: bytes) -> bytes | None:
            reads.append(key)
            add(store, packed, [entry(b"a", len(reads))])
            return store.get(key)

    with pytest.raises(StorageError, match="without end"):
        PackedReader(Restless(), NAME).places(bytes(16))
    assert len(reads) >= 2 * READS_MAX


def test_what_a_reader_remembers_of_fences_is_bounded_and_no_run_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    entries = filled(store, 3, 400, merge=False)
    size = len(fences_of(store, NAME, 0))
    monkeypatch.setattr(packed_map, "FENCES_BYTES_MAX", 2 * size)
    reader = PackedReader(store, NAME)
    for item in entries[::50]:
        assert item[16:] in reader.places(item[:16])
    assert set(reader._seen[2]) == {0, 1}
    filled(store, RUNS_MERGED, 10)
    for item in entries[::50]:
        assert item[16:] in reader.places(item[:16])
    assert {run.number for run in manifest_of(store, NAME).runs} >= set(reader._seen[2])


@pytest.mark.parametrize("change", ["cut", "swapped", "gone", "fences gone", "fences"])
def test_damage_of_a_run_is_found(change: str) -> None:
    store = MemoryStore()
    entries = filled(store, 1, 400)
    prefix = run_prefix(NAME, 0)
    row, fences = row_key(prefix, 0), row_key(prefix, FENCES)
    value = store.rows()[row]
    swapped = value[ENTRY_SIZE : 2 * ENTRY_SIZE] + value[:ENTRY_SIZE] + value[2 * ENTRY_SIZE :]
    key, changed = {
        "cut": (row, value[:-ENTRY_SIZE]),
        "swapped": (row, swapped),
        "gone": (row, None),
        "fences gone": (fences, None),
        "fences": (fences, store.rows()[fences][KEY_SIZE:]),
    }[change]
    store.write([(key, changed)], sync=False)
    with pytest.raises(StorageError, match="the index is damaged"):
        list(all_entries(store, NAME))
    if change in ("gone", "fences gone", "fences"):
        with pytest.raises(StorageError, match="rows of a run are missing"):
            PackedReader(store, NAME).places(min(entries)[:KEY_SIZE])


def test_entries_of_full_rows_are_those_of_others() -> None:
    entries = [entry(b"%d" % index, index) for index in range(ROW_ENTRIES)]
    assert entries_in(b"".join(entries)) == entries
    assert entries_in(b"".join(entries[:-1])) == entries[:-1]


def test_a_damaged_manifest_is_told() -> None:
    store = MemoryStore()
    store.write([(manifest_key(NAME), b"\xc1")], sync=False)
    for use in (PackedMap, lambda store, name: PackedReader(store, name).places(bytes(16))):
        with pytest.raises(StorageError, match="manifest"):
            use(store, NAME)


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


class CountingStore(MemoryStore):
    """Counts the entries that merges write: all but those of runs of level 0, which `add` writes."""

    entries = 0

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        rows = list(puts)
        merged = {merge.number for merge in manifest_of(self, NAME).merges}
        for key, value in rows:
            is_merged = int.from_bytes(key[1:5], "big") in merged and int.from_bytes(key[6:], "big") < FENCES
            if key[:1] == b"P" and is_merged and value is not None:
                self.entries += len(value) // ENTRY_SIZE
        super().write(rows, sync=sync)


class BesideStore(MemoryStore):
    """Lets a merge go on at every reading of a row."""

    packed: PackedMap | None = None
    inside = False

    def get(self, key: bytes) -> bytes | None:
        if self.packed is not None and not self.inside and key[:1] == b"P":
            self.inside = True
            self.packed.step(1)
            self.inside = False
        return super().get(key)


def test_no_more_rows_are_read_of_a_key_that_is_everywhere_than_are_asked_for() -> None:
    class Counting(MemoryStore):
        rows_read = 0

        def get(self, key: bytes) -> bytes | None:
            self.rows_read += key[:1] == b"P"
            return super().get(key)

    store = Counting()
    add(store, PackedMap(store, NAME), [entry(b"k", place) for place in range(50 * ROW_ENTRIES)])
    places = PackedReader(store, NAME).places(b"k".ljust(KEY_SIZE, b"\0"), ROW_ENTRIES + 1)
    assert [int.from_bytes(place, "big") for place in places] == list(range(ROW_ENTRIES + 1))
    assert store.rows_read <= 3
