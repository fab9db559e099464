"""`python -m bench.observers`: what observers cost the validators, and what reading costs wherever it is done.

Here: a network of four validators that takes a steady load, with no, one or two observers, without and with reads; the
CPU of each node, and latencies. On few cores the nodes share what there is, so CPU time is what counts: reads a second
are told as well, and cannot grow with the nodes where these have no processors of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.driver import Lane
from bench.measure import Snapshot, percentile, snapshot
from bench.network import SETTLE_S, BenchNet, network, send
from bench.report import table
from chainnode.localnet import wait_until_ready
from chainnode.localnet_join import add_observer
from ledger.batches import parse_batch
from sim.arguments import Parser, whole

NODES = 4
OBSERVERS = 2
SOURCES = 8
BATCH_EVENTS = 25
EVENTS_A_SECOND = 1_000
READS_A_SECOND = 400
SECONDS = 15
READ_CONNECTIONS = 4
READY_S = 60.0
METHODS = ("ledger_getEvent", "ledger_getProof")

Figures = dict[str, Any]  # Any: JSON


@dataclass(frozen=True)
class Part:
    """One stretch of a run: what each running node used, by name, and what the driver saw."""

    used: dict[str, Snapshot]
    answer: Figures
    events: int
    reads: int

    def cpu_us(self, names: Sequence[str]) -> float:
        """CPU microseconds per committed event, the mean over these nodes."""
        return sum(self.used[name].cpu_s for name in names) / len(names) / max(1, self.events) * 1e6

    def latencies_ms(self, *, of_reads: bool) -> dict[str, float]:
        """Median and 99th percentile of the reads, or of the batches from when they were due to their commit."""
        rows = [row for row in self.answer["samples"] if bool(row[3]) is not of_reads]
        found = sorted(row[1] * 1e3 for row in rows)
        return {"p50_ms": round(percentile(found, 0.5), 1), "p99_ms": round(percentile(found, 0.99), 1)}


class Runs:
    """The network under load; `take` gives the figures of one number of observers."""

    def __init__(self, net: BenchNet, options: argparse.Namespace) -> None:
        self._net, self._options = net, options
        self._sources = net.sources()[:SOURCES]
        self._validators = [node.name for node in net.load().nodes]
        self._observers: list[str] = []
        self._running = set(self._validators)
        self._event_ids: list[str] = []

    def observe(self, count: int) -> None:
        """Have so many observers run, all caught up."""
        while len(self._observers) < count:
            node = add_observer(
                self._net, "bank-b", name=None, now_ms=time.time_ns() // 1_000_000, timeout_s=READY_S, step=_quiet
            )
            self._observers.append(node.name)
            self._running.add(node.name)
        for number, name in enumerate(self._observers):
            if number >= count and name in self._running:
                self._net.kill(name)
                self._running.discard(name)
            elif number < count and name not in self._running:
                self._net.start([name])
                self._running.add(name)
        wait_until_ready(self._net, sorted(self._running), timeout_s=READY_S)

    def take(self, count: int) -> Figures:
        """Return the figures of one run with so many observers: reads go to them, or to one validator without any."""
        self.observe(count)
        at = self._observers[:count] or self._validators[:1]
        alone = self._part([])
        read = self._part(at)
        closed = self._closed(at)
        others = [name for name in self._validators if name not in at]
        serving = sum(read.used[name].cpu_s - alone.used[name].cpu_s * read.events / alone.events for name in at)
        return {
            "validator_us_per_event": alone.cpu_us(self._validators),
            "validator_us_per_event_with_reads": read.cpu_us(self._validators),
            "validators_that_serve_no_reads_us_per_event": read.cpu_us(others),
            "observer_us_per_event": alone.cpu_us(at) if count else None,
            "read_us": serving / read.reads * 1e6,
            "reads_a_second": closed,
            "commit": alone.latencies_ms(of_reads=False),
            "commit_with_reads": read.latencies_ms(of_reads=False),
            "read": read.latencies_ms(of_reads=True),
        }

    def _part(self, at: Sequence[str]) -> Part:
        """Put the load on the validators, and the reads on the nodes that are named, at fixed rates."""
        seconds = self._options.seconds
        steps = seconds * self._options.events // (BATCH_EVENTS * SOURCES)
        lanes, events = list[Lane](), 0
        for number, source in enumerate(self._sources):
            batches = [source.batch(BATCH_EVENTS) for _ in range(steps)]
            due = [(step + number / SOURCES) * seconds / steps for step in range(steps)]
            lanes.append(self._net.lane(source, batches, BATCH_EVENTS, due))
            events += steps * BATCH_EVENTS
            self._event_ids += [item.hex() for item in parse_batch(batches[0]).ids]
        reads = seconds * self._options.reads // max(1, len(at)) if at else 0
        for name in at:
            due = [place * seconds / reads for place in range(reads)]
            lanes.append(self._reading(name, reads, due, READ_CONNECTIONS))
        before: dict[str, Snapshot] = {}
        answer = send(self._net.directory / "job", lanes, loaded=lambda: before.update(self._snapshots()))
        used = {name: late.since(before[name]) for name, late in self._snapshots().items()}
        return Part(used, answer, events, reads * len(at))

    def _closed(self, at: Sequence[str]) -> float:
        """Return reads a second of connections that ask again as soon as they are answered, on a quiet chain."""
        reads = self._options.seconds * self._options.reads // len(at)
        lanes = [self._reading(name, reads, (), READ_CONNECTIONS) for name in at]
        return float(reads * len(at) / send(self._net.directory / "job", lanes)["seconds"])

    def _reading(self, name: str, count: int, due: Sequence[float], connections: int) -> Lane:
        """Return connections that read events and receipts of the first batches at a node."""
        index = next(place for place, node in enumerate(self._net.load().nodes) if node.name == name)
        known = self._event_ids[: SOURCES * BATCH_EVENTS]
        bodies = [
            json.dumps(
                {
                    "jsonrpc": "2.0",
                    "id": place,
                    "method": METHODS[place % len(METHODS)],
                    "params": {"event_id": known[place // len(METHODS) % len(known)]},
                }
            ).encode()
            for place in range(count)
        ]
        return self._net.node_lane(index, bodies, 0, due, connections)

    def _snapshots(self) -> dict[str, Snapshot]:
        time.sleep(SETTLE_S)
        nodes = [node for node in self._net.load().nodes if node.name in self._running]
        return {node.name: snapshot(node.pid or 0, Path(node.home), node.ops) for node in nodes}


def _quiet(step: str) -> None:
    del step


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = Parser(prog="python -m bench.observers", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--runs", type=whole(1, 100), default=3, help="of each number of observers (3)")
    parser.add_argument("--seconds", type=whole(2, 600), default=SECONDS, help=f"of each part of a run ({SECONDS})")
    parser.add_argument("--events", type=whole(200, 100_000), default=EVENTS_A_SECOND, help="events a second (1,000)")
    parser.add_argument("--reads", type=whole(1, 10_000), default=READS_A_SECOND, help="reads a second (400)")
    options = parser.parse_args(arguments)
    os.environ["CHAINNODE_RPC__REQUESTS_PER_SECOND_MAX"] = "1000000"
    found: dict[int, list[Figures]] = {count: [] for count in range(OBSERVERS + 1)}
    with network(NODES) as net:
        runs = Runs(net, options)
        runs.take(0)  # the first of all warms the nodes up, and is not counted
        for run in range(options.runs):
            for count, rows in found.items():
                print(f"run {run + 1} of {options.runs}, {count} observers", file=sys.stderr, flush=True)
                rows.append(runs.take(count))
    figures = {f"{count} observers": _medians(rows) for count, rows in found.items()}
    print(json.dumps(figures) if options.json else table(figures))
    return 0


def _medians(rows: Sequence[Figures]) -> Figures:
    """Return the median of each figure over the runs; figures of one name may lie in a table of their own."""
    result: Figures = {}
    for name, first in rows[0].items():
        if isinstance(first, dict):
            result[name] = _medians([row[name] for row in rows])
        elif first is not None:
            result[name] = round(median(row[name] for row in rows), 1)
    return result


if __name__ == "__main__":
    sys.exit(main())
