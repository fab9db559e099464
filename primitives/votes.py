"""Votes and the certificates that a quorum of them makes.

A vote signs (chain, epoch, view, height, block hash) under the tag of its phase, so that no vote can stand for another
phase, view, height, block or chain. Source: PBFT (Castro and Liskov), with the digest replaced by the block hash.
"""

from __future__ import annotations

from itertools import pairwise

from primitives.encoding import Record
from primitives.errors import SignatureError
from primitives.hashing import statement
from primitives.ids import HASH_BYTES, Epoch, Hash, Height, View
from primitives.keys import SIGNATURE_BYTES, verify
from primitives.validators import ValidatorSet

PREPARE = 1
COMMIT = 2
NUMBER_MAX = 2**63 - 1
PHASES = {PREPARE: "prepare", COMMIT: "commit"}


def vote_statement(phase: int, chain_id: Hash, epoch: Epoch, view: View, height: Height, block_hash: Hash) -> bytes:
    """Return the bytes that a PREPARE or COMMIT vote signs."""
    return statement(PHASES[phase], chain_id, epoch, view, height, block_hash)


class QuorumCertificate(Record):
    """q votes of one phase for one block in one view: (validator index, 64-byte signature), ascending by index."""

    phase: int
    epoch: Epoch
    view: View
    height: Height
    block_hash: Hash
    signatures: tuple[tuple[int, bytes], ...]


def check_certificate_shape(certificate: QuorumCertificate, validators: ValidatorSet, phase: int) -> None:
    """Raise `SignatureError` unless phase, epoch, signers and their number fit; signatures are not verified here."""
    where = f"{PHASES.get(phase, 'unknown')} certificate of height {certificate.height}"
    if certificate.phase != phase or phase not in PHASES:
        raise SignatureError("a certificate's phase", where=where, expected=phase, got=certificate.phase)
    if certificate.epoch != validators.epoch:
        raise SignatureError("a certificate's epoch", where=where, expected=validators.epoch, got=certificate.epoch)
    in_range = 0 <= certificate.view <= NUMBER_MAX and 1 <= certificate.height <= NUMBER_MAX
    if not in_range or len(certificate.block_hash) != HASH_BYTES:
        raise SignatureError("a certificate's view, height or hash is out of range", where=where)
    if len(certificate.signatures) > validators.n:
        raise SignatureError(
            "too many signers", where=where, expected=f"at most {validators.n}", got=len(certificate.signatures)
        )
    indexes = [index for index, _ in certificate.signatures]
    if any(a >= b for a, b in pairwise(indexes)):
        raise SignatureError("signers of a certificate", where=where, expected="ascending and distinct", got=indexes)
    if indexes and not (indexes[0] >= 0 and indexes[-1] < validators.n):
        raise SignatureError(
            "signers of a certificate", where=where, expected=f"from 0 to {validators.n - 1}", got=indexes
        )
    if not indexes or len(indexes) < validators.quorum:  # the quorum of an empty set would be 0
        raise SignatureError("too few signers", where=where, expected=validators.quorum, got=len(indexes))
    if any(len(signature) != SIGNATURE_BYTES for _, signature in certificate.signatures):
        raise SignatureError("a signature has the wrong length", where=where, expected=SIGNATURE_BYTES)


def verify_certificate(
    certificate: QuorumCertificate, chain_id: Hash, validators: ValidatorSet, phase: int = COMMIT
) -> None:
    """Raise `SignatureError` unless a quorum of distinct validators signed exactly this statement."""
    check_certificate_shape(certificate, validators, phase)
    message = vote_statement(
        phase, chain_id, certificate.epoch, certificate.view, certificate.height, certificate.block_hash
    )
    for index, signature in certificate.signatures:
        if not verify(validators.validators[index].vote_key, message, signature):
            raise SignatureError(
                "a vote in a certificate does not verify",
                where=f"height {certificate.height}, validator {validators.validators[index].name}",
            )
