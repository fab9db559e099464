"""Running one Twins scenario and judging it.

Held at every step: the rules of `consensus.invariants` for each honest replica, no fork and nothing committed lost
among them, no honest replica halts. Held at the end: HEAL_TIMEOUTS of the longest time-out after all links are up
again, the honest stand at one block and every batch is ordered, and nobody accuses an honest validator.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from consensus.invariants import require
from sim.toy import batch_of
from sim.twins.scenario import Scenario, draw
from sim.twins.world import PARAMETERS, World

HEAL_TIMEOUTS: Final = 3


@dataclass(frozen=True, slots=True)
class Result:
    """How a scenario ended: height of the honest, highest view, time to order after healing, steps, who was accused."""

    number: int
    height: int
    view: int
    healing_ms: int
    steps: int
    accused: bool
    height_before: int


def run(number: int) -> Result:
    """Run the scenario of a number; raises `InvariantBroken` where a rule does not hold."""
    return play(draw(number))


def play(scenario: Scenario) -> Result:
    """Run a scenario."""
    world = World(scenario.twinned, Random(f"order {scenario.number}"))  # noqa: S311  repeatable
    for each in scenario.rounds:
        world.play(each)
    height_before = max(node.state.tip.height for node in world.honest)
    world.heal()
    healed_ms = world.now_ms
    limit_ms = HEAL_TIMEOUTS * PARAMETERS.timeout_max_ms
    while (missing := lacking(world, scenario)) is not None:
        require(world.now_ms - healed_ms < limit_ms, "order returns when the links are up again", missing)
        world.tick()
    for node in world.honest:
        strangers = (node.accused | set(node.state.accused)) - {scenario.twinned}
        require(not strangers, "no honest validator is accused", (node.name, strangers))
    return Result(
        scenario.number,
        max(node.state.tip.height for node in world.honest),
        max(node.state.view for node in world.honest),
        world.now_ms - healed_ms,
        world.steps,
        any(node.accused for node in world.honest),
        height_before,
    )


def lacking(world: World, scenario: Scenario) -> str | None:
    """Say what the honest lack until they agree on everything that was offered; None where nothing is."""
    tips = {node.state.tip.hash for node in world.honest}
    if len(tips) != 1:
        return f"the honest stand at different blocks: {[node.state.tip.height for node in world.honest]}"
    for each in scenario.rounds:
        for number, _ in each.offers:
            if batch_of(number) not in world.watch.ordered:
                return f"batch {number} is not ordered"
    return None
