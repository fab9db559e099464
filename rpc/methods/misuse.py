"""cert_getMisuse, cert_listMisuse: what was reported of the misuse of certification marks, and what was found.

Not here: which reports fit (`ledger.mark_search`), the mark of a certificate (`rpc.methods.marks`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec

from ledger.mark_bodies import REPORT_NUMBER_MAX
from ledger.mark_index import UNDECIDED
from ledger.mark_records import MISUSE_COUNT_KEY, MisuseDecision, MisuseReport, misuse_key, read_count
from ledger.mark_search import MisuseAsOf, MisuseFilters, search_reports, state_of
from ledger.state_at import StateAt
from rpc.errors import Code, not_found
from rpc.methods.certificates import CertificateNumber
from rpc.methods.heights import index_of, tip_of
from rpc.methods.known_members import check_member
from rpc.methods.marks import MarkDocumentResult, document_result
from rpc.paging import page_of
from rpc.ports import Services
from rpc.registry import method
from rpc.types import (
    LIMIT_DEFAULT,
    AskedCursor,
    AskedOrder,
    AsOf,
    Limit,
    MemberName,
    NextCursor,
    Params,
    Result,
    Time,
    time_text,
)

LOOKED_THROUGH_MAX: Final = 2_000
"""How many reports a page looks at."""

PAST_MAX: Final = 100
"""For how many of them it looks up the state of a past block."""

ATTEMPTS: Final = 3
"""How often a page of undecided reports is made while the index goes on."""

MisuseState = Literal["undecided", "confirmed", "resolved", "dismissed"]
ReportNumber = Annotated[
    int,
    msgspec.Meta(ge=1, le=REPORT_NUMBER_MAX, description="A report's number, from 1 on.", examples=[1]),
]


class GetMisuse(Params, frozen=True):
    """A report of misuse by its number, from 1 on; the newest where none is named."""

    report: ReportNumber | None = None


class MisuseDecisionResult(Result, frozen=True):
    """What was found on a report: `confirmed`, `resolved` or `dismissed`, by whom, and on which grounds."""

    finding: str
    reason: str
    evidence: list[MarkDocumentResult]
    member: str
    event_id: str
    time: Time


class MisuseReportResult(Result, frozen=True):
    """A report of misuse: of which certificate, by which member or on which product, who brought it, and what came.

    `state` is `undecided`, and `decision` None, until something is found.
    """

    report: int
    number: str | None
    holder: str | None
    product: str | None
    medium: str
    misuse: str
    evidence: list[MarkDocumentResult]
    reporter: str
    event_id: str
    time: Time
    state: str
    decision: MisuseDecisionResult | None


class MisuseResult(Result, frozen=True):
    """The report that was asked for, and how many there are; None where the newest is asked for and there is none."""

    misuse: MisuseReportResult | None
    count: int
    as_of: AsOf


@method("cert_getMisuse", params=GetMisuse, result=MisuseResult, errors=(Code.NOT_FOUND,))
def get_misuse(services: Services, params: GetMisuse) -> MisuseResult:
    """A report of misuse of the certification mark, and how many reports there are."""
    tip = tip_of(services)
    state = StateAt(services.reads, int(tip.height))
    count = read_count(state, MISUSE_COUNT_KEY)
    report = state.get(misuse_key(count if params.report is None else params.report), MisuseReport)
    if report is None and params.report is not None:
        raise not_found(f"no such report of misuse, the newest is {count}", where="$.report", got=params.report)
    return MisuseResult(None if report is None else _report_result(report), count, int(tip.height))


class ListMisuse(Params, frozen=True):
    """Reports of misuse that fit all of the filters, the newest first unless `order` says otherwise.

    `number` is the certificate that they are about; `member` brought them, is what they are about, or holds the
    certificate that they are about.
    """

    number: CertificateNumber | None = None
    member: MemberName | None = None
    state: Annotated[MisuseState | None, msgspec.Meta(description="What they are: undecided, or as found.")] = None
    limit: Limit = LIMIT_DEFAULT
    order: AskedOrder = None
    cursor: AskedCursor = None


class MisuseReportsResult(Result, frozen=True):
    """Reports as the block at `as_of` left them; `cursor` asks for the next.

    A page may hold fewer than `limit`, or none, and yet have a cursor: only so many reports are looked at for one.
    """

    reports: list[MisuseReportResult]
    cursor: NextCursor
    as_of: AsOf


@method(
    "cert_listMisuse",
    params=ListMisuse,
    result=MisuseReportsResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
)
def list_misuse(services: Services, params: ListMisuse) -> MisuseReportsResult:
    """Reports of misuse of certification marks, by certificate, member and what was found. The newest first."""
    index = index_of(services)
    check_member(services, params.member)
    filters = MisuseFilters(params.number, params.member, params.state)
    page = page_of(
        services,
        "cert_listMisuse",
        params,
        tuple[ReportNumber],
        number=params.number,
        member=params.member,
        state=params.state,
    )
    after = None if page.after is None else page.after[0]
    for _ in range(ATTEMPTS):
        height = int(index.height())
        header = services.reads.header(height)
        assert header is not None, "the index never reaches above the log"
        as_of = MisuseAsOf(services.reads, header)
        walk = search_reports(index, as_of, filters, after, descending=page.descending)
        found, last = _page(walk, as_of, params.limit)
        if params.state != UNDECIDED or int(index.height()) == height:
            break  # else a report may have been decided on meanwhile, and be missing from those of that height
    return MisuseReportsResult(found, None if last is None else page.cursor(last), height)


def _page(
    walk: Iterator[tuple[int, MisuseReport | None]], as_of: MisuseAsOf, limit: int
) -> tuple[list[MisuseReportResult], int | None]:
    """Return a page, and the report to go on after; None at the end."""
    found: list[MisuseReportResult] = []
    last: int | None = None
    for looked, (number, report) in enumerate(walk):
        if len(found) == limit or looked >= LOOKED_THROUGH_MAX or as_of.past > PAST_MAX:
            return found, last
        if report is not None:
            found.append(_report_result(report))
        last = number
    return found, None


def _report_result(row: MisuseReport) -> MisuseReportResult:
    return MisuseReportResult(
        report=row.report,
        number=row.number,
        holder=row.holder,
        product=row.product,
        medium=row.medium.value,
        misuse=row.misuse.value,
        evidence=[document_result(item) for item in row.evidence],
        reporter=row.reporter,
        event_id=row.event_id.hex(),
        time=time_text(row.time_ms),
        state=state_of(row),
        decision=None if row.decision is None else _decision_result(row.decision),
    )


def _decision_result(row: MisuseDecision) -> MisuseDecisionResult:
    evidence = [document_result(item) for item in row.evidence]
    return MisuseDecisionResult(
        row.finding.value, row.reason, evidence, row.member, row.event_id.hex(), time_text(row.time_ms)
    )


METHODS = (get_misuse, list_misuse)
