"""JSON-RPC over WebSocket: the same answers and refusals as by POST, many requests at a time, and every way to end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType, WSServerHandshakeError

from rpc import websocket as websocket_module
from rpc.errors import Code, RpcError
from rpc.methods.catalogue import METHODS
from rpc.server import RpcServer
from rpc.websocket import WEBSOCKET_PATH, text_frame_head

READ = {"jsonrpc": "2.0", "id": 7, "method": "net_status"}
PATIENCE_S = 10

Json = Any  # an answer's JSON


def call(call_id: object, method: str = "net_status", **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}


class Talk:
    """A client's side of one connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def ask(self, request: object) -> Json:
        await self.say(request)
        return await self.hear()

    async def say(self, request: object) -> None:
        await self.socket.send_str(request if isinstance(request, str) else json.dumps(request))

    async def hear(self) -> Json:
        return json.loads(await self.socket.receive_str(timeout=PATIENCE_S))

    async def end(self) -> tuple[int | None, str]:
        """Return the code and the reason with which the node closes."""
        message = await self.socket.receive(timeout=PATIENCE_S)
        assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING), message
        return self.socket.close_code, message.extra or ""


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def listen(settings, services, observed) -> AsyncIterator[Callable[..., Any]]:
    """Start listeners with other settings; they are stopped at the end."""
    servers: list[RpcServer] = []

    async def start(**changes: object) -> RpcServer:
        server = RpcServer(replace(settings, **changes), services, METHODS, observed)
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture
def connect(session, token) -> Callable[..., Any]:
    """Open a connection to a listener, as a rule with the token."""

    async def opened(server: RpcServer, *, with_token: bool = True, **more: Any) -> Talk:
        headers = {"Authorization": f"Bearer {token}"} if with_token else {}
        headers.update(more.pop("headers", {}))
        return Talk(await session.ws_connect(server.address + WEBSOCKET_PATH, headers=headers, **more))

    return opened


async def becomes(true: Callable[[], bool]) -> None:
    """Return once something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110  the state of a listener has no event
            await asyncio.sleep(0.001)


class Held:
    """A gateway whose submissions wait until they are let go."""

    def __init__(self, services) -> None:
        self.waiting = 0
        self.ended = 0
        self.release = asyncio.Event()
        self._submit = services.gateway.submit
        services.gateway.submit = self.submit

    async def submit(self, events, wait, timeout_ms):
        self.waiting += 1
        await self.release.wait()
        self.waiting -= 1
        self.ended += 1
        return await self._submit(events, wait, timeout_ms)

    async def until(self, waiting: int) -> None:
        await becomes(lambda: self.waiting >= waiting)


def submission(call_id: object, number: int) -> dict[str, object]:
    event = {
        "kind": "certificate.apply",
        "reference": f"{number:032x}",
        "body": {
            "application": f"bank-a.{number}",
            "holder_name": "Bank A",
            "product": {"name": "Reader", "model": "R", "version": "1"},
            "category": 9,
            "evidence": [
                {
                    "kind": "technical_documents",
                    "digest": "ab" * 32,
                    "custodian": "bank-a",
                    "size_bytes": 1,
                }
            ],
        },
    }
    return call(call_id, "ledger_submit", events=[event])


# --- answers


async def test_a_call_is_answered_under_its_id_as_by_post(listen, connect, session) -> None:
    server = await listen()
    talk = await connect(server)
    answer = await talk.ask(READ)
    async with session.post(server.address, json=READ) as response:
        assert answer == await response.json()
    assert answer["id"] == 7


async def test_one_connection_carries_one_request_after_another_and_batches(listen, connect, observed) -> None:
    talk = await connect(await listen())
    for number in range(20):
        assert (await talk.ask(call(number)))["id"] == number
    batch = await talk.ask([call("a"), {"jsonrpc": "2.0", "method": "net_status"}, call("b", "no_such")])
    assert [item["id"] for item in batch] == ["a", "b"]
    assert batch[1]["error"]["code"] == -32601
    assert observed.calls.count(("net_status", 0)) == 22


async def test_a_notification_is_done_and_not_answered(listen, connect, observed) -> None:
    talk = await connect(await listen())
    await talk.say({"jsonrpc": "2.0", "method": "ledger_getCapabilities"})
    assert (await talk.ask(READ))["id"] == 7
    assert ("ledger_getCapabilities", 0) in observed.calls


async def test_a_request_that_waits_holds_up_no_other(listen, connect, services) -> None:
    held = Held(services)
    talk = await connect(await listen())
    await talk.say(submission(1, 1))
    await held.until(1)
    assert (await talk.ask(call(2)))["id"] == 2
    held.release.set()
    answer = await talk.hear()
    assert (answer["id"], answer["result"]["events"][0]["status"]) == (1, "Committed")


async def test_many_requests_in_flight_are_all_answered_once(listen, connect) -> None:
    talk = await connect(await listen())
    for number in range(300):
        await talk.say(call(number))
    assert sorted([(await talk.hear())["id"] for _ in range(300)]) == list(range(300))


async def test_more_requests_than_may_be_under_way_wait_unread_and_are_answered_later(
    listen, connect, services
) -> None:
    held = Held(services)
    talk = await connect(await listen(websocket_requests_max=3))
    for number in range(8):
        await talk.say(submission(number, number))
    await held.until(3)
    await asyncio.sleep(0.05)
    assert held.waiting == 3
    held.release.set()
    answers = [await talk.hear() for _ in range(8)]
    assert sorted(answer["id"] for answer in answers) == list(range(8))
    assert all(answer["result"]["events"][0]["status"] == "Committed" for answer in answers)


async def test_answers_of_all_lengths_arrive_whole(listen, connect, node) -> None:
    node.commit_events(100)
    talk = await connect(await listen())
    for limit in (1, 2, 30, 100):
        answer = await talk.ask(call(1, "ledger_getBlockEvents", height=1, limit=limit))
        assert len(answer["result"]["events"]) == limit
    assert [text_frame_head(size)[1] for size in (0, 125, 126, 65_535, 65_536)] == [0, 125, 126, 126, 127]


async def test_a_message_in_fragments_is_one_request(listen, connect) -> None:
    server = await listen()
    async with raw(server) as (reader, writer):
        text = json.dumps(READ).encode()
        writer.write(
            frame(text[:5], opcode=1, fin=False) + frame(b"", opcode=9) + frame(text[5:20], opcode=0, fin=False)
        )
        writer.write(frame(text[20:], opcode=0))
        opcodes = {}
        for _ in range(2):
            opcode, payload = await read_frame(reader)
            opcodes[opcode] = payload
        assert opcodes[10] == b"", "the ping in between is answered"
        assert json.loads(opcodes[1])["id"] == 7


# --- rights


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic YTpi"}, 401),
        ({"Sec-WebSocket-Protocol": "graphql-ws"}, 400),
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Upgrade": "h2c"}, 426),
    ],
    ids=lambda value: str(value),
)
async def test_who_may_not_call_by_post_may_not_connect(listen, connect, headers: dict[str, str], status: int) -> None:
    server = await listen()
    with pytest.raises(WSServerHandshakeError) as refused:
        await connect(server, with_token=False, headers=headers)
    assert refused.value.status == status
    assert (await (await connect(server)).ask(READ))["id"] == 7


async def test_a_plain_get_of_the_path_is_told_what_it_is(listen, session) -> None:
    server = await listen()
    async with session.get(server.address + WEBSOCKET_PATH) as response:
        assert (response.status, response.headers["Upgrade"]) == (426, "websocket")
        assert (await response.json())["error"]["data"]["reason"] == "not_a_websocket"
    async with session.post(server.address + WEBSOCKET_PATH, json=READ) as response:
        assert response.status == 405


async def test_a_page_of_an_allowed_origin_may_connect(listen, connect) -> None:
    talk = await connect(await listen(), headers={"Origin": "https://desk.bank-a.example"})
    assert (await talk.ask(READ))["id"] == 7


async def test_submitting_needs_the_token_in_the_upgrade(listen, connect) -> None:
    server = await listen()
    talk = await connect(server, with_token=False)
    answer = await talk.ask(submission(1, 1))
    assert (answer["id"], answer["error"]["data"]["reason"]) == (1, "token_required")
    answer = await (await connect(server)).ask(submission(2, 2))
    assert answer["result"]["events"][0]["status"] == "Committed"


async def test_every_answer_names_a_trace_of_its_own(listen, connect) -> None:
    talk = await connect(await listen())
    traces = {(await talk.ask(call(number, "no_such")))["error"]["data"]["trace_id"] for number in range(5)}
    assert len(traces) == 5
    assert all(len(trace) == 32 for trace in traces)
    assert talk.socket._response.headers["X-Trace-Id"][:24] in {trace[:24] for trace in traces}
    assert talk.socket._response.headers["X-Frame-Options"] == "DENY"


# --- bad input


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("", -32700, "parse_error"),
        ("not json", -32700, "parse_error"),
        ('{"a":1,"a":2}', -32700, "duplicate_key"),
        ("[" * 100 + "]" * 100, -32700, "nested_too_deeply"),
        ("[]", -32600, "invalid_request"),
        ("7", -32600, "invalid_request"),
        (json.dumps([READ] * 101), -32005, "too_many_calls"),
    ],
)
async def test_what_is_no_request_is_refused_and_the_connection_goes_on(
    listen, connect, text: str, code: int, reason: str
) -> None:
    talk = await connect(await listen())
    answer = await talk.ask(text)
    found = answer["error"] if isinstance(answer, dict) else answer[0]["error"]
    assert (found["code"], found["data"]["reason"]) == (code, reason)
    assert (await talk.ask(READ))["id"] == 7


@pytest.mark.parametrize("with_token", [True, False])
async def test_a_message_above_the_limit_closes_with_1009(listen, connect, with_token: bool) -> None:
    server = await listen(body_bytes_max=100_000)
    talk = await connect(server, with_token=with_token)
    body = json.dumps(READ)
    assert (await talk.ask(body + " " * (100_000 - len(body))))["id"] == 7
    await talk.say(body + " " * (100_001 - len(body)))
    code, reason = await talk.end()
    assert (code, reason.partition(":")[0]) == (WSCloseCode.MESSAGE_TOO_BIG, "message_too_large")
    assert (await (await connect(server)).ask(READ))["id"] == 7


async def test_fragments_above_the_limit_together_close_with_1009(listen) -> None:
    server = await listen(body_bytes_max=100_000)
    async with raw(server) as (reader, writer):
        writer.write(frame(b" " * 60_000, opcode=1, fin=False))
        writer.write(frame(b" " * 60_000, opcode=0, fin=False))
        opcode, payload = await read_frame(reader)
        assert (opcode, int.from_bytes(payload[:2], "big")) == (8, WSCloseCode.MESSAGE_TOO_BIG)


async def test_who_may_not_submit_has_nothing_large_to_say(listen, connect) -> None:
    server = await listen()
    large = json.dumps(READ) + " " * (1 << 20)
    talk = await connect(server, with_token=False)
    await talk.say(large)
    assert (await talk.end())[0] == WSCloseCode.MESSAGE_TOO_BIG
    assert (await (await connect(server, max_msg_size=0)).ask(large))["id"] == 7


async def test_a_binary_message_is_refused_by_name(listen, connect) -> None:
    talk = await connect(await listen())
    await talk.socket.send_bytes(json.dumps(READ).encode())
    code, reason = await talk.end()
    assert (code, reason.partition(":")[0]) == (WSCloseCode.UNSUPPORTED_DATA, "binary_message")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("not utf-8", WSCloseCode.INVALID_TEXT),
        ("reserved opcode", WSCloseCode.PROTOCOL_ERROR),
        ("continuation of nothing", WSCloseCode.PROTOCOL_ERROR),
        ("reserved bits", WSCloseCode.PROTOCOL_ERROR),
        ("a long ping", WSCloseCode.PROTOCOL_ERROR),
        ("text within text", WSCloseCode.PROTOCOL_ERROR),
    ],
)
async def test_bad_frames_close_the_connection_by_name(listen, sent: str, code: int) -> None:
    frames = {
        "not utf-8": frame(b'{"jsonrpc":"\xff"}', opcode=1),
        "reserved opcode": frame(b"", opcode=3),
        "continuation of nothing": frame(b"x", opcode=0),
        "reserved bits": bytes((0xC1, 0x80)) + bytes(4),
        "a long ping": frame(b"x" * 126, opcode=9),
        "text within text": frame(b"x", opcode=1, fin=False) + frame(b"y", opcode=1),
    }
    server = await listen()
    async with raw(server) as (reader, writer):
        writer.write(frames[sent])
        opcode, payload = await read_frame(reader)
        assert (opcode, int.from_bytes(payload[:2], "big")) == (8, code)
        assert b":" in payload, "the reason has a name"


# --- limits


async def test_calls_above_the_rate_are_refused_under_their_ids(listen, connect) -> None:
    talk = await connect(await listen(requests_per_second_max=5))  # the upgrade is the first
    answers = [await talk.ask(call(number)) for number in range(8)]
    assert [answer["id"] for answer in answers] == list(range(8))
    refused = [answer["error"] for answer in answers if "error" in answer]
    assert refused
    assert all((error["code"], error["data"]["reason"]) == (-32005, "rate_limited") for error in refused)
    assert all(error["data"]["retry_after_ms"] > 0 for error in refused)


async def test_requests_of_all_connections_together_are_bounded(listen, connect, services) -> None:
    held = Held(services)
    server = await listen(requests_max=2)
    first, second = await connect(server), await connect(server)
    await first.say(submission(1, 1))
    await second.say(submission(2, 2))
    await held.until(2)
    answer = await first.ask(call(3))
    assert (answer["id"], answer["error"]["data"]["reason"]) == (3, "busy")
    held.release.set()
    assert (await first.hear())["id"] == 1
    assert (await second.hear())["id"] == 2
    assert (await second.ask(call(4)))["result"]["node"] == "node-bank-a"


async def test_an_open_connection_is_no_request_under_way(listen, connect, session) -> None:
    server = await listen(requests_max=1)
    talks = [await connect(server) for _ in range(3)]
    async with session.post(server.address, json=READ) as response:
        assert response.status == 200
    for talk in talks:
        assert (await talk.ask(READ))["id"] == 7


async def test_a_connection_above_the_limit_is_refused_by_name(listen, connect) -> None:
    server = await listen(websockets_max=1)
    first = await connect(server)
    with pytest.raises(WSServerHandshakeError) as refused:
        await connect(server)
    assert refused.value.status == 503
    await first.socket.close()
    assert (await (await connect(server)).ask(READ))["id"] == 7


async def test_a_large_submission_to_a_full_gateway_is_refused_unparsed_under_its_id(
    listen, connect, node, monkeypatch
) -> None:
    server = await listen()
    talk = await connect(server)
    parsed: list[bytes] = []
    parse = server._dispatcher.parse
    monkeypatch.setattr(server._dispatcher, "parse", lambda body: parsed.append(body) or parse(body))
    node.full = RpcError(Code.LIMIT_EXCEEDED, "gateway_full", "too much waits", retryable=True, retry_after_ms=1_500)
    answer = await talk.ask(json.dumps(READ) + " " * 70_000)
    assert (answer["id"], answer.get("error", {}).get("data", {}).get("reason")) == (7, "gateway_full")
    assert parsed == []


async def test_who_does_not_read_is_cut_off(listen, monkeypatch) -> None:
    monkeypatch.setattr(websocket_module, "SLOW_READER_S", 0.2)
    server = await listen()
    async with raw(server, with_token=True) as (reader, writer):
        reader._transport.pause_reading()
        assert len(server._websockets._open) == 1
        writer.write(frame(json.dumps([call(1, "rpc.discover")] * 100).encode(), opcode=1))
        await becomes(lambda: not server._websockets._open)


async def test_no_more_waits_for_a_reader_than_may(listen, monkeypatch) -> None:
    monkeypatch.setattr(websocket_module, "UNREAD_BYTES_MAX", 100_000)
    server = await listen()
    async with raw(server, with_token=True) as (reader, writer):
        reader._transport.pause_reading()
        assert len(server._websockets._open) == 1
        writer.write(frame(json.dumps([call(1, "rpc.discover")] * 100).encode(), opcode=1))
        await becomes(lambda: not server._websockets._open)


async def test_a_silent_connection_is_asked_for_a_word_and_closed_without_one(listen, services, monkeypatch) -> None:
    monkeypatch.setattr(websocket_module, "PING_S", 0.1)
    monkeypatch.setattr(websocket_module, "WAIT_GRACE_S", 0.0)
    object.__setattr__(services, "wait_timeout_ms", 1)
    server = await listen()
    async with raw(server) as (reader, _):
        opcode, _ = await read_frame(reader)
        assert opcode == 9
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""


async def test_an_upgrade_counts_against_the_rate(listen, connect) -> None:
    server = await listen(requests_per_second_max=1)
    await connect(server)
    with pytest.raises(WSServerHandshakeError) as refused:
        await connect(server)
    assert refused.value.status == 429


# --- ends


async def test_what_was_asked_is_done_though_the_caller_leaves(listen, connect, services) -> None:
    held = Held(services)
    server = await listen()
    talk = await connect(server)
    await talk.say(submission(1, 1))
    await held.until(1)
    await talk.socket.close()
    assert not server._websockets._open
    held.release.set()
    await becomes(lambda: not server._websockets.tasks)
    assert held.ended == 1
    assert (await (await connect(server)).ask(READ))["id"] == 7


async def test_a_connection_that_breaks_with_requests_outstanding_frees_their_places(listen, connect, services) -> None:
    held = Held(services)
    server = await listen(requests_max=1)
    talk = await connect(server)
    await talk.say(submission(1, 1))
    await held.until(1)
    talk.socket._response.connection.transport.abort()
    held.release.set()
    other = await connect(server)
    await becomes(lambda: not server._websockets.tasks)
    assert (await other.ask(READ))["id"] == 7


async def test_stopping_answers_what_is_under_way_and_then_closes_with_1001(listen, connect, services) -> None:
    held = Held(services)
    server = await listen()
    busy, idle = await connect(server), await connect(server)
    await busy.say(submission(1, 1))
    await held.until(1)
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0.1)
    assert not stopping.done()
    held.release.set()
    assert (await busy.hear())["id"] == 1
    for talk in (busy, idle):
        code, reason = await talk.end()
        assert (code, reason.partition(":")[0]) == (WSCloseCode.GOING_AWAY, "going_away")
    await asyncio.wait_for(stopping, PATIENCE_S)


async def test_stopping_waits_for_no_request_for_ever(listen, connect, services, monkeypatch) -> None:
    monkeypatch.setattr(websocket_module, "ENDING_TIMEOUT_S", 0.05)
    held = Held(services)
    server = await listen()
    talk = await connect(server)
    await talk.say(submission(1, 1))
    await held.until(1)
    stopping = asyncio.create_task(server.stop())
    assert (await talk.end())[0] == WSCloseCode.GOING_AWAY
    await asyncio.wait_for(stopping, PATIENCE_S)


# --- frames by hand


class raw:  # noqa: N801  read as a statement
    """A connection whose frames the test makes itself."""

    def __init__(self, server: RpcServer, *, with_token: bool = False) -> None:
        self.url = urlsplit(server.address)
        self.extra = "Authorization: Bearer a-token-of-this-test\r\n" if with_token else ""

    async def __aenter__(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, self.writer = await asyncio.open_connection(self.url.hostname, self.url.port)
        head = (
            "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{self.extra}\r\n"
        )
        self.writer.write(head.encode())
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        return reader, self.writer

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()


def frame(payload: bytes, *, opcode: int, fin: bool = True) -> bytes:
    """Return a client's frame under a mask of zeros."""
    size = len(payload)
    head = text_frame_head(size)
    return bytes((fin << 7 | opcode, head[1] | 0x80)) + head[2:] + bytes(4) + payload


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the opcode and payload of a server's frame."""
    async with asyncio.timeout(PATIENCE_S):
        first, size = await reader.readexactly(2)
        assert first & 0x80, "whole messages only"
        assert not size & 0x80, "a server masks nothing"
        if size >= 126:
            size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
        return first & 0x0F, await reader.readexactly(size)
