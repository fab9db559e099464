"""What the scheme asks of a certificate's life beyond its table: two officers, right ids, and changes on their way.

Here: checks by the third rules and later on the events of earlier schemas and rules, the statement that officers sign,
and the checks of the transitions in `ledger.scheme_transitions`. Source: domain §3; four eyes are the scheme's.
"""

from __future__ import annotations

from typing import Final

from ledger.accreditations import AccreditedRole, accreditation_refusal, read_accreditation
from ledger.certificate_bodies import (
    Accept,
    ApplyChange,
    ApplyScoped,
    Approval,
    Extend,
    Grant,
    GrantSigned,
    Reduce,
    ReportInspection,
    Revoke,
    RevokeSigned,
    Surveil,
    Suspend,
)
from ledger.certificate_filing import present_certificate
from ledger.certificate_records import Application, History
from ledger.certificate_rules import Case, broken
from ledger.certificate_transitions import Party, Transition, parties_of
from ledger.holder_ids import is_holder_id
from ledger.members import read_member
from ledger.policy import DAY_MS
from ledger.scheme_records import ApplicationScheme, CertificateScheme, Decision
from ledger.state import StateReader
from primitives.hashing import statement
from primitives.ids import Hash
from primitives.keys import verify

ACCREDITED_PARTIES: Final = {
    Party.LABORATORY: AccreditedRole.LABORATORY,
    Party.INSPECTOR: AccreditedRole.INSPECTOR,
}
"""Whose evidence needs an accreditation by the third rules, and as what."""
FAILED_SURVEILLANCE: Final = "failed_surveillance"


def decided_upon(subject: Application | CertificateScheme) -> History:
    """Return what officers decide upon: the history of an application, or the rulings on a certificate.

    An application that was reviewed changes by its body's decision and an appeal against that alone. On a certificate
    others report at any time, an inspector in each block; what they report must void no signatures.
    """
    return subject.history if isinstance(subject, Application) else subject.rulings


def statement_upon(chain_id: Hash, kind: int, body: Grant | Revoke, history: History) -> bytes:
    """Return what two officers sign for a decision, whether or not the body has their signatures yet.

    The chain, the kind of event, the body without signatures, and the count and hash of what they decided upon
    (`decided_upon`). So their signatures count once: after a decision, and after an appeal against it, it is another.
    """
    fields = [getattr(body, name) for name in body.__struct_fields__ if name != "approvals"]
    return statement("certificate-decision", chain_id, kind, (history.count, history.hash), tuple(fields))


def check_scheme(case: Case, kind: int, state: StateReader) -> None:
    """Raise RuleBroken where an event that its row admits breaks a rule of the scheme."""
    body = case.body
    match body:
        case ApplyScoped() if not is_holder_id(body.holder_id):
            raise broken("bad_holder_id", body.holder_id)
        case Accept():
            _check_change_goes_home(case, state)
        case Grant():
            if case.application_scheme is not None and case.application_scheme.changes is not None:
                raise broken("change_of_certificate", case.application_scheme.changes)
        case Suspend():
            check_no_appeal_pending(case)
        case _:
            pass
    if isinstance(body, GrantSigned | RevokeSigned):
        _check_approvals(case, kind, body, state)
    elif isinstance(body, Grant | Revoke):
        raise broken("four_eyes_needed", "schema 2 carries the signatures")


def check_accredited(transition: Transition, case: Case, state: StateReader) -> None:
    """Raise RuleBroken where an event is a laboratory's or an inspector's and its word does not count at this time.

    Who may submit it as another party as well, such as the responsible body that inspects itself, needs none.
    """
    parties = parties_of(transition, case)
    roles = [ACCREDITED_PARTIES[party] for party in parties if party in ACCREDITED_PARTIES]
    subject = case.certificate or case.application
    if len(roles) < len(parties) or subject is None:
        return
    member, time_ms = case.context.member, case.context.time_ms
    for role in roles:
        rule = accreditation_refusal(read_accreditation(state, member, role), subject.category, time_ms)
        if rule is not None:
            raise broken(rule, f"{member} as {role}, category {subject.category}, at {time_ms}")


def _check_change_goes_home(case: Case, state: StateReader) -> None:
    changes = None if case.application_scheme is None else case.application_scheme.changes
    if changes is not None and (home := present_certificate(state, changes).body) != case.context.member:
        raise broken("other_body", f"expected {home}, got {case.context.member}")


def _check_approvals(case: Case, kind: int, body: GrantSigned | RevokeSigned, state: StateReader) -> None:
    """Raise RuleBroken unless officers of the deciding member signed; their keys differ by the body's shape."""
    subject = case.application if isinstance(body, Grant) else case.certificate_scheme
    assert subject is not None, "a decision's case has its subject"
    signed = statement_upon(case.context.chain_id, kind, body, decided_upon(subject))
    check_officers_signed(state, case.context.member, body.approvals, signed)


def check_officers_signed(state: StateReader, member: str, approvals: tuple[Approval, ...], signed: bytes) -> None:
    """Raise RuleBroken unless each approval is a signature over `signed` by an officer of the member."""
    row = read_member(state, member)
    officers = frozenset() if row is None else frozenset(officer.key for officer in row.officers)
    for approval in approvals:
        if approval.officer not in officers:
            raise broken("unknown_officer", f"{approval.officer.hex()[:16]} of {member}")
    for approval in approvals:
        if not verify(approval.officer, signed, approval.signature):
            raise broken("bad_approval", approval.officer.hex()[:16])


def correction_is_timely(case: Case) -> None:
    """Findings have to be corrected later than now, within the scheme's policy and the longest suspension."""
    assert isinstance(case.body, Surveil | ReportInspection)
    assert case.scheme_policy is not None, "a case with findings has the scheme's policy"
    by_ms, now_ms = case.body.correct_by_ms, case.context.time_ms
    days_max = min(case.scheme_policy.correction_days_max, case.context.policy.certificate_suspension_days_max)
    latest_ms = now_ms + days_max * DAY_MS
    if by_ms is not None and not now_ms < by_ms <= latest_ms:
        raise broken("correction_time", f"expected after {now_ms}, up to {latest_ms}, got {by_ms}")


def application_changes_certificate(case: Case) -> None:
    """An extension names an application that asks to change this certificate, and its own body decides."""
    assert isinstance(case.body, Extend)
    changes = None if case.application_scheme is None else case.application_scheme.changes
    if changes != case.body.number:
        raise broken("no_change_application", f"{case.body.application} changes {changes or 'none'}")


def scope_grows(case: Case) -> None:
    """The scope asked for holds the present one and at least one entry more."""
    wanted = case.body.scope if isinstance(case.body, ApplyChange) else _application(case).scope
    present = _certificate(case).scope
    if not set(present) < set(wanted):
        lost = sorted(set(present) - set(wanted))
        raise broken("scope_not_wider", f"without {lost[0]}" if lost else "nothing new")


def scope_shrinks(case: Case) -> None:
    """What a reduction removes stands in the scope, and something stays."""
    assert isinstance(case.body, Reduce)
    present = set(_certificate(case).scope)
    unknown = sorted(set(case.body.removes) - present)
    if unknown:
        raise broken("scope_unknown", unknown[0])
    if present == set(case.body.removes):
        raise broken("scope_empty", "cancel or revoke the certificate instead")


def reduction_has_ground(case: Case) -> None:
    """A reduction comes with the holder's request or with what was found."""
    assert isinstance(case.body, Reduce)
    if not case.body.evidence:
        raise broken("evidence_missing", "expected the holder's request or a finding")


def check_no_appeal_pending(case: Case) -> None:
    """The responsible body does not decide anew on what an undecided appeal is about; the regulator may."""
    if case.decision is not None and case.decision.appealed is not None:
        raise broken("appeal_pending", case.decision.what)


def appeal_is_open(case: Case) -> None:
    """There is a decision against the holder, nobody appealed against it, and its window has not ended."""
    decision = case.decision
    if decision is None:
        raise broken("nothing_to_appeal", "no decision by these rules")
    if decision.appealed is not None:
        raise broken("already_appealed", decision.what)
    if case.context.time_ms >= decision.appeal_until_ms:
        raise broken("appeal_too_late", f"expected a time before {decision.appeal_until_ms}")


def appeal_is_pending(case: Case) -> None:
    """There is an appeal to decide on."""
    present: Decision | None = case.decision
    if present is None or present.appealed is None:
        raise broken("not_appealed", "no appeal is undecided")


def _application(case: Case) -> ApplicationScheme:
    assert case.application_scheme is not None, "by these rules a case has what stands beside its application"
    return case.application_scheme


def _certificate(case: Case) -> CertificateScheme:
    assert case.certificate_scheme is not None, "by these rules a case has what stands beside its certificate"
    return case.certificate_scheme
