"""The phases of a submission: each batch is observed once a phase, from its arrival on."""

from __future__ import annotations

import pytest

from chainnode import phases
from chainnode.metrics import NodeMetrics
from chainnode.phases import Phases
from primitives.ids import Hash

FIRST, SECOND = Hash(b"1" * 32), Hash(b"2" * 32)


class Watched:
    """Phases with a clock that the test sets."""

    def __init__(self) -> None:
        self.metrics = NodeMetrics()
        self.now = 10.0
        self.phases = Phases(self.metrics, clock=lambda: self.now)

    def seen(self, phase: str) -> tuple[float, float]:
        """Return how many were observed in a phase, and the sum of their seconds."""
        value = self.metrics.registry.get_sample_value
        name, labels = "chainnode_submission_phase_seconds", {"phase": phase}
        return value(f"{name}_count", labels) or 0.0, value(f"{name}_sum", labels) or 0.0


def test_each_phase_counts_from_the_arrival() -> None:
    watched = Watched()
    watched.phases.received(FIRST, arrived=9.0)
    watched.now = 12.0
    watched.phases.ordered([FIRST, SECOND])
    watched.now = 14.0
    watched.phases.committed(FIRST)
    watched.phases.committed(SECOND)
    assert [watched.seen(phase) for phase in ("received", "ordered", "committed")] == [(1, 1.0), (1, 3.0), (1, 5.0)]


def test_what_is_proposed_or_sent_again_is_observed_once() -> None:
    watched = Watched()
    watched.phases.received(FIRST, arrived=10.0)
    watched.now = 11.0
    watched.phases.received(FIRST, arrived=11.0)
    watched.phases.ordered([FIRST])
    watched.phases.ordered([FIRST])
    watched.phases.committed(FIRST)
    watched.phases.committed(FIRST)
    assert [watched.seen(phase) for phase in ("received", "ordered", "committed")] == [(1, 0.0), (1, 1.0), (1, 1.0)]


def test_what_was_let_go_is_forgotten() -> None:
    watched = Watched()
    watched.phases.received(FIRST, arrived=10.0)
    watched.phases.forget(lambda batch_hash: batch_hash == SECOND)
    watched.phases.ordered([FIRST])
    watched.phases.committed(FIRST)
    assert watched.seen("committed") == (0.0, 0.0)


def test_no_more_batches_are_followed_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "BATCHES_MAX", 1)
    watched = Watched()
    watched.phases.received(FIRST, arrived=10.0)
    watched.phases.received(SECOND, arrived=10.0)
    watched.phases.committed(SECOND)
    assert watched.seen("received")[0] == 1
    watched.phases.committed(FIRST)
    watched.phases.received(SECOND, arrived=10.0)
    assert watched.seen("received")[0] == 2
