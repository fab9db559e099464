"""The quick way in by HTTP: whole, small, ordinary `POST /` requests, answered without a web framework's layers.

Here: a protocol that knows one shape of request and takes it only where nothing about it is to be refused. Everything
else, the same connection's later requests with it, is handed to aiohttp's protocol, which reads the same bytes from
the start: other methods and paths, other headers, pipelined, partial or large requests, and every one for which the
door, the rate or the number at a time would have a refusal. So each refusal has one place (`rpc.server`), and two
readers of one request cannot read two things into it. Source: RFC 9112; docs/api.md.

Why: by aiohttp such a request costs 130 µs besides what it asks for, 35 of them the kernel's; this way half of that.

Heads of requests repeat to the byte, so what was found in one is remembered by its bytes. Only heads that were let in
are kept, with the rights of their caller: each use looks whether these have ended, and forgets the head then.
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from random import getrandbits
from typing import Final, Protocol, cast

import structlog

from rpc.access import Door, RateLimit, Running
from rpc.call_log import is_logged, log_call
from rpc.dispatch import Answer, Caller, Dispatcher
from rpc.errors import RpcError, internal_error
from rpc.limits import SUBMISSION_BYTES_MIN
from rpc.rights import ON_LOOPBACK, Rights

HEAD_BYTES_MAX: Final = 2_048
HEADS_KEPT: Final = 1_024
_START: Final = b"POST / HTTP/1.1\r\n"
_END: Final = b"\r\n\r\n"
_LINE: Final = re.compile(rb"([A-Za-z-]+): ?([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)")
_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,5}")
# Headers that change nothing here; those that are looked at are in `_read`, and any other goes the long way.
_IDLE_HEADERS: Final = frozenset((b"accept", b"accept-encoding", b"accept-language", b"user-agent"))
_JSON_TYPES: Final = frozenset((b"application/json", b"application/json; charset=utf-8"))

log = structlog.get_logger("rpc")


@dataclass(frozen=True, slots=True)
class Head:
    """What matters of a request's head: the rights of its token, and the bytes of its body."""

    rights: Rights
    body_bytes: int


class Heads:
    """Reads heads of requests, and remembers those that were let in."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._kept: OrderedDict[bytes, Head] = OrderedDict()

    def read(self, head: bytes) -> Head | None:
        """Return what a head says, without its last empty line; None where it is not for the quick way."""
        now_s = time.time()
        found = self._kept.get(head)
        if found is not None:
            if found.rights.ends_s > now_s:
                found.rights.used_s = now_s
                return found
            del self._kept[head]  # why is for the other way to say
            return None
        found = self._read(head, now_s)
        if found is not None:
            self._kept[head] = found
            if len(self._kept) > HEADS_KEPT:
                self._kept.popitem(last=False)
        return found

    def _read(self, head: bytes, now_s: float) -> Head | None:
        headers: dict[bytes, bytes] = {}
        for line in head[len(_START) :].split(b"\r\n"):
            match = _LINE.fullmatch(line)
            name = match[1].lower() if match else b""
            if match is None or name in headers:
                return None
            headers[name] = match[2]
        host, length = headers.pop(b"host", None), headers.pop(b"content-length", b"")
        token, keep = headers.pop(b"authorization", None), headers.pop(b"connection", b"keep-alive")
        if headers.pop(b"content-type", b"").lower() not in _JSON_TYPES or keep.lower() != b"keep-alive":
            return None
        if host is None or _LENGTH.fullmatch(length) is None or not headers.keys() <= _IDLE_HEADERS:
            return None
        try:
            self._door.check_host([host.decode()])
            rights = self._door.rights_of([] if token is None else [token.decode()], now_s)
        except RpcError:
            return None
        return Head(rights, int(length))


class Connections(Protocol):
    """What a connection needs of the listener that holds it."""

    def opened(self, connection: QuickConnection) -> None:
        """Count a connection that is there to be read from."""
        ...

    def asked(self, protocol: asyncio.BaseProtocol) -> None:
        """Note that the first request has come."""
        ...

    def hand_over(self, connection: QuickConnection, transport: asyncio.Transport, data: bytes) -> None:
        """Let aiohttp have the connection, and read these bytes first."""
        ...

    def left(self, connection: QuickConnection) -> None:
        """Forget a connection that is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Service:
    """What all connections of a listener share; `fixed_headers` end with a line's end."""

    dispatcher: Dispatcher
    heads: Heads
    rate: RateLimit
    running: Running
    status_of: Callable[[str], int]
    fixed_headers: bytes
    keepalive_s: float
    body_bytes_max: int


class QuickConnection(asyncio.Protocol):
    """One connection, until it is handed over: one request at a time, the next one is read when that is answered."""

    def __init__(self, service: Service, connections: Connections) -> None:
        self._service = service
        self._connections = connections
        self._body_bytes_max = min(service.body_bytes_max, SUBMISSION_BYTES_MIN - 1)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._remote = ""
        self._is_somebody = False  # by a client certificate, which no head shows
        self._rights = ON_LOOPBACK  # of the request that is being answered
        self._busy: asyncio.Task[None] | None = None
        self._held = b""  # came while a request was answered, or before the other side had read the last answer
        self._write_paused = False
        self._closing = False
        self._idle_since = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None

    @property
    def transport(self) -> asyncio.Transport | None:
        """What it reads and writes; None once it is gone or handed over."""
        return self._transport

    @property
    def busy(self) -> asyncio.Task[None] | None:
        """The task that answers a request."""
        return self._busy

    def stop(self) -> None:
        """Take no more requests; close once the one that is being answered is."""
        self._closing = True
        if self._busy is None and self._transport is not None:
            self._transport.close()

    def close(self) -> None:
        """Close once what was answered is read, for which nobody waits."""
        if self._transport is not None:
            self._transport.close()

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to count the silence."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by their class
        self._connections.opened(self)
        self._is_somebody = certificate_of(transport) is not None
        peer = transport.get_extra_info("peername")
        self._remote = str(peer[0]) if isinstance(peer, tuple) else ""
        link = transport.get_extra_info("socket")
        if link is not None:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._idle_since = self._loop.time()
        self._idle_timer = self._loop.call_later(self._service.keepalive_s, self._check_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it; what was asked is done all the same."""
        del exc
        self._let_go()

    def pause_writing(self) -> None:
        """Read nothing more until the last answer was taken."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Go on with what was held."""
        self._write_paused = False
        self._go_on()

    def data_received(self, data: bytes) -> None:
        """Answer a request, hold what comes too early, or hand the connection over."""
        transport = self._transport
        if transport is None or self._closing:
            return
        if self._busy is not None or self._write_paused:
            self._held += data
            transport.pause_reading()
            return
        end = data.find(_END, 0, HEAD_BYTES_MAX) if data.startswith(_START) and not self._is_somebody else -1
        head = self._service.heads.read(data[:end]) if end > 0 else None
        size = end + len(_END)
        fits = head is not None and head.body_bytes <= self._body_bytes_max and len(data) - size == head.body_bytes
        if head is None or not fits or not self._enter(head.rights):
            self._hand_over(transport, data)
            return
        self._connections.asked(self)
        trace_id = f"{getrandbits(128):032x}"
        caller = Caller(trace_id, head.rights, remote=self._remote)
        self._busy = self._loop.create_task(self._answer(data[size:], caller))

    # --- answering

    def _enter(self, rights: Rights) -> bool:
        """Count a request; False where it is to be refused, which is for the other way to say."""
        self._rights = rights
        try:
            self._service.running.enter()
        except RpcError:
            return False
        try:
            self._take(1)
        except RpcError:
            self._service.running.leave()
            return False
        return True

    def _take(self, calls: int) -> None:
        rights = self._rights
        self._service.rate.take(rights.client or self._remote, calls, int(time.monotonic() * 1_000), rights.role)

    async def _answer(self, body: bytes, caller: Caller) -> None:
        started = time.perf_counter()
        service = self._service
        try:
            answer = await service.dispatcher.answer_body(body, caller, self._take)
            status = service.status_of(answer.refused)
        except Exception:
            log.exception("rpc_request_failed", path="/", trace_id=caller.trace_id)
            answer, status = service.dispatcher.refuse(internal_error(), caller), 500
        finally:
            service.running.leave()
            self._busy = None
        if is_logged(answer, None):
            fields: dict[str, object] = {"trace_id": caller.trace_id, "remote": self._remote, "http": "POST"}
            log_call(answer, None, time.perf_counter() - started, {**fields, "status": status}, "/")
        self._send(answer, status, caller.trace_id)

    def _send(self, answer: Answer, status: int, trace_id: str) -> None:
        transport = self._transport
        if transport is None:
            return
        head = f"X-Trace-Id: {trace_id}\r\nDate: {_date(int(time.time()))}\r\n"
        if self._closing:
            head += "Connection: close\r\n"
        if answer.body is None:
            data = b"".join((_status_line(204), self._service.fixed_headers, head.encode(), b"\r\n"))
        else:
            head += f"Content-Type: application/json\r\nContent-Length: {len(answer.body)}\r\n\r\n"
            data = b"".join((_status_line(status), self._service.fixed_headers, head.encode(), answer.body))
        transport.write(data)
        if self._closing:
            transport.close()
            return
        self._idle_since = self._loop.time()
        if self._held:
            self._go_on()

    def _go_on(self) -> None:
        """Read what was held, unless it has still to wait."""
        if self._held and self._busy is None and not self._write_paused and self._transport is not None:
            data, self._held = self._held, b""
            self._transport.resume_reading()
            self.data_received(data)

    # --- ends

    def _hand_over(self, transport: asyncio.Transport, data: bytes) -> None:
        self._let_go()
        self._connections.hand_over(self, transport, data)

    def _let_go(self) -> None:
        self._transport = None
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        self._connections.left(self)

    def _check_idle(self) -> None:
        """Close a connection on which nothing was asked for long; one on which an answer is awaited stays."""
        quiet_s = self._loop.time() - self._idle_since
        if self._busy is None and quiet_s >= self._service.keepalive_s and self._transport is not None:
            if self._transport.get_write_buffer_size():
                self._transport.abort()  # who has not read its answer by now may never do, and would be waited for
            else:
                self._transport.close()
            return
        left_s = max(self._service.keepalive_s - quiet_s, 1.0)
        self._idle_timer = self._loop.call_later(left_s, self._check_idle)


def certificate_of(transport: asyncio.BaseTransport) -> bytes | None:
    """Return the client certificate that a connection showed, DER; None where it showed none."""
    link = transport.get_extra_info("ssl_object")
    shown: bytes | None = None if link is None else link.getpeercert(True)
    return shown


_DATES: dict[int, str] = {}
_LINES: dict[int, bytes] = {}


def _date(now_s: int) -> str:
    """Return a Date header's value; the second's first answer makes it."""
    found = _DATES.get(now_s)
    if found is None:
        _DATES.clear()
        found = _DATES[now_s] = formatdate(now_s, usegmt=True)
    return found


def _status_line(status: int) -> bytes:
    found = _LINES.get(status)
    if found is None:
        found = _LINES[status] = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    return found
