"""payment_totals and payment_listTotals, and the topic `totals`: how two banks' end-of-day totals stand, and why."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from msgspec.structs import replace

import rpc.announcing as announcing
from ledger.totals import ANSWER_TOTALS_WITHIN_MS, FIELDS, TotalsState
from ledger.totals_bodies import Flow, TotalsLeg
from ledger.totals_reading import TotalsReader
from rpc.methods.totals import TotalsFieldName, TotalsLegName, TotalsStateName, totals_state_name
from tests.ledger.reconciliation_fixtures import DAY, agents, tokens
from tests.ledger.totals_fixtures import Books, key, line, totals
from tests.rpc.conftest import MemoryNode
from tests.rpc.test_subscriptions import connect, session, whole  # noqa: F401  fixtures

KEY = {"member": "bank-b", "counterparty": "bank-a", "day": "2026-01-01", "currency": "CNY"}


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def node(books: Books) -> MemoryNode:
    return books.node


def test_the_words_of_the_api_are_those_of_the_ledger() -> None:
    assert [totals_state_name(state) for state in TotalsState] == list(get_args(TotalsStateName))
    assert [leg.value for leg in TotalsLeg] == list(get_args(TotalsLegName))
    assert list(FIELDS) == list(get_args(TotalsFieldName))


async def test_totals_that_agree_show_both_sides_of_each_line(client, books) -> None:
    for number in (1, 2):
        books.tell("bank-a", pair_key=key(number))
        books.tell("bank-b", pair_key=key(number))
    sent = line(Flow.SENT, [key(1), key(2)], 7)
    books.total("bank-a", totals("bank-b", replace(sent, amount=1_234)))
    books.total("bank-b", totals("bank-a", replace(sent, flow=Flow.RECEIVED)))
    answer = await client.call("payment_totals", KEY)
    found = answer["totals"]
    assert (found["members"], found["day"], found["currency"]) == (["bank-a", "bank-b"], "2026-01-01", "CNY")
    assert (found["state"], found["fields"], found["overdue"], found["differences"]) == ("agreed", [], False, 0)
    (shown,) = answer["lines"]
    said = {"count": 2, "token": sent.token.hex(), "payments_root": sent.payments_root.hex()}
    counted = {"counted": 2, "counted_root": sent.payments_root.hex(), "unlike_statements": []}
    assert shown == {
        "sender": "bank-a", "leg": "payment", "fields": [],
        "sides": [
            {"member": "bank-a", "stated": {**said, "amount": "12.34"}, **counted},
            {"member": "bank-b", "stated": {**said, "amount": None}, **counted},
        ],
    }  # fmt: skip
    assert (answer["payments"], answer["cursor"], answer["as_of"]) == ([], None, 6)
    event = (await client.call("ledger_getEvent", {"event_id": found["stated"][0]["event_id"]}))["event"]
    assert (event["kind"], event["body"]["counterparty"]) == ("payment.totals", "bank-b")


async def test_a_payment_that_one_side_leaves_out_is_named_with_who_counts_it(client, books) -> None:
    for number in (1, 2):
        books.tell("bank-a", pair_key=key(number), amount=50 * number, amount_commitment=b"", tokens=[])
    books.tell("bank-b", pair_key=key(1))
    books.total("bank-a", totals("bank-b", line(Flow.SENT, [key(1), key(2)], 2)))
    books.total("bank-b", totals("bank-a", line(Flow.RECEIVED, [key(1)], 1)))
    answer = await client.call("payment_totals", KEY)
    assert answer["totals"]["state"] == "differs"
    assert answer["totals"]["fields"] == answer["lines"][0]["fields"] == ["amount", "count", "payments"]
    (item,) = answer["payments"]
    assert (item["pair_key"], item["sender"], item["leg"]) == (key(2).hex(), "bank-a", "payment")
    assert [(each["member"], each["amount"]) for each in item["counted_by"]] == [("bank-a", "1.00")]
    assert (item["amounts_differ"], item["elsewhere"], answer["totals"]["differences"]) == (False, [], 1)
    page = await client.call("payment_totals", KEY | {"payments": "all", "limit": 1})
    rest = await client.call("payment_totals", KEY | {"payments": "all", "cursor": page["cursor"]})
    assert (len(page["lines"]), rest["lines"]) == (1, [])
    listed = page["payments"] + rest["payments"]
    assert {each["pair_key"]: len(each["counted_by"]) for each in listed} == {key(1).hex(): 2, key(2).hex(): 1}


async def test_amounts_that_are_not_the_same_and_payments_of_another_day_are_named(client, books) -> None:
    books.tell("bank-a", pair_key=key(1))
    books.tell("bank-b", pair_key=key(1), tokens=tokens(amount="CNY 2.00"))
    books.tell("bank-a", pair_key=key(2))
    books.tell("bank-b", pair_key=key(2), settlement_date=2026_01_02)
    found = {each["pair_key"]: each for each in (await client.call("payment_totals", KEY))["payments"]}
    assert found[key(1).hex()]["amounts_differ"] is True
    assert len(found[key(1).hex()]["counted_by"]) == 2
    assert found[key(2).hex()]["elsewhere"] == [
        {"member": "bank-b", "day": "2026-01-02", "currency": "CNY", "sender": "bank-a", "leg": "payment"}
    ]


async def test_totals_that_are_not_what_their_bank_s_own_statements_come_to_are_named(client, books) -> None:
    books.tell("bank-a", pair_key=key(1))
    books.total("bank-a", totals("bank-b", line(Flow.SENT, [key(9)])))
    books.total("bank-b", totals("bank-a", line(Flow.RECEIVED, [key(9)])))
    answer = await client.call("payment_totals", KEY)
    assert answer["totals"]["state"] == "agreed", "what both state is the same"
    sides = answer["lines"][0]["sides"]
    assert [side["unlike_statements"] for side in sides] == [["payments"], ["count"]]
    books.total("bank-a", totals("bank-b"))
    (sent, _) = (await client.call("payment_totals", KEY))["lines"][0]["sides"]
    assert (sent["stated"]["count"], sent["counted"], sent["unlike_statements"]) == (0, 1, ["count"])


async def test_totals_of_one_side_are_overdue_from_their_deadline_on(client, books) -> None:
    books.total("bank-a", totals("bank-b"))
    (found,) = (await client.call("payment_listTotals", {"state": "one_sided"}))["totals"]
    assert (found["state"], found["overdue"], found["deadline"]) == ("one_sided", False, "2026-01-02T00:00:01.500Z")
    assert [each["member"] for each in found["stated"]] == ["bank-a"]
    books.wait(DAY)
    (found,) = (await client.call("payment_listTotals", {}))["totals"]
    assert (found["state"], found["overdue"]) == ("one_sided", True)


async def test_totals_that_are_stated_again_replace_those_before(client, books) -> None:
    books.total("bank-a", totals("bank-b", line(Flow.SENT, [key(1)])))
    books.total("bank-b", totals("bank-a"))
    assert (await client.call("payment_totals", KEY))["totals"]["state"] == "differs"
    books.total("bank-a", totals("bank-b"))
    found = (await client.call("payment_totals", KEY))["totals"]
    assert (found["state"], found["stated"][0]["height"], found["stated"][0]["left_out"]) == ("agreed", 3, 0)
    (replaced,) = found["stated"][0]["replaced"]
    assert (await client.call("ledger_getEvent", {"event_id": replaced}))["event"]["height"] == 1


async def states(client: Any, **params: Any) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    cursor = None
    while True:
        page = await client.call("payment_listTotals", params | {"limit": 1, "cursor": cursor, "order": "asc"})
        found += [
            (item["day"], "-".join(each[-1] for each in item["members"]), item["state"]) for item in page["totals"]
        ]
        cursor = page["cursor"]
        if cursor is None:
            return found


async def test_totals_are_listed_by_member_day_currency_and_state(client, books) -> None:
    books.tell("bank-a", pair_key=key(1))
    books.tell("bank-c", pair_key=key(2), agents=agents("bank-c", "bank-b"), settlement_date=2026_01_02)
    books.total("bank-a", totals("bank-b", day=2026_01_02))
    books.total("bank-a", totals("bank-c", day=2026_01_02, currency="USD"))
    books.total("bank-c", totals("bank-a", day=2026_01_02, currency="USD"))
    every = [
        ("2026-01-01", "a-b", "unstated"), ("2026-01-02", "a-b", "one_sided"), ("2026-01-02", "a-c", "agreed"),
        ("2026-01-02", "b-c", "unstated"),
    ]  # fmt: skip
    assert await states(client) == every
    assert await states(client, day="2026-01-02") == every[1:]
    assert await states(client, member="bank-a", counterparty="bank-c") == every[2:3]
    assert await states(client, member="bank-c") == every[2:]
    assert await states(client, currency="USD") == every[2:3]
    assert await states(client, state="unstated") == [every[0], every[3]]
    answer = await client.call("payment_listTotals", {})
    assert [item["day"] for item in answer["totals"]] == [at[0] for at in every][::-1], "the newest day first"
    assert answer["counts"] == {"one_sided": 1, "agreed": 1, "differs": 0}
    assert answer["answer_within_ms"] == ANSWER_TOTALS_WITHIN_MS


async def test_totals_are_of_the_height_that_is_told(client, books, monkeypatch) -> None:
    books.total("bank-a", totals("bank-b", line(Flow.SENT, [key(1)])))
    books.follow()
    begun = books.height
    count, find = TotalsReader.counts, TotalsReader.find

    def go_on() -> None:
        if books.height == begun:  # the index goes on while it is read
            books.total("bank-b", totals("bank-a", line(Flow.RECEIVED, [key(1)])))
            books.follow()

    def counts(reader: TotalsReader) -> Any:
        go_on()
        return count(reader)

    monkeypatch.setattr(TotalsReader, "counts", counts)
    listed = await client.call("payment_listTotals", {})
    assert (listed["as_of"], listed["totals"][0]["state"]) == (books.height, "agreed")

    begun = books.height

    def found(reader: TotalsReader, asked: Any) -> Any:
        first = find(reader, asked)
        if books.height == begun:
            books.total("bank-b", totals("bank-a", line(Flow.RECEIVED, [key(1), key(2)])))
            books.follow()
        return first

    monkeypatch.setattr(TotalsReader, "find", found)
    told = listed["totals"][0]
    asked = {"member": "bank-a", "counterparty": "bank-b", "day": told["day"], "currency": told["currency"]}
    one = await client.call("payment_totals", asked)
    assert (one["as_of"], one["totals"]["state"]) == (books.height, "differs")


async def test_what_is_not_there_or_no_question_is_said_so(client, books) -> None:
    books.tell("bank-a", pair_key=key(1))
    assert (await client.error("payment_totals", KEY | {"currency": "USD"}))["code"] == -32001
    assert (await client.error("payment_totals", KEY | {"counterparty": "bank-z"}))["code"] == -32001
    for changed in ({"member": "bank-a"}, {"day": "2026-02-30"}, {"currency": "cny"}, {"payments": "some"}):
        assert (await client.error("payment_totals", KEY | changed))["code"] == -32602, changed
    assert (await client.error("payment_listTotals", {"state": "fine"}))["code"] == -32602


def brief(said: list[Any]) -> list[tuple[str, str, str, int]]:
    return [(item["member"], item["before"], item["state"], item["height"]) for item, _ in said]


async def test_totals_are_told_as_they_are_stated(connect, books, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr(announcing, "EVENTS_A_PIECE", 1)
    talk = await connect()
    await talk.subscribe("totals")
    books.total("bank-a", totals("bank-b"))
    books.total("bank-b", totals("bank-a", line(Flow.SENT, [key(1)])))
    books.total("bank-c", totals("bank-a"))
    told = [
        ("bank-a", "unstated", "one_sided", 1), ("bank-b", "one_sided", "differs", 2),
        ("bank-c", "unstated", "one_sided", 3),
    ]  # fmt: skip
    said = await talk.next(3)
    assert brief(said) == told
    assert (said[0][0]["members"], said[0][0]["day"], said[0][0]["currency"]) == (
        ["bank-a", "bank-b"], "2026-01-01", "CNY",
    )  # fmt: skip
    assert await whole(connect, "totals", 3) == said
    assert brief(await whole(connect, "totals", 1, member="bank-c")) == told[2:]
    resumed = await connect()
    await resumed.subscribe("totals", from_cursor=said[0][1])
    assert await resumed.next(2) == said[1:]
    assert (await resumed.refused("totals", payment=key(1).hex()))["code"] == -32602
    assert (await resumed.refused("totals", kind="payment.totals"))["code"] == -32602
