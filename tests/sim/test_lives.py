"""Certificates live by the third rules amid every fault, and honest nodes hold the same of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from ledger.certificate_records import Application, Certificate, State
from ledger.inspection_records import INSPECTION_PREFIX, Inspection
from ledger.reader import LedgerReader
from ledger.registry import KINDS
from primitives.errors import InputError
from sim import plan, shrink
from sim.cluster import Cluster
from sim.lives import Life, life_line
from sim.network import CALM
from sim.plan import LIVES_SHARE, Scenario, draw
from sim.plan_text import parse, to_text
from sim.run import build, run

CALM_LIVES = Scenario(
    7, 4, CALM, chaos_ms=24_000, rules=3, lives=tuple(Life(100 * bank, bank, 300, 75) for bank in range(4))
)


def living(seeds: range = range(200)) -> list[Scenario]:
    """Return the drawn runs in which certificates live."""
    return [scenario for scenario in map(draw, seeds) if scenario.lives]


def ran(scenario: Scenario) -> Cluster:
    cluster = build(scenario)
    run(scenario, cluster)
    return cluster


def outcomes(cluster: Cluster) -> Counter[str]:
    """Return how often each kind of a certificate's life was applied, and how often it broke which rule."""
    node = next(node for node in cluster.nodes if node.core is not None and node.honest)
    assert node.core is not None
    reader, found = LedgerReader(node.disk.store, cluster.genesis), Counter[str]()
    for height in range(1, int(node.core.chain.height) + 1):
        events, rejected = reader.recorded(height)
        for index, event in enumerate(events):
            if event.kind <= 26:
                name = KINDS[event.kind].name.removeprefix("certificate.")
                found[f"{name} refused" if index in rejected else name] += 1
    return found


def test_lives_go_through_every_event_that_they_have_and_some_are_refused() -> None:
    found: Counter[str] = Counter()
    for seed in range(4):
        found += outcomes(ran(replace(CALM_LIVES, seed=seed)))
    names = {KINDS[kind].name.removeprefix("certificate.") for kind in range(1, 27)}
    assert {name for name in names if not found[name]} <= {"inspection.close"}, "which a chain in use seldom needs"
    assert sum(count for name, count in found.items() if name.endswith("refused")) > 50


@pytest.mark.parametrize("scenario", living(range(20)), ids=lambda scenario: f"seed {scenario.seed}")
def test_certificates_live_amid_every_fault_and_order_returns(scenario: Scenario) -> None:
    cluster = ran(scenario)
    states = []
    for node in cluster.nodes:
        if node.core is not None and node.honest and not scenario.core:
            state = node.core.chain.state_after(node.core.chain.tip_hash)
            certificates = [*state.scan("application/", Application), *state.scan("certificate/", Certificate)]
            states.append((certificates, [*state.scan(INSPECTION_PREFIX, Inspection)]))
    assert all(state == states[0] for state in states)


def test_a_share_of_the_runs_without_motions_has_lives_and_leaves_all_other_draws_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = [draw(seed) for seed in range(200)]
    still = [scenario for scenario in drawn if not scenario.motions]
    found = [scenario for scenario in drawn if scenario.lives]
    assert len(still) * LIVES_SHARE * 0.7 < len(found) < len(still) * LIVES_SHARE * 1.3
    assert all(scenario.rules == 3 and not scenario.motions for scenario in found)
    assert any(scenario.changes for scenario in found), "validators change in some of them too"
    monkeypatch.setattr(plan, "LIVES_SHARE", 0.0)
    for scenario in drawn:
        assert draw(scenario.seed) == (replace(scenario, lives=(), rules=1) if scenario.lives else scenario)


def test_a_scenario_with_lives_survives_its_text_and_what_cannot_be_meant_is_refused_by_line() -> None:
    for scenario in living(range(60)):
        assert parse(to_text(scenario)) == scenario
    text = to_text(Scenario(1, 4, CALM, rules=3))
    for line, what in (
        ("life 5 of 9 every 100 steps 3", "bank of a life line"),
        ("life 5 of 1 every 0 steps 3", "pause of a life line"),
        ("life 5 of 1 every 100 steps 0", "steps of a life line"),
        ("life 5 of 1 each 100 steps 3", "not a line of this form"),
        ("life 5 of 1 every 100 steps 201", "last step of a life"),
    ):
        with pytest.raises(InputError, match=what):
            parse(f"{text}{line}\n")
    with pytest.raises(InputError, match="a life by earlier rules"):
        parse(to_text(Scenario(1, 4, CALM, rules=2)) + "life 5 of 1 every 100 steps 3\n")


def test_a_run_with_lives_is_shrunk_to_those_that_matter() -> None:
    kept = Life(100, 0, 100, 30)
    cut = shrink._cut(Scenario(1, 4, CALM, lives=(kept, replace(kept, at_ms=900)), chaos_ms=4_000, rules=3), 500)
    assert cut.lives == (replace(kept, steps=4),)
    assert parse(to_text(cut)) == cut
    assert life_line(kept) == "life 100 of 0 every 100 steps 30"


def test_draws_select_come_to_nothing_and_are_announced_anew() -> None:
    found: Counter[str] = Counter()
    for seed in range(4):
        core = ran(replace(CALM_LIVES, seed=seed)).nodes[0].core
        assert core is not None
        for _, row in core.chain.state_after(core.chain.tip_hash).scan(INSPECTION_PREFIX, Inspection):
            found[row.void or row.phase] += 1
            found["announced anew"] += row.replaces is not None
    assert {"drawn", "not_revealed", "too_few_commitments", "announced anew"} <= set(+found), found


def test_a_state_in_which_lives_end_is_one_of_a_certificate() -> None:
    cluster = ran(CALM_LIVES)
    core = cluster.nodes[0].core
    assert core is not None
    found = list(core.chain.state_after(core.chain.tip_hash).scan("certificate/", Certificate))
    assert found
    assert {row.state for _, row in found} <= {State.ACTIVE, State.SUSPENDED, State.REVOKED, State.CANCELLED}
