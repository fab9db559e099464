"""The proxy in the nodes' path does to a stream what it is told, and never changes a byte."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from torment.proxy import Fate, Line, Route, Way

SENT = bytes(range(256)) * 400


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[Line, int]]:
    """Give a line to a server that returns what it gets, and the port on which the proxy listens."""

    async def back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(back, "127.0.0.1", 0)
    target = server.sockets[0].getsockname()[:2]
    port = free_port()
    line = Line(Route("a>b", ("127.0.0.1", port), (target[0], target[1])))
    proxy = await asyncio.start_server(line.serve, "127.0.0.1", port)
    try:
        yield line, port
    finally:
        proxy.close()
        server.close()


async def exchange(port: int, data: bytes) -> tuple[bytes, float]:
    """Send data, return what comes back and the seconds until all of it was there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = asyncio.get_running_loop().time()
    writer.write(data)
    try:
        found = await asyncio.wait_for(reader.readexactly(len(data)), 10.0)
    finally:
        writer.close()
    return found, asyncio.get_running_loop().time() - began


@pytest.mark.parametrize(
    "way",
    [Way(), Way(delay_ms=30), Way(delay_ms=10, jitter_ms=40), Way(loss=0.05), Way(rate=400_000)],
    ids=["plain", "delay", "jitter", "loss", "narrow"],
)
async def test_bytes_arrive_whole_and_in_order(way: Way) -> None:
    async with echo() as (line, port):
        line.set(Fate(("a>b",), there=way, back=way))
        assert (await exchange(port, SENT))[0] == SENT


async def test_each_direction_is_delayed_by_its_own() -> None:
    async with echo() as (line, port):
        line.set(Fate(("a>b",), there=Way(delay_ms=150), back=Way(delay_ms=100)))
        assert (await exchange(port, b"x"))[1] >= 0.25


async def test_a_narrow_link_takes_its_time() -> None:
    async with echo() as (line, port):
        line.set(Fate(("a>b",), there=Way(rate=200_000)))
        assert (await exchange(port, SENT))[1] >= 0.9 * len(SENT) / 200_000


async def test_a_stalled_link_carries_nothing_and_all_of_it_once_it_is_whole() -> None:
    async with echo() as (line, port):
        line.set(Fate(("a>b",), there=Way(stalled=True)))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"kept")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(4), 0.2)
        line.set(Fate(("a>b",)))
        assert await asyncio.wait_for(reader.readexactly(4), 5.0) == b"kept"
        writer.close()


async def test_a_cut_resets_what_is_open_and_refuses_what_comes() -> None:
    async with echo() as (line, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        line.set(Fate(("a>b",), cut=True))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 5.0)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await exchange(port, b"y")
        line.set(Fate(("a>b",)))
        assert (await exchange(port, b"z"))[0] == b"z"
        writer.close()
