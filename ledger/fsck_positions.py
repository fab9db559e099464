"""The rows that say where each event stands, compared as a whole: one look at each would cost more than all else.

A position row is known from the log alone: the event's id is its leaf, and the place is its block's. The replay adds up
a keyed hash of each row that it writes, and the store's rows are added up the same way, in one sweep over them. Sums of
two different sets of rows are equal only by chance, 1 in 2**128, or if who made the store knew the secret, which is
drawn anew for each check. Where they differ, the first bad row is looked for. Pure. Not here: what else a store holds
(`ledger.fsck`).
"""

from __future__ import annotations

from hashlib import blake2b

from ledger import rows
from ledger.reader import LedgerReader
from ledger.store import Store

SUM_BYTES = 16
SECRET_BYTES = 32


class KeySum:
    """The number of keys that were added, and the sum of their keyed hashes, which knows no order."""

    def __init__(self, secret: bytes) -> None:
        """Begin with none; `secret` is 16 to 64 bytes that nobody else knows."""
        self._secret = secret
        self.count = 0
        self._total = 0

    def add(self, key: bytes) -> None:
        """Add a key."""
        self.count += 1
        self._total += int.from_bytes(blake2b(key, digest_size=SUM_BYTES, key=self._secret).digest(), "big")

    def equals(self, other: KeySum) -> bool:
        """Say whether the same keys were added to both, as often."""
        return (self.count, self._total) == (other.count, other._total)


def same_positions(store: Store, expected: KeySum, secret: bytes) -> bool:
    """Say whether the position rows of a store are exactly those that were added up, and hold nothing."""
    found = KeySum(secret)
    for key, value in store.iterate(*rows.all_of(b"p")):
        if value:
            return False
        found.add(key)
    return found.equals(expected)


def first_bad_position(reader: LedgerReader, base: int, height_max: int) -> tuple[int | None, bytes, str]:
    """Return the block, the key and what is wrong of the first position row that is missing or too many.

    The log above `base` was verified, so what stands in its leaves is right.
    """
    for height in range(base + 1, height_max + 1):
        header = reader.header(height)
        assert header is not None, "the block was verified"
        for index in range(header.event_count):
            key = rows.position_key(reader.log.leaf_hash(header.first_index + index), height, index)
            found = reader.store.get(key)
            if found != b"":
                return height, key, "is missing" if found is None else "is another"
    for key, _ in reader.store.iterate(*rows.all_of(b"p")):
        height, index = rows.parse_position(key[-rows.POSITION_SIZE :])
        header = reader.header(height) if base < height <= height_max else None
        if (
            header is None
            or index >= header.event_count
            or key != rows.position_key(reader.log.leaf_hash(header.first_index + index), height, index)
        ):
            return None, key, "is one too many"
    return None, b"p", "is not what the chain makes it"
