"""What is on its way through the gateway: events until a block has them, who waits, and what became of them lately.

Here: the events' and batches' books, in memory and bounded. Not here: taking, signing and offering (`gateway`).

Events that came together share one `Group`, so that a thousand of them cost a few operations on whole dictionaries. It
is parted where only some of its events are accepted, or another call waits for them alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from chainnode.admission import BATCH_COST, Admission
from ledger.batches import ParsedBatch
from ledger.chain import CommitResult
from ledger.outcomes import APPLIED
from primitives.ids import EventId, Hash, Height, TimeMs
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


@dataclass(slots=True, eq=False)
class Waiter:
    """One call that waits for groups of events to be accepted or committed; `count` of them are not so far yet."""

    wait: Wait
    done: asyncio.Future[None]
    count: int = 0
    group: Group | None = None  # the one that it joined last

    def one_less(self) -> None:
        """One of the groups is as far as was asked."""
        self.count -= 1
        if self.count <= 0:
            self.end()

    def end(self) -> None:
        """Let the call go on, as far as its events are."""
        if not self.done.done():
            self.done.set_result(None)


@dataclass(slots=True, eq=False)
class Group:
    """Events on their way that came together; `left` of them still are, and `ids` are all where none has left.

    `first` is the place in the block at `height` of the first, where all were ordered and applied there in a row.
    """

    ids: Sequence[EventId]
    left: int
    accepted: bool = False
    waiters: list[Waiter] = field(default_factory=list)
    height: Height | None = None
    first: int = 0

    def enter(self, waiter: Waiter) -> None:
        """Let a call wait for these events."""
        self.waiters.append(waiter)
        waiter.group = self
        waiter.count += 1

    def leave(self, count: int) -> None:
        """Some of the events are on their way no more: who waits for all of them is told at the last."""
        self.left -= count
        if not self.left:
            for waiter in self.waiters:
                waiter.one_less()

    def part(self, ids: Sequence[EventId]) -> Group:
        """Return a group of some of the events, which are this one's no more; who waits for this one waits for both."""
        self.left -= len(ids)
        for waiter in self.waiters:
            waiter.count += 1
        return Group(ids, len(ids), self.accepted, list(self.waiters))


class PendingEvents:
    """The books of the events on their way; `recorded` says which of some events the ledger has already."""

    def __init__(self, recorded: Callable[[Sequence[EventId]], Sequence[EventId]], admission: Admission) -> None:
        self._recorded = recorded
        self._admission = admission
        self.events: dict[EventId, Group] = {}
        self._unsigned: set[EventId] = set()
        self._before: set[EventId] = set()  # ordered before they came here: that place counts, not the one waited for
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

    def begin(self, ids: Sequence[EventId], waiter: Waiter) -> None:
        """Know events, all different, that are not known yet and wait to be signed; the call that brings them waits."""
        group = self._add(ids)
        self._unsigned.update(ids)
        if waiter.wait is not Wait.NONE:
            group.enter(waiter)

    def claim(self, event_id: EventId) -> bool:
        """Say whether an event is still to be signed; from now on it is not."""
        if event_id not in self._unsigned:
            return False
        self._unsigned.remove(event_id)
        return True

    def join(self, ids: Sequence[EventId], waiter: Waiter) -> None:
        """Let a call wait for those of the events that are on their way, unless they are as far already."""
        if waiter.wait is Wait.NONE:
            return
        for group in self._groups(ids):
            if waiter.wait is Wait.ACCEPTED:
                if group.accepted:
                    continue
                if self._unsynced:
                    self._awaited = self._unsynced[-1][0]
            if waiter not in group.waiters:
                group.enter(waiter)

    def track(self, batch: ParsedBatch, now_ms: TimeMs) -> None:
        """Follow the events of a batch until it is ordered or let go."""
        header, ids = batch.header, batch.ids
        if batch.hash not in self._batches:
            size = batch.size + BATCH_COST
            self._batches[batch.hash] = Tracked(ids, now_ms, size)
            self._admission.enter(size, now_ms)
        self._numbers[header.source, header.number] = BatchPlace(batch.hash, Hash(header.previous))
        events = self.events
        fresh: Sequence[EventId] = ids
        if not events.keys().isdisjoint(ids):
            fresh = [event_id for event_id in ids if event_id not in events]
        if fresh:
            self._before.update(self._recorded(fresh))
            self._add(fresh)

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
        for group in self._groups(ids):
            group.accepted = True
            for waiter in [waiter for waiter in group.waiters if waiter.wait is Wait.ACCEPTED]:
                group.waiters.remove(waiter)
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
            self._ordered(batch.ids, result, first, followed=tracked is not None)
            first += batch.header.count
            self._drop_rivals(batch)
        while len(self._settled) > SETTLED_KEPT:
            self._settled.popitem(last=False)
        return found

    def _ordered(self, ids: Sequence[EventId], result: CommitResult, first: int, *, followed: bool) -> None:
        """Tell who waits for events of a batch that begins at `first` in the block."""
        events = self.events
        if not events:
            return
        group = self._whole(ids)
        if group is not None and not result.rejected and not (self._before and self._before.intersection(ids)):
            group.height, group.first = result.header.height, first
            self._forget(ids)
            group.leave(len(ids))
            return
        if events.keys().isdisjoint(ids):
            return
        for index, event_id in enumerate(ids, first):
            # Where another batch brought the event first, that place counts; unless it was not applied there.
            if event_id in events and (followed or result.outcomes[index].applied):
                self._one_ordered(event_id, result, index)

    def _one_ordered(self, event_id: EventId, result: CommitResult, index: int) -> None:
        """Tell who waits, and keep the place where an event was applied: to read the store again would take longer."""
        outcome, height, group = result.outcomes[index], result.header.height, self.events[event_id]
        if outcome.applied and event_id not in self._before:
            self._settled[event_id] = SubmitResult(event_id, SubmitStatus.COMMITTED, outcome, height, index)
        self._forget((event_id,))
        group.leave(1)

    def results(self, ids: Sequence[EventId], waiter: Waiter) -> list[SubmitResult] | None:
        """Return the places of the events that a call waited for, where one batch brought these alone."""
        group = waiter.group
        if group is None or group.height is None or group.ids != ids:
            return None
        height, status = group.height, SubmitStatus.COMMITTED
        return [
            SubmitResult(event_id, status, APPLIED, height, index) for index, event_id in enumerate(ids, group.first)
        ]

    # --- groups

    def _add(self, ids: Sequence[EventId]) -> Group:
        """Let events that are not known be on their way, as one group."""
        distinct = dict.fromkeys(ids)
        group = Group(ids if len(distinct) == len(ids) else tuple(distinct), len(distinct))
        self.events.update(dict.fromkeys(distinct, group))
        return group

    def _whole(self, ids: Sequence[EventId]) -> Group | None:
        """Return the group of just these events in this order, if there is one and none of them has left."""
        group = self.events.get(ids[0]) if ids else None
        return group if group is not None and group.left == len(ids) and group.ids == ids else None

    def _groups(self, ids: Sequence[EventId]) -> list[Group]:
        """Return groups of those of the events that are on their way, and of no others: some are parted for it."""
        whole = self._whole(ids)
        if whole is not None:
            return [whole]
        events = self.events
        here = [event_id for event_id in dict.fromkeys(ids) if event_id in events]
        found: list[Group] = []
        for group, count in Counter(map(events.__getitem__, here)).items():
            if count < group.left:
                part = tuple(event_id for event_id in here if events[event_id] is group)
                group = group.part(part)
                events.update(dict.fromkeys(part, group))
            found.append(group)
        return found

    def _forget(self, ids: Sequence[EventId]) -> None:
        """Let events, all different, be on their way no more."""
        deque(map(self.events.__delitem__, ids), maxlen=0)
        for left in (self._unsigned, self._before):
            if left:
                left.difference_update(ids)

    # --- refusals

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
        self.refuse(SubmitResult(event_id, SubmitStatus.REFUSED, refusal=refusal))
        group = self.events.get(event_id)
        if group is not None:
            self._forget((event_id,))
            group.leave(1)

    def refuse(self, result: SubmitResult) -> None:
        """Remember for a while that an event was refused."""
        self._refused[result.event_id] = result
        while len(self._refused) > REFUSED_KEPT:
            self._refused.popitem(last=False)


def _other_ordered(number: int) -> Refusal:
    return Refusal("number_used", f"another batch of the source's number {number}, or of one before it, was ordered")
