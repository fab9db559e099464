"""Evidence as it stands in an event: two signed statements of one key that contradict each other, whole.

Here: the records, what makes two statements a contradiction, and which bytes each signature covers; all of it a pure
function of the body, the chain's id and the accused key, so that anybody can judge it offline. Not here: whose key it
is, what is recorded of it in the state (`ledger.evidence`). Source: architecture §5 (Evidence) and Invariant 8.

Both statements are held in a canonical order, so that one contradiction has one form: votes by block hash,
cosignatures by time, size and root, batch headers by number and hash.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, assert_never

from msgspec import Meta
from msgspec.structs import replace

from ledger.batch_headers import BatchHeader, Bytes32, Bytes64, batch_statement
from ledger.kinds import RuleBroken
from primitives.encoding import Record
from primitives.errors import InputError, ProofError
from primitives.hashing import SUITE
from primitives.ids import ZERO_HASH, Epoch, Hash, Height, View
from primitives.notes import Checkpoint, cosign_statement
from primitives.validators import VALIDATORS_MAX
from primitives.votes import vote_statement

EVIDENCE_VOTES = 96
EVIDENCE_COSIGNATURES = 97
EVIDENCE_BATCHES = 98

NOT_CONTRADICTORY = "not_contradictory"
BAD_SIGNATURE = "bad_signature"
OTHER_CHAIN = "other_chain"

NUMBER_MAX = 2**53
ORIGIN_CHARACTERS_MAX = 200

Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
Index = Annotated[int, Meta(ge=0, lt=VALIDATORS_MAX)]
Origin = Annotated[str, Meta(min_length=1, max_length=ORIGIN_CHARACTERS_MAX)]

Verifier = Callable[[bytes, bytes, bytes], bool]
"""Says whether (public key, message, signature) holds."""


class SignedVote(Record):
    """What one of two votes says: the block, and the signature for it."""

    block_hash: Bytes32
    signature: Bytes64


class VotesEvidence(Record):
    """A validator's two PREPAREs (phase 1) or COMMITs (phase 2) of one epoch, view and height for different blocks.

    A leader's PRE-PREPARE is its PREPARE.
    """

    epoch: Number
    view: Number
    height: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
    phase: Annotated[int, Meta(ge=1, le=2)]
    validator: Index
    first: SignedVote
    second: SignedVote


class SignedCheckpoint(Record):
    """What one of two cosignatures says: a log's size and root, and the time from which on it vouches for them."""

    size: Number
    root: Bytes32
    time_s: Number
    signature: Bytes64


class CosignaturesEvidence(Record):
    """A validator's two cosignatures: of one size with two roots, or a later one of a smaller log.

    `epoch` and `validator` only say whose key it is: a cosignature covers the origin, size, root and time alone.
    """

    epoch: Number
    validator: Index
    origin: Origin
    first: SignedCheckpoint
    second: SignedCheckpoint


class SignedHeader(Record):
    """A batch header with its source's signature."""

    header: BatchHeader
    signature: Bytes64


class BatchesEvidence(Record):
    """A source's two batch headers: of one number with two hashes, or the second naming another one before it."""

    first: SignedHeader
    second: SignedHeader


EvidenceBody = VotesEvidence | CosignaturesEvidence | BatchesEvidence
TYPES: dict[int, type[EvidenceBody]] = {
    EVIDENCE_VOTES: VotesEvidence,
    EVIDENCE_COSIGNATURES: CosignaturesEvidence,
    EVIDENCE_BATCHES: BatchesEvidence,
}
"""The body of each kind, in its only schema."""


def kind_of(body: EvidenceBody) -> int:
    """Return the kind of an evidence's body."""
    return next(kind for kind, type_ in TYPES.items() if type_ is type(body))


def accused_bytes(body: EvidenceBody) -> bytes:
    """Return whom evidence of a kind names: a source's key, or 8 bytes of a validator's epoch and 2 of its index."""
    if isinstance(body, BatchesEvidence):
        return body.first.header.source
    return body.epoch.to_bytes(8, "big") + body.validator.to_bytes(2, "big")


def arranged(body: EvidenceBody) -> EvidenceBody:
    """Return the same evidence with its statements in their order."""
    if _order(body.first) <= _order(body.second):
        return body
    return replace(body, first=body.second, second=body.first)


def check_order(body: EvidenceBody) -> None:
    """Raise InputError unless the statements stand in their order: the check of the shape of all three kinds."""
    if _order(body.first) > _order(body.second):
        raise InputError("statements of evidence out of order", where="evidence", expected="the smaller one first")


def check_evidence(body: EvidenceBody, chain_id: Hash, key: bytes, verifier: Verifier) -> None:
    """Raise RuleBroken unless both statements bear the signature of `key` and contradict each other on this chain."""
    check_contradiction(body, chain_id)
    for name, (message, signature) in zip(("first", "second"), signed_statements(body, chain_id), strict=True):
        if not verifier(key, message, signature):
            raise RuleBroken(BAD_SIGNATURE, f"the {name} statement is not signed by {key.hex()}")


def check_contradiction(body: EvidenceBody, chain_id: Hash) -> None:
    """Raise RuleBroken unless no honest signer could have signed both statements; signatures are not looked at."""
    match body:
        case VotesEvidence(first=first, second=second):
            if first.block_hash == second.block_hash:
                raise RuleBroken(NOT_CONTRADICTORY, "both votes are for one block")
        case CosignaturesEvidence(first=cosigned, second=later):
            if not body.origin.endswith(f"/{chain_id.hex()}"):
                raise RuleBroken(OTHER_CHAIN, f"the origin is {body.origin}")
            _check_cosignatures(cosigned, later)
        case BatchesEvidence(first=batch, second=other):
            _check_headers(batch.header, other.header, chain_id)
        case _:
            assert_never(body)


def _check_cosignatures(first: SignedCheckpoint, second: SignedCheckpoint) -> None:
    """One size has one root; and who cosigns at a time vouches that it knows of no larger log before (C2SP)."""
    other_root = first.size == second.size and first.root != second.root
    fell = first.time_s < second.time_s and first.size > second.size
    if not (other_root or fell):
        raise RuleBroken(NOT_CONTRADICTORY, f"size {first.size} at {first.time_s}, then {second.size}")


def _check_headers(first: BatchHeader, second: BatchHeader, chain_id: Hash) -> None:
    for header in (first, second):
        if header.chain_id != chain_id:
            raise RuleBroken(OTHER_CHAIN, f"batch {header.number} is of chain {header.chain_id.hex()}")
        if header.suite != SUITE or (header.number == 0 and header.previous != ZERO_HASH):
            raise RuleBroken(NOT_CONTRADICTORY, f"batch {header.number} is malformed, and so no block could hold it")
    if first.source != second.source:
        raise RuleBroken(NOT_CONTRADICTORY, "the batches are of two sources")
    one_number = first.number == second.number and first.hash() != second.hash()
    other_before = first.number + 1 == second.number and first.hash() != second.previous
    if not (one_number or other_before):
        raise RuleBroken(NOT_CONTRADICTORY, f"batches {first.number} and {second.number} may both be")


def signed_statements(body: EvidenceBody, chain_id: Hash) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    """Return (message, signature) of both statements: what the accused key must have signed."""
    match body:
        case VotesEvidence(first=first, second=second):
            return _vote(body, first, chain_id), _vote(body, second, chain_id)
        case CosignaturesEvidence(first=cosigned, second=later):
            return _cosigned(body.origin, cosigned), _cosigned(body.origin, later)
        case BatchesEvidence(first=batch, second=other):
            return (
                (batch_statement(batch.header), batch.signature),
                (batch_statement(other.header), other.signature),
            )
        case _:
            assert_never(body)


def _vote(body: VotesEvidence, vote: SignedVote, chain_id: Hash) -> tuple[bytes, bytes]:
    place = Epoch(body.epoch), View(body.view), Height(body.height)
    return vote_statement(body.phase, chain_id, *place, Hash(vote.block_hash)), vote.signature


def _cosigned(origin: str, checkpoint: SignedCheckpoint) -> tuple[bytes, bytes]:
    try:
        text = Checkpoint(origin, checkpoint.size, Hash(checkpoint.root)).text()
    except ProofError as error:  # no such note can be, so nobody's signature covers it
        raise RuleBroken(BAD_SIGNATURE, error.what) from None
    return cosign_statement(text, checkpoint.time_s), checkpoint.signature


def _order(statement: SignedVote | SignedCheckpoint | SignedHeader) -> tuple[int | bytes, ...]:
    match statement:
        case SignedVote():
            return (statement.block_hash,)
        case SignedCheckpoint():
            return statement.time_s, statement.size, statement.root
        case SignedHeader():
            return statement.header.number, statement.header.hash()
        case _:
            assert_never(statement)
