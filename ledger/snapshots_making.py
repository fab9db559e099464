"""Making a snapshot from a store, beside the node that writes it.

What is read is kept for every height (nodes of the state, tiles, leaves of batch logs), so blocks that are committed
meanwhile change nothing of it, and nothing is locked or copied first. Memory is bounded by one chunk and one node a
level of the state's map. Pure. Not here: the file that it becomes (`chainnode.snapshot_file`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ledger import rows
from ledger.completeness_reading import head_at
from ledger.handovers import Handover, make_handovers
from ledger.log_tiles import LogTip, TileReader
from ledger.reader import LedgerReader
from ledger.recent_blocks import RECENT_BLOCKS
from ledger.smt import path_of
from ledger.snapshots import (
    CHUNK_BYTES,
    SNAPSHOT_VERSION,
    ChunkEntry,
    LogPart,
    Manifest,
    MemberPart,
    Section,
    StateRow,
    Tails,
    pack_chunk,
)
from ledger.snapshots_state import leaves_of
from primitives.block import BlockHeader
from primitives.encoding import decode, encode
from primitives.errors import StorageError, UsageError
from primitives.ids import Height
from primitives.votes import QuorumCertificate

PROGRESS_MAX = 1 << 16

Item = tuple[Section, bytes]


@dataclass(frozen=True, slots=True)
class Anchor:
    """A committed block with what proves it to who holds the genesis."""

    header: BlockHeader
    certificate: QuorumCertificate
    handovers: tuple[Handover, ...]


@dataclass(frozen=True, slots=True)
class MadeChunk:
    """A chunk with its bytes; `progress` of PROGRESS_MAX parts of the snapshot are done with it."""

    entry: ChunkEntry
    data: bytes
    progress: int


class NoCheckpoint(UsageError):
    """There is no block yet that a snapshot could be made of."""

    reason = "checkpoint_pending"


def first_kept(height: int) -> int:
    """Return the height of the first block that a snapshot at `height` holds: execution knows the newest by hash."""
    return max(1, height - RECENT_BLOCKS)


def anchor_at(reader: LedgerReader, height: int) -> Anchor:
    """Return the block at `height` (at least 1) with its certificate and the handovers to its epoch."""
    committed = reader.committed_block(height)
    if committed is None or committed.certificate is None:
        raise StorageError("block of a snapshot missing", where=f"height {height}", hint="run `chainnode fsck`")
    header = committed.block.header
    return Anchor(header, committed.certificate, make_handovers(reader, header.epoch))


def items_at(reader: LedgerReader, height: int) -> Iterator[Item]:
    """Yield the items of the snapshot at `height`, in the order of the file."""
    header = reader.header(height)
    assert header is not None, "an anchor was made"
    log = TileReader(reader.store).tip(header.first_index + header.event_count)
    yield Section.LOG, encode(LogPart(tails_of(log)))
    for number in range(first_kept(height), height + 1):
        committed = reader.committed_block(number)
        if committed is None:
            raise StorageError("block of a snapshot missing", where=f"height {number}", hint="run `chainnode fsck`")
        yield Section.BLOCKS, encode(committed)
    for key, _ in reader.store.iterate(*rows.all_of(b"M")):
        head = head_at(reader, key[1:].decode(), height)
        if head is not None:
            tip = TileReader(reader.store, head.member.encode()).tip(head.size)
            yield Section.MEMBERS, encode(MemberPart(head.member, head.size, head.sources, tails_of(tip)))
    for state_key, value in leaves_of(header.state_root, lambda node: reader.store.get(rows.node_key(node))):
        yield Section.STATE, encode(StateRow(state_key, value))


def tails_of(tip: LogTip) -> Tails:
    """Return the right edge of a log as a snapshot has it."""
    return tuple(b"".join(tail) for tail in tip.tails)


class SnapshotMaking:
    """One snapshot in the making: first `chunks`, to their end, then `manifest`."""

    def __init__(self, reader: LedgerReader, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        """Choose the block: that of the newest stable checkpoint. Raises NoCheckpoint where there is none above 0."""
        checkpoint = reader.checkpoint()
        height = None if checkpoint is None else reader.height_at_log_index(checkpoint.size - 1)
        if checkpoint is None or not height:
            raise NoCheckpoint("no block with a stable checkpoint yet", hint="submit something, then ask again")
        self.height = Height(height)
        self._reader = reader
        self._checkpoint = checkpoint
        self._anchor = anchor_at(reader, height)
        self._chunk_bytes = chunk_bytes
        self._entries: list[ChunkEntry] = []
        self._counts = dict.fromkeys(Section, 0)
        header = self._anchor.header
        if header.first_index + header.event_count + 1 != checkpoint.size:
            raise StorageError("checkpoint does not end with a block", where=f"size {checkpoint.size}")

    def chunks(self) -> Iterator[MadeChunk]:
        """Yield the chunks, in the order of the file."""
        section, items, size = Section.LOG, list[bytes](), 0
        for of, item in items_at(self._reader, self.height):
            if items and (of is not section or size >= self._chunk_bytes):
                yield self._chunk(section, items, _progress(section, items[-1]))
                items, size = [], 0
            section = of
            items.append(item)
            size += len(item)
            self._counts[of] += 1
        yield self._chunk(section, items, PROGRESS_MAX)

    def manifest(self) -> Manifest:
        """Return the manifest of the chunks that were made."""
        anchor = self._anchor
        return Manifest(
            version=SNAPSHOT_VERSION,
            chain_id=anchor.header.chain_id,
            height=self.height,
            header=anchor.header,
            certificate=anchor.certificate,
            checkpoint=self._checkpoint.note,
            handovers=anchor.handovers,
            blocks=self._counts[Section.BLOCKS],
            members=self._counts[Section.MEMBERS],
            state_rows=self._counts[Section.STATE],
            chunks=tuple(self._entries),
        )

    def _chunk(self, section: Section, items: list[bytes], progress: int) -> MadeChunk:
        entry, data = pack_chunk(section, items)
        self._entries.append(entry)
        return MadeChunk(entry, data, progress)


def _progress(section: Section, item: bytes) -> int:
    """Return how far the state is read: paths are hashes, so they lie evenly."""
    if section is not Section.STATE:
        return 0
    row = decode(StateRow, item, size_max=len(item))
    return int.from_bytes(path_of(row.key)[:2], "big")
