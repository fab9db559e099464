"""The way in: JSON events and signed batches, what they wait for, and what is refused by name."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import pytest

from ledger.batches import BATCH_EVENTS_MAX, check_event
from ledger.event_json import event_to_json
from ledger.outcomes import APPLIED, Outcome
from primitives.encoding import decode, encode
from primitives.ids import Hash, Height
from rpc import jsonrpc
from rpc.errors import Code, RpcError
from rpc.methods.submit import PAYLOAD_CHARACTERS_MAX, submitted
from rpc.ports import (
    AskedMessage,
    MessageEvent,
    NewEvent,
    ReadMessage,
    Refusal,
    RefusedPart,
    SubmitResult,
    SubmitStatus,
)

REFERENCE = "00" * 16


def as_json(node: Any, number: int = 0) -> dict[str, Any]:
    """Return an event of the node as a client writes it."""
    event, _ = check_event(node.event(number))
    shown = event_to_json(event)
    return {key: shown[key] for key in ("kind", "body", "reference", "expires")}


async def test_events_are_committed_and_answered_in_order(client, node, token: str) -> None:
    sent = [as_json(node, number) for number in range(3)]
    ids = [check_event(node.event(number))[1].hex() for number in range(3)]
    answer = await client.call("ledger_submit", {"events": sent}, token=token)
    assert [event["id"] for event in answer["events"]] == ids
    assert [event["status"] for event in answer["events"]] == ["Committed"] * 3
    assert [(event["height"], event["index"]) for event in answer["events"]] == [(1, 0), (1, 1), (1, 2)]
    assert answer["events"][0]["outcome"] == {"applied": True, "rule": None, "detail": None}
    assert answer["as_of"] == 1
    shown = (await client.call("ledger_getEvent", [ids[2]]))["event"]
    assert {key: shown[key] for key in sent[2]} == sent[2]


async def test_the_same_events_again_are_answered_with_their_standing(client, node, token: str) -> None:
    sent = {"events": [as_json(node)]}
    first = await client.call("ledger_submit", sent, token=token)
    assert await client.call("ledger_submit", sent, token=token) == first
    assert node.chain.height == 1


async def test_without_waiting_the_present_standing_is_answered(client, node, token: str) -> None:
    node.auto_commit = False
    answer = await client.call("ledger_submit", {"events": [as_json(node)], "wait": "none"}, token=token)
    assert [event["status"] for event in answer["events"]] == ["Pending"]
    status = await client.call("ledger_getStatus", [answer["events"][0]["id"]])
    assert status["status"] == "Pending"


async def test_reference_and_expiry_may_be_left_to_the_gateway(client, node, token: str) -> None:
    event = {"kind": "payment.statement", "body": as_json(node)["body"]}
    answer = await client.call("ledger_submit", {"events": [event, event]}, token=token)
    assert len({event["id"] for event in answer["events"]}) == 2


async def test_a_signed_batch_is_taken_as_it_is(client, node, token: str) -> None:
    batch = node.batch([node.event(1), node.event(2)])
    answer = await client.call("ledger_submitBatch", [base64.b64encode(batch).decode()], token=token)
    assert [event["status"] for event in answer["events"]] == ["Committed"] * 2
    again = await client.error("ledger_submitBatch", [base64.b64encode(batch).decode()], token=token)
    assert (again["code"], again["data"]["reason"]) == (-32003, "batch_number")
    assert (again["data"]["expected"], again["data"]["got"]) == ("1", "0")


@dataclass
class BadEvent:
    """A change to a good event, and the reason, place and expectation that it is refused with."""

    name: str
    change: dict[str, Any]
    where: str
    reason: str = "bad_input"
    expected: str = ""
    got: str = ""


BAD_EVENTS = [
    BadEvent(
        "an unknown kind", {"kind": "payment.steal"}, "$.events[0].kind", expected="certificate.apply", got="steal"
    ),
    BadEvent("a kind as a number", {"kind": 32}, "$.events[0].kind", "invalid_params", "str", "int"),
    BadEvent("an unknown schema", {"schema": 9}, "$.events[0].schema", expected="1", got="9"),
    BadEvent("a body that is a list", {"body": []}, "$.events[0].body", "invalid_params", "object", "array"),
    BadEvent("a body without fields", {"body": {}}, "$.events[0].payment.statement", expected="side"),
    BadEvent(
        "a reference in capitals", {"reference": "AB" * 16}, "$.events[0].reference", "invalid_params", "32 lower-case"
    ),
    BadEvent(
        "a short reference", {"reference": "00"}, "$.events[0].reference", "invalid_params", "32 lower-case", "00"
    ),
    BadEvent("an expiry in words", {"expires": "tomorrow"}, "$.events[0].expires", expected="2026-", got="tomorrow"),
    BadEvent("an expiry without zone", {"expires": "2026-01-01T00:00:00"}, "$.events[0].expires"),
    BadEvent("an unknown key", {"colour": 1}, "$.events[0]", "invalid_params"),
    BadEvent("another member", {"member": "bank-b"}, "$.events[0]", "invalid_params"),
]


@pytest.mark.parametrize("bad", BAD_EVENTS, ids=lambda bad: bad.name)
async def test_a_bad_event_is_refused_by_its_place_and_nothing_of_the_call_is_taken(
    client, node, token: str, bad: BadEvent
) -> None:
    events = [as_json(node, 0) | bad.change, as_json(node, 1)]
    error = await client.error("ledger_submit", {"events": events}, token=token)
    data = error["data"]
    assert (error["code"], data["reason"]) == (-32602, bad.reason)
    assert data["where"].startswith(bad.where)
    assert bad.expected in data.get("expected", "")
    assert bad.got in data.get("got", "")
    assert node.chain.height == 0
    assert (await client.call("ledger_submit", {"events": [as_json(node, 1)]}, token=token))["as_of"] == 1


BAD_FIELDS = [
    ("amount", 12.5, "text"),
    ("amount", "12.345", ""),
    ("amount", "-1", ""),
    ("amount", "1e3", ""),
    ("side", "friend", "debtor"),
    ("salt", "zz", "hex"),
    ("agents", {}, "list"),
    ("tokens", [], ""),
    ("settlement_date", "2026-02-30", "YYYY-MM-DD"),
]


@pytest.mark.parametrize(("field", "value", "expected"), BAD_FIELDS)
async def test_a_bad_field_of_a_body_is_named(client, node, token: str, field: str, value: Any, expected: str) -> None:
    event = as_json(node)
    event["body"][field] = value
    answer = await client.answer("ledger_submit", {"events": [event]}, token=token)
    if field == "tokens":  # an empty list and no tokens are the same
        assert "result" in answer
        return
    error = answer["error"]
    assert (error["code"], error["data"]["where"].startswith("$.events[0]")) == (-32602, True)
    assert expected in error["data"].get("expected", "")
    assert node.chain.height == 0


def tampered(batch: bytes, place: int) -> bytes:
    return batch[:place] + bytes([batch[place] ^ 1]) + batch[place + 1 :]


@pytest.mark.parametrize(
    ("spoil", "code", "reasons"),
    [
        (lambda batch: b"", -32602, {"invalid_params"}),
        (lambda batch: batch[:-1], -32602, {"bad_encoding"}),
        (lambda batch: batch + b"\0", -32602, {"bad_encoding"}),
        (lambda batch: tampered(batch, len(batch) - 10), -32602, {"bad_root", "bad_encoding"}),
        (lambda batch: tampered(batch, 80), -32602, {"foreign_chain", "bad_encoding", "bad_signature"}),
        (lambda batch: b"\xc1" * 100, -32602, {"bad_encoding"}),
    ],
    ids=["empty", "cut", "longer", "event changed", "header changed", "rubbish"],
)
async def test_a_bad_batch_is_refused_whole(client, node, token: str, spoil: Any, code: int, reasons: set[str]) -> None:
    batch = base64.b64encode(spoil(node.batch([node.event(1)]))).decode()
    error = await client.error("ledger_submitBatch", [batch], token=token)
    assert error["code"] == code
    assert error["data"]["reason"] in reasons
    assert node.chain.height == 0


async def test_a_batch_of_a_wrong_signature_is_refused(client, node, token: str) -> None:
    from ledger.batches import BATCH_SIZE_MAX, Batch

    batch = decode(Batch, node.batch([node.event(1)]), size_max=BATCH_SIZE_MAX)
    forged = encode(Batch(batch.header, bytes(64), batch.events))
    error = await client.error("ledger_submitBatch", [base64.b64encode(forged).decode()], token=token)
    assert (error["code"], error["data"]["reason"]) == (-32602, "bad_signature")


@pytest.mark.parametrize("text", ["A", "AAA", "====", "AA==AA==", "AAAA\n", "A-__"])
async def test_what_is_not_base64_is_no_batch(client, token: str, text: str) -> None:
    error = await client.error("ledger_submitBatch", [text], token=token)
    assert (error["code"], error["data"]["where"]) == (-32602, "$.batch")


async def test_more_events_than_a_batch_holds_are_refused(client, node, token: str) -> None:
    events = [as_json(node)] * (BATCH_EVENTS_MAX + 1)
    error = await client.error("ledger_submit", {"events": events}, token=token)
    assert (error["code"], error["data"]["where"], error["data"]["expected"]) == (
        -32602,
        "$.events",
        f"array of length <= {BATCH_EVENTS_MAX}",
    )
    error = await client.error("ledger_submit", {"events": []}, token=token)
    assert error["data"]["expected"] == "array of length >= 1"


async def test_a_full_gateway_says_when_to_come_back(client, node, token: str) -> None:
    node.refuse_next = RpcError(
        Code.LIMIT_EXCEEDED, "pool_full", "too many events are waiting", retryable=True, retry_after_ms=250
    )
    error = await client.error("ledger_submit", {"events": [as_json(node)]}, token=token)
    assert (error["code"], error["data"]["retryable"], error["data"]["retry_after_ms"]) == (-32005, True, 250)


@pytest.mark.parametrize("params", [{"batch": "AAAA"}, {"events": [{"kind": "no.such.kind", "body": {}}]}])
async def test_a_full_gateway_is_asked_before_the_events_are_looked_at(client, node, token: str, params) -> None:
    node.full = RpcError(Code.LIMIT_EXCEEDED, "gateway_full", "too much waits", retryable=True, retry_after_ms=250)
    method = "ledger_submitBatch" if "batch" in params else "ledger_submit"
    error = await client.error(method, params, token=token)
    assert (error["code"], error["data"]["reason"]) == (-32005, "gateway_full")
    node.full = None
    assert (await client.error(method, params, token=token))["code"] == -32602


async def test_a_refused_event_of_several_is_told_beside_the_others(client, node, token: str) -> None:
    expired = as_json(node, 1) | {"expires": "2025-01-01T00:00:00Z"}
    answer = await client.call("ledger_submit", {"events": [as_json(node, 0), expired]}, token=token)
    assert [event["outcome"]["applied"] for event in answer["events"]] == [True, False]
    assert answer["events"][1]["outcome"]["rule"] == "expired"


def test_events_that_were_applied_are_answered_as_all_others_are() -> None:
    same = Outcome(APPLIED.code, APPLIED.rule, APPLIED.detail)
    broken = Outcome(1, "expired", "at noon")
    results = [
        SubmitResult(Hash(bytes([index] * 32)), SubmitStatus.COMMITTED, outcome, Height(9), index)
        for index, outcome in enumerate([APPLIED, same, broken])
    ]
    refusal = Refusal("number_used", "taken", retryable=True)
    results.append(SubmitResult(Hash(bytes(32)), SubmitStatus.REFUSED, refusal=refusal))
    first, second, third, last = (json.loads(jsonrpc.encode(row)) for row in submitted(results))
    applied = {"applied": True, "rule": None, "detail": None}
    place = {
        "status": "Committed",
        "outcome": applied,
        "height": 9,
        "reason": None,
        "message": None,
        "retryable": False,
    }
    assert first == {"id": "00" * 32, "index": 0, **place}
    assert second == {"id": "01" * 32, "index": 1, **place}
    assert third["outcome"] == {"applied": False, "rule": "expired", "detail": "at noon"}
    told = {"outcome": None, "height": None, "index": None, "reason": "number_used", "message": "taken"}
    assert last == {"id": "00" * 32, "status": "Refused", "retryable": True, **told}


class Messages:
    """The port of messages, which gives events of the node and notes what it was asked."""

    def __init__(self, node: Any) -> None:
        self.asked: list[AskedMessage] = []
        self.refused: RpcError | None = None
        self._node = node

    async def read(self, asked: AskedMessage) -> ReadMessage:
        self.asked.append(asked)
        if self.refused is not None:
            raise self.refused
        made = [check_event(self._node.event(number))[0] for number in range(2)]
        events = [NewEvent(each.kind, each.schema, each.body, each.reference, each.expires_ms) for each in made]
        left_out = [RefusedPart("payload: message 3", "bad_message", "too bad")]
        found = [MessageEvent("payload: message 1", "debtor", one, []) for one in events]
        return ReadMessage("iso20022", found, left_out, 1)


@pytest.fixture
def messages(node, services) -> Messages:
    found = Messages(node)
    object.__setattr__(services, "messages", found)
    return found


async def test_a_payload_is_submitted_as_the_events_that_it_gives(client, node, messages, token: str) -> None:
    params = {"payload": "<Document/>", "format": "iso20022", "skip_bad": True}
    ids = [check_event(node.event(number))[1].hex() for number in range(2)]
    answer = await client.call("ledger_submit", params, token=token)
    assert messages.asked == [AskedMessage("<Document/>", "text", "iso20022", True, False)]
    assert [event["id"] for event in answer["events"]] == ids
    assert [event["status"] for event in answer["events"]] == ["Committed"] * 2
    assert answer["payload"] == {
        "format": "iso20022",
        "places": [{"where": "payload: message 1", "side": "debtor", "differs": []}] * 2,
        "left_out": [{"where": "payload: message 3", "reason": "bad_message", "message": "too bad"}],
        "left_out_count": 1,
    }
    assert "payload" not in await client.call("ledger_submit", {"events": [as_json(node)]}, token=token)


async def test_a_payload_that_is_refused_is_refused_by_its_reason(client, node, messages, token: str) -> None:
    messages.refused = RpcError(Code.INVALID_PARAMS, "not_a_party", "no party", where="payload: message 1")
    error = await client.error("ledger_submit", {"payload": "x"}, token=token)
    assert (error["code"], error["data"]["reason"], error["data"]["where"]) == (
        -32602,
        "not_a_party",
        "payload: message 1",
    )
    assert node.chain.height == 0


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"payload": "x", "events": [{"kind": "governance.vote", "body": {}}]},
        {"payload": ""},
        {"payload": "x", "format": "mt103"},
        {"payload": "x", "encoding": "hex"},
        {"payload": 7},
    ],
)
async def test_either_events_or_a_sound_payload_are_submitted(client, messages, token: str, params) -> None:
    error = await client.error("ledger_submit", params, token=token)
    assert error["code"] == -32602
    assert messages.asked == []


async def test_a_node_that_reads_no_messages_says_so(client, token: str) -> None:
    error = await client.error("ledger_submit", {"payload": "x"}, token=token)
    assert (error["code"], error["data"]["reason"], error["data"]["retryable"]) == (-32002, "no_formats", False)


async def test_nothing_is_read_where_there_is_no_room(client, node, messages, token: str) -> None:
    node.full = RpcError(Code.LIMIT_EXCEEDED, "gateway_full", "full")
    error = await client.error("ledger_submit", {"payload": "x"}, token=token)
    assert error["code"] == -32005
    assert messages.asked == []


async def test_a_payload_that_is_too_long_is_refused_by_its_length_alone(client, messages, token: str) -> None:
    payload = "6222021234567890" + "x" * PAYLOAD_CHARACTERS_MAX
    error = await client.error("ledger_submit", {"payload": payload}, token=token)
    assert (error["code"], error["data"]["got"]) == (-32602, f"{len(payload)} characters")
    assert "6222021234567890" not in str(error)
    assert messages.asked == []
