"""Outcomes: what became of each event of a block, and the Merkle root over all of them.

Which rules exist is up to the kinds; the rules below are those that the execution itself applies to every event.
Source: architecture §4 (outcomes). A block's outcomes root is the RFC 6962 root over leaves of up to 32 outcomes; leaf
i is the canonical encoding of the array of the outcomes of events 32·i up to 32·i + 31 (fewer in the last leaf), an
outcome being the array `[code, rule, detail]`. So one outcome is proved by its leaf, its place in it and a path.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Annotated

from msgspec import Meta

from primitives import merkle
from primitives.encoding import Record, decode, encode
from primitives.errors import ProofError
from primitives.hashing import node_hash
from primitives.ids import Hash

OUTCOMES_A_LEAF = 32
ROOTS_CACHED = 1_024
DETAIL_LENGTH_MAX = 200
CODE_APPLIED = 0
CODE_REJECTED = 1
OUTCOME_LEAF_SIZE_MAX = OUTCOMES_A_LEAF * (4 * (64 + DETAIL_LENGTH_MAX) + 16)

# The rules that hold for every event; `detail` then says what was expected and what was found.
EXPIRED = "expired"
EXPIRES_TOO_LATE = "expires_too_late"
NOT_PERMITTED = "not_permitted"
KIND_NOT_ENABLED = "kind_not_enabled"
DUPLICATE = "duplicate"
CONFLICT = "conflict"
TOO_MANY_IN_BLOCK = "too_many_in_block"


class Outcome(Record):
    """What became of an event: `code` 0 with an empty rule is applied, `code` 1 names the rule that it broke."""

    code: Annotated[int, Meta(ge=0, le=1)]
    rule: Annotated[str, Meta(max_length=64)]
    detail: Annotated[str, Meta(max_length=DETAIL_LENGTH_MAX)]

    @property
    def applied(self) -> bool:
        """Whether the event took effect."""
        return self.code == CODE_APPLIED


APPLIED = Outcome(CODE_APPLIED, "", "")
_ALL_APPLIED_LEAF_HASH = sha256(b"\0" + encode([APPLIED] * OUTCOMES_A_LEAF)).digest()


def rejected(rule: str, detail: str = "") -> Outcome:
    """Return the outcome of an event that broke `rule` (a snake-case slug); the detail is cut at its limit."""
    return Outcome(CODE_REJECTED, rule, detail[:DETAIL_LENGTH_MAX])


def rejected_of(outcomes: Sequence[Outcome]) -> tuple[tuple[int, Outcome], ...]:
    """Return the index and outcome of each event that was not applied."""
    if outcomes.count(APPLIED) == len(outcomes):
        return ()  # nearly every block, at a hundredth of the cost
    return tuple((index, outcome) for index, outcome in enumerate(outcomes) if not outcome.applied)


def outcome_leaf(outcomes: Sequence[Outcome], leaf: int) -> bytes:
    """Return the bytes of leaf number `leaf` of the outcomes tree."""
    start = leaf * OUTCOMES_A_LEAF
    return encode(list(outcomes[start : start + OUTCOMES_A_LEAF]))


def leaf_hashes(outcomes: Sequence[Outcome]) -> list[Hash]:
    """Return the hashes of the leaves of the outcomes tree."""
    parts = (list(outcomes[at : at + OUTCOMES_A_LEAF]) for at in range(0, len(outcomes), OUTCOMES_A_LEAF))
    return [_leaf_hash(part) for part in parts]


def _leaf_hash(part: list[Outcome]) -> Hash:
    if len(part) == OUTCOMES_A_LEAF and part.count(APPLIED) == OUTCOMES_A_LEAF:
        return Hash(_ALL_APPLIED_LEAF_HASH)
    return Hash(sha256(b"\0" + encode(part)).digest())


def outcomes_root(outcomes: Sequence[Outcome]) -> Hash:
    """Return the root that a block header carries over the outcomes of its events."""
    if not outcomes or outcomes.count(APPLIED) < len(outcomes):
        return merkle.root_of(leaf_hashes(outcomes))
    return _applied_root(0, _leaf_count(len(outcomes)), len(outcomes))  # nearly every block


class OutcomeProof(Record):
    """The leaf that holds one outcome and the path from that leaf to the outcomes root."""

    leaf: bytes
    path: list[Hash]


def prove_outcome(outcomes: Sequence[Outcome], index: int) -> OutcomeProof:
    """Return the proof for the event at `index` (0-based) of the block."""
    leaf = index // OUTCOMES_A_LEAF
    if outcomes.count(APPLIED) < len(outcomes):
        return OutcomeProof(outcome_leaf(outcomes, leaf), merkle.inclusion_path(leaf_hashes(outcomes), leaf))
    ranges = merkle.inclusion_ranges(leaf, _leaf_count(len(outcomes)))
    return OutcomeProof(outcome_leaf(outcomes, leaf), [_applied_root(*part, len(outcomes)) for part in ranges])


def _leaf_count(events: int) -> int:
    return -(-events // OUTCOMES_A_LEAF)


def _applied_root(start: int, stop: int, count: int) -> Hash:
    """Return the root of leaves [start, stop) of a block of `count` events that were all applied; O(log count)."""
    if stop * OUTCOMES_A_LEAF <= count:
        return _root_of_whole(stop - start)
    if stop - start == 1:
        return _leaf_hash([APPLIED] * (count - start * OUTCOMES_A_LEAF))
    middle = start + merkle.split(stop - start)
    return node_hash(_applied_root(start, middle, count), _applied_root(middle, stop, count))


@lru_cache(maxsize=ROOTS_CACHED)
def _root_of_whole(leaves: int) -> Hash:
    """Return the root of that many leaves of OUTCOMES_A_LEAF applied events each."""
    if leaves == 1:
        return Hash(_ALL_APPLIED_LEAF_HASH)
    left = merkle.split(leaves)
    return node_hash(_root_of_whole(left), _root_of_whole(leaves - left))


def verify_outcome(proof: OutcomeProof, root: Hash, event_count: int, index: int) -> Outcome:
    """Return the outcome of event `index` of a block of `event_count` events; ProofError where it does not hold."""
    if not 0 <= index < event_count:
        raise ProofError("outcome outside of its block", expected=f"index below {event_count}", got=index)
    leaf = index // OUTCOMES_A_LEAF
    merkle.verify_inclusion(root, _leaf_count(event_count), leaf, Hash(sha256(b"\0" + proof.leaf).digest()), proof.path)
    outcomes = decode(list[Outcome], proof.leaf, size_max=OUTCOME_LEAF_SIZE_MAX)
    expected = min(OUTCOMES_A_LEAF, event_count - leaf * OUTCOMES_A_LEAF)
    if len(outcomes) != expected:
        raise ProofError("leaf of outcomes has another length", expected=expected, got=len(outcomes))
    return outcomes[index % OUTCOMES_A_LEAF]
