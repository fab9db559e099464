"""payment_trace and payment_reconciliation: what statements of several members say of one payment together."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from msgspec.structs import replace as changed

from ledger.outcomes import APPLIED, Outcome
from ledger.payments import AgentRecord, AgentRole, AgentScheme, Side, TokenField, TokenRecord
from primitives.encoding import encode
from rpc.methods import payment_views
from tests.rpc.conftest import MemoryNode, statement

UETR = "eb6305c9-1f7f-49de-aed0-16487c27b42d"
UETR_BYTES = bytes.fromhex(UETR.replace("-", ""))
UETR_2 = "2f7b9d0e-3c1a-4e5f-8a6b-7c8d9e0f1a2b"
FIRST, SECOND = sha256(b"a and b").digest(), sha256(b"b and c").digest()


def tell(node: MemoryNode, member: str, side: Side, **fields: Any) -> None:
    """Commit a member's statement in a block of its own."""
    node.member = member
    node.references += 1
    body = changed(statement(1), side=side, **fields)
    node.commit(node.batch([node.event(node.references, body=encode(body))]))


def agent(role: AgentRole, code: str) -> AgentRecord:
    return AgentRecord(role, AgentScheme.BIC, code)


@pytest.fixture
def passed_on(node: MemoryNode) -> MemoryNode:
    """A payment that bank-a sends by bank-b to bank-c, each pair with a key of its own."""
    ends = [agent(AgentRole.DEBTOR_AGENT, "ABCDCNBJ"), agent(AgentRole.CREDITOR_AGENT, "EFGHCNBJ")]
    tell(node, "bank-a", Side.DEBTOR, uetr=UETR_BYTES, pair_key=FIRST, agents=ends)
    tell(node, "bank-b", Side.INTERMEDIARY, uetr=UETR_BYTES, pair_key=FIRST)
    tell(node, "bank-b", Side.INTERMEDIARY, uetr=UETR_BYTES, pair_key=SECOND)
    tell(node, "bank-c", Side.CREDITOR, pair_key=SECOND, agents=ends[1:])
    tell(node, "bank-d", Side.CREDITOR, pair_key=sha256(b"another payment").digest())
    return node


@pytest.mark.parametrize("name", [{"uetr": UETR}, {"pair_key": FIRST.hex()}, {"pair_key": SECOND.hex()}])
async def test_a_payment_is_traced_from_any_of_its_names(client, passed_on, name: dict[str, str]) -> None:
    found = await client.call("payment_trace", name)
    assert [(step["member"], step["side"], step["height"]) for step in found["steps"]] == [
        ("bank-a", "debtor", 1), ("bank-b", "intermediary", 2), ("bank-b", "intermediary", 3),
        ("bank-c", "creditor", 4),
    ]  # fmt: skip
    assert {(item["name"], tuple(item["stated_by"])) for item in found["names"]} == {
        (UETR, ("bank-a", "bank-b")), (FIRST.hex(), ("bank-a", "bank-b")), (SECOND.hex(), ("bank-b", "bank-c")),
    }  # fmt: skip
    assert [(hop["role"], hop["stated_by"]) for hop in found["hops"]] == [
        ("debtor-agent", ["bank-a"]), ("creditor-agent", ["bank-a", "bank-c"]),
    ]  # fmt: skip
    assert (found["statements"], found["complete"], found["cursor"], found["as_of"]) == (4, True, None, 5)


async def test_a_trace_says_where_it_is_not_the_whole(client, passed_on, monkeypatch) -> None:
    monkeypatch.setattr(payment_views, "STATEMENTS_MAX", 3)
    found = await client.call("payment_trace", {"uetr": UETR})
    assert (found["statements"], found["complete"]) == (3, False)
    monkeypatch.undo()
    monkeypatch.setattr(payment_views, "NAMES_MAX", 2)
    found = await client.call("payment_trace", {"uetr": UETR})
    assert (len(found["names"]), found["complete"]) == (2, False)


async def test_sides_that_say_the_same_match(client, node) -> None:
    tell(node, "bank-a", Side.DEBTOR, uetr=UETR_BYTES, amount=1)
    tell(node, "bank-a", Side.DEBTOR, uetr=UETR_BYTES)  # the newest of each side counts
    found = await client.call("payment_reconciliation", {"uetr": UETR})
    assert (found["verdict"], {field["agree"] for field in found["fields"]}) == ("uncompared", {None})
    tell(node, "bank-b", Side.CREDITOR, uetr=UETR_BYTES)
    found = await client.call("payment_reconciliation", {"uetr": UETR})
    assert (found["verdict"], found["complete"], found["as_of"]) == ("matched", True, 3)
    assert [(side["side"], side["member"], side["height"]) for side in found["sides"]] == [
        ("creditor", "bank-b", 3),
        ("debtor", "bank-a", 2),
    ]
    assert {field["field"]: field["agree"] for field in found["fields"]} == {
        "amount": True, "currency": True, "settlement_date": True, "uetr": True,
    }  # fmt: skip


async def test_each_hop_is_compared_for_itself(client, passed_on) -> None:
    """Each has a secret, and so tokens, of its own."""
    name, ours, theirs = {"uetr": UETR_2}, sha256(b"our hop").digest(), sha256(b"their hop").digest()
    for key, one, other in ((ours, "bank-a", "bank-b"), (theirs, "bank-b", "bank-c")):
        for member in (one, other):
            side = Side.INTERMEDIARY if member == "bank-b" else Side.DEBTOR if member == "bank-a" else Side.CREDITOR
            amount = [TokenRecord(TokenField.AMOUNT, key[:16])]
            tell(passed_on, member, side, uetr=bytes.fromhex(UETR_2.replace("-", "")), pair_key=key, tokens=amount)
    found = await client.call("payment_reconciliation", name)
    assert (found["verdict"], [side["member"] for side in found["sides"]].count("bank-b")) == ("matched", 2)
    fields = {field["field"]: field["agree"] for field in found["fields"] if not field["in_clear"]}
    assert fields == {"amount": True}


@pytest.mark.parametrize("differing", [{"amount": 1}, {"tokens": [TokenRecord(TokenField.AMOUNT, b"\x01" * 16)]}])
async def test_sides_that_differ_in_clear_or_by_token_do_not_match(client, node, differing: dict[str, Any]) -> None:
    same = {"uetr": UETR_BYTES, "pair_key": FIRST, "tokens": [TokenRecord(TokenField.AMOUNT, b"\x00" * 16)]}
    tell(node, "bank-a", Side.DEBTOR, **same)
    tell(node, "bank-b", Side.CREDITOR, **(same | differing))
    found = await client.call("payment_reconciliation", {"pair_key": FIRST.hex()})
    assert found["verdict"] == "mismatched"
    (field,) = [field for field in found["fields"] if field["agree"] is False]
    assert (field["field"], field["in_clear"]) == ("amount", "amount" in differing)
    assert len({said["value"] for said in field["said"]}) == 2


async def test_a_statement_that_was_rejected_is_nobodys_word(client, node, monkeypatch) -> None:
    tell(node, "bank-a", Side.DEBTOR, uetr=UETR_BYTES)
    tell(node, "bank-b", Side.CREDITOR, uetr=UETR_BYTES)
    tell(node, "bank-b", Side.CREDITOR, uetr=UETR_BYTES, amount=1)
    read = node.reader.block_events

    def rejecting(height: int, start: int = 0, count: int | None = None) -> list[Any]:
        outcome = Outcome(1, "a_rule", "its detail") if height == 3 else APPLIED
        return [replace(view, outcome=outcome) for view in read(height, start, count)]

    monkeypatch.setattr(node.reader, "block_events", rejecting)
    found = await client.call("payment_reconciliation", {"uetr": UETR})
    assert (found["verdict"], [side["height"] for side in found["sides"]]) == ("matched", [2, 1])


@pytest.mark.parametrize("method", ["payment_trace", "payment_reconciliation"])
async def test_a_payment_that_nobody_stated_is_not_found(client, node, method: str) -> None:
    assert (await client.error(method, {"uetr": UETR}))["code"] == -32001
    assert (await client.error(method, {}))["code"] == -32602
