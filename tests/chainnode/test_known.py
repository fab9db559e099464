"""Which events the ledger has: filter and store together miss none, and the store is asked as little as can be."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from chainnode import known as known_module
from chainnode.known import KnownEvents
from ledger.batches import ParsedBatch
from ledger.chain import Chain
from ledger.reader import LedgerReader
from ledger.rows import tile_key
from ledger.store import MemoryStore
from ledger.views import Position
from primitives.errors import StorageError
from primitives.ids import ZERO_HASH, EventId, Hash
from rpc.ports import SubmitStatus, Wait
from tests.chainnode.test_gateway import World
from tests.ledger.chain_fixtures import KINDS, Ledger
from tests.ledger.snapshot_fixtures import made, make_stable, restored
from tests.ledger.test_snapshots import follow

A_TURN_S = 0.001


class Steps(Executor):
    """Runs each step of the filling on the loop; `before` is called with the number of those that ran."""

    def __init__(self, before: Callable[[int], None] = lambda _: None) -> None:
        self.ran = 0
        self._before = before

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._before(self.ran)
        self.ran += 1
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except StorageError as error:
            done.set_exception(error)
        return done


class Asked:
    """A reader of the ledger that counts the events whose place it is asked for."""

    def __init__(self, reader: LedgerReader) -> None:
        self.events: list[EventId] = []
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def position(self, event_id: EventId) -> Position | None:
        self.events.append(event_id)
        return self._reader.position(event_id)


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_module, "TILES_A_STEP", 1)
    monkeypatch.setattr(known_module, "PAUSE_S", 0)


@pytest.fixture
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory() as directory:
        yield World(Path(directory) / "outbox", None)


class Source:
    """Batches of the other member, one after another."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._at: tuple[int, Hash] = (0, ZERO_HASH)
        self._count = 0

    def batch(self, events: int) -> ParsedBatch:
        found = self._world.batch(*range(self._count, self._count + events), at=self._at)
        self._at = (found.header.number + 1, found.hash)
        self._count += events
        return found


def known_of(reader: LedgerReader) -> tuple[KnownEvents, Asked]:
    asked = Asked(reader)
    return KnownEvents(asked), asked  # type: ignore[arg-type]  # a reader but for counting


def run(main: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(main())


def test_events_of_before_a_restart_are_found_and_the_store_is_not_asked_for_others(world: World) -> None:
    async def main() -> None:
        source = Source(world)
        old = [event_id for _ in range(3) for event_id in world.commit(source.batch(200)).event_ids]
        new = source.batch(300).ids
        known, asked = known_of(world.core.reader)
        assert known.recorded([*new, old[0]]) == [old[0]]
        assert len(asked.events) == 301  # nothing is known yet
        await known.fill(Steps())
        assert known.complete
        asked.events.clear()
        assert known.recorded([*new[:150], *old, *new[150:]]) == old
        assert len(asked.events) < len(old) + 20

    run(main)


def test_nothing_is_read_or_kept_before_the_first_question(world: World) -> None:
    async def main() -> None:
        source, steps = Source(world), Steps()
        known, _ = known_of(world.core.reader)
        filling = asyncio.create_task(known.fill(steps))
        result = world.commit(source.batch(10))
        known.note(result)
        await asyncio.sleep(A_TURN_S)
        assert steps.ran == 0
        assert known._since.maybe(result.event_ids) == []
        assert known.recorded(result.event_ids) == list(result.event_ids)
        await filling
        assert known.recorded(result.event_ids) == list(result.event_ids)

    run(main)


def test_events_committed_while_older_ones_are_read_are_found(world: World) -> None:
    async def main() -> None:
        source = Source(world)
        found = list(world.commit(source.batch(600)).event_ids)
        known, asked = known_of(world.core.reader)

        def commit(step: int) -> None:
            if step in (1, 2):
                result = world.order(source.batch(300))
                known.note(result)
                world.write(result)
                found.extend(result.event_ids)
                assert known.recorded(found) == found  # from the store, as long as not all are read

        known.recorded([])
        await known.fill(Steps(commit))
        assert known.complete
        asked.events.clear()
        assert known.recorded([*found, *source.batch(5).ids]) == found
        assert len(found) == 1_200

    run(main)


def test_blocks_whose_rows_are_on_their_way_at_the_first_question_are_waited_for(world: World) -> None:
    async def main() -> None:
        source = Source(world)
        world.commit(source.batch(100))
        known, _ = known_of(world.core.reader)
        result = world.order(source.batch(300))
        known.note(result)  # nobody asked yet, so only the log size of it is noted
        assert known.recorded(result.event_ids) == []  # the store can't answer for them either
        filling = asyncio.create_task(known.fill(Steps()))
        await asyncio.sleep(A_TURN_S)
        assert not known.complete
        world.write(result)
        await filling
        assert known.recorded(result.event_ids) == list(result.event_ids)

    run(main)


def test_events_are_known_before_the_store_can_answer_for_them(world: World) -> None:
    async def main() -> None:
        known, _ = known_of(world.core.reader)
        known.recorded([])
        await known.fill(Steps())
        result = world.order(Source(world).batch(50))
        known.note(result)
        assert known._since.maybe(result.event_ids) == list(result.event_ids)
        assert known.recorded(result.event_ids) == []
        world.write(result)
        assert known.recorded(result.event_ids) == list(result.event_ids)

    run(main)


def test_a_log_that_cannot_be_read_leaves_all_questions_to_the_store(world: World) -> None:
    async def main() -> None:
        source = Source(world)
        found = [event_id for _ in range(3) for event_id in world.commit(source.batch(256)).event_ids]
        known, asked = known_of(world.core.reader)
        tile = world.store.get(tile_key(b"", 0, 1))
        world.store.write([(tile_key(b"", 0, 1), None)], sync=True)
        known.recorded([])
        await known.fill(Steps())
        world.store.write([(tile_key(b"", 0, 1), tile)], sync=True)
        assert not known.complete
        asked.events.clear()
        assert known.recorded(found) == found
        assert len(asked.events) == len(found)

    run(main)


@pytest.mark.parametrize("before", [3, 255, 256, 400])
def test_a_store_that_begins_at_a_snapshot_answers_the_same_with_the_filter(before: int) -> None:
    async def main() -> None:
        ledger = Ledger(MemoryStore())
        bank = ledger.banks["bank-a"]
        old = ledger.extend(bank.notes(before)).event_ids
        make_stable(ledger.store, ledger.genesis, ledger.chain.validators_after(ledger.chain.tip_hash))
        store = restored(made(ledger.store, ledger.genesis), ledger.genesis)
        new = [event_id for _ in range(3) for event_id in ledger.extend(bank.notes(200)).event_ids]
        follow(Chain(store, ledger.genesis, KINDS), store, LedgerReader(ledger.store, ledger.genesis))
        reader = LedgerReader(store, ledger.genesis)
        assert reader.base() == 1
        known, _ = known_of(reader)
        found = known.recorded([*old, *new])
        await known.fill(Steps())
        assert known.complete
        assert known.recorded([*old, *new]) == found == new  # what lies before the base is not here

    run(main)


def test_a_gateway_asks_the_store_for_no_event_that_is_new(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        source, gateway = Source(world), world.gateway
        first = source.batch(1)
        await gateway.submit_batch(first.raw, Wait.NONE, 1)
        world.commit(first)
        await gateway.fill_known(Steps())
        asked = Asked(world.core.reader)
        monkeypatch.setattr(gateway, "_reader", asked)
        monkeypatch.setattr(gateway._known, "_reader", asked)
        batch = source.batch(200)
        answer = asyncio.create_task(gateway.submit_batch(batch.raw, Wait.COMMITTED, 5_000))
        await asyncio.sleep(A_TURN_S)
        world.commit(batch)
        assert {result.status for result in await answer} == {SubmitStatus.COMMITTED}
        assert len(asked.events) <= 2
        (again,) = {result.status for result in await gateway.submit_batch(batch.raw, Wait.COMMITTED, 5_000)}
        assert again == SubmitStatus.COMMITTED

    run(main)
