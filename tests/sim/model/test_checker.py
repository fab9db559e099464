"""The abstract protocol holds its rules within bounds that are exhausted; every rule switched off breaks something."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

import pytest

from sim.model import __main__ as command
from sim.model import reduced
from sim.model.actions import Model
from sim.model.cases import SWITCHES, switched, watch_life
from sim.model.checker import Steps, explore, walk, whole
from sim.model.states import Bounds, State

Certificates = tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]

BROKEN = {
    "commit_rests_in_view": ("the choice of view 3 drops ax, committed in view 2", 6),
    "vow_ends_votes": ("a and b are both committed at height 1", 12),
    "highest_view_wins": ("b and a are both committed at height 1", 10),
    "full_quorum": ("a and b are both committed at height 1", 4),
    "voted_afresh": ("the choice of view 3 drops a, committed in view 2", 5),
    "gapless_base": ("C knows that height 2 is certified, and cannot deliver it", 12),
    "distinct_vows": ("a and b are both committed at height 1", 8),
    "claims_kept": ("a and b are both committed at height 1", 9),
    "choice_binds": ("a and b are both committed at height 1", 8),
}
"""What follows from a rule switched off, and how many lines its shortest trace has."""


@pytest.mark.parametrize("bounds", [Bounds(4, (2,)), Bounds(2, (2, 1))], ids=["4 views", "2 heights"])
def test_every_state_within_bounds_agrees_and_some_continuation_of_it_commits(bounds: Bounds) -> None:
    model = Model(bounds)
    found = explore(model, look=watch_life(model))
    assert found.broken == ""
    assert found.exhausted
    assert found.states > 5_000


def test_every_single_action_within_small_bounds_leaves_a_way_to_commit() -> None:
    model = Model(Bounds(2, (2,)))
    found = explore(model, steps=whole, look=watch_life(model))
    assert (found.exhausted, found.broken) == (True, "")


@pytest.mark.parametrize("rule", SWITCHES)
def test_a_rule_switched_off_breaks_something(rule: str) -> None:
    found = switched(rule)
    assert (found.broken, len(found.trace)) == BROKEN[rule]


def renamings(model: Model) -> list[dict[int, int]]:
    """Return all ways to exchange blocks of one parent."""

    def below(parent: int, image: int) -> Iterator[dict[int, int]]:
        for order in permutations(model.children(image)):
            pairs = list(zip(model.children(parent), order, strict=True))
            for deeper in product(*(list(below(*pair)) for pair in pairs)):
                yield {**dict(pairs), **{key: value for part in deeper for key, value in part.items()}}

    return list(below(0, 0))


def certificates(model: Model, steps: Steps) -> set[Certificates]:
    """Return which certificates exist together in some state, names and unused views aside."""
    names, seen = renamings(model), set()

    def look(state: State) -> None:
        if any(not local.chain for local in state.locals):  # later on what is settled is forgotten
            seen.add(min(_certificates_of(model, state, name) for name in names))

    assert explore(model, steps=steps, look=look).exhausted
    return seen


def _certificates_of(model: Model, state: State, names: dict[int, int]) -> Certificates:
    newest: dict[int, int] = {}
    for place in range(state.prepares.bit_length()):
        if state.prepares >> place & 1:
            view, block = divmod(place, len(model.blocks))
            newest[block] = max(view, newest.get(block, 0))
    certified = {top.block: top.view for top in state.certified if top.block}
    ranks = {view: rank for rank, view in enumerate(sorted({*newest.values(), *certified.values()}))}
    return (
        tuple(sorted((names[block], ranks[view]) for block, view in newest.items())),
        tuple(sorted((names[block], ranks[view]) for block, view in certified.items())),
    )


@pytest.mark.parametrize("bounds", [Bounds(2, (2,)), Bounds(3, (1,))], ids=["2 blocks", "3 views"])
def test_the_reduced_system_reaches_the_certificates_of_the_whole_one(bounds: Bounds) -> None:
    model = Model(bounds)
    found = certificates(model, reduced.steps)
    assert len(found) > 3
    assert found == certificates(model, whole)


def test_walks_beyond_what_is_exhausted_hold_and_repeat() -> None:
    model = Model(Bounds(5, (2, 2)))
    first, second = walk(model, 30, seed=1), walk(model, 30, seed=1)
    assert first.broken == ""
    assert first.committed > 10
    assert (first.steps, first.committed) == (second.steps, second.committed)


def test_the_command_counts_states_and_walks(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--views", "2", "--heights", "1", "--walks", "3"]) == 0
    out = capsys.readouterr().out
    assert "192 states" in out
    assert "exhausted, every rule held" in out
    assert "3 walks from seed 0" in out
