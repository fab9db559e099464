"""The state after a block, for many keys at once and without proofs: what indexes read of it.

Of a certificate and of an application the present row is read first: it says itself when it changed last, and no two
blocks have the same time, so that it answers for every block since. What else there is comes out of the authenticated
state, whose nodes are read once for all keys. Not here: single keys with their proofs (`ledger.state_at`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

import msgspec

from ledger import rows
from ledger.certificate_records import Application, Certificate
from ledger.reader import LedgerReader
from ledger.smt import values_of
from ledger.state import Key, key_bytes
from ledger.store import StagedStore, Store
from primitives.block import BlockHeader
from primitives.encoding import decoder_of
from primitives.errors import StorageError

T = TypeVar("T")
NODES_KEPT: Final = 4_096
"""Nodes on the way to the few rows that are looked at with each block: with most blocks nearly all are as before."""
_DATED: Final[dict[str, type[Certificate] | type[Application]]] = {
    "certificate": Certificate,
    "application": Application,
}
"""The rows that say when they changed last. What stands beside one (`<kind>-scheme/`) changes with it alone."""


class KnownNodes:
    """Reads the nodes of a store's states, and keeps some: a node never changes."""

    def __init__(self, store: Store | StagedStore) -> None:
        self._store = store
        self._rows: dict[bytes, bytes] = {}

    def read(self, node: bytes) -> bytes | None:
        """Return the row of a node."""
        row = self._rows.get(node)
        if row is None:
            row = self._store.get(rows.node_key(node))
            if row is not None:
                if len(self._rows) >= NODES_KEPT:
                    self._rows.clear()
                self._rows[node] = row
        return row


class StateAfter:
    """The state after a block, as a `StateGetter`: for reading of many keys `load` them first."""

    def __init__(self, reads: LedgerReader, header: BlockHeader, nodes: KnownNodes | None = None) -> None:
        """Read the state after the block with this header, and its nodes, by `nodes`, which may be shared."""
        self._reads = reads
        self._store = reads.store
        self._header = header
        self._nodes = nodes
        self._raw: dict[bytes, bytes | None] = {}
        self._records: dict[bytes, Any] = {}  # Any: each of its own type

    def through(self, block: BlockHeader) -> StateAfter:
        """Return the state after the block that follows: this one, with all that was read, where nothing changed."""
        return self if block.state_root == self._header.state_root else StateAfter(self._reads, block, self._nodes)

    def load(self, keys: Iterable[Key]) -> None:
        """Read what stands at these keys, at all of them together, and what stands beside certificates."""
        names: set[bytes] = set()
        for key in keys:
            names.update(self._present(key_bytes(key)))
        self._raw.update(values_of(self._header.state_root, names - self._raw.keys(), self._node))

    def get(self, key: Key, type_: type[T]) -> T | None:
        """Return the record at `key`, or None."""
        name = key_bytes(key)
        if name not in self._records:
            if name not in self._raw:
                self.load((name,))
            raw = self._raw[name]
            self._records[name] = None if raw is None else _decoded(type_, raw, name)
        found: T | None = self._records[name]
        return found

    def _node(self, node: bytes) -> bytes | None:
        return self._store.get(rows.node_key(node)) if self._nodes is None else self._nodes.read(node)

    def _present(self, name: bytes) -> Iterator[bytes]:
        """Take the present rows where they are as of the block; yield the keys that are to be looked up otherwise."""
        kind, _, rest = name.partition(b"/")
        type_ = _DATED.get(kind.decode(errors="replace"))
        if type_ is None:
            yield name
            return
        beside = kind + b"-scheme/" + rest
        # What stands beside first: where the row after it is as of the block, so was that one.
        scheme, raw = (self._store.get(rows.state_row_key(key)) for key in (beside, name))
        found = None if raw is None else _decoded(type_, raw, name)
        if found is None or found.history.changed_ms <= self._header.time_ms:
            self._raw[name], self._records[name], self._raw[beside] = raw, found, scheme
            return
        yield name
        yield beside


def _decoded(type_: type[T], raw: bytes, name: bytes) -> T:
    try:
        return decoder_of(type_).decode(raw)  # type: ignore[no-any-return,arg-type]  # the decoder is of this type, which is hashable
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        where = f"state, {name.decode(errors='replace')}"
        raise StorageError("row of the store damaged", where=where, got=error, hint="run `chainnode fsck`") from None


def header_at(reads: LedgerReader, height: int) -> BlockHeader:
    """Return the header of a block that must be there, or StorageError."""
    header = reads.header(height)
    if header is None:
        raise StorageError("block missing", where=f"height {height}", hint="run `chainnode fsck`")
    return header
