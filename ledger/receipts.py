"""Receipts: one event, proved to anybody who holds the policy, without trusting the node that gave it.

A receipt is a C2SP tlog-proof of the event's leaf. Its extra data hold the event, the header of its block with the
header's own path, its outcome with the path to the header's outcomes root, and the header of its batch with the
source's signature. So `verify` says applied or rejected, by whom, and when. Pure. Source: architecture §6.

What leads to what: the quorum's cosignatures name the log's root; the event's leaf and the block header's leaf stand
under it; the header names the outcomes, the list of batches and the chain; the batch header is in that list, names the
event's id under its root, and is signed by the source, which validators admit only for its own member.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from ledger.batch_headers import BatchHeader, batch_statement
from ledger.batch_places import BatchPlace, Path, place_of, verify_place
from ledger.events import EVENT_SIZE_MAX, Event, event_id
from ledger.handovers import HANDOVERS_MAX, Handover, check_release, make_handovers
from ledger.outcomes import OutcomeProof, verify_outcome
from ledger.proof_steps import BATCH, EVENT, EXTRA, HEADER, OUTCOME, SOURCE, step
from ledger.reader import LedgerReader
from ledger.tlog_proofs import PROOF_SIZE_MAX, TlogProof, parse_tlog_proof
from ledger.trust_policy import (
    CheckedCheckpoint,
    assemble_checkpoint,
    cosigner_key,
    log_key,
    parse_policy,
)
from ledger.witnessed import checkpoint_for_proof
from primitives import merkle
from primitives.block import BlockHeader
from primitives.encoding import Record, decode, encode
from primitives.errors import ProofError
from primitives.ids import EventId, Hash, Height, MemberId, SourceKey, TimeMs
from primitives.keys import verify as verify_signature

__all__ = [
    "Receipt",
    "Verdict",
    "assemble_checkpoint",
    "cosigner_key",
    "log_key",
    "make_receipt",
    "verify",
]

RECEIPT_VERSION = 2


class Receipt(Record):
    """The extra data of a receipt.

    `batch_index` is the event's index in its batch. `handovers` lead from the epoch of the verifier's policy to that of
    the checkpoint.
    """

    version: int
    event: Annotated[bytes, Meta(max_length=EVENT_SIZE_MAX)]
    header: BlockHeader
    header_path: Path
    outcome: OutcomeProof
    batch_place: BatchPlace
    batch_header: BatchHeader
    batch_signature: Annotated[bytes, Meta(min_length=64, max_length=64)]
    batch_index: Annotated[int, Meta(ge=0)]
    batch_path: Path
    handovers: Annotated[tuple[Handover, ...], Meta(max_length=HANDOVERS_MAX)]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a receipt proves: what became of the event, by whom it was submitted, and when.

    `time_ms` is the block's time; `cosigners`, out of `witnesses`, cosigned a checkpoint of `log_size` leaves from
    `cosigned_first_s` to `cosigned_last_s` (seconds since 1970); `epoch` is theirs, None where the policy names none.
    """

    event_id: EventId
    event: Event
    applied: bool
    rule: str
    detail: str
    member: MemberId
    source: SourceKey
    chain_id: Hash
    origin: str
    height: Height
    index: int
    log_index: int
    time_ms: TimeMs
    batch_number: int
    log_size: int
    epoch: int | None
    witnesses: int
    cosigners: tuple[str, ...]
    cosigned_first_s: int
    cosigned_last_s: int


def make_receipt(
    reader: LedgerReader, event_id_: bytes, from_epoch: int = 0, witnesses: Collection[str] = ()
) -> str | None:
    """Return an event's receipt under a stable checkpoint, for policies of `from_epoch` and later ones.

    The checkpoint is the one that most witnesses cosigned, all of `witnesses` (key names) among them, and the latest of
    several. None where the event was not ordered, or no such checkpoint covers its block yet.
    """
    place = reader.position(event_id_)
    if place is None:
        return None
    block = reader.block(place.height)
    assert block is not None, "a position lies in a block"
    checkpoint = checkpoint_for_proof(reader, block.log_index + 1, witnesses)
    if checkpoint is None:
        return None
    batch = reader.batch_evidence(place.height, place.index)
    receipt = Receipt(
        version=RECEIPT_VERSION,
        event=batch.event,
        header=block.header,
        header_path=tuple(reader.log.inclusion(block.log_index, checkpoint.size)),
        outcome=reader.outcome_proof(place.height, place.index),
        batch_place=place_of(block.batch_hashes, batch.header.hash()),
        batch_header=batch.header,
        batch_signature=batch.signature,
        batch_index=batch.index,
        batch_path=tuple(merkle.inclusion_path(batch.ids, batch.index)),
        handovers=handovers_to(reader, checkpoint.size, from_epoch),
    )
    path = reader.log.inclusion(place.log_index, checkpoint.size)
    return TlogProof(encode(receipt), place.log_index, tuple(path), checkpoint.note).text()


def handovers_to(reader: LedgerReader, size: int, from_epoch: int) -> tuple[Handover, ...]:
    """Return the handovers from an epoch to that of a checkpoint of the log's first `size` leaves."""
    return make_handovers(reader, reader.epoch_at_size(size), from_epoch)


def verify(receipt_text: str, policy: str) -> Verdict:
    """Return what a receipt proves under a policy. Raises ProofError where anything does not hold."""
    proof = parse_tlog_proof(receipt_text)
    with step(EXTRA):
        receipt = decode(Receipt, proof.extra, size_max=PROOF_SIZE_MAX)
        if receipt.version != RECEIPT_VERSION:
            raise ProofError("receipt of an unknown version", expected=RECEIPT_VERSION, got=receipt.version)
    checked = parse_policy(policy).check(proof.note, receipt.handovers)
    checkpoint = checked.checkpoint
    with step(EVENT):
        event = decode(Event, receipt.event, size_max=EVENT_SIZE_MAX)
        identity = event_id(receipt.event, event.kind)
        merkle.verify_inclusion(checkpoint.root, checkpoint.size, proof.index, identity, proof.path)
    with step(HEADER):
        index = _check_header(receipt, proof.index, checked)
    with step(OUTCOME):
        outcome = verify_outcome(receipt.outcome, receipt.header.outcomes_root, receipt.header.event_count, index)
    with step(BATCH):
        _check_batch(receipt, event, identity)
    with step(SOURCE):
        check_source(receipt.batch_header, receipt.batch_signature)
    return Verdict(
        event_id=identity,
        event=event,
        applied=outcome.applied,
        rule=outcome.rule,
        detail=outcome.detail,
        member=MemberId(event.member),
        source=SourceKey(receipt.batch_header.source),
        chain_id=receipt.header.chain_id,
        origin=checkpoint.origin,
        height=receipt.header.height,
        index=index,
        log_index=proof.index,
        time_ms=receipt.header.time_ms,
        batch_number=receipt.batch_header.number,
        log_size=checkpoint.size,
        epoch=checked.epoch,
        witnesses=checked.witnesses,
        cosigners=checked.cosigners,
        cosigned_first_s=checked.first_s,
        cosigned_last_s=checked.last_s,
    )


def _check_header(receipt: Receipt, log_index: int, checked: CheckedCheckpoint) -> int:
    """Return the event's index in its block after proving that the header stands in the log, behind the event."""
    check_header(receipt.header, receipt.header_path, checked)
    index = log_index - receipt.header.first_index
    if not 0 <= index < receipt.header.event_count:
        raise ProofError(
            "event outside of the block of its receipt", expected=f"below {receipt.header.event_count}", got=index
        )
    return index


def check_header(header: BlockHeader, path: tuple[bytes, ...], checked: CheckedCheckpoint) -> None:
    """Raise ProofError unless the header is of this log's chain and stands in it at the place that it names."""
    check_release(header)
    checkpoint = checked.checkpoint
    if not checkpoint.origin.endswith(f"/{header.chain_id.hex()}"):
        raise ProofError("block of another chain than the log's", expected=checkpoint.origin, got=header.chain_id)
    place = header.first_index + header.event_count
    merkle.verify_inclusion(checkpoint.root, checkpoint.size, place, header.hash(), path)


def check_place(proof: TlogProof, header: BlockHeader) -> None:
    """Raise ProofError unless a proof's index is that of the header's leaf."""
    own = header.first_index + header.event_count
    if proof.index != own:
        raise ProofError("index is not the header's", expected=own, got=proof.index)


def _check_batch(receipt: Receipt, event: Event, identity: EventId) -> None:
    batch = receipt.batch_header
    verify_place(receipt.batch_place, batch.hash(), receipt.header)
    if batch.member != event.member or batch.chain_id != receipt.header.chain_id:
        raise ProofError("batch of another member or chain than the event", expected=event.member, got=batch.member)
    merkle.verify_inclusion(batch.root, batch.count, receipt.batch_index, identity, receipt.batch_path)


def check_source(batch: BatchHeader, signature: bytes) -> None:
    """Raise ProofError unless the batch's source signed its header."""
    if not verify_signature(batch.source, batch_statement(batch), signature):
        raise ProofError("signature of the source does not verify", where=f"batch {batch.number} of {batch.member}")
