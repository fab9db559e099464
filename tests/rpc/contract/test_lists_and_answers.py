"""What every method keeps: `as_of` in each answer; lists with a bounded limit, an order, and a cursor of their own.

The methods are found in the OpenRPC document, so that a new one is held to the same. Not here: what each one answers.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest

from ledger.reader import LedgerReader
from primitives.ids import Hash
from rpc.methods.catalogue import document
from rpc.types import LIMIT_DEFAULT, LIMIT_MAX, make_cursor
from tests.rpc.rich_fixtures import OTHER_UETR, UETR, Asked, RichNode, number_of, services_of

DOCUMENT: dict[str, Any] = json.loads(msgspec.json.encode(document("0.1.0")))
DESCRIBED = {item["name"]: item for item in DOCUMENT["methods"]}
SCHEMAS = DOCUMENT["components"]["schemas"]

WITHOUT_AS_OF = {"rpc.discover": "it tells of the API, not of the ledger, and OpenRPC says what may stand in it"}
WHOLE = {
    "admin_listTokens": "at most 256 in all",
    "audit_search": "at most 20 hits, and `more` where there are more",
    "cert_checkNumbers": "as many as were asked for",
    "cert_getRegister": "the two officers who signed",
    "cert_getMark": "the uses declared for one certificate, at most 256",
    "gov_checkAction": "one action: members and validators, which the policy bounds",
    "gov_getPolicy": "figures and catalogues, which are a few",
    "ledger_getArchive": "the newest segments alone",
    "ledger_getBlock": "one block: its votes are as many as validators",
    "ledger_getCapabilities": "kinds and versions that the release knows",
    "ledger_getConsistency": "a path of hashes, as long as the log has levels",
    "ledger_submit": "as many as were sent",
    "ledger_submitBatch": "as many as were sent",
    "net_peers": "nodes that this one is linked with, which its settings bound",
    "net_status": "warnings to the operator, one for each thing to mend",
    "net_validators": "the set as it votes: a part of it would be worth nothing",
    "payment_reconciliation": "the newest statement of each side",
}
"""Methods whose results hold lists and have no pages, and why."""


@dataclass(frozen=True)
class List:
    """A list to be asked: with which filters, where its items stand and what names one; and other filters."""

    params: dict[str, Any]
    items: str
    name: str
    others: dict[str, Any] | None = None


TOTALS = {"member": "bank-a", "counterparty": "bank-b", "day": "2026-01-03", "currency": "CNY"}
LISTS = {
    "cert_deadlines": List(
        {"kind": "certificate_expired", "within_days": 36_500}, "deadlines", "subject", {"within_days": 30}
    ),
    "cert_history": List({"number": number_of(1)}, "events", "id", {"number": number_of(2)}),
    "cert_inspectionCandidates": List({"draw": "cb.0001"}, "candidates", "number", {"draw": "cb.0002"}),
    "cert_inspections": List({}, "inspections", "id", {"phase": "drawn"}),
    "cert_list": List({"holder": "bank-a"}, "certificates", "number", {"holder": "bank-b"}),
    "cert_listMisuse": List({"member": "bank-b"}, "reports", "report", {"state": "undecided"}),
    "cert_markEvents": List({"number": number_of(1)}, "events", "id", {"number": number_of(2)}),
    "gov_listAccreditations": List({}, "accreditations", "ends", {"member": "lab"}),
    "gov_listMembers": List({}, "members", "id"),
    "gov_listProposals": List({}, "proposals", "id"),
    "ledger_getBlockEvents": List({"height": 99}, "events", "id", {"height": 98}),
    "ledger_getBlocks": List({}, "blocks", "hash"),
    "ledger_getCheckpoints": List({}, "checkpoints", "size"),
    "ledger_getMemberEvents": List({"member": "bank-a"}, "events", "id", {"member": "bank-b"}),
    "net_evidence": List({}, "evidence", "number"),
    "net_expiry": List({"within_days": 36_500}, "ends", "name", {"within_days": 30}),
    "payment_affectedBy": List({"certificate": number_of(1)}, "payments", "event_id", {"certificate": number_of(2)}),
    "payment_get": List({"uetr": UETR}, "statements", "id", {"uetr": OTHER_UETR}),
    "payment_list": List({"member": "bank-a"}, "statements", "id", {"member": "bank-b"}),
    "payment_disclosures": List({"reporter": "bank-b"}, "requests", "id", {"reporter": "bank-a"}),
    "payment_pairingKeys": List({"member": "bank-a"}, "keys", "key", {"member": "bank-b"}),
    "payment_listReconciliation": List({"member": "bank-a"}, "payments", "pair_key", {"member": "bank-b"}),
    "payment_listTotals": List({"member": "bank-a"}, "totals", "day", {"member": "bank-b"}),
    "payment_totals": List(TOTALS | {"payments": "all"}, "payments", "pair_key", {"payments": "differences"}),
    "wallet_list": List({"member": "bank-a"}, "wallets", "wallet", {"status": "closed"}),
    "payment_trace": List({"uetr": UETR}, "steps", "event_id", {"uetr": OTHER_UETR}),
}


def result_of(name: str) -> dict[str, Any]:
    """Return the schema of a method's result."""
    schema = DESCRIBED[name]["result"]["schema"]
    found: dict[str, Any] = SCHEMAS[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def lists() -> set[str]:
    """Return the methods that answer in pages."""
    return {name for name in holding() if "cursor" in result_of(name)["properties"]}


def holding() -> set[str]:
    """Return the methods whose results hold a list."""
    return {
        name
        for name in DESCRIBED
        if any(part.get("type") == "array" for part in result_of(name).get("properties", {}).values())
    }


def names_of(name: str, answer: dict[str, Any]) -> list[Any]:
    return [item[LISTS[name].name] for item in answer[LISTS[name].items]]


def walked(asked: Asked, name: str, limit: int, order: str) -> list[Any]:
    """Return what all pages of a list name."""
    found: list[Any] = []
    cursor = None
    for _ in range(1_000):
        page = asked.call(name, LISTS[name].params | {"limit": limit, "order": order, "cursor": cursor})
        assert len(page[LISTS[name].items]) <= limit
        found += names_of(name, page)
        cursor = page["cursor"]
        if cursor is None:
            return found
    raise AssertionError("a list without an end")


def test_every_answer_says_for_which_height_it_speaks() -> None:
    without = {name for name in DESCRIBED if "as_of" not in result_of(name).get("required", ())}
    assert without == set(WITHOUT_AS_OF)


def test_every_list_has_limit_order_and_cursor_in_one_way() -> None:
    assert lists() == set(LISTS), "name what a new list is asked with"
    for name in sorted(lists()):
        params = {item["name"]: item for item in DESCRIBED[name]["params"]}
        assert {"limit", "order", "cursor"} <= params.keys(), name
        assert not any(params[each]["required"] for each in ("limit", "order", "cursor")), name
        limit = params["limit"]["schema"]
        assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, LIMIT_MAX, LIMIT_DEFAULT) == (1, 100, 30)
        assert {"asc", "desc"} in [set(part.get("enum", ())) for part in params["order"]["schema"]["anyOf"]], name


def test_what_holds_a_list_has_pages_or_a_reason_to_have_none() -> None:
    assert holding() - lists() == set(WHOLE), "a list that may grow needs pages"


def test_every_parameter_and_every_result_says_what_it_is() -> None:
    for name, item in DESCRIBED.items():
        for param in item["params"]:
            assert param.get("description") or "$ref" in param["schema"], (name, param["name"])
    assert [name for name, schema in SCHEMAS.items() if not schema.get("description")] == []


def test_every_method_lists_the_errors_that_any_may_answer() -> None:
    for name, item in DESCRIBED.items():
        codes = {DOCUMENT["components"]["errors"][each["$ref"].rpartition("/")[2]]["code"] for each in item["errors"]}
        assert {-32602, -32603, -32002, -32005} <= codes, name
        assert (-32004 in codes) == (item["x-access"] != "public"), name


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_limit_that_is_too_large_is_refused_and_never_cut(rich: Asked, name: str) -> None:
    params = LISTS[name].params
    for limit in (0, LIMIT_MAX + 1, 10_000, -1):
        error = rich.error(name, params | {"limit": limit})
        assert (error["code"], error["data"]["where"], error["data"]["got"]) == (-32602, "$.limit", str(limit))
    assert names_of(name, rich.call(name, params | {"limit": LIMIT_MAX}))


@pytest.mark.parametrize("name", sorted(LISTS))
def test_pages_meet_in_both_orders_whatever_their_size(rich: Asked, name: str) -> None:
    up = names_of(name, rich.call(name, LISTS[name].params | {"limit": LIMIT_MAX, "order": "asc"}))
    assert len(up) > 2
    assert len(set(up)) == len(up)
    for limit in (1, 2, 3, LIMIT_MAX):
        assert walked(rich, name, limit, "asc") == up
        assert walked(rich, name, limit, "desc") == up[::-1]


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_cursor_of_anything_else_is_refused_by_name(rich: Asked, rich_node: RichNode, name: str) -> None:
    one = LISTS[name]
    params = one.params | {"limit": 1}
    cursor = rich.call(name, params | {"order": "asc"})["cursor"]
    other = "ledger_getCheckpoints" if name != "ledger_getCheckpoints" else "net_evidence"
    foreign = rich.call(other, {"limit": 1})["cursor"]
    refused = {
        "no cursor": {"cursor": "abcd"},
        "cut": {"cursor": cursor[:-2]},
        "made up": {"cursor": make_cursor(name, 1, 2)},
        "of another method": {"cursor": foreign},
        "of another order": {"cursor": cursor, "order": "desc"},
    }
    if one.others is not None:
        refused["of another filter"] = one.others | {"cursor": cursor}
    for what, change in refused.items():
        error = rich.error(name, params | change)
        data = error["data"]
        assert (error["code"], data["reason"], data["where"]) == (-32602, "bad_cursor", "$.cursor"), what
        assert data["expected"], what
        assert data["got"], what
    rich.call(name, params | {"cursor": cursor, "order": "asc"})


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_cursor_of_another_chain_is_refused(rich: Asked, rich_node: RichNode, runner, name: str) -> None:
    params = LISTS[name].params | {"limit": 1}
    reads = LedgerReader(rich_node.store, rich_node.genesis)
    reads.chain_id = Hash(b"\xee" * 32)
    elsewhere = Asked(replace(services_of(rich_node), reads=reads), runner)
    error = elsewhere.error(name, params | {"cursor": rich.call(name, params)["cursor"]})
    assert (error["data"]["reason"], error["data"]["expected"]) == ("bad_cursor", "ee" * 8)
    assert "another chain" in error["message"]


@pytest.mark.parametrize(
    ("name", "filter_"),
    [
        (name, filter_)
        for name in sorted(LISTS)
        for filter_ in ("member", "holder")
        if filter_ in {param["name"] for param in DESCRIBED[name]["params"]}
    ],
)
def test_a_list_of_a_member_that_there_is_not_is_not_found_and_says_what_to_do(
    rich: Asked, name: str, filter_: str
) -> None:
    error = rich.error(name, {**LISTS[name].params, filter_: "nosuch"})
    assert (error["code"], error["data"]["where"], error["data"]["got"]) == (-32001, f"$.{filter_}", "nosuch")
    assert "chainnode member list" in error["data"]["hint"]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_of_a_chain_that_goes_on_neither_skip_nor_repeat(runner: asyncio.Runner, order: str) -> None:
    node = RichNode()
    asked = Asked(services_of(node), runner)
    before = {name: walked(asked, name, LIMIT_MAX, order) for name in LISTS}
    found: dict[str, list[Any]] = {name: [] for name in LISTS}
    cursors: dict[str, str | None] = dict.fromkeys(LISTS)
    going_on = set(LISTS)
    for _ in range(3):
        for name in sorted(going_on):
            one = LISTS[name]
            page = asked.call(name, one.params | {"limit": 3, "order": order, "cursor": cursors[name]})
            found[name] += names_of(name, page)
            cursors[name] = page["cursor"]
            if page["cursor"] is None:
                going_on.discard(name)
        node.grow()
    for name in going_on:
        rest = LISTS[name].params | {"limit": LIMIT_MAX, "order": order, "cursor": cursors[name]}
        found[name] += names_of(name, asked.call(name, rest))
    for name in LISTS:
        assert len(set(found[name])) == len(found[name]), f"{name} repeats"
        assert set(before[name]) <= set(found[name]), f"{name} skips"
        after = walked(asked, name, LIMIT_MAX, order)
        assert found[name] == [item for item in after if item in set(found[name])], f"{name} is out of order"


def test_a_block_that_was_the_newest_is_gone_through_to_its_end(runner: asyncio.Runner) -> None:
    node = RichNode()
    asked = Asked(services_of(node), runner)
    page = asked.call("ledger_getBlockEvents", {"height": "latest", "limit": 5})
    node.commit_events(1, first=2_000)
    rest = asked.call("ledger_getBlockEvents", {"height": "latest", "limit": 5, "cursor": page["cursor"]})
    assert [event["id"] for event in page["events"] + rest["events"]] == [item.hex() for item in node.ids]
