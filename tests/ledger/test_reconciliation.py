"""What statements say together: each state, what is tolerated, and whose word counts."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.payments import AgentRecord, AgentRole, AgentScheme, Status
from ledger.reconciliation import ANSWER_WITHIN_MS, Leg, PaymentView, Said, Standing, reconcile
from tests.ledger.reconciliation_fixtures import DAY, START_MS, agents, said, tokens

NOW = START_MS + 1_000
LATER = START_MS + DAY


def only(told: list[Said], now_ms: int = NOW) -> PaymentView:
    (view,) = reconcile(told, now_ms)
    return view


def both(**of_the_second: Any) -> list[Said]:
    return [said("bank-a", "bank-b", 1), said("bank-b", "bank-a", 2, **of_the_second)]


def test_one_side_alone_waits_for_the_other_until_its_deadline() -> None:
    told = [said("bank-a", "bank-b", 1)]
    (leg,) = only(told).legs
    assert (leg.leg, leg.state, leg.missing, leg.deadline_ms) == (
        Leg.PAYMENT,
        Standing.ONE_SIDED,
        ("bank-b",),
        START_MS + ANSWER_WITHIN_MS,
    )
    assert only(told, LATER - 1).state is Standing.ONE_SIDED
    assert only(told, LATER).state is Standing.ORPHAN


def test_two_sides_that_say_the_same_match_however_far_each_is() -> None:
    view = only([*both(), said("bank-a", "bank-b", 3, status=Status.SETTLED), said("bank-b", "bank-a", 4)])
    assert (view.state, view.parties, view.by_codes) == (Standing.MATCHED, ("bank-a", "bank-b"), True)
    assert view.deadline_ms is None


@pytest.mark.parametrize(
    ("differing", "fields"),
    [
        ({"tokens": tokens(amount="CNY 2.00", debtor_account="1", creditor_account="2")}, ("amount",)),
        ({"tokens": tokens(debtor_account="1", creditor_account="3")}, ("creditor_account",)),
        ({"currency": "USD"}, ("currency",)),
        ({"settlement_date": 2026_01_03}, ("settlement_date",)),
        ({"agents": agents("bank-c")}, ("agents",)),
        ({"currency": "USD", "settlement_date": 2026_01_03}, ("currency", "settlement_date")),
    ],
)
def test_fields_that_both_said_and_not_alike_are_named(differing: dict[str, Any], fields: tuple[str, ...]) -> None:
    view = only(both(**differing))
    assert (view.state, view.legs[0].fields) == (Standing.MISMATCH, fields)


def test_an_answer_that_declines_a_reversal_is_of_the_reversal_and_rejects_no_payment() -> None:
    asked = said("bank-a", "bank-b", 3, status=Status.REVERSED, message_type="iso8583.0400")
    declined = said("bank-b", "bank-a", 4, status=Status.REJECTED, message_type="iso8583.0410")
    view = only([*both(), asked, declined])
    assert [(leg.leg, leg.state) for leg in view.legs] == [
        (Leg.PAYMENT, Standing.MATCHED),
        (Leg.REVERSAL, Standing.MATCHED),
    ]
    refused = said("bank-b", "bank-a", 4, status=Status.REJECTED, message_type="iso8583.0210")
    assert [leg.leg for leg in only([*both(), refused]).legs] == [Leg.PAYMENT, Leg.REJECTION]


def test_clear_amounts_are_compared_where_both_say_them() -> None:
    clear = {"amount_commitment": b"", "tokens": []}
    told = [said("bank-a", "bank-b", 1, amount=1, **clear), said("bank-b", "bank-a", 2, amount=2, **clear)]
    assert only(told).legs[0].fields == ("amount",)
    assert only([told[0], said("bank-b", "bank-a", 2)]).state is Standing.MATCHED, "one is a token, the other clear"


def test_what_one_side_alone_says_is_no_contradiction() -> None:
    more = [*agents(), AgentRecord(AgentRole.INTERMEDIARY_1, AgentScheme.BIC, "BKAXCNBJXXX")]
    assert only(both(tokens=[], agents=more, uetr=b"")).state is Standing.MATCHED


def test_codes_are_compared_by_role_and_scheme_and_branches_are_left_out() -> None:
    branch = [AgentRecord(agent.role, agent.scheme, agent.code + "123") for agent in agents()]
    other_scheme = [AgentRecord(AgentRole.DEBTOR_AGENT, AgentScheme.CNAPS, "102100099996")]
    assert only(both(agents=branch)).state is Standing.MATCHED
    assert only(both(agents=other_scheme)).state is Standing.MATCHED


def test_a_status_report_names_its_hop_the_other_way_round() -> None:
    def hop(one: str, other: str) -> list[AgentRecord]:
        return [
            AgentRecord(AgentRole.INSTRUCTING_AGENT, AgentScheme.BIC, one),
            AgentRecord(AgentRole.INSTRUCTED_AGENT, AgentScheme.BIC, other),
        ]

    told = [
        said("bank-a", "bank-b", 1, agents=hop("BKAACNBJ", "BKABCNBJ")),
        said("bank-b", "bank-a", 2, agents=hop("BKABCNBJ", "BKAACNBJ"), message_type="pacs.002", tokens=[]),
    ]
    assert only(told).state is Standing.MATCHED


def test_shared_charges_are_tolerated_where_the_instructed_amounts_agree() -> None:
    def told(instructed: str) -> list[Said]:
        same = {"debtor_account": "1"}
        return [
            said("bank-a", "bank-b", 1, tokens=tokens(amount="USD 100.00", instructed_amount="USD 100.00", **same)),
            said("bank-b", "bank-a", 2, tokens=tokens(amount="USD 88.00", instructed_amount=instructed, **same)),
        ]

    (leg,) = only(told("USD 100.00")).legs
    assert (leg.state, leg.fields, leg.tolerated) == (Standing.MATCHED, (), ("amount",))
    assert only(told("USD 99.00")).legs[0].fields == ("amount", "instructed_amount")


def test_a_side_that_comes_after_the_deadline_matches_and_is_late() -> None:
    late = only([said("bank-a", "bank-b", 1), said("bank-b", "bank-a", 2, LATER)], LATER)
    assert (late.state, late.legs[0].late) == (Standing.MATCHED, True)
    assert only(both()).legs[0].late is False


def test_a_member_that_says_two_things_is_held_to_both_whatever_it_says_later() -> None:
    other = tokens(amount="CNY 2.00", debtor_account="1", creditor_account="2")
    told = [*both(), said("bank-b", "bank-a", 3, tokens=other)]
    view = only(told)
    (found,) = view.legs[0].equivocations
    assert (view.state, found.first, found.second, found.fields) == (
        Standing.EQUIVOCATION,
        (2, 0),
        (3, 0),
        ("amount",),
    )
    assert view.legs[0].compared is Standing.MISMATCH
    settled = said("bank-b", "bank-a", 5, status=Status.SETTLED)
    again = only([*told, said("bank-b", "bank-a", 4), settled])
    assert (again.state, again.legs[0].compared) == (Standing.EQUIVOCATION, Standing.MATCHED)


def test_the_same_said_again_and_progress_with_less_is_no_equivocation() -> None:
    told = [*both(), said("bank-a", "bank-b", 3), said("bank-a", "bank-b", 4, tokens=[])]
    assert only(told).state is Standing.MATCHED


@pytest.mark.parametrize(
    ("status", "leg"),
    [(Status.RETURNED, Leg.RETURN), (Status.REVERSED, Leg.REVERSAL), (Status.REJECTED, Leg.REJECTION)],
)
def test_what_comes_of_a_payment_is_a_leg_of_its_own(status: Status, leg: Leg) -> None:
    part = tokens(amount="CNY 0.40")
    told = [*both(), said("bank-b", "bank-a", 3, status=status, tokens=part)]
    view = only(told)
    assert [(each.leg, each.state) for each in view.legs] == [
        (Leg.PAYMENT, Standing.MATCHED),
        (leg, Standing.ONE_SIDED),
    ]
    assert view.state is Standing.ONE_SIDED
    answered = only([*told, said("bank-a", "bank-b", 4, status=status, tokens=part)])
    assert {each.state for each in answered.legs} == {Standing.MATCHED}


def test_a_return_of_which_there_was_no_payment_waits_for_the_payment() -> None:
    told = [
        said("bank-b", "bank-a", 1, status=Status.RETURNED),
        said("bank-a", "bank-b", 2, status=Status.RETURNED),
    ]
    payment, back = only(told).legs
    assert (payment.leg, payment.state, payment.missing) == (Leg.PAYMENT, Standing.ONE_SIDED, ("bank-a", "bank-b"))
    assert back.state is Standing.MATCHED
    assert only(told, LATER).state is Standing.ORPHAN
    assert only([*told, said("bank-a", "bank-b", 3), said("bank-b", "bank-a", 4)], LATER).state is Standing.MATCHED


@pytest.mark.parametrize("places", list(permutations((1, 2, 3))))
@pytest.mark.parametrize("named", ["bank-a", "bank-b"])
def test_a_third_member_that_copies_the_key_disturbs_nobody(places: tuple[int, int, int], named: str) -> None:
    random = {"tokens": tokens(amount="a guess"), "agents": agents("bank-c", named)}
    told = [
        said("bank-a", "bank-b", places[0]),
        said("bank-b", "bank-a", places[1]),
        said("bank-c", named, places[2], **random),
    ]
    views = {view.parties: view for view in reconcile(sorted(told, key=lambda one: one.place), NOW)}
    ours, theirs = views["bank-a", "bank-b"], views[named, "bank-c"]
    assert (ours.state, ours.intruders, ours.is_intruder) == (Standing.MATCHED, ("bank-c",), False)
    assert (theirs.state, theirs.is_intruder) == (Standing.ONE_SIDED, True)


def test_two_that_copy_the_key_together_stand_beside_the_two_that_had_it() -> None:
    told = [said("bank-c", "bank-d", 1), said("bank-d", "bank-c", 2), *both()]
    views = reconcile([told[2], *told[:2], told[3]], NOW)
    assert {view.parties: view.state for view in views} == {
        ("bank-a", "bank-b"): Standing.MATCHED,
        ("bank-c", "bank-d"): Standing.MATCHED,
    }
    assert not any(view.is_intruder for view in views)


def test_a_statement_that_names_nobody_counts_with_whoever_names_its_member() -> None:
    view = only([said("bank-a", "bank-b", 1), said("bank-b", "", 2)])
    assert (view.state, view.by_codes) == (Standing.MATCHED, True)


def test_where_nobody_is_named_the_first_two_are_the_sides() -> None:
    told = [said("bank-a", "", 1), said("bank-b", "", 2), said("bank-c", "", 3)]
    first, third = reconcile(told, NOW)
    assert (first.parties, first.by_codes, first.state) == (("bank-a", "bank-b"), False, Standing.MATCHED)
    assert (third.parties, third.state, third.is_intruder) == (("", "bank-c"), Standing.ONE_SIDED, True)


def parties_of(told: list[Said]) -> dict[tuple[str, str], PaymentView]:
    return {view.parties: view for view in reconcile(told, NOW)}


def test_what_a_member_leaves_unnamed_is_about_whom_it_named_before_and_not_about_whom_a_third_names() -> None:
    report = said("bank-a", "", 3, status=Status.REJECTED, agents=[])
    views = parties_of([*both(), report, said("bank-c", "bank-a", 4, agents=agents("bank-c", "bank-a"))])
    assert [leg.leg for leg in views["bank-a", "bank-b"].legs] == [Leg.PAYMENT, Leg.REJECTION]
    assert (views["bank-a", "bank-c"].state, views["bank-a", "bank-c"].is_intruder) == (Standing.ONE_SIDED, True)
    assert [leg.leg for leg in views["bank-a", "bank-c"].legs] == [Leg.PAYMENT]


def test_two_that_name_nobody_stay_two_sides_when_a_third_names_one_of_them_afterwards() -> None:
    told = [said("bank-a", "", 1), said("bank-b", "", 2), said("bank-c", "bank-a", 3, tokens=tokens(amount="a guess"))]
    views = parties_of(told)
    assert set(views) == {("bank-a", "bank-b"), ("bank-a", "bank-c")}
    assert views["bank-a", "bank-b"].state is Standing.MATCHED
    assert (views["bank-a", "bank-c"].state, views["bank-a", "bank-c"].is_intruder) == (Standing.ONE_SIDED, True)


def test_who_spoke_first_of_a_payment_is_no_intruder_in_what_two_others_tell_under_its_key_afterwards() -> None:
    after = [said("bank-c", "bank-d", 2), said("bank-d", "bank-c", 3)]
    first, third = said("bank-a", "bank-b", 1), said("bank-a", "bank-b", 4)
    assert not parties_of([first, *after])["bank-a", "bank-b"].is_intruder
    assert parties_of([*after, third])["bank-a", "bank-b"].is_intruder


RETURNS = [Status.RETURNED, Status.REVERSED]


def parts(member: str, other: str, at: int, status: Status, *amounts: str) -> list[Said]:
    return [
        said(member, other, at + place, status=status, tokens=tokens(amount=amount))
        for place, amount in enumerate(amounts)
    ]


@pytest.mark.parametrize("status", RETURNS)
def test_money_that_goes_back_in_parts_matches_where_both_sides_say_the_same_parts(status: Status) -> None:
    ours = [*both(), *parts("bank-b", "bank-a", 3, status, "40", "60", "40")]
    assert only(ours).legs[1].state is Standing.EQUIVOCATION
    leg = only([*ours, *parts("bank-a", "bank-b", 6, status, "60", "40")]).legs[1]
    assert (leg.state, leg.compared, leg.fields, leg.equivocations) == (Standing.MATCHED, Standing.MATCHED, (), ())


@pytest.mark.parametrize("theirs", [("40",), ("40", "61"), ("40", "60", "1")])
def test_parts_that_both_sides_do_not_say_alike_are_held_against_who_said_them(theirs: tuple[str, ...]) -> None:
    told = [*both(), *parts("bank-b", "bank-a", 3, Status.RETURNED, "40", "60")]
    told += parts("bank-a", "bank-b", 6, Status.RETURNED, *theirs)
    assert only(told).legs[1].state is Standing.EQUIVOCATION


def test_a_payment_that_both_sides_tell_in_two_ways_is_still_held_against_them() -> None:
    told = [
        *parts("bank-a", "bank-b", 1, Status.ACCEPTED, "1", "2"),
        *parts("bank-b", "bank-a", 3, Status.ACCEPTED, "1", "2"),
    ]
    assert only(told).state is Standing.EQUIVOCATION


AMOUNTS = st.sampled_from(["1", "2"])
STATUSES = st.sampled_from(list(Status))
PAIRS = st.sampled_from([("bank-a", "bank-b"), ("bank-b", "bank-a"), ("bank-c", "bank-a"), ("bank-b", "")])


@given(st.lists(st.tuples(PAIRS, STATUSES, AMOUNTS), min_size=1, max_size=8))
def test_what_is_told_between_two_does_not_hang_on_what_others_tell(
    told: list[tuple[tuple[str, str], Status, str]],
) -> None:
    everything = [
        said(*pair, at, status=status, tokens=tokens(amount=amount)) for at, (pair, status, amount) in enumerate(told)
    ]
    named = [one for one in everything if one.member != "bank-c" and one.other]
    if not named:
        return
    without = [one for one in everything if one.member != "bank-c"]
    ours = {view.parties: (view.state, view.legs) for view in reconcile(everything, NOW)}
    alone = {view.parties: (view.state, view.legs) for view in reconcile(without, NOW)}
    assert ours["bank-a", "bank-b"] == alone["bank-a", "bank-b"]


ANYBODY = st.tuples(st.sampled_from(["bank-a", "bank-b", "bank-c", "bank-d"]), st.sampled_from(["", *"abcd"]))


@given(st.lists(st.tuples(ANYBODY, STATUSES, AMOUNTS), max_size=10))
def test_once_one_of_two_named_the_other_no_third_says_anything_in_it_named_or_not(
    told: list[tuple[tuple[str, str], Status, str]],
) -> None:
    first = said("bank-a", "bank-b", 0)
    others = [
        said(member, other and f"bank-{other}", at, status=status, tokens=tokens(amount=amount))
        for at, ((member, other), status, amount) in enumerate(told, 1)
        if member != f"bank-{other}" and (member in "bank-c bank-d" or other in ("", "a", "b"))
    ]
    ours = [one for one in others if one.member in ("bank-a", "bank-b")]
    with_all, alone = ({view.parties: view for view in reconcile([first, *each], NOW)} for each in (others, ours))
    pair = "bank-a", "bank-b"
    assert (with_all[pair].state, with_all[pair].legs) == (alone[pair].state, alone[pair].legs)
    counted = {one.place for view in with_all.values() for leg in view.legs for one in leg.said}
    assert counted == {one.place for one in [first, *others]}, "nothing that was said is left out"
