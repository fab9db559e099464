"""Who has subscribed to what, and how notifications reach them: no gap, no repetition, and nobody waits for anybody.

A subscription stands at a place. Behind the newest block it catches up: it reads bounded runs out of the store, beside
the loop, as fast as its client takes them. At the newest block it is live, with all others of the same stream: each
piece of a block is rendered once and its bytes are given to all of them. What counts is the place alone: a live one is
given just the piece that begins where it stands, and whoever does not stand there, or whose client has not taken what
it was sent, catches up again. So nothing has to be joined, and a slow client costs a place in memory.

A client that was live and does not come back to the newest block within BEHIND_S is told its cursor and closed.
Here: all of that, for the connections of one listener. Not here: what a notification says (`rpc.announcing`), frames
and closing (`rpc.websocket`). Lives on the loop; what is rendered is rendered on threads of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import structlog

from rpc.announcing import Announcer, Piece
from rpc.errors import Code, RpcError, unavailable
from rpc.feed import Feed
from rpc.jsonrpc import encode
from rpc.limits import SUBSCRIPTIONS_A_CONNECTION_MAX, SUBSCRIPTIONS_MAX
from rpc.ports import CallObserver, Services
from rpc.streams import Place, Stream, cursor_of
from rpc.websocket_frames import text_frame_head

BEHIND_S: Final = 10.0
"""How long a client that was live may stay behind before it is closed."""
GIVEN_A_TURN: Final = 16
"""Live subscriptions that are given a piece before the loop has its turn."""
THREADS: Final = 2
"""One for what is live, one for those that catch up, one after another."""

log = structlog.get_logger("rpc")


class Outlet(Protocol):
    """A connection, as its subscriptions see it."""

    def push(self, frames: bytes) -> None:
        """Send whole WebSocket frames, after all that was sent before."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether its client has taken most of what was sent."""
        ...

    async def drained(self) -> None:
        """Return when there is room. Raises ConnectionError where the connection is gone."""
        ...

    def close_behind(self, cursor: str) -> None:
        """Close the connection of a client that is too slow, telling it the cursor from which to go on."""
        ...

    def abort(self) -> None:
        """Cut the connection: it cannot be served."""
        ...


@dataclass(frozen=True, slots=True)
class SubscriptionLimits:
    """How many there may be, and how long a client may be behind."""

    subscriptions_max: int = SUBSCRIPTIONS_MAX
    of_connection_max: int = SUBSCRIPTIONS_A_CONNECTION_MAX
    behind_s: float = BEHIND_S


class Subscription:
    """One subscription: it stands at `place`, and is live while it belongs to a group."""

    def __init__(self, id_: str, stream: Stream, place: Place, outlet: Outlet) -> None:
        self.id = id_
        self.stream = stream
        self.place = place
        self.outlet = outlet
        self.group: _Group | None = None
        self.task: asyncio.Task[None] | None = None
        self.seen = -1
        """With which count of kept checkpoints there was none after its place."""
        self.too_late: asyncio.TimerHandle | None = None
        self.ended = False


class _Group:
    """The live subscriptions of one stream. What lies before `frontier` was given to all who stood there."""

    def __init__(self, stream: Stream, frontier: Place, seen: int) -> None:
        self.stream = stream
        self.frontier = frontier
        self.seen = seen
        self.members: dict[Subscription, None] = {}


class Subscriptions:
    """All subscriptions of a listener."""

    def __init__(
        self, services: Services, observer: CallObserver | None = None, limits: SubscriptionLimits | None = None
    ) -> None:
        self.limits = limits or SubscriptionLimits()
        self._feed: Feed | None = services.feed
        self._chain_id = services.reads.chain_id
        self.announcer = Announcer(services)
        self._observer = observer
        self._groups: dict[Stream, _Group] = {}
        self.count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads: ThreadPoolExecutor | None = None
        self._catching = asyncio.Semaphore(THREADS - 1)
        self._moved = asyncio.Event()
        self._stop_listening: Callable[[], None] = _nothing

    @property
    def feed(self) -> Feed:
        """How far the chain is; -32002 on a node that tells nobody."""
        if self._feed is None:
            raise unavailable("no_feed", "this node serves no subscriptions", retryable=False)
        return self._feed

    def connection(self, outlet: Outlet) -> Subscriber:
        """Return the subscriptions of a new connection: none yet."""
        return Subscriber(self, outlet)

    def cursor(self, subscription: Subscription) -> str:
        """Return the cursor of where a subscription stands."""
        return cursor_of(self._chain_id, subscription.stream.topic, subscription.place)

    async def close(self) -> None:
        """Give nobody anything any more."""
        self._stop_listening()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    # --- beginning and ending

    def begin(self, subscription: Subscription) -> None:
        """Give a subscription what follows its place."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, "subscriptions")
            self._stop_listening = self.feed.listen(self._moved.set)
            self._own(self._announce())
        self._catch_up(subscription)

    def end(self, subscription: Subscription) -> None:
        """Give a subscription nothing more."""
        if subscription.ended:
            return
        subscription.ended = True
        self.count -= 1
        if self._observer is not None:
            self._observer.subscribed(subscription.stream.topic, -1)
        self._leave(subscription)
        if subscription.too_late is not None:
            subscription.too_late.cancel()
        if subscription.task is not None and subscription.task is not asyncio.current_task():
            subscription.task.cancel()

    def taken(self, topic: str) -> None:
        """Count a subscription that is to begin."""
        self.count += 1
        if self._observer is not None:
            self._observer.subscribed(topic, 1)

    def _own(self, coroutine: Coroutine[Any, Any, None], of: Subscription | None = None) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, of))
        return task

    def _ended(self, of: Subscription | None, task: asyncio.Task[None]) -> None:
        """Cut off whom a fault of our own leaves without what it subscribed to: it has its cursor."""
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("rpc_subscriptions_failed", exc_info=error)
        if of is not None:
            of.outlet.abort()
            return
        for subscription in [item for group in self._groups.values() for item in group.members]:
            subscription.outlet.abort()
        self._own(self._announce())

    # --- catching up

    def _catch_up(self, subscription: Subscription) -> None:
        subscription.task = self._own(self._bring_up(subscription), subscription)

    async def _bring_up(self, subscription: Subscription) -> None:
        """Give a subscription what lies between its place and the newest block, and let it be live then."""
        loop = asyncio.get_running_loop()
        try:
            while not self._joins(subscription):
                await subscription.outlet.drained()
                async with self._catching:
                    if not subscription.outlet.has_room:  # others of its connection were given something meanwhile
                        continue
                    stream, place = subscription.stream, subscription.place
                    seen, height = self.feed.checkpoints, self.reached(stream)
                    run = partial(self.announcer.run, stream, place, height)
                    found = await loop.run_in_executor(self._threads, run)
                if isinstance(found, RpcError):
                    self._fail(subscription, found)
                    return
                if not found:
                    subscription.seen = seen
                for piece in found:
                    self._give(subscription, piece)
        except ConnectionError:
            self.end(subscription)
        finally:
            subscription.task = None

    def _joins(self, subscription: Subscription) -> bool:
        """Let a subscription be live if there is nothing between its place and what its group is given next."""
        if subscription.ended:
            return True
        stream, place = subscription.stream, subscription.place
        if stream.of_chain and place.height <= self.reached(stream):
            return False
        if stream.by_checkpoints and subscription.seen != self.feed.checkpoints:
            return False
        group = self._groups.get(stream)
        if group is None:
            # At the block's start: a cursor may stand inside a block that comes yet, and others before it.
            frontier = Place(place.height) if stream.of_chain else place
            group = self._groups[stream] = _Group(stream, frontier, self.feed.checkpoints)
        elif stream.of_chain and group.frontier > place and not stream.by_checkpoints:
            return False
        group.members[subscription] = None
        subscription.group = group
        if subscription.too_late is not None:
            subscription.too_late.cancel()
            subscription.too_late = None
        return True

    def _leave(self, subscription: Subscription) -> None:
        group, subscription.group = subscription.group, None
        if group is not None:
            group.members.pop(subscription, None)
            if not group.members and self._groups.get(group.stream) is group:
                del self._groups[group.stream]

    def _fall_behind(self, subscription: Subscription) -> None:
        """Let a client that has not taken what it was sent go on at its own pace, for a while."""
        self._leave(subscription)
        if subscription.too_late is None:
            loop = asyncio.get_running_loop()
            subscription.too_late = loop.call_later(self.limits.behind_s, self._too_late, subscription)
        self._catch_up(subscription)

    def _too_late(self, subscription: Subscription) -> None:
        subscription.too_late = None
        if not subscription.ended:
            self.tell_slow()
            subscription.outlet.close_behind(self.cursor(subscription))

    def reached(self, stream: Stream) -> int:
        """Return the newest block of which a stream may be told."""
        return self.feed.reconciled if stream.lags else self.feed.height

    def tell_slow(self) -> None:
        """Count a client that was closed because it was too slow."""
        if self._observer is not None:
            self._observer.subscriber_slow()

    # --- what is live

    async def _announce(self) -> None:
        """Give each group what follows, as the chain goes on."""
        loop = asyncio.get_running_loop()
        while True:
            await self._moved.wait()
            self._moved.clear()
            while waiting := [group for group in self._groups.values() if self._is_behind(group)]:
                seen, height = self.feed.checkpoints, self.feed.height
                asks = [(group.stream, group.frontier) for group in waiting]
                found = await loop.run_in_executor(self._threads, self.announcer.live, asks)
                for group, piece in zip(waiting, found, strict=True):
                    if not group.stream.of_chain or group.frontier.height > height:
                        group.seen = seen
                    if isinstance(piece, RpcError):
                        for subscription in list(group.members):
                            self._fail(subscription, piece)
                    else:
                        await self._give_all(group, piece)

    def _is_behind(self, group: _Group) -> bool:
        if group.stream.of_chain and group.frontier.height <= self.reached(group.stream):
            return True
        return group.stream.by_checkpoints and group.seen != self.feed.checkpoints

    async def _give_all(self, group: _Group, piece: Piece) -> None:
        """Give a piece to those of a group who stand at its start; others catch up if they lack it."""
        group.frontier = piece.end  # who joins from here on stands behind it
        for given, subscription in enumerate(list(group.members), 1):
            if subscription.group is not group:
                continue
            if subscription.place == piece.start:
                if subscription.outlet.has_room:
                    self._give(subscription, piece)
                if not subscription.outlet.has_room:
                    self._fall_behind(subscription)
            elif subscription.place != piece.end and not (group.stream.of_chain and subscription.place > piece.end):
                self._leave(subscription)
                self._catch_up(subscription)
            if given % GIVEN_A_TURN == 0 and len(piece):
                await asyncio.sleep(0)

    def _give(self, subscription: Subscription, piece: Piece) -> None:
        if subscription.ended:
            return
        if len(piece):
            frames, count = piece.frames(subscription.id, subscription.place)
            if count:
                subscription.outlet.push(frames)
                if self._observer is not None:
                    self._observer.notified(subscription.stream.topic, count)
        subscription.place = piece.end

    def _fail(self, subscription: Subscription, error: RpcError) -> None:
        """Tell a client why its subscription ends, and at which cursor."""
        if subscription.ended:
            return
        said = {
            "jsonrpc": "2.0",
            "method": "ledger_subscription",
            "params": {
                "subscription": subscription.id,
                "error": error.object(""),
                "cursor": self.cursor(subscription),
            },
        }
        text = encode(said)
        subscription.outlet.push(text_frame_head(len(text)) + text)
        self.end(subscription)


class Subscriber:
    """The subscriptions of one connection, by their ids, which count from 1."""

    def __init__(self, shared: Subscriptions, outlet: Outlet) -> None:
        self.shared = shared
        self._outlet = outlet
        self._subscriptions: dict[str, Subscription] = {}
        self._made = 0
        self._over = False

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._live())

    def open(self, stream: Stream, place: Place) -> Subscription:
        """Return a new subscription, which `Subscriptions.begin` lets begin; -32005 where there are too many.

        -32600 where the connection is gone or its rights have ended since the call came: nobody would end it.
        """
        if self._over:
            raise RpcError(
                Code.INVALID_REQUEST,
                "connection_over",
                "the connection has ended",
                expected="an open connection",
                got="one that is closed or being closed",
            )
        limits, live = self.shared.limits, self._live()
        if len(live) >= limits.of_connection_max:
            raise _too_many("too many subscriptions on this connection", limits.of_connection_max)
        if self.shared.count >= limits.subscriptions_max:
            raise _too_many("too many subscriptions at this node", limits.subscriptions_max)
        self._made += 1
        made = Subscription(str(self._made), stream, place, self._outlet)
        self._subscriptions = {item.id: item for item in live} | {made.id: made}
        self.shared.taken(stream.topic)
        return made

    def unsubscribe(self, id_: str) -> bool:
        """End a subscription; say whether there was one."""
        found = self._subscriptions.pop(id_, None)
        if found is None or found.ended:
            return False
        self.shared.end(found)
        return True

    def cursor(self) -> str:
        """Return the cursor of the subscription that is furthest behind."""
        return self.shared.cursor(min(self._live(), key=lambda item: item.place))

    def end(self) -> None:
        """End all, and let none begin: the connection is gone, or its rights are."""
        self._over = True
        for item in self._live():
            self.shared.end(item)
        self._subscriptions.clear()

    def _live(self) -> list[Subscription]:
        return [item for item in self._subscriptions.values() if not item.ended]


class MessageSubscriber:
    """What one message's calls may do: what they open begins once the message is answered."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber
        self._opened: list[Subscription] = []

    @property
    def shared(self) -> Subscriptions:
        """All subscriptions of the listener."""
        return self._subscriber.shared

    def open(self, stream: Stream, place: Place) -> Subscription:
        """Return a new subscription, which begins with `answered`."""
        made = self._subscriber.open(stream, place)
        self._opened.append(made)
        return made

    def unsubscribe(self, id_: str) -> bool:
        """End a subscription of the connection; say whether there was one."""
        return self._subscriber.unsubscribe(id_)

    def answered(self) -> None:
        """Let what was opened begin: its ids are on the way, before anything that is said under them."""
        for item in self._opened:
            if not item.ended:
                self.shared.begin(item)
        self._opened.clear()


def _nothing() -> None:
    """What there is to stop before anything began."""


def _too_many(what: str, limit: int) -> RpcError:
    return RpcError(
        Code.LIMIT_EXCEEDED,
        "too_many_subscriptions",
        what,
        expected=f"at most {limit}",
        got="one more",
        hint="one subscription to all events may do the work of many",
    )
