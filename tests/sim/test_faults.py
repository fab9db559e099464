"""Whole cores through each kind of fault, a handful of seeds each; a failure names the seed and what it did."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from consensus.invariants import InvariantBroken
from sim.cluster import Cluster
from sim.disk import Written
from sim.network import CALM, Weather
from sim.plan import (
    BEHAVIOUR_NAMES,
    FORGETFUL,
    Fate,
    Fault,
    Scenario,
    Strike,
    draw,
    draw_loads,
    draw_strike,
    draw_strikes,
)
from sim.plan_text import to_text
from sim.run import Result, build, run
from sim.workload import START_MS

CHAOS_MS = 8_000
SEEDS = range(3)


def held(scenario: Scenario) -> Result:
    """Run a scenario; a broken rule shows the story's end with the seed."""
    cluster = build(scenario)
    try:
        return run(scenario, cluster)
    except InvariantBroken as error:
        story = "\n".join([to_text(scenario), *cluster.log[-30:]])
        raise AssertionError(f"seed {scenario.seed}: {error}\n{story}") from error


def scenario(
    seed: int,
    *,
    weather: Weather = CALM,
    strikes: tuple[Strike, ...] = (),
    malicious: str | None = None,
    nodes: int = 4,
) -> Scenario:
    evil = () if malicious is None else ((seed % nodes, malicious),)
    loads = draw_loads(Random(seed), 25, nodes, CHAOS_MS)
    return Scenario(seed, nodes, weather, strikes, evil, loads, chaos_ms=CHAOS_MS)


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
    random = Random(f"{fault} {seed}")
    times = [500 + 1_700 * number + 97 * seed for number in range(4)]
    strikes = tuple(draw_strike(random, fault, at_ms, 4, [seed], 1_000) for at_ms in times)
    assert held(scenario(seed, strikes=strikes)).height > 0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("behaviour", BEHAVIOUR_NAMES)
def test_order_holds_and_returns_with_a_malicious_validator(behaviour: str, seed: int) -> None:
    assert held(scenario(seed, weather=Weather(loss=0.02), malicious=behaviour)).height > 0


@pytest.mark.parametrize("seed", range(1_000, 1_012))
def test_order_holds_and_returns_after_everything_at_once(seed: int) -> None:
    assert held(draw(seed)).height > 0


@pytest.mark.parametrize("seed", range(2))
def test_seven_validators_hold_with_two_malicious(seed: int) -> None:
    evil = ((seed, "Equivocator"), (seed + 3, "WrongVoter"))
    loads = draw_loads(Random(seed), 20, 7, CHAOS_MS)
    mixed = Scenario(seed, 7, Weather(loss=0.05), (), evil, loads, chaos_ms=CHAOS_MS)
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


def test_who_votes_for_two_blocks_is_found_out() -> None:
    calm = scenario(0, malicious="WrongVoter")
    cluster = build(calm)
    run(calm, cluster)
    assert any("finds evidence against validator 0" in line for line in cluster.log)


def test_an_equivocating_leader_is_deposed() -> None:
    calm = scenario(0, malicious="Equivocator")  # node 0 leads view 0
    cluster = build(calm)
    run(calm, cluster)
    states = [node.core.replica.state for node in cluster.nodes if node.core is not None and node.honest]
    assert all(state.view > 0 for state in states)


def test_drawn_faults_lie_in_the_phase_of_faults_and_come_in_order() -> None:
    strikes = [strike for seed in range(50) for strike in draw_strikes(Random(seed), 20_000, 4, [1])]
    assert {strike.fault for strike in strikes} == set(Fault)
    assert all(0 <= strike.at_ms < 20_000 for strike in strikes)
    for seed in range(50):
        times = [strike.at_ms for strike in draw_strikes(Random(seed), 20_000, 4, [1])]
        assert times == sorted(times)


@pytest.mark.parametrize("nodes", [4, 7])
def test_never_more_than_f_are_malicious_or_lose_their_memory(nodes: int) -> None:
    drawn = [draw(seed, nodes) for seed in range(300)]
    assert max(len(item.faulty()) for item in drawn) == (nodes - 1) // 3
    assert any(strike.fault in FORGETFUL for item in drawn for strike in item.strikes)
    assert any(item.malicious for item in drawn)


def test_a_run_with_more_faulty_than_f_is_not_begun() -> None:
    lost = (Strike(Fault.LOST_LOG, 100, 100, (1,)), Strike(Fault.LOST_LOG, 200, 100, (2,)))
    with pytest.raises(AssertionError, match="of 4 at most 1 may"):
        run(scenario(1, strikes=lost))


# --- disks


def after(strike: Strike, until_ms: int = CHAOS_MS) -> Cluster:
    cluster = build(scenario(1, strikes=(strike,)))
    cluster.run_until(START_MS + until_ms)
    return cluster


@pytest.mark.parametrize("fault", [Fault.LOST_LOG, Fault.LOST_DISK])
def test_a_validator_without_its_log_follows_and_never_votes_again(fault: Fault) -> None:
    cluster = after(Strike(fault, 3_000, 500, (2,)))
    assert "    3500 ms  bank-2 starts at height" in "\n".join(cluster.log)
    node = cluster.nodes[2]
    assert node.core is not None
    assert node.core.replica.state.me is None
    assert cluster.heights() == [max(cluster.heights())] * 4
    assert not node.disk.records
    cluster.crash(2)
    cluster.start(2)  # its learner's log is there now: it must not be taken for a voter's
    assert node.core.replica.state.me is None


def test_a_validator_without_its_ledger_fetches_it_and_votes_again() -> None:
    cluster = after(Strike(Fault.LOST_LEDGER, 3_000, 500, (2,)))
    node = cluster.nodes[2]
    assert node.core is not None
    assert node.core.replica.state.me == 2
    signed = [key for key in node.monitor.signed if key[2] == max(cluster.heights())]
    assert signed


@pytest.mark.parametrize("share", range(0, 1_000, 90))
def test_a_flipped_bit_of_the_log_is_refused_and_never_voted_on_from(share: int) -> None:
    cluster = after(Strike(Fault.FLIPPED_LOG, 3_000, 500, (1,), (share, share % 8, 0)))
    story = "\n".join(cluster.log)
    assert "bank-1 refuses to start: the write-ahead log" in story
    assert "bank-1 loses its write-ahead log" in story
    core = cluster.nodes[1].core
    assert core is not None
    assert core.replica.state.me is None


def test_a_damaged_row_stops_the_node_that_reads_it() -> None:
    stopped = 0
    for share in range(900, 1_000, 20):  # the tip's row is among the last
        cluster = after(Strike(Fault.FLIPPED_ROW, 3_000, 500, (1,), (share, 0, 0)), 5_000)
        if cluster.nodes[1].disk.store.damaged:
            cluster.crash(1)
            stopped += not cluster.start(1)
        stopped += any("bank-1 stops: the store is damaged" in line for line in cluster.log)
    assert stopped


def test_a_full_disk_stops_the_node_and_nothing_that_was_answered_is_lost() -> None:
    for written in (Written.NOTHING, Written.ROWS, Written.TORN):
        cluster = after(Strike(Fault.FULL_DISK, 3_000, 2_000, (0,), (written, 500)))
        story = "\n".join(cluster.log)
        assert "the disk of bank-0 is full" in story
        assert "    5000 ms  bank-0 starts at height" in story
        assert ("torn bytes cut" in story) is (written is Written.TORN)
        assert cluster.heights() == [max(cluster.heights())] * 4


# --- links and clocks


def test_a_slow_link_delays_what_is_large_and_keeps_its_order() -> None:
    cluster = Cluster(1, weather=CALM)
    cluster.network.slow(0, 1, 1_000)
    first, second = (cluster.network.delays(0, 1, size, cluster.now_ms)[0] for size in (1_000, 10))
    assert 1_000 < first <= 1_005
    assert second >= 1_010
    assert cluster.network.delays(1, 0, 1_000, cluster.now_ms)[0] <= 5
    assert cluster.network.delays(0, 1, 100_000, cluster.now_ms) == ()
    cluster.network.hasten([(0, 1)])
    assert cluster.network.delays(0, 1, 1_000, cluster.now_ms)[0] <= 5


def test_a_link_that_was_cut_twice_is_up_when_both_cuts_ended() -> None:
    network = Cluster(1).network
    links = network.partition([{0}, {1, 2, 3}])
    network.cut(0, 1)
    network.join(links)
    assert not network.linked(0, 1)
    assert network.linked(1, 0)
    network.join([(0, 1)])
    assert network.linked(0, 1)


# --- healing a core


@pytest.mark.parametrize("fate", list(Fate))
@pytest.mark.parametrize("outside", range(4))
def test_a_core_of_q_honest_nodes_commits_alone(fate: Fate, outside: int) -> None:
    core = tuple(node for node in range(4) if node != outside)
    assert held(replace(scenario(outside), core=core, fate=fate)).height > 0


@pytest.mark.parametrize("behaviour", BEHAVIOUR_NAMES)
def test_a_core_commits_beside_a_malicious_validator(behaviour: str) -> None:
    assert held(replace(scenario(1, malicious=behaviour), core=(0, 2, 3))).height > 0
