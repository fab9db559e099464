"""The node's task that moves old bodies to the archive: on an operator's word, or by the node's own settings.

It works beside everything else the node does: one bounded step at a time on a thread of its own, resting after each as
long as it took. Here: when a pass begins and how far it goes, what is told of it, and whether the archive still holds
what was moved. Not here: the steps (`chainnode.archive`), the method (`rpc.methods.archive`).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

import structlog

from chainnode.archive import Mover, MoveReport, Step, reachable_height
from chainnode.archive_files import Archives
from chainnode.config import LedgerSection
from ledger.archive_store import BODIES_KEPT_BLOCKS_MIN, archived_rows, minimum_index, movable_height, moved_height
from ledger.reader import LedgerReader
from ledger.store import Store
from primitives.errors import ChainError, UsageError
from rpc.ports import ArchivedSegment, ArchiveStatus

CHECK_S: Final = 60.0
FIRST_CHECK_S: Final = 5.0
REST_S_MIN: Final = 0.002
PASS_PART: Final = 10
"""A pass by the node's settings begins when a tenth of the blocks with bodies here would be moved: compaction rewrites
the other bodies too, so that moving a few at a time would wear the disk for nothing."""

SEGMENTS_TOLD_MAX: Final = 100

log = structlog.get_logger("archive")


class Indexed(Protocol):
    """The index, which reads bodies once."""

    @property
    def kept_height(self) -> int | None:
        """The height up to which it reads no body again, not even after a crash."""


@dataclass(frozen=True, slots=True)
class _Order:
    """A pass that was asked for: up to which height, and by whom."""

    upto: int
    by: str


class ArchiveKeeper:
    """Owns the moving of one node's bodies; `run` is its task, everything else is called on the same loop."""

    def __init__(
        self,
        *,
        store: Store,
        reader: LedgerReader,
        archives: Archives,
        index: Indexed,
        settings: LedgerSection,
        now_ms: Callable[[], int],
        compact: Callable[[bytes, bytes], None],
        measure: Callable[[], int],
    ) -> None:
        """`archives.directories[0]` is the one that is written to; `store` holds the bodies themselves."""
        self._store = store
        self._reader = reader
        self._archives = archives
        self._index = index
        self._settings = settings
        self._now_ms = now_ms
        self._io = ThreadPoolExecutor(1, "archive")
        self._mover = Mover(store, reader, archives.directories[0], now_ms=now_ms, compact=compact, measure=measure)
        self._order: _Order | None = None
        self._ordered = asyncio.Event()
        self._step: Step | None = None
        self._report: MoveReport | None = None
        self._problem = ""
        self._moved = moved_height(store)
        self._missing = 0

    # --- rpc.ports.ArchiveControl

    @property
    def archived_height(self) -> int:
        """The height up to which bodies were moved."""
        return self._moved

    @property
    def missing_height(self) -> int:
        """The highest height whose bodies were moved and that no archive here held at the last look; 0 for none."""
        return self._missing

    @property
    def minimum_index(self) -> int:
        """The index of the log below which entries may not be served: no archive here holds them."""
        return minimum_index(self._reader, self._missing)

    def start(self, height: int | None, older_than_days: int | None) -> int:
        """Begin a pass up to a height, or to what is older than so many days; return the height.

        Raises UsageError where it is above the floor, where nothing is to be moved, or while another pass goes on.
        """
        if self._order is not None:
            raise UsageError("bodies are being moved already", got=f"up to block {self._order.upto}")
        upto = order_height(self._reader, self._index.kept_height, height, older_than_days, self._now_ms())
        self._order = _Order(upto, "operator")
        self._ordered.set()
        return upto

    def status(self) -> ArchiveStatus:
        """Return where moving stands, and the newest of what was moved."""
        step, tip = self._step, self._reader.tip()
        segments = [
            ArchivedSegment(
                row.first_height, row.last_height, row.segment.hex(), row.batches, row.events, row.body_bytes,
                row.segment_bytes, row.time_ms, row.by,
            )
            for row in islice(archived_rows(self._store), SEGMENTS_TOLD_MAX)
        ]  # fmt: skip
        return ArchiveStatus(
            archived_height=self._moved,
            missing_height=self._missing,
            minimum_index=self.minimum_index,
            floor_height=int(movable_height(self._reader, self._index.kept_height)),
            running=self._order is not None,
            doing="" if step is None else step.doing,
            height=0 if step is None else step.height,
            upto=0 if self._order is None else self._order.upto,
            problem=self._problem,
            report=None if self._report is None else self._report.as_row(),
            segments=segments,
            as_of=0 if tip is None else int(tip.height),
        )

    # --- the task

    async def run(self) -> None:
        """Move bodies whenever it is time or asked for; a pass that fails is told, and the node goes on."""
        loop = asyncio.get_running_loop()
        patience = FIRST_CHECK_S
        while True:
            try:
                self._missing = await loop.run_in_executor(self._io, self._find_missing)
                await asyncio.wait_for(self._ordered.wait(), patience)
            except TimeoutError:
                self._order = self._next_due()
            except (ChainError, OSError) as error:  # a node votes whatever becomes of its archive
                self._fail("archive_not_read", error)
                await asyncio.sleep(patience)
            patience = CHECK_S
            self._ordered.clear()
            if self._order is not None:
                await self._pass(self._order)
                self._order = None

    def close(self) -> None:
        """Return when the step that is being done has ended."""
        self._io.shutdown(wait=True)

    async def _pass(self, order: _Order) -> None:
        loop = asyncio.get_running_loop()
        self._problem, self._report = "", None
        log.info("moving_bodies", upto=order.upto, by=order.by)
        steps = self._mover.run(order.upto, order.by)
        try:
            while True:
                started = time.monotonic()
                step = await loop.run_in_executor(self._io, _next, steps)
                if step is None:
                    break
                self._step = step
                await asyncio.sleep(max(REST_S_MIN, time.monotonic() - started))
            self._report = self._mover.report
            log.info("moved_bodies", **self._report.as_row())
        except (ChainError, OSError) as error:
            self._fail("bodies_not_moved", error)
        finally:
            self._step = None
            self._moved = moved_height(self._store)

    def _fail(self, event: str, error: ChainError | OSError) -> None:
        self._problem = problem_text(error)
        log.error(event, error=str(error), hint="what was not recorded is still in the store")

    def _next_due(self) -> _Order | None:
        try:
            return self._due()
        except ChainError as error:
            self._fail("bodies_not_moved", error)
            return None

    def _due(self) -> _Order | None:
        """Return the pass that the node's settings ask for now."""
        days, blocks = self._settings.keep_bodies_days, self._settings.keep_bodies_blocks
        floor = movable_height(self._reader, self._index.kept_height)
        upto = reachable_height(self._reader, floor, keep_blocks=blocks, keep_days=days, now_ms=self._now_ms())
        tip = self._reader.tip()
        if tip is None or upto - self._moved < max(1, (tip.height - self._moved) // PASS_PART):
            return None
        return _Order(int(upto), f"keep_bodies_blocks = {blocks}, keep_bodies_days = {days}")

    def _find_missing(self) -> int:
        """Return the highest height whose bodies were moved and that no segment here holds, by lists and files."""
        missing = self._archives.missing_height(int(self._reader.base()), int(moved_height(self._store)))
        if missing and missing != self._missing:
            log.error("archive_incomplete", height=missing, hint="put it back: `chainnode archive add DIR`")
        return missing


def _next(steps: Iterator[Step]) -> Step | None:
    return next(steps, None)


def problem_text(error: ChainError | OSError) -> str:
    """Return an error for whoever may ask a node: what is wrong, not where its files lie; the log tells that."""
    if isinstance(error, ChainError):
        said = [error.what, *(f"{name} {value}" for name, value in (("at", error.where), ("got", error.got)) if value)]
    else:
        said = ["files cannot be used", error.strerror or type(error).__name__]
    return ", ".join(part for part in said if os.sep not in part)


def order_height(
    reader: LedgerReader, indexed: int | None, height: int | None, older_than_days: int | None, now_ms: int
) -> int:
    """Return up to which height an operator's order moves bodies: all that the floor allows where it names nothing.

    Raises UsageError where a named height is above the floor, and where nothing is left to be moved.
    """
    floor = int(movable_height(reader, indexed))
    upto = floor
    if older_than_days is not None:
        upto = int(reachable_height(reader, floor, keep_blocks=0, keep_days=older_than_days, now_ms=now_ms))
    if height is not None:
        if height > floor:
            raise UsageError(
                "bodies of these blocks stay in the store",
                expected=f"at most block {floor}",
                got=f"block {height}",
                hint="the newest blocks stay, and what no stable checkpoint or index has reached",
            )
        upto = min(upto, height) if older_than_days is not None else height
    moved = int(moved_height(reader.store))
    if upto <= moved:
        raise UsageError(
            "there is nothing to move",
            expected=f"blocks from {moved + 1} on that may leave the store",
            got="none",
            hint=f"the newest {BODIES_KEPT_BLOCKS_MIN} blocks stay, and what no stable checkpoint or index has reached",
        )
    return upto
