"""A stand-in for Ed25519 in simulations: as binding to key and message, and thirty times as fast.

Only the simulator uses it. Whoever knows the public key could forge, which no simulated validator does unless it is
meant to; forged and altered messages are refused as in production.
"""

from __future__ import annotations

from hashlib import sha256

from ledger.batches import ParsedBatch, verify_batch
from ledger.evidence import evidence_kinds
from ledger.kinds import assemble
from ledger.registry import KINDS
from primitives.ids import Hash


def stand_in_signature(public: bytes, message: bytes) -> bytes:
    """Return 64 bytes bound to key and message."""
    return sha256(b"stand-in" + public + message).digest() * 2


def stand_in_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether a stand-in signature is valid."""
    return signature == stand_in_signature(public, message)


STAND_IN_KINDS = {**KINDS, **assemble(evidence_kinds(votes=stand_in_verify))}
"""The kinds of event with evidence of validators verified by the stand-in; sources sign with their real keys."""


class StandInSigner:
    """Signs with the stand-in for a validator's two public keys."""

    def __init__(self, vote_key: bytes, cosign_key: bytes) -> None:
        self._vote_key, self._cosign_key = vote_key, cosign_key

    @property
    def vote_key(self) -> bytes:
        """The voting key's public part."""
        return self._vote_key

    def sign_vote(self, statement: bytes) -> bytes:
        """Return the voting key's signature."""
        return stand_in_signature(self._vote_key, statement)

    def cosign(self, statement: bytes) -> bytes:
        """Return the cosigning key's signature."""
        return stand_in_signature(self._cosign_key, statement)


class BatchChecks:
    """Verifies the signatures of batches, which are real, once for all nodes of a simulation."""

    def __init__(self) -> None:
        self._sound: set[tuple[Hash, bytes]] = set()

    def __call__(self, batch: ParsedBatch) -> None:
        """Raise `SignatureError` as `verify_batch` does."""
        key = batch.hash, batch.signature
        if key not in self._sound:
            verify_batch(batch)
            self._sound.add(key)
