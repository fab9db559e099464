"""Five replicas of four validators over the toy application: the virtual network and clock of a Twins run.

Messages are handed over as objects, each verified once; a link passes them at once, while clocks stand still, so what
happens between two ticks is a matter of order alone. Twins answer to one name and never hear each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final

from consensus.effects import (
    BatchesArrived,
    Broadcast,
    Delivered,
    Effect,
    EvidenceFound,
    FetchBatches,
    Halt,
    Persist,
    Received,
    Send,
    ServeBlocks,
    ServeProposals,
    Tick,
)
from consensus.invariants import ClusterMonitor, InvariantBroken, ReplicaMonitor, require
from consensus.messages import Blocks, Message, NewView, Proposals, Vote
from consensus.ports import Ready
from consensus.replica import Replica
from consensus.state import Parameters, ReplicaState, Tip
from consensus.verify import Verification, Verified, verify
from primitives.block import CommittedBlock
from primitives.encoding import Record
from primitives.errors import InputError
from primitives.ids import TimeMs
from primitives.validators import ValidatorSet
from primitives.votes import COMMIT
from sim.model.conformance import Conformance
from sim.signatures import StandInSigner, stand_in_verify
from sim.toy import CHAIN_ID, ORIGIN, START_MS, ToyApplication, batch_of, genesis_of, validators_of
from sim.twins.scenario import REPLICAS, TWIN, VALIDATORS, Loss, Losses, Round

TICK_MS: Final = 1_000
FAR_MS: Final = 10**9
PARAMETERS: Final = Parameters(
    timeout_base_ms=TICK_MS,
    timeout_max_ms=2 * TICK_MS,
    status_interval_ms=TICK_MS,
    lag_ms=FAR_MS,
    propose_interval_ms=1,
    checkpoint_slot_ms=FAR_MS,
    checkpoint_quiet_ms=FAR_MS,
    checkpoint_idle_ms=FAR_MS,
)
"""One tick is the base time-out, two the longest. Clocks and checkpoints are other tests' matter."""

VALIDATOR_SET: Final[ValidatorSet] = validators_of(VALIDATORS)
KNOWN: Final = Verification(CHAIN_ID, ORIGIN, VALIDATOR_SET, None, stand_in_verify)
GENESIS_HASH: Final = genesis_of(VALIDATOR_SET).hash()
CALM: Final = (Losses(),) * REPLICAS

Letter = tuple[int, str, Message]
"""Receiving replica, sender's name, message."""


@dataclass(slots=True)
class Node:
    """A replica and its disk; `monitor` is None for the twinned validator's, which may do what it likes."""

    index: int
    name: str
    monitor: ReplicaMonitor | None
    application: ToyApplication
    replica: Replica
    wal: list[Record] = field(default_factory=list)
    blocks: list[CommittedBlock] = field(default_factory=list)
    accused: set[int] = field(default_factory=set)

    @property
    def honest(self) -> bool:
        """Whether the rules are held against this replica."""
        return self.monitor is not None

    @property
    def state(self) -> ReplicaState:
        """The replica's state."""
        return self.replica.state


class World:
    """All replicas, the messages under way, and which may pass; `now_ms` is everybody's clock."""

    def __init__(self, twinned: int, random: Random) -> None:
        """Start five replicas of a fresh chain."""
        self.twinned = twinned
        self.now_ms = START_MS
        self.watch = ClusterMonitor(GENESIS_HASH)
        self.model = Conformance(lambda index: self.nodes[index].honest)
        self.steps = 0
        self._random = random
        self._queue: list[Letter] = []
        self._verified: dict[int, Verified] = {}
        self._side = 0
        self._losses: tuple[Losses, ...] = CALM
        self._heard = [0] * REPLICAS
        self._shuffled = False
        names = [f"v{index}" for index in range(VALIDATORS)] + [f"v{twinned}"]
        self.nodes = [self._node(index, name) for index, name in enumerate(names)]
        for node in self.nodes:
            self.model.started(node.index, node.state)
        self._replicas_of = {name: [node.index for node in self.nodes if node.name == name] for name in names}

    def _node(self, index: int, name: str) -> Node:
        honest = index not in (TWIN, self.twinned)
        monitor = ReplicaMonitor(name, self.watch) if honest else None
        application = ToyApplication(VALIDATOR_SET)
        node = Node(index, name, monitor, application, _replica(name, application))
        node.replica.restore([], self.now_ms)
        return node

    @property
    def honest(self) -> list[Node]:
        """The replicas that the rules are held against."""
        return [node for node in self.nodes if node.honest]

    # --- what happens

    def play(self, each: Round) -> None:
        """Let one round pass: split, offer, and tick; what is still under way at its end is lost."""
        self._side, self._losses, self._shuffled = each.side, each.losses, each.shuffled
        self._heard = [0] * REPLICAS
        if each.restarts is not None:
            self._restart(self.nodes[each.restarts])
        for batch, mask in each.offers:
            self._offer(batch, mask, each.twin_reversed)
        for node in self._some_order():
            self._perform(node, node.replica.step(BatchesArrived(), self.now_ms))
        self._pass()
        for _ in range(each.ticks):
            self.tick()

    def heal(self) -> None:
        """Link everybody with everybody; what was offered to some reaches all."""
        self._side, self._losses, self._shuffled = 0, CALM, False
        held = sorted(set().union(*(node.application.held for node in self.nodes)))
        for node in self.nodes:
            ordered = {item for committed in node.blocks for item in committed.block.batch_hashes}
            known = {*ordered, *node.application.waiting}
            node.application.held.update(held)
            node.application.waiting += [item for item in held if item not in known]

    def tick(self) -> None:
        """Let a tick's time pass for everybody, and deliver all that it sets off."""
        self.now_ms = TimeMs(self.now_ms + TICK_MS)
        for node in self._some_order():
            self._perform(node, node.replica.step(Tick(), self.now_ms))
        self._pass()

    def _some_order(self) -> list[Node]:
        return self._random.sample(self.nodes, REPLICAS)

    def _offer(self, number: int, mask: int, twin_reversed: bool) -> None:
        batch = batch_of(number)
        for node in self.nodes:
            if mask >> node.index & 1:
                node.application.held.add(batch)
                at = 0 if node.index == TWIN and twin_reversed else len(node.application.waiting)
                node.application.waiting.insert(at, batch)

    def _restart(self, node: Node) -> None:
        """Stop a replica and start it from its log and its blocks."""
        before, application = node.application, ToyApplication(VALIDATOR_SET)
        application.held, application.waiting = before.held, before.waiting
        for committed in node.blocks:
            require(isinstance(application.validate(committed.block), Ready), "a stored block executes", node.name)
            application.deliver(committed)
        node.application = application
        node.replica = _replica(node.name, application)
        effects = node.replica.restore(node.wal, self.now_ms)
        self.model.started(node.index, node.state)
        self._perform(node, effects)

    # --- messages

    def _pass(self) -> None:
        """Deliver what is under way until nothing is."""
        queue, random = self._queue, self._random
        while queue:
            if self._shuffled:
                at = random.randrange(len(queue))
                queue[at], queue[-1] = queue[-1], queue[at]
                self._give(queue.pop())
            else:
                batch, self._queue = queue, []
                for letter in batch:
                    self._give(letter)
                queue = self._queue

    def _give(self, letter: Letter) -> None:
        index, sender, message = letter
        losses = self._losses[index]
        if losses.received is not Loss.NOTHING and self._loses(index, losses, message):
            return
        node = self.nodes[index]
        verified = self._verified.get(id(message)) or self._verify(sender, message)
        if isinstance(message, Blocks):
            node.application.held.update(item for held in message.blocks for item in held.block.batch_hashes)
        self._perform(node, node.replica.step(Received(sender, verified), self.now_ms))

    def _verify(self, sender: str, message: Message) -> Verified:
        """Verify a message once for all its receivers; all replicas run the true code, so all of it must be valid."""
        try:
            verified = self._verified[id(message)] = verify(message, KNOWN)
        except InputError as error:
            raise InvariantBroken(f"a replica's message is taken: {sender}: {error}") from error
        return verified

    def _loses(self, index: int, losses: Losses, message: Message) -> bool:
        if losses.received is Loss.LATE:
            self._heard[index] += 1
            return self._heard[index] > losses.deaf_after
        return _is_lost(losses.received, message)

    def _perform(self, node: Node, effects: list[Effect]) -> None:
        """Write, then send, as a node does; the monitors and the model see every step."""
        self.steps += 1
        for effect in effects:
            if isinstance(effect, Persist):
                node.wal.append(effect.record)
            elif isinstance(effect, Delivered):
                node.blocks.append(effect.committed)
        if node.monitor is not None:
            node.monitor.watch(node.replica.state, effects)
            self.model.synced(node.index, effects)
        for effect in effects:
            self._send(node, effect)

    def _send(self, node: Node, effect: Effect) -> None:
        match effect:
            case Broadcast(message):
                self._post(node, range(REPLICAS), message)
            case Send(peer, message):
                self._post(node, self._replicas_of[peer], message)
            case FetchBatches(hashes, peers):
                self._fetch(node, set(hashes), peers)
            case ServeBlocks(peer, start, count):
                blocks = tuple(node.blocks[start - 1 : start - 1 + count])
                self._post(node, self._replicas_of[peer], Blocks(blocks, ()))
            case ServeProposals(peer, blocks):
                self._post(node, self._replicas_of[peer], Proposals(blocks))
            case EvidenceFound(evidence):
                node.accused.add(evidence.first.validator)
                self._post(node, range(REPLICAS), evidence)
            case Halt(reason):
                require(not node.honest, "no honest node halts", (node.name, reason))
            case _:
                pass

    def _post(self, node: Node, receivers: range | list[int], message: Message) -> None:
        """Put a message on its links: those across the split are cut."""
        sent = self._losses[node.index].sent
        if sent is not Loss.NOTHING and _is_lost(sent, message):
            return
        side, mine, name = self._side, self._side >> node.index & 1, node.name
        for index in receivers:
            if side >> index & 1 == mine and self.nodes[index].name != name:
                self._queue.append((index, name, message))

    def _fetch(self, node: Node, hashes: set[bytes], peers: tuple[str, ...]) -> None:
        """Give a replica the batches that it lacks and a peer on its side holds."""
        side, mine = self._side, self._side >> node.index & 1
        reachable = [index for peer in peers for index in self._replicas_of[peer] if side >> index & 1 == mine]
        found = hashes.intersection(*[set().union(*(self.nodes[index].application.held for index in reachable))])
        if found - node.application.held:
            node.application.held.update(found)  # type: ignore[arg-type]  # hashes of batches
            self._perform(node, node.replica.step(BatchesArrived(), self.now_ms))


def _is_lost(loss: Loss, message: Message) -> bool:
    if loss is Loss.NEW_VIEWS:
        return isinstance(message, NewView)
    return isinstance(message, Vote) and (loss is Loss.VOTES or message.phase == COMMIT)


def _replica(name: str, application: ToyApplication) -> Replica:
    validator = VALIDATOR_SET.validators[VALIDATOR_SET.indexes[name]]
    tip, chain = application.tip, application.chain
    certificates = tuple(item.certificate for item in chain if item.certificate is not None)
    return Replica(
        name=name,
        chain_id=CHAIN_ID,
        origin=ORIGIN,
        genesis_hash=GENESIS_HASH,
        validators=VALIDATOR_SET,
        previous_validators=None,
        tip=Tip(
            tip.height,
            tip.hash(),
            tip.time_ms,
            certificates,
            {item.block.header.height: item.block.header.hash() for item in chain},
        ),
        head=application.head(),
        head_epoch=tip.epoch,
        application=application,
        signer=StandInSigner(validator.vote_key, validator.cosign_key),
        parameters=PARAMETERS,
    )
