"""From the genesis to any epoch's validators: a chain of handovers, each certified by the set that it ends.

The last block of an epoch names the hash of the next set, and a quorum of the present set committed that block. So who
holds the genesis and one such block of each epoch knows every set up to it and needs to trust no node and no policy.
What it rests on is the promise that every verifier makes of a past epoch: that no quorum of its keys got into one hand
since. Pure. Not here: what is proved with a set (`ledger.evidence_proofs`). Source: architecture §5 (Epochs).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

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


def make_handovers(reader: LedgerReader, epoch: int) -> tuple[Handover, ...]:
    """Return the handovers of epochs 0 up to the one before `epoch`, which the chain must have reached.

    ProofError where they would be more than a proof may hold.
    """
    handovers: list[Handover] = []
    size = 0
    for ended in range(epoch):
        handovers.append(_handover(reader, ended))
        size += len(encode(handovers[-1]))
        if size > HANDOVERS_BYTES_MAX or len(handovers) > HANDOVERS_MAX:
            raise ProofError(
                "too many epochs for one proof",
                expected=f"at most {HANDOVERS_MAX} changes of validators and {HANDOVERS_BYTES_MAX} bytes",
                got=f"{epoch} changes",
            )
    return tuple(handovers)


def verified_sets(genesis: Genesis, handovers: Sequence[Handover]) -> list[ValidatorSet]:
    """Return the validators of epoch 0 and of each one that a handover leads to, by epoch.

    Raises ProofError or SignatureError where a handover does not follow from those before it.
    """
    sets = [validator_set(genesis)]
    for handover in handovers:
        present = sets[-1]
        check_committed(handover.header, handover.certificate, genesis.chain_id, present)
        following = ValidatorSet(Epoch(present.epoch + 1), handover.validators)
        if following.hash != handover.header.next_validators:
            raise ProofError(
                "validators are not those that the block names",
                where=f"handover to epoch {following.epoch}",
                expected=handover.header.next_validators,
                got=following.hash,
            )
        sets.append(following)
    return sets


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
    height = reader.height_at_epoch_end(epoch)
    committed = None if height is None else reader.committed_block(height)
    value = None if height is None else reader.state_value(validators_key(Epoch(epoch + 1)), height)
    if committed is None or committed.certificate is None or value is None or value.value is None:
        raise StorageError("end of an epoch missing", where=f"epoch {epoch}", hint="run `chainnode fsck`")
    following = decode(ValidatorSet, value.value, size_max=STATE_VALUE_SIZE_MAX)
    return Handover(committed.block.header, committed.certificate, following.validators)
