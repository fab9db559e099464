"""Who counts as a voter: a seat whose holder says that it votes, and not every node that bears a validator's name."""

from __future__ import annotations

from msgspec.structs import replace

from consensus.catch_up import status_of
from consensus.messages import Status
from consensus.state import ReplicaState
from primitives.ids import Epoch, Height, View
from primitives.validators import ValidatorSet
from tests.consensus.toy_fixtures import Group, batch_of, validator_of


def said(epoch: int = 0, *, votes: bool = True) -> Status:
    return Status(Epoch(epoch), View(0), True, Height(0), Height(0), Height(0), votes)


def state_in_epoch_1(**statuses: Status) -> ReplicaState:
    """Return v0's state in an epoch in which v3 has new keys, having heard these statuses."""
    state = Group().nodes[0].replica.state
    old = state.validators
    rekeyed = replace(old.validators[3], vote_key=validator_of("another").vote_key)
    state.previous_validators = old
    state.validators = ValidatorSet(Epoch(1), (*old.validators[:3], rekeyed))
    state.statuses.update(statuses)
    return state


def test_a_status_says_that_a_validator_votes_and_that_learners_and_observers_do_not() -> None:
    group = Group(4, observers=1)
    assert status_of(group[0]).votes
    assert not status_of(group[4]).votes
    group[0].learner = True
    assert not status_of(group[0]).votes


def test_a_validator_that_halted_or_lost_its_ledger_says_that_it_does_not_vote() -> None:
    group = Group()
    group[0].halted = "a contradiction"
    group[1].floor = Height(5)
    assert [status_of(group[index]).votes for index in range(4)] == [False, False, True, True]


def test_learners_observers_strangers_and_a_copy_of_myself_are_no_voters() -> None:
    state = Group().nodes[0].replica.state
    state.statuses.update(v1=said(votes=False), v2=said(), observer=said(), v0=said())
    assert state.voters_among(["v0", "v1", "v2", "observer"]) == 1


def test_who_has_not_told_anything_yet_counts() -> None:
    assert Group().nodes[0].replica.state.voters_among(["v1", "v2"]) == 2


def test_a_word_of_the_epoch_before_holds_for_the_key_that_it_was_about() -> None:
    state = state_in_epoch_1(v1=said(0), v2=said(0, votes=False), v3=said(0))
    assert state.voters_among(["v1", "v2"]) == 1
    assert state.voters_among(["v3"]) == 0, "v3's seat has another key now"
    state.statuses["v3"] = said(1)
    assert state.voters_among(["v3"]) == 1


def test_a_word_of_an_epoch_long_past_does_not_count() -> None:
    state = state_in_epoch_1()
    state.previous_validators = ValidatorSet(Epoch(2), state.validators.validators)
    state.validators = ValidatorSet(Epoch(3), state.validators.validators)
    state.statuses["v1"] = said(0)
    assert state.voters_among(["v1"]) == 0


def test_a_node_that_hears_a_quorum_of_names_but_not_of_voters_does_not_leave_the_view_alone() -> None:
    group = Group()
    node = group.nodes[3]
    node.application.held.add(batch_of(1))
    node.application.waiting.append(batch_of(1))
    group.drop = lambda letter: True
    for name in ("v0", "v1"):
        group[3].statuses[name] = said(votes=False)
    for _ in range(20):
        group.tick(500)
        group.deliver()
    assert group[3].view == 0
    group[3].statuses["v0"] = group[3].statuses["v1"] = said()
    group.run(10_000)
    assert group[3].view >= 1
