"""Whether a message may enter the replica: shape, bounds and signatures; a pure function of the message and the sets.

The replica takes only what comes out of here. Which signatures are checked, and by what scheme, is the `Verifier`'s:
Ed25519 in production, a stand-in in simulations where speed matters more than signatures. Nothing here looks at the
replica's view or height, so verification may run in any order and in any thread.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, Protocol, assert_never

from msgspec import Struct

from consensus.messages import (
    BLOCKS_PER_FETCH_MAX,
    PROPOSALS_PER_FETCH_MAX,
    TIME_MS_MAX,
    VIEW_MAX,
    WINDOW,
    Blocks,
    CheckpointVote,
    Claim,
    CosignatureEvidence,
    Evidence,
    FetchBlocks,
    FetchProposals,
    Message,
    NewView,
    PrePrepare,
    Proposals,
    Status,
    ViewChange,
    Vote,
)
from primitives import keys
from primitives.block import Block, CommittedBlock, batches_root
from primitives.errors import InputError, SignatureError
from primitives.hashing import RULES_FIRST, SUITE
from primitives.ids import Epoch, Hash
from primitives.notes import Checkpoint, cosign_statement
from primitives.validators import Validator, ValidatorSet
from primitives.votes import COMMIT, PHASES, PREPARE, QuorumCertificate, check_certificate_shape, vote_statement

HEIGHT_MAX: Final = 2**53
RULES_MAX: Final = 2**16 - 1
BATCHES_PER_BLOCK_MAX: Final = 256


class WrongEpoch(InputError):
    """A message belongs to an epoch whose validators are not known here: no fault of its sender."""

    reason = "wrong_epoch"


class Verifier(Protocol):
    """Checks one signature."""

    def __call__(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """Say whether the signature is valid."""


class Verified(Struct, frozen=True):
    """A message that passed `verify`; made nowhere else."""

    message: Message


class Verification(Struct, frozen=True):
    """What messages are verified against: the chain, and the validator sets known by epoch (newest and the one before).

    `origin` is the log's name in checkpoints; `previous` is None in the first epoch.
    """

    chain_id: Hash
    origin: str
    validators: ValidatorSet
    previous: ValidatorSet | None = None
    verifier: Verifier = keys.verify

    def set_of(self, epoch: Epoch) -> ValidatorSet:
        """Return the set of an epoch; `WrongEpoch` where it is not known."""
        if epoch == self.validators.epoch:
            return self.validators
        if self.previous is not None and epoch == self.previous.epoch:
            return self.previous
        raise WrongEpoch("a message of another epoch", expected=self.validators.epoch, got=epoch)


def verify(message: Message, known: Verification) -> Verified:
    """Return the message as verified; `InputError` (often `SignatureError`) says what is wrong with it."""
    match message:
        case PrePrepare():
            _verify_pre_prepare(message, known)
        case Vote():
            _verify_vote(message, known)
        case ViewChange():
            _verify_view_change(message, known)
        case NewView():
            _verify_new_view(message, known)
        case CheckpointVote():
            _verify_checkpoint(message, known)
        case Status():
            _check_range("view", message.view, 0, VIEW_MAX)
            _check_range("height", message.delivered, 0, HEIGHT_MAX)
        case FetchBlocks():
            _check_range("start", message.start, 1, HEIGHT_MAX)
            _check_range("count", message.count, 1, BLOCKS_PER_FETCH_MAX)
        case Blocks():
            for committed in message.blocks:
                verify_committed(committed, known)
        case FetchProposals():
            _check_range("hashes", len(message.hashes), 1, PROPOSALS_PER_FETCH_MAX)
        case Proposals():
            for block in message.blocks:
                check_block(block, known.chain_id)
        case Evidence():
            _verify_evidence(message, known)
        case CosignatureEvidence():
            _verify_cosignature_evidence(message, known)
        case _:
            assert_never(message)
    return Verified(message)


def check_block(block: Block, chain_id: Hash) -> None:
    """Raise `InputError` unless a block's header is of this chain and protocol and names its list of batches."""
    header = block.header
    where = f"block {header.height}"
    if header.suite != SUITE:
        raise InputError("a block of another suite", where=where, expected=SUITE, got=header.suite)
    # Which version a block carries is the chain's to say, by the state after its parent: execution judges it.
    _check_range("rules version", header.version, RULES_FIRST, RULES_MAX)
    if header.chain_id != chain_id:
        raise InputError("a block of another chain", where=where, expected=bytes(chain_id), got=bytes(header.chain_id))
    _check_range("height", header.height, 1, HEIGHT_MAX)
    _check_range("block time", header.time_ms, 0, TIME_MS_MAX)
    if len(block.batch_hashes) > BATCHES_PER_BLOCK_MAX:
        raise InputError("batches of a block", where=where, expected=f"at most {BATCHES_PER_BLOCK_MAX}")
    if batches_root(block.batch_hashes) != header.batches_root:
        raise InputError("a block's list of batches is not the one its header names", where=where)


def verify_committed(committed: CommittedBlock, known: Verification) -> None:
    """Raise unless a committed block's certificate is a quorum's of its epoch, for exactly this block."""
    block, certificate = committed.block, committed.certificate
    check_block(block, known.chain_id)
    if certificate is None:
        raise SignatureError("a committed block lacks its certificate", where=f"block {block.header.height}")
    if certificate.block_hash != block.header.hash() or certificate.height != block.header.height:
        raise SignatureError("a certificate names another block", where=f"block {block.header.height}")
    if certificate.epoch != block.header.epoch:
        raise SignatureError("a certificate of another epoch than its block's", expected=block.header.epoch)
    _verify_certificate(certificate, known, COMMIT)


def _verify_certificate(certificate: QuorumCertificate, known: Verification, phase: int) -> None:
    validators = known.set_of(certificate.epoch)
    check_certificate_shape(certificate, validators, phase)
    message = vote_statement(
        phase, known.chain_id, certificate.epoch, certificate.view, certificate.height, certificate.block_hash
    )
    for index, signature in certificate.signatures:
        if not known.verifier(validators.validators[index].vote_key, message, signature):
            raise SignatureError("a vote in a certificate does not verify", where=f"validator {index}")


def _verify_pre_prepare(message: PrePrepare, known: Verification) -> None:
    validators = known.set_of(message.epoch)
    header = message.block.header
    _check_range("view", message.view, 0, VIEW_MAX)
    check_block(message.block, known.chain_id)
    if header.epoch != message.epoch:
        raise InputError("a proposal's block is of another epoch", expected=message.epoch, got=header.epoch)
    leader = validators.validators[validators.leader(message.view)]
    signed = vote_statement(PREPARE, known.chain_id, message.epoch, message.view, header.height, header.hash())
    if not known.verifier(leader.vote_key, signed, message.signature):
        raise SignatureError("a proposal is not signed by its view's leader", where=f"leader {leader.name}")


def _verify_vote(vote: Vote, known: Verification) -> None:
    _check_range("view", vote.view, 0, VIEW_MAX)
    _check_range("height", vote.height, 1, HEIGHT_MAX)
    if vote.phase not in PHASES:
        raise InputError("unknown phase of a vote", expected=sorted(PHASES), got=vote.phase)
    validator = _validator(known.set_of(vote.epoch), vote.validator)
    signed = vote_statement(vote.phase, known.chain_id, vote.epoch, vote.view, vote.height, vote.block_hash)
    if not known.verifier(validator.vote_key, signed, vote.signature):
        raise SignatureError("a vote does not verify", where=f"validator {validator.name}")


def _verify_view_change(change: ViewChange, known: Verification) -> None:
    validator = _validator(known.set_of(change.epoch), change.validator)
    where = f"VIEW-CHANGE of {validator.name}"
    _check_range("view", change.view, 1, VIEW_MAX)
    if not known.verifier(validator.vote_key, change.statement(known.chain_id), change.signature):
        raise SignatureError("a VIEW-CHANGE does not verify", where=where)
    _verify_delivered(change, known, where)
    base = change.delivered_height
    heights = [claim.certificate.height for claim in change.claims]
    if len(heights) > WINDOW or any(not base < height <= base + WINDOW for height in heights):
        raise InputError("claims outside the window", where=where, expected=f"{base + 1} to {base + WINDOW}")
    if any(a >= b for a, b in pairwise(heights)):
        raise InputError("claims of a VIEW-CHANGE", where=where, expected="ascending heights", got=heights)
    for claim in change.claims:
        _verify_claim(claim, change, known, where)


def _verify_delivered(change: ViewChange, known: Verification, where: str) -> None:
    """Check the chain of commit certificates: gapless, and back to the genesis block, a whole window, or an old epoch.

    Each is of the change's epoch or the one before, and verified: an unverified one could claim any base.
    """
    chain = change.delivered
    if len(chain) > WINDOW:
        raise InputError("certificates of a VIEW-CHANGE", where=where, expected=f"at most {WINDOW}", got=len(chain))
    whole = not chain or chain[0].epoch == change.epoch - 1 or len(chain) == min(WINDOW, chain[-1].height)
    if not whole:
        raise InputError("a VIEW-CHANGE leaves out certificates", where=where, expected=min(WINDOW, chain[-1].height))
    for lower, upper in pairwise(chain):
        if upper.height != lower.height + 1 or upper.epoch < lower.epoch:
            raise InputError("certificates of a VIEW-CHANGE have a gap", where=where, expected=lower.height + 1)
    if any(not change.epoch - 1 <= certificate.epoch <= change.epoch for certificate in chain):
        raise InputError("a VIEW-CHANGE rests on another epoch", where=where, expected=f"{change.epoch} or the last")
    for certificate in chain:
        _verify_certificate(certificate, known, COMMIT)


def _verify_claim(claim: Claim, change: ViewChange, known: Verification, where: str) -> None:
    certificate = claim.certificate
    check_block(claim.block, known.chain_id)
    if certificate.view >= change.view:
        raise InputError("a claim of the target view or above", where=where, expected=f"below {change.view}")
    if certificate.epoch != change.epoch or claim.block.header.epoch != change.epoch:
        raise InputError("a claim of another epoch", where=where, expected=change.epoch, got=certificate.epoch)
    if certificate.block_hash != claim.block.header.hash() or certificate.height != claim.block.header.height:
        raise InputError("a claim's certificate names another block", where=where)
    _verify_certificate(certificate, known, PREPARE)


def _verify_new_view(message: NewView, known: Verification) -> None:
    validators = known.set_of(message.epoch)
    _check_range("view", message.view, 1, VIEW_MAX)
    leader = validators.validators[validators.leader(message.view)]
    where = f"NEW-VIEW {message.view} of {leader.name}"
    if not known.verifier(leader.vote_key, message.statement(known.chain_id), message.signature):
        raise SignatureError("a NEW-VIEW is not signed by its leader", where=where)
    signers = [change.validator for change in message.view_changes]
    if any(a >= b for a, b in pairwise(signers)):
        raise InputError("VIEW-CHANGEs of a NEW-VIEW", where=where, expected="ascending distinct validators")
    if len(signers) != validators.quorum:
        raise InputError("VIEW-CHANGEs of a NEW-VIEW", where=where, expected=validators.quorum, got=len(signers))
    for change in message.view_changes:
        if change.view != message.view or change.epoch != message.epoch:
            raise InputError("a VIEW-CHANGE for another view", where=where, expected=message.view, got=change.view)
        _verify_view_change(change, known)


def _verify_checkpoint(vote: CheckpointVote, known: Verification) -> None:
    validator = _validator(known.set_of(vote.epoch), vote.validator)
    _check_range("height", vote.height, 0, HEIGHT_MAX)
    _check_range("size", vote.size, 1, HEIGHT_MAX)
    _check_range("time", vote.time_s, 0, TIME_MS_MAX // 1_000)
    if len(vote.root) != 32:
        raise InputError("a checkpoint's root has the wrong length", expected=32, got=len(vote.root))
    text = Checkpoint(known.origin, vote.size, vote.root).text()
    if not known.verifier(validator.cosign_key, cosign_statement(text, vote.time_s), vote.signature):
        raise SignatureError("a cosignature does not verify", where=f"validator {validator.name}")


def _verify_evidence(evidence: Evidence, known: Verification) -> None:
    first, second = evidence.first, evidence.second
    same = (first.epoch, first.view, first.height, first.phase, first.validator)
    if same != (second.epoch, second.view, second.height, second.phase, second.validator):
        raise InputError("two votes that do not contradict each other", where="evidence")
    if first.block_hash == second.block_hash:
        raise InputError("two votes for the same block", where="evidence", expected="different blocks")
    _verify_vote(first, known)
    _verify_vote(second, known)


def _verify_cosignature_evidence(evidence: CosignatureEvidence, known: Verification) -> None:
    first, second = evidence.first, evidence.second
    if (first.epoch, first.validator) != (second.epoch, second.validator):
        raise InputError("cosignatures of two validators", where="evidence", expected=first.validator)
    if not are_contradictory(first, second):
        raise InputError("two cosignatures that do not contradict each other", where="evidence")
    _verify_checkpoint(first, known)
    _verify_checkpoint(second, known)


def are_contradictory(one: CheckpointVote, other: CheckpointVote) -> bool:
    """Say whether no honest validator signs both: one size has one root, and no later cosignature a smaller log."""
    if one.size == other.size:
        return one.root != other.root
    return one.time_s != other.time_s and (one.time_s < other.time_s) is (one.size > other.size)


def _validator(validators: ValidatorSet, index: int) -> Validator:
    if not 0 <= index < validators.n:
        raise SignatureError("no such validator", expected=f"an index below {validators.n}", got=index)
    return validators.validators[index]


def _check_range(what: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise InputError(f"{what} out of range", expected=f"{lowest} to {highest}", got=value)
