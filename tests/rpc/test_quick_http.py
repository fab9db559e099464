"""The quick way in by HTTP: what takes it is answered as by the long one, and whatever is odd goes the long one."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import uvloop

from rpc import connections as connections_module
from rpc import server as server_module
from rpc.errors import RpcError
from rpc.methods.catalogue import METHODS
from rpc.quick_http import HEADS_KEPT, Heads
from rpc.rights import Rights, Role
from rpc.server import RpcServer

READ = b'{"jsonrpc":"2.0","id":7,"method":"net_status"}'
PATIENCE_S = 10
_TRACE = re.compile(rb"[0-9a-f]{32}")
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def request(
    body: bytes = READ,
    *,
    start: str = "POST / HTTP/1.1",
    length: str | None = None,
    more: str = "",
    host: str = "localhost",
) -> bytes:
    """Return a request that takes the quick way unless told to be odd."""
    head = f"{start}\r\nHost: {host}\r\nContent-Type: application/json\r\n{more}"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode("latin-1") + body


@dataclass
class Answered:
    """One response."""

    head: bytes
    body: bytes

    @property
    def status(self) -> int:
        return int(self.head[9:12])

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def headers(self) -> list[bytes]:
        """What is said besides time and trace, in the order of the alphabet."""
        lines = self.head.lower().split(b"\r\n")[1:]
        return sorted(line for line in lines if line and not line.startswith((b"date", b"x-trace-id")))


class Wire:
    """A client's bytes, and how many requests took the quick way."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, *parts: bytes) -> Answered:
        for part in parts:
            self.writer.write(part)
            await asyncio.sleep(0.01 if len(parts) > 1 else 0)
        return await self.hear()

    async def hear(self) -> Answered:
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            return Answered(head, await self.reader.readexactly(int(length[1]) if length else 0))


@asynccontextmanager
async def wire(server: RpcServer) -> AsyncIterator[Wire]:
    url = urlsplit(server.address)
    made = Wire(*await asyncio.open_connection(url.hostname, url.port))
    try:
        yield made
    finally:
        made.writer.close()


@pytest.fixture
async def listen(settings, services, observed) -> AsyncIterator[Callable[..., Any]]:
    servers: list[RpcServer] = []

    async def start(*, quick: bool = True, **changes: object) -> RpcServer:
        server = RpcServer(replace(settings, **changes), services, METHODS, observed)
        if not quick:
            server._heads.read = lambda head: None
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()


def took_the_quick_way(server: RpcServer) -> bool:
    return bool(server._connections._quick_open)


# --- the same answers


@pytest.mark.parametrize(
    "body",
    [
        READ,
        b"[" + READ + b"," + READ + b"]",
        b'{"jsonrpc":"2.0","method":"net_status"}',
        b'{"jsonrpc":"2.0","id":1,"method":"no_such"}',
        b"not json",
        b"[]",
        b"",
        b'{"a":1,"a":2}',
        b"\xff",
        b"[" + b",".join([READ] * 101) + b"]",
        b'{"jsonrpc":"2.0","id":1,"method":"ledger_submitBatch","params":["AAAA"]}',
    ],
    ids=lambda body: body[:30].decode("latin-1"),
)
@pytest.mark.parametrize("with_token", [True, False])
async def test_both_ways_answer_alike(listen, token, body: bytes, with_token: bool) -> None:
    more = f"Authorization: Bearer {token}\r\n" if with_token else ""
    found = []
    for quick in (True, False):
        server = await listen(quick=quick)
        async with wire(server) as client:
            answer = await client.ask(request(body, more=more))
            assert took_the_quick_way(server) is quick
            assert _TRACE.search(answer.head)
            assert b"\r\nDate: " in answer.head
            found.append((answer.status, answer.headers, _TRACE.sub(b"", answer.body)))
    assert found[0] == found[1]


ODD = {
    "another path": request(start="POST /x HTTP/1.1"),
    "another method": request(start="PUT / HTTP/1.1"),
    "an older version": request(start="POST / HTTP/1.0"),
    "an absolute path": request(start="POST http://localhost/ HTTP/1.1"),
    "a query": request(start="POST /?x HTTP/1.1"),
    "a foreign page": request(more="Origin: https://evil.example\r\n"),
    "an allowed page": request(more="Origin: https://desk.bank-a.example\r\n"),
    "a page elsewhere": request(more="Sec-Fetch-Site: cross-site\r\n"),
    "a foreign host": request(host="evil.example"),
    "two hosts": request(more="Host: localhost\r\n"),
    "a wrong token": request(more="Authorization: Bearer wrong\r\n"),
    "two tokens": request(more="Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"),
    "another scheme": request(more="Authorization: Basic YTpi\r\n"),
    "two types": request(more="Content-Type: text/plain\r\n"),
    "two lengths": request(more="Content-Length: 3\r\n"),
    "chunks": request(b"2e\r\n" + READ + b"\r\n0\r\n\r\n", more="Transfer-Encoding: chunked\r\n"),
    "an encoding": request(more="Content-Encoding: gzip\r\n"),
    "a trace of its own": request(more="traceparent: 00-" + "ab" * 16 + "-" + "cd" * 8 + "-01\r\n"),
    "a connection to close": request(more="Connection: close\r\n"),
    "an upgrade": request(more="Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    "a signed length": request(length="+46"),
    "a length with zeros": request(length="0046"),
    "a folded line": request(more="Accept: a\r\n b\r\n"),
    "a space before the colon": request(more="Accept : a\r\n"),
    "bytes beyond ASCII": request(more="User-Agent: b\xe4r\r\n"),
    "a line feed alone": request().replace(b"\r\n", b"\n"),
    "no type": request().replace(b"Content-Type", b"X-Type"),
    "another type": request().replace(b"application/json", b"text/plain"),
    "no host": request().replace(b"Host", b"X-Host"),
    "a large head": request(more=f"User-Agent: {'x' * 3_000}\r\n"),
    "a large body": request(READ + b" " * 70_000),
}


@pytest.mark.parametrize("name", ODD)
async def test_whatever_is_odd_goes_the_long_way_and_is_judged_there(listen, name: str) -> None:
    found = []
    for quick in (True, False):
        server = await listen(quick=quick)
        async with wire(server) as client:
            answer = await client.ask(ODD[name])
            assert not took_the_quick_way(server)
            found.append((answer.status, answer.headers, _TRACE.sub(b"", answer.body)))
    assert found[0] == found[1]


async def both_begin(data: bytes, one: Wire, other: Wire) -> list[bytes]:
    """Return how two answers to the same bytes begin; nothing where both ways wait for more."""
    reads = []
    for client in (one, other):
        client.writer.write(data)
        reads.append(asyncio.create_task(client.reader.read(12)))
    done, _ = await asyncio.wait(reads, timeout=0.3, return_when=asyncio.FIRST_COMPLETED)
    if done:
        async with asyncio.timeout(PATIENCE_S):
            return [await read for read in reads]
    for read in reads:
        read.cancel()
    return [b"", b""]


async def test_mangled_requests_are_judged_alike_by_both_ways(listen) -> None:
    quick, long = await listen(), await listen(quick=False)
    draw = random.Random(5)
    whole = request(more="Accept: */*\r\nUser-Agent: x\r\n")
    head = whole.index(b"\r\n\r\n") + 4
    seen = set()
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            place = draw.randrange(head)
            match draw.randrange(3):
                case 0:
                    data[place] = draw.choice(b"\r\n :\t\x00\xff,;aZ09-")
                case 1:
                    del data[place]
                case _:
                    data.insert(place, draw.choice(b"\r\n :\t\x00,;aZ09-"))
        async with wire(quick) as one, wire(long) as other:
            answers = await both_begin(bytes(data), one, other)
        assert answers[0] == answers[1], bytes(data)
        seen.add(answers[0])
    assert len(seen) >= 3, seen


# --- one connection


async def test_a_request_in_parts_is_answered(listen) -> None:
    server = await listen()
    data = request()
    for cut in (5, 40, len(data) - len(READ), len(data) - 3):
        async with wire(server) as client:
            assert (await client.ask(data[:cut], data[cut:])).json["id"] == 7


async def test_requests_that_come_together_are_answered_in_order(listen) -> None:
    async with wire(await listen()) as client:
        bodies = [READ.replace(b"7", str(number).encode()) for number in range(5)]
        client.writer.write(b"".join(map(request, bodies)))
        assert [(await client.hear()).json["id"] for _ in bodies] == list(range(5))


async def test_a_request_that_comes_before_the_answer_waits_for_its_turn(listen, services) -> None:
    release = asyncio.Event()
    patient = services.gateway.submit_batch

    async def slow(batch, wait, timeout_ms):
        await release.wait()
        return await patient(batch, wait, timeout_ms)

    services.gateway.submit_batch = slow
    more = "Authorization: Bearer a-token-of-this-test\r\n"
    server = await listen()
    async with wire(server) as client:
        submit = b'{"jsonrpc":"2.0","id":1,"method":"ledger_submitBatch","params":["AAAA"]}'
        client.writer.write(request(submit, more=more))
        await asyncio.sleep(0.02)
        client.writer.write(request(more=more))
        client.writer.write(request(READ.replace(b"7", b"8"), start="POST /x HTTP/1.1"))
        await asyncio.sleep(0.02)
        assert took_the_quick_way(server)
        release.set()
        first, second, third = [await client.hear() for _ in range(3)]
        assert (first.json["id"], second.json["id"], third.status) == (1, 7, 404)


async def test_a_connection_goes_on_the_long_way_after_an_odd_request(listen) -> None:
    server = await listen()
    async with wire(server) as client:
        assert (await client.ask(request())).json["id"] == 7
        assert (await client.ask(b"GET /policy HTTP/1.1\r\nHost: localhost\r\n\r\n")).status == 200
        assert not took_the_quick_way(server)
        assert (await client.ask(request())).json["id"] == 7


async def test_the_rate_and_the_number_at_a_time_hold(listen) -> None:
    async with wire(await listen(requests_per_second_max=1)) as client:
        assert (await client.ask(request())).status == 200
        refused = await client.ask(request())
        assert (refused.status, refused.json["error"]["data"]["reason"]) == (429, "rate_limited")
        assert b"Retry-After" in refused.head
    server = await listen(requests_max=1)
    server._running.enter()
    async with wire(server) as client:
        assert (await client.ask(request())).status == 503
        server._running.leave()
        assert (await client.ask(request())).status == 200
    assert server._running._count == 0


async def test_a_refused_request_takes_nobodys_place(listen) -> None:
    server = await listen(requests_per_second_max=1, requests_max=1)
    for _ in range(3):
        async with wire(server) as client:
            await client.ask(request())
    assert server._running._count == 0


async def test_connections_are_bounded_whichever_way_they_take(listen) -> None:
    server = await listen(connections_max=2)
    async with wire(server) as quick, wire(server) as long:
        await quick.ask(request())
        await long.ask(ODD["another path"])
        async with wire(server) as third:
            assert (await third.hear()).status == 503


async def test_a_silent_connection_is_closed(listen, monkeypatch) -> None:
    monkeypatch.setattr(server_module, "KEEPALIVE_TIMEOUT_S", 0.05)
    async with wire(await listen()) as client:
        assert (await client.ask(request())).status == 200
        assert await asyncio.wait_for(client.reader.read(), PATIENCE_S) == b""


async def test_a_fault_of_our_own_is_answered_without_details(listen, monkeypatch) -> None:
    server = await listen()

    async def broken(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(server._dispatcher, "answer_body", broken)
    async with wire(server) as client:
        answer = await client.ask(request())
        assert (answer.status, answer.json["error"]["code"]) == (500, -32603)
        assert b"secret" not in answer.body
    assert server._running._count == 0


async def test_stopping_answers_the_last_request_and_closes(listen, services) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(batch, wait, timeout_ms):
        entered.set()
        await release.wait()
        return []

    services.gateway.submit_batch = slow
    server = await listen()
    async with wire(server) as busy, wire(server) as idle:
        await idle.ask(request())
        submit = b'{"jsonrpc":"2.0","id":1,"method":"ledger_submitBatch","params":["AAAA"]}'
        busy.writer.write(request(submit, more="Authorization: Bearer a-token-of-this-test\r\n"))
        await entered.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0.02)
        assert not stopping.done()
        release.set()
        answer = await busy.hear()
        assert (answer.json["id"], b"Connection: close" in answer.head) == (1, True)
        for client in (busy, idle):
            assert await asyncio.wait_for(client.reader.read(), PATIENCE_S) == b""
        await asyncio.wait_for(stopping, PATIENCE_S)


async def test_stopping_waits_for_no_request_for_ever(listen, services, monkeypatch) -> None:
    monkeypatch.setattr(connections_module, "ENDING_TIMEOUT_S", 0.05)
    entered = asyncio.Event()

    async def endless(batch, wait, timeout_ms):
        entered.set()
        await asyncio.Event().wait()

    services.gateway.submit_batch = endless
    server = await listen()
    async with wire(server) as client:
        submit = b'{"jsonrpc":"2.0","id":1,"method":"ledger_submitBatch","params":["AAAA"]}'
        client.writer.write(request(submit, more="Authorization: Bearer a-token-of-this-test\r\n"))
        await entered.wait()
        await asyncio.wait_for(server.stop(), PATIENCE_S)


# --- heads


class Nobody:
    """A door that lets everybody in, or nobody."""

    def __init__(self) -> None:
        self.asked, self.open = 0, True

    def check_host(self, hosts: list[str]) -> None:
        self.asked += 1
        if not self.open:
            raise RpcError(-32004, "foreign_host", "no")

    def rights_of(self, authorizations: list[str], now_s: float) -> Rights:
        return Rights("test", Role.OPERATOR if authorizations else Role.AUDITOR)


def test_only_heads_that_were_let_in_are_remembered_and_only_so_many() -> None:
    door = Nobody()
    heads = Heads(door)
    head = request().partition(b"\r\n\r\n")[0]
    door.open = False
    assert [heads.read(head), heads.read(head)] == [None, None]
    door.open = True
    assert [heads.read(head).body_bytes, heads.read(head).body_bytes] == [len(READ)] * 2
    assert door.asked == 3
    for number in range(HEADS_KEPT + 10):
        assert heads.read(head + b"\r\nUser-Agent: %d" % number) is not None
    assert len(heads._kept) == HEADS_KEPT
    assert heads.read(head + b"\r\nAuthorization: Bearer x").rights.may_submit


# --- on the nodes' own loop


def test_on_uvloop_all_ways_in_work_and_connections_are_bounded(settings, services) -> None:
    async def run() -> None:
        server = RpcServer(replace(settings, connections_max=3), services, METHODS)
        await server.start()
        try:
            async with wire(server) as quick, wire(server) as long, aiohttp.ClientSession() as session:
                assert (await quick.ask(request())).json["id"] == 7
                assert took_the_quick_way(server)
                assert (await long.ask(ODD["a query"])).json["id"] == 7
                async with session.ws_connect(server.address + "/ws") as socket:
                    await socket.send_str(READ.decode())
                    assert (await socket.receive_json(timeout=PATIENCE_S))["id"] == 7
                    async with wire(server) as fourth:
                        assert (await fourth.hear()).status == 503
        finally:
            await server.stop()

    uvloop.run(run())
