"""What inspectors find at certificates that a draw selected, kinds 25 and 26, and what follows from it by rule.

A grave finding suspends an active certificate as failed surveillance does, with the same appeal. Findings stay open,
and weigh in later draws, until the responsible body says with evidence that they were corrected. Who may and when is a
row of the same form as those of a certificate's life. Source: domain §3 (random inspections), ISO/IEC 17065 (7.9).
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import InspectedBody, ReportInspection, ResolveInspection, check_body, evidence_of
from ledger.certificate_filing import check_custodians, filed, history_after, present_certificate
from ledger.certificate_records import Certificate, State, certificate_key, state_at
from ledger.certificate_rules import Case, broken
from ledger.certificate_transitions import Party, Transition, check_case
from ledger.inspection_records import (
    CertificateInspections,
    Inspection,
    Report,
    Resolution,
    inspections_key,
    read_certificate_inspections,
    read_inspection,
    read_report,
    report_key,
)
from ledger.kinds import APPLIED_A_MEMBER_MAX, ApplyContext, KindSpec
from ledger.rules import RULES_SCHEME
from ledger.scheme_checks import check_accredited, correction_is_timely
from ledger.scheme_events import EVIDENCE_KEPT_MAX, suspended_by_rule
from ledger.scheme_policy import read_scheme_policy
from ledger.scheme_records import CertificateScheme, certificate_scheme_key, read_certificate_scheme
from ledger.state import StateReader, Transaction

SCHEMA: Final = 1
FAILED_INSPECTION: Final = "failed_inspection"
_IN_USE: frozenset[State | None] = frozenset({State.ACTIVE, State.SUSPENDED})
_FOUND = frozenset({EvidenceKind.SITE_CHECK, EvidenceKind.TYPE_EXAMINATION})
_CORRECTED = frozenset({EvidenceKind.CORRECTIVE_ACTION})

REPORT = Transition(
    25,
    "inspection.report",
    _IN_USE,
    None,
    (Party.INSPECTOR,),
    brings=_FOUND,
    needs=frozenset({EvidenceKind.SITE_CHECK}),
    checks=(correction_is_timely,),
    also_to=frozenset({State.SUSPENDED}),
)
RESOLVE = Transition(
    26, "inspection.resolve", _IN_USE, None, (Party.RESPONSIBLE_BODY,), brings=_CORRECTED, needs=_CORRECTED
)
INSPECTED_TRANSITIONS = (REPORT, RESOLVE)
INSPECTED_ROWS: dict[type[InspectedBody], Transition] = {ReportInspection: REPORT, ResolveInspection: RESOLVE}


def apply_inspected_event(context: ApplyContext, state: Transaction, body: InspectedBody) -> None:
    """Write what an event about a selected certificate changes; RuleBroken names the rule that forbids it."""
    draw = read_inspection(state, body.draw)
    if draw is None:
        raise broken("unknown_draw", body.draw)
    certificate = present_certificate(state, body.number)
    scheme = read_certificate_scheme(state, body.number)
    present = state_at(certificate, context.time_ms)
    case = Case(context, body, present, None, certificate, None, None, None, scheme, read_scheme_policy(state))
    check_case(INSPECTED_ROWS[type(body)], case)
    check_accredited(INSPECTED_ROWS[type(body)], case, state)
    check_custodians(state, evidence_of(body))
    after = replace(certificate, history=history_after(context, certificate.history))
    evidence = (*scheme.evidence, *filed(context, body.evidence))
    beside = replace(scheme, evidence=evidence[-EVIDENCE_KEPT_MAX:])
    if isinstance(body, ReportInspection):
        report = _report(context, state, draw, body)
        if body.grave:
            after, beside = suspended_by_rule(case, FAILED_INSPECTION, body.correct_by_ms, after, beside)
    else:
        report = _resolved(context, state, body)
    _write(state, after, beside, report)


def _report(context: ApplyContext, state: StateReader, draw: Inspection, body: ReportInspection) -> Report:
    if draw.selected(body.number) is None:
        raise broken("not_drawn", f"{body.number} in {draw.id}")
    if read_report(state, draw.id, body.number) is not None:
        raise broken("already_reported", f"{body.number} in {draw.id}")
    return Report(
        draw=draw.id,
        number=body.number,
        event_id=context.event_id,
        member=context.member,
        time_ms=context.time_ms,
        passed=body.passed,
        grave=body.grave,
        findings=body.findings,
        correct_by_ms=body.correct_by_ms,
        resolved=None,
    )


def _resolved(context: ApplyContext, state: StateReader, body: ResolveInspection) -> Report:
    report = read_report(state, body.draw, body.number)
    if report is None or report.passed:
        raise broken("no_findings", f"{body.number} in {body.draw}")
    if report.resolved is not None:
        raise broken("already_resolved", f"{body.number} in {body.draw}")
    return replace(report, resolved=Resolution(context.event_id, context.member, context.time_ms))


def _write(state: Transaction, certificate: Certificate, beside: CertificateScheme, report: Report) -> None:
    state.put(certificate_key(certificate.number), certificate)
    state.put(certificate_scheme_key(certificate.number), beside)
    state.put(report_key(report.draw, report.number), report)
    fared = read_certificate_inspections(state, certificate.number)
    state.put(inspections_key(certificate.number), _fared_after(fared, report))


def _fared_after(fared: CertificateInspections, report: Report) -> CertificateInspections:
    if report.resolved is not None:
        return replace(fared, open=fared.open - 1)
    failed = not report.passed
    return CertificateInspections(
        number=fared.number,
        reports=fared.reports + 1,
        failures=fared.failures + failed,
        open=fared.open + failed,
        last_passed=report.passed,
    )


INSPECTED_KINDS: tuple[KindSpec, ...] = tuple(
    KindSpec(
        kind=transition.kind,
        name=transition.name,
        schemas={SCHEMA: body},
        changes_state=True,
        apply=apply_inspected_event,
        check_shape=check_body,
        roles=transition.roles,
        rules_min=RULES_SCHEME,
        schema_applied_max={SCHEMA: APPLIED_A_MEMBER_MAX},
    )
    for body, transition in INSPECTED_ROWS.items()
)
