"""Asking an address who is there: each answer by name, and no link comes of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from p2p.config import TlsFiles
from p2p.handshake import Hello
from p2p.probe import Answer, probe
from p2p.reasons import PeerRefused
from p2p.tls import TrustAnchors
from tests.p2p.network_fixtures import CHAIN_ID, Consortium, Node, running

OTHER_CHAIN = bytes(32)


async def asked(
    consortium: Consortium,
    port: int,
    files: TlsFiles | None = None,
    *,
    name: str = "watch-1",
    chain_id: bytes = CHAIN_ID,
    **changes: Any,  # Any: arguments of `probe`
) -> Answer:
    """Ask a port as a node of bank-b without a vote, in a thread; the loop is the answering node's."""
    own = Hello(1, 1, chain_id, name, bytes(8), "test", b"")
    terms: dict[str, Any] = {
        "files": files or consortium.files(name, "bank-b"),
        "anchors": TrustAnchors(consortium.member_cas, chain_id),
        "own": own,
        "expects": None,
        "now_ms": consortium.now_ms,
        "timeout_ms": 3_000,
    }
    return await asyncio.to_thread(lambda: probe("127.0.0.1", port, **terms | changes))


@contextlib.asynccontextmanager
async def alpha_of(consortium: Consortium, **changes: Any) -> AsyncIterator[Node]:  # Any: fields of NetworkConfig
    alpha = Node(consortium.config("alpha", "bank-a", **changes))
    await alpha.start()
    async with running(alpha):
        yield alpha


async def test_who_answers_is_named_by_its_certificate_and_no_link_comes_of_it(consortium: Consortium) -> None:
    async with alpha_of(consortium) as alpha:
        answer = await asked(consortium, alpha.network.listen_port)
        assert (answer.identity.name, answer.identity.member, answer.software) == ("alpha", "bank-a", "test")
        await alpha.seen.until(lambda: alpha.seen.refused)
        assert (alpha.seen.refused, alpha.seen.connected, alpha.seen.banned) == (["remote_shutdown"], [], [])


async def test_each_reason_against_a_link_is_told_by_name(consortium: Consortium) -> None:
    stranger = consortium.files("watch-1", "bank-b", ca=consortium.ca("bank-x"), label="-stranger")
    async with alpha_of(consortium) as alpha:
        port = alpha.network.listen_port

        async def why(**changes: Any) -> str:  # Any: arguments of `asked`
            with pytest.raises(PeerRefused) as caught:
                await asked(consortium, port, **changes)
            return str(caught.value.why)

        assert await why(files=stranger) == "certificate_refused"
        assert await why(expects="beta") == "wrong_name"
        assert await why(name="alpha") == "self"
        assert await why(chain_id=OTHER_CHAIN) == "certificate_wrong_chain"
        own_ca = {"bank-b": consortium.member_cas["bank-b"]}
        assert await why(anchors=TrustAnchors(own_ca, CHAIN_ID)) == "certificate_unknown_ca"
        elsewhere = consortium.files("watch-1", "bank-b", chain_id=OTHER_CHAIN, label="-elsewhere")
        assert await why(files=elsewhere) == "remote_certificate_wrong_chain"


async def test_a_node_that_takes_no_more_nodes_without_a_vote_says_so(consortium: Consortium) -> None:
    async with alpha_of(consortium, accept_unlisted=False) as alpha:
        with pytest.raises(PeerRefused) as caught:
            await asked(consortium, alpha.network.listen_port)
        assert caught.value.why == "remote_too_many_links"


async def test_silence_closed_ports_and_other_services_are_told_apart(consortium: Consortium) -> None:
    async def why(port: int) -> str:
        with pytest.raises(PeerRefused) as caught:
            await asked(consortium, port, timeout_ms=300)
        return str(caught.value.why)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert await why(silent.getsockname()[1]) == "handshake_timeout"

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        assert await why(port) == "not_tls"
    assert await why(port) == "dial_failed"
