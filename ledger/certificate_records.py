"""What the state holds of applications and certificates, and what a certificate's status is at a time.

Here: the records, their keys, terms in calendar months, and status as a pure function of (record, time). How events
change the records is in `ledger.certificates`. Source: domain §3.

Expiry is derived from the time that is asked about: no event makes a certificate expire. Ends are exclusive: at
`valid_until_ms` a certificate is no longer valid, and at its end a suspension is past it.
"""

from __future__ import annotations

import enum
from calendar import monthrange
from datetime import UTC, datetime, timedelta

import msgspec

from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import Product
from ledger.events import TIME_MS_MAX
from ledger.state import StateGetter
from ledger.times import format_time
from primitives.encoding import Record, encode
from primitives.errors import InputError
from primitives.hashing import domain_hash
from primitives.ids import ZERO_HASH, EventId, Hash

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class State(enum.StrEnum):
    """The states of domain §3: first an application's, then, from `active`, its certificate's."""

    APPLIED = "applied"
    ACCEPTED = "accepted"
    TYPE_TESTED = "type_tested"
    SITE_CHECKED = "site_checked"
    REVIEWED = "reviewed"
    GRANTED = "granted"
    REFUSED = "refused"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


FINAL = frozenset({State.GRANTED, State.REFUSED, State.REVOKED, State.CANCELLED, State.EXPIRED})
"""States that no time changes and that nothing leaves, but that an appeal which is upheld leaves revoked and refused.

A granted application lives on as its certificate.
"""


class History(Record):
    """How many events made a record what it is, and the hash chain over their ids, which makes the list complete."""

    count: int
    hash: Hash
    changed_ms: int

    def after(self, event_id: EventId, time_ms: int) -> History:
        """Return the history with one more event, ordered at a block's time."""
        return History(self.count + 1, domain_hash("certificate-history", encode((self.hash, event_id))), time_ms)


NO_HISTORY = History(0, ZERO_HASH, 0)


class FiledEvidence(Record):
    """A piece of evidence as filed: the document, who brought it in which event, when, and whether it speaks for."""

    kind: EvidenceKind
    digest: bytes
    custodian: str
    size_bytes: int
    member: str
    event_id: EventId
    time_ms: int
    passed: bool


class Application(Record):
    """An application, at `application/<id>`; `body` is the certification body that accepted it.

    `supersedes` is the certificate that it renews; `reviewer` the source key that reviewed, which may not decide.
    """

    id: str
    holder: str
    holder_name: str
    product: Product
    category: int
    catalogue: int
    state: State
    supersedes: str | None
    body: str | None
    reviewer: bytes | None
    evidence: tuple[FiledEvidence, ...]
    number: str | None
    reason: str | None
    appeal_until_ms: int | None
    history: History


class Suspension(Record):
    """The suspension in force: why, from when, and its end."""

    reason: str
    from_ms: int
    until_ms: int


class Revocation(Record):
    """Why a certificate was revoked, by which member, and the time from which it counts as invalid."""

    reason: str
    by: str
    invalid_from_ms: int


class Certificate(Record):
    """A certificate, at `certificate/<number>`.

    `state` is never `expired`: that follows from the time. `since_ms` is when `state` began, `version` counts the
    versions of its scope. `history` continues its application's. `corrections` is the evidence of the last restoring.
    """

    number: str
    application: str
    holder: str
    holder_name: str
    product: Product
    category: int
    catalogue: int
    body: str
    state: State
    since_ms: int
    version: int
    valid_from_ms: int
    valid_until_ms: int
    suspension: Suspension | None
    revocation: Revocation | None
    predecessor: str | None
    successor: str | None
    evidence: tuple[FiledEvidence, ...]
    corrections: tuple[FiledEvidence, ...]
    appeal_until_ms: int | None
    history: History


class Status(enum.StrEnum):
    """The public words for what a certificate is worth at a time."""

    NOT_YET_VALID = "not_yet_valid"
    VALID = "valid"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


STATUS_ZH = {
    Status.NOT_YET_VALID: "尚未生效",
    Status.VALID: "有效",
    Status.SUSPENDED: "暂停",
    Status.REVOKED: "撤销",
    Status.CANCELLED: "注销",
    Status.EXPIRED: "过期",
}


class CertificateStatus(msgspec.Struct, frozen=True):
    """A certificate's status at a time.

    `since_ms` is when it began (None before the term), `until_ms` when this answer changes if no event does it (None:
    never). `revocation_due` marks a suspension past its end.
    """

    status: Status
    time_ms: int
    since_ms: int | None
    until_ms: int | None
    revocation_due: bool = False

    @property
    def valid(self) -> bool:
        """Whether the certificate counts as valid: only `valid` does, a suspended one does not."""
        return self.status is Status.VALID

    @property
    def status_zh(self) -> str:
        """The status in Chinese."""
        return STATUS_ZH[self.status]


def application_key(application: str) -> str:
    """Return the state key of an application."""
    return f"application/{application}"


def certificate_key(number: str) -> str:
    """Return the state key of a certificate."""
    return f"certificate/{number}"


def read_application(state: StateGetter, application: str) -> Application | None:
    """Return an application, or None."""
    return state.get(application_key(application), Application)


def read_certificate(state: StateGetter, number: str) -> Certificate | None:
    """Return a certificate, or None."""
    return state.get(certificate_key(number), Certificate)


def state_at(certificate: Certificate, time_ms: int) -> State:
    """Return the state at a block's time: as recorded, or expired once the term has ended without a final event."""
    if certificate.state not in FINAL and time_ms >= certificate.valid_until_ms:
        return State.EXPIRED
    return certificate.state


def status_at(certificate: Certificate, time_ms: int) -> CertificateStatus:
    """Return what this record says of the certificate's status at a time.

    A record speaks for the time of its last event and after; where it is revoked, also from `invalid_from_ms` on; and
    for all time before its term. For times between those raises `InputError`: the record as of then answers.
    """
    revocation = certificate.revocation
    if revocation is not None and time_ms >= revocation.invalid_from_ms:
        return CertificateStatus(Status.REVOKED, time_ms, revocation.invalid_from_ms, None)
    if time_ms < certificate.history.changed_ms:
        if time_ms < certificate.valid_from_ms:
            return CertificateStatus(Status.NOT_YET_VALID, time_ms, None, certificate.valid_from_ms)
        raise InputError(
            "this version of the certificate's record does not reach back so far",
            where=certificate.number,
            expected=f"a time from {format_time(certificate.history.changed_ms)}",
            got=format_time(max(0, time_ms)),
            hint="ask for the record as of that time",
        )
    return _status_now(certificate, time_ms)


def _status_now(certificate: Certificate, time_ms: int) -> CertificateStatus:
    """Return the status at or after the last event of a certificate that is not revoked."""
    end_ms = certificate.valid_until_ms
    if certificate.state is State.CANCELLED:
        return CertificateStatus(Status.CANCELLED, time_ms, certificate.since_ms, None)
    if time_ms >= end_ms:
        return CertificateStatus(Status.EXPIRED, time_ms, end_ms, None)
    suspension = certificate.suspension
    if suspension is not None:
        # Only an event or expiry ends a suspension: past its end it is still suspended, and its revocation is due.
        due = time_ms >= suspension.until_ms
        until_ms = end_ms if due else min(suspension.until_ms, end_ms)
        return CertificateStatus(Status.SUSPENDED, time_ms, suspension.from_ms, until_ms, revocation_due=due)
    if time_ms < certificate.valid_from_ms:
        return CertificateStatus(Status.NOT_YET_VALID, time_ms, None, certificate.valid_from_ms)
    return CertificateStatus(Status.VALID, time_ms, certificate.since_ms, end_ms)


def add_months(time_ms: int, months: int) -> int:
    """Return the same UTC day of month and time of day `months` calendar months later.

    Where that month has no such day its last day stands in: three years after 2024-02-29T00:00:00.000Z is
    2027-02-28T00:00:00.000Z. So a term of months never runs past the corresponding day. The result never exceeds the
    last millisecond of the year 9999. Source: XML Schema Part 2, appendix E (adding durations to dateTimes).
    """
    if time_ms > TIME_MS_MAX:
        return TIME_MS_MAX
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    years, month_index = divmod(moment.month - 1 + months, 12)
    year, month = moment.year + years, month_index + 1
    if year > 9_999:
        return TIME_MS_MAX
    day = min(moment.day, monthrange(year, month)[1])
    return (moment.replace(year=year, month=month, day=day) - _EPOCH) // timedelta(milliseconds=1)
