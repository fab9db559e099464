"""Many events in one call against the same events one by one, and batches of read events against parsed ones."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainnode.gateway import EVENTS_A_PART
from chainnode.gathering import Gathering
from ledger.batches import ParsedBatch, parse_batch, read_events
from ledger.events import EVENT_SIZE_MAX, Event
from ledger.governance import RETIRE_SOURCE
from ledger.payments import PAYMENT_STATEMENT
from primitives.encoding import decode, encode
from primitives.errors import InputError
from primitives.ids import EventId, TimeMs
from rpc.ports import NewEvent, SubmitResult, SubmitStatus, Wait
from sim.workload import key_of, statement
from tests.chainnode.test_gateway import NOW, OTHER, OWN, SOON_MS, World, new_event, retirement

GOOD = [new_event(number) for number in range(6)]
REMOVAL = retirement(b"\5" * 32)  # type: ignore[arg-type]  # of another chain: the shape is sound
STATEFUL = NewEvent(RETIRE_SOURCE, 1, encode(REMOVAL), b"s" * 16, TimeMs(NOW + 60_000))
BAD = [
    NewEvent(PAYMENT_STATEMENT, 1, GOOD[0].body, b"r" * 16, TimeMs(1)),  # has expired
    NewEvent(PAYMENT_STATEMENT, 1, GOOD[0].body, b"r" * 15),
    NewEvent(PAYMENT_STATEMENT, 1, GOOD[0].body[:-1], b"r" * 16),
    NewEvent(PAYMENT_STATEMENT, 1, b"\xdc\x00\x13" + GOOD[0].body[4:], b"r" * 16),
    NewEvent(PAYMENT_STATEMENT, 2, GOOD[0].body, b"r" * 16),
    NewEvent(200, 1, GOOD[0].body, b"r" * 16),
    NewEvent(300, 1, GOOD[0].body, b"r" * 16),
    NewEvent(0, 1, GOOD[0].body, b"r" * 16),
    NewEvent(PAYMENT_STATEMENT, 1, bytes(EVENT_SIZE_MAX), b"r" * 16),
    NewEvent(PAYMENT_STATEMENT, 1, GOOD[0].body, b"r" * 16, TimeMs(1 << 62)),
]
calls = st.lists(
    st.one_of(st.none(), st.lists(st.sampled_from([*GOOD, *GOOD, STATEFUL, *BAD]), min_size=1, max_size=8)),
    min_size=1,
    max_size=4,
)


def order(world: World) -> ParsedBatch | None:
    """Sign what waits and order it; return the batch."""
    gathered, outbox = world.gateway._next_events(), world.outbox
    if not gathered.ids or outbox is None:
        return None
    read = gathered.read or read_events(gathered.items, OWN)
    batch = outbox.sign_read(gathered.items, read, time_ms=NOW)
    assert outbox.pending == [batch.raw]
    assert parse_batch(batch.raw) == batch
    outbox.sync()
    world.gateway._offer(batch, 0.0)
    world.commit(batch)
    return batch


async def submitted(world: World, events: Sequence[NewEvent], *, at_once: bool) -> list[SubmitResult]:
    """Return what the gateway says of events in one call, or each in a call of its own."""
    if at_once:
        return await world.gateway.submit(events, Wait.NONE, SOON_MS)
    return [(await world.gateway.submit([event], Wait.NONE, SOON_MS))[0] for event in events]


@settings(max_examples=40, deadline=None)
@given(calls)
def test_many_events_at_once_end_as_each_by_itself(found: list[list[NewEvent] | None]) -> None:
    async def main() -> None:
        worlds = [World(Path(directory) / name, key_of(OWN, "source")) for name in "ab"]
        for events in [*found, None]:
            if events is None:
                batches = [order(world) for world in worlds]
                assert batches[0] == batches[1]
            else:
                first, second = [
                    await submitted(world, events, at_once=at_once)
                    for world, at_once in zip(worlds, (True, False), strict=True)
                ]
                assert first == second
                assert [world.gateway.pending for world in worlds] == [len(worlds[0].gateway._gathering)] * 2
        assert [world.gateway.waiting_bytes for world in worlds] == [0, 0]

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main())


@pytest.mark.parametrize("place", [0, EVENTS_A_PART - 1, EVENTS_A_PART, 2 * EVENTS_A_PART])
def test_one_refused_event_among_many_is_found_and_the_others_go_on(tmp_path: Path, place: int) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", key_of(OWN, "source"))
        events = [new_event(number) for number in range(2 * EVENTS_A_PART)]
        found = await world.gateway.submit([*events[:place], BAD[0], *events[place:]], Wait.NONE, SOON_MS)
        assert [index for index, result in enumerate(found) if result.status is SubmitStatus.REFUSED] == [place]
        batch = order(world)
        assert batch is not None
        assert list(batch.ids) == [result.event_id for index, result in enumerate(found) if index != place]

    asyncio.run(main())


def test_an_event_that_stands_twice_in_a_call_is_signed_once_and_answered_twice(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", key_of(OWN, "source"))
        async with world.running():
            results = await world.gateway.submit([GOOD[0], GOOD[1], GOOD[0]], Wait.ACCEPTED, 5_000)
        assert [result.event_id for result in results] == [
            results[0].event_id,
            results[1].event_id,
            results[0].event_id,
        ]
        assert world.outbox is not None
        assert parse_batch(world.outbox.pending[0]).ids == (results[0].event_id, results[1].event_id)

    asyncio.run(main())


def test_a_call_with_a_refused_event_waits_for_the_others_alone(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", key_of(OWN, "source"))
        async with world.running():
            found = await asyncio.wait_for(world.gateway.submit([GOOD[0], BAD[0]], Wait.ACCEPTED, 60_000), 5)
        assert [result.status for result in found] == [SubmitStatus.PENDING, SubmitStatus.REFUSED]
        assert found[1].refusal is not None
        assert "expired" in found[1].refusal.message

    asyncio.run(main())


@given(st.lists(st.integers(1, 5), max_size=6), st.integers(1, 7), st.integers(1, 40), st.sets(st.integers(0, 29)))
def test_waiting_events_are_given_out_once_in_order_within_the_limits(
    sizes: list[int], count_max: int, fill_bytes: int, gone: set[int]
) -> None:
    gathering = Gathering()
    items = {EventId(bytes([number])): bytes(number % 7 + 1) for number in range(sum(sizes))}
    ids = list(items)
    reads = {}
    for place, size in enumerate(sizes):
        part = tuple(ids[sum(sizes[:place]) :][:size])
        read = read_events([statement(OTHER, place, NOW)], OTHER)
        reads[id(read)] = (part, read)
        gathering.add(part, [items[event_id] for event_id in part], read)
    assert list(gathering) == ids
    claimed: list[EventId] = []

    def claim(event_id: EventId) -> bool:
        claimed.append(event_id)
        return event_id[0] not in gone

    signed: list[EventId] = []
    while gathering:
        before = gathering.size
        found = gathering.take(count_max, fill_bytes, claim)
        assert before - found.left_bytes == gathering.size == sum(len(items[event_id]) for event_id in gathering)
        assert len(found.ids) <= count_max
        assert sum(map(len, found.items[:-1])) < fill_bytes
        assert found.items == [items[event_id] for event_id in found.ids]
        assert found.read is None or reads[id(found.read)][0] == tuple(found.ids)
        signed += found.ids
    assert claimed == ids
    assert signed == [event_id for event_id in ids if event_id[0] not in gone]


def test_events_of_one_call_that_fill_a_batch_are_read_once() -> None:
    items = [statement(OWN, number, NOW) for number in range(3)]
    read = read_events(items, OWN)
    gathering = Gathering()
    gathering.add(read.ids, items, read)
    assert gathering.take(3, 1 << 20, lambda _: True).read is read


@pytest.mark.parametrize("event", [event for event in BAD if event.expires_ms != 1], ids=range(len(BAD) - 1))
def test_reading_many_refuses_what_a_batch_may_not_hold(event: NewEvent) -> None:
    expires_ms = event.expires_ms or NOW
    bad = encode(Event(OWN, event.reference or b"", expires_ms, event.kind, event.schema, event.body))
    with pytest.raises(InputError):
        read_events([statement(OWN, 1, NOW), bad], OWN)


def test_reading_many_refuses_an_event_of_another_member() -> None:
    with pytest.raises(InputError, match="another member"):
        read_events([statement(OWN, 1, NOW), statement(OTHER, 1, NOW)], OWN)


def test_what_is_read_is_what_a_parsed_batch_says(tmp_path: Path) -> None:
    world = World(tmp_path / "outbox", key_of(OWN, "source"))
    stateful = Event(OWN, b"s" * 16, NOW + 60_000, STATEFUL.kind, 1, STATEFUL.body)
    items = [statement(OWN, 1, NOW), encode(stateful), statement(OWN, 2, NOW)]
    assert world.outbox is not None
    batch = world.outbox.sign_read(items, read_events(items, OWN), time_ms=NOW)
    parsed = parse_batch(batch.raw)
    assert parsed == batch
    assert [item.index for item in batch.stateful] == [1]
    assert decode(Event, batch.event_bytes[1], size_max=EVENT_SIZE_MAX) == stateful
