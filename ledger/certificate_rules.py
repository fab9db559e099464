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
from ledger.scheme_policy import SchemePolicy
from ledger.scheme_records import ApplicationScheme, CertificateScheme, Decision, Negative

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
    "not_accredited": "The laboratory or inspector has no accreditation.",
    "accreditation_not_begun": "The accreditation begins after the block's time.",
    "accreditation_ended": "The accreditation ended before the block's time, or at it.",
    "accreditation_scope": "The accreditation does not cover the product's category.",
    "four_eyes_needed": "By these rules a grant or revocation carries the signatures of two officers.",
    "unknown_officer": "A key that signed a decision is not that of an officer of the deciding member.",
    "bad_approval": "An officer's signature over a decision, upon what its subject is at this block, does not verify.",
    "bad_holder_id": "The holder's id is neither a USCC nor an LEI with right check digits.",
    "change_of_certificate": "An application for a change ends by extension or refusal and not by a grant.",
    "no_change_application": "An extension needs an application for a change of this very certificate.",
    "other_body": "A change goes to the certification body that is responsible for the certificate.",
    "scope_not_wider": "A change asks for the present scope and at least one entry more.",
    "scope_unknown": "An entry that a reduction removes is not in the scope.",
    "scope_empty": "A reduction leaves at least one entry of the scope.",
    "correction_time": "Findings must be corrected after the block's time, by the policy's figures.",
    "nothing_to_appeal": "There is no decision on this subject against which an appeal is possible.",
    "appeal_too_late": "The window for the appeal has ended.",
    "already_appealed": "There is an appeal against this decision already.",
    "not_appealed": "There is no appeal against a decision on this subject.",
    "appeal_pending": "While an appeal is undecided the responsible body takes no further decision against the holder.",
    "not_own_draw": "A draw's id starts with its announcer's, who alone (or a regulator) announces it anew.",
    "draw_exists": "There is a draw of this id already.",
    "unknown_draw": "There is no draw of this id.",
    "draw_windows": "Commitments and then reveals are taken for as long as the policy asks, and end within 90 days.",
    "too_many_draws": "A member has at most four draws under way at a time.",
    "draw_not_void": "Only a draw that came to nothing is announced anew, and only once.",
    "draw_differs": "A draw that is announced anew has the same categories, weights and count.",
    "wrong_phase": "The draw is not in the phase in which this event is possible.",
    "reveal_too_early": "Secrets are shown in blocks after the one that closes the commitments.",
    "commitments_ended": "The time for commitments has ended.",
    "commitments_open": "A draw is closed only when the time for commitments has ended.",
    "already_committed": "The member has committed to this draw already.",
    "too_many_commitments": "A draw takes at most 64 commitments.",
    "barred_from_draws": "A member that committed to an earlier draw and did not reveal may not commit for a year.",
    "no_commitment": "The member has not committed to this draw.",
    "already_revealed": "The member has revealed already.",
    "wrong_reveal": "What was revealed is not what the member committed to.",
    "reveals_ended": "The time for reveals has ended.",
    "reveals_open": "The draw waits for reveals until all are there or their time has ended.",
    "draw_turn_taken": "A block goes one step in one draw; submit it again.",
    "not_drawn": "The draw has not selected this certificate.",
    "already_reported": "There is a report on this certificate for this draw already.",
    "no_findings": "There is no report with findings on this certificate for this draw.",
    "already_resolved": "The findings of this report were corrected already.",
    "not_own_register": "A register's id starts with the id of the body whose it is, and it alone imports from it.",
    "registers_closed": "The members decided that no certificates from before the chain come onto it any more.",
    "register_exists": "There is a register of this id already.",
    "unknown_register": "There is no register of this id.",
    "register_not_settled": "A register's rows come in later blocks than the one that opens it.",
    "register_closed": "The time in which a register's rows may come has ended.",
    "register_count_exceeded": "A row's place lies beyond the count of the register.",
    "not_in_register": "A row with its path does not lead to the root that the officers signed.",
    "row_imported": "This row of the register is a certificate already.",
    "unknown_catalogue": "There is no version of the catalogue of this number.",
    "catalogue_not_in_force": "A certificate was granted before the version of the catalogue that it names.",
    "number_of_other_year": "An imported certificate's number names another year than that of its grant.",
    "granted_too_late": "A register holds certificates that were granted before it was opened.",
    "term_ended": "A certificate whose term has ended is not imported.",
    "unknown_holder": "The holder of an imported certificate is no member, or an excluded one.",
    "not_a_holder": "The holder of an imported certificate is neither a bank nor a vendor.",
}
"""Every rule that an event of a certificate's life can break, with what it says."""


@dataclass(frozen=True, slots=True)
class Case:
    """All that a rule looks at: the event, where it stands, and what the state holds of its subject.

    `state` is that of the subject at the block's time (None: there is none yet). A renewal and, later, its grant have
    the certificate that they supersede as `predecessor`; for the renewal that is the subject. What the scheme keeps
    beside the application and the certificate is here from the third rules on.
    """

    context: ApplyContext
    body: Body
    state: State | None
    application: Application | None
    certificate: Certificate | None
    predecessor: Certificate | None
    catalogue: Catalogue | None
    application_scheme: ApplicationScheme | None = None
    certificate_scheme: CertificateScheme | None = None
    scheme_policy: SchemePolicy | None = None

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
        beside = () if self.application_scheme is None else self.application_scheme.evidence
        scheme = () if self.certificate_scheme is None else self.certificate_scheme.evidence
        return application + beside + certificate + scheme

    @property
    def responsible_body(self) -> str | None:
        """The certification body that accepted the application."""
        subject = self.certificate or self.application
        return None if subject is None else subject.body

    @property
    def officers(self) -> frozenset[bytes]:
        """The keys that reviewed or decided in the case so far, but for appeals: none may decide on an appeal."""
        keys: set[bytes | None] = set() if self.application is None else {self.application.reviewer}
        if (asked := self.application_scheme) is not None:
            keys.update(asked.officers)
        if (scheme := self.certificate_scheme) is not None:
            keys |= {scheme.reviewer, scheme.decider, *scheme.officers}
        decision = self.decision
        return frozenset(key for key in keys | {decision.source if decision else None} if key)

    @property
    def is_decided_by_regulator(self) -> bool:
        """Whether the newest decision against the holder is a regulator's: who revokes besides the body is one."""
        decision = self.decision
        return (
            decision is not None and decision.what is Negative.REVOCATION and decision.member != self.responsible_body
        )

    @property
    def decision(self) -> Decision | None:
        """The newest decision against the holder."""
        scheme = self.certificate_scheme if self.certificate is not None else self.application_scheme
        return None if scheme is None else scheme.decision


def broken(rule: str, detail: str) -> RuleBroken:
    """Return the outcome of a rule of the table above."""
    assert rule in RULES, f"{rule} is not in the table of rules"
    return RuleBroken(rule, detail)
