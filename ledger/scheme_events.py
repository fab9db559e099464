"""What the events of the certification scheme write: kinds 13 to 19, and the rows that kinds 1 to 12 leave beside.

Whether an event is admitted is judged by the tables in `ledger.certificate_transitions` and `ledger.scheme_transitions`
and by `ledger.scheme_checks`. Everything here is of the third rules. Source: domain §3.
"""

from __future__ import annotations

from dataclasses import replace as with_fields
from typing import assert_never

from msgspec.structs import replace

from ledger.catalogue import in_force, read_catalogue, read_catalogues
from ledger.certificate_bodies import (
    Appeal,
    ApplyChange,
    ApplyScoped,
    Body,
    DecideAppeal,
    Extend,
    Grant,
    Reduce,
    Refuse,
    Reissue,
    Renew,
    Restore,
    Revoke,
    SchemeBody,
    Surveil,
    Suspend,
    check_body,
    evidence_of,
)
from ledger.certificate_filing import (
    appeal_end,
    check_application_is_new,
    check_custodians,
    filed,
    history_after,
    present_application,
    present_certificate,
)
from ledger.certificate_records import (
    NO_HISTORY,
    Application,
    Certificate,
    State,
    Suspension,
    application_key,
    certificate_key,
    state_at,
)
from ledger.certificate_rules import Case
from ledger.certificate_transitions import Transition, check_case
from ledger.kinds import APPLIED_A_MEMBER_MAX, ApplyContext, KindSpec
from ledger.policy import DAY_MS
from ledger.rules import RULES_SCHEME
from ledger.scheme_checks import FAILED_SURVEILLANCE, check_accredited
from ledger.scheme_policy import read_scheme_policy
from ledger.scheme_records import (
    ApplicationScheme,
    Before,
    CertificateScheme,
    Decision,
    Negative,
    Surveillance,
    application_scheme_key,
    before_of,
    certificate_scheme_key,
    officers_after,
    read_application_scheme,
    read_certificate_scheme,
)
from ledger.scheme_transitions import (
    APPEAL,
    APPLY_CHANGE,
    DECIDE_APPEAL,
    EXTEND,
    REDUCE,
    REISSUE,
    SURVEIL,
)
from ledger.state import StateReader, Transaction

SCHEMA = 1
EVIDENCE_KEPT_MAX = 64
"""Pieces that stay beside an application or a certificate, so that no row outgrows what a state holds.

Older ones are in the log, as are the events that brought them.
"""

SCHEME_ROWS: dict[type[Body], Transition] = {
    Surveil: SURVEIL,
    ApplyChange: APPLY_CHANGE,
    Extend: EXTEND,
    Reduce: REDUCE,
    Reissue: REISSUE,
    Appeal: APPEAL,
    DecideAppeal: DECIDE_APPEAL,
}


def with_scheme(case: Case, state: StateReader) -> Case:
    """Return a case of kinds 1 to 12 with what the scheme keeps beside its application and certificate."""
    number = None if case.certificate is None else case.certificate.number
    application = None if case.application is None else case.application.id
    return with_fields(
        case,
        application_scheme=None if application is None else read_application_scheme(state, application),
        certificate_scheme=None if number is None else read_certificate_scheme(state, number),
    )


def write_scheme(case: Case, state: Transaction) -> None:
    """Write the rows beside an application or certificate that an admitted event of kinds 1 to 12 leaves."""
    context, body = case.context, case.body
    match body:
        case ApplyScoped():
            _put_application(state, ApplicationScheme(body.application, body.holder_id, body.scope, None, None, (), ()))
        case Renew():
            before = read_certificate_scheme(state, body.supersedes)
            holder_id, scope = before.holder_id, before.scope
            _put_application(state, ApplicationScheme(body.application, holder_id, scope, None, None, (), ()))
        case Refuse():
            application, asked = _asked(case)
            decision = _decision(context, Negative.REFUSAL, Before(application.state, None, None, asked.scope))
            officers = officers_after(asked.officers, context.source)
            _put_application(state, replace(asked, decision=decision, officers=officers))
        case Grant():
            _put_certificate(state, _granted(case, body))
        case Suspend() | Revoke():
            certificate, scheme = _subject(case)
            what = Negative.SUSPENSION if isinstance(body, Suspend) else Negative.REVOCATION
            decision = _decision(context, what, before_of(certificate, scheme))
            _put_certificate(state, replace(_ruled(context, scheme), decision=decision))
        case Restore():
            _, scheme = _subject(case)
            moot = scheme.decision is not None and scheme.decision.what is Negative.SUSPENSION
            _put_certificate(state, replace(_ruled(context, scheme), decision=None if moot else scheme.decision))
        case _:
            pass


def apply_scheme_event(context: ApplyContext, state: Transaction, body: SchemeBody) -> None:
    """Write what an event of kinds 13 to 19 changes; RuleBroken names the rule that forbids it."""
    case = _case_of(context, state, body)
    transition = SCHEME_ROWS[type(body)]
    check_case(transition, case)
    check_accredited(transition, case, state)
    check_custodians(state, evidence_of(body))
    match body:
        case ApplyChange():
            _apply_change(case, state, body)
        case Extend():
            _extend(case, state)
        case Appeal() | DecideAppeal() if case.certificate is None:
            _about_refusal(case, state, body)
        case Surveil() | Reduce() | Reissue() | Appeal() | DecideAppeal():
            _about_certificate(case, state, body)
        case _:
            assert_never(body)


def _case_of(context: ApplyContext, state: StateReader, body: SchemeBody) -> Case:
    """Return what the rules look at; RuleBroken where what the body names is not there, or is there already."""
    match body:
        case ApplyChange():
            check_application_is_new(state, body.application)
            return _certificate_case(context, state, body, body.number)
        case Extend():
            application = present_application(state, body.application)
            certificate = present_certificate(state, body.number)
            present = state_at(certificate, context.time_ms)
            return Case(
                context,
                body,
                application.state if present is State.ACTIVE else present,
                application,
                certificate,
                None,
                read_catalogue(state, application.catalogue),
                read_application_scheme(state, application.id),
                read_certificate_scheme(state, certificate.number),
            )
        case Appeal() | DecideAppeal() if not body.subject[0].isupper() or "." in body.subject:
            application = present_application(state, body.subject)
            beside = read_application_scheme(state, application.id)
            return Case(context, body, application.state, application, None, None, None, beside, None)
        case Appeal() | DecideAppeal():
            return _certificate_case(context, state, body, body.subject)
        case Surveil() | Reduce() | Reissue():
            return _certificate_case(context, state, body, body.number)
        case _:
            assert_never(body)


def _certificate_case(context: ApplyContext, state: StateReader, body: SchemeBody, number: str) -> Case:
    certificate = present_certificate(state, number)
    catalogue = in_force(read_catalogues(state), context.time_ms) if isinstance(body, ApplyChange) else None
    beside = read_certificate_scheme(state, number)
    present, policy = state_at(certificate, context.time_ms), read_scheme_policy(state)
    return Case(context, body, present, None, certificate, None, catalogue, None, beside, policy)


def _apply_change(case: Case, state: Transaction, body: ApplyChange) -> None:
    """Write the application for a change: of the certificate's unit, judged by the catalogue that it was granted by."""
    certificate, scheme = _subject(case)
    context = case.context
    application = Application(
        id=body.application,
        holder=context.member,
        holder_name=certificate.holder_name,
        product=certificate.product,
        category=certificate.category,
        catalogue=certificate.catalogue,
        state=State.APPLIED,
        supersedes=None,
        body=None,
        reviewer=None,
        evidence=filed(context, body.evidence),
        number=None,
        reason=None,
        appeal_until_ms=None,
        history=history_after(context, NO_HISTORY),
    )
    state.put(application_key(application.id), application)
    beside = ApplicationScheme(application.id, scheme.holder_id, body.scope, certificate.number, None, (), ())
    _put_application(state, beside)


def _extend(case: Case, state: Transaction) -> None:
    """Write the wider scope and a new version of the certificate, and end the application that asked for it."""
    certificate, scheme = _subject(case)
    application, asked = _asked(case)
    context, reviewer = case.context, application.reviewer or b""
    history = history_after(context, application.history)
    granted = replace(application, state=State.GRANTED, number=certificate.number, history=history)
    state.put(application_key(application.id), granted)
    moot = scheme.decision is not None and scheme.decision.what is Negative.REDUCTION
    after = replace(
        certificate,
        version=certificate.version + 1,
        appeal_until_ms=None if moot else certificate.appeal_until_ms,
        history=history_after(context, certificate.history),
    )
    state.put(certificate_key(certificate.number), after)
    _put_certificate(
        state,
        replace(
            _ruled(context, scheme, *asked.officers, reviewer),
            scope=asked.scope,
            reviewer=reviewer,
            decider=context.source,
            decision=None if moot else scheme.decision,
        ),
    )


def _about_refusal(case: Case, state: Transaction, body: Appeal | DecideAppeal) -> None:
    """Write an appeal against a refusal, or what was decided on it."""
    application, scheme, decision, context = case.application, case.application_scheme, case.decision, case.context
    assert application is not None
    assert scheme is not None
    assert decision is not None
    after = replace(application, history=history_after(context, application.history))
    evidence = (*scheme.evidence, *filed(context, body.evidence))[-EVIDENCE_KEPT_MAX:]
    if isinstance(body, Appeal):
        present = replace(decision, appealed=context.event_id)
    else:
        present = None
        after = replace(after, appeal_until_ms=None)
        if body.upheld:
            after = replace(after, state=decision.before.state, reason=None)
    state.put(application_key(application.id), after)
    _put_application(state, replace(scheme, decision=present, evidence=evidence))


def _about_certificate(
    case: Case, state: Transaction, body: Surveil | Reduce | Reissue | Appeal | DecideAppeal
) -> None:
    """Write an event on a certificate that is not about an application."""
    certificate, scheme = _subject(case)
    context = case.context
    after = replace(certificate, history=history_after(context, certificate.history))
    beside = replace(scheme, evidence=(*scheme.evidence, *filed(context, body.evidence))[-EVIDENCE_KEPT_MAX:])
    match body:
        case Surveil():
            after, beside = _surveilled(case, body, after, beside)
        case Reduce():
            kept = tuple(entry for entry in scheme.scope if entry not in body.removes)
            decision = _decision(context, Negative.REDUCTION, before_of(certificate, scheme))
            after = replace(after, version=after.version + 1, appeal_until_ms=decision.appeal_until_ms)
            beside = replace(_ruled(context, beside), scope=kept, decision=decision)
        case Reissue():
            beside = replace(beside, issues=scheme.issues + 1)
        case Appeal():
            assert scheme.decision is not None
            beside = replace(beside, decision=replace(scheme.decision, appealed=context.event_id))
        case DecideAppeal():
            after, beside = _decided(case, body, after, beside)
        case _:
            assert_never(body)
    state.put(certificate_key(after.number), after)
    _put_certificate(state, beside)


def _surveilled(
    case: Case, body: Surveil, after: Certificate, beside: CertificateScheme
) -> tuple[Certificate, CertificateScheme]:
    """Return the records after surveillance; a grave failure of an active certificate suspends it by rule."""
    context = case.context
    beside = replace(
        beside,
        surveillance=Surveillance(
            context.event_id,
            context.member,
            context.time_ms,
            body.passed,
            body.grave,
            body.findings,
            body.correct_by_ms,
        ),
    )
    if not body.grave:
        return after, beside
    return suspended_by_rule(case, FAILED_SURVEILLANCE, body.correct_by_ms, after, beside)


def suspended_by_rule(
    case: Case, reason: str, correct_by_ms: int | None, after: Certificate, beside: CertificateScheme
) -> tuple[Certificate, CertificateScheme]:
    """Return the records with a suspension until findings must be corrected; as they are where it is not active."""
    context = case.context
    if after.state is not State.ACTIVE:
        return after, beside
    certificate, scheme = _subject(case)
    decision = _decision(context, Negative.SUSPENSION, before_of(certificate, scheme))
    longest_ms = context.time_ms + context.policy.certificate_suspension_days_max * DAY_MS
    until_ms = longest_ms if correct_by_ms is None else correct_by_ms
    suspended = replace(
        after,
        state=State.SUSPENDED,
        since_ms=context.time_ms,
        suspension=Suspension(reason, context.time_ms, until_ms),
        appeal_until_ms=decision.appeal_until_ms,
    )
    return suspended, replace(_ruled(context, beside), decision=decision)


def _decided(
    case: Case, body: DecideAppeal, after: Certificate, beside: CertificateScheme
) -> tuple[Certificate, CertificateScheme]:
    """Return the records after an appeal was decided: the window is closed; upheld, what was changed is as before."""
    decision = case.decision
    assert decision is not None
    rulings = history_after(case.context, beside.rulings)
    after, beside = replace(after, appeal_until_ms=None), replace(beside, decision=None, rulings=rulings)
    if not body.upheld:
        return after, beside
    before = decision.before
    if decision.what is Negative.REDUCTION:
        return replace(after, version=after.version + 1), replace(beside, scope=before.scope)
    assert before.since_ms is not None, "a certificate's state has begun"
    restored = replace(
        after, state=before.state, since_ms=before.since_ms, suspension=before.suspension, revocation=None
    )
    return restored, beside


def _granted(case: Case, body: Grant) -> CertificateScheme:
    """Return what stands beside a certificate from its grant on."""
    application, asked = _asked(case)
    reviewer, decider = application.reviewer or b"", case.context.source
    return CertificateScheme(
        number=body.number,
        holder_id=asked.holder_id,
        scope=asked.scope,
        issues=1,
        reviewer=reviewer,
        decider=decider,
        surveillance=None,
        decision=None,
        evidence=(),
        rulings=history_after(case.context, NO_HISTORY),
        officers=officers_after(asked.officers, reviewer, decider),
    )


def _ruled(context: ApplyContext, scheme: CertificateScheme, *reviewers: bytes) -> CertificateScheme:
    """Return what stands beside a certificate once this event decided on it, by its key and upon these reviewers'.

    Only what decides comes here: whatever else happens must not void what officers signed upon the rulings before.
    """
    rulings = history_after(context, scheme.rulings)
    return replace(scheme, rulings=rulings, officers=officers_after(scheme.officers, *reviewers, context.source))


def _decision(context: ApplyContext, what: Negative, before: Before) -> Decision:
    return Decision(
        what=what,
        event_id=context.event_id,
        member=context.member,
        source=context.source,
        time_ms=context.time_ms,
        appeal_until_ms=appeal_end(context),
        before=before,
        appealed=None,
    )


def _asked(case: Case) -> tuple[Application, ApplicationScheme]:
    assert case.application is not None
    assert case.application_scheme is not None
    return case.application, case.application_scheme


def _subject(case: Case) -> tuple[Certificate, CertificateScheme]:
    assert case.certificate is not None
    assert case.certificate_scheme is not None
    return case.certificate, case.certificate_scheme


def _put_application(state: Transaction, scheme: ApplicationScheme) -> None:
    state.put(application_scheme_key(scheme.id), scheme)


def _put_certificate(state: Transaction, scheme: CertificateScheme) -> None:
    state.put(certificate_scheme_key(scheme.number), scheme)


SCHEME_KINDS: tuple[KindSpec, ...] = tuple(
    KindSpec(
        kind=transition.kind,
        name=transition.name,
        schemas={SCHEMA: body},
        changes_state=True,
        apply=apply_scheme_event,
        check_shape=check_body,
        roles=transition.roles,
        rules_min=RULES_SCHEME,
        schema_applied_max={SCHEMA: APPLIED_A_MEMBER_MAX},
    )
    for body, transition in SCHEME_ROWS.items()
)
