"""`python -m bench.subscribers`: what subscribers cost the node that serves them, and how soon they are told.

The same load, an open loop of events, runs with no subscriber, with one, and with many at one node, all of which are
told of every event. Here: the network, the rounds, figures. Not here: the subscribers themselves, which are a process
of their own (`bench.subscriber_reader`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.measure import Snapshot
from bench.network import BenchNet, Run, drive, network
from bench.report import table
from bench.schedule import arrivals, dealt
from bench.workload import BenchSource
from sim.arguments import Parser, whole

NODES = 4
SUBSCRIBERS = 200
EVENTS_PER_SECOND = 1_000
EVENTS_A_BATCH = 10
SECONDS = 15
WARM_UP_S = 3
LANES = 16
NODE = 0
PATIENCE_S = 60

Figures = dict[str, Any]  # Any: JSON


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the status is 1 where a subscriber missed an event."""
    parser = Parser(prog="python -m bench.subscribers", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--subscribers", type=whole(1, 250), default=SUBSCRIBERS, help=f"({SUBSCRIBERS})")
    parser.add_argument(
        "--rate", type=whole(10, 100_000), default=EVENTS_PER_SECOND, help=f"events a second ({EVENTS_PER_SECOND})"
    )
    parser.add_argument("--seconds", type=whole(1, 600), default=SECONDS, help=f"of each round ({SECONDS})")
    options = parser.parse_args(arguments)
    figures = measure(options)
    print(json.dumps(figures) if options.json else table(figures))
    return 1 if any(round_.get("missed") for round_ in figures.values()) else 0


def measure(options: argparse.Namespace) -> Figures:
    """Return the figures of a round without subscribers, with one, and with all."""
    with network(NODES, sources_a_bank=LANES // NODES) as net:
        sources = net.sources()[:LANES]
        load(net, sources, options.rate, WARM_UP_S)
        return {
            f"with_{count}_subscribers": round_of(net, sources, count, options.rate, options.seconds)
            for count in (0, 1, options.subscribers)
        }


def round_of(net: BenchNet, sources: Sequence[BenchSource], count: int, rate: int, seconds: int) -> Figures:
    """Run the load for some seconds beside so many subscribers at one node."""
    node = net.load().nodes[NODE]
    with reading(node.rpc, count, net.directory / "told") as told:
        run = load(net, sources, rate, seconds)
    cost = run.growth[NODE]
    figures: Figures = {
        "events_per_second": round(run.events_per_second),
        "node_cpu_us_per_event": round(cost.cpu_s / run.events * 1e6, 1),
        "node_cpu_share": round(cost.cpu_s / run.seconds, 3),
        "node_loop_cpu_share": round(cost.loop_cpu_s / run.seconds, 3),
        "other_nodes_cpu_us_per_event": round(_mean(run.growth[1:]) / run.events * 1e6, 1),
        "other_nodes_cpu_share": round(_mean(run.growth[1:]) / run.seconds, 3),
        "submitted_to_committed_ms": _spread(run.answer["latencies"]),
    }
    if count:
        delays = told["delays"]
        figures |= {
            "notifications_per_second": round(told["notifications"] / run.seconds),
            "megabytes_per_second": round(told["bytes"] / run.seconds / 1e6, 1),
            "block_to_subscriber_ms": _spread(delays),
            "readers_cpu_share": round(told["cpu_s"] / run.seconds, 3),
            "missed": run.events * count - told["notifications"],
            "closed": told["closed"],
        }
    print(f"{count} subscribers: {figures}", file=sys.stderr, flush=True)
    return figures


def load(net: BenchNet, sources: Sequence[BenchSource], rate: int, seconds: int) -> Run:
    """Submit batches evenly at a rate of events a second, through all nodes."""
    due = arrivals(rate / EVENTS_A_BATCH, seconds)
    lanes = [
        net.lane(source, [source.batch(EVENTS_A_BATCH) for _ in times], EVENTS_A_BATCH, times)
        for source, times in zip(sources, dealt(due, len(sources)), strict=True)
    ]
    return drive(net, lanes)


@contextmanager
def reading(url: str, count: int, file: Path) -> Iterator[Figures]:
    """Give what so many subscribers of a node will have been told, once this ends."""
    told: Figures = {}
    if not count:
        yield told
        return
    command = [sys.executable, "-m", "bench.subscriber_reader", url, str(count), str(file)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the subscribers could not begin")
        yield told
        process.stdin.write("end\n")
        process.stdin.flush()
        process.wait(PATIENCE_S)
        told.update(json.loads(file.read_text()))
    finally:
        process.kill()
        process.wait()


def _mean(nodes: Sequence[Snapshot]) -> float:
    return sum(each.cpu_s for each in nodes) / len(nodes)


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1_000, 1)
        for name, share in (("p50", 0.5), ("p99", 0.99))
        if ordered
    }


if __name__ == "__main__":
    sys.exit(main())
