"""The node: performs the core's effects on disk, network and clients, with one TaskGroup that owns every task.

Here: opening a home, the turn of the loop (write and sync, then send, then answer), the clock, stopping. Not here: any
rule; those are in `chainnode.core` and below.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import structlog

from chainnode.archive import size_on_disk
from chainnode.archive_files import open_archives
from chainnode.archive_keeper import ArchiveKeeper
from chainnode.audit_log import AuditLog
from chainnode.client_certificates import ClientCertificates
from chainnode.config import NodeConfig
from chainnode.core import FREE_KINDS, WIRE_KINDS, NodeCore, Notice, Outgoing, RivalsFound, Turn
from chainnode.founding import read_genesis
from chainnode.gateway import NodeGateway
from chainnode.home import Home
from chainnode.identity import KeySigner, NodeKeys, load_node_keys
from chainnode.links import Links, links_of, ties_to_leavers, usable
from chainnode.logs import Position, on_loop_fault
from chainnode.message_reader import MessageReader
from chainnode.metrics import NodeMetrics
from chainnode.node_index import NodeIndex
from chainnode.node_metrics import render_metrics
from chainnode.node_settings import network_config, ops_settings, parameters, rpc_settings
from chainnode.opening import lost_blocks, must_follow, reached_record, told
from chainnode.own_keys import KeyFault, key_faults
from chainnode.readiness import Readiness
from chainnode.reconciling import follow_reconciliation
from chainnode.renewal import count_deadlines_of, follow_certificate, watch_endings
from chainnode.snapshot_restore import check_finished
from chainnode.snapshot_service import SnapshotService
from chainnode.source_outbox import SourceOutbox, missing_outbox
from chainnode.tokens import TokenBook
from chainnode.version import VERSION
from chainnode.views import LiveNodeView
from chainnode.wal import WriteAheadLog, was_lost
from chainnode.wal_format import LogDamaged
from chainnode.witness_client import Witnesses
from consensus.effects import CheckpointStable, EvidenceFound, Refused, ViewEntered
from consensus.ordering import PROPOSAL_TIME
from consensus.records import decode_record
from ledger.archive_store import ArchivedStore, Pruned
from ledger.chain import Chain, CommitResult
from ledger.committed_state import CommittedState
from ledger.members import read_members, read_validators_of
from ledger.pairing_keys import announced_in
from ledger.pool import Pool
from ledger.receipts import assemble_checkpoint
from ledger.store import Put
from ledger.store_leveldb import LevelDBStore
from p2p.peers import PeerNetwork
from primitives.errors import ChainError, StorageError, UsageError
from primitives.ids import TimeMs
from rpc.feed import Feed
from rpc.ops import OpsServer
from rpc.ports import Services
from rpc.server import RpcServer

TICK_S: Final = 0.02
ROWS_HELD_S: Final = 0.05
INDEX_BLOCKS_A_STEP: Final = 8
INDEX_GATHER_S: Final = 0.03
ARCHIVE_RETRY_S: Final = 30.0

log = structlog.get_logger("node")


def wall_clock_ms() -> TimeMs:
    """Return milliseconds since the epoch."""
    return TimeMs(time.time_ns() // 1_000_000)


class Node:
    """One running node of a home; `run` returns when it was asked to stop, or raises what ended it."""

    def __init__(self, home: Home, config: NodeConfig, position: Position) -> None:
        self.home = home
        self.config = config
        self._position = position
        self._stopping = asyncio.Event()
        self._dirty = asyncio.Event()
        self._fault: Exception | None = None
        self._delivered: float | None = None
        self._held_rows: list[Put] = []
        self._held_since: float | None = None
        self._io = ThreadPoolExecutor(1, "disk")
        self._outbox_io = ThreadPoolExecutor(1, "outbox")
        self._index_io = ThreadPoolExecutor(1, "index")
        self._unindexed = asyncio.Event()
        self._open()

    # --- opening

    def _open(self) -> None:
        home, config = self.home, self.config
        self.genesis = read_genesis(home.genesis)
        self._keys = load_node_keys(home)
        self.metrics = NodeMetrics(
            node=config.node.name, member=config.node.member, version=VERSION, start_time_s=time.time()
        )
        self._position.node = config.node.name
        lost_log = self._keys.vote is not None and was_lost(home.wal, home.learner_wal)
        check_finished(home.resolve(config.ledger.path))
        database = LevelDBStore(
            home.resolve(config.ledger.path),
            cache_bytes=config.ledger.cache_bytes,
            write_buffer_bytes=config.ledger.write_buffer_bytes,
        )
        archives = open_archives(home, config.ledger, self.genesis.chain_id, _tell_archive_fault)
        self._store = ArchivedStore(database, archives)
        chain = Chain(self._store, self.genesis)
        try:
            self.wal = WriteAheadLog(home.learner_wal if lost_log else home.wal, chain.chain_id)
        except LogDamaged as error:
            raise told(error) from None
        if lost_log:
            log.error("voting_key_without_its_log", hint="this node follows without a vote until it is re-admitted")
        if self.wal.torn_bytes:
            log.warning("torn_tail_cut", bytes=self.wal.torn_bytes)
        self._index = NodeIndex(home.index, self._store, self.genesis)
        self.reader, self.index = self._index.reader, self._index.follower
        self.core = NodeCore(
            name=config.node.name,
            chain=chain,
            pool=Pool(),
            reader=self.reader,
            signer=KeySigner(self._keys),
            parameters=parameters(config, chain),
            learner=must_follow(has_vote_key=self._keys.vote is not None, log_begun=not lost_log),
            readiness=_readiness(self._keys),
        )
        self.outbox, fault = self._open_outbox()
        self.gateway = NodeGateway(
            core=self.core,
            reader=self.reader,
            member=config.node.member,
            outbox=self.outbox,
            settings=config.gateway,
            executor=self._outbox_io,
            metrics=self.metrics,
            now_ms=wall_clock_ms,
            wake=self._dirty.set,
            fault=fault,
        )
        self.links = self._links_now()
        self._linked_for = self._link_terms()
        network = network_config(home, config, self.genesis, self.links)
        self.network = PeerNetwork(network, self, random=random.SystemRandom(), metrics=self.metrics)
        self.archive = ArchiveKeeper(
            store=database,
            reader=self.reader,
            archives=archives,
            index=self.index,
            settings=config.ledger,
            now_ms=wall_clock_ms,
            compact=database.compact,
            measure=lambda: size_on_disk(database.path),
        )
        self.witnesses = Witnesses(config.witnesses, self.reader, self._keep_rows, self.metrics)
        self.snapshots = SnapshotService(self.reader, home.snapshots)
        self.tokens = TokenBook(home.tokens, wall_clock_ms)
        self.audit = AuditLog(home.audit_log)
        self.clients: ClientCertificates | None = None
        self.view = LiveNodeView(self)
        self.feed = Feed(int(self.core.chain.height))
        self.feed.reconciled_to(self._index.reconciliation.height or 0)
        announced = partial(announced_in, CommittedState(self._store))
        self.messages = MessageReader(home, config.node.member, announced, wall_clock_ms)
        self._told_keys: list[KeyFault] = []
        self._tell_keys()

    def _open_outbox(self) -> tuple[SourceOutbox | None, ChainError | None]:
        """Return the outbox of the gateway's key, or why there is none: no reason for a validator not to start."""
        if self._keys.source is None:
            return None, None
        chain_id, member = self.genesis.chain_id, self.config.node.member
        if not self.home.outbox.exists():
            return None, missing_outbox(self.home.outbox)
        try:
            return SourceOutbox(self.home.outbox, chain_id=chain_id, member=member, key=self._keys.source), None
        except ChainError as error:
            return None, error

    # --- running

    async def run(self) -> None:
        """Serve until `stop`; a fault of our own, or a halt, is raised."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(on_loop_fault)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        self._restore()
        self._dirty.set()
        servers = self._servers()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.network.run(), name="p2p")
                await self.network.wait_ready()
                for server in servers:
                    await server.start()
                reconciling = follow_reconciliation(self._index_io, self._index, self.metrics, self.feed)
                owned = [
                    tasks.create_task(self._flush_forever(), name="flush"),
                    tasks.create_task(self._tick_forever(), name="tick"),
                    tasks.create_task(self.gateway.run(), name="gateway"),
                    tasks.create_task(self._index_forever(), name="index"),
                    tasks.create_task(self.gateway.fill_known(self._index_io), name="known"),
                    tasks.create_task(follow_certificate(self.home, self._take_links), name="certificate"),
                    tasks.create_task(
                        count_deadlines_of(self._index_io, self._index.answers.ends, self.metrics), name="ends"
                    ),
                    tasks.create_task(reconciling, name="reconciliation"),
                    tasks.create_task(watch_endings(self.view.endings), name="alarms"),
                    tasks.create_task(self.archive.run(), name="archive"),
                    tasks.create_task(self.witnesses.run(), name="witnesses"),
                    tasks.create_task(self.audit.run(), name="audit"),
                ]
                log.info(
                    "started", rpc=self.config.rpc.listen, p2p=self.config.p2p.listen, height=self.core.chain.height
                )
                await self._stopping.wait()
                for server in servers:
                    await server.stop()
                await self.network.stop()
                await self.messages.stop()
                for task in owned:
                    task.cancel()
        finally:
            self._close()
        if self._fault is not None:
            raise self._fault

    def _restore(self) -> None:
        """Take back what the write-ahead log says, and say so where the ledger lacks what it or the index had."""
        records = self.wal.replay()
        self.core.restore(records, wall_clock_ms(), where=str(self.wal.path))
        held, where = map(decode_record, records), str(self.home.resolve(self.config.ledger.path))
        lost = lost_blocks(self.reader, held, indexed=self._index.height_found, where=where)
        if lost is not None:
            log.error("ledger_lost_blocks", error=str(lost), hint="they are fetched again; no vote before")

    def stop(self) -> None:
        """Ask the node to end in order."""
        self._stopping.set()

    def _fail(self, error: Exception) -> None:
        if self._fault is None:
            self._fault = error
        self._stopping.set()

    def _servers(self) -> list[RpcServer | OpsServer]:
        from rpc.methods.catalogue import METHODS

        rpc = self.config.rpc
        settings = rpc_settings(self.home, self.config)
        if settings.tls is not None and rpc.client_certificates != "none":
            chain_id, member = self.genesis.chain_id, self.config.node.member
            self.clients = ClientCertificates(settings.tls, chain_id=chain_id, member=member)
            self._tell_clients()
        services = Services(
            self.reader,
            self.gateway,
            self.view,
            wall_clock_ms,
            wait_timeout_ms=rpc.wait_timeout_ms,
            index=self._index.answers,
            archive=self.archive,
            snapshots=self.snapshots,
            activity=self.metrics.activity,
            tokens=self.tokens,
            feed=self.feed,
            audit=self.audit,
            certificates=self.clients,
            messages=self.messages,
        )
        return [
            RpcServer(settings, services, METHODS, self.metrics),
            OpsServer(ops_settings(self.home, self.config), self.view, partial(render_metrics, self)),
        ]

    def _close(self) -> None:
        self.messages.close()
        self._io.shutdown(wait=True)
        self._outbox_io.shutdown(wait=True)
        self._index_io.shutdown(wait=True)
        self.archive.close()
        self.snapshots.close()
        self.tokens.save()
        self.audit.close()
        self._index.close(whole=self._fault is None)
        if self._fault is None:
            self._write_held()
            self._note_reached()
        self.wal.close()
        if self.outbox is not None:
            self.outbox.close()
        self._store.close()

    def _write_held(self) -> None:
        if self._held_rows:
            try:
                self._store.write(self._held_rows, sync=True)
            except ChainError as error:  # batches that wait: their sources and other nodes have them
                log.warning("waiting_batches_not_written", error=str(error))

    def _note_reached(self) -> None:
        try:
            record = reached_record(self.reader)
            self.wal.append([] if record is None else [record])
            self.wal.sync()
        except ChainError as error:  # nothing rests on it: votes and rows are on the disk
            log.warning("reached_not_noted", error=str(error))

    # --- the turn of the loop

    async def _tick_forever(self) -> None:
        while True:
            self.core.on_tick(wall_clock_ms())
            self._dirty.set()
            slept = time.monotonic()
            await asyncio.sleep(TICK_S)
            self.metrics.loop_lag.observe(max(0.0, time.monotonic() - slept - TICK_S))

    async def _flush_forever(self) -> None:
        """Write and sync what a turn produced, then send, then answer; inputs go on being taken meanwhile.

        Rows of batches that only wait are held back until something else is written, for `ROWS_HELD_S` at most: what
        a block needs is written with the vote for it.
        """
        loop = asyncio.get_running_loop()
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            turn = self.core.take_turn()
            ticket = self.core.chain.ticket
            self.gateway.writing(turn.commits)
            free = [message for message in turn.outgoing if message.kind in FREE_KINDS]
            self._send(free)
            self._held_rows += turn.rows
            try:
                if turn.records or (turn.rows and not turn.patient) or self._rows_due(loop.time()):
                    rows, self._held_rows, self._held_since = self._held_rows, [], None
                    rewrite = self._rewrite_due()
                    await loop.run_in_executor(self._io, self._write, rows, turn.records, rewrite)
                    self.core.chain.written(ticket)
            except (StorageError, OSError) as error:
                self._fail(error)
                return
            self._send([message for message in turn.outgoing if message.kind not in FREE_KINDS])
            if not self._held_rows:
                self.gateway.synced(ticket)
                self.feed.written()
            self._answer(turn)
            if turn.halted is not None:
                log.critical("halted", reason=turn.halted)
                self._fail(UsageError("the node halted", got=turn.halted, hint="safety comes before life: see the log"))
                return

    async def _index_forever(self) -> None:
        """Let the index follow the log, off the path of commits; after a restart it goes on where it was."""
        loop = asyncio.get_running_loop()
        self._unindexed.set()
        while True:
            await self._unindexed.wait()
            self._unindexed.clear()
            await asyncio.sleep(INDEX_GATHER_S)  # several small blocks cost little more than one
            try:
                while await loop.run_in_executor(self._index_io, self.index.follow, INDEX_BLOCKS_A_STEP):
                    pass
            except Pruned as error:  # an index that is built anew reads all bodies; a validator votes without it
                log.error("index_waits_for_the_archive", error=str(error))
                loop.call_later(ARCHIVE_RETRY_S, self._unindexed.set)  # it may be put back while no block is committed

    def _rows_due(self, now: float) -> bool:
        """Say whether rows that were held back must be written now: somebody waits for it, or they waited enough."""
        if not self._held_rows:
            return False
        if self._held_since is None:
            self._held_since = now
        return self.gateway.awaits_sync or now >= self._held_since + ROWS_HELD_S

    def _rewrite_due(self) -> list[bytes] | None:
        if self.wal.size_bytes < self.config.consensus.wal_bytes_max:
            return None
        return self.core.live_records()

    def _write(self, rows: list[Put], records: list[bytes], rewrite: list[bytes] | None) -> None:
        """On the disk thread: rows first, so that no record is dropped before the block that settles it is there."""
        started = time.perf_counter()
        if rows:
            self._store.write(rows, sync=True)
            self.metrics.observe_fsync("ledger", time.perf_counter() - started)
        if rewrite is not None:
            self.wal.rewrite(rewrite)
        elif records:
            started = time.perf_counter()
            self.wal.append(records)
            self.wal.sync()
            self.metrics.observe_fsync("wal", time.perf_counter() - started)

    def _send(self, messages: list[Outgoing]) -> None:
        for message in messages:
            try:
                if message.peer is None:
                    copies = self.network.broadcast(message.kind, message.payload)
                else:
                    copies = int(self.network.send(message.peer, message.kind, message.payload))
            except UsageError as error:  # one message that is too large must not cost all that follow
                self.metrics.count_dropped("unsendable")
                log.error("unsendable", kind=WIRE_KINDS[message.kind][0], error=str(error))
            else:
                self.metrics.count_messages("out", WIRE_KINDS[message.kind][0], copies, len(message.payload))

    def _answer(self, turn: Turn) -> None:
        self.gateway.ordered(turn.ordered)
        for result in turn.commits:
            self._position.height = result.header.height
            self._count(result)
            self.gateway.committed(result)
            rejected = frozenset(index for index, _ in result.rejected)
            self.index.offer(result.block_hash, result.event_ids, result.batches, rejected)
        if turn.commits:
            self.feed.committed(int(turn.commits[-1].header.height))
            self._unindexed.set()
            if self._told_keys:
                self._tell_keys()  # a block may have registered or declared them
        for submission in turn.submissions:
            self.gateway.say(submission)
        for notice in turn.notices:
            self._note(notice)
        self._follow_links()

    # --- whom this node links with

    def _link_terms(self) -> tuple[int, bool, int]:
        """Return what the links depend on and may change from turn to turn."""
        state, chain = self.core.replica.state, self.core.chain
        return state.epoch, ties_to_leavers(state), chain.rights_height(chain.tip_hash)

    def _links_now(self) -> Links:
        chain = self.core.chain
        links, unusable = usable(
            links_of(chain.state_after(chain.tip_hash), self.core.replica.state, self.config.p2p.peers)
        )
        for member in unusable:
            log.error("ca_unusable", member=member)
        return links

    def key_faults(self) -> list[KeyFault]:
        """Return which of this node's key files are not those that the chain knows under its name, as of now."""
        state, chain = self.core.replica.state, self.core.chain
        ledger = chain.state_after(chain.tip_hash)
        own, node = self._keys.registrable(), self.config.node
        return key_faults(node.name, node.member, own, state.validators, ledger, state.tip.time_ms)

    def _tell_keys(self) -> None:
        """Log what is wrong with this node's keys where that changed: nobody takes what they sign."""
        faults = self.key_faults()
        if faults == self._told_keys:
            return
        self._told_keys = faults
        for fault in faults:
            log.error("key_not_registered", file=fault.file, expected=fault.expected, got=fault.got, hint=fault.hint)
        if not faults:
            log.info("keys_registered")

    def _follow_links(self) -> None:
        """Take over the nodes and CAs of a new epoch or of other members, as far as they can be used."""
        terms = self._link_terms()
        if terms == self._linked_for:
            return
        self._linked_for = terms
        self._tell_keys()
        try:
            links = self._take_links()
        except ChainError as error:
            log.error("links_not_taken_over", epoch=terms[0], error=str(error))
            return
        log.info("links", epoch=terms[0], peers=sorted(peer.name for peer in links.peers))

    def _take_links(self) -> Links:
        """Take over what the chain says of links, and this node's own certificate as it lies there."""
        links = self._links_now()
        self.network.set_members(links.member_cas, links.peers)
        self.links = links
        self._tell_clients()
        return links

    def _tell_clients(self) -> None:
        """Have client certificates judged by the members as they are now."""
        if self.clients is not None:
            chain = self.core.chain
            members = read_members(chain.state_after(chain.tip_hash))
            self.clients.update(self.links.member_cas, members, wall_clock_ms())

    def _count(self, result: CommitResult) -> None:
        rejected = len(result.rejected)
        delivered = time.monotonic()
        if self._delivered is not None:
            self.metrics.block_interval.observe(delivered - self._delivered)
        self._delivered = delivered
        self.metrics.blocks.inc()
        self.metrics.batches.inc(len(result.batches))
        self.metrics.events.labels("applied").inc(len(result.outcomes) - rejected)
        self.metrics.events.labels("rejected").inc(rejected)

    def _note(self, notice: Notice) -> None:
        match notice:
            case ViewEntered(epoch, view, active, why):
                self._position.view = view
                if not active:
                    self.metrics.view_changes.labels("timer").inc()
                log.info("view_entered" if active else "view_change", epoch=epoch, to_view=view, why=why)
            case EvidenceFound(evidence):
                # Of the set of its own epoch: the one of now may be smaller, or name another at this index.
                accused = self.core.replica.state.set_of(evidence.first.epoch)
                name = "other" if accused is None else accused.validators[evidence.first.validator].name
                self.metrics.evidence.labels(name).inc()
                log.error("evidence", validator=name, height_accused=evidence.first.height)
            case RivalsFound(source, member, number):
                self.metrics.rivals.inc()
                log.error("evidence", source=source.hex(), member=member, number=number)
            case Refused(reason, detail):
                self.metrics.count_dropped(reason)
                self.metrics.proposal_times_refused.inc(reason == PROPOSAL_TIME)
                log.warning("refused", reason=reason, detail=detail)
            case CheckpointStable():
                self._keep_checkpoint(notice)

    def _keep_checkpoint(self, stable: CheckpointStable) -> None:
        """Assemble the signed note of a stable checkpoint and keep it; its rows join the next write."""
        state, chain = self.core.replica.state, self.core.chain
        # The replica may be epochs further by now: a write takes its time, and one answer may hold several barriers.
        validators = read_validators_of(chain.state_after(chain.tip_hash), stable.epoch)
        assert validators is not None, "the state keeps each epoch's set"
        mine = state.index_in(validators) is not None  # a node that waits with new keys has another's name, as it were
        note = assemble_checkpoint(
            self.genesis,
            validators,
            self.config.node.name if mine else None,
            self._keys.log,
            stable.size,
            stable.root,
            stable.cosignatures,
        )
        self.core.keep_checkpoint(self.witnesses.stable(note))
        self.feed.checkpoint_comes()
        self.metrics.checkpoint_size.set(stable.size)
        self._dirty.set()

    def _keep_rows(self, rows: list[Put]) -> None:
        self.core.keep_rows(rows)
        self._dirty.set()

    # --- p2p.config.Handler

    def on_message(self, peer: str, kind: int, payload: bytes) -> None:
        """Take a peer's message."""
        self.metrics.count_messages("in", WIRE_KINDS[kind][0], 1, len(payload))
        self.core.on_message(peer, kind, payload, wall_clock_ms())
        self._dirty.set()

    def on_connected(self, peer: str) -> None:
        """A peer is linked: say where we stand."""
        self.core.connected(peer)
        self._dirty.set()

    def on_disconnected(self, peer: str, reason: str) -> None:
        """A peer is gone."""
        del reason  # the network logs and counts it
        self.core.disconnected(peer, wall_clock_ms())


def _tell_archive_fault(fault: str) -> None:
    log.error("archive_fault", error=fault)


def _readiness(keys: NodeKeys) -> Readiness | None:
    return None if keys.vote is None else Readiness(keys.vote.public, keys.vote.sign)


async def run_node(home: Home, config: NodeConfig, position: Position) -> None:
    """Run a node until it is asked to stop."""
    home.make_data()
    with home.lock():
        node = Node(home, config, position)
        await node.run()
