"""The network of peers: listens, dials, keeps one link to each, bans, and hands messages over.

Here: which connection is a peer's link, back-off, bans, starting and stopping. Not here: bytes on a connection
(connection), who may link (members, tls), what messages mean.

One link per peer. Both sides may dial, so two connections can meet. Both ends then keep the same one by the same rule:
the one dialled by the node whose name is smaller. The other is retired: read to its end, so nothing sent on it is lost.
A peer whose HELLO shows another instance has restarted, and its old connection is a corpse; the new one replaces it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from random import Random

import structlog

from p2p.config import Handler, NetworkConfig, NetworkMetrics, NoMetrics, PeerAddress, PeerInfo, check_status
from p2p.connecting import Connector
from p2p.connection import Connection, Rules, State
from p2p.frames import encode_fragments, encode_frame
from p2p.handshake import INSTANCE_BYTES, LIMITS_AFTER_HELLO, Hello
from p2p.lanes import Lane
from p2p.members import Membership
from p2p.quotas import Bans
from p2p.reasons import REMOTE_DUPLICATE, PeerRefused, Reason
from p2p.tls import PeerIdentity
from primitives.errors import InputError, UsageError

_log = structlog.get_logger("p2p")


def wall_clock_ms() -> int:
    """Return milliseconds since the epoch; only certificates' validity and `since_ms` look at it."""
    return time.time_ns() // 1_000_000


class PeerNetwork:
    """Links this node to its peers. Not thread-safe: every method is called on the event loop.

    `send` and `broadcast` never wait. A message is delivered at most once, in order per peer and lane; what is queued
    when a link ends is gone, and whoever needs it asks again.
    """

    def __init__(
        self,
        config: NetworkConfig,
        handler: Handler,
        *,
        random: Random,
        metrics: NetworkMetrics | None = None,
        now_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        """Read keys and certificates; raises UsageError for our own, InputError for members' CAs."""
        limits = config.limits
        self.handler = handler
        self.rules = Rules(
            limits=limits,
            frame_limits={kind: spec.size_bytes_max for kind, spec in config.kinds.items()} | LIMITS_AFTER_HELLO,
            lanes={kind: spec.lane for kind, spec in config.kinds.items()},
        )
        self.listen_port = config.listen_port
        self._config = config
        self._metrics = metrics or NoMetrics()
        self._random = random
        self._now_ms = now_ms
        self._instance = random.randbytes(INSTANCE_BYTES)
        self._status = config.status
        self._bans = Bans(limits.ban_first_ms, limits.ban_longest_ms, limits.ban_forget_ms)
        self._links: dict[str, Connection] = {}
        self._limbo: set[Connection] = set()  # closed as duplicates; the link that replaces them is on its way
        self._members = Membership(config)
        self._link_ended: dict[str, asyncio.Event] = {}
        self._dialers: dict[str, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._main: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[Exception | None] | None = None
        self._ready = asyncio.Event()
        self._connector = Connector(config, self._members, self._metrics, self, ban=self._ban, now_ms=now_ms)

    # --- life

    async def run(self) -> None:
        """Listen and dial until `stop`; owns every task. Raises UsageError where it cannot listen, or our own fault."""
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        crash: Exception | None = None
        listener = self._connector.listen()
        try:
            async with asyncio.TaskGroup() as self._tasks:
                if listener is not None:
                    self.listen_port = listener.getsockname()[1]
                    self._spawn(self._connector.accept_forever(listener, self._spawn))
                self._ready.set()
                self._spawn(self._tick_forever())
                self._match_dialers()
                crash = await self._ended
                for task in list(self._running):
                    task.cancel()
                await self._connector.close_all()
        finally:
            if listener is not None:
                listener.close()
            self._connector.abort_all()
            self._tasks = None
        if crash is not None:
            raise crash

    async def start(self) -> None:
        """Run in a task of its own; returns once listening."""
        self._main = asyncio.create_task(self.run(), name="p2p")
        ready = asyncio.ensure_future(self._ready.wait())
        await asyncio.wait({self._main, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._main.done():
            main, self._main = self._main, None
            await main

    async def wait_ready(self) -> None:
        """Return once `run` listens; `listen_port` is then the real one."""
        await self._ready.wait()

    async def stop(self) -> None:
        """Say goodbye to all peers and end; raises what ended it before, if it was our own fault."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
        if self._main is not None:
            main, self._main = self._main, None
            await main

    def crash(self, error: Exception) -> None:
        """End the network because of our own fault; `run` raises it."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(error)

    # --- what the node uses

    def send(self, peer: str, kind: int, payload: bytes) -> bool:
        """Queue a message; False without a link or room in its queue (counted). Raises UsageError if too large."""
        self._check(kind, payload)
        link = self._links.get(peer)
        if link is None:
            return False
        if self.rules.lanes[kind] is Lane.CONSENSUS:
            return self._count(link, Lane.CONSENSUS, link.send_consensus(encode_frame(kind, payload)))
        fragments = encode_fragments(kind, payload)
        return self._count(link, Lane.BULK, link.send_bulk(fragments, sum(map(len, fragments))))

    def broadcast(self, kind: int, payload: bytes) -> int:
        """Queue a message for every linked peer, encoded once; returns for how many it found room."""
        self._check(kind, payload)
        links = self._links.values()
        if self.rules.lanes[kind] is Lane.CONSENSUS:
            frame = encode_frame(kind, payload)
            return sum([self._count(link, Lane.CONSENSUS, link.send_consensus(frame)) for link in links])
        fragments = encode_fragments(kind, payload)
        size = sum(map(len, fragments))
        return sum([self._count(link, Lane.BULK, link.send_bulk(fragments, size)) for link in links])

    def disconnect(self, peer: str, reason: str, *, ban: bool = False) -> None:
        """End a peer's link, if there is one, and shut it out for a time if `ban`."""
        link = self._links.get(peer)
        if ban and (link is None or link.state is State.CLOSED):
            self._ban(peer, reason)
        if link is not None:
            link.close(reason, held_against=ban)

    def peers(self) -> list[PeerInfo]:
        """Return the figures of every linked peer, by name; from any thread, since the links are copied at once."""
        return [link.info() for _, link in sorted(self._links.items())]

    def is_linked(self, peer: str) -> bool:
        """Say whether messages to this peer are queued rather than refused."""
        return peer in self._links

    def set_status(self, status: bytes) -> None:
        """Replace what HELLO tells new peers of this node's epoch and role."""
        check_status(status)
        self._status = status

    def set_members(self, member_cas: Mapping[str, str], peers: tuple[PeerAddress, ...]) -> None:
        """Take over the members of a later epoch, and our own certificate if its file has changed.

        Links whose certificate is not acceptable any more are ended. Raises as the constructor, changing nothing.
        """
        self._members.replace(member_cas, peers)
        for link in list(self._links.values()):
            try:
                self.identify(link, link.leaf_der)
            except InputError:
                link.close(Reason.MEMBER_REMOVED)
        self._match_dialers()

    # --- what connections ask (connection.Owner)

    def own_hello(self) -> Hello:
        """Return what this node says of itself."""
        config = self._config
        return Hello(
            protocol=config.protocol,
            protocol_oldest=config.protocol_oldest,
            chain_id=config.chain_id,
            name=config.name,
            instance=self._instance,
            software=config.software,
            status=self._status,
        )

    def identify(self, connection: Connection, leaf_der: bytes | None) -> PeerIdentity:
        """Return who a certificate speaks for, unless it may not link now; raises PeerRefused."""
        identity = self._members.identify(leaf_der, connection.expects, self._now_ms())
        if self._bans.left_ms(identity.name, self._clock_ms()):
            raise PeerRefused(Reason.BANNED, f"peer {identity.name} is banned for a time")
        # Before our HELLO: who is refused after it would believe for a moment that the link is up.
        self._check_room(identity)
        return identity

    def admit(self, connection: Connection) -> bool:
        """Decide whether a connection becomes its peer's link (False: another one stays); raises PeerRefused."""
        assert connection.identity is not None
        self._check_room(connection.identity)
        current = self._links.get(connection.name)
        return current is None or self._supersedes(connection, current)

    def link_up(self, connection: Connection) -> None:
        """Make an admitted connection its peer's link."""
        name = connection.name
        current = self._links.get(name)
        if current is not None and _continues(connection, current):
            # The two connections of one meeting: for the handler it is one link, and its queue moves over.
            self._limbo.discard(current)
            connection.take_over(current)
            self._links[name] = connection
            return
        if current is not None:
            current.close(Reason.REPLACED)
            self._drop_link(current, Reason.REPLACED)
        self._links[name] = connection
        if name in self._link_ended:
            self._link_ended[name].clear()
        _log.info("peer connected", node=self._config.name, peer=name, direction=connection.direction)
        self.handler.on_connected(name)

    def link_down(self, connection: Connection, reason: str, *, held_against: bool) -> None:
        """Forget a link that ended, and ban its peer if that is held against it."""
        if held_against:
            self._ban(connection.name, reason)
        if reason == REMOTE_DUPLICATE and self._links.get(connection.name) is connection:
            # The other side has the better connection already, and ours of it is only behind: wait before telling.
            self._limbo.add(connection)
            grace_s = self.rules.limits.close_timeout_ms / 1_000
            asyncio.get_running_loop().call_later(grace_s, self._end_limbo, connection)
        else:
            self._drop_link(connection, reason)

    def held_back(self, connection: Connection, duration_ms: int) -> None:
        """Count that a peer is over its quota."""
        self._metrics.peer_held_back(connection.name, duration_ms)

    def connection_gone(self, connection: Connection) -> None:
        """Forget a closed connection."""
        self._connector.gone(connection)

    # --- connections coming up

    async def _keep_linked(self, name: str) -> None:
        """Dial a listed peer whenever there is no link to it."""
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            banned_ms = self._bans.left_ms(name, self._clock_ms())
            await asyncio.sleep(max(banned_ms, self._backoff_ms(attempt)) / 1_000)
            if name not in self._links:
                await self._connector.dial(self._members.listed[name])
            link = self._links.get(name)
            if link is None:
                attempt += 1
                continue
            await self._link_ended[name].wait()
            lived_ms = (loop.time() - link.opened_at) * 1_000
            attempt = 1 if lived_ms >= self.rules.limits.backoff_reset_ms else attempt + 1

    def _backoff_ms(self, attempt: int) -> int:
        """Return how long to wait before the given attempt: doubling to the cap, and half of it by chance."""
        limits = self.rules.limits
        if not attempt:
            return 0
        longest = min(limits.backoff_longest_ms, limits.backoff_first_ms << min(attempt - 1, 20))
        return longest - self._random.randrange(longest // 2 + 1)

    # --- links

    def _supersedes(self, new: Connection, current: Connection) -> bool:
        """Say whether a new connection takes the place of the peer's link; both ends come to the same answer."""
        if not _continues(new, current) or current in self._limbo:
            return True
        dialled_here = new.direction == "out"
        return dialled_here == (self._config.name < new.name)

    def _check_room(self, identity: PeerIdentity) -> None:
        """Raise PeerRefused where there is no room for this node, or its name is linked for another member."""
        current = self._links.get(identity.name)
        if current is None:
            self._members.check_room(identity, [link.identity for link in self._links.values() if link.identity])
        elif current.identity is not None and current.identity.member != identity.member:
            raise PeerRefused(
                Reason.NAME_TAKEN, f"node {identity.name}", expected=current.identity.member, got=identity.member
            )

    def _drop_link(self, connection: Connection, reason: str) -> None:
        name = connection.name
        self._limbo.discard(connection)
        if self._links.get(name) is not connection:
            return
        del self._links[name]
        if name in self._link_ended:
            self._link_ended[name].set()
        self._metrics.peer_disconnected(name, reason)
        _log.info("peer disconnected", node=self._config.name, peer=name, reason=reason)
        try:
            self.handler.on_disconnected(name, reason)
        except Exception as error:  # noqa: BLE001  # often called by the transport, which would only log it
            self.crash(error)

    def _end_limbo(self, connection: Connection) -> None:
        if connection in self._limbo:
            self._drop_link(connection, REMOTE_DUPLICATE)

    def _ban(self, name: str, reason: str) -> None:
        ban_ms = self._bans.strike(name, self._clock_ms())
        self._metrics.peer_banned(name, ban_ms)
        _log.warning("peer banned", node=self._config.name, peer=name, reason=reason, duration_ms=ban_ms)

    # --- the rest

    def _match_dialers(self) -> None:
        """Have one dialler for each listed peer with an address, and none for others."""
        if self._tasks is None:
            return
        dialled = {name for name, peer in self._members.listed.items() if peer.host is not None}
        for name in self._dialers.keys() - dialled:
            self._dialers.pop(name).cancel()
            del self._link_ended[name]
        for name in sorted(dialled - self._dialers.keys()):
            self._link_ended[name] = asyncio.Event()
            self._dialers[name] = self._spawn(self._keep_linked(name))

    async def _tick_forever(self) -> None:
        loop = asyncio.get_running_loop()
        tick_s = self.rules.limits.tick_ms / 1_000
        due = loop.time() + tick_s
        while True:
            await asyncio.sleep(due - loop.time())
            now = loop.time()
            late = max(0.0, now - due)
            for link in list(self._links.values()):
                link.tick(now, self._now_ms(), late)
            due = now + tick_s

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        assert self._tasks is not None
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def _check(self, kind: int, payload: bytes) -> None:
        spec = self._config.kinds.get(kind)
        if spec is None:
            raise UsageError("message kind", expected="one of the configured kinds", got=kind)
        if len(payload) > spec.size_bytes_max:
            raise UsageError(f"payload of {spec.name}", expected=f"<= {spec.size_bytes_max} bytes", got=len(payload))

    def _count(self, link: Connection, lane: Lane, accepted: bool) -> bool:
        if not accepted:
            self._metrics.message_dropped(link.name, lane)
        return accepted

    def _clock_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1_000)


def _continues(new: Connection, current: Connection) -> bool:
    """Say whether two connections are the two of one meeting: the same two processes, dialled from both sides."""
    assert new.hello is not None
    assert current.hello is not None
    return new.hello.instance == current.hello.instance and new.direction != current.direction
