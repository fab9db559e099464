"""The store with its archive behind it: bodies that were moved away are read from there as if they were still here.

A body that was moved leaves a row with its height, so that a batch that was ordered is known as such whether or not any
archive holds it, and a body that is gone is told apart from one that is lost. Here: that fall-back, how high bodies may
be moved, and the rows of moving. Pure. Not here: where archives lie (`chainnode.archive_files`) and the order of the
steps of moving (`chainnode.archive`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from ledger import rows
from ledger.archive import SegmentEntry
from ledger.base import NotHere, read_base
from ledger.completeness_reading import covered_height
from ledger.log_tiles import TILE_WIDTH
from ledger.reader import LedgerReader
from ledger.rows import ArchivedRow
from ledger.store import Put, StagedStore, Store
from primitives.encoding import encode
from primitives.ids import Hash, Height, TimeMs

BODIES_KEPT_BLOCKS_MIN: Final = 256
"""Bodies of the newest blocks that no setting and no operator moves: a node that was away for a moment, or that joins
and has to name one of the newest 256 blocks (`ledger.recent_blocks`), is served from the store. Above the window of
uncommitted blocks (`ledger.chain.WINDOW`) by far."""


class Pruned(NotHere):
    """The bodies of a block were moved to the archive, and no archive that this node reads holds them whole."""


class Bodies(Protocol):
    """Archives that hold bodies."""

    def body(self, batch_hash: Hash, height: Height) -> bytes:
        """Return the body of a batch that was ordered at `height`. Raises Pruned where none holds it whole."""


class ArchivedStore:
    """A store whose missing bodies come from the archive; everything else is the store's own."""

    def __init__(self, base: Store, bodies: Bodies) -> None:
        self.base = base
        self._bodies = bodies

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None; a body that was moved from the archive. Raises Pruned."""
        value = self.base.get(key)
        if value is not None or key[:1] != b"B":
            return value
        height = self.base.get(rows.archived_body_key(key[1:]))
        return None if height is None else self._bodies.body(Hash(key[1:]), Height(int.from_bytes(height, "big")))

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows of the store itself, without bodies that were moved."""
        return self.base.iterate(start, stop, reverse)

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        """Write to the store."""
        self.base.write(puts, sync=sync)

    def close(self) -> None:
        """Release the store."""
        self.base.close()


def archived_rows(store: Store | StagedStore) -> Iterator[ArchivedRow]:
    """Yield what was moved, the newest first."""
    for key, data in store.iterate(*rows.all_of(b"a"), reverse=True):
        yield rows.read_row(ArchivedRow, data, where=f"archived from block {int.from_bytes(key[1:], 'big')}")


def moved_height(store: Store | StagedStore) -> Height:
    """Return the height up to which no bodies are in the store: they were moved, or lie below the base."""
    newest = next(archived_rows(store), None)
    return max(read_base(store).height, Height(0) if newest is None else newest.last_height)


def movable_height(reader: LedgerReader, indexed: int | None) -> Height:
    """Return the height up to which bodies may be moved, whatever is asked for: the floor of every policy.

    Below the newest BODIES_KEPT_BLOCKS_MIN blocks, below what the newest stable checkpoint covers, and not above what
    the index has reached, which reads bodies. Rules of execution need none: what they remember is in the state.
    """
    tip, checkpoint = reader.tip(), reader.checkpoint()
    covered = None if checkpoint is None else covered_height(reader, checkpoint)
    if tip is None or covered is None or indexed is None:
        return Height(0)
    return Height(max(0, min(tip.height - BODIES_KEPT_BLOCKS_MIN, covered, indexed)))


def moving_rows(
    store: Store, entry: SegmentEntry, batches: Sequence[tuple[Hash, int]], *, time_ms: int, by: str
) -> list[Put]:
    """Return the rows that record a segment and replace these bodies (batch hash, height) by their heights."""
    puts: list[Put] = []
    if store.get(rows.archived_key(entry.first_height)) is None:
        moved = ArchivedRow(
            Height(entry.first_height), Height(entry.last_height), Hash(bytes.fromhex(entry.sha256)), entry.batches,
            entry.events, entry.body_bytes, entry.size, TimeMs(time_ms), by,
        )  # fmt: skip
        puts.append((rows.archived_key(entry.first_height), encode(moved)))
    for batch_hash, height in batches:
        puts.append((rows.archived_body_key(batch_hash), height.to_bytes(8, "big")))
        puts.append((rows.batch_key(batch_hash), None))
    return puts


def minimum_index(reader: LedgerReader, missing: int) -> int:
    """Return the log's minimum index (C2SP tlog-tiles) where bodies up to block `missing` cannot be read (0: all can).

    No entry bundle that ends above it lacks an entry, be it for a missing body or the base of a snapshot; and it is
    never above the newest stable checkpoint.
    """
    header = reader.header(missing + 1) if missing else None
    first = max(reader.first_index(), 0 if header is None else header.first_index)
    checkpoint = reader.checkpoint()
    return min(-(-first // TILE_WIDTH) * TILE_WIDTH, 0 if checkpoint is None else checkpoint.size)
