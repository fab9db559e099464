"""Changes of the validator set in a simulated run, drawn from a seed: nodes that join and nodes that leave.

Here: what is proposed when, and the votes, cast again and again since batches and whole nodes are lost meanwhile. Not
here: the events themselves (`sim.governance`), who is lost (`sim.faults`).
"""

from __future__ import annotations

from random import Random
from typing import Final

from sim.cluster import Cluster
from sim.governance import addition, removal
from sim.workload import START_MS, bank_of

CHANGES: Final = 3
NODES_MAX: Final = 9
PORT: Final = 7_600
VOTES_AFTER_MS: Final = (800, 3_000, 9_000)


def plan_changes(cluster: Cluster, random: Random, chaos_ms: int) -> None:
    """Put a few changes in the cluster's queue, at moments of the time of faults."""
    for _ in range(CHANGES):
        cluster.schedule(START_MS + random.randrange(500, max(1_000, chaos_ms)), lambda: propose_one(cluster, random))


def propose_one(cluster: Cluster, random: Random) -> None:
    """Have a bank propose that a further node joins, or that one which joined leaves, and all banks vote for it."""
    cores = [node.core for node in cluster.nodes if node.core is not None]
    if not cores:
        return
    chain = max((core.chain for core in cores), key=lambda chain: chain.height)
    present = [validator.name for validator in chain.validators_after(chain.tip_hash).validators]
    later = [name for name in present if name not in {bank_of(i) for i in range(len(cluster.sources))}]
    bank = random.randrange(len(cluster.sources))
    if len(cluster.nodes) < NODES_MAX and random.random() < 2 / 3:
        name = f"{bank_of(bank)}-{len(cluster.nodes)}"
        cluster.add_node(name, bank)
        proposal = cluster.propose(bank, addition(cluster.chain_id, name, bank_of(bank), PORT + len(cluster.nodes)))
    elif later:
        proposal = cluster.propose(bank, removal(random.choice(later), fewer_faults=True))
    else:
        return
    for after_ms in VOTES_AFTER_MS:
        cluster.schedule(cluster.now_ms + after_ms, lambda: cluster.approve(proposal, range(len(cluster.sources))))
