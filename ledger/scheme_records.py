"""What the certification scheme keeps of an application and a certificate beside their own records.

Here: the rows `application-scheme/<id>` and `certificate-scheme/<number>`, which came with the third rules, and how
they are read. The records of `ledger.certificate_records` keep their bytes, so a certificate of earlier rules has no
such row until an event of these rules needs one. Source: domain §3.
"""

from __future__ import annotations

import enum

from ledger.certificate_records import NO_HISTORY, Certificate, FiledEvidence, History, State, Suspension
from ledger.state import StateGetter
from primitives.encoding import Record
from primitives.ids import EventId

OFFICERS_KEPT_MAX = 16
"""Distinct keys that stay beside an application or a certificate as those that took part in its decisions."""


class Negative(enum.StrEnum):
    """The decisions against a holder: each opens a window to appeal."""

    REFUSAL = "refusal"
    SUSPENSION = "suspension"
    REVOCATION = "revocation"
    REDUCTION = "reduction"


class Before(Record):
    """What a negative decision changed, as it was: an appeal that is upheld returns to it."""

    state: State
    since_ms: int | None
    suspension: Suspension | None
    scope: tuple[str, ...]


class Decision(Record):
    """The newest negative decision: which event, by which member's key, and what was before it.

    It can be appealed against before `appeal_until_ms`; `appealed` is the event of that appeal, None without one.
    """

    what: Negative
    event_id: EventId
    member: str
    source: bytes
    time_ms: int
    appeal_until_ms: int
    before: Before
    appealed: EventId | None


class Surveillance(Record):
    """The newest surveillance: who found what; `correct_by_ms` is the end in which findings must be corrected."""

    event_id: EventId
    member: str
    time_ms: int
    passed: bool
    grave: bool
    findings: tuple[str, ...]
    correct_by_ms: int | None


class ApplicationScheme(Record):
    """Beside an application: whose id the holder has, the scope asked for, and the certificate that it would change.

    `holder_id` is empty where the application did not name it. `evidence` is what came with appeals; what the decision
    rests on stands in the application itself, which so does not grow with each appeal. `officers` are the keys that
    refused it, of which the newest `OFFICERS_KEPT_MAX` stay.
    """

    id: str
    holder_id: str
    scope: tuple[str, ...]
    changes: str | None
    decision: Decision | None
    evidence: tuple[FiledEvidence, ...]
    officers: tuple[bytes, ...]


class CertificateScheme(Record):
    """Beside a certificate: its scope, how often it was issued, who granted it, and what the body found and decided.

    `evidence` is what came with these events, `decider` the key that granted, empty where that was by earlier rules.
    `rulings` counts what was decided, of which officers sign that they know it: the grant or import, suspending,
    restoring, revoking, extending, reducing, a suspension by rule, a decided appeal. `officers` are the keys that
    reviewed or decided any of it but appeals, of which the newest `OFFICERS_KEPT_MAX` stay.
    """

    number: str
    holder_id: str
    scope: tuple[str, ...]
    issues: int
    reviewer: bytes
    decider: bytes
    surveillance: Surveillance | None
    decision: Decision | None
    evidence: tuple[FiledEvidence, ...]
    rulings: History
    officers: tuple[bytes, ...]


def application_scheme_key(application: str) -> str:
    """Return the state key of what stands beside an application."""
    return f"application-scheme/{application}"


def certificate_scheme_key(number: str) -> str:
    """Return the state key of what stands beside a certificate."""
    return f"certificate-scheme/{number}"


def read_application_scheme(state: StateGetter, application: str) -> ApplicationScheme:
    """Return what stands beside an application: nothing but its id where it came by earlier rules."""
    found = state.get(application_scheme_key(application), ApplicationScheme)
    return ApplicationScheme(application, "", (), None, None, (), ()) if found is None else found


def read_certificate_scheme(state: StateGetter, number: str) -> CertificateScheme:
    """Return what stands beside a certificate: issued once, without a scope, where it came by earlier rules."""
    found = state.get(certificate_scheme_key(number), CertificateScheme)
    return empty_certificate_scheme(number) if found is None else found


def empty_certificate_scheme(number: str) -> CertificateScheme:
    """Return what stands beside a certificate that came by earlier rules."""
    return CertificateScheme(number, "", (), 1, b"", b"", None, None, (), NO_HISTORY, ())


def officers_after(officers: tuple[bytes, ...], *keys: bytes) -> tuple[bytes, ...]:
    """Return the keys that took part once these did too, the newest last; an empty one is nobody's."""
    found = dict.fromkeys(key for key in keys if key)
    return (*(key for key in officers if key not in found), *found)[-OFFICERS_KEPT_MAX:]


def before_of(certificate: Certificate, scheme: CertificateScheme) -> Before:
    """Return what a decision on a certificate is about to change."""
    return Before(certificate.state, certificate.since_ms, certificate.suspension, scheme.scope)
