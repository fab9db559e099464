"""What members, officers and carriers might try with proposals and votes, and what comes of two decisions at once."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.catalogue import CATALOGUE_2, read_catalogues
from ledger.execution import DEAR_EVENTS_A_MEMBER_MAX, ForeignChain
from ledger.genesis import Genesis
from ledger.governance_bodies import (
    AddCatalogue,
    AnyAction,
    ChangePolicy,
    Figure,
    SetOfficers,
    SetRoles,
    SetSourceRoles,
    SetThreshold,
    Withdraw,
)
from ledger.governance_errors import rule_of
from ledger.governance_records import PROPOSALS_A_MEMBER_MAX, Stage, under_way
from ledger.members import GOVERNANCE_ROLE, Officer, Role, read_member
from ledger.outcomes import TOO_MANY_IN_BLOCK
from ledger.policy import read_planned, read_policy
from ledger.thresholds import Share, read_thresholds
from primitives.ids import Hash
from tests.ledger.governance_fixtures import START_MS, Council, Founded, bank, key_of, proposing


class Elsewhere(Founded):
    """The same members with the same keys on another chain."""

    def founded(self) -> Genesis:
        return replace(super().founded(), time_ms=START_MS + 1)


def council(validators: int = 4) -> Founded:
    return Founded(validators, rules=(1, 2))


def policy(days: int, height: int = 0) -> ChangePolicy:
    return ChangePolicy((Figure("appeal_window_days", days),), height)


def last_votes(found: Council, *proposals: Hash, voter: int = 2) -> list[str]:
    """Commit the last vote on each of these proposals in one block, in this order; return their stages."""
    said = [(bank(voter), found.ballot(bank(voter), proposal)) for proposal in proposals]
    assert all(outcome.applied for outcome in found.block(*said).outcomes)
    return [found.stage(proposal).value for proposal in proposals]


def nearly(found: Council, member: str, action: AnyAction, count: int = 2) -> Hash:
    """Propose an action and cast all votes on it but the last."""
    proposal = found.propose(action, member)
    found.vote(proposal, *range(count))
    return proposal


# --- replayed words


def test_a_vote_of_another_chain_of_the_same_officers_counts_for_nothing() -> None:
    here, there = council(), Elsewhere(4, rules=(1, 2))
    assert here.chain_id != there.chain_id
    proposal = here.propose(policy(7))
    assert here.rule("bank-1", there.ballot("bank-1", proposal)) == "bad_signature"
    assert here.proposal(proposal).approvals == ()
    assert here.say("bank-1", here.ballot("bank-1", proposal)).applied


def test_a_batch_of_votes_of_another_chain_stands_in_no_block() -> None:
    here, there = council(), Elsewhere(4, rules=(1, 2))
    raw = there.block(("bank-1", there.ballot("bank-1", bytes(32)))).batches[0]
    with pytest.raises(ForeignChain):
        here.chain.check_admission(here.chain.tip_hash, raw)


def test_a_vote_for_does_not_stand_as_a_vote_against_and_a_vote_is_not_cast_twice_by_another_carrier() -> None:
    found = council()
    proposal = found.propose(policy(7))
    ballot = found.ballot("bank-1", proposal)
    assert found.rule("bank-2", replace(ballot, approve=False)) == "bad_signature"
    assert found.say("bank-2", ballot).applied
    assert found.rule("bank-3", ballot) == "already_voted"
    assert found.proposal(proposal).approvals == ("bank-1",)


def test_a_vote_of_an_officer_who_was_removed_meanwhile_counts_for_nothing_and_one_cast_before_stays() -> None:
    found = council()
    early, late = found.propose(policy(7)), found.propose(SetThreshold("set_roles", Share.MAJORITY))
    found.vote(early, 1)
    new = Officer(key_of("bank-1", "successor").public, GOVERNANCE_ROLE)
    found.vote(found.propose(SetOfficers("bank-1", (new,))), 0, 2, 3)
    assert found.rule("bank-1", found.ballot("bank-1", late)) == "unknown_officer"
    assert found.proposal(early).approvals == ("bank-1",), "a vote is the member's, whoever signed it"
    assert found.rule("bank-1", found.ballot("bank-1", early, use="successor")) == "already_voted"
    assert found.say("bank-1", found.ballot("bank-1", late, use="successor")).applied


def test_an_officer_who_is_removed_in_the_same_block_before_its_vote_votes_no_more() -> None:
    found = council()
    matter = found.propose(policy(7))
    removal = nearly(found, "bank-0", SetOfficers("bank-3", ()))
    said = found.block(("bank-2", found.ballot("bank-2", removal)), ("bank-3", found.ballot("bank-3", matter)))
    assert [outcome.rule for outcome in said.outcomes] == ["", "unknown_officer"]


# --- floods


def test_a_member_that_proposes_and_withdraws_all_day_delays_nobody_elses_proposal_in_a_block() -> None:
    found = council()
    bodies = [proposing(policy(number, 900 + number), found.now_ms + 9_000) for number in range(20)]
    said = found.block(*(("bank-0", body) for body in bodies), ("bank-1", proposing(policy(9), found.now_ms + 9_000)))
    rules = [outcome.rule for outcome in said.outcomes]
    assert rules[-1] == "", "another member's own is taken in the same block"
    assert rules.count("") == 2, "of one member no two change the same"
    assert rules.count(TOO_MANY_IN_BLOCK) == 20 - DEAR_EVENTS_A_MEMBER_MAX


def test_proposals_under_way_are_bounded_for_each_member_whatever_they_are_about() -> None:
    found = council()
    kinds: list[AnyAction] = [
        policy(7),
        SetRoles("bank-1", (Role.BANK, Role.LABORATORY)),
        SetThreshold("set_roles", Share.MAJORITY),
        SetThreshold("remove_source", Share.MAJORITY),
        SetThreshold("add_catalogue", Share.TWO_THIRDS),
    ]
    first = [found.propose(action) for action in kinds[:PROPOSALS_A_MEMBER_MAX]]
    assert found.refused(kinds[-1]) == "proposals_under_way"
    assert found.say("bank-0", Withdraw(bytes(first[0]))).applied
    found.propose(kinds[-1])
    assert len(under_way(found.state, found.now_ms)) == PROPOSALS_A_MEMBER_MAX


# --- two decisions at once


def test_of_two_policies_decided_in_one_block_the_later_vote_has_the_last_word() -> None:
    found = council()
    first, second = nearly(found, "bank-0", policy(7)), nearly(found, "bank-1", policy(8))
    assert last_votes(found, first, second) == ["enacted", "enacted"]
    assert read_policy(found.state).appeal_window_days == 8


def test_of_two_policies_for_later_heights_decided_in_one_block_the_second_fails() -> None:
    found = council()
    height = found.chain.height + 40
    first, second = nearly(found, "bank-0", policy(7, height)), nearly(found, "bank-1", policy(8, height))
    assert last_votes(found, first, second) == ["enacted", "failed"]
    assert rule_of(found.proposal(second).failure) == "policy_pending"
    planned = read_planned(found.state)
    assert planned is not None
    assert planned.policy.appeal_window_days == 7


def test_of_two_versions_of_the_catalogue_under_one_number_the_one_decided_first_stands() -> None:
    found = council()
    actions = [AddCatalogue(3, 0, source, CATALOGUE_2.categories) for source in ("one", "another")]
    first, second = (nearly(found, bank(i), action) for i, action in enumerate(actions))
    assert last_votes(found, second, first) == ["enacted", "failed"]
    assert rule_of(found.proposal(first).failure) == "catalogue_version"
    assert read_catalogues(found.state)[-1].source == "another"


def test_a_proposal_fails_by_name_where_an_earlier_decision_of_its_block_took_its_ground() -> None:
    found = council()
    key = key_of("bank-4", "source").public
    roles = nearly(found, "bank-0", SetRoles("bank-4", (Role.LABORATORY,)))
    source = nearly(found, "bank-1", SetSourceRoles(key, (Role.BANK,)))
    assert last_votes(found, roles, source) == ["enacted", "failed"]
    assert rule_of(found.proposal(source).failure) == "bad_roles"


# --- shares


def test_a_share_that_is_lowered_is_decided_by_the_share_that_nobody_can_lower() -> None:
    found = council()
    for action in ("set_threshold", "change_policy", "set_officers", "add_validator", "remove_validator"):
        assert found.refused(SetThreshold(action, Share.THIRD)) == "threshold_fixed"
    proposal = found.propose(SetThreshold("set_roles", Share.MAJORITY))
    found.vote(proposal, 0, 1)
    assert found.stage(proposal) is Stage.OPEN, "two of four are no two thirds"
    found.vote(proposal, 2)
    assert read_thresholds(found.state).share_of("set_roles") is Share.MAJORITY
    member = read_member(found.state, "bank-4")
    assert member is not None
    assert member.roles == (Role.BANK,)


def test_a_share_that_is_raised_counts_for_what_is_open_already() -> None:
    found = council()
    open_one = found.propose(AddCatalogue(3, 0, "a notice", CATALOGUE_2.categories), "bank-1")
    found.vote(open_one, 0, 1)
    assert found.stage(open_one) is Stage.OPEN, "more than half of four are three"
    found = council(7)
    open_one = found.propose(AddCatalogue(3, 0, "a notice", CATALOGUE_2.categories), "bank-1")
    found.vote(open_one, 0, 1, 2)
    found.vote(found.propose(SetThreshold("add_catalogue", Share.TWO_THIRDS)), 0, 1, 2, 3, 4)
    found.vote(open_one, 3)
    assert found.stage(open_one) is Stage.OPEN, "four of seven were enough before"
    found.vote(open_one, 4)
    assert found.stage(open_one) is Stage.ENACTED
