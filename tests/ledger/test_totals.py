"""End-of-day totals: the body, what statements come to, and how two banks' totals stand to each other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.event_json import body_from_json, body_to_json
from ledger.payments import AgentRecord, AgentRole, AgentScheme, Side, Status
from ledger.reconciliation import Said
from ledger.reconciliation_statements import said_of
from ledger.totals import (
    ALL_LINES,
    ANSWER_TOTALS_WITHIN_MS,
    BOTH,
    FIRST,
    SECOND,
    UNLIKE,
    Key,
    Line,
    Stated,
    TotalsState,
    all_differing,
    counted,
    counted_once,
    deadline_of,
    differing,
    lines_of,
    payments_root,
    stands,
)
from ledger.totals_bodies import PAYMENT_TOTALS, TOTALS_KINDS, Flow, PaymentTotals, TotalsLeg, check_totals
from primitives.encoding import decode, encode
from primitives.errors import EncodingError, InputError
from primitives.merkle import EMPTY_ROOT
from tests.ledger.reconciliation_fixtures import CODES, body, said, tokens
from tests.ledger.totals_fixtures import TOTALS_DAY, key, line, totals

SENT = line(Flow.SENT, [key(1), key(2)])
RECEIVED = line(Flow.RECEIVED, [key(3)])
PAIR = ("bank-a", "bank-b")
HERE = Key(PAIR, TOTALS_DAY, "CNY")
A_SENT, B_SENT = 0, 3
PART = tokens(amount="CNY 1.00")[0].token


def test_totals_go_to_json_and_back() -> None:
    told = totals("bank-b", RECEIVED, replace(SENT, amount=12_345))
    shown = body_to_json(PAYMENT_TOTALS, 1, encode(told))
    assert shown["lines"][1] == {
        "flow": "sent", "leg": "payment", "count": 2, "amount": 12_345, "token": SENT.token.hex(),
        "payments_root": SENT.payments_root.hex(),
    }  # fmt: skip
    assert body_from_json("payment.totals", shown) == (PAYMENT_TOTALS, 1, encode(told))


@pytest.mark.parametrize(
    "lines",
    [(SENT, RECEIVED), (SENT, SENT), (replace(SENT, leg=TotalsLeg.RETURN), SENT)],
    ids=["out of order", "twice", "legs out of order"],
)
def test_a_line_stands_once_and_in_its_order(lines: Any) -> None:
    check_totals(totals("bank-b", RECEIVED, SENT, replace(SENT, leg=TotalsLeg.RETURN)))
    with pytest.raises(InputError, match="lines out of order"):
        check_totals(totals("bank-b", *lines))


@pytest.mark.parametrize("day", [0, 2026_02_30, 9999_99_99])
def test_totals_are_of_a_day(day: int) -> None:
    with pytest.raises(InputError, match="not a calendar date"):
        check_totals(totals("bank-b", day=day))


def test_totals_without_a_line_say_that_there_was_nothing() -> None:
    check_totals(totals("bank-b"))


@pytest.mark.parametrize(
    "changed",
    [
        {"counterparty": "Bank B"}, {"currency": ""}, {"currency": "CNYX"}, {"currency": "cny"},
        {"lines": (replace(SENT, count=0),)}, {"lines": (replace(SENT, token=bytes(15)),)},
        {"lines": (replace(SENT, payments_root=b""),)}, {"lines": (replace(SENT, amount=-1),)},
    ],
    ids=str,
)  # fmt: skip
def test_a_field_that_is_not_of_its_form_is_refused(changed: Any) -> None:
    with pytest.raises(EncodingError):
        decode(PaymentTotals, encode(replace(totals("bank-b"), **changed)), size_max=10_000)


def test_totals_come_with_rules_4_from_banks_and_switches_and_change_no_state() -> None:
    (spec,) = TOTALS_KINDS
    assert (spec.rules_min, spec.changes_state, spec.apply) == (4, False, None)
    assert {str(role) for role in spec.roles} == {"bank", "switch"}


# --- what statements come to


def one(member: str, **fields: Any) -> Said:
    return said(member, "bank-b" if member == "bank-a" else "bank-a", 1, **({"settlement_date": 0} | fields))


def test_a_payment_counts_for_whoever_stated_it_on_the_line_of_who_sent() -> None:
    assert counted([one("bank-a")]) == {(HERE, A_SENT, b""): FIRST}
    assert counted([one("bank-b")]) == {(HERE, A_SENT, b""): SECOND}
    assert counted([one("bank-a"), one("bank-b")]) == {(HERE, A_SENT, b""): BOTH}
    turned = [one("bank-a", side=Side.CREDITOR), one("bank-b", side=Side.DEBTOR)]
    assert counted(turned) == {(HERE, B_SENT, b""): BOTH}


def test_however_often_it_is_stated_a_payment_counts_once() -> None:
    told = [one("bank-a"), one("bank-a", status=Status.SETTLED), one("bank-b"), one("bank-b")]
    assert counted(told) == {(HERE, A_SENT, b""): BOTH}


def test_amounts_that_are_not_the_same_are_unlike() -> None:
    other = one("bank-b", tokens=tokens(amount="CNY 2.00"))
    assert counted([one("bank-a"), other]) == {(HERE, A_SENT, b""): BOTH | UNLIKE}
    corrected = [one("bank-a"), other, one("bank-a", tokens=tokens(amount="CNY 2.00"))]
    assert counted(corrected) == {(HERE, A_SENT, b""): BOTH}, "the newest counts"
    clear = {"amount_commitment": b"", "tokens": []}
    assert counted([one("bank-a", amount=1, **clear), one("bank-b", amount=2, **clear)]) == {
        (HERE, A_SENT, b""): BOTH | UNLIKE
    }
    assert counted([one("bank-a", amount=1, **clear), one("bank-b")]) == {(HERE, A_SENT, b""): BOTH}, "of two forms"


def test_a_payment_counts_on_its_settlement_date_or_else_on_the_day_of_its_message() -> None:
    dated = one("bank-a", settlement_date=2026_01_03)
    assert counted([dated]) == {(Key(PAIR, 2026_01_03, "CNY"), A_SENT, b""): FIRST}
    assert counted([dated, one("bank-a")]) == counted([dated]), "a later message without a date moves it nowhere"
    assert counted([one("bank-a"), dated]) == counted([dated]), "asked for by the customer, and then settled"


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"status": Status.REJECTED}, None),
        ({"message_type": "pacs.002.001.10", "currency": "", "amount_commitment": b""}, None),
        ({"message_type": "iso8583.0410", "status": Status.REJECTED}, None),
        ({"message_type": "pacs.004.001.09", "status": Status.RETURNED}, A_SENT + 1),
        ({"message_type": "camt.054.001.08", "status": Status.RETURNED}, A_SENT + 1),
        ({"message_type": "camt.054.001.08", "status": Status.REVERSED}, B_SENT + 2),
        ({"message_type": "json", "status": Status.RETURNED}, B_SENT + 1),
        ({"message_type": "iso8583.0200", "status": Status.RETURNED}, B_SENT + 1),
        ({"message_type": "iso8583.0400", "status": Status.REVERSED}, B_SENT + 2),
    ],
    ids=str,
)
def test_money_goes_back_on_lines_of_its_own_and_what_was_rejected_is_not_counted(fields: Any, where: Any) -> None:
    """The sides of a return's own message are the return's; those of all other messages are the payment's."""
    assert counted([one("bank-a", **fields)]) == ({} if where is None else {(HERE, where, PART): FIRST})


def test_money_that_comes_back_in_parts_counts_each_part_once() -> None:
    back = {"message_type": "json", "status": Status.RETURNED}
    parts = [tokens(amount=f"CNY {amount}.00") for amount in (1, 2)]
    told = [one(bank, tokens=part, **back) for bank in ("bank-a", "bank-b") for part in (*parts, parts[0])]
    assert counted(told[:-2]) == {
        (HERE, B_SENT + 1, parts[0][0].token): BOTH, (HERE, B_SENT + 1, parts[1][0].token): FIRST,
    }  # fmt: skip
    assert set(counted(told).values()) == {BOTH}
    clear = one("bank-a", amount=258, amount_commitment=b"", tokens=[], **back)
    assert counted([clear]) == {(HERE, B_SENT + 1, (258).to_bytes(8, "big")): FIRST}


@pytest.mark.parametrize(("side", "sends"), [(Side.ISSUER, True), (Side.ACQUIRER, False)])
def test_an_issuer_pays_an_acquirer(side: Side, sends: bool) -> None:
    assert counted([one("bank-a", side=side)]) == {(HERE, A_SENT if sends else B_SENT, b""): FIRST}


@pytest.mark.parametrize("is_after", [True, False])
@pytest.mark.parametrize("is_report", [True, False])
def test_who_passes_a_payment_on_sends_where_the_other_comes_behind_it_in_the_hop(
    is_after: bool, is_report: bool
) -> None:
    told = body(side=Side.INTERMEDIARY, message_type="pacs.002.001.10" if is_report else "pacs.008.001.08")
    passed = said_of(told, "bank-a", "bank-b", 1, 0, 1, is_after=is_after)
    assert passed.is_sent is (is_after is not is_report)


def test_a_payment_with_nobody_counts_nowhere() -> None:
    assert counted([said("bank-a", "", 1)]) == {}


def test_a_third_member_under_a_pair_key_moves_nobody_else_s_totals() -> None:
    copied = said("bank-c", "bank-a", 1, settlement_date=2026_01_09)
    assert counted([one("bank-a"), copied, one("bank-b")]) == {
        (HERE, A_SENT, b""): BOTH,
        (Key(("bank-a", "bank-c"), 2026_01_09, "CNY"), A_SENT, b""): SECOND,
    }


@given(
    st.lists(
        st.builds(
            said,
            st.sampled_from(["bank-a", "bank-b", "bank-c"]),
            st.sampled_from(["", "bank-a", "bank-b"]),
            st.just(1),
            side=st.sampled_from([Side.DEBTOR, Side.CREDITOR]),
            status=st.sampled_from([Status.ACCEPTED, Status.SETTLED, Status.RETURNED, Status.REJECTED]),
            message_type=st.sampled_from(["pacs.008", "iso8583.0400"]),
            settlement_date=st.sampled_from([0, TOTALS_DAY, 2026_01_03]),
            currency=st.sampled_from(["CNY", ""]),
            tokens=st.sampled_from([tokens(amount="1"), tokens(amount="2")]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_is_counted_in_one_place_is_counted_alike_by_the_short_way(told: list[Said]) -> None:
    short = counted_once(told)
    if short is not None:
        key_, line_, bits = short
        assert counted(told) == {(key_, line_, b""): bits}


def test_the_short_way_counts_what_is_usual() -> None:
    assert counted_once([one("bank-b"), one("bank-a"), one("bank-a", status=Status.SETTLED)]) == (HERE, A_SENT, BOTH)
    assert counted_once([one("bank-b")]) == (HERE, A_SENT, SECOND)
    assert counted_once([one("bank-a", side=Side.CREDITOR)]) == (HERE, B_SENT, FIRST)


# --- how two banks' totals stand


def stated(*lines: Any, time_ms: int = 1_000) -> Stated:
    return Stated(1, 0, time_ms, lines)


def test_totals_wait_agree_or_differ_and_the_newest_of_each_counts() -> None:
    ours, theirs = stated(SENT), stated(line(Flow.RECEIVED, [key(1), key(2)]))
    wrong = stated(line(Flow.RECEIVED, [key(1)]))
    assert stands([], []) is TotalsState.UNSTATED
    assert stands([ours], []) is stands([], [theirs]) is TotalsState.ONE_SIDED
    assert stands([ours], [theirs]) is TotalsState.AGREED
    assert stands([ours], [wrong]) is stands([ours], [theirs, wrong]) is TotalsState.DIFFERS
    assert stands([ours], [wrong, theirs]) is TotalsState.AGREED
    assert stands([stated()], [stated()]) is TotalsState.AGREED


def test_what_one_sent_the_other_received() -> None:
    ours, theirs = Line(0, TotalsLeg.PAYMENT), Line(1, TotalsLeg.PAYMENT)
    assert lines_of(stated(RECEIVED, SENT), 0) == {theirs: RECEIVED, ours: SENT}
    assert lines_of(stated(SENT), 1) == {theirs: SENT}
    assert stands([stated(SENT)], [stated(SENT)]) is TotalsState.DIFFERS
    assert [each.number for each in ALL_LINES] == list(range(6))


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        ({}, ()),
        ({"count": 3}, ("count",)),
        ({"token": bytes(16)}, ("amount",)),
        ({"payments_root": bytes(32)}, ("payments",)),
        ({"amount": 5}, ()),
        ({"count": 3, "token": bytes(16), "payments_root": bytes(32)}, ("amount", "count", "payments")),
    ],
    ids=str,
)
def test_fields_that_differ_are_named(changed: Any, fields: Any) -> None:
    assert differing(SENT, replace(SENT, **changed)) == fields


def test_sums_in_clear_are_compared_where_both_state_them() -> None:
    assert differing(replace(SENT, amount=4), replace(SENT, amount=5)) == ("amount",)


def test_a_line_that_one_side_leaves_out_differs_in_everything() -> None:
    assert differing(SENT, None) == differing(None, SENT) == ("amount", "count", "payments")
    assert differing(None, None) == ()
    assert all_differing(lines_of(stated(SENT), 0), {}) == ("amount", "count", "payments")


def test_the_other_side_may_take_a_day_from_the_first_totals_on() -> None:
    assert deadline_of([], []) is None
    assert deadline_of([stated(time_ms=9)], [stated(time_ms=5), stated(time_ms=7)]) == 5 + ANSWER_TOTALS_WITHIN_MS


def test_the_root_is_over_pair_keys_in_order() -> None:
    assert payments_root([key(1), key(2)]) == payments_root([key(2), key(1)]) != payments_root([key(1)])
    assert payments_root([]) == EMPTY_ROOT


def test_agents_of_a_hop_tell_who_comes_behind() -> None:
    from ledger.reconciliation_statements import Partners
    from ledger.state_after import StateAfter, header_at
    from tests.ledger.reconciliation_fixtures import Books

    books = Books()
    partners = Partners(StateAfter(books.node.reader, header_at(books.node.reader, 0)))
    roles = ((AgentRole.INSTRUCTING_AGENT, "bank-a"), (AgentRole.INSTRUCTED_AGENT, "bank-b"))
    hop = encode([AgentRecord(role, AgentScheme.BIC, CODES[bank]) for role, bank in roles])
    assert partners.other("bank-a", Side.INTERMEDIARY, hop) == ("bank-b", True)
    assert partners.other("bank-b", Side.INTERMEDIARY, hop) == ("bank-a", False)
