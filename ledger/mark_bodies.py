"""What the events about the certification mark say: licence, use, report of misuse, withdrawal, finding on a report.

Here: records and checks that need nothing but the body. What they are judged by and write is in `ledger.mark_events`,
what they leave in `ledger.mark_records`. Artwork, agreements and photographs stay off the chain; their digests stand
for them. Source: domain §1 (the mark is no promotion beyond its scope).
"""

from __future__ import annotations

import enum
from typing import Annotated, TypeAlias

from msgspec import Meta

from ledger.certificate_bodies import SCOPE_ENTRIES_MAX, CertificateNumber, Reason, ScopeEntry
from ledger.events import EventTimeMs
from ledger.members import MemberName, Text
from primitives.encoding import Record
from primitives.errors import InputError
from primitives.ids import HASH_BYTES

MISUSE_EVIDENCE_MAX = 16
REPORT_NUMBER_MAX = 1 << 40


class Medium(enum.StrEnum):
    """Where the mark stands."""

    PRODUCT = "product"
    PACKAGING = "packaging"
    MANUAL = "manual"
    APP = "app"
    WEB = "web"
    PROMOTION = "promotion"


class Misuse(enum.StrEnum):
    """What is wrong with a use that somebody reports."""

    NOT_CERTIFIED = "not_certified"
    NOT_LICENSED = "not_licensed"
    NOT_IN_FORCE = "not_in_force"
    BEYOND_SCOPE = "beyond_scope"
    PROMOTION = "promotion"
    ALTERED = "altered"
    FORGED_CODE = "forged_code"


class MisuseFinding(enum.StrEnum):
    """What came of a report: misuse, misuse that was put right, or none."""

    CONFIRMED = "confirmed"
    RESOLVED = "resolved"
    DISMISSED = "dismissed"


class MarkDocument(Record):
    """A document or picture that stays off the chain: its SHA-256, the member that keeps it, and its size."""

    digest: Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
    custodian: MemberName
    size_bytes: Annotated[int, Meta(ge=1, le=1 << 50)]


MisuseEvidence = Annotated[tuple[MarkDocument, ...], Meta(min_length=1, max_length=MISUSE_EVIDENCE_MAX)]
Media = Annotated[tuple[Medium, ...], Meta(min_length=1, max_length=len(Medium))]
Covers = Annotated[tuple[ScopeEntry, ...], Meta(max_length=SCOPE_ENTRIES_MAX)]
ReportNumber = Annotated[int, Meta(ge=1, le=REPORT_NUMBER_MAX)]


class LicenseMark(Record):
    """The responsible body licenses the holder to use the mark on a certificate's unit.

    `media` is where it may stand, `until_ms` the end (None: the certificate's), `terms` the agreement.
    """

    number: CertificateNumber
    media: Media
    until_ms: EventTimeMs | None
    terms: MarkDocument


class UseMark(Record):
    """The holder declares a use: where, which entries of the scope it speaks of, and what it looks like."""

    number: CertificateNumber
    medium: Medium
    covers: Covers
    artwork: MarkDocument


class ReportMisuse(Record):
    """Somebody reports a use of the mark that is not right: of a certificate, by a member, or on an unknown product.

    Exactly one of `number`, `holder` and `product` is there.
    """

    number: CertificateNumber | None
    holder: MemberName | None
    product: Text | None
    medium: Medium
    misuse: Misuse
    evidence: MisuseEvidence


class WithdrawMark(Record):
    """The responsible body withdraws a licence; `report` is the confirmed report that it acts on, None for another."""

    number: CertificateNumber
    reason: Reason
    report: ReportNumber | None


class DecideMisuse(Record):
    """What the certification body or the regulator finds on a report."""

    report: ReportNumber
    finding: MisuseFinding
    reason: Reason
    evidence: Annotated[tuple[MarkDocument, ...], Meta(max_length=MISUSE_EVIDENCE_MAX)]


MarkBody: TypeAlias = LicenseMark | UseMark | ReportMisuse | WithdrawMark | DecideMisuse


def check_mark_body(body: MarkBody) -> None:
    """Raise InputError where a body contradicts itself."""
    match body:
        case LicenseMark() if len(set(body.media)) != len(body.media):
            raise InputError("a medium stands twice", where="media", expected="distinct media")
        case UseMark() if len(set(body.covers)) != len(body.covers):
            raise InputError("an entry stands twice", where="covers", expected="distinct entries")
        case ReportMisuse() if sum(part is not None for part in (body.number, body.holder, body.product)) != 1:
            raise InputError("a report is about one thing", expected="one of number, holder and product")
        case _:
            digests = [document.digest for document in documents_of(body)]
            if len(set(digests)) != len(digests):
                raise InputError("a document stands twice", where="evidence", expected="distinct digests")


def documents_of(body: MarkBody) -> tuple[MarkDocument, ...]:
    """Return the documents that a body names."""
    match body:
        case LicenseMark():
            return (body.terms,)
        case UseMark():
            return (body.artwork,)
        case ReportMisuse() | DecideMisuse():
            return body.evidence
        case WithdrawMark():
            return ()
