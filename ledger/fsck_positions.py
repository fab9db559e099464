"""Whether the index leads to every event and to nothing else, compared as a whole: a look at each would cost too much.

Where an event stands is known from the log alone: its id is its leaf, and the place is its block's. A keyed hash of
each such entry is added up for the log and for the index. Sums of two different sets are equal only by chance, 1 in
2**128, or if who made the index knew the secret, which is drawn anew for each check. Where they differ, the first bad
entry is looked for. Pure. Not here: whether the log is what it should be (`ledger.fsck`).
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from ledger import rows
from ledger.index_places import EVENTS, packed_of
from ledger.packed_map import BUILD_AGAIN, KEY_SIZE, PackedReader, all_entries
from ledger.reader import LedgerReader
from ledger.store import Store
from primitives.errors import StorageError
from primitives.ids import Height

SUM_BYTES = 16
SECRET_BYTES = 32


class EntrySum:
    """The number of entries that were added, and the sum of their keyed hashes, which knows no order."""

    def __init__(self, secret: bytes) -> None:
        """Begin with none; `secret` is 16 to 64 bytes that nobody else knows."""
        self._secret = secret
        self.count = 0
        self._total = 0

    def add(self, entry: bytes) -> None:
        """Add an entry."""
        self.count += 1
        self._total += int.from_bytes(blake2b(entry, digest_size=SUM_BYTES, key=self._secret).digest(), "big")

    def equals(self, other: EntrySum) -> bool:
        """Say whether the same entries were added to both, as often."""
        return (self.count, self._total) == (other.count, other._total)


def check_positions(reader: LedgerReader, index: Store, *, secret: bytes) -> None:
    """Raise StorageError unless the runs of an index hold the place of every event up to their height, and no other.

    The log was verified, so what stands in its leaves is right. Runs that reach above it are not judged here.
    """
    reached, tip = packed_of(index), reader.tip()
    if reached is None or tip is None or reached.height > tip.height:
        return
    expected, found = EntrySum(secret), EntrySum(secret)
    for entry in _entries_of_log(reader, reached.height):
        expected.add(entry)
    for entry in all_entries(index, EVENTS):
        found.add(entry)
    if not found.equals(expected):
        raise StorageError(_first_bad(reader, index, reached.height), where="index.ldb", hint=BUILD_AGAIN)


def _entries_of_log(reader: LedgerReader, height_max: Height) -> Iterator[bytes]:
    """Yield key and place of every event of the blocks that are here up to a height."""
    for height in range(int(reader.base()) + 1, height_max + 1):
        header = reader.header(height)
        assert header is not None, "the chain was verified"
        ids = reader.log.leaf_hashes(header.first_index, header.first_index + header.event_count)
        for index, event_id in enumerate(ids):
            yield event_id[:KEY_SIZE] + rows.position_bytes(height, index)


def _first_bad(reader: LedgerReader, index: Store, height_max: Height) -> str:
    """Return which event the index misses first, or else which entry of it is one too many."""
    places = PackedReader(index, EVENTS).places
    for entry in _entries_of_log(reader, height_max):
        if entry[KEY_SIZE:] not in places(entry[:KEY_SIZE]):
            return f"the index is damaged, {_shown(entry)} is missing"
    for entry in all_entries(index, EVENTS):
        once = places(entry[:KEY_SIZE]).count(entry[KEY_SIZE:]) == 1
        if not once or not _is_of_log(reader, entry, height_max):
            return f"the index is damaged, {_shown(entry)} is one too many"
    return "the index is damaged, its entries changed while they were read"


def _is_of_log(reader: LedgerReader, entry: bytes, height_max: Height) -> bool:
    height, index = rows.parse_position(entry[KEY_SIZE:])
    header = reader.header(height) if reader.base() < height <= height_max else None
    if header is None or index >= header.event_count:
        return False
    return reader.log.leaf_hash(header.first_index + index)[:KEY_SIZE] == entry[:KEY_SIZE]


def _shown(entry: bytes) -> str:
    height, index = rows.parse_position(entry[KEY_SIZE:])
    return f"event {entry[:KEY_SIZE].hex()}… at block {height}, {index}"
