"""The monitors that watch every simulated step: what they may pass over, and what they never do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consensus.effects import Broadcast
from consensus.invariants import SLOTS_MAX, InvariantBroken, check_bounds
from consensus.messages import BUFFER_HEIGHTS, WINDOW, Claim
from consensus.state import BLOCKS_KEPT_PER_HEIGHT, ReplicaState
from consensus.tally import VIEWS_KEPT
from primitives.ids import Epoch, Hash, Height, View
from sim.toy import batch_of

from .toy_fixtures import Group

HASHES = [Hash(number.to_bytes(32, "big")) for number in range(100)]


def claim_above(state: ReplicaState) -> None:
    state.slot(Height(WINDOW + 1)).claim = Claim(None, None)  # type: ignore[arg-type]  # that there is one counts


def votes_of_all_views(state: ReplicaState) -> None:
    tally = state.slot(Height(1)).commits
    for validator in range(5):
        for view in range(VIEWS_KEPT):
            tally.add(validator, View(view), HASHES[0], b"")


Growth = Callable[[ReplicaState], object]

BEYOND: dict[str, Growth] = {
    "slots are bounded": lambda state: [state.slot(Height(height)) for height in range(1, SLOTS_MAX + 2)],
    "slots lie in the window": lambda state: state.slot(Height(SLOTS_MAX)),
    "blocks of a height are bounded": lambda state: state.slot(Height(1)).blocks.update(
        dict.fromkeys(HASHES[: BLOCKS_KEPT_PER_HEIGHT + 1])  # type: ignore[arg-type]  # only their number counts
    ),
    "votes of a height are bounded": votes_of_all_views,
    "each validator is shown a proposal once": lambda state: state.slot(Height(1)).shown.update(
        dict.fromkeys(range(5), View(0))
    ),
    "claims lie in the window": claim_above,
    "one VIEW-CHANGE of each validator": lambda state: state.view_changes.update(dict.fromkeys(range(5))),  # type: ignore[arg-type]  # as above
    "chosen blocks are bounded": lambda state: state.chosen.update(
        dict.fromkeys(map(Height, range(2 * WINDOW + 1)))  # type: ignore[arg-type]  # as above
    ),
    "records of claims are bounded": lambda state: state.claim_records.update(
        dict.fromkeys(map(Height, range(WINDOW + 1)), ())
    ),
    "early proposals are bounded": lambda state: state.early.update(
        dict.fromkeys(map(Height, range(BUFFER_HEIGHTS + 1)))  # type: ignore[arg-type]  # as above
    ),
    "evidence is bounded": lambda state: state.accused.update(dict.fromkeys(range(5))),  # type: ignore[arg-type]  # as above
    "a step hands over all its effects": lambda state: state.refuse("proposal", "left behind"),
}


@pytest.mark.parametrize("rule", BEYOND)
def test_each_bound_of_memory_is_checked_by_itself(rule: str) -> None:
    state = Group()[0]
    check_bounds(state)
    BEYOND[rule](state)
    with pytest.raises(InvariantBroken, match=rule):
        check_bounds(state)


def test_evidence_against_cosigners_is_bounded_by_the_sets_that_are_known() -> None:
    state = Group()[0]
    known = {(Epoch(0), validator): None for validator in range(4)}
    state.accused_cosigners.update(known)  # type: ignore[arg-type]  # only their number counts
    check_bounds(state)
    state.accused_cosigners[Epoch(1), 0] = None  # type: ignore[assignment]  # as above
    with pytest.raises(InvariantBroken, match="evidence is bounded"):
        check_bounds(state)


@pytest.mark.parametrize("turns_between", [0, 1])
def test_a_step_that_does_nothing_but_fall_back_is_seen(turns_between: int) -> None:
    group = Group()
    node = group.nodes[0]
    for view in (View(1), View(0)):
        node.state.view = view
        node.monitor.after_step(node.state, [])
        if turns_between:
            node.monitor.turn_taken()
    node.monitor.turn_taken()
    with pytest.raises(InvariantBroken, match="the view never falls"):
        node.monitor.synced()


def test_what_a_step_sends_is_judged_also_where_the_replica_stays_where_it_was() -> None:
    group = Group()
    group.offer(batch_of(1))
    group.run(100)
    node = group.nodes[1]
    vote = next(letter for letter in node.sent if type(letter).__name__ == "Vote")
    other = type(vote)(*(getattr(vote, name) for name in vote.__struct_fields__[:-1]), b"another signature")
    with pytest.raises(InvariantBroken, match="no send before its write"):
        node.monitor.watch(node.state, [Broadcast(other)])
