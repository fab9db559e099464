"""What the operating system and the nodes say of a run: CPU, memory, disk, synced writes, and figures made of these.

Here: reading and subtracting, and percentiles. Not here: the network (`bench.network`), the report (`bench.report`).
"""

from __future__ import annotations

import os
import platform
import re
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_METRIC = re.compile(r"^(chainnode_[a-z_]+)(\{[^}]*\})? ([0-9.e+-]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Snapshot:
    """One node at one moment; CPU in seconds, memory in bytes."""

    cpu_s: float
    rss_peak: int
    disk: int
    fsyncs: float
    blocks: float
    events: float

    def since(self, before: Snapshot) -> Snapshot:
        """Return the growth; the peak of memory stays what it is."""
        return Snapshot(
            self.cpu_s - before.cpu_s,
            self.rss_peak,
            self.disk - before.disk,
            self.fsyncs - before.fsyncs,
            self.blocks - before.blocks,
            self.events - before.events,
        )


def snapshot(pid: int, home: Path, ops: str) -> Snapshot:
    """Return what a node has used until now."""
    with urllib.request.urlopen(f"{ops}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    return Snapshot(
        cpu_seconds(Path(f"/proc/{pid}/stat").read_text()),
        peak_memory(Path(f"/proc/{pid}/status").read_text()),
        disk_bytes(home / "data"),
        metric_sum(metrics, "chainnode_fsyncs_total"),
        metric_sum(metrics, "chainnode_blocks_committed_total"),
        metric_sum(metrics, "chainnode_events_committed_total"),
    )


def cpu_seconds(stat: str) -> float:
    """Return user and system time of a process from its /proc stat line."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def peak_memory(status: str) -> int:
    """Return the peak resident set in bytes from /proc status."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
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


def metric_sum(text: str, name: str) -> float:
    """Return the sum of a metric over its labels in the Prometheus text format."""
    return sum(float(value) for found, _, value in _METRIC.findall(text) if found == name)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the ordered values lie (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def latency_ms(ordered: Sequence[float]) -> dict[str, float]:
    """Return the usual percentiles of seconds in milliseconds."""
    return {f"p{share}": round(percentile(ordered, share / 100) * 1_000, 2) for share in (50, 95, 99)}


def machine() -> dict[str, object]:
    """Return what the figures were measured on."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory[1]) / (1 << 20), 1) if memory else None,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
