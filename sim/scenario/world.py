"""The cluster on which a scenario is played: fixed delays, messages that are dropped, held and injected, lost disks.

Every rule of `consensus.invariants` is watched at each step, as in every simulation. Not here: the language.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from chainnode.core import NodeCore, Observer, Turn
from consensus.effects import CheckpointStable, Refused
from consensus.ports import Signer
from consensus.state import Parameters
from consensus.verify import Verifier
from ledger.chain import Chain
from ledger.genesis import Genesis
from ledger.members import read_validators_of
from ledger.pool import Pool
from ledger.reader import LedgerReader
from ledger.trust_policy import assemble_checkpoint
from primitives.errors import InputError
from primitives.ids import Epoch, TimeMs
from primitives.keys import verify as verify_ed25519
from primitives.validators import ValidatorSet
from sim.cluster import TICK_MS, Cluster
from sim.disk import Disk
from sim.events import Arrival, Synced
from sim.governance import node_key, readiness_of, signer_of
from sim.network import Weather
from sim.scenario.story import Story, name_of
from sim.signatures import STAND_IN_KINDS, stand_in_verify
from sim.statute import Statute
from sim.twister import Behaviour, Twister
from sim.workload import START_MS, genesis_of

DELAY_MS: Final = 10
SEED: Final = 1
ANYTHING: Final = "anything"


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to messages of a kind on some links: dropped, held, or `delay_ms` later."""

    what: str
    kind: str
    senders: frozenset[int]
    receivers: frozenset[int]
    delay_ms: int = 0

    def covers(self, sender: int, receiver: int, kind: str) -> bool:
        """Say whether a message falls under this rule."""
        return self.kind in (ANYTHING, kind) and sender in self.senders and receiver in self.receivers


@dataclass(frozen=True, slots=True)
class Setting:
    """What a scenario says before anything happens."""

    nodes: int = 4
    genesis: Genesis = field(default_factory=lambda: genesis_of(4))
    parameters: Parameters = field(default_factory=Parameters)
    real_signatures: bool = False
    weather: Weather | None = None
    notarised: bool = False


class KeySigner:
    """Signs with the Ed25519 keys of a simulated validator."""

    def __init__(self, name: str, generation: int) -> None:
        self._vote, self._cosign = (node_key(name, use, generation) for use in ("vote", "cosign"))

    @property
    def vote_key(self) -> bytes:
        """The voting key's public part."""
        return self._vote.public

    def sign_vote(self, statement: bytes) -> bytes:
        """Return the voting key's signature."""
        return self._vote.sign(statement)

    def cosign(self, statement: bytes) -> bytes:
        """Return the cosigning key's signature."""
        return self._cosign.sign(statement)


class WatchedCore(NodeCore):
    """A node's core that says what became of each message that the file sent, and what it declined."""

    story: Story
    node: int
    fate: str | None = None
    keeps_notes: bool = False

    def on_message(self, peer: str, kind: int, payload: bytes, now_ms: TimeMs) -> None:
        """Take a message, and note whether it was refused, declined, ignored or taken."""
        before, notices = self._fingerprint(), len(self._turn.notices)
        try:
            super().on_message(peer, kind, payload, now_ms)
        except InputError as error:
            self.fate = f"refused: {error}"
            self.story.say(f"refuses {name_of(kind, payload)} of {peer}: {error}", self.node)
            raise
        declined = [item.detail for item in self._turn.notices[notices:] if isinstance(item, Refused)]
        if declined:
            self.fate = f"declined: {declined[0]}"
        else:
            self.fate = "ignored" if self._fingerprint() == before else "taken"

    def take_turn(self) -> Turn:
        """Hand over the turn, and tell of the refusals in it; keep the notes of stable checkpoints, as a node does."""
        turn = super().take_turn()
        for notice in turn.notices:
            if isinstance(notice, Refused):
                self.story.declines(self.node, notice.detail)
            elif isinstance(notice, CheckpointStable) and self.keeps_notes:
                self._keep_note(notice)
        return turn

    def _keep_note(self, stable: CheckpointStable) -> None:
        validators = read_validators_of(self.chain.state_after(self.chain.tip_hash), stable.epoch)
        assert validators is not None, "the state keeps each epoch's set"
        key = node_key(self.name, "log")
        signed = assemble_checkpoint(
            self.chain.genesis, validators, self.name, key, stable.size, stable.root, stable.cosignatures
        )
        self.keep_checkpoint(signed)

    def _fingerprint(self) -> object:
        """Return all that a message may change: what the replica and the pool hold, and what there is to do."""
        state = self.replica.state
        slots = [
            (
                height,
                slot.proposal,
                slot.prepares.entries(),
                slot.commits.entries(),
                tuple(slot.blocks),
                slot.certificate,
            )
            for height, slot in sorted(state.slots.items())
        ]
        views = [(index, change.view) for index, change in sorted(state.view_changes.items())]
        cosigned = [(key, tuple(votes)) for key, votes in sorted(state.checkpoints.votes.items())]
        return (
            (state.epoch, state.view, state.active, state.tip.height, state.certified_height, state.moves),
            (slots, views, cosigned, sorted(state.accused), sorted(state.early), sorted(state.chosen)),
            (len(self.application.pool), len(self._turn.records), len(self._turn.outgoing), len(self._turn.notices)),
        )


class World(Cluster):
    """A cluster that does what the file says; `story` tells of it."""

    def __init__(self, setting: Setting, story: Story) -> None:
        self.setting = setting
        self.story = story
        story.sets = self.set_of
        self.puppets: set[int] = set()
        self.rules: list[Rule] = []
        self.held: list[Arrival] = []
        super().__init__(
            SEED,
            setting.nodes,
            setting.weather,
            journal=story,
            tracer=story,
            script=self._decide,
            genesis=setting.genesis,
        )
        self.parameters = setting.parameters
        self.idle_tick_ms = TICK_MS
        self.gateways.closed = True
        if setting.notarised:
            self.statute = Statute(setting.genesis)

    # --- nodes

    def open_core(self, index: int, disk: Disk, observe: Observer | None, *, learner: bool | None = None) -> NodeCore:
        """Return a core that is watched, with real or stand-in signatures."""
        node = self.nodes[index]
        core = WatchedCore(
            name=node.name,
            chain=Chain(disk.store, self.genesis, STAND_IN_KINDS),
            pool=Pool(),
            reader=LedgerReader(disk.store, self.genesis),
            signer=self.signer(index),
            parameters=self.setting.parameters,
            learner=bool(learner),
            verifier=self.verifier,
            observe=observe,
            readiness=readiness_of(node.name, node.generation or 0),
        )
        core.story, core.node, core.keeps_notes = self.story, index, self.setting.real_signatures
        return core

    @property
    def verifier(self) -> Verifier:
        """The scheme by which signatures are checked."""
        return verify_ed25519 if self.setting.real_signatures else stand_in_verify

    def signer(self, index: int, generation: int | None = None) -> Signer:
        """Return the keys of a node, those of now by default."""
        node = self.nodes[index]
        number = (node.generation or 0) if generation is None else generation
        return KeySigner(node.name, number) if self.setting.real_signatures else signer_of(node.name, number)

    def start(self, index: int) -> bool:
        """Start a node; puppets are linked to it too."""
        self.nodes[index].sync_ms_max = 0
        if not super().start(index):
            return False
        for puppet in sorted(self.puppets - {index}):
            self._connect(self.nodes[index], self.nodes[puppet])
        return True

    def go_on(self, index: int, doom: Callable[[], None]) -> None:
        """Let a write go through after all; the doom waits for the next."""
        node = self.nodes[index]
        node.doom = doom
        self.schedule(self.now_ms, Synced(index, node.life))

    def puppet(self, index: int) -> None:
        """Take a node's core away: from now on only the file speaks for it."""
        node = self.nodes[index]
        node.core, node.writing, node.malicious = None, None, self.honest_twister(index)
        node.life += 1
        self.puppets.add(index)

    def honest_twister(self, index: int) -> Behaviour:
        """Return a behaviour that sends what its core sends: no rule is held against its node."""
        return Twister(self.genesis_validators.validators[index], self.chain_id)

    def release_node(self, index: int, behaviour: Behaviour) -> None:
        """Hold no invariant against a node any more, and let its behaviour twist what it sends."""
        node = self.nodes[index]
        node.malicious = behaviour
        if node.core is not None:
            behaviour.attach(node.core)

    def restore(self, index: int, rows: dict[bytes, bytes]) -> None:
        """Put a backup of the ledger on a stopped node's disk; there is no write-ahead log in it."""
        self.wipe(index, ledger=True, log=True)
        node = self.nodes[index]
        node.disk.store.write(rows.items(), sync=True)
        reader = LedgerReader(node.disk.store, self.genesis)
        height = 0
        while (block := reader.block(height)) is not None:
            node.monitor.delivered[block.header.height] = block.hash
            height += 1

    def set_of(self, node: int, epoch: Epoch) -> ValidatorSet:
        """Return the validators of an epoch as a node knows them."""
        core = self.core(node)
        found = None if core is None else core.replica.state.set_of(epoch)
        return found or self.genesis_validators

    def running(self) -> list[int]:
        """Return the honest nodes that run."""
        return [node.index for node in self.nodes if node.core is not None and node.honest]

    def core(self, index: int) -> WatchedCore | None:
        """Return a node's core, None of one that is down or a puppet."""
        core = self.nodes[index].core
        assert core is None or isinstance(core, WatchedCore), "every core of this world is watched"
        return core

    def timeout_ms(self) -> int:
        """Return the largest time-out that a running honest node has grown to."""
        cores = [self.core(index) for index in self.running()]
        found = [core.replica.state.timeout_ms() for core in cores if core is not None]
        return max(found, default=self.setting.parameters.timeout_base_ms)

    # --- messages

    def say(self, sender: int, receiver: int, kind: int, payload: bytes) -> str:
        """Let a message of the file arrive now, and return what became of it."""
        core = self.core(receiver)
        if core is not None:
            core.fate = None
        self.story.injecting = True
        self.inject(sender, receiver, kind, payload, delay_ms=0)
        self.story.injecting = False
        self.run_until(self.now_ms)
        core = self.core(receiver)
        return "the receiver is down" if core is None else core.fate or "never arrived"

    def step(self) -> None:
        """Take the next event, and set the story's clock."""
        at_ms = self._queue[0][0]
        self.story.now_ms = max(self.now_ms, at_ms) - START_MS
        super().step()

    def run_until(self, at_ms: int) -> None:
        """Take all events up to a time."""
        super().run_until(at_ms)
        self.story.now_ms = self.now_ms - START_MS

    def release(self) -> None:
        """Let the held messages arrive, in the order in which they were sent."""
        held, self.held = self.held, []
        for number, letter in enumerate(held):
            self.schedule(self.now_ms + DELAY_MS + number // 64, letter)

    def _decide(self, sender: int, receiver: int, kind: int, payload: bytes) -> tuple[int, ...] | None:
        """Decide a message: what the file says, else a fixed delay, or the weather where the file names one."""
        name = name_of(kind, payload)
        delay_ms = DELAY_MS
        for rule in self.rules:
            if not rule.covers(sender, receiver, name):
                continue
            if rule.what == "drop":
                return ()
            if rule.what == "hold":
                self.held.append(Arrival(0, sender, receiver, kind, payload))
                return ()
            delay_ms += rule.delay_ms
        return None if self.setting.weather is not None and delay_ms == DELAY_MS else (delay_ms,)

    def set_clocks(self, indexes: Sequence[int], by_ms: int) -> None:
        """Set clocks ahead or back."""
        for index in indexes:
            self.nodes[index].skew_ms += by_ms
