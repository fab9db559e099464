"""The tree of a signed checkpoint, read from tiles that nobody vouches for: what it returns was hashed to the root.

The partial tiles of all levels make the root together, and each of their hashes is that of a full tile below, and so on
down. So a tile is known to be the log's as soon as those above it are, whoever gave it, and a wrong one is refused by
name before anything is made of it. Pure: where tiles come from are functions that the caller gives.
Source: C2SP tlog-tiles; RFC 6962 section 2.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ledger.log_tiles import TILE_BYTES, TILE_HEIGHT, TILE_WIDTH
from ledger.tile_paths import Tile, edge_width, full_tiles, hashes_of, level_of, levels_of
from primitives import merkle
from primitives.errors import ChainError, ProofError
from primitives.ids import HASH_BYTES, Hash
from primitives.notes import Checkpoint

TILES_KEPT = 64


class TileMissing(ChainError):
    """None of those asked has a tile that belongs to the log."""

    reason = "tile_missing"


@dataclass(frozen=True, slots=True)
class TileSource:
    """Somebody who may have a log's tiles: `read` returns one's bytes, or None where it is not there."""

    name: str
    read: Callable[[Tile], bytes | None]


@dataclass(slots=True)
class SignedTree:
    """The tree of a checkpoint, over sources that are asked in order until one gives what belongs to it.

    `refused` is told of each source that gave something else.
    """

    checkpoint: Checkpoint
    sources: Sequence[TileSource]
    refused: Callable[[str, ProofError], None]
    _edge: dict[int, bytes] = field(default_factory=dict)
    _full: dict[tuple[int, int], bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self.checkpoint.size

    def tile(self, level: int, index: int) -> bytes:
        """Return the hashes of a tile of this tree. Raises TileMissing where no source has the log's."""
        if index == full_tiles(self.size, level):
            return self._edge_tile(level)
        assert 0 <= index < full_tiles(self.size, level), "only tiles of this tree are asked for"
        found = self._full.get((level, index))
        if found is None:
            parent, place = divmod(index, TILE_WIDTH)
            above = self.tile(level + 1, parent)
            found = self._find(Tile(level, index), above[place * HASH_BYTES : (place + 1) * HASH_BYTES])
            if len(self._full) >= TILES_KEPT:
                del self._full[next(iter(self._full))]
            self._full[(level, index)] = found
        return found

    def subtree(self, subtree: merkle.Subtree) -> Hash:
        """Return the root of a complete subtree (level, index) of this tree."""
        level, index = subtree
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile, offset = divmod(index << height, TILE_WIDTH)
        hashes = self.tile(tile_level, tile)[offset * HASH_BYTES : (offset + (1 << height)) * HASH_BYTES]
        assert len(hashes) == HASH_BYTES << height, "a complete subtree of this tree"
        return merkle.root_of(hashes_of(hashes))

    def root_of_first(self, size: int) -> Hash:
        """Return the root of this tree's first `size` leaves."""
        assert 0 <= size <= self.size, "no more leaves than this tree has"
        return merkle.EMPTY_ROOT if size == 0 else merkle.range_root((0, size), self.subtree)

    def consistency(self, old_size: int) -> list[Hash]:
        """Return the proof that this tree extends that of its first `old_size` leaves; empty where that is trivial."""
        if old_size in (0, self.size):
            return []
        return [merkle.range_root(part, self.subtree) for part in merkle.consistency_ranges(old_size, self.size)]

    def inclusion(self, index: int) -> list[Hash]:
        """Return the path of leaf `index` in this tree."""
        return [merkle.range_root(part, self.subtree) for part in merkle.inclusion_ranges(index, self.size)]

    def bundle(self, index: int, check: Callable[[bytes, bytes], None]) -> tuple[bytes, bytes]:
        """Return the hashes of a tile of level 0 and the bundle of entries that `check` finds to be theirs."""
        hashes = self.tile(0, index)
        wanted = Tile(None, index, len(hashes) // HASH_BYTES)
        for source in self.sources:
            data = source.read(wanted)
            try:
                if data is not None:
                    check(data, hashes)
                    return hashes, data
            except ProofError as error:
                self._refuse(source, wanted, error)
        raise self._missing(wanted)

    def _find(self, wanted: Tile, expected: bytes) -> bytes:
        for source in self.sources:
            data = source.read(wanted)
            if data is None:
                continue
            found = merkle.root_of(hashes_of(data)) if len(data) == TILE_BYTES else None
            if found == expected:
                return data
            error = ProofError("tile is not the log's", expected=expected, got=found or f"{len(data)} bytes")
            self._refuse(source, wanted, error)
        raise self._missing(wanted)

    def _edge_tile(self, level: int) -> bytes:
        if not self._edge and self.size:
            self._edge = self._find_edge()
        return self._edge[level]

    def _find_edge(self) -> dict[int, bytes]:
        """Return the partial tiles of all levels from the first source whose make the checkpoint's root."""
        wanted = [
            Tile(level, full_tiles(self.size, level), width)
            for level in range(levels_of(self.size))
            if (width := edge_width(self.size, level))
        ]
        lacking = wanted[0]
        for source in self.sources:
            found: dict[int, bytes] = {}
            for tile in wanted:
                data = source.read(tile)
                if data is None:
                    lacking = tile
                    break
                found[level_of(tile)] = data
            else:
                try:
                    self._check_edge(wanted, found)
                    return found
                except ProofError as error:
                    self._refuse(source, wanted[0], error)
        raise self._missing(lacking)

    def _check_edge(self, wanted: Sequence[Tile], found: dict[int, bytes]) -> None:
        carry: list[bytes] = []
        for tile in wanted:  # from the leaves up: what lies below stands to the right of a level's hashes
            data = found[level_of(tile)]
            if len(data) != tile.bytes_max:
                raise ProofError("tile of another width", where=tile.path, expected=tile.bytes_max, got=len(data))
            carry = [merkle.root_of([*hashes_of(data), *carry])]
        if carry[0] != self.checkpoint.root:
            raise ProofError(
                "tiles do not lead to the checkpoint's root", expected=self.checkpoint.root, got=Hash(carry[0])
            )

    def _refuse(self, source: TileSource, tile: Tile, error: ProofError) -> None:
        self.refused(source.name, ProofError(error.what, where=tile.path, expected=error.expected, got=error.got))

    def _missing(self, tile: Tile) -> TileMissing:
        names = ", ".join(source.name for source in self.sources) or "nobody"
        return TileMissing(
            "nobody has this part of the log",
            where=tile.path,
            expected=f"what belongs to the checkpoint of size {self.size}",
            got=f"asked {names}",
        )
