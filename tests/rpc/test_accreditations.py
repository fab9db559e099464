"""gov_listAccreditations and what gov_getPolicy says of the scheme: at other times, of one member, and after a vote."""

from __future__ import annotations

import pytest

from ledger.accreditations import AccreditedRole
from ledger.genesis import GenesisAccreditation
from ledger.governance_bodies import EndAccreditation, SetSchemePolicy, SetStandards
from ledger.scheme_policy import MarkUse
from ledger.standards import CategoryStandards
from ledger.times import format_time
from primitives.errors import InputError
from tests.ledger.governance_fixtures import DAY_MS, START_MS, Council, Schemed
from tests.rpc.test_governance import ask

LAB, INS = AccreditedRole.LABORATORY, AccreditedRole.INSPECTOR
FIRST = GenesisAccreditation("bank-1", LAB, (5, 6), START_MS, START_MS + DAY_MS, "ISO/IEC 17025")
SECOND = GenesisAccreditation("bank-1", LAB, (7,), START_MS + DAY_MS, START_MS + 2 * DAY_MS, "ISO/IEC 17025")
THIRD = GenesisAccreditation("bank-1", INS, (5,), START_MS, START_MS + DAY_MS, "ISO/IEC 17020")


def council() -> Schemed:
    return Schemed(accreditations=(FIRST, SECOND, THIRD))


def statuses(found: Council, **params: object) -> list[tuple[str, list[int], str]]:
    rows = ask(found, "gov_listAccreditations", **params)["accreditations"]
    return [(row["role"], row["categories"], row["status"]) for row in rows]


def test_each_accreditation_says_what_it_is_worth_at_the_time_that_is_asked_for() -> None:
    found = council()
    assert statuses(found) == [
        ("inspector", [5], "valid"),
        ("laboratory", [5, 6], "valid"),
        ("laboratory", [7], "not_begun"),
    ]
    last_ms = START_MS + DAY_MS - 1
    assert statuses(found, at=format_time(last_ms), role="laboratory")[0][2] == "valid"
    assert [row[2] for row in statuses(found, at=format_time(last_ms + 1), role="laboratory")] == ["expired", "valid"]
    assert ask(found, "gov_listAccreditations")["as_of"] == found.chain.height


def test_the_list_is_of_the_member_role_and_category_that_are_asked_for() -> None:
    found = council()
    assert statuses(found, category=7) == [("laboratory", [7], "not_begun")]
    assert len(statuses(found, member="bank-1", category=5)) == 2
    assert statuses(found, member="bank-2") == []


def test_an_accreditation_that_a_vote_ended_says_when_and_why() -> None:
    found = council()
    proposal = found.propose(EndAccreditation("bank-1", INS, START_MS + 1_000, "lost_staff"))
    found.vote(proposal, 0, 1, 2)
    (row,) = ask(found, "gov_listAccreditations", role="inspector", at=format_time(START_MS + 1_000))["accreditations"]
    assert (row["status"], row["reason"]) == ("ended", "lost_staff")
    assert (row["ends"], row["valid_until"]) == (format_time(START_MS + 1_000), format_time(THIRD.valid_until_ms))
    assert statuses(found, role="inspector", at=format_time(START_MS + 999))[0][2] == "valid"


def test_two_accreditations_that_say_the_same_are_both_listed_page_by_page() -> None:
    found = Schemed(accreditations=(FIRST, FIRST))
    first = ask(found, "gov_listAccreditations", limit=1)
    second = ask(found, "gov_listAccreditations", limit=1, cursor=first["cursor"])
    assert first["accreditations"] == second["accreditations"]
    assert second["cursor"] is None


def test_what_is_no_time_is_refused_with_its_place() -> None:
    with pytest.raises(InputError) as refusal:
        ask(council(), "gov_listAccreditations", at="yesterday")
    assert refusal.value.where == "$.at"


def test_the_policy_shows_the_schemes_figures_and_the_standards_of_a_category() -> None:
    found = council()
    shown = ask(found, "gov_getPolicy")
    assert shown["scheme"] == {
        "surveillance_interval_months": 12,
        "mark_use": "strict",
        "correction_days_max": 90,
        "register_imports": "open",
        "inspection_window_s_min": 86_400,
    }
    assert shown["catalogues"][1]["categories"][4]["standards"] == []
    for action in (
        SetSchemePolicy(6, MarkUse.NOTICE, None, None, None),
        SetStandards(2, (CategoryStandards(5, ("JR/T 0002",)),)),
    ):
        found.vote(found.propose(action), 0, 1, 2)
    shown = ask(found, "gov_getPolicy")
    assert shown["scheme"] == {
        "surveillance_interval_months": 6,
        "mark_use": "notice",
        "correction_days_max": 90,
        "register_imports": "open",
        "inspection_window_s_min": 86_400,
    }
    assert shown["catalogues"][1]["categories"][4]["standards"] == ["JR/T 0002"]
