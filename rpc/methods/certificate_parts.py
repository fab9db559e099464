"""What records of applications and certificates are made of, as JSON has it: products, evidence, histories."""

from __future__ import annotations

from ledger.certificate_bodies import Product
from ledger.certificate_records import FiledEvidence, History
from rpc.types import Result, Time, time_text


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


class HistoryResult(Result, frozen=True):
    """Number and hash chain of the events that made the record: they make a history complete."""

    count: int
    hash: str
    changed: Time


def product_result(product: Product) -> ProductResult:
    """Return a product as JSON has it."""
    return ProductResult(product.name, product.model, product.version)


def evidence_result(item: FiledEvidence) -> EvidenceResult:
    """Return a piece of evidence as JSON has it."""
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


def time_or_none(time_ms: int | None) -> str | None:
    """Return a time as JSON has it, None for none."""
    return None if time_ms is None else time_text(time_ms)


def history_result(history: History) -> HistoryResult:
    """Return a history as JSON has it."""
    return HistoryResult(history.count, history.hash.hex(), time_text(history.changed_ms))
