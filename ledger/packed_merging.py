"""The writer of a packed map: takes runs in and merges them, evenly with what comes.

The oldest RUNS_MERGED runs of a level become one of the next; each level has one merge under way at most, which takes
PACE entries on for each entry that comes to the map, so that an event costs the same at any time, and what a merge
takes is bounded by what came. Pure. Not here: the rows, and reading them (`ledger.packed_map`).

The manifest names a merge before its first row is written; its run counts when the manifest names that, and the rows
of the runs that it replaces are deleted afterwards. After a crash at any point rows that the manifest does not name
are deleted, and a merge goes on behind the last row that it wrote: each write of it is a number of full rows and their
fences.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Final

from msgspec.structs import replace

from ledger.packed_map import (
    ENTRY_SIZE,
    FENCES,
    KEY_SIZE,
    LEVELS_MAX,
    ROW_ENTRIES,
    Manifest,
    Merge,
    Run,
    entries_in,
    fences_of,
    manifest_key,
    manifest_of,
    row_key,
    rows_between,
    rows_with,
    run_prefix,
    run_rows,
)
from ledger.store import Put, Store
from primitives.encoding import encode

RUNS_MERGED: Final = 16
PACE: Final = 2
"""Entries of a level that are merged for each that comes: above 1, so that a merge ends before the next is due."""

ROWS_HELD: Final = 4
"""Rows of each run that are read at once; a step merges at most as many of each."""

ROWS_DELETED: Final = 256
DELETED_AS: Final = ROWS_DELETED * ROW_ENTRIES // 16
"""Entries that deleting so many rows counts for: it takes about a sixteenth of the time that merging them does."""


class PackedMap:
    """The writer of a map. One writes a map, and nobody else its rows."""

    def __init__(self, store: Store, name: bytes) -> None:
        """Go on where the store stands. StorageError where the manifest is damaged."""
        self._store = store
        self._name = name
        self._manifest = manifest_of(store, name)
        self._steps: dict[int, Iterator[int]] = {}
        self._owed = [0] * (LEVELS_MAX + 1)
        self._clear_orphans()
        for merge in self._manifest.merges:
            self._steps[self._runs(merge)[0].level] = self._merging(merge)

    def add(self, parts: Iterator[Sequence[bytes]]) -> list[Put]:
        """Return the rows of a new run; parts of its entries, each sorted and above the one before.

        They are to be written in one write; `add` and `step` may go on only after that.
        """
        entries = list(chain.from_iterable(parts))
        if not entries:
            return []
        manifest = self._manifest
        run = Run(manifest.next_number, 0, len(entries))
        rows = run_rows(self._name, run.number, 0, entries)
        return [*rows, self._put(replace(manifest, next_number=run.number + 1, runs=(*manifest.runs, run)))]

    def step(self, entries: int) -> bool:
        """Go on with all merges as far as so many new entries ask for; say whether any is under way."""
        for level in range(max((run.level for run in self._manifest.runs), default=-1) + 1):
            if level not in self._steps and not self._begin(level):
                self._owed[level] = 0
                continue
            self._owed[level] += PACE * entries
            while self._owed[level] > 0:
                done = next(self._steps[level], None)
                if done is None:
                    del self._steps[level]
                    break
                self._owed[level] -= done
        return bool(self._steps)

    def _begin(self, level: int) -> bool:
        """Begin to merge a level's oldest runs, if there are enough."""
        runs = [run.number for run in self._manifest.runs if run.level == level][:RUNS_MERGED]
        if len(runs) < RUNS_MERGED or level == LEVELS_MAX:
            return False
        manifest = self._manifest
        merge = Merge(manifest.next_number, tuple(runs))
        manifest = replace(manifest, next_number=merge.number + 1, merges=(*manifest.merges, merge))
        self._store.write([self._put(manifest)], sync=False)
        self._steps[level] = self._merging(merge)
        return True

    def _runs(self, merge: Merge) -> list[Run]:
        return [run for run in self._manifest.runs if run.number in merge.merged]

    def _merging(self, merge: Merge) -> Iterator[int]:
        """Merge runs, yielding how many entries were dealt with each time."""
        store, name, number = self._store, self._name, merge.number
        merged = self._runs(merge)
        row = len(fences_of(store, name, number)) // KEY_SIZE  # above 0 after a restart
        last = store.get(row_key(run_prefix(name, number), row - 1)) if row else None
        rest: list[bytes] = []
        for part in _merged([_Source(store, name, run, b"" if last is None else last[-ENTRY_SIZE:]) for run in merged]):
            rest += part
            ready = len(rest) - len(rest) % ROW_ENTRIES
            if ready:
                store.write(run_rows(name, number, row, rest[:ready]), sync=False)
                row, rest = row + ready // ROW_ENTRIES, rest[ready:]
                yield ready
        puts = run_rows(name, number, row, rest) if rest else []
        store.write([*puts, self._put(self._replaced(merge, merged))], sync=False)
        yield len(rest)
        for old in merged:
            yield from self._delete(old.number)

    def _replaced(self, merge: Merge, merged: Sequence[Run]) -> Manifest:
        """Return the manifest with the new run in place of those, so that runs stay in the order of the log."""
        run = Run(merge.number, merged[0].level + 1, sum(each.entries for each in merged))
        place = self._manifest.runs.index(merged[0])
        runs = (*self._manifest.runs[:place], run, *self._manifest.runs[place + len(merged) :])
        merges = tuple(each for each in self._manifest.merges if each != merge)
        return replace(self._manifest, runs=runs, merges=merges)

    def _delete(self, number: int) -> Iterator[int]:
        """Delete the rows of a run, some a step, each from where the last ended: what is deleted is still read over."""
        start = run_prefix(self._name, number)
        stop = row_key(start, 2 * FENCES - 1)
        while keys := [key for key, _ in islice(self._store.iterate(start, stop), ROWS_DELETED)]:
            self._store.write([(key, None) for key in keys], sync=False)
            start = keys[-1] + b"\0"
            yield DELETED_AS

    def _clear_orphans(self) -> None:
        """Delete the rows of runs that the manifest does not name: a crash cut their deletion short."""
        named = {run.number for run in self._manifest.runs} | {merge.number for merge in self._manifest.merges}
        start = run_prefix(self._name, 0)
        while (key := next((key for key, _ in self._store.iterate(start, b"P" + b"\xff" * 10)), None)) is not None:
            number, name = int.from_bytes(key[1:5], "big"), key[5:6]
            if name == self._name and number not in named:
                for _ in self._delete(number):
                    pass
            start = key[:6] + b"\xff" * 5

    def _put(self, manifest: Manifest) -> Put:
        self._manifest = manifest
        return manifest_key(self._name), encode(manifest)


class _Source:
    """The entries of a run above one of them, read some rows at a time."""

    def __init__(self, store: Store, name: bytes, run: Run, after: bytes) -> None:
        self._store = store
        self._name = name
        self._run = run
        self._after = after
        self._row = _row_below(fences_of(store, name, run.number), after[:KEY_SIZE])
        self.entries: list[bytes] = []

    def fill(self) -> None:
        """Read on until ROWS_HELD rows of entries are held, or all that are left."""
        while len(self.entries) < ROWS_HELD * ROW_ENTRIES // 2 and self._row < self._run.row_count:
            stop = min(self._row + ROWS_HELD, self._run.row_count)
            for value in rows_between(self._store, self._name, self._run.number, self._row, stop):
                self.entries += entries_in(value)
            self._row = stop
            if self._after:  # the first time only, as rows are ascending
                self.entries = self.entries[bisect_right(self.entries, self._after) :]
                self._after = b"" if self.entries else self._after

    def take(self, bound: bytes) -> list[bytes]:
        """Give away the entries up to this one."""
        split = bisect_right(self.entries, bound)
        taken, self.entries = self.entries[:split], self.entries[split:]
        return taken


def _row_below(fences: bytes, key: bytes) -> int:
    """Return the row of a run from which to read what lies above an entry of this key; 0 where there is no key."""
    return rows_with(fences, key, key).start


def _merged(sources: Sequence[_Source]) -> Iterator[list[bytes]]:
    """Yield the entries of sorted runs in order, in parts: all that is surely below what has not been read yet."""
    while True:
        for source in sources:
            source.fill()
        held = [source for source in sources if source.entries]
        if not held:
            return
        bound = min(source.entries[-1] for source in held)
        part: list[bytes] = []
        for source in held:
            part += source.take(bound)
        part.sort()
        yield part
