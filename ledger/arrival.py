"""Bodies of batches in order of arrival: large ones get a row of their own, whose key is a number that rises.

A batch is named by its hash, so its row would lie anywhere among all others, and LevelDB would write it anew with each
merge of tables there, the more often the larger the store is. Numbered rows come in order: their tables are moved
from level to level as they are. The row under the batch's hash then holds the number alone. Here: the two rows, and
which is which. Pure; `ledger.store_leveldb` keeps bodies in a LevelDB of their own, since a table that holds them with
other rows spans all keys and is merged with all others; nobody above it sees them apart.

A body is written before the row that names it, and goes after it, so a crash may leave one that no row names. One that
came is among the newest, and says itself which batch it is; one that was to go has a mark, with the batch's key, from
before its row goes until it is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ledger.batches import DECODING_ERRORS, Batch
from primitives.encoding import decoder_of

BATCH: Final = b"B"
BODY: Final = b"d"
GOING: Final = b"g"
NUMBER_BYTES: Final = 8
NUMBERED_BYTES_MIN: Final = 4096
"""Smaller bodies stay under their hash: a second row would cost more than merging them does."""

PARTS: Final = 256


def is_number(key: bytes, value: bytes) -> bool:
    """Say whether the row of a batch holds the number of its body: no signed batch is that short."""
    return len(value) == NUMBER_BYTES and key[:1] == BATCH


def body_key(number: bytes) -> bytes:
    """Return the key of the body with this number."""
    return BODY + number


def going_key(number: bytes) -> bytes:
    """Return the key of the mark of a body that is to go."""
    return GOING + number


def batch_key_of(body: bytes) -> bytes | None:
    """Return the key of the row that should name a body; None where it is no batch."""
    try:
        batch: Batch = decoder_of(Batch).decode(body)
    except DECODING_ERRORS:
        return None
    return BATCH + batch.header.hash()


def numbers(newest: bytes | None) -> Iterator[bytes]:
    """Yield the numbers after that of the newest body, of which this is the key; from 0 where there is none."""
    number = -1 if newest is None else int.from_bytes(newest[len(BODY) :], "big")
    while True:
        number += 1
        yield number.to_bytes(NUMBER_BYTES, "big")


def touches(start: bytes, stop: bytes) -> bool:
    """Say whether a range of keys holds rows of batches, or bodies."""
    return start[:1] <= BATCH < stop or start[:1] <= BODY < stop


def bodies_between(start: bytes, stop: bytes, newest: bytes | None) -> tuple[bytes, bytes]:
    """Return the range of the bodies that are the same part of all bodies as [start, stop) is of all batches.

    Whoever compacts the batches' rows part by part thereby compacts their bodies so. `newest` is the newest body's key;
    what was deleted counts too, since it is why anybody compacts.
    """
    end = 0 if newest is None else int.from_bytes(newest[len(BODY) :], "big") + 1
    low, high = (end * _part(key) // PARTS for key in (start, stop))
    return body_key(low.to_bytes(NUMBER_BYTES, "big")), body_key(high.to_bytes(NUMBER_BYTES, "big"))


def _part(key: bytes) -> int:
    """Return how many parts of all batches lie below a key."""
    if key[:1] != BATCH:
        return 0 if key < BATCH else PARTS
    return key[1] if len(key) > 1 else 0
