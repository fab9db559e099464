"""A Merkle log over the store: tiles of 256 hashes, the tip that grows it, and proofs at any size.

Used for the chain's log and, under other names, for the members' batch logs. Shape: C2SP tlog-tiles (height 8; the
hashes of tile level L are roots of complete subtrees of 256**L leaves). A full tile is one row; the hashes of a tile
that is not full yet are pieces, one row per block that added some, so that a block of one event does not rewrite 8 KiB.
The pieces are deleted in the write that completes their tile. Proofs: RFC 6962 through `primitives.merkle`.
"""

from collections.abc import Sequence
from hashlib import sha256

from msgspec import Struct

from ledger.rows import piece_key, piece_prefix, tile_key
from ledger.store import Put, StagedStore, Store, prefix_stop
from primitives import merkle
from primitives.errors import ProofError, StorageError
from primitives.hashing import node_hash
from primitives.ids import HASH_BYTES, Hash

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
TILE_BYTES = TILE_WIDTH * HASH_BYTES
TILES_CACHED = 64
SUBTREES_CACHED = 8_192

Added = dict[int, list[bytes]]
"""By tile level, the hashes that a growth of the log added there, in order."""


class LogTip(Struct, frozen=True):
    """The right edge of a log: all that appending needs, however large the log is. Never changed in place.

    `edge` holds the root of the unpaired complete subtree of each level, where there is one; `tails` the hashes of
    the partial tile of each tile level.
    """

    size: int
    edge: tuple[bytes | None, ...]
    tails: tuple[tuple[bytes, ...], ...]

    def root(self) -> Hash:
        """Return the log's root."""
        carry: bytes | None = None
        for left in self.edge:
            if left is not None:
                carry = left if carry is None else node_hash(left, carry)
        return merkle.EMPTY_ROOT if carry is None else Hash(carry)

    def extend(self, leaves: Sequence[bytes]) -> tuple["LogTip", Added]:
        """Return the tip after more leaf hashes, and what was added to the tiles of each level."""
        edge = list(self.edge)
        tails = list(self.tails)
        added: Added = {}
        nodes, level, start = list(leaves), 0, self.size
        while nodes:
            if level % TILE_HEIGHT == 0:
                tile_level = level // TILE_HEIGHT
                added[tile_level] = nodes
                tail = (tails[tile_level] if tile_level < len(tails) else ()) + tuple(nodes)
                tails[tile_level : tile_level + 1] = [tail[len(tail) - len(tail) % TILE_WIDTH :]]
            if level == len(edge):
                edge.append(None)
            left = edge[level]
            if left is not None:
                nodes = [left, *nodes]
                start -= 1
            edge[level] = nodes[-1] if len(nodes) & 1 else None
            halves = iter(nodes)
            nodes = [sha256(b"\1" + left + right).digest() for left, right in zip(halves, halves, strict=False)]
            start >>= 1
            level += 1
        return LogTip(self.size + len(leaves), tuple(edge), tuple(tails)), added


EMPTY_TIP = LogTip(0, (), ())


def merge_added(first: Added, second: Added) -> Added:
    """Return what two growths in a row added together."""
    return {level: first.get(level, []) + second.get(level, []) for level in first.keys() | second.keys()}


def tile_rows(store: Store | StagedStore, log: bytes, before: LogTip, added: Added) -> list[Put]:
    """Return the rows of a growth of the log named `log` from `before`: full tiles, pieces, and pieces to delete."""
    puts: list[Put] = []
    for level in sorted(added):
        tail = before.tails[level] if level < len(before.tails) else ()
        first = (before.size >> (TILE_HEIGHT * level)) // TILE_WIDTH
        hashes = [*tail, *added[level]]
        for index, offset in enumerate(range(0, len(hashes), TILE_WIDTH), first):
            part = hashes[offset : offset + TILE_WIDTH]
            if len(part) == TILE_WIDTH:
                puts.append((tile_key(log, level, index), b"".join(part)))
                if index == first and tail:
                    prefix = piece_prefix(log, level, index)
                    puts.extend((key, None) for key, _ in store.iterate(prefix, prefix_stop(prefix)))
            else:
                old = len(tail) if index == first else 0
                puts.append((piece_key(log, level, index, old), b"".join(part[old:])))
    return puts


class TileReader:
    """Reads the hashes of one log from a store."""

    def __init__(self, store: Store | StagedStore, log: bytes = b"") -> None:
        self._store = store
        self._log = log
        self._full: dict[tuple[int, int], bytes] = {}
        self._roots: dict[merkle.Subtree, Hash] = {}

    def tile(self, level: int, index: int) -> bytes:
        """Return the hashes of a tile, 32 bytes each: all 256, or as many as there are."""
        full = self._full.get((level, index))
        if full is None:
            full = self._store.get(tile_key(self._log, level, index))
            if full is not None:
                self._keep(level, index, full)
        if full is not None:
            return full
        prefix = piece_prefix(self._log, level, index)
        pieces = b"".join(piece for _, piece in self._store.iterate(prefix, prefix_stop(prefix)))
        # Beside a writer, the tile may have been completed, and its pieces deleted, between the two readings.
        return self._store.get(tile_key(self._log, level, index)) or pieces

    def _keep(self, level: int, index: int, tile: bytes) -> None:
        if len(tile) != TILE_BYTES:
            raise StorageError("tile of another length", where=f"tile {level}/{index}", expected=TILE_BYTES)
        if len(self._full) >= TILES_CACHED:
            self._full.clear()
        self._full[(level, index)] = tile

    def subtree(self, subtree: merkle.Subtree) -> Hash:
        """Return the root of a complete subtree (level, index), which never changes; upper ones are asked for often."""
        known = self._roots.get(subtree)
        if known is not None:
            return known
        level, index = subtree
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile, offset = divmod(index << height, TILE_WIDTH)
        hashes = self.tile(tile_level, tile)[offset * HASH_BYTES : (offset + (1 << height)) * HASH_BYTES]
        if len(hashes) != HASH_BYTES << height:
            raise StorageError("hashes missing from a log", where=f"tile {tile_level}/{tile}", got=len(hashes))
        root = merkle.root_of([hashes[i : i + HASH_BYTES] for i in range(0, len(hashes), HASH_BYTES)])
        if level:
            if len(self._roots) >= SUBTREES_CACHED:
                self._roots.clear()
            self._roots[subtree] = root
        return root

    def leaf_hash(self, index: int) -> Hash:
        """Return the hash of leaf `index`."""
        return self.subtree((0, index))

    def leaf_hashes(self, start: int, stop: int) -> list[Hash]:
        """Return the hashes of leaves [start, stop), reading each tile once."""
        hashes: list[Hash] = []
        while start < stop:
            tile, offset = divmod(start, TILE_WIDTH)
            end = min(stop, (tile + 1) * TILE_WIDTH)
            part = self.tile(0, tile)[offset * HASH_BYTES : (offset + end - start) * HASH_BYTES]
            if len(part) != (end - start) * HASH_BYTES:
                raise StorageError("hashes missing from a log", where=f"tile 0/{tile}", got=len(part))
            hashes += [Hash(part[i : i + HASH_BYTES]) for i in range(0, len(part), HASH_BYTES)]
            start = end
        return hashes

    def root(self, size: int) -> Hash:
        """Return the root of the first `size` leaves."""
        return merkle.EMPTY_ROOT if size == 0 else merkle.range_root((0, size), self.subtree)

    def inclusion(self, index: int, size: int) -> list[Hash]:
        """Return the path of leaf `index` in the tree of the first `size` leaves; O(log size) readings of tiles."""
        return [merkle.range_root(part, self.subtree) for part in merkle.inclusion_ranges(index, size)]

    def consistency(self, old_size: int, new_size: int) -> list[Hash]:
        """Return the proof that the tree of `new_size` extends that of `old_size`; empty where that is trivial."""
        if old_size in (0, new_size) and old_size >= 0:
            return []
        return [merkle.range_root(part, self.subtree) for part in merkle.consistency_ranges(old_size, new_size)]

    def tip(self, size: int) -> LogTip:
        """Return the tip of the log's first `size` leaves; reads one tile a tile level."""
        tails: list[bytes] = []
        for level, width in enumerate(tail_widths(size)):
            index = (size >> (TILE_HEIGHT * level)) // TILE_WIDTH
            data = self.tile(level, index)[: width * HASH_BYTES] if width else b""
            if len(data) != width * HASH_BYTES:
                raise StorageError("hashes missing from a log", where=f"level {level}", expected=width, got=len(data))
            tails.append(data)
        return tip_of_tails(size, tails)


def tail_widths(size: int) -> list[int]:
    """Return, by tile level, how many hashes the tile has that is not full in a log of `size` leaves."""
    levels = -(-size.bit_length() // TILE_HEIGHT)
    return [(size >> (TILE_HEIGHT * level)) % TILE_WIDTH for level in range(levels)]


def tip_of_tails(size: int, tails: Sequence[bytes]) -> LogTip:
    """Return the tip of a log of `size` leaves from the hashes of its tiles that are not full, by tile level.

    Each has as many as `tail_widths` says. All of them are in the root: whoever knows it knows that they are right.
    """
    edge: list[bytes | None] = []
    parted: list[tuple[bytes, ...]] = []
    for width, data in zip(tail_widths(size), tails, strict=True):
        assert len(data) == width * HASH_BYTES, "the caller checked"
        tail = tuple(data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES))
        parted.append(tail)
        for bit in range(TILE_HEIGHT):
            start = width >> (bit + 1) << (bit + 1)
            edge.append(merkle.root_of(tail[start : start + (1 << bit)]) if width >> bit & 1 else None)
    return LogTip(size, tuple(edge[: size.bit_length()]), tuple(parted))


def tip_rows(log: bytes, tip: LogTip) -> list[Put]:
    """Return the rows of a log that begins with its right edge alone: one piece for each tile that is not full."""
    return [
        (piece_key(log, level, (tip.size >> (TILE_HEIGHT * level)) // TILE_WIDTH, 0), b"".join(tail))
        for level, tail in enumerate(tip.tails)
        if tail
    ]


def check_size(size: int, stored: int) -> None:
    """Raise ProofError unless a log of `stored` leaves has had `size` leaves."""
    if not 0 <= size <= stored:
        raise ProofError("no such log size", expected=f"0 to {stored}", got=size)
