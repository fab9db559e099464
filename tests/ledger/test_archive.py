"""The bytes of an archive: what is written reads back, and no flipped bit of a segment or a manifest is taken."""

from __future__ import annotations

import os
import zlib
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import archive, archive_writer
from ledger.archive import (
    MAGIC,
    TRAILER_BYTES,
    Anchor,
    ArchiveDamaged,
    SegmentContent,
    SegmentEntry,
    SegmentIndex,
    body_of,
    describe,
    read_index,
    segment_name,
    unpack,
    verify_segment,
)
from ledger.archive_manifest import Manifest, manifest_text, parse_manifest
from ledger.archive_writer import SegmentWriter
from ledger.batches import Batch
from ledger.reader import LedgerReader
from ledger.store import MemoryStore
from primitives.block import Block
from primitives.encoding import decode, encode
from primitives.ids import Hash, Height
from tests.ledger.chain_fixtures import Ledger

ANCHOR = Anchor("a note\n", (Hash(bytes(32)),))


class Segment:
    """A segment of a few blocks, with small frames."""

    def __init__(self, blocks: int = 3, notes: int = 6) -> None:
        ledger = Ledger(MemoryStore())
        self.chain_id = ledger.genesis.chain_id
        self.bodies: dict[Hash, bytes] = {}
        self.blocks: list[Block] = []
        writer, self.data = SegmentWriter(self.chain_id), b""
        for number in range(blocks):
            made = [ledger.banks["bank-a"].notes(notes), ledger.banks["bank-b"].notes(number + 1)]
            result = ledger.extend(*made)
            committed = LedgerReader(ledger.store, ledger.genesis).committed_block(result.header.height)
            assert committed is not None
            self.blocks.append(committed.block)
            self.bodies.update((batch.hash, batch.raw) for batch in result.batches)
            self.data += writer.add(committed.block, [batch.raw for batch in result.batches])
        end, self.entry = writer.finish(ANCHOR)
        self.data += end


@pytest.fixture(scope="module")
def segment() -> Segment:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive_writer, "FRAME_BYTES", 700)
        return Segment()


def content(data: bytes, entry: SegmentEntry, chain_id: Hash) -> SegmentContent:
    """Return what a segment holds once all of it was verified."""
    steps = verify_segment(lambda offset, size: data[offset : offset + size], entry, chain_id)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: SegmentContent = end.value
            return found


def relisted(data: bytes, entry: SegmentEntry) -> SegmentEntry:
    """Return the entry that a manifest would have for other bytes: as one who makes both would write it."""
    digest = sha256(data).hexdigest()
    name = segment_name(entry.first_height, entry.last_height, digest)
    return msgspec.structs.replace(entry, size=len(data), sha256=digest, name=name)


def rebuilt(segment: Segment, index: SegmentIndex, frames: bytes | None = None) -> bytes:
    """Return a segment with another index, under a trailer that fits it."""
    end = index_start(segment)
    packed = encode(index)
    body = segment.data[:end] if frames is None else frames
    return body + packed + len(packed).to_bytes(8, "big") + sha256(packed).digest()


def index_start(segment: Segment) -> int:
    size = int.from_bytes(segment.data[-TRAILER_BYTES : -TRAILER_BYTES + 8], "big")
    return len(segment.data) - TRAILER_BYTES - size


def index_of(segment: Segment) -> SegmentIndex:
    packed = segment.data[index_start(segment) : -TRAILER_BYTES]
    return decode(SegmentIndex, packed, size_max=1 << 20)


def test_what_a_segment_was_made_of_reads_back_body_by_body_and_as_a_whole(segment: Segment) -> None:
    data, entry = segment.data, segment.entry
    assert (entry.first_height, entry.last_height, entry.batches, entry.events) == (1, 3, 6, 24)
    assert (entry.first_index, entry.end_index) == (1, 1 + 24 + 3)
    assert entry.sha256 == sha256(data).hexdigest()
    assert entry.body_bytes == sum(map(len, segment.bodies.values()))
    found = content(data, entry, segment.chain_id)
    assert list(found.blocks) == segment.blocks
    assert found.index.anchor == ANCHOR
    assert len(found.index.frames) > 2
    for place in found.index.bodies:
        frame = found.index.frames[place.frame]
        only = bytes(frame.offset) + data[frame.offset : frame.offset + frame.size]  # nothing else of the file is read
        raw = unpack(lambda offset, size, only=only: only[offset : offset + size], entry, frame)  # type: ignore[misc]  # bound at once
        assert body_of(raw, entry, place) == segment.bodies[place.batch]


def test_a_block_without_batches_is_a_segment_without_frames() -> None:
    ledger = Ledger(MemoryStore())
    genesis = LedgerReader(ledger.store, ledger.genesis).committed_block(0)
    assert genesis is not None
    writer = SegmentWriter(ledger.genesis.chain_id)
    data = writer.add(genesis.block, [])
    end, entry = writer.finish(None)
    found = content(data + end, entry, ledger.genesis.chain_id)
    assert (found.blocks, found.index.frames, found.index.anchor) == ((genesis.block,), (), None)


def test_every_flipped_bit_of_a_segment_is_refused_and_the_segment_named(segment: Segment) -> None:
    for at in range(len(segment.data)):
        damaged = bytearray(segment.data)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(ArchiveDamaged, match=segment.entry.name):
            content(bytes(damaged), segment.entry, segment.chain_id)


@pytest.mark.parametrize("cut", [0, 1, 8, 39, 41, 500, -1])
def test_a_cut_or_longer_segment_is_refused(segment: Segment, cut: int) -> None:
    for data in (segment.data[:cut], segment.data + b"\0"):
        with pytest.raises(ArchiveDamaged, match=segment.entry.name):
            content(data, segment.entry, segment.chain_id)


def test_a_flipped_bit_of_a_frame_is_found_when_its_bodies_are_read(segment: Segment) -> None:
    index = index_of(segment)
    frame = index.frames[1]
    for at in range(frame.offset, frame.offset + frame.size):
        damaged = bytearray(segment.data)
        damaged[at] ^= 0x10
        with pytest.raises(ArchiveDamaged, match=f"frame at offset {frame.offset}"):
            unpack(lambda offset, size, data=damaged: bytes(data[offset : offset + size]), segment.entry, frame)  # type: ignore[misc]  # bound at once


def test_a_sound_frame_of_other_contents_is_refused(segment: Segment) -> None:
    frame = index_of(segment).frames[0]
    raw = bytearray(unpack(lambda offset, size: segment.data[offset : offset + size], segment.entry, frame))
    raw[-1] ^= 1
    with pytest.raises(ArchiveDamaged, match="frame at offset 8"):
        unpack(lambda _offset, _size: zlib.compress(raw), segment.entry, frame)


def test_a_body_in_the_place_of_another_is_refused(segment: Segment) -> None:
    index = index_of(segment)
    raw = unpack(lambda offset, size: segment.data[offset : offset + size], segment.entry, index.frames[0])
    with pytest.raises(ArchiveDamaged, match="a body is another batch"):
        body_of(raw, segment.entry, msgspec.structs.replace(index.bodies[0], batch=index.bodies[1].batch))


def test_an_entry_with_another_hash_is_refused_although_all_else_fits(segment: Segment) -> None:
    other = "00" * 32
    name = segment_name(segment.entry.first_height, segment.entry.last_height, other)
    with pytest.raises(ArchiveDamaged, match="the hash of the whole"):
        content(segment.data, msgspec.structs.replace(segment.entry, sha256=other, name=name), segment.chain_id)


@given(data=st.data())
def test_whoever_makes_a_segment_of_other_contents_is_refused_by_what_it_says(
    segment: Segment, data: st.DataObject
) -> None:
    """All hashes of the file fit; what does not fit is what the bodies, the blocks and the index say of each other."""
    index = index_of(segment)
    change = msgspec.structs.replace
    bodies, frames = list(index.bodies), list(index.frames)
    which = data.draw(st.sampled_from(("swap", "drop", "batch", "offset", "size", "height", "frame", "raw", "blocks")))
    at = data.draw(st.integers(0, len(bodies) - 2))
    if which == "swap":
        bodies[at], bodies[at + 1] = bodies[at + 1], bodies[at]
    elif which == "drop":
        del bodies[at]
    elif which == "batch":
        bodies[at] = change(bodies[at], batch=Hash(bytes(32)))
    elif which == "offset":
        bodies[at] = change(bodies[at], offset=bodies[at].offset + data.draw(st.integers(1, 1 << 20)))
    elif which == "size":
        bodies[at] = change(bodies[at], size=bodies[at].size + data.draw(st.sampled_from((-1, 1, 1 << 20))))
    elif which == "height":
        index = change(index, last_height=index.last_height + 1)
    elif which == "frame":
        number = data.draw(st.integers(0, len(frames) - 1))
        frames[number] = change(frames[number], offset=frames[number].offset + 1)
    elif which == "raw":
        number = data.draw(st.integers(0, len(frames) - 1))
        frames[number] = change(frames[number], raw_size=frames[number].raw_size + data.draw(st.sampled_from((-1, 1))))
    else:
        index = change(index, blocks=frames[0])
    made = rebuilt(segment, change(index, bodies=tuple(bodies), frames=tuple(frames)))
    with pytest.raises(ArchiveDamaged):
        content(made, relisted(made, segment.entry), segment.chain_id)


def with_frame(segment: Segment, raw: bytes) -> bytes:
    """Return the segment with another last frame, and everything that follows from it."""
    index = index_of(segment)
    last = index.frames[-1]
    stream = zlib.compress(raw)
    blocks = segment.data[index.blocks.offset : index.blocks.offset + index.blocks.size]
    change = msgspec.structs.replace
    frame = change(last, size=len(stream), raw_size=len(raw), sha256=Hash(sha256(stream).digest()))
    index = change(
        index,
        frames=(*index.frames[:-1], frame),
        blocks=change(index.blocks, offset=last.offset + len(stream)),
    )
    return rebuilt(segment, index, segment.data[: last.offset] + stream + blocks)


def test_a_body_with_another_event_is_refused_although_its_header_is_the_batchs(segment: Segment) -> None:
    index = index_of(segment)
    raw = unpack(lambda offset, size: segment.data[offset : offset + size], segment.entry, index.frames[-1])
    assert content(with_frame(segment, raw), relisted(with_frame(segment, raw), segment.entry), segment.chain_id)
    place = index.bodies[-1]
    batch = decode(Batch, raw[place.offset : place.offset + place.size], size_max=1 << 20)
    event = batch.events[0]
    swapped = msgspec.structs.replace(batch, events=(event[:-1] + bytes([event[-1] ^ 1]), *batch.events[1:]))
    made = with_frame(segment, raw[: place.offset] + encode(swapped))
    with pytest.raises(ArchiveDamaged, match="the events of batch"):
        content(made, relisted(made, segment.entry), segment.chain_id)


def test_a_frame_that_unpacks_to_more_than_it_says_is_not_unpacked(segment: Segment) -> None:
    stream = zlib.compress(bytes(50 << 20))
    frame = archive.Frame(0, len(stream), 1_000, Hash(sha256(stream).digest()))
    with pytest.raises(ArchiveDamaged, match="expected 1000, got 1001"):
        unpack(lambda _offset, _size: stream, segment.entry, frame)


@pytest.mark.parametrize(
    "changes",
    [
        {"first_index": 0},
        {"end_index": 27},
        {"events": 23},
        {"body_bytes": 1},
        {"batches": 5},
        {"last_height": 2},
        {"sha256": "00" * 32},
    ],
)
def test_an_entry_that_says_something_else_of_a_segment_is_refused(segment: Segment, changes: dict[str, int]) -> None:
    with pytest.raises(ArchiveDamaged):
        content(segment.data, msgspec.structs.replace(segment.entry, **changes), segment.chain_id)


def test_an_index_with_a_body_in_a_frame_and_no_frames_is_refused(segment: Segment) -> None:
    index = index_of(segment)
    place = msgspec.structs.replace(index.bodies[0], frame=1)
    made = rebuilt(segment, msgspec.structs.replace(index, frames=(), bodies=(place,), blocks=whole(segment)))
    entry = msgspec.structs.replace(relisted(made, segment.entry), batches=1)
    with pytest.raises(ArchiveDamaged, match="out of place"):
        read_index(lambda offset, size: made[offset : offset + size], entry, segment.chain_id)


def whole(segment: Segment) -> archive.Frame:
    """Return the stream of the blocks as if it were all that a segment holds."""
    index = index_of(segment)
    return msgspec.structs.replace(index.blocks, offset=len(MAGIC), size=index_start(segment) - len(MAGIC))


@pytest.mark.parametrize(
    "changes",
    [
        {"raw_size": -1},
        {"raw_size": -5},
        {"raw_size": 1 << 62},
        {"size": (1 << 63) - 1},
        {"size": 0},
        {"size": -1},
        {"offset": -1},
        {"offset": (1 << 63) - 1},
    ],
)
def test_a_segment_that_no_manifest_lists_is_refused_where_its_blocks_lie_nowhere(
    segment: Segment, changes: dict[str, int], tmp_path: Path
) -> None:
    index = index_of(segment)
    made = rebuilt(segment, msgspec.structs.replace(index, blocks=msgspec.structs.replace(index.blocks, **changes)))
    (tmp_path / "s").write_bytes(made)
    with (tmp_path / "s").open("rb") as file, pytest.raises(ArchiveDamaged, match="blocks are out of place"):
        describe(lambda offset, size: os.pread(file.fileno(), size, offset), "s", len(made), "00" * 32)


def test_a_segment_whose_blocks_are_said_to_be_countless_is_refused_before_they_are_counted(segment: Segment) -> None:
    index, change = index_of(segment), msgspec.structs.replace
    made = rebuilt(segment, change(index, last_height=Height(1 << 62)))
    entry = change(relisted(made, segment.entry), last_height=1 << 62, name="s")
    with pytest.raises(ArchiveDamaged, match="other heights"):
        content(made, entry, segment.chain_id)


def test_a_segment_of_another_chain_is_refused(segment: Segment) -> None:
    with pytest.raises(ArchiveDamaged, match="another chain"):
        read_index(lambda offset, size: segment.data[offset : offset + size], segment.entry, Hash(bytes(32)))


def manifest(segment: Segment) -> Manifest:
    later = msgspec.structs.replace(segment.entry, first_height=4, last_height=9)
    later = msgspec.structs.replace(later, name=segment_name(4, 9, later.sha256))
    return Manifest(segment.chain_id).with_segment(later).with_segment(segment.entry).with_segment(later)


def test_a_manifest_reads_back_with_its_segments_in_order_and_each_once(segment: Segment) -> None:
    made = manifest(segment)
    assert parse_manifest(manifest_text(made), where="m") == made
    assert [entry.first_height for entry in made.segments] == [1, 4]
    assert [entry.first_height for entry in made.covering(4)] == [4]
    assert made.covering(10) == []
    assert parse_manifest(manifest_text(Manifest(segment.chain_id)), where="m").segments == ()


@given(
    spans=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 20)), max_size=12),
    height=st.integers(0, 90),
)
def test_whoever_cut_the_segments_all_that_cover_a_height_are_found(
    segment: Segment, spans: list[tuple[int, int]], height: int
) -> None:
    made = Manifest(segment.chain_id)
    for first, length in spans:
        name = segment_name(first, first + length, segment.entry.sha256)
        made = made.with_segment(
            msgspec.structs.replace(segment.entry, name=name, first_height=first, last_height=first + length)
        )
    assert parse_manifest(manifest_text(made), where="m") == made
    expected = [entry for entry in made.segments if entry.first_height <= height <= entry.last_height]
    assert made.covering(height) == expected


def test_every_flipped_bit_of_a_manifest_is_refused_and_its_place_named(segment: Segment) -> None:
    text = manifest_text(manifest(segment))
    for at in range(len(text)):
        for bit in range(8):
            damaged = bytearray(text)
            damaged[at] ^= 1 << bit
            with pytest.raises(ArchiveDamaged, match="the-archive"):
                parse_manifest(bytes(damaged), where="the-archive")
    for cut in range(len(text)):
        with pytest.raises(ArchiveDamaged):
            parse_manifest(text[:cut], where="m")


def signed(lines: list[bytes]) -> bytes:
    body = b"".join(line + b"\n" for line in lines)
    return body + b'{"sha256":"' + sha256(body).hexdigest().encode() + b'"}\n'


def test_a_manifest_whose_hash_fits_is_refused_for_what_it_lists(segment: Segment) -> None:
    lines = manifest_text(manifest(segment)).split(b"\n")[:-2]
    assert parse_manifest(signed(lines), where="m") == manifest(segment)
    escaping = lines[1].replace(segment.entry.name.encode(), b"../../keys/vote.key")
    for other in (
        [lines[0], escaping],
        [lines[0], lines[2], lines[1]],
        [lines[0], lines[1], lines[1]],
        [lines[0].replace(b"/1", b"/2"), lines[1]],
        [lines[0], lines[1].replace(b'"batches":6', b'"batches": 6')],
        [lines[0], lines[1].replace(b'"batches":6', b'"batches":6.5')],
        [lines[0], lines[1].replace(b'"size":%d' % segment.entry.size, b'"size":%d' % (1 << 63))],
        [lines[1]],
    ):
        with pytest.raises(ArchiveDamaged):
            parse_manifest(signed(other), where="m")
    assert segment.data[:8] == MAGIC
