"""cert_get, cert_list, cert_history: certificates and their history.

Here: the ledger's records as JSON has them. Not here: status as a function of record and time
(`ledger.certificate_records`), `cert_getStatus` and its proof (`rpc.methods.certificate_status`). Source: domain §3.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ledger.catalogue import CATEGORY_MAX
from ledger.certificate_bodies import NUMBER_PATTERN, Product
from ledger.certificate_records import (
    Certificate,
    CertificateStatus,
    FiledEvidence,
    Status,
    certificate_key,
    status_at,
)
from ledger.state import STATE_VALUE_SIZE_MAX
from ledger.views import StateValue
from primitives.encoding import decode
from rpc.errors import Code, not_found
from rpc.methods.events import EventResult, events_at
from rpc.methods.heights import height_of, index_of, tip_of
from rpc.paging import page_of
from rpc.ports import IndexReads, Services
from rpc.registry import method
from rpc.rights import Access
from rpc.types import (
    LIMIT_DEFAULT,
    LIMIT_MAX,
    AskedCursor,
    AskedOrder,
    AsOf,
    HeightParam,
    Limit,
    MemberName,
    NextCursor,
    Offset,
    Params,
    Result,
    Time,
    time_text,
)

LOOKED_THROUGH_MAX = 20_000
"""How many numbers a page by category or status looks through."""

READ_MAX = 500
"""How many of these certificates it reads."""

CertificateNumber = Annotated[
    str,
    msgspec.Meta(
        pattern=NUMBER_PATTERN,
        description="A certificate's number: SCHEME-YEAR-CATEGORY-SERIAL.",
        examples=["FTP-2026-06-000123"],
    ),
]


class GetCertificate(Params, frozen=True):
    """A certificate, as of a height."""

    number: CertificateNumber
    height: Annotated[HeightParam, msgspec.Meta(description="As of which block.")] = "latest"


class ProductResult(Result, frozen=True):
    """The one unit that a certificate covers."""

    name: str
    model: str
    version: str


class EvidenceResult(Result, frozen=True):
    """A document that stays off the chain: its SHA-256, who keeps it, and the event that filed it."""

    kind: str
    digest: str
    custodian: str
    size_bytes: int
    member: str
    event_id: str
    time: Time
    passed: bool


class StatusWords(Result, frozen=True):
    """What a certificate is worth at a time: the public words, since when, and until when if nothing happens."""

    status: str
    status_zh: str
    valid: bool
    time: Time
    since: Time | None
    until: Time | None
    revocation_due: bool


class SuspensionResult(Result, frozen=True):
    """The suspension in force."""

    reason: str
    start: Time
    until: Time


class RevocationResult(Result, frozen=True):
    """Why and by whom a certificate was revoked, and the time from which it counts as invalid."""

    reason: str
    by: str
    invalid_from: Time


class HistoryResult(Result, frozen=True):
    """Number and hash chain of the events that made the record: they make a history complete."""

    count: int
    hash: str
    changed: Time


class CertificateRecord(Result, frozen=True):
    """A certificate as the state holds it."""

    number: str
    application: str
    holder: str
    holder_name: str
    product: ProductResult
    category: int
    catalogue: int
    body: str
    state: str
    since: Time
    version: int
    valid_from: Time
    valid_until: Time
    suspension: SuspensionResult | None
    revocation: RevocationResult | None
    predecessor: str | None
    successor: str | None
    evidence: list[EvidenceResult]
    corrections: list[EvidenceResult]
    appeal_until: Time | None
    history: HistoryResult


class GetCertificateResult(Result, frozen=True):
    """A certificate with its status at the time of the block at `height`."""

    certificate: CertificateRecord
    status: StatusWords
    height: int
    as_of: AsOf


@method("cert_get", params=GetCertificate, result=GetCertificateResult, errors=(Code.NOT_FOUND,), access=Access.PUBLIC)
def get_certificate(services: Services, params: GetCertificate) -> GetCertificateResult:
    """A certificate's record as of a height (default the newest), with its status then."""
    tip = tip_of(services)
    height = height_of(params.height, tip)
    value = services.reads.state_value(certificate_key(params.number), height)
    assert value is not None, "heights up to the tip have a state"
    certificate = certificate_of(value)
    if certificate is None:
        raise not_found(
            f"no such certificate at height {height}",
            got=params.number,
            hint="cert_getStatus proves that there is none",
        )
    status = status_words(status_at(certificate, value.header.time_ms))
    return GetCertificateResult(certificate_record(certificate), status, height, int(tip.height))


def certificate_of(value: StateValue) -> Certificate | None:
    """Return the record in a state value, None where the certificate is absent."""
    return None if value.value is None else decode(Certificate, value.value, size_max=STATE_VALUE_SIZE_MAX)


def status_words(status: CertificateStatus) -> StatusWords:
    """Return a status as JSON has it."""
    return StatusWords(
        status.status.value,
        status.status_zh,
        status.valid,
        time_text(status.time_ms),
        time_text(status.since_ms) if status.since_ms else None,
        _time_or_none(status.until_ms),
        status.revocation_due,
    )


def certificate_record(certificate: Certificate) -> CertificateRecord:
    """Return a certificate as JSON has it."""
    suspension, revocation = certificate.suspension, certificate.revocation
    return CertificateRecord(
        number=certificate.number,
        application=certificate.application,
        holder=certificate.holder,
        holder_name=certificate.holder_name,
        product=_product(certificate.product),
        category=certificate.category,
        catalogue=certificate.catalogue,
        body=certificate.body,
        state=certificate.state.value,
        since=time_text(certificate.since_ms),
        version=certificate.version,
        valid_from=time_text(certificate.valid_from_ms),
        valid_until=time_text(certificate.valid_until_ms),
        suspension=None
        if suspension is None
        else SuspensionResult(suspension.reason, time_text(suspension.from_ms), time_text(suspension.until_ms)),
        revocation=None
        if revocation is None
        else RevocationResult(revocation.reason, revocation.by, time_text(revocation.invalid_from_ms)),
        predecessor=certificate.predecessor,
        successor=certificate.successor,
        evidence=[_evidence(item) for item in certificate.evidence],
        corrections=[_evidence(item) for item in certificate.corrections],
        appeal_until=_time_or_none(certificate.appeal_until_ms),
        history=HistoryResult(
            certificate.history.count, certificate.history.hash.hex(), time_text(certificate.history.changed_ms)
        ),
    )


def _product(product: Product) -> ProductResult:
    return ProductResult(product.name, product.model, product.version)


def _evidence(item: FiledEvidence) -> EvidenceResult:
    return EvidenceResult(
        str(item.kind.name).lower(),
        item.digest.hex(),
        item.custodian,
        item.size_bytes,
        item.member,
        item.event_id.hex(),
        time_text(item.time_ms),
        item.passed,
    )


def _time_or_none(time_ms: int | None) -> str | None:
    return None if time_ms is None else time_text(time_ms)


class ListCertificates(Params, frozen=True):
    """Certificates, of one holder or of all, upwards by number unless `order` says otherwise.

    `status` is their present one, `category` of their product.
    """

    holder: MemberName | None = None
    limit: Limit = LIMIT_DEFAULT
    order: AskedOrder = None
    cursor: AskedCursor = None
    status: Annotated[Status | None, msgspec.Meta(description="Their present status.")] = None
    category: (
        Annotated[int, msgspec.Meta(ge=1, le=CATEGORY_MAX, description="The category of their product.")] | None
    ) = None


class ListedCertificate(Result, frozen=True):
    """A certificate in a list."""

    number: str
    holder: str
    product: ProductResult
    category: int
    status: StatusWords
    valid_from: Time
    valid_until: Time


class CertificatesResult(Result, frozen=True):
    """Certificates with their status at the newest block; `cursor` asks for the next.

    By status or category a page may hold fewer than `limit`, or none, and yet have a cursor: only so many certificates
    are looked through at a time.
    """

    certificates: list[ListedCertificate]
    cursor: NextCursor
    as_of: AsOf


@method(
    "cert_list",
    params=ListCertificates,
    result=CertificatesResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
    access=Access.PUBLIC,
)
def list_certificates(services: Services, params: ListCertificates) -> CertificatesResult:
    """Certificates by number, of one holder or of all, with their present status.

    Upwards, unless `order` says otherwise.
    """
    index = index_of(services)
    as_of = index.height()
    filters = {"holder": params.holder, "status": params.status, "category": params.category}
    page = page_of(services, "cert_list", params, tuple[str], "asc", **filters)
    after = None if page.after is None else page.after[0]
    found, last = _found(services, params, index, after, page.descending)
    return CertificatesResult(found, None if last is None else page.cursor(last), int(as_of))


def _found(
    services: Services, params: ListCertificates, index: IndexReads, after: str | None, descending: bool
) -> tuple[list[ListedCertificate], str | None]:
    """Return a page of what was asked for, and the number to go on after; None at the end."""
    found: list[ListedCertificate] = []
    as_of, looked, read = index.height(), 0, 0
    while looked < LOOKED_THROUGH_MAX and read < READ_MAX:
        numbers = index.certificates(holder=params.holder, after=after, count=LIMIT_MAX, descending=descending)
        for number in numbers:
            if len(found) == params.limit:
                return found, after
            after, looked = number, looked + 1
            if params.category is not None and category_of(number) != params.category:
                continue
            read += 1
            item = _listed(services, number, as_of)
            if item is not None and params.status in (None, item.status.status):
                found.append(item)
        if len(numbers) < LIMIT_MAX:
            return found, None
    return found, after


def category_of(number: str) -> int:
    """Return the category that a certificate's number names; grants are held to it."""
    return int(number.split("-")[2])


def _listed(services: Services, number: str, height: int) -> ListedCertificate | None:
    value = services.reads.state_value(certificate_key(number), height)
    certificate = None if value is None else certificate_of(value)
    if value is None or certificate is None:
        return None
    return ListedCertificate(
        number,
        certificate.holder,
        _product(certificate.product),
        certificate.category,
        status_words(status_at(certificate, value.header.time_ms)),
        time_text(certificate.valid_from_ms),
        time_text(certificate.valid_until_ms),
    )


class CertificateHistory(Params, frozen=True):
    """The events of one certificate."""

    number: CertificateNumber
    limit: Limit = LIMIT_DEFAULT
    cursor: AskedCursor = None
    order: AskedOrder = None


class HistoryEventsResult(Result, frozen=True):
    """The events in their order; `cursor` asks for the next.

    They are those of the blocks above `above_height`, where the history that this node holds begins (0: all of them).
    """

    number: str
    events: list[EventResult]
    cursor: NextCursor
    above_height: int
    as_of: AsOf


@method(
    "cert_history",
    params=CertificateHistory,
    result=HistoryEventsResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
    access=Access.PUBLIC,
)
def certificate_history(services: Services, params: CertificateHistory) -> HistoryEventsResult:
    """All events about a certificate, rejected ones too, from its application on unless `order` says otherwise."""
    index = index_of(services)
    as_of = index.height()
    page = page_of(services, "cert_history", params, tuple[Offset, Offset], "asc", number=params.number)
    places = index.certificate_events(params.number, count=params.limit, after=page.after, descending=page.descending)
    cursor = page.cursor(places[-1].height, places[-1].index) if len(places) == params.limit else None
    above = int(services.reads.base())
    return HistoryEventsResult(params.number, events_at(services, places), cursor, above, int(as_of))


METHODS = (get_certificate, list_certificates, certificate_history)
