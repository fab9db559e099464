"""cert_deadlines: what falls due of certificates, applications and accreditations, what is so already, and what to do.

Here: a list as JSON has it. Not here: what falls due (`ledger.deadlines`), and the index that makes a list cost what it
shows (`ledger.deadline_index`). Source: docs/certification.md, "What falls due".
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Final, Literal

import msgspec

from ledger.base import before_the_base
from ledger.deadline_reading import deadlines_at, place_of
from ledger.deadlines import LISTED, DueKind, End, level_at, next_of
from ledger.policy import DAY_MS
from ledger.times import parse_time
from rpc.errors import Code, invalid_params, unavailable
from rpc.methods.certificate_status import moment_of
from rpc.methods.heights import index_of, tip_of
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

WITHIN_DAYS: Final = 90
WITHIN_DAYS_MAX: Final = 36_500
Days = Annotated[int, msgspec.Meta(ge=0, le=WITHIN_DAYS_MAX)]
KindName = Literal[
    "expiring_180",
    "expiring_90",
    "expiring_30",
    "certificate_expired",
    "renewal_opened",
    "suspension_ended",
    "surveillance_overdue",
    "correction_overdue",
    "appeal_ended",
    "appeal_undecided",
    "inspection_overdue",
    "inspection_uncorrected",
    "accreditation_ended",
]


class Deadlines(Params, frozen=True):
    """What to list: all kinds but the notices (`expiring_…`), or one; what is so, and what will be, as of `at`.

    What is ahead is listed where it is due within some days, or up to a time. `member` is a holder, an accredited
    member, or a body that has to see to something.
    """

    kind: Annotated[KindName | None, msgspec.Meta(description="What falls due.")] = None
    within_days: Annotated[Days | None, msgspec.Meta(description="How far to look: 90 days unless told.")] = None
    until: Annotated[str | None, msgspec.Meta(description="How far to look: a time in RFC 3339 UTC.")] = None
    member: MemberName | None = None
    limit: Limit = LIMIT_DEFAULT
    order: AskedOrder = None
    cursor: AskedCursor = None
    at: Annotated[HeightNumber | str, msgspec.Meta(description="A height, or a time in RFC 3339 UTC.")] = "latest"


class DeadlineItem(Result, frozen=True):
    """Something that falls due: of which subject, from when on it is so, and what is to be done, by whom.

    `subject` is a certificate's number, an application's id, an accreditation's member and role, or a draw and number;
    `member` its holder or the accredited member, `body` who is responsible. `level` is `ahead`; `open` where it is so
    and nobody's omission; or `overdue`. `days_left` counts whole days and is negative once it is so.
    """

    kind: str
    subject: str
    member: str
    body: str | None
    due: Time
    days_left: int
    level: str
    next: str
    by: str


class DeadlinesResult(Result, frozen=True):
    """What falls due at `time`, in the order of its times."""

    deadlines: list[DeadlineItem]
    cursor: NextCursor
    time: Time
    as_of: AsOf


@method(
    "cert_deadlines",
    params=Deadlines,
    result=DeadlinesResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
)
def deadlines(services: Services, params: Deadlines) -> DeadlinesResult:
    """What falls due of certificates, and what is so already: ends, renewals, suspensions, surveillance, appeals.

    The first first, unless `order` says otherwise. Each was due, or will be, by the state as of `as_of`.
    """
    check_member(services, params.member)
    height, time_ms = when(services, params.at)
    until_ms = _until(params, time_ms)
    page = page_of(
        services,
        "cert_deadlines",
        params,
        tuple[int, int, str],
        "asc",
        kind=params.kind,
        within_days=params.within_days,
        until=params.until,
        member=params.member,
        at=params.at,
    )
    found: Iterator[End] = deadlines_at(
        index_of(services).ends,
        LISTED if params.kind is None else (DueKind(params.kind),),
        time_ms,
        until_ms,
        height=height,
        member=params.member or "",
        after=page.after,
        descending=page.descending,
    )
    rows = list(islice(found, params.limit + 1))
    shown = rows[: params.limit]
    cursor = page.cursor(*place_of(shown[-1])) if len(rows) > params.limit else None
    return DeadlinesResult([deadline_item(end, time_ms) for end in shown], cursor, time_text(time_ms), height)


def when(services: Services, at: int | str = "latest") -> tuple[int, int]:
    """Return as of which height, and for which time, a list of what falls due is to be.

    Unless told that is the height that the index has reached, and now. -32001 for what is not here, -32002 where the
    index is behind it.
    """
    reached = index_of(services).ends.height()
    if reached is None:
        raise unavailable("index_behind", "the index of what falls due has not begun", hint="ask again in a moment")
    height, time_ms = (int(reached), None) if at == "latest" else moment_of(services, at, tip_of(services))
    base = int(services.reads.base())
    if height < base:
        raise before_the_base(f"what fell due as of block {height}", base)
    if height > reached:
        hint = f"it has reached {reached}: ask again in a moment"
        raise unavailable("index_behind", f"the index of what falls due is behind block {height}", hint=hint)
    header = services.reads.header(height)
    assert header is not None, "the index never reaches above the log"
    if time_ms is None:
        time_ms = max(int(services.now_ms()), int(header.time_ms)) if at == "latest" else int(header.time_ms)
    return height, time_ms


def _until(params: Deadlines, time_ms: int) -> int:
    if params.until is None:
        days = WITHIN_DAYS if params.within_days is None else params.within_days
        return time_ms + days * DAY_MS
    if params.within_days is not None:
        raise invalid_params("two spans", where="$.until", expected="within_days or until", got="both")
    return parse_time(params.until, where="$.until")


def deadline_item(end: End, time_ms: int) -> DeadlineItem:
    """Return an end as JSON has it at a time."""
    what, by = next_of(end)
    return DeadlineItem(
        kind=end.kind.value,
        subject=end.subject,
        member=end.member,
        body=end.body or None,
        due=time_text(end.due_ms),
        days_left=(end.due_ms - time_ms) // DAY_MS,
        level=level_at(end, time_ms).value,
        next=what,
        by=by,
    )


METHODS = (deadlines,)
