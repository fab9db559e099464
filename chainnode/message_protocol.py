"""What a node and the process that reads messages for it (`chainnode.message_worker`) say to each other.

Here: frames (4 bytes of length, then MessagePack) and what is in them. The node imports this and no adapter.
"""

from __future__ import annotations

from typing import BinaryIO, Final, Literal

import msgspec

from rpc.ports import AskedMessage, ReadMessage

FRAME_BYTES_MAX: Final = 64 * 1024 * 1024
LENGTH_BYTES: Final = 4


class Request(msgspec.Struct, frozen=True):
    """A message to read: as it was asked, when it came, and the pairing keys that members announced (by member)."""

    asked: AskedMessage
    received_ms: int
    announced: dict[str, list[tuple[bytes, int]]]


class Refused(msgspec.Struct, frozen=True):
    """Why a message was not read: the sender's fault (`input`), the operator's (`usage`) or the disk's (`storage`)."""

    fault: Literal["input", "usage", "storage"]
    reason: str
    what: str
    where: str | None = None
    expected: str | None = None
    got: str | None = None
    hint: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """What was read, or why it was not."""

    read: ReadMessage | None = None
    refused: Refused | None = None


def frame_of(data: bytes) -> bytes:
    """Return a frame with this content."""
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def next_frame(stream: BinaryIO) -> bytes | None:
    """Return the next frame's content; None at the end."""
    head = stream.read(LENGTH_BYTES)
    size = int.from_bytes(head, "big")
    if len(head) < LENGTH_BYTES or size > FRAME_BYTES_MAX:
        return None
    data = stream.read(size)
    return data if len(data) == size else None
