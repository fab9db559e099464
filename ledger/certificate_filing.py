"""What events of a certificate's life leave behind: filed evidence, one more event of the history, and windows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ledger.certificate_bodies import Evidence
from ledger.certificate_records import (
    Application,
    Certificate,
    FiledEvidence,
    History,
    read_application,
    read_certificate,
)
from ledger.certificate_rules import broken
from ledger.kinds import ApplyContext
from ledger.members import read_member
from ledger.policy import DAY_MS
from ledger.state import StateReader


class Kept(Protocol):
    """A document off the chain, and the member that keeps it."""

    @property
    def custodian(self) -> str: ...


def filed(context: ApplyContext, evidence: Iterable[Evidence], passed: bool = True) -> tuple[FiledEvidence, ...]:
    """Return pieces of evidence as the event of `context` files them."""
    return tuple(
        FiledEvidence(
            kind=piece.kind,
            digest=piece.digest,
            custodian=piece.custodian,
            size_bytes=piece.size_bytes,
            member=context.member,
            event_id=context.event_id,
            time_ms=context.time_ms,
            passed=passed,
        )
        for piece in evidence
    )


def history_after(context: ApplyContext, history: History) -> History:
    """Return a history with the event of `context`."""
    return history.after(context.event_id, context.time_ms)


def appeal_end(context: ApplyContext) -> int:
    """Return the end of the window to appeal against a decision of the block, by its policy."""
    return context.time_ms + context.policy.appeal_window_days * DAY_MS


def present_application(state: StateReader, application: str) -> Application:
    """Return an application; RuleBroken where there is none."""
    found = read_application(state, application)
    if found is None:
        raise broken("unknown_application", application)
    return found


def present_certificate(state: StateReader, number: str) -> Certificate:
    """Return a certificate; RuleBroken where there is none."""
    found = read_certificate(state, number)
    if found is None:
        raise broken("unknown_certificate", number)
    return found


def check_application_is_new(state: StateReader, application: str) -> None:
    """Raise RuleBroken where there is an application of this id."""
    if read_application(state, application) is not None:
        raise broken("application_exists", application)


def check_custodians(state: StateReader, evidence: Iterable[Kept]) -> None:
    """Raise RuleBroken unless each custodian is a member now: who keeps a document must answer for it.

    What was filed before its custodian was excluded stays: the digest proves every copy, and no certificate falls
    because of what happened to somebody else.
    """
    for piece in evidence:
        check_custodian(state, piece.custodian)


def check_custodian(state: StateReader, name: str) -> None:
    """Raise RuleBroken unless who keeps a document is a member now."""
    custodian = read_member(state, name)
    if custodian is None:
        raise broken("unknown_custodian", name)
    if custodian.excluded:
        raise broken("excluded_custodian", name)
