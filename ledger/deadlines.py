"""What falls due by time, with no event: of certificates, refused applications, accreditations and proposals.

The one source of it: lists, tables, metrics, pages and subscriptions say what stands here. Everything is a function of
rows of the state and of a time, and nothing of it is in the state. An `End` is what a row says falls due, and when;
whether that is ahead, or so already, follows from the time that is asked about. Edges are those of
`ledger.certificate_records`: at its moment something is due. Which ends there are, by their time, is kept by an index
(`ledger.deadline_index`); what is due with which block says `ledger.deadline_reading`.

Not here: what a certificate is worth at a time (`ledger.certificate_records`), and what the members' root CAs and TLS
certificates do, whose ends are no chain's time. Source: domain §3, ISO/IEC 17065 (7.9 surveillance, 7.13 appeals).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Final, NamedTuple

from ledger.accreditations import Accreditation, coverage_ends
from ledger.certificate_records import (
    Application,
    Certificate,
    State,
    add_months,
    application_key,
    certificate_key,
)
from ledger.governance_records import Proposal, Stage
from ledger.inspection_records import Inspection, Report, inspection_key, read_report
from ledger.policy import DAY_MS, POLICY_KEY, Policy
from ledger.rules import RULES_KEY, RULES_SCHEME, Rules
from ledger.scheme_policy import SCHEME_POLICY_KEY, read_scheme_policy
from ledger.scheme_records import (
    ApplicationScheme,
    CertificateScheme,
    Decision,
    application_scheme_key,
    certificate_scheme_key,
)
from ledger.state import StateGetter
from primitives.hashing import RULES_FIRST


class DueKind(enum.StrEnum):
    """What falls due, in the words of the API and in the order of its lists."""

    EXPIRING_180 = "expiring_180"
    EXPIRING_90 = "expiring_90"
    EXPIRING_30 = "expiring_30"
    CERTIFICATE_EXPIRED = "certificate_expired"
    RENEWAL_OPENED = "renewal_opened"
    SUSPENSION_ENDED = "suspension_ended"
    SURVEILLANCE_OVERDUE = "surveillance_overdue"
    CORRECTION_OVERDUE = "correction_overdue"
    APPEAL_ENDED = "appeal_ended"
    APPEAL_UNDECIDED = "appeal_undecided"
    INSPECTION_OVERDUE = "inspection_overdue"
    INSPECTION_UNCORRECTED = "inspection_uncorrected"
    ACCREDITATION_ENDED = "accreditation_ended"
    PROPOSAL_EXPIRED = "proposal_expired"


NOTICES: Final = {DueKind.EXPIRING_180: 180, DueKind.EXPIRING_90: 90, DueKind.EXPIRING_30: 30}
"""How many days before a certificate expires each of these is due; they are so until then."""
LASTING: Final = frozenset(
    {
        *NOTICES,
        DueKind.RENEWAL_OPENED,
        DueKind.SUSPENSION_ENDED,
        DueKind.SURVEILLANCE_OVERDUE,
        DueKind.CORRECTION_OVERDUE,
        DueKind.APPEAL_UNDECIDED,
        DueKind.INSPECTION_OVERDUE,
        DueKind.INSPECTION_UNCORRECTED,
    }
)
"""What stays so once it is due, until an event or the certificate's end; the others are over with their moment."""
TIMELY: Final = frozenset({*NOTICES, DueKind.RENEWAL_OPENED})
"""What is no omission when it is so."""
LISTED: Final = tuple(kind for kind in DueKind if kind not in NOTICES and kind is not DueKind.PROPOSAL_EXPIRED)
"""What a list shows that names no kind: each certificate's end once, and no proposals: they have their own lists."""


class Due(NamedTuple):
    """Something that is so from `time_ms` on: of a certificate's number, an application's or a proposal's id.

    `member` is the holder, the applicant, the accredited member or the proposer.
    """

    time_ms: int
    kind: DueKind
    subject: str
    member: str


class End(NamedTuple):
    """What a row of the state says falls due at `due_ms`, and is over from `gone_ms` on (None: not by time).

    `key` is the state key of what it is about, `body` the member that has to see to it besides `member`, or empty.
    """

    kind: DueKind
    due_ms: int
    key: str
    member: str
    body: str
    gone_ms: int | None

    @property
    def subject(self) -> str:
        """A certificate's number, an application's or a proposal's id, an accreditation's member and role."""
        return self.key.partition("/")[2]

    def due(self) -> Due:
        """Return this end as what is so from its moment on."""
        return Due(self.due_ms, self.kind, self.subject, self.member)

    def is_at(self, time_ms: int) -> bool:
        """Say whether it is ahead of a time, or so then."""
        return time_ms < self.due_ms or self.gone_ms is None or time_ms < self.gone_ms


class Figures(NamedTuple):
    """The figures on which ends depend: the renewal window, and how often there is surveillance (None: never)."""

    renewal_days: int
    surveillance_months: int | None


FIGURE_KEYS: Final = (POLICY_KEY, RULES_KEY, SCHEME_POLICY_KEY)
"""The rows of the state that `read_figures` reads."""


def read_figures(state: StateGetter, height: int) -> Figures:
    """Return the figures in force after the block at `height`, whose state this is.

    Surveillance came with the third rules: by earlier ones nobody could carry it out, so that none is due.
    """
    policy = state.get(POLICY_KEY, Policy) or Policy()
    rules = state.get(RULES_KEY, Rules) or Rules(RULES_FIRST)
    months = read_scheme_policy(state).surveillance_interval_months
    return Figures(policy.certificate_renewal_window_days, months if rules.at(height + 1) >= RULES_SCHEME else None)


PREFIXES: Final = ("accreditation", "application", "certificate", "inspection-report", "proposal")
"""What the keys of subjects begin with."""
_BESIDE: Final = {"certificate-scheme": "certificate", "application-scheme": "application"}


def subject_key(key: bytes) -> str | None:
    """Return the key of the subject whose ends a row of the state has a part in; None where it has none."""
    prefix = key.partition(b"/")[0].decode(errors="replace")
    subject = _BESIDE.get(prefix, prefix)
    return subject + key[len(prefix) :].decode() if subject in PREFIXES else None


def rows_of(key: str) -> tuple[str, ...]:
    """Return the keys of the rows that `ends_at` reads of this subject."""
    prefix, _, name = key.partition("/")
    match prefix:
        case "certificate":
            return key, certificate_scheme_key(name)
        case "application":
            return key, application_scheme_key(name)
        case "inspection-report":
            draw, _, number = name.partition("/")
            return key, inspection_key(draw), certificate_key(number)
        case _:
            return (key,)


def ends_at(state: StateGetter, key: str, figures: Figures) -> list[End]:
    """Return what falls due of the subject with this key, as the rows of a state say it."""
    prefix, _, name = key.partition("/")
    match prefix:
        case "certificate":
            certificate = state.get(key, Certificate)
            if certificate is None:
                return []
            scheme = state.get(certificate_scheme_key(name), CertificateScheme)
            return list(ends_of_certificate(certificate, scheme, figures))
        case "application":
            application = state.get(key, Application)
            if application is None or application.appeal_until_ms is None:
                return []
            beside = state.get(application_scheme_key(name), ApplicationScheme)
            return list(ends_of_application(application, beside))
        case "proposal":
            proposal = state.get(key, Proposal)
            return [] if proposal is None else list(ends_of_proposal(key, proposal))
        case "inspection-report":
            draw, _, number = name.partition("/")
            inspection = state.get(inspection_key(draw), Inspection)
            inspected = state.get(certificate_key(number), Certificate)
            if inspection is None or inspected is None or inspection.selected(number) is None:
                return []
            return list(ends_of_inspection(key, inspection, inspected, read_report(state, draw, number)))
        case "accreditation":
            accreditation = state.get(key, Accreditation)
            return [] if accreditation is None else list(ends_of_accreditation(key, accreditation))
        case _:
            return []


def ends_of_inspection(key: str, draw: Inspection, row: Certificate, report: Report | None) -> Iterator[End]:
    """Yield when a certificate in use that a draw selected must be reported on, or what was found be corrected."""
    end_ms = row.valid_until_ms
    if row.state not in (State.ACTIVE, State.SUSPENDED):
        return
    if report is None:
        kind, due_ms, body = DueKind.INSPECTION_OVERDUE, draw.report_until_ms, draw.member
    else:
        is_open = not report.passed and report.resolved is None
        kind, body = DueKind.INSPECTION_UNCORRECTED, row.body
        due_ms = report.correct_by_ms if is_open else None
    if due_ms is not None and due_ms < end_ms:
        yield End(kind, due_ms, key, row.holder, body, end_ms)


def ends_of_accreditation(key: str, row: Accreditation) -> Iterator[End]:
    """Yield when a member is accredited for fewer categories than before: ends that no other term follows at once."""
    for due_ms in coverage_ends(row):
        yield End(DueKind.ACCREDITATION_ENDED, due_ms, key, row.member, "", due_ms)


def ends_of_proposal(key: str, row: Proposal) -> Iterator[End]:
    """Yield the end of a proposal that is under way: it expires after its last moment, unlike what ends with it."""
    if row.stage in (Stage.OPEN, Stage.APPROVED):
        due_ms = row.expires_ms + 1
        yield End(DueKind.PROPOSAL_EXPIRED, due_ms, key, row.member, "", due_ms)


def ends_of_application(row: Application, beside: ApplicationScheme | None) -> Iterator[End]:
    """Yield what falls due of a refused application: the end of its window to appeal, or the appeal."""
    if row.state is State.REFUSED:
        decision = None if beside is None else beside.decision
        until_ms = row.appeal_until_ms if beside is None else None
        yield from _of_appeal(application_key(row.id), row.holder, row.body or "", decision, until_ms, None)


def ends_of_certificate(row: Certificate, beside: CertificateScheme | None, figures: Figures) -> Iterator[End]:
    """Yield what falls due of a certificate; `beside` is None where the scheme keeps nothing of it."""
    key, end_ms = certificate_key(row.number), row.valid_until_ms
    is_live = row.state in (State.ACTIVE, State.SUSPENDED)
    if is_live:
        yield from _of_term(row, beside, figures)
    decision = None if beside is None else beside.decision
    if row.state is not State.CANCELLED:
        until_ms = row.appeal_until_ms if beside is None else None
        yield from _of_appeal(key, row.holder, row.body, decision, until_ms, end_ms if is_live else None)


def _of_term(row: Certificate, beside: CertificateScheme | None, figures: Figures) -> Iterator[End]:
    """Yield what falls due of a certificate that is not at its end: all of it is over when its term is."""
    key, end_ms = certificate_key(row.number), row.valid_until_ms

    def end(kind: DueKind, due_ms: int) -> Iterator[End]:
        if due_ms < end_ms or kind is DueKind.CERTIFICATE_EXPIRED:
            yield End(kind, due_ms, key, row.holder, row.body, end_ms)

    yield from end(DueKind.CERTIFICATE_EXPIRED, end_ms)
    if row.suspension is not None:
        yield from end(DueKind.SUSPENSION_ENDED, row.suspension.until_ms)
    elif row.successor is None:
        yield from end(DueKind.RENEWAL_OPENED, end_ms - figures.renewal_days * DAY_MS)
    found = None if beside is None else beside.surveillance
    if row.state is State.ACTIVE and figures.surveillance_months is not None:
        since_ms = row.valid_from_ms if found is None else max(found.time_ms, row.valid_from_ms)
        yield from end(DueKind.SURVEILLANCE_OVERDUE, add_months(since_ms, figures.surveillance_months))
    if found is not None and found.correct_by_ms is not None and not _is_corrected(row, found.time_ms):
        yield from end(DueKind.CORRECTION_OVERDUE, found.correct_by_ms)


def _is_corrected(row: Certificate, found_ms: int) -> bool:
    """Say whether corrections were filed after something was found, which restoring asks for."""
    return any(piece.time_ms >= found_ms for piece in row.corrections)


def _of_appeal(
    key: str, holder: str, body: str, decision: Decision | None, until_ms: int | None, end_ms: int | None
) -> Iterator[End]:
    """Yield the end of a window to appeal, or the appeal: it should be decided by the time the window ends.

    A certificate in use has no window beyond its term; an appeal that was brought waits for its decision all the same.
    """
    if decision is not None and decision.appealed is not None:
        yield End(DueKind.APPEAL_UNDECIDED, decision.appeal_until_ms, key, holder, body, None)
        return
    due_ms = until_ms if decision is None else decision.appeal_until_ms
    if due_ms is not None:
        due_ms = due_ms if end_ms is None else min(due_ms, end_ms)
        yield End(DueKind.APPEAL_ENDED, due_ms, key, holder, body, due_ms)


def notices_of(end: End) -> Iterator[End]:
    """Yield an end, and before a certificate's those that tell of it ahead."""
    yield end
    if end.kind is DueKind.CERTIFICATE_EXPIRED:
        for kind in NOTICES:
            yield notice_of(end, kind)


def notice_of(end: End, kind: DueKind) -> End:
    """Return the end that tells of a certificate's ahead, by the days of NOTICES."""
    return end._replace(kind=kind, due_ms=end.due_ms - NOTICES[kind] * DAY_MS, gone_ms=end.due_ms)


class Level(enum.StrEnum):
    """How it stands with an end at a time: it is `ahead`; so, and no omission (`open`); or somebody's `overdue`."""

    AHEAD = "ahead"
    OPEN = "open"
    OVERDUE = "overdue"


def level_at(end: End, time_ms: int) -> Level:
    """Return how it stands with an end that is ahead or so at a time."""
    if time_ms < end.due_ms:
        return Level.AHEAD
    return Level.OPEN if end.kind in TIMELY else Level.OVERDUE


_BY_BODY: Final = frozenset(
    {
        DueKind.SUSPENSION_ENDED,
        DueKind.SURVEILLANCE_OVERDUE,
        DueKind.CORRECTION_OVERDUE,
        DueKind.APPEAL_UNDECIDED,
        DueKind.INSPECTION_OVERDUE,
        DueKind.INSPECTION_UNCORRECTED,
    }
)
_RENEW: Final = "apply for a renewal (`cert renew`), unless it is under way"
_NEXT: Final = {
    **dict.fromkeys((*NOTICES, DueKind.CERTIFICATE_EXPIRED, DueKind.RENEWAL_OPENED), _RENEW),
    DueKind.SUSPENSION_ENDED: "revoke (`cert revoke`): it cannot be restored any more",
    DueKind.SURVEILLANCE_OVERDUE: "carry out surveillance (`cert surveil`)",
    DueKind.CORRECTION_OVERDUE: "look at the corrections (`cert surveil`), or suspend (`cert suspend`)",
    DueKind.APPEAL_ENDED: "appeal (`cert appeal`), or accept the decision",
    DueKind.APPEAL_UNDECIDED: "decide the appeal (`cert decide-appeal`)",
    DueKind.INSPECTION_OVERDUE: "have it inspected and reported (`cert inspection report`)",
    DueKind.INSPECTION_UNCORRECTED: "call it corrected (`cert inspection resolve`), or suspend (`cert suspend`)",
    DueKind.ACCREDITATION_ENDED: "have another accreditation proposed (`member accredit`)",
    DueKind.PROPOSAL_EXPIRED: "vote (`gov vote`)",
}


def next_of(end: End) -> tuple[str, str]:
    """Return what is to be done about an end, and by which member."""
    return _NEXT[end.kind], end.body if end.kind in _BY_BODY and end.body else end.member
