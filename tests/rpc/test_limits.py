"""Limits of the listener itself: rates, requests at a time, connections, silence."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from urllib.parse import urlsplit

import aiohttp
import pytest

from rpc import connections as connections_module
from rpc import server as server_module
from rpc.errors import Code, RpcError
from rpc.methods.catalogue import METHODS
from rpc.server import RpcServer

READ = {"jsonrpc": "2.0", "id": 7, "method": "net_status"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def limited(settings, services):
    """Make a started server with other settings; the test stops it."""

    async def make(**changes: object) -> RpcServer:
        server = RpcServer(replace(settings, **changes), services, METHODS)
        await server.start()
        return server

    return make


async def test_a_client_above_its_rate_is_told_when_to_come_back(limited) -> None:
    server = await limited(requests_per_second_max=1)
    try:
        async with aiohttp.ClientSession() as session:
            answers = []
            for _ in range(3):
                async with session.post(server.address, json=READ) as response:
                    answers.append((response.status, await response.json(), response.headers))
        assert answers[0][0] == 200
        status, answer, headers = answers[1]
        data = answer["error"]["data"]
        assert (status, answer["error"]["code"], data["reason"], data["retryable"]) == (
            429,
            -32005,
            "rate_limited",
            True,
        )
        assert 0 < data["retry_after_ms"] <= 1_000
        assert headers["Retry-After"] == "1"
    finally:
        await server.stop()


async def test_the_calls_of_a_batch_count_one_by_one(limited) -> None:
    server = await limited(requests_per_second_max=50)
    try:
        async with aiohttp.ClientSession() as session:
            async with session.post(server.address, json=[READ] * 40) as response:
                assert response.status == 200
            async with session.post(server.address, json=[READ] * 40) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (429, -32005)
    finally:
        await server.stop()


async def test_requests_above_the_limit_at_a_time_are_refused_and_the_others_answered(limited, monkeypatch) -> None:
    server = await limited(requests_max=1)
    entered, release = asyncio.Event(), asyncio.Event()
    read_body = server_module._read_body

    async def slow(request, limit):
        if "slow" in request.query:
            entered.set()
            await release.wait()
        return await read_body(request, limit)

    monkeypatch.setattr(server_module, "_read_body", slow)
    try:
        async with aiohttp.ClientSession() as session:

            async def first() -> int:
                async with session.post(f"{server.address}/?slow", json=READ) as response:
                    return response.status

            running = asyncio.create_task(first())
            await entered.wait()
            async with session.post(server.address, json=READ) as response:
                answer = await response.json()
                assert (response.status, answer["error"]["data"]["reason"]) == (503, "busy")
                assert answer["error"]["code"] == -32005
            release.set()
            assert await running == 200
            async with session.post(server.address, json=READ) as response:
                assert response.status == 200
    finally:
        release.set()
        await server.stop()


async def test_a_connection_above_the_limit_gets_a_503(limited) -> None:
    server = await limited(connections_max=1)
    url = urlsplit(server.address)
    try:
        _, first = await asyncio.open_connection(url.hostname, url.port)
        await asyncio.sleep(0)
        reader, second = await asyncio.open_connection(url.hostname, url.port)
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 503 ")
        first.close()
        second.close()
    finally:
        await server.stop()


async def test_a_connection_that_sends_no_whole_request_is_closed(limited, monkeypatch) -> None:
    monkeypatch.setattr(connections_module, "HEADERS_TIMEOUT_S", 0.05)
    server = await limited()
    url = urlsplit(server.address)
    try:
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
    finally:
        await server.stop()


async def test_a_body_that_never_comes_is_given_up(limited, monkeypatch) -> None:
    monkeypatch.setattr(server_module, "BODY_TIMEOUT_S", 0.05)
    server = await limited()
    url = urlsplit(server.address)
    try:
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        answer = await asyncio.wait_for(reader.readuntil(b'"reason":"body_too_slow"'), 5)
        assert answer.startswith(b"HTTP/1.1 408 ")
        writer.close()
    finally:
        await server.stop()


async def test_a_taken_port_is_an_error_of_the_system(limited) -> None:
    server = await limited()
    try:
        with pytest.raises(OSError, match="address already in use"):
            await limited(port=urlsplit(server.address).port)
    finally:
        await server.stop()


async def test_a_large_body_is_taken_from_who_may_submit(client, token) -> None:
    body = b'{"jsonrpc":"2.0","id":7,"method":"net_status"' + b" " * 2_000_000 + b"}"
    status, _, _ = await client.post(body)
    assert status == 413
    status, answer, _ = await client.post(body, token=token)
    assert (status, answer["result"]["node"]) == (200, "node-bank-a")


async def test_stopping_ends_idle_connections(limited) -> None:
    server = await limited()
    url = urlsplit(server.address)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    await asyncio.sleep(0)
    await asyncio.wait_for(server.stop(), 5)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


FULL = RpcError(Code.LIMIT_EXCEEDED, "gateway_full", "too much waits", retryable=True, retry_after_ms=1_500)


async def test_a_large_submission_to_a_full_gateway_is_refused_unparsed_and_keeps_its_connection(
    limited, node, token, monkeypatch
) -> None:
    server = await limited(connections_max=1)
    parsed: list[bytes] = []
    parse = server._dispatcher.parse
    monkeypatch.setattr(server._dispatcher, "parse", lambda body: parsed.append(body) or parse(body))
    node.full = FULL
    headers = {**JSON, "Authorization": f"Bearer {token}"}
    try:
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                body = b" " * server_module.SUBMISSION_BYTES_MIN
                async with session.post(server.address, data=body, headers=headers) as response:
                    data = (await response.json())["error"]["data"]
                    assert (response.status, response.headers["Retry-After"]) == (503, "2")
                    assert (data["reason"], data["retry_after_ms"]) == ("gateway_full", 1_500)
                    assert response.headers.get("Connection") != "close"
            assert parsed == []
            async with session.post(server.address, json=READ, headers=headers) as response:
                assert response.status == 200, "what reads is answered"
    finally:
        await server.stop()


async def test_a_large_submission_counts_among_what_waits_while_it_is_read(limited, node, token) -> None:
    server = await limited()
    headers = {**JSON, "Authorization": f"Bearer {token}"}
    try:
        async with aiohttp.ClientSession() as session:
            for size, with_token in ((1_000, True), (70_000, False), (70_000, True)):
                body = b" " * size
                async with session.post(server.address, data=body, headers=headers if with_token else JSON) as response:
                    assert (await response.json())["error"]["code"] == -32700
        assert node.expected == [35_000]
    finally:
        await server.stop()
