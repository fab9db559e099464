"""Writing archive segments: bytes to append to a file, in order, and the entry for the manifest.

Pure: bytes in, bytes out. What a segment is, and reading and verifying one: `ledger.archive`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from ledger.archive import (
    FRAME_BYTES,
    MAGIC,
    SEGMENT_BATCHES_MAX,
    SEGMENT_BLOCKS_MAX,
    SEGMENT_BYTES,
    Anchor,
    BodyPlace,
    Frame,
    SegmentEntry,
    SegmentIndex,
    segment_name,
)
from primitives.block import Block
from primitives.encoding import encode
from primitives.ids import Hash

ZLIB_LEVEL: Final = 6


class SegmentWriter:
    """Makes one segment: `add` and `finish` return the bytes to append to its file, in order."""

    def __init__(self, chain_id: Hash) -> None:
        self._chain_id = chain_id
        self._hash = sha256()
        self._offset = 0
        self._begun: list[bytes] = []  # bodies of the frame that is not closed yet
        self._begun_bytes = 0
        self._frames: list[Frame] = []
        self._places: list[BodyPlace] = []
        self._blocks: list[Block] = []
        self.body_bytes = 0

    @property
    def full(self) -> bool:
        """Whether the segment should be finished before another block."""
        return (
            self.body_bytes >= SEGMENT_BYTES
            or len(self._blocks) >= SEGMENT_BLOCKS_MAX
            or len(self._places) >= SEGMENT_BATCHES_MAX
        )

    @property
    def blocks(self) -> int:
        """The number of blocks that were added."""
        return len(self._blocks)

    def add(self, block: Block, bodies: Sequence[bytes]) -> bytes:
        """Add the next block with all of its bodies, in order."""
        assert len(bodies) == len(block.batch_hashes), "a block is added with all of its bodies"
        assert not self._blocks or block.header.height == self._blocks[-1].header.height + 1, "blocks are consecutive"
        out = b"" if self._offset else self._append(MAGIC)
        self._blocks.append(block)
        for batch_hash, body in zip(block.batch_hashes, bodies, strict=True):
            self._places.append(BodyPlace(batch_hash, len(self._frames), self._begun_bytes, len(body)))
            self._begun.append(body)
            self._begun_bytes += len(body)
            self.body_bytes += len(body)
            if self._begun_bytes >= FRAME_BYTES:
                out += self._close_frame()
        return out

    def finish(self, anchor: Anchor | None) -> tuple[bytes, SegmentEntry]:
        """Return the last bytes and the entry for the manifest."""
        assert self._blocks, "a segment holds a block"
        out = self._close_frame() if self._begun else b""
        stream, blocks = self._stream(encode(self._blocks))
        first, last = self._blocks[0].header, self._blocks[-1].header
        index = SegmentIndex(
            self._chain_id, first.height, last.height, tuple(self._frames), blocks, tuple(self._places), anchor
        )
        data = encode(index)
        out += stream + self._append(data) + self._append(len(data).to_bytes(8, "big") + sha256(data).digest())
        digest = self._hash.hexdigest()
        return out, SegmentEntry(
            name=segment_name(first.height, last.height, digest),
            first_height=first.height,
            last_height=last.height,
            first_index=first.first_index,
            end_index=last.first_index + last.event_count + 1,
            batches=len(self._places),
            events=sum(block.header.event_count for block in self._blocks),
            body_bytes=self.body_bytes,
            size=self._offset,
            sha256=digest,
        )

    def _close_frame(self) -> bytes:
        stream, frame = self._stream(b"".join(self._begun))
        self._frames.append(frame)
        self._begun, self._begun_bytes = [], 0
        return stream

    def _stream(self, raw: bytes) -> tuple[bytes, Frame]:
        stream = zlib.compress(raw, ZLIB_LEVEL)
        frame = Frame(self._offset, len(stream), len(raw), Hash(sha256(stream).digest()))
        return self._append(stream), frame

    def _append(self, data: bytes) -> bytes:
        self._hash.update(data)
        self._offset += len(data)
        return data
