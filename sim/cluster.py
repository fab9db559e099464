"""A cluster of whole pure cores on a virtual network, clock and disk, with every invariant checked after every step.

One seed is one run. Here: the queue of events, nodes with crashes and restarts, their turns, and what is watched. Not
here: how messages travel (`sim.post`), how batches come in (`sim.gateways`), which faults happen when (`sim.plan`,
`sim.faults`), what malicious nodes do (`sim.malicious`).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Final

from chainnode.core import FREE_KINDS, NodeCore, Observer
from consensus.effects import CheckpointStable, Effect
from consensus.invariants import ClusterMonitor, ReplicaMonitor, require
from consensus.state import Parameters, ReplicaState
from ledger.chain import Chain
from ledger.genesis import Genesis, validator_set
from ledger.pool import Pool
from ledger.reader import LedgerReader
from ledger.store import MemoryStore
from primitives.errors import InputError, StorageError
from primitives.ids import Height, TimeMs
from sim.chronicle import Chronicle
from sim.disk import Disk, Written
from sim.events import Arrival, Offer, Synced, Tick
from sim.gateways import Gateways
from sim.governance import readiness_of, signer_of, submitted
from sim.journal import Journal
from sim.model.conformance import Conformance
from sim.network import Network, Weather
from sim.node import SimNode, Tracer, Write
from sim.post import Post, Script
from sim.recording import Recording
from sim.signatures import STAND_IN_KINDS, BatchChecks, StandInSigner, stand_in_verify
from sim.statute import Statute
from sim.streams import Streams, below
from sim.twister import Behaviour
from sim.workload import START_MS, bank_of, genesis_of

TICK_MS: Final = 25
IDLE_TICK_MS: Final = 100
"""How often a node ticks while nothing is in flight or waits there: times are kept to within this."""
RECORDS_MAX: Final = 400
"""Records in a log from which on it is cut."""


class Cluster:
    """The virtual world: `step` takes the next event; `now_ms` is the world's time.

    `on_failure`, where it is set, hears of each node that stopped because its disk failed it; `statute` holds what
    honest nodes commit to the rules of governance.
    """

    def __init__(
        self,
        seed: int,
        count: int = 4,
        weather: Weather | None = None,
        *,
        seats: Sequence[int | None] | None = None,
        malicious: Mapping[int, Behaviour] | None = None,
        recorded: int | None = None,
        journal: Journal | None = None,
        tracer: Tracer | None = None,
        script: Script | None = None,
        genesis: Genesis | None = None,
        records_max: int = RECORDS_MAX,
    ) -> None:
        """Begin a run of `count` validators, all of them started, and hold it against the abstract model.

        `seats` names the validator that each node is, where there are more nodes than validators: None is an observer,
        and a seat that is taken twice has twins, two replicas of one name and key. `malicious` nodes send what their
        behaviour makes of it; a `recorded` one keeps its inputs. `script` decides deliveries instead of the weather;
        a `genesis` of other members or another policy stands in for the usual one. A log of more than `records_max` is
        cut.
        """
        self.streams = Streams(seed)
        self.now_ms = START_MS
        self.genesis: Genesis = genesis or genesis_of(count)
        self.chain_id = self.genesis.chain_id
        self.network = Network(self.streams, weather or Weather())
        self.watch = ClusterMonitor(Chain(MemoryStore(), self.genesis).tip_hash)
        self.parameters = Parameters()
        self.records_max = records_max
        self.chronicle = Chronicle(journal)
        self.conformance = Conformance(lambda index: self.nodes[index].honest)
        self.tracers: tuple[Tracer, ...] = (self.conformance,) if tracer is None else (self.conformance, tracer)
        self._check_batch = BatchChecks()
        self.idle_tick_ms = IDLE_TICK_MS
        self.on_failure: Callable[[int], None] | None = None
        self.statute: Statute | None = None
        self.nodes: list[SimNode] = []
        self.post = Post(self.nodes, self.network, self.streams, self.chronicle, self.schedule, script)
        self.gateways = Gateways(self.genesis, count, lambda: TimeMs(self.now_ms), self.schedule, self._act)
        for index, seat in enumerate(range(count) if seats is None else seats):
            node = self._make(f"observer-{index}" if seat is None else bank_of(seat), seat)
            node.malicious = (malicious or {}).get(index)
            node.generation, node.bank = (None, 0) if seat is None else (0, seat)
        self.steps = 0
        self._recorded = recorded
        self._queue: list[tuple[int, int, object]] = []
        self._sequence = 0
        self.genesis_validators = validator_set(self.genesis)
        for node in self.nodes:
            self.start(node.index)

    def _make(self, name: str, seat: int | None) -> SimNode:
        node = SimNode(len(self.nodes), name, seat, Disk(self.chain_id), ReplicaMonitor(name, self.watch))
        self.nodes.append(node)
        return node

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
                self.gateways.offer(source, count)
            case _ if callable(event):
                event()
            case _:
                raise AssertionError(f"an unknown event: {event!r}")

    # --- nodes

    def open_core(self, index: int, disk: Disk, observe: Observer | None, *, learner: bool | None = None) -> NodeCore:
        """Return a core of a node on a disk, as a node opens it; an observer is always a learner."""
        node = self.nodes[index]
        generation = node.generation
        keyless = StandInSigner(b"", b"")
        return NodeCore(
            name=node.name,
            chain=Chain(disk.store, self.genesis, STAND_IN_KINDS),
            pool=Pool(),
            reader=LedgerReader(disk.store, self.genesis),
            signer=keyless if generation is None else signer_of(node.name, generation),
            parameters=self.parameters,
            learner=generation is None if learner is None else learner,
            verifier=stand_in_verify,
            check_batch=self._check_batch,
            observe=observe,
            readiness=None if generation is None else readiness_of(node.name, generation),
        )

    def start(self, index: int) -> bool:
        """Start a node from its disk, on which what it had answered must be; False where its disk forbids it."""
        node = self.nodes[index]
        assert node.core is None, "a node is started once"
        try:
            records, node.learner, torn_bytes = node.disk.open(votes=node.generation is not None)
            core = self.open_core(index, node.disk, partial(self._observe, node), learner=node.learner)
        except StorageError as error:
            self.note(f"{node.name} refuses to start: {error}", index)
            return False
        node.core, node.life = core, node.life + 1
        require(
            all(height <= core.chain.height for height in node.answered),
            "what was answered `committed` is never lost",
            (node.name, core.chain.height, max(node.answered, default=0)),
        )
        self.note(f"{node.name} starts at height {core.chain.height}{node.found_out(torn_bytes)}", index)
        if index == self._recorded:
            node.recording = Recording(node.disk)
        try:
            self._restore(node, core, records)
        except StorageError as error:
            self._fail(node, error)
            return False
        for tracer in self.tracers:
            tracer.started(index, core.replica.state)
        self.schedule(self.now_ms + TICK_MS, Tick(index, node.life))
        self._begin_write(node)
        return node.core is not None

    def _restore(self, node: SimNode, core: NodeCore, records: list[bytes]) -> None:
        for other in self.nodes:
            if other.name != node.name and other.core is not None:
                self._connect(node, other)
                self._connect(other, node)
        if node.malicious is not None:
            node.malicious.attach(core)
        if node.recording is not None:
            node.recording.note("restore", tuple(records), self.clock(node))
        core.restore(records, self.clock(node))

    def crash(self, index: int, written: Written = Written.NOTHING, share: int = 500) -> None:
        """Stop a node at once; of the turn that is being written, `written` says what the disk keeps.

        `share` is how much of a torn frame is left, in thousandths.
        """
        node = self.nodes[index]
        if node.core is None:
            return
        write = node.writing
        if write is None:
            try:
                write = self._taken(node)
            except StorageError as error:
                self._fail(node, error)
                return
        node.disk.write(write.turn, written, write.rewrite, share)
        self._stopped(node, f"crashes, its disk keeps {written.name.lower()} of its turn", write.effects, written)

    def _fail(self, node: SimNode, error: StorageError) -> None:
        """Stop a node whose disk failed it, as a node stops itself; of what was under way nothing is kept."""
        self._stopped(node, f"stops: {error}", (), Written.NOTHING)
        if self.on_failure is not None:
            self.on_failure(node.index)

    def _stopped(self, node: SimNode, how: str, effects: Sequence[Effect], kept: Written) -> None:
        node.monitor.crashed(rows=kept >= Written.ROWS, records=kept >= Written.ALL)
        node.core, node.writing, node.effects = None, None, []
        node.life += 1
        self.note(f"{node.name} {how}", node.index)
        for tracer in self.tracers:
            tracer.crashed(node.index, effects, kept)
        if any(other.name == node.name and other.core is not None for other in self.nodes):
            return  # its twin still answers to that name
        for other in self.nodes:
            if other.core is not None:
                if other.recording is not None:
                    other.recording.note("disconnected", node.name, self.clock(other))
                other.core.disconnected(node.name, self.clock(other))

    def wipe(self, index: int, *, ledger: bool, log: bool) -> None:
        """Lose a stopped node's store, its write-ahead log, or both. Without its log it follows and does not vote."""
        node = self.nodes[index]
        assert node.core is None, "only a stopped node's disk is wiped"
        if ledger:
            node.disk.lose_ledger()
            node.monitor.ledger_lost()
            node.answered, node.stable = {}, Height(0)
        if log:
            node.disk.lose_log()
            node.monitor.log_lost()
        lost = " and ".join(["its ledger"] * ledger + ["its write-ahead log"] * log)
        self.note(f"{node.name} loses {lost}", index)
        for tracer in self.tracers:
            tracer.wiped(index, ledger=ledger, log=log)

    def add_node(self, name: str, bank: int) -> int:
        """Start a node of a bank with keys of its own and an empty disk, and return its index.

        It follows until the chain makes it a validator: propose `sim.governance.addition` and have it approved.
        """
        node = self._make(name, None)
        node.generation, node.bank = 0, bank
        self.start(node.index)
        return node.index

    def rekey(self, index: int) -> int:
        """Start a node anew with an empty disk and its next keys, as after a lost disk; return their generation.

        It follows until the chain knows the new keys: propose `sim.governance.rekeying` and have it approved.
        """
        node = self.nodes[index]
        self.crash(index)
        node.generation = 1 + (node.generation or 0)
        node.disk, node.answered, node.stable = Disk(self.chain_id), {}, Height(0)
        node.monitor = ReplicaMonitor(node.name, self.watch)
        self.conformance.wiped(index, ledger=True, log=True)
        self.start(index)
        return node.generation

    def inject(self, sender: int, receiver: int, kind: int, payload: bytes, delay_ms: int = 1) -> None:
        """Let a crafted message arrive as if `sender` had sent it: no weather, no script, but cuts hold.

        The receiver may refuse it (counted in its `refusals`), whoever the sender is; the sender need not run.
        """
        self.post.inject(sender, receiver, kind, payload, self.now_ms, delay_ms)

    def heights(self) -> list[int]:
        """Return the committed height of each node that runs, -1 of one that does not."""
        return [-1 if node.core is None else node.core.chain.height for node in self.nodes]

    # --- the story

    @property
    def elapsed_ms(self) -> int:
        """Milliseconds since the run's start."""
        return self.now_ms - START_MS

    @property
    def log(self) -> list[str]:
        """The lines of the run's story."""
        return self.chronicle.lines

    def note(self, text: str, node: int | None = None) -> None:
        """Add a line to the run's story; `node` is whose it is."""
        self.chronicle.note(self.elapsed_ms, text, node)

    def digest(self) -> str:
        """Return a hash of the run's story and of all disks: equal for equal seeds."""
        parts = ["\n".join(self.log), *(node.disk.digest() for node in self.nodes)]
        return sha256("\n".join(parts).encode()).hexdigest()

    # --- events

    def clock(self, node: SimNode) -> TimeMs:
        """Return a node's own time."""
        return TimeMs(self.now_ms + node.skew_ms)

    def _connect(self, node: SimNode, other: SimNode) -> None:
        assert node.core is not None, "only a running node is linked"
        if node.recording is not None:
            node.recording.note("connected", other.name)
        node.core.connected(other.name)

    def _arrive(self, event: Arrival) -> None:
        node, sender = self.nodes[event.receiver], self.nodes[event.sender]
        if node.core is None or not self.network.linked(event.sender, event.receiver):
            self.chronicle.lost(self.elapsed_ms, event.number, "down" if node.core is None else "cut")
            return
        if node.malicious is not None and not node.malicious.takes(event.kind, event.payload):
            self.chronicle.lost(self.elapsed_ms, event.number, "ignored")
            return
        peer, now_ms = sender.name, self.clock(node)
        if self.chronicle.journal is not None:
            self.chronicle.arrived(self.elapsed_ms, event.number)
        if node.recording is not None:
            node.recording.note("on_message", peer, event.kind, event.payload, now_ms)
        try:
            node.core.on_message(peer, event.kind, event.payload, now_ms)
        except InputError as error:
            excused = event.injected or not sender.honest
            require(excused, "an honest node's message is taken", f"{peer}: {error}")
            node.refusals += 1
            self.chronicle.refused(self.elapsed_ms, node.index, event.kind, event.payload, str(error))
        except StorageError as error:
            self._fail(node, error)
        self._begin_write(node)

    def _tick(self, event: Tick) -> None:
        node = self.nodes[event.node]
        if node.core is None or node.life != event.life:
            return
        if node.recording is not None:
            node.recording.note("on_tick", self.clock(node))
        try:
            node.core.on_tick(self.clock(node))
        except StorageError as error:
            self._fail(node, error)
            return
        self._begin_write(node)
        if node.core is not None:
            self.schedule(self.now_ms + (self.idle_tick_ms if node.idle else TICK_MS), event)

    def _act(self, index: int, action: Callable[[SimNode, NodeCore, TimeMs], bool]) -> bool:
        """Let a running node's core do something, and begin to write what follows unless there is no more to do."""
        node = self.nodes[index]
        if node.core is None:
            return False
        try:
            if action(node, node.core, self.clock(node)):
                return True
        except StorageError as error:
            self._fail(node, error)
        self._begin_write(node)
        return False

    # --- turns

    def _taken(self, node: SimNode) -> Write:
        """Take the current turn with all that belongs to this moment, as the node's loop does."""
        assert node.core is not None, "the caller checked"
        turn = node.core.take_turn()
        node.monitor.turn_taken()
        if self.statute is not None and node.honest:
            self.statute.committed(node.name, turn.commits, node.core.chain)
        rewrite = node.core.live_records() if node.disk.log.count > self.records_max else None
        if node.recording is not None:
            node.recording.turn(turn, rewrite)
        effects, node.effects = tuple(node.effects), []
        return Write(turn, node.core.chain.ticket, rewrite, effects)

    def _begin_write(self, node: SimNode) -> None:
        """Start to write the current turn unless one is under way."""
        if node.writing is not None or node.core is None or node.core.idle:
            return
        try:
            write = self._taken(node)
        except StorageError as error:
            self._fail(node, error)
            return
        if write.turn.empty and not write.turn.rows:
            return
        for message in write.turn.outgoing:
            if message.kind in FREE_KINDS:
                self.post.send(node, message, self.now_ms)
        node.writing = write
        if node.doom is not None and write.turn.records:
            doom, node.doom = node.doom, None
            doom()
            return
        done = self.now_ms + below(self.streams.of(f"disk {node.index}"), node.sync_ms_max + 1)
        self.schedule(done, Synced(node.index, node.life))

    def _synced(self, event: Synced) -> None:
        node = self.nodes[event.node]
        if node.core is None or node.life != event.life or node.writing is None:
            return
        write = node.writing
        if node.disk.full is not None and (write.turn.rows or write.turn.records):
            self.note(f"the disk of {node.name} is full", node.index)
            self.crash(node.index, *node.disk.full)
            return
        node.writing = None
        node.disk.write(write.turn, Written.ALL, write.rewrite)
        if node.recording is not None:
            node.recording.note("written", write.ticket)
        node.core.chain.written(write.ticket)
        if node.honest:
            require(write.turn.halted is None, "no honest node halts", (node.name, write.turn.halted))
            node.monitor.synced()
        for tracer in self.tracers:
            tracer.synced(node.index, write.effects)
        for result in write.turn.commits:
            node.answered[result.header.height] = result.block_hash
        for notice in write.turn.notices:
            if isinstance(notice, CheckpointStable):
                node.stable = notice.height
        for submission in write.turn.submissions:
            self.gateways.submit(node.bank, submitted(bank_of(node.bank), submission, self.now_ms))
        for message in write.turn.outgoing:
            if message.kind not in FREE_KINDS:
                self.post.send(node, message, self.now_ms)
        self._begin_write(node)

    def _observe(self, node: SimNode, state: ReplicaState, effects: Sequence[Effect]) -> None:
        if node.malicious is None:
            node.monitor.after_step(state, effects)
        if effects:
            node.effects.extend(effects)
            self.chronicle.effects(self.elapsed_ms, node.index, node.name, effects)
