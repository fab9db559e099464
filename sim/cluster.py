"""A cluster of whole pure cores on a virtual network, clock and disk, with every invariant checked after every step.

One seed is one run. Here: the queue of events, nodes with crashes and restarts, and what is watched. Not here: which
faults happen when (`sim.faults`, `sim.run`), what malicious nodes do (`sim.malicious`).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from chainnode.core import NodeCore, Observer, Outgoing
from consensus import messages
from consensus.effects import CheckpointStable, Delivered, Effect, EvidenceFound, Halt, Refused, ViewEntered
from consensus.invariants import ClusterMonitor, ReplicaMonitor, require
from consensus.state import Parameters, ReplicaState
from ledger.batches import parse_batch
from ledger.chain import Chain
from ledger.genesis import Genesis, validator_set
from ledger.governance_bodies import Action
from ledger.pool import Pool
from ledger.reader import LedgerReader
from ledger.store import MemoryStore
from primitives.errors import InputError
from primitives.ids import EventId, Height, TimeMs
from sim.disk import Disk, Written
from sim.governance import proposal, readiness_of, signer_of, submitted, vote
from sim.journal import Arrived, Happened, Journal, Lost, Sent, describe
from sim.network import Network, Weather
from sim.node import SimNode, Tracer, Write
from sim.recording import Recording
from sim.signatures import STAND_IN_KINDS, StandInSigner, stand_in_verify
from sim.streams import Streams
from sim.twister import Behaviour, Letter
from sim.workload import START_MS, Source, bank_of, genesis_of

TICK_MS: Final = 25
RECORDS_MAX: Final = 400
RESUBMIT_MS: Final = 2_000
SIGNED_KINDS: Final = frozenset(
    kind
    for kind, (type_, _) in messages.KINDS.items()
    if type_ in (messages.PrePrepare, messages.Vote, messages.ViewChange, messages.NewView, messages.CheckpointVote)
)
"""What binds its signer, and so must be on the sender's disk before it leaves."""


Script = Callable[[int, int, int, bytes], tuple[int, ...] | None]
"""Decides a message by (sender, receiver, kind, payload): the delays of its copies in ms (none: it is lost), or None
to let the weather decide. Cut links stay cut."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message reaches a node; one that was `injected` may be refused, whoever is named as its sender."""

    number: int
    sender: int
    receiver: int
    kind: int
    payload: bytes
    injected: bool = False


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


class Cluster:
    """The virtual world: `step` takes the next event; `now_ms` is the world's time."""

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
    ) -> None:
        """Begin a run of `count` validators, all of them started.

        `seats` names the validator that each node is, where there are more nodes than validators: None is an observer,
        and a seat that is taken twice has twins, two replicas of one name and key. `malicious` nodes send what their
        behaviour makes of it; a `recorded` one keeps its inputs. `script` decides deliveries instead of the weather;
        a `genesis` of other members or another policy stands in for the usual one.
        """
        self.streams = Streams(seed)
        self.now_ms = START_MS
        self.genesis: Genesis = genesis or genesis_of(count)
        self.chain_id = self.genesis.chain_id
        self.network = Network(self.streams, weather or Weather())
        self.watch = ClusterMonitor(Chain(MemoryStore(), self.genesis).tip_hash)
        self.sources = [Source(bank_of(index), self.chain_id) for index in range(count)]
        self.parameters = Parameters()
        self.journal = journal
        self.tracer = tracer
        self.script = script
        self.nodes: list[SimNode] = []
        for index, seat in enumerate(range(count) if seats is None else seats):
            name = f"observer-{index}" if seat is None else bank_of(seat)
            monitor = ReplicaMonitor(name, self.watch)
            node = SimNode(index, name, seat, Disk(), monitor, (malicious or {}).get(index))
            node.generation, node.bank = (None, 0) if seat is None else (0, seat)
            self.nodes.append(node)
        self.log: list[str] = []
        self.steps = 0
        self._letters = 0
        self._recorded = recorded
        self._highest = 0
        self._queue: list[tuple[int, int, object]] = []
        self._sequence = 0
        self.genesis_validators = validator_set(self.genesis)
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
            learner=generation is None,
            verifier=stand_in_verify,
            observe=observe,
            readiness=None if generation is None else readiness_of(node.name, generation),
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
            (node.name, core.chain.height, max(node.answered, default=0)),
        )
        node.life += 1
        for other in self.nodes:
            if other.name != node.name and other.core is not None:
                self._connect(node, other)
                self._connect(other, node)
        if node.malicious is not None:
            node.malicious.attach(core)
        if node.recording is not None:
            node.recording.note("restore", tuple(node.disk.records), self._clock(node))
        core.restore(list(node.disk.records), self._clock(node))
        self.note(f"{node.name} starts at height {core.chain.height}", index)
        if self.tracer is not None:
            self.tracer.started(index, core.replica.state)
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
        node.core, node.writing, node.effects = None, None, []
        node.life += 1
        self.note(f"{node.name} crashes, its disk keeps {written.name.lower()} of its turn", index)
        if self.tracer is not None:
            self.tracer.crashed(index, write.effects, written)
        if any(other.name == node.name and other.core is not None for other in self.nodes):
            return  # its twin still answers to that name
        for other in self.nodes:
            if other.core is not None:
                if other.recording is not None:
                    other.recording.note("disconnected", node.name, self._clock(other))
                other.core.disconnected(node.name, self._clock(other))

    def add_node(self, name: str, bank: int) -> int:
        """Start a node of a bank with keys of its own and an empty disk, and return its index.

        It follows until the chain makes it a validator: propose `sim.governance.addition` and have it approved.
        """
        index = len(self.nodes)
        node = SimNode(index, name, None, Disk(), ReplicaMonitor(name, self.watch))
        node.generation, node.bank = 0, bank
        self.nodes.append(node)
        self.start(index)
        return index

    def rekey(self, index: int) -> int:
        """Start a node anew with an empty disk and its next keys, as after a lost disk; return their generation.

        It follows until the chain knows the new keys: propose `sim.governance.rekeying` and have it approved.
        """
        node = self.nodes[index]
        self.crash(index)
        node.generation = 1 + (node.generation or 0)
        node.disk, node.answered, node.stable = Disk(), {}, Height(0)
        node.monitor = ReplicaMonitor(node.name, self.watch)
        self.start(index)
        return node.generation

    def propose(self, bank: int, action: Action) -> EventId:
        """Have a bank's source submit a proposal, and return its id."""
        proposal_id, event = proposal(bank_of(bank), action, self.now_ms)
        self.submit(bank, event)
        return proposal_id

    def approve(self, proposal_id: EventId, banks: Iterable[int], *, approve: bool = True) -> None:
        """Have these banks' sources submit their votes on a proposal."""
        for bank in banks:
            self.submit(bank, vote(bank_of(bank), self.chain_id, proposal_id, self.now_ms, approve=approve))

    def submit(self, bank: int, event: bytes) -> None:
        """Have a bank's source submit one event, in a batch of its own, until it is committed."""
        self._submit(bank, self.sources[bank].batch_of([event], self.now_ms))

    def inject(self, sender: int, receiver: int, kind: int, payload: bytes, delay_ms: int = 1) -> None:
        """Let a crafted message arrive as if `sender` had sent it: no weather, no script, but cuts hold.

        The receiver may refuse it (counted in its `refusals`), whoever the sender is; the sender need not run.
        """
        number = self._sent(sender, receiver, kind, payload)
        self.schedule(self.now_ms + delay_ms, Arrival(number, sender, receiver, kind, payload, injected=True))

    def heights(self) -> list[int]:
        """Return the committed height of each node that runs, -1 of one that does not."""
        return [-1 if node.core is None else node.core.chain.height for node in self.nodes]

    def note(self, text: str, node: int | None = None) -> None:
        """Add a line to the run's story; `node` is whose it is."""
        self.log.append(f"{self.now_ms - START_MS:>8} ms  {text}")
        self._happened(node, text)

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
            node.recording.note("connected", other.name)
        node.core.connected(other.name)

    def _arrive(self, event: Arrival) -> None:
        node, sender = self.nodes[event.receiver], self.nodes[event.sender]
        if node.core is None or not self.network.linked(event.sender, event.receiver):
            self._lost(event.number, "down" if node.core is None else "cut")
            return
        if node.malicious is not None and not node.malicious.takes(event.kind, event.payload):
            self._lost(event.number, "ignored")
            return
        peer, now_ms = sender.name, self._clock(node)
        if self.journal is not None:
            self.journal.add(Arrived(event.number, self._elapsed_ms))
        if node.recording is not None:
            node.recording.note("on_message", peer, event.kind, event.payload, now_ms)
        try:
            node.core.on_message(peer, event.kind, event.payload, now_ms)
        except InputError as error:
            excused = event.injected or not sender.honest
            require(excused, "an honest node's message is taken", f"{peer}: {error}")
            node.refusals += 1
            if self.journal is not None:
                self._happened(node.index, f"refuses {describe(event.kind, event.payload)}: {error}")
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
        effects, node.effects = tuple(node.effects), []
        return Write(turn, node.core.chain.ticket, rewrite, effects)

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
        done = self.now_ms + self.streams.of(f"disk {node.index}").randint(0, node.sync_ms_max)
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
            require(write.turn.halted is None, "no honest node halts", (node.name, write.turn.halted))
            node.monitor.synced()
        if self.tracer is not None:
            self.tracer.synced(node.index, write.effects)
        for result in write.turn.commits:
            node.answered[result.header.height] = result.block_hash
        for notice in write.turn.notices:
            if isinstance(notice, CheckpointStable):
                node.stable = notice.height
        for submission in write.turn.submissions:
            self.submit(node.bank, submitted(bank_of(node.bank), submission, self.now_ms))
        for message in write.turn.outgoing:
            self._send(node, message)
        self._begin_write(node)

    def _send(self, node: SimNode, message: Outgoing) -> None:
        if message.kind in SIGNED_KINDS and node.honest and not _shown(node, message):
            require(message.payload in node.disk.promised, "no send before its write", (node.index, message.kind))
        peers = [other.index for other in self.nodes if other.name != node.name and message.peer in (None, other.name)]
        letters = [Letter(receiver, message.kind, message.payload) for receiver in peers]
        if node.malicious is not None:
            letters = node.malicious.twist(letters, self.streams.of(f"malicious {node.index}"))
        for receiver, kind, payload, late_ms in letters:
            number = self._sent(node.index, receiver, kind, payload)
            if not self.network.linked(node.index, receiver):
                self._lost(number, "cut")
                continue
            scripted = None if self.script is None else self.script(node.index, receiver, kind, payload)
            delays = self.network.delays(node.index, receiver) if scripted is None else scripted
            for delay_ms in delays:
                self.schedule(self.now_ms + late_ms + delay_ms, Arrival(number, node.index, receiver, kind, payload))
            if not delays:
                self._lost(number, "weather" if scripted is None else "script")

    def _observe(self, node: SimNode, state: ReplicaState, effects: Sequence[Effect]) -> None:
        if node.honest:
            node.monitor.after_step(state, effects)
        if self.tracer is not None:
            node.effects.extend(effects)
        for effect in effects:
            match effect:
                case ViewEntered():
                    verb = "enters" if effect.active else "leaves for"
                    self.note(f"{node.name} {verb} view {effect.view}: {effect.why}", node.index)
                case EvidenceFound(evidence):
                    self.note(f"{node.name} finds evidence against validator {evidence.first.validator}", node.index)
                case Halt(reason):
                    self.note(f"{node.name} halts: {reason}", node.index)
                case Delivered(committed, view):
                    self._note_delivery(node, committed.block.header.height, view)
                case Refused(reason, detail) if self.journal is not None:
                    self._happened(node.index, f"{node.name} refuses ({reason}): {detail}")
                case _:
                    pass

    def _note_delivery(self, node: SimNode, height: int, view: int) -> None:
        if height > self._highest:
            self._highest = height
            self.note(f"{node.name} is the first to deliver height {height}, of view {view}", node.index)
        elif self.journal is not None:
            self._happened(node.index, f"{node.name} delivers height {height}, of view {view}")

    # --- the journal

    @property
    def _elapsed_ms(self) -> int:
        return self.now_ms - START_MS

    def _happened(self, node: int | None, text: str) -> None:
        if self.journal is not None:
            self.journal.add(Happened(self._elapsed_ms, node, text))

    def _sent(self, sender: int, receiver: int, kind: int, payload: bytes) -> int:
        """Return the number of a message that leaves now."""
        self._letters += 1
        if self.journal is not None:
            self.journal.add(Sent(self._letters, self._elapsed_ms, sender, receiver, kind, payload))
        return self._letters

    def _lost(self, number: int, why: str) -> None:
        if self.journal is not None:
            self.journal.add(Lost(number, self._elapsed_ms, why))


def _shown(node: SimNode, message: Outgoing) -> bool:
    """Say whether a node passes on what another one signed: the PREPARE of a leader that proposed two blocks."""
    if messages.KINDS[message.kind][0] is not messages.Vote:
        return False
    vote = messages.decode_message(message.kind, message.payload)
    assert isinstance(vote, messages.Vote), "as its kind says"
    assert node.core is not None, "a node that sends runs"
    return vote.validator != node.core.replica.state.me
