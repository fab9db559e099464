"""Where a tiled log's parts lie, and what an entry bundle holds: names and bytes of C2SP tlog-tiles. Pure.

A tile's index is written in groups of three digits, all but the last with an `x` (1234067 is x001/x234/067); `.p/W` at
the end names a partial one of W hashes. Not here: judging a path that somebody asks for (`rpc.resources`), and whether
a tile's hashes are the log's (`ledger.signed_trees`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ledger.log_tiles import TILE_BYTES, TILE_HEIGHT, TILE_WIDTH
from primitives.errors import ProofError
from primitives.hashing import leaf_hash
from primitives.ids import HASH_BYTES

CHECKPOINT_PATH = "checkpoint"
POLICY_PATH = "policy"
HANDOVERS_PATH = "handovers"
ENTRIES = "entries"
ENTRY_LENGTH_BYTES = 2
ENTRY_BYTES_MAX = (1 << 16) - 1


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """A tile of hashes, or (level None) the bundle of the entries under a tile of level 0; `width` of 1 to 256."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """The path under the log's prefix."""
        partial = f".p/{self.width}" if self.width < TILE_WIDTH else ""
        return f"tile/{ENTRIES if self.level is None else self.level}/{index_path(self.index)}{partial}"

    @property
    def bytes_max(self) -> int:
        """The most bytes that it may have; a tile of hashes has exactly as many."""
        if self.level is None:
            return self.width * (ENTRY_LENGTH_BYTES + ENTRY_BYTES_MAX)
        return self.width * HASH_BYTES


def level_of(tile: Tile) -> int:
    """Return the level of a tile of hashes."""
    assert tile.level is not None, "a tile of hashes, not a bundle of entries"
    return tile.level


def index_path(index: int) -> str:
    """Return a tile's index as its path has it."""
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[start : start + 3] for start in range(0, len(digits), 3)]
    return "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])


def levels_of(size: int) -> int:
    """Return how many levels of tiles a log of `size` leaves has."""
    return -(-size.bit_length() // TILE_HEIGHT)


def full_tiles(size: int, level: int | None) -> int:
    """Return how many full tiles a level (or full bundles, level None) a log of `size` leaves has."""
    return size >> (TILE_HEIGHT * ((level or 0) + 1))


def edge_width(size: int, level: int) -> int:
    """Return how many hashes a level's partial tile has; 0 where there is none."""
    return (size >> (TILE_HEIGHT * level)) % TILE_WIDTH


def new_tiles(old_size: int, size: int, level: int) -> Iterator[Tile]:
    """Yield the tiles of a level that a log of `size` leaves has and that of `old_size` had not, partial one last."""
    first, stop = full_tiles(old_size, level), full_tiles(size, level)
    for index in range(first, stop):
        yield Tile(level, index)
    width = edge_width(size, level)
    if width and (first, edge_width(old_size, level)) != (stop, width):
        yield Tile(level, stop, width)


def hashes_of(data: bytes) -> list[bytes]:
    """Return the hashes of a tile."""
    return [data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)]


def parse_bundle(data: bytes, width: int) -> list[bytes]:
    """Return the `width` entries of a bundle; ProofError where it has another number, is cut or goes on."""
    entries: list[bytes] = []
    place = 0
    for number in range(width):
        start = place + ENTRY_LENGTH_BYTES
        place = start + int.from_bytes(data[place:start], "big")
        if start > len(data) or place > len(data):
            raise ProofError("entry bundle cut", where=f"entry {number}", expected=f"{width} entries", got=len(data))
        entries.append(data[start:place])
    if place != len(data):
        raise ProofError("entry bundle goes on", expected=f"{width} entries in {place} bytes", got=len(data))
    return entries


def check_bundle(data: bytes, hashes: bytes) -> None:
    """Raise ProofError unless the entries of a bundle are the leaves of a tile with these hashes."""
    expected = hashes_of(hashes)
    for number, (entry, leaf) in enumerate(zip(parse_bundle(data, len(expected)), expected, strict=True)):
        found = leaf_hash(entry)
        if found != leaf:
            raise ProofError("entry is not the log's leaf", where=f"entry {number}", expected=leaf, got=found)


assert TILE_BYTES == TILE_WIDTH * HASH_BYTES, "the widths above are those of the store's tiles"
