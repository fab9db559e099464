"""Where the index says that something stands: the places in a packed map, and what blocks have added to it since.

For readers beside the follower that writes the index (`ledger.indexes`), which says what the maps hold. Pure.
"""

from __future__ import annotations

from ledger.packed_map import READS_MAX, manifest_of, places_in, places_of
from ledger.store import Store, prefix_stop
from primitives.encoding import Record, decode
from primitives.errors import EncodingError, StorageError
from primitives.ids import Hash, Height

EVENTS = b"e"
UETRS = b"u"
PAIR_KEYS = b"k"
HEIGHT_SIZE = 6
MAPS = (EVENTS, PAIR_KEYS, UETRS)
REACHED_KEY = b"m/reached"
REACHED_SIZE_MAX = 1_024
BUILD_AGAIN = "move the directory away and start: the node builds its indexes again from the store"


class Reached(Record):
    """The last block that the index holds."""

    height: Height
    block_hash: Hash


def reached_of(store: Store) -> Reached | None:
    """Return what an index store has reached, or None. StorageError where that does not read back."""
    data = store.get(REACHED_KEY)
    try:
        return None if data is None else decode(Reached, data, size_max=REACHED_SIZE_MAX)
    except EncodingError as error:
        raise StorageError("the index is damaged, what it has reached", got=error, hint=BUILD_AGAIN) from None


def fresh_prefix(name: bytes) -> bytes:
    """Return the prefix of the rows of what blocks added to a map."""
    return b"f" + name


def indexed_places(index: Store, name: bytes, key: bytes) -> list[bytes]:
    """Return the places of a key (16 bytes) in a map of the index, ascending. StorageError as `places_of`."""
    prefix = fresh_prefix(name)
    for _ in range(READS_MAX):
        before = manifest_of(index, name).height
        # Behind the rows that became runs: LevelDB would read all of these, deleted as they are, until it merges them.
        fresh = index.iterate(prefix + (before + 1).to_bytes(HEIGHT_SIZE, "big"), prefix_stop(prefix))
        added = [place for _, value in fresh for place in places_in(value, key)]
        height, found = places_of(index, name, key)
        if height == before:  # else a run was made of what blocks had added, between the two readings
            return found + added
    raise StorageError("the index changes without end", expected="one writer")
