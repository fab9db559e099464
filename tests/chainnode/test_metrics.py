"""Metrics: named as Prometheus' own linter wants them, and of bounded number."""

import re
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

import chainnode.metrics as module
from chainnode.metrics import NodeMetrics

METRICS = NodeMetrics(node="bank-a", member="bank-a", version="0.1.0", start_time_s=12.0)


def families() -> dict[str, object]:
    return {family.name: family for family in text_string_to_metric_families(METRICS.render().decode())}


def test_names_pass_the_rules_of_promtool() -> None:
    """The rules of promtool's `check metrics`: help, `_total` on counters alone, base units, no type in a name."""
    for family in text_string_to_metric_families(METRICS.render().decode()):
        name = family.name
        assert name.startswith("chainnode_")
        assert family.documentation.endswith(".")
        assert re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", name)
        for unit in ("_ms", "_milliseconds", "_micros", "_kb", "_mb", "_kilobytes", "_minutes", "_percent"):
            assert unit not in name
        for word in ("counter", "gauge", "histogram", "summary"):
            assert word not in name.split("_")
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        else:
            assert not name.endswith(("_total", "_count", "_sum", "_bucket"))


def test_promised_metrics_are_there() -> None:
    METRICS.position(height=5, view=1, epoch=0, is_leader=True, catching_up=False)
    METRICS.events.labels("applied").inc(3)
    METRICS.commit_latency.observe(0.02)
    METRICS.observe_fsync("wal", 0.001)
    text = METRICS.render().decode()
    assert "chainnode_height 5.0" in text
    assert 'chainnode_events_committed_total{outcome="applied"} 3.0' in text
    assert 'chainnode_commit_latency_seconds_bucket{le="0.025"} 1.0' in text
    assert 'chainnode_fsyncs_total{file="wal"} 1.0' in text
    assert "chainnode_process_cpu_seconds" in text


def test_messages_and_their_bytes_are_counted_by_direction() -> None:
    metrics = NodeMetrics()
    metrics.count_messages("in", "Vote", 1, 100)
    metrics.count_messages("out", "Vote", 3, 100)
    metrics.count_messages("out", "Batch", 3, 1_000)
    metrics.count_messages("out", "Vote", 2, 10)
    metrics.render()  # looking changes nothing
    text = metrics.render().decode()
    assert text.count("chainnode_messages_total{") == 3
    for line in (
        'chainnode_messages_total{direction="in",kind="Vote"} 1.0',
        'chainnode_messages_total{direction="out",kind="Vote"} 5.0',
        'chainnode_messages_total{direction="out",kind="Batch"} 3.0',
        'chainnode_message_bytes_total{direction="in"} 100.0',
        'chainnode_message_bytes_total{direction="out"} 3320.0',
        "# TYPE chainnode_messages_total counter",
    ):
        assert line in text.splitlines()


def test_peer_cannot_grow_the_registry_with_its_reasons() -> None:
    metrics = NodeMetrics()
    for number in range(1_000):
        metrics.count_dropped(f"reason_{number}")
    metrics.count_disconnect('bad"label\n')
    text = metrics.render().decode()
    assert text.count("chainnode_messages_dropped_total{") <= 257
    assert 'chainnode_messages_dropped_total{reason="other"} 744.0' in text
    assert 'chainnode_disconnects_total{reason="other"} 1.0' in text


def test_every_metric_is_set_somewhere() -> None:
    sources = "\n".join(path.read_text() for path in Path(module.__file__).parent.glob("*.py"))
    verbs = r"(\.labels\(.*\)(,|$|\n)|(\.labels\(.*\))?\.(set|inc|observe)\b)"  # one with labels may be kept by them
    held = [name for name, value in vars(METRICS).items() if isinstance(value, MetricWrapperBase)]
    assert len(held) > 20
    assert [name for name in held if not re.search(rf"(self|metrics)\.{name}{verbs}", sources)] == []


def test_what_the_explorer_tells_of_a_process_is_what_its_metrics_say() -> None:
    metrics = NodeMetrics(start_time_s=1_700_000_000.5)
    quiet = metrics.activity()
    assert (quiet.since_ms, quiet.view_changes, quiet.evidence_seen) == (1_700_000_000_500, 0, 0)
    assert (quiet.commit_ms, quiet.batches_submitted) == (None, 0)
    for seconds in (0.0055, 0.0055, 0.0055, 0.09):
        metrics.submission_phase.labels("committed").observe(seconds)
    metrics.submission_phase.labels("received").observe(9.0)
    metrics.view_changes.labels("timer").inc(2)
    metrics.evidence.labels("bank-b").inc()
    metrics.rivals.inc()
    busy = metrics.activity()
    assert (busy.view_changes, busy.evidence_seen, busy.batches_submitted) == (2, 2, 4)
    assert busy.commit_ms is not None
    median, late = busy.commit_ms
    assert 5 <= median <= 6
    assert 85 <= late <= 100


def test_what_took_longer_than_the_last_bound_counts_as_that_bound() -> None:
    metrics = NodeMetrics()
    metrics.submission_phase.labels("committed").observe(1_000.0)
    assert metrics.activity().commit_ms == (30_000.0, 30_000.0)
