"""The byte stream between two nodes, as frames: a pure reader and writer without input or output of their own.

Here: preamble, frame header, fragments, size limits. Not here: what a kind means, sockets, quotas. After h11, which
keeps a protocol's bytes apart from its transport.

    stream   = preamble frame*
    preamble = "CHNODE" u16 version                        (8 bytes, big-endian, each way)
    frame    = u32 (more << 31 | length) u8 kind payload   (5 bytes and the payload)

A frame whose `more` bit is set carries exactly FRAGMENT_BYTES and is continued by the next frame of the same kind;
frames of other kinds may stand between. Votes so overtake a 4 MiB batch on the same connection. Only one message may be
open at a time, so a peer can make us hold at most one message of its kind's size limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from struct import Struct
from typing import TypeAlias

from p2p.reasons import Reason
from primitives.errors import InputError, UsageError

FRAME_VERSION = 1
MAGIC = b"CHNODE"
PREAMBLE = MAGIC + FRAME_VERSION.to_bytes(2, "big")
HEADER_BYTES = 5
FRAGMENT_BYTES = 65_536
MESSAGE_BYTES_MAX = 64 * 1024 * 1024  # no table of limits may exceed it
KIND_MAX = 255

_MORE = 0x8000_0000
_HEADER = Struct(">IB")

FrameLimits: TypeAlias = Mapping[int, int]
"""Kind to the largest payload of that kind in bytes; a kind that is not in it is refused."""


class FrameError(InputError):
    """The stream is not a sequence of acceptable frames; nothing after this point of it can be read."""

    reason = "bad_frame"


class BadHandshake(FrameError):
    """The stream does not open with the preamble."""

    reason = Reason.BAD_HANDSHAKE.value


class FrameVersionRefused(FrameError):
    """The preamble names another version of the frame format."""

    reason = Reason.PROTOCOL_VERSION.value


class UnknownKind(FrameError):
    """A frame's kind is not in the table of limits."""

    reason = Reason.UNKNOWN_KIND.value


class FrameTooLarge(FrameError):
    """A frame, or a message made of fragments, exceeds the limit of its kind."""

    reason = Reason.FRAME_TOO_LARGE.value


class BadFragment(FrameError):
    """A fragment has the wrong length or opens a second message while one is open."""

    reason = Reason.BAD_FRAGMENT.value


class Truncated(FrameError):
    """The stream ended inside the preamble, a frame, or a message made of fragments."""

    reason = Reason.TRUNCATED.value


def encode_frame(kind: int, payload: bytes) -> bytes:
    """Return one whole frame; size limits are the caller's to keep. Raises UsageError above MESSAGE_BYTES_MAX."""
    if len(payload) > MESSAGE_BYTES_MAX:
        raise UsageError("payload too large for a frame", expected=f"<= {MESSAGE_BYTES_MAX}", got=len(payload))
    return _HEADER.pack(len(payload), kind) + payload


def encode_fragments(kind: int, payload: bytes) -> tuple[bytes, ...]:
    """Return the frames that carry a payload, none longer than FRAGMENT_BYTES and its header."""
    if len(payload) <= FRAGMENT_BYTES:
        return (encode_frame(kind, payload),)
    if len(payload) > MESSAGE_BYTES_MAX:
        raise UsageError("payload too large for a message", expected=f"<= {MESSAGE_BYTES_MAX}", got=len(payload))
    last = (len(payload) - 1) // FRAGMENT_BYTES * FRAGMENT_BYTES
    head = _HEADER.pack(_MORE | FRAGMENT_BYTES, kind)
    parts = [head + payload[at : at + FRAGMENT_BYTES] for at in range(0, last, FRAGMENT_BYTES)]
    parts.append(_HEADER.pack(len(payload) - last, kind) + payload[last:])
    return tuple(parts)


class FrameDecoder:
    """Turns bytes, split anywhere, into (kind, payload) pairs; after an error it must not be fed again.

    Owns at most one incomplete frame and one open message. `limits` may be replaced between two frames: a connection
    allows only HELLO until the peer is known.
    """

    def __init__(self, limits: FrameLimits, *, expect_preamble: bool = True) -> None:
        self.limits = limits
        self._awaits_preamble = expect_preamble
        self._rest = bytearray()  # an incomplete preamble, header or frame
        self._rest_needs = 0  # how long `_rest` must be before it is worth looking at
        self._open_kind = -1
        self._open_parts: list[bytes] = []
        self._open_bytes = 0

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[tuple[int, bytes]]:
        """Yield each message that these bytes complete, in order; raises a FrameError at the first bad byte.

        The iterator must be exhausted before `data` is reused or `feed` is called again.
        """
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._rest_needs:
                return
            self._rest = bytearray()
            data = rest
        with memoryview(data) as view:
            yield from self._read(view)

    def finish(self) -> None:
        """Say that the stream has ended; raises Truncated unless it ended between two messages."""
        if self._awaits_preamble or self._rest or self._open_parts:
            raise Truncated("stream ended inside a message", got=f"{len(self._rest) + self._open_bytes} bytes of it")

    def _read(self, view: memoryview) -> Iterator[tuple[int, bytes]]:
        end = len(view)
        at = 0
        if self._awaits_preamble:
            at = self._read_preamble(view)
            if not at:
                return
        while end - at >= HEADER_BYTES:
            word, kind = _HEADER.unpack_from(view, at)
            length = word & ~_MORE
            self._check_header(word, kind, length)
            start = at + HEADER_BYTES
            if end - start < length:
                self._keep(view[at:], HEADER_BYTES + length)
                return
            at = start + length
            payload = bytes(view[start:at])
            if word & _MORE:
                self._open_kind = kind
                self._open_parts.append(payload)
                self._open_bytes += length
            elif kind == self._open_kind:
                self._open_parts.append(payload)
                payload = b"".join(self._open_parts)
                self._open_kind, self._open_parts, self._open_bytes = -1, [], 0
                yield kind, payload
            else:
                yield kind, payload
        if at < end:
            self._keep(view[at:], HEADER_BYTES)

    def _read_preamble(self, view: memoryview) -> int:
        """Return the position after the preamble, or 0 while it is incomplete. Garbage is refused at its first byte."""
        seen = bytes(view[: len(PREAMBLE)])
        if seen[: len(MAGIC)] != MAGIC[: len(seen)]:
            raise BadHandshake("not a chainnode stream", expected=MAGIC, got=seen)
        if len(seen) < len(PREAMBLE):
            self._keep(view, len(PREAMBLE))
            return 0
        if seen != PREAMBLE:
            version = int.from_bytes(seen[len(MAGIC) :], "big")
            raise FrameVersionRefused("frame format version", expected=FRAME_VERSION, got=version)
        self._awaits_preamble = False
        return len(PREAMBLE)

    def _check_header(self, word: int, kind: int, length: int) -> None:
        """Refuse a frame by its header alone, before any of its payload is kept."""
        limit = self.limits.get(kind)
        if limit is None:
            raise UnknownKind("frame of unknown kind", got=kind)
        opens = self._open_kind == -1
        total = length if kind != self._open_kind else length + self._open_bytes
        if total > limit:
            raise FrameTooLarge(f"frame of kind {kind}", expected=f"<= {limit} bytes", got=total)
        if word & _MORE:
            # Fixed lengths leave no room for a flood of tiny fragments that never complete a message.
            if length != FRAGMENT_BYTES:
                raise BadFragment("fragment length", expected=FRAGMENT_BYTES, got=length)
            if not opens and kind != self._open_kind:
                raise BadFragment("two messages in fragments at once", expected=self._open_kind, got=kind)
        elif kind == self._open_kind and not 0 < length <= FRAGMENT_BYTES:
            raise BadFragment("last fragment's length", expected=f"1 to {FRAGMENT_BYTES}", got=length)

    def _keep(self, view: memoryview, needs: int) -> None:
        self._rest = bytearray(view)
        self._rest_needs = needs
