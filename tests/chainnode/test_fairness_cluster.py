"""Whole clusters in which somebody tries to silence a member, or to have an honest leader deposed."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

import sim.cluster
from chainnode.application import LedgerApplication
from chainnode.core import BATCH, NodeCore
from ledger.batches import ParsedBatch, build_batch, parse_batch
from ledger.genesis import Genesis
from ledger.policy import Policy
from ledger.pool import MEMBER_BATCHES_MAX, ExceedsPolicy
from primitives.block import Block
from primitives.ids import Epoch, Hash, Height, TimeMs
from sim.cluster import Cluster
from sim.disk import Disk
from sim.events import Offer
from sim.network import CALM
from sim.twister import Twister
from sim.workload import START_MS, Source, bank_of, genesis_of, key_of, statement

Propose = Callable[[Hash, Height, Epoch, int, TimeMs], Block | None]
VICTIM = 2


def cluster_of(monkeypatch: pytest.MonkeyPatch, policy: Policy) -> Cluster:
    def genesis(count: int) -> Genesis:
        return msgspec.structs.replace(genesis_of(count), policy=policy)

    monkeypatch.setattr(sim.cluster, "genesis_of", genesis)
    return Cluster(1, weather=CALM)


def core_at(cluster: Cluster, index: int) -> NodeCore:
    core = cluster.nodes[index].core
    assert core is not None
    return core


def gaps(cluster: Cluster, index: int, count: int, start: int = 10**6) -> list[bytes]:
    """Return batches of far numbers, which can never be ordered."""
    member = bank_of(index)
    return [
        build_batch(
            [statement(member, 10**7 + number, cluster.now_ms)], chain_id=cluster.chain_id, member=member,
            key=key_of(member, "source"), number=number, previous=Hash(b"\1" * 32), time_ms=TimeMs(cluster.now_ms),
        )
        for number in range(start, start + count)
    ]  # fmt: skip


def views(cluster: Cluster) -> list[int]:
    return [core_at(cluster, index).replica.state.view for index in range(4)]


def misbehave(
    cluster: Cluster, application: LedgerApplication, propose: Propose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let the first leader propose as told; it keeps the protocol otherwise."""
    monkeypatch.setattr(application, "propose", propose)
    cluster.nodes[0].malicious = Twister(cluster.genesis_validators.validators[0], cluster.chain_id)


def ordered(cluster: Cluster, source: int) -> list[bool]:
    return [parse_batch(raw).hash in cluster.watch.ordered for raw in cluster.gateways.sources[source].batches]


def test_a_leader_that_fills_blocks_with_its_own_hidden_batches_is_deposed(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = cluster_of(monkeypatch, Policy(block_batches_max=8))
    application = core_at(cluster, 0).application
    chain = application.chain

    def propose(parent: Hash, height: Height, epoch: Epoch, proposer: int, time_ms: TimeMs) -> Block | None:
        del height
        if parent != chain.tip_hash:
            return None
        batches = [parse_batch(cluster.gateways.sources[0].next_batch(1, cluster.now_ms)) for _ in range(8)]
        for batch in batches:
            application._rows.extend(chain.add_batch(batch))
        return chain.build(parent, time_ms=time_ms, epoch=epoch, proposer=proposer, batches=batches)

    misbehave(cluster, application, propose, monkeypatch)
    for raw in gaps(cluster, 0, MEMBER_BATCHES_MAX):
        for index in (1, 2, 3):
            core_at(cluster, index).on_message(bank_of(0), BATCH, raw, cluster.now_ms)
    for number in range(20):
        cluster.schedule(START_MS + 500 + 100 * number, Offer(VICTIM, 1))
    cluster.run_until(START_MS + 10_000)
    assert views(cluster)[1:] == [1, 1, 1]
    assert all(ordered(cluster, VICTIM))


def test_gaps_given_to_the_leader_alone_do_not_depose_it() -> None:
    cluster = Cluster(1, weather=CALM)

    def attack() -> None:
        leader = core_at(cluster, 0)
        for raw in gaps(cluster, 3, MEMBER_BATCHES_MAX):
            leader.on_message(bank_of(3), BATCH, raw, cluster.now_ms)
        raw = cluster.gateways.sources[3].next_batch(1, cluster.now_ms)
        for index in (1, 2, 3):
            core_at(cluster, index).on_message(bank_of(3), BATCH, raw, cluster.now_ms)

    cluster.schedule(START_MS + 1_000, attack)
    for number in range(80):
        cluster.schedule(START_MS + 1_000 + 80 * number, Offer(number % 3, 1))
    cluster.run_until(START_MS + 8_000)
    assert views(cluster) == [0, 0, 0, 0]
    assert ordered(cluster, 3) == [True]


def test_dating_blocks_back_buys_a_leader_no_more_than_another_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(1, weather=CALM)
    application = core_at(cluster, 0).application
    select, honest = application.pool.select, application.propose

    def without_victim(chain: object, parent: Hash) -> list[ParsedBatch]:
        return [batch for batch in select(application.chain, parent) if batch.header.member != bank_of(VICTIM)]

    def dated_back(parent: Hash, height: Height, epoch: Epoch, proposer: int, time_ms: TimeMs) -> Block | None:
        del time_ms
        earliest = application.chain.header_of(parent).time_ms + 1
        return honest(parent, height, epoch, proposer, TimeMs(max(earliest, cluster.now_ms - 9_000)))

    monkeypatch.setattr(application.pool, "select", without_victim)
    misbehave(cluster, application, dated_back, monkeypatch)
    for number in range(100):
        cluster.schedule(START_MS + 12_000 + 100 * number, Offer(1, 1))
    cluster.schedule(START_MS + 14_000, Offer(VICTIM, 1))
    cluster.run_until(START_MS + 14_000 + 2 * 2_000 + 500)
    assert ordered(cluster, VICTIM) == [True]
    assert min(views(cluster)) == 1


def test_a_batch_above_the_policy_changes_no_view(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = cluster_of(monkeypatch, Policy(block_bytes_max=128 * 1024))

    def offer() -> None:
        batch = parse_batch(cluster.gateways.sources[3].next_batch(1_000, cluster.now_ms))
        with pytest.raises(ExceedsPolicy, match="at most 131072 bytes"):
            core_at(cluster, 3).submit_batch(batch, cluster.now_ms)
        core_at(cluster, 2).on_message(bank_of(3), BATCH, batch.raw, cluster.now_ms)

    cluster.schedule(START_MS + 500, offer)
    cluster.run_until(START_MS + 10_000)
    assert views(cluster) == [0, 0, 0, 0]
    assert not core_at(cluster, 2).application.something_to_order()


def opened() -> tuple[Cluster, NodeCore]:
    cluster = Cluster(1, weather=CALM)
    core = cluster.open_core(0, Disk(), None)
    core.restore([], TimeMs(START_MS))
    core.take_turn()
    return cluster, core


def test_a_batch_that_gave_way_is_not_held_and_can_come_again() -> None:
    cluster, core = opened()
    far = [parse_batch(raw) for raw in gaps(cluster, 1, MEMBER_BATCHES_MAX)]
    for batch in far:
        core.application.add_batch(batch, TimeMs(START_MS))
    core.application.add_batch(
        parse_batch(Source(bank_of(1), cluster.chain_id).next_batch(1, START_MS)), TimeMs(START_MS)
    )
    assert not core.chain.has_batch(far[-1].hash)
    assert core.chain.has_batch(far[-2].hash)


def test_nothing_is_kept_of_blocks_whose_branch_was_dropped() -> None:
    cluster, core = opened()
    application = core.application
    source = Source(bank_of(1), cluster.chain_id)
    tip = parent = core.chain.tip_hash
    blocks = []
    for number in range(3):
        application.add_batch(parse_batch(source.next_batch(1, START_MS)), TimeMs(START_MS))
        block = application.propose(parent, Height(number + 1), Epoch(0), 0, TimeMs(START_MS + 1 + number))
        assert block is not None
        application.validate(block)
        blocks.append(block)
        parent = block.header.hash()
    assert application.waiting_bytes(parent) == 0
    application.discard(blocks[0].header.hash())
    assert application._in_flight == {}
    assert application._seen == {}
    assert application.waiting_bytes(tip) == application.pool.size_bytes > 0
