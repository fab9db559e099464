"""Validators join, leave and change their keys while whole clusters run: at a block, and nothing forks or is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from consensus.invariants import InvariantBroken
from consensus.messages import Vote, encode_message, kind_of
from ledger import governance_rules
from primitives.ids import TimeMs
from primitives.votes import COMMIT, vote_statement
from sim import plan
from sim.changes import silenced
from sim.cluster import RECORDS_MAX, Cluster
from sim.events import Offer
from sim.governance import addition, rekeying, removal, signer_of
from sim.membership import Change, Deed
from sim.network import CALM, Weather
from sim.plan import CHANGE_SHARE, EPOCH_NAMES, Fault, Scenario, draw, draw_loads
from sim.run import build, run
from sim.statute import Statute
from sim.workload import START_MS, bank_of

STEP_MS = 250


def run_until(cluster: Cluster, done: Callable[[], bool], within_ms: int) -> None:
    """Let the cluster run until something holds; say where it stands if it does not in time."""
    end = cluster.now_ms + within_ms
    while not done():
        assert cluster.now_ms < end, ("\n".join(cluster.log[-40:]), cluster.heights(), epochs(cluster))
        cluster.run_until(cluster.now_ms + STEP_MS)


def epochs(cluster: Cluster) -> list[int]:
    """Return the epoch of each node, -1 of one that is down."""
    return [-1 if node.core is None else node.core.replica.state.epoch for node in cluster.nodes]


def all_in(cluster: Cluster, epoch: int) -> bool:
    """Say whether every running node is in an epoch."""
    return {item for item in epochs(cluster) if item >= 0} == {epoch}


def seats(cluster: Cluster) -> list[int | None]:
    """Return each running node's index among the validators, as it knows them."""
    return [None if node.core is None else node.core.replica.state.me for node in cluster.nodes]


def offer_through(cluster: Cluster, banks: int, *, every_ms: int = 300, for_ms: int = 20_000) -> None:
    """Let the banks' sources offer statements in turn for a time from now."""
    for number, at_ms in enumerate(range(0, for_ms, every_ms)):
        cluster.schedule(cluster.now_ms + at_ms, Offer(number % banks, 3))


def goes_on(cluster: Cluster, within_ms: int = 30_000) -> None:
    """Require that order goes on from here on every running node."""
    height = max(cluster.heights()) + 2
    offer_through(cluster, 3, for_ms=6_000)
    run_until(cluster, lambda: min(item for item in cluster.heights() if item >= 0) >= height, within_ms)


def join(cluster: Cluster, bank: int = 0, name: str = "bank-0-second") -> int:
    """Add a node, have it approved, and run until it is a validator."""
    epoch = max(epochs(cluster))
    index = cluster.add_node(name, bank)
    proposal = cluster.gateways.propose(bank, addition(cluster.chain_id, name, bank_of(bank), 7500 + index))
    cluster.run_until(cluster.now_ms + 1_000)
    cluster.gateways.approve(proposal, range(4))
    run_until(cluster, lambda: all_in(cluster, epoch + 1), 30_000)
    return index


def test_a_joiner_follows_until_it_has_caught_up_and_then_its_vote_counts() -> None:
    cluster = Cluster(1, weather=CALM)
    offer_through(cluster, 4)
    cluster.run_until(START_MS + 3_000)
    index = join(cluster)
    assert seats(cluster) == [0, 1, 2, 3, 4]
    goes_on(cluster)
    cluster.crash(3)  # five bear one fault: the four that are left need the joiner's vote
    goes_on(cluster)
    core = cluster.nodes[index].core
    assert core is not None
    assert core.replica.state.checkpoints.stable_height > core.replica.state.barrier_height


def test_a_joiner_that_has_not_caught_up_does_not_become_a_validator() -> None:
    cluster = Cluster(2, weather=CALM)
    offer_through(cluster, 4)
    cluster.run_until(START_MS + 3_000)
    index = cluster.add_node("bank-0-second", 0)
    for other in range(4):
        cluster.network.cut(index, other)
        cluster.network.cut(other, index)
    proposal = cluster.gateways.propose(0, addition(cluster.chain_id, "bank-0-second", "bank-0", 7500))
    cluster.run_until(cluster.now_ms + 1_000)
    cluster.gateways.approve(proposal, range(3))
    cluster.run_until(cluster.now_ms + 10_000)
    assert epochs(cluster)[:4] == [0] * 4
    cluster.network.heal()
    run_until(cluster, lambda: all_in(cluster, 1), 30_000)


def test_a_leaver_cosigns_the_barrier_and_follows_without_a_vote() -> None:
    cluster = Cluster(3, 5, CALM)
    offer_through(cluster, 5)
    cluster.run_until(START_MS + 3_000)
    proposal = cluster.gateways.propose(0, removal("bank-4"))
    cluster.run_until(cluster.now_ms + 1_000)
    cluster.gateways.approve(proposal, range(4))
    run_until(cluster, lambda: all_in(cluster, 1), 30_000)
    assert seats(cluster) == [0, 1, 2, 3, None]
    goes_on(cluster)
    core = cluster.nodes[4].core
    assert core is not None
    own = core.replica.state.checkpoints.own
    assert own is not None
    assert (own.epoch, own.height) == (0, core.replica.state.barrier_height)
    assert core.replica.state.checkpoints.stable_height > own.height


def test_a_wiped_validator_abstains_until_it_is_rekeyed() -> None:
    cluster = Cluster(4, weather=CALM)
    offer_through(cluster, 3, for_ms=60_000)
    cluster.run_until(START_MS + 3_000)
    generation = cluster.rekey(3)
    cluster.run_until(cluster.now_ms + 5_000)
    assert seats(cluster) == [0, 1, 2, None]
    proposal = cluster.gateways.propose(0, rekeying(cluster.chain_id, "bank-3", "bank-3", generation))
    cluster.run_until(cluster.now_ms + 1_000)
    cluster.gateways.approve(proposal, range(3))
    run_until(cluster, lambda: all_in(cluster, 1), 30_000)
    assert seats(cluster) == [0, 1, 2, 3]
    cluster.crash(2)
    height = max(cluster.heights()) + 5
    run_until(cluster, lambda: min(cluster.heights()[i] for i in (0, 1, 3)) >= height, 30_000)


def test_a_retired_key_signs_nothing_that_is_taken() -> None:
    cluster = Cluster(5, weather=CALM)
    offer_through(cluster, 3)
    cluster.run_until(START_MS + 2_000)
    generation = cluster.rekey(3)
    proposal = cluster.gateways.propose(0, rekeying(cluster.chain_id, "bank-3", "bank-3", generation))
    cluster.run_until(cluster.now_ms + 1_000)
    cluster.gateways.approve(proposal, range(3))
    run_until(cluster, lambda: all_in(cluster, 1), 30_000)
    core = cluster.nodes[0].core
    assert core is not None
    state = core.replica.state
    for epoch, refused in ((1, 1), (0, 0)):
        height, view = state.tip.height + 1, state.view
        block_hash = state.tip.hash
        signed = vote_statement(COMMIT, cluster.chain_id, epoch, view, height, block_hash)  # type: ignore[arg-type]  # plain numbers
        vote = Vote(COMMIT, epoch, view, height, block_hash, 3, signer_of("bank-3").sign_vote(signed))  # type: ignore[arg-type]  # plain numbers
        before, moves = cluster.nodes[0].refusals, state.moves
        cluster.inject(3, 0, kind_of(vote), encode_message(vote))
        cluster.run_until(cluster.now_ms + 2)
        assert cluster.nodes[0].refusals - before == refused
        assert state.moves == moves


@pytest.mark.parametrize("seed", range(4))
def test_who_slept_through_several_epochs_catches_up_and_votes(seed: int) -> None:
    cluster = Cluster(seed, 5, CALM)
    offer_through(cluster, 4, for_ms=60_000, every_ms=500)
    cluster.run_until(START_MS + 2_000)
    cluster.crash(4)
    index = join(cluster)
    generation = cluster.rekey(3)
    steps = (
        rekeying(cluster.chain_id, "bank-3", "bank-3", generation),
        removal("bank-0-second"),
    )
    for epoch, action in enumerate(steps, 2):
        proposal = cluster.gateways.propose(0, action)
        cluster.run_until(cluster.now_ms + 1_000)
        cluster.gateways.approve(proposal, range(4))
        run_until(cluster, lambda epoch=epoch: all_in(cluster, epoch), 60_000)  # type: ignore[misc]  # a default binds the epoch
    cluster.start(4)
    run_until(cluster, lambda: all_in(cluster, 3), 30_000)
    assert seats(cluster) == [0, 1, 2, 3, 4, None]
    assert cluster.nodes[index].core is not None
    cluster.crash(0)
    height = max(cluster.heights()) + 3
    offer_through(cluster, 4, for_ms=10_000)
    run_until(cluster, lambda: min(cluster.heights()[i] for i in (1, 2, 3, 4)) >= height, 60_000)


@pytest.mark.parametrize("seed", range(8))
def test_a_change_of_the_set_in_bad_weather_with_leaders_that_crash(seed: int) -> None:
    cluster = Cluster(seed, weather=Weather(loss=0.1, replay=0.2, delay_ms=20, tail_ms=500, tail_share=0.1))
    offer_through(cluster, 4, for_ms=30_000)
    cluster.run_until(START_MS + 2_000)
    index = cluster.add_node("bank-0-second", 0)
    proposal = cluster.gateways.propose(0, addition(cluster.chain_id, "bank-0-second", "bank-0", 7500))
    run_until(cluster, lambda: max(cluster.heights()) > 3, 30_000)
    cluster.gateways.approve(proposal, range(4))
    for victim in (seed % 4, (seed + 1) % 4):
        cluster.run_until(TimeMs(cluster.now_ms + 1_500 + 100 * seed))
        cluster.crash(victim)
        cluster.run_until(TimeMs(cluster.now_ms + 2_000))
        cluster.start(victim)
    run_until(cluster, lambda: all_in(cluster, 1), 120_000)
    cluster.network.weather = CALM
    cluster.crash(seed % 4)
    height = max(cluster.heights()) + 3
    offer_through(cluster, 4, for_ms=60_000)
    run_until(cluster, lambda: min(item for item in cluster.heights() if item >= 0) >= height, 120_000)
    assert index == 4


# --- drawn runs


def changing(nodes: int = 4, seeds: range = range(300)) -> list[Scenario]:
    """Return the drawn runs in which members or validators change."""
    return [scenario for scenario in (draw(seed, nodes) for seed in seeds) if scenario.changes]


@pytest.mark.parametrize("scenario", changing(seeds=range(30)), ids=lambda scenario: f"seed {scenario.seed}")
def test_members_and_validators_change_amid_every_fault_and_order_returns(scenario: Scenario) -> None:
    result = run(scenario)
    assert result.height > 0
    assert result.simulated_ms > scenario.chaos_ms


def test_a_share_of_all_runs_sees_every_kind_of_change_amid_cut_logs_and_lost_ledgers() -> None:
    found = changing()
    assert 300 * CHANGE_SHARE * 0.8 < len(found) < 300 * CHANGE_SHARE * 1.2
    assert {change.deed for scenario in found for change in scenario.changes} == set(Deed)
    assert {scenario.records_max for scenario in found} == {20, 60, RECORDS_MAX}
    assert {name for scenario in found for _, name in scenario.malicious} >= set(EPOCH_NAMES)
    assert any(strike.fault is Fault.LOST_LEDGER for scenario in found for strike in scenario.strikes)
    assert all(change.at_ms < scenario.chaos_ms * 3 // 4 for scenario in found for change in scenario.changes)


def test_what_changes_are_drawn_leaves_all_other_draws_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    with_changes = [draw(seed) for seed in range(60)]
    monkeypatch.setattr(plan, "CHANGE_SHARE", 0.0)
    for scenario in with_changes:
        bare = draw(scenario.seed)
        assert bare.weather == scenario.weather
        assert set(bare.loads) <= set(scenario.loads)
        assert set(bare.strikes) <= set(scenario.strikes)
        assert (bare == scenario) is (not scenario.changes)


def planned(*changes: Change, nodes: int = 4, guests: int = 0) -> Cluster:
    """Return a calm cluster with these changes after its run."""
    loads = draw_loads(Random(1), 20, nodes + guests, 8_000)
    scenario = Scenario(1, nodes, CALM, loads=loads, chaos_ms=8_000, changes=changes, guests=guests)
    cluster = build(scenario)
    run(scenario, cluster)
    return cluster


def sizes(cluster: Cluster) -> list[int]:
    """Return how many validators each epoch of a run had."""
    return [validators.n for validators in cluster.conformance.sets()]


def test_a_planned_joiner_that_stops_on_its_way_becomes_a_validator() -> None:
    cluster = planned(Change(1_000, Deed.JOIN, 2, "bank-2-x", (500, 1_000)))
    assert sizes(cluster) == [4, 5]
    assert seats(cluster) == [0, 1, 2, 3, 4]


def test_a_planned_leaver_leaves_where_enough_are_left_and_else_is_refused() -> None:
    join, leave = Change(500, Deed.JOIN, 0, "bank-0-x"), Change(4_000, Deed.LEAVE, 1, "bank-3")
    assert sizes(planned(leave)) == [4]
    assert sizes(planned(replace(leave, amounts=(1,)))) == [4]
    assert sizes(planned(join, leave)) == [4, 5, 4]
    assert sizes(planned(leave, nodes=7)) == [7]  # six bear one fault less
    assert sizes(planned(leave, nodes=5)) == [5, 4]


@pytest.mark.parametrize("deed", [Deed.EXCLUDE, Deed.STOP_SOURCE])
def test_a_member_that_is_excluded_or_stopped_submits_nothing_more(deed: Deed) -> None:
    cluster = planned(Change(1_000, deed, 1, "bank-4"), guests=1)
    assert silenced(cluster, 4)
    before = len(cluster.watch.ordered)
    cluster.gateways.offer(4, 1)
    cluster.run_until(cluster.now_ms + 5_000)
    assert len(cluster.watch.ordered) == before


def test_a_member_with_a_validator_is_not_excluded() -> None:
    assert not silenced(planned(Change(1_000, Deed.EXCLUDE, 1, "bank-3")), 3)


def test_a_change_that_leaves_too_few_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(governance_rules, "VALIDATORS_MIN", 3)
    with pytest.raises(InvariantBroken, match="no change leaves a set that bears fewer faults unless it says so"):
        planned(Change(1_000, Deed.LEAVE, 1, "bank-3", (1,)))
    monkeypatch.setattr(Statute, "committed", lambda *_: None)
    with pytest.raises(InvariantBroken, match="no change leaves fewer than a safe quorum needs"):
        planned(Change(1_000, Deed.LEAVE, 1, "bank-3", (1,)))


def test_two_validators_change_their_keys_at_once_while_the_leader_dies() -> None:
    cluster = Cluster(6, 7, CALM)
    cluster.statute = Statute(cluster.genesis)
    offer_through(cluster, 5, for_ms=8_000)
    cluster.run_until(START_MS + 1_000)
    generations = [cluster.rekey(index) for index in (5, 6)]
    for index, generation in zip((5, 6), generations, strict=True):
        name = bank_of(index)
        proposal = cluster.gateways.propose(1, rekeying(cluster.chain_id, name, name, generation))
        cluster.schedule(cluster.now_ms + 600, lambda proposal=proposal: cluster.gateways.approve(proposal, range(5)))  # type: ignore[misc]  # a default binds it
    cluster.run_until(cluster.now_ms + 590)
    cluster.schedule(cluster.now_ms + 40, lambda: cluster.crash(0))
    cluster.schedule(cluster.now_ms + 2_500, lambda: cluster.start(0))
    run_until(cluster, lambda: len(cluster.statute.enacted) == 2 if cluster.statute else False, 60_000)
    run_until(cluster, lambda: seats(cluster) == list(range(7)), 30_000)
    for index in (1, 2):
        cluster.crash(index)
    height = max(cluster.heights()) + 3
    for number in range(40):
        cluster.schedule(cluster.now_ms + 500 * number, Offer((0, 3, 4)[number % 3], 1))
    run_until(cluster, lambda: min(cluster.heights()[i] for i in (0, 3, 4, 5, 6)) >= height, 60_000)
