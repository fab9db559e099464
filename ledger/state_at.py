"""The authenticated state at any height, for reading single keys: the store keeps the nodes of every root."""

from __future__ import annotations

from typing import TypeVar

from ledger.reader import LedgerReader
from ledger.state import STATE_VALUE_SIZE_MAX, Key
from primitives.encoding import decode

T = TypeVar("T")


class StateAt:
    """The authenticated state at a height, as a `StateGetter`."""

    def __init__(self, reads: LedgerReader, height: int) -> None:
        self._reads = reads
        self._height = height

    def get(self, key: Key, type_: type[T]) -> T | None:
        """Return the record at `key`, or None."""
        found = self._reads.state_value(key, self._height)
        if found is None or found.value is None:
            return None
        return decode(type_, found.value, size_max=STATE_VALUE_SIZE_MAX)
