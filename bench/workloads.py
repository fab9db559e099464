"""The workloads: what each sends, how long, and the figures of its runs.

Here: closed loops that saturate the network, the open loop at a fixed rate, the idle network. Not here: sending
(`bench.driver`), reading the nodes (`bench.measure`), the order of a run and the floor (`bench.__main__`).

A closed loop is sized by its warm-up: each run then sends what takes about `seconds` at the rate seen last.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.certificates import LIVES_A_WAVE, STAGES
from bench.driver import Lane
from bench.measure import latency_ms, percentile, phases_ms
from bench.network import CERTIFICATE_GROUPS, BenchNet, Run, drive
from bench.schedule import arrivals, dealt
from bench.workload import BATCH_EVENTS, BenchSource, statement_params, submit_body

BATCH_LANES = 16
LONE_CLIENTS = 64
RPC_BATCH_CLIENTS = 16
OPEN_RATE = 1_000
OPEN_CLIENTS = 256
IDLE_EVENTS = 60
GATEWAY_PAIRS = 7
GATEWAY_REQUESTS = 64
COMPARED = ("batches", "rpc-batch")
IDLE_PAUSE_MS = 40

Figures = dict[str, Any]  # Any: JSON
Say = Callable[[str], None]
Build = Callable[[int], list[Lane]]
"""Return the lanes of a run of about so many requests."""


@dataclass(frozen=True)
class Closed:
    """A closed loop: how its lanes are built, how many events a request holds, how many requests warm it up."""

    name: str
    build: Build
    events_a_request: int
    warm_up: int
    in_step: bool = False


@dataclass
class Bench:
    """One network, its sources, and what was signed for it; sources go on from workload to workload."""

    net: BenchNet
    runs: int
    seconds: float
    say: Say
    sources: list[BenchSource] = field(init=False)
    written: dict[str, list[bytes]] = field(default_factory=lambda: {"batches": [], "lone": []})
    requests: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sources = self.net.sources()
        self._groups = self.net.groups()
        self._salt, self._calls_made = os.urandom(16), 0

    def closed(self, name: str) -> Closed:
        """Return a closed loop by its name."""
        nodes = len(self.net.load().nodes)
        found = {
            "batches": Closed(name, lambda count: self._signed(name, count, BATCH_LANES, BATCH_EVENTS), 1_000, 48),
            "lone": Closed(name, lambda count: self._signed(name, count, LONE_CLIENTS, 1), 1, 640),
            "certificates": Closed(name, self._lives, CERTIFICATE_GROUPS * len(STAGES) * LIVES_A_WAVE, 4, in_step=True),
            "rpc-single": Closed(name, lambda count: self._calls(count, 1, LONE_CLIENTS // nodes or 1), 1, 640),
            "rpc-batch": Closed(
                name, lambda count: self._calls(count, 1_000, RPC_BATCH_CLIENTS // nodes or 1), 1_000, 48
            ),
        }
        return found[name]

    def _signed(self, name: str, count: int, lanes: int, events: int) -> list[Lane]:
        """Signed batches, each source one at a time."""
        chosen = self.sources[:lanes]
        built = [[source.batch(events) for _ in range(max(1, round(count / len(chosen))))] for source in chosen]
        self.written[name] += [raw for of_source in built for raw in of_source]
        lanes_of = [self.net.lane(source, raws, events) for source, raws in zip(chosen, built, strict=True)]
        return [retried(lane) for lane in lanes_of]

    def _calls(self, count: int, events: int, connections: int) -> list[Lane]:
        """Calls of `ledger_submit` with unsigned events, evenly to all nodes."""
        nodes = len(self.net.load().nodes)
        each = max(connections, round(count / nodes))
        return [
            retried(self.net.node_lane(index, [self._body(events) for _ in range(each)], events, (), connections))
            for index in range(nodes)
        ]

    def _body(self, events: int) -> bytes:
        """Return a call with so many statements, different from all others."""
        now_ms, self._calls_made = time.time_ns() // 1_000_000, self._calls_made + 1
        salt = b"%b %d" % (self._salt, self._calls_made)
        return submit_body([statement_params(b"%b %d" % (salt, index), now_ms) for index in range(events)])

    def _lives(self, count: int) -> list[Lane]:
        """Waves of certificates' lives, all desks in step."""
        lanes = []
        for group in self._groups:
            for desk, said in group.waves(count).items():
                lane = retried(self.net.lane(group.desks[desk], [raw for raw, _ in said], 0))
                lane.counts = [events for _, events in said]
                lanes.append(lane)
        return lanes

    def saturate(self, closed: Closed) -> list[Run]:
        """Return the runs of a closed loop after one that warms up."""
        count, runs = self.requests.get(closed.name, closed.warm_up), []
        for number in range(self.runs + 1):
            run = drive(self.net, closed.build(count), in_step=closed.in_step)
            if closed.name == "certificates" and any(each.rejected for each in run.growth):
                raise RuntimeError("an event of a certificate's life was rejected")
            self.say(
                f"{closed.name}, {named(number)}: {run.events:,} events in {run.seconds:.1f} s, "
                f"{run.events_per_second:,.0f} events/s, {run.cpu_us:.1f} µs per event and validator"
            )
            if number:
                runs.append(run)
            if closed.name not in self.requests:
                count = max(closed.warm_up // 3, round(run.events_per_second * self.seconds / closed.events_a_request))
        return runs

    def gateways_own(self, pairs: int = GATEWAY_PAIRS) -> Figures:
        """Return what an event of a call of 1,000 costs its gateway more than in a signed batch, by runs in turn.

        The index merges its runs in waves, which cost more than what is sought: of runs that follow each other, each
        wave falls into one or the other, so the median of the differences has none of them.
        """
        nodes, kept = len(self.net.load().nodes), self.written
        self.written = {"batches": []}  # the floor has no part in these
        found: dict[str, list[float]] = {"cpu": [], "loop": []}
        for _ in range(pairs):
            signed, called = (drive(self.net, self.closed(name).build(GATEWAY_REQUESTS)) for name in COMPARED)
            found["cpu"].append((called.cpu_us - signed.cpu_us) * nodes)
            found["loop"].append((loop_us(called) - loop_us(signed)) * nodes)
        self.written = kept
        self.say(f"the gateway's own work: {', '.join(f'{value:.1f}' for value in found['cpu'])} µs an event")
        return {
            "gateway_extra_us_per_event": round(median(found["cpu"]), 2),
            "gateway_extra_us_all": [round(value, 2) for value in found["cpu"]],
            "gateway_extra_loop_us_per_event": round(median(found["loop"]), 2),
        }

    def open(self, name: str) -> Figures:
        """Return the figures of an open loop: lone events, signed or not, at a fixed rate for some seconds."""
        runs = []
        for number in range(self.runs + 1):
            due = arrivals(OPEN_RATE, self.seconds if number else 1.0)
            run = drive(self.net, self._scheduled(name, due), tolerant=True)
            seen = latency_ms(run.answer["latencies"]) if run.answer["latencies"] else {}
            self.say(f"open loop, {name}, {named(number)}: {run.events:,} events, {seen} ms")
            if number:
                runs.append(run)
        return {"rate": OPEN_RATE, **figures_of(runs)}

    def _scheduled(self, name: str, due: Sequence[float]) -> list[Lane]:
        nodes = len(self.net.load().nodes)
        if name == "lone":
            chosen = self.sources[:LONE_CLIENTS]
            lanes = [
                self.net.lane(source, [source.batch(1) for _ in times], 1, times)
                for source, times in zip(chosen, dealt(list(due), len(chosen)), strict=True)
            ]
        else:
            lanes = [
                self.net.node_lane(index, [self._body(1) for _ in times], 1, times, OPEN_CLIENTS // nodes)
                for index, times in enumerate(dealt(list(due), nodes))
            ]
        return [retried(lane) for lane in lanes]

    def idle(self) -> Figures:
        """Return the latency of one client, one event at a time, on a network that does nothing else."""
        source = self.sources[-1]
        lanes = [self.net.lane(source, [source.batch(1) for _ in range(IDLE_EVENTS)], 1)]
        run = drive(self.net, lanes, pause_ms=IDLE_PAUSE_MS)
        return {
            "events": run.events,
            "latency_ms": latency_ms(run.answer["latencies"]),
            "phases_ms": phases_of([run]),
        }


def loop_us(run: Run) -> float:
    """Return CPU microseconds of the loop's thread per event and validator."""
    return run.mean("loop_cpu_s") / run.events * 1e6


def named(number: int) -> str:
    """Return what a run is called; the first warms up."""
    return f"run {number}" if number else "warm-up"


def retried(lane: Lane) -> Lane:
    """Return the lane, a full node to be asked again."""
    lane.retry = True
    return lane


def phases_of(runs: Sequence[Run]) -> Figures:
    """Return percentiles by phase: those that the nodes tell, and the answer as the clients saw it."""
    told = phases_ms([each for run in runs for each in run.growth])
    return {**told, "answered": latency_ms(sorted(second for run in runs for second in run.answer["latencies"]))}


def figures_of(runs: Sequence[Run]) -> Figures:
    """Return the figures of runs of one workload: medians of what each run gives, sums where bytes and calls count."""
    events, validators = sum(run.events for run in runs), len(runs[0].growth)
    nodes = [each for run in runs for each in run.growth]
    phases = phases_of(runs)
    refusals: dict[str, int] = {}
    for run in runs:
        for code, count in run.answer["refusals"].items():
            refusals[code] = refusals.get(code, 0) + count
    return {
        "events_per_second": round(median(run.events_per_second for run in runs)),
        "events_per_second_all": [round(run.events_per_second) for run in runs],
        "cpu_us_per_event_per_validator": round(median(run.cpu_us for run in runs), 2),
        "cpu_us_all": [round(run.cpu_us, 2) for run in runs],
        "loop_cpu_us_per_event_per_validator": round(
            median(run.mean("loop_cpu_s") / run.events * 1e6 for run in runs), 2
        ),
        "latency_ms": phases["answered"],
        "phases_ms": phases,
        "late_ms_p99": round(percentile(sorted(s for run in runs for s in run.answer["late"]), 0.99) * 1_000, 2),
        "refusals": refusals,
        "events": events,
        "run_seconds": round(median(run.seconds for run in runs), 1),
        "disk_bytes_per_event": round(sum(each.disk for each in nodes) / validators / events, 1),
        "wire_bytes_per_event": {
            "sent_to_peers_per_validator": round(sum(each.wire_out for each in nodes) / validators / events, 1),
            "sent_by_clients": round(sum(run.answer["bytes_sent"] for run in runs) / events, 1),
            "answered_to_clients": round(sum(run.answer["bytes_received"] for run in runs) / events, 1),
        },
        "rss_peak_mib": round(max(each.rss_peak for each in nodes) / (1 << 20), 1),
        "rss_anonymous_mib": round(max(each.rss_anonymous for each in nodes) / (1 << 20), 1),
        "fsyncs_per_1000_events": round(sum(each.fsyncs for each in nodes) / validators / events * 1_000, 2),
        "events_per_block": round(events * validators / max(1.0, sum(each.blocks for each in nodes)), 1),
        "driver_cpu_us_per_event": round(sum(run.answer["cpu_seconds"] for run in runs) / events * 1e6, 2),
    }
