"""The benchmark's own arithmetic: what it reads from the system, and what it makes of that."""

from __future__ import annotations

import pytest

from bench.measure import (
    Snapshot,
    anonymous_memory,
    bucket_percentile,
    cpu_seconds,
    latency_ms,
    metric_sum,
    peak_memory,
    percentile,
    phase_buckets,
    summed,
)
from bench.report import table
from chainnode.metrics import NodeMetrics

STAT = "7 (py) thon) S 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 100 1 1"


def test_processor_time_is_read_behind_a_name_with_brackets() -> None:
    assert cpu_seconds(STAT) == pytest.approx(3.0)


def test_the_peak_of_memory_is_in_bytes() -> None:
    assert peak_memory("VmPeak:\t 9 kB\nVmHWM:\t  1024 kB\n") == 1 << 20
    assert peak_memory("Threads: 1\n") == 0
    assert anonymous_memory("RssAnon:\t  2 kB\n") == 2048


def test_a_metric_is_summed_over_its_labels() -> None:
    text = '# HELP x\nchainnode_fsyncs_total{file="wal"} 3.0\nchainnode_fsyncs_total{file="ledger"} 4.0\nother 5\n'
    assert metric_sum(text, "chainnode_fsyncs_total") == 7.0
    assert metric_sum(text, "chainnode_height") == 0.0


def test_percentiles_are_values_that_occurred() -> None:
    ordered = [number / 1_000 for number in range(1, 101)]
    assert percentile(ordered, 0.5) == 0.051
    assert latency_ms(ordered) == {"p50": 51.0, "p95": 96.0, "p99": 100.0}
    assert latency_ms([0.25]) == {"p50": 250.0, "p95": 250.0, "p99": 250.0}


def test_a_snapshot_since_another_is_the_growth_and_memory_stays_what_it_is() -> None:
    early = Snapshot(cpu_s=1.0, rss_peak=10, disk=100, fsyncs=5.0, phases={"ordered": {0.1: 1.0, 0.2: 2.0}})
    late = Snapshot(cpu_s=3.5, rss_peak=20, disk=150, fsyncs=9.0, phases={"ordered": {0.1: 1.0, 0.2: 5.0}})
    growth = late.since(early)
    assert (growth.cpu_s, growth.rss_peak, growth.disk, growth.fsyncs) == (2.5, 20, 50, 4.0)
    assert growth.phases == {"ordered": {0.1: 0.0, 0.2: 3.0}}


def test_phases_are_read_from_what_a_node_exposes() -> None:
    metrics = NodeMetrics()
    metrics.submission_phase.labels("ordered").observe(0.02)
    buckets = phase_buckets(metrics.render().decode())
    assert buckets["ordered"][0.022] == 1.0
    assert buckets["ordered"][0.018] == 0.0
    assert buckets["ordered"][float("inf")] == 1.0


def test_a_percentile_of_buckets_is_interpolated_within_its_bucket() -> None:
    buckets = {0.1: 10.0, 0.2: 30.0, float("inf"): 30.0}
    assert bucket_percentile(buckets, 0.5) == pytest.approx(0.125)
    assert bucket_percentile(buckets, 1.0) == pytest.approx(0.2)
    assert bucket_percentile({0.1: 0.0, float("inf"): 4.0}, 0.5) == 0.1
    assert bucket_percentile({}, 0.5) == 0.0
    assert summed([buckets, buckets])[0.2] == 60.0


def test_a_metric_is_summed_over_those_labels_that_are_asked_for() -> None:
    text = 'chainnode_message_bytes_total{direction="in"} 3.0\nchainnode_message_bytes_total{direction="out"} 4.0\n'
    assert metric_sum(text, "chainnode_message_bytes_total", 'direction="out"') == 4.0


def test_the_table_names_every_figure() -> None:
    shown = table({"events_per_second": 15_000, "latency_ms": {"p50": 1.5}})
    assert "events per second" in shown
    assert "15,000" in shown
    assert "  p50" in shown
