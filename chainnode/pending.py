"""What is on its way through the gateway: events until a block has them, who waits, and what became of them lately.

Here: the events' and batches' books, in memory and bounded. Not here: taking, signing and offering (`gateway`).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from chainnode.admission import BATCH_COST, Admission
from ledger.batches import ParsedBatch
from ledger.chain import CommitResult
from primitives.ids import EventId, Hash, TimeMs
from rpc.ports import Refusal, SubmitResult, SubmitStatus, Wait

REFUSED_KEPT: Final = 4_096
SETTLED_KEPT: Final = 32_768  # two of the largest blocks


class BatchPlace(NamedTuple):
    """A batch of a source's number, and the one that it follows."""

    hash: Hash
    previous: Hash


class Tracked(NamedTuple):
    """The events of a batch on its way, and since when."""

    ids: tuple[EventId, ...]
    since_ms: TimeMs
    size: int  # what it counts for in `Admission`


@dataclass(slots=True)
class Waiter:
    """One call that waits for a number of events to be accepted or committed."""

    wait: Wait
    count: int
    done: asyncio.Future[None]

    def one_less(self) -> None:
        """One of the events is as far as was asked."""
        self.count -= 1
        if self.count <= 0:
            self.end()

    def end(self) -> None:
        """Let the call go on, as far as its events are."""
        if not self.done.done():
            self.done.set_result(None)


@dataclass(slots=True)
class Entry:
    """An event on its way: its bytes until they are signed, and who waits for it."""

    data: bytes | None
    accepted: bool = False
    recorded: bool = False  # ordered before it came here: that place counts, not the one that is waited for
    waiters: list[Waiter] = field(default_factory=list)


class PendingEvents:
    """The books of the events on their way; `recorded` says whether the ledger has an event already."""

    def __init__(self, recorded: Callable[[EventId], bool], admission: Admission) -> None:
        self._recorded = recorded
        self._admission = admission
        self.events: dict[EventId, Entry] = {}
        self._batches: dict[Hash, Tracked] = {}
        self._numbers: dict[tuple[bytes, int], BatchPlace] = {}
        self._refused: OrderedDict[EventId, SubmitResult] = OrderedDict()
        self._settled: OrderedDict[EventId, SubmitResult] = OrderedDict()
        self._unsynced: deque[tuple[int, tuple[EventId, ...]]] = deque()  # by the store's ticket
        self._synced = self._awaited = -1

    def __len__(self) -> int:
        return len(self.events)

    def settled(self, event_id: EventId) -> SubmitResult | None:
        """Return the place of an event that was committed lately while somebody could wait for it here."""
        return self._settled.get(event_id)

    def status(self, event_id: EventId) -> SubmitResult:
        """Return where an event stands that the ledger does not hold."""
        if event_id in self.events:
            return SubmitResult(event_id, SubmitStatus.PENDING)
        return self._refused.get(event_id, SubmitResult(event_id, SubmitStatus.UNKNOWN))

    def begin(self, items: Mapping[EventId, bytes], waiter: Waiter) -> None:
        """Know events that are not known yet, by their canonical bytes, and let the call that brings them wait."""
        waits = waiter.wait is not Wait.NONE
        for event_id, data in items.items():
            self.events[event_id] = Entry(data, waiters=[waiter] if waits else [])
        waiter.count += len(items) if waits else 0

    def claim(self, event_id: EventId) -> bool:
        """Say whether an event is still to be signed; from now on it is not."""
        entry = self.events.get(event_id)
        if entry is None or entry.data is None:
            return False
        entry.data = None
        return True

    def join(self, event_id: EventId, waiter: Waiter) -> None:
        """Let a call wait for an event, unless it is as far already."""
        entry = self.events.get(event_id)
        if entry is None or waiter.wait is Wait.NONE or (waiter.wait is Wait.ACCEPTED and entry.accepted):
            return
        if waiter.wait is Wait.ACCEPTED and self._unsynced:
            self._awaited = self._unsynced[-1][0]
        if waiter in entry.waiters:
            return
        entry.waiters.append(waiter)
        waiter.count += 1

    def track(self, batch: ParsedBatch, now_ms: TimeMs) -> None:
        """Follow the events of a batch until it is ordered or let go."""
        header = batch.header
        if batch.hash not in self._batches:
            size = batch.size + BATCH_COST
            self._batches[batch.hash] = Tracked(batch.ids, now_ms, size)
            self._admission.enter(size, now_ms)
        self._numbers[header.source, header.number] = BatchPlace(batch.hash, Hash(header.previous))
        for event_id in batch.ids:
            if event_id not in self.events:
                self.events[event_id] = Entry(None, recorded=self._recorded(event_id))

    @property
    def awaits_sync(self) -> bool:
        """Whether a call waits for events to be accepted whose batch is not synced yet."""
        return self._awaited > self._synced

    def accept_synced(self, ticket: int, ids: tuple[EventId, ...]) -> None:
        """Accept events once the store holds the rows up to the ticket, which may be now."""
        if ticket <= self._synced:
            self.accept(ids)
        else:
            self._unsynced.append((ticket, ids))

    def accept(self, ids: Sequence[EventId]) -> None:
        """Tell who waits that these events are synced."""
        for event_id in ids:
            entry = self.events.get(event_id)
            if entry is None:
                continue
            entry.accepted = True
            for waiter in [waiter for waiter in entry.waiters if waiter.wait is Wait.ACCEPTED]:
                entry.waiters.remove(waiter)
                waiter.one_less()

    def synced(self, ticket: int) -> None:
        """Tell who waits for it that the store holds the rows up to this ticket of the chain's."""
        self._synced = max(self._synced, ticket)
        while self._unsynced and self._unsynced[0][0] <= self._synced:
            self.accept(self._unsynced.popleft()[1])

    def committed(self, result: CommitResult, now_ms: TimeMs) -> list[Tracked]:
        """Tell who waits what a block ordered; return the batches of it that were followed here."""
        first = 0
        found: list[Tracked] = []
        for batch in result.batches:
            tracked = self._batches.pop(batch.hash, None)
            if tracked is not None:
                found.append(tracked)
                self._admission.ordered(tracked.size, now_ms)
            for index, event_id in enumerate(batch.ids if self.events else (), first):
                # Where another batch brought the event first, that place counts; unless it was not applied there.
                if event_id in self.events and (tracked is not None or result.outcomes[index].applied):
                    self._ordered(event_id, result, index)
            first += batch.header.count
            self._drop_rivals(batch)
        while len(self._settled) > SETTLED_KEPT:
            self._settled.popitem(last=False)
        return found

    def _ordered(self, event_id: EventId, result: CommitResult, index: int) -> None:
        """Tell who waits, and keep the place where an event was applied: to read the store again would take longer."""
        entry = self.events.pop(event_id)
        outcome, height = result.outcomes[index], result.header.height
        if outcome.applied and not entry.recorded:
            self._settled[event_id] = SubmitResult(event_id, SubmitStatus.COMMITTED, outcome, height, index)
        for waiter in entry.waiters:
            waiter.one_less()

    def _drop_rivals(self, ordered: ParsedBatch) -> None:
        """Refuse the events of batches that can never be ordered any more: their source signed a number twice."""
        source, number = ordered.header.source, ordered.header.number
        rival = self._numbers.pop((source, number), None)
        if rival is not None and rival.hash != ordered.hash:
            self._refuse_batch(rival.hash, _other_ordered(number))
        follower = self._numbers.get((source, number + 1))
        lost = follower is not None and follower.previous != ordered.hash
        while lost and follower is not None:  # and with it all that follow it
            number += 1
            del self._numbers[source, number]
            self._refuse_batch(follower.hash, _other_ordered(number))
            follower = self._numbers.get((source, number + 1))

    def refuse_source(self, source: bytes, refusal: Refusal) -> None:
        """Refuse the events of all batches of a source: none of them can be ordered any more."""
        for key in [key for key in self._numbers if key[0] == source]:
            self._refuse_batch(self._numbers.pop(key).hash, refusal)

    def drop_let_go(self, held: Callable[[Hash], bool]) -> None:
        """Refuse the events of batches that the node let go because they cannot be ordered, as of a revoked source."""
        for batch_hash in [batch_hash for batch_hash in self._batches if not held(batch_hash)]:
            for key in [key for key, place in self._numbers.items() if place.hash == batch_hash]:
                del self._numbers[key]
            message = "the node could not order the batch and let it go"
            self._refuse_batch(batch_hash, Refusal("batch_dropped", message, retryable=True))

    def _refuse_batch(self, batch_hash: Hash, refusal: Refusal) -> None:
        tracked = self._batches.pop(batch_hash, None)
        if tracked is None:
            return
        self._admission.leave(tracked.size)
        for event_id in tracked.ids:
            self.refuse_pending(event_id, refusal)

    def refuse_pending(self, event_id: EventId, refusal: Refusal) -> None:
        """Refuse an event that was on its way."""
        entry = self.events.pop(event_id, None)
        self.refuse(SubmitResult(event_id, SubmitStatus.REFUSED, refusal=refusal))
        for waiter in entry.waiters if entry is not None else ():
            waiter.one_less()

    def refuse(self, result: SubmitResult) -> None:
        """Remember for a while that an event was refused."""
        self._refused[result.event_id] = result
        while len(self._refused) > REFUSED_KEPT:
            self._refused.popitem(last=False)


def _other_ordered(number: int) -> Refusal:
    return Refusal("number_used", f"another batch of the source's number {number}, or of one before it, was ordered")
