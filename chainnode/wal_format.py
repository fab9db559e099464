"""The bytes of the write-ahead log: how records are framed, and what a log that a crash cut or a disk damaged holds.

Pure: the node's log (`chainnode.wal`), `fsck` and the simulator's disks all judge a log here. What a record means is
not known here.

Layout, integers little-endian:
    header   8 bytes `CHAINWAL`, u16 format version, 32 bytes chain id, 8 bytes checksum of the foregoing
    frame    0xC7, u32 length of the body, 4 bytes header check, 16 bytes body check, body, 0x7C
    body     for each record: u32 length, bytes
Both checks are truncated SHA-256 over chain id, offset of the frame and what they cover, so that a frame is valid at
one place of one chain's log only.

A crash before a sync returned leaves at most one frame torn, at the end, and it was never acknowledged: it is cut. The
rule that tells it from damage is etcd's (`wal/decoder.go`, isTornEntry): the file ends inside the frame, or a whole
512-byte sector of it is zero. Anything else, a flipped bit in the last frame too, is damage: cutting a frame that was
acknowledged would let a validator sign a second vote, so the node refuses to start.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from primitives.errors import StorageError, UsageError

FORMAT_VERSION = 1
MAGIC = b"CHAINWAL"
HEADER_BYTES = len(MAGIC) + 2 + 32 + 8
FRAME_HEADER_BYTES = 1 + 4 + 4 + 16
FRAME_OVERHEAD_BYTES = FRAME_HEADER_BYTES + 1
RECORD_OVERHEAD_BYTES = 4
BODY_BYTES_MAX = 64 * 1024 * 1024
SECTOR_BYTES = 512
PUT_BACK = "put this node's own log back; if it is lost, move the file away: the node follows until it has new keys"
_FRAME_START = 0xC7
_FRAME_END = 0x7C


class LogDamaged(StorageError):
    """An acknowledged part of the log does not read back; `offset` is the first bad byte's frame.

    `records` are those before it, `height` the highest that they tell of, where who raises it knows what they mean.
    """

    reason = "wal_damaged"

    def __init__(
        self,
        what: str,
        offset: int,
        *,
        where: str | None = None,
        got: object = None,
        records: Sequence[bytes] = (),
        height: int | None = None,
    ) -> None:
        super().__init__(
            f"{what} at offset {offset}" + ("" if height is None else f", behind records up to height {height}"),
            where=where,
            got=got,
            hint="what was signed cannot be told any more: the keys that signed must be replaced; move the file away",
        )
        self.what_damaged = what
        self.offset = offset
        self.records = tuple(records)


class Scan(NamedTuple):
    """What a log holds: its records in order, the bytes that are sound, and the torn bytes after them."""

    records: list[bytes]
    sound_bytes: int
    torn_bytes: int


def is_begun(head: bytes) -> bool:
    """Say by its first HEADER_BYTES whether a log was ever made, sound or not: else nobody knows what was signed."""
    return len(head) == HEADER_BYTES and any(head)


def encode_header(chain_id: bytes) -> bytes:
    """Return the log's first bytes for a chain of 32 id bytes."""
    assert len(chain_id) == 32
    head = MAGIC + FORMAT_VERSION.to_bytes(2, "little") + chain_id
    return head + hashlib.sha256(head).digest()[:8]


def encode_body(records: Iterable[bytes]) -> bytes:
    """Return the records with their lengths."""
    return b"".join(len(record).to_bytes(4, "little") + record for record in records)


def encode_frame(chain_id: bytes, offset: int, body: bytes) -> bytes:
    """Return a body framed for the place `offset` of a chain's log."""
    assert len(body) <= BODY_BYTES_MAX
    length = len(body).to_bytes(4, "little")
    start = bytes([_FRAME_START]) + length + _check(b"head", chain_id, offset, length, 4)
    return start + _check(b"body", chain_id, offset, body, 16) + body + bytes([_FRAME_END])


def scan(data: bytes, chain_id: bytes, *, where: str | None = None) -> Scan:
    """Return what `data`, a whole log, holds.

    Raises `LogDamaged` where an acknowledged part is bad, `StorageError` on another format version, `UsageError` on
    another chain.
    """
    header = encode_header(chain_id)
    if (len(data) < HEADER_BYTES and header.startswith(data)) or (len(data) <= HEADER_BYTES and not any(data)):
        return Scan([], 0, len(data))
    _check_header(data, header, where)
    records: list[bytes] = []
    offset = HEADER_BYTES
    while offset < len(data):
        end = _frame_end(data, chain_id, offset)
        if end is None:
            if _is_torn(data, chain_id, offset):
                break
            raise LogDamaged("the write-ahead log is damaged", offset, where=where, records=records)
        records += _split_body(data[offset + FRAME_HEADER_BYTES : end - 1], offset, where)
        offset = end
    return Scan(records, offset, len(data) - offset)


def _check(tag: bytes, chain_id: bytes, offset: int, data: bytes, size: int) -> bytes:
    return hashlib.sha256(tag + chain_id + offset.to_bytes(8, "little") + data).digest()[:size]


def _check_header(data: bytes, header: bytes, where: str | None) -> None:
    if data[:HEADER_BYTES] == header:
        return
    head, check = data[: HEADER_BYTES - 8], data[HEADER_BYTES - 8 : HEADER_BYTES]
    if not data.startswith(MAGIC) or hashlib.sha256(head).digest()[:8] != check:
        raise LogDamaged("the write-ahead log's header is damaged", 0, where=where)
    version = int.from_bytes(data[len(MAGIC) : len(MAGIC) + 2], "little")
    if version != FORMAT_VERSION:
        raise StorageError(
            "write-ahead log of another format version",
            where=where,
            expected=FORMAT_VERSION,
            got=version,
            hint="run the release that wrote it: nothing may be signed by a key whose log cannot be read",
        )
    raise UsageError(
        "write-ahead log of another chain",
        where=where,
        expected=header[10:42].hex(),
        got=data[10:42].hex(),
        hint=PUT_BACK,
    )


def _declared_end(data: bytes, chain_id: bytes, offset: int) -> int | None:
    """Where the frame at `offset` says that it ends; None unless its header is whole and sound."""
    if len(data) - offset < FRAME_HEADER_BYTES or data[offset] != _FRAME_START:
        return None
    length = data[offset + 1 : offset + 5]
    if data[offset + 5 : offset + 9] != _check(b"head", chain_id, offset, length, 4):
        return None
    size = int.from_bytes(length, "little")
    return offset + FRAME_OVERHEAD_BYTES + size if size <= BODY_BYTES_MAX else None


def _frame_end(data: bytes, chain_id: bytes, offset: int) -> int | None:
    """Where the frame at `offset` ends; None unless all of it is there and sound."""
    end = _declared_end(data, chain_id, offset)
    if end is None or end > len(data) or data[end - 1] != _FRAME_END:
        return None
    body = data[offset + FRAME_HEADER_BYTES : end - 1]
    if data[offset + 9 : offset + FRAME_HEADER_BYTES] != _check(b"body", chain_id, offset, body, 16):
        return None
    return end


def _is_torn(data: bytes, chain_id: bytes, offset: int) -> bool:
    """Whether the bad frame at `offset` can be a last write that never returned, as opposed to damage."""
    remaining = len(data) - offset
    end = _declared_end(data, chain_id, offset)
    if end is not None and end > len(data):
        return True
    if end is None and remaining < FRAME_HEADER_BYTES:
        # Too short for a header. Its first byte is whatever the write left: ours, or a zero never written.
        return data[offset] == _FRAME_START or not any(data[offset:])
    if end is not None and end < len(data):
        return False
    if not _has_zero_sector(data, offset):
        return False
    # A lost sector in the middle would look alike, were it not for sound frames after it.
    return not any(
        _frame_end(data, chain_id, later) is not None
        for later in range(offset + 1, len(data) - FRAME_OVERHEAD_BYTES + 1)
        if data[later] == _FRAME_START
    )


def _has_zero_sector(data: bytes, offset: int) -> bool:
    """Whether a sector of what lies from `offset` on is all zero; frames start and end with other bytes than zero."""
    start = offset
    while start < len(data):
        stop = min(len(data), (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if not any(data[start:stop]):
            return True
        start = stop
    return False


def _split_body(body: bytes, offset: int, where: str | None) -> list[bytes]:
    records: list[bytes] = []
    position = 0
    while position < len(body):
        start = position + RECORD_OVERHEAD_BYTES
        position = start + int.from_bytes(body[position:start], "little")
        if start > len(body) or position > len(body):
            raise LogDamaged("a record of the write-ahead log overruns its frame", offset, where=where)
        records.append(body[start:position])
    return records


def encode_log(chain_id: bytes, records: Sequence[bytes]) -> Iterator[bytes]:
    """Yield a whole log that holds these records: its header, then frames of bounded size."""
    header = encode_header(chain_id)
    yield header
    size = len(header)
    for group in _groups(records):
        frame = encode_frame(chain_id, size, encode_body(group))
        yield frame
        size += len(frame)


def _groups(records: Sequence[bytes]) -> Iterable[list[bytes]]:
    group: list[bytes] = []
    size = 0
    for record in records:
        size += len(record) + RECORD_OVERHEAD_BYTES
        if group and size > BODY_BYTES_MAX:
            yield group
            group, size = [], len(record) + RECORD_OVERHEAD_BYTES
        group.append(record)
    if group:
        yield group
