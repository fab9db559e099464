"""Certificates made once, networks on loopback, and a handler that can be waited for."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

from cryptography import x509

from p2p.certificates import (
    PrivateKey,
    certificate_pem,
    issue_node_certificate,
    make_member_ca,
    private_key_pem,
)
from p2p.config import KindSpec, NetworkConfig, NetworkLimits, PeerAddress, TlsFiles
from p2p.frames import PREAMBLE, FrameDecoder, encode_frame
from p2p.handshake import GOODBYE, Hello, goodbye_reason, hello_frame
from p2p.lanes import Lane
from p2p.peers import PeerNetwork
from p2p.tls import TrustAnchors, make_context
from primitives.errors import InputError

CHAIN_ID = bytes(range(32))
DAY_MS = 86_400_000
VOTE, BATCH = 1, 2
KINDS = {VOTE: KindSpec("vote", 1_024, Lane.CONSENSUS), BATCH: KindSpec("batch", 4 * 1024 * 1024, Lane.BULK)}
EVERY_KIND = dict.fromkeys(range(256), 1 << 24)
QUICK = NetworkLimits(
    handshake_timeout_ms=3_000,
    backoff_first_ms=10,
    backoff_longest_ms=50,
    tick_ms=20,
    ping_every_ms=40,
    close_timeout_ms=200,
    ban_first_ms=400,
)
WAIT_S = 10


class Consortium:
    """Members with CAs and a directory of node certificates, made when first asked for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now_ms = time.time_ns() // 1_000_000
        self._cas: dict[tuple[str, int], tuple[PrivateKey, x509.Certificate]] = {}
        self.member_cas = {member: certificate_pem(self.ca(member)[1]) for member in ("bank-a", "bank-b", "bank-c")}

    def ca(self, member: str, days_ago: int = 0) -> tuple[PrivateKey, x509.Certificate]:
        if (member, days_ago) not in self._cas:
            self._cas[member, days_ago] = make_member_ca(member, self.now_ms - days_ago * DAY_MS)
        return self._cas[member, days_ago]

    def files(
        self,
        name: str,
        member: str,
        *,
        ca: tuple[PrivateKey, x509.Certificate] | None = None,
        chain_id: bytes = CHAIN_ID,
        days_ago: int = 0,
        label: str = "",
    ) -> TlsFiles:
        files = TlsFiles(self.directory / f"{name}{label}.key", self.directory / f"{name}{label}.crt")
        if not files.key.exists():
            ca_key, ca_certificate = ca or self.ca(member)
            key, certificate = issue_node_certificate(
                ca_key,
                ca_certificate,
                node_name=name,
                member=member,
                chain_id=chain_id,
                hosts=["localhost", "127.0.0.1"],
                now_ms=self.now_ms - days_ago * DAY_MS,
            )
            files.key.write_bytes(private_key_pem(key))
            files.certificate.write_text(certificate_pem(certificate))
        return files

    def config(self, name: str, member: str, **changes: Any) -> NetworkConfig:  # Any: fields of NetworkConfig
        fields: dict[str, Any] = {
            "name": name,
            "member": member,
            "chain_id": CHAIN_ID,
            "protocol": 1,
            "protocol_oldest": 1,
            "software": "test",
            "tls": self.files(name, member),
            "member_cas": self.member_cas,
            "kinds": KINDS,
            "limits": QUICK,
        }
        return NetworkConfig(**fields | changes)


class Recorder:
    """A handler and metrics that remember, and wake whoever waits for a condition."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, int, bytes]] = []
        self.connected: list[str] = []
        self.disconnected: list[tuple[str, str]] = []
        self.refused: list[str] = []
        self.banned: list[tuple[str, int]] = []
        self.held_back: list[tuple[str, int]] = []
        self.dropped: list[tuple[str, Lane]] = []
        self.raises: Exception | None = None
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def on_message(self, peer: str, kind: int, payload: bytes) -> None:
        if self.raises is not None:
            error, self.raises = self.raises, None
            raise error
        self.messages.append((peer, kind, payload))
        self._changed.set()

    def on_connected(self, peer: str) -> None:
        self.connected.append(peer)
        self._changed.set()

    def on_disconnected(self, peer: str, reason: str) -> None:
        self.disconnected.append((peer, reason))
        self._changed.set()

    def peer_disconnected(self, peer: str, reason: str) -> None:
        self._changed.set()

    def connection_refused(self, reason: str) -> None:
        self.refused.append(reason)
        self._changed.set()

    def peer_banned(self, peer: str, duration_ms: int) -> None:
        self.banned.append((peer, duration_ms))

    def peer_held_back(self, peer: str, duration_ms: int) -> None:
        self.held_back.append((peer, duration_ms))
        self._changed.set()

    def message_dropped(self, peer: str, lane: Lane) -> None:
        self.dropped.append((peer, lane))


class Node:
    """A network with its recorder."""

    def __init__(self, config: NetworkConfig, seed: int = 0) -> None:
        self.seen = Recorder()
        self.name = config.name
        self._started = False
        self.clock_ahead_ms = 0
        self.network = PeerNetwork(
            config, self.seen, random=Random(f"{config.name}{seed}"), metrics=self.seen, now_ms=self._now_ms
        )

    def _now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.clock_ahead_ms

    async def start(self) -> None:
        if not self._started:
            self._started = True
            await self.network.start()

    def address(self, member: str) -> PeerAddress:
        return PeerAddress(self.name, member, "127.0.0.1", self.network.listen_port)


@contextlib.asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[None]:
    """Start the nodes that are not yet, and stop all; nothing may be left behind."""
    before = asyncio.all_tasks()
    try:
        for node in nodes:
            await node.start()
        yield
    finally:
        for node in nodes:
            await node.network.stop()
        left = asyncio.all_tasks() - before
        assert not left, f"tasks left behind: {left}"


class RawPeer:
    """The other side of a connection, bytes by hand: what a faulty or hostile peer is made of."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def dial(cls, port: int, context: ssl.SSLContext | None) -> RawPeer:
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context))

    def say_hello(self, name: str, **changes: Any) -> None:  # Any: fields of Hello
        fields: dict[str, Any] = {
            "protocol": 1,
            "protocol_oldest": 1,
            "chain_id": CHAIN_ID,
            "name": name,
            "instance": b"instance",
            "software": "raw",
            "status": b"",
        }
        self.writer.write(PREAMBLE + hello_frame(Hello(**fields | changes)))

    def frame(self, kind: int, payload: bytes) -> None:
        self.writer.write(encode_frame(kind, payload))

    async def goodbye(self) -> str | None:
        """Read to the end; return the reason of the GOODBYE, if there was one."""
        decoder = FrameDecoder(EVERY_KIND)
        reason = None
        with contextlib.suppress(OSError):
            async with asyncio.timeout(WAIT_S):
                while data := await self.reader.read(65_536):
                    for kind, payload in decoder.feed(data):
                        if kind == GOODBYE:
                            reason = goodbye_reason(payload)
        self.close()
        return reason

    def close(self) -> None:
        self.writer.transport.abort()


def client_context(consortium: Consortium, files: TlsFiles) -> ssl.SSLContext:
    """Return the context of a raw client that shows the given certificate."""
    return make_context(files, TrustAnchors(consortium.member_cas, CHAIN_ID), server_side=False)


class Rubbish(InputError):
    """What a handler says of a message that makes no sense."""

    reason = "rubbish"
