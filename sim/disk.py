"""The virtual disk of a node: what survives a crash is what was synced, in the order in which the node syncs.

A turn is written in two steps, rows and then records (as `chainnode.node` does); a crash may fall before, between or
after them. Rows are written whole or not at all, as LevelDB's batches are; of records, the write-ahead log keeps whole
frames, so a torn one is gone.
"""

from __future__ import annotations

from enum import IntEnum

from chainnode.core import Turn
from ledger.store import MemoryStore


class Written(IntEnum):
    """How much of a turn reached the disk before a crash."""

    NOTHING = 0
    ROWS = 1
    ALL = 2


class Disk:
    """One node's store and write-ahead log."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.records: list[bytes] = []

    def write(self, turn: Turn, how_much: Written, rewrite: list[bytes] | None = None) -> None:
        """Sync a turn, or the part of it that a crash let through."""
        if how_much >= Written.ROWS:
            self.store.write(turn.rows, sync=True)
        if how_much >= Written.ALL:
            if rewrite is not None:
                self.records = rewrite
            else:
                self.records.extend(turn.records)
