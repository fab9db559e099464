"""LevelDB's own files, read only to say where they are damaged: LevelDB names neither the file nor the place.

Here: the frames of its logs and of its MANIFEST, and the blocks of its tables, each with its checksum (CRC-32C). Not
here: what the rows mean (`rows`), reading files (`store_leveldb`). Source: LevelDB's log_format and table_format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

LOG_BLOCK_BYTES: Final = 32 * 1024
LOG_HEADER_BYTES: Final = 7
FOOTER_BYTES: Final = 48
TRAILER_BYTES: Final = 5
MAGIC: Final = (0xDB4775248B80FB57).to_bytes(8, "little")
_MASK_DELTA: Final = 0xA282EAD8
_POLYNOMIAL: Final = 0x82F63B78
_FULL: Final = 1
_FIRST: Final = 2
_LAST: Final = 4
_LOG_NUMBER: Final = 2
_EDIT_FIELDS: Final = {
    1: (True,),
    _LOG_NUMBER: (False,),
    3: (False,),
    4: (False,),
    5: (False, True),
    6: (False, False),
    7: (False, False, False, True, True),
    9: (False,),
}
"""The fields of an edit of the MANIFEST by tag: for each part whether it is text after its length, or a number."""


def _table() -> tuple[int, ...]:
    values = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        values.append(value)
    return tuple(values)


_TABLE: Final = _table()


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of bytes; slow, and only for files that are known to be damaged."""
    crc, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """Return a checksum as LevelDB stores it."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def bad_frame(data: bytes, *, checksums: bool = True) -> int | None:
    """Return the offset of the first frame of a log that does not read back; None where all do, or the last is torn.

    Without `checksums` it asks only for what LevelDB passes over in silence: lengths, and headers that are zero.
    """
    offset = 0
    while len(data) - offset >= LOG_HEADER_BYTES:
        left = LOG_BLOCK_BYTES - offset % LOG_BLOCK_BYTES
        if left < LOG_HEADER_BYTES:
            offset += left
            continue
        length, kind = _length(data, offset), data[offset + 6]
        end = offset + LOG_HEADER_BYTES + length
        if not (length or kind):
            return offset if any(data[offset:]) else None  # zeros up to the end were never written
        if length > left - LOG_HEADER_BYTES:
            return offset
        if end > len(data):
            return None if _is_torn(data, offset) else offset
        if checksums and masked(crc32c(data[offset + 6 : end])) != _stored(data, offset):
            return offset
        offset = end
    return None


def _stored(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")


def _length(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset + 4 : offset + 6], "little")


def _is_torn(data: bytes, offset: int) -> bool:
    """Whether a frame that overruns the file can be a last write which a crash cut short, as opposed to damage.

    Of a torn frame bytes are missing, so that no part of what is there has its checksum. Where a part has, and a frame
    may begin behind it, the frame is whole and its length is wrong.
    """
    if not _FULL <= data[offset + 6] <= _LAST:
        return False
    stored, crc = _stored(data, offset), 0xFFFFFFFF
    for place in range(offset + 6, len(data)):
        crc = _TABLE[(crc ^ data[place]) & 0xFF] ^ (crc >> 8)
        if masked(crc ^ 0xFFFFFFFF) == stored and _may_follow(data, place + 1):
            return False
    return True


def _may_follow(data: bytes, offset: int) -> bool:
    """Whether a frame may begin here, which one in some hundred places looks like by chance."""
    left = LOG_BLOCK_BYTES - offset % LOG_BLOCK_BYTES
    if left < LOG_HEADER_BYTES or len(data) - offset < LOG_HEADER_BYTES:
        return True
    return _FULL <= data[offset + 6] <= _LAST and _length(data, offset) <= left - LOG_HEADER_BYTES


def needed_log(manifest: bytes) -> str | None:
    """Return the name of the log whose rows a MANIFEST says are in no table yet; None where it does not say.

    LevelDB itself opens a store without that log and never tells that its rows are gone. Of several logs it is the
    oldest: that of rows which are being made a table.
    """
    number = 0
    try:
        for edit in _records(manifest):
            number = _log_number(edit) or number
    except _Unreadable:
        return None
    return f"{number:06d}.log" if number else None


def _records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a log's frames, those in several frames joined; checksums are not looked at."""
    offset, parts = 0, b""
    while len(data) - offset >= LOG_HEADER_BYTES:
        left = LOG_BLOCK_BYTES - offset % LOG_BLOCK_BYTES
        if left < LOG_HEADER_BYTES:
            offset += left
            continue
        length, kind = int.from_bytes(data[offset + 4 : offset + 6], "little"), data[offset + 6]
        offset += LOG_HEADER_BYTES
        payload = data[offset : offset + length]
        offset += length
        parts = payload if kind in (_FULL, _FIRST) else parts + payload
        if kind in (_FULL, _LAST):
            yield parts


def _log_number(edit: bytes) -> int | None:
    """Return the log that an edit of the MANIFEST names; None where it names none."""
    found, place = None, 0
    while place < len(edit):
        tag, place = _varint(edit, place)
        if tag not in _EDIT_FIELDS:
            raise _Unreadable(place)
        for is_text in _EDIT_FIELDS[tag]:
            value, place = _varint(edit, place)
            place += value if is_text else 0
            found = value if tag == _LOG_NUMBER else found
    return found


def bad_block(data: bytes) -> int | None:
    """Return the offset of the first block of a table that does not read back, None where all do."""
    if len(data) < FOOTER_BYTES or data[-len(MAGIC) :] != MAGIC:
        return max(0, len(data) - FOOTER_BYTES)
    try:
        handles = list(_handles(data))
    except _Unreadable as error:
        return error.offset
    return next((offset for offset, size in sorted(handles) if not _is_sound(data, offset, size)), None)


class _Unreadable(Exception):
    """A part that names others does not read back."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def _is_sound(data: bytes, offset: int, size: int) -> bool:
    end = offset + size
    if end + TRAILER_BYTES > len(data):
        return False
    return masked(crc32c(data[offset : end + 1])) == int.from_bytes(data[end + 1 : end + TRAILER_BYTES], "little")


def _handles(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield offset and size of every block: those that the footer names, then those that these two name."""
    place = len(data) - FOOTER_BYTES
    named = []
    for _ in range(2):
        offset, place = _varint(data, place)
        size, place = _varint(data, place)
        named.append((offset, size))
    for offset, size in named:
        if not _is_sound(data, offset, size):
            raise _Unreadable(offset)
        yield offset, size
        yield from _entries(data, offset, size)


def _entries(data: bytes, offset: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the handles that an index block holds as its entries' values."""
    end = offset + size
    restarts = int.from_bytes(data[end - 4 : end], "little")
    stop, place = end - 4 - 4 * restarts, offset
    while place < stop:
        _, place = _varint(data, place)
        unshared, place = _varint(data, place)
        _, place = _varint(data, place)
        place += unshared
        block, place = _varint(data, place)
        length, place = _varint(data, place)
        yield block, length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a varint and the place after it."""
    value = shift = 0
    while place < len(data) and shift < 64:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, place
        shift += 7
    raise _Unreadable(max(0, len(data) - FOOTER_BYTES))
