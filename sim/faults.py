"""Which faults happen when: a plan drawn from a seed, said in words, and done to a cluster.

Kinds: loss, replay, heavy-tailed delay and reordering; one-way and full partitions; a crash at every point of a write,
of any node, of the leader, of all at once; clocks that are wrong or jump; a slow disk. A plan ends: `heal` undoes all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

from primitives.ids import TimeMs
from sim.cluster import Cluster
from sim.disk import Written
from sim.network import CALM, Weather
from sim.node import SYNC_MS_MAX
from sim.workload import START_MS, bank_of

SKEW_CALM_MS: Final = 200


class Fault(StrEnum):
    """The kinds of faults that strike at a moment; the weather is there all the time."""

    CRASH = "crash"
    WRITE_CRASH = "crash in the next write"
    LEADER_CRASH = "leader crash"
    POWER_LOSS = "power loss"
    PARTITION = "partition"
    ONE_WAY = "one-way cuts"
    SKEW = "wrong clock"
    SLOW_DISK = "slow disk"


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault: when it begins, counted from the run's start, and for how long it lasts, in milliseconds."""

    fault: Fault
    at_ms: int
    lasts_ms: int


def draw_weather(random: Random) -> Weather:
    """Return a network between calm and 30 % loss, 50 % replay and delays with tails of seconds."""
    return Weather(
        loss=random.choice((0.0, 0.02, 0.1, 0.3)),
        replay=random.choice((0.0, 0.0, 0.1, 0.5)),
        delay_ms=random.choice((3, 20, 100)),
        tail_ms=random.choice((50, 500, 3_000)),
        tail_share=random.choice((0.0, 0.05, 0.2)),
    )


def draw_strikes(random: Random, chaos_ms: int, kinds: tuple[Fault, ...] = tuple(Fault)) -> list[Strike]:
    """Return up to six faults in order of time."""
    strikes = [
        Strike(random.choice(kinds), random.randrange(chaos_ms), random.choice((200, 1_000, 4_000, 10_000)))
        for _ in range(random.randint(0, 6))
    ]
    return sorted(strikes, key=lambda strike: strike.at_ms)


def plan(cluster: Cluster, strikes: list[Strike], random: Random) -> None:
    """Put faults in a cluster's queue."""
    for strike in strikes:
        cluster.schedule(START_MS + strike.at_ms, lambda strike=strike: _strike(cluster, strike, random))


def heal(cluster: Cluster) -> None:
    """End all faults: every node runs, every link is up, clocks are within SKEW_CALM_MS."""
    cluster.network.weather = CALM
    cluster.network.heal()
    for node in cluster.nodes:
        node.skew_ms = max(-SKEW_CALM_MS, min(SKEW_CALM_MS, node.skew_ms))
        node.sync_ms_max = SYNC_MS_MAX
        node.doom = None
        _start(cluster, node.index)
    cluster.note("all faults end")


def _strike(cluster: Cluster, strike: Strike, random: Random) -> None:
    nodes = len(cluster.nodes)
    index = random.randrange(nodes)
    match strike.fault:
        case Fault.CRASH:
            _crash(cluster, index, strike.lasts_ms, random)
        case Fault.WRITE_CRASH:
            cluster.nodes[index].doom = lambda: _crash(cluster, index, strike.lasts_ms, random)
        case Fault.LEADER_CRASH:
            _crash(cluster, leader_of(cluster), strike.lasts_ms, random)
        case Fault.POWER_LOSS:
            for each in range(nodes):
                _crash(cluster, each, random.randint(1, strike.lasts_ms), random)
        case Fault.PARTITION:
            side = set(random.sample(range(nodes), random.randint(1, nodes // 2)))
            cluster.network.partition([side, set(range(nodes)) - side])
            cluster.note(f"a partition: {sorted(side)} and the rest")
            _later(cluster, strike.lasts_ms, cluster.network.heal)
        case Fault.ONE_WAY:
            pairs = [(a, b) for a in range(nodes) for b in range(nodes) if a != b and random.random() < 0.3]
            for sender, receiver in pairs:
                cluster.network.cut(sender, receiver)
            cluster.note(f"one-way cuts: {pairs}")
            _later(cluster, strike.lasts_ms, cluster.network.heal)
        case Fault.SKEW:
            cluster.nodes[index].skew_ms = random.choice((-40_000, -8_000, -1_000, 1_000, 4_000, 40_000))
            cluster.note(f"the clock of {bank_of(index)} is {cluster.nodes[index].skew_ms} ms off")
        case Fault.SLOW_DISK:
            cluster.nodes[index].sync_ms_max = random.choice((100, 500, 1_500))
            cluster.note(f"the disk of {bank_of(index)} takes up to {cluster.nodes[index].sync_ms_max} ms")


def leader_of(cluster: Cluster) -> int:
    """Return the leader of the newest view that a running node is in; the first node where none runs."""
    states = [node.core.replica.state for node in cluster.nodes if node.core is not None]
    newest = max(states, key=lambda state: (state.epoch, state.view), default=None)
    return 0 if newest is None else newest.validators.leader(newest.view)


def _crash(cluster: Cluster, index: int, lasts_ms: int, random: Random) -> None:
    cluster.crash(index, random.choice(list(Written)))
    _later(cluster, lasts_ms, lambda: _start(cluster, index))


def _start(cluster: Cluster, index: int) -> None:
    if cluster.nodes[index].core is None:
        cluster.start(index)


def _later(cluster: Cluster, after_ms: int, action: Callable[[], None]) -> None:
    cluster.schedule(TimeMs(cluster.now_ms + after_ms), action)
