"""The committed state as the store holds it: the current value of every key."""

from collections.abc import Iterator
from typing import TypeVar

from ledger import rows
from ledger.state import STATE_VALUE_SIZE_MAX, Key, key_bytes
from ledger.store import StagedStore, Store, prefix_stop
from primitives.encoding import decode

T = TypeVar("T")


class CommittedState:
    """Reads the current values; what is staged in the store counts as current."""

    def __init__(self, store: Store | StagedStore) -> None:
        self._store = store

    def raw(self, key: bytes) -> bytes | None:
        """Return the canonical value of `key`, or None."""
        return self._store.get(rows.state_row_key(key))

    def raw_scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs whose key starts with `prefix`, in ascending order of keys."""
        start = rows.state_row_key(prefix)
        for key, value in self._store.iterate(start, prefix_stop(start)):
            yield key[1:], value

    def get(self, key: Key, type_: type[T]) -> T | None:
        """Return the record at `key`, or None."""
        raw = self.raw(key_bytes(key))
        return None if raw is None else decode(type_, raw, size_max=STATE_VALUE_SIZE_MAX)

    def scan(self, prefix: Key, type_: type[T]) -> Iterator[tuple[bytes, T]]:
        """Yield (key, record) for the keys that start with `prefix`, in ascending order."""
        for key, raw in self.raw_scan(key_bytes(prefix)):
            yield key, decode(type_, raw, size_max=STATE_VALUE_SIZE_MAX)
