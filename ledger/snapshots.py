"""The form of a snapshot: its manifest, its chunks, and the head of its file. Bytes in docs/formats.md, "Snapshots".

A snapshot is all that executing the next block needs, as of one block under a stable checkpoint: the log's right edge,
the newest blocks, the members' batch logs and the rows of the state. Nobody signs it: everything in it is proved by the
block's header, and the header by the genesis through handovers and a commit certificate (`ledger.snapshots_restoring`).
The digests in the manifest find damage before anything is decoded. Not here: making one (`ledger.snapshots_making`).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from enum import IntEnum
from hashlib import sha256
from typing import Annotated

from msgspec import Meta

from ledger.handovers import HANDOVERS_MAX, Handover
from ledger.rows import SourceTip
from ledger.state import STATE_KEY_SIZE_MAX, STATE_VALUE_SIZE_MAX
from primitives.block import BlockHeader
from primitives.encoding import Record, decode, encode
from primitives.errors import EncodingError, InputError
from primitives.hashing import domain_hash
from primitives.ids import Hash, Height
from primitives.votes import QuorumCertificate

SNAPSHOT_VERSION = 1
MAGIC = b"CHAINSNP"
HEAD_BYTES = len(MAGIC) + 2 + 4 + 32
MANIFEST_BYTES_MAX = 16 << 20
NOTE_CHARACTERS_MAX = 1 << 16
CHUNKS_MAX = 1 << 17
CHUNK_BYTES = 1 << 20
"""A chunk is closed once its items reach this size."""

CHUNK_BYTES_MAX = 1 << 22
"""What one chunk may inflate to: what it had before its last item, and the largest item."""

PACKED_BYTES_MAX = CHUNK_BYTES_MAX + (1 << 14)
"""What one chunk takes in the file: zlib makes no chunk larger than this. Whoever reads one holds it in memory."""

COMPRESSION = 6
TILE_LEVELS_MAX = 8
TAIL_BYTES_MAX = 255 * 32

Count = Annotated[int, Meta(ge=0)]
Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
Tails = Annotated[tuple[Annotated[bytes, Meta(max_length=TAIL_BYTES_MAX)], ...], Meta(max_length=TILE_LEVELS_MAX)]
"""The right edge of a log: by tile level, lowest first, the hashes of the tile that is not full, one after another."""


class SnapshotRefused(InputError):
    """A snapshot is damaged, or is not what its block's header says."""

    reason = "bad_snapshot"


class Section(IntEnum):
    """What a chunk holds; a snapshot has these sections in this order."""

    LOG = 0
    BLOCKS = 1
    MEMBERS = 2
    STATE = 3


class LogPart(Record):
    """The one item of section LOG: the right edge of the log before the header's own leaf."""

    tails: Tails


class MemberPart(Record):
    """An item of section MEMBERS: a member's batch log, its sources ascending by key, and its right edge."""

    member: str
    size: Count
    sources: tuple[SourceTip, ...]
    tails: Tails


class StateRow(Record):
    """An item of section STATE: a row of the authenticated state. Rows ascend by their path in the map."""

    key: Annotated[bytes, Meta(min_length=1, max_length=STATE_KEY_SIZE_MAX)]
    value: Annotated[bytes, Meta(max_length=STATE_VALUE_SIZE_MAX)]


class SnapshotChunk(Record):
    """A chunk before it is compressed: canonical items of one section."""

    section: Section
    items: tuple[bytes, ...]


class ChunkEntry(Record):
    """What the manifest says of a chunk: its bytes in the file, before compression, and the SHA-256 of the former."""

    size: Annotated[int, Meta(ge=1, le=PACKED_BYTES_MAX)]
    raw_size: Annotated[int, Meta(ge=1, le=CHUNK_BYTES_MAX)]
    digest: Digest


class Manifest(Record):
    """What a snapshot is of, what proves it, and what it consists of.

    `checkpoint` is the signed note of the log that ends with `header`; `handovers` lead from the genesis to its
    epoch; the counts are those of the items of sections BLOCKS, MEMBERS and STATE.
    """

    version: int
    chain_id: Hash
    height: Height
    header: BlockHeader
    certificate: QuorumCertificate
    checkpoint: Annotated[str, Meta(max_length=NOTE_CHARACTERS_MAX)]
    handovers: Annotated[tuple[Handover, ...], Meta(max_length=HANDOVERS_MAX)]
    blocks: Count
    members: Count
    state_rows: Count
    chunks: Annotated[tuple[ChunkEntry, ...], Meta(min_length=1, max_length=CHUNKS_MAX)]

    @property
    def size_bytes(self) -> int:
        """The bytes of all chunks in the file."""
        return sum(entry.size for entry in self.chunks)


def snapshot_id(manifest_bytes: bytes) -> Hash:
    """Return what names a snapshot: the domain hash of its manifest, and thereby of its every byte."""
    return domain_hash("snapshot", manifest_bytes)


def file_head(manifest_bytes: bytes) -> bytes:
    """Return what a snapshot's file begins with, before the manifest and the chunks."""
    size = len(manifest_bytes).to_bytes(4, "big")
    return MAGIC + SNAPSHOT_VERSION.to_bytes(2, "big") + size + snapshot_id(manifest_bytes)


def parse_head(data: bytes) -> tuple[int, Hash]:
    """Return the manifest's size and the snapshot's id of a file's first HEAD_BYTES. Raises SnapshotRefused."""
    if len(data) != HEAD_BYTES or data[: len(MAGIC)] != MAGIC:
        raise SnapshotRefused("not a snapshot", where="head", expected=f"{HEAD_BYTES} bytes that begin with CHAINSNP")
    version, size = int.from_bytes(data[8:10], "big"), int.from_bytes(data[10:14], "big")
    if version != SNAPSHOT_VERSION:
        raise SnapshotRefused(
            "snapshot of an unknown version", where="head", expected=SNAPSHOT_VERSION, got=version,
            hint="use the release that made it, or a newer one",
        )  # fmt: skip
    if not 1 <= size <= MANIFEST_BYTES_MAX:
        raise SnapshotRefused("size of the manifest", where="head", expected=f"1 to {MANIFEST_BYTES_MAX}", got=size)
    return size, Hash(data[14:])


def parse_manifest(data: bytes, expected_id: Hash) -> Manifest:
    """Return the manifest of these bytes; SnapshotRefused where they are not those that the file's head names."""
    if snapshot_id(data) != expected_id:
        raise SnapshotRefused("manifest is another", where="manifest", expected=expected_id, got=snapshot_id(data))
    try:
        manifest = decode(Manifest, data, size_max=MANIFEST_BYTES_MAX)
    except EncodingError as error:
        raise SnapshotRefused(error.what, where="manifest", expected=error.expected, got=error.got) from None
    if manifest.version != SNAPSHOT_VERSION:
        raise SnapshotRefused(
            "manifest of an unknown version", where="manifest", expected=SNAPSHOT_VERSION, got=manifest.version
        )
    return manifest


def pack_chunk(section: Section, items: Sequence[bytes]) -> tuple[ChunkEntry, bytes]:
    """Return a chunk's bytes with its entry in the manifest."""
    raw = encode(SnapshotChunk(section, tuple(items)))
    assert len(raw) <= CHUNK_BYTES_MAX, f"chunk of {len(raw)} bytes"
    packed = zlib.compress(raw, COMPRESSION)
    return ChunkEntry(len(packed), len(raw), sha256(packed).digest()), packed


def unpack_chunk(entry: ChunkEntry, packed: bytes) -> SnapshotChunk:
    """Return a chunk; SnapshotRefused unless its bytes are those that the manifest names. Never inflates to more."""
    if len(packed) != entry.size:
        raise SnapshotRefused("chunk cut or of another length", expected=entry.size, got=len(packed))
    digest = sha256(packed).digest()
    if digest != entry.digest:
        raise SnapshotRefused("chunk is another", expected=entry.digest, got=digest)
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(packed, entry.raw_size + 1)
    except zlib.error as error:
        raise SnapshotRefused("chunk does not inflate", got=error) from None
    if len(raw) != entry.raw_size or not inflate.eof or inflate.unused_data:
        raise SnapshotRefused("chunk inflates to another length", expected=entry.raw_size, got=len(raw))
    try:
        return decode(SnapshotChunk, raw, size_max=CHUNK_BYTES_MAX)
    except EncodingError as error:
        raise SnapshotRefused(error.what, expected=error.expected, got=error.got) from None
