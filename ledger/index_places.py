"""Where the index says that something stands: the places in packed maps, and what blocks have added to them since.

`Index` joins an index store and the newest entries, which are in memory only until there is enough for a run: the store
has reached the height of its newest runs, the index that of the newest block. What a crash takes is indexed again.
For readers beside the follower that writes the index (`ledger.indexes`), which says what the maps hold. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ledger.packed_map import BUILD_AGAIN, PackedReader, places_in, places_within
from ledger.store import Store
from primitives.encoding import Record, decode
from primitives.errors import EncodingError, StorageError
from primitives.ids import Hash, Height

EVENTS = b"e"
UETRS = b"u"
PAIR_KEYS = b"k"
MAPS = (EVENTS, PAIR_KEYS, UETRS)
REACHED_KEY = b"m/reached"
PACKED_KEY = b"m/packed"
REACHED_SIZE_MAX = 1_024


class Reached(Record):
    """The last block that an index holds, or whose entries are in its runs."""

    height: Height
    block_hash: Hash


def reached_of(store: Store) -> Reached | None:
    """Return which block an index has reached, or None. StorageError where that does not read back."""
    return _reached(store, REACHED_KEY)


def packed_of(store: Store) -> Reached | None:
    """Return up to which block entries are in runs, or None: above it blocks are indexed again. Errors as above."""
    return _reached(store, PACKED_KEY)


def _reached(store: Store, key: bytes) -> Reached | None:
    data = store.get(key)
    try:
        return None if data is None else decode(Reached, data, size_max=REACHED_SIZE_MAX)
    except EncodingError as error:
        raise StorageError("the index is damaged, what it has reached", got=error, hint=BUILD_AGAIN) from None


class FreshEntries:
    """What blocks added to a map since its newest run, by the first byte: sorted a 256th at a time when a run is made.

    One adds, any thread reads beside it. Who chooses keys can fill one list, which then is sorted as a whole.
    """

    def __init__(self) -> None:
        self._lists: list[list[bytes]] = [[] for _ in range(256)]
        self.count = 0

    def add(self, entries: Iterable[bytes]) -> None:
        """Add entries, in the order of the log."""
        lists, count = self._lists, 0
        for count, entry in enumerate(entries, 1):  # noqa: B007  # how many there were
            lists[entry[0]].append(entry)
        self.count += count

    def places(self, key: bytes) -> list[bytes]:
        """Return the places of a key, in the order of the log."""
        return list(places_in(b"".join(self._lists[key[0]]), key))

    def places_between(self, low: bytes, high: bytes) -> Iterator[bytes]:
        """Yield the places of keys from `low` to `high`."""
        for entries in self._lists[low[0] : high[0] + 1]:
            yield from places_within(sorted(entries), low, high)

    def parts(self) -> Iterator[list[bytes]]:
        """Yield all entries in order, in parts."""
        return map(sorted, self._lists)


class Index:
    """An index store and what of it is in memory only. Readers share it with the follower, which alone changes it."""

    def __init__(self, store: Store) -> None:
        """Begin with what the store has. StorageError where that is damaged."""
        self.store = store
        self.reached = packed_of(store)
        """The newest block whose entries can be found."""
        self.fresh = {name: FreshEntries() for name in MAPS}
        self._readers = {name: PackedReader(store, name) for name in MAPS}

    def places(self, name: bytes, key: bytes) -> list[bytes]:
        """Return the places of a key (16 bytes) in a map, ascending. StorageError as `PackedReader.places`."""
        # The fresh ones first: they go when the run that is made of them is in the store, and may be found twice then.
        added = self.fresh[name].places(key)
        found = self._readers[name].places(key)
        return list(dict.fromkeys(found + added)) if added else found

    def places_between(self, name: bytes, low: bytes, high: bytes) -> Iterator[bytes]:
        """Yield places of keys from `low` to `high` (16 bytes each), without order; some twice if runs are made now."""
        yield from self.fresh[name].places_between(low, high)
        yield from self._readers[name].places_between(low, high)

    def begin_fresh(self, reached: Reached | None) -> None:
        """Forget what is in memory: the store has it, up to this block."""
        self.fresh = {name: FreshEntries() for name in MAPS}
        self.reached = reached
