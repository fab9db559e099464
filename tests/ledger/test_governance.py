"""Governance on the chain: who may propose, how votes decide, and when a change takes effect."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from ledger.chain import Chain
from ledger.execution import BlockRefused
from ledger.governance_bodies import Action, ActivateRules, CastVote, Propose, RemoveValidator, Withdraw
from ledger.governance_errors import RULES, rule_of
from ledger.governance_records import PROPOSALS_A_MEMBER_MAX, Stage, passes, under_way
from ledger.governance_rules import PROPOSAL_TERM_MS_MAX, READY_HEIGHTS_MAX, RULES_LEAD_HEIGHTS_MIN
from ledger.members import read_validators_of
from ledger.nodes import KeyUse, listed_nodes, read_key_use, read_node
from ledger.recent_blocks import RECENT_BLOCKS, recent_hash
from ledger.rules import RULES_KEY, Rules, RulesUnknown, read_rules
from primitives.ids import Epoch
from tests.ledger.governance_fixtures import DAY_MS, Council, bank, key_of

REMOVE = RemoveValidator("node-3", False)


def names(council: Council) -> list[str]:
    return [validator.name for validator in council.set.validators]


# ---- votes


@pytest.mark.parametrize("voters", range(1, 101))
def test_no_f_members_pass_anything_and_no_f_members_block_the_rest(voters: int) -> None:
    f = (voters - 1) // 3
    assert not passes(voters, f)
    assert passes(voters, voters - f)


@pytest.mark.parametrize(("members", "needed"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (10, 7)])
def test_a_proposal_passes_with_more_than_two_thirds_of_the_members_with_a_validator(members: int, needed: int) -> None:
    council = Council(members, outsiders=1)
    proposal = council.propose(ActivateRules(2, 1_000))
    council.vote(proposal, *range(needed - 1))
    assert council.stage(proposal) is Stage.OPEN
    council.vote(proposal, needed - 1)
    assert council.stage(proposal) is Stage.ENACTED


def test_a_member_with_two_validators_has_one_vote() -> None:
    council = Council(4)
    second = council.addition(0, "node-x")
    proposal = council.propose(second)
    council.vote(proposal, 0, 1, 2)
    assert council.say("bank-0", council.ready(proposal, "node-x")).applied
    assert council.set.n == 5
    removal = council.propose(RemoveValidator("node-x", False))
    council.vote(removal, 0, 1)
    assert council.stage(removal) is Stage.OPEN
    council.vote(removal, 2)
    assert council.stage(removal) is Stage.ENACTED


def test_a_proposal_that_cannot_pass_any_more_is_refused() -> None:
    council = Council(4)
    proposal = council.propose(ActivateRules(2, 1_000))
    council.vote(proposal, 0, approve=False)
    assert council.stage(proposal) is Stage.OPEN
    council.vote(proposal, 1, approve=False)
    assert council.stage(proposal) is Stage.REFUSED
    assert council.rule("bank-2", council.ballot("bank-2", proposal)) == "proposal_closed"
    assert list(under_way(council.state, council.now_ms)) == []


def signed_by(change: Callable[[CastVote], CastVote]) -> Callable[[Council, bytes], CastVote]:
    return lambda council, proposal: change(council.ballot("bank-1", proposal))


@pytest.mark.parametrize(
    ("rule", "member", "ballot"),
    [
        ("unknown_proposal", "bank-1", signed_by(lambda vote: replace(vote, proposal=bytes(32)))),
        ("not_a_voter", "bank-4", lambda council, proposal: council.ballot("bank-4", proposal)),
        ("unknown_officer", "bank-1", lambda council, proposal: council.ballot("bank-1", proposal, use="clerk")),
        ("unknown_officer", "bank-1", lambda council, proposal: council.ballot("bank-1", proposal, use="source")),
        ("bad_signature", "bank-1", signed_by(lambda vote: replace(vote, approve=False))),
        ("bad_signature", "bank-1", signed_by(lambda vote: replace(vote, signature=bytes(64)))),
        ("already_voted", "bank-0", lambda council, proposal: council.ballot("bank-0", proposal)),
        ("already_voted", "bank-0", lambda council, proposal: council.ballot("bank-0", proposal, approve=False)),
    ],
)
def test_a_vote_that_is_not_the_members_own_counts_for_nothing(
    rule: str, member: str, ballot: Callable[[Council, bytes], CastVote]
) -> None:
    council = Council(4)
    other = council.propose(ActivateRules(2, 1_000), "bank-3")
    proposal = council.propose(council.addition())
    council.vote(proposal, 0)
    assert council.rule(member, ballot(council, proposal)) == rule
    assert council.proposal(proposal).approvals == ("bank-0",)
    assert council.proposal(other).approvals == ()


def test_a_vote_signed_for_one_proposal_does_not_stand_for_another() -> None:
    council = Council(4)
    first, second = council.propose(ActivateRules(2, 1_000)), council.propose(council.addition())
    ballot = replace(council.ballot("bank-1", first), proposal=second)
    assert council.rule("bank-1", ballot) == "bad_signature"


# ---- proposals


def test_only_who_has_a_validator_or_whom_it_concerns_proposes() -> None:
    council = Council(4, outsiders=2)
    addition = council.addition(4)
    assert council.refused(addition, "bank-5") == "not_a_party"
    assert council.refused(ActivateRules(2, 1_000), "bank-4") == "not_a_party"
    assert council.refused(REMOVE, "bank-4") == "not_a_party"
    council.propose(addition, "bank-4")


@pytest.mark.parametrize("term_ms", [0, -1, PROPOSAL_TERM_MS_MAX + 11])
def test_a_proposals_end_lies_ahead_and_not_too_far(term_ms: int) -> None:
    council = Council(4)
    assert council.rule("bank-0", Propose(council.addition(), council.now_ms + term_ms)) == "proposal_term"


def test_a_member_has_a_bounded_number_of_proposals_under_way() -> None:
    council = Council(20, outsiders=1)
    for number in range(PROPOSALS_A_MEMBER_MAX):
        council.propose(RemoveValidator(f"node-{number}", True), term_ms=1_000)
    assert council.refused(RemoveValidator("node-9", True)) == "proposals_under_way"
    council.propose(RemoveValidator("node-9", True), "bank-1")
    council.now_ms += 2_000
    council.propose(RemoveValidator("node-8", True))
    assert len(list(under_way(council.state, council.now_ms))) == 2


def test_two_proposals_of_a_member_do_not_change_the_same() -> None:
    council = Council(5)
    first = council.propose(council.rekeying(3))
    assert council.refused(RemoveValidator("node-3", False)) == "pending_change"
    council.propose(council.rekeying(3, 2), "bank-3")
    assert council.refused(council.rekeying(3, 2), "bank-3") == "pending_change"
    council.propose(RemoveValidator("node-2", False))
    assert council.rule("bank-1", Withdraw(first)) == "not_the_proposer"
    assert council.say("bank-0", Withdraw(first)).applied
    assert council.stage(first) is Stage.WITHDRAWN
    council.propose(council.rekeying(3, 2))
    rules = council.propose(ActivateRules(2, 1_000))
    assert council.refused(ActivateRules(3, 2_000)) == "pending_change"
    assert council.rule("bank-0", Withdraw(bytes(32))) == "unknown_proposal"
    council.vote(rules, 0, 1, 2, 3)
    assert council.rule("bank-0", Withdraw(rules)) == "proposal_closed"


def test_no_member_keeps_others_from_removing_it_by_proposals_of_its_own() -> None:
    council = Council(5)
    waiting = council.propose(council.rekeying(4), "bank-4")
    council.vote(waiting, 0, 1, 2, 3)
    assert council.stage(waiting) is Stage.APPROVED
    removal = council.propose(RemoveValidator("node-4", False))
    council.vote(removal, 0, 1, 2, 3)
    assert names(council) == ["node-0", "node-1", "node-2", "node-3"]
    assert council.stage(waiting) is Stage.FAILED
    assert council.rule("bank-4", council.ready(waiting, "node-4")) == "proposal_closed"


def test_an_approval_does_not_outlive_another_change_of_the_same_validator() -> None:
    council = Council(4)
    first = council.propose(council.addition())
    second = council.propose(replace(council.addition(), keys=council.keys("node-4", "bank-4", 2)), "bank-4")
    third = council.propose(council.addition(), "bank-1")
    council.vote(first, 0, 1, 2)
    council.vote(second, 0, 1, 2)
    assert council.say("bank-0", council.ready(second, "node-4", turn=2)).applied
    assert council.stage(second) is Stage.ENACTED
    assert council.stage(first) is Stage.FAILED
    assert council.stage(third) is Stage.OPEN, "its voters have yet to decide"
    removal = council.propose(RemoveValidator("node-4", False))
    council.vote(removal, 0, 1, 2, 3)
    assert names(council) == ["node-0", "node-1", "node-2", "node-3"]
    assert council.rule("bank-4", council.ready(first, "node-4")) == "proposal_closed"


def test_past_its_end_a_proposal_has_expired_whatever_it_waited_for() -> None:
    council = Council(4)
    waiting = council.propose(council.addition(), term_ms=1_000)
    council.vote(waiting, 0, 1, 2)
    council.now_ms += 1_000
    assert council.stage(waiting) is Stage.EXPIRED
    assert council.rule("bank-0", council.ready(waiting, "node-4")) == "proposal_closed"
    assert council.rule("bank-3", council.ballot("bank-3", waiting)) == "proposal_closed"
    council.propose(council.addition())


# ---- what may be changed


def changed_keys(**change: bytes) -> Callable[[Council], Action]:
    def action(council: Council) -> Action:
        addition = council.addition()
        return replace(addition, keys=replace(addition.keys, **change))

    return action


def proved_for(**uses: str) -> Callable[[Council], Action]:
    return lambda council: replace(council.addition(), keys=council.keys("node-4", "bank-4", **uses))


def same_key_twice(council: Council) -> Action:
    keys = council.addition().keys
    return replace(council.addition(), keys=replace(keys, cosign_key=keys.vote_key, cosign_proof=keys.vote_proof))


NOT_POSSIBLE: list[tuple[str, Callable[[Council], Action]]] = [
    ("unknown_member", lambda council: replace(council.addition(), member="bank-9")),
    ("name_taken", lambda council: replace(council.addition(), name="node-0")),
    ("bad_address", lambda council: replace(council.addition(), address="nowhere")),
    ("bad_address", lambda council: replace(council.addition(), address="")),
    ("address_taken", lambda council: replace(council.addition(), address="127.0.0.1:7401")),
    ("address_taken", lambda council: council.rekeying(0, address="127.0.0.1:7401")),
    ("bad_signature", lambda council: replace(council.addition(), member="bank-0")),
    ("bad_signature", lambda council: replace(council.addition(), name="node-5")),
    ("bad_signature", proved_for(vote="cosign")),
    ("bad_signature", proved_for(cosign="vote")),
    ("bad_signature", proved_for(log="vote")),
    ("bad_signature", changed_keys(vote_proof=bytes(64))),
    ("bad_key", changed_keys(vote_key=bytes(32))),
    ("bad_key", same_key_twice),
    ("key_taken", changed_keys(vote_key=key_of("node-1", "cosign").public)),
    ("key_taken", changed_keys(log_key=key_of("bank-2", "source").public)),
    ("key_taken", changed_keys(log_key=key_of("bank-2", "officer").public)),
    ("unknown_validator", lambda council: RemoveValidator("node-9", False)),
    ("unknown_validator", lambda council: replace(council.rekeying(0), name="node-9")),
    ("no_safe_quorum", lambda council: RemoveValidator("node-0", True)),
    ("rules_version", lambda council: ActivateRules(1, 1_000)),
    ("rules_height", lambda council: ActivateRules(2, council.chain.height + RULES_LEAD_HEIGHTS_MIN)),
]


@pytest.mark.parametrize(("rule", "action"), NOT_POSSIBLE, ids=lambda value: value if isinstance(value, str) else "")
def test_a_change_that_may_not_be_is_refused_when_it_is_proposed(
    rule: str, action: Callable[[Council], Action]
) -> None:
    council = Council(4)
    assert council.refused(action(council)) == rule
    assert rule in RULES


@pytest.mark.parametrize(
    ("began", "left", "fewer_faults", "rule"),
    [
        (4, 3, True, "no_safe_quorum"),
        (5, 4, False, ""),
        (7, 6, False, "fewer_faults"),
        (7, 6, True, ""),
        (3, 2, True, "no_safe_quorum"),
        (1, 0, True, "no_safe_quorum"),
        (10, 9, False, "fewer_faults"),
        (8, 7, False, ""),
    ],
)
def test_a_removal_leaves_a_safe_quorum_or_is_refused(began: int, left: int, fewer_faults: bool, rule: str) -> None:
    council = Council(began)
    action = RemoveValidator("node-0", fewer_faults)
    if rule:
        assert council.refused(action) == rule
        return
    proposal = council.propose(action)
    council.vote(proposal, *range(2 * began // 3 + 1))
    assert council.stage(proposal) is Stage.ENACTED
    assert council.set.n == left


def test_a_retired_key_never_comes_back() -> None:
    council = Council(5)
    proposal = council.propose(council.rekeying(3))
    council.vote(proposal, 0, 1, 2, 4)
    assert council.say("bank-3", council.ready(proposal, "node-3")).applied
    removal = council.propose(RemoveValidator("node-3", False))
    council.vote(removal, 0, 1, 2, 4)
    assert names(council) == ["node-0", "node-1", "node-2", "node-4"]
    assert council.refused(council.rekeying(0, 1)) == ""
    back = replace(council.addition(3), keys=council.keys("node-3", "bank-3", 1))
    assert council.refused(back, "bank-3") == "key_taken"
    fresh = replace(council.addition(3), keys=council.keys("node-3", "bank-3", 2))
    council.propose(fresh, "bank-3")
    retired = read_key_use(council.state, key_of("node-3", "vote").public)
    assert retired == KeyUse("node-3", "vote", Epoch(0))


def test_a_name_that_belonged_to_one_member_is_not_taken_by_another() -> None:
    council = Council(5)
    removal = council.propose(RemoveValidator("node-4", False))
    council.vote(removal, 0, 1, 2, 3)
    other = replace(council.addition(5, "node-4"))
    assert council.refused(other) == "name_taken"


def test_what_was_possible_when_it_was_proposed_fails_if_it_is_not_when_it_passes() -> None:
    council = Council(5)
    first = council.propose(RemoveValidator("node-4", False))
    second = council.propose(RemoveValidator("node-3", False))
    council.vote(first, 0, 1, 2, 3)
    assert council.stage(first) is Stage.ENACTED
    council.vote(second, 0, 1, 2)
    assert council.stage(second) is Stage.FAILED
    assert rule_of(council.proposal(second).failure) == "no_safe_quorum"
    assert names(council) == ["node-0", "node-1", "node-2", "node-3"]


# ---- taking effect


def test_a_joiner_becomes_a_validator_with_its_word_and_not_before() -> None:
    council = Council(4)
    proposal = council.propose(council.addition(), "bank-4")
    assert council.rule("bank-4", council.ready(proposal, "node-4")) == "not_approved"
    council.vote(proposal, 0, 1, 2)
    assert council.stage(proposal) is Stage.APPROVED
    assert council.rule("bank-3", council.ballot("bank-3", proposal)) == "proposal_closed"
    before = council.set
    result = council.block(("bank-4", council.ready(proposal, "node-4")))
    assert result.outcomes[0].applied
    assert result.header.epoch == 0
    assert (council.set.epoch, names(council)) == (1, [f"node-{i}" for i in range(5)])
    assert result.header.next_validators == council.set.hash
    assert read_validators_of(council.state, Epoch(0)) == before
    assert read_validators_of(council.state, Epoch(1)) == council.set
    node = read_node(council.state, "node-4")
    assert node is not None
    assert node.address == council.addition().address
    assert council.rule("bank-4", council.ready(proposal, "node-4")) == "proposal_closed"


@pytest.mark.parametrize(
    ("rule", "ready"),
    [
        ("wrong_block", lambda council, proposal: council.ready(proposal, "node-4", block_hash=b"x" * 32)),
        ("stale_block", lambda council, proposal: council.ready(proposal, "node-4", height=council.chain.height + 1)),
        ("bad_signature", lambda council, proposal: council.ready(proposal, "node-4", turn=2)),
        ("bad_signature", lambda council, proposal: replace(council.ready(proposal, "node-4"), signature=bytes(64))),
        ("unknown_proposal", lambda council, proposal: council.ready(b"y" * 32, "node-4")),
    ],
)
def test_a_ready_event_names_a_block_of_this_chain_under_the_new_key(
    rule: str, ready: Callable[[Council, bytes], CastVote]
) -> None:
    council = Council(4)
    proposal = council.propose(council.addition())
    council.vote(proposal, 0, 1, 2)
    assert council.rule("bank-4", ready(council, proposal)) == rule
    assert council.set.epoch == 0


def test_a_ready_event_that_names_an_old_block_is_refused() -> None:
    council = Council(4)
    proposal = council.propose(council.addition())
    council.vote(proposal, 0, 1, 2)
    early = council.ready(proposal, "node-4")
    last = council.chain.height + READY_HEIGHTS_MAX
    while council.chain.height < last:
        council.block()
    assert council.rule("bank-4", early) == "stale_block"
    oldest = council.ready(proposal, "node-4", height=council.chain.height + 1 - READY_HEIGHTS_MAX)
    assert council.say("bank-4", oldest).applied


def test_the_newest_blocks_are_known_by_height_and_no_others() -> None:
    council = Council(4)
    for _ in range(RECENT_BLOCKS + 3):
        council.block()
    tip = council.chain.height
    held = [height for height in range(tip + 2) if recent_hash(council.state, height) is not None]
    assert held == list(range(tip - RECENT_BLOCKS, tip))
    assert recent_hash(council.state, tip - 1) == council.hash_at(tip - 1)
    assert recent_hash(council.state, -1) is None


def test_a_rekeyed_validator_keeps_its_place_and_may_move() -> None:
    council = Council(4)
    proposal = council.propose(council.rekeying(1, address="10.0.0.1:1"), "bank-1")
    council.vote(proposal, 0, 2, 3)
    assert council.say("bank-2", council.ready(proposal, "node-1")).applied
    assert names(council) == [f"node-{i}" for i in range(4)]
    assert council.set.validators[1].vote_key == key_of("node-1", "vote1").public
    node = read_node(council.state, "node-1")
    assert node is not None
    assert node.address == "10.0.0.1:1"


def test_changes_of_one_block_compose_into_one_epoch() -> None:
    council = Council(6, outsiders=1)
    removal = council.propose(RemoveValidator("node-5", False))
    addition = council.propose(council.addition(6))
    council.vote(addition, 0, 1, 2, 3, 4)
    council.vote(removal, 0, 1, 2, 3)
    result = council.block(("bank-4", council.ballot("bank-4", removal)), ("bank-6", council.ready(addition, "node-6")))
    assert [outcome.applied for outcome in result.outcomes] == [True, True]
    assert (council.set.epoch, names(council)) == (1, ["node-0", "node-1", "node-2", "node-3", "node-4", "node-6"])
    assert read_validators_of(council.state, Epoch(2)) is None
    listed = listed_nodes(council.state, Epoch(1), with_previous=True)
    assert sorted(listed) == [f"node-{i}" for i in range(7)]
    assert "node-5" not in listed_nodes(council.state, Epoch(1), with_previous=False)


def test_changes_of_one_block_are_judged_one_after_the_other() -> None:
    council = Council(5)
    first, second = (council.propose(RemoveValidator(f"node-{i}", False), f"bank-{i}") for i in (3, 4))
    council.vote(first, 0, 1, 2)
    council.vote(second, 0, 1)
    result = council.block(("bank-3", council.ballot("bank-3", first)), ("bank-2", council.ballot("bank-2", second)))
    # Both have passed; but once the first has left, the second would leave three.
    assert [outcome.applied for outcome in result.outcomes] == [True, True]
    assert council.stage(first) is Stage.ENACTED
    assert council.stage(second) is Stage.FAILED
    assert (council.set.epoch, council.set.n) == (1, 4)


# ---- rules at a height


def test_blocks_carry_the_version_of_the_rules_that_was_decided_on_for_their_height() -> None:
    council = Council(4, rules=(1, 2))
    height = council.chain.height + 40
    proposal = council.propose(ActivateRules(2, height))
    council.vote(proposal, 0, 1, 2)
    assert read_rules(council.state) == Rules(1, 2, height)
    versions = {}
    while council.chain.height < height + 2:
        header = council.block().header
        versions[header.height] = header.version
    assert {versions[height - 1], versions[height], versions[height + 2]} == {1, 2}
    assert versions[height - 1] == 1
    assert council.refused(ActivateRules(2, height + 1_000)) == "rules_version"
    council.propose(ActivateRules(3, height + 1_000))


def test_rules_that_are_decided_on_are_not_replaced_before_they_are_in_force() -> None:
    council = Council(4)
    proposal = council.propose(ActivateRules(2, 1_000))
    council.vote(proposal, 0, 1, 2)
    assert council.refused(ActivateRules(3, 2_000)) == "rules_pending"


def test_a_decision_that_comes_too_late_for_its_height_fails() -> None:
    council = Council(4)
    proposal = council.propose(ActivateRules(2, council.chain.height + 1 + RULES_LEAD_HEIGHTS_MIN))
    council.vote(proposal, 0, 1, 2)
    assert council.stage(proposal) is Stage.FAILED
    assert rule_of(council.proposal(proposal).failure) == "rules_height"
    assert read_rules(council.state) == Rules(1)


def test_a_build_without_the_rules_neither_builds_nor_opens_past_their_height() -> None:
    council = Council(4, rules=(1, 2))
    height = council.chain.height + 40
    proposal = council.propose(ActivateRules(2, height))
    council.vote(proposal, 0, 1, 2)
    while council.chain.height < height - 2:
        council.block()
    old = Council(4, store=council.store, rules=(1,), references=1_000)
    assert old.chain.missing_rules() is None
    old.now_ms = council.now_ms
    old.block()
    assert old.chain.missing_rules() == (
        f"this chain needs rules version 2 from height {height} on; this release knows 1: install a newer release"
    )
    with pytest.raises(BlockRefused, match="needs rules version 2"):
        old.block()
    with pytest.raises(RulesUnknown, match=f"needs rules version 2 from height {height} on"):
        Chain(council.store, council.genesis, rules=(1,))
    Chain(council.store, council.genesis, rules=(1, 2))


def test_the_row_of_the_rules_is_there_once_others_were_decided_on() -> None:
    council = Council(4)
    assert council.state.raw(RULES_KEY.encode()) is None
    assert read_rules(council.state).at(10**9) == 1


def test_ids_of_members_are_sorted_so_that_a_row_has_one_form() -> None:
    council = Council(7)
    proposal = council.propose(RemoveValidator("node-0", True))
    council.vote(proposal, 3, 1, 2)
    assert council.proposal(proposal).approvals == tuple(bank(i) for i in (1, 2, 3))
    assert council.proposal(proposal).expires_ms <= council.now_ms + DAY_MS
