"""A group of replicas over the toy application: messages wait in a queue that the test delivers, drops or keeps.

Every step is watched by the monitors of `consensus.invariants`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby

from consensus.effects import (
    BatchesArrived,
    Broadcast,
    CheckpointStable,
    Delivered,
    Effect,
    EvidenceFound,
    FetchBatches,
    Halt,
    Persist,
    Received,
    Refused,
    Send,
    ServeBlocks,
    ServeProposals,
    Tick,
    ViewEntered,
)
from consensus.invariants import ClusterMonitor, ReplicaMonitor
from consensus.messages import (
    Blocks,
    CheckpointVote,
    Claim,
    Message,
    NewView,
    PrePrepare,
    Proposals,
    ViewChange,
    Vote,
    decode_message,
    kind_of,
)
from consensus.ports import Ready
from consensus.records import decode_record, encode_record
from consensus.replica import Replica
from consensus.state import Parameters, ReplicaState, Tip
from consensus.verify import Verification, Verified, WrongEpoch, verify
from primitives.block import Block, CommittedBlock
from primitives.encoding import encode
from primitives.ids import Epoch, Hash, Height, TimeMs, View
from primitives.notes import Checkpoint, cosign_statement
from primitives.validators import ValidatorSet
from primitives.votes import COMMIT, PREPARE, QuorumCertificate, vote_statement
from sim.signatures import StandInSigner, stand_in_signature, stand_in_verify
from sim.toy import (
    CHAIN_ID,
    ORIGIN,
    START_MS,
    ToyApplication,
    batch_of,
    genesis_of,
    header_of,
    validator_of,
    validators_of,
)

TICK_MS = 50
LONGEST_STEP_MS = 500


@dataclass(frozen=True)
class Letter:
    """A message on its way."""

    sender: int
    receiver: int
    message: Message


@dataclass
class Node:
    """A replica, its application, and its disk: `wal` and `blocks` survive a crash."""

    index: int
    name: str
    monitor: ReplicaMonitor
    application: ToyApplication
    replica: Replica | None = None
    wal: list[bytes] = field(default_factory=list)
    blocks: list[CommittedBlock] = field(default_factory=list)
    seen: list[Effect] = field(default_factory=list)
    sent: list[Message] = field(default_factory=list)
    crash_at: Callable[[list[Effect]], str | None] | None = None

    @property
    def state(self) -> ReplicaState:
        assert self.replica is not None, "the node runs"
        return self.replica.state


class Group:
    """Replicas and their messages. `drop` decides which messages are lost; `now` is everybody's clock."""

    def __init__(self, count: int = 4, parameters: Parameters | None = None, observers: int = 0) -> None:
        self.validators = validators_of(count)
        self.parameters = parameters or Parameters()
        self.now = START_MS
        self.queue: list[Letter] = []
        self.drop: Callable[[Letter], bool] = lambda letter: False
        self.fetches = True
        self.set_changes: dict[Hash, ValidatorSet] = {}
        self.watch = ClusterMonitor(genesis_of(self.validators).hash())
        self.nodes = [
            Node(index, f"v{index}", ReplicaMonitor(f"v{index}", self.watch), ToyApplication(self.validators))
            for index in range(count + observers)
        ]
        for node in self.nodes:
            self.start(node.index)

    def __getitem__(self, index: int) -> ReplicaState:
        return self.nodes[index].state

    # --- lives

    def start(self, index: int, *, learner: bool = False, previous: ValidatorSet | None = None) -> list[Effect]:
        """Start a node from its disk and return what restoring made it do."""
        node = self.nodes[index]
        held, waiting = node.application.held, node.application.waiting
        application = node.application = ToyApplication(self.validators)
        for batch, validators in self.set_changes.items():
            application.change_set(batch, validators)
        application.held = held
        for committed in node.blocks:
            assert isinstance(application.validate(committed.block), Ready)
            application.deliver(committed)
        ordered = {item for committed in node.blocks for item in committed.block.batch_hashes}
        application.waiting = [item for item in waiting if item not in ordered]
        tip = application.tip
        certificates = tuple(item.certificate for item in node.blocks if item.certificate is not None)[-8:]
        recent = {item.block.header.height: item.block.header.hash() for item in node.blocks[-32:]}
        node.replica = Replica(
            name=node.name,
            chain_id=CHAIN_ID,
            origin=ORIGIN,
            genesis_hash=application.genesis.hash(),
            validators=application.validators(),
            previous_validators=previous,
            tip=Tip(tip.height, tip.hash(), tip.time_ms, certificates, recent),
            head=application.head(),
            head_epoch=tip.epoch,
            application=application,
            signer=StandInSigner(*(validator_of(node.name).vote_key, validator_of(node.name).cosign_key)),
            parameters=self.parameters,
            learner=learner,
        )
        effects = node.replica.restore([decode_record(record) for record in node.wal], self.now)
        self.perform(node, effects)
        return effects

    def crash(self, index: int) -> None:
        self.nodes[index].replica = None
        self.queue = [letter for letter in self.queue if letter.receiver != index]

    # --- time and messages

    def offer(self, *batches: Hash, to: range | None = None) -> None:
        """Give batches to nodes: they hold them and want them ordered."""
        for node in self.nodes if to is None else [self.nodes[index] for index in to]:
            node.application.held.update(batches)
            node.application.waiting += [item for item in batches if item not in node.application.waiting]
            if node.replica is not None:
                self.perform(node, node.replica.step(BatchesArrived(), self.now))

    def tick(self, ms: int = TICK_MS, *, heard: bool = True) -> None:
        """Let time pass for everybody, without delivering anything; the clocks tick at least each half second.

        With `heard`, as in most tests, everybody counts as heard of, whatever was delivered.
        """
        end = self.now + ms
        while self.now < end:
            self.now = TimeMs(min(end, self.now + LONGEST_STEP_MS))
            for node in self.nodes:
                if node.replica is not None:
                    if heard:
                        node.replica.state.heard_ms = dict.fromkeys(node.replica.state.validators.indexes, self.now)
                    self.perform(node, node.replica.step(Tick(), self.now))

    def deliver(self) -> None:
        """Deliver messages in order until none is left; dropped ones are lost."""
        while self.queue:
            letter = self.queue.pop(0)
            if not self.drop(letter):
                self.give(letter)

    def give(self, letter: Letter) -> None:
        """Deliver one message as it comes off the wire; blocks of one epoch at a time."""
        node = self.nodes[letter.receiver]
        message = decode_message(kind_of(letter.message), encode(letter.message))
        parts: list[Message] = [message]
        if isinstance(message, Blocks):
            parts = [
                Blocks(tuple(items), ()) for _, items in groupby(message.blocks, lambda item: item.block.header.epoch)
            ] or [message]
            for committed in message.blocks:
                node.application.held.update(committed.block.batch_hashes)
        for part in parts:
            if node.replica is None:
                return
            try:
                verified = verify(part, node.replica.verification(stand_in_verify))
            except WrongEpoch:
                return
            self.perform(node, node.replica.step(Received(self.nodes[letter.sender].name, verified), self.now))

    def run(self, ms: int, *, step: int = TICK_MS) -> None:
        """Let time pass in small steps, delivering everything in between."""
        self.deliver()
        for _ in range(0, ms, step):
            self.tick(step)
            self.deliver()

    def perform(self, node: Node, effects: list[Effect]) -> None:
        """Write, then send, as a node does; a crash may fall before, in the middle of, or after the write."""
        assert node.replica is not None
        replica = node.replica
        node.monitor.after_step(replica.state, effects)
        node.monitor.turn_taken()
        fate = None if node.crash_at is None else node.crash_at(effects)
        if fate == "before":
            node.monitor.crashed(rows=False, records=False)
            self.crash(node.index)
            return
        if fate == "between":
            node.blocks += [effect.committed for effect in effects if isinstance(effect, Delivered)]
            node.monitor.crashed(rows=True, records=False)
            self.crash(node.index)
            return
        for effect in effects:
            if isinstance(effect, Persist):
                node.wal.append(encode_record(effect.record))
            elif isinstance(effect, Delivered):
                node.blocks.append(effect.committed)
        if fate == "after":
            node.monitor.crashed(rows=True, records=True)
            self.crash(node.index)
            return
        node.monitor.synced()
        node.seen += effects
        for effect in effects:
            self._send(node, effect)

    def _send(self, node: Node, effect: Effect) -> None:
        match effect:
            case Broadcast(message):
                node.sent.append(message)
                others = [other.index for other in self.nodes if other is not node]
                self.queue += [Letter(node.index, receiver, message) for receiver in others]
            case Send(peer, message):
                self._to(node, peer, message)
            case FetchBatches(hashes, peers):
                if self.fetches and any(item not in node.application.held for item in hashes):
                    held = [other.application.held for other in self.nodes if other.name in peers]
                    found = {item for item in hashes if any(item in each for each in held)}
                    if found - node.application.held:
                        node.application.held.update(found)
                        assert node.replica is not None
                        self.perform(node, node.replica.step(BatchesArrived(), self.now))
            case ServeBlocks(peer, start, count):
                blocks = tuple(node.blocks[start - 1 : start - 1 + count])
                self._to(node, peer, Blocks(blocks, ()))
            case ServeProposals(peer, blocks):
                self._to(node, peer, Proposals(blocks))
            case EvidenceFound(evidence):
                self.queue += [Letter(node.index, other.index, evidence) for other in self.nodes if other is not node]
            case Persist() | Delivered() | CheckpointStable() | ViewEntered() | Refused() | Halt():
                pass

    def _to(self, node: Node, peer: str, message: Message) -> None:
        node.sent.append(message)
        receiver = next(other.index for other in self.nodes if other.name == peer)
        self.queue.append(Letter(node.index, receiver, message))

    # --- looking

    def heights(self) -> list[int]:
        return [len(node.blocks) for node in self.nodes]

    def found(self, index: int, type_: type[Effect]) -> list[Effect]:  # type: ignore[valid-type]  # a union's members
        return [effect for effect in self.nodes[index].seen if isinstance(effect, type_)]

    def verification(self) -> Verification:
        return Verification(CHAIN_ID, ORIGIN, self.validators, None, stand_in_verify)


# --- messages made by hand, signed by whom the test says


def vote_of(
    phase: int,
    signer: int,
    block_hash: Hash,
    *,
    height: int = 1,
    view: int = 0,
    epoch: int = 0,
    claimed: int | None = None,
) -> Vote:
    """Return a vote of validator `signer`, which may claim to be another."""
    message = vote_statement(phase, CHAIN_ID, Epoch(epoch), View(view), Height(height), block_hash)
    signature = stand_in_signature(validator_of(f"v{signer}").vote_key, message)
    index = signer if claimed is None else claimed
    return Vote(phase, Epoch(epoch), View(view), Height(height), block_hash, index, signature)


def proposal_of(block: Block, leader: int, *, view: int = 0) -> PrePrepare:
    header = block.header
    vote = vote_of(PREPARE, leader, header.hash(), height=header.height, view=view, epoch=header.epoch)
    return PrePrepare(header.epoch, View(view), block, vote.signature)


def certificate_of(phase: int, block: Block, signers: tuple[int, ...], *, view: int = 0) -> QuorumCertificate:
    header = block.header
    votes = [
        (signer, vote_of(phase, signer, header.hash(), height=header.height, view=view, epoch=header.epoch).signature)
        for signer in signers
    ]
    return QuorumCertificate(phase, header.epoch, View(view), header.height, header.hash(), tuple(votes))


def view_change_of(
    signer: int, view: int, delivered: tuple[QuorumCertificate, ...] = (), claims: tuple = ()
) -> ViewChange:  # type: ignore[type-arg]  # claims
    unsigned = ViewChange(Epoch(0), View(view), signer, delivered, claims, b"")
    signature = stand_in_signature(validator_of(f"v{signer}").vote_key, unsigned.statement(CHAIN_ID))
    return ViewChange(Epoch(0), View(view), signer, delivered, claims, signature)


def checkpoint_vote_of(
    signer: int, height: int, size: int, root: Hash, *, epoch: int = 0, time_s: int = START_MS // 1_000
) -> CheckpointVote:
    """Return validator `signer`'s cosignature of a log; the time is the start's unless told."""
    text = Checkpoint(ORIGIN, size, root).text()
    signature = stand_in_signature(validator_of(f"v{signer}").cosign_key, cosign_statement(text, time_s))
    return CheckpointVote(Epoch(epoch), Height(height), size, root, time_s, signer, signature)


def chain_of(count: int, *, branch: int = 0, time_ms: int = START_MS + 10, proposer: int = 0) -> list[Block]:
    """Return blocks on the genesis block of four validators; another `branch` holds other batches."""
    validators = validators_of(4)
    parent = genesis_of(validators)
    blocks = []
    for number in range(count):
        batches = (batch_of(1_000 * branch + number),)
        parent = header_of(
            parent, batches, time_ms=time_ms + number, epoch=0, proposer=proposer, next_validators=validators.hash
        )
        blocks.append(Block(parent, batches))
    return blocks


def verified(message: Message) -> Verified:
    """Return a message as verified by the group's four validators."""
    return verify(message, Verification(CHAIN_ID, ORIGIN, validators_of(4), None, stand_in_verify))


def committed_of(block: Block, *, view: int = 0) -> CommittedBlock:
    return CommittedBlock(block, certificate_of(COMMIT, block, (0, 1, 2), view=view))


def new_view_of(leader: int, *changes: ViewChange) -> NewView:
    unsigned = NewView(changes[0].epoch, changes[0].view, changes, b"")
    signature = stand_in_signature(validator_of(f"v{leader}").vote_key, unsigned.statement(CHAIN_ID))
    return NewView(changes[0].epoch, changes[0].view, changes, signature)


def claim_of(block: Block, view: int) -> Claim:
    return Claim(block, certificate_of(PREPARE, block, (0, 1, 2), view=view))
