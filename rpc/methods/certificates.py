"""cert_get, cert_history: certificates and their history.

Here: the ledger's records as JSON has them. Not here: status as a function of record and time
(`ledger.certificate_records`), `cert_getStatus` and its proof (`rpc.methods.certificate_status`), lists
(`rpc.methods.certificate_list`). Source: domain §3.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ledger.certificate_bodies import NUMBER_PATTERN
from ledger.certificate_records import (
    Certificate,
    CertificateStatus,
    certificate_key,
    status_at,
)
from ledger.register_records import Imported, read_imported
from ledger.scheme_records import read_certificate_scheme
from ledger.state import STATE_VALUE_SIZE_MAX
from ledger.state_at import StateAt
from ledger.views import StateValue
from primitives.encoding import decode
from rpc.errors import Code, not_found
from rpc.methods.certificate_parts import (
    EvidenceResult,
    HistoryResult,
    ProductResult,
    evidence_result,
    history_result,
    product_result,
    time_or_none,
)
from rpc.methods.certificate_scheme import CertificateSchemeResult, scheme_result
from rpc.methods.events import EventResult, events_at
from rpc.methods.heights import height_of, index_of, tip_of
from rpc.paging import page_of
from rpc.ports import Services
from rpc.registry import method
from rpc.rights import Access
from rpc.types import (
    LIMIT_DEFAULT,
    AskedCursor,
    AskedOrder,
    AsOf,
    HeightParam,
    Limit,
    NextCursor,
    Offset,
    Params,
    Result,
    Time,
    time_text,
)

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


class ImportedResult(Result, frozen=True):
    """From which row of which register a certificate was imported, by which event; nothing is said of before `time`."""

    register: str
    index: int
    event_id: str
    time: Time


class GetCertificateResult(Result, frozen=True):
    """A certificate with its status at the time of the block at `height`, and what the scheme keeps beside it.

    `imported` says from which register it came, null where it was granted here.
    """

    certificate: CertificateRecord
    status: StatusWords
    scheme: CertificateSchemeResult
    imported: ImportedResult | None
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
    state = StateAt(services.reads, height)
    beside = scheme_result(read_certificate_scheme(state, params.number))
    imported = _imported(read_imported(state, params.number))
    return GetCertificateResult(certificate_record(certificate), status, beside, imported, height, int(tip.height))


def _imported(found: Imported | None) -> ImportedResult | None:
    if found is None:
        return None
    return ImportedResult(found.register, found.index, found.event_id.hex(), time_text(found.time_ms))


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
        time_or_none(status.until_ms),
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
        product=product_result(certificate.product),
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
        evidence=[evidence_result(item) for item in certificate.evidence],
        corrections=[evidence_result(item) for item in certificate.corrections],
        appeal_until=time_or_none(certificate.appeal_until_ms),
        history=history_result(certificate.history),
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


METHODS = (get_certificate, certificate_history)
