"""A cluster of whole pure cores on a virtual network, clock and disk, with every invariant checked after every step.

One seed is one run. Here: the queue of events, nodes with crashes and restarts, and what is watched. Not here: which
faults happen when (`sim.faults`, `sim.run`), what malicious nodes do (`sim.malicious`).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Final

from chainnode.core import NodeCore, Observer, Outgoing, Turn
from consensus import messages
from consensus.effects import CheckpointStable, Delivered, Effect, EvidenceFound, ViewEntered
from consensus.invariants import ClusterMonitor, ReplicaMonitor, require
from consensus.state import Parameters, ReplicaState
from ledger.batches import parse_batch
from ledger.chain import Chain
from ledger.genesis import Genesis, validator_set
from ledger.pool import Pool
from ledger.reader import LedgerReader
from ledger.store import MemoryStore
from primitives.errors import InputError
from primitives.ids import Hash, Height, TimeMs
from sim.disk import Disk, Written
from sim.malicious import Behaviour
from sim.network import Network, Weather
from sim.recording import Recording
from sim.signatures import StandInSigner, stand_in_verify
from sim.workload import START_MS, Source, bank_of, genesis_of

TICK_MS: Final = 25
SYNC_MS_MAX: Final = 4
RECORDS_MAX: Final = 400
RESUBMIT_MS: Final = 2_000
SIGNED_KINDS: Final = frozenset(
    kind
    for kind, (type_, _) in messages.KINDS.items()
    if type_ in (messages.PrePrepare, messages.Vote, messages.ViewChange, messages.NewView, messages.CheckpointVote)
)
"""What binds its signer, and so must be on the sender's disk before it leaves."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message reaches a node."""

    sender: int
    receiver: int
    kind: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Tick:
    """A node's clock ticks, in one life of it."""

    node: int
    life: int


@dataclass(frozen=True, slots=True)
class Synced:
    """What a node was writing has reached its disk; only the life that began it goes on."""

    node: int
    life: int


@dataclass(frozen=True, slots=True)
class Offer:
    """A source offers its next batch through a node."""

    source: int
    count: int


@dataclass(frozen=True, slots=True)
class Write:
    """A turn on its way to the disk, the store's ticket that it settles, and the log's replacement where it is due."""

    turn: Turn
    ticket: int
    rewrite: list[bytes] | None


@dataclass(slots=True)
class SimNode:
    """One node: its disk outlives it, its core does not. Its `doom` strikes when it next writes records."""

    index: int
    disk: Disk
    monitor: ReplicaMonitor
    malicious: Behaviour | None = None
    core: NodeCore | None = None
    life: int = 0
    writing: Write | None = None
    answered: dict[Height, Hash] = field(default_factory=dict)
    stable: Height = field(default_factory=lambda: Height(0))
    skew_ms: int = 0
    sync_ms_max: int = SYNC_MS_MAX
    refusals: int = 0
    doom: Callable[[], None] | None = None
    recording: Recording | None = None

    @property
    def honest(self) -> bool:
        """Whether the invariants are held against this node."""
        return self.malicious is None


class Cluster:
    """The virtual world: `step` takes the next event; `now_ms` is the world's time."""

    def __init__(
        self,
        seed: int,
        count: int = 4,
        weather: Weather | None = None,
        *,
        malicious: Mapping[int, Behaviour] | None = None,
        recorded: int | None = None,
    ) -> None:
        """Begin a run: `malicious` nodes send what their behaviour makes of it, a `recorded` one keeps its inputs."""
        self.random = Random(seed)  # noqa: S311  a simulation must be repeatable
        self.now_ms = START_MS
        self.genesis: Genesis = genesis_of(count)
        self.chain_id = self.genesis.chain_id
        self.network = Network(self.random, weather or Weather())
        self.watch = ClusterMonitor(Chain(MemoryStore(), self.genesis).tip_hash)
        self.sources = [Source(bank_of(index), self.chain_id) for index in range(count)]
        self.parameters = Parameters()
        self.nodes = [
            SimNode(index, Disk(), ReplicaMonitor(bank_of(index), self.watch), (malicious or {}).get(index))
            for index in range(count)
        ]
        self.log: list[str] = []
        self.steps = 0
        self._recorded = recorded
        self._highest = 0
        self._queue: list[tuple[int, int, object]] = []
        self._sequence = 0
        self._validators = validator_set(self.genesis)
        for node in self.nodes:
            self.start(node.index)

    # --- the world's queue

    def schedule(self, at_ms: int, event: object) -> None:
        """Put an event in the queue; equal times keep their order."""
        self._sequence += 1
        heapq.heappush(self._queue, (at_ms, self._sequence, event))

    def run_until(self, at_ms: int) -> None:
        """Take all events up to a time."""
        while self._queue and self._queue[0][0] <= at_ms:
            self.step()
        self.now_ms = TimeMs(max(self.now_ms, at_ms))

    def step(self) -> None:
        """Take the next event."""
        at_ms, _, event = heapq.heappop(self._queue)
        self.now_ms = TimeMs(max(self.now_ms, at_ms))
        self.steps += 1
        match event:
            case Arrival():
                self._arrive(event)
            case Tick():
                self._tick(event)
            case Synced():
                self._synced(event)
            case Offer(source, count):
                self._offer(source, count)
            case _ if callable(event):
                event()
            case _:
                raise AssertionError(f"an unknown event: {event!r}")

    # --- nodes

    def open_core(self, index: int, disk: Disk, observe: Observer | None) -> NodeCore:
        """Return a core of a node on a disk, as a node opens it."""
        validator = self._validators.validators[index]
        return NodeCore(
            name=bank_of(index),
            chain=Chain(disk.store, self.genesis),
            pool=Pool(),
            reader=LedgerReader(disk.store, self.genesis),
            signer=StandInSigner(validator.vote_key, validator.cosign_key),
            parameters=self.parameters,
            verifier=stand_in_verify,
            observe=observe,
        )

    def start(self, index: int) -> None:
        """Start a node from its disk; what it had answered must be there."""
        node = self.nodes[index]
        assert node.core is None, "a node is started once"
        if index == self._recorded:
            node.recording = Recording(node.disk)
        core = node.core = self.open_core(index, node.disk, lambda state, effects: self._observe(node, state, effects))
        require(
            all(height <= core.chain.height for height in node.answered),
            "what was answered `committed` is never lost",
            (bank_of(index), core.chain.height, max(node.answered, default=0)),
        )
        node.life += 1
        for other in self.nodes:
            if other is not node and other.core is not None:
                self._connect(node, other)
                self._connect(other, node)
        if node.recording is not None:
            node.recording.note("restore", tuple(node.disk.records), self._clock(node))
        core.restore(list(node.disk.records), self._clock(node))
        self.note(f"{bank_of(index)} starts at height {core.chain.height}")
        self.schedule(self.now_ms + TICK_MS, Tick(index, node.life))
        self._begin_write(node)

    def crash(self, index: int, written: Written = Written.NOTHING) -> None:
        """Stop a node at once; of the turn that is being written, `written` says what the disk keeps."""
        node = self.nodes[index]
        if node.core is None:
            return
        write = node.writing or self._taken(node)
        node.disk.write(write.turn, written, write.rewrite)
        node.monitor.crashed(rows=written >= Written.ROWS, records=written >= Written.ALL)
        node.core, node.writing = None, None
        node.life += 1
        self.note(f"{bank_of(index)} crashes, its disk keeps {written.name.lower()} of its turn")
        for other in self.nodes:
            if other.core is not None:
                if other.recording is not None:
                    other.recording.note("disconnected", bank_of(index), self._clock(other))
                other.core.disconnected(bank_of(index), self._clock(other))

    def heights(self) -> list[int]:
        """Return the committed height of each node that runs, -1 of one that does not."""
        return [-1 if node.core is None else node.core.chain.height for node in self.nodes]

    def note(self, text: str) -> None:
        """Add a line to the run's story."""
        self.log.append(f"{self.now_ms - START_MS:>8} ms  {text}")

    def digest(self) -> str:
        """Return a hash of the run's story and of all disks: equal for equal seeds."""
        parts = ["\n".join(self.log), *(node.disk.digest() for node in self.nodes)]
        return sha256("\n".join(parts).encode()).hexdigest()

    # --- events

    def _clock(self, node: SimNode) -> TimeMs:
        return TimeMs(self.now_ms + node.skew_ms)

    def _connect(self, node: SimNode, other: SimNode) -> None:
        assert node.core is not None, "only a running node is linked"
        if node.recording is not None:
            node.recording.note("connected", bank_of(other.index))
        node.core.connected(bank_of(other.index))

    def _arrive(self, event: Arrival) -> None:
        node = self.nodes[event.receiver]
        if node.core is None or not self.network.linked(event.sender, event.receiver):
            return
        peer, now_ms = bank_of(event.sender), self._clock(node)
        if node.recording is not None:
            node.recording.note("on_message", peer, event.kind, event.payload, now_ms)
        try:
            node.core.on_message(peer, event.kind, event.payload, now_ms)
        except InputError as error:
            require(not self.nodes[event.sender].honest, "an honest node's message is taken", f"{peer}: {error}")
            node.refusals += 1
        self._begin_write(node)

    def _tick(self, event: Tick) -> None:
        node = self.nodes[event.node]
        if node.core is None or node.life != event.life:
            return
        if node.recording is not None:
            node.recording.note("on_tick", self._clock(node))
        node.core.on_tick(self._clock(node))
        self.schedule(self.now_ms + TICK_MS, event)
        self._begin_write(node)

    def _offer(self, source: int, count: int) -> None:
        raw = self.sources[source].next_batch(count, self.now_ms)
        self._submit(source, raw)

    def _submit(self, source: int, raw: bytes) -> None:
        """Hand a batch to the source's own node, and again until it is committed there, as a gateway does."""
        node = self.nodes[source]
        if node.core is not None:
            batch = parse_batch(raw)
            number, _ = node.core.chain.next_number(node.core.chain.tip_hash, batch.header.source)
            if batch.header.number < number:
                return
            offer = "offer_again" if node.core.chain.has_batch(batch.hash) else "submit_batch"
            if node.recording is not None:
                node.recording.note(offer, raw, self._clock(node))
            getattr(node.core, offer)(batch, self._clock(node))
            self._begin_write(node)
        self.schedule(self.now_ms + RESUBMIT_MS, lambda: self._submit(source, raw))

    # --- turns

    def _taken(self, node: SimNode) -> Write:
        """Take the current turn with all that belongs to this moment, as the node's loop does."""
        assert node.core is not None, "the caller checked"
        turn = node.core.take_turn()
        node.monitor.turn_taken()
        rewrite = node.core.live_records() if len(node.disk.records) > RECORDS_MAX else None
        if node.recording is not None:
            node.recording.turn(turn, rewrite)
        return Write(turn, node.core.chain.ticket, rewrite)

    def _begin_write(self, node: SimNode) -> None:
        """Start to write the current turn unless one is under way."""
        if node.writing is not None or node.core is None:
            return
        write = self._taken(node)
        if write.turn.empty and not write.turn.rows:
            return
        node.writing = write
        if node.doom is not None and write.turn.records:
            doom, node.doom = node.doom, None
            doom()
            return
        done = self.now_ms + self.random.randint(0, node.sync_ms_max)
        self.schedule(done, Synced(node.index, node.life))

    def _synced(self, event: Synced) -> None:
        node = self.nodes[event.node]
        if node.core is None or node.life != event.life or node.writing is None:
            return
        write, node.writing = node.writing, None
        node.disk.write(write.turn, Written.ALL, write.rewrite)
        if node.recording is not None:
            node.recording.note("written", write.ticket)
        node.core.chain.written(write.ticket)
        if node.honest:
            require(write.turn.halted is None, "no honest node halts", (bank_of(node.index), write.turn.halted))
            node.monitor.synced()
        for result in write.turn.commits:
            node.answered[result.header.height] = result.block_hash
        for notice in write.turn.notices:
            if isinstance(notice, CheckpointStable):
                node.stable = notice.height
        for message in write.turn.outgoing:
            self._send(node, message)
        self._begin_write(node)

    def _send(self, node: SimNode, message: Outgoing) -> None:
        if message.kind in SIGNED_KINDS and node.honest:
            require(message.payload in node.disk.promised, "no send before its write", (node.index, message.kind))
        peers = [index for index in range(len(self.nodes)) if index != node.index]
        if message.peer is not None:
            peers = [index for index in peers if bank_of(index) == message.peer]
        letters = [(receiver, message.kind, message.payload) for receiver in peers]
        if node.malicious is not None:
            letters = node.malicious.twist(letters, self.random)
        for receiver, kind, payload in letters:
            for at_ms in self.network.arrivals(node.index, receiver, self.now_ms):
                self.schedule(at_ms, Arrival(node.index, receiver, kind, payload))

    def _observe(self, node: SimNode, state: ReplicaState, effects: Sequence[Effect]) -> None:
        if node.honest:
            node.monitor.after_step(state, effects)
        for effect in effects:
            if isinstance(effect, ViewEntered):
                verb = "enters" if effect.active else "leaves for"
                self.note(f"{bank_of(node.index)} {verb} view {effect.view}: {effect.why}")
            elif isinstance(effect, EvidenceFound):
                self.note(f"{bank_of(node.index)} finds evidence against validator {effect.evidence.first.validator}")
            elif isinstance(effect, Delivered):
                height = effect.committed.block.header.height
                if height > self._highest:
                    self._highest = height
                    self.note(f"{bank_of(node.index)} is the first to deliver height {height}, of view {effect.view}")
