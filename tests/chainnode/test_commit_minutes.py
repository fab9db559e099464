"""Commits by the minute: what is counted where, and for how long it is kept."""

from __future__ import annotations

from chainnode.commit_minutes import MINUTES_KEPT, CommitMinutes
from chainnode.metrics import NodeMetrics
from chainnode.phases import Phases
from primitives.ids import Hash


def test_a_minute_has_its_batches_their_median_and_the_95th_percentile() -> None:
    now = [1_767_225_600.0]
    minutes = CommitMinutes((0.01, 0.02, 0.1), lambda: now[0])
    for seconds in (0.005, 0.005, 0.015, 0.09):
        minutes.observe(seconds)
    now[0] += 60
    minutes.observe(5.0)
    first, second = minutes.rows()
    assert (first.start_ms, first.batches) == (1_767_225_600_000, 4)
    assert first.median_ms == 10
    assert 80 < first.late_ms <= 100
    assert (second.start_ms, second.batches, second.median_ms) == (1_767_225_660_000, 1, 100), "the last bound"


def test_the_last_minutes_are_kept_and_no_more() -> None:
    now = [0.0]
    minutes = CommitMinutes((1.0,), lambda: now[0])
    for _ in range(MINUTES_KEPT + 5):
        minutes.observe(0.5)
        now[0] += 60
    assert [row.start_ms for row in minutes.rows()] == [60_000 * (5 + place) for place in range(MINUTES_KEPT)]


def test_what_was_committed_reaches_the_explorer() -> None:
    metrics, now = NodeMetrics(), [0.0]
    phases = Phases(metrics, lambda: now[0])
    phases.received(Hash(bytes(32)), 0.0)
    now[0] = 0.02
    phases.committed(Hash(bytes(32)))
    (row,) = metrics.activity().minutes
    assert row.batches == 1
    assert 10 < row.median_ms < 30
