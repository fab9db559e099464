"""Against censorship: whether a leader passes over a batch that it was offered and had room for.

A batch is held against a leader only if it is its source's next number, this node holds it whole and offered it to this
leader, and a block proposed a time-out later still had room for it or ordered a batch that was offered later. The
count starts again with each view and ends when the number is taken. Pure; source: architecture §5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from primitives.ids import Hash, SourceKey, TimeMs

OFFERS_MAX: Final = 4_096


@dataclass(frozen=True, slots=True)
class Offer:
    """A source's next batch: its hash, events and bytes, and when it was first offered to this leader."""

    batch_hash: Hash
    count: int
    size: int
    offered_ms: TimeMs


@dataclass(frozen=True, slots=True)
class Room:
    """What a block may hold at most, and what the delivered one held."""

    events_free: int
    bytes_free: int
    batches_free: int

    def takes(self, offer: Offer) -> bool:
        """Say whether the offered batch would have fitted."""
        return offer.count <= self.events_free and offer.size <= self.bytes_free and self.batches_free > 0


class OfferBook:
    """Offers to the current leader by source, one each, at most `OFFERS_MAX`."""

    def __init__(self) -> None:
        self._offers: dict[SourceKey, Offer] = {}
        self._accused = False

    def view_entered(self, now_ms: TimeMs) -> None:
        """Offer everything that still waits to the new leader, from now on."""
        self._accused = False
        self._offers = {
            source: Offer(offer.batch_hash, offer.count, offer.size, now_ms) for source, offer in self._offers.items()
        }

    def offered(self, source: SourceKey, offer: Offer) -> None:
        """Note a source's next batch; one that is already noted keeps its time."""
        held = self._offers.get(source)
        if held is not None and held.batch_hash == offer.batch_hash:
            return
        if held is not None or len(self._offers) < OFFERS_MAX:
            self._offers[source] = offer

    def delivered(self, taken: dict[SourceKey, Hash], proposed_ms: TimeMs, room: Room, timeout_ms: int) -> None:
        """Judge a delivered block: what it took is settled, what it passed over in time counts against its leader."""
        taken_offers = [self._offers.pop(source) for source in taken if source in self._offers]
        newest_taken = max((offer.offered_ms for offer in taken_offers), default=None)
        for offer in self._offers.values():
            if proposed_ms < offer.offered_ms + timeout_ms:
                continue
            overtaken = newest_taken is not None and newest_taken > offer.offered_ms
            if room.takes(offer) or overtaken:
                self._accused = True

    def passed_over(self) -> bool:
        """Say whether a block of this view passed over an offer."""
        return self._accused
