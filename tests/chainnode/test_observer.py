"""A node without a vote: it weighs on nobody, and lying peers bring it nothing that it would serve."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from chainnode.core import BATCH, NodeCore
from consensus.messages import Blocks, CheckpointVote, Status, Vote, decode_message, encode_message, kind_of
from ledger.batches import parse_batch
from primitives.block import Block, CommittedBlock
from primitives.errors import InputError
from primitives.hashing import leaf_hash
from primitives.ids import Epoch, Hash, Height, View
from primitives.notes import Checkpoint, cosign_statement
from primitives.votes import COMMIT, PREPARE, QuorumCertificate, vote_statement
from sim.cluster import Cluster
from sim.disk import Disk
from sim.events import Offer
from sim.network import CALM
from sim.workload import START_MS, Source, bank_of
from tests.chainnode.test_core import sent

OBSERVER = 4
LIAR = 1
"""Of four validators f is 1, so what one signs proves nothing."""


@pytest.fixture(scope="module")
def ran() -> Cluster:
    """Four validators and an observer, after some blocks."""
    cluster = Cluster(9, weather=CALM, seats=[0, 1, 2, 3, None])
    for number in range(10):
        cluster.schedule(START_MS + 200 * number, Offer(number % 3, 2))
    cluster.run_until(START_MS + 4_000)
    return cluster


def core_in(cluster: Cluster, index: int) -> NodeCore:
    core = cluster.nodes[index].core
    assert core is not None
    return core


def fresh(cluster: Cluster) -> NodeCore:
    """Return an observer that holds the genesis, linked to a liar and an honest validator."""
    core = cluster.open_core(OBSERVER, Disk(), None)
    core.restore([], cluster.now_ms)
    for index in (LIAR, 2):
        core.connected(bank_of(index))
    core.take_turn()
    return core


def served(cluster: Cluster, count: int) -> Blocks:
    core = core_in(cluster, 0)
    core.take_turn()
    core._serve_blocks("bank-3", 1, count)
    ((_, payload),) = sent(core.take_turn(), 8)
    message = decode_message(8, payload)
    assert isinstance(message, Blocks)
    return message


def vote_of(cluster: Cluster, block_hash: Hash, index: int, phase: int = COMMIT) -> bytes:
    statement = vote_statement(phase, cluster.chain_id, Epoch(0), View(0), Height(1), block_hash)
    return core_in(cluster, index).replica.state.signer.sign_vote(statement)


def certificate_of(block_hash: Hash, *votes: tuple[int, bytes]) -> QuorumCertificate:
    return QuorumCertificate(COMMIT, Epoch(0), View(0), Height(1), block_hash, votes)


Lie = Callable[[Cluster], list[tuple[int, bytes]]]
"""Makes messages, as kind and payload, out of what the chain really holds."""


def forged(cluster: Cluster) -> tuple[CommittedBlock, Block, Hash]:
    """Return the real first block, another of its height that claims other roots, and the hash of that one."""
    real = served(cluster, 1).blocks[0]
    other = Block(replace(real.block.header, state_root=Hash(leaf_hash(b"a lie"))), real.block.batch_hashes)
    return real, other, other.header.hash()


def blocks(cluster: Cluster, *lies: CommittedBlock) -> list[tuple[int, bytes]]:
    message = Blocks(lies, served(cluster, 1).batches)
    return [(kind_of(message), encode_message(message))]


def with_the_real_certificate(cluster: Cluster) -> list[tuple[int, bytes]]:
    real, other, _ = forged(cluster)
    return blocks(cluster, CommittedBlock(other, real.certificate))


def with_none(cluster: Cluster) -> list[tuple[int, bytes]]:
    return blocks(cluster, CommittedBlock(forged(cluster)[1], None))


def with_one_vote_three_times(cluster: Cluster) -> list[tuple[int, bytes]]:
    _, other, block_hash = forged(cluster)
    vote = vote_of(cluster, block_hash, LIAR)
    return blocks(cluster, CommittedBlock(other, certificate_of(block_hash, (LIAR, vote), (LIAR, vote), (LIAR, vote))))


def with_others_names_under_one_vote(cluster: Cluster) -> list[tuple[int, bytes]]:
    _, other, block_hash = forged(cluster)
    vote = vote_of(cluster, block_hash, LIAR)
    return blocks(cluster, CommittedBlock(other, certificate_of(block_hash, (0, vote), (LIAR, vote), (2, vote))))


def with_prepares_for_commits(cluster: Cluster) -> list[tuple[int, bytes]]:
    _, other, block_hash = forged(cluster)
    votes = [(index, vote_of(cluster, block_hash, index, PREPARE)) for index in (0, 1, 2)]
    return blocks(cluster, CommittedBlock(other, certificate_of(block_hash, *votes)))


def with_another_batch_than_the_block_names(cluster: Cluster) -> list[tuple[int, bytes]]:
    real = forged(cluster)[0]
    batch = Source(bank_of(LIAR), cluster.chain_id).next_batch(3, cluster.now_ms)
    message = Blocks(
        (CommittedBlock(Block(real.block.header, (parse_batch(batch).hash,)), real.certificate),), (batch,)
    )
    return [(kind_of(message), encode_message(message))]


REFUSED: list[Lie] = [
    with_the_real_certificate,
    with_none,
    with_one_vote_three_times,
    with_others_names_under_one_vote,
    with_prepares_for_commits,
    with_another_batch_than_the_block_names,
]


def its_own_votes(cluster: Cluster) -> list[tuple[int, bytes]]:
    """What one validator may sign: it says nothing of what was decided."""
    _, _, block_hash = forged(cluster)
    votes = [
        Vote(phase, Epoch(0), View(0), Height(1), block_hash, LIAR, vote_of(cluster, block_hash, LIAR, phase))
        for phase in (PREPARE, COMMIT)
    ]
    return [(kind_of(vote), encode_message(vote)) for vote in votes]


def its_own_cosignature(cluster: Cluster) -> list[tuple[int, bytes]]:
    core = core_in(cluster, LIAR)
    root, time_s = Hash(leaf_hash(b"another log")), cluster.now_ms // 1_000
    text = Checkpoint(core.chain.genesis.origin, core.chain.log_size, root).text()
    signature = core.replica.state.signer.cosign(cosign_statement(text, time_s))
    vote = CheckpointVote(Epoch(0), core.chain.height, core.chain.log_size, root, time_s, LIAR, signature)
    return [(kind_of(vote), encode_message(vote))]


def a_height_that_nobody_reached(cluster: Cluster) -> list[tuple[int, bytes]]:
    del cluster
    far = Height(1_000_000)
    status = Status(Epoch(0), View(0), True, far, far, far, True)
    return [(kind_of(status), encode_message(status))]


PROVES_NOTHING: list[Lie] = [its_own_votes, its_own_cosignature, a_height_that_nobody_reached]


def check_untouched(core: NodeCore, cluster: Cluster) -> None:
    """Nothing of a lie is kept, and an honest peer's blocks bring the observer to what the validators hold."""
    assert (core.chain.height, core.reader.checkpoint()) == (0, None)
    message = served(cluster, 3)
    core.on_message(bank_of(2), kind_of(message), encode_message(message), cluster.now_ms)
    assert core.chain.height == 3
    assert core.chain.header == core_in(cluster, 0).reader.header(3)
    assert core.take_turn().halted is None


@pytest.mark.parametrize("lie", REFUSED)
def test_a_peer_is_refused_that_serves_a_forged_block(lie: Lie, ran: Cluster) -> None:
    core = fresh(ran)
    for kind, payload in lie(ran):
        with pytest.raises(InputError):
            core.on_message(bank_of(LIAR), kind, payload, ran.now_ms)
    check_untouched(core, ran)


@pytest.mark.parametrize("lie", PROVES_NOTHING)
def test_what_one_validator_says_alone_is_not_served(lie: Lie, ran: Cluster) -> None:
    core = fresh(ran)
    for kind, payload in lie(ran):
        core.on_message(bank_of(LIAR), kind, payload, ran.now_ms)
    core.on_tick(ran.now_ms)
    check_untouched(core, ran)


def test_an_observer_follows_all_without_a_seat(ran: Cluster) -> None:
    observer = core_in(ran, OBSERVER)
    assert ran.heights()[OBSERVER] == max(ran.heights()) > 5
    assert observer.chain.header == core_in(ran, 0).chain.header
    assert observer.replica.state.me is None


def prepared_by(linked: list[str]) -> list[str | None]:
    """Return to whom a validator sends its PREPARE of a proposal while it is linked to these."""
    cluster = Cluster(0, weather=CALM)
    core = cluster.open_core(2, Disk(), None)
    core.restore([], cluster.now_ms)
    leader = core_in(cluster, 0)
    leader.take_turn()
    for peer in linked:
        core.connected(peer)
    core.take_turn()
    raw = Source(bank_of(0), cluster.chain_id).next_batch(1, cluster.now_ms)
    leader.submit_batch(parse_batch(raw), cluster.now_ms)
    ((_, payload),) = sent(leader.take_turn(), 1)
    core.on_message("bank-0", BATCH, raw, cluster.now_ms)
    core.on_message("bank-0", 1, payload, cluster.now_ms)
    return [peer for peer, _ in sent(core.take_turn(), 2)]


def test_prepares_go_to_those_that_may_vote_alone() -> None:
    assert prepared_by(["bank-0", "bank-1"]) == [None], "one message to all costs least"
    assert prepared_by(["bank-0", "observer-4", "bank-1"]) == ["bank-0", "bank-1"]
