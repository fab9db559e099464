"""`python -m bench`: throughput, latency and cost of a real network, with the floor on the same bytes beside it.

Here: the workloads and the order of a run. Not here: starting nodes (`bench.network`), sending (`bench.driver`), the
floor (`bench.floor`), what is printed (`bench.report`), restart and start-up of the command line (`bench.restart`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import latency_ms, machine
from bench.network import BenchNet, Run, drive, network
from bench.report import table
from bench.workload import BATCH_EVENTS, BenchSource, write_frames
from sim.arguments import Parser, whole

LONE_CLIENTS = 64
IDLE_EVENTS = 60
IDLE_PAUSE_MS = 40
NODES_MAX = 100
RUNS_MAX = 1_000
BATCHES_MAX = 1_000_000
SOURCES_MAX = 64
LONE_MAX = 1_000_000
EVENTS_MAX = 100_000_000

Figures = dict[str, Any]  # Any: JSON


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the workloads and print their figures."""
    options = parse(arguments)
    say = (lambda _: None) if options.quiet else (lambda text: print(text, file=sys.stderr, flush=True))
    with tempfile.TemporaryDirectory(prefix="chainnode-bench-") as scratch:
        figures = measure(options, Path(scratch), say)
    print(json.dumps(figures) if options.json else table(figures))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quiet", action="store_true", help="say nothing on stderr")
    parser.add_argument("--nodes", type=whole(1, NODES_MAX), default=4, help="validators (4)")
    parser.add_argument(
        "--runs", type=whole(1, RUNS_MAX), default=3, help="runs of each workload, of which medians are reported (3)"
    )
    parser.add_argument(
        "--batches", type=whole(1, BATCHES_MAX), default=100, help="batches of 1,000 events in each run (100)"
    )
    parser.add_argument(
        "--sources", type=whole(1, SOURCES_MAX), default=16, help="sources that submit batches side by side (16)"
    )
    parser.add_argument(
        "--lone", type=whole(1, LONE_MAX), default=20, help="events of each of the 64 clients in each run (20)"
    )
    parser.add_argument("--only", choices=("batches", "lone", "idle", "restart", "help"), help="one workload alone")
    parser.add_argument(
        "--restart-events", type=whole(1, EVENTS_MAX), default=1_000_000, help="events of the restarted node (1000000)"
    )
    parser.add_argument("--profile", type=Path, help="write the profile of the first node's loop to this file")
    parser.add_argument("--no-restart", action="store_true", help="leave out the restart of a large node")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace, scratch: Path, say: Callable[[str], None]) -> Figures:
    """Return the figures of all workloads, or of the one that was asked for."""
    figures: Figures = {"nodes": options.nodes, "runs": options.runs, "machine": machine()}

    def wanted(name: str) -> bool:
        return options.only in (None, name)

    if options.only in (None, "batches", "lone", "idle"):
        profiled = ["-m", "bench.profiled", str(options.profile.absolute())] if options.profile else []
        with network(options.nodes, run=profiled) as net:
            sources = net.sources()
            if wanted("idle"):
                say("a lone event on an idle network")
                figures["idle"] = idle(net, sources[-1])
            if wanted("batches"):
                figures |= batches(net, sources, options, scratch, say)
            if wanted("lone"):
                figures["lone"] = lone(net, sources, options, say)
    if wanted("batches"):
        say("the floor on the same bytes")
        figures |= floor(scratch / "batches", figures["cpu_us_per_event_per_validator"])
    if wanted("restart") and not options.no_restart:
        from bench.restart import restart_figures

        say(f"a node with {options.restart_events} events")
        figures["restart"] = restart_figures(options.restart_events, say)
    if wanted("help"):
        from bench.restart import help_figures

        figures["help"] = help_figures()
    return figures


def batches(
    net: BenchNet, sources: list[BenchSource], options: argparse.Namespace, scratch: Path, say: Callable[[str], None]
) -> Figures:
    """Batches of 1,000 statements, each source one at a time; the first run only warms up."""
    chosen = sources[: options.sources]
    runs: list[Run] = []
    written: list[bytes] = []
    for number in range(options.runs + 1):
        built = [[source.batch(BATCH_EVENTS) for _ in range(options.batches // len(chosen) or 1)] for source in chosen]
        written += [raw for of_source in built for raw in of_source]
        lanes = [net.lane(source, raws, BATCH_EVENTS) for source, raws in zip(chosen, built, strict=True)]
        run = drive(net, lanes)
        say(
            f"batches, run {number}: {run.events_per_second:,.0f} events/s, {run.cpu_us:.2f} µs per event and validator"
        )
        if number:
            runs.append(run)
    write_frames(scratch / "batches", written)
    best = sorted(runs, key=lambda run: run.events_per_second)[len(runs) // 2]
    return {
        "events_per_second": round(median(run.events_per_second for run in runs)),
        "cpu_us_per_event_per_validator": round(median(run.cpu_us for run in runs), 2),
        "latency_ms": latency_ms(sorted(second for run in runs for second in run.answer["latencies"])),
        "driver_cpu_us_per_event": round(best.answer["cpu_seconds"] / best.events * 1e6, 2),
        "statement_bytes": round(len(written[0]) / BATCH_EVENTS),
        **resources(runs),
    }


def resources(runs: list[Run]) -> Figures:
    """Return what runs cost besides CPU: disk, memory, synced writes, blocks."""
    events = sum(run.events for run in runs)
    nodes = [each for run in runs for each in run.growth]
    count = len(runs[0].growth)
    return {
        "disk_bytes_per_event": round(sum(each.disk for each in nodes) / count / events, 1),
        "rss_peak_mib": round(max(each.rss_peak for each in nodes) / (1 << 20), 1),
        "fsyncs_per_1000_events": round(sum(each.fsyncs for each in nodes) / count / events * 1_000, 2),
        "events_per_block": round(events * count / max(1.0, sum(each.blocks for each in nodes)), 1),
    }


def lone(net: BenchNet, sources: list[BenchSource], options: argparse.Namespace, say: Callable[[str], None]) -> Figures:
    """Events that are each signed alone, from 64 clients side by side."""
    runs = []
    for number in range(options.runs + 1):
        lanes = [
            net.lane(source, [source.batch(1) for _ in range(options.lone)], 1) for source in sources[:LONE_CLIENTS]
        ]
        run = drive(net, lanes)
        say(f"lone events, run {number}: {run.events_per_second:,.0f} events/s, {run.cpu_us:.0f} µs")
        if number:
            runs.append(run)
    return {
        "clients": LONE_CLIENTS,
        "events_per_second": round(median(run.events_per_second for run in runs)),
        "cpu_us_per_event_per_validator": round(median(run.cpu_us for run in runs), 1),
        "latency_ms": latency_ms(sorted(second for run in runs for second in run.answer["latencies"])),
        **resources(runs),
    }


def idle(net: BenchNet, source: BenchSource) -> Figures:
    """One client, one event at a time, on a network that does nothing else."""
    run = drive(net, [net.lane(source, [source.batch(1) for _ in range(IDLE_EVENTS)], 1)], pause_ms=IDLE_PAUSE_MS)
    return {"events": run.events, "latency_ms": latency_ms(run.answer["latencies"])}


def floor(path: Path, node_us: float) -> Figures:
    """Return the floor's cost on these batches and how many times as much the node takes."""
    command = [sys.executable, "-m", "bench.floor", "--json", "--input", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    found = json.loads(done.stdout)
    floor_us = found["floor_cpu_us_per_event"]
    return {
        "floor_cpu_us_per_event": floor_us,
        "node_floor_ratio": round(node_us / floor_us, 2),
        "floor_steps_us": found["steps_us"],
    }


if __name__ == "__main__":
    sys.exit(main())
