"""The rules of a certificate's life by name, and the case that a rule looks at.

Here: what can be broken, in one sentence each. The checks are in `ledger.certificate_checks`, the table of transitions
that says which of them run when, in `ledger.certificate_transitions`. Source: domain §3.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.catalogue import Catalogue
from ledger.certificate_bodies import Body
from ledger.certificate_records import Application, Certificate, FiledEvidence, State
from ledger.kinds import ApplyContext, RuleBroken

RULES = {
    "wrong_state": "The application or certificate is not in a state in which this event is possible.",
    "not_permitted": "The member or its key lacks the role, or is not the party, that may submit this event.",
    "same_officer": "The key that reviewed an application may not decide on it.",
    "conflict_of_interest": "Nobody tests, inspects, reviews or decides on a product of its own.",
    "not_own_application": "An application's id starts with the id of the member that applies.",
    "application_exists": "There is an application of this id already.",
    "unknown_application": "There is no application of this id.",
    "unknown_certificate": "There is no certificate of this number.",
    "unknown_category": "The catalogue in force has no such category.",
    "unknown_custodian": "The custodian of a piece of evidence is not a member.",
    "excluded_custodian": "The custodian of a piece of evidence is an excluded member.",
    "evidence_missing": "Evidence that this event needs is missing.",
    "evidence_negative": "A certificate cannot be granted on evidence of which the finding was negative.",
    "evidence_not_expected": "This event may not bring evidence of that kind.",
    "evidence_repeated": "A document with this digest has been filed in this case already.",
    "number_taken": "There is a certificate of this number already.",
    "number_of_other_category": "The certificate's number names another category than the product's.",
    "starts_too_early": "A certificate cannot start before the block in which it is granted.",
    "starts_too_late": "A certificate starts at most one renewal window after the block in which it is granted.",
    "validity_empty": "A certificate's end must lie after its start.",
    "validity_too_long": "A certificate's end lies beyond the longest validity that the policy permits.",
    "suspension_empty": "A suspension's end must lie after the block in which it begins.",
    "suspension_too_long": "A suspension's end lies beyond the longest suspension that the policy permits.",
    "suspension_ended": "A suspension past its end is due for revocation and cannot be restored.",
    "invalid_from_out_of_range": "A revocation counts from a time of the certificate's life up to its block's time.",
    "outside_renewal_window": "A renewal may be applied for only in the policy's window before the certificate's end.",
    "already_renewed": "The certificate has a successor already.",
}
"""Every rule that an event of a certificate's life can break, with what it says."""


@dataclass(frozen=True, slots=True)
class Case:
    """All that a rule looks at: the event, where it stands, and what the state holds of its subject.

    `state` is that of the subject at the block's time (None: there is none yet). A renewal and, later, its grant have
    the certificate that they supersede as `predecessor`; for the renewal that is the subject.
    """

    context: ApplyContext
    body: Body
    state: State | None
    application: Application | None
    certificate: Certificate | None
    predecessor: Certificate | None
    catalogue: Catalogue | None

    @property
    def holder(self) -> str | None:
        """The member whose product it is."""
        subject = self.certificate or self.application or self.predecessor
        return None if subject is None else subject.holder

    @property
    def filed(self) -> tuple[FiledEvidence, ...]:
        """The evidence that the case holds already; a renewal starts with none."""
        application = () if self.application is None else self.application.evidence
        certificate = () if self.certificate is None else self.certificate.evidence + self.certificate.corrections
        return application + certificate

    @property
    def responsible_body(self) -> str | None:
        """The certification body that accepted the application."""
        subject = self.certificate or self.application
        return None if subject is None else subject.body


def broken(rule: str, detail: str) -> RuleBroken:
    """Return the outcome of a rule of the table above."""
    assert rule in RULES, f"{rule} is not in the table of rules"
    return RuleBroken(rule, detail)
