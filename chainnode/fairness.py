"""Against censorship: whether a leader passes over a batch that it was offered and had room for.

A batch is held against a leader only if it is its source's next number, this node holds it whole and offered it to this
leader, and a block proposed a time-out later left it out although it had room for it, or would have had but for batches
whose turn came later: those offered a time-out or more after it, and what other members got beyond their first batch
while its own member got none. What was never offered counts as offered when it was proposed: a leader that keeps its
own batches to itself gains nothing. An honest leader (`ledger.pool.select`) never does that. The count starts again
with each view and ends when the number is taken. Pure; source: architecture §5.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from primitives.ids import Hash, SourceKey, TimeMs

OFFERS_MAX: Final = 4_096


class Offer(Struct, frozen=True):
    """A source's next batch: its hash, member, events and bytes, and when it was first offered to this leader."""

    batch_hash: Hash
    member: str
    count: int
    size: int
    offered_ms: TimeMs


class Taken(Struct, frozen=True):
    """A batch of a delivered block, and since when its turn had come."""

    source: SourceKey
    member: str
    count: int
    size: int
    since_ms: TimeMs


class Room(Struct, frozen=True):
    """How many events, bytes and batches a block may hold, or has left."""

    events: int
    bytes: int
    batches: int

    def without(self, taken: Iterable[Taken]) -> Room:
        """Return what these batches leave."""
        batches = list(taken)
        return Room(
            self.events - sum(batch.count for batch in batches),
            self.bytes - sum(batch.size for batch in batches),
            self.batches - len(batches),
        )

    def takes(self, offer: Offer) -> bool:
        """Say whether the offered batch fits."""
        return offer.count <= self.events and offer.size <= self.bytes and self.batches > 0


class OfferBook:
    """Offers to the current leader by source, one each, at most `OFFERS_MAX`."""

    def __init__(self) -> None:
        self._offers: dict[SourceKey, Offer] = {}
        self._accused = False

    def view_entered(self, now_ms: TimeMs) -> None:
        """Offer everything that still waits to the new leader, from now on."""
        self._accused = False
        self._offers = {source: replace(offer, offered_ms=now_ms) for source, offer in self._offers.items()}

    def offered(self, source: SourceKey, offer: Offer) -> None:
        """Note a source's next batch; one that is already noted keeps its time."""
        held = self._offers.get(source)
        if held is not None and held.batch_hash == offer.batch_hash:
            return
        if held is not None or len(self._offers) < OFFERS_MAX:
            self._offers[source] = offer

    def waits_for(self, source: SourceKey) -> bool:
        """Say whether a batch of the source is noted."""
        return source in self._offers

    def forget(self, sources: Iterable[SourceKey]) -> None:
        """Hold nothing against a leader that concerns these sources: no block may hold their batches any more."""
        for source in sources:
            self._offers.pop(source, None)

    def delivered(self, batches: Sequence[Taken], proposed_ms: TimeMs, limits: Room, timeout_ms: int) -> None:
        """Judge a delivered block of these batches, in order, under the policy's limits.

        What it took is settled; what it passed over in time counts against its leader.
        """
        taken = []
        for batch in batches:
            offer = self._offers.pop(batch.source, None)  # further ones of a source come after their turn
            taken.append(replace(batch, since_ms=offer.offered_ms) if offer is not None else batch)
        for offer in self._offers.values():
            if proposed_ms < offer.offered_ms + timeout_ms:
                continue
            if limits.without(_before(offer, taken, timeout_ms)).takes(offer):
                self._accused = True

    def passed_over(self) -> bool:
        """Say whether a block of this view passed over an offer."""
        return self._accused


def _before(offer: Offer, taken: Sequence[Taken], timeout_ms: int) -> list[Taken]:
    """Return the batches of a block that may stand in it before the offered one."""
    late_ms = offer.offered_ms + timeout_ms
    if not any(batch.member == offer.member for batch in taken):
        firsts: dict[str, Taken] = {}
        for batch in taken:
            firsts.setdefault(batch.member, batch)
        return [batch for batch in firsts.values() if batch.since_ms < late_ms]
    return [batch for batch in taken if batch.member != offer.member or batch.since_ms < late_ms]
