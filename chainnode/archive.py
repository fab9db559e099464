"""Moving batch bodies from the store to archive segments, so that a crash at any point leaves each in one of the two.

The order is the whole of it: a segment is written and synced, read again and verified, named, listed in the manifest;
then, in writes of bounded size, its bodies give way to short rows; then LevelDB is asked to compact the range, since
only that gives room back. Here: those steps, as a generator that its owner drives at a pace of its own, and the report
of what was freed. Not here: bytes and files (`ledger.archive`, `chainnode.archive_files`), how high bodies may be moved
(`ledger.archive_store`), the node's task (`chainnode.archive_keeper`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from chainnode.archive_files import UNFINISHED, ArchiveDirectory, Judge
from ledger import rows
from ledger.archive import Anchor, ArchiveDamaged, SegmentContent, SegmentEntry, judge_signature
from ledger.archive_store import archived_rows, moved_height, moving_rows
from ledger.archive_writer import SegmentWriter
from ledger.base import NotHere
from ledger.reader import LedgerReader
from ledger.store import Store
from primitives.block import Block
from primitives.errors import StorageError
from primitives.ids import Hash, Height

ROWS_A_WRITE: Final = 512
"""Bodies that one write to the store deletes: it waits beside the writes of blocks."""

COMPACTIONS: Final = 16
"""Parts in which the range of bodies is compacted; keys are hashes, so each is as large as the next."""


@dataclass(frozen=True, slots=True)
class Step:
    """Where moving stands: what is being done, at which height, up to which."""

    doing: str
    height: int
    upto: int


@dataclass(slots=True)
class MoveReport:
    """What was moved, and what the store took on the disk before and after compaction, from the file system."""

    first_height: int = 0
    last_height: int = 0
    segments: int = 0
    blocks: int = 0
    batches: int = 0
    events: int = 0
    body_bytes: int = 0
    segment_bytes: int = 0
    store_bytes_before: int = 0
    store_bytes_after: int = 0

    def as_row(self) -> dict[str, Any]:  # Any: JSON values
        """Return the report as JSON has it, with figures per event."""
        freed = self.store_bytes_before - self.store_bytes_after
        found = {**asdict(self), "freed_bytes": freed}
        if self.events:
            found["body_bytes_per_event"] = round(self.body_bytes / self.events, 1)
            found["segment_bytes_per_event"] = round(self.segment_bytes / self.events, 1)
            found["freed_bytes_per_event"] = round(freed / self.events, 1)
        return found


class Mover:
    """Moves the bodies of one store to one archive; one at a time. Every step may be the last."""

    def __init__(
        self,
        store: Store,
        reader: LedgerReader,
        archive: ArchiveDirectory,
        *,
        now_ms: Callable[[], int],
        compact: Callable[[bytes, bytes], None] = lambda _start, _stop: None,
        measure: Callable[[], int] = lambda: 0,
    ) -> None:
        """`store` holds the bodies themselves, `compact` and `measure` are its disk's."""
        self._store = store
        self._reader = reader
        self._archive = archive
        self._now_ms = now_ms
        self._compact = compact
        self._measure = measure
        self.report = MoveReport()

    def run(self, upto: int, by: str) -> Iterator[Step]:
        """Move all bodies of blocks up to `upto`, which is within the floor, and account for it in `report`."""
        with self._archive.disk.lock():
            yield from self._run(upto, by)

    def _run(self, upto: int, by: str) -> Iterator[Step]:
        # What waits in memory goes to a table now: LevelDB merges it with later deletions, but keeps both in one table.
        self._compact(rows.batch_key(b""), rows.batch_key(b"\0"))
        self.report = report = MoveReport(store_bytes_before=self._measure())
        yield Step("flushing", moved_height(self._store), upto)
        yield from self._finish_last(by)
        while (start := moved_height(self._store) + 1) <= upto:
            entry = yield from self._segment(start, upto)
            yield from self._delete(entry, by)
            report.first_height = report.first_height or entry.first_height
            report.last_height = entry.last_height
            report.segments += 1
            report.blocks += entry.last_height - entry.first_height + 1
            report.batches += entry.batches
            report.events += entry.events
            report.body_bytes += entry.body_bytes
            report.segment_bytes += entry.size
        yield from self._compact_bodies(upto)
        report.store_bytes_after = self._measure()

    # --- a segment

    def _segment(self, start: int, upto: int) -> Generator[Step, None, SegmentEntry]:
        """Return a listed segment that begins with `start` and was found good: one that is there, or a new one."""
        for entry in self._archive.manifest(fresh=True).segments:
            if entry.first_height == start and entry.last_height <= upto:
                try:
                    self._check_is_store(entry, (yield from self._verified(entry, judge_signature)))
                except ArchiveDamaged:
                    continue  # it is made anew
                return entry
        entry = yield from self._write(start, upto)
        self._check_is_store(entry, (yield from self._verified(entry, name=UNFINISHED)))
        self._archive.finish(entry)
        yield Step("listed", entry.last_height, upto)
        return entry

    def _write(self, start: int, upto: int) -> Generator[Step, None, SegmentEntry]:
        """Write and sync the unfinished file."""
        writer, disk = SegmentWriter(self._archive.chain_id), self._archive.disk
        disk.begin(UNFINISHED)
        height = start
        while height <= upto and not writer.full:
            block = self._block(height)
            disk.append(UNFINISHED, writer.add(block, [self._body(item) for item in block.batch_hashes]))
            yield Step("writing", height, upto)
            height += 1
        data, entry = writer.finish(self._anchor(height - 1))
        disk.append(UNFINISHED, data)
        disk.sync(UNFINISHED)
        yield Step("written", entry.last_height, upto)
        return entry

    def _verified(
        self, entry: SegmentEntry, judge: Judge | None = None, *, name: str | None = None
    ) -> Generator[Step, None, SegmentContent]:
        """Read a segment back from the disk and verify all of it. Raises ArchiveDamaged."""
        checking = self._archive.verify(entry, judge, name=name)
        while True:
            try:
                next(checking)
            except StopIteration as end:
                content: SegmentContent = end.value
                return content
            yield Step("verifying", entry.first_height, entry.last_height)

    def _check_is_store(self, entry: SegmentEntry, content: SegmentContent) -> None:
        """Raise StorageError unless a segment holds the very blocks of this store."""
        for block in content.blocks:
            if block != self._block(block.header.height):
                raise StorageError(
                    "a segment holds another block than the store",
                    where=f"segment {entry.name}, block {block.header.height}",
                    hint="run `chainnode fsck`, and `chainnode archive verify` on the archive",
                )

    def _anchor(self, height: int) -> Anchor | None:
        checkpoint, header = self._reader.checkpoint(), self._reader.header(height)
        assert header is not None, "a block that is moved stands in the store"
        index = header.first_index + header.event_count
        if checkpoint is None or index >= checkpoint.size:
            return None
        return Anchor(checkpoint.note, tuple(self._reader.log.inclusion(index, checkpoint.size)))

    # --- the store

    def _delete(self, entry: SegmentEntry, by: str) -> Iterator[Step]:
        """Replace the bodies of a segment that was read back and found good by their rows, where it is listed."""
        todo: list[tuple[Hash, int]] = []
        for height in range(entry.first_height, entry.last_height + 1):
            todo += [(item, height) for item in self._block(height).batch_hashes if self._is_here(item)]
            if len(todo) >= ROWS_A_WRITE:
                self._delete_some(entry, todo, by)
                todo = []
                yield Step("deleting", height, entry.last_height)
        self._delete_some(entry, todo, by)
        yield Step("deleted", entry.last_height, entry.last_height)

    def _delete_some(self, entry: SegmentEntry, batches: list[tuple[Hash, int]], by: str) -> None:
        """Replace some of them in one write. Asked before each: an archive may be taken away amid a pass."""
        if entry not in self._archive.manifest(fresh=True).segments:
            raise StorageError("a segment is not listed", where=f"segment {entry.name}")
        if not self._archive.is_whole(entry):
            raise StorageError("a segment is not there any more", where=f"segment {entry.name}")
        puts = moving_rows(self._store, entry, batches, time_ms=self._now_ms(), by=by)
        if puts:
            self._store.write(puts, sync=True)

    def _finish_last(self, by: str) -> Iterator[Step]:
        """Delete what a crash kept from being deleted: bodies of the segment that was recorded last."""
        last = next(archived_rows(self._store), None)
        if last is None:
            return
        heights = range(last.first_height, last.last_height + 1)
        if not any(self._is_here(item) for height in heights for item in self._block(height).batch_hashes):
            return
        for entry in self._archive.manifest(fresh=True).segments:
            if bytes.fromhex(entry.sha256) == last.segment:
                self._check_is_store(entry, (yield from self._verified(entry, judge_signature)))
                yield from self._delete(entry, by)

    def _compact_bodies(self, upto: int) -> Iterator[Step]:
        """Compact the rows of bodies, part by part: only then does LevelDB give their room back."""
        edges = [rows.batch_key(bytes([part * 256 // COMPACTIONS])) for part in range(COMPACTIONS)]
        for start, stop in zip(edges, [*edges[1:], rows.all_of(b"B")[1]], strict=True):
            self._compact(start, stop)
            yield Step("compacting", upto, upto)

    def _is_here(self, batch_hash: Hash) -> bool:
        return self._store.get(rows.batch_key(batch_hash)) is not None

    def _body(self, batch_hash: Hash) -> bytes:
        body = self._store.get(rows.batch_key(batch_hash))
        if body is None:
            raise StorageError("batch missing", where=f"batch {batch_hash.hex()}", hint="run `chainnode fsck`")
        return body

    def _block(self, height: int) -> Block:
        committed = self._reader.committed_block(height)
        if committed is None:
            raise StorageError("block missing", where=f"height {height}", hint="run `chainnode fsck`")
        return committed.block


def size_on_disk(path: Path) -> int:
    """Return the bytes that the files of a directory take on the disk, by the blocks that the file system gave them."""
    total = 0
    for item in path.rglob("*"):
        try:
            total += item.stat().st_blocks * 512
        except FileNotFoundError:
            continue  # LevelDB removes files in the background
    return total


def reachable_height(reader: LedgerReader, floor: int, *, keep_blocks: int, keep_days: int, now_ms: int) -> Height:
    """Return up to which height a node's settings move bodies: older than both say, and within the floor.

    A setting of 0 says nothing; where both are 0, nothing is moved.
    """
    tip = reader.tip()
    if tip is None or not (keep_blocks or keep_days):
        return Height(0)
    limit = min(int(floor), tip.height - keep_blocks)
    if keep_days:
        try:
            oldest = reader.height_at_time(now_ms - keep_days * DAY_MS)
        except NotHere:  # all that is here of a history that began from a snapshot is younger
            oldest = None
        limit = min(limit, 0 if oldest is None else oldest)
    return Height(max(0, limit))


DAY_MS: Final = 86_400_000
