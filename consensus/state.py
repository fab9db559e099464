"""The replica's mutable state, owned by `replica.Replica` and changed only by the functions of its sibling modules.

Here: what is known per height (`Slot`) and overall (`ReplicaState`), and the list of effects of the current step. Not
here: any rule of the protocol.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from consensus.effects import Effect, Halt, Persist, Refused
from consensus.messages import (
    WINDOW,
    CheckpointVote,
    Claim,
    CosignatureEvidence,
    Evidence,
    NewView,
    PrePrepare,
    Status,
    ViewChange,
    Vote,
)
from consensus.ports import Application, Signer
from consensus.tally import Tally
from primitives.block import Block
from primitives.encoding import Record
from primitives.ids import Epoch, Hash, Height, TimeMs, View
from primitives.validators import ValidatorSet
from primitives.votes import QuorumCertificate

BLOCKS_KEPT_PER_HEIGHT: Final = 8


@dataclass(frozen=True, slots=True)
class Parameters:
    """What an operator or the chain's policy may set; times in milliseconds.

    `lag_ms`, `drift_ms` bound a fresh proposal's time against this node's clock; `timeout_base_ms` doubles up to
    `timeout_max_ms` while nothing commits; a leader waits until nothing is in flight, at most `propose_interval_ms`,
    before it proposes a block that is not full of `propose_bytes`: under load blocks so grow by themselves. For each
    batch but one of its last block it lets `gather_ms` pass between two proposals, `gather_ms_max` at most.
    """

    timeout_base_ms: int = 2_000
    timeout_max_ms: int = 60_000
    lag_ms: int = 10_000
    drift_ms: int = 5_000
    status_interval_ms: int = 1_000
    fetch_timeout_ms: int = 1_000
    propose_interval_ms: int = 25
    propose_bytes: int = 256 * 1024
    gather_ms: int = 2
    gather_ms_max: int = 50
    checkpoint_slot_ms: int = 200
    checkpoint_quiet_ms: int = 500
    checkpoint_idle_ms: int = 60_000


@dataclass(slots=True)
class Slot:
    """What is known of one undelivered height.

    `proposal`, `executed`, `prepare` and `commit` are of the current view; `blocks`, `claim` and the tallies outlive
    view changes. `certificate` is a commit certificate learnt from others; `shown` holds the last view in which a
    validator was sent the leader's signature because it had voted for another block.
    """

    height: Height
    proposal: PrePrepare | None = None
    executed: bool = False
    refused: bool = False
    prepare: Vote | None = None
    commit: Vote | None = None
    voted_ms: TimeMs = field(default_factory=lambda: TimeMs(0))
    blocks: dict[Hash, Block] = field(default_factory=dict)
    prepares: Tally = field(default_factory=Tally)
    commits: Tally = field(default_factory=Tally)
    claim: Claim | None = None
    certificate: QuorumCertificate | None = None
    hashed: tuple[PrePrepare, Hash] | None = None
    shown: dict[int, View] = field(default_factory=dict)

    def hash_of(self, proposal: PrePrepare) -> Hash:
        """Return the hash of a proposal's block; the last one is remembered, since every step asks for it."""
        if self.hashed is None or self.hashed[0] is not proposal:
            self.hashed = (proposal, proposal.block.header.hash())
        return self.hashed[1]

    def keep(self, block_hash: Hash, block: Block) -> None:
        """Remember a block of this height until one is delivered; bounded, the claimed one is never dropped."""
        if block_hash in self.blocks:
            return
        if len(self.blocks) >= BLOCKS_KEPT_PER_HEIGHT:
            claimed = None if self.claim is None else self.claim.certificate.block_hash
            del self.blocks[next(held for held in self.blocks if held != claimed)]
        self.blocks[block_hash] = block

    def leave_view(self) -> None:
        """Forget what belongs to the current view only."""
        self.proposal = self.prepare = self.commit = None
        self.executed = self.refused = False


@dataclass(slots=True)
class Tip:
    """The newest delivered block, and the certificates and hashes of the last ones up to it."""

    height: Height
    hash: Hash
    time_ms: TimeMs
    certificates: tuple[QuorumCertificate, ...] = ()
    recent: dict[Height, Hash] = field(default_factory=dict)


@dataclass(slots=True)
class Checkpoints:
    """Cosignatures on the way to a quorum: per validator its newest ones by height; `head` is the newest block's log.

    `heads` holds the logs after the newest blocks, since a cosignature does not cover the height that it is shown with.
    `counts` says of how many validators they are, by epoch and height: nobody looks for a quorum among too few.
    `own` is the newest cosignature signed here; `due_ms` the time at which the newest block is signed if none follows.
    """

    votes: dict[tuple[Epoch, int], dict[Height, CheckpointVote]] = field(default_factory=dict)
    counts: dict[tuple[Epoch, Height], int] = field(default_factory=dict)
    own: CheckpointVote | None = None
    head: CheckpointHead | None = None
    heads: dict[Height, CheckpointHead] = field(default_factory=dict)
    stable_height: Height = field(default_factory=lambda: Height(0))
    stable_time_s: int = 0
    due_ms: TimeMs | None = None


class CheckpointHead(Struct, frozen=True):
    """The log after the newest delivered block."""

    epoch: Epoch
    height: Height
    size: int
    root: Hash


@dataclass(frozen=True, slots=True)
class Later:
    """What the log says of an epoch above the ledger's, and binds there; `learner` is whether I am one anyway."""

    epoch: Epoch
    learner: bool
    records: tuple[Record, ...]


@dataclass(slots=True)
class ReplicaState:
    """All of a replica's state; `effects` collects the current step's, `moves` counts proposals, votes, deliveries.

    `floor` is a height that this validator had delivered, as its write-ahead log shows; where the ledger stands below
    it (it was lost, the log was not), nothing is signed until it is fetched again: the log's votes above it bind.
    `early` holds one proposal per height of a view that has not begun here: it may overtake its NEW-VIEW. `later` holds
    what the log says of an epoch above the ledger's: until the ledger is there, this node only follows.
    `lacking` holds the height that a peer said it does not hold (any more); `unserved` the last that all who were ahead
    said that of.
    """

    chain_id: Hash
    origin: str
    name: str
    genesis_hash: Hash
    application: Application
    signer: Signer
    parameters: Parameters
    validators: ValidatorSet
    tip: Tip
    learner: bool = False
    previous_validators: ValidatorSet | None = None
    view: View = field(default_factory=lambda: View(0))
    active: bool = True
    new_view: NewView | None = None
    view_changes: dict[int, ViewChange] = field(default_factory=dict)
    chosen: dict[Height, Block] = field(default_factory=dict)
    slots: dict[Height, Slot] = field(default_factory=dict)
    heard_ms: dict[str, TimeMs] = field(default_factory=dict)
    vowed_ms: dict[int, TimeMs] = field(default_factory=dict)
    latest_ms: TimeMs = field(default_factory=lambda: TimeMs(0))
    ticked_ms: TimeMs = field(default_factory=lambda: TimeMs(0))
    barrier_height: Height = field(default_factory=lambda: Height(0))
    early: dict[Height, PrePrepare] = field(default_factory=dict)
    certified_height: Height = field(default_factory=lambda: Height(0))
    floor: Height = field(default_factory=lambda: Height(0))
    later: Later | None = None
    attempts: int = 0
    deadline_ms: TimeMs | None = None
    proposed_ms: TimeMs = field(default_factory=lambda: TimeMs(0))
    proposed_batches: int = 0
    progress_ms: TimeMs = field(default_factory=lambda: TimeMs(0))
    status_due_ms: TimeMs = field(default_factory=lambda: TimeMs(0))
    statuses: dict[str, Status] = field(default_factory=dict)
    fetch_peer: str | None = None
    fetch_due_ms: TimeMs = field(default_factory=lambda: TimeMs(0))
    fetch_start: Height = field(default_factory=lambda: Height(0))
    lacking: dict[str, Height] = field(default_factory=dict)
    unserved: Height = field(default_factory=lambda: Height(0))
    block_due_ms: TimeMs = field(default_factory=lambda: TimeMs(0))
    claim_records: dict[Height, tuple[Record, ...]] = field(default_factory=dict)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    accused: dict[int, Evidence] = field(default_factory=dict)
    accused_cosigners: dict[tuple[Epoch, int], CosignatureEvidence] = field(default_factory=dict)
    halted: str | None = None
    moves: int = 0
    effects: list[Effect] = field(default_factory=list)
    _me: tuple[ValidatorSet, bool, int | None] | None = (
        None  # `me` under this set, as learner or not: asked at every turn
    )

    @property
    def me(self) -> int | None:
        """My index among the validators, or None where I have no vote (an observer, a learner, one that left)."""
        known = self._me
        if known is None or known[0] is not self.validators or known[1] is not self.learner:
            known = self._me = (self.validators, self.learner, self.index_in(self.validators))
        return known[2]

    def index_in(self, validators: ValidatorSet) -> int | None:
        """Return my index in a set, by name and voting key: after a re-keying the old key and the new share a name."""
        index = None if self.learner else validators.indexes.get(self.name)
        if index is None or validators.validators[index].vote_key != self.signer.vote_key:
            return None
        return index

    @property
    def epoch(self) -> Epoch:
        """The current epoch."""
        return self.validators.epoch

    @property
    def leads(self) -> bool:
        """Whether I lead the current view."""
        return self.me == self.validators.leader(self.view)

    @property
    def may_vote(self) -> bool:
        """Whether PREPARE and COMMIT may be signed: in an active view, and no certified height above mine is known."""
        return self.may_vow and self.active and self.certified_height <= self.tip.height

    @property
    def may_vow(self) -> bool:
        """Whether VIEW-CHANGE may be signed: with a vote, and everything at hand that must be claimed."""
        return self.me is not None and self.halted is None and self.tip.height >= self.floor

    def set_of(self, epoch: Epoch) -> ValidatorSet | None:
        """Return the set of this epoch or of the one before; None where it is another."""
        if epoch == self.validators.epoch:
            return self.validators
        if self.previous_validators is not None and epoch == self.previous_validators.epoch:
            return self.previous_validators
        return None

    def voters_among(self, peers: Iterable[str]) -> int:
        """Return how many seats besides mine these peers hold with a vote, as far as their statuses tell.

        Who bears a validator's name may be a learner, or still have the key of an epoch before; who has told nothing
        yet counts. My own name stands for my own seat, whoever bears it.
        """
        others = {name for name in peers if name in self.validators.indexes and name != self.name}
        return sum(self._has_a_vote(name) for name in others)

    def _has_a_vote(self, name: str) -> bool:
        """Say whether a validator's name is borne by who votes in this epoch: a word of another holds for its key."""
        status = self.statuses.get(name)
        if status is None or not status.votes or status.epoch >= self.epoch:
            return status is None or status.votes
        spoken = self.set_of(status.epoch)
        seat = None if spoken is None else spoken.indexes.get(name)
        if spoken is None or seat is None:
            return False
        return spoken.validators[seat].vote_key == self.validators.validators[self.validators.indexes[name]].vote_key

    def slot(self, height: Height) -> Slot:
        """Return the slot of a height, made if need be."""
        if height not in self.slots:
            self.slots[height] = Slot(height)
        return self.slots[height]

    def in_window(self, height: Height, window: int = WINDOW) -> bool:
        """Say whether a height lies in (delivered, delivered + window]."""
        return self.tip.height < height <= self.tip.height + window

    def emit(self, *effects: Effect) -> None:
        """Add effects to the current step."""
        self.effects.extend(effects)

    def persist(self, record: Record) -> None:
        """Write a record before anything of this step is sent."""
        self.effects.append(Persist(record))

    def refuse(self, reason: str, detail: str) -> None:
        """Count a refusal."""
        self.effects.append(Refused(reason, detail))

    def halt(self, reason: str) -> None:
        """Stop for good: safety comes before life."""
        if self.halted is None:
            self.halted = reason
            self.effects.append(Halt(reason))

    def note_time(self, now_ms: TimeMs) -> None:
        """Take note of the clock; where it was set back, set back with it every time that something waits for.

        Otherwise a status due by the wrong clock would leave this node unheard for as long as the clock had been ahead.
        """
        back_ms = self.latest_ms - now_ms
        self.latest_ms = now_ms
        if back_ms <= 0:
            return
        for name in ("status_due_ms", "fetch_due_ms", "progress_ms", "proposed_ms", "ticked_ms"):
            setattr(self, name, TimeMs(getattr(self, name) - back_ms))
        if self.deadline_ms is not None:
            self.deadline_ms = TimeMs(self.deadline_ms - back_ms)
        if self.checkpoints.due_ms is not None:
            self.checkpoints.due_ms = TimeMs(self.checkpoints.due_ms - back_ms)
        self.heard_ms = {name: TimeMs(at_ms - back_ms) for name, at_ms in self.heard_ms.items()}
        self.vowed_ms = {index: TimeMs(at_ms - back_ms) for index, at_ms in self.vowed_ms.items()}
        for slot in self.slots.values():
            slot.voted_ms = TimeMs(slot.voted_ms - back_ms)

    def timeout_ms(self) -> int:
        """Return the current time-out: doubled per view change without progress, capped."""
        parameters = self.parameters
        return min(parameters.timeout_base_ms << min(self.attempts, 32), parameters.timeout_max_ms)

    def attempt(self) -> None:
        """Count a view change without progress; not past the cap, so that a few blocks bring the time-out back."""
        if self.timeout_ms() < self.parameters.timeout_max_ms:
            self.attempts += 1
