"""A certificate's life as one table of transitions, and the one function that judges an event by its row.

Here: which event leads from which states to which, who may submit it, with which evidence, under which checks. Not
here: what an event then writes (`ledger.certificates`). Source: domain §3, and for impartiality ISO/IEC 17065 (4.2, and
7.6.2: who decides has taken no part in the evaluation or review).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import evidence_of
from ledger.certificate_checks import (
    application_is_own,
    category_is_known,
    evidence_is_complete,
    invalidity_is_in_life,
    listed,
    number_fits_category,
    predecessor_is_in_order,
    predecessor_is_not_renewed,
    renewal_is_timely,
    suspension_is_permitted,
    suspension_is_running,
    validity_is_permitted,
)
from ledger.certificate_records import State
from ledger.certificate_rules import Case, broken
from ledger.members import Role


class Party(enum.Enum):
    """Who an event is from: a role, and a relation to the case."""

    APPLICANT = "any bank or vendor"
    HOLDER = "the member that holds the certificate"
    LABORATORY = "a laboratory that is not the applicant"
    INSPECTOR = "an inspector that is not the applicant"
    CERTIFICATION_BODY = "a certification body that is not the applicant"
    RESPONSIBLE_BODY = "the certification body that accepted the application"
    DECIDER = "the certification body that accepted the application, by another key than reviewed it"
    REGULATOR = "a regulator"
    APPEAL_OFFICER = (
        "the responsible certification body, by a key that neither reviewed nor decided; not on a regulator's"
    )
    APPEAL_REGULATOR = "a regulator that is not the holder, by a key that did not decide"


ROLES_OF_PARTY: dict[Party, frozenset[Role]] = {
    Party.APPLICANT: frozenset({Role.BANK, Role.VENDOR}),
    Party.HOLDER: frozenset({Role.BANK, Role.VENDOR}),
    Party.LABORATORY: frozenset({Role.LABORATORY}),
    Party.INSPECTOR: frozenset({Role.INSPECTOR}),
    Party.CERTIFICATION_BODY: frozenset({Role.CERTIFICATION_BODY}),
    Party.RESPONSIBLE_BODY: frozenset({Role.CERTIFICATION_BODY}),
    Party.DECIDER: frozenset({Role.CERTIFICATION_BODY}),
    Party.REGULATOR: frozenset({Role.REGULATOR}),
    Party.APPEAL_OFFICER: frozenset({Role.CERTIFICATION_BODY}),
    Party.APPEAL_REGULATOR: frozenset({Role.REGULATOR}),
}


Check = Callable[[Case], None]


@dataclass(frozen=True, slots=True)
class Transition:
    """One row: the event, from which states to which, who, with which evidence, and what else must hold.

    None among `from_states`: there is no subject yet. `to_state` None: the state stays, or is one of `also_to`, by what
    the event finds or decides. `brings` may come with the event, `needs` must; `checks`
    run in order after state, party and evidence.
    """

    kind: int
    name: str
    from_states: frozenset[State | None]
    to_state: State | None
    parties: tuple[Party, ...]
    brings: frozenset[EvidenceKind] = frozenset()
    needs: frozenset[EvidenceKind] = frozenset()
    checks: tuple[Check, ...] = ()
    also_to: frozenset[State] = frozenset()

    @property
    def roles(self) -> frozenset[str]:
        """The roles of which a source needs one."""
        return frozenset(role for party in self.parties for role in ROLES_OF_PARTY[party])


def check_case(transition: Transition, case: Case) -> None:
    """Raise `RuleBroken` unless the transition admits the event: state, party, evidence, and its own checks."""
    if case.state not in transition.from_states:
        expected = " or ".join(sorted(state or "none" for state in transition.from_states))
        raise broken("wrong_state", f"expected {expected}, is {case.state or 'none'}")
    _check_party(transition, case)
    _check_evidence(transition, case)
    for check in transition.checks:
        check(case)


def _check_party(transition: Transition, case: Case) -> None:
    refusals = [_party_refusal(party, case) for party in transition.parties]
    if None in refusals:
        return
    rule = next((rule for rule in refusals if rule is not None and rule != "not_permitted"), "not_permitted")
    raise broken(
        rule, f"expected {' or '.join(party.value for party in transition.parties)}, got {case.context.member}"
    )


def parties_of(transition: Transition, case: Case) -> tuple[Party, ...]:
    """Return which of a transition's parties the event's member and key are."""
    return tuple(party for party in transition.parties if _party_refusal(party, case) is None)


def _party_refusal(party: Party, case: Case) -> str | None:
    """Return the rule by which the event's member or key is not this party, or None where it is."""
    context, application = case.context, case.application
    if not ROLES_OF_PARTY[party] & context.source_roles:
        return "not_permitted"
    match party:
        case Party.APPLICANT | Party.REGULATOR:
            return None
        case Party.HOLDER:
            return None if context.member == case.holder else "not_permitted"
        case Party.LABORATORY | Party.INSPECTOR | Party.CERTIFICATION_BODY:
            return "conflict_of_interest" if context.member == case.holder else None
        case Party.RESPONSIBLE_BODY:
            return None if context.member == case.responsible_body else "not_permitted"
        case Party.DECIDER:
            if context.member != case.responsible_body:
                return "not_permitted"
            return "same_officer" if application is not None and application.reviewer == context.source else None
        case Party.APPEAL_OFFICER:
            if context.member != case.responsible_body or case.is_decided_by_regulator:
                return "not_permitted"
            return "same_officer" if context.source in case.officers else None
        case Party.APPEAL_REGULATOR:
            if context.member == case.holder:
                return "conflict_of_interest"
            return "same_officer" if context.source in case.officers else None


def _check_evidence(transition: Transition, case: Case) -> None:
    brought = evidence_of(case.body)
    filed = {piece.digest for piece in case.filed}
    for piece in brought:
        if piece.kind not in transition.brings:
            raise broken("evidence_not_expected", f"expected {listed(transition.brings)}, got {piece.kind}")
        if piece.digest in filed:
            raise broken("evidence_repeated", piece.digest.hex())
    missing = transition.needs - {piece.kind for piece in brought}
    if missing:
        raise broken("evidence_missing", f"expected {listed(missing)} with the event")


_DOCUMENTS = frozenset({EvidenceKind.TECHNICAL_DOCUMENTS})
_LABORATORY_WORK = frozenset({EvidenceKind.TYPE_EXAMINATION, EvidenceKind.SECURITY_EVALUATION})
_TYPE_EXAMINATION = frozenset({EvidenceKind.TYPE_EXAMINATION})
_SITE_CHECK = frozenset({EvidenceKind.SITE_CHECK})
_REVIEW = frozenset({EvidenceKind.REVIEW_REPORT})
_CORRECTION = frozenset({EvidenceKind.CORRECTIVE_ACTION})
_REQUEST = frozenset({EvidenceKind.HOLDER_REQUEST})
_NONE: frozenset[State | None] = frozenset({None})
_IN_USE: frozenset[State | None] = frozenset({State.ACTIVE, State.SUSPENDED})


def _from(state: State) -> frozenset[State | None]:
    return frozenset({state})


APPLY = Transition(
    1,
    "certificate.apply",
    _NONE,
    State.APPLIED,
    (Party.APPLICANT,),
    brings=_DOCUMENTS,
    needs=_DOCUMENTS,
    checks=(application_is_own, category_is_known),
)
ACCEPT = Transition(2, "certificate.accept", _from(State.APPLIED), State.ACCEPTED, (Party.CERTIFICATION_BODY,))
TYPE_TEST = Transition(
    3,
    "certificate.type_test",
    _from(State.ACCEPTED),
    State.TYPE_TESTED,
    (Party.LABORATORY,),
    brings=_LABORATORY_WORK,
    needs=_TYPE_EXAMINATION,
)
SITE_CHECK = Transition(
    4,
    "certificate.site_check",
    _from(State.TYPE_TESTED),
    State.SITE_CHECKED,
    (Party.INSPECTOR,),
    brings=_SITE_CHECK,
    needs=_SITE_CHECK,
)
REVIEW = Transition(
    5,
    "certificate.review",
    _from(State.SITE_CHECKED),
    State.REVIEWED,
    (Party.RESPONSIBLE_BODY,),
    brings=_REVIEW,
)
GRANT = Transition(
    6,
    "certificate.grant",
    _from(State.REVIEWED),
    State.GRANTED,
    (Party.DECIDER,),
    checks=(
        evidence_is_complete,
        number_fits_category,
        validity_is_permitted,
        predecessor_is_not_renewed,
        predecessor_is_in_order,
    ),
)
REFUSE = Transition(7, "certificate.refuse", _from(State.REVIEWED), State.REFUSED, (Party.DECIDER,))
SUSPEND = Transition(
    8,
    "certificate.suspend",
    _from(State.ACTIVE),
    State.SUSPENDED,
    (Party.RESPONSIBLE_BODY,),
    checks=(suspension_is_permitted,),
)
RESTORE = Transition(
    9,
    "certificate.restore",
    _from(State.SUSPENDED),
    State.ACTIVE,
    (Party.RESPONSIBLE_BODY,),
    brings=_CORRECTION,
    needs=_CORRECTION,
    checks=(suspension_is_running,),
)
REVOKE = Transition(
    10,
    "certificate.revoke",
    _IN_USE,
    State.REVOKED,
    (Party.RESPONSIBLE_BODY, Party.REGULATOR),
    checks=(invalidity_is_in_life,),
)
CANCEL = Transition(
    11,
    "certificate.cancel",
    _IN_USE,
    State.CANCELLED,
    (Party.RESPONSIBLE_BODY,),
    brings=_REQUEST,
    needs=_REQUEST,
)
RENEW = Transition(
    12,
    "certificate.renew",
    _from(State.ACTIVE),
    State.APPLIED,
    (Party.HOLDER,),
    brings=_DOCUMENTS,
    needs=_DOCUMENTS,
    checks=(application_is_own, category_is_known, predecessor_is_not_renewed, renewal_is_timely),
)

TRANSITIONS = (
    APPLY,
    ACCEPT,
    TYPE_TEST,
    SITE_CHECK,
    REVIEW,
    GRANT,
    REFUSE,
    SUSPEND,
    RESTORE,
    REVOKE,
    CANCEL,
    RENEW,
)
