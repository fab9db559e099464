"""What is due of random inspections at a time: reports on what was drawn, and corrections of what was found.

Derived views, pure functions of the state's rows and a time: nothing is written when something becomes due. Who asks
decides on the time, usually the newest block's. Source: domain §3 (random inspections).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ledger.certificate_records import State, read_certificate, state_at
from ledger.inspection_records import (
    INSPECTION_PREFIX,
    REPORT_PREFIX,
    Inspection,
    Phase,
    Report,
    read_report,
)
from ledger.state import StateReader

IN_USE = frozenset({State.ACTIVE, State.SUSPENDED})


@dataclass(frozen=True, slots=True)
class DueReport:
    """A selected certificate on which there is no report yet, and by when there must be one."""

    draw: str
    number: str
    due_ms: int
    overdue: bool


@dataclass(frozen=True, slots=True)
class DueCorrection:
    """Findings that the responsible body has not called corrected, and the end that the inspector set, if any."""

    draw: str
    number: str
    findings: tuple[str, ...]
    due_ms: int | None
    overdue: bool


def due_reports(state: StateReader, time_ms: int) -> Iterator[DueReport]:
    """Yield the reports that are due, by draw and number; none on certificates that are no longer in use."""
    for _, draw in state.scan(INSPECTION_PREFIX, Inspection):
        if draw.phase is not Phase.DRAWN or draw.report_until_ms is None:
            continue
        for item in sorted(draw.selection, key=lambda drawn: drawn.number):
            certificate = read_certificate(state, item.number)
            in_use = certificate is not None and state_at(certificate, time_ms) in IN_USE
            if in_use and read_report(state, draw.id, item.number) is None:
                yield DueReport(draw.id, item.number, draw.report_until_ms, time_ms >= draw.report_until_ms)


def due_corrections(state: StateReader, time_ms: int) -> Iterator[DueCorrection]:
    """Yield the findings that are not corrected, by draw and number; none of certificates that are no longer in use."""
    for _, report in state.scan(REPORT_PREFIX, Report):
        if report.passed or report.resolved is not None:
            continue
        certificate = read_certificate(state, report.number)
        if certificate is None or state_at(certificate, time_ms) not in IN_USE:
            continue
        overdue = report.correct_by_ms is not None and time_ms >= report.correct_by_ms
        yield DueCorrection(report.draw, report.number, report.findings, report.correct_by_ms, overdue)
