"""Every simulated run is a run of the model: honest ones are accepted, and broken code is rejected, monitors aside."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consensus.effects import Delivered
from consensus.invariants import ClusterMonitor, InvariantBroken, ReplicaMonitor
from sim.cluster import Cluster, Offer
from sim.disk import Disk
from sim.model.conformance import NotInModel
from sim.network import CALM
from sim.plan import draw
from sim.run import build, run
from sim.twins import breaks
from sim.twins import run as twins
from sim.twins.breaks import Break, broken
from sim.workload import START_MS

MUTATIONS = {
    "a vow leaves out claims": (
        Break("", "consensus.view_change", "start", "if state.in_window(height) and", "if False and"),
        range(1),
    ),
    "a vow claims the lowest height only": (
        Break("", "consensus.view_change", "start", "sorted(state.slots)", "sorted(state.slots)[:1]"),
        range(1),
    ),
    "a vow carries one certificate": (
        Break("", "consensus.view_change", "start", "certificates[-WINDOW:]", "certificates[-1:]"),
        range(2, 5),
    ),
    "who lags behind a certified height votes": (
        Break("", "consensus.state:ReplicaState", "may_vote", "and self.certified_height <= self.tip.height", ""),
        range(55, 65),
    ),
    "only the first chosen block binds": (
        Break("", "consensus.view_change", "adopt", "in choice.blocks if", "in choice.blocks[:1] if"),
        range(1),
    ),
    "a leader proposes a fresh block at a chosen height": (
        Break("", "consensus.ordering", "_propose", "state.chosen.get(Height(height))", "None"),
        range(1),
    ),
    "votes for other blocks count for a certificate": (
        Break(
            "",
            "consensus.tally:Tally",
            "count",
            "self._counts.get((view, block_hash), 0)",
            "sum(count for (at, _), count in self._counts.items() if at == view)",
        ),
        range(1),
    ),
    "a NEW-VIEW holds vows for later views": (
        Break("", "consensus.view_change", "_gather", "if change.view == state.view)", "if change.view >= state.view)"),
        range(18, 22),
    ),
    "a restart forgets a claim": (
        Break("", "consensus.restoring", "_restore_slot", "slot_held.claim = Claim(block, certificate)", "pass"),
        range(25, 32),
    ),
    "a restart keeps the oldest claim": (
        Break(
            "",
            "consensus.restoring",
            "_restore_slot",
            "slot_held.claim.certificate.view < certificate.view",
            "slot_held.claim.certificate.view > certificate.view",
        ),
        range(25, 32),
    ),
    "COMMIT rests on a COMMIT of an earlier view": (breaks.BREAKS["commit-on-old-commit"], range(5, 9)),
    "COMMITs of different views count together": (breaks.BREAKS["views-together"], range(1)),
}
"""A line broken, and the numbers of Twins scenarios among which the model finds it."""

MISSED_BY_MONITORS = [
    "who lags behind a certified height votes",
    "a restart forgets a claim",
    "a restart keeps the oldest claim",
]


def verdicts(numbers: range) -> list[type[InvariantBroken]]:
    """Play Twins scenarios and return what each was rejected by."""
    found = []
    for number in numbers:
        try:
            twins.run(number)
        except InvariantBroken as error:
            found.append(type(error))
    return found


def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the monitors away, so that the model is alone."""

    def nothing(*arguments: object, **named: object) -> None:
        return None

    monkeypatch.setattr(ReplicaMonitor, "watch", nothing)
    monkeypatch.setattr(ClusterMonitor, "started", nothing)


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_model_rejects_runs_of_broken_code(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation, numbers = MUTATIONS[name]
    silence(monkeypatch)
    monkeypatch.setitem(breaks.BREAKS, name, mutation)
    with broken(name):
        assert NotInModel in verdicts(numbers)


@pytest.mark.parametrize("name", MISSED_BY_MONITORS)
def test_the_model_sees_what_the_monitors_miss(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation, numbers = MUTATIONS[name]
    monkeypatch.setitem(breaks.BREAKS, name, mutation)
    with broken(name):
        assert set(verdicts(numbers)) == {NotInModel}


@pytest.mark.parametrize("seed", [2, 7, 11])
def test_a_drawn_run_is_accepted_and_all_its_votes_are_looked_at(seed: int) -> None:
    cluster = build(draw(seed))
    result = run(draw(seed), cluster)
    honest = sum(node.honest for node in cluster.nodes)
    assert cluster.conformance.actions > 2 * result.height * honest, "each block is prepared and committed"


def calm(until_ms: int = 1_000) -> Cluster:
    cluster = Cluster(1, weather=CALM)
    cluster.schedule(START_MS + 10, Offer(0, 2))
    cluster.run_until(START_MS + until_ms)
    return cluster


def test_a_node_that_votes_after_it_lost_its_log_is_rejected() -> None:
    cluster = calm()
    cluster.crash(2)
    cluster.nodes[2].monitor = ReplicaMonitor("bank-2")  # the model's own opinion
    cluster.conformance.wiped(2, ledger=True, log=True)
    cluster.nodes[2].disk, cluster.nodes[2].answered = Disk(), {}
    cluster.start(2)  # as a validator, not as the learner that it has to be
    cluster.schedule(cluster.now_ms + 2_000, Offer(0, 1))
    with pytest.raises(NotInModel, match="a key whose log was lost says nothing"):
        cluster.run_until(cluster.now_ms + 10_000)


def test_a_delivery_that_comes_twice_is_rejected() -> None:
    cluster = calm()
    seen: list[Delivered] = []

    def again(synced: Callable[..., None]) -> Callable[..., None]:
        def told(node: int, effects: list[object]) -> None:
            synced(node, effects)
            seen.extend(effect for effect in effects if isinstance(effect, Delivered))

        return told

    cluster.conformance.synced = again(cluster.conformance.synced)  # type: ignore[method-assign]  # listens in
    cluster.schedule(cluster.now_ms, Offer(1, 1))
    cluster.run_until(cluster.now_ms + 1_000)
    with pytest.raises(NotInModel, match="one after the other, each once"):
        cluster.conformance.synced(0, [seen[0]])
