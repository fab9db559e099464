"""The gateway: takes its member's events in, signs them in batches, and says what became of each.

Here: gathering, the outbox of the node's own source key, batches that other sources signed themselves, and waiting for
commits. Not here: JSON (`rpc`), which batches a block takes (`ledger.pool`). `accepted` is said only once the signed
batch is synced, in the outbox or the ledger's store; what the outbox holds is offered again until the chain has it,
across restarts. What ails the outbox or its key ends the signing here and nothing else: the node goes on.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from operator import attrgetter
from typing import Final

import structlog

from chainnode.admission import BATCH_COST, Admission
from chainnode.config import GatewaySection
from chainnode.core import NodeCore
from chainnode.gathering import Gathered, Gathering
from chainnode.known import KnownEvents
from chainnode.metrics import NodeMetrics
from chainnode.pending import PendingEvents, Waiter
from chainnode.phases import Phases
from chainnode.readiness import Submission
from chainnode.source_outbox import OutboxLost, SourceOutbox, SourceRemoved
from chainnode.wal_format import LogDamaged
from ledger.batches import ParsedBatch, ReadEvents, check_event, parse_batch, read_events, verify_batch
from ledger.chain import CommitResult
from ledger.events import EVENT_SIZE_MAX, REFERENCE_SIZE, TIME_MS_MAX, Event
from ledger.events import event_id as id_of_event
from ledger.execution import BlockRefused
from ledger.members import read_member, read_source, source_grant
from ledger.nodes import listed_nodes
from ledger.outcomes import Outcome
from ledger.pool import NumberTaken, PoolFull
from ledger.reader import LedgerReader
from ledger.registry import KINDS
from ledger.times import format_time
from primitives.encoding import encode
from primitives.errors import ChainError, InputError, StorageError
from primitives.ids import EventId, Hash, Height, SourceKey, TimeMs
from rpc.errors import Code, RpcError, unavailable
from rpc.ports import NewEvent, Refusal, SourcePosition, SubmitResult, SubmitStatus, Wait

KIND_LIMIT: Final = 256
EXPIRY_MARGIN_MS: Final = 60_000
BATCH_FILL_BYTES: Final = 2 * 1024 * 1024
BATCH_OVERHEAD_BYTES: Final = 8 * 1024
OFFER_AGAIN_S: Final = 2.0
OFFERED_AGAIN_MAX: Final = 256
EVENTS_A_TURN: Final = 64
EVENTS_A_PART: Final = 16

_STATUS_OF = attrgetter("status")

log = structlog.get_logger("gateway")


class NodeGateway:
    """Implements `rpc.ports.Gateway`; lives on the node's loop."""

    def __init__(
        self,
        *,
        core: NodeCore,
        reader: LedgerReader,
        member: str,
        outbox: SourceOutbox | None,
        settings: GatewaySection,
        executor: Executor,
        metrics: NodeMetrics,
        now_ms: Callable[[], TimeMs],
        wake: Callable[[], None],
        fault: ChainError | None = None,
    ) -> None:
        """Begin with what the outbox holds; a `fault` says why there is none although there is a key."""
        self._core = core
        self._reader = reader
        self._member = member
        self._outbox = outbox
        self._settings = settings
        self._executor = executor
        self._metrics = metrics
        self._now_ms = now_ms
        self._wake = wake
        self._admission = Admission(settings.pending_wait_ms_max)
        self._known = KnownEvents(reader)
        self._pending = PendingEvents(self._known.recorded, self._admission)
        self._gathering = Gathering()
        self._parsing = asyncio.Lock()
        self._work = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._phases = Phases(metrics)
        self._queued: float | None = None  # since when events wait to be signed
        self._fault: ChainError | None = None
        self._rights_height: Height | None = None
        self._granted_height: Height | None = None  # of the rights by which our key was last seen to be good
        if fault is not None:
            self._disable(fault)
        self._recover()

    # --- rpc.ports.Gateway

    async def submit(self, events: Sequence[NewEvent], wait: Wait, timeout_ms: int) -> list[SubmitResult]:
        """Sign and offer events; return where each stands when all are as far as `wait` says, or after the time-out."""
        self._check_door()
        self.check_room(len(events))
        filled = list(self._filled(events))
        items = [encode(event) for event in filled]
        read = self._read(items)
        if len(items) > EVENTS_A_TURN:
            await asyncio.sleep(0)
            self._check_door()  # others came meanwhile
            self.check_room(len(events))
        waiter = Waiter(wait, self._running_loop().create_future())
        ids, refused = self._take(filled, items, read, waiter)
        await self._wait(waiter, timeout_ms)
        return self._results(ids, waiter, refused)

    def say(self, submission: Submission) -> None:
        """Sign and offer an event of the node's own, for which nobody waits; repeating it changes nothing.

        Where there is no source to sign with, or no room, it is left: whoever wants it said asks again, or another.
        """
        try:
            self._check_door()
            self.check_room()
        except RpcError as error:
            log.warning("not_submitted", kind=submission.kind, reason=error.reason)
            return
        new = NewEvent(submission.kind, submission.schema, submission.body, submission.reference)
        filled = list(self._filled([new]))
        items = [encode(event) for event in filled]
        waiter = Waiter(Wait.NONE, asyncio.get_running_loop().create_future())
        self._take(filled, items, self._read(items), waiter)

    async def submit_batch(self, batch: bytes, wait: Wait, timeout_ms: int) -> list[SubmitResult]:
        """Offer a batch that its source has signed."""
        arrived = self._phases.clock()
        parsed = await self._parsed(batch)
        chain = self._core.chain
        chain.check_admission(chain.tip_hash, parsed)
        if chain.holds(parsed):
            if not self._is_recorded(parsed):
                # Sent again because it was not committed in time: perhaps no peer has it.
                self._pending.track(parsed, self._now_ms())
                self._core.offer_again(parsed, self._now_ms())
                self._wake()
        else:
            self._check_number(parsed)
            if len(self._pending) + len(parsed.ids) > self._settings.pending_events_max:
                raise self._full()
            try:
                self._core.submit_batch(parsed, self._now_ms())
            except PoolFull as error:
                raise self._full(str(error)) from None
            except NumberTaken as error:
                raise _number_used(error.what, error.where, error.expected, error.got) from None
            self._pending.track(parsed, self._now_ms())
            self._phases.received(parsed.hash, arrived)
            self._wake()
        self._pending.accept_synced(chain.ticket, parsed.ids)
        if wait is Wait.ACCEPTED:
            self._wake()
        waiter = Waiter(wait, self._running_loop().create_future())
        self._pending.join(parsed.ids, waiter)
        await self._wait(waiter, timeout_ms)
        return self._results(parsed.ids, waiter, {})

    def check_room(self, events: int = 1) -> None:
        """Raise -32005 where so many events more would be refused, before anybody looks at them."""
        if len(self._pending) + events > self._settings.pending_events_max:
            raise self._full()
        if self._admission.full(self._now_ms()):
            raise self._full("what waits here already takes as long as an event may wait")

    @contextmanager
    def expecting(self, size: int) -> Iterator[None]:
        """Count the bytes of a submission that is being read among those that wait; raises as `check_room`."""
        self.check_room()
        self._admission.enter(size, self._now_ms())
        try:
            yield
        finally:
            self._admission.leave(size)

    def status(self, event_id: EventId) -> SubmitResult:
        """Return where an event stands that the ledger does not hold."""
        return self._pending.status(event_id)

    def source_position(self, source: SourceKey) -> SourcePosition | None:
        """Return where a source stands in the committed chain."""
        chain = self._core.chain
        grant = source_grant(chain.state_after(chain.tip_hash), source)
        if grant is None:
            return None
        number, previous = chain.next_number(chain.tip_hash, source)
        return SourcePosition(grant.member, number, previous)

    # --- what the node calls

    @property
    def pending(self) -> int:
        """The number of events on their way."""
        return len(self._pending)

    @property
    def waiting_bytes(self) -> int:
        """The bytes on their way, and what their batches cost beside these."""
        return self._admission.waiting

    @property
    def room_bytes(self) -> int:
        """How many may be, at the present pace."""
        return self._admission.room(self._now_ms())

    @property
    def awaits_sync(self) -> bool:
        """Whether somebody waits for batches to be written, and not only for their block."""
        return self._pending.awaits_sync

    def synced(self, ticket: int) -> None:
        """Tell who waits for it that the store holds the rows up to this ticket of the chain's."""
        self._pending.synced(ticket)

    def ordered(self, batch_hashes: Sequence[Hash]) -> None:
        """Note the batches of proposals that this node prepared, once that is synced."""
        self._phases.ordered(batch_hashes)

    def writing(self, commits: Sequence[CommitResult]) -> None:
        """Note blocks whose rows are about to be written; always before the store can answer for their events."""
        for result in commits:
            self._known.note(result)

    async def fill_known(self, executor: Executor) -> None:
        """Learn which events the store has, in small steps on a thread, once somebody submits here."""
        await self._known.fill(executor)

    def committed(self, result: CommitResult) -> None:
        """Tell who waits, once a block's rows are synced."""
        for batch in result.batches:
            self._phases.committed(batch.hash)
        now_ms = self._now_ms()
        for tracked in self._pending.committed(result, now_ms):
            self._metrics.commit_latency.observe(max(0, now_ms - tracked.since_ms) / 1_000)
        if self._outbox is not None and any(item.header.source == self._outbox.source for item in result.batches):
            self._settle()
        self._check_right()

    async def run(self) -> None:
        """Gather, sign, sync and offer, until cancelled."""
        loop = asyncio.get_running_loop()
        offered = float("-inf")
        while True:
            if loop.time() >= offered + OFFER_AGAIN_S:
                offered = loop.time()
                self._drop_let_go()
                self._offer_again()
            try:
                async with asyncio.timeout(OFFER_AGAIN_S):
                    await self._work.wait()
            except TimeoutError:
                continue
            if len(self._gathering) < self._settings.batch_events_max and self._settings.linger_ms:
                await asyncio.sleep(self._settings.linger_ms / 1_000)
            arrived = self._queued or self._phases.clock()
            gathered, outbox = self._next_events(), self._outbox
            self._queued = self._phases.clock()  # those that are left came while the ones before them waited
            if not self._gathering:
                self._work.clear()
            if not gathered.ids or outbox is None:
                continue
            read = gathered.read or read_events(gathered.items, self._member)
            try:
                batch = outbox.sign_read(gathered.items, read, time_ms=self._now_ms())
                await loop.run_in_executor(self._executor, outbox.sync)
            except (ChainError, OSError) as error:
                # Whether the disk has it is not known: the events stay pending, and the next start tells.
                self._disable(error if isinstance(error, ChainError) else StorageError("outbox unusable", got=error))
                continue
            self._offer(batch, arrived)

    def _disable(self, error: ChainError) -> None:
        """Sign nothing more: the outbox or its key can't be relied on."""
        log.error("gateway_disabled", reason=error.reason, error=str(error))
        self._fault, self._outbox = error, None
        self._work.set()
        self._admission.leave(self._gathering.size)
        for event_id in [event_id for event_id in self._gathering if event_id in self._pending.events]:
            self._pending.refuse_pending(event_id, Refusal(error.reason, str(error)))
        self._gathering.clear()

    def _check_right(self) -> None:
        """Give the key up once the chain has taken its right away: who waits for its events is told at once."""
        chain = self._core.chain
        height = chain.rights_height(chain.tip_hash)
        if self._outbox is None or height == self._rights_height:
            return
        self._rights_height = height
        source, state = self._outbox.source, chain.state_after(chain.tip_hash)
        row = read_source(state, source)
        member = None if row is None else read_member(state, row.member)
        if row is None or member is None or not (row.removed or member.excluded):
            return
        what = f"{row.member} was excluded" if member.excluded else "the members or an officer removed it"
        hint = "stop the node, run `chainnode keys rotate`, and have the new key added"
        error = SourceRemoved("this node's source key may submit nothing more", got=what, hint=hint)
        self._disable(error)
        self._pending.refuse_source(source, Refusal(error.reason, str(error)))

    # --- taking events

    def _check_door(self) -> None:
        """Raise where nothing can be signed that the chain would take."""
        if self._fault is not None:
            # What the key signed is lost for good; a disk that was full may have room after the next start.
            lost = isinstance(self._fault, OutboxLost | LogDamaged | SourceRemoved)
            raise unavailable(self._fault.reason, str(self._fault), hint="submit signed batches", retryable=not lost)
        if self._outbox is None:
            what = "this node has no source key to sign with"
            raise unavailable("no_source", what, hint="submit signed batches", retryable=False)
        chain = self._core.chain
        height = chain.rights_height(chain.tip_hash)
        if height == self._granted_height:
            return
        grant = source_grant(chain.state_after(chain.tip_hash), self._outbox.source)
        if grant is None or grant.member != self._member:
            # A validator's key is about to be approved, as a rule; an observer needs none.
            votes = self._core.replica.state.me is not None
            raise unavailable(
                "source_not_registered",
                f"the chain knows no source key {self._outbox.source.hex()[:16]} of {self._member}",
                hint="submit signed batches" if votes else self._elsewhere(),
                retryable=votes,
            )
        self._granted_height = height

    def _elsewhere(self) -> str:
        """Say where events go for which this node, without a vote, has no key that the chain knows."""
        state = self._core.replica.state
        chain = self._core.chain
        nodes = listed_nodes(chain.state_after(chain.tip_hash), state.epoch, with_previous=False)
        named = sorted(name for name, node in nodes.items() if node.member == self._member and name != state.name)
        there = f"submit them at {' or '.join(named)}, or " if named else ""
        return f"{there}send batches that a source has signed (ledger_submitBatch): this node passes those on"

    def _filled(self, events: Sequence[NewEvent]) -> Iterator[Event]:
        """Yield the events with all that the gateway fills in."""
        expiries = {kind: self._expiry_of(kind) for kind in {new.kind for new in events}}
        for new in events:
            reference = new.reference if new.reference is not None else os.urandom(REFERENCE_SIZE)
            expires_ms = new.expires_ms if new.expires_ms is not None else expiries[new.kind]
            yield Event(self._member, reference, expires_ms, new.kind, new.schema, new.body)

    def _read(self, items: Sequence[bytes]) -> ReadEvents | None:
        """Return what is found in events that are all sound and in time; None where one of them is not."""
        try:
            read = read_events(items, self._member)
        except ChainError:
            return None
        return read if read.expires_ms_min > self._core.chain.header.time_ms else None

    def _take(
        self, filled: Sequence[Event], items: Sequence[bytes], read: ReadEvents | None, waiter: Waiter
    ) -> tuple[Sequence[EventId], dict[EventId, SubmitResult]]:
        """Return the events' ids, and the refusals of those that the door refuses; the others are on their way."""
        refused: dict[EventId, SubmitResult] = {}
        if read is not None:
            ids: Sequence[EventId] = read.ids
        else:
            ids = self._judge_parts(filled, items, refused)
        fresh = dict(zip(ids, items, strict=True))
        for event_id in [*refused, *(fresh.keys() & self._pending.events.keys())]:
            fresh.pop(event_id, None)
        for event_id in self._known.recorded(tuple(fresh)):
            del fresh[event_id]
        if fresh:
            self._pending.begin(tuple(fresh), waiter)
            self._admission.enter(sum(map(len, fresh.values())), self._now_ms())
            if not self._gathering:
                self._queued = self._phases.clock()
        self._gathering.add(tuple(fresh), tuple(fresh.values()), read if len(fresh) == len(items) else None)
        if len(fresh) < len(ids):
            self._pending.join(ids, waiter)
        self._work.set()
        return ids, refused

    def _judge_parts(
        self, filled: Sequence[Event], items: Sequence[bytes], refused: dict[EventId, SubmitResult]
    ) -> list[EventId]:
        """Return the ids of events some of which are refused, and add these refusals; only their parts are searched."""
        ids: list[EventId] = []
        for start in range(0, len(items), EVENTS_A_PART):
            part = items[start : start + EVENTS_A_PART]
            read = self._read(part) if len(part) > 1 else None
            if read is not None:
                ids += read.ids
            else:
                events = filled[start : start + EVENTS_A_PART]
                ids += [self._judge(event, item, refused) for event, item in zip(events, part, strict=True)]
        return ids

    def _judge(self, event: Event, data: bytes, refused: dict[EventId, SubmitResult]) -> EventId:
        """Return an event's id, and add its refusal where the door refuses it."""
        try:
            _, event_id = check_event(data)
            time_ms = self._core.chain.header.time_ms
            if event.expires_ms <= time_ms:
                expected = f"after {format_time(time_ms)}, the newest block's time"
                raise InputError("event has expired", expected=expected, got=format_time(event.expires_ms))
        except ChainError as error:
            event_id = id_of_event(data, event.kind if 0 < event.kind < KIND_LIMIT else 0)
            refusal = Refusal(error.reason, str(error))
            refused[event_id] = SubmitResult(event_id, SubmitStatus.REFUSED, refusal=refusal)
            self._pending.refuse(refused[event_id])
        return event_id

    def _expiry_of(self, kind: int) -> int:
        """Return never for a mere record, so that its id depends on its content alone, else the longest allowed."""
        spec = KINDS.get(kind)
        if spec is not None and not spec.changes_state:
            return TIME_MS_MAX
        chain = self._core.chain
        ahead_ms = chain.policy_after(chain.tip_hash).event_expiry_ahead_ms_max
        return int(self._now_ms()) + max(ahead_ms - EXPIRY_MARGIN_MS, ahead_ms // 2)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that the gateway lives on; to ask for it is a system call each time in Python 3.11."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    async def _wait(self, waiter: Waiter, timeout_ms: int) -> None:
        if waiter.count <= 0:
            return
        timer = self._running_loop().call_later(timeout_ms / 1_000, waiter.end)
        try:
            await waiter.done
        finally:
            timer.cancel()

    def _results(
        self, ids: Sequence[EventId], waiter: Waiter, refused: Mapping[EventId, SubmitResult]
    ) -> list[SubmitResult]:
        """Return where each event of a call stands now, and count them."""
        results = self._pending.results(ids, waiter)
        if results is None:
            standing = {**self._standing(ids), **refused}
            results = [standing[event_id] for event_id in ids]
        for status, count in Counter(map(_STATUS_OF, results)).items():
            self._metrics.submissions.labels(status.lower()).inc(count)
        return results

    def _standing(self, ids: Sequence[EventId]) -> dict[EventId, SubmitResult]:
        """Return where events stand: in a block of late, in the ledger, or on their way or refused."""
        settled = self._pending.settled
        found = {event_id: result for event_id in ids if (result := settled(event_id)) is not None}
        rest = [event_id for event_id in dict.fromkeys(ids) if event_id not in found]
        ordered = set(self._known.recorded(rest))
        for event_id in rest:
            found[event_id] = self._placed(event_id) if event_id in ordered else self.status(event_id)
        return found

    def _placed(self, event_id: EventId) -> SubmitResult:
        """Return the place of an event that the ledger has."""
        place = self._reader.position(event_id)
        assert place is not None, "what was ordered stays"
        outcome: Outcome = self._reader.outcome(place.height, place.index)
        return SubmitResult(event_id, SubmitStatus.COMMITTED, outcome, Height(place.height), place.index)

    def _full(self, detail: str = "too many events wait to be ordered") -> RpcError:
        now_ms, settings = self._now_ms(), self._settings
        return RpcError(
            Code.LIMIT_EXCEEDED,
            "gateway_full",
            detail,
            expected=f"at most {settings.pending_events_max} events, {settings.pending_wait_ms_max} ms",
            got=f"{len(self._pending)} events, {self._admission.waiting} bytes waiting",
            hint="submit again later",
            retryable=True,
            retry_after_ms=self._admission.retry_after_ms(now_ms),
        )

    async def _parsed(self, batch: bytes) -> ParsedBatch:
        """Return a batch whose shape and signature were found good: one a turn of the loop, for votes to pass."""
        with self.expecting(len(batch) + BATCH_COST):
            await self._parsing.acquire()
            try:
                parsed = parse_batch(batch)
                verify_batch(parsed)
            finally:
                self._running_loop().call_soon(self._parsing.release)
        return parsed

    # --- batches

    def _check_number(self, batch: ParsedBatch) -> None:
        number, previous = self._core.chain.next_number(self._core.chain.tip_hash, batch.header.source)
        header = batch.header
        if header.number < number or (header.number == number and header.previous != previous):
            self._core.application.note_rival(batch)
            raise _number_used(
                "a batch number is used twice",
                f"source {header.source.hex()[:16]}",
                f"number {number} after {previous.hex()[:16]}",
                f"number {header.number} after {header.previous.hex()[:16]}",
            )

    def _is_recorded(self, batch: ParsedBatch) -> bool:
        """Say whether the store answers for these events; a block whose rows are being written does not count yet."""
        return all(self._reader.position(event_id) is not None for event_id in batch.ids)

    def _drop_let_go(self) -> None:
        own = set() if self._outbox is None else {batch_hash for batch_hash, _ in self._outbox.pending_by_hash}

        def held(batch_hash: Hash) -> bool:
            return batch_hash in own or self._core.chain.has_batch(batch_hash)

        self._pending.drop_let_go(held)
        self._phases.forget(held)

    def _recover(self) -> None:
        """Know again what was accepted before a restart: it is pending, and the same event is not signed anew."""
        self._check_right()
        if self._outbox is None:
            return
        self._settle()
        for raw in self._outbox.pending if self._outbox is not None else ():
            batch = parse_batch(raw)
            self._pending.track(batch, self._now_ms())
            self._pending.accept(batch.ids)

    def _next_events(self) -> Gathered:
        """Take as many waiting events as a batch may hold that a block of the present policy can take whole."""
        policy = self._core.chain.policy_after(self._core.chain.tip_hash)
        count_max = min(self._settings.batch_events_max, policy.block_events_max)
        fill_bytes = min(BATCH_FILL_BYTES, policy.block_bytes_max - EVENT_SIZE_MAX - BATCH_OVERHEAD_BYTES)
        gathered = self._gathering.take(count_max, fill_bytes, self._pending.claim)
        self._admission.leave(gathered.left_bytes)
        return gathered

    def _offer(self, batch: ParsedBatch, arrived: float) -> None:
        """Offer a batch that is synced in the outbox, and tell who waited for that."""
        self._pending.track(batch, self._now_ms())
        self._pending.accept(batch.ids)
        self._phases.received(batch.hash, arrived)
        self._push(batch)

    def _push(self, batch: ParsedBatch) -> bool:
        """Hand a batch to the core and say whether it was taken; if not, it is offered again."""
        try:
            self._core.submit_batch(batch, self._now_ms())
        except (PoolFull, NumberTaken, BlockRefused) as error:
            log.warning("batch_not_taken", reason=error.reason, detail=str(error))
            return False
        self._wake()
        return True

    def _offer_again(self) -> None:
        """Offer what the outbox holds and the pool does not, and tell peers of the rest: they may have lost it."""
        if self._outbox is None:
            return
        held: list[Hash] = []
        taken = True
        for batch_hash, raw in self._outbox.pending_by_hash:
            if self._core.chain.has_batch(batch_hash):
                held.append(batch_hash)
            elif taken:  # those after one that is not taken have to wait for it anyway
                taken = self._push(parse_batch(raw))
        if held:
            self._core.announce(held[:OFFERED_AGAIN_MAX])
            self._wake()

    def _settle(self) -> None:
        if self._outbox is None:
            return
        number, previous = self._core.chain.next_number(self._core.chain.tip_hash, self._outbox.source)
        try:
            self._outbox.settle(number, previous)
        except ChainError as error:
            self._disable(error)


def _number_used(what: str, where: str | None, expected: object, got: object) -> RpcError:
    """Return the error for a batch whose number another batch of its source has."""
    return RpcError(
        Code.REJECTED,
        "number_used",
        what,
        where=where,
        expected=expected,
        got=got,
        hint="a source never signs a number again; if its outbox was lost, replace the key",
    )
