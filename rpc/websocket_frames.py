"""The head of a WebSocket frame as a server sends it (RFC 6455 section 5.2). Pure."""

from __future__ import annotations

_TEXT_FRAME = 0x81
_LENGTH_16, _LENGTH_64 = 126, 127


def text_frame_head(size: int) -> bytes:
    """Return what goes before a text message of so many bytes that a server sends whole (RFC 6455 section 5.2)."""
    if size < _LENGTH_16:
        return bytes((_TEXT_FRAME, size))
    if size < 1 << 16:
        return bytes((_TEXT_FRAME, _LENGTH_16)) + size.to_bytes(2, "big")
    return bytes((_TEXT_FRAME, _LENGTH_64)) + size.to_bytes(8, "big")
