"""What fuzzing needs: messages of every kind from simulated runs, and a node to send altered ones to.

The node is whole: core, ledger, pool. It stands where its run stopped, in the middle of a view change or of ordering,
and every step of it is held to the invariants of `consensus.invariants`, bounded memory included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from hypothesis import settings

from chainnode.core import BATCH_WANT, READY, WIRE_KINDS, BatchIds, NodeCore
from consensus.effects import Effect, Halt
from consensus.invariants import check_bounds
from consensus.messages import (
    CheckpointVote,
    CosignatureEvidence,
    Evidence,
    FetchProposals,
    Message,
    PrePrepare,
    Proposals,
    ViewChange,
    Vote,
    decode_message,
    encode_message,
    kind_of,
)
from consensus.state import Parameters, ReplicaState
from consensus.verify import Verifier
from ledger.chain import Chain
from ledger.genesis import validator_set
from ledger.governance_bodies import Ready
from ledger.pool import Pool
from ledger.reader import LedgerReader
from ledger.store import MemoryStore
from primitives.block import Block
from primitives.encoding import encode
from primitives.errors import InputError
from primitives.hashing import leaf_hash
from primitives.ids import Epoch, Hash, Height, TimeMs, View
from primitives.notes import Checkpoint, cosign_statement
from primitives.votes import PREPARE, vote_statement
from sim.cluster import Cluster, Offer
from sim.journal import Journal, Sent
from sim.mutator import Mutator
from sim.network import Weather
from sim.signatures import StandInSigner, stand_in_signature, stand_in_verify
from sim.workload import START_MS, genesis_of

VICTIM = 1
ATTACKER = 3
PEERS = ("bank-0", "bank-2", "bank-3")
PER_KIND = 12
KINDS = sorted(WIRE_KINDS)


def examples(count: int) -> settings:
    """Draw so many examples in the gate, and as many as `make fuzz` asks for there."""
    return settings(max_examples=count if settings.get_current_profile_name() == "gate" else settings().max_examples)


@dataclass(frozen=True)
class Snapshot:
    """Where a simulated node stood: its rows, its log's records, and the time."""

    rows: dict[bytes, bytes]
    records: tuple[bytes, ...]
    now_ms: TimeMs


@dataclass(frozen=True)
class Seeds:
    """Valid payloads of every kind, and the nodes' places at several times of the run."""

    payloads: dict[int, tuple[bytes, ...]]
    snapshots: tuple[Snapshot, ...]
    chain_id: Hash
    origin: str


@cache
def seeds() -> Seeds:
    """Run four banks through loss, a cut leader and catch-up; return what they said, the same in every process."""
    journal = Journal()
    cluster = Cluster(11, weather=Weather(loss=0.02), journal=journal)
    for number in range(40):
        cluster.schedule(START_MS + 150 * number, Offer(number % 4, 1 + number % 3))
    snapshots = []
    for at_ms in (900, 2_500, 6_300, 9_000, 12_000):
        if at_ms == 2_500:
            for other in (1, 2, 3):
                cluster.network.cut(0, other)
        if at_ms == 9_000:
            cluster.network.heal()
        cluster.run_until(START_MS + at_ms)
        disk = cluster.nodes[VICTIM].disk
        snapshots.append(Snapshot(dict(disk.store.rows()), tuple(disk.records), cluster.now_ms))
    found: dict[int, list[bytes]] = {kind: [] for kind in KINDS}
    for entry in journal.entries:
        if isinstance(entry, Sent) and entry.payload not in found[entry.kind]:
            found[entry.kind].append(entry.payload)
    for message in _rare(cluster, [decode_message(1, payload) for payload in found[1]]):
        found[kind_of(message)].append(encode_message(message))
    found[BATCH_WANT].append(encode(BatchIds(tuple(leaf_hash(payload) for payload in found[1][:3]))))
    last = decode_message(1, found[1][-1])
    assert isinstance(last, PrePrepare)
    held = last.block.header
    found[READY].append(encode(Ready(leaf_hash(b"proposal"), held.height - 1, held.parent, last.signature)))
    spread = {kind: tuple(_spread(payloads)) for kind, payloads in found.items()}
    assert all(spread.values()), f"kinds without a message: {[kind for kind in KINDS if not spread[kind]]}"
    return Seeds(spread, tuple(snapshots), cluster.chain_id, cluster.genesis.origin)


def _spread(payloads: list[bytes]) -> list[bytes]:
    """Return some payloads from all over the run."""
    step = max(1, len(payloads) // PER_KIND)
    return payloads[::step][:PER_KIND]


def _rare(cluster: Cluster, proposals: Sequence[Message]) -> list[Message]:
    """Return messages of the kinds that a run may not show."""
    blocks = [block for message in proposals if isinstance(block := getattr(message, "block", None), Block)][-3:]
    key = cluster.genesis_validators.validators[ATTACKER].vote_key
    votes = []
    for name in (b"a", b"b"):
        place = (0, 2, Height(blocks[-1].header.height + 2), leaf_hash(name))
        signed = vote_statement(PREPARE, cluster.chain_id, *place)  # type: ignore[arg-type]  # ints
        votes.append(Vote(PREPARE, *place, ATTACKER, stand_in_signature(key, signed)))  # type: ignore[arg-type]  # ints
    hashes = tuple(block.header.hash() for block in blocks)
    cosigned = [_cosigned(cluster, root) for root in (b"a", b"b")]
    return [Evidence(*votes), CosignatureEvidence(*cosigned), FetchProposals(hashes), Proposals(tuple(blocks))]


def _cosigned(cluster: Cluster, root: bytes) -> CheckpointVote:
    size, time_s = 1_000, START_MS // 1_000
    text = Checkpoint(cluster.genesis.origin, size, leaf_hash(root)).text()
    key = cluster.genesis_validators.validators[ATTACKER].cosign_key
    signature = stand_in_signature(key, cosign_statement(text, time_s))
    return CheckpointVote(Epoch(0), Height(1), size, leaf_hash(root), time_s, ATTACKER, signature)


class Victim:
    """A node opened from a snapshot; `say` sends it a message and returns whether it was taken without blame."""

    def __init__(self, snapshot: Snapshot, verifier: Verifier = stand_in_verify) -> None:
        genesis = genesis_of(4)
        validator = validator_set(genesis).validators[VICTIM]
        store = MemoryStore()
        store.write(snapshot.rows.items(), sync=True)
        self._forgeries = verifier is not stand_in_verify
        self.now_ms = snapshot.now_ms
        self.store = store
        self.core = NodeCore(
            name=validator.name,
            chain=Chain(store, genesis),
            pool=Pool(),
            reader=LedgerReader(store, genesis),
            signer=StandInSigner(validator.vote_key, validator.cosign_key),
            parameters=Parameters(),
            verifier=verifier,
            observe=self._observe,
        )
        self.core.restore(snapshot.records, self.now_ms)
        for peer in PEERS:
            self.core.connected(peer)
        self.turn()

    def _observe(self, state: ReplicaState, effects: Sequence[Effect]) -> None:
        """Hold the step to the rules that need no past; a verifier that lets forgeries pass leaves only the bounds."""
        check_bounds(state)
        forged = self._forgeries
        assert forged or not any(isinstance(effect, Halt) for effect in effects), "a malicious peer halts nobody"

    def say(self, peer: str, kind: int, payload: bytes) -> bool:
        """Send a message; False where it is held against the peer. Anything but `InputError` is ours to mend."""
        try:
            self.core.on_message(peer, kind, payload, self.now_ms)
        except InputError:
            return False
        return True

    def leave(self) -> None:
        """Let the node leave its view, as two others do, and wait for the next."""
        state = self.core.replica.state
        for index in (0, 2):
            unsigned = ViewChange(state.epoch, View(state.view + 2), index, (), (), b"")
            key = state.validators.validators[index].vote_key
            signature = stand_in_signature(key, unsigned.statement(state.chain_id))
            message = ViewChange(state.epoch, unsigned.view, index, (), (), signature)
            assert self.say(PEERS[index // 2], kind_of(message), encode_message(message))
        assert not state.active

    def tick(self, ms: int = 50) -> None:
        """Let time pass, and take the turn."""
        self.now_ms = TimeMs(self.now_ms + ms)
        self.core.on_tick(self.now_ms)
        self.turn()

    def turn(self) -> int:
        """Take the turn, write its rows, and return the bytes that leave."""
        turn = self.core.take_turn()
        self.store.write(turn.rows, sync=True)
        self.core.chain.written(self.core.chain.ticket)
        return sum(len(message.payload) for message in turn.outgoing)


def attacker() -> Mutator:
    """Return a mutator that knows all seeds and signs as the last validator."""
    found = seeds()
    validator = validator_set(genesis_of(4)).validators[ATTACKER]

    def by(key: bytes) -> Callable[[bytes], bytes]:
        return lambda statement: stand_in_signature(key, statement)

    mutator = Mutator(found.chain_id, found.origin, by(validator.vote_key), by(validator.cosign_key))
    for kind, payloads in sorted(found.payloads.items()):
        for payload in payloads:
            mutator.note(kind, payload)
    return mutator
