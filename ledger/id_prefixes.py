"""Events whose id begins with given digits: out of the index, and out of the newest tiles of the log above it.

Ids are random, so a few digits leave few; the first places of the range are read and no more. Pure; it only reads,
and may run beside the follower that writes the index. Not here: an event by its whole id (`ledger.reader`).
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from ledger import rows
from ledger.index_places import EVENTS, Index
from ledger.log_tiles import TILE_WIDTH
from ledger.packed_map import KEY_SIZE
from ledger.reader import LedgerReader
from primitives.ids import HASH_BYTES, EventId

PREFIX_DIGITS_MIN: Final = 4


def ids_like(reader: LedgerReader, index: Index, digits: str, most: int) -> list[EventId]:
    """Return up to `most` ids of events of the log that begin with these lower-case hex digits, ascending.

    At least PREFIX_DIGITS_MIN digits and at most all 64 of them.
    """
    assert PREFIX_DIGITS_MIN <= len(digits) <= 2 * HASH_BYTES, digits
    low = bytes.fromhex(digits.ljust(2 * HASH_BYTES, "0"))
    high = bytes.fromhex(digits.ljust(2 * HASH_BYTES, "f"))
    reached = index.reached
    above = 0
    found: set[EventId] = set()
    if reached is not None:
        header = reader.header(reached.height)
        assert header is not None, "the index never reaches above the log"
        above = header.first_index + header.event_count + 1
        for place in islice(index.places_between(EVENTS, low[:KEY_SIZE], high[:KEY_SIZE]), 2 * most):
            event_id = _id_at(reader, place)
            if event_id is not None and low <= event_id <= high:
                found.add(event_id)
    found |= _newest(reader, above, low, high)
    return sorted(found)[:most]


def _id_at(reader: LedgerReader, place: bytes) -> EventId | None:
    height, index = rows.parse_position(place)
    header = reader.header(height)
    return None if header is None else EventId(reader.log.leaf_hash(header.first_index + index))


def _newest(reader: LedgerReader, start: int, low: bytes, high: bytes) -> set[EventId]:
    """Return the ids in the range among the leaves from `start` on, which the index has not reached."""
    found: set[EventId] = set()
    for tile in range(start // TILE_WIDTH, -(-reader.log_size() // TILE_WIDTH)):
        hashes = reader.log.tile(0, tile)
        for offset in range(0, len(hashes), HASH_BYTES):
            event_id, log_index = hashes[offset : offset + HASH_BYTES], tile * TILE_WIDTH + offset // HASH_BYTES
            if low <= event_id <= high and log_index >= start and _is_event(reader, log_index):
                found.add(EventId(event_id))
    return found


def _is_event(reader: LedgerReader, log_index: int) -> bool:
    """Say whether a leaf is an event's and no header's."""
    height = reader.height_at_log_index(log_index)
    header = None if height is None else reader.header(height)
    return header is not None and log_index < header.first_index + header.event_count
