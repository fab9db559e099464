"""Accreditations and the scheme's policy by the members' votes: what may be decided, when, and what it writes."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from ledger.accreditations import (
    ACCREDITATION_DAYS_MAX,
    TERMS_KEPT_MAX,
    Accreditation,
    AccreditedRole,
    Term,
    read_accreditation,
)
from ledger.catalogue import PUBLISHED_CATALOGUES
from ledger.consequences import consequences_of
from ledger.event_json import record_to_json
from ledger.execution import BlockRefused
from ledger.genesis import (
    Genesis,
    GenesisAccreditation,
    GenesisError,
    check_genesis,
    genesis_bytes,
    initial_state,
    parse_genesis,
)
from ledger.genesis_json import genesis_from_json, genesis_to_json
from ledger.governance import preview
from ledger.governance_actions import proposing_body, sentence_of
from ledger.governance_bodies import (
    Accredit,
    ActivateRules,
    AnyAction,
    EndAccreditation,
    SetRoles,
    SetSchemePolicy,
    SetStandards,
    SetThreshold,
    Steer,
)
from ledger.governance_errors import NUMBERS, RULES, rule_of
from ledger.governance_records import Stage
from ledger.governance_rules import check_action
from ledger.kinds import RuleBroken
from ledger.members import Role
from ledger.rules import read_rules
from ledger.scheme_policy import SCHEME_POLICY_KEY, MarkUse, SchemePolicy, read_scheme_policy
from ledger.standards import PUBLISHED_STANDARDS, CatalogueStandards, CategoryStandards, read_standards
from ledger.thresholds import Share
from primitives.encoding import encode
from primitives.ids import Hash
from tests.ledger.genesis_fixtures import TIME_MS, small_genesis
from tests.ledger.governance_fixtures import DAY_MS, START_MS, Council, Founded, Schemed

LAB, INS = AccreditedRole.LABORATORY, AccreditedRole.INSPECTOR
UNTIL_MS = START_MS + 365 * DAY_MS


def accredit(**change: object) -> Accredit:
    return replace(Accredit("bank-1", LAB, (5, 6), START_MS, UNTIL_MS, "ISO/IEC 17025"), **change)


def policy(
    months: int | None = None, mark_use: MarkUse | None = None, correction: int | None = None
) -> SetSchemePolicy:
    return SetSchemePolicy(months, mark_use, correction, None, None)


def decided(found: Council, action: AnyAction) -> Hash:
    proposal = found.propose(action)
    found.vote(proposal, 0, 1, 2)
    return proposal


def held(found: Council, role: AccreditedRole = LAB) -> Accreditation:
    row = read_accreditation(found.state, "bank-1", role)
    assert row is not None
    return row


# --- rules and kinds


def test_no_block_by_earlier_rules_holds_such_a_proposal_and_none_is_found_admissible() -> None:
    old = Founded(4, rules=(1, 2, 3))
    with pytest.raises(BlockRefused, match=r"governance\.steer is of later rules"):
        old.propose(policy(6))
    with pytest.raises(RuleBroken, match="rules_needed"):
        check_action(old.state, old.chain_id, policy(6), old.chain.height + 1)


def test_a_chain_of_earlier_rules_comes_to_them_by_a_vote_and_then_accredits_its_laboratories() -> None:
    old = Founded(4, rules=(1, 2, 3))
    decided(old, SetRoles("bank-1", (Role.BANK, Role.LABORATORY)))
    height = old.chain.height + 40
    decided(old, ActivateRules(3, height))
    while old.chain.height < height - 1:
        old.block()
    assert read_rules(old.state).at(old.chain.height + 1) == 3
    decided(old, accredit())
    assert held(old).terms == (Term((5, 6), START_MS, UNTIL_MS, "ISO/IEC 17025"),)


def test_an_action_survives_its_json_and_has_a_sentence() -> None:
    shown = {
        accredit(): "accredit bank-1 as laboratory for categories 5, 6 until 2027-01-01",
        accredit(categories=(5,)): "accredit bank-1 as laboratory for category 5 until 2027-01-01",
        EndAccreditation("bank-1", INS, START_MS, "lost_staff"): (
            "end the accreditation of bank-1 as inspector from 2026-01-01 on: lost_staff"
        ),
        SetStandards(2, NAMED): "standards of catalogue 2, categories 5, 6",
        policy(6, MarkUse.NOTICE): "policy of the scheme surveillance_interval_months = 6, mark_use = notice",
    }
    for action, sentence in shown.items():
        body = proposing_body(record_to_json(action), START_MS, where="$")
        assert body == Steer(action, START_MS)
        assert sentence_of(record_to_json(action)) == sentence


def test_the_numbers_of_why_a_proposal_failed_are_each_of_a_rule() -> None:
    assert set(NUMBERS) <= set(RULES)
    assert len(set(NUMBERS.values())) == len(NUMBERS)


# --- accreditations


def test_an_accreditation_counts_once_two_thirds_of_the_members_with_a_validator_approve() -> None:
    found = Schemed()
    proposal = found.propose(accredit(), member="bank-1")
    found.vote(proposal, 0, 1)
    assert read_accreditation(found.state, "bank-1", LAB) is None
    found.vote(proposal, 2)
    assert held(found).terms[0].standard == "ISO/IEC 17025"
    assert found.stage(proposal) is Stage.ENACTED


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"member": "bank-9"}, "unknown_member"),
        ({"member": "bank-2"}, "accreditation_role"),
        ({"categories": (6, 5)}, "accreditation_categories"),
        ({"categories": (5, 5)}, "accreditation_categories"),
        ({"categories": (5, 15)}, "accreditation_categories"),
        ({"valid_until_ms": START_MS}, "accreditation_time"),
        ({"valid_from_ms": UNTIL_MS + 1}, "accreditation_time"),
        ({"valid_until_ms": START_MS + ACCREDITATION_DAYS_MAX * DAY_MS + 1}, "accreditation_time"),
    ],
)
def test_an_accreditation_that_may_not_be_is_refused_by_name(change: dict[str, object], rule: str) -> None:
    assert Schemed().refused(accredit(**change)) == rule


def test_the_longest_term_is_admitted_and_one_that_has_begun_too() -> None:
    found = Schemed()
    decided(found, accredit(valid_until_ms=START_MS + ACCREDITATION_DAYS_MAX * DAY_MS))
    decided(found, accredit(valid_from_ms=START_MS - DAY_MS))
    decided(found, accredit(valid_from_ms=UNTIL_MS - 1))
    assert len(held(found).terms) == 3


def test_an_accreditation_is_over_at_the_block_that_would_decide_it_or_is_not() -> None:
    found = Schemed()
    block_ms = found.now_ms + 10
    assert found.refused(accredit(valid_from_ms=START_MS - 1, valid_until_ms=block_ms)) == "accreditation_time"
    block_ms = found.now_ms + 10
    assert found.refused(accredit(valid_from_ms=START_MS - 1, valid_until_ms=block_ms + 1)) == ""


def test_one_whose_term_is_over_before_its_votes_fails_by_name() -> None:
    found = Schemed()
    proposal = found.propose(accredit(valid_until_ms=found.now_ms + 1_000))
    found.now_ms += 1_000
    found.vote(proposal, 0, 1, 2)
    assert (found.stage(proposal), rule_of(found.proposal(proposal).failure)) == (Stage.FAILED, "accreditation_time")
    assert read_accreditation(found.state, "bank-1", LAB) is None


def test_no_more_terms_are_kept_than_there_is_room_for() -> None:
    term = GenesisAccreditation("bank-1", LAB, (5,), START_MS, UNTIL_MS, "a")
    found = Schemed(accreditations=(term,) * TERMS_KEPT_MAX)
    assert found.refused(accredit()) == "too_many_accreditations"
    found.now_ms = UNTIL_MS
    assert found.refused(accredit(valid_until_ms=UNTIL_MS + DAY_MS)) == ""


def test_a_role_that_is_lost_before_the_votes_lets_an_accreditation_fail() -> None:
    found = Schemed()
    proposal = found.propose(accredit())
    decided(found, SetRoles("bank-1", (Role.BANK,)))
    found.vote(proposal, 0, 1, 2)
    assert rule_of(found.proposal(proposal).failure) == "accreditation_role"


# --- their end


def test_an_end_comes_at_its_time_and_never_before_the_block_that_decides_it() -> None:
    found = Schemed(accreditations=(GenesisAccreditation("bank-1", LAB, (5,), START_MS, UNTIL_MS, "a"),))
    proposal = found.propose(EndAccreditation("bank-1", LAB, UNTIL_MS - DAY_MS, "moves"))
    found.vote(proposal, 0, 1, 2)
    assert (held(found).terms[0].ended_ms, held(found).terms[0].reason) == (UNTIL_MS - DAY_MS, "moves")
    decided(found, EndAccreditation("bank-1", LAB, 0, "lost_staff"))
    assert (held(found).terms[0].ended_ms, held(found).terms[0].reason) == (found.now_ms, "lost_staff")


def test_what_there_is_not_or_is_over_cannot_be_ended() -> None:
    found = Schemed(accreditations=(GenesisAccreditation("bank-1", LAB, (5,), START_MS, UNTIL_MS, "a"),))
    assert found.refused(EndAccreditation("bank-1", INS, 0, "x")) == "not_accredited"
    assert found.refused(EndAccreditation("bank-2", LAB, 0, "x")) == "not_accredited"
    assert found.refused(EndAccreditation("bank-9", LAB, 0, "x")) == "unknown_member"
    assert found.refused(EndAccreditation("bank-1", LAB, UNTIL_MS, "x")) == "not_accredited"
    assert found.refused(EndAccreditation("bank-1", LAB, UNTIL_MS - 1, "x")) == ""


def test_after_an_end_a_new_accreditation_counts() -> None:
    found = Schemed(accreditations=(GenesisAccreditation("bank-1", LAB, (5,), START_MS, UNTIL_MS, "a"),))
    decided(found, EndAccreditation("bank-1", LAB, 0, "lost_staff"))
    decided(found, accredit())
    assert [term.status_at(found.now_ms) for term in held(found).terms] == ["ended", "valid"]


# --- the scheme's policy


def test_the_figures_that_a_decision_names_change_and_the_others_stay() -> None:
    found = Schemed()
    assert found.state.get(SCHEME_POLICY_KEY, SchemePolicy) is None
    decided(found, policy(6))
    decided(found, policy(None, MarkUse.NOTICE, 30))
    assert read_scheme_policy(found.state) == SchemePolicy(6, MarkUse.NOTICE, 30)


def test_a_decision_that_changes_no_figure_is_refused() -> None:
    found = Schemed()
    assert found.refused(policy()) == "scheme_policy_unchanged"
    assert found.refused(policy(12, MarkUse.STRICT, 90)) == "scheme_policy_unchanged"
    assert found.refused(policy(12, MarkUse.NOTICE, 90)) == ""


def test_a_member_without_a_validator_proposes_its_own_accreditation_alone() -> None:
    found = Schemed()
    assert found.refused(policy(6), member="bank-4") == "not_a_party"
    assert found.refused(accredit(), member="bank-4") == "not_a_party"


def test_two_proposals_of_a_member_about_the_same_accreditation_do_not_stand_together() -> None:
    found = Schemed()
    found.propose(accredit())
    assert found.refused(EndAccreditation("bank-1", INS, 0, "x")) == "not_accredited"
    assert found.refused(accredit(standard="other")) == "pending_change"
    assert found.refused(accredit(role=INS)) == ""


def test_the_share_that_decides_on_these_is_two_thirds_for_good() -> None:
    assert Schemed().refused(SetThreshold("accredit", Share.MAJORITY)) == "threshold_fixed"


def test_a_preview_shows_what_a_decision_would_write() -> None:
    found = Schemed()
    state = preview(found.state, found.chain_id, accredit(), found.chain.height + 1, found.now_ms)
    assert read_accreditation(state, "bank-1", LAB) is not None
    assert read_accreditation(found.state, "bank-1", LAB) is None


# --- what a decision would change


def foretold(found: Council, action: AnyAction) -> tuple[list[tuple[str, str, str]], list[str]]:
    seen = consequences_of(found.state, found.chain_id, action, found.chain.height + 1, found.now_ms + 10)
    return [(each.what, each.before, each.after) for each in seen.changes], [each.code for each in seen.warnings]


def test_members_see_what_an_accreditation_and_its_end_would_change() -> None:
    found = Schemed(accreditations=(GenesisAccreditation("bank-1", LAB, (5,), START_MS, UNTIL_MS, "a"),))
    what = "accreditation of bank-1 as laboratory"
    term = "5 by a, 2026-01-01T00:00:00Z to 2027-01-01T00:00:00Z"
    further = "5, 6 by ISO/IEC 17025, 2026-01-01T00:00:00Z to 2027-01-01T00:00:00Z"
    assert foretold(found, accredit()) == ([(what, "", further)], [])
    end = EndAccreditation("bank-1", LAB, UNTIL_MS - DAY_MS, "moves")
    over = term.replace("2027-01-01", "2026-12-31")
    assert foretold(found, end) == ([(what, term, over)], ["none_accredited"])


def test_an_end_after_which_somebody_else_is_accredited_warns_of_nothing() -> None:
    first = GenesisAccreditation("bank-1", LAB, (5, 6), START_MS, UNTIL_MS, "a")
    for others, warned in (((5, 6), []), ((5,), ["none_accredited"])):
        found = Schemed(accreditations=(first, replace(first, member="bank-2", categories=others)))
        assert foretold(found, EndAccreditation("bank-1", LAB, 0, "moves"))[1] == warned


def test_members_see_which_figures_and_standards_would_be_others() -> None:
    found = Schemed()
    assert foretold(found, policy(6, MarkUse.NOTICE)) == (
        [
            ("policy of the scheme surveillance_interval_months", "12", "6"),
            ("policy of the scheme mark_use", "strict", "notice"),
        ],
        [],
    )
    named = SetStandards(2, NAMED)
    assert foretold(found, named)[0] == [
        ("standards of category 5, catalogue 2", "", "JR/T 0002"),
        ("standards of category 6, catalogue 2", "", "JR/T 0001, JR/T 0120"),
    ]
    decided(found, named)
    assert foretold(found, SetStandards(2, NAMED[1:]))[0] == [("standards of category 5, catalogue 2", "JR/T 0002", "")]


# --- standards

NAMED = (CategoryStandards(5, ("JR/T 0002",)), CategoryStandards(6, ("JR/T 0001", "JR/T 0120")))


def test_the_published_catalogues_name_standards_of_every_category() -> None:
    for catalogue, standards in zip(PUBLISHED_CATALOGUES, PUBLISHED_STANDARDS, strict=True):
        assert catalogue.version == standards.version
        assert [item.number for item in standards.categories] == [item.number for item in catalogue.categories]


def test_what_members_decide_on_takes_the_place_of_all_standards_of_a_version() -> None:
    found = Schemed()
    assert read_standards(found.state, 2) is None
    decided(found, SetStandards(2, NAMED))
    decided(found, SetStandards(2, NAMED[1:]))
    standards = read_standards(found.state, 2)
    assert standards is not None
    assert (standards.of(6), standards.of(5)) == (("JR/T 0001", "JR/T 0120"), ())


@pytest.mark.parametrize(
    ("version", "categories", "rule"),
    [
        (3, NAMED, "catalogue_version"),
        (2, NAMED[::-1], "standards_category"),
        (2, NAMED[:1] * 2, "standards_category"),
        (1, (CategoryStandards(12, ("a",)),), "standards_category"),
        (2, (CategoryStandards(12, ("a",)),), ""),
    ],
)
def test_standards_are_of_categories_that_the_version_has(
    version: int, categories: tuple[CategoryStandards, ...], rule: str
) -> None:
    assert Schemed().refused(SetStandards(version, categories)) == rule


# --- genesis

ENTRY = GenesisAccreditation("lab", LAB, (5, 6), TIME_MS - DAY_MS, TIME_MS + DAY_MS, "ISO/IEC 17025")


def with_entries(*entries: GenesisAccreditation) -> Genesis:
    return replace(small_genesis(), rules=3, accreditations=entries)


def test_founding_members_are_accredited_from_the_first_block_on() -> None:
    first = GenesisAccreditation("bank-1", LAB, (5, 6), START_MS, UNTIL_MS, "a")
    found = Schemed(accreditations=(first, replace(first, categories=(7,)), replace(first, role=INS)))
    assert [term.categories for term in held(found).terms] == [(5, 6), (7,)]
    assert len(held(found, INS).terms) == 1


def test_a_genesis_with_accreditations_survives_its_bytes_and_its_file() -> None:
    genesis = with_entries(ENTRY, replace(ENTRY, categories=(7,)))
    check_genesis(genesis)
    assert parse_genesis(genesis_bytes(genesis)) == genesis
    assert genesis_from_json(genesis_to_json(genesis)) == genesis
    assert genesis.chain_id != with_entries(ENTRY).chain_id


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"member": "bank-a"}, "accredited without the role"),
        ({"member": "bank-z"}, "accredited without the role"),
        ({"role": INS}, "accredited without the role"),
        ({"categories": (6, 5)}, "categories of an accreditation"),
        ({"categories": (5, 5)}, "categories of an accreditation"),
        ({"categories": (5, 99)}, "categories of an accreditation"),
        ({"valid_until_ms": TIME_MS}, "the time of an accreditation"),
        ({"valid_from_ms": TIME_MS + DAY_MS}, "the time of an accreditation"),
        ({"valid_until_ms": TIME_MS + ACCREDITATION_DAYS_MAX * DAY_MS}, "the time of an accreditation"),
    ],
)
def test_a_genesis_whose_accreditations_could_not_be_voted_for_is_refused(
    change: dict[str, object], complaint: str
) -> None:
    with pytest.raises(GenesisError, match=complaint):
        check_genesis(with_entries(replace(ENTRY, **change)))


def test_a_genesis_names_the_published_standards_unless_its_file_says_otherwise() -> None:
    genesis = with_entries()
    file = json.loads(genesis_to_json(genesis))
    assert genesis_from_json(json.dumps(file).encode()).standards == ()
    del file["standards"]
    assert genesis_from_json(json.dumps(file).encode()).standards == ()
    del file["catalogues"]
    found = genesis_from_json(json.dumps(file).encode())
    assert found.standards == PUBLISHED_STANDARDS
    assert genesis_from_json(genesis_to_json(found)) == found == parse_genesis(genesis_bytes(found))
    state = initial_state(found)
    assert state[b"catalogue-standards/2"] == encode(PUBLISHED_STANDARDS[1])
    file["rules"] = 2
    del file["accreditations"]
    assert genesis_from_json(json.dumps(file).encode()).standards == ()


@pytest.mark.parametrize(
    ("standards", "complaint"),
    [
        ((CatalogueStandards(3, NAMED),), "standards of categories"),
        ((CatalogueStandards(2, NAMED[::-1]),), "standards of categories"),
        ((CatalogueStandards(2, NAMED), CatalogueStandards(2, NAMED)), "stands twice"),
    ],
)
def test_a_genesis_whose_standards_could_not_be_voted_for_is_refused(
    standards: tuple[CatalogueStandards, ...], complaint: str
) -> None:
    with pytest.raises(GenesisError, match=complaint):
        check_genesis(replace(with_entries(), standards=standards))


def test_a_genesis_has_no_more_accreditations_of_a_role_than_are_kept_and_none_by_earlier_rules() -> None:
    check_genesis(with_entries(*(ENTRY,) * TERMS_KEPT_MAX))
    with pytest.raises(GenesisError, match="too many accreditations"):
        check_genesis(with_entries(*(ENTRY,) * (TERMS_KEPT_MAX + 1)))
    for rules in (1, 2):
        for change in ({"accreditations": (ENTRY,)}, {"standards": PUBLISHED_STANDARDS}):
            with pytest.raises(GenesisError, match="3 or later with them"):
                check_genesis(replace(with_entries(), rules=rules, **change))
