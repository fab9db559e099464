"""`python -m bench.overload`: what becomes of a real network at twice the load that it can take.

Here: the peak (each source one request at a time), then requests at a multiple of it, sent by processes of their own
whatever the nodes answer; committed events a second, latency of what was admitted, refusals by name, memory and the
lag of each node's loop, in windows. With `--bad`: what 1 % of bad submissions cost the good ones. Not here: sending
(`bench.flood`), starting nodes (`bench.network`).
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any
from urllib.request import urlopen

import msgspec

from bench.bad_input import Bad, bad_requests
from bench.flood import FloodJob, FloodLane
from bench.measure import cpu_seconds, latency_ms, machine, metric_sum
from bench.network import BenchNet, network, run_senders
from bench.report import table
from bench.workload import BenchSource, batch_body, http_request, write_frames
from chainnode.home import Home
from chainnode.identity import read_token
from primitives.ids import Hash
from sim.arguments import Parser, whole

SOURCES_A_BANK = 56
PEAK_SOURCES = {1_000: 16, 1: 64}
PEAK_RUNS = 2
WINDOW_S = 5.0
DRIVERS = 2
SAMPLE_S = 0.5
SPARE = 1.3
LONE_EVENTS_MAX = 16
EVENT_COUNTER = "chainnode_events_committed_total"
_BUCKET = re.compile(r'^(chainnode_[a-z_]+)_bucket\{le="([^"]+)"\} ([0-9.e+]+)$', re.MULTILINE)

Figures = dict[str, Any]  # Any: JSON


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for and print the figures."""
    parser = Parser(prog="python -m bench.overload", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--events", type=whole(1, 1_000), default=1_000, help="events in a batch (1000)")
    parser.add_argument("--seconds", type=whole(5, 3_600), default=60, help="length of the overload (60)")
    parser.add_argument("--peak-seconds", type=whole(2, 600), default=15, help="length of each peak run (15)")
    parser.add_argument("--factor", type=whole(1, 100), default=2, help="multiple of the peak that is offered (2)")
    parser.add_argument("--wait", choices=("none", "accepted", "committed"), help="what requests wait for")
    parser.add_argument("--honour", action="store_true", help="let refused sources rest as the refusals say")
    parser.add_argument(
        "--bad", action="store_true", help="measure what 1 %% of bad submissions cost the others instead"
    )
    parser.add_argument("--pairs", type=whole(1, 100), default=3, help="with --bad: clean and bad runs in turn (3)")
    parser.add_argument(
        "--requests", type=whole(100, 1_000_000), help="with --bad: good ones in each run (600, lone 1920)"
    )
    parser.add_argument("--plot", type=Path, help="draw throughput, latency and memory over time to this SVG file")
    options = parser.parse_args(arguments)
    with network(4, sources_a_bank=SOURCES_A_BANK) as net:
        figures = Overload(net, options).bad() if options.bad else Overload(net, options).run()
    if options.plot:
        from bench.overload_plot import draw

        options.plot.write_text(draw(figures))
    print(json.dumps(figures) if options.json else table({k: v for k, v in figures.items() if k != "samples"}))
    return 0


def say(text: str) -> None:
    """Tell on stderr how far it is."""
    print(text, file=sys.stderr, flush=True)


class Samples(threading.Thread):
    """Reads, twice a second, what each node holds in memory and how many events are committed."""

    def __init__(self, net: BenchNet) -> None:
        super().__init__(daemon=True)
        self._pids = [node.pid or 0 for node in net.load().nodes]
        self._ops = [node.ops for node in net.load().nodes]
        self._ending = threading.Event()
        self.rows: list[Figures] = []
        self.started = time.perf_counter()
        self.first = self._metrics()
        self.last: list[str] = []

    def run(self) -> None:
        """Sample until told to end."""
        while not self._ending.wait(SAMPLE_S):
            self.rows.append(self._row())

    def finish(self) -> None:
        """Stop, with a last reading."""
        self._ending.set()
        self.join()
        self.last = self._metrics()

    def _row(self) -> Figures:
        with urlopen(f"{self._ops[0]}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        memory = [memory_bytes(Path(f"/proc/{pid}/status").read_text()) for pid in self._pids]
        return {
            "at_s": round(time.perf_counter() - self.started, 2),
            "committed": metric_sum(text, EVENT_COUNTER),
            "pending": metric_sum(text, "chainnode_gateway_pending_events"),
            "rss_mib": [round(total / (1 << 20), 1) for total, _ in memory],
            "anonymous_mib": [round(anonymous / (1 << 20), 1) for _, anonymous in memory],
        }

    def _metrics(self) -> list[str]:
        texts = []
        for ops in self._ops:
            with urlopen(f"{ops}/metrics", timeout=30) as answer:
                texts.append(answer.read().decode())
        return texts

    def histogram(self, name: str) -> list[dict[str, float]]:
        """Return, for each node, the growth of a histogram's buckets by upper bound in seconds."""
        return [
            {bound: buckets(late, name)[bound] - count for bound, count in buckets(early, name).items()}
            for early, late in zip(self.first, self.last, strict=True)
        ]

    def growth(self, name: str) -> list[float]:
        """Return by how much a counter grew at each node."""
        return [
            metric_sum(late, name) - metric_sum(early, name) for early, late in zip(self.first, self.last, strict=True)
        ]


def memory_bytes(status: str) -> tuple[int, int]:
    """Return resident and anonymous memory from /proc status; the rest is files that are mapped, as LevelDB's are."""

    def read(name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
        return int(found[1]) * 1024 if found else 0

    return read("VmRSS"), read("RssAnon")


def buckets(text: str, name: str) -> dict[str, float]:
    """Return a histogram's cumulative buckets."""
    return {bound: float(count) for found, bound, count in _BUCKET.findall(text) if found == name}


def bucket_percentile(growth: dict[str, float], share: float) -> float:
    """Return the upper bound, in seconds, of the bucket that holds a percentile."""
    total = max(growth.values(), default=0.0)
    for bound, count in sorted(((float(bound), count) for bound, count in growth.items())):
        if total and count >= share * total:
            return bound
    return 0.0


class Overload:
    """One network, its peak, and what it does above that."""

    def __init__(self, net: BenchNet, options: argparse.Namespace) -> None:
        self.net, self.options = net, options
        self.sources = net.sources()
        self.last: dict[int, bytes] = {}  # the last batch of each source that was surely committed
        self.wait = options.wait or ("committed" if options.events > 1 else "none")
        self._jobs = 0

    def run(self) -> Figures:
        """Return all figures."""
        options = self.options
        peak, peak_us = self.peak(PEAK_RUNS)
        rate = peak / options.events * options.factor
        # Others than those of the peak: what these do not get to send would leave gaps in their numbers.
        sources = self.sources[PEAK_SOURCES.get(options.events, 16) :]
        # As many as the nodes may take: lone requests are small, so that all that are offered can be built.
        spare = SPARE if options.events > LONE_EVENTS_MAX else SPARE * options.factor
        count = int(peak / options.events * options.seconds * spare / len(sources)) + 4
        say(f"peak {peak:,.0f} events/s; building {count * len(sources):,} requests")
        lanes = self.lanes(sources, count, self.wait)
        samples = Samples(self.net)
        cpu = self._cpu()
        samples.start()
        found = self.flood(lanes, rate=rate, seconds=options.seconds)
        samples.finish()
        if found["exhausted"]:
            say(f"{found['exhausted']} sources had nothing left to send: the peak was measured too low, measure again")
        used = [late - early for late, early in zip(self._cpu(), cpu, strict=True)]
        say("the peak again")
        again, _ = self.peak(1)
        return {"peak_again_events_per_second": round(again), "peak_cpu_us": round(peak_us, 2)} | self.report(
            peak, rate, found, samples, used
        )

    def peak(self, runs: int) -> tuple[float, float]:
        """Return the most events a second of closed loops after one that warms up, and their CPU µs per event."""
        options = self.options
        sources = self.sources[: PEAK_SOURCES.get(options.events, 16)]
        rates: list[float] = []
        costs: list[float] = []
        guess = 25_000 if options.events > 16 else 1_500 * options.events
        for number in range(runs + 1):
            count = int(guess / options.events * options.peak_seconds / len(sources)) + 2
            found, cost = self.closed(self.lanes(sources, count, "committed"))
            seconds = max(each[1] for each in found["answers"])
            rates.append(sum(each[4] for each in found["answers"]) / seconds)
            costs.append(cost)
            guess = rates[-1] * 1.2
            say(f"peak, run {number}: {rates[-1]:,.0f} events/s, {cost:.2f} µs per event and validator")
        return max(rates[1:]), median(costs[1:])

    def closed(self, lanes: Sequence[FloodLane]) -> tuple[Figures, float]:
        """Send each lane's requests one after another; return what was seen, and CPU µs per event and validator."""
        before = self._cpu()
        found = self.flood(lanes, rate=0.0, seconds=0.0)
        used = sum(late - early for late, early in zip(self._cpu(), before, strict=True))
        return found, used / len(before) / sum(each[4] for each in found["answers"]) * 1e6

    def bad(self) -> Figures:
        """Return what good events cost in runs with 1 % of bad requests among them, and in clean ones in turn."""
        options = self.options
        sources = self.sources[: PEAK_SOURCES.get(options.events, 16)]
        each = (options.requests or (600 if options.events > 1 else 1_920)) // len(sources)
        self.closed(self.lanes(sources, 4, "committed"))
        kinds = itertools.cycle(range(len(self._bad_of(sources[0]))))
        costs: dict[str, list[float]] = {"clean": [], "bad": []}
        met: Counter[str] = Counter()
        for number in range(options.pairs):
            for name in ("clean", "bad") if number % 2 else ("bad", "clean"):
                drawn: dict[int, list[Bad]] = {}
                for place in range(each * len(sources) // 100 if name == "bad" else 0):
                    at = place % len(sources)
                    drawn.setdefault(at, []).append(self._bad_of(sources[at])[next(kinds)])
                found, cost = self.closed(self.lanes(sources, each, "committed", drawn))
                lost = each * len(sources) * options.events - sum(answer[4] for answer in found["answers"])
                if found["wrong"] or lost:
                    raise RuntimeError(f"{lost} good events were not committed; wrong answers: {found['wrong'][:5]}")
                met.update(found["met"])
                costs[name].append(cost)
                say(f"{name}, pair {number}: {cost:.2f} µs per good event and validator, {len(found['met'])} refused")
        ratios = [bad / clean for bad, clean in zip(costs["bad"], costs["clean"], strict=True)]
        return {
            "machine": machine(),
            "events_a_request": options.events,
            "good_requests_a_run": each * len(sources),
            "cpu_us_per_good_event": {name: [round(cost, 2) for cost in each] for name, each in costs.items()},
            "bad_over_clean": round(median(ratios), 3),
            "bad_over_clean_all": [round(ratio, 3) for ratio in ratios],
            "refused_as_expected": {told.partition(",")[0]: count for told, count in sorted(met.items())},
        }

    def _bad_of(self, source: BenchSource) -> list[Bad]:
        """Return one bad request of each kind; the batch that is sent again is the source's last one."""
        place = self.sources.index(source)
        others = next(other.member for other in self.sources if other.member != source.member)
        return bad_requests(source, self.last[place], events=self.options.events, others=others, wait="committed")

    def lanes(
        self,
        sources: Sequence[BenchSource],
        count: int,
        wait: str,
        bad: Mapping[int, Sequence[Bad]] = MappingProxyType({}),
    ) -> list[FloodLane]:
        """Build each source's next requests, on all cores, with bad ones among them, and return who sends them."""
        nodes = self.net.load().nodes
        jobs = []
        for place, source in enumerate(sources):
            node = nodes[source.node]
            host = node.rpc.removeprefix("http://").rstrip("/")
            path = self.net.directory / f"requests-{self.sources.index(source)}"
            token = read_token(Home(Path(node.home)).token)
            bodies = [each.body for each in bad.get(place, ())]
            jobs.append((source, path, count, self.options.events, wait, token, host, bodies))
        with ProcessPoolExecutor(DRIVERS) as pool:
            built = list(pool.map(build, jobs))
        lanes = []
        for place, (source, (number, previous, last, places)) in enumerate(zip(sources, built, strict=True)):
            source.resume(number, previous)
            self.last[self.sources.index(source)] = last
            name, _, port = jobs[place][6].rpartition(":")
            expects = {at: each.told for at, each in zip(places, bad.get(place, ()), strict=True)}
            lanes.append(FloodLane(name, int(port), str(jobs[place][1]), self.options.events, expects))
        return lanes

    def flood(self, lanes: Sequence[FloodLane], *, rate: float, seconds: float) -> Figures:
        """Run the drivers side by side and return what all of them saw."""
        jobs = {}
        for number in range(DRIVERS):
            job = FloodJob(list(lanes[number::DRIVERS]), rate / DRIVERS, seconds, self.options.honour)
            jobs[self.net.directory / f"flood-{number}"] = msgspec.msgpack.encode(job)
        found = run_senders("bench.flood", jobs)
        return {
            "answers": [answer for each in found for answer in each["answers"]],
            "wrong": [each for part in found for each in part["wrong"]],
            "met": [each for part in found for each in part["met"]],
            "unsent": sum(each["unsent"] for each in found),
            "exhausted": sum(each["exhausted"] for each in found),
            "cpu_seconds": sum(each["cpu_seconds"] for each in found),
        }

    def _cpu(self) -> list[float]:
        return [cpu_seconds(Path(f"/proc/{node.pid}/stat").read_text()) for node in self.net.load().nodes]

    def report(self, peak: float, rate: float, found: Figures, samples: Samples, cpu: list[float]) -> Figures:
        """Return the figures of the overload."""
        seconds = self.options.seconds
        windows = committed_windows(samples.rows, seconds)
        good = [each for each in found["answers"] if each[2] in ("committed", "pending")]
        refused = [each for each in found["answers"] if each[3]]
        committed = sum(windows) * WINDOW_S
        memory = {
            name: {
                "after_10_s": figure_at(samples.rows, name, 10.0),
                "at_the_end": figure_at(samples.rows, name, float(seconds)),
                "most": [max(row[name][node] for row in samples.rows) for node in range(4)],
            }
            for name in ("rss_mib", "anonymous_mib")
        }
        return {
            "machine": machine(),
            "events_a_request": self.options.events,
            "wait": self.wait,
            "peak_events_per_second": round(peak),
            "offered_events_per_second": round(rate * self.options.events),
            "sent_requests": len(found["answers"]),
            "unsent_requests": found["unsent"],
            "exhausted_lanes": found["exhausted"],
            "committed_events_per_second": round(committed / seconds),
            "share_of_peak": round(committed / seconds / peak, 3),
            "windows_events_per_second": [round(each) for each in windows],
            "windows_share_of_peak": [round(each / peak, 2) for each in windows],
            "admitted_latency_ms": latency_ms(sorted(each[1] - each[0] for each in good)) if good else {},
            "commit_latency_ms": {
                f"p{share}": [
                    round(bucket_percentile(each, share / 100) * 1_000)
                    for each in samples.histogram("chainnode_commit_latency_seconds")
                ]
                for share in (50, 99)
            },
            "refusals": dict(Counter(f"{each[3]} {each[2]}" for each in refused)),
            "refusal_ms": latency_ms(sorted(each[1] - each[0] for each in refused)) if refused else {},
            "loop_lag_ms": {
                f"p{share}": [
                    round(bucket_percentile(each, share / 100) * 1_000, 1)
                    for each in samples.histogram("chainnode_loop_lag_seconds")
                ]
                for share in (50, 99)
            },
            "view_changes": samples.growth("chainnode_view_changes_total"),
            "messages_dropped": samples.growth("chainnode_messages_dropped_total"),
            "cpu_us_per_event_per_validator": round(sum(cpu) / 4 / max(1.0, committed) * 1e6, 2),
            "driver_cpu_seconds": round(found["cpu_seconds"], 1),
            "memory": memory,
            "samples": samples.rows,
            "latency_by_second": latency_by_second(good),
        }


def build(
    job: tuple[BenchSource, Path, int, int, str, str, str, list[bytes]],
) -> tuple[int, Hash, bytes, list[int]]:
    """Write a source's next requests to a file, bad ones spread among them.

    Returns its next number, the hash of its last batch, that batch, and the bad requests' places.
    """
    source, path, count, events, wait, token, host, bad = job
    places: list[int] = []
    raw = b""

    def bodies() -> Iterator[bytes]:
        nonlocal raw
        written = 0
        for number in range(count):
            raw = source.batch(events)
            yield batch_body(raw, wait)
            written += 1
            while len(places) < len(bad) and len(places) * count < (number + 1) * len(bad):
                places.append(written)
                yield bad[len(places) - 1]
                written += 1

    write_frames(path, (http_request(body, token, host) for body in bodies()))
    return *source.position, raw, places


def committed_windows(rows: Sequence[Figures], seconds: float) -> list[float]:
    """Return the events a second that were committed in each window."""
    rates = []
    for number in range(int(seconds // WINDOW_S)):
        inside = [row for row in rows if number * WINDOW_S - SAMPLE_S <= row["at_s"] <= (number + 1) * WINDOW_S]
        first, last = inside[0], inside[-1]
        rates.append((last["committed"] - first["committed"]) / (last["at_s"] - first["at_s"]))
    return rates


def figure_at(rows: Sequence[Figures], name: str, at_s: float) -> list[float]:
    """Return the medians of each node's figure in the samples around a moment."""
    near = sorted(rows, key=lambda row: abs(row["at_s"] - at_s))[:5]
    return [round(median(row[name][node] for row in near), 1) for node in range(4)]


def latency_by_second(answers: Sequence[Sequence[float]]) -> list[tuple[int, float]]:
    """Return the median latency in ms of what was answered in each second."""
    by_second: dict[int, list[float]] = {}
    for sent, at, *_ in answers:
        by_second.setdefault(int(at), []).append((at - sent) * 1_000)
    return [(second, round(median(each), 1)) for second, each in sorted(by_second.items())]


if __name__ == "__main__":
    sys.exit(main())
