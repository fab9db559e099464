"""Roles, policy, catalogue, shares and rules are voted on amid every fault; a notary finds each change as decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from consensus.invariants import InvariantBroken
from ledger import execution, governance, governance_records, thresholds
from ledger.policy import policy_range
from ledger.rules import Rules
from ledger.thresholds import LOWEST, Share
from primitives.errors import InputError
from sim import plan, shrink, statute
from sim.cluster import Cluster
from sim.motions import FIGURES, RULES_NEXT, USAGE, Motion, motion_line
from sim.network import CALM
from sim.plan import MOTION_SHARE, Scenario, draw, draw_loads
from sim.plan_text import parse, to_text
from sim.run import build, run

ALL = (0, 1, 2, 3)


def moving(seeds: range = range(300)) -> list[Scenario]:
    """Return the drawn runs in which something is moved."""
    return [scenario for scenario in map(draw, seeds) if scenario.motions]


def planned(*motions: Motion, rules: int = 2, loads: int = 20) -> Cluster:
    """Return a calm cluster with these motions after its run."""
    scenario = Scenario(
        1, 4, CALM, loads=draw_loads(Random(1), loads, 4, 6_000), chaos_ms=8_000, motions=motions, rules=rules
    )
    cluster = build(scenario)
    run(scenario, cluster)
    return cluster


def enacted(cluster: Cluster) -> list[str]:
    assert cluster.statute is not None
    return [kind for _, kind in cluster.statute.enacted]


def test_what_is_decided_amid_every_fault_is_done_as_decided_and_order_returns() -> None:
    found: Counter[str] = Counter()
    for scenario in moving(range(25, 30)):
        cluster = build(scenario)
        result = run(scenario, cluster)
        assert cluster.statute is not None
        assert cluster.statute.height == result.height, "the notary has looked at every block"
        found.update(enacted(cluster))
    assert "activate_rules" in found
    assert found.total() >= 5


def test_a_share_of_all_runs_moves_everything_that_there_is_to_move() -> None:
    found = moving()
    assert 300 * MOTION_SHARE * 0.8 < len(found) < 300 * MOTION_SHARE * 1.2
    moved = {motion.words[0] for scenario in found for motion in scenario.motions}
    assert moved == {"policy", "roles", "source-roles", "ca", "catalogue", "threshold", "rules"}
    assert {scenario.rules for scenario in found} == {1, 2}
    assert any(motion.reject for scenario in found for motion in scenario.motions)
    assert any(scenario.changes for scenario in found), "validators change in some of them too"
    assert all(least <= value <= most for name, values in FIGURES for value in values for least, most in [_of(name)])


def _of(name: str) -> tuple[int, int]:
    found = policy_range(name)
    assert found is not None
    return found


def test_what_motions_are_drawn_leaves_all_other_draws_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    with_motions = [draw(seed) for seed in range(60)]
    monkeypatch.setattr(plan, "MOTION_SHARE", 0.0)
    monkeypatch.setattr(plan, "LIVES_SHARE", 0.0)
    for scenario in with_motions:
        bare = draw(scenario.seed)
        assert set(bare.loads) <= set(scenario.loads)
        assert bare == replace(scenario, motions=(), lives=(), rules=1, loads=bare.loads)


def test_a_scenario_with_motions_survives_its_text_and_what_cannot_be_meant_is_refused_by_line() -> None:
    for scenario in moving(range(60)):
        assert parse(to_text(scenario)) == scenario
    text = to_text(Scenario(1, 4, CALM))
    for line, what in (
        ("motion 5 by 1 war on 2", "no such motion"),
        ("motion 5 by 1 policy colour 2", "not a motion of this form"),
        ("motion 5 by 1 threshold set_roles all", "not a motion of this form"),
        ("motion 5 by 9 ca 1 1", "bank of a motion line"),
        ("motion 5 by 1 ca 1 1 approved by 9", "bank of a motion line"),
        ("rules 9", "number of a rules line"),
    ):
        with pytest.raises(InputError, match=what):
            parse(f"{text}{line}\n")
    assert {words.split()[0] for words in USAGE.values()} == set(USAGE)


def test_a_run_with_motions_is_shrunk_to_those_that_matter() -> None:
    kept = Motion(100, 0, ("ca", "1", "1"), ALL)
    late = replace(kept, at_ms=900)
    cut = shrink._cut(Scenario(1, 4, CALM, motions=(kept, late), chaos_ms=1_000), 500)
    assert cut.motions == (kept,)
    assert motion_line(kept) == "motion 100 by 0 ca 1 1 approved by 0 1 2 3"


# --- single motions


def test_a_motion_passes_with_three_of_four_and_not_with_two() -> None:
    moved = Motion(500, 0, ("roles", "2", "bank", "laboratory"), (0, 1, 2), (3,))
    assert enacted(planned(moved)) == ["set_roles"]
    assert enacted(planned(replace(moved, approve=(0, 1), reject=()))) == []
    assert enacted(planned(replace(moved, reject=(2, 3), approve=(0, 1)))) == []


def test_a_chain_of_the_first_rules_waits_for_the_second_and_then_amends() -> None:
    first = Motion(100, 0, RULES_NEXT, ALL)
    cluster = planned(first, Motion(400, 1, ("policy", "appeal_window_days", "7"), ALL), rules=1, loads=70)
    assert enacted(cluster) == ["activate_rules", "change_policy"]


def test_by_the_third_rules_a_laboratory_is_accredited_and_that_is_ended_and_the_schemes_policy_changes() -> None:
    words = (
        ("roles", "2", "bank", "laboratory"),
        ("accredit", "2", "laboratory", "365"),
        ("end-accreditation", "2", "laboratory"),
        ("scheme-policy", "6"),
    )
    motions = [Motion(100 + 1_500 * place, 0, said, ALL) for place, said in enumerate(words)]
    assert enacted(planned(*motions, rules=3, loads=70)) == [
        "set_roles",
        "accredit",
        "end_accreditation",
        "set_scheme_policy",
    ]


def test_two_of_three_policies_at_once_are_refused_since_one_waits_for_its_height() -> None:
    motions = [Motion(500 + bank, bank, ("policy", "block_batches_max", "16", "in", "12"), ALL) for bank in (0, 1, 2)]
    assert enacted(planned(*motions)).count("change_policy") == 1


# --- the notary finds what is wrong


def break_passing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(governance_records, "passes", lambda count, approvals, share: approvals >= 2)


def break_deciding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(governance_records, "passes", lambda count, approvals, share: approvals >= 4)


def break_turning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "turn_policy", lambda view, height: None)


def break_planning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ledger.amendment_rules.plan_policy", lambda state, policy, height, now: state.put("policy", policy)
    )


def break_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rules, "at", lambda self, height: self.following if height > self.height > 0 else self.version)


def break_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.amendment_rules.LOWEST", {**LOWEST, "set_roles": Share.THIRD})


def break_enacting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(governance, "enact_amendment", lambda context, state, action: None)


ROLES = Motion(500, 0, ("roles", "2", "bank", "laboratory"), (0, 1))
POLICY = Motion(500, 0, ("policy", "block_batches_max", "16", "in", "12"), ALL)


@pytest.mark.parametrize(
    ("breaks", "motion", "rule"),
    [
        (break_passing, ROLES, "a proposal passes by more than its share of the voters"),
        (break_deciding, replace(ROLES, approve=(0, 1, 2)), "what is decided does not stay open"),
        (break_turning, POLICY, "the policy changes as decided, exactly at its height"),
        (break_planning, POLICY, "a policy waits for the height that was decided"),
        (break_rules, Motion(100, 0, RULES_NEXT, ALL), "rules are in force exactly from their height on"),
        (break_least, Motion(500, 0, ("threshold", "set_roles", "third"), ALL), "no share is below the least"),
        (break_enacting, replace(ROLES, approve=ALL), "a member has the roles that were decided"),
    ],
)
def test_what_is_not_as_decided_is_noticed(
    monkeypatch: pytest.MonkeyPatch, breaks: Callable[[pytest.MonkeyPatch], None], motion: Motion, rule: str
) -> None:
    breaks(monkeypatch)
    with pytest.raises(InvariantBroken, match=rule):
        planned(motion, rules=1 if motion.words == RULES_NEXT else 2, loads=70 if motion.words == RULES_NEXT else 20)


def test_a_node_whose_governance_differs_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = planned(Motion(500, 0, ("ca", "1", "1"), ALL))
    held, core = cluster.statute, cluster.nodes[2].core
    assert held is not None
    assert core is not None
    state = core.chain.state_after(core.chain.tip_hash)
    rows = statute.governance_rows(state)
    monkeypatch.setattr(statute, "governance_rows", lambda _: {**rows, b"policy": b"another"})
    with pytest.raises(InvariantBroken, match="all honest nodes hold the same governance at each height"):
        held.require_same("bank-2", core.chain)
    assert statute.LEAST.keys() == LOWEST.keys()
    assert thresholds.FIRST.keys() == statute.FIRST.keys()
