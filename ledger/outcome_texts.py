"""What an outcome says to people: the same as its detail, with times as RFC 3339 UTC.

The detail of an outcome is hashed with it (`ledger.outcomes`) and stays what it is; times in it are milliseconds since
the epoch. Whoever shows it to a person shows this text. Only rules that name times are looked at, and only numbers
behind the words that lead to one, so that no member's or draw's name is taken for a time.
"""

from __future__ import annotations

import re
from typing import Final

from ledger.outcomes import EXPIRED, EXPIRES_TOO_LATE
from ledger.times import format_time

TIMED_RULES: Final = frozenset(
    {
        EXPIRED,
        EXPIRES_TOO_LATE,
        "accreditation_ended",
        "accreditation_not_begun",
        "accreditation_scope",
        "accreditation_time",
        "appeal_too_late",
        "barred_from_draws",
        "catalogue_time",
        "commitments_ended",
        "commitments_open",
        "correction_time",
        "invalid_from_out_of_range",
        "mark_term",
        "not_accredited",
        "outside_renewal_window",
        "proposal_term",
        "register_closed",
        "reveals_ended",
        "reveals_open",
        "row_imported",
        "starts_too_early",
        "starts_too_late",
        "suspension_empty",
        "suspension_ended",
        "suspension_too_long",
        "validity_empty",
        "validity_too_long",
        "voucher_from_future",
        "voucher_limit_age",
        "wallet_expired",
    }
)
"""The rules whose details name times."""

_TIME: Final = re.compile(
    r"\b(after|at|before|expected|from|got|is|most|time|to|until) ([1-9][0-9]{11,14})(?![\w.-])", re.ASCII
)


def detail_text(rule: str, detail: str) -> str:
    """Return the detail of an outcome for people."""
    if rule not in TIMED_RULES:
        return detail
    return _TIME.sub(lambda found: f"{found[1]} {format_time(int(found[2]))}", detail)


def why_text(rule: str, detail: str) -> str:
    """Return why an event was rejected, for people: the rule, and what was expected and found."""
    said = detail_text(rule, detail)
    return f"{rule}: {said}" if said else rule
