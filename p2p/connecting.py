"""How connections begin and how the last ones end: listening, dialling, handshakes under a time-out, refusals.

Here: sockets, bounds on half-open connections, the log and count of refusals. Not here: which connection becomes a link
(peers), what is said in a handshake (connection).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import structlog

from p2p.config import Direction, NetworkConfig, NetworkMetrics, PeerAddress
from p2p.connection import Connection, Owner
from p2p.members import Membership
from p2p.quotas import TokenBucket
from p2p.reasons import REMOTE_DUPLICATE, PeerRefused, Reason, is_held_against, slug_of
from p2p.tls import reason_of_failure
from primitives.errors import InputError, UsageError

LISTEN_BACKLOG = 128
ACCEPT_RETRY_MS = 200

Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], object]
"""Runs a coroutine as a task of the network's group."""

_log = structlog.get_logger("p2p")


class Connector:
    """Owns every connection from its first byte to its last; who is linked is the network's to say."""

    def __init__(
        self,
        config: NetworkConfig,
        members: Membership,
        metrics: NetworkMetrics,
        owner: Owner,
        *,
        ban: Callable[[str, str], object],
        now_ms: Callable[[], int],
    ) -> None:
        """`ban` takes the name of a peer and the reason; `now_ms` is the wall clock."""
        self._config = config
        self._members = members
        self._metrics = metrics
        self._owner = owner
        self._ban = ban
        self._now_ms = now_ms
        self._connections: set[Connection] = set()
        self._half_open: Counter[str] = Counter()  # by address
        self._all_gone = asyncio.Event()
        per_second = config.limits.refusal_logs_per_second
        self._refusal_logs = TokenBucket(per_second, per_second, 0)
        self._refusals_unlogged = 0

    def listen(self) -> socket.socket | None:
        """Return the listening socket. Accepting ourselves lets limits act, and refusals be named, before TLS."""
        host = self._config.listen_host
        if host is None:
            return None
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, self._config.listen_port), family=family, backlog=LISTEN_BACKLOG)
        except OSError as error:
            where = f"{host}:{self._config.listen_port}"
            raise UsageError("cannot listen for peers", where=where, got=error.strerror or error) from None
        listener.setblocking(False)
        return listener

    async def accept_forever(self, listener: socket.socket, spawn: Spawn) -> None:
        """Take connections in, each through a handshake in a task of its own, as many as the limits allow."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, address = await loop.sock_accept(listener)
            except OSError as error:  # out of file descriptors, or the peer was gone before we looked
                _log.warning("cannot accept", node=self._config.name, error=str(error))
                await asyncio.sleep(ACCEPT_RETRY_MS / 1_000)
                continue
            host = str(address[0])
            connection = self._new_connection("in", f"{host}:{address[1]}")
            if self._has_room(host):
                self._half_open[host] += 1
                spawn(self._bring_in(connection, sock, host))
            else:
                sock.close()
                connection.close(Reason.TOO_MANY_HALF_OPEN)
                self._refused(connection, PeerRefused(Reason.TOO_MANY_HALF_OPEN, "too many handshakes under way"))

    def _has_room(self, host: str) -> bool:
        """Say whether one more handshake may begin; also bounds connections that are about to close."""
        limits = self._config.limits
        open_max = 2 * (limits.half_open_max + limits.unlisted_links_max + len(self._members.listed))
        return (
            self._half_open.total() < limits.half_open_max
            and self._half_open[host] < limits.half_open_per_address_max
            and len(self._connections) <= open_max
        )

    def _new_connection(self, direction: Direction, address: str, expects: str | None = None) -> Connection:
        connection = Connection(self._owner, direction, address, self._now_ms(), expects)
        self._connections.add(connection)
        return connection

    async def _bring_in(self, connection: Connection, sock: socket.socket, host: str) -> None:
        limits = self._config.limits
        try:
            await self._bring_up(
                connection,
                asyncio.get_running_loop().connect_accepted_socket(
                    lambda: connection,
                    sock,
                    ssl=self._members.server_context,
                    ssl_handshake_timeout=limits.handshake_timeout_ms / 1_000,
                    ssl_shutdown_timeout=limits.close_timeout_ms / 1_000,
                ),
            )
        finally:
            self._half_open[host] -= 1
            if not self._half_open[host]:
                del self._half_open[host]

    async def dial(self, address: PeerAddress) -> None:
        """Try once to reach a listed node; whether it worked shows in the links."""
        limits = self._config.limits
        assert address.host is not None
        connection = self._new_connection("out", f"{address.host}:{address.port}", address.name)
        await self._bring_up(
            connection,
            asyncio.get_running_loop().create_connection(
                lambda: connection,
                address.host,
                address.port,
                ssl=self._members.client_context,
                ssl_handshake_timeout=limits.handshake_timeout_ms / 1_000,
                ssl_shutdown_timeout=limits.close_timeout_ms / 1_000,
            ),
        )

    async def _bring_up(self, connection: Connection, connecting: Coroutine[Any, Any, object]) -> None:
        """Take a connection through TCP, TLS and HELLO; a refusal is logged and counted, never raised."""
        try:
            async with asyncio.timeout(self._config.limits.handshake_timeout_ms / 1_000):
                await connecting
                await connection.established()
        except (InputError, OSError) as error:  # ssl.SSLError and TimeoutError are OSErrors
            if not connection.retired:
                connection.close(self._slug(connection, error))
            self._refused(connection, error)
        except asyncio.CancelledError:
            connection.abort()
            raise

    def gone(self, connection: Connection) -> None:
        """Forget a closed connection."""
        self._connections.discard(connection)
        if not self._connections:
            self._all_gone.set()

    async def close_all(self) -> None:
        """Say goodbye on every connection and wait a little for them to close."""
        for connection in list(self._connections):
            connection.close(Reason.SHUTDOWN)
        if not self._connections:
            return
        self._all_gone.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.limits.close_timeout_ms / 1_000):
                await self._all_gone.wait()

    def abort_all(self) -> None:
        """Drop whatever is still there."""
        for connection in list(self._connections):
            connection.abort()

    def _slug(self, connection: Connection, error: Exception) -> str:
        if isinstance(error, InputError):
            return slug_of(error)
        reason = reason_of_failure(error)
        if connection.direction == "out" and connection.identity is None and reason is Reason.CONNECTION_LOST:
            reason = Reason.DIAL_FAILED
        return reason.value

    def _refused(self, connection: Connection, error: Exception) -> None:
        """Count and log a connection that did not become a link; a flood of them must not flood the log."""
        slug = self._slug(connection, error)
        self._metrics.connection_refused(slug)
        peer = None if connection.identity is None else connection.identity.name
        if peer is not None and is_held_against(slug):
            self._ban(peer, slug)
        if slug in (Reason.DUPLICATE, REMOTE_DUPLICATE):
            return
        if slug == Reason.DIAL_FAILED:  # a peer that is down is its link's news once, not each attempt's
            _log.debug("peer unreachable", node=self._config.name, peer=connection.expects, error=str(error))
            return
        self._refusal_logs.charge(0, int(asyncio.get_running_loop().time() * 1_000))
        if self._refusal_logs.wait_ms():
            self._refusals_unlogged += 1
        else:
            # Only lines that are written count, or a flood would leave a debt and hours of silence behind it.
            self._refusal_logs.charge(1, int(asyncio.get_running_loop().time() * 1_000))
            unlogged, self._refusals_unlogged = self._refusals_unlogged, 0
            _log.warning(
                "connection refused",
                node=self._config.name,
                reason=slug,
                peer=peer or connection.expects,
                address=connection.address,
                direction=connection.direction,
                error=str(error),
                unlogged_before=unlogged,
            )
