"""Seeded runs: a phase of faults, then healing, after which order must return. One seed is one run, byte for byte.

During the faults every rule of `consensus.invariants` holds at each step. Once they end, within RECOVERY_TIMEOUTS of
the largest time-out that an honest node had grown to (and a pause for checkpoints), all honest nodes stand at the same
block, every batch of an honest bank is ordered exactly once, and that block's checkpoint is stable everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from consensus.invariants import require
from ledger.batches import parse_batch
from ledger.genesis import validator_set
from sim.cluster import Cluster, Offer
from sim.faults import Fault, Strike, draw_strikes, draw_weather, heal, plan
from sim.malicious import BEHAVIOURS
from sim.network import Weather
from sim.twister import Behaviour
from sim.workload import START_MS, bank_of, genesis_of

CHAOS_MS: Final = 20_000
RECOVERY_TIMEOUTS: Final = 3
RECOVERY_PAUSE_MS: Final = 5_000
SLICE_MS: Final = 250


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a run consists of; `draw` makes one of a seed, tests make their own."""

    seed: int
    nodes: int
    weather: Weather
    strikes: tuple[Strike, ...]
    malicious: tuple[tuple[int, int], ...]
    """(node, number of its behaviour)"""
    batches: int
    chaos_ms: int = CHAOS_MS

    def lines(self) -> Iterator[str]:
        """Say in words what the run consists of."""
        yield f"{self.nodes} nodes, {self.batches} batches, {self.weather}"
        for node, behaviour in self.malicious:
            yield f"{bank_of(node)} is malicious: {BEHAVIOURS[behaviour].__name__}"
        for strike in self.strikes:
            yield f"{strike.fault} at {strike.at_ms} ms for {strike.lasts_ms} ms"


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended: blocks, simulated time, how long order took to return, and the hash of story and disks."""

    height: int
    simulated_ms: int
    recovery_ms: int
    timeout_ms: int
    digest: str


def draw(seed: int, nodes: int = 4) -> Scenario:
    """Return the scenario of a seed."""
    random = Random(f"scenario {seed} {nodes}")  # noqa: S311  repeatable
    f = (nodes - 1) // 3
    count = random.randint(1, f) if random.random() < 0.5 else 0
    return Scenario(
        seed=seed,
        nodes=nodes,
        weather=draw_weather(random),
        strikes=tuple(draw_strikes(random, CHAOS_MS)),
        malicious=tuple((node, random.randrange(len(BEHAVIOURS))) for node in random.sample(range(nodes), count)),
        batches=random.randint(5, 80),
    )


def build(scenario: Scenario, recorded: int | None = None) -> Cluster:
    """Return the cluster of a scenario, with its load and faults in its queue."""
    genesis = genesis_of(scenario.nodes)
    validators = validator_set(genesis).validators
    malicious: dict[int, Behaviour] = {
        node: BEHAVIOURS[number](validators[node], genesis.chain_id) for node, number in scenario.malicious
    }
    cluster = Cluster(scenario.seed, scenario.nodes, scenario.weather, malicious=malicious, recorded=recorded)
    random = Random(f"faults {scenario.seed}")  # noqa: S311  repeatable
    for _ in range(scenario.batches):
        at_ms = START_MS + random.randrange(scenario.chaos_ms)
        cluster.schedule(at_ms, Offer(random.randrange(scenario.nodes), random.randint(1, 5)))
    plan(cluster, list(scenario.strikes), random)
    return cluster


def run(scenario: Scenario, cluster: Cluster | None = None) -> Result:
    """Run a scenario to its end; raises `InvariantBroken` where a rule does not hold or order does not return."""
    cluster = cluster or build(scenario)
    cluster.run_until(START_MS + scenario.chaos_ms)
    heal(cluster)
    for node in cluster.nodes:
        cluster.schedule(cluster.now_ms + SLICE_MS, Offer(node.index, 1))
    healed_ms = cluster.now_ms
    timeout_ms = max(
        node.core.replica.state.timeout_ms() for node in cluster.nodes if node.core is not None and node.honest
    )
    limit_ms = healed_ms + RECOVERY_TIMEOUTS * timeout_ms + RECOVERY_PAUSE_MS
    missing: str | None = "nothing was looked at"
    while missing is not None:
        require(cluster.now_ms < limit_ms, "order returns when faults end", missing)
        cluster.run_until(cluster.now_ms + SLICE_MS)
        missing = lacking(cluster)
    recovery_ms = cluster.now_ms - healed_ms
    cluster.note(f"order has returned at height {max(cluster.heights())}")
    return Result(max(cluster.heights()), cluster.now_ms - START_MS, recovery_ms, timeout_ms, cluster.digest())


def lacking(cluster: Cluster) -> str | None:
    """Say what is lacking until honest nodes agree on everything that was submitted; None where nothing is."""
    cores = [(node, node.core) for node in cluster.nodes if node.honest]
    tips = {core.chain.tip_hash for _, core in cores if core is not None}
    if len(tips) != 1 or any(core is None for _, core in cores):
        return f"honest nodes stand at different blocks: {cluster.heights()}"
    for node in cluster.nodes:
        if not node.honest:
            continue
        for raw in cluster.sources[node.index].batches:
            if parse_batch(raw).hash not in cluster.watch.ordered:
                return f"a batch of {bank_of(node.index)} is not ordered"
    for node, core in cores:
        if core is not None and node.stable < core.chain.height:
            return f"the checkpoint of height {core.chain.height} is not stable at {bank_of(node.index)}"
    return None


def strikes_of(*faults: tuple[Fault, int, int]) -> tuple[Strike, ...]:
    """Return strikes of (kind, at, lasts): for tests that make their own scenario."""
    return tuple(Strike(*fault) for fault in faults)
