"""The listener of a witness: `add-checkpoint` for logs, the latest cosigned checkpoint for monitors.

Here: HTTP, its limits, and the status of each refusal. Not here: what is cosigned (`chainnode.witness`). Source: C2SP
tlog-witness. Who asks is not authenticated: a checkpoint's signatures are what counts.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web

from chainnode.witness import Refused, Witness
from chainnode.witness_protocol import REQUEST_BYTES_MAX, SIZE_TYPE
from primitives.errors import ChainError
from rpc.access import RateLimit
from rpc.connections import BoundedConnections
from rpc.errors import RpcError

BODY_TIMEOUT_S: Final = 10
KEEPALIVE_TIMEOUT_S: Final = 75
SHUTDOWN_TIMEOUT_S: Final = 2
LINGERING_TIME_S: Final = 1
REQUESTS_MAX: Final = 32
"""Requests that are judged or wait for it at a time; each holds at most a body."""

HEADERS: Final = {"Server": "chainnode-witness", "X-Content-Type-Options": "nosniff"}
_HASH: Final = re.compile(r"[0-9a-f]{64}")

log = structlog.get_logger("witness")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class WitnessSettings:
    """Where to listen, and how much is taken there; anywhere but on loopback it needs TLS."""

    host: str = "127.0.0.1"
    port: int = 7390
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    connections_max: int = 128
    requests_per_second_max: int = 50


class WitnessServer:
    """Listens and answers; `start` and `stop` belong to whoever runs it."""

    def __init__(self, settings: WitnessSettings, witness: Witness) -> None:
        self._settings = settings
        self._witness = witness
        self._rate = RateLimit(settings.requests_per_second_max)
        self._requests = 0
        # One judge at a time: disks sync one file after the other anyway, and order is easier to think about.
        self._judge = ThreadPoolExecutor(1, "witness")
        self._connections: BoundedConnections | None = None

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application(client_max_size=REQUEST_BYTES_MAX, middlewares=[self._guard])
        app.router.add_post("/add-checkpoint", self._add_checkpoint)
        app.router.add_get("/{hash}/checkpoint", self._checkpoint)
        return app

    async def start(self) -> None:
        """Listen; raises ChainError where the address cannot be had."""
        runner = web.AppRunner(
            self.application(),
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=KEEPALIVE_TIMEOUT_S,
            lingering_time=LINGERING_TIME_S,
            shutdown_timeout=SHUTDOWN_TIMEOUT_S,
        )
        self._connections = BoundedConnections(runner, self._settings.connections_max)
        try:
            await self._connections.start(self._settings.host, self._settings.port, self._settings.tls)
        except OSError as error:
            raise ChainError(
                "cannot listen",
                where=f"{self._settings.host}:{self._settings.port}",
                got=os.strerror(error.errno) if error.errno else error,
                hint="name another address with --listen",
            ) from None
        log.info("witness_listening", address=self.address, vkey=self._witness.vkey.vkey())

    async def stop(self) -> None:
        """Take no more connections, let running requests end, then close."""
        if self._connections is not None:
            await self._connections.stop()
        self._judge.shutdown(wait=True)

    @property
    def address(self) -> str:
        """The URL of the listener, with the port that it got where any was asked for."""
        assert self._connections is not None, "not started"
        host, port = self._connections.address
        scheme = "http" if self._settings.tls is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note that the connection speaks, and admit what its address may ask."""
        if self._connections is not None:
            self._connections.asked(request.protocol)
        try:
            self._rate.take(request.remote or "", 1, int(time.monotonic() * 1_000))
        except RpcError:
            return _busy()
        return await handler(request)

    async def _add_checkpoint(self, request: web.Request) -> web.Response:
        if self._requests >= REQUESTS_MAX:
            return _busy()
        self._requests += 1
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await request.read()
            line = await asyncio.get_running_loop().run_in_executor(self._judge, self._witness.add_checkpoint, body)
        except web.HTTPRequestEntityTooLarge:
            return _text(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {REQUEST_BYTES_MAX} bytes\n")
        except TimeoutError:
            return _text(HTTPStatus.REQUEST_TIMEOUT, f"the body must come within {BODY_TIMEOUT_S} s\n")
        except Refused as refused:
            # A conflict is how one log's several nodes learn of each other's requests.
            tell = log.info if refused.size is None else log.debug
            tell("witness_refused", status=int(refused.status), error=str(refused), remote=request.remote)
            if refused.size is not None:
                headers = {**HEADERS, "Content-Type": SIZE_TYPE}
                return web.Response(status=refused.status, body=f"{refused.size}\n".encode(), headers=headers)
            return _text(refused.status, f"{refused}\n")
        except ChainError as error:
            log.error("witness_fault", error=str(error))
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, "the witness cannot cosign at present\n")
        finally:
            self._requests -= 1
        return _text(HTTPStatus.OK, line)

    async def _checkpoint(self, request: web.Request) -> web.Response:
        hashed = request.match_info["hash"]
        try:
            note = self._witness.latest(hashed) if _HASH.fullmatch(hashed) else None
        except ChainError as error:
            log.error("witness_fault", error=str(error))
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, "the witness cannot tell at present\n")
        if note is None:
            return _text(HTTPStatus.NOT_FOUND, "no checkpoint of such a log was cosigned\n")
        return _text(HTTPStatus.OK, note, {"Cache-Control": "no-cache"})


def _busy() -> web.Response:
    return _text(HTTPStatus.TOO_MANY_REQUESTS, "too many requests: ask again later\n", {"Retry-After": "1"})


def _text(status: HTTPStatus, text: str, headers: dict[str, str] | None = None) -> web.Response:
    given = {**HEADERS, **(headers or {})}
    return web.Response(status=status, text=text, content_type="text/plain", charset="utf-8", headers=given)


async def serve(settings: WitnessSettings, witness: Witness) -> None:
    """Serve until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    server = WitnessServer(settings, witness)
    await server.start()
    try:
        await stopping.wait()
    finally:
        await server.stop()
