"""Bad requests over the wire to a running node: each gets a typed error that says expected and got, and no trace."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from chainnode.client import CallRefused
from ledger.batches import Batch, build_batch
from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import Apply, Evidence, Product
from ledger.events import Event, event_id
from ledger.payments import PAYMENT_STATEMENT
from ledger.receipts import verify
from ledger.registry import KINDS_BY_NAME
from primitives.encoding import decode, encode
from primitives.ids import ZERO_HASH, Hash
from primitives.keys import SigningKey
from tests.e2e.network_fixtures import NAMES, Json, Network, until
from tests.e2e.traffic_fixtures import TIME_MS, Source, id_of, payment, row, statement, submit

pytestmark = pytest.mark.e2e

NODE = "bank-a"
MIB = 1 << 20
TRACES = re.compile(rb'Traceback|File \\?"|\.py|line \d+, in|0x[0-9a-f]{8,}', re.ASCII)


@dataclass
class World:
    net: Network
    source: Source

    def events(self, count: int = 2) -> list[bytes]:
        return [payment(self.source.key.member) for _ in range(count)]

    def batch(self, **changes: Any) -> bytes:
        """Return the source's next batch without taking its number, with some of it changed."""
        fields: dict[str, Any] = {
            "events": self.events(),
            "chain_id": self.source.chain_id,
            "member": self.source.key.member,
            "key": self.source.key.signing_key,
            "number": self.source.number,
            "previous": self.source.previous,
            "time_ms": TIME_MS,
        }
        fields |= changes
        return build_batch(fields.pop("events"), **fields)


@pytest.fixture(scope="module")
def world(net: Network, sources: dict[str, Source]) -> World:
    source = sources["bank-b-bank"]
    submit(net, NODE, source.payments(1))
    return World(net, source)


def check_error(body: bytes, code: int, reason: str) -> Json:
    """Return the error's data after the checks that hold for all errors."""
    assert not TRACES.search(body), body
    answer = json.loads(body)
    answer = answer[0] if isinstance(answer, list) else answer
    error = answer["error"]
    assert (error["code"], error["data"]["reason"]) == (code, reason), error
    assert error["message"]
    assert "\n" not in error["message"]
    assert re.fullmatch("[0-9a-f]{32}", error["data"]["trace_id"])
    assert isinstance(error["data"]["retryable"], bool)
    data: Json = error["data"]
    return data


def check_up(net: Network) -> None:
    """The node answers, and its peers are there, be it again: tests before may have ended one for a time."""
    assert net.runs(NODE)
    until(lambda: net.status(NODE)["peers"] >= len(NAMES) - 1)


# --- requests

CONTENT = {"Content-Type": "application/json"}


def call(method: str, params: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


STATUS = call("net_status", {})


@dataclass
class Case:
    body: bytes
    code: int
    reason: str
    http: int = 200
    headers: Json = field(default_factory=lambda: dict(CONTENT))
    token: bool = False
    told: bool = True  # expected and got


REQUESTS: dict[str, Case] = {
    "JSON that breaks off": Case(b'{"jsonrpc": "2.0", "id": 1, "method"', -32700, "parse_error"),
    "no JSON at all": Case(b"\xff\xfe\x00", -32700, "not_utf8"),
    "nothing": Case(b"", -32700, "parse_error"),
    "JSON nested without end": Case(b"[" * 100_000, -32700, "nested_too_deeply"),
    "a number for a call": Case(b"17", -32600, "invalid_request"),
    "an empty batch": Case(b"[]", -32600, "invalid_request"),
    "too many calls": Case(b"[" + b",".join([STATUS] * 101) + b"]", -32005, "too_many_calls"),
    "another version": Case(STATUS.replace(b'"2.0"', b'"1.0"'), -32600, "invalid_request"),
    "a method that there is none of": Case(call("ledger_mint", {}), -32601, "method_not_found"),
    "text for a height": Case(call("ledger_getBlock", {"height": "high"}), -32602, "invalid_params"),
    "a negative height": Case(call("ledger_getBlock", {"height": -1}), -32602, "invalid_params"),
    "a fraction for a height": Case(call("ledger_getBlock", {"height": 1.5}), -32602, "invalid_params"),
    "an unknown parameter": Case(call("ledger_getBlock", {"hight": 1}), -32602, "invalid_params"),
    "an id in upper case": Case(call("ledger_getEvent", {"event_id": "AB" * 32}), -32602, "invalid_params"),
    "more than a page": Case(call("ledger_getBlocks", {"limit": 101}), -32602, "invalid_params"),
    "an event that there is none of": Case(
        call("ledger_getEvent", {"event_id": "ab" * 32}), -32001, "not_found", told=False
    ),
    "a body larger than a reader may send": Case(b" " * (MIB + 1), -32005, "body_too_large", 413),
    "a body larger than anybody may send": Case(b" " * (8 * MIB + 1), -32005, "body_too_large", 413, token=True),
    "another content type": Case(STATUS, -32600, "wrong_content_type", 415, {"Content-Type": "text/plain"}),
    "a foreign host": Case(STATUS, -32004, "foreign_host", 403, {**CONTENT, "Host": "evil.example"}),
    "a foreign origin": Case(STATUS, -32004, "foreign_origin", 403, {**CONTENT, "Origin": "https://evil.example"}),
    "a wrong token": Case(STATUS, -32004, "wrong_token", 401, {**CONTENT, "Authorization": "Bearer 0123"}),
    "events without a token": Case(call("ledger_submit", {"events": [row()]}), -32004, "token_required"),
    "a batch without a token": Case(call("ledger_submitBatch", {"batch": "AAAA"}), -32004, "token_required"),
    "no events": Case(call("ledger_submit", {"events": []}), -32602, "invalid_params", token=True),
    "an event of an unknown kind": Case(
        call("ledger_submit", {"events": [{"kind": "payment.promise", "body": {}}]}), -32602, "bad_input", token=True
    ),
    "an event without its fields": Case(
        call("ledger_submit", {"events": [{"kind": "payment.statement", "body": {}}]}), -32602, "bad_input", token=True
    ),
    "a fraction for an amount": Case(
        call("ledger_submit", {"events": [{**row(), "body": {**row()["body"], "amount": 1.5}}]}),
        -32602,
        "bad_input",
        token=True,
    ),
    "a batch that is no base64": Case(
        call("ledger_submitBatch", {"batch": "AAA*"}), -32602, "invalid_params", token=True
    ),
    "a batch of noise": Case(call("ledger_submitBatch", {"batch": "AAAA"}), -32602, "bad_encoding", token=True),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_refused_with(name: str, world: World) -> None:
    case = REQUESTS[name]
    headers = dict(case.headers)
    if case.token:
        headers["Authorization"] = f"Bearer {world.net.token(NODE)}"
    status, body = world.net.http(NODE, "POST", "/", case.body, headers)
    assert status == case.http, body
    data = check_error(body, case.code, case.reason)
    assert not case.told or {"expected", "got"} & set(data), data
    assert world.net.token(NODE).encode() not in body
    check_up(world.net)


# --- batches

STRANGER = SigningKey.generate(bytes(range(32)))


def resigned(raw: bytes, change: Callable[[Batch], Batch]) -> bytes:
    return encode(change(decode(Batch, raw, size_max=4 * MIB)))


BATCHES: dict[str, tuple[Callable[[World], bytes], int, str]] = {
    "a signature of nobody": (
        lambda world: resigned(world.batch(), lambda batch: Batch(batch.header, bytes(64), batch.events)),
        -32602,
        "bad_signature",
    ),
    "an event of another member": (lambda world: world.batch(events=[payment("bank-c")]), -32602, "foreign_event"),
    "a member that its key is not of": (
        lambda world: world.batch(member="bank-c", events=[payment("bank-c")]),
        -32602,
        "foreign_member",
    ),
    "a key that nobody registered": (lambda world: world.batch(key=STRANGER), -32602, "source_not_registered"),
    "another chain": (lambda world: world.batch(chain_id=Hash(bytes(32))), -32602, "foreign_chain"),
    "a number used twice": (
        lambda world: world.batch(number=0, previous=ZERO_HASH),
        -32003,
        "number_used",
    ),
    "a previous batch that there is none of": (
        lambda world: world.batch(previous=Hash(bytes([7] * 32))),
        -32003,
        "number_used",
    ),
    "another event than its root says": (
        lambda world: resigned(
            world.batch(), lambda batch: Batch(batch.header, batch.signature, (*batch.events[:1], world.events()[0]))
        ),
        -32602,
        "bad_root",
    ),
    "fewer events than its header says": (
        lambda world: resigned(world.batch(), lambda batch: Batch(batch.header, batch.signature, batch.events[:1])),
        -32602,
        "bad_count",
    ),
    "a cut end": (lambda world: world.batch()[:-1], -32602, "bad_encoding"),
    "a byte too many": (lambda world: world.batch() + b"\0", -32602, "bad_encoding"),
    "a longer spelling": (lambda world: b"\xdc\x00\x03" + world.batch()[1:], -32602, "bad_encoding"),
}


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_is_refused_with(name: str, world: World) -> None:
    build, code, reason = BATCHES[name]
    raw = build(world)
    body = call("ledger_submitBatch", {"batch": base64.b64encode(raw).decode(), "wait": "committed"})
    headers = {**CONTENT, "Authorization": f"Bearer {world.net.token(NODE)}"}
    status, answer = world.net.http(NODE, "POST", "/", body, headers)
    assert status == 200
    data = check_error(answer, code, reason)
    assert {"expected", "got"} & set(data), data
    check_up(world.net)


def test_a_refused_batch_takes_no_number(world: World) -> None:
    rows = submit(world.net, NODE, world.source.payments(1))
    assert rows[0]["status"] == "Committed"


def test_of_two_batches_of_one_number_at_two_nodes_one_is_committed_and_the_other_refused(world: World) -> None:
    batches = {"bank-c": world.batch(), "bank-d": world.batch()}
    ids = {node: id_of(decode(Batch, raw, size_max=MIB).events[0]) for node, raw in batches.items()}
    refused: dict[str, CallRefused] = {}
    for node, raw in batches.items():
        try:
            submit(world.net, node, raw, wait="none")
        except CallRefused as error:  # the other one was there first
            refused[node] = error
    assert {(error.code, error.slug) for error in refused.values()} <= {(-32003, "number_used")}

    def standing(node: str, asked: str) -> str:
        return str(world.net.call(node, "ledger_getStatus", event_id=ids[asked])["status"])

    winner = until(lambda: next((node for node in ids if standing(node, node) == "Committed"), None))
    world.net.check_all()
    (loser,) = set(ids) - {winner}
    assert {standing(node, winner) for node in NAMES} == {"Committed"}
    assert standing(loser, loser) == ("Unknown" if refused else "Refused")
    world.source.number, world.source.previous = world.source.number + 1, _hash_of(batches[winner])


def _hash_of(raw: bytes) -> Hash:
    return decode(Batch, raw, size_max=MIB).header.hash()


# --- events that are ordered and break a rule


def ordered(world: World, source: Source, *events: bytes) -> list[Json]:
    rows = submit(world.net, NODE, source.sign(list(events)))
    assert {item["status"] for item in rows} == {"Committed"}
    return rows


def check_rejected(world: World, rule: str, event: bytes, kind: int) -> None:
    """Fail unless every node says that the event was rejected by this rule, and a receipt proves it."""
    identity = event_id(event, kind).hex()
    world.net.check_all()
    for name in NAMES:
        found = world.net.call(name, "ledger_getStatus", event_id=identity)
        assert (found["status"], found["outcome"]["applied"], found["outcome"]["rule"]) == ("Committed", False, rule)
    receipt = until(lambda: world.net.call(NODE, "ledger_getProof", event_id=identity)["receipt"])
    verdict = verify(receipt, world.net.http("bank-d", "GET", "/policy")[1].decode())
    assert (verdict.applied, verdict.rule) == (False, rule)


def application(member: str, reference: bytes, serial: str, *, model: str = "M1") -> bytes:
    spec = KINDS_BY_NAME["certificate.apply"]
    documents = Evidence(EvidenceKind.TECHNICAL_DOCUMENTS, bytes(32), member, 1)
    body = Apply(f"{member}.{serial}", "Bank C", Product("Wallet", model, "1.0"), 1, (documents,))
    expires_ms = time.time_ns() // 1_000_000 + 3_600_000
    return encode(Event(member, reference, expires_ms, spec.kind, 1, encode(body)))


APPLY = KINDS_BY_NAME["certificate.apply"].kind


def test_an_expired_event_is_rejected_with_its_rule(world: World) -> None:
    event = payment(world.source.key.member, expires_ms=TIME_MS - 1)
    rows = ordered(world, world.source, event)
    assert rows[0]["outcome"]["rule"] == "expired"
    check_rejected(world, "expired", event, PAYMENT_STATEMENT)


def test_an_expired_event_is_refused_at_the_gateways_door_and_the_others_go_on(world: World) -> None:
    events = [{**row(), "expires": "2020-01-01T00:00:00Z"}, row()]
    refused, committed = world.net.call(NODE, "ledger_submit", events=events)["events"]
    assert refused["status"] == "Refused"
    assert "expired" in refused["message"]
    assert committed["status"] == "Committed"


def test_an_event_without_permission_is_rejected_with_its_rule(world: World, sources: dict[str, Source]) -> None:
    event = application("switch", bytes([9] * 16), "2026-1")
    ordered(world, sources["switch-switch"], event)
    check_rejected(world, "not_permitted", event, APPLY)


def test_the_same_application_again_is_a_duplicate_and_another_a_conflict(
    world: World, sources: dict[str, Source]
) -> None:
    source = sources["bank-c-bank"]
    event = application("bank-c", bytes([1] * 16), "2026-1")
    other = application("bank-c", bytes([1] * 16), "2026-2", model="M2")
    assert ordered(world, source, event)[0]["outcome"]["applied"]
    height = ordered(world, source, event, other)[1]["height"]
    world.net.check_all()  # the block with both need be neither the newest, nor theirs alone: evidence may have come
    events = world.net.call(NODE, "ledger_getBlockEvents", height=height)["events"]
    ids = {event_id(each, APPLY).hex() for each in (event, other)}
    assert [item["outcome"]["rule"] for item in events if item["id"] in ids] == ["duplicate", "conflict"]
    found = world.net.call(NODE, "ledger_getStatus", event_id=event_id(event, APPLY).hex())
    assert found["outcome"]["applied"], "the place that counts is the one where it was applied"
    check_rejected(world, "conflict", other, APPLY)


def test_the_same_submission_again_is_the_same_event(world: World) -> None:
    event = row(body=statement())
    first = world.net.call(NODE, "ledger_submit", events=[event, event])["events"]
    again = world.net.call(NODE, "ledger_submit", events=[event])["events"]
    assert {item["id"] for item in (*first, *again)} == {first[0]["id"]}
    assert {(item["height"], item["index"]) for item in (*first, *again)} == {(first[0]["height"], first[0]["index"])}
