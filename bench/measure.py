"""What the operating system and the nodes say of a run: CPU, memory, disk, wire, synced writes, and figures of these.

Here: reading and subtracting, and percentiles. Not here: the network (`bench.network`), the report (`bench.report`).
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PHASES = ("received", "ordered", "committed")
PHASE_METRIC = "chainnode_submission_phase_seconds"
_METRIC = re.compile(r"^(chainnode_[a-z_]+)(\{[^}]*\})? ([0-9.e+-]+)$", re.MULTILINE)
_BUCKET = re.compile(rf'^{PHASE_METRIC}_bucket\{{le="([^"]+)",phase="([a-z]+)"\}} ([0-9.e+]+)$', re.MULTILINE)

Buckets = dict[float, float]
"""Observations at most as long as each bound, in seconds; the last bound is infinite."""


@dataclass(frozen=True)
class Snapshot:
    """One node at one moment, or what it used between two; CPU in seconds, memory and traffic in bytes.

    `loop_cpu_s` is the main thread's share. `wire_out` are payloads of messages to peers, before framing and TLS.
    """

    cpu_s: float = 0.0
    loop_cpu_s: float = 0.0
    rss_peak: int = 0
    rss_anonymous: int = 0
    disk: int = 0
    wire_out: float = 0.0
    fsyncs: float = 0.0
    blocks: float = 0.0
    events: float = 0.0
    rejected: float = 0.0
    phases: Mapping[str, Buckets] = field(default_factory=dict)

    def since(self, before: Snapshot) -> Snapshot:
        """Return the growth; memory stays what it is."""
        return Snapshot(
            self.cpu_s - before.cpu_s,
            self.loop_cpu_s - before.loop_cpu_s,
            self.rss_peak,
            self.rss_anonymous,
            self.disk - before.disk,
            self.wire_out - before.wire_out,
            self.fsyncs - before.fsyncs,
            self.blocks - before.blocks,
            self.events - before.events,
            self.rejected - before.rejected,
            {
                phase: {bound: count - before.phases.get(phase, {}).get(bound, 0.0) for bound, count in found.items()}
                for phase, found in self.phases.items()
            },
        )


def snapshot(pid: int, home: Path, ops: str) -> Snapshot:
    """Return what a node has used until now."""
    with urllib.request.urlopen(f"{ops}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    process = Path(f"/proc/{pid}")
    status = (process / "status").read_text()
    return Snapshot(
        cpu_seconds((process / "stat").read_text()),
        cpu_seconds((process / "task" / str(pid) / "stat").read_text()),
        peak_memory(status),
        anonymous_memory(status),
        disk_bytes(home / "data"),
        metric_sum(metrics, "chainnode_message_bytes_total", 'direction="out"'),
        metric_sum(metrics, "chainnode_fsyncs_total"),
        metric_sum(metrics, "chainnode_blocks_committed_total"),
        metric_sum(metrics, "chainnode_events_committed_total"),
        metric_sum(metrics, "chainnode_events_committed_total", 'outcome="rejected"'),
        phase_buckets(metrics),
    )


def cpu_seconds(stat: str) -> float:
    """Return user and system time of a process or thread from its /proc stat line."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def thread_cpu_us(pid: int) -> dict[int, float]:
    """Return the microseconds of processor time of each thread of a process; threads that end meanwhile are left out.

    `schedstat` counts nanoseconds, where `stat` counts ticks of ten milliseconds.
    """
    found: dict[int, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1_000
    return found


def peak_memory(status: str) -> int:
    """Return the peak resident set in bytes from /proc status; files that LevelDB maps are in it."""
    return _status_bytes(status, "VmHWM")


def anonymous_memory(status: str) -> int:
    """Return the resident memory that is no file's, in bytes, from /proc status."""
    return _status_bytes(status, "RssAnon")


def _status_bytes(status: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def disk_bytes(directory: Path) -> int:
    """Return the bytes of all files below a directory; files that vanish meanwhile count nothing."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def metric_sum(text: str, name: str, label: str = "") -> float:
    """Return the sum of a metric over its labels, or over those that hold one, in the Prometheus text format."""
    return sum(float(value) for found, labels, value in _METRIC.findall(text) if found == name and label in labels)


def phase_buckets(text: str) -> dict[str, Buckets]:
    """Return the buckets of each phase of a submission."""
    found: dict[str, Buckets] = {}
    for bound, phase, count in _BUCKET.findall(text):
        found.setdefault(phase, {})[float(bound)] = float(count)
    return found


def summed(buckets: Sequence[Buckets]) -> Buckets:
    """Return the sum of histograms with the same bounds."""
    total: Buckets = {}
    for each in buckets:
        for bound, count in each.items():
            total[bound] = total.get(bound, 0.0) + count
    return total


def bucket_percentile(buckets: Buckets, share: float) -> float:
    """Return a percentile of a histogram in seconds, interpolated within its bucket; 0 where nothing was observed."""
    count = max(buckets.values(), default=0.0)
    lower, below = 0.0, 0.0
    for bound in sorted(buckets):
        upto = buckets[bound]
        if upto > below and upto >= share * count:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * max(0.0, share * count - below) / (upto - below)
        lower, below = bound, upto
    return 0.0


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the ordered values lie (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def latency_ms(ordered: Sequence[float]) -> dict[str, float]:
    """Return the usual percentiles of seconds in milliseconds."""
    return {f"p{share}": round(percentile(ordered, share / 100) * 1_000, 2) for share in (50, 95, 99)}


def phases_ms(growth: Sequence[Snapshot]) -> dict[str, dict[str, float]]:
    """Return the usual percentiles of the phases that nodes tell, in milliseconds, each from a batch's arrival."""
    found: dict[str, dict[str, float]] = {}
    for phase in PHASES:
        buckets = summed([each.phases.get(phase, {}) for each in growth])
        found[phase] = {
            f"p{share}": round(bucket_percentile(buckets, share / 100) * 1_000, 2) for share in (50, 95, 99)
        }
    return found


def machine() -> dict[str, object]:
    """Return what the figures were measured on, and how busy it was before."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory[1]) / (1 << 20), 1) if memory else None,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 1),
    }
