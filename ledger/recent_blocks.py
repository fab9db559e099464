"""The hashes of the newest blocks, by height: what an event may name to show that its signer has followed the chain.

Derived rows, bounded in number: execution writes the parent's and removes the oldest, so they follow from the blocks
alone and every node holds the same. Source: architecture §5 (a joiner is a learner until it has caught up).
"""

from __future__ import annotations

from collections.abc import Mapping

from ledger.state import DERIVED_PREFIX, StateReader, StateView
from primitives.encoding import Record, encode
from primitives.ids import Hash

RECENT_BLOCKS = 256
_PREFIX = DERIVED_PREFIX + b"block/"


class BlockHash(Record):
    """The hash of the block at a height."""

    hash: Hash


def _key(height: int) -> bytes:
    return _PREFIX + height.to_bytes(8, "big")


def note_block(view: StateView, height: int, block_hash: Hash) -> None:
    """Keep the hash of the block at `height`, the one below the block that is executed, and let the oldest go."""
    view.changes[_key(height)] = encode(BlockHash(block_hash))
    if height >= RECENT_BLOCKS:
        view.changes[_key(height - RECENT_BLOCKS)] = None


def recent_rows(hashes: Mapping[int, Hash], height: int) -> dict[bytes, bytes]:
    """Return the rows that stand after the block at `height`: those of the RECENT_BLOCKS below it, in `hashes`."""
    kept = range(max(0, height - RECENT_BLOCKS), height)
    return {_key(number): encode(BlockHash(hashes[number])) for number in kept}


def recent_hash(state: StateReader, height: int) -> Hash | None:
    """Return the hash of one of the newest RECENT_BLOCKS blocks, None for any other height."""
    found = state.get(_key(height), BlockHash) if height >= 0 else None
    return None if found is None else found.hash
