"""cert_getApplication, and what the certification scheme keeps beside applications and certificates, as JSON has it.

Here: the ledger's rows of `ledger.scheme_records`; they came with the third rules and are empty before. Not here: the
certificate itself (`rpc.methods.certificates`), lists of what is due. Source: domain §3.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ledger.certificate_bodies import APPLICATION_ID_PATTERN
from ledger.certificate_records import read_application
from ledger.scheme_records import CertificateScheme, Decision, Surveillance, read_application_scheme
from ledger.state_at import StateAt
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
from rpc.methods.heights import height_of, tip_of
from rpc.ports import Services
from rpc.registry import method
from rpc.types import AsOf, HeightParam, Params, Result, Time, time_text


class DecisionResult(Result, frozen=True):
    """The newest decision against the holder, open to appeal before `appeal_until`; `appealed` is the appeal's event.

    `before` is what an appeal that is upheld returns to.
    """

    what: str
    event_id: str
    member: str
    time: Time
    appeal_until: Time
    before: str
    appealed: str | None


class SurveillanceResult(Result, frozen=True):
    """The newest surveillance: who found what, and by when it must be corrected."""

    event_id: str
    member: str
    time: Time
    passed: bool
    grave: bool
    findings: list[str]
    correct_by: Time | None


class RulingsResult(Result, frozen=True):
    """Number and hash chain of the events that decided on a certificate: officers sign a revocation upon them."""

    count: int
    hash: str


class CertificateSchemeResult(Result, frozen=True):
    """Beside a certificate: whose it is by USCC or LEI, its scope, how often it was issued, what was found and decided.

    `holder_id` and `scope` are empty and `decider` is None where it was granted by rules before the third. `evidence`
    came with the events of the scheme. None of the keys in `officers` may decide on an appeal.
    """

    holder_id: str
    scope: list[str]
    issues: int
    reviewer: str | None
    decider: str | None
    surveillance: SurveillanceResult | None
    decision: DecisionResult | None
    evidence: list[EvidenceResult]
    rulings: RulingsResult
    officers: list[str]


class GetApplication(Params, frozen=True):
    """An application, as of a height."""

    application: Annotated[
        str,
        msgspec.Meta(
            pattern=APPLICATION_ID_PATTERN,
            description="An application's id: MEMBER.SERIAL.",
            examples=["bank-a.2026-001"],
        ),
    ]
    height: Annotated[HeightParam, msgspec.Meta(description="As of which block.")] = "latest"


class ApplicationResult(Result, frozen=True):
    """An application as the state holds it, with what the scheme keeps beside it.

    `changes` is the certificate whose scope it asks to change, `supersedes` the one that it renews, `number` the one
    that was granted. `decision` is a refusal that is open to appeal.
    """

    id: str
    holder: str
    holder_name: str
    holder_id: str
    product: ProductResult
    category: int
    catalogue: int
    scope: list[str]
    state: str
    supersedes: str | None
    changes: str | None
    body: str | None
    reviewer: str | None
    evidence: list[EvidenceResult]
    number: str | None
    reason: str | None
    appeal_until: Time | None
    decision: DecisionResult | None
    history: HistoryResult


class GetApplicationResult(Result, frozen=True):
    """An application as of the block at `height`."""

    application: ApplicationResult
    height: int
    as_of: AsOf


@method("cert_getApplication", params=GetApplication, result=GetApplicationResult, errors=(Code.NOT_FOUND,))
def get_application(services: Services, params: GetApplication) -> GetApplicationResult:
    """An application for a certificate, or for a change of one, as of a height (default the newest)."""
    tip = tip_of(services)
    height = height_of(params.height, tip)
    state = StateAt(services.reads, height)
    found, beside = read_application(state, params.application), read_application_scheme(state, params.application)
    if found is None:
        raise not_found(f"no such application at height {height}", got=params.application)
    result = ApplicationResult(
        id=found.id,
        holder=found.holder,
        holder_name=found.holder_name,
        holder_id=beside.holder_id,
        product=product_result(found.product),
        category=found.category,
        catalogue=found.catalogue,
        scope=list(beside.scope),
        state=found.state.value,
        supersedes=found.supersedes,
        changes=beside.changes,
        body=found.body,
        reviewer=None if found.reviewer is None else found.reviewer.hex(),
        evidence=[evidence_result(item) for item in found.evidence],
        number=found.number,
        reason=found.reason,
        appeal_until=time_or_none(found.appeal_until_ms),
        decision=_decision(beside.decision),
        history=history_result(found.history),
    )
    return GetApplicationResult(result, height, int(tip.height))


def scheme_result(scheme: CertificateScheme) -> CertificateSchemeResult:
    """Return what stands beside a certificate as JSON has it."""
    return CertificateSchemeResult(
        holder_id=scheme.holder_id,
        scope=list(scheme.scope),
        issues=scheme.issues,
        reviewer=scheme.reviewer.hex() or None,
        decider=scheme.decider.hex() or None,
        surveillance=_surveillance(scheme.surveillance),
        decision=_decision(scheme.decision),
        evidence=[evidence_result(item) for item in scheme.evidence],
        rulings=RulingsResult(scheme.rulings.count, scheme.rulings.hash.hex()),
        officers=[key.hex() for key in scheme.officers],
    )


def _surveillance(found: Surveillance | None) -> SurveillanceResult | None:
    if found is None:
        return None
    return SurveillanceResult(
        event_id=found.event_id.hex(),
        member=found.member,
        time=time_text(found.time_ms),
        passed=found.passed,
        grave=found.grave,
        findings=list(found.findings),
        correct_by=time_or_none(found.correct_by_ms),
    )


def _decision(found: Decision | None) -> DecisionResult | None:
    if found is None:
        return None
    return DecisionResult(
        what=found.what.value,
        event_id=found.event_id.hex(),
        member=found.member,
        time=time_text(found.time_ms),
        appeal_until=time_text(found.appeal_until_ms),
        before=found.before.state.value,
        appealed=None if found.appealed is None else found.appealed.hex(),
    )


METHODS = (get_application,)
