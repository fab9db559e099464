"""The benchmark's own arithmetic: what it reads from the system, and what it makes of that."""

from __future__ import annotations

import pytest

from bench.measure import Snapshot, cpu_seconds, latency_ms, metric_sum, peak_memory, percentile
from bench.report import table

STAT = "7 (py) thon) S 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 100 1 1"


def test_processor_time_is_read_behind_a_name_with_brackets() -> None:
    assert cpu_seconds(STAT) == pytest.approx(3.0)


def test_the_peak_of_memory_is_in_bytes() -> None:
    assert peak_memory("VmPeak:\t 9 kB\nVmHWM:\t  1024 kB\n") == 1 << 20
    assert peak_memory("Threads: 1\n") == 0


def test_a_metric_is_summed_over_its_labels() -> None:
    text = '# HELP x\nchainnode_fsyncs_total{file="wal"} 3.0\nchainnode_fsyncs_total{file="ledger"} 4.0\nother 5\n'
    assert metric_sum(text, "chainnode_fsyncs_total") == 7.0
    assert metric_sum(text, "chainnode_height") == 0.0


def test_percentiles_are_values_that_occurred() -> None:
    ordered = [number / 1_000 for number in range(1, 101)]
    assert percentile(ordered, 0.5) == 0.051
    assert latency_ms(ordered) == {"p50": 51.0, "p95": 96.0, "p99": 100.0}
    assert latency_ms([0.25]) == {"p50": 250.0, "p95": 250.0, "p99": 250.0}


def test_a_snapshot_since_another_is_the_growth() -> None:
    early, late = Snapshot(1.0, 10, 100, 5.0, 1.0, 7.0), Snapshot(3.5, 20, 150, 9.0, 4.0, 9.0)
    assert late.since(early) == Snapshot(2.5, 20, 50, 4.0, 3.0, 2.0)


def test_the_table_names_every_figure() -> None:
    shown = table({"events_per_second": 15_000, "latency_ms": {"p50": 1.5}})
    assert "events per second" in shown
    assert "15,000" in shown
    assert "  p50" in shown
