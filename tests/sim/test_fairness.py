"""A member that floods the network delays nobody else: the bound of docs/performance.md, counted in blocks and in time.

Every bank but one keeps its place in every pool full; the last one offers lone events. Blocks are small here, so that
the flood fills hundreds of them.
"""

from __future__ import annotations

from statistics import median

import msgspec
import pytest

import sim.cluster
from chainnode.core import NodeCore
from ledger.batches import parse_batch
from ledger.genesis import Genesis
from ledger.policy import Policy
from ledger.pool import MEMBER_BATCHES_MAX, Pool
from primitives.ids import Hash
from sim.cluster import Cluster
from sim.events import Offer
from sim.network import Weather
from sim.workload import START_MS, bank_of, genesis_of

VICTIM = 3
LEADER = 0
BATCHES_A_BLOCK = 4
LONE_EVENTS = 30
WARM_UP_MS = 1_000
WEATHER = Weather(delay_ms=40, tail_share=0.0)


def cluster_of(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    def genesis(count: int) -> Genesis:
        return msgspec.structs.replace(genesis_of(count), policy=Policy(block_batches_max=BATCHES_A_BLOCK))

    monkeypatch.setattr(sim.cluster, "genesis_of", genesis)
    return Cluster(7, weather=WEATHER)


class Race:
    """Lone events of one bank: when each was offered, when the leader held it, and which block took it when."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.offered_ms: dict[Hash, int] = {}
        self.next_height: dict[Hash, int] = {}
        self.delivered_ms: dict[Hash, int] = {}
        self.flood_left = 0

    def run(self, flooders: tuple[int, ...]) -> None:
        cluster = self.cluster
        for flooder in flooders:
            for _ in range(MEMBER_BATCHES_MAX):
                cluster.schedule(START_MS, Offer(flooder, 1))
        for number in range(LONE_EVENTS):
            at_ms = START_MS + WARM_UP_MS + 113 * number
            cluster.schedule(at_ms, Offer(VICTIM, 1))
            cluster.schedule(at_ms, lambda at_ms=at_ms: self._offered(at_ms))
        while cluster.now_ms < START_MS + WARM_UP_MS + 113 * LONE_EVENTS + 2_000:
            cluster.step()
            self._look()

    def _offered(self, at_ms: int) -> None:
        self.offered_ms[parse_batch(self.cluster.gateways.sources[VICTIM].batches[-1]).hash] = at_ms

    def _look(self) -> None:
        """Note which height the leader proposes next when it holds an event, and when the victim's node has it."""
        leader, own = core_of(self.cluster, LEADER), core_of(self.cluster, VICTIM)
        for batch_hash in self.offered_ms:
            if batch_hash not in self.next_height and leader.chain.has_batch(batch_hash):
                self.next_height[batch_hash] = 1 + max(leader.replica.state.slots, default=leader.chain.height)
            if batch_hash not in self.delivered_ms and self.cluster.watch.ordered.get(batch_hash, 1 << 60) <= (
                own.chain.height
            ):
                self.delivered_ms[batch_hash] = self.cluster.now_ms
                self.flood_left = len(leader.application.pool)

    def blocks_waited(self) -> list[int]:
        """Return by how many blocks each event missed the first one proposed after the leader held it."""
        ordered = self.cluster.watch.ordered
        return [ordered[batch_hash] - height for batch_hash, height in self.next_height.items()]

    def latencies_ms(self) -> list[int]:
        return [self.delivered_ms[batch_hash] - at_ms for batch_hash, at_ms in self.offered_ms.items()]


def core_of(cluster: Cluster, index: int) -> NodeCore:
    core = cluster.nodes[index].core
    assert core is not None
    return core


def race(monkeypatch: pytest.MonkeyPatch, flooders: tuple[int, ...]) -> Race:
    lone = Race(cluster_of(monkeypatch))
    lone.run(flooders)
    assert len(lone.delivered_ms) == LONE_EVENTS, "every lone event is committed"
    return lone


def test_a_lone_event_is_in_the_first_block_proposed_after_the_leader_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lone = race(monkeypatch, flooders=(0, 1, 2))
    assert max(lone.blocks_waited()) == 0
    assert lone.flood_left > 10 * BATCHES_A_BLOCK, "the flood lasts until the last lone event is committed"


def test_a_flood_of_all_others_adds_less_than_a_block_interval_to_the_median(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = race(monkeypatch, flooders=()).latencies_ms()
    flooded = race(monkeypatch, flooders=(0, 1, 2)).latencies_ms()
    interval_ms = Cluster(1).parameters.propose_interval_ms
    assert median(flooded) - median(alone) <= interval_ms
    assert max(flooded) - max(alone) <= 4 * interval_ms


def test_without_a_share_for_each_member_the_flood_would_delay_lone_events(monkeypatch: pytest.MonkeyPatch) -> None:
    def first_come(pool: Pool, chain: object, parent: Hash) -> list[object]:
        waiting = [item.batch for item in pool.orderable(chain, parent)]  # type: ignore[arg-type]  # the same chain
        return sorted(waiting, key=lambda batch: batch.header.member)[:1]

    monkeypatch.setattr(Pool, "select", first_come)
    lone = Race(cluster_of(monkeypatch))
    lone.run((0, 1, 2))
    assert bank_of(VICTIM) == "bank-3", "the last in the order of names"
    assert len(lone.delivered_ms) < LONE_EVENTS
