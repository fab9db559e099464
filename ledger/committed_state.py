"""The committed state as the store holds it: the current value of every key."""

from collections.abc import Iterator
from typing import TypeVar

from ledger import rows
from ledger.state import Key, key_bytes
from ledger.store import StagedStore, Store, prefix_stop

T = TypeVar("T")


class CommittedState:
    """Reads the current values; what is staged in the store counts as current."""

    def __init__(self, store: Store | StagedStore) -> None:
        self._store = store

    def raw(self, key: bytes) -> bytes | None:
        """Return the canonical value of `key`, or None."""
        return self._store.get(rows.state_row_key(key))

    def raw_scan(
        self, prefix: bytes, stop: bytes | None = None, start: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs whose key starts with `prefix`, from `start` and below `stop`, in ascending order of keys."""
        first = rows.state_row_key(prefix)
        end = prefix_stop(first) if stop is None else min(prefix_stop(first), rows.state_row_key(stop))
        begin = first if start is None else max(first, rows.state_row_key(start))
        for key, value in self._store.iterate(begin, end):
            yield key[1:], value

    def get(self, key: Key, type_: type[T]) -> T | None:
        """Return the record at `key`, or None; StorageError where the disk gave back other bytes than were written."""
        name = key_bytes(key)
        raw = self.raw(name)
        return None if raw is None else _read(type_, name, raw)

    def scan(self, prefix: Key, type_: type[T]) -> Iterator[tuple[bytes, T]]:
        """Yield (key, record) for the keys that start with `prefix`, in ascending order."""
        for key, raw in self.raw_scan(key_bytes(prefix)):
            yield key, _read(type_, key, raw)


def _read(type_: type[T], key: bytes, raw: bytes) -> T:
    return rows.read_row(type_, raw, where=f"state, {key.decode(errors='replace')}")
