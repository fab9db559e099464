"""From the genesis to any epoch's validators: a chain of handovers, each certified by the set that it ends.

The last block of an epoch names the hash of the next set, and a quorum of the present set committed that block. So who
holds the genesis and one such block of each epoch knows every set up to it and needs to trust no node and no policy.
What it rests on is the promise that every verifier makes of a past epoch: that no quorum of its keys got into one hand
since. Pure. Not here: what is proved with a set (`ledger.evidence_proofs`). Source: architecture §5 (Epochs).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from ledger import rows
from ledger.genesis import Genesis, validator_set
from ledger.members import validators_key
from ledger.reader import LedgerReader
from ledger.rules import RULES_SUPPORTED
from ledger.state import STATE_VALUE_SIZE_MAX
from primitives.block import BlockHeader
from primitives.encoding import Record, decode, encode
from primitives.errors import ProofError, StorageError
from primitives.hashing import SUITE
from primitives.ids import Epoch, Hash
from primitives.validators import VALIDATORS_MAX, Validator, ValidatorSet
from primitives.votes import QuorumCertificate, verify_certificate

HANDOVERS_MAX = 4_096
HANDOVERS_BYTES_MAX = 4 << 20
"""All handovers of one proof together: as JSON they are up to four times as large, and still what a reader takes."""


class Handover(Record):
    """The last block of an epoch with its commit certificate, and the validators of the next epoch, in order."""

    header: BlockHeader
    certificate: QuorumCertificate
    validators: Annotated[tuple[Validator, ...], Meta(max_length=VALIDATORS_MAX)]


@dataclass(frozen=True, slots=True)
class EpochSpan:
    """The validators of an epoch and the least size of a log that they cosign; the next epoch's ends their term."""

    size_min: int
    validators: ValidatorSet


def first_span(genesis: Genesis) -> EpochSpan:
    """Return the span of epoch 0, which begins with the log of one leaf: the header of the genesis block."""
    return EpochSpan(1, validator_set(genesis))


def make_handovers(reader: LedgerReader, epoch: int, first: int = 0) -> tuple[Handover, ...]:
    """Return the handovers of epochs `first` up to the one before `epoch`, which the chain must have reached.

    ProofError where they would be more than a proof may hold.
    """
    handovers: list[Handover] = []
    size = 0
    for ended in range(first, epoch):
        handovers.append(_handover(reader, ended))
        size += len(encode(handovers[-1]))
        if size > HANDOVERS_BYTES_MAX or len(handovers) > HANDOVERS_MAX:
            raise ProofError(
                "too many epochs for one proof",
                expected=f"at most {HANDOVERS_MAX} changes of validators and {HANDOVERS_BYTES_MAX} bytes",
                got=f"{epoch} changes",
            )
    return tuple(handovers)


def spans_of(reader: LedgerReader, epoch: int) -> tuple[EpochSpan, ...]:
    """Return the spans of epochs 0 up to `epoch`, which the chain must have reached, as this store has them."""
    spans = [first_span(reader.genesis)]
    for number, handover in enumerate(make_handovers(reader, epoch), 1):
        spans.append(EpochSpan(_size_after(handover.header), ValidatorSet(Epoch(number), handover.validators)))
    return tuple(spans)


def verified_sets(genesis: Genesis, handovers: Sequence[Handover]) -> list[ValidatorSet]:
    """Return the validators of epoch 0 and of each one that a handover leads to, by epoch.

    Raises ProofError or SignatureError where a handover does not follow from those before it.
    """
    return [span.validators for span in follow(first_span(genesis), genesis.chain_id, handovers)]


def follow(present: EpochSpan, chain_id: Hash, handovers: Sequence[Handover]) -> list[EpochSpan]:
    """Return the present span and each one that a handover leads to.

    Raises ProofError or SignatureError where a handover does not follow from those before it.
    """
    spans = [present]
    for handover in handovers:
        present = spans[-1]
        header, epoch = handover.header, present.validators.epoch
        check_committed(header, handover.certificate, chain_id, present.validators)
        following = ValidatorSet(Epoch(epoch + 1), handover.validators)
        where = f"handover to epoch {following.epoch}"
        if following.hash != header.next_validators:
            raise ProofError(
                "validators are not those that the block names",
                where=where,
                expected=header.next_validators,
                got=following.hash,
            )
        size_min = _size_after(header)
        if header.epoch != epoch or size_min <= present.size_min:
            raise ProofError("block of another epoch", where=where, expected=epoch, got=header.epoch)
        spans.append(EpochSpan(size_min, following))
    return spans


def span_after(handover: Handover) -> EpochSpan:
    """Return the span to which a handover leads that was verified before."""
    header = handover.header
    return EpochSpan(_size_after(header), ValidatorSet(Epoch(header.epoch + 1), handover.validators))


def _size_after(header: BlockHeader) -> int:
    """Return the least size of a log that holds more than this block."""
    return header.first_index + header.event_count + 2


def check_committed(
    header: BlockHeader, certificate: QuorumCertificate, chain_id: Hash, validators: ValidatorSet
) -> None:
    """Raise ProofError or SignatureError unless a quorum of `validators` committed the block of this header."""
    check_release(header)
    if certificate.block_hash != header.hash():
        raise ProofError(
            "certificate of another block",
            where=f"height {header.height}",
            expected=header.hash(),
            got=certificate.block_hash,
        )
    verify_certificate(certificate, chain_id, validators)


def check_release(header: BlockHeader) -> None:
    """Raise ProofError where a header is of a suite or of rules that this release does not know."""
    if header.suite != SUITE or header.version not in RULES_SUPPORTED:
        raise ProofError(
            "block of an unknown suite or rules version",
            expected=f"{SUITE}, {' or '.join(map(str, RULES_SUPPORTED))}",
            got=f"{header.suite}, {header.version}",
            hint="verify with a newer release",
        )


def _handover(reader: LedgerReader, epoch: int) -> Handover:
    kept = reader.store.get(rows.handover_key(epoch))
    if kept is not None:
        return rows.read_row(Handover, kept, where=f"handover of epoch {epoch}")
    height = reader.height_at_epoch_end(epoch)
    committed = None if height is None else reader.committed_block(height)
    value = None if height is None else reader.state_value(validators_key(Epoch(epoch + 1)), height)
    if committed is None or committed.certificate is None or value is None or value.value is None:
        raise StorageError("end of an epoch missing", where=f"epoch {epoch}", hint="run `chainnode fsck`")
    following = decode(ValidatorSet, value.value, size_max=STATE_VALUE_SIZE_MAX)
    return Handover(committed.block.header, committed.certificate, following.validators)
