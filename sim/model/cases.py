"""What the model is asked: bounds that are exhausted, rules that are switched off, and where each search begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from sim.model import reduced
from sim.model.actions import Fork, Model
from sim.model.checker import Found, Look, Steps, after, explore, whole
from sim.model.liveness import stuck
from sim.model.protocol import Rules
from sim.model.states import Bounds, State


@dataclass(frozen=True, slots=True)
class Switch:
    """One rule switched off: how far the model must reach to find what follows, and the actions it begins with."""

    rule: str
    bounds: Bounds
    steps: Steps = reduced.steps
    begin: tuple[str, ...] = ()
    watch_choices: bool = False
    lives: bool = False


TWO: Final = (2,)
SCENARIO_41: Final = (
    "A prepares a in view 0",
    "C prepares a in view 0",
    "A commits a in view 0",
    "B vows for view 1",
    "C vows for view 1",
    "B enters view 1, which chooses nothing",
    "C enters view 1, which chooses nothing",
    "B prepares b in view 1",
    "C prepares b in view 1",
    "B commits b in view 1",
)
HIDDEN: Final = (
    "A prepares a in view 0",
    "B prepares a in view 0",
    "A commits a in view 0",
    "B vows for view 1",
    "C vows for view 1",
    "B enters view 1, which chooses nothing",
    "C enters view 1, which chooses nothing",
    "B prepares b in view 1",
    "C prepares b in view 1",
    "B commits b in view 1",
)
"""A holds a claim for a in view 0, B one for b in view 1."""

SWITCHES: Final = {
    switch.rule: switch
    for switch in (
        Switch("commit_rests_in_view", Bounds(4, (2, 1)), begin=SCENARIO_41, watch_choices=True),
        Switch("vow_ends_votes", Bounds(2, TWO), steps=whole),
        Switch("highest_view_wins", Bounds(4, TWO)),
        Switch("full_quorum", Bounds(2, TWO)),
        Switch("voted_afresh", Bounds(4, TWO), begin=HIDDEN, watch_choices=True),
        Switch("gapless_base", Bounds(2, (1, 1)), steps=whole, lives=True),
        Switch("distinct_vows", Bounds(2, TWO)),
        Switch("claims_kept", Bounds(3, TWO)),
        Switch("choice_binds", Bounds(3, TWO)),
    )
}


def switched(rule: str, states_max: int | None = None) -> Found:
    """Explore the protocol without one of its rules, until something breaks."""
    switch = SWITCHES[rule]
    model = Model(switch.bounds, replace(Rules(), **{rule: False}), watch_choices=switch.watch_choices)
    begin = after(model, switch.begin)
    look = watch_life(model) if switch.lives else None
    return explore(model, steps=switch.steps, begin=begin, states_max=states_max, look=look)


def watch_life(model: Model) -> Look:
    """Return a look at each state that raises `Fork` where no fair continuation commits."""

    def look(state: State) -> None:
        why = stuck(model, state)
        if why is not None:
            raise Fork(why)

    return look
