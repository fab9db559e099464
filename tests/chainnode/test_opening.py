"""How a node may start: with a vote, or only to follow."""

from __future__ import annotations

import pytest

from chainnode.opening import must_follow, previous_validators
from tests.ledger.governance_fixtures import Council


@pytest.mark.parametrize(
    ("has_vote_key", "log_begun", "follows"),
    [(True, True, False), (True, False, True), (False, True, True), (False, False, True)],
)
def test_a_node_votes_only_with_its_key_and_the_log_of_what_that_key_signed(
    has_vote_key: bool, log_begun: bool, follows: bool
) -> None:
    assert must_follow(has_vote_key=has_vote_key, log_begun=log_begun) is follows


def test_a_node_that_opens_after_an_epoch_knows_the_set_of_the_one_before() -> None:
    council = Council(4)
    assert previous_validators(council.chain) is None
    before = council.set
    proposal = council.propose(council.addition())
    council.vote(proposal, 0, 1, 2)
    assert council.say("bank-4", council.ready(proposal, "node-4")).applied
    assert previous_validators(council.chain) == before
