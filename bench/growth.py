"""`python -m bench.growth`: what a node costs when its store has grown: at 0, 1 and 10 million events, side by side.

Here: founding one network for each size, filling its stores, starting all of them, and measuring them in turns, so
that what else the machine does falls on all sizes alike: batches of 1,000, lone events, reads cold and warm, memory,
disk and restart. Not here: filling (`bench.filling`), reads (`bench.growth_reads`), sending (`bench.driver`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench.filling import Filler, copy_rows, forget_pages, founded_before_ms
from bench.growth_reads import Drawn, draw, measure_reads
from bench.measure import TICKS_A_SECOND, disk_bytes, machine
from bench.network import BASE_PORT, BenchNet, Run, drive
from bench.report import table
from bench.restart import answers
from bench.workload import BATCH_EVENTS, BenchSource
from chainnode.home import Home
from chainnode.localnet import LocalNode, first_taken, wait_until_ready
from sim.arguments import Parser, whole

SIZES = (0, 1_000_000, 10_000_000)
SIZE_MAX = 1_000_000_000
CERTIFICATES = 10_000
NODES_MAX = 31
RUNS_MAX = 100
READS_MAX = 100_000
PORTS_A_NET = 500
SOURCES = 16
BATCHES_A_SOURCE = 6
LONE_CLIENTS = 64
LONE_EVENTS = 10
RESTARTS = 3
READY_TIMEOUT_S = 120.0
POLL_S = 0.01
MIB = 1 << 20

Figures = dict[str, Any]  # Any: JSON
Say = Callable[[str], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every size and print the figures."""
    options = parse(arguments)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    figures = measure(options, say)
    print(json.dumps(figures) if options.json else table(figures))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--sizes",
        type=whole(0, SIZE_MAX),
        nargs="+",
        default=list(SIZES),
        help="events in the stores (0 1000000 10000000)",
    )
    parser.add_argument("--nodes", type=whole(1, NODES_MAX), default=4, help="validators of each network (4)")
    parser.add_argument(
        "--certificates", type=whole(0, SIZE_MAX), default=CERTIFICATES, help="certificates in each store but 0 (10000)"
    )
    parser.add_argument("--runs", type=whole(1, RUNS_MAX), default=5, help="rounds after one that warms up (5)")
    parser.add_argument("--reads", type=whole(1, READS_MAX), default=500, help="reads of each kind (500)")
    parser.add_argument("--directory", type=Path, help="where the networks are put (default: the system's)")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace, say: Say) -> Figures:
    """Return the figures of every size, and how those of the larger compare with the smallest."""
    with ExitStack() as stack:
        grown = [stack.enter_context(network(size, number, options, say)) for number, size in enumerate(options.sizes)]
        for round_number in range(options.runs + 1):
            for each in grown:
                say(f"round {round_number}, {each.size:,} events: {each.round(counts=round_number > 0)}")
        sizes = {str(each.size): each.figures() for each in grown}
    return {
        "nodes": options.nodes,
        "machine": machine(),
        "sizes": sizes,
        "compared_with_the_first": {name: compared(sizes[str(options.sizes[0])], own) for name, own in sizes.items()},
    }


class Grown:
    """A network whose stores were filled to a size, and what was measured of it."""

    def __init__(self, net: BenchNet, size: int, sources: list[BenchSource]) -> None:
        self.net, self.size = net, size
        self._sources = sources
        self.read: Figures = {}
        self.started: Figures = {}
        self._batches: list[Run] = []
        self._lone: list[Run] = []
        self._loop_us: list[float] = []
        self._memory: list[Figures] = []

    def round(self, *, counts: bool) -> str:
        """Run batches, then lone events, and say how they went; a round that does not count only warms up."""
        before = self._loop_seconds()
        batches = self._drive(SOURCES, BATCHES_A_SOURCE, BATCH_EVENTS)
        loop_us = (self._loop_seconds() - before) / len(self.nodes) / batches.events * 1e6
        lone = self._drive(LONE_CLIENTS, LONE_EVENTS, 1)
        self._memory.append(memory_of(self.nodes))
        if counts:
            self._batches.append(batches)
            self._loop_us.append(loop_us)
            self._lone.append(lone)
        return (
            f"{batches.events_per_second:,.0f} events/s, {batches.cpu_us:.2f} µs per event and validator, of these "
            f"{loop_us:.2f} the loop's; lone {lone.events_per_second:,.0f} a second, {lone.cpu_us:.0f} µs"
        )

    def _drive(self, sources: int, batches: int, events: int) -> Run:
        lanes = []
        for source in self._sources[:sources]:
            lanes.append(self.net.lane(source, [source.batch(events) for _ in range(batches)], events))
            lanes[-1].retry = True  # a node that has just begun takes in little until it sees how fast it is
        run = drive(self.net, lanes, tolerant=True)
        wanted = len(lanes) * batches * events
        if run.events != wanted:
            raise RuntimeError(f"{run.events} of {wanted} events were committed: {run.answer['trouble']}")
        return run

    def _loop_seconds(self) -> float:
        """Return the CPU seconds of all nodes' main threads, which run their loops."""
        return sum(loop_seconds(node) for node in self.nodes)

    @property
    def nodes(self) -> list[LocalNode]:
        """The network's nodes as they run."""
        return list(self.net.load().nodes)

    def figures(self) -> Figures:
        """Return everything, having restarted one node several times at the end."""
        count = len(self._batches[0].growth)
        events = sum(run.events for run in self._batches + self._lone)
        disk = sum(each.disk for run in self._batches + self._lone for each in run.growth)
        found: Figures = {
            "events": self.size,
            "batches": {
                "events_per_second": round(median(run.events_per_second for run in self._batches)),
                "cpu_us_per_event_per_validator": round(median(run.cpu_us for run in self._batches), 2),
                "of_these_the_loop": round(median(self._loop_us), 2),
                "cpu_us_of_each_run": [round(run.cpu_us, 2) for run in self._batches],
            },
            "lone": {
                "events_per_second": round(median(run.events_per_second for run in self._lone)),
                "cpu_us_per_event_per_validator": round(median(run.cpu_us for run in self._lone), 1),
                "cpu_us_of_each_run": [round(run.cpu_us) for run in self._lone],
            },
            "disk_bytes_per_event_of_the_runs": round(disk / count / events, 1),
            "memory_mib": self._memory[-1],
            "reads": self.read,
            "restart": self.started,
        }
        found["restart"] |= restarts(self.net)
        return found


@contextmanager
def network(size: int, number: int, options: argparse.Namespace, say: Say) -> Iterator[Grown]:
    """Give a running network whose stores hold this many events, its first reads done; it is removed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="chainnode-growth-", dir=options.directory))
    net = BenchNet(directory)
    try:
        bases = range(BASE_PORT + number * PORTS_A_NET, BASE_PORT + (number + 1) * PORTS_A_NET, 100)
        base = next(base for base in bases if first_taken(options.nodes, base) is None)
        certificates = options.certificates if size else 0
        born_ms = time.time_ns() // 1_000_000 - founded_before_ms(size, certificates)
        net.found(options.nodes, base_port=base, now_ms=born_ms, step=lambda _: None)
        sources = net.sources()
        drawn = fill(net, sources, size, certificates, options.reads, say) if size else None
        grown = Grown(net, size, sources)
        start_cold(grown, drawn, say)
        yield grown
    finally:
        if net.exists:
            net.stop()
        shutil.rmtree(directory, ignore_errors=True)


def fill(net: BenchNet, sources: Sequence[BenchSource], size: int, certificates: int, reads: int, say: Say) -> Drawn:
    """Fill every home's stores alike; return what to ask them for."""
    filler = Filler(net, say)
    filler.fill(sources, size, certificates)
    drawn = draw(filler.reader(), reads, certificates)
    filler.close()
    first, *others = [Home(Path(node.home)) for node in net.load().nodes]
    for home in others:
        copy_rows(first, home)
    return drawn


def start_cold(grown: Grown, drawn: Drawn | None, say: Say) -> None:
    """Start the nodes with nothing of their stores in memory, and read what was drawn twice: cold, then warm."""
    net = grown.net
    data = Home(Path(net.load().nodes[0].home)).data
    grown.started["store_bytes_per_event"] = round(disk_bytes(data) / grown.size, 1) if grown.size else None
    for node in net.load().nodes:
        forget_pages(Path(node.home) / "data")
    began = time.perf_counter()
    net.start()
    wait_until_ready(net, [node.name for node in net.load().nodes])
    grown.started["all_nodes_cold_s"] = round(time.perf_counter() - began, 2)
    grown.started["memory_mib"] = memory_of(grown.nodes)
    say(f"{grown.size:,} events: started in {grown.started['all_nodes_cold_s']} s")
    if drawn is not None:
        node = grown.nodes[-1]
        for name in ("cold", "warm"):
            grown.read[name] = measure_reads(node.rpc, node.pid or 0, drawn)
            say(f"{grown.size:,} events, {name} reads: {grown.read[name]}")


def restarts(net: BenchNet) -> Figures:
    """Return how long one node takes from its start to /readyz, the others running: ended in order, and killed."""
    name = net.load().nodes[-1].name
    found: Figures = {}
    for how in ("after_kill", "in_order"):
        seconds = []
        for _ in range(RESTARTS):
            if how == "after_kill":
                net.kill(name)
            else:
                end(net, name)
            seconds.append(ready_after_start(net, name))
        found[f"{how}_s"] = [round(each, 2) for each in seconds]
    return found


def end(net: BenchNet, name: str) -> None:
    """End a node in order."""
    from chainnode.processes import stop

    process = net.node(name).process
    assert process is not None, "it was started"
    stop([process], timeout_s=READY_TIMEOUT_S)


def ready_after_start(net: BenchNet, name: str) -> float:
    """Start a node; return the seconds to its first good answer on /readyz."""
    began = time.perf_counter()
    net.start([name])
    while not answers(f"{net.node(name).ops}/readyz"):
        if time.perf_counter() - began > READY_TIMEOUT_S:
            raise TimeoutError("the node did not become ready")
        time.sleep(POLL_S)
    return time.perf_counter() - began


def loop_seconds(node: LocalNode) -> float:
    """Return the CPU seconds of a node's main thread, which runs its loop."""
    fields = Path(f"/proc/{node.pid}/task/{node.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def memory_of(nodes: Sequence[LocalNode]) -> Figures:
    """Return the memory of the node that has most of each kind, in MiB."""
    found = [parse_memory(Path(f"/proc/{node.pid}/status").read_text()) for node in nodes]
    return {name: round(max(each[name] for each in found) / MIB, 1) for name in found[0]}


def parse_memory(status: str) -> dict[str, int]:
    """Return what is resident in bytes of a /proc status: all of it, its anonymous part, mapped files, and the peak."""
    names = {"VmRSS": "resident", "RssAnon": "anonymous", "RssFile": "mapped_files", "VmHWM": "resident_peak"}
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return {name: int(lines[field].split()[0]) * 1024 for field, name in names.items()}


def compared(first: Figures, own: Figures) -> Figures:
    """Return how many times as much a size costs as the first does."""
    return {
        f"{workload}_cpu": round(
            own[workload]["cpu_us_per_event_per_validator"] / first[workload]["cpu_us_per_event_per_validator"], 3
        )
        for workload in ("batches", "lone")
    }


if __name__ == "__main__":
    sys.exit(main())
