"""`python -m bench.recovery`: how fast a real network comes back, and how little one member's flood delays another.

Here: three measurements, each several times over, of which medians are printed: `catch-up` (a node that was down
fetches what the others ordered meanwhile), `view-change` (from kill -9 of the leader to the next commit), `fairness`
(lone events of one bank with and without a flood of another's batches). Not here: throughput (`bench.__main__`).
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import cpu_seconds, latency_ms, percentile
from bench.network import BenchNet, network, send, start
from bench.workload import BATCH_EVENTS, BenchSource
from chainnode.client import CallRefused, NodeClient, TimedOut, Unreachable
from chainnode.home import Home
from chainnode.identity import read_token
from chainnode.localnet import LocalNode, wait_until_ready
from sim.arguments import Parser, whole

POLL_S = 0.01
LEVEL_TIMEOUT_S = 300.0
SETTLE_S = 3.0
LIGHT_LOAD_PAUSE_S = 0.02
ORDER_TIMEOUT_S = 60.0
FLOOD_LANES = 16
RUNS_MAX = 1_000
EVENTS_MAX = 100_000_000
LONE_MAX = 1_000_000

Figures = dict[str, Any]  # Any: JSON
Say = Callable[[str], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for and print one JSON object."""
    parser = Parser(prog="python -m bench.recovery", description=__doc__)
    parser.add_argument("what", choices=("catch-up", "view-change", "fairness"))
    parser.add_argument("--runs", type=whole(1, RUNS_MAX), default=3, help="runs, of which medians are reported (3)")
    parser.add_argument(
        "--events", type=whole(1, EVENTS_MAX), default=300_000, help="events that the node missed (300000)"
    )
    parser.add_argument("--lone", type=whole(2, LONE_MAX), default=400, help="lone events in each run (400)")
    parser.add_argument("--profile", help="catch-up: write the folded stacks of the node to this file")
    options = parser.parse_args(arguments)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    measures = {"catch-up": catch_up, "view-change": view_change, "fairness": fairness}
    print(json.dumps({options.what: measures[options.what](options, say)}))
    return 0


# --- catch-up


def catch_up(options: argparse.Namespace, say: Say) -> Figures:
    """Return how fast a node takes in what it missed, from its first block to its last and from its start."""
    rates, seconds, costs = [], [], []
    with network(4) as net:
        away = net.load().nodes[0]
        sources = [source for source in net.sources() if source.node != 0][:FLOOD_LANES]
        for number in range(options.runs):
            net.kill(away.name)
            missed = _load(net, sources, options.events)
            target = _log_size(net.load().nodes[1])
            profile = options.profile if number == options.runs - 1 else None
            rate, took = _time_catch_up(net, away, target, profile)
            loop_us, all_us = (cost / missed * 1e6 for cost in _cpu(net.node(away.name)))
            say(
                f"catch-up, run {number}: {missed:,} events, {rate:,.0f} events/s, level {took:.1f} s after its start; "
                f"{loop_us:.1f} µs of its loop and {all_us:.1f} µs of its process an event"
            )
            costs.append((loop_us, all_us))
            rates.append(rate)
            seconds.append(took)
            time.sleep(SETTLE_S)
    return {
        "events": options.events,
        "events_per_second": round(median(rates)),
        "events_per_second_all": [round(each) for each in rates],
        "level_after_start_s": round(median(seconds), 1),
        "loop_cpu_us_per_event": round(median(loop for loop, _ in costs), 2),
        "process_cpu_us_per_event": round(median(process for _, process in costs), 2),
    }


def _load(net: BenchNet, sources: list[BenchSource], events: int) -> int:
    each = max(1, events // BATCH_EVENTS // len(sources))
    built = [[source.batch(BATCH_EVENTS) for _ in range(each)] for source in sources]
    lanes = [net.lane(source, raws, BATCH_EVENTS) for source, raws in zip(sources, built, strict=True)]
    return int(send(net.directory / "job", lanes)["committed"])


def _time_catch_up(net: BenchNet, node: LocalNode, target: int, profile: str | None) -> tuple[float, float]:
    """Start the node; return the events a second between its first block and its last, and the seconds in all."""
    client = NodeClient(node.rpc, timeout_s=30.0)
    began = time.perf_counter()
    start(net, ["-m", "bench.sampling", profile] if profile else [])
    first: tuple[float, int] | None = None
    base: int | None = None
    while True:
        now = time.perf_counter()
        if now - began > LEVEL_TIMEOUT_S:
            raise TimeoutError("the node did not catch up")
        try:
            size = int(client.call("net_status")["log_size"])
        except (Unreachable, TimedOut):
            time.sleep(POLL_S)
            continue
        now = time.perf_counter()
        base = size if base is None else base
        if first is None and size > base:
            first = (now, size)
        if size >= target:
            client.close()
            assert first is not None
            return (size - first[1]) / max(now - first[0], 1e-9), now - began
        time.sleep(POLL_S)


def _cpu(node: LocalNode) -> tuple[float, float]:
    """Return the processor seconds that a node's loop and its whole process took since its start."""
    process = Path(f"/proc/{node.pid}")
    return cpu_seconds((process / f"task/{node.pid}/stat").read_text()), cpu_seconds((process / "stat").read_text())


def _log_size(node: LocalNode) -> int:
    client = NodeClient(node.rpc)
    try:
        return int(client.call("net_status")["log_size"])
    finally:
        client.close()


# --- view change


class _LightLoad(threading.Thread):
    """One source that submits one event after the other, and notes when each was asked for and when committed."""

    def __init__(self, node: LocalNode, source: BenchSource) -> None:
        super().__init__(daemon=True)
        self._client = NodeClient(node.rpc, token=read_token(Home(Path(node.home)).token), timeout_s=ORDER_TIMEOUT_S)
        self._source = source
        self.stopping = threading.Event()
        self.committed: list[tuple[float, float]] = []

    def run(self) -> None:
        while not self.stopping.wait(LIGHT_LOAD_PAUSE_S):
            asked = time.perf_counter()
            params = {"batch": base64.b64encode(self._source.batch(1)).decode(), "wait": "committed"}
            while self._client.call("ledger_submitBatch", **params)["events"][0]["status"] != "Committed":
                pass
            self.committed.append((asked, time.perf_counter()))


def view_change(options: argparse.Namespace, say: Say) -> Figures:
    """Return the seconds from kill -9 of the leader to the next commit, light load at two other nodes."""
    seconds = []
    with network(4) as net:
        nodes = {node.name: node for node in net.load().nodes}
        sources = net.sources()
        used: set[int] = set()
        for number in range(options.runs):
            leader = str(_status(next(iter(nodes.values())))["leader"])
            watchers = [node for name, node in nodes.items() if name != leader][:2]
            loads = []
            for watcher in watchers:
                place = next(
                    index
                    for index, source in enumerate(sources)
                    if index not in used and source.member == watcher.member
                )
                used.add(place)
                loads.append(_LightLoad(watcher, sources[place]))
            for load in loads:
                load.start()
            time.sleep(SETTLE_S)
            net.kill(leader)
            killed = time.perf_counter()
            took = _next_commit(loads, killed)
            for load in loads:
                load.stopping.set()
            for load in loads:
                load.join(ORDER_TIMEOUT_S)
            seconds.append(took)
            say(f"view change, run {number}: {took:.2f} s without {leader}")
            net.start([leader])
            wait_until_ready(net, [leader])
            time.sleep(SETTLE_S)
    ordered = sorted(seconds)
    return {
        "runs": len(ordered),
        "base_timeout_s": 2.0,
        "median_s": round(median(ordered), 2),
        "p90_s": round(percentile(ordered, 0.9), 2),
        "max_s": round(ordered[-1], 2),
    }


def _next_commit(loads: Sequence[_LightLoad], killed: float) -> float:
    """Return the seconds until a client is answered that asked after the kill; what was under way may still commit."""
    end = killed + ORDER_TIMEOUT_S
    while time.perf_counter() < end:
        later = [answered for load in loads for asked, answered in load.committed if asked > killed]
        if later:
            return min(later) - killed
        time.sleep(POLL_S)
    raise TimeoutError("order did not return")


def _status(node: LocalNode) -> Figures:
    client = NodeClient(node.rpc)
    try:
        found: Figures = client.call("net_status")
        return found
    finally:
        client.close()


# --- fairness


def fairness(options: argparse.Namespace, say: Say) -> Figures:
    """Return the latency of one bank's lone events without and with a flood of another's batches, on one network."""
    alone: list[float] = []
    flooded: list[float] = []
    events = 0.0
    with network(4) as net:
        victims = [source for source in net.sources() if source.node == 1]
        flooders = [source for source in net.sources() if source.node == 2]
        for number in range(options.runs):
            alone += _lone(net, victims[0], options.lone // 2)
            flood = _Flood(net, flooders)
            flood.start()
            flood.wait_until_under_way()
            during = _lone(net, victims[0], options.lone)
            flooded += during
            events += flood.finish()
            say(f"fairness, run {number}: {latency_ms(sorted(during))} beside {flood.per_second:,.0f} events/s")
    return {
        "lone_events": len(flooded),
        "alone_ms": {**latency_ms(sorted(alone)), "max": round(max(alone) * 1_000, 1)},
        "flooded_ms": {**latency_ms(sorted(flooded)), "max": round(max(flooded) * 1_000, 1)},
        "flood_events_per_second": round(events / options.runs),
    }


def _lone(net: BenchNet, source: BenchSource, count: int) -> list[float]:
    """Submit events one by one and return the seconds of each."""
    lane = net.lane(source, [source.batch(1) for _ in range(count)], 1)
    found: list[float] = send(net.directory / "lone", [lane])["latencies"]
    return found


class _Flood(threading.Thread):
    """One bank's sources, which submit full batches as fast as the node answers."""

    def __init__(self, net: BenchNet, sources: list[BenchSource]) -> None:
        super().__init__(daemon=True)
        self._net, self._sources = net, sources
        self._stopping = threading.Event()
        self._under_way = threading.Event()
        self._committed, self._seconds = 0, 0.0
        self.failure: Exception | None = None

    @property
    def per_second(self) -> float:
        """Events of the flood that were committed a second."""
        return self._committed / max(self._seconds, 1e-9)

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                lanes = [
                    self._net.lane(source, [source.batch(BATCH_EVENTS) for _ in range(4)], BATCH_EVENTS)
                    for source in self._sources
                ]
                self._under_way.set()
                answer = send(self._net.directory / "flood", lanes)
                self._committed += int(answer["committed"])
                self._seconds += float(answer["seconds"])
        except (RuntimeError, CallRefused) as error:
            self.failure = error

    def wait_until_under_way(self) -> None:
        """Return once its first batches leave."""
        self._under_way.wait(60.0)
        time.sleep(1.0)

    def finish(self) -> float:
        """End it and return its events a second."""
        self._stopping.set()
        self.join(120.0)
        if self.failure is not None:
            raise self.failure
        return self.per_second


if __name__ == "__main__":
    sys.exit(main())
