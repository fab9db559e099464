"""An append-only map from 16 bytes to places of the log, packed: one row of the store holds many entries.

What LevelDB charges for is rows: one of 24 bytes for every event costs more, in its memory table and in every merge of
its tables, than the event's own bytes do. So entries are kept in runs: sorted, cut into rows of ROW_ENTRIES, a level's
oldest runs merged into one of the next level. Each entry is written once a level, and there are log(n) of these. Here:
the rows, and reading them. Not here: who writes and merges runs (`ledger.packed_merging`).

An entry is a key and its place, 24 bytes. Several may have one key. Rows, for a map of a name of one byte:

    R  name                                    the manifest: which runs there are, and which merges are under way
    P  number of the run, name, row            ROW_ENTRIES entries, ascending; the last row of a run has the rest
    P  number of the run, name, FENCES + row   fences: the keys of the first entries of the rows from that one on

Numbers rise and stand before the name, and no other row of the index lies below `P`: so new rows come behind all old
ones, and LevelDB moves the tables of those from level to level as they are instead of merging them with every new one.

Looking a key up takes a search in the fences of each run, which a reader remembers, and a row. Whoever reads beside the
writer reads the manifest again at the end.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Annotated, Final

from msgspec import Meta

from ledger.store import Put, Store
from primitives.encoding import Record, decode
from primitives.errors import EncodingError, StorageError

KEY_SIZE: Final = 16
PLACE_SIZE: Final = 8
ENTRY_SIZE: Final = KEY_SIZE + PLACE_SIZE
ROW_ENTRIES: Final = 170
"""About 4 KB, a block of LevelDB's tables."""

FENCES: Final = 1 << 31
"""Rows of entries are numbered below it."""

READS_MAX: Final = 64
"""How often a reader begins again because merges went on beside it."""

FENCES_BYTES_MAX: Final = 32 << 20
"""What a reader of a map remembers of fences, 16 bytes a row: those of 350,000,000 entries. Beyond, it reads them."""

MANIFEST_SIZE_MAX: Final = 1 << 16
LEVELS_MAX: Final = 16
PLACES_MAX: Final = 65_536
BUILD_AGAIN: Final = "move the index's directory away and start: the node builds its indexes again from the store"
_FULL_ROW: Final = Struct(f"{ENTRY_SIZE}s" * ROW_ENTRIES)
Number = Annotated[int, Meta(ge=0, lt=1 << 32)]


class Run(Record):
    """A sorted run of so many entries; those of a level above 0 are made of runs of the level below."""

    number: Number
    level: Annotated[int, Meta(ge=0, le=LEVELS_MAX)]
    entries: Annotated[int, Meta(ge=1)]

    @property
    def row_count(self) -> int:
        """The number of its rows of entries: all are full but the last."""
        return -(-self.entries // ROW_ENTRIES)


class Merge(Record):
    """A merge that is under way: the number of the run that it makes, and those of the runs that it merges."""

    number: Number
    merged: tuple[Number, ...]


class Manifest(Record):
    """The runs of a map, the oldest first, and the merges of it."""

    next_number: Number
    runs: tuple[Run, ...]
    merges: tuple[Merge, ...]


EMPTY: Final = Manifest(0, (), ())


def manifest_key(name: bytes) -> bytes:
    """Return the key of a map's manifest."""
    return b"R" + name


def run_prefix(name: bytes, number: int) -> bytes:
    """Return the prefix of the rows of a run."""
    return b"P" + number.to_bytes(4, "big") + name


def row_key(prefix: bytes, row: int) -> bytes:
    """Return the key of a row of a run: of entries, or from FENCES on of fences."""
    return prefix + row.to_bytes(4, "big")


def run_rows(name: bytes, number: int, first: int, entries: Sequence[bytes]) -> list[Put]:
    """Return the rows of sorted entries, the first with this number in its run, and the row of their fences."""
    prefix = run_prefix(name, number)
    starts = range(0, len(entries), ROW_ENTRIES)
    puts: list[Put] = [
        (row_key(prefix, row), b"".join(entries[start : start + ROW_ENTRIES]))
        for row, start in enumerate(starts, first)
    ]
    fences = b"".join([entries[start][:KEY_SIZE] for start in starts])
    return [*puts, (row_key(prefix, FENCES + first), fences)]


def rows_between(store: Store, name: bytes, number: int, start: int, stop: int) -> list[bytes]:
    """Return the values of a run's rows of these numbers."""
    prefix = run_prefix(name, number)
    return [value for _, value in store.iterate(row_key(prefix, start), row_key(prefix, stop))]


def fences_of(store: Store, name: bytes, number: int) -> bytes:
    """Return the keys of the first entries of the rows of a run, joined."""
    return b"".join(rows_between(store, name, number, FENCES, 2 * FENCES - 1))


def _manifest_in(data: bytes | None, name: bytes) -> Manifest:
    try:
        return EMPTY if data is None else decode(Manifest, data, size_max=MANIFEST_SIZE_MAX)
    except EncodingError as error:
        raise StorageError(
            "the index is damaged, a map's manifest", where=name.decode(), got=error, hint=BUILD_AGAIN
        ) from None


def manifest_of(store: Store, name: bytes) -> Manifest:
    """Return a map's manifest; an empty one before the first run. StorageError where it is damaged."""
    return _manifest_in(store.get(manifest_key(name)), name)


def places_in(value: bytes, key: bytes) -> Iterator[bytes]:
    """Yield the places of a key among the entries of a row, in order."""
    start = value.find(key)
    while start >= 0:
        if start % ENTRY_SIZE == 0:
            yield value[start + KEY_SIZE : start + ENTRY_SIZE]
        start = value.find(key, start + 1)


def places_within(entries: Sequence[bytes], low: bytes, high: bytes) -> Iterator[bytes]:
    """Yield the places of keys from `low` to `high` among sorted entries."""
    for entry in entries[bisect_left(entries, low) :]:
        if entry[:KEY_SIZE] > high:
            return
        yield entry[KEY_SIZE:]


def entries_in(value: bytes) -> list[bytes]:
    """Return the entries of a row."""
    if len(value) == _FULL_ROW.size:  # a fifth of the time that slices take
        return list(_FULL_ROW.unpack(value))
    return [value[start : start + ENTRY_SIZE] for start in range(0, len(value), ENTRY_SIZE)]


class PackedReader:
    """Looks keys up in a map, beside its writer too. It remembers the newest manifest and fences, for all threads."""

    def __init__(self, store: Store, name: bytes) -> None:
        self._store = store
        self._name = name
        self._seen: tuple[bytes | None, Manifest, dict[int, bytes]] = (None, EMPTY, {})

    def places(self, key: bytes, most: int = PLACES_MAX) -> list[bytes]:
        """Return the places of a key, ascending; the first `most` of them.

        StorageError where the map is damaged, or changes without end.
        """
        manifest_row = manifest_key(self._name)
        for _ in range(READS_MAX):
            data = self._store.get(manifest_row)
            manifest, fences = self._view(data)
            found: list[bytes] = []
            whole = True
            for run in manifest.runs:
                whole = self._add_places(run, fences, key, most, found) and whole
                if len(found) >= most:
                    break
            if self._store.get(manifest_row) == data:  # else runs may have gone while they were read
                if not whole:
                    raise StorageError(
                        "the index is damaged, rows of a run are missing", where=self._name.decode(), hint=BUILD_AGAIN
                    )
                return found[:most]
        raise StorageError("a map of the store changes without end", where=self._name.decode(), expected="one writer")

    def places_between(self, low: bytes, high: bytes) -> Iterator[bytes]:
        """Yield places of keys from `low` to `high`, run by run.

        A merge that ends meanwhile takes rows away that others hold: what is missed is found by asking again.
        """
        manifest, _ = self._view(self._store.get(manifest_key(self._name)))
        for run in manifest.runs:
            rows = rows_with(fences_of(self._store, self._name, run.number), low, high)
            for value in rows_between(self._store, self._name, run.number, rows.start, rows.stop):
                yield from places_within(entries_in(value), low, high)

    def _view(self, data: bytes | None) -> tuple[Manifest, dict[int, bytes]]:
        """Return what a manifest's row says, with the fences that are remembered of its runs."""
        seen, manifest, fences = self._seen
        if seen != data:
            manifest = _manifest_in(data, self._name)
            fences = {run.number: fences[run.number] for run in manifest.runs if run.number in fences}
            self._seen = data, manifest, fences
        return manifest, fences

    def _add_places(self, run: Run, remembered: dict[int, bytes], key: bytes, most: int, found: list[bytes]) -> bool:
        """Add places of a key in a run to those found, until there are enough; say whether all rows read were there."""
        fences = remembered.get(run.number)
        if fences is None:
            fences = fences_of(self._store, self._name, run.number)
            if len(fences) != run.row_count * KEY_SIZE:
                return False
            if sum(map(len, list(remembered.values()))) + len(fences) <= FENCES_BYTES_MAX:
                remembered[run.number] = fences
        prefix = run_prefix(self._name, run.number)
        for row in rows_with(fences, key, key):
            value = self._store.get(row_key(prefix, row))
            if value is None:
                return False
            found += places_in(value, key)
            if len(found) >= most:
                break  # a key that is everywhere, as members can choose one, costs no more than what is returned
        return True


def rows_with(fences: bytes, low: bytes, high: bytes) -> range:
    """Return which rows may hold entries of keys from `low` to `high`: the one that begins below, and those within."""

    def fence(row: int) -> bytes:
        return fences[row * KEY_SIZE : (row + 1) * KEY_SIZE]

    rows = range(len(fences) // KEY_SIZE)
    first = bisect_left(rows, low, key=fence)
    return range(max(first - 1, 0), bisect_right(rows, high, lo=first, key=fence))


def all_entries(store: Store, name: bytes) -> Iterator[bytes]:
    """Yield every entry of a map, run by run; not beside a writer. StorageError where a run is damaged."""
    for run in manifest_of(store, name).runs:
        where = f"index.ldb, run {run.number} of map {name.decode()}"
        prefix = run_prefix(name, run.number)
        fences, count, last = fences_of(store, name, run.number), 0, b""
        for row, (key, value) in enumerate(store.iterate(row_key(prefix, 0), row_key(prefix, FENCES))):
            entries = entries_in(value)
            if len(value) % ENTRY_SIZE or entries != sorted(entries) or not last < entries[0]:
                raise StorageError("the index is damaged, entries out of order", where=where, hint=BUILD_AGAIN)
            fence = fences[row * KEY_SIZE : (row + 1) * KEY_SIZE]
            if key != row_key(prefix, row) or not value.startswith(fence) or len(fence) != KEY_SIZE:
                raise StorageError(
                    "the index is damaged, a row that its fences do not name", where=where, hint=BUILD_AGAIN
                )
            count, last = count + len(entries), entries[-1]
            yield from entries
        if count != run.entries or len(fences) != run.row_count * KEY_SIZE:
            raise StorageError(
                "the index is damaged, a run is cut", where=where, expected=run.entries, got=count, hint=BUILD_AGAIN
            )
