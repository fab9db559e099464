"""Which products' certificates end in a span of time, for forecasts. Not here: what one is worth."""

from __future__ import annotations

from itertools import islice
from typing import Final

from ledger.certificate_records import Certificate, State
from ledger.state import StateReader

SCANNED_MAX: Final = 50_000
"""Certificates that are looked at for one answer."""
_LIVE: Final = frozenset({State.ACTIVE, State.SUSPENDED})


def ending_certificates(state: StateReader, from_ms: int, until_ms: int) -> tuple[list[Certificate], bool]:
    """Return the certificates whose validity ends after `from_ms` and not after `until_ms`, the first to end first.

    Those that were revoked or cancelled are left out. The second value says whether all certificates were looked at.
    """
    rows = [row for _, row in islice(state.scan("certificate/", Certificate), SCANNED_MAX + 1)]
    found = [row for row in rows[:SCANNED_MAX] if row.state in _LIVE and from_ms < row.valid_until_ms <= until_ms]
    return sorted(found, key=lambda row: (row.valid_until_ms, row.number)), len(rows) <= SCANNED_MAX
