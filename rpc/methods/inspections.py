"""cert_inspections, cert_getInspection, cert_inspectionCandidates: random inspections, and what a draw follows from.

Here: draws, what inspectors found, and the certificates that took part with their risk, so that anybody can replay a
draw (`ledger.inspection_replay`, `chainnode cert inspection replay`). Source: domain §3 (random inspections).
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from ledger.certificate_bodies import APPLICATION_ID_PATTERN
from ledger.committed_state import CommittedState
from ledger.inspection_records import (
    INSPECTION_PREFIX,
    Inspection,
    Phase,
    Report,
    inspection_key,
    read_inspection,
    read_report,
)
from ledger.inspection_replay import Candidate
from ledger.inspection_standing import candidate_at
from ledger.state_at import StateAt
from ledger.status_proofs import make_status_proof
from ledger.views import Tip
from rpc.errors import Code, not_found
from rpc.methods.certificate_parts import time_or_none
from rpc.methods.certificate_status import covered_by
from rpc.methods.heights import index_of, tip_of
from rpc.paging import page_of
from rpc.ports import Services
from rpc.registry import method
from rpc.rights import Access
from rpc.types import (
    LIMIT_DEFAULT,
    AskedCursor,
    AskedOrder,
    AsOf,
    EpochNumber,
    Limit,
    NextCursor,
    Params,
    Result,
    Time,
    WitnessNames,
    time_text,
)

LOOKED_THROUGH_MAX: Final = 500
"""How many draws a page of draws, or numbers a page of candidates, looks through."""

DrawId = Annotated[
    str,
    msgspec.Meta(
        pattern=APPLICATION_ID_PATTERN, description="A draw's id: MEMBER.SERIAL.", examples=["regulator.2026-Q3"]
    ),
]


class ListInspections(Params, frozen=True):
    """Draws by id, of one phase or all, upwards unless `order` says otherwise."""

    phase: Annotated[Phase | None, msgspec.Meta(description="Those in this phase.")] = None
    limit: Limit = LIMIT_DEFAULT
    order: AskedOrder = None
    cursor: AskedCursor = None


class ListedInspection(Result, frozen=True):
    """A draw in a list: of `eligible` certificates `selected` were drawn, on `reported` of them there is a report."""

    id: str
    member: str
    phase: str
    announced: Time
    commit_until: Time
    reveal_until: Time | None
    count: int
    committed: int
    revealed: int
    eligible: int
    selected: int
    drawn: Time | None
    report_until: Time | None
    void: str | None


class InspectionsResult(Result, frozen=True):
    """Draws in order; `cursor` asks for more. A page looks at 500 draws, so it may hold fewer than `limit`, or none."""

    inspections: list[ListedInspection]
    cursor: NextCursor
    as_of: AsOf


class GetInspection(Params, frozen=True):
    """A draw, by its id; with `prove`, and a proof of its row under the newest stable checkpoint.

    `from_epoch` is the epoch of the policy under which the proof will be verified, or an earlier one; `witnesses` are
    names of outside witnesses' keys, each of which must have cosigned the checkpoint.
    """

    draw: DrawId
    prove: Annotated[bool, msgspec.Meta(description="Whether a proof of the draw's row comes with it.")] = False
    from_epoch: EpochNumber = 0
    witnesses: WitnessNames = ()


class DrawCategoryResult(Result, frozen=True):
    """A category that takes part, and its weight."""

    category: int
    weight: int


class CommittedResult(Result, frozen=True):
    """A member's commitment and, once revealed, the secret; both with their events."""

    member: str
    commitment: str
    event_id: str
    secret: str | None
    revealed_by: str | None


class ClosingResult(Result, frozen=True):
    """The block that ended the commitments; its hash is part of the seed, and null while it is the newest block."""

    height: int
    time: Time
    block: str | None


class ReportResult(Result, frozen=True):
    """What an inspection found; `resolved` is when the body said, by `resolved_by`, that it was corrected."""

    event_id: str
    member: str
    time: Time
    passed: bool
    grave: bool
    findings: list[str]
    correct_by: Time | None
    resolved: Time | None
    resolved_by: str | None


class DrawnResult(Result, frozen=True):
    """A certificate that was selected: category, risk, weight (the category's times risk), and its lowest ticket."""

    number: str
    category: int
    risk: int
    weight: int
    ticket: str
    report: ReportResult | None


class InspectionRecord(Result, frozen=True):
    """A draw as the state holds it.

    `reveal_ms` is how long after the closing reveals are taken; `weight` the sum of all weights. While it is `drawing`
    the certificates up to `cursor` were looked at, and `selection` has the lowest tickets so far.
    """

    id: str
    member: str
    event_id: str
    time: Time
    categories: list[DrawCategoryResult]
    count: int
    commit_until: Time
    reveal_ms: int
    reveal_until: Time | None
    report_days: int
    replaces: str | None
    phase: str
    committed: list[CommittedResult]
    closing: ClosingResult | None
    seed: str | None
    cursor: str
    looked_at: int
    eligible: int
    weight: int
    selection: list[DrawnResult]
    drawn: Time | None
    report_until: Time | None
    void: str | None
    replaced_by: str | None


class GetInspectionResult(Result, frozen=True):
    """A draw with the reports on what it selected.

    `proof` is a status proof of the draw's whole row, without reports, as the newest block left it that a stable
    checkpoint covers; None where it was not asked for, or there is none yet.
    """

    inspection: InspectionRecord
    proof: str | None
    as_of: AsOf


class ListCandidates(Params, frozen=True):
    """The certificates that take part in a draw, upwards by number unless `order` says otherwise."""

    draw: DrawId
    limit: Limit = LIMIT_DEFAULT
    order: AskedOrder = None
    cursor: AskedCursor = None


class CandidateResult(Result, frozen=True):
    """A certificate that was active when commitments were closed: its category, and its risk then."""

    number: str
    category: int
    risk: int


class CandidatesResult(Result, frozen=True):
    """Certificates as they stood at `height`, the closing; a page may hold fewer than `limit`, or none, and a cursor.

    All of them, with the draw's record, give its selection.
    """

    candidates: list[CandidateResult]
    height: int
    cursor: NextCursor
    as_of: AsOf


@method("cert_inspections", params=ListInspections, result=InspectionsResult, in_thread=True, access=Access.PUBLIC)
def list_inspections(services: Services, params: ListInspections) -> InspectionsResult:
    """Draws of random inspections by id: announced, closed, drawn, or void."""
    state, as_of = CommittedState(services.reads.store), int(tip_of(services).height)
    page = page_of(services, "cert_inspections", params, tuple[str], "asc", phase=params.phase)
    prefix = INSPECTION_PREFIX.encode()
    names = [key.removeprefix(prefix).decode() for key, _ in state.raw_scan(prefix)]
    if page.descending:
        names.reverse()
    if page.after is not None:
        after = page.after[0]
        names = [name for name in names if (name < after if page.descending else name > after)]
    shown, looked_at = list[ListedInspection](), 0
    for name in names[:LOOKED_THROUGH_MAX]:
        if len(shown) == params.limit:
            break
        looked_at += 1
        draw = read_inspection(state, name)
        shown += [_listed(draw)] if draw is not None and params.phase in (None, draw.phase) else []
    cursor = page.cursor(names[looked_at - 1]) if looked_at < len(names) else None
    return InspectionsResult(shown, cursor, as_of)


def _listed(draw: Inspection) -> ListedInspection:
    return ListedInspection(
        id=draw.id,
        member=draw.member,
        phase=draw.phase.value,
        announced=time_text(draw.time_ms),
        commit_until=time_text(draw.commit_until_ms),
        reveal_until=time_or_none(draw.reveal_until_ms),
        count=draw.count,
        committed=len(draw.committed),
        revealed=len(draw.committed) - len(draw.missing),
        eligible=draw.eligible,
        selected=len(draw.selection) if draw.phase is Phase.DRAWN else 0,
        drawn=time_or_none(draw.drawn_ms),
        report_until=time_or_none(draw.report_until_ms),
        void=draw.void,
    )


@method(
    "cert_getInspection",
    params=GetInspection,
    result=GetInspectionResult,
    errors=(Code.NOT_FOUND,),
    in_thread=True,
    access=Access.PUBLIC,
)
def get_inspection(services: Services, params: GetInspection) -> GetInspectionResult:
    """A draw as the newest block left it: who committed and revealed, the seed, who was selected and why, reports."""
    tip = tip_of(services)
    state = CommittedState(services.reads.store)
    draw = read_inspection(state, params.draw)
    if draw is None:
        raise not_found("no such draw", where="$.draw", got=params.draw)
    reports = {item.number: read_report(state, draw.id, item.number) for item in draw.selection}
    proof = _proof(services, params, tip) if params.prove else None
    return GetInspectionResult(_record(draw, reports), proof, int(tip.height))


def _proof(services: Services, params: GetInspection, tip: Tip) -> str | None:
    """Return the proof of a draw's row at the newest height that a stable checkpoint covers; None without one."""
    covered = covered_by(services.reads, tip, params.witnesses)
    if covered is None:
        return None
    key = inspection_key(params.draw)
    return make_status_proof(services.reads, key, covered[0], params.from_epoch, params.witnesses)


def _record(draw: Inspection, reports: dict[str, Report | None]) -> InspectionRecord:
    closing = draw.closing
    return InspectionRecord(
        id=draw.id,
        member=draw.member,
        event_id=draw.event_id.hex(),
        time=time_text(draw.time_ms),
        categories=[DrawCategoryResult(item.category, item.weight) for item in draw.categories],
        count=draw.count,
        commit_until=time_text(draw.commit_until_ms),
        reveal_ms=draw.reveal_ms,
        reveal_until=time_or_none(draw.reveal_until_ms),
        report_days=draw.report_days,
        replaces=draw.replaces,
        phase=draw.phase.value,
        committed=[
            CommittedResult(
                item.member,
                item.commitment.hex(),
                item.event_id.hex(),
                None if item.secret is None else item.secret.hex(),
                None if item.revealed_by is None else item.revealed_by.hex(),
            )
            for item in draw.committed
        ],
        closing=None
        if closing is None
        else ClosingResult(
            closing.height, time_text(closing.time_ms), None if closing.block is None else closing.block.hex()
        ),
        seed=None if draw.seed is None else draw.seed.hex(),
        cursor=draw.cursor,
        looked_at=draw.looked_at,
        eligible=draw.eligible,
        weight=draw.weight,
        selection=[
            DrawnResult(
                item.number, item.category, item.risk, item.weight, item.ticket.hex(), _report(reports[item.number])
            )
            for item in draw.selection
        ],
        drawn=time_or_none(draw.drawn_ms),
        report_until=time_or_none(draw.report_until_ms),
        void=draw.void,
        replaced_by=draw.replaced_by,
    )


def _report(report: Report | None) -> ReportResult | None:
    if report is None:
        return None
    resolved = report.resolved
    return ReportResult(
        event_id=report.event_id.hex(),
        member=report.member,
        time=time_text(report.time_ms),
        passed=report.passed,
        grave=report.grave,
        findings=list(report.findings),
        correct_by=time_or_none(report.correct_by_ms),
        resolved=None if resolved is None else time_text(resolved.time_ms),
        resolved_by=None if resolved is None else resolved.event_id.hex(),
    )


@method(
    "cert_inspectionCandidates",
    params=ListCandidates,
    result=CandidatesResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
    access=Access.PUBLIC,
)
def inspection_candidates(services: Services, params: ListCandidates) -> CandidatesResult:
    """The certificates that take part in a draw, as they stood when its commitments were closed, by number.

    From the state of that height and not from the draw's own rows, so that a draw can be held against them.
    """
    draw = read_inspection(CommittedState(services.reads.store), params.draw)
    if draw is None or draw.closing is None:
        raise not_found("no draw with closed commitments", where="$.draw", got=params.draw)
    index = index_of(services)
    page = page_of(services, "cert_inspectionCandidates", params, tuple[str], "asc", draw=draw.id)
    state, categories = StateAt(services.reads, draw.closing.height), {item.category for item in draw.categories}
    found, as_of = list[Candidate](), int(index.height())
    after = None if page.after is None else page.after[0]
    numbers = index.certificates(holder=None, after=after, count=LOOKED_THROUGH_MAX, descending=page.descending)
    for place, number in enumerate(numbers):
        if len(found) == params.limit:
            numbers = numbers[:place]
            break
        item = candidate_at(state, number, draw.closing.time_ms)
        found += [item] if item is not None and item.category in categories else []
    cursor = page.cursor(numbers[-1]) if len(found) == params.limit or len(numbers) == LOOKED_THROUGH_MAX else None
    shown = [CandidateResult(item.number, item.category, item.risk) for item in found]
    return CandidatesResult(shown, draw.closing.height, cursor, as_of)


METHODS = (list_inspections, get_inspection, inspection_candidates)
