"""The ledger's state as a map of keys to canonical records, and the overlays that uncommitted changes live in.

How the map is authenticated is in `ledger.smt`, how it is stored in `ledger.chain`. Three layers read alike:
the committed state, one overlay per uncommitted block (`StateView`) and one `Transaction` per event. An event that
breaks a rule leaves no trace: its transaction is dropped. Source: architecture §2.2 and §6.

A key is text or bytes, by convention `name/part/part`; keys that start with a zero byte are derived from others,
can be rebuilt from them, and are not authenticated.
"""

from collections.abc import Iterator
from typing import Protocol, TypeVar

from primitives.encoding import Record, decode, encode

STATE_KEY_SIZE_MAX = 256
STATE_VALUE_SIZE_MAX = 1 << 20
DERIVED_PREFIX = b"\0"

T = TypeVar("T")
Key = str | bytes


def key_bytes(key: Key) -> bytes:
    """Return the key as bytes (text as UTF-8)."""
    data = key.encode() if isinstance(key, str) else key
    assert 0 < len(data) <= STATE_KEY_SIZE_MAX, f"state key of {len(data)} bytes"
    return data


class StateSource(Protocol):
    """What an overlay stands on: canonical values by key, and keys in ascending order."""

    def raw(self, key: bytes) -> bytes | None: ...

    def raw_scan(
        self, prefix: bytes, stop: bytes | None = None, start: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]: ...


class StateGetter(Protocol):
    """Typed reading of single keys, which the state of any height allows."""

    def get(self, key: Key, type_: type[T]) -> T | None: ...


class StateReader(StateGetter, Protocol):
    """Typed reading, alike on every layer; keys in order the newest state has alone."""

    def scan(self, prefix: Key, type_: type[T]) -> Iterator[tuple[bytes, T]]: ...


class EmptyState:
    """The state before genesis."""

    def raw(self, key: bytes) -> bytes | None:
        """Return nothing, for every key."""
        del key
        return None

    def raw_scan(
        self, prefix: bytes, stop: bytes | None = None, start: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield nothing."""
        del prefix, stop, start
        return iter(())


class MemoryState:
    """A state in a dictionary, for genesis and tests."""

    def __init__(self, values: dict[bytes, bytes] | None = None) -> None:
        self.values: dict[bytes, bytes] = {} if values is None else values

    def raw(self, key: bytes) -> bytes | None:
        """Return the value of `key`."""
        return self.values.get(key)

    def raw_scan(
        self, prefix: bytes, stop: bytes | None = None, start: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs whose key starts with `prefix`, from `start` and below `stop`, in ascending order."""
        return iter(sorted((k, v) for k, v in self.values.items() if _within(k, prefix, stop, start)))


class StateView:
    """The state as an uncommitted block sees it: its own changes over `parent`.

    `parent` and `changes` belong to the chain: it re-bases the view once the parent block is committed.
    A change of None is a deletion.
    """

    def __init__(self, parent: StateSource) -> None:
        self.parent = parent
        self.changes: dict[bytes, bytes | None] = {}

    def raw(self, key: bytes) -> bytes | None:
        """Return the canonical value of `key`, or None."""
        if key in self.changes:
            return self.changes[key]
        return self.parent.raw(key)

    def raw_scan(
        self, prefix: bytes, stop: bytes | None = None, start: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs whose key starts with `prefix`, from `start` and below `stop`, in ascending order of keys."""
        return merge_scan(self.changes, self.parent, prefix, stop, start)

    def get(self, key: Key, type_: type[T]) -> T | None:
        """Return the record at `key`, or None."""
        raw = self.raw(key_bytes(key))
        return None if raw is None else decode(type_, raw, size_max=STATE_VALUE_SIZE_MAX)

    def scan(self, prefix: Key, type_: type[T]) -> Iterator[tuple[bytes, T]]:
        """Yield (key, record) for the keys that start with `prefix`, in ascending order."""
        for key, raw in self.raw_scan(key_bytes(prefix)):
            yield key, decode(type_, raw, size_max=STATE_VALUE_SIZE_MAX)


class Transaction(StateView):
    """The changes of one event over its block's view: all of them are kept (`apply`) or none."""

    def put(self, key: Key, value: Record) -> None:
        """Set the record at `key`."""
        raw = encode(value)
        assert len(raw) <= STATE_VALUE_SIZE_MAX, f"state value of {len(raw)} bytes"
        self.changes[key_bytes(key)] = raw

    def delete(self, key: Key) -> None:
        """Remove `key`; removing what is not there is allowed."""
        self.changes[key_bytes(key)] = None

    def apply(self, view: StateView) -> None:
        """Hand all changes to `view`."""
        view.changes.update(self.changes)


def merge_scan(
    changes: dict[bytes, bytes | None],
    parent: StateSource,
    prefix: bytes,
    stop: bytes | None,
    start: bytes | None = None,
) -> Iterator[tuple[bytes, bytes]]:
    """Return the parent's pairs under `prefix`, from `start` and below `stop`, with the changes laid over them.

    In ascending order.
    """
    own = sorted([(key, value) for key, value in changes.items() if _within(key, prefix, stop, start)])
    pairs = parent.raw_scan(prefix, stop, start)
    return _merged(own, pairs) if own else pairs


def _within(key: bytes, prefix: bytes, stop: bytes | None, start: bytes | None) -> bool:
    return key.startswith(prefix) and (stop is None or key < stop) and (start is None or key >= start)


def _merged(
    changes: list[tuple[bytes, bytes | None]], pairs: Iterator[tuple[bytes, bytes]]
) -> Iterator[tuple[bytes, bytes]]:
    """Yield pairs with changes laid over them; both ascend by key."""
    own = iter(changes)
    mine = next(own, None)
    for key, value in pairs:
        while mine is not None and mine[0] < key:
            if mine[1] is not None:
                yield mine[0], mine[1]
            mine = next(own, None)
        if mine is not None and mine[0] == key:
            if mine[1] is not None:
                yield key, mine[1]
            mine = next(own, None)
        else:
            yield key, value
    while mine is not None:
        if mine[1] is not None:
            yield mine[0], mine[1]
        mine = next(own, None)
