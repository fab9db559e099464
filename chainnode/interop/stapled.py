"""A stapled status: the status proof that a terminal without a connection holds against its own clock.

Here: how old such a proof may be, and what it says of a time after the last one that it proves. Pure. Not here: the
proof and its one verifier (`ledger.status_proofs`). The idea is that of OCSP stapling (RFC 6066, section 8): who
presents brings the proof along.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.certificate_records import Certificate, CertificateStatus, State, certificate_key, state_at, status_at
from ledger.certificate_transitions import GRANT, TRANSITIONS
from ledger.events import TIME_MS_MAX
from ledger.inspection_reports import INSPECTED_TRANSITIONS
from ledger.proof_steps import RECORD, TIME, step
from ledger.rules import RULES_SCHEME
from ledger.scheme_transitions import DECIDE_APPEAL, SCHEME_TRANSITIONS
from ledger.state import STATE_VALUE_SIZE_MAX
from ledger.status_proofs import StatusVerdict, certificate_status, told_time, verify_status
from primitives.encoding import decode
from primitives.errors import ProofError

CLOCK_BEHIND_MS_MAX = 300_000
"""By so much a terminal's clock may be behind the block that a fresh proof is of."""
QR_BYTES_MAX = 2_953
"""What the largest QR code holds: version 40, level L, bytes (ISO/IEC 18004, table 7)."""

_OF_CERTIFICATES = frozenset({State.ACTIVE, State.SUSPENDED, State.REVOKED, State.CANCELLED})
_APPEALED = frozenset({State.SUSPENDED, State.REVOKED})
"""The states in which an appeal that is upheld changes what a certificate is worth."""


class StaleStatus(ProofError):
    """A proof that holds, of a time too long ago to rely on."""

    reason = "stale_status"


@dataclass(frozen=True, slots=True)
class StapledStatus:
    """What a certificate is worth at a time, by a proof of that time or of one shortly before.

    `status` None says that there was no such certificate. `age_ms` is the time since the last one that is proved, 0
    where `at_ms` is proved itself. Within it the term's beginning and end count, and the `possible` events are unseen.
    """

    verdict: StatusVerdict
    status: CertificateStatus | None
    at_ms: int
    age_ms: int
    possible: tuple[str, ...]


def read_stapled_status(
    text: str, policy: str, number: str, at_ms: int | None, fresh_ms: int, *, is_now: bool = False
) -> StapledStatus:
    """Return what a status proof says of a certificate at a time, at most `fresh_ms` after the last one it proves.

    Without a time it is that last one. A time that `is_now` by a terminal's clock may be a little before the proof's.

    Age counts from that time and not from the checkpoint's: a checkpoint of today over a block of long ago says
    nothing about today. Raises `StaleStatus`, and ProofError where anything else does not hold.
    """
    verdict = verify_status(text, policy)
    at_ms = min(verdict.last_ms, TIME_MS_MAX) if at_ms is None else at_ms
    if is_now and verdict.time_ms - CLOCK_BEHIND_MS_MAX <= at_ms < verdict.time_ms:
        at_ms = verdict.time_ms
    proved = certificate_status(verdict, number, min(at_ms, verdict.last_ms))
    age_ms = max(0, at_ms - verdict.last_ms)
    if age_ms > fresh_ms:
        raise StaleStatus(
            "stale status",
            where=TIME,
            expected=f"proved up to {told_time(at_ms - fresh_ms)} or later",
            got=told_time(verdict.last_ms),
            hint="get a fresh bundle with `chainnode cert bundle`",
        )
    certificate = certificate_in(verdict)
    status = proved if certificate is None or not age_ms else status_at(certificate, at_ms)
    possible = possible_since(certificate, at_ms, verdict.rules) if age_ms else ()
    return StapledStatus(verdict, status, at_ms, age_ms, possible)


def certificate_in(verdict: StatusVerdict) -> Certificate | None:
    """Return the certificate's record that a verdict proves; None where it proves that there is none."""
    assert verdict.key.startswith(certificate_key("").encode()), "the verdict was held against a certificate's key"
    if verdict.value is None:
        return None
    with step(RECORD):
        return decode(Certificate, verdict.value, size_max=STATE_VALUE_SIZE_MAX)


def possible_since(certificate: Certificate | None, at_ms: int, rules: int) -> tuple[str, ...]:
    """Return the events that may have changed what a certificate is worth since its record was proved.

    By the tables of its life that the block's rules have. An appeal may be pending as long as the record names its
    window: it does not say whether the holder has appealed, and the decision may come long after the window.
    """
    if certificate is None:
        return (GRANT.name,) if rules < RULES_SCHEME else (GRANT.name, "certificate.import")
    rows = TRANSITIONS if rules < RULES_SCHEME else TRANSITIONS + SCHEME_TRANSITIONS + INSPECTED_TRANSITIONS
    state = state_at(certificate, at_ms)
    return tuple(
        row.name
        for row in rows
        if state in row.from_states
        and (({row.to_state} | row.also_to) & _OF_CERTIFICATES) - {state}
        and (row is not DECIDE_APPEAL or (certificate.appeal_until_ms is not None and state in _APPEALED))
    )
