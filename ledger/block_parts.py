"""What the log does not say of a block's events: who submitted which of them, and which were not applied.

The log holds events and headers. A header commits to the hashes of the block's batches and to the outcomes, so these
parts need no trust: what does not fit a proved header is refused. Pure. Here: the parts, making and verifying them.
Not here: the proof of one event (`ledger.receipts`). Source: architecture §4 and §6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from ledger.batch_headers import BatchHeader
from ledger.outcomes import APPLIED, Outcome, outcomes_root
from ledger.reader import LedgerReader
from primitives.block import BlockHeader, batches_root
from primitives.encoding import Record
from primitives.errors import ProofError
from primitives.merkle import root_of

BATCHES_MAX = 1 << 16
REJECTED_MAX = 1 << 16
PARTS_BYTES_MAX = 64 << 20


class BlockParts(Record):
    """The headers of a block's batches in their order, and index and outcome of each event that was not applied."""

    batches: Annotated[tuple[BatchHeader, ...], Meta(max_length=BATCHES_MAX)]
    rejected: Annotated[tuple[tuple[int, Outcome], ...], Meta(max_length=REJECTED_MAX)]


def make_parts(reader: LedgerReader, height: int) -> BlockParts:
    """Return the parts of the block at `height`, which must exist."""
    batches, _ = reader.recorded_batches(height)
    return BlockParts(tuple(batch.header for batch in batches), reader.rejected(height))


def verify_parts(parts: BlockParts, header: BlockHeader, ids: Sequence[bytes]) -> None:
    """Raise ProofError unless these are the parts of the block of a proved header, whose events have these ids.

    Signatures of the batches are not among them: validators verified them, and a receipt shows them.
    """
    where = f"parts of block {header.height}"
    found = batches_root(tuple(batch.hash() for batch in parts.batches))
    if found != header.batches_root:
        raise ProofError("batches are not the block's", where=where, expected=header.batches_root, got=found)
    count = sum(batch.count for batch in parts.batches)
    if count != len(ids):
        raise ProofError("batches of another number of events", where=where, expected=len(ids), got=count)
    first = 0
    for batch in parts.batches:
        if root_of(ids[first : first + batch.count]) != batch.root:
            raise ProofError("events are not the batch's", where=where, got=f"batch {batch.number} of {batch.member}")
        first += batch.count
    outcomes = [APPLIED] * count
    for index, outcome in parts.rejected:
        if not 0 <= index < count:
            raise ProofError("outcome of no event", where=where, expected=f"an index below {count}", got=index)
        outcomes[index] = outcome
    found = outcomes_root(outcomes)
    if found != header.outcomes_root:
        raise ProofError("outcomes are not the block's", where=where, expected=header.outcomes_root, got=found)


def all_applied(header: BlockHeader) -> bool:
    """Say whether the header's outcomes root is that of a block whose events were all applied: that proves it."""
    return header.outcomes_root == outcomes_root([APPLIED] * header.event_count)
