"""Recorded evidence, proved to anybody who holds the genesis and nothing else, of whatever epoch the accused key is.

A proof holds the event with both signed statements, the row that the state has of it with its path, the header of its
block with the commit certificate, and the handovers from the genesis to that block's epoch (`ledger.handovers`). So the
verifier checks by itself both of the accused one's signatures under the key that the genesis leads to, that the two
statements contradict each other, and that the chain recorded them against this name. Its JSON form is what `chainnode
evidence show --proof` writes; every value in it is checked. Pure. Source: architecture §5 (Evidence).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from msgspec import Meta

from ledger.base import before_the_base
from ledger.event_json import Json, record_from_json, record_to_json
from ledger.events import EVENT_SIZE_MAX, Event, event_id
from ledger.evidence import Accused, RecordedEvidence, accused_in, recorded_key
from ledger.evidence_bodies import TYPES, BatchesEvidence, EvidenceBody, check_evidence
from ledger.genesis import Genesis
from ledger.handovers import HANDOVERS_MAX, Handover, check_committed, make_handovers, verified_sets
from ledger.kinds import RuleBroken
from ledger.reader import LedgerReader
from ledger.smt import StateProof, verify_state
from primitives.block import BlockHeader
from primitives.encoding import Record, decode, encode
from primitives.errors import EncodingError, ProofError, StorageError
from primitives.ids import EventId, Height
from primitives.keys import verify as verify_ed25519
from primitives.validators import ValidatorSet
from primitives.votes import QuorumCertificate

T = TypeVar("T")

EVIDENCE_PROOF_VERSION = 1
PROOF_SIZE_MAX = 16 << 20


class EvidenceProof(Record):
    """One recorded evidence: `number` is its place among all that the chain recorded, `event` the event's bytes."""

    version: int
    number: Annotated[int, Meta(ge=0)]
    event: Annotated[bytes, Meta(max_length=EVENT_SIZE_MAX)]
    recorded: RecordedEvidence
    state: StateProof
    header: BlockHeader
    certificate: QuorumCertificate
    handovers: Annotated[tuple[Handover, ...], Meta(max_length=HANDOVERS_MAX)]


@dataclass(frozen=True, slots=True)
class EvidenceVerdict:
    """What a proof of evidence proves: whom it names, with the key of both signatures; `epoch` is its block's."""

    kind: int
    body: EvidenceBody
    accused: Accused
    event_id: EventId
    height: Height
    epoch: int
    reporter: str


def make_evidence_proof(reader: LedgerReader, number: int, row: RecordedEvidence) -> EvidenceProof:
    """Return the proof of a recorded evidence, by its number and the row that the state has of it.

    ProofError where more epochs passed before it than a proof may hold.
    """
    if row.height <= reader.base():
        raise before_the_base("the event with this evidence", reader.base())
    view = reader.event(row.event_id)
    committed = reader.committed_block(row.height)
    value = reader.state_value(recorded_key(number), row.height)
    if view is None or committed is None or committed.certificate is None or value is None:
        raise StorageError("recorded evidence missing", where=f"number {number}", hint="run `chainnode fsck`")
    header = committed.block.header
    handovers = make_handovers(reader, header.epoch)
    return EvidenceProof(
        EVIDENCE_PROOF_VERSION, number, view.event_bytes, row, value.proof, header, committed.certificate, handovers
    )


def proof_to_json(proof: EvidenceProof) -> Json:
    """Return the JSON form of a proof."""
    return record_to_json(proof)


def proof_from_json(value: Mapping[str, Any]) -> EvidenceProof:
    """Return the proof of a JSON object (Any: what a JSON decoder gives). Raises InputError with the path."""
    proof = record_from_json(EvidenceProof, value, where="proof", size_max=PROOF_SIZE_MAX)
    assert isinstance(proof, EvidenceProof), "the record that was asked for"
    return proof


def verify_evidence_proof(proof: EvidenceProof, genesis: Genesis) -> EvidenceVerdict:
    """Return what a proof proves to who trusts the genesis. Raises InputError (most of all ProofError) otherwise."""
    if proof.version != EVIDENCE_PROOF_VERSION:
        raise ProofError("proof of an unknown version", expected=EVIDENCE_PROOF_VERSION, got=proof.version)
    sets = verified_sets(genesis, proof.handovers)
    check_committed(proof.header, proof.certificate, genesis.chain_id, sets[-1])
    verify_state(proof.header.state_root, recorded_key(proof.number).encode(), encode(proof.recorded), proof.state)
    event = _decode(Event, proof.event)
    identity = event_id(proof.event, event.kind)
    type_ = TYPES.get(event.kind)
    if type_ is None or identity != proof.recorded.event_id:
        raise ProofError("event is not the one that was recorded", expected=proof.recorded.event_id, got=identity)
    body = _decode(type_, event.body)
    accused = _accused(body, proof.recorded, sets)
    try:
        check_evidence(body, genesis.chain_id, accused.key, verify_ed25519)
    except RuleBroken as broken:
        raise ProofError("not evidence", got=str(broken)) from None
    return EvidenceVerdict(
        event.kind, body, accused, identity, Height(proof.recorded.height), proof.header.epoch, proof.recorded.reporter
    )


def _accused(body: EvidenceBody, recorded: RecordedEvidence, sets: list[ValidatorSet]) -> Accused:
    """Return whom evidence names, by the sets that the genesis leads to; whose a source is says the proved row."""
    if isinstance(body, BatchesEvidence):
        return Accused(recorded.accused, body.first.header.source, "", recorded.member)
    if body.epoch >= len(sets):
        raise ProofError("evidence of an epoch that was not yet", expected=f"below {len(sets)}", got=body.epoch)
    accused = accused_in(sets[body.epoch], body)
    if accused is None:
        raise ProofError("no such validator", where=f"epoch {body.epoch}", got=body.validator)
    return accused


def _decode(type_: type[T], data: bytes) -> T:
    try:
        return decode(type_, data, size_max=EVENT_SIZE_MAX)
    except EncodingError as error:
        raise ProofError(error.what, where="event", expected=error.expected, got=error.got) from None
