"""The block header, what a proposal carries, and a block with the certificate that committed it.

A header holds no view and no signatures, so a block that is proposed again keeps its hash. The hash is the header's RFC
6962 leaf hash in the log (kind byte 0, then the canonical bytes): a commit certificate thereby names a leaf of the log.
"""

from __future__ import annotations

from collections.abc import Sequence

from primitives.encoding import Record, encode
from primitives.hashing import leaf_hash
from primitives.ids import Epoch, Hash, Height, TimeMs
from primitives.merkle import root_of
from primitives.votes import QuorumCertificate

HEADER_KIND = b"\0"


class BlockHeader(Record):
    """What a block says of itself: place, time, contents, and the roots that stand after it.

    `proposer` is an index in the epoch's validator set; `first_index` the log index of the first event; `log_root` is
    the log's root with the events and before this header's own leaf, so the log's size there is
    first_index + event_count and after the block one more.
    """

    suite: int
    version: int
    chain_id: Hash
    height: Height
    epoch: Epoch
    parent: Hash
    time_ms: TimeMs
    proposer: int
    batches_root: Hash
    first_index: int
    event_count: int
    outcomes_root: Hash
    log_root: Hash
    state_root: Hash
    batch_logs_root: Hash
    next_validators: Hash

    def leaf(self) -> bytes:
        """Return the header's leaf in the log: kind byte 0 and the canonical bytes."""
        return HEADER_KIND + encode(self)

    def hash(self) -> Hash:
        """Return the block's hash, which is its header's leaf hash."""
        return leaf_hash(self.leaf())


class Block(Record):
    """A proposal's content: the header and the hashes of its batches, in order of execution."""

    header: BlockHeader
    batch_hashes: tuple[Hash, ...]


class CommittedBlock(Record):
    """A block and the certificate that committed it; only the genesis block has none."""

    block: Block
    certificate: QuorumCertificate | None


def batches_root(batch_hashes: tuple[Hash, ...]) -> Hash:
    """Return the RFC 6962 root over a block's batch hashes, in order, as its header names it.

    Each is hashed as a leaf: else the root of two would be that of a list of one, which no batch could ever fill.
    """
    return root_of(batch_leaves(batch_hashes))


def batch_leaves(batch_hashes: Sequence[Hash]) -> list[Hash]:
    """Return the leaf hashes of a block's tree of batches."""
    return [leaf_hash(batch) for batch in batch_hashes]
