"""payment_listReconciliation, and what payment_reconciliation and payment_trace say by the same engine."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, get_args

import pytest

from ledger.payments import Status
from ledger.reconciliation import ANSWER_WITHIN_MS, Leg, Standing
from ledger.reconciliation_reading import Asked, ReconciliationReader
from rpc.methods import payment_views
from rpc.methods.reconciliation import LegName, StandingName, leg_name, standing_name
from tests.ledger.reconciliation_fixtures import DAY, KEY, Books, agents, tokens
from tests.rpc.conftest import MemoryNode

OTHER = tokens(amount="CNY 2.00")


def key(number: int) -> bytes:
    return sha256(b"payment %d" % number).digest()


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def node(books: Books) -> MemoryNode:
    return books.node


async def states(client: Any, **params: Any) -> list[tuple[str, str]]:
    """Return pair key and state of each payment of a list, a page of one at a time."""
    found: list[tuple[str, str]] = []
    cursor = None
    while True:
        page = await client.call("payment_listReconciliation", params | {"limit": 1, "cursor": cursor, "order": "asc"})
        found += [(item["pair_key"], item["state"]) for item in page["payments"]]
        cursor = page["cursor"]
        if cursor is None:
            return found


def test_the_words_of_the_api_are_those_of_the_engine() -> None:
    assert [standing_name(state) for state in Standing] == list(get_args(StandingName))
    assert [leg_name(leg) for leg in Leg] == list(get_args(LegName))


async def test_payments_are_listed_by_how_they_stand_by_members_and_by_day(client, books) -> None:
    books.tell("bank-a", pair_key=key(1))
    books.tell("bank-b", pair_key=key(1))
    books.tell("bank-a", pair_key=key(2))
    books.tell("bank-b", pair_key=key(2), tokens=OTHER)
    books.tell("bank-c", pair_key=key(3), agents=agents("bank-c", "bank-b"))
    assert await states(client) == [
        (key(1).hex(), "matched"), (key(2).hex(), "mismatch"), (key(3).hex(), "one_sided"),
    ]  # fmt: skip
    assert await states(client, state="mismatch") == [(key(2).hex(), "mismatch")]
    assert await states(client, member="bank-c") == [(key(3).hex(), "one_sided")]
    assert await states(client, member="bank-b", counterparty="bank-c") == [(key(3).hex(), "one_sided")]
    assert await states(client, day="2026-01-02") == []
    assert len(await states(client, day="2026-01-01")) == 3
    answer = await client.call("payment_listReconciliation", {"member": "bank-a"})
    assert answer["counts"] == {
        "matched": 1, "one_sided": 0, "orphan": 0, "mismatch": 1, "equivocation": 0, "unpaired": 0,
    }  # fmt: skip
    assert (answer["answer_within_ms"], answer["as_of"], answer["above_height"]) == (ANSWER_WITHIN_MS, 5, 0)
    assert [item["pair_key"] for item in answer["payments"]] == [key(2).hex(), key(1).hex()], "the newest first"


async def test_a_payment_says_its_legs_who_said_what_and_who_owes_a_statement(client, books) -> None:
    books.tell("bank-a")
    books.tell("bank-b")
    books.tell("bank-b", status=Status.RETURNED, tokens=[])
    books.wait(DAY)
    (item,) = (await client.call("payment_listReconciliation", {}))["payments"]
    payment, back = item["legs"]
    assert (item["state"], item["members"], item["by_codes"]) == ("orphan", ["bank-a", "bank-b"], True)
    assert (payment["leg"], payment["state"], payment["fields"], payment["missing"]) == ("payment", "matched", [], [])
    assert (back["leg"], back["state"], back["missing"], back["late"]) == ("return", "orphan", ["bank-a"], False)
    (told,) = back["statements"]
    assert (told["member"], told["side"], told["status"], told["height"]) == ("bank-b", "creditor", "returned", 3)
    event = (await client.call("ledger_getEvent", {"event_id": told["event_id"]}))["event"]
    assert (event["member"], event["body"]["status"]) == ("bank-b", "returned")


async def test_both_events_of_a_member_that_said_two_things_are_named(client, books) -> None:
    books.tell("bank-a")
    books.tell("bank-b")
    books.tell("bank-b", tokens=OTHER)
    (item,) = (await client.call("payment_listReconciliation", {"state": "equivocation"}))["payments"]
    (leg,) = item["legs"]
    (found,) = leg["equivocations"]
    said = [told["event_id"] for told in leg["statements"] if told["member"] == "bank-b"]
    assert (found["event_ids"], found["fields"], leg["compared"]) == (said, ["amount"], "mismatch")


async def test_a_third_member_under_the_key_shows_as_an_intruder(client, books) -> None:
    books.tell("bank-c", agents=agents("bank-c", "bank-a"), tokens=OTHER)
    books.tell("bank-a")
    books.tell("bank-b")
    found = (await client.call("payment_reconciliation", {"pair_key": KEY.hex()}))["payments"]
    assert {tuple(item["members"]): (item["state"], item["intruder"], item["intruders"]) for item in found} == {
        ("bank-a", "bank-b"): ("matched", False, ["bank-c"]),
        ("bank-a", "bank-c"): ("one_sided", True, ["bank-b"]),
    }


async def test_nobody_else_decides_whether_two_banks_agree(client, books) -> None:
    uetr = bytes.fromhex("eb6305c91f7f49deaed016487c27b42d")
    for bank in ("bank-a", "bank-b"):
        books.tell(bank, uetr=uetr)
    books.tell("bank-c", uetr=uetr, agents=agents("bank-c", "bank-a"), tokens=OTHER)
    books.tell("bank-c", uetr=uetr, agents=agents("bank-c", "bank-a"), tokens=OTHER, pair_key=key(7))
    for name in ({"pair_key": KEY.hex()}, {"uetr": "eb6305c9-1f7f-49de-aed0-16487c27b42d"}):
        found = await client.call("payment_reconciliation", name)
        assert found["verdict"] == "matched"
        (amount,) = [field for field in found["fields"] if field["field"] == "amount" and not field["in_clear"]]
        assert (amount["agree"], {said["member"] for said in amount["said"]}) == (True, {"bank-a", "bank-b", "bank-c"})


async def test_a_flood_of_statements_hides_nothing_of_how_a_payment_stands(client, books, monkeypatch) -> None:
    monkeypatch.setattr(payment_views, "STATEMENTS_MAX", 3)
    uetr = bytes.fromhex("eb6305c91f7f49deaed016487c27b42d")
    books.tell("bank-a", uetr=uetr)
    books.tell("bank-b", uetr=uetr, tokens=OTHER)
    for number in range(4):
        books.tell("bank-c", uetr=uetr, pair_key=key(number), agents=agents("bank-c", "bank-a"))
    found = await client.call("payment_reconciliation", {"uetr": "eb6305c9-1f7f-49de-aed0-16487c27b42d"})
    assert (found["complete"], found["state"]) == (False, "mismatch")
    assert (["bank-a", "bank-b"], "mismatch") in [(item["members"], item["state"]) for item in found["payments"]]


async def test_counts_are_of_the_height_that_is_told(client, books, monkeypatch) -> None:
    books.tell("bank-a")
    books.follow()
    count = ReconciliationReader.counts

    def counted(reader: ReconciliationReader, asked: Asked) -> Any:
        if books.height < 3:  # the index goes on while they are counted
            books.tell("bank-a", pair_key=key(books.height))
            books.follow()
        return count(reader, asked)

    monkeypatch.setattr(ReconciliationReader, "counts", counted)
    found = await client.call("payment_listReconciliation", {})
    assert (found["as_of"], len(found["payments"]), found["counts"]["one_sided"]) == (3, 3, 3)


async def test_trace_and_reconciliation_say_how_each_hop_stands(client, books) -> None:
    uetr = bytes.fromhex("eb6305c91f7f49deaed016487c27b42d")
    name = {"uetr": "eb6305c9-1f7f-49de-aed0-16487c27b42d"}
    books.tell("bank-a", uetr=uetr, pair_key=key(1))
    books.tell("bank-b", uetr=uetr, pair_key=key(1))
    books.tell("bank-b", uetr=uetr, pair_key=key(2), agents=agents("bank-b", "bank-c"), status=Status.SETTLED)
    found = await client.call("payment_reconciliation", name)
    assert (found["state"], found["reconciled_as_of"], found["as_of"]) == ("one_sided", 3, 3)
    assert [item["state"] for item in found["payments"]] == ["matched", "one_sided"]
    trace = await client.call("payment_trace", name)
    assert trace["payments"] == found["payments"]
    assert trace["initiated"] == trace["settled"] == trace["steps"][0]["stated"]


async def test_without_pair_keys_nothing_is_reconciled_and_the_answer_says_so(client, books) -> None:
    uetr = bytes.fromhex("eb6305c91f7f49deaed016487c27b42d")
    books.tell("bank-a", uetr=uetr, pair_key=b"", tokens=[])
    found = await client.call("payment_reconciliation", {"uetr": "eb6305c9-1f7f-49de-aed0-16487c27b42d"})
    assert (found["state"], found["payments"]) == (None, [])
    assert (await client.call("payment_listReconciliation", {}))["counts"]["unpaired"] == 1


async def test_bad_filters_and_an_index_that_has_not_begun_are_named(client, node, books) -> None:
    assert (await client.error("payment_listReconciliation", {"state": "fine"}))["code"] == -32602
    books.tell("bank-a")
    assert (await client.error("payment_listReconciliation", {"day": "2026-02-30"}))["code"] == -32602
    node.reconciliation.clear()
    error = await client.error("payment_listReconciliation", {})
    assert (error["code"], error["data"]["reason"]) == (-32002, "index_behind")
    found = await client.call("payment_reconciliation", {"pair_key": KEY.hex()})
    assert (found["state"], found["payments"], found["reconciled_as_of"]) == (None, [], None)
