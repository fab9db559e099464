"""The index of a node: opening it beside the ledger's reader, and closing it so that a start reads nothing again.

Not here: what it holds (`ledger.indexes`), and when it follows the log (`chainnode.node`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import structlog

from ledger.genesis import Genesis
from ledger.index_places import Index, reached_of
from ledger.index_reader import IndexReader
from ledger.indexes import IndexFollower
from ledger.packed_map import BUILD_AGAIN
from ledger.reader import LedgerReader
from ledger.reconciliation_index import ReconciliationFollower
from ledger.store import StagedStore, Store
from ledger.store_leveldb import LevelDBStore
from primitives.errors import ChainError

INDEX_WRITE_BUFFER_BYTES: Final = 16 * 1024 * 1024
"""A larger buffer costs more at each insertion, and seconds when it is read at a start."""

log = structlog.get_logger("node")


class NodeIndex:
    """The index, its follower, and the readers of the ledger and of it."""

    def __init__(self, path: Path, ledger: Store | StagedStore, genesis: Genesis) -> None:
        """Open it, and begin it anew where it is not of this chain, before anybody reads by it."""
        self._store = LevelDBStore(path, write_buffer_bytes=INDEX_WRITE_BUFFER_BYTES, remedy=BUILD_AGAIN)
        places = Index(self._store)
        reached = reached_of(self._store)
        self.height_found = None if reached is None else reached.height
        """The height that it had reached when it was opened."""
        self.reader = LedgerReader(ledger, genesis, places)
        self.answers = IndexReader(self.reader, places)
        self.follower = IndexFollower(places, self.reader)
        self.reconciliation = ReconciliationFollower(self._store, self.reader)

    def close(self, *, whole: bool) -> None:
        """Release it; if it is `whole`, write before what is in memory only."""
        if whole:
            try:
                self.follower.close()
            except ChainError as error:  # the next start indexes the newest blocks again
                log.warning("newest_index_entries_not_written", error=str(error))
        self._store.close()
