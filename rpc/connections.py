"""Connections of an HTTP listener, bounded: how many there are, how long one may stay silent, or leave answers unread.

Here: what a stranger can hold open, and which of two protocols has a connection. Not here: what requests are answered
(`rpc.server`, `rpc.quick_http`, `chainnode.witness_server`).
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TypeVar, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from rpc.quick_http import QuickConnection, Service

HEADERS_TIMEOUT_S = 10
ENDING_TIMEOUT_S = 3
BACKLOG = 128
# How often connections that aiohttp has are looked at, and after how many looks in a row, none of which found fewer
# unread bytes than the one before, the other side is taken to read nothing.
LOOK_S = 1.0
UNREAD_LOOKS_MAX = 10
Handler = TypeVar("Handler", RequestHandler, QuickConnection)


class BoundedConnections:
    """Listens for an aiohttp application: refuses connections above a number, closes those that ask nothing."""

    def __init__(self, runner: web.AppRunner, connections_max: int, quick: Service | None = None) -> None:
        """Take the application's runner, and what answers ordinary requests the quick way where there is such a way."""
        self._runner = runner
        self._connections_max = connections_max
        self._quick = quick
        self._quick_open: set[QuickConnection] = set()
        # Connections whose first request has not come yet, with the timer that closes them.
        self._silent: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}
        # Unread bytes of connections that had some when last looked at, and how many looks ago they became fewer.
        self._unread: dict[RequestHandler, tuple[int, int]] = {}
        self._look: asyncio.TimerHandle | None = None
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Listen; raises OSError where the address is taken."""
        await self._runner.setup()
        self._server = await asyncio.get_running_loop().create_server(
            self._connection, host, port, ssl=tls, backlog=BACKLOG, reuse_address=True
        )
        self._look = asyncio.get_running_loop().call_later(LOOK_S, self._look_for_unread)

    async def stop(self) -> None:
        """Take no more connections, let running requests end as the runner is set, then close."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._look is not None:
            self._look.cancel()
        for timer in self._silent.values():
            timer.cancel()
        self._silent.clear()
        for connection in list(self._quick_open):
            connection.stop()
        if running := [task for connection in self._quick_open if (task := connection.busy) is not None]:
            _, late = await asyncio.wait(running, timeout=ENDING_TIMEOUT_S)
            for task in late:
                task.cancel()
        for connection in list(self._quick_open):
            connection.close()
        await self._runner.cleanup()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the listener."""
        assert self._server is not None, "not started"
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    def asked(self, protocol: asyncio.BaseProtocol) -> None:
        """Note that a connection's first request has come."""
        timer = self._silent.pop(protocol, None)
        if timer is not None:
            timer.cancel()

    def _connection(self) -> asyncio.BaseProtocol:
        """Make the protocol of a new connection: refused above the limit, closed if its first request never comes."""
        server = self._runner.server
        assert server is not None, "set up before listening"
        if len(server.connections) + len(self._quick_open) >= self._connections_max:
            return _Refuse()
        if self._quick is None:
            return self._timed(server())
        return self._timed(QuickConnection(self._quick, self))

    def _timed(self, handler: Handler) -> Handler:
        loop = asyncio.get_running_loop()
        self._silent[handler] = loop.call_later(HEADERS_TIMEOUT_S, self._close_silent, handler)
        return handler

    def _close_silent(self, handler: Handler) -> None:
        self._silent.pop(handler, None)
        if handler.transport is not None:
            handler.transport.close()

    def _look_for_unread(self) -> None:
        """Cut off who does not read what it asked for: closing would wait until it does."""
        server, before = self._runner.server, self._unread
        assert server is not None, "set up before listening"
        self._unread = {}
        for handler in server.connections:
            transport = handler.transport
            unread = 0 if transport is None else transport.get_write_buffer_size()
            if transport is None or not unread:
                continue
            last, looks = before.get(handler, (unread + 1, 0))
            looks = looks + 1 if unread >= last else 0
            if looks >= UNREAD_LOOKS_MAX:
                transport.abort()
            else:
                self._unread[handler] = (unread, looks)
        self._look = asyncio.get_running_loop().call_later(LOOK_S, self._look_for_unread)

    # --- what a quick connection asks for

    def opened(self, connection: QuickConnection) -> None:
        """Count a connection from now on: one whose TLS handshake fails comes not so far, and is never said to end."""
        self._quick_open.add(connection)

    def hand_over(self, connection: QuickConnection, transport: asyncio.Transport, data: bytes) -> None:
        """Let aiohttp have a connection, and read these bytes first; their request must be whole in time."""
        server = self._runner.server
        if server is None or self._server is None:  # stopping
            transport.close()
            return
        handler: RequestHandler = server()
        self.asked(connection)
        self._timed(handler)
        transport.set_protocol(handler)
        handler.connection_made(transport)
        handler.data_received(data)

    def left(self, connection: QuickConnection) -> None:
        """Forget a quick connection that is gone or handed over."""
        self._quick_open.discard(connection)


class _Refuse(asyncio.Protocol):
    """Answers a connection above the limit with 503 and closes it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Write the refusal at once."""
        stream = cast(asyncio.WriteTransport, transport)  # uvloop's are none by their class
        stream.write(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        stream.close()
