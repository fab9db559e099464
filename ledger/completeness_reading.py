"""Making proofs of completeness: a member's batches between two heights, and what proves that they are all.

Only the present heads of batch logs are kept. Those at the block that a checkpoint covers, a little behind the tip, are
found by undoing the batches since: a batch names its own number and the one before it. Pure; it only reads. Not here:
the proof's form and its verification (`ledger.completeness`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ledger import rows
from ledger.base import before_the_base
from ledger.batch_logs import MemberHead
from ledger.batch_places import place_of
from ledger.batches import Batch
from ledger.completeness import (
    COMPLETENESS_VERSION,
    BatchPart,
    BlockPart,
    Completeness,
    HeadPart,
)
from ledger.log_tiles import TileReader
from ledger.reader import LedgerReader
from ledger.receipts import handovers_to
from ledger.rows import BatchLeafRow, MemberLogRow, SourceTip
from ledger.tlog_proofs import TlogProof
from ledger.views import CheckpointView
from ledger.witnessed import checkpoint_for_proof
from primitives import merkle
from primitives.encoding import encode
from primitives.errors import StorageError
from primitives.hashing import leaf_hash
from primitives.ids import Hash, Height

PAGE_BYTES = 1 << 20
"""A page ends with the block in which the events of the member reach this size."""


@dataclass(frozen=True, slots=True)
class CompletePage:
    """A proof for the heights up to `to_height`, which is less than what was asked for where that would be too large.

    `covered` is the newest height that a stable checkpoint covers.
    """

    proof: str
    to_height: Height
    covered: Height


def make_completeness(
    reader: LedgerReader,
    member: str,
    from_height: int,
    to_height: int,
    *,
    from_epoch: int = 0,
    page: int = PAGE_BYTES,
    witnesses: Collection[str] = (),
) -> CompletePage | None:
    """Return the proof of all that a member submitted from one height to another, or to as far as a page reaches.

    Heights beyond what the newest stable checkpoint covers are left out; None where it does not cover `from_height`.
    With `witnesses`, key names, it is the newest one that all of these cosigned.
    """
    checkpoint = _checkpoint(reader, to_height, witnesses)
    covered = None if checkpoint is None else covered_height(reader, checkpoint)
    if checkpoint is None or covered is None or from_height > covered:
        return None
    log = _MemberLog(reader, member, covered)
    start, stop = log.first_at(from_height), log.first_at(min(to_height, covered) + 1)
    end, last = _page(reader, log, start, stop, page)
    upto = min(to_height, covered) if end == stop else last
    first, beyond = max(0, start - 1), min(end + 1, log.size)
    batches = [log.part(index, checkpoint, inside=start <= index < end) for index in range(first, beyond)]
    edges = {from_height - 1, upto + 1} & set(range(covered + 1))
    heights = sorted(edges | {batch.height for batch in batches})
    header = reader.header(covered)
    assert header is not None, "a covered height has a block"
    before, after = merkle.range_proof(first, beyond, log.size)
    extra = Completeness(
        version=COMPLETENESS_VERSION,
        member=member,
        from_height=from_height,
        to_height=upto,
        header=header,
        heads=_heads(reader, member, covered),
        first=first,
        before=tuple(log.tiles.subtree(part) for part in before),
        after=tuple(log.tiles.subtree(part) for part in after),
        batches=tuple(batches),
        blocks=tuple(_block(reader, height, checkpoint) for height in heights),
        handovers=handovers_to(reader, checkpoint.size, from_epoch),
    )
    place = header.first_index + header.event_count
    path = tuple(reader.log.inclusion(place, checkpoint.size))
    return CompletePage(TlogProof(encode(extra), place, path, checkpoint.note).text(), Height(upto), Height(covered))


def _checkpoint(reader: LedgerReader, to_height: int, witnesses: Collection[str]) -> CheckpointView | None:
    """Return a checkpoint that covers as much of the range as the newest one does, and that most witnesses cosigned."""
    newest = checkpoint_for_proof(reader, 0, witnesses) if witnesses else reader.checkpoint()
    covered = None if newest is None else covered_height(reader, newest)
    last = None if covered is None else reader.header(min(to_height, covered))
    if last is None:
        return newest
    return checkpoint_for_proof(reader, last.first_index + last.event_count + 1, witnesses)


def covered_height(reader: LedgerReader, checkpoint: CheckpointView) -> int | None:
    """Return the newest height whose header's leaf a checkpoint covers; None where it covers none."""
    height = reader.height_at_log_index(checkpoint.size - 1)
    block = None if height is None else reader.header(height)
    if block is None:
        return None
    covered = int(block.height) if block.first_index + block.event_count < checkpoint.size else int(block.height) - 1
    return covered if covered >= 0 else None


def _page(reader: LedgerReader, log: _MemberLog, start: int, stop: int, limit: int) -> tuple[int, int]:
    """Return the end of the page that begins with batch `start`, and the height of its last block."""
    size, index, height = 0, start, 0
    while index < stop:
        leaf = log.leaf(index)
        if size >= limit and leaf.height != height:
            break
        height = int(leaf.height)
        size += len(reader.batch_bytes(leaf.header.hash()) or b"")
        index += 1
    return index, height


class _MemberLog:
    """A member's batch log as it stood after the block at a height."""

    def __init__(self, reader: LedgerReader, member: str, height: int) -> None:
        self._reader = reader
        self._member = member
        self.tiles = TileReader(reader.store, member.encode())
        head = head_at(reader, member, height)
        self.size = 0 if head is None else head.size

    def leaf(self, index: int) -> BatchLeafRow:
        """Return a leaf with its height."""
        return _leaf(self._reader, self._member, index)

    def first_at(self, height: int) -> int:
        """Return the index of the first batch at this height or above it; the size where there is none."""
        low, high = _first_leaf(self._reader, self._member, self.size), self.size
        while low < high:
            middle = (low + high) // 2
            if self.leaf(middle).height < height:
                low = middle + 1
            else:
                high = middle
        return low

    def part(self, index: int, checkpoint: CheckpointView, *, inside: bool) -> BatchPart:
        """Return what a proof shows of a batch: all of one inside of the range, of a neighbour the header."""
        leaf = self.leaf(index)
        block = self._reader.block(leaf.height)
        assert block is not None, "a batch of the log has a block"
        stands = place_of(block.batch_hashes, leaf.header.hash())
        if not inside:
            return BatchPart(leaf.header, leaf.height, stands, None, (), 0, (), ())
        raw = self._reader.batch_bytes(leaf.header.hash())
        if raw is None:
            raise StorageError("batch missing", where=f"batch {leaf.header.hash().hex()}", hint="run `chainnode fsck`")
        batch = rows.read_row(Batch, raw, where=f"batch {leaf.header.hash().hex()}")
        place = self._reader.batch_place(leaf.height, leaf.header.hash())
        sides = merkle.range_proof(place, place + len(batch.events), checkpoint.size)
        before, after = (tuple(map(self._reader.log.subtree, side)) for side in sides)
        return BatchPart(leaf.header, leaf.height, stands, batch.signature, batch.events, place, before, after)


def _first_leaf(reader: LedgerReader, member: str, size: int) -> int:
    """Return the index of the first leaf that is here of a member's batch log of `size`: others lie before the base."""
    if not reader.base():
        return 0
    start, stop = rows.batch_leaf_key(member, 0), rows.batch_leaf_key(member, size)
    return next((int.from_bytes(key[-8:], "big") for key, _ in reader.store.iterate(start, stop)), size)


def _leaf(reader: LedgerReader, member: str, index: int) -> BatchLeafRow:
    data = reader.store.get(rows.batch_leaf_key(member, index))
    if data is None and index < _first_leaf(reader, member, index + 1):
        raise before_the_base(f"batch {index} of {member}", reader.base())
    if data is None:
        raise StorageError("leaf of a batch log missing", where=f"{member}, {index}", hint="run `chainnode fsck`")
    return rows.read_row(BatchLeafRow, data, where=f"batch log of {member}, {index}")


def head_at(reader: LedgerReader, member: str, height: int) -> MemberHead | None:
    """Return a member's head after the block at a height; None where it had submitted nothing. O(batches since).

    NotHere for a height before the base.
    """
    if height < reader.base():
        raise before_the_base(f"the batch logs after block {height}", reader.base())
    data = reader.store.get(rows.member_log_key(member))
    if data is None:
        return None
    row = rows.read_row(MemberLogRow, data, where=f"batch log of {member}")
    sources = {tip.source: tip for tip in row.sources}
    size = row.size
    first = _first_leaf(reader, member, size)
    while size > first:
        leaf = _leaf(reader, member, size - 1)
        if leaf.height <= height:
            break
        header = leaf.header
        if header.number:
            sources[header.source] = SourceTip(header.source, header.number, Hash(header.previous))
        else:
            del sources[header.source]
        size -= 1
    if not size:
        return None
    ordered = tuple(sources[key] for key in sorted(sources))
    return MemberHead(member, size, TileReader(reader.store, member.encode()).root(size), ordered)


def _heads(reader: LedgerReader, member: str, height: int) -> tuple[HeadPart, ...]:
    """Return the member's head among all, or those around its place where it has none."""
    names = sorted(key[1:].decode() for key, _ in reader.store.iterate(*rows.all_of(b"M")))
    heads = [head for head in (head_at(reader, name, height) for name in names) if head is not None]
    hashes = [leaf_hash(encode(head)) for head in heads]
    place = next((i for i, head in enumerate(heads) if head.member >= member), len(heads))
    own = place < len(heads) and heads[place].member == member
    shown = [place] if own else [i for i in (place - 1, place) if 0 <= i < len(heads)]
    return tuple(HeadPart(heads[i], i, len(heads), tuple(merkle.inclusion_path(hashes, i))) for i in shown)


def _block(reader: LedgerReader, height: int, checkpoint: CheckpointView) -> BlockPart:
    block = reader.block(height)
    assert block is not None, "a covered height has a block"
    path = tuple(reader.log.inclusion(block.log_index, checkpoint.size))
    return BlockPart(block.header, path, reader.rejected(height))
