"""ledger_getEvent, ledger_getStatus, events of a block or a member: as they were ordered, and where others stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from ledger.event_json import body_to_json
from ledger.member_batches import member_events
from ledger.registry import KINDS
from ledger.views import EventView, Position
from primitives.ids import EventId
from rpc.errors import Code
from rpc.methods.heights import height_of, tip_of
from rpc.methods.known_members import check_member
from rpc.paging import bad_cursor, page_of
from rpc.ports import Services, SubmitStatus
from rpc.proofs import no_event
from rpc.registry import method
from rpc.types import (
    HASH_PATTERN,
    LIMIT_DEFAULT,
    AskedCursor,
    AskedOrder,
    AsOf,
    HeightNumber,
    HeightParam,
    Limit,
    MemberName,
    NextCursor,
    Offset,
    OutcomeResult,
    Params,
    Result,
    Time,
    base64_text,
    outcome_result,
    time_text,
)


class GetBlockEvents(Params, frozen=True):
    """A block's events, in their order."""

    height: Annotated[HeightParam, msgspec.Meta(description="The block's height; with a cursor that of its block.")]
    limit: Limit = LIMIT_DEFAULT
    cursor: AskedCursor = None
    order: AskedOrder = None


class EventResult(Result, frozen=True):
    """An event as it was ordered, and what became of it.

    `leaf` is its leaf in the log (base64), whose RFC 6962 hash is `id`; `body` is that same leaf's body as JSON.
    `index` is its place in the block, `log_index` in the log, both from 0; `time` is the block's.
    """

    id: str
    member: str
    reference: str
    kind: str
    kind_number: int
    schema: int
    expires: Time
    body: dict[str, Any]  # Any: each kind's own fields
    leaf: str
    outcome: OutcomeResult
    height: int
    index: int
    log_index: int
    time: Time
    source: str
    batch_hash: str


class BlockEventsResult(Result, frozen=True):
    """Events of a block; `cursor` asks for the next."""

    events: list[EventResult]
    cursor: NextCursor
    as_of: AsOf


@method(
    "ledger_getBlockEvents", params=GetBlockEvents, result=BlockEventsResult, errors=(Code.NOT_FOUND,), in_thread=True
)
def get_block_events(services: Services, params: GetBlockEvents) -> BlockEventsResult:
    """The events of a block with their outcomes, in the block's order unless `order` says otherwise."""
    tip = tip_of(services)
    page = page_of(services, "ledger_getBlockEvents", params, tuple[HeightNumber, Offset], "asc", height=params.height)
    height, shown = page.after or (height_of(params.height, tip), 0)  # "latest" stays the block that it was
    if height > tip.height:
        raise bad_cursor("the cursor is of a block that is not here", expected=f"at most {tip.height}", got=height)
    block = services.reads.block(height)
    assert block is not None, "heights up to the tip have blocks"
    count = block.header.event_count
    size = min(params.limit, max(0, count - shown))
    start = count - shown - size if page.descending else shown
    events = services.reads.block_events(height, start, size) if size else []
    if page.descending:
        events = events[::-1]
    shown += size
    cursor = page.cursor(height, shown) if size and shown < count else None
    return BlockEventsResult([event_result(view) for view in events], cursor, int(tip.height))


class GetMemberEvents(Params, frozen=True):
    """A member's events, the newest first unless `order` says otherwise."""

    member: MemberName
    limit: Limit = LIMIT_DEFAULT
    cursor: AskedCursor = None
    order: AskedOrder = None


class MemberEventsResult(Result, frozen=True):
    """Events of a member; `cursor` asks for the next.

    They are those of the blocks above `above_height`, where the history that this node holds begins (0: all of them).
    """

    member: str
    events: list[EventResult]
    cursor: NextCursor
    above_height: int
    as_of: AsOf


@method(
    "ledger_getMemberEvents",
    params=GetMemberEvents,
    result=MemberEventsResult,
    errors=(Code.NOT_FOUND,),
    in_thread=True,
)
def get_member_events(services: Services, params: GetMemberEvents) -> MemberEventsResult:
    """The events that a member submitted, the newest first; `audit_completeness` proves that none is left out.

    With order `asc` the earliest first.
    """
    tip = tip_of(services)
    page = page_of(services, "ledger_getMemberEvents", params, tuple[Offset, Offset], member=params.member)
    check_member(services, params.member)
    found = member_events(services.reads, params.member, page.after, params.limit, descending=page.descending)
    cursor = None if found.after is None else page.cursor(*found.after)
    events = [event_result(view) for view in found.events]
    return MemberEventsResult(params.member, events, cursor, int(services.reads.base()), int(tip.height))


EventIdHex = Annotated[
    str, msgspec.Meta(pattern=HASH_PATTERN, description="An event's id: the RFC 6962 hash of its leaf, in hex.")
]


class EventIdParams(Params, frozen=True):
    """One event."""

    event_id: EventIdHex


class GetEventResult(Result, frozen=True):
    """An event, at the place that counts: the first at which it was applied, else the first."""

    event: EventResult
    as_of: AsOf


@method("ledger_getEvent", params=EventIdParams, result=GetEventResult, errors=(Code.NOT_FOUND,), in_thread=True)
def get_event(services: Services, params: EventIdParams) -> GetEventResult:
    """A committed event with its outcome."""
    tip = tip_of(services)
    view = services.reads.event(bytes.fromhex(params.event_id))
    if view is None:
        raise no_event(services, EventId(bytes.fromhex(params.event_id)))
    return GetEventResult(event_result(view), int(tip.height))


def event_result(view: EventView) -> EventResult:
    """Return an event as JSON has it."""
    event, place = view.event, view.position
    spec = KINDS.get(event.kind)
    return EventResult(
        id=view.id.hex(),
        member=event.member,
        reference=event.reference.hex(),
        kind=spec.name if spec is not None else f"kind {event.kind}",
        kind_number=event.kind,
        schema=event.schema,
        expires=time_text(event.expires_ms),
        body=body_to_json(event.kind, event.schema, event.body),
        leaf=base64_text(view.leaf),
        outcome=outcome_result(view.outcome),
        height=place.height,
        index=place.index,
        log_index=place.log_index,
        time=time_text(view.time_ms),
        source=view.source.hex(),
        batch_hash=view.batch_hash.hex(),
    )


def events_at(services: Services, places: Sequence[Position]) -> list[EventResult]:
    """Return the events at these places, which an index named; neighbours in a block are read together."""
    found: list[EventResult] = []
    start = 0
    for place in range(1, len(places) + 1):
        if place < len(places) and _are_neighbours(places[place - 1], places[place], places[start]):
            continue
        run = places[start:place]
        first, last = min(run[0].index, run[-1].index), max(run[0].index, run[-1].index)
        views = services.reads.block_events(run[0].height, first, last - first + 1)
        found += [event_result(view) for view in (views if run[0].index == first else views[::-1])]
        start = place
    return found


def _are_neighbours(one: Position, other: Position, first: Position) -> bool:
    """Whether two places follow each other in a block, in the same direction as the run that began with `first`."""
    step = other.index - one.index
    began = one.index - first.index
    return one.height == other.height and abs(step) == 1 and began * step >= 0


class StatusResult(Result, frozen=True):
    """Where an event stands; outcome and place come with `Committed`, reason and message with `Refused`."""

    id: str
    status: SubmitStatus
    outcome: OutcomeResult | None
    height: int | None
    index: int | None
    reason: str | None
    message: str | None
    retryable: bool
    as_of: AsOf


@method("ledger_getStatus", params=EventIdParams, result=StatusResult)
def get_status(services: Services, params: EventIdParams) -> StatusResult:
    """Whether an event is unknown to this node, pending, committed (and how), or refused at the door."""
    event_id = EventId(bytes.fromhex(params.event_id))
    tip = tip_of(services)
    place = services.reads.position(event_id)
    if place is not None:
        outcome = outcome_result(services.reads.outcome(place.height, place.index))
        return StatusResult(
            params.event_id, SubmitStatus.COMMITTED, outcome, place.height, place.index, None, None, False, tip.height
        )
    found = services.gateway.status(event_id)
    refusal = found.refusal
    return StatusResult(
        params.event_id,
        found.status,
        None if found.outcome is None else outcome_result(found.outcome),
        found.height,
        found.index,
        None if refusal is None else refusal.reason,
        None if refusal is None else refusal.message,
        refusal is not None and refusal.retryable,
        int(tip.height),
    )


METHODS = (get_event, get_block_events, get_member_events, get_status)
