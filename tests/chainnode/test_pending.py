"""The books of events on their way: groups of events against a plain model that keeps each event and call by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from types import SimpleNamespace
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from chainnode.admission import Admission
from chainnode.pending import PendingEvents, Waiter
from ledger.batches import ParsedBatch
from ledger.chain import CommitResult
from ledger.outcomes import APPLIED, Outcome, rejected
from primitives.ids import EventId, Hash, Height, TimeMs
from rpc.ports import Refusal, SubmitResult, SubmitStatus, Wait

NOW = TimeMs(1_000)
REFUSED = Refusal("removed", "its source was removed")
WAITS = [Wait.COMMITTED, Wait.ACCEPTED, Wait.NONE]


def name_of(text: str) -> Hash:
    return Hash(sha256(text.encode()).digest())


IDS: list[EventId] = [name_of(f"event {number}") for number in range(6)]
BEFORE = IDS[-1]  # the ledger has it already, at another place


def batch_of(number: int, ids: Sequence[EventId]) -> ParsedBatch:
    header = SimpleNamespace(source=bytes([number]), number=0, previous=bytes(32), count=len(ids))
    return cast(ParsedBatch, SimpleNamespace(header=header, hash=name_of(f"batch {number}"), ids=tuple(ids), size=100))


def block_of(batch: ParsedBatch, outcomes: Sequence[Outcome], height: int) -> CommitResult:
    found = [(index, outcome) for index, outcome in enumerate(outcomes) if not outcome.applied]
    result = SimpleNamespace(
        batches=(batch,), outcomes=tuple(outcomes), rejected=tuple(found), header=SimpleNamespace(height=Height(height))
    )
    return cast(CommitResult, result)


@dataclass(eq=False)
class PlainCall:
    """A call that waits for each of its events by itself."""

    wait: Wait
    open: set[EventId] = field(default_factory=set)


class Plain:
    """The model: for each event on its way whether it is accepted and which calls wait for it."""

    def __init__(self) -> None:
        self.accepted: dict[EventId, bool] = {}
        self.calls: list[PlainCall] = []
        self.refused: set[EventId] = set()
        self.places: dict[EventId, tuple[int, int]] = {BEFORE: (0, 0)}  # those that count
        self.followed: dict[Hash, tuple[EventId, ...]] = {}

    def add(self, ids: Sequence[EventId]) -> None:
        for event_id in ids:
            self.accepted.setdefault(event_id, False)

    def join(self, ids: Sequence[EventId], call: PlainCall) -> None:
        if call.wait is not Wait.NONE:
            call.open |= {
                event_id
                for event_id in ids
                if event_id in self.accepted and not (call.wait is Wait.ACCEPTED and self.accepted[event_id])
            }

    def accept(self, ids: Sequence[EventId]) -> None:
        for event_id in set(ids) & self.accepted.keys():
            self.accepted[event_id] = True
            for call in self.calls:
                if call.wait is Wait.ACCEPTED:
                    call.open.discard(event_id)

    def end(self, event_id: EventId) -> None:
        self.accepted.pop(event_id, None)
        for call in self.calls:
            call.open.discard(event_id)

    def commit(self, batch: ParsedBatch, outcomes: Sequence[Outcome], height: int) -> None:
        followed = self.followed.pop(batch.hash, None) is not None
        for index, event_id in enumerate(batch.ids):
            if outcomes[index].applied:
                self.places.setdefault(event_id, (height, index))
            if event_id in self.accepted and (followed or outcomes[index].applied):
                self.end(event_id)

    def refuse(self, ids: Sequence[EventId]) -> None:
        for event_id in ids:
            self.refused.add(event_id)
            self.end(event_id)


step = st.tuples(
    st.sampled_from(["batch", "batch", "batch", "call", "accept", "commit", "commit", "reject", "refuse"]),
    st.integers(0, 2),
    st.lists(st.sampled_from(IDS), min_size=1, max_size=6),
    st.sampled_from(WAITS),
)


async def hold_against_the_model(steps: Sequence[tuple[str, int, list[EventId], Wait]]) -> None:
    plain = Plain()
    pending = PendingEvents(lambda ids: [each for each in ids if each in plain.places], Admission(1_000))
    batches: dict[int, ParsedBatch] = {}
    calls: list[tuple[tuple[EventId, ...], Waiter, PlainCall]] = []
    for height, (what, number, ids, wait) in enumerate(steps, 1):
        waiter, call = Waiter(wait, asyncio.get_running_loop().create_future()), PlainCall(wait)
        batch = batches.get(number)
        if what == "batch":
            batch = batches.setdefault(number, batch_of(number, ids))
            pending.track(batch, NOW)
            plain.followed[batch.hash] = batch.ids
            plain.add(batch.ids)
            joined: tuple[EventId, ...] = batch.ids
        elif what == "call":
            joined = tuple(ids)
            fresh = tuple(
                each for each in dict.fromkeys(ids) if each not in plain.accepted and each not in plain.places
            )
            if fresh:
                pending.begin(fresh, waiter)
                plain.add(fresh)
        elif what == "accept":
            pending.accept(ids)
            plain.accept(ids)
        elif batch is not None and what in ("commit", "reject"):
            outcomes = [
                rejected("broken") if what == "reject" and index % 2 else APPLIED for index in range(len(batch.ids))
            ]
            pending.committed(block_of(batch, outcomes, height), NOW)
            plain.commit(batch, outcomes, height)
        elif batch is not None and what == "refuse":
            followed = plain.followed.pop(batch.hash, ())
            pending.refuse_source(batch.header.source, REFUSED)
            plain.refuse(followed)
        if what in ("batch", "call"):
            pending.join(joined, waiter)
            plain.calls.append(call)
            plain.join(joined, call)
            calls.append((joined, waiter, call))
        hold(pending, plain, calls)


def hold(pending: PendingEvents, plain: Plain, calls: Sequence[tuple[tuple[EventId, ...], Waiter, PlainCall]]) -> None:
    assert pending.events.keys() == plain.accepted.keys()
    groups = list(pending.events.values())
    assert all(group.left == groups.count(group) for group in groups)
    assert all(pending.events[each].accepted == plain.accepted[each] for each in plain.accepted)
    for each in IDS:
        standing = pending.status(each).status
        if each in plain.accepted:
            assert standing is SubmitStatus.PENDING
        else:
            assert (standing is SubmitStatus.REFUSED) == (each in plain.refused)
        settled = pending.settled(each)
        assert settled is None or (settled.height, settled.index) == plain.places[each]
    for ids, waiter, call in calls:
        assert (waiter.count == 0) == (not call.open)
        assert waiter.done.done() or bool(call.open) or waiter.group is None
        results = pending.results(ids, waiter)
        if results is not None:
            assert [(each.event_id, each.height, each.index) for each in results] == [
                (event_id, *plain.places[event_id]) for event_id in ids
            ]
            assert {each.status for each in results} == {SubmitStatus.COMMITTED}


@settings(max_examples=400, deadline=None)
@given(st.lists(step, max_size=14))
def test_groups_say_of_each_event_and_call_what_a_plain_model_says(
    steps: list[tuple[str, int, list[EventId], Wait]],
) -> None:
    asyncio.run(hold_against_the_model(steps))


def run_with(main: Callable[[PendingEvents, Callable[[Wait], Waiter]], None]) -> None:
    async def inside() -> None:
        loop = asyncio.get_running_loop()
        main(PendingEvents(lambda _: [], Admission(1_000)), lambda wait: Waiter(wait, loop.create_future()))

    asyncio.run(inside())


def test_a_batch_by_itself_is_one_group_and_is_answered_from_its_block() -> None:
    def main(pending: PendingEvents, waiter_for: Callable[[Wait], Waiter]) -> None:
        batch, waiter = batch_of(0, IDS[:4]), waiter_for(Wait.COMMITTED)
        pending.track(batch, NOW)
        pending.join(batch.ids, waiter)
        assert (len(set(pending.events.values())), waiter.count) == (1, 1)
        pending.committed(block_of(batch, [APPLIED] * 4, 7), NOW)
        assert waiter.done.done()
        assert pending.results(batch.ids, waiter) == [
            SubmitResult(event_id, SubmitStatus.COMMITTED, APPLIED, Height(7), index)
            for index, event_id in enumerate(batch.ids)
        ]
        assert len(pending) == 0

    run_with(main)


def test_a_batch_of_which_one_event_was_not_applied_is_answered_event_by_event() -> None:
    def main(pending: PendingEvents, waiter_for: Callable[[Wait], Waiter]) -> None:
        batch, waiter = batch_of(0, IDS[:3]), waiter_for(Wait.COMMITTED)
        pending.track(batch, NOW)
        pending.join(batch.ids, waiter)
        pending.committed(block_of(batch, [APPLIED, rejected("broken"), APPLIED], 7), NOW)
        assert waiter.done.done()
        assert pending.results(batch.ids, waiter) is None
        assert [pending.settled(event_id) is not None for event_id in batch.ids] == [True, False, True]

    run_with(main)


def test_a_call_for_one_event_of_a_batch_does_not_wait_for_the_others() -> None:
    def main(pending: PendingEvents, waiter_for: Callable[[Wait], Waiter]) -> None:
        whole, one = waiter_for(Wait.COMMITTED), waiter_for(Wait.COMMITTED)
        batch, other = batch_of(0, IDS[:4]), batch_of(1, IDS[1:2])
        pending.track(batch, NOW)
        pending.join(batch.ids, whole)
        pending.track(other, NOW)
        pending.join(other.ids, one)
        pending.committed(block_of(other, [APPLIED], 1), NOW)
        assert (one.done.done(), whole.done.done()) == (True, False)
        pending.committed(block_of(batch, [APPLIED] * 4, 2), NOW)
        assert whole.done.done()
        assert pending.results(batch.ids, whole) is None  # one stands elsewhere: each is looked up

    run_with(main)


def test_a_call_for_the_events_of_two_batches_is_not_answered_from_the_block_of_one() -> None:
    def main(pending: PendingEvents, waiter_for: Callable[[Wait], Waiter]) -> None:
        waiter, ids = waiter_for(Wait.COMMITTED), tuple(IDS[:4])
        first, second = batch_of(0, IDS[:2]), batch_of(1, IDS[2:4])
        pending.track(first, NOW)
        pending.track(second, NOW)
        pending.join(ids, waiter)
        pending.committed(block_of(first, [APPLIED] * 2, 1), NOW)
        pending.committed(block_of(second, [APPLIED] * 2, 2), NOW)
        assert waiter.done.done()
        assert pending.results(ids, waiter) is None

    run_with(main)


def test_an_event_that_was_ordered_before_is_never_answered_with_its_second_place() -> None:
    async def main() -> None:
        pending = PendingEvents(lambda ids: [BEFORE] if BEFORE in ids else [], Admission(1_000))
        batch, waiter = (
            batch_of(0, [IDS[0], BEFORE]),
            Waiter(Wait.COMMITTED, asyncio.get_running_loop().create_future()),
        )
        pending.track(batch, NOW)
        pending.join(batch.ids, waiter)
        pending.committed(block_of(batch, [APPLIED, APPLIED], 9), NOW)
        assert waiter.done.done()
        assert pending.results(batch.ids, waiter) is None
        assert pending.settled(BEFORE) is None
        assert pending.settled(IDS[0]) is not None

    asyncio.run(main())
