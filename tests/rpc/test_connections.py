"""What a stranger can hold open: handshakes that fail, requests that never end, answers that nobody reads."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from rpc import connections as connections_module
from rpc import server as server_module
from rpc import websocket as websocket_module
from rpc.access import token_hash
from rpc.dispatch import Answer
from rpc.methods.catalogue import METHODS
from rpc.server import RpcServer
from tests.rpc.test_quick_http import PATIENCE_S, READ, request, wire
from tests.rpc.test_websocket import becomes
from tests.rpc.tls_fixtures import self_signed


@pytest.fixture
async def listen(settings, services):
    servers: list[RpcServer] = []

    async def start(**changes: object) -> RpcServer:
        servers.append(RpcServer(replace(settings, **changes), services, METHODS))
        await servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        await server.stop()


async def test_handshakes_that_fail_take_nobodys_place(listen, tmp_path, token: str) -> None:
    served, trusting = self_signed(tmp_path)
    off_loopback = {"on_loopback": False, "tls": served, "token_hashes": (token_hash(token),)}
    server = await listen(**off_loopback, connections_max=2)
    for _ in range(3):
        async with wire(server) as stranger:
            stranger.writer.write(b"POST / HTTP/1.1\r\n\r\n")
            assert await asyncio.wait_for(stranger.reader.read(), PATIENCE_S) == b""
    url = urlsplit(server.address)
    reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=trusting)
    writer.write(request(host="127.0.0.1", more=f"Authorization: Bearer {token}\r\n"))
    assert await asyncio.wait_for(reader.readline(), PATIENCE_S) == b"HTTP/1.1 200 OK\r\n"
    writer.close()


@pytest.mark.parametrize("first", [b"", request()], ids=["as the first", "after another"])
async def test_a_request_that_never_ends_is_not_waited_for(listen, monkeypatch, first: bytes) -> None:
    monkeypatch.setattr(connections_module, "HEADERS_TIMEOUT_S", 0.2)
    async with wire(await listen()) as client:
        if first:
            assert (await client.ask(first)).status == 200
        client.writer.write(b"POST")
        assert await asyncio.wait_for(client.reader.read(), PATIENCE_S) == b""


async def test_an_answer_that_nobody_reads_is_not_kept_for_ever(listen, monkeypatch) -> None:
    monkeypatch.setattr(server_module, "KEEPALIVE_TIMEOUT_S", 0.1)
    server = await listen()

    async def large(*_: object) -> Answer:
        return Answer(bytes(32 << 20), ())

    monkeypatch.setattr(server._dispatcher, "answer_body", large)
    url = urlsplit(server.address)
    with socket.create_connection((url.hostname, url.port)) as deaf:
        deaf.sendall(request())
        seen = False
        for _ in range(PATIENCE_S * 100):
            held = bool(server._connections._quick_open)
            if seen and not held:
                return
            seen = seen or held
            await asyncio.sleep(0.01)
    pytest.fail("the connection was never there" if not seen else "the connection is still there")


@pytest.mark.parametrize("reads", [False, True], ids=["not at all", "slowly"])
async def test_who_reads_nothing_of_an_answer_by_the_framework_is_cut_off(listen, monkeypatch, reads: bool) -> None:
    monkeypatch.setattr(connections_module, "LOOK_S", 0.02)
    server = await listen()
    size = 32 << 20

    async def large(*_: object) -> Answer:
        return Answer(bytes(size), ())

    monkeypatch.setattr(server._dispatcher, "answer_body", large)
    url, loop = urlsplit(server.address), asyncio.get_running_loop()
    handlers = server._connections._runner.server
    with socket.create_connection((url.hostname, url.port)) as client:
        client.setblocking(False)
        await loop.sock_sendall(client, request(more="Accept-Charset: utf-8\r\n"))
        await becomes(lambda: len(handlers.connections) == 1)
        if reads:
            got = 0
            while got < size:
                part = await loop.sock_recv(client, 1 << 18)
                assert part, got
                got += len(part)
                await asyncio.sleep(0.01)
            assert len(handlers.connections) == 1
        else:
            await becomes(lambda: not handlers.connections)


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
PINGS = (b"\x89\xfd" + bytes(4) + bytes(125)) * 1_000


async def test_a_ping_is_answered_with_its_own_words(listen) -> None:
    server = await listen()
    async with wire(server) as client:
        client.writer.write(UPGRADE)
        await client.reader.readuntil(b"\r\n\r\n")
        client.writer.write(b"\x8a\x80" + bytes(4) + b"\x89\x83" + bytes(4) + b"abc")
        assert await asyncio.wait_for(client.reader.readexactly(5), PATIENCE_S) == b"\x8a\x03abc"


async def test_who_pings_and_reads_no_pong_is_cut_off(listen, monkeypatch) -> None:
    monkeypatch.setattr(websocket_module, "SLOW_READER_S", 0.1)
    server = await listen()
    url = urlsplit(server.address)
    loop = asyncio.get_running_loop()
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.setblocking(False)
        await loop.sock_connect(deaf, (url.hostname, url.port))
        await loop.sock_sendall(deaf, UPGRADE)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(_ping_for_ever(deaf), PATIENCE_S)
        await becomes(lambda: not server._websockets._open)


async def _ping_for_ever(stranger: socket.socket) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(stranger, PINGS)


async def test_the_operators_limit_of_a_body_holds_whichever_way_it_takes(listen) -> None:
    server = await listen(body_bytes_max=len(READ))
    async with wire(server) as client:
        assert (await client.ask(request())).status == 200
        refused = await client.ask(request(READ + b" "))
        assert (refused.status, refused.json["error"]["data"]["reason"]) == (413, "body_too_large")
