"""payment_listReconciliation: payments by how both sides' statements stand to each other.

Out of an index that follows the log at its own pace: `as_of` is the height that it has reached. Here: the list, and a
payment as JSON has it, also for other methods. Not here: what statements say together (`ledger.reconciliation`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

import msgspec

from ledger.payments_json import word
from ledger.policy import DAY_MS
from ledger.reconciliation import ANSWER_WITHIN_MS, Equivocation, Leg, LegView, PaymentView, Said, Standing
from ledger.reconciliation_reading import Asked, Found, ReconciliationReader
from ledger.reconciliation_rows import Counts
from ledger.times import parse_time
from rpc.errors import Code, unavailable
from rpc.methods.heights import index_of
from rpc.methods.known_members import check_member
from rpc.paging import page_of
from rpc.ports import Services
from rpc.registry import method
from rpc.types import (
    LIMIT_DEFAULT,
    AskedCursor,
    AskedOrder,
    AsOf,
    HeightNumber,
    Limit,
    MemberName,
    NextCursor,
    Params,
    Result,
    Time,
    time_text,
)

READ_AGAIN = 3

T = TypeVar("T")
"""How often payments are counted again where the index went on meanwhile, so that counts are of the height told."""

DAY_PATTERN = r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z"
StandingName = Literal["matched", "one_sided", "orphan", "mismatch", "equivocation"]
LegName = Literal["payment", "return", "reversal", "rejection"]
Day = Annotated[
    str, msgspec.Meta(pattern=DAY_PATTERN, description="A day in UTC, such as 2026-11-23.", examples=["2026-11-23"])
]
IndexInBlock = Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)]
WithinMs = Annotated[
    int,
    msgspec.Meta(
        ge=0, description="How long after the first statement the other side may take, in milliseconds of block time."
    ),
]


class ToldResult(Result, frozen=True):
    """A statement that counts: who said from which side how far it is, and where on the chain."""

    member: str
    side: str
    status: str
    event_id: str
    height: int
    index: int
    time: Time


class EquivocationResult(Result, frozen=True):
    """Two statements of one member that cannot both be so, and the fields in which they differ."""

    event_ids: list[str]
    fields: list[str]


class LegResult(Result, frozen=True):
    """A payment, or what came of it: how it stands, what a comparison of both sides gives, who still owes a statement.

    `compared` is `state` but where a member said two things. `tolerated` are fields that differ and may. `late` says
    that the second side came after the deadline.
    """

    leg: LegName
    state: StandingName
    compared: StandingName
    fields: list[str]
    tolerated: list[str]
    missing: list[str]
    deadline: Time
    late: bool
    equivocations: list[EquivocationResult]
    statements: list[ToldResult]


class ReconciledResult(Result, frozen=True):
    """A payment between two members under one pair key; `state` is the gravest of its legs'.

    `by_codes` is false where no statement names the other side, so that the first two members under the key count.
    `intruders` are other members under the same key; `intruder` marks a payment of which one side alone spoke while two
    sides of another one did. `left_out` counts statements of members that had said enough under the key.
    """

    pair_key: str
    members: list[str]
    by_codes: bool
    state: StandingName
    legs: list[LegResult]
    intruder: bool
    intruders: list[str]
    left_out: int


class CountsResult(Result, frozen=True):
    """How many payments stand how, and how many statements stand alone: without a pair key, or a customer's order."""

    matched: int
    one_sided: int
    orphan: int
    mismatch: int
    equivocation: int
    unpaired: int


class ListReconciliation(Params, frozen=True):
    """Which payments: by how they stand, of a member and with whom, and by the day of their first statement's block."""

    member: MemberName | None = None
    counterparty: MemberName | None = None
    state: Annotated[StandingName | None, msgspec.Meta(description="How they stand.")] = None
    day: Day | None = None
    limit: Limit = LIMIT_DEFAULT
    order: AskedOrder = None
    cursor: AskedCursor = None


class ReconciliationListResult(Result, frozen=True):
    """Payments in the order of their first statements, as they stand at `time`, and how many there are of each state.

    `counts` are of the same members and day, of all states. They are of the blocks above `above_height`, where the
    history that this node holds begins (0: all of them).
    """

    payments: list[ReconciledResult]
    counts: CountsResult
    cursor: NextCursor
    answer_within_ms: WithinMs
    time: Time
    above_height: int
    as_of: AsOf


@method(
    "payment_listReconciliation",
    params=ListReconciliation,
    result=ReconciliationListResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
)
def list_reconciliation(services: Services, params: ListReconciliation) -> ReconciliationListResult:
    """Payments by how both sides' statements stand to each other: matched, waiting, orphaned, differing, contradictory.

    The newest first, unless `order` says otherwise. A page may be short where few payments are what is asked for:
    `cursor` is null at the end alone.
    """
    check_member(services, params.member)
    check_member(services, params.counterparty, where="$.counterparty")
    state = None if params.state is None else Standing[params.state.upper()]
    asked = Asked(state, params.member, params.counterparty, _day(params.day))
    reader, height = reconciliation_of(services)
    counts, height = read_at_one_height(reader, height, lambda: reader.counts(asked))
    page = page_of(
        services,
        "payment_listReconciliation",
        params,
        tuple[HeightNumber, IndexInBlock, str, str],
        member=params.member,
        counterparty=params.counterparty,
        state=params.state,
        day=params.day,
    )
    found, after = reader.page(asked, height, params.limit, page.after, descending=page.descending)
    return ReconciliationListResult(
        payments=[reconciled(item, reader) for item in found],
        counts=counts_result(counts),
        cursor=None if after is None else page.cursor(*after),
        answer_within_ms=ANSWER_WITHIN_MS,
        time=time_at(services, height),
        above_height=int(services.reads.base()),
        as_of=height,
    )


def reconciliation_of(services: Services) -> tuple[ReconciliationReader, int]:
    """Return the index of reconciliation and the height that it has reached; -32002 before it began."""
    reader = index_of(services).reconciliation
    height = reader.height()
    if height is None:
        raise unavailable("index_behind", "the index of reconciliation has not begun", hint="ask again in a moment")
    return reader, int(height)


def read_at_one_height(reader: ReconciliationReader, height: int, read: Callable[[], T]) -> tuple[T, int]:
    """Return what is read of the index, and of which height it is: read again where the follower goes on meanwhile.

    At most `READ_AGAIN` times: then what was read last may be of the blocks that came during it too.
    """
    found = read()
    for _ in range(READ_AGAIN):
        now = int(reader.height() or height)
        if now == height:
            break
        found, height = read(), now
    return found, height


def time_at(services: Services, height: int) -> str:
    """Return the time of a block that an index has reached."""
    header = services.reads.header(height)
    assert header is not None, "the index never reaches above the log"
    return time_text(header.time_ms)


def _day(text: str | None) -> int | None:
    return None if text is None else parse_time(f"{text}T00:00:00Z", where="$.day") // DAY_MS


def counts_result(counts: Counts) -> CountsResult:
    """Return counts as JSON has them."""
    return CountsResult(
        counts.matched, counts.one_sided, counts.orphan, counts.mismatch, counts.equivocation, counts.unpaired
    )


def standing_name(state: Standing) -> StandingName:
    """Return the written form of how a payment stands."""
    names: dict[Standing, StandingName] = {
        Standing.MATCHED: "matched",
        Standing.ONE_SIDED: "one_sided",
        Standing.ORPHAN: "orphan",
        Standing.MISMATCH: "mismatch",
        Standing.EQUIVOCATION: "equivocation",
    }
    return names[state]


def leg_name(leg: Leg) -> LegName:
    """Return the written form of a leg."""
    names: dict[Leg, LegName] = {
        Leg.PAYMENT: "payment",
        Leg.RETURN: "return",
        Leg.REVERSAL: "reversal",
        Leg.REJECTION: "rejection",
    }
    return names[leg]


def reconciled(found: Found, reader: ReconciliationReader) -> ReconciledResult:
    """Return a payment as JSON has it."""
    view: PaymentView = found.view
    return ReconciledResult(
        pair_key=found.pair_key.hex(),
        members=[member for member in view.parties if member],
        by_codes=view.by_codes,
        state=standing_name(view.state),
        legs=[_leg(leg, reader) for leg in view.legs],
        intruder=view.is_intruder,
        intruders=list(view.intruders),
        left_out=found.left_out,
    )


def _leg(leg: LegView, reader: ReconciliationReader) -> LegResult:
    return LegResult(
        leg=leg_name(leg.leg),
        state=standing_name(leg.state),
        compared=standing_name(leg.compared),
        fields=list(leg.fields),
        tolerated=list(leg.tolerated),
        missing=list(leg.missing),
        deadline=time_text(leg.deadline_ms),
        late=leg.late,
        equivocations=[_equivocation(item, reader) for item in leg.equivocations],
        statements=[_told(one, reader) for one in leg.said],
    )


def _equivocation(item: Equivocation, reader: ReconciliationReader) -> EquivocationResult:
    return EquivocationResult([reader.event_id(place).hex() for place in (item.first, item.second)], list(item.fields))


def _told(one: Said, reader: ReconciliationReader) -> ToldResult:
    return ToldResult(
        member=one.member,
        side=word(one.side),
        status=word(one.status),
        event_id=reader.event_id(one.place).hex(),
        height=one.height,
        index=one.index,
        time=time_text(one.time_ms),
    )


METHODS = (list_reconciliation,)
