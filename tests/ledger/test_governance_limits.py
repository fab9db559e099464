"""Governance at its edges: what signed words cover, votes of members that left, ends to the millisecond, and limits."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger import governance_rules, member_rules
from ledger.genesis import GenesisMember, GenesisSource
from ledger.governance_bodies import (
    ActivateRules,
    AddMember,
    AddSource,
    ExcludeMember,
    RemoveSource,
    RemoveValidator,
    SetOfficers,
    key_statement,
    ready_statement,
    retirement_statement,
    source_statement,
    vote_statement,
)
from ledger.governance_records import Stage, passes, subject_of, votes_needed
from ledger.members import Role
from ledger.nodes import read_key_use
from ledger.rules import Rules
from primitives.ids import Hash
from tests.ledger.governance_fixtures import DAY_MS, Council, bank, key_of

KEY, OTHER = b"k" * 32, b"o" * 32
CHAIN, OTHER_CHAIN = Hash(b"c" * 32), Hash(b"d" * 32)


def member(name: str, **change: object) -> AddMember:
    """Return the admission of a bank that has nothing yet."""
    return AddMember(replace(GenesisMember(name, name, (Role.BANK,), "", (), (), ()), **change))


def further(council: Council, number: int, use: str) -> AddSource:
    """Return the action that gives a bank a further source."""
    key = key_of(bank(number), use)
    proof = key.sign(source_statement(council.chain_id, bank(number), key.public))
    return AddSource(bank(number), key.public, (Role.BANK,), proof)


# ---- what is signed


@pytest.mark.parametrize(
    ("statement", "fields", "others"),
    [
        (key_statement, (CHAIN, "vote", "node-1", "bank-1", KEY), (OTHER_CHAIN, "log", "node-2", "bank-2", OTHER)),
        (vote_statement, (CHAIN, KEY, True), (OTHER_CHAIN, OTHER, False)),
        (ready_statement, (CHAIN, KEY, 7, KEY), (OTHER_CHAIN, OTHER, 8, OTHER)),
        (source_statement, (CHAIN, "bank-1", KEY), (OTHER_CHAIN, "bank-2", OTHER)),
        (retirement_statement, (CHAIN, KEY), (OTHER_CHAIN, OTHER)),
    ],
)
def test_what_is_signed_differs_with_the_chain_and_with_each_thing_that_it_says(statement, fields, others) -> None:  # type: ignore[no-untyped-def]  # functions of several shapes
    made = {statement(*fields)}
    for place in range(len(fields)):
        made.add(statement(*fields[:place], others[place], *fields[place + 1 :]))
    assert len(made) == 1 + len(fields)
    assert len({one.partition(b"\0")[0] for one in made}) == 1


def test_what_is_signed_for_one_purpose_stands_for_no_other() -> None:
    tags = {
        made.partition(b"\0")[0]
        for made in (
            key_statement(CHAIN, "vote", "node-1", "bank-1", KEY),
            vote_statement(CHAIN, KEY, True),
            ready_statement(CHAIN, KEY, 7, KEY),
            source_statement(CHAIN, "bank-1", KEY),
            retirement_statement(CHAIN, KEY),
        )
    }
    assert len(tags) == 5


# ---- votes


@pytest.mark.parametrize("voters", range(1, 101))
def test_the_votes_that_are_said_to_be_needed_pass_and_one_less_does_not(voters: int) -> None:
    assert passes(voters, votes_needed(voters))
    assert not passes(voters, votes_needed(voters) - 1)


def test_the_votes_of_a_member_that_left_count_no_more() -> None:
    council = Council(5)
    approved, rejected = council.propose(ActivateRules(2, 1_000)), council.propose(council.addition(5), "bank-1")
    council.vote(approved, 4, 0)
    council.vote(rejected, 4, approve=False)
    removal = council.propose(RemoveValidator("node-4", False), "bank-2")
    council.vote(removal, 0, 1, 2, 3)
    assert council.set.n == 4
    council.vote(approved, 1)
    assert council.stage(approved) is Stage.OPEN, "two of four, though three have voted"
    council.vote(approved, 2)
    assert council.stage(approved) is Stage.ENACTED
    council.vote(rejected, 0, approve=False)
    assert council.stage(rejected) is Stage.OPEN, "three of four may still pass it"
    council.vote(rejected, 1, approve=False)
    assert council.stage(rejected) is Stage.REFUSED


def test_a_member_whose_last_validator_left_votes_no_more() -> None:
    council = Council(5)
    removal = council.propose(RemoveValidator("node-4", False))
    council.vote(removal, 0, 1, 2, 3)
    proposal = council.propose(ActivateRules(2, 1_000))
    assert council.rule("bank-4", council.ballot("bank-4", proposal)) == "not_a_voter"
    assert council.refused(ActivateRules(3, 2_000), "bank-4") == "not_a_party"


def test_a_member_with_most_of_the_validators_has_one_vote() -> None:
    council = Council(4)
    for name in ("node-x", "node-y", "node-z", "node-w"):
        proposal = council.propose(replace(council.addition(0, name), address=f"10.0.0.1:{ord(name[-1])}"))
        council.vote(proposal, 0, 1, 2)
        assert council.say("bank-0", council.ready(proposal, name)).applied
    assert council.set.n == 8
    proposal = council.propose(ActivateRules(2, 1_000))
    council.vote(proposal, 0, 1)
    assert council.stage(proposal) is Stage.OPEN, "two of four members, though six of eight validators"
    council.vote(proposal, 2)
    assert council.stage(proposal) is Stage.ENACTED


def test_a_member_that_rejected_does_not_vote_again() -> None:
    council = Council(4)
    proposal = council.propose(ActivateRules(2, 1_000))
    council.vote(proposal, 1, approve=False)
    for approve in (True, False):
        assert council.rule("bank-1", council.ballot("bank-1", proposal, approve)) == "already_voted"
    assert (council.proposal(proposal).approvals, council.proposal(proposal).rejections) == ((), ("bank-1",))


def test_a_removal_that_leaves_too_few_officers_is_refused() -> None:
    council = Council(7)
    for number in (5, 6):
        change = council.propose(SetOfficers(bank(number), ()))
        council.vote(change, 0, 1, 2, 3, 4)
    assert council.refused(RemoveValidator("node-4", True)) == "too_few_voters", "4 of 6 have an officer, 5 decide"
    council.propose(RemoveValidator("node-5", True))


# ---- ends


def test_a_proposal_is_open_in_the_last_millisecond_of_its_term_and_not_after_it() -> None:
    for late_ms, stage in ((0, Stage.OPEN), (1, Stage.EXPIRED)):
        council = Council(4)
        proposal = council.propose(ActivateRules(2, 1_000), term_ms=DAY_MS)
        council.now_ms = council.proposal(proposal).expires_ms + late_ms - 10  # the next block's time is 10 ms later
        rule = council.rule("bank-0", council.ballot("bank-0", proposal))
        assert (council.stage(proposal), rule) == (stage, "proposal_closed" if late_ms else "")


def test_rules_are_in_force_at_their_height_and_pending_below_it() -> None:
    rules = Rules(1, 2, 100)
    assert [rules.at(height) for height in (1, 99, 100, 101)] == [1, 1, 2, 2]
    assert [rules.pending_at(height) for height in (1, 99, 100, 101)] == [True, True, False, False]
    assert [Rules(3).at(height) for height in (0, 100)] == [3, 3]
    assert not Rules(3).pending_at(0)


def test_rules_that_follow_others_leave_those_in_force_until_then() -> None:
    council = Council(4, rules=(1, 2, 3))
    first = council.propose(ActivateRules(2, 40))
    council.vote(first, 0, 1, 2)
    while council.chain.height < 41:
        council.block()
    second = council.propose(ActivateRules(3, 90))
    council.vote(second, 0, 1, 2)
    assert council.chain._standing(council.chain.tip_hash).rules == Rules(2, 3, 90)
    assert council.block().header.version == 2


# ---- limits


def test_a_set_has_no_more_validators_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    council = Council(4)
    monkeypatch.setattr(governance_rules, "VALIDATORS_MAX", 4)
    assert council.refused(council.addition()) == "too_many_validators"
    monkeypatch.setattr(governance_rules, "VALIDATORS_MAX", 5)
    council.propose(council.addition())


def test_a_chain_has_no_more_members_than_its_limit_and_those_that_left_count(monkeypatch: pytest.MonkeyPatch) -> None:
    council = Council(4)
    excluded = council.propose(ExcludeMember("bank-4"))
    council.vote(excluded, 0, 1, 2)
    monkeypatch.setattr(member_rules, "MEMBERS_MAX", 5)
    assert council.refused(member("bank-new")) == "too_many_members"
    monkeypatch.setattr(member_rules, "MEMBERS_MAX", 6)
    council.propose(member("bank-new"))


def test_a_member_has_no_more_sources_than_its_limit_and_removed_ones_leave_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    council = Council(4)
    monkeypatch.setattr(member_rules, "SOURCES_A_MEMBER_MAX", 1)
    assert council.refused(further(council, 4, "source2")) == "too_many_sources"
    removal = council.propose(RemoveSource(key_of("bank-4", "source").public))
    council.vote(removal, 0, 1, 2)
    council.propose(further(council, 4, "source2"))


def test_a_member_without_a_root_ca_runs_no_validator() -> None:
    council = Council(4)
    admission = council.propose(member("bank-new"))
    council.vote(admission, 0, 1, 2)
    keys = council.keys("node-new", "bank-new")
    addition = replace(council.addition(), name="node-new", member="bank-new", keys=keys)
    assert council.refused(addition) == "no_ca"


def test_a_name_in_use_is_taken_for_its_own_member_too() -> None:
    council = Council(4)
    again = replace(council.addition(0, "node-0"), address="10.0.0.1:1")
    assert council.refused(again) == "name_taken"


def test_each_kind_of_change_has_its_own_subject() -> None:
    council = Council(4)
    source = key_of("bank-1", "source").public
    subjects = {
        subject_of(action)
        for action in (
            council.addition(),
            ActivateRules(2, 1_000),
            member("bank-1"),
            RemoveSource(source),
            SetOfficers("bank-1", ()),
        )
    }
    assert subjects == {"validator node-4", "rules", "member bank-1", f"source {source.hex()}", "officers of bank-1"}
    assert subject_of(ExcludeMember("bank-1")) == subject_of(member("bank-1"))
    assert subject_of(council.rekeying(1)) == subject_of(RemoveValidator("node-1", False))


def test_all_three_keys_of_a_validator_are_remembered_for_good() -> None:
    council = Council(4)
    proposal = council.propose(council.rekeying(3))
    council.vote(proposal, 0, 1, 2)
    assert council.say("bank-3", council.ready(proposal, "node-3")).applied
    for use in ("vote", "cosign", "log"):
        for key in (key_of("node-3", use), key_of("node-3", f"{use}1")):
            used = read_key_use(council.state, key.public)
            assert used is not None
            assert (used.name, used.use) == ("node-3", use)
        taken = GenesisSource(key_of("node-3", use).public, (Role.BANK,))
        assert council.refused(member("bank-new", sources=(taken,))) == "key_taken"
