"""Measuring the simulator, and the protocol's cost by the number of validators.

`measure_pace`: simulated time against real time of four validators that order two blocks a second, every invariant
checked and the trace held against the model, the median of several runs. `measure_scale`: messages, bytes and CPU for
each block and validator.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from sim.cluster import Cluster
from sim.events import Offer
from sim.network import CALM
from sim.workload import START_MS

PACE_RUNS: Final = 5
PACE_MS: Final = 60_000
BLOCK_MS: Final = 500
SCALE_NODES: Final = (4, 7, 10, 31, 100)
SCALE_MS: Final = 5_000
EVENTS_A_BATCH: Final = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: its blocks, what they cost in all, and how many statements of validators the model accepted."""

    nodes: int
    blocks: int
    messages: int
    size_bytes: int
    cpu_s: float
    simulated_s: float
    accepted: int


def loaded(nodes: int, lasts_ms: int, events: int = EVENTS_A_BATCH) -> Cluster:
    """Return a calm cluster to which a batch of so many events comes every BLOCK_MS, from each bank in turn."""
    cluster = Cluster(1, nodes, CALM)
    for number in range(lasts_ms // BLOCK_MS):
        cluster.schedule(START_MS + 100 + number * BLOCK_MS, Offer(number % nodes, events))
    return cluster


def measure(nodes: int, lasts_ms: int, events: int = EVENTS_A_BATCH) -> Measured:
    """Run a calm cluster, and return what it cost. CPU is this process's, opening the nodes left out."""
    cluster = loaded(nodes, lasts_ms, events)
    began = time.process_time()
    cluster.run_until(START_MS + lasts_ms)
    cpu_s = time.process_time() - began
    network = cluster.network
    blocks, accepted = max(cluster.heights()), cluster.conformance.actions
    return Measured(nodes, blocks, network.messages, network.size_bytes, cpu_s, lasts_ms / 1_000, accepted)


def measure_pace(runs: int = PACE_RUNS, lasts_ms: int = PACE_MS) -> str:
    """Return in words how many times faster than real time four validators run on one core."""
    found = [measure(4, lasts_ms) for _ in range(runs)]
    paces = sorted(item.simulated_s / item.cpu_s for item in found)
    blocks = found[0].blocks / found[0].simulated_s
    return (
        f"4 validators, {blocks:.1f} blocks a simulated second, every rule checked, {found[0].accepted} statements "
        f"accepted by the model: {median(paces):.0f} times real time on one core (processor time), median of {runs} "
        f"runs ({paces[0]:.0f} to {paces[-1]:.0f})"
    )


def measure_scale(events: int = EVENTS_A_BATCH, sizes: Sequence[int] = SCALE_NODES, lasts_ms: int = SCALE_MS) -> str:
    """Return a table of messages, bytes and CPU for each block of so many events and each validator.

    Bytes are those that a validator sends, batches' bodies among them. Signatures are stand-ins but for the batches'.
    """
    lines = [
        f"| validators | messages a block of {events} events and validator | KiB | CPU ms | of them an event, in µs |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for nodes in sizes:
        found = measure(nodes, lasts_ms, events)
        each = found.blocks * nodes
        lines.append(
            f"| {nodes} | {found.messages / each:.0f} | {found.size_bytes / 1024 / each:.1f} "
            f"| {found.cpu_s * 1_000 / each:.1f} | {found.cpu_s * 1e6 / each / events:.1f} |"
        )
    return "\n".join(lines)
