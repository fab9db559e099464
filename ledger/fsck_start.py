"""Where a re-verification begins: at the genesis, at the block of the snapshot that the store was made from, or later.

Above the genesis everything that the next block builds on is proved first: the block by its commit certificate, from
the genesis by handovers, and state, members' logs and the log's right edge by the roots in its header. It is all read
from the store itself, where old versions are kept. Pure. Not here: the replay from there on (`ledger.fsck`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ledger import rows
from ledger.reader import LedgerReader
from ledger.snapshots_making import anchor_at, items_at
from ledger.snapshots_restoring import rebuilt
from ledger.store import Put, StagedStore, Store, prefix_stop
from primitives.ids import HASH_BYTES, Height


def proved_rows(reader: LedgerReader, height: Height) -> Iterator[list[Put]]:
    """Yield the rows of a store at a block, each proved; at the base of a store they are all that its snapshot held.

    Above the base they are those that the replay from there reads, or that must stand there.
    """
    proved = rebuilt(reader.genesis, anchor_at(reader, height), items_at(reader, height))
    yield from proved if height == reader.base() else (_as_it_stands(reader.store, puts) for puts in proved)


def _as_it_stands(store: Store | StagedStore, puts: Iterable[Put]) -> list[Put]:
    """Return rows of a snapshot as a store has them whose history began below it."""
    fitted: list[Put] = []
    for key, value in puts:
        if key == rows.BASE_KEY:
            fitted.append((key, store.get(key)))
        elif key[:1] == b"q" and value is not None:
            fitted += _pieces(store, key, value)
        elif key[:1] != b"E":
            fitted.append((key, value))
    return fitted


def _pieces(store: Store | StagedStore, key: bytes, hashes: bytes) -> list[Put]:
    """Return the hashes of a partial tile in the pieces in which the store has them, where it still has any.

    A store has one for each block that added some. Once the tile is full they are gone: then one will do.
    """
    held, joined = [], b""
    prefix = key[:-1]
    for piece_key, piece in store.iterate(prefix, prefix_stop(prefix)):
        if piece_key[-1] * HASH_BYTES != len(joined) or len(joined) >= len(hashes):
            break
        joined += piece
        held.append((piece_key, piece))
    return list[Put](held) if joined == hashes else [(key, hashes)]
