"""One TCP connection with TLS and frames: reads into messages, writes lanes, keeps quotas and time-outs.

Here: a connection from its first byte to its last. Not here: which connection is a peer's link, bans, dialling (peers).

States:  TLS -> HELLO -> OPEN -> CLOSED.  A `retired` connection is OPEN for reading only: another one between the same
two nodes has become the link, and what is still under way on this one is delivered until the other side closes.

Reading is a BufferedProtocol: OpenSSL decrypts into one buffer that the frames are cut from, without a stream reader's
copies or a task per connection. Writing is coalesced: whatever was sent in a turn of the loop leaves in one write.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from enum import Enum, auto
from typing import Protocol, cast

import msgspec

from p2p.config import Direction, Handler, NetworkLimits, PeerInfo
from p2p.frames import PREAMBLE, FrameDecoder, FrameLimits, Truncated, encode_frame
from p2p.handshake import (
    GOODBYE,
    HELLO,
    LIMITS_BEFORE_HELLO,
    PING,
    PING_BYTES,
    PONG,
    Hello,
    check_hello,
    goodbye_frame,
    goodbye_reason,
    hello_frame,
)
from p2p.lanes import Lane, Outbox
from p2p.quotas import LaneMeter
from p2p.reasons import PeerRefused, Reason, is_held_against, slug_of
from p2p.tls import PeerIdentity, reason_of_failure
from primitives.errors import InputError

TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # Linux and macOS


class State(Enum):
    """How far a connection is."""

    TLS = auto()
    HELLO = auto()
    OPEN = auto()
    CLOSED = auto()


class Rules(msgspec.Struct, frozen=True):
    """What all connections of a network share."""

    limits: NetworkLimits
    frame_limits: FrameLimits
    lanes: Mapping[int, Lane]


class Owner(Protocol):
    """What a connection asks of its network."""

    rules: Rules
    handler: Handler

    def own_hello(self) -> Hello:
        """Return the HELLO to send and to compare with."""

    def identify(self, connection: Connection, leaf_der: bytes | None) -> PeerIdentity:
        """Return who a certificate speaks for; raises PeerRefused."""

    def admit(self, connection: Connection) -> bool:
        """Judge a connection whose HELLO is right; False makes it retired at once; raises PeerRefused."""

    def link_up(self, connection: Connection) -> None:
        """This connection is now the link to its peer."""

    def link_down(self, connection: Connection, reason: str, *, held_against: bool) -> None:
        """An open connection ended."""

    def held_back(self, connection: Connection, duration_ms: int) -> None:
        """Reading was paused because of the quota."""

    def connection_gone(self, connection: Connection) -> None:
        """The transport is closed for good."""

    def crash(self, error: Exception) -> None:
        """A fault of our own: the network must stop."""


class Connection(asyncio.BufferedProtocol):
    """Owned by its network; every method runs on the event loop."""

    def __init__(self, owner: Owner, direction: Direction, address: str, now_ms: int, expects: str | None) -> None:
        """Take the other side's address, the wall-clock time, and the name that a dialled peer must have."""
        limits = owner.rules.limits
        self.expects = expects
        self.direction: Direction = direction
        self.state = State.TLS
        self.retired = False
        self.address = address
        self.leaf_der: bytes | None = None
        self.identity: PeerIdentity | None = None
        self.hello: Hello | None = None
        self.outbox = Outbox((limits.consensus_queue_bytes_max, limits.bulk_queue_bytes_max))
        self.since_ms = now_ms
        self.opened_at = 0.0
        self._owner = owner
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._established: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._decoder = FrameDecoder(LIMITS_BEFORE_HELLO)
        self._buffer = memoryview(bytearray(limits.read_buffer_bytes))
        self._meters = tuple(
            LaneMeter(quota, self._clock_ms()) for quota in (limits.consensus_quota, limits.bulk_quota)
        )
        self._flush_scheduled = False
        self._corked: asyncio.TimerHandle | None = None
        self._flushed_at = 0.0
        self._write_paused_at: float | None = None
        self._resume: asyncio.TimerHandle | None = None
        self._abort: asyncio.TimerHandle | None = None
        self._heard_at = self._pinged_at = self._loop.time()
        self._ping_number = 0
        self._ping_unanswered = False
        self._rtt_ms: float | None = None
        self._bytes_in = self._bytes_out = self._messages_in = self._messages_out = 0

    @property
    def name(self) -> str:
        """The peer's name; only after its certificate has been accepted."""
        assert self.identity is not None
        return self.identity.name

    # --- coming up

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the TLS transport, whose handshake is done: see who is there, and say who we are."""
        self._transport = tls = cast(asyncio.Transport, transport)
        limits = self._limits
        if self.state is State.CLOSED:  # given up in the meantime
            tls.abort()
            return
        self.state = State.HELLO
        peer = tls.get_extra_info("peername")
        self.address = f"{peer[0]}:{peer[1]}" if peer else self.address
        sock = tls.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if TCP_NOTSENT_LOWAT is not None:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, limits.unsent_bytes_max)
        tls.set_write_buffer_limits(high=limits.write_ahead_bytes, low=limits.write_ahead_bytes // 4)
        self.leaf_der = tls.get_extra_info("ssl_object").getpeercert(binary_form=True)
        self._write(PREAMBLE)
        try:
            self.identity = self._owner.identify(self, self.leaf_der)
        except InputError as error:
            self._refuse(error)
        else:
            self._write(hello_frame(self._owner.own_hello()))

    async def established(self) -> None:
        """Return once the connection is OPEN; raises InputError with the reason when it will never be.

        Only the network waits here, within its time-out: an open connection lives in callbacks and owns no task.
        """
        await self._established

    def _on_hello(self, payload: bytes) -> None:
        assert self.identity is not None
        self.hello = check_hello(payload, own=self._owner.own_hello(), certified_name=self.identity.name)
        is_link = self._owner.admit(self)
        self.state = State.OPEN
        self.opened_at = self._loop.time()
        self._decoder.limits = self._owner.rules.frame_limits
        if is_link:
            self._established.set_result(None)
            self._owner.link_up(self)
        else:
            self.retire()
            self._established.set_exception(PeerRefused(Reason.DUPLICATE, "another connection to this peer stays"))

    # --- reading

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # the transport's signature
        """Lend the read buffer."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self._bytes_in += nbytes
        self._heard_at = self._loop.time()
        if self.state is not State.CLOSED:
            self._receive(self._buffer[:nbytes])

    def _receive(self, data: memoryview) -> None:
        try:
            self._deliver(data)
        except InputError as error:
            self._refuse(error)
        except Exception as error:  # noqa: BLE001  # a fault of our own, in our code or the handler's: it stops the node
            self.abort()
            self._owner.crash(error)

    def _deliver(self, data: memoryview) -> None:
        lanes = self._owner.rules.lanes
        on_message = self._owner.handler.on_message
        sizes, counts = [0, 0], [0, 0]
        for kind, payload in self._decoder.feed(data):
            lane = lanes.get(kind)
            if lane is None:
                counts[Lane.CONSENSUS] += 1
                self._on_control(kind, payload)
            else:
                sizes[lane] += len(payload)
                counts[lane] += 1
                on_message(self.name, kind, payload)
            if self.state is State.CLOSED:  # the handler or a GOODBYE ended it: nothing after this is delivered
                return
        self._messages_in += sum(counts)
        self._keep_to_quota(sizes, counts)

    def _keep_to_quota(self, sizes: list[int], counts: list[int]) -> None:
        now_ms = self._clock_ms()
        wait_ms = 0
        for lane, meter in enumerate(self._meters):
            if counts[lane]:
                wait_ms = max(wait_ms, meter.charge(sizes[lane], counts[lane], now_ms))
                if meter.is_flood():
                    raise PeerRefused(Reason.FLOOD, "over quota for too long", got=Lane(lane).name.lower())
        if wait_ms and self._resume is None:
            assert self._transport is not None
            self._transport.pause_reading()
            self._resume = self._loop.call_later(wait_ms / 1_000, self._resume_reading)
            self._owner.held_back(self, wait_ms)

    def _resume_reading(self) -> None:
        self._resume = None
        self._heard_at = self._loop.time()  # silence while we did not read is not the peer's
        if self.state is not State.CLOSED and self._transport is not None:
            self._transport.resume_reading()

    def _on_control(self, kind: int, payload: bytes) -> None:
        if kind == HELLO:
            self._on_hello(payload)
        elif kind == GOODBYE:
            self.close(goodbye_reason(payload), farewell=False)
        elif len(payload) != PING_BYTES:
            raise PeerRefused(Reason.BAD_CONTROL, "ping", expected=f"{PING_BYTES} bytes", got=len(payload))
        elif kind == PING:
            self.send_consensus(encode_frame(PONG, payload))
        elif self._ping_unanswered and int.from_bytes(payload, "big") == self._ping_number:
            self._ping_unanswered = False
            self._rtt_ms = (self._loop.time() - self._pinged_at) * 1_000

    # --- writing

    def send_consensus(self, frame: bytes) -> bool:
        """Queue a frame of the consensus lane; False if it was dropped."""
        accepted = self.outbox.put_consensus(frame)
        self._schedule_flush()
        return accepted

    def send_bulk(self, fragments: tuple[bytes, ...], size: int) -> bool:
        """Queue a message of the bulk lane; False if it was dropped."""
        accepted = self.outbox.put_bulk(fragments, size)
        self._schedule_bulk()
        return accepted

    def _schedule_bulk(self) -> None:
        """Write soon; on a link that was just written to, small messages wait a little for each other.

        One write, one record of TLS and one wake-up of the other side then carry several. An idle link delays nothing,
        and whatever goes by the consensus lane takes along at once what waits here.
        """
        wait_s = self._flushed_at + self._limits.cork_ms / 1_000 - self._loop.time()
        if wait_s <= 0 or self.outbox.queued_bytes[Lane.BULK] >= self._limits.cork_bytes:
            self._schedule_flush()
        elif self._corked is None and not self._flush_scheduled:
            self._corked = self._loop.call_later(wait_s, self._flush)

    def _schedule_flush(self) -> None:
        if not self._flush_scheduled and self._write_paused_at is None and self.state is State.OPEN:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        self._uncork()
        if self.state is not State.OPEN or self.retired or self._write_paused_at is not None:
            return
        assert self._transport is not None
        budget = self._limits.write_ahead_bytes - self._transport.get_write_buffer_size()
        frames = self.outbox.take(max(1, budget), small=self._limits.cork_bytes)
        if not frames:
            return
        self._flushed_at = self._loop.time()
        self._messages_out += len(frames)
        self._write(frames[0] if len(frames) == 1 else b"".join(frames))
        if self.outbox:
            self._schedule_flush()

    def _uncork(self) -> None:
        if self._corked is not None:
            self._corked.cancel()
            self._corked = None

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._bytes_out += len(data)
        self._transport.write(data)

    def pause_writing(self) -> None:
        """Stop writing: the transport holds enough."""
        self._write_paused_at = self._loop.time()

    def resume_writing(self) -> None:
        """Go on writing."""
        self._write_paused_at = None
        self._schedule_flush()

    # --- time

    def tick(self, now: float, now_ms: int, late: float) -> None:
        """Keep the time-outs; `late` is by how many seconds this tick is behind: our fault, not the peer's."""
        assert self.identity is not None
        limits = self._limits
        if self._resume is not None:
            self._heard_at = now
        self._heard_at = min(now, self._heard_at + late)
        if now_ms > self.identity.not_after_ms:
            self.close(Reason.CERTIFICATE_EXPIRED)
        elif (now - self._heard_at) * 1_000 > limits.idle_timeout_ms:
            self.close(Reason.IDLE)
        elif (
            self._write_paused_at is not None and (now - self._write_paused_at) * 1_000 > limits.write_stall_timeout_ms
        ):
            self.close(Reason.SLOW_READER)
        elif (now - self._pinged_at) * 1_000 >= limits.ping_every_ms:
            self._pinged_at = now
            self._ping_number += 1
            self._ping_unanswered = True
            self.send_consensus(encode_frame(PING, self._ping_number.to_bytes(PING_BYTES, "big")))

    def _clock_ms(self) -> int:
        return int(self._loop.time() * 1_000)

    # --- going down

    def take_over(self, other: Connection) -> None:
        """Become the link in place of another connection to the same process, with all that it has not sent."""
        other.outbox.rewind()
        self.outbox = other.outbox
        self.since_ms, self.opened_at = other.since_ms, other.opened_at
        if other.state is State.OPEN:
            other.retire()
        self._schedule_flush()

    def retire(self) -> None:
        """Stop being the link: another connection is. Tell the other side and read on until it closes."""
        self.retired = True
        self._write(goodbye_frame(Reason.DUPLICATE))
        self._abort_later()

    def close(self, reason: str, *, held_against: bool = False, farewell: bool = True) -> None:
        """End the connection, giving the other side the reason; what is queued is dropped."""
        if self.state is State.CLOSED:
            return
        was, self.state = self.state, State.CLOSED
        self._uncork()
        if self._resume is not None:
            self._resume.cancel()
        if self._transport is None:
            self._owner.connection_gone(self)
        elif not self._transport.is_closing():
            if farewell and not self.retired:
                self._write(goodbye_frame(reason))
            self._transport.close()
            self._abort_later()
        if not self._established.done():
            self._established.set_exception(PeerRefused(reason, "connection ended in its handshake", got=reason))
            self._established.exception()  # marks it as seen: `establish` may have been cancelled
        elif was is State.OPEN and not self.retired:
            self._owner.link_down(self, reason, held_against=held_against)

    def abort(self) -> None:
        """Drop the connection at once."""
        self.close(Reason.CONNECTION_LOST, farewell=False)
        if self._transport is not None:
            self._transport.abort()

    def eof_received(self) -> None:
        """The other side has ended the stream: that is how it went, whatever becomes of our answer to it."""
        self.close(self._reason_of_loss(None), farewell=False)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The transport is gone."""
        if self._abort is not None:
            self._abort.cancel()
        self.close(self._reason_of_loss(exc), farewell=False)
        self._owner.connection_gone(self)

    def _reason_of_loss(self, exc: BaseException | None) -> str:
        reason = Reason.CONNECTION_LOST if exc is None else reason_of_failure(exc)
        if reason is Reason.CONNECTION_LOST and self.state is State.HELLO and self.direction == "out":
            # TLS 1.3 is done here before the other side has judged our certificate, and its alert is seldom sent.
            return Reason.CERTIFICATE_REFUSED.value
        if exc is not None:
            return reason.value
        if self.state is State.OPEN:
            try:
                self._decoder.finish()
            except Truncated as error:
                return error.reason
        return Reason.CONNECTION_LOST.value

    def _refuse(self, error: InputError) -> None:
        """End the connection because of what the other side sent."""
        reason = slug_of(error)
        if not self._established.done():
            self._established.set_exception(error)
            self._established.exception()
        self.close(reason, held_against=is_held_against(reason))

    def _abort_later(self) -> None:
        if self._abort is None and self._transport is not None:
            self._abort = self._loop.call_later(self._limits.close_timeout_ms / 1_000, self._transport.abort)

    def info(self) -> PeerInfo:
        """Return the figures of an open connection."""
        assert self.identity is not None
        assert self.hello is not None
        return PeerInfo(
            name=self.identity.name,
            member=self.identity.member,
            direction=self.direction,
            address=self.address,
            since_ms=self.since_ms,
            bytes_in=self._bytes_in,
            bytes_out=self._bytes_out,
            messages_in=self._messages_in,
            messages_out=self._messages_out,
            queue_bytes=sum(self.outbox.queued_bytes),
            rtt_ms=self._rtt_ms,
            drops=sum(self.outbox.drops),
            protocol=min(self.hello.protocol, self._owner.own_hello().protocol),
            software=self.hello.software,
            status=self.hello.status,
            certificate_ends_ms=self.identity.not_after_ms,
        )
