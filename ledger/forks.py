"""Two signed checkpoints of one log that cannot both be true: what a monitor keeps, and what convinces everybody else.

A **fork** gives one size two roots, or is a smaller log that the larger one does not extend. Of the latter two notes
alone say nothing, so the larger log's proof goes with them: its first leaves, as many as the smaller log has, have
another root. A **rollback** is a smaller log, not of another history, that one who had cosigned the larger one cosigned
at a later time: who cosigns vouches that it knows of no larger log. A smaller checkpoint that was signed before is no
contradiction: a node may be behind. Pure. Not here: who watches (`chainnode.monitoring`).
Source: C2SP tlog-cosignature; RFC 6962 section 2.1.2; architecture §5 (Checkpoints, Evidence).

The text, whose notes are as they were received:

    chainnode.fork@v1
    extra BASE64

    NOTE OF THE SMALLER LOG, or of the one seen first

    NOTE OF THE OTHER
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from ledger.handovers import HANDOVERS_BYTES_MAX, HANDOVERS_MAX, Handover
from ledger.proof_steps import CONTRADICTION, EXTRA, TEXT, step
from ledger.trust_policy import CheckedCheckpoint, TrustPolicy, parse_policy
from primitives.encoding import Record, decode, encode
from primitives.errors import EncodingError, ProofError
from primitives.ids import HASH_BYTES, Hash
from primitives.merkle import PATH_HASHES_MAX, verify_consistency

HEADING = "chainnode.fork@v1"
VERSION = 1
EXTRA_BYTES_MAX = HANDOVERS_BYTES_MAX + (PATH_HASHES_MAX + 2) * (HASH_BYTES + 2) + 64
FORK_TEXT_MAX = 8 << 20
_PARTS = 5  # the head; text and signatures of each note


class Contradiction(StrEnum):
    """In what way two checkpoints contradict each other."""

    ONE_SIZE = "one size, two roots"
    OTHER_HISTORY = "the larger log does not extend the smaller one"
    ROLLBACK = "a smaller log was signed after the larger one"


class ForkExtra(Record):
    """What the two notes do not say: how later epochs came about, and what the larger log's first leaves really are.

    `prefix_root` is the root of the larger log's first leaves, as many as the smaller one has, and `path` the proof
    that the larger log extends those; both empty where the notes alone contradict each other.
    """

    version: int
    prefix_root: bytes
    path: Annotated[tuple[Hash, ...], Meta(max_length=PATH_HASHES_MAX)]
    handovers: Annotated[tuple[Handover, ...], Meta(max_length=HANDOVERS_MAX)]


@dataclass(frozen=True, slots=True)
class Fork:
    """Two notes, the smaller log's first, and what proves that they contradict each other."""

    first: str
    second: str
    extra: ForkExtra

    def text(self) -> str:
        """Return the text that is kept and handed on."""
        return f"{HEADING}\nextra {base64.b64encode(encode(self.extra)).decode()}\n\n{self.first}\n{self.second}"


@dataclass(frozen=True, slots=True)
class ForkVerdict:
    """What a fork's text proves; `accused` names the cosigners whose own statements contradict each other."""

    contradiction: Contradiction
    first: CheckedCheckpoint
    second: CheckedCheckpoint
    accused: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What happened, for a person."""
        first, second = self.first.checkpoint, self.second.checkpoint
        return f"{first.origin}: {self.contradiction.value} (sizes {first.size} and {second.size})"


def make_fork(
    first: str, second: str, handovers: Sequence[Handover], prefix_root: bytes = b"", path: Sequence[Hash] = ()
) -> Fork:
    """Return a fork of two notes, the smaller log's first."""
    return Fork(first, second, ForkExtra(VERSION, prefix_root, tuple(path), tuple(handovers)))


def went_back(larger: CheckedCheckpoint, smaller: CheckedCheckpoint) -> tuple[str, ...]:
    """Return the cosigners that signed a smaller log at a later time than the larger one."""
    before = dict(larger.times)
    return tuple(key.name for key, time_s in smaller.times if key in before and before[key] < time_s)


def parse_fork(text: str) -> Fork:
    """Return the fork of a text; ProofError where it is malformed or spelled in another way."""
    if len(text) > FORK_TEXT_MAX:
        raise ProofError("fork too large", where=TEXT, expected=f"at most {FORK_TEXT_MAX} characters", got=len(text))
    parts = text.split("\n\n")
    head = parts[0].split("\n")
    if len(parts) != _PARTS or len(head) != 2 or head[0] != HEADING or not head[1].startswith("extra "):
        raise ProofError(
            "not a fork", where=TEXT, expected=f"{HEADING}, extra BASE64, and two signed notes after empty lines"
        )
    encoded = head[1].removeprefix("extra ")
    try:
        extra = decode(ForkExtra, base64.b64decode(encoded, validate=True), size_max=EXTRA_BYTES_MAX)
    except (binascii.Error, ValueError):
        raise ProofError("not base64", where=EXTRA, got=encoded) from None
    except EncodingError as error:
        raise ProofError(error.what, where=EXTRA, expected=error.expected, got=error.got) from None
    if extra.version != VERSION:
        raise ProofError("fork of another version", where=EXTRA, expected=VERSION, got=extra.version)
    fork = Fork(f"{parts[1]}\n\n{parts[2]}\n", f"{parts[3]}\n\n{parts[4]}", extra)
    if fork.text() != text:
        raise ProofError(
            "fork spelled in another way", where=TEXT, expected="canonical base64, one empty line between the parts"
        )
    return fork


def verify_fork(text: str, policy_text: str) -> ForkVerdict:
    """Return what a fork's text proves under a policy; ProofError where its notes do not contradict each other."""
    return judge_fork(parse_fork(text), parse_policy(policy_text))


def judge_fork(fork: Fork, policy: TrustPolicy) -> ForkVerdict:
    """Return what a fork proves under a policy; ProofError where its notes do not contradict each other."""
    first = _accepted(fork.first, policy, fork.extra.handovers, "the first note")
    second = _accepted(fork.second, policy, fork.extra.handovers, "the second note")
    with step(CONTRADICTION):
        return _contradiction(fork, first, second)


def _contradiction(fork: Fork, first: CheckedCheckpoint, second: CheckedCheckpoint) -> ForkVerdict:
    """Return in what way two accepted checkpoints contradict each other; ProofError where they do not."""
    small, large = first.checkpoint, second.checkpoint
    if small.origin != large.origin:
        raise ProofError("checkpoints of two logs", expected=small.origin, got=large.origin)
    if small.size > large.size:
        raise ProofError("notes in the wrong order", expected="the smaller log first", got=f"{small.size} first")
    if small.size == large.size:
        if small.root == large.root:
            raise ProofError("checkpoints do not contradict each other", where=f"size {small.size}", got="one root")
        return ForkVerdict(Contradiction.ONE_SIZE, first, second, _both(first, second))
    back = went_back(second, first)
    if not fork.extra.prefix_root:
        if not back:
            raise ProofError(
                "checkpoints do not contradict each other",
                where=f"sizes {small.size} and {large.size}",
                expected="a proof of another history, or a cosigner that signed the smaller one later",
                got="neither",
            )
        return ForkVerdict(Contradiction.ROLLBACK, first, second, back)
    verify_consistency(small.size, fork.extra.prefix_root, large.size, large.root, fork.extra.path)
    if fork.extra.prefix_root == small.root:
        raise ProofError("checkpoints do not contradict each other", where=f"size {small.size}", got="one history")
    return ForkVerdict(Contradiction.OTHER_HISTORY, first, second, _both(first, second))


def _accepted(note: str, policy: TrustPolicy, handovers: Sequence[Handover], where: str) -> CheckedCheckpoint:
    try:
        return policy.check(note, handovers)
    except ProofError as error:
        inside = f"{where}{': ' + error.where if error.where else ''}"
        raise ProofError(error.what, where=inside, expected=error.expected, got=error.got) from None


def _both(first: CheckedCheckpoint, second: CheckedCheckpoint) -> tuple[str, ...]:
    """Return the cosigners of both checkpoints."""
    others = {key for key, _ in second.times}
    return tuple(key.name for key, _ in first.times if key in others)
