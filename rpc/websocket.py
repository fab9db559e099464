"""JSON-RPC over WebSocket at /ws: one connection, many requests under way at once, each answered under its id.

Here: the upgrade, reading messages, answering them side by side, and how a connection ends. Not here: who may connect
(`rpc.server` has checked Host, Origin and token before), what a message means (`rpc.dispatch`), frames (aiohttp).
Source: RFC 6455; docs/api.md.

A connection has the rights of the token that its upgrade carried, and is closed when these end. What holds for a
request by POST holds for a message: size, rate, number at a time. A caller with too many under way is not refused but
not read from until one has ended. What is sent goes through `Conversation.send`, whoever says it: all that a turn of
the loop brings leaves in one write, and who does not read it is cut off. What subscriptions are told takes the same way
(`rpc.subscriptions`).

What was asked is done though the caller leaves: nobody is there to be answered, as with POST.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from rpc import jsonrpc
from rpc.access import RateLimit, Running
from rpc.call_log import is_logged, log_call
from rpc.dispatch import WAIT_GRACE_S, Answer, Caller, Dispatcher
from rpc.errors import Code, RpcError
from rpc.limits import READ_BODY_BYTES_MAX, SUBMISSION_BYTES_MIN
from rpc.ports import Services
from rpc.subscriptions import MessageSubscriber, SubscriptionLimits, Subscriptions
from rpc.websocket_frames import text_frame_head

WEBSOCKET_PATH = "/ws"
VERSION = "13"
# After so long without a word from the other side it is asked for one, and has half as long again to answer.
PING_S = 30
# How long the other side's part of a closing is waited for, and running requests at shutdown.
CLOSING_TIMEOUT_S = 1
ENDING_TIMEOUT_S = 3
# Who takes less than this of what waits for it in so long, or lets more than that wait, does not read.
SLOW_READER_S = 10
SLOW_READER_BYTES_MIN = 64 * 1024
UNREAD_BYTES_MAX = 64 * 1024 * 1024
# So much may wait to be sent before no more is read from that side.
UNREAD_BYTES_PAUSE = 1024 * 1024
# How often it is looked whether rights have ended: a clock that was set ahead ends them too, without being asked.
RIGHTS_TIMER_S_MIN, RIGHTS_TIMER_S_MAX = 0.01, 60.0
# How long who was too slow for its subscriptions may take to read the rest, and its cursor behind it.
SLOW_SUBSCRIBER_CLOSING_S = 10
SLOW_SUBSCRIBER = b"slow_subscriber"
# Messages that are begun before the loop has its turn.
MESSAGES_A_TURN = 8
_PONG_FRAME = 0x8A  # its payload is a ping's: 125 bytes at most, so that its length is one byte

# Why a connection was closed: what the close frame says besides the code, at most 123 bytes.
CLOSE_REASONS: dict[int, bytes] = {
    WSCloseCode.GOING_AWAY: b"going_away: the node stops",
    WSCloseCode.PROTOCOL_ERROR: b"protocol_error: frames as RFC 6455 has them are taken",
    WSCloseCode.UNSUPPORTED_DATA: b"binary_message: JSON-RPC in text messages is taken",
    WSCloseCode.INVALID_TEXT: b"not_utf8: a text message is UTF-8",
    WSCloseCode.MESSAGE_TOO_BIG: b"message_too_large: send less at a time",
    WSCloseCode.POLICY_VIOLATION: b"rights_ended: the token or certificate counts no more",
    WSCloseCode.TRY_AGAIN_LATER: SLOW_SUBSCRIBER,
}

log = structlog.get_logger("rpc")
Drain = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """The size of a message, how many connections there may be, and requests under way on one of them."""

    body_bytes_max: int
    websockets_max: int
    websocket_requests_max: int
    subscriptions: SubscriptionLimits = field(default_factory=SubscriptionLimits)


class WebSockets:
    """All WebSocket connections of a listener, and the tasks that answer their requests."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        services: Services,
        rate: RateLimit,
        running: Running,
        limits: WebSocketLimits,
    ) -> None:
        self.dispatcher = dispatcher
        self.services = services
        self.rate = rate
        self.running = running
        self.limits = limits
        self.subscriptions = Subscriptions(services, dispatcher.observer, limits.subscriptions)
        self.tasks: set[asyncio.Task[None]] = set()
        self._open: set[Conversation] = set()

    async def serve(self, request: web.Request, caller: Caller, headers: dict[str, str]) -> web.StreamResponse:
        """Upgrade a connection, with these headers, and answer its requests until it ends.

        Raises `RpcError` where the request is no upgrade, or too many connections are open.
        """
        _check_upgrade(request)
        if len(self._open) >= self.limits.websockets_max:
            raise RpcError(
                Code.LIMIT_EXCEEDED,
                "too_many_websockets",
                "too many WebSocket connections",
                expected=f"at most {self.limits.websockets_max}",
                got="one more",
                hint="send several requests over one connection",
                retryable=True,
            )
        size_max = self.limits.body_bytes_max
        if not caller.rights.may_submit:  # whoever may not submit has nothing large to say
            size_max = min(size_max, READ_BODY_BYTES_MAX)
        socket = _Socket(
            timeout=CLOSING_TIMEOUT_S,
            heartbeat=max(PING_S, self.services.wait_timeout_ms / 1_000 + WAIT_GRACE_S),
            compress=False,  # messages are never inflated: a few kilobytes could become gigabytes
            max_msg_size=size_max + 1,
            decode_text=False,
            autoping=False,  # pongs go the way of all that is sent, lest who reads none is waited for without end
        )
        socket.headers.update(headers)
        writer = await socket.prepare(request)
        assert writer is not None, "an upgrade writes its answer"
        transport = request.transport
        if transport is None:  # gone meanwhile
            return socket
        conversation = Conversation(self, socket, transport, caller, request.remote or "")
        self._open.add(conversation)
        try:
            await conversation.run(writer.drain)
        finally:
            self._open.discard(conversation)
        return socket

    async def close(self, app: web.Application) -> None:
        """Take no more requests, let those under way end for a few seconds, then close all connections."""
        del app
        for conversation in self._open:
            conversation.stop_reading()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=ENDING_TIMEOUT_S)
        for task in self.tasks:
            task.cancel()
        await self.subscriptions.close()
        await asyncio.gather(*(conversation.close(WSCloseCode.GOING_AWAY) for conversation in list(self._open)))


class Conversation:
    """One connection: reads messages, has them answered, sends what is to be sent. Lives on the loop."""

    def __init__(
        self, shared: WebSockets, socket: _Socket, transport: asyncio.Transport, caller: Caller, remote: str
    ) -> None:
        self._shared = shared
        self._socket = socket
        self._transport = transport
        self._caller = caller
        self._remote = remote
        self._loop = asyncio.get_running_loop()
        self._trace_prefix, self._asked = caller.trace_id[:24], secrets.randbelow(1 << 31)
        self._under_way = 0
        self._held_bytes = 0  # of the messages that are being answered
        self._room: asyncio.Future[None] | None = None
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._written = 0
        self._slow_timer: asyncio.TimerHandle | None = None
        self._rights_timer: asyncio.TimerHandle | None = None
        self._reading = True
        self._sending = True
        self._drain: Drain | None = None
        self._draining: asyncio.Task[None] | None = None
        self._subscriber = shared.subscriptions.connection(self)

    async def run(self, drain: Drain) -> None:
        """Read and begin to answer until either side closes the connection."""
        log.debug("rpc_websocket_opened", trace_id=self._caller.trace_id, remote=self._remote)
        rights = self._caller.rights
        rights.watchers.add(self._look_at_rights)
        self._look_at_rights()
        self._drain = drain
        try:
            await self._read(drain)
        except ConnectionError:
            pass  # the other side went while it was written to
        finally:
            rights.watchers.discard(self._look_at_rights)
            self._end()

    def _look_at_rights(self) -> None:
        """Take nothing more and close where the caller's rights have ended; what it asked before is done.

        Where they have not it looks again when they should have: timers may be early, and clocks may be set.
        """
        if not self._reading:
            return
        left_s = self._caller.rights.ends_s - time.time()
        if left_s <= 0:
            self.stop_reading()
            self._subscriber.end()
            self._close_soon(WSCloseCode.POLICY_VIOLATION)
            return
        if self._rights_timer is not None:
            self._rights_timer.cancel()
        delay_s = min(max(left_s, RIGHTS_TIMER_S_MIN), RIGHTS_TIMER_S_MAX)
        self._rights_timer = self._loop.call_later(delay_s, self._look_at_rights)

    def _close_soon(self, code: WSCloseCode, reason: bytes = b"") -> None:
        self._shared.tasks.add(closing := self._loop.create_task(self.close(code, reason)))
        closing.add_done_callback(self._shared.tasks.discard)

    async def _read(self, drain: Drain) -> None:
        since_turn = 0
        while True:
            await self._wait_for_room(drain)
            message = await self._socket.receive()
            if message.type is WSMsgType.BINARY:
                await self.close(WSCloseCode.UNSUPPORTED_DATA)
                return
            if message.type is WSMsgType.PING:
                self._send(bytes((_PONG_FRAME, len(message.data))), bytes(message.data))
            elif message.type is WSMsgType.TEXT:
                if self._reading:
                    self._begin(message.data)
            elif message.type is not WSMsgType.PONG:
                return
            since_turn += 1
            if since_turn == MESSAGES_A_TURN:
                since_turn = 0
                await asyncio.sleep(0)

    def stop_reading(self) -> None:
        """Begin to answer nothing more."""
        self._reading = False

    async def close(self, code: WSCloseCode, reason: bytes = b"") -> None:
        """Send what is ready, then the close frame with its reason; nothing follows it."""
        self._flush()
        self._sending = False
        try:
            await self._socket.close(code=code, message=reason)
        except ConnectionError:
            self._transport.abort()

    def send(self, text: bytes) -> None:
        """Send one message, with all others of this turn of the loop."""
        self._send(text_frame_head(len(text)), text)

    def _send(self, *parts: bytes) -> None:
        if not self._sending:
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out += parts
        self._out_bytes += sum(map(len, parts))

    # --- rpc.subscriptions.Outlet

    def push(self, frames: bytes) -> None:
        """Send whole frames of notifications."""
        self._send(frames)

    @property
    def has_room(self) -> bool:
        """Whether the other side has taken most of what was sent; what waits for the turn's end counts too."""
        return self._transport.get_write_buffer_size() + self._out_bytes <= UNREAD_BYTES_PAUSE

    async def drained(self) -> None:
        """Return when there is room. Raises ConnectionError where the connection is gone, or is being closed."""
        while self._sending and not self._transport.is_closing():
            if self.has_room:
                return
            if self._draining is None or self._draining.done():
                assert self._drain is not None, "a connection that runs"
                self._draining = self._loop.create_task(_quietly(self._drain))
            # One waits for the socket and all for that one: who is cancelled must not take it from the others.
            await asyncio.shield(self._draining)
            await asyncio.sleep(0)
        raise ConnectionResetError("the connection is closed")

    def close_behind(self, cursor: str) -> None:
        """Close the connection of who takes too little of what it subscribed to; the reason holds the cursor.

        The frame stands behind all that was sent, so whoever still reads gets all of it up to the cursor.
        """
        if not self._sending:
            return
        log.info("rpc_slow_subscriber", trace_id=self._caller.trace_id, remote=self._remote)
        self._reading = False
        self._flush()
        self._sending = False  # at once: what was given after this would be given again from the cursor
        self._loop.call_later(SLOW_SUBSCRIBER_CLOSING_S, self._transport.abort)
        self._close_soon(WSCloseCode.TRY_AGAIN_LATER, SLOW_SUBSCRIBER + b": " + cursor.encode())

    def abort(self) -> None:
        """Cut the connection: what it subscribed to cannot be given."""
        self._transport.abort()

    # --- requests

    async def _wait_for_room(self, drain: Drain) -> None:
        """Return when this connection may bring another request."""
        limits = self._shared.limits
        while self._under_way >= limits.websocket_requests_max or self._held_bytes > limits.body_bytes_max:
            self._room = self._loop.create_future()
            await self._room
        if self._transport.get_write_buffer_size() > UNREAD_BYTES_PAUSE:
            await drain()

    def _begin(self, body: bytes) -> None:
        """Have a message answered, or refuse it where it exceeds a limit of the caller's or the node's."""
        if self._caller.rights.ends_s <= time.time():
            self._look_at_rights()
            return
        self._asked += 1
        trace_id = f"{self._trace_prefix}{self._asked & 0xFFFF_FFFF:08x}"
        caller = Caller(trace_id, self._caller.rights, MessageSubscriber(self._subscriber), self._remote)
        try:
            self._take(1)
            self._shared.running.enter()
        except RpcError as error:
            self._answered(self._refused(error, body, caller), caller, time.perf_counter())
            return
        self._under_way += 1
        self._held_bytes += len(body)
        task = self._loop.create_task(self._answer(body, caller))
        self._shared.tasks.add(task)
        task.add_done_callback(partial(self._done, len(body)))

    async def _answer(self, body: bytes, caller: Caller) -> None:
        """Answer one message."""
        started = time.perf_counter()
        try:
            if caller.rights.may_submit and len(body) >= SUBMISSION_BYTES_MIN:
                self._shared.services.gateway.check_room()
        except RpcError as error:
            answer = self._refused(error, body, caller)
        else:
            answer = await self._shared.dispatcher.answer_body(body, caller, self._take)
        self._answered(answer, caller, started)

    def _answered(self, answer: Answer, caller: Caller, started: float) -> None:
        if answer.refused == "not_utf8":
            self._close_soon(WSCloseCode.INVALID_TEXT)
        elif answer.body is not None:
            self.send(answer.body)
        if caller.here is not None:
            caller.here.answered()
        if is_logged(answer, None):
            fields: dict[str, object] = {"trace_id": caller.trace_id, "remote": self._remote, "http": "WS"}
            log_call(answer, None, time.perf_counter() - started, fields, WEBSOCKET_PATH)

    def _refused(self, error: RpcError, body: bytes, caller: Caller) -> Answer:
        return self._shared.dispatcher.refuse(error, caller, jsonrpc.id_of(body))

    def _done(self, size: int, task: asyncio.Task[None]) -> None:
        """Give a request's place to the next one."""
        self._shared.tasks.discard(task)
        self._shared.running.leave()
        self._under_way -= 1
        self._held_bytes -= size
        if self._room is not None:
            if not self._room.done():
                self._room.set_result(None)
            self._room = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("rpc_request_failed", path=WEBSOCKET_PATH, trace_id=self._caller.trace_id, exc_info=error)
            self._transport.abort()

    def _take(self, calls: int) -> None:
        rights = self._caller.rights
        self._shared.rate.take(rights.client or self._remote, calls, int(time.monotonic() * 1_000), rights.role)

    # --- what goes out

    def _flush(self) -> None:
        """Write what was said since the last time."""
        if not self._out:
            return
        data = b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        if not self._sending or self._transport.is_closing():
            return
        self._transport.write(data)
        self._written += len(data)
        unread = self._transport.get_write_buffer_size()
        if unread > UNREAD_BYTES_MAX:
            self._cut_off(unread)
        elif unread and self._slow_timer is None:
            self._watch(self._written - unread)

    def _watch(self, taken: int) -> None:
        """See to it that the other side goes on reading: it has taken so many bytes up to now."""
        self._slow_timer = self._loop.call_later(SLOW_READER_S, self._check_reader, taken)

    def _check_reader(self, taken_before: int) -> None:
        self._slow_timer = None
        unread = self._transport.get_write_buffer_size()
        taken = self._written - unread
        if not unread or self._transport.is_closing():
            return
        if taken - taken_before < SLOW_READER_BYTES_MIN:
            self._cut_off(unread)
        else:
            self._watch(taken)

    def _cut_off(self, unread: int) -> None:
        """Close the connection of who does not read; no close frame would reach it either, but for a subscriber's."""
        if self._subscriber and self._sending and unread <= UNREAD_BYTES_MAX:
            self._shared.subscriptions.tell_slow()
            self.close_behind(self._subscriber.cursor())
            return
        log.info("rpc_slow_reader", trace_id=self._caller.trace_id, remote=self._remote, unread_bytes=unread)
        self._sending = False
        self._transport.abort()

    def _end(self) -> None:
        self._reading = self._sending = False
        self._out.clear()
        self._subscriber.end()
        for timer in (self._slow_timer, self._rights_timer):
            if timer is not None:
                timer.cancel()
        if not self._socket.closed:
            self._transport.abort()
        code = self._socket.said
        fields = {"trace_id": self._caller.trace_id, "remote": self._remote, "code": int(code)}
        if code in (WSCloseCode.OK, WSCloseCode.GOING_AWAY):
            log.debug("rpc_websocket_closed", **fields)
        else:
            reason = CLOSE_REASONS.get(code, b"other").partition(b":")[0].decode()
            log.info("rpc_websocket_refused", **fields, reason=reason)


class _Socket(web.WebSocketResponse):
    """aiohttp's, whose close frames say why; `said` is the code of the one that was sent, OK where none was."""

    said: int = WSCloseCode.OK

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        if not self.closed:
            self.said = code
        return await super().close(code=code, message=message or CLOSE_REASONS.get(code, b""), drain=drain)


async def _quietly(drain: Drain) -> None:
    """Wait until a socket takes more, or is gone."""
    with contextlib.suppress(ConnectionError):
        await drain()


def _check_upgrade(request: web.Request) -> None:
    """Refuse by name what is no upgrade to WebSocket, or asks for more than this API speaks."""
    headers = request.headers
    asked = headers.get("Upgrade", "none")
    if asked.strip().lower() != "websocket" or headers.get("Sec-WebSocket-Version") != VERSION:
        raise RpcError(
            Code.INVALID_REQUEST,
            "not_a_websocket",
            "not an upgrade to WebSocket",
            expected=f"Upgrade: websocket, Sec-WebSocket-Version: {VERSION}",
            got=f"{asked}, {headers.get('Sec-WebSocket-Version', 'no version')}",
        )
    if "Sec-WebSocket-Protocol" in headers:
        raise RpcError(
            Code.INVALID_REQUEST,
            "unknown_subprotocol",
            "no subprotocol is spoken here",
            expected="none",
            got=headers["Sec-WebSocket-Protocol"],
        )
