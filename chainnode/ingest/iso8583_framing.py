"""Where ISO 8583 messages begin and end in a file, and in which of the three ways each is written.

Messages come one on each line (all text), each behind its length (2 bytes of a binary number, 4 digits, or 4 digits
packed into 2 bytes), or alone. A length that could be either kind of two bytes is the one that leads to the end of the
file. Before a message may stand a TPDU (60 and 4 bytes of addresses; before text also in hex), and then the header of
UnionPay's network (46 bytes, Q/CUP 006.2) or that of its terminals (6 bytes, Q/CUP 009.1). None of them belongs to the
message. EBCDIC is refused by name.

Three ways of writing are told apart by the first bytes: `ascii` is text throughout, its bitmap in hex; `unionpay` is
text with bitmaps of bytes; `bcd` packs digits two a byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from chainnode.ingest.errors import FormatError, MessageError
from chainnode.ingest.iso8583_fields import Encoding

FILE_SIZE_MAX = 256 * 1024 * 1024
MESSAGE_SIZE_MAX = 9_999
MESSAGES_MAX = 1_000_000
_MESSAGE_SIZE_MIN = 12  # a type and a bitmap

TPDU_ID, TPDU_SIZE = 0x60, 5
NETWORK_HEADER_SIZE = 46
TERMINAL_HEADER_SIZE = 6

Framing = Literal["binary lengths", "packed lengths", "text lengths", "lines", "alone"]
EncodingChoice = Literal["auto", "ascii", "unionpay", "bcd"]

_HEX = re.compile(rb"[0-9A-Fa-f]{16}")
_TYPE = re.compile(rb"0[1-8][0-9][0-5]")
_TEXT_TPDU = re.compile(rb"60[0-9A-Fa-f]{8}(?=0[1-8][0-9][0-5]|[\x01-\x08][\0-\x95])")
_EBCDIC_TYPE = re.compile(rb"\xf0[\xf1-\xf8][\xf0-\xf9][\xf0-\xf5]")
_EBCDIC_STARTS = (0, 2, 4, TPDU_SIZE, 2 + TPDU_SIZE, 4 + TPDU_SIZE)
_TRACE_BIT = 0x20  # of the bitmap's second byte: field 11, which every message has


def is_iso8583(head: bytes) -> bool:
    """Return whether a file's first bytes are those of an ISO 8583 message."""
    return _first_framing(head) is not None or _is_ebcdic(head)


def _is_ebcdic(head: bytes) -> bool:
    """Return whether a message in EBCDIC begins here: its digits are bytes that no other way of writing begins with."""
    return any(_EBCDIC_TYPE.match(head, at) is not None for at in _EBCDIC_STARTS) and (
        len(head) >= _MESSAGE_SIZE_MIN and _first_framing(head) is None
    )


def split_messages(
    data: bytes, *, where: str, encoding: EncodingChoice = "auto"
) -> Iterator[tuple[bytes, Encoding] | MessageError]:
    """Yield each message without what stands before it, and how it is written; MessageError where there is none.

    After a length that leads out of the file nothing more can be found; any other bad message leaves the rest alone.
    Raises FormatError where the file as a whole is too large.
    """
    if len(data) > FILE_SIZE_MAX:
        raise FormatError("file too large", where=where, expected=f"at most {FILE_SIZE_MAX} bytes", got=len(data))
    head = data[: MESSAGE_SIZE_MAX + 4]
    if encoding == "auto" and _is_ebcdic(head):
        expected, hint = "ASCII, or packed digits", "convert texts to ASCII where the messages are written"
        raise FormatError("card messages in EBCDIC", where=where, expected=expected, got="EBCDIC", hint=hint)
    framing = _first_framing(head) or _framing_by_lengths(data)
    if framing == "binary lengths" and not _leads_to_end(data, framing) and _leads_to_end(data, "packed lengths"):
        framing = "packed lengths"
    if framing == "lines" and data.count(b"\n") > MESSAGES_MAX:  # before a list is made of them
        raise FormatError("too many lines", where=where, expected=f"at most {MESSAGES_MAX}", got="more")
    frames = _with_lengths(data, framing) if framing.endswith("lengths") else _lines(data, framing)
    for count, frame in enumerate(frames, start=1):
        if count > MESSAGES_MAX:
            raise FormatError("too many messages", where=where, expected=f"at most {MESSAGES_MAX}", got="more")
        yield frame if isinstance(frame, MessageError) else _unwrapped(frame, encoding, framing)


def _first_framing(head: bytes) -> Framing | None:
    """Return how the first message is framed, or None where the bytes are no message's."""
    if len(head) < _MESSAGE_SIZE_MIN:
        return None
    after_tpdu = _TEXT_TPDU.match(head) is not None  # whose digits are no length
    if not after_tpdu and head[:4].isdigit() and _looks_good(head, 4):
        return "text lengths"
    measured = not after_tpdu and _looks_good(head, 2)
    if measured and _MESSAGE_SIZE_MIN <= _length(head[:2], "binary lengths") <= MESSAGE_SIZE_MAX:
        return "binary lengths"
    if _looks_good(head, 0):
        return "lines" if _is_text_start(head) else "alone"
    measured = measured and head[0] != TPDU_ID
    return "packed lengths" if measured and _length(head[:2], "packed lengths") >= _MESSAGE_SIZE_MIN else None


def _framing_by_lengths(data: bytes) -> Framing:
    """Return how a file is framed whose first message is no good: by the lengths that lead exactly to its end."""
    framings: tuple[Framing, ...] = ("binary lengths", "packed lengths", "text lengths")
    return next((framing for framing in framings if _leads_to_end(data, framing)), "lines")


def _leads_to_end(data: bytes, framing: Framing) -> bool:
    """Return whether lengths of this kind lead exactly to the end of the file."""
    return not any(isinstance(frame, MessageError) for frame in _with_lengths(data, framing))


def _length(written: bytes, framing: Framing) -> int:
    """Return the length that is written so; 0 where it is none."""
    if framing == "binary lengths":
        return int.from_bytes(written, "big") if len(written) == 2 else 0
    digits = written.hex() if framing == "packed lengths" else written.decode("latin-1")
    return int(digits) if len(digits) == 4 and digits.isascii() and digits.isdigit() else 0


def _is_text_start(head: bytes) -> bool:
    at = _message_start(head, 0)
    return _HEX.match(head, at + 4) is not None and head[at : at + 4].isdigit()


def _looks_good(head: bytes, at: int) -> bool:
    """Return whether a message of a known class begins at `at`: a type, and a bitmap that has field 11."""
    at = _message_start(head, at)
    if _TYPE.match(head, at) is not None:
        match = _HEX.match(head, at + 4)
        bitmap = bytes.fromhex(match[0].decode()) if match is not None else head[at + 4 : at + 12]
        # Any text has such bits; a bitmap of bytes that is text all through is none.
        certain = match is not None or not bitmap.isascii() or min(bitmap, default=0x20) < 0x20
    else:
        if at + 2 > len(head) or _TYPE.fullmatch(head[at : at + 2].hex().encode()) is None:
            return False
        bitmap, certain = head[at + 2 : at + 10], True
    return certain and len(bitmap) == 8 and bool(bitmap[1] & _TRACE_BIT)


def _message_start(data: bytes, at: int) -> int:
    """Return where the message itself begins, behind TPDU and header."""
    text = _TEXT_TPDU.match(data, at)
    if text is not None:
        return text.end()
    if data[at : at + 1] == bytes([TPDU_ID]):
        at += TPDU_SIZE
        if data[at : at + 1] not in (b"0", b"\0", b"\1", b"\2", b"\4", b"\x08", bytes([NETWORK_HEADER_SIZE])):
            at += TERMINAL_HEADER_SIZE
    if data[at : at + 1] == bytes([NETWORK_HEADER_SIZE]):
        at += NETWORK_HEADER_SIZE
    return at


def _with_lengths(data: bytes, framing: Framing) -> Iterator[bytes | MessageError]:
    at, end, width = 0, len(data), 4 if framing == "text lengths" else 2
    while at < end:
        size = _length(data[at : at + width], framing)
        at += width
        if not _MESSAGE_SIZE_MIN <= size <= MESSAGE_SIZE_MAX or at + size > end:
            expected = f"{_MESSAGE_SIZE_MIN} to {min(MESSAGE_SIZE_MAX, max(end - at, 0))} bytes"
            yield MessageError("length of a message leads nowhere", where="length", expected=expected, got=size)
            return
        yield data[at : at + size]
        at += size


def _lines(data: bytes, framing: Framing) -> Iterator[bytes]:
    if framing == "alone":
        yield data
        return
    for line in data.split(b"\n"):
        message = line.removesuffix(b"\r")
        if message:
            yield message


def _unwrapped(frame: bytes, encoding: EncodingChoice, framing: Framing) -> tuple[bytes, Encoding] | MessageError:
    """Return the message of a frame and how it is written."""
    at = _message_start(frame, 0)
    message = frame[at:]
    if at >= NETWORK_HEADER_SIZE and frame[at - NETWORK_HEADER_SIZE] == NETWORK_HEADER_SIZE:
        header = frame[at - NETWORK_HEADER_SIZE : at]
        said = int(header[2:6]) if header[2:6].isdigit() else 0
        if said != NETWORK_HEADER_SIZE + len(message):
            expected = f"{NETWORK_HEADER_SIZE + len(message)} bytes"
            return MessageError("header tells another length", where="header", expected=expected, got=said)
    if not _MESSAGE_SIZE_MIN <= len(message) <= MESSAGE_SIZE_MAX:
        expected = f"{_MESSAGE_SIZE_MIN} to {MESSAGE_SIZE_MAX} bytes"
        return MessageError("message of a wrong length", where="message", expected=expected, got=len(message))
    if encoding != "auto":
        return message, encoding
    if message[:1] <= b"\x09":
        return message, "bcd"
    return message, "ascii" if framing == "lines" or _HEX.match(message, 4) is not None else "unionpay"
