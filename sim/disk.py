"""The virtual disk of a node: what survives a crash is what was synced, in the order in which the node syncs.

A turn is written in two steps, rows and then records (as `chainnode.node` does); a crash may fall before, between or
after them. Rows are written whole or not at all, as LevelDB's batches are; of records, the write-ahead log keeps whole
frames, so a torn one is gone.
"""

from __future__ import annotations

from enum import IntEnum
from hashlib import sha256

from chainnode.core import Turn
from consensus.records import (
    Accused,
    AccusedCosigner,
    Committed,
    Cosigned,
    Prepared,
    Proposed,
    ViewChanged,
    ViewStarted,
    decode_record,
)
from ledger.store import MemoryStore
from primitives.encoding import encode


class Written(IntEnum):
    """How much of a turn reached the disk before a crash."""

    NOTHING = 0
    ROWS = 1
    ALL = 2


class Disk:
    """One node's store and write-ahead log.

    `promised` holds the payloads for which a record was ever synced: a signed message may leave only if it is there.
    """

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.records: list[bytes] = []
        self.promised: set[bytes] = set()

    def write(self, turn: Turn, how_much: Written, rewrite: list[bytes] | None = None) -> None:
        """Sync a turn, or the part of it that a crash let through; `rewrite` replaces the whole log."""
        if how_much >= Written.ROWS:
            self.store.write(turn.rows, sync=True)
        if how_much >= Written.ALL:
            self.promised.update(map(_payload, turn.records))
            if rewrite is None:
                self.records.extend(turn.records)
            else:
                self.records = list(rewrite)

    def digest(self) -> str:
        """Return a hash of everything on the disk."""
        found = sha256()
        for key, value in sorted(self.store.rows().items()):
            found.update(encode((key, value)))
        found.update(encode(tuple(self.records)))
        return found.hexdigest()


def _payload(data: bytes) -> bytes:
    """Return the bytes of the message for which a record stands."""
    record = decode_record(data)
    match record:
        case Proposed(message) | Prepared(message) | Committed(message, _) | Cosigned(message):
            return encode(message)
        case ViewChanged(message) | ViewStarted(message) | Accused(message) | AccusedCosigner(message):
            return encode(message)
        case _:
            raise AssertionError(f"a record of an unknown type: {type(record).__name__}")
