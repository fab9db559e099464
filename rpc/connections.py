"""Connections of an HTTP listener, bounded: how many there are, and how long one may stay silent.

Here: what a stranger can hold open. Not here: what requests are answered (`rpc.server`, `chainnode.witness_server`).
"""

from __future__ import annotations

import asyncio
import ssl

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

HEADERS_TIMEOUT_S = 10
BACKLOG = 128


class BoundedConnections:
    """Listens for an aiohttp application: refuses connections above a number, closes those that ask nothing."""

    def __init__(self, runner: web.AppRunner, connections_max: int) -> None:
        self._runner = runner
        self._connections_max = connections_max
        # Connections whose first request has not come yet, with the timer that closes them.
        self._silent: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Listen; raises OSError where the address is taken."""
        await self._runner.setup()
        self._server = await asyncio.get_running_loop().create_server(
            self._connection, host, port, ssl=tls, backlog=BACKLOG, reuse_address=True
        )

    async def stop(self) -> None:
        """Take no more connections, let running requests end as the runner is set, then close."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for timer in self._silent.values():
            timer.cancel()
        self._silent.clear()
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
        if len(server.connections) >= self._connections_max:
            return _Refuse()
        handler: RequestHandler = server()
        loop = asyncio.get_running_loop()
        self._silent[handler] = loop.call_later(HEADERS_TIMEOUT_S, self._close_silent, handler)
        return handler

    def _close_silent(self, handler: RequestHandler) -> None:
        self._silent.pop(handler, None)
        if handler.transport is not None:
            handler.transport.close()


class _Refuse(asyncio.Protocol):
    """Answers a connection above the limit with 503 and closes it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Write the refusal at once."""
        assert isinstance(transport, asyncio.WriteTransport), "a connection can be written to"
        transport.write(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        transport.close()
