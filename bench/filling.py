"""Filling a network's stores before its nodes start: the same chain in every home, real in all of its parts.

Here: blocks of signed batches, executed and certified with the keys of a quorum of the network's validators;
certificates that went through every step of their life; the index; and copying one home's rows to the others. Not here:
running the network (`bench.growth`). A filled store verifies as one that was ordered does: a node that starts on it
serves proofs of all of it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from hashlib import sha256
from pathlib import Path

from bench.network import BenchNet
from bench.workload import BATCH_EVENTS, EVENT_LIFETIME_MS, BenchSource, statement_event
from chainnode.home import Home
from chainnode.identity import NodeKeys, load_node_keys, read_key
from chainnode.node_index import INDEX_WRITE_BUFFER_BYTES
from ledger.approvals import signed_by
from ledger.batches import ParsedBatch, parse_batch, verify_batch
from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import (
    Accept,
    Apply,
    Body,
    Evidence,
    Grant,
    Product,
    Restore,
    Review,
    SiteCheck,
    Suspend,
    TypeTest,
)
from ledger.certificate_records import NO_HISTORY, History
from ledger.certificates import CERTIFICATE_KINDS
from ledger.chain import Chain
from ledger.checkpoint_rows import checkpoint_rows
from ledger.events import Event
from ledger.genesis_json import genesis_from_json
from ledger.index_places import Index
from ledger.indexes import IndexFollower
from ledger.reader import LedgerReader
from ledger.receipts import assemble_checkpoint
from ledger.store_leveldb import LevelDBStore
from primitives.block import Block
from primitives.encoding import encode
from primitives.ids import Epoch, Height, View
from primitives.keys import SigningKey
from primitives.notes import Checkpoint, cosign_statement
from primitives.validators import ValidatorSet
from primitives.votes import COMMIT, QuorumCertificate, vote_statement

BLOCK_BATCHES = 8
BLOCK_MS = 250
AHEAD = 8
CERTIFICATES_A_BATCH = 500
CERTIFICATE_STEPS = 6
CHANGES_A_BLOCK = 1_000
CATEGORY = 6
QUIET_S = 3.0
QUIET_TIMEOUT_S = 600.0
POLL_S = 0.25
SAID_EVERY_BLOCKS = 50

Say = Callable[[str], None]
Step = tuple[str, str, Body]
"""Who submits an event: the member and the name of its key file."""


def founded_before_ms(events: int, certificates: int, changes: int = 0) -> int:
    """Return how long ago a chain must have begun for this many events, at BLOCK_MS a block."""
    blocks = events // (BATCH_EVENTS * BLOCK_BATCHES) + certificates // CERTIFICATES_A_BATCH + 2
    return (blocks + len(change_blocks(certificates, changes))) * BLOCK_MS + 2_000


def change_blocks(certificates: int, changes: int) -> list[tuple[int, range]]:
    """Return the blocks of so many changes of certificates: in which round, and of which certificates.

    Each round goes through all certificates in their order: even rounds suspend, odd ones restore.
    """
    found: list[tuple[int, range]] = []
    for first in range(0, changes, certificates):
        stop = min(certificates, changes - first)
        starts = range(0, stop, CHANGES_A_BLOCK)
        found += [(first // certificates, range(at, min(at + CHANGES_A_BLOCK, stop))) for at in starts]
    return found


def change_of(index: int, round_number: int) -> Body:
    """Return what changes a certificate in a round, by the body that is responsible for it."""
    number = number_of(index)
    if round_number % 2 == 0:
        return Suspend(number, f"inspection_failed_{round_number}", None, None)
    digest = sha256(f"corrected {round_number} {index}".encode()).digest()
    return Restore(number, (Evidence(EvidenceKind.CORRECTIVE_ACTION, digest, "cb", 1_000),))


def number_of(index: int) -> str:
    """Return the number of a certificate."""
    return f"FTP-2026-{CATEGORY:02d}-{index:06d}"


def steps_of(index: int) -> list[Step]:
    """Return the events that lead to a certificate, in order."""
    application = f"bank-a.{index:06d}"

    def piece(kind: EvidenceKind) -> tuple[Evidence, ...]:
        return (Evidence(kind, sha256(f"{kind} {index}".encode()).digest(), "cb", 1_000),)

    product = Product(f"Counter terminal {index}", "CT-1", "2.0")
    return [
        ("bank-a", "bank", Apply(application, "Bank A", product, CATEGORY, piece(EvidenceKind.TECHNICAL_DOCUMENTS))),
        ("cb", "reviewer", Accept(application)),
        ("lab", "laboratory", TypeTest(application, True, piece(EvidenceKind.TYPE_EXAMINATION))),
        ("ins", "inspector", SiteCheck(application, True, piece(EvidenceKind.SITE_CHECK))),
        ("cb", "reviewer", Review(application, piece(EvidenceKind.REVIEW_REPORT))),
        ("cb", "decider", Grant(application, number_of(index), None, None, 36)),
    ]


def event_of(member: str, body: Body, now_ms: int) -> bytes:
    """Return the bytes of the event with this body; its reference follows from the body."""
    spec, schema = next(
        (spec, n) for spec in CERTIFICATE_KINDS for n, kind in spec.schemas.items() if kind is type(body)
    )
    data = encode(body)
    reference = sha256(spec.name.encode() + data).digest()[:16]
    return encode(Event(member, reference, now_ms + EVENT_LIFETIME_MS, spec.kind, schema, data))


def statements(member: str, seed: bytes, now_ms: int) -> list[bytes]:
    """Return the payment statements of one batch; runs in the helper process."""
    return [statement_event(member, b"%b %d" % (seed, index), now_ms) for index in range(BATCH_EVENTS)]


def made_ahead(sources: Sequence[BenchSource], count: int) -> Iterator[tuple[BenchSource, list[bytes]]]:
    """Yield `count` batches of statements, each with its source in turn; a process beside this one makes them."""
    salt = os.urandom(16)
    now_ms = time.time_ns() // 1_000_000
    with ProcessPoolExecutor(1) as helper:
        waiting: deque[tuple[BenchSource, Future[list[bytes]]]] = deque()
        for number in range(count):
            source = sources[number % len(sources)]
            waiting.append((source, helper.submit(statements, source.member, b"%b %d" % (salt, number), now_ms)))
            if len(waiting) > AHEAD:
                first, made = waiting.popleft()
                yield first, made.result()
        for first, made in waiting:
            yield first, made.result()


class Filler:
    """The chain of a network whose nodes do not run, written into the first node's home."""

    def __init__(self, net: BenchNet, say: Say, *, quiet_s: float = QUIET_S) -> None:
        """Open the first node's store; `quiet_s` is how long no table must come or go before a store counts as done."""
        self._say, self._quiet_s = say, quiet_s
        nodes = net.load().nodes
        self._keys = {node.name: load_node_keys(Home(Path(node.home))) for node in nodes}
        self.home = Home(Path(nodes[0].home))
        self.genesis = genesis_from_json(self.home.genesis.read_bytes())
        self._store = LevelDBStore(ledger_of(self.home))
        self._chain = Chain(self._store, self.genesis)
        self._own = {
            f"{member}-{role}": BenchSource(
                self.genesis.chain_id, member, read_key(net.keys / f"{member}-{role}.key").signing_key
            )
            for member, role, _ in steps_of(0)
        }
        self._officers = [read_key(path, "officer").signing_key for path in net.officers_of("cb")]

    def fill(self, sources: Sequence[BenchSource], events: int, certificates: int, changes: int = 0) -> None:
        """Commit the certificates with changes of them, then statements in whole batches, then a cosigned checkpoint.

        Then bring the index up.
        """
        for start in range(0, certificates, CERTIFICATES_A_BATCH):
            self._commit(self._certificate_batches(start, min(start + CERTIFICATES_A_BATCH, certificates)))
            if self._chain.height % SAID_EVERY_BLOCKS == 0:
                self._say(f"granted {start + CERTIFICATES_A_BATCH:,} certificates")
        for round_number, indexes in change_blocks(certificates, changes):
            self._commit([self._change_batch(round_number, indexes)])
            if self._chain.height % SAID_EVERY_BLOCKS == 0:
                self._say(f"changed {round_number * certificates + indexes.stop:,} certificates")
        began, group = time.perf_counter(), list[ParsedBatch]()
        batches = events // BATCH_EVENTS
        for number, (source, made) in enumerate(made_ahead(sources, batches), 1):
            group.append(_parsed(source.signed(made)))
            if len(group) == BLOCK_BATCHES or number == batches:
                self._commit(group)
                group = []
                if self._chain.height % SAID_EVERY_BLOCKS == 0:
                    rate = number * BATCH_EVENTS / (time.perf_counter() - began)
                    self._say(f"filled {number * BATCH_EVENTS:,} events, {rate:,.0f} a second")
        self._checkpoint()
        self._index()

    def close(self) -> None:
        """Wait until LevelDB has merged what it has to, and release the store."""
        wait_until_quiet(self._store.path, self._quiet_s)
        self._store.close()

    def reader(self) -> LedgerReader:
        """Return a reader of the filled store."""
        return LedgerReader(self._store, self.genesis)

    def _certificate_batches(self, start: int, stop: int) -> list[ParsedBatch]:
        now_ms = time.time_ns() // 1_000_000
        cases = [steps_of(index) for index in range(start, stop)]
        histories = [NO_HISTORY] * len(cases)
        found = []
        for step in range(CERTIFICATE_STEPS):
            member, role, _ = cases[0][step]
            bodies = [self._approved(case[step][2], history) for case, history in zip(cases, histories, strict=True)]
            batch = _parsed(self._own[f"{member}-{role}"].signed([event_of(member, body, now_ms) for body in bodies]))
            pairs = zip(histories, batch.ids, strict=True)
            histories = [history.after(identity, now_ms) for history, identity in pairs]
            found.append(batch)
        return found

    def _approved(self, body: Body, history: History) -> Body:
        """Return a body as the certification body's officers sign it, where it is one that they sign."""
        return signed_by(self.genesis.chain_id, body, history, self._officers) if isinstance(body, Grant) else body

    def _change_batch(self, round_number: int, indexes: range) -> ParsedBatch:
        now_ms = time.time_ns() // 1_000_000
        events = [event_of("cb", change_of(index, round_number), now_ms) for index in indexes]
        return _parsed(self._own["cb-reviewer"].signed(events))

    def _commit(self, batches: Sequence[ParsedBatch]) -> None:
        chain, store = self._chain, self._store
        for batch in batches:
            store.write(chain.add_batch(batch), sync=False)
        time_ms = chain.header.time_ms + BLOCK_MS
        block = chain.build(chain.tip_hash, time_ms=time_ms, epoch=Epoch(0), proposer=0, batches=batches)
        result = chain.commit(block.header.hash(), self._certificate(block))
        assert all(outcome.applied for outcome in result.outcomes), "what fills a store is all applied"
        store.write(result.puts, sync=False)
        chain.written(chain.ticket)

    def _certificate(self, block: Block) -> QuorumCertificate:
        """Return the commit certificate of the first q validators."""
        height, block_hash = Height(block.header.height), block.header.hash()
        message = vote_statement(COMMIT, self.genesis.chain_id, Epoch(0), View(0), height, block_hash)
        votes = tuple((index, _vote_key(keys).sign(message)) for index, keys in self._quorum())
        return QuorumCertificate(COMMIT, Epoch(0), View(0), height, block_hash, votes)

    def _quorum(self) -> list[tuple[int, NodeKeys]]:
        validators = self._validators()
        return [(index, self._keys[validators.validators[index].name]) for index in range(validators.quorum)]

    def _validators(self) -> ValidatorSet:
        return self._chain.validators_after(self._chain.tip_hash)

    def _checkpoint(self) -> None:
        chain, name = self._chain, self._validators().validators[0].name
        text = Checkpoint(self.genesis.origin, chain.log_size, chain.log_root).text()
        time_s = chain.header.time_ms // 1_000 + 1
        cosigned = [
            (index, time_s, _cosign_key(keys).sign(cosign_statement(text, time_s))) for index, keys in self._quorum()
        ]
        note = assemble_checkpoint(
            self.genesis, self._validators(), name, self._keys[name].log, chain.log_size, chain.log_root, cosigned
        )
        self._store.write(checkpoint_rows(self._store, note), sync=True)

    def _index(self) -> None:
        store = LevelDBStore(self.home.index, write_buffer_bytes=INDEX_WRITE_BUFFER_BYTES)
        follower = IndexFollower(Index(store), self.reader())
        while follower.follow():
            pass
        follower.close()
        wait_until_quiet(store.path, self._quiet_s)
        store.close()


def _parsed(raw: bytes) -> ParsedBatch:
    batch = parse_batch(raw)
    verify_batch(batch)
    return batch


def _vote_key(keys: NodeKeys) -> SigningKey:
    assert keys.vote is not None, "every home of the network is a validator's"
    return keys.vote


def _cosign_key(keys: NodeKeys) -> SigningKey:
    assert keys.cosign is not None, "every home of the network is a validator's"
    return keys.cosign


def wait_until_quiet(path: Path, quiet_s: float) -> None:
    """Return when no table of a store has come or gone for so long: LevelDB's merging is done."""
    began = since = time.monotonic()
    before = set[str]()
    while time.monotonic() - since < quiet_s and time.monotonic() - began < QUIET_TIMEOUT_S:
        now = {str(file) for file in path.rglob("*.ldb")}
        if now != before:
            before, since = now, time.monotonic()
        time.sleep(POLL_S)


def copy_rows(source: Home, target: Home) -> None:
    """Give another home the same ledger and index. Tables never change once written, so links do for them."""
    for path, onto in ((ledger_of(source), ledger_of(target)), (source.index, target.index)):
        shutil.rmtree(onto, ignore_errors=True)
        for file in path.rglob("*"):
            copy = onto / file.relative_to(path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".ldb":
                os.link(file, copy)
            elif file.is_file() and file.name != "LOCK":
                shutil.copy2(file, copy)


def ledger_of(home: Home) -> Path:
    """Return where a home's ledger lies."""
    return home.resolve("data/ledger.ldb")


def forget_pages(directory: Path) -> None:
    """Let the kernel drop what it has in memory of the files below a directory, which nobody has open."""
    for file in directory.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
