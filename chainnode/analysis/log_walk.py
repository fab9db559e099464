"""Walking the log of a signed checkpoint in chunks of whole blocks, every entry hashed to the checkpoint's root.

Here: entries, their places in one buffer, and the headers that end their blocks, each following the one before. Not
here: whose word the checkpoint is (`chainnode.monitoring`), and what becomes of entries (`tables`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chainnode.analysis.columns import PADDING, Bytes, Places
from ledger.events import HEADER_KIND, LEAF_SIZE_MAX
from ledger.log_tiles import TILE_WIDTH
from ledger.signed_trees import SignedTree, TileMissing
from ledger.tile_paths import ENTRY_LENGTH_BYTES, check_bundle
from primitives.block import BlockHeader
from primitives.encoding import decode
from primitives.errors import ProofError
from primitives.ids import HASH_BYTES, Hash

CHUNK_ENTRIES: Final = 1 << 17
"""A chunk ends with the first block that reaches this number: some 60 MB of payment statements."""

CHUNK_BYTES: Final = 1 << 27
"""Or with the first that reaches this size, since an event may have 64 KiB."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Events of consecutive blocks; headers' entries are not among them.

    `starts` and `sizes` say where each event's entry lies in `data`, `ids` holds their hashes one behind the other;
    `block` is the number of an event's header in `headers`. `next_index` is the log index behind the last header.
    """

    data: Bytes
    starts: Places
    sizes: Places
    ids: bytes
    log_index: Places
    block: NDArray[np.int64]
    headers: Sequence[BlockHeader]
    next_index: int

    def entry(self, row: int) -> bytes:
        """Return the entry of an event: its kind byte and canonical bytes."""
        start = int(self.starts[row])
        return self.data[start : start + int(self.sizes[row])].tobytes()


@dataclass(slots=True)
class _Gathered:
    """Entries from `first` on, that do not make a chunk yet."""

    first: int
    parts: list[bytes] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, data: bytes, places: Sequence[int], hashes: bytes) -> None:
        self.starts.extend([self.size + place for place in places])
        self.parts.append(data)
        self.hashes.append(hashes)
        self.size += len(data)


def walk(tree: SignedTree, chain_id: Hash, start: int, height: int, *, entries: int = CHUNK_ENTRIES) -> Iterator[Chunk]:
    """Yield the events of the whole blocks from log index `start` on, at which block `height` begins.

    Raises ProofError where entries or headers do not fit, TileMissing where nobody has them.
    """
    gathered = _Gathered(start)
    for bundle in range(start // TILE_WIDTH, -(-tree.size // TILE_WIDTH)):
        hashes, data, places = read_bundle(tree, bundle)
        skip = max(0, start - bundle * TILE_WIDTH)
        gathered.add(data, places[skip:], hashes[skip * HASH_BYTES :])
        if len(gathered.starts) >= entries or gathered.size >= CHUNK_BYTES:
            chunk, gathered = _cut(gathered, chain_id, height)
            if chunk is not None:
                height += len(chunk.headers)
                yield chunk
    chunk, _ = _cut(gathered, chain_id, height)
    if chunk is not None:
        yield chunk


def read_bundle(tree: SignedTree, index: int) -> tuple[bytes, bytes, list[int]]:
    """Return the hashes of a bundle's entries, its bytes, and where in them each entry begins; all verified."""
    places: list[int] = []

    def check(data: bytes, hashes: bytes) -> None:
        places[:] = entry_places(data, len(hashes) // HASH_BYTES)
        found = [sha256(b"\0" + data[start : end - ENTRY_LENGTH_BYTES]).digest() for start, end in pairwise(places)]
        found.append(sha256(b"\0" + data[places[-1] :]).digest())
        if b"".join(found) != hashes:
            check_bundle(data, hashes)  # names the entry

    hashes, data = tree.bundle(index, check)
    return hashes, data, places


def entry_places(data: bytes, count: int) -> list[int]:
    """Return where each of a bundle's `count` entries begins. Raises ProofError where there are more, or fewer."""
    places: list[int] = []
    place = 0
    try:
        for _ in range(count):
            places.append(place + ENTRY_LENGTH_BYTES)
            place += ENTRY_LENGTH_BYTES + (data[place] << 8 | data[place + 1])
    except IndexError:
        place = -1
    if place != len(data):
        raise ProofError("entry bundle of another length", expected=f"{count} entries", got=f"{len(data)} bytes")
    return places


def _cut(gathered: _Gathered, chain_id: Hash, height: int) -> tuple[Chunk | None, _Gathered]:
    """Return what is gathered up to the last header, None where there is none, and the rest."""
    data = np.frombuffer(b"".join([*gathered.parts, bytes(PADDING)]), np.uint8)
    starts = np.array(gathered.starts, np.int64)
    ends = np.append(starts[1:] - ENTRY_LENGTH_BYTES, gathered.size)
    headers = np.flatnonzero(data[starts] == HEADER_KIND)
    if not headers.size:
        return None, gathered
    stop = int(headers[-1]) + 1
    found: list[BlockHeader] = []
    first = 0
    for place in headers.tolist():
        entry = data[starts[place] : ends[place]].tobytes()
        header = decode(BlockHeader, entry[1:], size_max=LEAF_SIZE_MAX)
        expected = (chain_id, height + len(found), gathered.first + first, place - first)
        got = (header.chain_id, header.height, header.first_index, header.event_count)
        if got != expected:
            raise ProofError("block does not follow the one before", where=f"log index {gathered.first + place}")
        found.append(header)
        first = place + 1
    hashes = np.frombuffer(b"".join(gathered.hashes), np.dtype(f"V{HASH_BYTES}"))
    events = np.ones(stop, np.bool_)
    events[headers] = False
    rows = np.flatnonzero(events)
    chunk = Chunk(
        data=data,
        starts=starts[rows],
        sizes=(ends - starts)[rows],
        ids=hashes[rows].tobytes(),
        log_index=rows + gathered.first,
        block=np.repeat(np.arange(len(found)), [header.event_count for header in found]),
        headers=found,
        next_index=gathered.first + stop,
    )
    rest = _Gathered(gathered.first + stop)
    if stop < len(starts):
        begin = int(starts[stop])
        rest.add(data[begin : gathered.size].tobytes(), (starts[stop:] - begin).tolist(), hashes[stop:].tobytes())
    return chunk, rest


def find_block(tree: SignedTree, height: int) -> int | None:
    """Return the log index at which block `height` begins, by halving; None where the tree has no such block.

    Whoever lacks entries lacks the oldest. Raises TileMissing where the block may lie among them.
    """
    low, high = 0, tree.size  # block `height` begins in [low, high)
    if height == 0:
        return 0 if tree.size else None
    lacking: TileMissing | None = None
    while low < high:
        middle = (low + high) // 2
        try:
            found = _header_from(tree, middle)
        except TileMissing as error:
            lacking, low = error, middle + 1
            continue
        if found is None:
            high = middle
            continue
        place, header = found
        if header.height == height:
            return header.first_index
        if header.height < height:
            low = place + 1
        else:
            high = middle
    if lacking is not None:
        raise lacking
    return None


def _header_from(tree: SignedTree, index: int) -> tuple[int, BlockHeader] | None:
    """Return the first header at or behind a log index, with its own."""
    for bundle in range(index // TILE_WIDTH, -(-tree.size // TILE_WIDTH)):
        _, data, places = read_bundle(tree, bundle)
        ends = [place - ENTRY_LENGTH_BYTES for place in places[1:]] + [len(data)]
        for number, (start, end) in enumerate(zip(places, ends, strict=True), bundle * TILE_WIDTH):
            if number >= index and data[start : start + 1] == bytes([HEADER_KIND]):
                return number, decode(BlockHeader, data[start + 1 : end], size_max=LEAF_SIZE_MAX)
    return None
