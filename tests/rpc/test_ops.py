"""The operations listener: alive, ready and why not, version, metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from rpc.ops import OpsServer, OpsSettings
from tests.rpc.tls_fixtures import self_signed


@pytest.fixture
async def ops(node) -> AsyncIterator[OpsServer]:
    server = OpsServer(OpsSettings(port=0), node, lambda: b"chainnode_height 1\n")
    await server.start()
    yield server
    await server.stop()


async def fetch(ops: OpsServer, path: str, verb: str = "GET") -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.request(verb, ops.address + path) as response:
        return response.status, await response.text(), response.headers.get("Content-Type", "")


async def test_with_tls_it_answers_over_tls_alone(node, tmp_path: Path) -> None:
    serving, trusting = self_signed(tmp_path)
    ops = OpsServer(OpsSettings(port=0, tls=serving), node, lambda: b"")
    await ops.start()
    async with aiohttp.ClientSession() as session:
        async with session.get(ops.address + "/livez", ssl=trusting) as response:
            assert (ops.address[:5], response.status) == ("https", 200)
        with pytest.raises(aiohttp.ClientError):
            await session.get(ops.address.replace("https", "http") + "/livez")
    await ops.stop()


async def test_a_living_node_says_ok(ops) -> None:
    assert (await fetch(ops, "/livez"))[:2] == (200, "ok\n")


async def test_readiness_names_what_fails(ops, node) -> None:
    assert (await fetch(ops, "/readyz"))[:2] == (200, "ready\n")
    node.is_ready = False
    assert (await fetch(ops, "/readyz"))[:2] == (503, "not ready: caught_up\n")
    status, text, _ = await fetch(ops, "/readyz?verbose")
    assert (status, text) == (503, "[+] store\n[-] caught_up 12 blocks behind\nnot ready\n")


async def test_version_is_json(ops) -> None:
    status, text, kind = await fetch(ops, "/version")
    assert (status, kind) == (200, "application/json")
    assert '"version":"0.1.0"' in text


async def test_metrics_are_prometheus_text(ops) -> None:
    status, text, kind = await fetch(ops, "/metrics")
    assert (status, text) == (200, "chainnode_height 1\n")
    assert kind.startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(("path", "verb", "status"), [("/livez", "POST", 405), ("/", "GET", 404), ("/x", "GET", 404)])
async def test_nothing_else_is_served(ops, path: str, verb: str, status: int) -> None:
    got, text, _ = await fetch(ops, path, verb)
    assert got == status
    assert "Traceback" not in text
