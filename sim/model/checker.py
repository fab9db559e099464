"""Explores the model: breadth first and exhaustive within bounds, or by seeded random walks beyond them.

States are kept as 64-bit hashes; a search of m states overlooks one with a probability of about m²/2^65. Not here: the
system that is explored (`actions`, `reduced`), and whether order can still return (`liveness`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from sim.model import reduced
from sim.model.actions import Fork, Model, Step
from sim.model.states import State

Steps = Callable[[Model, State], Iterator[Step]]
Look = Callable[[State], None]


@dataclass(slots=True)
class Found:
    """What an exploration counted, whether it was exhaustive, and the shortest way to a broken rule."""

    states: int = 0
    transitions: int = 0
    depth: int = 0
    seconds: float = 0.0
    exhausted: bool = False
    broken: str = ""
    trace: list[str] = field(default_factory=list)


def whole(model: Model, state: State) -> Iterator[Step]:
    """Yield every single action: the system that `reduced.steps` abbreviates."""
    return model.steps(state)


def explore(
    model: Model,
    *,
    steps: Steps = reduced.steps,
    begin: State | None = None,
    states_max: int | None = None,
    look: Look | None = None,
    told: Callable[[Found], None] | None = None,
) -> Found:
    """Visit every state from `begin` on breadth first, or stop at the first broken rule or after `states_max` states.

    `look` sees every new state and may raise `Fork` too; `told` hears of the progress at each depth.
    """
    began = time.perf_counter()
    found = Found(states=1)
    start = begin or model.initial
    first = reduced.canonical(model, start)
    parents: dict[int, int] = {hash(first): 0}
    frontier = [first]
    while frontier and not found.broken:
        following: list[State] = []
        for state in frontier:
            try:
                _expand(model, state, steps, parents, following, found, look)
            except Fork as fork:
                found.broken = str(fork)
                found.trace = _retrace(model, steps, start, parents, fork.last or hash(state))
                found.trace.append(f"then: {fork}")
                break
            if states_max is not None and found.states >= states_max:
                found.seconds = time.perf_counter() - began
                return found
        found.depth += 1
        frontier = following
        found.seconds = time.perf_counter() - began
        if told is not None:
            told(found)
    found.exhausted = not found.broken
    return found


def _expand(
    model: Model,
    state: State,
    steps: Steps,
    parents: dict[int, int],
    following: list[State],
    found: Found,
    look: Look | None,
) -> None:
    mine = hash(state)
    for step in steps(model, state):
        found.transitions += 1
        target = reduced.canonical(model, step.state)
        known = hash(target)
        if known not in parents:
            parents[known] = mine
            found.states += 1
            following.append(target)
            if look is not None:
                _look_at(look, target, known)


def _look_at(look: Look, state: State, known: int) -> None:
    try:
        look(state)
    except Fork as fork:
        fork.last = known
        raise


def _retrace(model: Model, steps: Steps, start: State, parents: dict[int, int], last: int) -> list[str]:
    """Return the labels of the way to a state, with every validator's own name."""
    way = [last]
    while parents[way[-1]]:
        way.append(parents[way[-1]])
    state: State = start
    labels: list[str] = []
    for target in reversed(way[:-1]):
        for step in steps(model, state):
            if hash(reduced.canonical(model, step.state)) == target:
                state = step.state
                labels.append(step.label)
                break
    return labels


def after(model: Model, labels: Sequence[str]) -> State:
    """Return the state to which single actions of these labels lead."""
    state = model.initial
    for label in labels:
        state = next(step.state for step in model.steps(state) if step.label == label)
    return state


@dataclass(slots=True)
class Walked:
    """What random walks counted."""

    walks: int = 0
    steps: int = 0
    seconds: float = 0.0
    committed: int = 0
    broken: str = ""
    trace: list[str] = field(default_factory=list)


def walk(
    model: Model, walks: int, *, seed: int = 0, steps_max: int = 60, told: Callable[[Walked], None] | None = None
) -> Walked:
    """Take random walks through the whole system, kinds of action drawn evenly; stop at the first broken rule."""
    began = time.perf_counter()
    found = Walked()
    for number in range(walks):
        random = Random(f"walk {seed} {number}")  # noqa: S311  repeatable
        state, labels = model.initial, []
        try:
            for _ in range(steps_max):
                step = _drawn(model, state, random)
                if step is None:
                    break
                state = step.state
                labels.append(step.label)
                found.steps += 1
        except Fork as fork:
            found.broken, found.trace = f"walk {number}: {fork}", labels
        found.walks += 1
        found.committed += any(top.block for top in state.certified)
        found.seconds = time.perf_counter() - began
        if told is not None:
            told(found)
        if found.broken:
            break
    return found


def _drawn(model: Model, state: State, random: Random) -> Step | None:
    """Draw a validator, a kind of action, and one of these actions; None where nothing is enabled."""
    kinds = [
        (kind, index)
        for index in range(len(state.locals))
        for kind in (model.prepares, model.commits, model.commits, model.deliveries, model.vows, model.entries)
    ]
    random.shuffle(kinds)
    for kind, index in kinds:
        enabled = list(kind(state, index))
        if enabled:
            return random.choice(enabled)
    return None
