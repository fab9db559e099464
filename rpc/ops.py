"""The operations listener: is the process alive, is the node ready, which version, which figures.

For the operator's own network and tools: GET only, no token, nothing of what the ledger holds. What the checks and
figures are is the process' own (`OpsView`, a callable that gives the Prometheus text).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
from aiohttp import web

from rpc.ports import Check, Version

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class OpsView(Protocol):
    """What a process says of itself: a node (`rpc.ports.NodeView`) or an auditor."""

    def ready(self) -> tuple[bool, Sequence[Check]]:
        """Return whether it can do its work, and the checks that say so."""
        ...

    def version(self) -> Version:
        """Return what runs."""
        ...


NODE: web.AppKey[OpsView] = web.AppKey("node", OpsView)
METRICS: web.AppKey[Callable[[], bytes]] = web.AppKey("metrics")
KEEPALIVE_TIMEOUT_S = 60
SHUTDOWN_TIMEOUT_S = 1
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class OpsSettings:
    """Where to listen, and with which TLS: off loopback there is some."""

    host: str = "127.0.0.1"
    port: int = 7402
    tls: ssl.SSLContext | None = None


def ops_application(node: OpsView, metrics: Callable[[], bytes]) -> web.Application:
    """Return the aiohttp application of the operations listener; `metrics` gives Prometheus' text format."""
    app = web.Application()
    app[NODE] = node
    app[METRICS] = metrics
    app.router.add_get("/livez", _livez)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/version", _version)
    app.router.add_get("/metrics", _metrics)
    return app


class OpsServer:
    """Listens for the operator; `start` and `stop` belong to the node."""

    def __init__(self, settings: OpsSettings, node: OpsView, metrics: Callable[[], bytes]) -> None:
        self._settings = settings
        self._runner = web.AppRunner(
            ops_application(node, metrics),
            access_log=None,
            keepalive_timeout=KEEPALIVE_TIMEOUT_S,
            shutdown_timeout=SHUTDOWN_TIMEOUT_S,
        )

    async def start(self) -> None:
        """Listen; raises OSError where the address is taken."""
        await self._runner.setup()
        settings = self._settings
        await web.TCPSite(
            self._runner, settings.host, settings.port, reuse_address=True, ssl_context=settings.tls
        ).start()

    async def stop(self) -> None:
        """Close."""
        await self._runner.cleanup()

    @property
    def address(self) -> str:
        """The URL of the listener, with the port that it got."""
        host, port = self._runner.addresses[0][:2]
        scheme = "http" if self._settings.tls is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


async def _livez(request: web.Request) -> web.Response:
    """Answer that the loop turns: it came to this line."""
    del request
    return web.Response(text="ok\n", headers=HEADERS)


async def _readyz(request: web.Request) -> web.Response:
    """Answer 200 if the node can serve and vote, else 503; `?verbose` names each check."""
    ready, checks = request.app[NODE].ready()
    status = 200 if ready else 503
    if "verbose" not in request.query:
        failed = ", ".join(check.name for check in checks if not check.ok)
        return web.Response(text="ready\n" if ready else f"not ready: {failed}\n", status=status, headers=HEADERS)
    lines = [f"[{'+' if check.ok else '-'}] {check.name} {check.detail}".rstrip() for check in checks]
    lines.append("ready" if ready else "not ready")
    return web.Response(text="\n".join(lines) + "\n", status=status, headers=HEADERS)


async def _version(request: web.Request) -> web.Response:
    body = msgspec.json.encode(request.app[NODE].version())
    return web.Response(body=body, content_type="application/json", headers=HEADERS)


async def _metrics(request: web.Request) -> web.Response:
    text = await asyncio.to_thread(request.app[METRICS])
    return web.Response(body=text, headers={**HEADERS, "Content-Type": METRICS_TYPE})
