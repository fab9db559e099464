"""Completeness: all that a member submitted between two heights, with the proof that nothing is missing; offline.

What leads to what: a checkpoint names a block header, which names every member's head (size and root of its batch log).
All batches of a range of that log are shown with their neighbours on both sides. Each is named by a block, so the
neighbours lie outside of the heights that were asked for, and what lies between is all there is: a batch log grows in
the order of the chain. For a member without any batch, the heads around its place are shown instead. The blocks
before and after the range tell the times that it covers. Pure. Here: the proof and its verification. Not here: making
it (`ledger.completeness_reading`). Source: architecture §6 (Members' batch logs).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from ledger.batch_headers import BATCH_EVENTS_MAX, BatchHeader, Bytes64, batch_statement
from ledger.batch_logs import MemberHead
from ledger.batch_places import BatchPlace, Index, Path, verify_place
from ledger.events import EVENT_SIZE_MAX, Event, Member, event_id
from ledger.handovers import HANDOVERS_MAX, Handover
from ledger.outcomes import APPLIED, Outcome, outcomes_root
from ledger.proof_steps import (
    BATCH,
    BATCH_LOG,
    BLOCKS,
    EVENT,
    EXTRA,
    HEADER,
    HEADS,
    OUTCOME,
    RANGE,
    SOURCE,
    TIME,
    step,
)
from ledger.receipts import check_header, check_place
from ledger.tlog_proofs import TlogProof, parse_tlog_proof
from ledger.trust_policy import CheckedCheckpoint, parse_policy
from primitives import merkle
from primitives.block import BlockHeader
from primitives.encoding import Record, decode, encode
from primitives.errors import EncodingError, ProofError
from primitives.hashing import leaf_hash
from primitives.ids import EventId, Hash, Height, MemberId, SourceKey, TimeMs
from primitives.keys import verify as verify_signature

COMPLETENESS_VERSION = 1
COMPLETENESS_SIZE_MAX = 64 << 20
BLOCK_EVENTS_MAX = 1 << 16
ALL_BATCHES_MAX = 1 << 16

EventBytes = Annotated[bytes, Meta(max_length=EVENT_SIZE_MAX)]


class HeadPart(Record):
    """A member's head, and its path among all heads: leaf `index` of `count`."""

    head: MemberHead
    index: Index
    count: Index
    path: Path


class BlockPart(Record):
    """A block: its header with the path in the log, and the events that were not applied."""

    header: BlockHeader
    path: Path
    rejected: Annotated[tuple[tuple[int, Outcome], ...], Meta(max_length=BLOCK_EVENTS_MAX)]


class BatchPart(Record):
    """A batch of the member: its block and place there, its events, and where the first of them stands in the log.

    `before` and `after` are the subtrees of the log beside all of its events: another batch of the block may begin with
    the same event, and have other outcomes. A neighbour of the range comes without events, signature and log index:
    only its block matters.
    """

    header: BatchHeader
    height: Index
    place: BatchPlace
    signature: Bytes64 | None
    events: Annotated[tuple[EventBytes, ...], Meta(max_length=BATCH_EVENTS_MAX)]
    log_index: Index
    before: Path
    after: Path


class Completeness(Record):
    """The extra data of a proof of completeness, which is a tlog-proof of the leaf of `header`.

    `heads` is the member's own, or those next to its place where it has none. `first` is the index of the first of
    `batches` in the member's log; `before` and `after` are the subtrees beside them. `blocks` are all blocks that
    the batches name, the one before `from_height` and the one after `to_height`, ascending.
    """

    version: int
    member: Member
    from_height: Index
    to_height: Index
    header: BlockHeader
    heads: Annotated[tuple[HeadPart, ...], Meta(max_length=2)]
    first: Index
    before: Path
    after: Path
    batches: Annotated[tuple[BatchPart, ...], Meta(max_length=ALL_BATCHES_MAX)]
    blocks: Annotated[tuple[BlockPart, ...], Meta(max_length=ALL_BATCHES_MAX)]
    handovers: Annotated[tuple[Handover, ...], Meta(max_length=HANDOVERS_MAX)]


@dataclass(frozen=True, slots=True)
class ProvedEvent:
    """An event of a complete list: what became of it, in which block, and which source submitted it in which batch."""

    event_id: EventId
    event: Event
    event_bytes: bytes
    outcome: Outcome
    height: Height
    index: int
    time_ms: TimeMs
    source: SourceKey
    batch_number: int


@dataclass(frozen=True, slots=True)
class CompleteVerdict:
    """What a proof of completeness proves: these are all events of the member from one height to another.

    They are all from `from_ms` up to, and without, `until_ms` (None: up to the last block alone) by the blocks' times.
    """

    member: MemberId
    from_height: Height
    to_height: Height
    from_ms: int
    until_ms: int | None
    events: tuple[ProvedEvent, ...]
    batch_count: int
    chain_id: Hash
    origin: str
    log_size: int
    epoch: int | None
    witnesses: int
    cosigners: tuple[str, ...]


def verify_completeness(proof_text: str, policy: str) -> CompleteVerdict:
    """Return what a proof of completeness proves under a policy. Raises ProofError where anything does not hold."""
    proof = parse_tlog_proof(proof_text, size_max=COMPLETENESS_SIZE_MAX)
    extra = _decoded(proof)
    checked = parse_policy(policy).check(proof.note, extra.handovers)
    with step(HEADER):
        check_place(proof, extra.header)
        check_header(extra.header, proof.path, checked)
    with step(RANGE):
        _check_heights(extra)
    with step(BLOCKS):
        blocks = _checked_blocks(extra, checked)
    with step(HEADS):
        head = _own_head(extra)
    with step(BATCH_LOG):
        _check_range(extra, head)
    events = tuple(_proved_events(extra, blocks, checked))
    with step(TIME):
        from_ms, until_ms = _times(extra, blocks, checked)
    return CompleteVerdict(
        member=MemberId(extra.member),
        from_height=Height(extra.from_height),
        to_height=Height(extra.to_height),
        from_ms=from_ms,
        until_ms=until_ms,
        events=events,
        batch_count=sum(_is_inside(extra, batch) for batch in extra.batches),
        chain_id=extra.header.chain_id,
        origin=checked.checkpoint.origin,
        log_size=checked.checkpoint.size,
        epoch=checked.epoch,
        witnesses=checked.witnesses,
        cosigners=checked.cosigners,
    )


def _decoded(proof: TlogProof) -> Completeness:
    with step(EXTRA):
        extra = decode(Completeness, proof.extra, size_max=COMPLETENESS_SIZE_MAX)
        if extra.version != COMPLETENESS_VERSION:
            raise ProofError(
                "proof of completeness of an unknown version", expected=COMPLETENESS_VERSION, got=extra.version
            )
        return extra


def _check_heights(extra: Completeness) -> None:
    if not extra.from_height <= extra.to_height <= extra.header.height:
        raise ProofError(
            "heights of a proof of completeness",
            expected=f"from <= to <= {extra.header.height}",
            got=f"{extra.from_height} to {extra.to_height}",
        )


def _is_inside(extra: Completeness, batch: BatchPart) -> bool:
    return extra.from_height <= batch.height <= extra.to_height


def _checked_blocks(extra: Completeness, checked: CheckedCheckpoint) -> dict[int, BlockPart]:
    """Return the blocks by height, each proved to stand in the log."""
    blocks: dict[int, BlockPart] = {}
    for block in extra.blocks:
        height = block.header.height
        if blocks and height <= max(blocks):
            raise ProofError("blocks out of order", where=f"height {height}", expected="ascending")
        check_header(block.header, block.path, checked)
        blocks[height] = block
    return blocks


def _check_range(extra: Completeness, head: MemberHead | None) -> None:
    """Raise ProofError unless the batches are a whole range of the member's log, and lie around the heights."""
    if head is None:
        if extra.batches or extra.first or extra.before or extra.after:
            raise ProofError("batches of a member without any", got=len(extra.batches))
        return
    leaves = [leaf_hash(encode(batch.header)) for batch in extra.batches]
    root = merkle.root_from_range(head.size, extra.first, leaves, extra.before, extra.after)
    if root != head.root:
        raise ProofError("batches are not those of the member's log", expected=head.root, got=root)
    heights = [batch.height for batch in extra.batches]
    if heights != sorted(heights):
        raise ProofError("batches out of order", expected="ascending heights")
    if extra.first > 0 and not (heights and heights[0] < extra.from_height):
        raise ProofError("batches before the first are left out", expected=f"one below height {extra.from_height}")
    if extra.first + len(heights) < head.size and not (heights and heights[-1] > extra.to_height):
        raise ProofError("batches after the last are left out", expected=f"one above height {extra.to_height}")


def _own_head(extra: Completeness) -> MemberHead | None:
    """Return the member's head; None where the heads shown prove that it has none."""
    for part in extra.heads:
        merkle.verify_inclusion(
            extra.header.batch_logs_root, part.count, part.index, leaf_hash(encode(part.head)), part.path
        )
    if len(extra.heads) == 1 and extra.heads[0].head.member == extra.member:
        return extra.heads[0].head
    if not extra.heads:
        if extra.header.batch_logs_root != merkle.EMPTY_ROOT:
            raise ProofError("no head shown of a chain with batches", expected="the heads around the member's place")
        return None
    # Byte order: heads stand in the order of the members' ids as text of ASCII.
    lower = [part for part in extra.heads if part.head.member < extra.member]
    upper = [part for part in extra.heads if part.head.member > extra.member]
    if len(lower) > 1 or len(upper) > 1 or len(lower) + len(upper) != len(extra.heads):
        raise ProofError("heads do not lie around the member's place", got=[part.head.member for part in extra.heads])
    first_free = lower[0].index + 1 if lower else 0
    count = extra.heads[0].count
    if any(part.count != count for part in extra.heads) or (upper[0].index if upper else count) != first_free:
        raise ProofError("heads shown are not next to each other", where=extra.member)
    return None


def _proved_events(
    extra: Completeness, blocks: Mapping[int, BlockPart], checked: CheckedCheckpoint
) -> Iterator[ProvedEvent]:
    """Yield the events of the batches between the heights, each batch and its outcomes proved."""
    outcomes: dict[int, Mapping[int, Outcome]] = {}
    reached = 0
    for batch in extra.batches:
        with step(BATCH):
            block = _block_of(extra, batch, blocks)
        if _is_inside(extra, batch):
            if batch.height not in outcomes:
                with step(OUTCOME):
                    outcomes[batch.height] = _checked_outcomes(block)
            yield from _events_of(batch, block, outcomes[batch.height], checked)
            # Two batches may hold the same events, of which the first were applied: the log has them in one order.
            if batch.log_index < reached:
                raise ProofError("batches overlap in the log", where=EVENT, expected=reached, got=batch.log_index)
            reached = batch.log_index + len(batch.events)


def _block_of(extra: Completeness, batch: BatchPart, blocks: Mapping[int, BlockPart]) -> BlockPart:
    """Return the block of a batch, proved to name it; ProofError too where the batch is not the member's."""
    block = blocks.get(batch.height)
    if block is None:
        raise ProofError("block of a batch missing", where=f"height {batch.height}", got=batch.header.hash())
    verify_place(batch.place, batch.header.hash(), block.header)
    if batch.header.member != extra.member or batch.header.chain_id != extra.header.chain_id:
        raise ProofError("batch of another member or chain", where=f"height {batch.height}", got=batch.header.member)
    return block


def _checked_outcomes(block: BlockPart) -> Mapping[int, Outcome]:
    """Return the outcomes of the events of a block that were not applied, by index."""
    rejected = dict(block.rejected)
    every = [rejected.get(index, APPLIED) for index in range(block.header.event_count)]
    if outcomes_root(every) != block.header.outcomes_root:
        raise ProofError("outcomes are not those of the block", where=f"height {block.header.height}")
    return rejected


def _events_of(
    batch: BatchPart, block: BlockPart, outcomes: Mapping[int, Outcome], checked: CheckedCheckpoint
) -> Iterator[ProvedEvent]:
    header, where = batch.header, f"batch {batch.header.number} at height {batch.height}"
    with step(EVENT):
        events = [_event(data, where) for data in batch.events]
        ids = [event_id(data, event.kind) for data, event in zip(batch.events, events, strict=True)]
        if len(ids) != header.count or merkle.root_of(ids) != header.root:
            raise ProofError("events are not those of the batch", where=where, expected=header.count, got=len(ids))
        first = _first_in_block(batch, block, ids, checked)
    with step(SOURCE):
        if batch.signature is None or not verify_signature(header.source, batch_statement(header), batch.signature):
            raise ProofError("signature of the source does not verify", where=where)
    for index, (identity, event, data) in enumerate(zip(ids, events, batch.events, strict=True), first):
        yield ProvedEvent(
            identity,
            event,
            data,
            outcomes.get(index, APPLIED),
            block.header.height,
            index,
            block.header.time_ms,
            SourceKey(header.source),
            header.number,
        )


def _first_in_block(batch: BatchPart, block: BlockPart, ids: list[EventId], checked: CheckedCheckpoint) -> int:
    """Return the index in the block of a batch's first event; all of them are proved to stand in the log from it on."""
    where = f"batch {batch.header.number} at height {batch.height}"
    checkpoint = checked.checkpoint
    root = merkle.root_from_range(checkpoint.size, batch.log_index, ids, batch.before, batch.after)
    if root != checkpoint.root:
        raise ProofError("events do not stand there in the log", where=where, expected=checkpoint.root, got=root)
    first = batch.log_index - block.header.first_index
    if not 0 <= first <= block.header.event_count - len(ids):
        raise ProofError("batch outside of its block", where=where, got=first)
    return first


def _event(data: bytes, where: str) -> Event:
    try:
        return decode(Event, data, size_max=EVENT_SIZE_MAX)
    except EncodingError as error:
        raise ProofError(error.what, where=where, expected=error.expected, got=error.got) from None


def _times(extra: Completeness, blocks: Mapping[int, BlockPart], checked: CheckedCheckpoint) -> tuple[int, int | None]:
    """Return the first time that the heights cover and the first that they do not."""
    from_ms = 0
    if extra.from_height:
        before = blocks.get(extra.from_height - 1)
        if before is None:
            raise ProofError("block before the range missing", expected=f"height {extra.from_height - 1}")
        from_ms = before.header.time_ms + 1
    after = blocks.get(extra.to_height + 1)
    if after is not None:
        return from_ms, after.header.time_ms
    if extra.to_height < extra.header.height:
        raise ProofError("block after the range missing", expected=f"height {extra.to_height + 1}")
    header = extra.header
    if checked.checkpoint.size == header.first_index + header.event_count + 1:
        return from_ms, max(checked.first_s * 1_000, header.time_ms)
    return from_ms, None
