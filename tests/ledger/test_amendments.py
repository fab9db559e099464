"""Roles, root CAs, the policy, the catalogue and thresholds by governance: what may change, and what a change does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from ledger.amendment_rules import AHEAD_HEIGHTS_MAX, CATALOGUE_AHEAD_MS_MAX, LEAST
from ledger.catalogue import (
    ALWAYS_NEEDED,
    CATALOGUE_2,
    Catalogue,
    Category,
    EvidenceKind,
    in_force,
    read_catalogue,
    read_catalogues,
)
from ledger.event_json import record_to_json
from ledger.execution import BlockRefused
from ledger.genesis import Genesis
from ledger.governance import preview
from ledger.governance_actions import ACTION_TYPES, proposing_body, sentence_of
from ledger.governance_bodies import (
    ActivateRules,
    AddCatalogue,
    Amend,
    AnyAction,
    ChangePolicy,
    ExcludeMember,
    Figure,
    RemoveSource,
    ReplaceCa,
    SetRoles,
    SetSourceRoles,
    SetThreshold,
)
from ledger.governance_errors import rule_of
from ledger.governance_records import Stage
from ledger.governance_rules import check_action
from ledger.kinds import RuleBroken
from ledger.member_index import holder_of_ca, read_old_ca
from ledger.members import Role, read_member, source_grant
from ledger.policy import Policy, policy_range, read_planned, read_policy
from ledger.thresholds import LOWEST, Share, Threshold, Thresholds, passes, read_thresholds, votes_needed
from p2p.certificates import certificate_pem, make_member_ca
from primitives.errors import InputError
from primitives.ids import Hash
from tests.ledger.governance_fixtures import DAY_MS, START_MS, Council, Founded, key_of

LABORATORY = (Role.BANK, Role.LABORATORY)
FIRST_CA, SECOND_CA = (certificate_pem(make_member_ca("bank-1", START_MS + i)[1]) for i in range(2))
CATEGORIES = CATALOGUE_2.categories


def council(validators: int = 4) -> Founded:
    return Founded(validators, rules=(1, 2))


def decided(found: Council, action: AnyAction, *numbers: int) -> Hash:
    """Propose an action and have banks approve it; the first three where none are named."""
    proposal = found.propose(action)
    found.vote(proposal, *(numbers or (0, 1, 2)))
    return proposal


def policy(height: int = 0, **figures: int) -> ChangePolicy:
    return ChangePolicy(tuple(Figure(name, value) for name, value in figures.items()), height)


def catalogue(**change: object) -> AddCatalogue:
    return replace(AddCatalogue(3, 0, "a notice", CATEGORIES), **change)


# --- rules and kinds


def test_no_block_by_the_first_rules_holds_such_a_proposal_and_none_is_found_admissible() -> None:
    old = Council(4, rules=(1, 2))
    with pytest.raises(BlockRefused, match=r"governance\.amend is of later rules"):
        old.propose(SetRoles("bank-1", LABORATORY))
    with pytest.raises(RuleBroken, match="rules_needed"):
        check_action(old.state, old.chain_id, SetRoles("bank-1", LABORATORY), old.chain.height + 1)


def test_a_chain_of_the_first_rules_comes_to_them_by_a_vote_and_then_changes_its_policy() -> None:
    old = Council(4, rules=(1, 2))
    height = old.chain.height + 40
    decided(old, ActivateRules(2, height))
    while old.chain.height < height - 1:
        old.block()
    decided(old, policy(appeal_window_days=7))
    assert read_policy(old.state).appeal_window_days == 7


def test_a_chain_that_is_founded_with_the_second_rules_follows_them_from_its_first_block_on() -> None:
    assert council().block().header.version == 2
    assert Council(4, rules=(1, 2)).block().header.version == 1


@pytest.mark.parametrize("type_", ACTION_TYPES)
def test_every_type_of_action_has_a_sentence(type_: str) -> None:
    assert sentence_of({"type": type_}) == type_  # what is not as it should be is still named


def test_an_action_survives_its_json_and_unknown_types_are_refused() -> None:
    actions = (
        SetRoles("bank-1", LABORATORY),
        SetSourceRoles(key_of("bank-1", "source").public, (Role.BANK,)),
        ReplaceCa("bank-1", FIRST_CA, True),
        policy(90, appeal_window_days=7, block_batches_max=4),
        catalogue(effective_from_ms=START_MS),
        SetThreshold("set_roles", Share.MAJORITY),
    )
    for action in actions:
        body = proposing_body(record_to_json(action), START_MS, where="$")
        assert body == Amend(action, START_MS)
        assert sentence_of(record_to_json(action)) != record_to_json(action)["type"]
    with pytest.raises(InputError, match=r"\$\.action\.type"):
        proposing_body({"type": "set_everything"}, START_MS, where="$")


# --- roles


def test_a_member_is_accredited_and_its_source_acts_under_the_role_it_is_given() -> None:
    found, key = council(), key_of("bank-4", "source").public
    decided(found, SetRoles("bank-4", LABORATORY))
    grant = source_grant(found.state, key)
    assert grant is not None
    assert (grant.roles, grant.source_roles) == ({"bank", "laboratory"}, {"bank"})
    decided(found, SetSourceRoles(key, (Role.LABORATORY,)))
    grant = source_grant(found.state, key)
    assert grant is not None
    assert grant.source_roles == {"laboratory"}
    decided(found, SetRoles("bank-4", (Role.BANK,)))
    grant = source_grant(found.state, key)
    assert grant is not None
    assert grant.source_roles == frozenset(), "a right hangs on the member's role"


def test_roles_are_those_of_a_present_member_and_of_a_present_source() -> None:
    found, key = council(), key_of("bank-4", "source").public
    assert found.refused(SetRoles("bank-9", LABORATORY)) == "unknown_member"
    assert found.refused(SetRoles("bank-4", ())) == "bad_roles"
    assert found.refused(SetRoles("bank-4", (Role.BANK, Role.BANK))) == "bad_roles"
    assert found.refused(SetSourceRoles(key, LABORATORY)) == "bad_roles", "its member is no laboratory"
    assert found.refused(SetSourceRoles(key, ())) == "bad_roles"
    assert found.refused(SetSourceRoles(key_of("bank-4", "else").public, (Role.BANK,))) == "unknown_source"
    decided(found, RemoveSource(key))
    assert found.refused(SetSourceRoles(key, (Role.BANK,))) == "unknown_source"


def test_whom_it_concerns_proposes_its_own_roles_and_ca_and_nobody_else_without_a_vote_does() -> None:
    found = council()
    assert found.refused(SetRoles("bank-1", LABORATORY), member="bank-4") == "not_a_party"
    assert found.refused(policy(appeal_window_days=7), member="bank-4") == "not_a_party"
    assert found.refused(catalogue(), member="bank-4") == "not_a_party"
    found.propose(SetRoles("bank-4", LABORATORY), member="bank-4")
    found.propose(ReplaceCa("bank-4", FIRST_CA, False), member="bank-4")
    found.propose(SetSourceRoles(key_of("bank-4", "source").public, (Role.BANK,)), member="bank-4")


# --- root CAs


def test_another_root_ca_is_known_beside_the_one_before_until_that_is_let_go() -> None:
    found = council()
    before = read_member(found.state, "bank-1")
    assert before is not None
    decided(found, ReplaceCa("bank-1", FIRST_CA, True))
    after = read_member(found.state, "bank-1")
    assert after == replace(before, ca_certificate=FIRST_CA)
    assert read_old_ca(found.state, "bank-1") == before.ca_certificate
    decided(found, ReplaceCa("bank-1", FIRST_CA, False))
    assert read_member(found.state, "bank-1") == after
    assert read_old_ca(found.state, "bank-1") is None
    assert holder_of_ca(found.state, before.ca_certificate) == "bank-1", "nobody else ever gets it"


def test_a_stolen_root_ca_is_replaced_at_once() -> None:
    found = council()
    decided(found, ReplaceCa("bank-1", FIRST_CA, True))
    decided(found, ReplaceCa("bank-1", SECOND_CA, False))
    assert read_old_ca(found.state, "bank-1") is None


def test_a_root_ca_is_new_to_the_chain_and_one_certificate() -> None:
    found = council()
    decided(found, ReplaceCa("bank-1", FIRST_CA, True))
    assert found.refused(ReplaceCa("bank-2", FIRST_CA, True)) == "ca_taken"
    assert found.refused(ReplaceCa("bank-1", FIRST_CA, True)) == "ca_taken", "nothing would change"
    decided(found, ReplaceCa("bank-1", SECOND_CA, False))
    assert found.refused(ReplaceCa("bank-1", SECOND_CA, False)) == "ca_taken", "nothing would change"
    assert found.refused(ReplaceCa("bank-1", FIRST_CA, True)) == "ca_taken", "a retired one never comes back"
    assert found.refused(ReplaceCa("bank-2", "", True)) == "bad_ca"
    assert found.refused(ReplaceCa("bank-2", "a CA", True)) == "bad_ca"
    assert found.refused(ReplaceCa("bank-9", "a CA", True)) == "unknown_member"


# --- the policy


def test_a_figure_is_in_force_from_the_block_after_the_decision_on() -> None:
    found = council()
    decided(found, policy(appeal_window_days=7, certificate_validity_months_max=24))
    tip = found.chain.tip_hash
    assert found.chain.policy_after(tip) == replace(Policy(), appeal_window_days=7, certificate_validity_months_max=24)


def test_a_figure_is_in_force_from_the_height_that_was_decided_on() -> None:
    found = council()
    height = found.chain.height + 10
    decided(found, policy(height, block_batches_max=1))
    planned = read_planned(found.state)
    assert planned is not None
    assert (planned.height, planned.policy) == (height, replace(Policy(), block_batches_max=1))
    assert found.refused(policy(appeal_window_days=7)) == "policy_pending"
    while found.chain.height < height - 2:
        found.block()
        assert found.chain.policy_after(found.chain.tip_hash) == Policy()
    found.block()
    assert found.chain.height == height - 1
    assert found.chain.policy_after(found.chain.tip_hash) == planned.policy
    assert read_planned(found.state) is None
    found.propose(policy(appeal_window_days=7))


def test_a_block_is_judged_by_the_figures_in_force_at_its_height() -> None:
    found = council()
    height = found.chain.height + 8
    decided(found, policy(height, block_batches_max=1))

    def two() -> None:
        bodies = [(f"bank-{i}", SetThreshold("set_roles", Share.MAJORITY)) for i in range(2)]
        found.block(*((member, Amend(action, found.now_ms + DAY_MS)) for member, action in bodies))

    while found.chain.height < height - 2:
        found.block()
    two()
    assert found.chain.height == height - 1
    with pytest.raises(BlockRefused, match="too many batches"):
        two()


@pytest.mark.parametrize(
    ("action", "rule"),
    [
        (policy(no_such_figure=1), "policy_figure"),
        (ChangePolicy((Figure("appeal_window_days", 1), Figure("appeal_window_days", 2)), 0), "policy_figure"),
        (policy(appeal_window_days=1_001), "policy_range"),
        (policy(certificate_suspension_days_max=0), "policy_range"),
        (policy(block_events_max=LEAST["block_events_max"] - 1), "policy_range"),
        (policy(block_bytes_max=LEAST["block_bytes_max"] - 1), "policy_range"),
        (policy(1, appeal_window_days=7), "policy_height"),
        (policy(2 + AHEAD_HEIGHTS_MAX, appeal_window_days=7), "policy_height"),
        (policy(event_expiry_ahead_ms_max=59_999), "policy_range"),
        (policy(block_time_drift_ms_max=499), "policy_range"),
    ],
)
def test_figures_that_may_not_be_are_refused(action: ChangePolicy, rule: str) -> None:
    assert council().refused(action) == rule


def test_the_ends_of_a_figures_range_may_be() -> None:
    for name in Policy.__struct_fields__:
        found = policy_range(name)
        assert found is not None
        least = max(found[0], LEAST.get(name, 0))
        council().propose(policy(**{name: least}))
        council().propose(policy(**{name: found[1]}))
    assert policy_range("no_such_figure") is None


def test_a_chain_that_was_founded_with_smaller_blocks_keeps_them_and_gets_no_smaller_ones() -> None:
    class Small(Founded):
        def founded(self) -> Genesis:
            return replace(super().founded(), policy=Policy(block_events_max=100))

    found = Small(4, rules=(1, 2))
    assert found.refused(policy(block_events_max=99)) == "policy_range"
    found.propose(policy(block_events_max=100))


def test_a_decision_on_the_policy_that_comes_after_its_height_fails() -> None:
    found = council()
    proposal = found.propose(policy(found.chain.height + 3, appeal_window_days=7))
    found.vote(proposal, 0, 1)
    found.vote(proposal, 2)
    held = found.proposal(proposal)
    assert (held.stage, rule_of(held.failure)) == (Stage.FAILED, "policy_height")
    assert read_policy(found.state) == Policy()


# --- the catalogue


def test_a_version_of_the_catalogue_adds_a_category_and_retires_another() -> None:
    found = council()
    added = Category(15, "quantum_link", "quantum link", "量子链路", (*ALWAYS_NEEDED, EvidenceKind.SECURITY_EVALUATION))
    later_ms = found.now_ms + DAY_MS
    decided(found, catalogue(categories=(*CATEGORIES[1:], added), effective_from_ms=later_ms), 0, 1, 2)
    held = read_catalogues(found.state)
    assert held[-1] == Catalogue(3, later_ms, "a notice", (*CATEGORIES[1:], added))
    now, then = in_force(held, later_ms - 1), in_force(held, later_ms)
    assert now is not None
    assert then is not None
    assert (now.category(1), now.category(15)) == (CATEGORIES[0], None)
    assert (then.category(1), then.category(15)) == (None, added)


def test_what_was_in_force_at_a_time_that_has_passed_is_not_changed_by_a_later_decision() -> None:
    found = council()
    proposal = found.propose(catalogue(effective_from_ms=found.now_ms + 5))
    found.vote(proposal, 0, 1, 2)
    held = read_catalogue(found.state, 3)
    assert held is not None
    assert held.effective_from_ms == found.now_ms
    decided(found, catalogue(version=4, effective_from_ms=found.now_ms + DAY_MS))
    decided(found, catalogue(version=5))
    held = read_catalogue(found.state, 5)
    before = read_catalogue(found.state, 4)
    assert held is not None
    assert before is not None
    assert held.effective_from_ms == before.effective_from_ms, "version 4 was decided on to be in force by then"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"version": 2}, "catalogue_version"),
        ({"version": 4}, "catalogue_version"),
        ({"effective_from_ms": CATALOGUE_2.effective_from_ms - 1}, "catalogue_time"),
        ({"categories": (CATEGORIES[0], CATEGORIES[0])}, "bad_catalogue"),
        ({"categories": (CATEGORIES[0], replace(CATEGORIES[1], number=1))}, "bad_catalogue"),
        ({"categories": (replace(CATEGORIES[0], evidence=ALWAYS_NEEDED[:1]),)}, "bad_catalogue"),
        ({"categories": (replace(CATEGORIES[0], evidence=ALWAYS_NEEDED * 2),)}, "bad_catalogue"),
        ({"categories": (replace(CATEGORIES[0], slug="another"),)}, "category_taken"),
        ({"categories": (replace(CATEGORIES[0], number=15),)}, "category_taken"),
    ],
)
def test_a_catalogue_that_may_not_be_is_refused(change: dict[str, object], rule: str) -> None:
    assert council().refused(catalogue(**change)) == rule


def test_no_decision_puts_off_the_next_one_for_good() -> None:
    found = council()
    height = found.chain.height + 1 + AHEAD_HEIGHTS_MAX
    assert found.refused(ActivateRules(3, height + 1)) == "rules_height"
    assert found.refused(policy(height + 2, appeal_window_days=7)) == "policy_height"
    furthest_ms = found.now_ms + 10 + CATALOGUE_AHEAD_MS_MAX
    assert found.refused(catalogue(effective_from_ms=furthest_ms + 11)) == "catalogue_time"
    found.propose(ActivateRules(3, height + 3))
    found.propose(policy(height + 4, appeal_window_days=7))
    decided(found, catalogue(effective_from_ms=furthest_ms))
    assert read_catalogues(found.state)[-1].effective_from_ms == furthest_ms
    with pytest.raises(RuleBroken, match="catalogue_time"):
        preview(found.state, found.chain_id, catalogue(version=4, effective_from_ms=furthest_ms + 99), 99, found.now_ms)
    old = Council(4, rules=(1, 2))
    old.propose(ActivateRules(2, 10 * height))


def test_a_category_that_was_retired_keeps_its_number_for_good() -> None:
    found = council()
    decided(found, catalogue(categories=CATEGORIES[1:]))
    other = replace(CATEGORIES[0], slug="another")
    assert found.refused(catalogue(version=4, categories=(other,))) == "category_taken"
    decided(found, catalogue(version=4, categories=CATEGORIES))


# --- thresholds


@pytest.mark.parametrize("share", list(Share))
def test_no_share_lets_the_malicious_pass_anything_or_keep_the_others_from_it(share: Share) -> None:
    for voters in range(1, 200):
        faulty = (voters - 1) // 3
        needed = votes_needed(voters, share)
        assert faulty < needed <= voters - faulty
        assert [passes(voters, votes, share) for votes in (needed - 1, needed)] == [False, True]


def test_a_majority_decides_on_the_catalogue_from_the_start_and_two_thirds_on_the_rest() -> None:
    found = council(7)
    proposal = found.propose(catalogue())
    found.vote(proposal, 0, 1, 2)
    assert found.stage(proposal) is Stage.OPEN
    found.vote(proposal, 3)
    assert found.stage(proposal) is Stage.ENACTED
    proposal = found.propose(policy(appeal_window_days=7))
    found.vote(proposal, 0, 1, 2, 3)
    assert found.stage(proposal) is Stage.OPEN
    found.vote(proposal, 4)
    assert found.stage(proposal) is Stage.ENACTED


def test_another_share_decides_from_the_block_on_that_sets_it_and_counts_what_is_open_anew() -> None:
    found = council(7)
    waiting = found.propose(RemoveSource(key_of("bank-5", "source").public))
    found.vote(waiting, 0, 1, 2)
    other = found.propose(SetRoles("bank-5", LABORATORY), member="bank-1")
    found.vote(other, 0, 1, 2)
    decided(found, SetThreshold("remove_source", Share.THIRD), 0, 1, 2, 3, 4)
    assert found.stage(waiting) is Stage.ENACTED, "its three votes of seven are enough now"
    assert found.stage(other) is Stage.OPEN
    decided(found, SetThreshold("remove_source", Share.TWO_THIRDS), 0, 1, 2, 3, 4)
    again = found.propose(RemoveSource(key_of("bank-4", "source").public))
    found.vote(again, 0, 1, 2, 3)
    assert found.stage(again) is Stage.OPEN
    assert [item.action for item in read_thresholds(found.state).set] == ["remove_source"]


def test_a_proposal_is_refused_where_the_share_that_decides_on_it_is_out_of_reach() -> None:
    found = council(7)
    proposal = found.propose(catalogue())
    found.vote(proposal, 0, 1, 2, approve=False)
    assert found.stage(proposal) is Stage.OPEN
    found.vote(proposal, 3, approve=False)
    assert found.stage(proposal) is Stage.REFUSED


def test_what_changes_who_decides_is_decided_by_two_thirds_for_good() -> None:
    found = council()
    for type_ in set(ACTION_TYPES) - LOWEST.keys():
        assert found.refused(SetThreshold(type_, Share.TWO_THIRDS)) == "threshold_fixed", type_
    assert found.refused(SetThreshold("no_such_action", Share.MAJORITY)) == "threshold_fixed"
    assert {"set_threshold", "activate_rules", "set_officers", "change_policy", "replace_ca"}.isdisjoint(LOWEST)


def test_a_share_in_the_row_counts_for_no_type_whose_share_is_fixed() -> None:
    row = Thresholds((Threshold("remove_validator", Share.THIRD), Threshold("set_roles", Share.MAJORITY)))
    assert row.share_of("remove_validator") is Share.TWO_THIRDS
    assert row.share_of("set_roles") is Share.MAJORITY


def test_no_share_is_set_below_the_least_of_its_type() -> None:
    found = council()
    for type_ in sorted(LOWEST.keys() - {"remove_source"}):
        assert found.refused(SetThreshold(type_, Share.THIRD)) == "threshold_low", type_
        decided(found, SetThreshold(type_, Share.MAJORITY))


def test_a_decision_on_a_member_that_was_excluded_meanwhile_fails() -> None:
    found = council(5)
    proposal = found.propose(SetRoles("bank-5", LABORATORY))
    decided(found, ExcludeMember("bank-5"), 0, 1, 2, 3)
    found.vote(proposal, 0, 1, 2, 3)
    held = found.proposal(proposal)
    assert (held.stage, rule_of(held.failure)) == (Stage.FAILED, "unknown_member")
    assert found.set.epoch == 0, "none of these touches the set"


def test_the_tables_of_the_protocol_are_those_of_the_code() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs/protocol.md").read_text("utf-8")
    shown = re.findall(r"^\| `([a-z_]+)` \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ", text, re.MULTILINE)
    held = []
    for name in Policy.__struct_fields__:
        found = policy_range(name)
        assert found is not None
        held.append((name, *(f"{n:,}" for n in (getattr(Policy(), name), max(found[0], LEAST.get(name, 0)), found[1]))))
    assert shown == held
    words = {Share.THIRD: "a third", Share.MAJORITY: "a half", Share.TWO_THIRDS: "two thirds"}
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| (a third|a half|two thirds) \| (.+?) \|$", text, re.MULTILINE)
    listed = {name: row[1:] for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert listed == {name: (words[Thresholds().share_of(name)], words[least]) for name, least in LOWEST.items()}
