"""The header of a batch: what a source signs, its hash, and the bytes that the signature covers.

Apart from `ledger.batches`, which needs the kinds of event that may stand in a batch: evidence is a kind whose body
holds headers. Source: architecture §4 (Batch).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ledger.events import EventTimeMs, Member
from primitives.encoding import Record, encode
from primitives.hashing import domain_hash, statement
from primitives.ids import Hash

BATCH_EVENTS_MAX = 1_024
BATCH_BYTES_MAX = 4 << 20
NUMBER_MAX = (1 << 63) - 1

Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Bytes64 = Annotated[bytes, Meta(min_length=64, max_length=64)]


class BatchHeader(Record):
    """What the source signs: who, which number, what came before (zero hash for number 0), how many events, their root.

    `time_ms` is the source's own claim; no rule depends on it.
    """

    suite: int
    chain_id: Bytes32
    member: Member
    source: Bytes32
    number: Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
    previous: Bytes32
    count: Annotated[int, Meta(ge=1, le=BATCH_EVENTS_MAX)]
    root: Bytes32
    time_ms: EventTimeMs

    def hash(self) -> Hash:
        """Return the batch's hash."""
        return domain_hash("batch", encode(self))


def batch_statement(header: BatchHeader) -> bytes:
    """Return the bytes that the source signs."""
    return statement("batch", header)
