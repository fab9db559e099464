"""The checks of single transitions: time, terms, completeness of evidence. Each looks at a case and raises its rule.

Which of them run for which event stands in `ledger.certificate_transitions`. Source: domain §3; figures come from the
policy in force at the block.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from ledger.catalogue import ALWAYS_NEEDED, EvidenceKind
from ledger.certificate_bodies import Grant, Revoke, Suspend
from ledger.certificate_records import State, add_months, state_at
from ledger.certificate_rules import Case, broken
from ledger.kinds import ApplyContext
from ledger.policy import DAY_MS


def listed(kinds: AbstractSet[EvidenceKind]) -> str:
    """Return kinds of evidence for a message."""
    return ", ".join(sorted(kinds)) or "none"


def application_is_own(case: Case) -> None:
    """An application's id starts with its member's id."""
    application = getattr(case.body, "application", "")
    if application.partition(".")[0] != case.context.member:
        raise broken("not_own_application", f"expected {case.context.member}.SERIAL, got {application}")


def category_is_known(case: Case) -> None:
    """The catalogue in force has the product's category; a renewal's is that of the certificate it supersedes."""
    number = getattr(case.body, "category", None) if case.predecessor is None else case.predecessor.category
    if case.catalogue is None or number is None or case.catalogue.category(number) is None:
        version = "none is in force" if case.catalogue is None else f"version {case.catalogue.version}"
        raise broken("unknown_category", f"category {number}; catalogue: {version}")


def renewal_is_timely(case: Case) -> None:
    """The certificate that is to be superseded ends within the policy's window."""
    certificate, context = case.predecessor, case.context
    assert certificate is not None, "a renewal's case has the certificate that it supersedes"
    opens_ms = certificate.valid_until_ms - context.policy.certificate_renewal_window_days * DAY_MS
    if context.time_ms < opens_ms:
        raise broken("outside_renewal_window", f"expected a time from {opens_ms}, got {context.time_ms}")


def evidence_is_complete(case: Case) -> None:
    """Both kinds of examination, and whatever else the application's catalogue asks, are filed and passed."""
    application = case.application
    assert application is not None, "a decision's case has its application"
    category = None if case.catalogue is None else case.catalogue.category(application.category)
    needed = {*ALWAYS_NEEDED, *(() if category is None else category.evidence)}
    missing = needed - {piece.kind for piece in application.evidence}
    if missing:
        raise broken("evidence_missing", f"expected {listed(missing)}")
    negative = {piece.kind for piece in application.evidence if not piece.passed}
    if negative:
        raise broken("evidence_negative", listed(negative))


def number_fits_category(case: Case) -> None:
    """A certificate's number names the product's category."""
    application = case.application
    assert application is not None
    assert isinstance(case.body, Grant)
    category = int(case.body.number.split("-")[2])
    if category != application.category:
        raise broken("number_of_other_category", f"expected {application.category:02d}, got {category:02d}")


def validity_is_permitted(case: Case) -> None:
    """A certificate starts soon, not in the past, and ends after that within the policy's longest validity."""
    assert isinstance(case.body, Grant)
    now_ms, policy = case.context.time_ms, case.context.policy
    start_ms, end_ms = validity_of(case.body, case.context)
    latest_start_ms = now_ms + policy.certificate_renewal_window_days * DAY_MS
    latest_end_ms = add_months(start_ms, policy.certificate_validity_months_max)
    if start_ms < now_ms:
        raise broken("starts_too_early", f"expected a time from {now_ms}, got {start_ms}")
    if start_ms > latest_start_ms:
        raise broken("starts_too_late", f"expected a time up to {latest_start_ms}, got {start_ms}")
    if end_ms <= start_ms:
        raise broken("validity_empty", f"expected an end after {start_ms}, got {end_ms}")
    if end_ms > latest_end_ms:
        raise broken("validity_too_long", f"expected an end up to {latest_end_ms}, got {end_ms}")


def validity_of(body: Grant, context: ApplyContext) -> tuple[int, int]:
    """Return the start and the exclusive end that a grant names, whether or not they are permitted."""
    start_ms = context.time_ms if body.valid_from_ms is None else body.valid_from_ms
    if body.valid_until_ms is not None:
        return start_ms, body.valid_until_ms
    months = context.policy.certificate_validity_months_max if body.valid_months is None else body.valid_months
    return start_ms, add_months(start_ms, months)


def suspension_is_permitted(case: Case) -> None:
    """A suspension ends later than now, within the policy's longest."""
    assert isinstance(case.body, Suspend)
    now_ms = case.context.time_ms
    latest_ms = now_ms + case.context.policy.certificate_suspension_days_max * DAY_MS
    until_ms = suspension_end_of(case.body, case.context)
    if until_ms <= now_ms:
        raise broken("suspension_empty", f"expected an end after {now_ms}, got {until_ms}")
    if until_ms > latest_ms:
        raise broken("suspension_too_long", f"expected an end up to {latest_ms}, got {until_ms}")


def suspension_end_of(body: Suspend, context: ApplyContext) -> int:
    """Return the end that a suspension names, whether or not it is permitted."""
    if body.until_ms is not None:
        return body.until_ms
    days = context.policy.certificate_suspension_days_max if body.days is None else body.days
    return context.time_ms + days * DAY_MS


def suspension_is_running(case: Case) -> None:
    """A suspension is lifted before its end; after it, revocation is due."""
    assert case.certificate is not None
    assert case.certificate.suspension is not None
    until_ms = case.certificate.suspension.until_ms
    if case.context.time_ms >= until_ms:
        raise broken("suspension_ended", f"it ended at {until_ms}, the block's time is {case.context.time_ms}")


def invalidity_is_in_life(case: Case) -> None:
    """A revocation counts from no earlier than the certificate's start and no later than now."""
    assert case.certificate is not None
    assert isinstance(case.body, Revoke)
    from_ms, now_ms = case.body.invalid_from_ms, case.context.time_ms
    if from_ms is not None and not case.certificate.valid_from_ms <= from_ms <= now_ms:
        raise broken(
            "invalid_from_out_of_range", f"expected {case.certificate.valid_from_ms} to {now_ms}, got {from_ms}"
        )


def predecessor_is_not_renewed(case: Case) -> None:
    """A certificate has at most one successor."""
    certificate = case.predecessor
    if certificate is not None and certificate.successor is not None:
        raise broken("already_renewed", f"{certificate.number} by {certificate.successor}")


def predecessor_is_in_order(case: Case) -> None:
    """A successor is granted only while its predecessor is active, or has meanwhile expired."""
    if case.predecessor is None:
        return
    state = state_at(case.predecessor, case.context.time_ms)
    if state not in (State.ACTIVE, State.EXPIRED):
        raise broken("wrong_state", f"{case.predecessor.number}: expected active or expired, is {state}")
