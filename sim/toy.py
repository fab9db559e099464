"""A toy application for the real replica: what runs of many replicas use where whole cores would be too slow.

A batch is any 32-byte hash. Executing a block hashes its batches onto the parent's state; a batch that is registered in
`ToyApplication.set_changes` changes the validator set. Keys are derived from names, for the stand-in signatures.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from consensus.ports import Invalid, LogHead, Missing, Ready, Verdict
from primitives.block import Block, BlockHeader, CommittedBlock, batches_root
from primitives.hashing import PROTOCOL_VERSION, SUITE, leaf_hash
from primitives.ids import ZERO_HASH, Epoch, Hash, Height, MemberId, TimeMs
from primitives.validators import Validator, ValidatorSet

START_MS: Final = TimeMs(1_700_000_000_000)
CHAIN_ID: Final = leaf_hash(b"toy chain")
ORIGIN: Final = "toy"


def validator_of(name: str) -> Validator:
    """Return a validator whose keys are hashes of its name."""
    keys = [sha256(f"{use} {name}".encode()).digest() for use in ("vote", "cosign", "log")]
    return Validator(name, MemberId(name), *keys)


def validators_of(count: int, epoch: int = 0) -> ValidatorSet:
    """Return the set v0, v1, … of an epoch."""
    return ValidatorSet(Epoch(epoch), tuple(validator_of(f"v{index}") for index in range(count)))


def batch_of(number: int) -> Hash:
    """Return the hash that stands for a batch."""
    return leaf_hash(f"batch {number}".encode())


def header_of(
    parent: BlockHeader, batches: tuple[Hash, ...], *, time_ms: int, epoch: int, proposer: int, next_validators: Hash
) -> BlockHeader:
    """Return the header of a block on `parent`, with the roots that executing it gives."""
    state_root = leaf_hash(parent.state_root + b"".join(batches))
    return BlockHeader(
        suite=SUITE,
        version=PROTOCOL_VERSION,
        chain_id=CHAIN_ID,
        height=Height(parent.height + 1),
        epoch=Epoch(epoch),
        parent=parent.hash(),
        time_ms=TimeMs(time_ms),
        proposer=proposer,
        batches_root=batches_root(batches),
        first_index=parent.height,
        event_count=len(batches),
        outcomes_root=ZERO_HASH,
        log_root=state_root,
        state_root=state_root,
        batch_logs_root=ZERO_HASH,
        next_validators=next_validators,
    )


def genesis_of(validators: ValidatorSet) -> BlockHeader:
    """Return the header of height 0."""
    return BlockHeader(
        SUITE, PROTOCOL_VERSION, CHAIN_ID, Height(0), Epoch(0), ZERO_HASH, START_MS, 0, batches_root(()), 0, 0,
        ZERO_HASH, ZERO_HASH, ZERO_HASH, ZERO_HASH, validators.hash,
    )  # fmt: skip


class ToyApplication:
    """Keeps committed blocks in `chain`; `waiting` is what it would propose, `held` what it can execute.

    `poison` holds batches whose blocks do not execute alike here, `lax` skips execution, `accuses` holds a passed-over
    batch against the leader.
    """

    def __init__(self, validators: ValidatorSet) -> None:
        """Begin at the genesis block of a set."""
        self.genesis = genesis_of(validators)
        self.sets = {validators.hash: validators}
        self.set_changes: dict[Hash, ValidatorSet] = {}
        self.chain: list[CommittedBlock] = []
        self.headers: dict[Hash, BlockHeader] = {self.genesis.hash(): self.genesis}
        self.executed: dict[Hash, Block] = {}
        self.held: set[Hash] = set()
        self.waiting: list[Hash] = []
        self.poison: set[Hash] = set()
        self.accuses = False
        self.lax = False
        self.validated: list[Hash] = []

    def change_set(self, batch: Hash, validators: ValidatorSet) -> None:
        """Let a batch change the validator set."""
        self.set_changes[batch] = validators
        self.sets[validators.hash] = validators

    @property
    def tip(self) -> BlockHeader:
        """The newest delivered block's header."""
        return self.chain[-1].block.header if self.chain else self.genesis

    def _ordered(self, parent: Hash) -> set[Hash]:
        ordered = {item for committed in self.chain for item in committed.block.batch_hashes}
        while parent in self.executed:
            ordered.update(self.executed[parent].batch_hashes)
            parent = self.executed[parent].header.parent
        return ordered

    def _open(self, parent: Hash) -> list[Hash]:
        ordered = self._ordered(parent)
        return [item for item in self.waiting if item not in ordered]

    def _header(self, parent: BlockHeader, batches: tuple[Hash, ...], **fields: int) -> BlockHeader:
        changed = [self.set_changes[item] for item in batches if item in self.set_changes]
        following = changed[-1].hash if changed else parent.next_validators
        return header_of(parent, batches, next_validators=following, **fields)

    def propose(self, parent: Hash, height: Height, epoch: Epoch, proposer: int, time_ms: TimeMs) -> Block | None:
        """Propose a block of the first batch that waits."""
        batches = tuple(self._open(parent)[:1])
        if not batches:
            return None
        assert parent in self.headers, "a proposal stands on an executed block"
        header = self._header(self.headers[parent], batches, time_ms=time_ms, epoch=epoch, proposer=proposer)
        assert header.height == height
        block = Block(header, batches)
        self.executed[header.hash()] = block
        self.headers[header.hash()] = header
        return block

    def validate(self, block: Block) -> Verdict:
        """Execute a block on its parent."""
        header = block.header
        self.validated.append(header.hash())
        parent = self.headers.get(header.parent)
        if self.lax:
            lacking = tuple(item for item in block.batch_hashes if item not in self.held)
            return Missing(lacking) if lacking else Ready()
        if parent is None:
            return Invalid("the parent is not known")
        missing = tuple(item for item in block.batch_hashes if item not in self.held)
        if missing:
            return Missing(missing)
        own = self._header(
            parent, block.batch_hashes, time_ms=header.time_ms, epoch=header.epoch, proposer=header.proposer
        )
        if own != header or self.poison & set(block.batch_hashes):
            return Invalid("the roots differ")
        self.executed[header.hash()] = block
        self.headers[header.hash()] = header
        return Ready()

    def deliver(self, committed: CommittedBlock) -> LogHead:
        """Commit an executed block."""
        header = committed.block.header
        assert header.hash() in self.executed, "a delivered block was executed"
        assert header.parent == self.tip.hash()
        self.chain.append(committed)
        del self.executed[header.hash()]
        self.waiting = [item for item in self.waiting if item not in committed.block.batch_hashes]
        return self.head()

    def head(self) -> LogHead:
        """Return the log after the newest delivered block."""
        return LogHead(2 * self.tip.height + 1, leaf_hash(self.tip.hash()))

    def discard(self, block_hash: Hash) -> None:
        """Forget an execution and those on top of it."""
        self.executed.pop(block_hash, None)
        for child in [key for key, block in self.executed.items() if block.header.parent == block_hash]:
            self.discard(child)

    def something_to_order(self) -> bool:
        """Say whether a batch waits."""
        return bool(self._open(self.tip.hash()))

    def waiting_bytes(self, parent: Hash) -> int:
        """Count each waiting batch as a megabyte, so that blocks follow each other at once."""
        return 1_000_000 * len(self._open(parent))

    def view_entered(self, now_ms: TimeMs) -> None:
        """Drop the accusation."""
        del now_ms
        self.accuses = False

    def passed_over(self, now_ms: TimeMs, timeout_ms: int) -> bool:
        """Say whether the test holds something against the leader."""
        del now_ms, timeout_ms
        return self.accuses

    def missing_rules(self) -> str | None:
        """Return nothing: a toy has one set of rules."""
        return None

    def validators(self) -> ValidatorSet:
        """Return the set after the newest delivered block."""
        return self.sets[self.tip.next_validators]
