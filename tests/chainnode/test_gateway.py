"""The gateway: what it answers and when, and that nothing wrong with its key or outbox goes further than itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chainnode import gateway as gateway_module
from chainnode.admission import BATCH_COST, RETRY_MS_MAX, RETRY_MS_MIN, WAITING_MIN
from chainnode.config import GatewaySection
from chainnode.gateway import NodeGateway
from chainnode.metrics import NodeMetrics
from chainnode.source_outbox import SourceOutbox
from ledger.batches import Batch, ParsedBatch, build_batch, parse_batch
from ledger.chain import CommitResult
from ledger.events import Event
from ledger.governance import RETIRE_SOURCE
from ledger.governance_bodies import RetireSource, retirement_statement
from primitives.encoding import Record, decode, encode
from primitives.errors import InputError, SignatureError, StorageError
from primitives.ids import ZERO_HASH, Hash, Height, SourceKey, TimeMs
from primitives.keys import SigningKey
from primitives.votes import COMMIT, QuorumCertificate
from rpc.errors import Code, RpcError
from rpc.ports import NewEvent, SubmitStatus, Wait
from sim.cluster import Cluster
from sim.network import CALM
from sim.workload import START_MS, key_of, statement

NOW = TimeMs(START_MS + 1_000)
OWN, OTHER = "bank-0", "bank-1"
SOON_MS = 50


class World:
    """One core, its store and a gateway over both; `flush` and `commit` are what the node does."""

    def __init__(self, path: Path, key: SigningKey | None, fault: StorageError | None = None) -> None:
        cluster = Cluster(0, weather=CALM)
        self.core, self.store = cluster.open_core(0, cluster.nodes[0].disk, None), cluster.nodes[0].disk.store
        self.core.restore([], NOW)
        self.chain = self.core.chain
        self.metrics = NodeMetrics()
        self.executor = ThreadPoolExecutor(1)
        self.outbox = None if key is None else SourceOutbox(path, chain_id=self.chain.chain_id, member=OWN, key=key)
        self.gateway = NodeGateway(
            core=self.core,
            reader=self.core.reader,
            member=OWN,
            outbox=self.outbox,
            settings=GatewaySection(),
            executor=self.executor,
            metrics=self.metrics,
            now_ms=lambda: NOW,
            wake=lambda: None,
            fault=fault,
        )

    def batch(self, *numbers: int, at: tuple[int, Hash] = (0, ZERO_HASH), source: str = OTHER) -> ParsedBatch:
        """Return a batch that a source signed itself, `at` a number after a hash."""
        events = [statement(source, number, NOW) for number in numbers]
        key, (number, previous) = key_of(source, "source"), at
        chain_id = self.chain.chain_id
        return parse_batch(
            build_batch(
                events, chain_id=chain_id, member=source, key=key, number=number, previous=previous, time_ms=NOW
            )
        )

    def signed(self, body: Record, *, kind: int) -> ParsedBatch:
        """Return the other member's first batch, of one event."""
        data = encode(Event(OTHER, b"r" * 16, NOW + 60_000, kind, 1, encode(body)))
        key, chain_id = key_of(OTHER, "source"), self.chain.chain_id
        raw = build_batch([data], chain_id=chain_id, member=OTHER, key=key, number=0, previous=ZERO_HASH, time_ms=NOW)
        return parse_batch(raw)

    def commit(self, *batches: ParsedBatch) -> CommitResult:
        """Order batches as a block, write its rows and tell the gateway."""
        result = self.order(*batches)
        self.write(result)
        return result

    def order(self, *batches: ParsedBatch) -> CommitResult:
        """Order batches as a block whose rows are not written yet."""
        for batch in batches:
            if not self.chain.has_batch(batch.hash):
                self.core.application.add_fetched(batch)
        chain, time_ms = self.chain, self.chain.header.time_ms + 1_000
        block = chain.build(chain.tip_hash, time_ms=time_ms, epoch=0, proposer=0, batches=batches)
        block_hash, height = block.header.hash(), Height(chain.height + 1)
        result = chain.commit(block_hash, QuorumCertificate(COMMIT, chain.header.epoch, 0, height, block_hash, ()))  # type: ignore[arg-type]  # a plain number
        self.core.application.pool.committed(result.batches)
        self.gateway.writing([result])
        return result

    def write(self, result: CommitResult) -> None:
        """Write a block's rows and tell the gateway."""
        self.store.write(self.core.application.take_rows() + result.puts, sync=True)
        self.chain.written(self.chain.ticket)
        self.gateway.committed(result)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Let the gateway run."""
        task = asyncio.create_task(self.gateway.run())
        yield task
        task.cancel()
        await asyncio.wait([task])
        self.executor.shutdown()


class FullDisk:
    """A file that takes nothing."""

    def write(self, data: bytes) -> None:
        raise OSError(28, "No space left on device", len(data))

    def datasync(self) -> None:
        raise AssertionError("nothing was written")

    def close(self) -> None:
        pass


def retirement(chain_id: Hash) -> RetireSource:
    """Return the word of the own member's officer that its source stops."""
    source, officer = key_of(OWN, "source").public, key_of(OWN, "officer")
    return RetireSource(source, officer.public, officer.sign(retirement_statement(chain_id, source)))


def new_event(number: int) -> NewEvent:
    event = decode(Event, statement(OWN, number, NOW), size_max=1 << 16)
    return NewEvent(event.kind, event.schema, event.body, event.reference, TimeMs(event.expires_ms))


def with_other_signature(batch: ParsedBatch) -> bytes:
    """Return a batch that its source did not sign."""
    shape = decode(Batch, batch.raw, size_max=1 << 22)
    return encode(Batch(shape.header, bytes(64), shape.events))


def run(main: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(main())


def test_key_that_the_chain_does_not_know_signs_nothing_and_the_answer_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", SigningKey(b"\7" * 32))
        async with world.running() as task:
            with pytest.raises(RpcError, match="no source key") as caught:
                await world.gateway.submit([new_event(1)], Wait.ACCEPTED, SOON_MS)
            assert caught.value.reason == "source_not_registered"
            assert world.outbox is not None
            assert world.outbox.pending == []
            assert not task.done()

    run(main)


def test_batch_of_an_unknown_key_in_the_outbox_lets_the_gateway_go_on(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", SigningKey(b"\7" * 32))
        assert world.outbox is not None
        world.outbox.sign([statement(OWN, 1, NOW)], time_ms=NOW)
        world.outbox.sync()
        async with world.running() as task:
            await asyncio.sleep(0)
            assert not task.done()

    run(main)


def test_outbox_that_lost_a_batch_disables_the_gateway_alone_at_once_and_after_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", key_of(OWN, "source"))
        async with world.running() as task:
            world.commit(world.batch(7, source=OWN))  # signed with our key, somewhere else
            with pytest.raises(RpcError, match="replace the key") as caught:
                await world.gateway.submit([new_event(1)], Wait.ACCEPTED, SOON_MS)
            assert caught.value.reason == "outbox_lost"
            assert not caught.value.retryable, "no repetition brings the outbox back"
            done = await world.gateway.submit_batch(world.batch(1).raw, Wait.NONE, SOON_MS)
            assert done[0].status is SubmitStatus.PENDING, "who signs himself is served"
            assert not task.done()

    run(main)


def test_outbox_that_cannot_be_written_disables_the_gateway_alone(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", key_of(OWN, "source"))
        assert world.outbox is not None
        world.outbox._log._file = FullDisk()
        async with world.running() as task:
            (result,) = await world.gateway.submit([new_event(1)], Wait.ACCEPTED, SOON_MS)
            assert result.status is SubmitStatus.PENDING
            assert not task.done()
            with pytest.raises(RpcError) as caught:
                await world.gateway.submit([new_event(2)], Wait.ACCEPTED, SOON_MS)
            assert caught.value.reason == "storage"
            assert caught.value.retryable, "the disk may have room again"

    run(main)


def test_outbox_that_cannot_be_opened_is_what_the_answer_says(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", None, StorageError("damaged"))
        with pytest.raises(RpcError, match="damaged"):
            await world.gateway.submit([new_event(1)], Wait.ACCEPTED, SOON_MS)

    run(main)


def test_accepted_event_of_a_known_key_is_committed(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", key_of(OWN, "source"))
        async with world.running():
            (result,) = await world.gateway.submit([new_event(1)], Wait.ACCEPTED, 5_000)
            assert result.status is SubmitStatus.PENDING
            assert world.outbox is not None
            world.commit(parse_batch(world.outbox.pending[0]))
            (again,) = await world.gateway.submit([new_event(1)], Wait.COMMITTED, SOON_MS)
            assert (again.status, again.height) == (SubmitStatus.COMMITTED, 1)

    run(main)


def test_batch_of_another_source_is_accepted_once_the_store_has_it(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", None)
        batch = world.batch(1, 2)
        answer = asyncio.create_task(world.gateway.submit_batch(batch.raw, Wait.ACCEPTED, 5_000))
        again = asyncio.create_task(world.gateway.submit_batch(batch.raw, Wait.ACCEPTED, 5_000))
        await asyncio.sleep(0)
        assert world.chain.has_batch(batch.hash)
        world.gateway.synced(world.chain.ticket - 1)
        await asyncio.sleep(0.01)
        assert not answer.done()
        assert not again.done()
        world.gateway.synced(world.chain.ticket)
        assert [result.status for result in await answer + await again] == [SubmitStatus.PENDING] * 4
        await asyncio.wait_for(world.gateway.submit_batch(batch.raw, Wait.ACCEPTED, 5_000), 1)

    run(main)


def test_batch_that_the_node_let_go_is_forgotten_and_its_events_are_refused(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", None)
        batch = world.batch(1)
        answer = asyncio.create_task(world.gateway.submit_batch(batch.raw, Wait.COMMITTED, 5_000))
        await asyncio.sleep(0)
        world.core.application.pool.drop([batch.hash])
        world.core.application.drop_stale()
        async with world.running():
            (result,) = await asyncio.wait_for(answer, 1)
        assert result.status is SubmitStatus.REFUSED
        assert result.refusal is not None
        assert result.refusal.reason == "batch_dropped"
        assert world.gateway.pending == 0

    run(main)


def test_event_that_is_ordered_twice_is_answered_with_the_place_that_counts(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", None)
        first = world.batch(1)
        world.commit(first)  # through another node
        second = world.batch(1, at=(1, first.hash))
        answer = asyncio.create_task(world.gateway.submit_batch(second.raw, Wait.COMMITTED, 5_000))
        await asyncio.sleep(0)
        world.commit(second)
        assert [(result.height, result.index) for result in await answer] == [(1, 0)]

    run(main)


def test_event_that_another_batch_brings_first_is_answered_with_that_place(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", None)
        first = world.batch(9, 1)
        second = world.batch(1, at=(1, first.hash))
        answer = asyncio.create_task(world.gateway.submit_batch(second.raw, Wait.COMMITTED, 5_000))
        await asyncio.sleep(0)
        world.commit(first)
        world.commit(second)
        assert [(result.height, result.index) for result in await answer] == [(1, 1)]

    run(main)


def test_submissions_and_their_latency_are_measured(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", None)
        batch = world.batch(1)
        await world.gateway.submit_batch(batch.raw, Wait.NONE, SOON_MS)
        world.commit(batch)
        text = world.metrics.render().decode()
        assert 'chainnode_submissions_total{status="pending"} 1.0' in text
        assert "chainnode_commit_latency_seconds_count 1.0" in text

    run(main)


def test_a_source_that_is_removed_signs_nothing_more_and_what_waited_is_refused_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", key_of(OWN, "source"))
        async with world.running() as task:
            (waiting,) = await world.gateway.submit([new_event(1)], Wait.ACCEPTED, 5_000)
            assert waiting.status is SubmitStatus.PENDING
            world.commit(world.signed(retirement(world.chain.chain_id), kind=RETIRE_SOURCE))
            assert world.gateway.status(waiting.event_id).status is SubmitStatus.REFUSED
            with pytest.raises(RpcError, match="may submit nothing more") as caught:
                await world.gateway.submit([new_event(2)], Wait.ACCEPTED, SOON_MS)
            assert (caught.value.reason, caught.value.retryable) == ("source_removed", False)
            assert world.gateway.source_position(SourceKey(key_of(OWN, "source").public)) is None
            assert not task.done()
        again = World(tmp_path / "outbox2", key_of(OTHER, "source"))
        assert again.gateway.source_position(SourceKey(key_of(OWN, "source").public)) is not None

    run(main)


def filled(world: World) -> None:
    """Let as much wait as may."""
    world.gateway._admission.enter(WAITING_MIN, NOW)


def test_a_full_gateway_refuses_before_it_looks_at_what_comes(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", key_of(OWN, "source"))
        filled(world)
        before = world.gateway.waiting_bytes
        for wait in Wait:
            with pytest.raises(RpcError, match="takes as long") as caught:
                await world.gateway.submit_batch(b"no batch at all", wait, SOON_MS)
            assert (caught.value.code, caught.value.reason) == (Code.LIMIT_EXCEEDED, "gateway_full")
            assert caught.value.retryable
            assert RETRY_MS_MIN <= (caught.value.retry_after_ms or 0) <= RETRY_MS_MAX
            with pytest.raises(RpcError, match="takes as long"):
                await world.gateway.submit([new_event(1)], wait, SOON_MS)
        assert (world.gateway.waiting_bytes, world.gateway.pending) == (before, 0)
        world.gateway._admission.leave(WAITING_MIN)
        with pytest.raises(InputError):
            await world.gateway.submit_batch(b"no batch at all", Wait.NONE, SOON_MS)

    run(main)


def test_what_waits_counts_until_it_is_ordered_refused_or_let_go(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", key_of(OWN, "source"))
        first, rival = world.batch(1, 2), world.batch(3)
        await world.gateway.submit_batch(first.raw, Wait.NONE, SOON_MS)
        assert world.gateway.waiting_bytes == first.size + BATCH_COST
        with pytest.raises(RpcError, match="twice"):
            await world.gateway.submit_batch(rival.raw, Wait.NONE, SOON_MS)
        with pytest.raises(SignatureError):
            await world.gateway.submit_batch(with_other_signature(first), Wait.NONE, SOON_MS)
        assert world.gateway.waiting_bytes == first.size + BATCH_COST
        world.commit(first)
        assert world.gateway.waiting_bytes == 0
        async with world.running():
            await world.gateway.submit([new_event(1)], Wait.ACCEPTED, 5_000)
            assert world.outbox is not None
            assert world.gateway.waiting_bytes == len(world.outbox.pending[0]) + BATCH_COST
            world.commit(parse_batch(world.outbox.pending[0]))
            assert world.gateway.waiting_bytes == 0

    run(main)


def test_events_that_were_never_signed_stop_counting_with_the_key(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", key_of(OWN, "source"))
        await world.gateway.submit([new_event(1), new_event(2)], Wait.NONE, SOON_MS)
        assert world.gateway.waiting_bytes > 0
        world.commit(world.signed(retirement(world.chain.chain_id), kind=RETIRE_SOURCE))
        assert world.gateway.waiting_bytes == 0

    run(main)


def test_a_body_that_is_being_read_counts_among_what_waits(tmp_path: Path) -> None:
    world = World(tmp_path / "outbox", None)
    with world.gateway.expecting(WAITING_MIN):
        with pytest.raises(RpcError, match="takes as long"):
            world.gateway.check_room()
        with pytest.raises(RpcError, match="takes as long"), world.gateway.expecting(1):
            pass
    world.gateway.check_room()


def test_batches_that_come_together_are_parsed_one_a_turn_of_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        world = World(tmp_path / "outbox", None)
        turns: list[int] = []
        turn = [0]

        def noted(data: bytes) -> ParsedBatch:
            turns.append(turn[0])
            return parse_batch(data)

        async def count() -> None:
            while True:
                turn[0] += 1
                await asyncio.sleep(0)

        monkeypatch.setattr(gateway_module, "parse_batch", noted)
        counting = asyncio.create_task(count())
        raws, at = [], (0, ZERO_HASH)
        for number in range(8):
            batch = world.batch(number, at=at)
            raws.append(batch.raw)
            at = (number + 1, batch.hash)
        await asyncio.gather(*(world.gateway.submit_batch(raw, Wait.NONE, SOON_MS) for raw in raws))
        counting.cancel()
        assert len(turns) == len(set(turns)) == len(raws)

    run(main)
