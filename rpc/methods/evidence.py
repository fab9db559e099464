"""net_evidence, net_evidenceProof: who is proved to have signed two statements that contradict each other.

Every answer can be checked without this node: each statement comes with the very bytes that its signature covers, and
the event that holds both is proved by `ledger_getProof` under a policy, and under the genesis by `net_evidenceProof`.
"""

from __future__ import annotations

from typing import Any

from ledger.event_json import record_to_json
from ledger.evidence import RecordedEvidence, read_recorded, recorded_count
from ledger.evidence_bodies import (
    TYPES,
    BatchesEvidence,
    EvidenceBody,
    SignedCheckpoint,
    SignedHeader,
    SignedVote,
    VotesEvidence,
    signed_statements,
)
from ledger.evidence_proofs import make_evidence_proof, proof_to_json
from ledger.registry import KINDS
from ledger.state_at import StateAt
from ledger.views import EventView
from primitives.encoding import decode
from primitives.errors import ProofError, StorageError
from primitives.votes import PHASES
from rpc.errors import Code, invalid_params, not_found, unavailable
from rpc.methods.events import EventIdHex
from rpc.methods.heights import tip_of
from rpc.paging import page_of
from rpc.ports import Services
from rpc.registry import method
from rpc.types import (
    LIMIT_DEFAULT,
    AskedCursor,
    AskedOrder,
    AsOf,
    Limit,
    NextCursor,
    Offset,
    Params,
    Result,
    Time,
    base64_text,
    time_text,
)

BODY_SIZE_MAX = 4_096


class ListEvidence(Params, frozen=True):
    """Recorded evidence, the newest first unless `order` says otherwise; or that of one event."""

    event_id: EventIdHex | None = None
    limit: Limit = LIMIT_DEFAULT
    order: AskedOrder = None
    cursor: AskedCursor = None


class AccusedResult(Result, frozen=True):
    """Whom it names: a validator (by name and its index in the set of an epoch) or a source, and its member.

    `key` is the public key under which both signatures hold.
    """

    validator: str | None
    epoch: int | None
    index: int | None
    source: str | None
    member: str
    key: str


class SignedResult(Result, frozen=True):
    """One statement: its fields, the bytes that were signed (base64) and the Ed25519 signature over them (hex)."""

    says: dict[str, Any]  # Any: each kind's own fields
    signed: str
    signature: str


class EvidenceResult(Result, frozen=True):
    """One evidence. `view`, `voted_height` and `phase` come with votes, `batch_number` with batches.

    `number` counts recorded evidence from 0; `event_id` is the event that holds it, at `height`; `reporter` brought it.
    """

    number: int
    kind: str
    accused: AccusedResult
    view: int | None
    voted_height: int | None
    phase: str | None
    batch_number: int | None
    first: SignedResult
    second: SignedResult
    event_id: str
    height: int
    time: Time
    reporter: str


class EvidenceProofResult(Result, frozen=True):
    """The proof of one evidence, in the form that docs/formats.md gives."""

    proof: dict[str, Any]  # Any: the record's own fields
    as_of: AsOf


class EvidenceOfEvent(Params, frozen=True):
    """The event that holds an evidence."""

    event_id: EventIdHex


class EvidenceListResult(Result, frozen=True):
    """Recorded evidence in order, and how much there is in all; `cursor` asks for more."""

    evidence: list[EvidenceResult]
    count: int
    cursor: NextCursor
    as_of: AsOf


@method("net_evidence", params=ListEvidence, result=EvidenceListResult, errors=(Code.NOT_FOUND,), in_thread=True)
def net_evidence(services: Services, params: ListEvidence) -> EvidenceListResult:
    """Who signed two statements that contradict each other, as recorded on the chain, with both statements.

    The newest first, unless `order` says otherwise; with `event_id` just the evidence of that event.
    """
    tip = tip_of(services)
    state = StateAt(services.reads, tip.height)
    count = recorded_count(state)
    page = page_of(services, "net_evidence", params, tuple[Offset])
    if params.event_id is not None:
        if params.cursor is not None:
            raise invalid_params("one event has no pages", where="$.cursor", expected="event_id or cursor", got="both")
        return EvidenceListResult([_of_event(services, state, params.event_id)], count, None, int(tip.height))
    first = count - 1 if page.descending else 0
    start = first if page.after is None else page.after[0]
    if page.descending:
        numbers = range(min(start, count - 1), max(-1, start - params.limit), -1)
        after = start - params.limit
    else:
        numbers = range(start, min(count, start + params.limit))
        after = start + params.limit
    more = bool(numbers) and 0 <= after < count
    cursor = page.cursor(after) if more else None
    return EvidenceListResult([_numbered(services, state, item) for item in numbers], count, cursor, int(tip.height))


@method(
    "net_evidenceProof",
    params=EvidenceOfEvent,
    result=EvidenceProofResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
)
def net_evidence_proof(services: Services, params: EvidenceOfEvent) -> EvidenceProofResult:
    """The proof of the evidence of an event, to be verified offline by who holds the genesis and nothing else."""
    tip = tip_of(services)
    state = StateAt(services.reads, tip.height)
    number, row, _ = _recorded_by(services, state, params.event_id)
    try:
        proof = make_evidence_proof(services.reads, number, row)
    except ProofError as error:
        raise unavailable("too_many_epochs", str(error)) from None
    return EvidenceProofResult(proof_to_json(proof), int(tip.height))


def _of_event(services: Services, state: StateAt, event_id: str) -> EvidenceResult:
    return _result(services, *_recorded_by(services, state, event_id))


def _recorded_by(services: Services, state: StateAt, event_id: str) -> tuple[int, RecordedEvidence, EventView]:
    """Return number and row of what an event recorded, and the event; -32001 where it recorded nothing."""
    view = services.reads.event(bytes.fromhex(event_id))
    if view is not None and view.outcome.applied and view.event.kind in TYPES:
        for number in range(recorded_count(state)):
            row = read_recorded(state, number)
            if row is not None and row.event_id == view.id:
                return number, row, view
    raise not_found("no evidence is recorded by this event", got=event_id, hint="ledger_getEvent tells its outcome")


def recorded_evidence(services: Services, state: StateAt, number: int) -> EvidenceResult:
    """Return a recorded evidence by its number, from a state that knows it."""
    return _numbered(services, state, number)


def _numbered(services: Services, state: StateAt, number: int) -> EvidenceResult:
    row = read_recorded(state, number)
    view = None if row is None else services.reads.event(row.event_id)
    if row is None or view is None:
        raise StorageError("recorded evidence missing", where=f"number {number}", hint="run `chainnode fsck`")
    return _result(services, number, row, view)


def _result(services: Services, number: int, row: RecordedEvidence, view: EventView) -> EvidenceResult:
    body: EvidenceBody = decode(TYPES[row.kind], view.event.body, size_max=BODY_SIZE_MAX)
    votes = body if isinstance(body, VotesEvidence) else None
    validator = None if isinstance(body, BatchesEvidence) else body
    batches = body if isinstance(body, BatchesEvidence) else None
    first, second = (
        SignedResult(_said(statement), base64_text(message), signature.hex())
        for statement, (message, signature) in zip(
            (body.first, body.second), signed_statements(body, services.reads.chain_id), strict=True
        )
    )
    return EvidenceResult(
        number=number,
        kind=KINDS[row.kind].name,
        accused=AccusedResult(
            validator=row.name or None,
            epoch=None if validator is None else validator.epoch,
            index=None if validator is None else validator.validator,
            source=None if batches is None else row.key.hex(),
            member=row.member,
            key=row.key.hex(),
        ),
        view=None if votes is None else votes.view,
        voted_height=None if votes is None else votes.height,
        phase=None if votes is None else PHASES[votes.phase],
        batch_number=None if batches is None else batches.first.header.number,
        first=first,
        second=second,
        event_id=view.id.hex(),
        height=row.height,
        time=time_text(view.time_ms),
        reporter=row.reporter,
    )


def _said(statement: SignedVote | SignedCheckpoint | SignedHeader) -> dict[str, Any]:
    """Return what a statement says, without its signature."""
    fields = record_to_json(statement.header if isinstance(statement, SignedHeader) else statement)
    return {name: value for name, value in fields.items() if name != "signature"}


METHODS = (net_evidence, net_evidence_proof)
