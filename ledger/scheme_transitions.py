"""The rows of a certificate's life that came with the third rules, in the same form as those before them.

Here: surveillance, change and extension, reduction, reissue and appeals. Who judges by them:
`ledger.certificate_transitions.check_case`; what they write: `ledger.scheme_events`. Source: domain §3, ISO/IEC 17065
(7.9 surveillance, 7.10 changes, 7.11 reduction and suspension, 7.13 appeals).
"""

from __future__ import annotations

from ledger.catalogue import EvidenceKind
from ledger.certificate_checks import application_is_own, evidence_is_complete
from ledger.certificate_records import State
from ledger.certificate_transitions import Party, Transition
from ledger.scheme_checks import (
    appeal_is_open,
    appeal_is_pending,
    application_changes_certificate,
    check_no_appeal_pending,
    correction_is_timely,
    reduction_has_ground,
    scope_grows,
    scope_shrinks,
)

_DOCUMENTS = frozenset({EvidenceKind.TECHNICAL_DOCUMENTS})
_FOUND = frozenset({EvidenceKind.SITE_CHECK, EvidenceKind.TYPE_EXAMINATION})
_REQUEST = frozenset({EvidenceKind.HOLDER_REQUEST})
_REPORT = frozenset({EvidenceKind.REVIEW_REPORT})
_ACTIVE: frozenset[State | None] = frozenset({State.ACTIVE})
_IN_USE: frozenset[State | None] = frozenset({State.ACTIVE, State.SUSPENDED})
_DECIDED: frozenset[State | None] = frozenset({State.ACTIVE, State.SUSPENDED, State.REVOKED, State.REFUSED})

SURVEIL = Transition(
    13,
    "certificate.surveil",
    _IN_USE,
    None,
    (Party.RESPONSIBLE_BODY, Party.INSPECTOR),
    brings=_FOUND,
    needs=frozenset({EvidenceKind.SITE_CHECK}),
    checks=(correction_is_timely,),
    also_to=frozenset({State.SUSPENDED}),
)
APPLY_CHANGE = Transition(
    14,
    "certificate.apply_change",
    _ACTIVE,
    State.APPLIED,
    (Party.HOLDER,),
    brings=_DOCUMENTS,
    needs=_DOCUMENTS,
    checks=(application_is_own, scope_grows),
)
EXTEND = Transition(
    15,
    "certificate.extend",
    frozenset({State.REVIEWED}),
    State.GRANTED,
    (Party.DECIDER,),
    checks=(application_changes_certificate, evidence_is_complete, scope_grows, check_no_appeal_pending),
)
REDUCE = Transition(
    16,
    "certificate.reduce",
    _IN_USE,
    None,
    (Party.RESPONSIBLE_BODY,),
    brings=_FOUND | _REQUEST | _REPORT,
    checks=(reduction_has_ground, scope_shrinks, check_no_appeal_pending),
)
REISSUE = Transition(
    17, "certificate.reissue", _ACTIVE, None, (Party.RESPONSIBLE_BODY,), brings=_REQUEST, needs=_REQUEST
)
APPEAL = Transition(
    18,
    "certificate.appeal",
    _DECIDED,
    None,
    (Party.HOLDER,),
    brings=_REQUEST | _DOCUMENTS,
    needs=_REQUEST,
    checks=(appeal_is_open,),
)
DECIDE_APPEAL = Transition(
    19,
    "certificate.decide_appeal",
    _DECIDED | {State.EXPIRED},
    None,
    (Party.APPEAL_OFFICER, Party.APPEAL_REGULATOR),
    brings=_REPORT,
    needs=_REPORT,
    checks=(appeal_is_pending,),
    also_to=frozenset({State.ACTIVE, State.SUSPENDED, State.REVIEWED}),
)

SCHEME_TRANSITIONS = (SURVEIL, APPLY_CHANGE, EXTEND, REDUCE, REISSUE, APPEAL, DECIDE_APPEAL)
