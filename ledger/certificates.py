"""Certificates, the first application: what each event of a certificate's life writes to the state.

Here: the kinds 1 to 12, the case that each event makes, and the records that follow from it. Whether an event is
admitted is judged by the table in `ledger.certificate_transitions`; bodies, records and status have modules of their
own. Everything is a function of the state, the event and its block's time; no event makes anything expire.
Source: domain §3.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from ledger.catalogue import Catalogue, in_force, read_catalogue, read_catalogues
from ledger.certificate_bodies import (
    Accept,
    Apply,
    ApplyScoped,
    Body,
    Cancel,
    Grant,
    GrantSigned,
    LifeBody,
    Refuse,
    Renew,
    Restore,
    Review,
    Revoke,
    RevokeSigned,
    SiteCheck,
    Suspend,
    TypeTest,
    check_body,
    evidence_of,
)
from ledger.certificate_checks import suspension_end_of, validity_of
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
    Revocation,
    State,
    Suspension,
    application_key,
    certificate_key,
    read_certificate,
    state_at,
)
from ledger.certificate_rules import Case, broken
from ledger.certificate_transitions import (
    ACCEPT,
    APPLY,
    CANCEL,
    GRANT,
    REFUSE,
    RENEW,
    RESTORE,
    REVIEW,
    REVOKE,
    SITE_CHECK,
    SUSPEND,
    TYPE_TEST,
    Transition,
    check_case,
)
from ledger.inspection_reports import INSPECTED_KINDS
from ledger.kinds import ApplyContext, KindSpec
from ledger.rules import RULES_SCHEME
from ledger.scheme_checks import check_accredited, check_scheme
from ledger.scheme_events import SCHEME_KINDS, with_scheme, write_scheme
from ledger.scheme_records import Negative
from ledger.state import StateReader, Transaction

SCHEMA = 1
SCHEMA_SCHEME = 2
"""What came with the certification scheme in full."""

ROWS: dict[type[Body], Transition] = {
    Apply: APPLY,
    Accept: ACCEPT,
    TypeTest: TYPE_TEST,
    SiteCheck: SITE_CHECK,
    Review: REVIEW,
    Grant: GRANT,
    Refuse: REFUSE,
    Suspend: SUSPEND,
    Restore: RESTORE,
    Revoke: REVOKE,
    Cancel: CANCEL,
    Renew: RENEW,
    ApplyScoped: APPLY,
    GrantSigned: GRANT,
    RevokeSigned: REVOKE,
}
"""The row of the table that judges a body."""
LATER_SCHEMAS: dict[type[Body], type[Body]] = {Apply: ApplyScoped, Grant: GrantSigned, Revoke: RevokeSigned}
"""What schema 2 of a kind is, by its schema 1."""
SIGNED_A_MEMBER_MAX = 512
"""Signed decisions of one kind that a block applies of a member: two signatures each, 74 ms in all on a slow core."""


def apply_event(context: ApplyContext, state: Transaction, body: LifeBody) -> None:
    """Write what an event of a certificate's life changes; `RuleBroken` names the rule that forbids it."""
    transition = ROWS[type(body)]
    assert transition.to_state is not None, "every event of these leads to a state of its own"
    case = case_of(context, state, body)
    if context.rules >= RULES_SCHEME:
        case = with_scheme(case, state)
    check_case(transition, case)
    check_custodians(state, evidence_of(body))
    if context.rules >= RULES_SCHEME:
        check_accredited(transition, case, state)
        check_scheme(case, transition.kind, state)
        write_scheme(case, state)
    for record in records_after(case, body, transition.to_state):
        match record:
            case Application():
                state.put(application_key(record.id), record)
            case Certificate():
                state.put(certificate_key(record.number), record)
            case _:
                assert_never(record)


def case_of(context: ApplyContext, state: StateReader, body: LifeBody) -> Case:
    """Return what the rules look at; `RuleBroken` where what the body names is not there, or is there already."""
    match body:
        case Apply():
            check_application_is_new(state, body.application)
            return Case(context, body, None, None, None, None, _catalogue_in_force(context, state))
        case Renew():
            check_application_is_new(state, body.application)
            predecessor = present_certificate(state, body.supersedes)
            present = state_at(predecessor, context.time_ms)
            return Case(context, body, present, None, None, predecessor, _catalogue_in_force(context, state))
        case Grant():
            application = present_application(state, body.application)
            if read_certificate(state, body.number) is not None:
                raise broken("number_taken", body.number)
            superseded = None if application.supersedes is None else present_certificate(state, application.supersedes)
            catalogue = read_catalogue(state, application.catalogue)
            return Case(context, body, application.state, application, None, superseded, catalogue)
        case Accept() | TypeTest() | SiteCheck() | Review() | Refuse():
            application = present_application(state, body.application)
            return Case(context, body, application.state, application, None, None, None)
        case Suspend() | Restore() | Revoke() | Cancel():
            certificate = present_certificate(state, body.number)
            present = state_at(certificate, context.time_ms)
            return Case(context, body, present, None, certificate, None, None)
        case _:
            assert_never(body)


def records_after(case: Case, body: LifeBody, to_state: State) -> tuple[Application | Certificate, ...]:
    """Return the records that an admitted event leaves behind, all of those that it changes."""
    match body:
        case Apply() | Renew():
            return (_new_application(case, body),)
        case Grant():
            return _granted(case, body)
        case Accept() | TypeTest() | SiteCheck() | Review() | Refuse():
            assert case.application is not None
            return (_application_after(case, case.application, to_state),)
        case Suspend() | Restore() | Revoke() | Cancel():
            assert case.certificate is not None
            return (_certificate_after(case, case.certificate, to_state),)
        case _:
            assert_never(body)


def _new_application(case: Case, body: Apply | Renew) -> Application:
    predecessor, catalogue, context = case.predecessor, case.catalogue, case.context
    assert catalogue is not None, "the table admits no application without a catalogue in force"
    if isinstance(body, Apply):
        holder_name, product, category = body.holder_name, body.product, body.category
    else:
        assert predecessor is not None
        holder_name, product, category = predecessor.holder_name, predecessor.product, predecessor.category
    return Application(
        id=body.application,
        holder=context.member,
        holder_name=holder_name,
        product=product,
        category=category,
        catalogue=catalogue.version,
        state=State.APPLIED,
        supersedes=None if predecessor is None else predecessor.number,
        body=None,
        reviewer=None,
        evidence=filed(context, body.evidence),
        number=None,
        reason=None,
        appeal_until_ms=None,
        history=history_after(context, NO_HISTORY),
    )


def _application_after(case: Case, application: Application, to_state: State) -> Application:
    """Return an application after an event that is not its grant."""
    context, body = case.context, case.body
    passed = body.passed if isinstance(body, TypeTest | SiteCheck) else True
    after = replace(
        application,
        state=to_state,
        evidence=application.evidence + filed(context, evidence_of(body), passed),
        history=history_after(context, application.history),
    )
    match body:
        case Accept():
            return replace(after, body=context.member)
        case Review():
            return replace(after, reviewer=context.source)
        case Refuse():
            return replace(after, reason=body.reason, appeal_until_ms=appeal_end(context))
        case _:
            return after


def _granted(case: Case, body: Grant) -> tuple[Application | Certificate, ...]:
    """Return the granted application, its certificate, and the predecessor, which learns of its successor."""
    application, context = case.application, case.context
    assert application is not None
    assert application.body is not None, "a reviewed application was accepted by a certification body"
    valid_from_ms, valid_until_ms = validity_of(body, context)
    history = history_after(context, application.history)
    certificate = Certificate(
        number=body.number,
        application=application.id,
        holder=application.holder,
        holder_name=application.holder_name,
        product=application.product,
        category=application.category,
        catalogue=application.catalogue,
        body=application.body,
        state=State.ACTIVE,
        since_ms=valid_from_ms,
        version=1,
        valid_from_ms=valid_from_ms,
        valid_until_ms=valid_until_ms,
        suspension=None,
        revocation=None,
        predecessor=application.supersedes,
        successor=None,
        evidence=application.evidence,
        corrections=(),
        appeal_until_ms=None,
        history=history,
    )
    granted = replace(application, state=State.GRANTED, number=body.number, history=history)
    if case.predecessor is None:
        return granted, certificate
    # The predecessor runs to its own end: a renewal overlaps with what it supersedes.
    predecessor = replace(
        case.predecessor, successor=body.number, history=history_after(context, case.predecessor.history)
    )
    return granted, certificate, predecessor


def _certificate_after(case: Case, certificate: Certificate, to_state: State) -> Certificate:
    """Return a certificate after a decision on it."""
    context, body = case.context, case.body
    after = replace(
        certificate,
        state=to_state,
        since_ms=context.time_ms,
        suspension=None,
        appeal_until_ms=None,
        history=history_after(context, certificate.history),
    )
    match body:
        case Suspend():
            suspension = Suspension(body.reason, context.time_ms, suspension_end_of(body, context))
            return replace(after, suspension=suspension, appeal_until_ms=appeal_end(context))
        case Restore():
            # A certificate restored before its term begins is valid from then, not from now.
            since_ms = max(context.time_ms, certificate.valid_from_ms)
            # An appeal against a reduction made meanwhile is as possible as before.
            reduced = case.decision is not None and case.decision.what is Negative.REDUCTION
            window_ms = certificate.appeal_until_ms if reduced else None
            corrections = filed(context, body.evidence)
            return replace(after, since_ms=since_ms, corrections=corrections, appeal_until_ms=window_ms)
        case Revoke():
            from_ms = context.time_ms if body.invalid_from_ms is None else body.invalid_from_ms
            revocation = Revocation(body.reason, context.member, from_ms)
            return replace(after, since_ms=from_ms, revocation=revocation, appeal_until_ms=appeal_end(context))
        case _:
            return replace(after, corrections=certificate.corrections + filed(context, evidence_of(body)))


def _catalogue_in_force(context: ApplyContext, state: StateReader) -> Catalogue | None:
    return in_force(read_catalogues(state), context.time_ms)


def _kind(body: type[Body], transition: Transition) -> KindSpec:
    later = LATER_SCHEMAS.get(body)
    return KindSpec(
        kind=transition.kind,
        name=transition.name,
        schemas={SCHEMA: body} if later is None else {SCHEMA: body, SCHEMA_SCHEME: later},
        changes_state=True,
        apply=apply_event,
        check_shape=check_body,
        roles=transition.roles,
        schema_rules_min={} if later is None else {SCHEMA_SCHEME: RULES_SCHEME},
        schema_applied_max={SCHEMA_SCHEME: SIGNED_A_MEMBER_MAX} if later in (GrantSigned, RevokeSigned) else {},
    )


CERTIFICATE_KINDS: tuple[KindSpec, ...] = (
    *(_kind(body, transition) for body, transition in ROWS.items() if body not in LATER_SCHEMAS.values()),
    *SCHEME_KINDS,
    *INSPECTED_KINDS,
)

CERTIFICATE_BODIES = {(spec.kind, number): body for spec in CERTIFICATE_KINDS for number, body in spec.schemas.items()}
"""The type of body that a kind and schema of a certificate's life have."""
