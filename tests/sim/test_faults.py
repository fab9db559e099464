"""Whole cores through each kind of fault, a handful of seeds each; a failure names the seed and what it did."""

from __future__ import annotations

import pytest

from consensus.invariants import InvariantBroken
from sim.faults import Fault, Strike, draw_strikes
from sim.malicious import BEHAVIOURS
from sim.network import CALM, Weather
from sim.run import Result, Scenario, build, draw, run

CHAOS_MS = 8_000
SEEDS = range(3)


def held(scenario: Scenario) -> Result:
    """Run a scenario; a broken rule shows the story's end with the seed."""
    cluster = build(scenario)
    try:
        return run(scenario, cluster)
    except InvariantBroken as error:
        story = "\n".join([*scenario.lines(), *cluster.log[-30:]])
        raise AssertionError(f"seed {scenario.seed}: {error}\n{story}") from error


def scenario(
    seed: int,
    *,
    weather: Weather = CALM,
    strikes: tuple[Strike, ...] = (),
    malicious: int | None = None,
    nodes: int = 4,
) -> Scenario:
    evil = () if malicious is None else ((seed % nodes, malicious),)
    return Scenario(seed, nodes, weather, strikes, evil, batches=25, chaos_ms=CHAOS_MS)


WEATHERS = {
    "loss of 30 %": Weather(loss=0.3),
    "replay of 50 %": Weather(replay=0.5),
    "delays with a heavy tail": Weather(delay_ms=20, tail_ms=3_000, tail_share=0.2),
    "reordering": Weather(delay_ms=150),
    "all of it": Weather(loss=0.2, replay=0.3, delay_ms=100, tail_ms=2_000, tail_share=0.1),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", WEATHERS)
def test_order_holds_and_returns_in_bad_weather(name: str, seed: int) -> None:
    assert held(scenario(seed, weather=WEATHERS[name])).height > 0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", list(Fault))
def test_order_holds_and_returns_after_faults_of_one_kind(fault: Fault, seed: int) -> None:
    strikes = tuple(Strike(fault, 500 + 1_700 * number + 97 * seed, 1_000) for number in range(4))
    assert held(scenario(seed, strikes=strikes)).height > 0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("behaviour", range(len(BEHAVIOURS)))
def test_order_holds_and_returns_with_a_malicious_validator(behaviour: int, seed: int) -> None:
    assert held(scenario(seed, weather=Weather(loss=0.02), malicious=behaviour)).height > 0


@pytest.mark.parametrize("seed", range(1_000, 1_012))
def test_order_holds_and_returns_after_everything_at_once(seed: int) -> None:
    assert held(draw(seed)).height > 0


@pytest.mark.parametrize("seed", range(2))
def test_seven_validators_hold_with_two_malicious(seed: int) -> None:
    evil = ((seed, 0), (seed + 3, 4))
    mixed = Scenario(seed, 7, Weather(loss=0.05), (), evil, batches=20, chaos_ms=CHAOS_MS)
    assert held(mixed).height > 0


def test_a_dead_leader_is_replaced_within_two_base_timeouts_at_the_median() -> None:
    recoveries = []
    for seed in range(7):
        cluster = build(scenario(seed))
        cluster.run_until(cluster.now_ms + 4_000)
        base_ms = cluster.parameters.timeout_base_ms
        height = max(cluster.heights())
        cluster.crash(0)
        crashed_ms = cluster.now_ms
        while max(cluster.heights()) <= height and cluster.now_ms < crashed_ms + 10 * base_ms:
            cluster.run_until(cluster.now_ms + 100)
        recoveries.append(cluster.now_ms - crashed_ms)
    assert sorted(recoveries)[3] <= 2 * base_ms


def number_of(name: str) -> int:
    return next(index for index, behaviour in enumerate(BEHAVIOURS) if behaviour.__name__ == name)  # type: ignore[attr-defined]  # classes


def test_who_votes_for_two_blocks_is_found_out() -> None:
    calm = scenario(0, malicious=number_of("WrongVoter"))
    cluster = build(calm)
    run(calm, cluster)
    assert any("finds evidence against validator 0" in line for line in cluster.log)


def test_an_equivocating_leader_is_deposed() -> None:
    calm = scenario(0, malicious=number_of("Equivocator"))  # node 0 leads view 0
    cluster = build(calm)
    run(calm, cluster)
    states = [node.core.replica.state for node in cluster.nodes if node.core is not None and node.honest]
    assert all(state.view > 0 for state in states)


def test_drawn_faults_lie_in_the_phase_of_faults_and_come_in_order() -> None:
    from random import Random

    strikes = draw_strikes(Random(1), 20_000)
    assert [strike.at_ms for strike in strikes] == sorted(strike.at_ms for strike in strikes)
    assert all(0 <= strike.at_ms < 20_000 for strike in strikes)
