"""Seeded runs: a phase of faults, then healing, after which order must return. One seed is one run, byte for byte.

During the faults every rule of `consensus.invariants` holds at each step. Once they end, within RECOVERY_TIMEOUTS of
the largest time-out that an honest node had grown to (and a pause for checkpoints), all honest nodes stand at the same
block, every batch of an honest bank is ordered exactly once, and that block's checkpoint is stable everywhere.

Where just a core of q honest nodes is healed and the others stay dead, cut off or malicious, the core commits new
batches within `core_timeouts` of the largest time-out in it: each of the f others may lead a view for nothing, and the
time-out doubles with each. Who joined belongs to the core: so it is a quorum of each epoch that comes, since no change
leaves the chain bearing fewer faults. Each epoch that begins meanwhile has views of its own, and as much time again. A
bank whose source was removed meanwhile is promised nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from consensus.invariants import require
from ledger.genesis import validator_set
from sim.changes import check_sets, plan_changes, plan_motions, silenced
from sim.cluster import Cluster
from sim.events import Offer
from sim.faults import heal, heal_core, plan
from sim.lives import plan_lives
from sim.malicious import BEHAVIOURS, EPOCH_BEHAVIOURS
from sim.node import SimNode
from sim.plan import Scenario
from sim.statute import Statute
from sim.twister import Behaviour
from sim.workload import START_MS, bank_of, genesis_of

RECOVERY_TIMEOUTS: Final = 3
RECOVERY_PAUSE_MS: Final = 5_000
SLICE_MS: Final = 250


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended: blocks, simulated time, how long order took to return, and the hash of story and disks."""

    height: int
    simulated_ms: int
    recovery_ms: int
    timeout_ms: int
    digest: str


def build(scenario: Scenario, recorded: int | None = None) -> Cluster:
    """Return the cluster of a scenario, with its load and faults in its queue."""
    genesis = genesis_of(scenario.nodes, scenario.guests, scenario.rules)
    validators = validator_set(genesis).validators
    behaviours = {behaviour.__name__: behaviour for behaviour in (*BEHAVIOURS, *EPOCH_BEHAVIOURS)}
    malicious: dict[int, Behaviour] = {
        node: behaviours[name](validators[node], genesis.chain_id) for node, name in scenario.malicious
    }
    seats = [*range(scenario.nodes), *[None] * scenario.observers]
    cluster = Cluster(
        scenario.seed,
        scenario.nodes,
        scenario.weather,
        seats=seats,
        malicious=malicious,
        recorded=recorded,
        genesis=genesis,
        records_max=scenario.records_max,
    )
    for load in scenario.loads:
        cluster.schedule(START_MS + load.at_ms, Offer(load.source, load.events))
    plan(cluster, scenario.strikes)
    plan_changes(cluster, scenario.changes)
    plan_motions(cluster, scenario.motions)
    plan_lives(cluster, scenario.lives, scenario.seed)
    if scenario.changes or scenario.motions:
        cluster.statute = Statute(genesis)
    return cluster


def run(scenario: Scenario, cluster: Cluster | None = None) -> Result:
    """Run a scenario to its end; raises `InvariantBroken` where a rule does not hold or order does not return."""
    faulty, f = scenario.faulty(), (scenario.nodes - 1) // 3
    assert len(faulty) <= f, f"{sorted(faulty)} are malicious or lose their memory, of {scenario.nodes} at most {f} may"
    cluster = cluster or build(scenario)
    cluster.run_until(START_MS + scenario.chaos_ms)
    if scenario.core:
        core = (*scenario.core, *range(scenario.nodes + scenario.observers, len(cluster.nodes)))
        heal_core(cluster, core, scenario.fate)
        healed = [cluster.nodes[index] for index in core]
        timeouts = core_timeouts(scenario.nodes)
    else:
        heal(cluster)
        healed = [node for node in cluster.nodes if node.honest]
        timeouts = RECOVERY_TIMEOUTS
    recovery_ms, timeout_ms = _recover(cluster, healed, timeouts, whole=not scenario.core)
    check_sets(cluster)
    cluster.note(f"order has returned at height {max(cluster.heights())}")
    return Result(max(cluster.heights()), cluster.elapsed_ms, recovery_ms, timeout_ms, cluster.digest())


def core_timeouts(nodes: int) -> int:
    """Return within how many time-outs a core commits: f leaders in a row may fail, and each doubles the time-out."""
    return RECOVERY_TIMEOUTS << (nodes - 1) // 3


def _recover(cluster: Cluster, healed: list[SimNode], timeouts: int, *, whole: bool) -> tuple[int, int]:
    """Let new batches come, and return after how many ms order was back, and the time-out that it is measured by."""
    healed_ms = cluster.now_ms
    before = [len(source.batches) for source in cluster.gateways.sources]
    new = [node.index for node in (cluster.nodes if whole else healed) if node.seat is not None]
    for index in new:
        cluster.schedule(healed_ms + SLICE_MS, Offer(index, 1))
    timeout_ms = max(node.core.replica.state.timeout_ms() for node in healed if node.core is not None)
    healed_epoch = _epoch(cluster)
    missing: str | None = "nothing was looked at"
    while missing is not None:
        terms = 1 + _epoch(cluster) - healed_epoch
        limit_ms = healed_ms + terms * timeouts * timeout_ms + RECOVERY_PAUSE_MS
        require(cluster.now_ms < limit_ms, "order returns when faults end", missing)
        cluster.run_until(cluster.now_ms + SLICE_MS)
        missing = lacking(cluster) if whole else lacking_in_core(cluster, healed, before)
    return cluster.now_ms - healed_ms, timeout_ms


def _epoch(cluster: Cluster) -> int:
    """Return the newest epoch that an honest node is in."""
    cores = [node.core for node in cluster.nodes if node.core is not None and node.honest]
    return max((core.replica.state.epoch for core in cores), default=0)


def lacking(cluster: Cluster) -> str | None:
    """Say what is lacking until honest nodes agree on everything that was submitted; None where nothing is."""
    cores = [(node, node.core) for node in cluster.nodes if node.honest]
    tips = {core.chain.tip_hash for _, core in cores if core is not None}
    if len(tips) != 1 or any(core is None for _, core in cores):
        return f"honest nodes stand at different blocks: {cluster.heights()}"
    for bank, source in (*enumerate(cluster.gateways.sources), *enumerate(cluster.gateways.deciders)):
        if not cluster.nodes[cluster.gateways.node_of(bank)].honest or silenced(cluster, bank):
            continue
        for batch in source.parsed:
            if batch.hash not in cluster.watch.ordered:
                return f"a batch of {bank_of(bank)} is not ordered"
    for node, core in cores:
        if core is not None and node.stable < core.chain.height:
            return f"the checkpoint of height {core.chain.height} is not stable at {node.name}"
    return None


def lacking_in_core(cluster: Cluster, core: list[SimNode], before: list[int]) -> str | None:
    """Say what is lacking until each node of a core has delivered the batches that each of them offered since."""
    banks = [node.index for node in core if node.seat is not None and not silenced(cluster, node.index)]
    for node in core:
        assert node.core is not None, "a healed node runs"
        chain = node.core.chain
        for bank in banks:
            for batch in cluster.gateways.sources[bank].parsed[before[bank] :]:
                if chain.next_number(chain.tip_hash, batch.header.source)[0] <= batch.header.number:
                    return f"a batch of {bank_of(bank)} is not committed at {node.name}: {cluster.heights()}"
    return None
