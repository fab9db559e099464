"""A cluster of whole pure cores on a virtual network, clock and disk, with every invariant checked after every step.

One seed is one run. Here: the queue of events, nodes with crashes and restarts, and what is watched. Not here: which
faults happen when (`sim.run`).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from chainnode.core import NodeCore, Outgoing, Turn
from consensus.effects import Delivered, Effect, ViewEntered
from consensus.invariants import ClusterMonitor, InvariantBroken, ReplicaMonitor, require
from consensus.state import Parameters, ReplicaState
from ledger.batches import parse_batch
from ledger.chain import Chain
from ledger.genesis import Genesis, validator_set
from ledger.pool import Pool
from ledger.reader import LedgerReader
from primitives.errors import InputError
from primitives.ids import Hash, Height, TimeMs
from sim.disk import Disk, Written
from sim.network import Network, Weather
from sim.signatures import StandInSigner, stand_in_verify
from sim.workload import START_MS, Source, bank_of, genesis_of

TICK_MS: Final = 25
SYNC_MS_MAX: Final = 4
RECORDS_MAX: Final = 400


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message reaches a node."""

    sender: int
    receiver: int
    kind: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Tick:
    """A node's clock ticks."""

    node: int


@dataclass(frozen=True, slots=True)
class Synced:
    """A node's turn has reached its disk; only the life that began it goes on."""

    node: int
    life: int
    turn: Turn


@dataclass(frozen=True, slots=True)
class Offer:
    """A source offers its next batch through a node."""

    source: int
    count: int


@dataclass(slots=True)
class SimNode:
    """One node: its disk outlives it, its core does not."""

    index: int
    disk: Disk
    monitor: ReplicaMonitor
    core: NodeCore | None = None
    life: int = 0
    writing: bool = False
    answered: dict[Height, Hash] = field(default_factory=dict)
    skew_ms: int = 0


class Cluster:
    """The virtual world: `step` takes the next event; `now_ms` is the world's time."""

    def __init__(self, seed: int, count: int = 4, weather: Weather | None = None) -> None:
        self.random = Random(seed)  # noqa: S311  a simulation must be repeatable
        self.now_ms = START_MS
        self.genesis: Genesis = genesis_of(count)
        self.chain_id = self.genesis.chain_id
        self.network = Network(self.random, weather or Weather())
        self.watch = ClusterMonitor()
        self.sources = [Source(bank_of(index), self.chain_id) for index in range(count)]
        self.parameters = Parameters()
        self.nodes = [SimNode(index, Disk(), ReplicaMonitor(bank_of(index))) for index in range(count)]
        self.log: list[str] = []
        self.steps = 0
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
            case Tick(index):
                self._tick(index)
            case Synced():
                self._synced(event)
            case Offer(source, count):
                self._offer(source, count)
            case _ if callable(event):
                event()

    # --- nodes

    def start(self, index: int) -> None:
        """Start a node from its disk; what it had answered must be there."""
        node = self.nodes[index]
        assert node.core is None, "a node is started once"
        chain = Chain(node.disk.store, self.genesis)
        require(
            all(height <= chain.height for height in node.answered),
            "what was answered `committed` is never lost",
            (bank_of(index), chain.height, max(node.answered, default=0)),
        )
        validator = self._validators.validators[index]
        node.core = NodeCore(
            name=bank_of(index),
            chain=chain,
            pool=Pool(),
            reader=LedgerReader(node.disk.store, self.genesis),
            signer=StandInSigner(validator.vote_key, validator.cosign_key),
            parameters=self.parameters,
            verifier=stand_in_verify,
            observe=lambda state, effects: self._observe(node, state, effects),
        )
        node.life += 1
        node.writing = False
        for other in self.nodes:
            if other is not node and other.core is not None:
                node.core.connected(bank_of(other.index))
                other.core.connected(bank_of(index))
        node.core.restore(list(node.disk.records), self._clock(node))
        self.note(f"{bank_of(index)} starts at height {chain.height}")
        self.schedule(self.now_ms + TICK_MS, Tick(index))
        self._begin_write(node)

    def crash(self, index: int, written: Written = Written.NOTHING) -> None:
        """Stop a node at once; of a turn that is being written, `written` says what the disk keeps."""
        node = self.nodes[index]
        if node.core is None:
            return
        if written is not Written.NOTHING:
            node.disk.write(node.core.take_turn(), written)
        node.core, node.writing = None, False
        node.life += 1
        self.note(f"{bank_of(index)} crashes, its disk keeps {written.name.lower()} of its turn")
        for other in self.nodes:
            if other.core is not None:
                other.core.disconnected(bank_of(index), self._clock(other))

    def heights(self) -> list[int]:
        """Return the committed height of each node that runs, -1 of one that does not."""
        return [-1 if node.core is None else node.core.chain.height for node in self.nodes]

    def note(self, text: str) -> None:
        """Add a line to the run's story."""
        self.log.append(f"{self.now_ms - START_MS:>8} ms  {text}")

    # --- events

    def _clock(self, node: SimNode) -> TimeMs:
        return TimeMs(self.now_ms + node.skew_ms)

    def _arrive(self, event: Arrival) -> None:
        node = self.nodes[event.receiver]
        if node.core is None or not self.network.linked(event.sender, event.receiver):
            return
        try:
            node.core.on_message(bank_of(event.sender), event.kind, event.payload, self._clock(node))
        except InputError as error:
            raise InvariantBroken(f"an honest node's message was refused: {error}") from error
        self._begin_write(node)

    def _tick(self, index: int) -> None:
        node = self.nodes[index]
        if node.core is None:
            return
        node.core.on_tick(self._clock(node))
        self.schedule(self.now_ms + TICK_MS, Tick(index))
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
            if node.core.chain.has_batch(batch.hash):
                node.core.offer_again(batch, self._clock(node))
            else:
                node.core.submit_batch(batch, self._clock(node))
            self._begin_write(node)
        self.schedule(self.now_ms + 2_000, lambda: self._submit(source, raw))

    # --- turns

    def _begin_write(self, node: SimNode) -> None:
        """Start to write the current turn unless one is under way, as the node's loop does."""
        if node.writing or node.core is None:
            return
        turn = node.core.take_turn()
        if turn.empty and not turn.rows:
            return
        node.writing = True
        done = self.now_ms + self.random.randint(0, SYNC_MS_MAX)
        self.schedule(done, Synced(node.index, node.life, turn))

    def _synced(self, event: Synced) -> None:
        node = self.nodes[event.node]
        if node.core is None or node.life != event.life:
            return
        node.writing = False
        node.disk.write(event.turn, Written.ALL)
        if len(node.disk.records) > RECORDS_MAX:
            node.disk.records = self._rewritten(node)
        node.core.chain.written(node.core.chain.ticket)
        for result in event.turn.commits:
            node.answered[result.header.height] = result.block_hash
        require(event.turn.halted is None, "no honest node halts", event.turn.halted)
        for message in event.turn.outgoing:
            self._send(node.index, message)
        self._begin_write(node)

    def _rewritten(self, node: SimNode) -> list[bytes]:
        """Cut the write-ahead log; done between turns, when nothing is unwritten but what is live."""
        assert node.core is not None, "the caller checked"
        return node.core.live_records()

    def _send(self, sender: int, message: Outgoing) -> None:
        for receiver in range(len(self.nodes)):
            if receiver == sender or (message.peer is not None and message.peer != bank_of(receiver)):
                continue
            for at_ms in self.network.arrivals(sender, receiver, self.now_ms):
                self.schedule(at_ms, Arrival(sender, receiver, message.kind, message.payload))

    def _observe(self, node: SimNode, state: ReplicaState, effects: Sequence[Effect]) -> None:
        node.monitor.after_step(state, effects)
        for effect in effects:
            match effect:
                case Delivered(committed):
                    self.watch.delivered(committed.block.header.height, committed.block.header.hash())
                case ViewEntered(_, view, active, why):
                    self.note(f"{bank_of(node.index)} {'enters' if active else 'leaves for'} view {view}: {why}")
                case _:
                    pass
