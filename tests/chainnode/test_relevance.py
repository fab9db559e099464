"""What others signed can be replayed at will: it costs no verification, and what is new still gets one."""

from __future__ import annotations

import msgspec
import pytest

from chainnode.allowance import VOWS_AT_ONCE, Allowance
from chainnode.core import NodeCore
from consensus.messages import (
    BLOCKS_PER_FETCH_MAX,
    Blocks,
    Evidence,
    Message,
    NewView,
    PrePrepare,
    ViewChange,
    Vote,
    decode_message,
    encode_message,
    kind_of,
)
from ledger.batches import parse_batch
from primitives.block import Block, CommittedBlock
from primitives.errors import SignatureError
from primitives.hashing import leaf_hash
from primitives.ids import Epoch, Hash, Height, TimeMs, View
from primitives.votes import COMMIT, PREPARE, QuorumCertificate, vote_statement
from sim.cluster import Cluster
from sim.disk import Disk
from sim.events import Arrival, Offer
from sim.network import CALM
from sim.signatures import StandInSigner, stand_in_verify
from sim.workload import START_MS, bank_of

NODE = 1


class Counter:
    """Counts the signatures that are verified."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, public: bytes, message: bytes, signature: bytes) -> bool:
        self.count += 1
        return stand_in_verify(public, message, signature)


class World:
    """A run with a view change; what one node received, and that node with its verifications counted."""

    def __init__(self) -> None:
        self.cluster = Cluster(5, weather=CALM)
        self.received: list[tuple[str, int, bytes]] = []
        arrive = self.cluster._arrive

        def overheard(event: Arrival) -> None:
            if event.receiver == NODE:
                self.received.append((bank_of(event.sender), event.kind, event.payload))
            arrive(event)

        self.cluster._arrive = overheard  # type: ignore[method-assign]  # listens in
        for number in range(10):
            self.cluster.schedule(START_MS + 100 * number, Offer(1 + number % 3, 2))
        self.cluster.run_until(START_MS + 3_000)
        for other in (1, 2, 3):
            self.cluster.network.cut(0, other)
        for number in range(5):
            self.cluster.schedule(START_MS + 3_100 + 100 * number, Offer(1, 2))
        self.cluster.run_until(START_MS + 12_000)
        core = self.cluster.nodes[NODE].core
        assert core is not None
        self.core: NodeCore = core
        self.counter = Counter()
        core._verifier = self.counter

    def hear(self, message: Message, peer: str = "bank-3", now_ms: int = 0) -> int:
        """Return how many signatures the node verifies for a message."""
        self.counter.count = 0
        at_ms = TimeMs(now_ms or self.cluster.now_ms)
        self.core.on_message(peer, kind_of(message), encode_message(message), at_ms)
        return self.counter.count

    def vote(self, validator: int, height: int, *, phase: int = COMMIT, view: int = 0, of: bytes = b"x") -> Vote:
        """Return a validly signed vote."""
        place = Epoch(0), View(view), Height(height), leaf_hash(of)
        return Vote(
            phase, *place, validator, self.signer(validator).sign_vote(vote_statement(phase, self.chain_id, *place))
        )

    def signer(self, index: int) -> StandInSigner:
        validator = self.cluster.genesis_validators.validators[index]
        return StandInSigner(validator.vote_key, validator.cosign_key)

    @property
    def chain_id(self) -> Hash:
        return self.cluster.chain_id


@pytest.fixture
def world() -> World:
    found = World()
    assert found.core.replica.state.view > 0
    assert found.core.replica.state.active
    return found


def test_replaying_all_that_a_node_received_costs_next_to_no_verification(world: World) -> None:
    core, now_ms = world.core, world.cluster.now_ms
    new_view = core.replica.state.new_view
    assert new_view is not None
    signed = [item for item in world.received if item[1] in (1, 2, 3, 5)]
    assert {kind for _, kind, _ in signed} == {1, 2, 3, 5}
    signed.append(("bank-3", kind_of(new_view), encode_message(new_view)))
    world.counter.count = 0
    for peer, kind, payload in signed:
        core.on_message(peer, kind, payload, now_ms)
    late = world.counter.count
    assert late <= 2 * 40, "at most one late VIEW-CHANGE of each peer is looked at"
    for _ in range(20):
        for peer, kind, payload in signed:
            core.on_message(peer, kind, payload, now_ms)
    assert world.counter.count == late


def test_the_same_vote_is_verified_once_and_another_signature_again(world: World) -> None:
    height = world.core.chain.height + 3
    vote = world.vote(2, height)
    assert [world.hear(vote), world.hear(vote), world.hear(vote)] == [1, 0, 0]
    assert world.hear(world.vote(2, height, phase=PREPARE)) == 1
    with pytest.raises(SignatureError):
        world.hear(Vote(vote.phase, *_place(vote), 2, bytes(64)))
    with pytest.raises(SignatureError):
        world.hear(Vote(vote.phase, *_place(vote), 3, vote.signature))


def _place(vote: Vote) -> tuple[Epoch, View, Height, Hash]:
    return vote.epoch, vote.view, vote.height, vote.block_hash


@pytest.mark.parametrize("above", [-3, 0, 17, 2**40])
def test_votes_and_proposals_outside_the_window_are_not_verified(world: World, above: int) -> None:
    assert world.hear(world.vote(2, world.core.chain.height + above)) == 0


def test_a_proposal_is_verified_once(world: World) -> None:
    proposals = [decode_message(kind, payload) for _, kind, payload in world.received if kind == 1]
    first = proposals[0]
    assert isinstance(first, PrePrepare)
    state = world.core.replica.state
    header = first.block.header
    block = Block(msgspec.structs.replace(header, height=Height(state.tip.height + 2)), first.block.batch_hashes)
    coming = View(state.view + 1 if state.validators.leader(View(state.view + 1)) != state.me else state.view + 2)
    place = Epoch(0), coming, block.header.height, block.header.hash()
    signature = world.signer(state.validators.leader(coming)).sign_vote(vote_statement(PREPARE, world.chain_id, *place))
    early = PrePrepare(Epoch(0), coming, block, signature)
    assert [world.hear(early), world.hear(early)] == [1, 0]
    own = View(next(view for view in range(coming, coming + 4) if state.validators.leader(View(view)) == state.me))
    assert world.hear(PrePrepare(Epoch(0), own, block, signature)) == 0, "nobody tells a leader what it proposed"
    left = Epoch(0), View(0), block.header.height, block.header.hash()
    signature = world.signer(0).sign_vote(vote_statement(PREPARE, world.chain_id, *left))
    late = PrePrepare(Epoch(0), View(0), block, signature)
    assert [world.hear(late), world.hear(late)] == [1, 0], "another one of that view would be evidence"


def late_view_change(world: World) -> ViewChange:
    unsigned = ViewChange(Epoch(0), View(1), 3, (), (), b"")
    signature = world.signer(3).sign_vote(unsigned.statement(world.chain_id))
    return ViewChange(Epoch(0), View(1), 3, (), (), signature)


def test_a_late_view_change_is_answered_now_and_then(world: World) -> None:
    world.core._allowance = Allowance(500)
    change, now_ms = late_view_change(world), world.cluster.now_ms
    world.core.take_turn()
    assert [world.hear(change), world.hear(change), world.hear(change, now_ms=now_ms + 499)] == [1, 0, 0]
    answers = [decode_message(item.kind, item.payload) for item in world.core.take_turn().outgoing if item.kind == 4]
    assert [type(item) for item in answers] == [NewView]
    assert world.hear(change, now_ms=now_ms + 500) == 1


def test_a_view_change_is_verified_once_and_a_higher_one_again(world: World) -> None:
    assert [world.hear(vow(world, view)) for view in (9, 9, 8, 10)] == [1, 0, 0, 1]


def vow(world: World, view: int) -> ViewChange:
    unsigned = ViewChange(Epoch(0), View(view), 3, (), (), b"")
    return ViewChange(Epoch(0), View(view), 3, (), (), world.signer(3).sign_vote(unsigned.statement(world.chain_id)))


def test_ever_rising_view_changes_of_a_peer_are_verified_a_few_at_once_and_then_now_and_then(world: World) -> None:
    pause_ms = world.core.replica.state.parameters.status_interval_ms // 2
    now_ms = TimeMs(world.cluster.now_ms + 60_000)
    verified = [world.hear(vow(world, 1_000 + number), now_ms=now_ms) for number in range(100)]
    assert verified == [1] * VOWS_AT_ONCE + [0] * (100 - VOWS_AT_ONCE)
    seconds = 10
    later = [
        world.hear(vow(world, 10_000 + ms), now_ms=TimeMs(now_ms + ms)) for ms in range(10, seconds * 1_000 + 1, 10)
    ]
    assert sum(later) == seconds * 1_000 // pause_ms
    assert world.hear(vow(world, 30_000), now_ms=TimeMs(now_ms + seconds * 1_000 + pause_ms)) == 1


def test_a_peers_view_changes_are_heard_again_after_quiet_and_when_the_clock_was_set_back(world: World) -> None:
    now_ms = TimeMs(world.cluster.now_ms + 60_000)
    for number, at_ms in enumerate((now_ms, now_ms + 60_000, now_ms)):
        rising = [vow(world, 1_000 * (number + 1) + step) for step in range(VOWS_AT_ONCE + 1)]
        assert [world.hear(change, now_ms=TimeMs(at_ms)) for change in rising] == [1] * VOWS_AT_ONCE + [0]


def test_evidence_against_the_accused_is_not_verified_again(world: World) -> None:
    height = world.core.chain.height + 4

    def against(validator: int, *of: bytes) -> Evidence:
        first, second = (world.vote(validator, height, of=item) for item in of)
        return Evidence(first, second)

    assert world.hear(against(2, b"a", b"b")) == 2
    assert world.hear(against(2, b"a", b"b")) == 0
    assert world.hear(against(2, b"a", b"c")) == 0
    assert world.hear(against(3, b"a", b"b")) == 2


def served(world: World, start: int, count: int) -> Blocks:
    world.core.take_turn()
    world.core._serve_blocks("bank-3", start, count)
    (payload,) = [item.payload for item in world.core.take_turn().outgoing if item.kind == 8]
    message = decode_message(8, payload)
    assert isinstance(message, Blocks)
    return message


def behind(world: World) -> tuple[NodeCore, Counter]:
    core = world.cluster.open_core(3, Disk(), None)
    core.restore([], world.cluster.now_ms)
    core._verifier = counter = Counter()
    return core, counter


def test_a_certified_block_that_waits_for_its_batches_is_verified_once(world: World) -> None:
    message = served(world, 1, 3)
    bare = encode_message(Blocks(message.blocks, ()))
    core, counter = behind(world)
    core.on_message("bank-1", 8, bare, world.cluster.now_ms)
    assert counter.count == 9
    for _ in range(5):
        core.on_message("bank-1", 8, bare, world.cluster.now_ms)
    assert counter.count == 9
    core.on_message("bank-1", 8, encode_message(message), world.cluster.now_ms)
    assert (core.chain.height, counter.count) == (3, 9)


def test_batches_of_known_blocks_are_not_even_parsed(world: World) -> None:
    message = served(world, 1, 3)
    assert world.hear(Blocks(message.blocks, (b"no batch",))) == 0


def test_batches_of_blocks_far_above_the_window_are_not_held(world: World) -> None:
    message = served(world, 1, 1)
    core, counter = behind(world)
    (committed,) = message.blocks
    for height, held in ((BLOCKS_PER_FETCH_MAX + 1, False), (BLOCKS_PER_FETCH_MAX, True)):
        blocks = Blocks((_at(world, committed, height),), message.batches)
        core.on_message("bank-1", 8, encode_message(blocks), world.cluster.now_ms)
        assert core.chain.has_batch(parse_batch(message.batches[0]).hash) is held
        assert (counter.count > 0) is held


def _at(world: World, committed: CommittedBlock, height: int) -> CommittedBlock:
    header = msgspec.structs.replace(committed.block.header, height=Height(height))
    block_hash = header.hash()
    signed = vote_statement(COMMIT, world.chain_id, Epoch(0), View(0), Height(height), block_hash)
    signatures = tuple((index, world.signer(index).sign_vote(signed)) for index in range(3))
    certificate = QuorumCertificate(COMMIT, Epoch(0), View(0), Height(height), block_hash, signatures)
    return CommittedBlock(Block(header, committed.block.batch_hashes), certificate)
