"""A filter in memory over the ids of ordered events: says "surely not", or "maybe", without asking the store.

Here: the bits, and adding and asking many ids at a time. Not here: where the ids come from and who answers what may be
there (`chainnode.known`). A blocked Bloom filter (Putze, Sanders, Singler 2007) in layers that double (Almeida et al.
2007): an id is a SHA-256 hash, so parts of it serve as its hash functions. Its first 8 bytes, read as one number, name
a word of 64 bits by their low end and by their high end one of 4,096 masks of six bits, which are set there. One
place in memory an id, and one operation to set or ask all six: in CPython that counts, not the number of bits. A wrong
"maybe" costs a look into the store, a thousand times as much as asking here: it must be rarer than one in a thousand.
"""

from array import array
from collections.abc import Sequence
from hashlib import sha256

from primitives.ids import HASH_BYTES, EventId

LAYER_EVENTS_MIN = 1 << 20
EVENTS_A_WORD = 2
"""32 bits an event; a full layer then says "maybe" of about 0.09 % of the ids that it does not hold."""

WORDS_MIN = LAYER_EVENTS_MIN // EVENTS_A_WORD
WORD_BYTES = 8
MEMORY_BYTES_MAX = 128 << 20
"""No layer is added beyond this, which about 30 million events take; the last one then fills further, and "maybe" is
said more and more often: that is slower, never wrong."""

MASK_BITS = 6
MASKS = 1 << 12
MASK_SHIFT = 64 - 12
WORDS_MAX = 1 << 32
"""More words would be named by bits of the id that choose the mask."""


def _masks() -> list[int]:
    """Return words of MASK_BITS different bits each, chosen by hashing: the same in every process."""
    found: list[int] = []
    for number in range(MASKS):
        digest = sha256(number.to_bytes(2, "big")).digest()
        bits: set[int] = set()
        for byte in digest:
            if len(bits) < MASK_BITS:
                bits.add(byte & 63)
        found.append(sum(1 << bit for bit in bits))
    return found


_MASK_OF = _masks()


class Seen:
    """The ids of events that were added, as far as a filter knows them; changed by one thread at a time."""

    def __init__(self, events: int = 0, *, bytes_max: int = MEMORY_BYTES_MAX) -> None:
        """Begin with a layer that holds so many events, if they are many, within the memory allowed."""
        self._bytes_max = bytes_max
        self._layers: list[array[int]] = []
        self._room = 0  # events that the last layer still takes
        self._grow(events)

    @property
    def size_bytes(self) -> int:
        """The memory that the layers take."""
        return sum(map(len, self._layers)) * WORD_BYTES

    def add_all(self, ids: Sequence[EventId]) -> None:
        """Add ids: `maybe` names each of them from now on."""
        self.add_hashes(b"".join(ids))

    def add_hashes(self, joined: bytes) -> None:
        """Add ids that stand one after another, such as those of a tile of the log; all go into one layer."""
        if self._room <= 0:
            self._grow(2 * len(self._layers[-1]) * EVENTS_A_WORD)
        self._room -= len(joined) // HASH_BYTES
        words, masks = self._layers[-1], _MASK_OF
        last = len(words) - 1
        for part in memoryview(joined).cast("Q")[:: HASH_BYTES // WORD_BYTES]:
            words[part & last] |= masks[part >> MASK_SHIFT]

    def maybe(self, ids: Sequence[EventId]) -> list[EventId]:
        """Return those of the ids that may have been added, in their order; the others surely were not."""
        parts = memoryview(b"".join(ids)).cast("Q")[:: HASH_BYTES // WORD_BYTES].tolist()
        masks = _MASK_OF
        found: set[int] = set()
        for words in self._layers:
            last = len(words) - 1
            found.update([part for part in parts if words[part & last] & (mask := masks[part >> MASK_SHIFT]) == mask])
        return [event_id for event_id, part in zip(ids, parts, strict=True) if part in found] if found else []

    def take_over(self, other: "Seen") -> None:
        """Know what another filter knows, which belongs to this one from now on."""
        if len(self._layers) == len(other._layers) == 1 and len(self._layers[0]) == len(other._layers[0]) == WORDS_MIN:
            both = (int.from_bytes(filter_._layers[0].tobytes(), "little") for filter_ in (self, other))
            union = (next(both) | next(both)).to_bytes(WORDS_MIN * WORD_BYTES, "little")
            self._layers = [array("Q", union)]
            self._room -= LAYER_EVENTS_MIN - other._room
        else:
            self._layers = other._layers + self._layers  # the older ones fill no further

    def _grow(self, events: int) -> None:
        """Begin a layer for so many events at least, as far as memory allows; without it the last one goes on."""
        count = max(LAYER_EVENTS_MIN, events) // EVENTS_A_WORD
        words = 1 << max(0, count - 1).bit_length()
        allowed = max(0, self._bytes_max - self.size_bytes) // WORD_BYTES
        words = min(words, WORDS_MAX, 1 << max(0, allowed.bit_length() - 1))
        if self._layers and words < len(self._layers[-1]):
            self._room = LAYER_EVENTS_MIN  # none is added; asked again after as many
            return
        self._layers.append(array("Q", [0]) * words)
        self._room = words * EVENTS_A_WORD
