"""cert_getMark, cert_markEvents: the certification mark of a certificate, and the events that made it so.

Here: the rows of `ledger.mark_records` as JSON has them, with proofs of those by which a mark is judged. Not here: what
a mark is worth (`ledger.mark_records.mark_standing`), the code that it carries (`ledger.mark_codes`), reports of misuse
(`rpc.methods.misuse`).
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ledger.certificate_records import read_certificate
from ledger.committed_state import CommittedState
from ledger.mark_bodies import MarkDocument
from ledger.mark_codes import CHAIN_BYTES, MarkCode, mark_hash
from ledger.mark_records import (
    DeclaredUse,
    MarkLicense,
    MarkStanding,
    mark_key,
    mark_standing,
    read_license,
    use_prefix,
)
from ledger.scheme_policy import SCHEME_POLICY_KEY, read_scheme_policy
from ledger.scheme_records import certificate_scheme_key
from ledger.state_at import StateAt
from ledger.status_proofs import make_status_proof
from rpc.errors import Code, not_found
from rpc.methods.certificates import CertificateNumber, HistoryEventsResult
from rpc.methods.events import events_at
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
    EpochNumber,
    HeightParam,
    Limit,
    Offset,
    Params,
    Result,
    Time,
    WitnessNames,
    time_text,
)


class GetMark(Params, frozen=True):
    """A certificate's mark, as of a height.

    `from_epoch` is the epoch of the policy under which the proofs will be verified, or an earlier one; `witnesses` are
    names of outside witnesses' keys, each of which must have cosigned the checkpoint.
    """

    number: CertificateNumber
    height: Annotated[HeightParam, msgspec.Meta(description="As of which block.")] = "latest"
    from_epoch: EpochNumber = 0
    witnesses: WitnessNames = ()


class MarkDocumentResult(Result, frozen=True):
    """A document or picture that stays off the chain: its SHA-256, the member that keeps it, and its size."""

    digest: str
    custodian: str
    size_bytes: int


class MarkWithdrawalResult(Result, frozen=True):
    """Why and when a licence was withdrawn; `report` is the report of misuse that it acted on."""

    reason: str
    member: str
    event_id: str
    time: Time
    report: int | None


class MarkLicenseResult(Result, frozen=True):
    """The newest licence, the `count`-th of this certificate: where the mark may stand, and until when."""

    count: int
    body: str
    event_id: str
    start: Time
    until: Time
    media: list[str]
    terms: MarkDocumentResult
    withdrawn: MarkWithdrawalResult | None


class DeclaredUseResult(Result, frozen=True):
    """A use that the holder declared: where, what of the scope it speaks of, and the digest of what it looks like."""

    medium: str
    covers: list[str]
    artwork: MarkDocumentResult
    event_id: str
    time: Time


class MarkProofs(Result, frozen=True):
    """Status proofs of the rows by which a mark is judged: the licence, the scheme's policy, the certificate's scope.

    What a proof shows may be that there is no such row.
    """

    license: str
    policy: str
    scope: str


class MarkResult(Result, frozen=True):
    """A certificate's mark. `standing` is what it is worth at the block's time.

    `none`: never licensed; `licensed`; `dormant`: licensed, but the certificate is not in force; `ended`: the licence's
    own end has come; `withdrawn`. `mark_use` is the scheme's rule for promotion, `mark` what the code on a product says
    after the certificate's number. `uses` are those of the newest state. `proofs` are for `chainnode cert scan`; None
    until a stable checkpoint covers the height.
    """

    number: str
    standing: str
    license: MarkLicenseResult | None
    mark_use: str
    mark: str
    uses: list[DeclaredUseResult]
    height: int
    time: Time
    proofs: MarkProofs | None
    as_of: AsOf


@method(
    "cert_getMark",
    params=GetMark,
    result=MarkResult,
    errors=(Code.NOT_FOUND,),
    access=Access.PUBLIC,
    in_thread=True,
)
def get_mark(services: Services, params: GetMark) -> MarkResult:
    """The certification mark of a certificate: its licence, the uses declared, and what its code says."""
    tip = tip_of(services)
    height = height_of(params.height, tip)
    header = services.reads.header(height)
    state = StateAt(services.reads, height)
    certificate = read_certificate(state, params.number)
    if header is None or certificate is None:
        raise not_found(f"no certificate {params.number} as of height {height}", where="$.number", got=params.number)
    license_ = read_license(state, params.number)
    code = MarkCode("", params.number, header.chain_id[:CHAIN_BYTES], mark_hash(header.chain_id, certificate))
    newest = CommittedState(services.reads.store)
    uses = [] if license_ is None else [row for _, row in newest.scan(use_prefix(params.number), DeclaredUse)]
    return MarkResult(
        number=params.number,
        standing=mark_standing(license_, certificate, int(header.time_ms)).value,
        license=None if license_ is None else _license_result(license_),
        mark_use=read_scheme_policy(state).mark_use.value,
        mark=code.mark,
        uses=[_use_result(use) for use in sorted(uses, key=lambda use: (use.time_ms, use.event_id))],
        height=height,
        time=time_text(header.time_ms),
        proofs=_proofs(services, params, height),
        as_of=int(tip.height),
    )


def _proofs(services: Services, params: GetMark, height: int) -> MarkProofs | None:
    """Return the proofs of what a mark is judged by, all of one height; None where no checkpoint covers it yet."""
    keys = (mark_key(params.number), SCHEME_POLICY_KEY, certificate_scheme_key(params.number))
    made = [make_status_proof(services.reads, key, height, params.from_epoch, params.witnesses) for key in keys]
    proofs = [proof for proof in made if proof is not None]
    return MarkProofs(*proofs) if len(proofs) == len(keys) else None


class MarkEvents(Params, frozen=True):
    """The events about the mark of one certificate."""

    number: CertificateNumber
    limit: Limit = LIMIT_DEFAULT
    order: AskedOrder = None
    cursor: AskedCursor = None


@method(
    "cert_markEvents",
    params=MarkEvents,
    result=HistoryEventsResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
)
def mark_events(services: Services, params: MarkEvents) -> HistoryEventsResult:
    """All events about the mark of a certificate, rejected ones too: licences, uses, reports of misuse and findings.

    The first first, unless `order` says otherwise.
    """
    index = index_of(services)
    as_of = int(index.height())
    page = page_of(services, "cert_markEvents", params, tuple[Offset, Offset], "asc", number=params.number)
    places = index.mark_events(params.number, count=params.limit, after=page.after, descending=page.descending)
    cursor = page.cursor(places[-1].height, places[-1].index) if len(places) == params.limit else None
    above = int(services.reads.base())
    return HistoryEventsResult(params.number, events_at(services, places), cursor, above, as_of)


def is_licensed(result: MarkResult) -> bool:
    """Say whether the mark may be used at the time that an answer speaks for."""
    return result.standing == MarkStanding.LICENSED.value


def _license_result(row: MarkLicense) -> MarkLicenseResult:
    gone = row.withdrawn
    return MarkLicenseResult(
        row.count,
        row.body,
        row.event_id.hex(),
        time_text(row.from_ms),
        time_text(row.until_ms),
        [medium.value for medium in row.media],
        document_result(row.terms),
        None
        if gone is None
        else MarkWithdrawalResult(gone.reason, gone.member, gone.event_id.hex(), time_text(gone.time_ms), gone.report),
    )


def _use_result(row: DeclaredUse) -> DeclaredUseResult:
    artwork = document_result(row.artwork)
    return DeclaredUseResult(row.medium.value, list(row.covers), artwork, row.event_id.hex(), time_text(row.time_ms))


def document_result(document: MarkDocument) -> MarkDocumentResult:
    """Return a document as JSON has it."""
    return MarkDocumentResult(document.digest.hex(), document.custodian, document.size_bytes)


METHODS = (get_mark, mark_events)
