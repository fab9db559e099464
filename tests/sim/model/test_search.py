"""Runs of the real replica with one or two deviations hold every rule; a rule broken by hand is found among them."""

from __future__ import annotations

from random import Random

import pytest

from sim.model.search import Crossing, copied, fingerprint, search
from sim.twins.breaks import broken


def test_every_run_with_one_deviation_holds() -> None:
    found = search(1)
    assert (found.broken, found.complete) == ("", True)
    assert found.runs > 700


def test_runs_with_two_deviations_hold() -> None:
    assert search(2, runs_max=1_000).broken == ""


@pytest.mark.parametrize("rule", ["no-claims", "lowest-view", "old-new-view", "no-vow"])
def test_a_rule_broken_by_hand_is_found_with_one_deviation(rule: str) -> None:
    with broken(rule):
        found = search(1)
    assert found.broken
    assert len(found.deviations) == 1


def test_a_copy_of_a_world_goes_its_own_way() -> None:
    world = Crossing(0, Random(0))
    world.begin()
    for _ in range(10):
        world.arrive()
    before = fingerprint(world)
    other: Crossing = copied(world, {})
    assert fingerprint(other) == before
    while other.letters:
        other.arrive()
    assert fingerprint(world) == before
    while world.letters:
        world.arrive()
    assert fingerprint(world) == fingerprint(other)
