"""The store's port: ordered rows of bytes, written in atomic batches; and the store in memory.

Not here: what the rows mean (`ledger.rows`) and LevelDB (`ledger.store_leveldb`). `StagedStore` shows rows that were
handed out to be written but are not on disk yet, so that the pure parts can go on before the write has ended.
Source: architecture §6 (the store is LevelDB behind a small port).
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Protocol

Put = tuple[bytes, bytes | None]
"""A row to write: key and value, or None to delete the row."""

MERGED_ROWS_MAX = 256
"""Rows of small stagings that share a layer, so that a reading looks into few of them."""

CHANGES_MAX = 256
"""Keys of a kind that may come and go in memory before all of its keys are sorted anew."""


class Store(Protocol):
    """Rows in ascending order of keys. A write happens as a whole or not at all."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows with start <= key < stop, ascending or, with `reverse`, descending."""

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        """Write all rows atomically; with `sync` they survive a power cut once this returns."""

    def close(self) -> None:
        """Release the store."""


def prefix_stop(prefix: bytes) -> bytes:
    """Return the smallest key above all keys that start with `prefix` (which holds a byte below 0xff)."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1])


class _Bucket:
    """Rows whose keys share the first byte; keys are put in order only when somebody iterates.

    `_changed` are keys that came or went since, unless they were many: then `_stale`, and all are sorted anew.
    """

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self._sorted: list[bytes] = []
        self._changed: list[bytes] = []
        self._stale = False

    def put(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            if self.rows.pop(key, None) is not None:
                self._note(key)
        else:
            if key not in self.rows:
                self._note(key)
            self.rows[key] = value

    def _note(self, key: bytes) -> None:
        if not self._stale:
            self._changed.append(key)
            if len(self._changed) > CHANGES_MAX:
                self._changed.clear()
                self._stale = True

    def keys(self) -> list[bytes]:
        if self._stale:
            self._sorted = sorted(self.rows)
            self._stale = False
        for key in self._changed:
            place = bisect_left(self._sorted, key)
            there = place < len(self._sorted) and self._sorted[place] == key
            if key in self.rows and not there:
                self._sorted.insert(place, key)
            elif key not in self.rows and there:
                del self._sorted[place]
        self._changed.clear()
        return self._sorted


class MemoryStore:
    """A store in memory, for tests, simulation and tools."""

    def __init__(self) -> None:
        self._buckets: dict[bytes, _Bucket] = {}

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        bucket = self._buckets.get(key[:1])
        return None if bucket is None else bucket.rows.get(key)

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows with start <= key < stop as they were when the iteration began."""
        found: list[tuple[bytes, bytes]] = []
        firsts = [start[:1]] if start[:1] == stop[:1] else sorted(self._buckets)
        for first in firsts:
            bucket = self._buckets.get(first)
            if bucket is not None and start[:1] <= first <= stop[:1]:
                keys = bucket.keys()
                low, high = bisect_left(keys, start), bisect_left(keys, stop)
                found.extend([(key, bucket.rows[key]) for key in keys[low:high]])
        return iter(found[::-1] if reverse else found)

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        """Write all rows."""
        del sync
        buckets = self._buckets
        for key, value in puts:
            first = key[:1]
            if first not in buckets:
                buckets[first] = _Bucket()
            buckets[first].put(key, value)

    def close(self) -> None:
        """Keep everything: a closed memory store can be opened again, as a disk can."""

    def rows(self) -> dict[bytes, bytes]:
        """Return a copy of all rows."""
        return {key: value for bucket in self._buckets.values() for key, value in bucket.rows.items()}


class StagedStore:
    """A store read through the rows that are on their way to it.

    `stage` shows rows at once and returns a ticket; the owner of the disk writes them and then calls `settle`, which
    lets go of them. Tickets are settled in order. Writing is not done here. Small stagings in a row share a layer under
    the last one's ticket, and so may be seen here a while after they were written.
    """

    def __init__(self, base: Store) -> None:
        self.base = base
        self._layers: OrderedDict[int, dict[bytes, bytes | None]] = OrderedDict()
        self._kinds: dict[int, dict[int, list[bytes]]] = {}  # by ticket and first byte, once somebody iterates
        self._next_ticket = 0

    @property
    def layer_count(self) -> int:
        """The number of tickets that are not settled."""
        return len(self._layers)

    @property
    def last_ticket(self) -> int:
        """The ticket that was given last, -1 before the first."""
        return self._next_ticket - 1

    def stage(self, puts: Iterable[Put]) -> int:
        """Show the rows to every later reading and return the ticket to settle once they are written."""
        ticket = self._next_ticket
        self._next_ticket += 1
        rows = dict(puts)
        if self._layers:
            last = next(reversed(self._layers))
            if len(self._layers[last]) + len(rows) <= MERGED_ROWS_MAX:
                self._kinds.pop(last, None)
                merged = self._layers.pop(last)
                merged.update(rows)
                rows = merged
        self._layers[ticket] = rows
        return ticket

    def settle(self, ticket: int) -> None:
        """Forget the rows of this ticket and of all before it: they are in the store now."""
        while self._layers and next(iter(self._layers)) <= ticket:
            settled, _ = self._layers.popitem(last=False)
            self._kinds.pop(settled, None)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, the newest staged one first."""
        for layer in reversed(self._layers.values()):
            if key in layer:
                return layer[key]
        return self.base.get(key)

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows of the range; meant for short ranges, which it collects in memory."""
        staged: dict[bytes, bytes | None] = {}
        for ticket, layer in self._layers.items():
            staged.update((key, layer[key]) for key in self._keys(ticket, start, stop) if start <= key < stop)
        if not staged:
            return self.base.iterate(start, stop, reverse)
        rows: dict[bytes, bytes | None] = dict(self.base.iterate(start, stop))
        rows.update(staged)
        live = [(key, value) for key, value in rows.items() if value is not None]
        return iter(sorted(live, reverse=reverse))

    def _keys(self, ticket: int, start: bytes, stop: bytes) -> Iterator[bytes]:
        """Yield the keys of a layer whose first byte is in the range: a block has thousands of rows of one kind."""
        kinds = self._kinds.get(ticket)
        if kinds is None:
            kinds = self._kinds[ticket] = {}
            for key in self._layers[ticket]:
                kinds.setdefault(key[0], []).append(key)
        for kind in kinds.keys() & range(start[0] if start else 0, (stop[0] if stop else 255) + 1):
            yield from kinds[kind]
