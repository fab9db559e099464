"""Where a batch stands among those of its block: proved by a path to the root that the block's header names.

So the proof of an event does not grow with the number of batches in its block. Pure. Source: architecture §6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from primitives import merkle
from primitives.block import BlockHeader, batch_leaves
from primitives.encoding import Record
from primitives.errors import ProofError
from primitives.hashing import leaf_hash
from primitives.ids import Hash

HashBytes = Annotated[bytes, Meta(min_length=32, max_length=32)]
Path = Annotated[tuple[HashBytes, ...], Meta(max_length=merkle.PATH_HASHES_MAX)]
Index = Annotated[int, Meta(ge=0)]


class BatchPlace(Record):
    """Batch `index` of a block's `count`, and the path that proves it."""

    index: Index
    count: Index
    path: Path


def place_of(batch_hashes: Sequence[Hash], batch: Hash) -> BatchPlace:
    """Return the place of a batch among those of its block, which must name it."""
    index = batch_hashes.index(batch)
    return BatchPlace(index, len(batch_hashes), tuple(merkle.inclusion_path(batch_leaves(batch_hashes), index)))


def verify_place(place: BatchPlace, batch: Hash, header: BlockHeader) -> None:
    """Raise ProofError unless the batch is one of the block of this header."""
    try:
        merkle.verify_inclusion(header.batches_root, place.count, place.index, leaf_hash(batch), place.path)
    except ProofError as error:
        where = f"batch {batch.hex()} in block {header.height}"
        raise ProofError(error.what, where=where, expected=error.expected, got=error.got) from None
