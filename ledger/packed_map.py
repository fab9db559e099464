"""An append-only map from 16 bytes to places of the log, packed: one row of the store holds many entries.

What LevelDB charges for is rows: one of 24 bytes for every event costs more, in its memory table and in every merge of
its tables, than the event's own bytes do. So entries are kept in runs: sorted, cut into rows of ROW_ENTRIES, a level's
RUNS_MERGED runs merged into one of the next level, a few rows a step. Each entry is written once a level, and there are
log(n) of these. Looking a key up reads a row or two of each run.

An entry is a key and its place, 24 bytes. Several may have one key. Rows, for a map of a name of one byte:

    R  name                                    the manifest: which runs there are, and up to which height they reach
    r  name, number of the run, first entry    up to ROW_ENTRIES entries, ascending

The rows of a merge are written before the manifest names its run, those of the runs that it replaces are deleted
afterwards: after a crash at any point, what the manifest does not name is deleted and the merge begins again. Whoever
reads beside the writer reads the manifest again at the end. What lies above the manifest's height is not here; whoever
uses the map finds it otherwise.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Annotated, Final

from msgspec import Meta
from msgspec.structs import replace

from ledger.store import Put, Store
from primitives.encoding import Record, decode, encode
from primitives.errors import EncodingError, StorageError
from primitives.ids import Height

KEY_SIZE: Final = 16
PLACE_SIZE: Final = 8
ENTRY_SIZE: Final = KEY_SIZE + PLACE_SIZE
ROW_ENTRIES: Final = 170
"""About 4 KB, a block of LevelDB's tables."""

RUNS_MERGED: Final = 16
ROWS_A_STEP: Final = 32
READS_MAX: Final = 64
"""How often a reader begins again because merges went on beside it."""

MANIFEST_SIZE_MAX: Final = 1 << 16
LEVELS_MAX: Final = 16
PLACES_MAX: Final = 65_536
_PAST_PLACES: Final = b"\xff" * (PLACE_SIZE + 1)


class Run(Record):
    """A sorted run of so many entries; each level's runs are made of RUNS_MERGED runs of the level below."""

    number: Annotated[int, Meta(ge=0, lt=1 << 32)]
    level: Annotated[int, Meta(ge=0, le=LEVELS_MAX)]
    entries: Annotated[int, Meta(ge=1)]


class Manifest(Record):
    """The runs of a map, the oldest first. The entries of all blocks up to `height` are in them; 0 before the first."""

    height: Height
    next_number: Annotated[int, Meta(ge=0, lt=1 << 32)]
    runs: tuple[Run, ...]


EMPTY: Final = Manifest(Height(0), 0, ())


def manifest_key(name: bytes) -> bytes:
    """Return the key of a map's manifest."""
    return b"R" + name


def run_prefix(name: bytes, number: int) -> bytes:
    """Return the prefix of the rows of a run."""
    return b"r" + name + number.to_bytes(4, "big")


def manifest_of(store: Store, name: bytes) -> Manifest:
    """Return a map's manifest; an empty one before the first run. StorageError where it is damaged."""
    data = store.get(manifest_key(name))
    try:
        return EMPTY if data is None else decode(Manifest, data, size_max=MANIFEST_SIZE_MAX)
    except EncodingError as error:
        raise StorageError("the store is damaged, a map's manifest", where=name.decode(), got=error) from None


def places_of(store: Store, name: bytes, key: bytes, most: int = PLACES_MAX) -> tuple[Height, list[bytes]]:
    """Return up to which height the map reaches, and the places of a key in it, ascending; the first `most` of them.

    May run beside the writer. StorageError where the manifest is damaged, or changes without end.
    """
    for _ in range(READS_MAX):
        manifest = manifest_of(store, name)
        prefixes = (run_prefix(name, run.number) for run in manifest.runs)
        found = list(islice(chain.from_iterable(_places_in(store, prefix, key) for prefix in prefixes), most))
        if manifest_of(store, name) == manifest:
            return manifest.height, found
    raise StorageError("a map of the store changes without end", where=name.decode(), expected="one writer")


def _places_in(store: Store, prefix: bytes, key: bytes) -> Iterator[bytes]:
    """Yield the places of a key in a run: from the last row that begins below the key on."""
    below = next(store.iterate(prefix, prefix + key, reverse=True), None)
    for _, value in store.iterate(prefix + key if below is None else below[0], prefix + key + _PAST_PLACES):
        yield from places_in(value, key)


def places_in(value: bytes, key: bytes) -> Iterator[bytes]:
    """Yield the places of a key among the entries of a row, in order."""
    start = value.find(key)
    while start >= 0:
        if start % ENTRY_SIZE == 0:
            yield value[start + KEY_SIZE : start + ENTRY_SIZE]
        start = value.find(key, start + 1)


def entries_in(value: bytes) -> list[bytes]:
    """Return the entries of a row."""
    return [value[start : start + ENTRY_SIZE] for start in range(0, len(value), ENTRY_SIZE)]


def all_entries(store: Store, name: bytes) -> Iterator[bytes]:
    """Yield every entry of a map, run by run; not beside a writer. StorageError where a run is damaged."""
    for run in manifest_of(store, name).runs:
        count, last = 0, b""
        for _, value in _rows(store, name, run.number):
            entries = entries_in(value)
            if len(value) % ENTRY_SIZE or entries != sorted(entries) or not last < entries[0]:
                raise StorageError("the store is damaged, entries out of order", where=f"run {run.number} of {name!r}")
            count, last = count + len(entries), entries[-1]
            yield from entries
        if count != run.entries:
            where = f"run {run.number} of {name!r}"
            raise StorageError("the store is damaged, a run is cut", where=where, expected=run.entries, got=count)


class PackedMap:
    """The writer of a map: takes runs in and merges them. One writes a map, and nobody else its rows."""

    def __init__(self, store: Store, name: bytes) -> None:
        """Go on where the store stands. StorageError where the manifest is damaged."""
        self._store = store
        self._name = name
        self._manifest = manifest_of(store, name)
        self._merge: Iterator[None] | None = None
        self._clear_orphans()

    @property
    def height(self) -> Height:
        """The height up to which the entries of all blocks are here."""
        return self._manifest.height

    def add(self, entries: Sequence[bytes], height: Height) -> list[Put]:
        """Return the rows of a new run of sorted entries, those of all blocks up to `height` that were not here yet.

        They are to be written in one write; `add` and `step` may go on only after that.
        """
        manifest = replace(self._manifest, height=height)
        puts: list[Put] = []
        if entries:
            run = Run(manifest.next_number, 0, len(entries))
            puts += _run_rows(self._name, run.number, entries)
            manifest = replace(manifest, next_number=run.number + 1, runs=(*manifest.runs, run))
        return [*puts, self._put(manifest)]

    def step(self) -> bool:
        """Do a part of a merge that is due, at most ROWS_A_STEP rows or so; say whether there was anything to do."""
        if self._merge is None:
            due = self._due()
            if not due:
                return False
            self._merge = self._merging(due)
        if next(self._merge, self) is self:
            self._merge = None
        return True

    def _due(self) -> tuple[Run, ...]:
        for level in range(LEVELS_MAX):
            runs = tuple(run for run in self._manifest.runs if run.level == level)
            if len(runs) >= RUNS_MERGED:
                return runs[:RUNS_MERGED]
        return ()

    def _merging(self, merged: tuple[Run, ...]) -> Iterator[None]:
        """Merge runs into one of the next level, yielding now and then.

        Its number is taken from the manifest at once, since runs are added meanwhile; nobody reads it before the end.
        """
        number = self._manifest.next_number
        self._store.write([self._put(replace(self._manifest, next_number=number + 1))], sync=False)
        parts = _merged([_entries_of_rows(_rows(self._store, self._name, run.number)) for run in merged])
        entries = chain.from_iterable(parts)
        while part := list(islice(entries, ROWS_A_STEP * ROW_ENTRIES)):
            self._store.write(_run_rows(self._name, number, part), sync=False)
            yield
        run = Run(number, merged[0].level + 1, sum(each.entries for each in merged))
        # In place of those, so that runs stay in the order of the log: the oldest, of the highest level, first.
        place = self._manifest.runs.index(merged[0])
        runs = (*self._manifest.runs[:place], run, *self._manifest.runs[place + len(merged) :])
        self._store.write([self._put(replace(self._manifest, runs=runs))], sync=False)
        yield
        for old in merged:
            yield from self._delete(old.number)

    def _delete(self, number: int) -> Iterator[None]:
        """Delete the rows of a run, some a step."""
        while keys := [key for key, _ in islice(_rows(self._store, self._name, number), ROWS_A_STEP)]:
            self._store.write([(key, None) for key in keys], sync=False)
            yield

    def _clear_orphans(self) -> None:
        """Delete the rows of runs that the manifest does not name: a crash cut their merge short, or their deletion."""
        named = {run.number for run in self._manifest.runs}
        number = 0
        while (found := self._next_number(number)) is not None:
            if found not in named:
                for _ in self._delete(found):
                    pass
            number = found + 1

    def _next_number(self, number: int) -> int | None:
        """Return the least number, from this one on, of which there is a row."""
        rows = self._store.iterate(run_prefix(self._name, number), b"r" + self._name + b"\xff" * 5)
        key = next((key for key, _ in rows), None)
        return None if key is None else int.from_bytes(key[2:6], "big")

    def _put(self, manifest: Manifest) -> Put:
        self._manifest = manifest
        return manifest_key(self._name), encode(manifest)


def _rows(store: Store, name: bytes, number: int) -> Iterator[tuple[bytes, bytes]]:
    prefix = run_prefix(name, number)
    return store.iterate(prefix, prefix + b"\xff" * (ENTRY_SIZE + 1))


def _run_rows(name: bytes, number: int, entries: Sequence[bytes]) -> list[Put]:
    prefix = run_prefix(name, number)
    cut = [entries[start : start + ROW_ENTRIES] for start in range(0, len(entries), ROW_ENTRIES)]
    return [(prefix + part[0], b"".join(part)) for part in cut]


def _entries_of_rows(rows: Iterator[tuple[bytes, bytes]]) -> Iterator[list[bytes]]:
    return (entries_in(value) for _, value in rows)


def _merged(runs: Sequence[Iterator[list[bytes]]]) -> Iterator[list[bytes]]:
    """Yield the entries of sorted runs in order, in parts: all that is surely below what has not been read yet."""
    held = [next(run, []) for run in runs]
    while any(held):
        bound = min(entries[-1] for entries in held if entries)
        part: list[bytes] = []
        for place, entries in enumerate(held):
            if entries:
                split = bisect_right(entries, bound)
                part += entries[:split]
                held[place] = entries[split:] or next(runs[place], [])
        part.sort()
        yield part
