"""Which events were ordered before they came here, nearly always none: told by a filter in memory, else by the store.

Here: filling the filter, and asking. Not here: its bits (`ledger.seen`), the store's answer (`ledger.reader`). To ask
the store costs tens of microseconds an event, since it looks for any of an event's places; the filter a few tenths.

Nothing is filled until the first question, so a node through which nobody submits pays nothing. From then on every
commit adds its ids, and the older ones are read from the log's tiles, where an event's leaf hash is its id, in small
steps beside the loop. Until all are read each question goes to the store. A store that begins at a snapshot's base has
no places of older events: what its log lacks of these nobody would find.

An id that the store has is never missed: `note` is called on the loop before a block's rows are written, thus before
the store can answer for its events; what was noted before the first question lies below the log size that was noted
with it, and up to that size the tiles are read. Two threads never change one filter, for a bit that one of them sets
may be lost when both change a word: the worker fills one of its own, which the loop takes over when it is complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Final

import structlog

from ledger.chain import CommitResult
from ledger.log_tiles import TILE_WIDTH, TileReader
from ledger.reader import LedgerReader
from ledger.seen import MEMORY_BYTES_MAX, Seen
from primitives.errors import StorageError
from primitives.ids import HASH_BYTES, EventId

TILES_A_STEP: Final = 8
"""About half a millisecond of reading and adding, after which the loop goes on."""

PAUSE_S: Final = 0.0025
"""Between two steps: they take about a fifth of one core's time."""

FILLED_BYTES_MAX: Final = MEMORY_BYTES_MAX // 2
"""The other half is left for what is committed from then on."""

log = structlog.get_logger("known")


class KnownEvents:
    """Answers which events the ledger has; all but the reading of tiles belongs to the loop."""

    def __init__(self, reader: LedgerReader) -> None:
        """Begin where the ledger stands, before anything is committed to it by this process."""
        self._reader = reader
        self._size = reader.log_size()
        self._asked = asyncio.Event()
        self._since = Seen(0)
        self._complete = False

    @property
    def complete(self) -> bool:
        """Whether the filter knows all events of the store."""
        return self._complete

    def note(self, result: CommitResult) -> None:
        """Know the events of a block whose rows are not written yet."""
        if self._asked.is_set():
            self._since.add_all(result.event_ids)
        else:
            self._size = result.log_size

    def recorded(self, ids: Sequence[EventId]) -> list[EventId]:
        """Return those of the ids that the ledger has, in their order."""
        if self._complete:
            ids = self._since.maybe(ids)
        else:
            self._asked.set()
        return [event_id for event_id in ids if self._reader.position(event_id) is not None]

    async def fill(self, executor: Executor) -> None:
        """Read the older ids once there was a question; a log that cannot be read leaves all questions to the store."""
        await self._asked.wait()
        try:
            await self._fill(executor)
        except StorageError as error:
            log.error("known_events_not_read", error=str(error))

    async def _fill(self, executor: Executor) -> None:
        loop = asyncio.get_running_loop()
        stop, tile = self._size, self._reader.first_index() // TILE_WIDTH
        older = Seen(stop - tile * TILE_WIDTH, bytes_max=FILLED_BYTES_MAX)
        tiles = TileReader(self._reader.store)  # one of its own: the reader's keeps what is asked for often
        while tile * TILE_WIDTH < stop:
            tile = await loop.run_in_executor(executor, self._read, tiles, older, tile, stop)
            await asyncio.sleep(PAUSE_S)
        self._since.take_over(older)
        self._complete = True
        log.info("known_events_read", leaves=stop)

    def _read(self, tiles: TileReader, older: Seen, tile: int, stop: int) -> int:
        """Add the hashes of some tiles of a log of `stop` leaves; return the tile to go on with."""
        size = min(stop, self._reader.log_size())  # the last rows of these may be on their way to the disk
        for _ in range(TILES_A_STEP):
            end = min(stop, (tile + 1) * TILE_WIDTH)
            if end > size or tile * TILE_WIDTH >= stop:
                break
            hashes = tiles.tile(0, tile)
            if len(hashes) < (end - tile * TILE_WIDTH) * HASH_BYTES:
                raise StorageError("hashes missing from a log", where=f"tile 0/{tile}", got=len(hashes))
            older.add_hashes(hashes)
            tile += 1
        return tile
