"""Archive segments: the batch bodies of consecutive blocks in one immutable file, compressed, hashed and indexed.

A segment is: the magic; frames, each the zlib stream of consecutive bodies; one more zlib stream, of the blocks that
name them; the index; a trailer with the index's size and SHA-256. A body is read by unpacking one frame. What makes a
segment believable is in it: every body hashes to what its block names, each block names the one before it, and the
anchor proves the last of them in the log of a signed checkpoint. Layout: docs/formats.md, "The archive". Pure: bytes
in, bytes out. Not here: the list of segments (`ledger.archive_manifest`), writing one
(`ledger.archive_writer`), files (`chainnode.archive_files`), what is moved and when (`chainnode.archive`).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from msgspec import Struct

from ledger.batch_headers import batch_statement
from ledger.batches import BATCH_SIZE_MAX, DECODING_ERRORS, Batch
from ledger.events import KIND_BYTES, Event
from primitives.block import Block, BlockHeader, batches_root
from primitives.encoding import Record, decode, decoder_of
from primitives.errors import ChainError, EncodingError, StorageError
from primitives.ids import Hash, Height
from primitives.keys import verify
from primitives.merkle import root_of

MAGIC: Final = b"CNARCH1\n"
TRAILER_BYTES: Final = 8 + 32

FRAME_BYTES: Final = 256 << 10
"""A frame ends with the body that reaches this size; what reading one body unpacks at least."""

FRAME_BYTES_MAX: Final = FRAME_BYTES + BATCH_SIZE_MAX
SEGMENT_BYTES: Final = 32 << 20
"""A segment ends with the block whose bodies reach this size, or with one of the next two figures."""

SEGMENT_BLOCKS_MAX: Final = 4_096
SEGMENT_BATCHES_MAX: Final = 4_096
BLOCKS_BYTES_MAX: Final = 16 << 20
INDEX_BYTES_MAX: Final = 16 << 20

Read = Callable[[int, int], bytes]
"""Gives (offset, size) of a segment's bytes, fewer where the file ends before."""


class ArchiveDamaged(StorageError):
    """A segment or a manifest is not what was written; it names the file and the part."""

    reason = "archive_damaged"


class Frame(Record):
    """A zlib stream in a segment: where it lies, its size, the size of what it unpacks to, and its own SHA-256."""

    offset: int
    size: int
    raw_size: int
    sha256: Hash


class BodyPlace(Record):
    """Where a body lies: the number of its frame, and offset and size in what that unpacks to."""

    batch: Hash
    frame: int
    offset: int
    size: int


class Anchor(Record):
    """A signed checkpoint and the path that proves the header of the segment's last block in its log."""

    note: str
    path: tuple[Hash, ...]


class SegmentIndex(Record):
    """What a segment holds: `blocks` is the stream of the blocks, as canonical bytes of a list of `Block`."""

    chain_id: Hash
    first_height: Height
    last_height: Height
    frames: tuple[Frame, ...]
    blocks: Frame
    bodies: tuple[BodyPlace, ...]
    anchor: Anchor | None


class SegmentEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """A segment as its manifest lists it: heights, log indexes [first_index, end_index), what it holds, size, hash."""

    name: str
    first_height: int
    last_height: int
    first_index: int
    end_index: int
    batches: int
    events: int
    body_bytes: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SegmentContent:
    """A segment that was found good: its index and the blocks."""

    index: SegmentIndex
    blocks: tuple[Block, ...]


def segment_name(first_height: int, last_height: int, sha256_hex: str) -> str:
    """Return the name of a segment's file: it names its content, so that no file ever changes under its name."""
    return f"{first_height:012d}-{last_height:012d}-{sha256_hex[:16]}.bodies"


def read_index(read: Read, entry: SegmentEntry, chain_id: Hash) -> SegmentIndex:
    """Return a segment's index by reading its end. Raises ArchiveDamaged."""
    index, end = _read_end(read, entry)
    _check_index(entry, index, chain_id, end=end)
    return index


def _read_end(read: Read, entry: SegmentEntry) -> tuple[SegmentIndex, int]:
    """Return the index and the offset at which it begins."""
    trailer = read(max(0, entry.size - TRAILER_BYTES), TRAILER_BYTES)
    size = int.from_bytes(trailer[:8], "big")
    start = entry.size - TRAILER_BYTES - size
    if len(trailer) != TRAILER_BYTES or not 0 < size <= INDEX_BYTES_MAX or start < len(MAGIC):
        raise _damaged(entry, "the trailer", expected=f"{entry.size} bytes", got=f"{len(trailer)} at the end")
    data = read(start, size)
    if sha256(data).digest() != trailer[8:]:
        raise _damaged(entry, "the index", expected=trailer[8:], got=sha256(data).digest())
    try:
        return decode(SegmentIndex, data, size_max=INDEX_BYTES_MAX), start
    except EncodingError as error:
        raise _damaged(entry, "the index", got=error) from None


def describe(read: Read, name: str, size: int, sha256_hex: str) -> tuple[Hash, SegmentEntry]:
    """Return the chain and the entry of a segment that no manifest lists, as it describes itself.

    What it says is not verified but in so far as it hangs together. Raises ArchiveDamaged.
    """
    entry = SegmentEntry(name, 0, 0, 0, 0, 0, 0, 0, size, sha256_hex)
    index, end = _read_end(read, entry)
    blocks = index.blocks
    inside = blocks.offset >= 0 and 0 < blocks.size <= end - blocks.offset
    if not inside or not 0 < blocks.raw_size <= BLOCKS_BYTES_MAX:
        raise _damaged(entry, "the blocks are out of place", expected=f"before {end}", got=f"offset {blocks.offset}")
    headers = [block.header for block in _decode_blocks(unpack(read, entry, blocks), entry)]
    first, last = headers[0], headers[-1]
    return index.chain_id, SegmentEntry(
        name=segment_name(first.height, last.height, sha256_hex),
        first_height=first.height,
        last_height=last.height,
        first_index=first.first_index,
        end_index=last.first_index + last.event_count + 1,
        batches=len(index.bodies),
        events=sum(header.event_count for header in headers),
        body_bytes=sum(place.size for place in index.bodies),
        size=size,
        sha256=sha256_hex,
    )


def _check_index(entry: SegmentEntry, index: SegmentIndex, chain_id: Hash, *, end: int) -> None:
    """Raise ArchiveDamaged unless the index is of this entry and fills the file without a gap."""
    if index.chain_id != chain_id:
        raise _damaged(entry, "a segment of another chain", expected=chain_id, got=index.chain_id)
    if (index.first_height, index.last_height, len(index.bodies)) != (
        entry.first_height, entry.last_height, entry.batches,
    ):  # fmt: skip
        raise _damaged(
            entry,
            "the index is of another entry",
            expected=f"{entry.batches} batches of blocks {entry.first_height} to {entry.last_height}",
            got=f"{len(index.bodies)} of blocks {index.first_height} to {index.last_height}",
        )
    at = len(MAGIC)
    for frame in (*index.frames, index.blocks):
        limit = BLOCKS_BYTES_MAX if frame is index.blocks else FRAME_BYTES_MAX
        if frame.offset != at or frame.size < 1 or not 0 < frame.raw_size <= limit:
            raise _damaged(entry, "a frame is out of place", expected=f"offset {at}", got=f"offset {frame.offset}")
        at += frame.size
    if at != end:
        raise _damaged(entry, "the frames do not end where the index begins", expected=end, got=at)
    _check_places(entry, index)


def _check_places(entry: SegmentEntry, index: SegmentIndex) -> None:
    """Raise ArchiveDamaged unless the bodies fill the frames in order."""
    number, at = 0, 0
    for place in index.bodies:
        if place.frame == number + 1 and index.frames and at == index.frames[number].raw_size:
            number, at = place.frame, 0
        inside = number < len(index.frames) and place.offset + place.size <= index.frames[number].raw_size
        if (place.frame, place.offset) != (number, at) or place.size < 1 or not inside:
            raise _damaged(entry, "a body is out of place", expected=f"frame {number}, {at}", got=place.batch)
        at += place.size
    last = index.frames[-1].raw_size if index.frames else 0
    if len(index.frames) > number + 1 or at != last:
        raise _damaged(entry, "the last frame is not filled", expected=last, got=at)


def unpack(read: Read, entry: SegmentEntry, frame: Frame) -> bytes:
    """Return what a frame unpacks to, once its hash was found right. Raises ArchiveDamaged."""
    stream = read(frame.offset, frame.size)
    digest = sha256(stream).digest()
    if digest != frame.sha256:
        raise _damaged(entry, f"the frame at offset {frame.offset}", expected=frame.sha256, got=digest)
    return _inflate(stream, entry, frame)


def _inflate(stream: bytes, entry: SegmentEntry, frame: Frame) -> bytes:
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(stream, frame.raw_size + 1)  # never more than was said: no bomb unpacks here
    except zlib.error as error:
        raise _damaged(entry, f"the frame at offset {frame.offset}", got=error) from None
    if len(raw) != frame.raw_size or not inflater.eof or inflater.unused_data:
        raise _damaged(entry, f"the frame at offset {frame.offset}", expected=frame.raw_size, got=len(raw))
    return raw


def body_of(raw: bytes, entry: SegmentEntry, place: BodyPlace) -> bytes:
    """Return a body out of its frame; ArchiveDamaged unless it is the batch that it should be."""
    body = raw[place.offset : place.offset + place.size]
    found = _batch(body, entry, place).header.hash()
    if found != place.batch:
        raise _damaged(entry, "a body is another batch", expected=place.batch, got=found)
    return body


def _batch(body: bytes, entry: SegmentEntry, place: BodyPlace) -> Batch:
    try:
        return decode(Batch, body, size_max=BATCH_SIZE_MAX)
    except EncodingError as error:
        raise _damaged(entry, f"the body of batch {place.batch.hex()}", got=error) from None


def judge_signature(block: Block, batch: Batch) -> None:
    """Raise ArchiveDamaged unless the source that a batch names signed it.

    No hash of the chain covers a batch's signature, so it is judged in whatever this node did not write itself: else
    whoever hands over a segment could take from a receipt what keeps a bank from denying its word.
    """
    _check_signature(batch, where=f"block {block.header.height}")


def _check_signature(batch: Batch, *, where: str) -> None:
    header = batch.header
    if not verify(header.source, batch_statement(header), batch.signature):
        raise ArchiveDamaged(
            "signature of a batch does not verify",
            where=where,
            got=header.hash(),
            hint="take the segment from another archive",
        )


def verify_segment(
    read: Read, entry: SegmentEntry, chain_id: Hash, judge: Callable[[Block, Batch], None] | None = None
) -> Generator[int, None, SegmentContent]:
    """Verify every byte of a segment, a frame at each step: yield the bytes done, return what it holds.

    Bytes against the manifest's hash, frames against the index, blocks against each other, and bodies against the
    blocks. `judge` looks at each batch besides. Raises ArchiveDamaged, which names the segment and the part.
    """
    index = read_index(read, entry, chain_id)
    blocks = _read_blocks(read, entry, index)
    digest = sha256(read(0, len(MAGIC)))
    if digest.digest() != sha256(MAGIC).digest():
        raise _damaged(entry, "the first bytes", expected=MAGIC, got=read(0, len(MAGIC)))
    named = [(block, batch_hash) for block in blocks for batch_hash in block.batch_hashes]
    if [place.batch for place in index.bodies] != [batch_hash for _, batch_hash in named]:
        raise _damaged(entry, "the bodies are not those that the blocks name")
    done = 0
    for number, frame in enumerate(index.frames):
        stream = read(frame.offset, frame.size)
        digest.update(stream)
        raw = unpack(lambda _offset, _size, stream=stream: stream, entry, frame)  # type: ignore[misc]  # read once
        while done < len(index.bodies) and index.bodies[done].frame == number:
            block = named[done][0]
            batch = _verify_body(raw, entry, index.bodies[done], chain_id)
            if judge is not None:
                judge(block, batch)
            done += 1
        yield frame.offset + frame.size
    digest.update(read(index.blocks.offset, entry.size - index.blocks.offset))
    if digest.hexdigest() != entry.sha256:
        raise _damaged(entry, "the hash of the whole", expected=entry.sha256, got=digest.hexdigest())
    if read(entry.size, 1):
        raise _damaged(entry, "bytes behind the end", expected=f"{entry.size} bytes")
    _check_counts(entry, blocks, index)
    yield entry.size
    return SegmentContent(index, blocks)


def proved_body_of(raw: bytes, entry: SegmentEntry, place: BodyPlace, chain_id: Hash) -> bytes:
    """Return a body out of its frame as `body_of` does, its events and its source's signature verified besides."""
    batch = _verify_body(raw, entry, place, chain_id)
    _check_signature(batch, where=f"segment {entry.name}")
    return raw[place.offset : place.offset + place.size]


def _verify_body(raw: bytes, entry: SegmentEntry, place: BodyPlace, chain_id: Hash) -> Batch:
    """Return the batch whose header has this hash and whose events have the root that the header names."""
    batch = _batch(body_of(raw, entry, place), entry, place)
    decode_event = decoder_of(Event).decode
    try:
        ids = [sha256(b"\0" + KIND_BYTES[decode_event(event).kind] + event).digest() for event in batch.events]
        root = root_of(ids)
    except (*DECODING_ERRORS, ChainError) as error:
        raise _damaged(entry, f"an event of batch {place.batch.hex()}", got=error) from None
    if root != batch.header.root or len(ids) != batch.header.count or batch.header.chain_id != chain_id:
        raise _damaged(entry, f"the events of batch {place.batch.hex()}", expected=batch.header.root, got=root)
    return batch


def _decode_blocks(raw: bytes, entry: SegmentEntry) -> tuple[Block, ...]:
    try:
        blocks = decode(tuple[Block, ...], raw, size_max=BLOCKS_BYTES_MAX)
    except EncodingError as error:
        raise _damaged(entry, "the blocks", got=error) from None
    if not blocks:
        raise _damaged(entry, "no block")
    return blocks


def _read_blocks(read: Read, entry: SegmentEntry, index: SegmentIndex) -> tuple[Block, ...]:
    blocks = _decode_blocks(unpack(read, entry, index.blocks), entry)
    heights = [block.header.height for block in blocks]
    span = index.last_height - index.first_height + 1  # compared first: it is as large as somebody wrote
    if span != len(heights) or heights != list(range(index.first_height, index.last_height + 1)):
        raise _damaged(entry, "the blocks have other heights", got=f"{len(heights)} blocks")
    below: BlockHeader | None = None
    for block in blocks:
        header = block.header
        if header.chain_id != index.chain_id or header.batches_root != batches_root(block.batch_hashes):
            raise _damaged(entry, f"block {header.height} does not name these batches", expected=header.batches_root)
        if below is not None and not follows(below, header):
            raise _damaged(entry, f"block {header.height} does not follow the one before", expected=below.hash())
        below = header
    return blocks


def follows(below: BlockHeader, header: BlockHeader) -> bool:
    """Say whether a header names the one below as its parent and goes on where its log ended."""
    first_index = below.first_index + below.event_count + 1
    return (header.height, header.parent, header.first_index) == (below.height + 1, below.hash(), first_index)


def _check_counts(entry: SegmentEntry, blocks: Iterable[Block], index: SegmentIndex) -> None:
    """Raise ArchiveDamaged unless the figures of the manifest are those of the segment."""
    headers = [block.header for block in blocks]
    held = (
        segment_name(index.first_height, index.last_height, entry.sha256),
        headers[0].first_index,
        headers[-1].first_index + headers[-1].event_count + 1,
        sum(header.event_count for header in headers),
        sum(place.size for place in index.bodies),
    )
    listed = (entry.name, entry.first_index, entry.end_index, entry.events, entry.body_bytes)
    if held != listed:
        raise _damaged(entry, "the manifest says something else of it", expected=held, got=listed)


def _damaged(entry: SegmentEntry, what: str, *, expected: object = None, got: object = None) -> ArchiveDamaged:
    return ArchiveDamaged(
        f"damaged: {what}",
        where=f"segment {entry.name}",
        expected=expected,
        got=got,
        hint="put a good copy in its place: `chainnode archive add DIR`",
    )
