"""What the replica needs from outside: the application that executes blocks, and the keys that sign.

Both are pure from the replica's point of view: the same calls in the same order give the same answers.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from primitives.block import Block, CommittedBlock
from primitives.ids import Epoch, Hash, Height, TimeMs
from primitives.validators import ValidatorSet


class Ready(Struct, frozen=True):
    """All batches are held and the block, executed on its parent, has the roots that its header names."""


class Missing(Struct, frozen=True):
    """These batches must be fetched before the block can be executed."""

    hashes: tuple[Hash, ...]


class Invalid(Struct, frozen=True):
    """The block cannot follow its parent, or its roots differ; `detail` says which, expected and got."""

    detail: str


Verdict = Ready | Missing | Invalid


class LogHead(Struct, frozen=True):
    """The log after a block, its header's leaf included."""

    size: int
    root: Hash


class Application(Protocol):
    """Executes blocks; never asked to vote."""

    def propose(self, parent: Hash, height: Height, epoch: Epoch, proposer: int, time_ms: TimeMs) -> Block | None:
        """Return a block on `parent`, executed, or None where nothing is to be ordered."""

    def validate(self, block: Block) -> Verdict:
        """Execute a block on its parent, which was validated or delivered before; idempotent."""

    def deliver(self, committed: CommittedBlock) -> LogHead:
        """Commit a validated block at the next height; its rows join the next synced write."""

    def discard(self, block_hash: Hash) -> None:
        """Forget the execution of an undelivered block and of all on top of it."""

    def something_to_order(self) -> bool:
        """Say whether a batch waits that a block on the delivered one could take."""

    def waiting_bytes(self, parent: Hash) -> int:
        """Return how many bytes of batches a block on `parent` could take."""

    def view_entered(self, now_ms: TimeMs) -> None:
        """Start to count anew how long the leader lets batches wait."""

    def passed_over(self, now_ms: TimeMs, timeout_ms: int) -> bool:
        """Say whether the leader keeps passing over a batch that it was offered and had room for."""

    def validators(self) -> ValidatorSet:
        """Return the set that votes on the next height, as of the delivered block."""

    def missing_rules(self) -> str | None:
        """Return why no block can follow the delivered one here: they need rules that this build lacks; else None."""


class Signer(Protocol):
    """One validator's voting and cosigning keys; deterministic."""

    @property
    def vote_key(self) -> bytes:
        """The voting key's public part, empty where there is none: the set must name it for this node to vote."""

    def sign_vote(self, statement: bytes) -> bytes:
        """Return the voting key's signature."""

    def cosign(self, statement: bytes) -> bytes:
        """Return the cosigning key's signature."""
