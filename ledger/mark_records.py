"""What the state holds of the certification mark, and what a licence or a use is worth at a time.

Here: the rows `mark/<number>`, `mark-use/<number>/…` and `mark-misuse/…`, and the mark's standing as a pure function of
(rows, time). A licence counts while its certificate is in force: nothing is written when that is suspended, revoked
or ends. How events change the rows is in `ledger.mark_events`. Source: domain §1 and §3.
"""

from __future__ import annotations

import enum

from ledger.certificate_records import Certificate, Status, status_at
from ledger.mark_bodies import MarkDocument, Medium, Misuse, MisuseFinding
from ledger.scheme_policy import MarkUse
from ledger.state import StateGetter
from primitives.encoding import Record
from primitives.ids import EventId

MISUSE_COUNT_KEY = "mark-misuse-count"
MISUSE_PREFIX = "mark-misuse/"


class Withdrawal(Record):
    """Why, in which event and when a licence was withdrawn; `report` is what it acted on."""

    reason: str
    member: str
    event_id: EventId
    time_ms: int
    report: int | None


class MarkLicense(Record):
    """The newest licence of a certificate's mark, at `mark/<number>`: the `count`-th, with `uses` declared so far.

    `until_ms` is the first millisecond at which it no longer counts.
    """

    number: str
    count: int
    body: str
    event_id: EventId
    from_ms: int
    until_ms: int
    media: tuple[Medium, ...]
    terms: MarkDocument
    uses: int
    withdrawn: Withdrawal | None


class DeclaredUse(Record):
    """A use that the holder declared, at `mark-use/<number>/<medium>/<digest of its artwork>`."""

    number: str
    medium: Medium
    covers: tuple[str, ...]
    artwork: MarkDocument
    member: str
    event_id: EventId
    time_ms: int


class MisuseDecision(Record):
    """What was found on a report, by which member's key."""

    finding: MisuseFinding
    reason: str
    evidence: tuple[MarkDocument, ...]
    member: str
    source: bytes
    event_id: EventId
    time_ms: int


class MisuseReport(Record):
    """A report, at `mark-misuse/<report>`, from 1 on in the order of the log; `decision` is the newest."""

    report: int
    number: str | None
    holder: str | None
    product: str | None
    medium: Medium
    misuse: Misuse
    evidence: tuple[MarkDocument, ...]
    reporter: str
    source: bytes
    event_id: EventId
    time_ms: int
    decision: MisuseDecision | None


class MisuseCount(Record):
    """How many reports there are, in all or undecided ones of a member."""

    count: int


class MarkStanding(enum.StrEnum):
    """What the mark of a certificate is worth at a time.

    NONE: never licensed. DORMANT: licensed, but the certificate is not in force. ENDED: the licence's own end has come.
    """

    NONE = "none"
    LICENSED = "licensed"
    DORMANT = "dormant"
    ENDED = "ended"
    WITHDRAWN = "withdrawn"


def mark_key(number: str) -> str:
    """Return the state key of a certificate's licence."""
    return f"mark/{number}"


def use_prefix(number: str) -> str:
    """Return what the state keys of a certificate's declared uses begin with."""
    return f"mark-use/{number}/"


def use_key(number: str, medium: Medium, artwork: bytes) -> str:
    """Return the state key of a declared use."""
    return f"{use_prefix(number)}{medium.value}/{artwork.hex()}"


def misuse_key(report: int) -> str:
    """Return the state key of a report; keys ascend with the reports' numbers."""
    return f"{MISUSE_PREFIX}{report:013d}"


def undecided_key(member: str) -> str:
    """Return the state key of how many undecided reports a member has."""
    return f"mark-misuse-open/{member}"


def read_license(state: StateGetter, number: str) -> MarkLicense | None:
    """Return the newest licence of a certificate's mark, or None."""
    return state.get(mark_key(number), MarkLicense)


def read_report(state: StateGetter, report: int) -> MisuseReport | None:
    """Return a report of misuse, or None."""
    return state.get(misuse_key(report), MisuseReport)


def read_count(state: StateGetter, key: str) -> int:
    """Return a count of reports; 0 where there is no row."""
    found = state.get(key, MisuseCount)
    return 0 if found is None else found.count


def mark_standing(license_: MarkLicense | None, certificate: Certificate | None, time_ms: int) -> MarkStanding:
    """Return what the mark is worth at a time that the certificate's record speaks for; InputError for earlier ones."""
    if license_ is None:
        return MarkStanding.NONE
    if license_.withdrawn is not None and time_ms >= license_.withdrawn.time_ms:
        return MarkStanding.WITHDRAWN
    if certificate is None or status_at(certificate, time_ms).status is not Status.VALID:
        return MarkStanding.DORMANT
    return MarkStanding.ENDED if time_ms >= license_.until_ms else MarkStanding.LICENSED


def breach_of(
    medium: Medium, covers: tuple[str, ...], media: tuple[Medium, ...], scope: tuple[str, ...], rule: MarkUse
) -> str | None:
    """Return the rule by which a use is not within licence, scope and policy, or None where it is.

    A promotion names what of the scope it speaks of; other uses stand for the unit that was certified.
    """
    if medium is Medium.PROMOTION and rule is MarkUse.STRICT:
        return "mark_promotion"
    if medium not in media:
        return "mark_medium"
    if set(covers) - set(scope) or (medium is Medium.PROMOTION and scope and not covers):
        return "mark_beyond_scope"
    return None
