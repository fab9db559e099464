"""Four validators in one process: real signatures, real stores and logs, and no clock, socket or thread of their own.

Here: the work of a node that nothing but its code decides: taking a batch, ordering, votes, executing, rows, the
write-ahead log, the index. Not here: TLS, HTTP and JSON, which a localnet measures (`bench.network`). Time is virtual,
so that the same batches always make the same blocks; writes are counted where they would be synced, and not synced,
since what the disk does meanwhile is not the code's. What differs from run to run is the processor alone.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.workload import BenchSource
from chainnode.core import NodeCore, Turn
from chainnode.node_index import INDEX_WRITE_BUFFER_BYTES
from chainnode.wal import WriteAheadLog
from consensus.state import Parameters
from ledger.batches import ParsedBatch, parse_batch, verify_batch
from ledger.chain import Chain
from ledger.genesis import Genesis
from ledger.index_places import Index
from ledger.indexes import IndexFollower
from ledger.pool import Pool
from ledger.reader import LedgerReader
from ledger.store_leveldb import LevelDBStore
from primitives.ids import TimeMs
from sim.workload import bank_of, genesis_of, key_of

VALIDATORS = 4
STEP_MS = 5
STEPS_MAX = 2_000
"""Steps of virtual time within which what was submitted must be committed everywhere."""

Verify = Callable[[ParsedBatch], None]


class BankSigner:
    """A bank's voting and cosigning keys."""

    def __init__(self, bank: str) -> None:
        self._vote, self._cosign = key_of(bank, "vote"), key_of(bank, "cosign")
        self.vote_key = self._vote.public

    def sign_vote(self, statement: bytes) -> bytes:
        """Return the voting key's signature."""
        return self._vote.sign(statement)

    def cosign(self, statement: bytes) -> bytes:
        """Return the cosigning key's signature."""
        return self._cosign.sign(statement)


class UnsyncedFile:
    """A file of the write-ahead log that is written and never waited for."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def write(self, data: bytes) -> None:
        """Append."""
        self._file.write(data)

    def datasync(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass(frozen=True)
class Message:
    """A message on its way."""

    sender: str
    kind: int
    payload: bytes


class Member:
    """One validator: its core, its stores, its log, and what came for it."""

    def __init__(self, directory: Path, genesis: Genesis, name: str, now_ms: TimeMs, verify: Verify) -> None:
        self.name = name
        self.inbox: deque[Message] = deque()
        self._store = LevelDBStore(directory / "ledger.ldb")
        self._index_store = LevelDBStore(directory / "index.ldb", write_buffer_bytes=INDEX_WRITE_BUFFER_BYTES)
        chain, reader = Chain(self._store, genesis), LedgerReader(self._store, genesis)
        self._wal = WriteAheadLog(directory / "consensus.wal", genesis.chain_id, opener=UnsyncedFile)
        self.synced_writes = 0
        self._index = IndexFollower(Index(self._index_store), reader)
        self.core = NodeCore(
            name=name,
            chain=chain,
            pool=Pool(),
            reader=reader,
            signer=BankSigner(name),
            parameters=Parameters(),
            check_batch=verify,
        )
        self.core.restore(self._wal.replay(), now_ms)

    def turn(self, now_ms: TimeMs) -> Turn:
        """Take what came, and do what follows from it: write and sync, then index."""
        while self.inbox:
            message = self.inbox.popleft()
            self.core.on_message(message.sender, message.kind, message.payload, now_ms)
        turn = self.core.take_turn()
        ticket = self.core.chain.ticket
        if turn.rows:
            self._store.write(turn.rows, sync=False)
        if turn.records:
            self._wal.append(turn.records)
            self._wal.sync()
        self.synced_writes += bool(turn.rows) + bool(turn.records)
        self.core.chain.written(ticket)
        assert turn.halted is None, turn.halted
        if turn.commits:
            while self._index.follow():
                pass
        return turn

    def close(self) -> None:
        """Close stores and log."""
        self._wal.close()
        self._index_store.close()
        self._store.close()


class Quorum:
    """The four; `events` and `blocks` count what each of them has committed. `verify` is how they verify a batch."""

    def __init__(self, directory: Path, verify: Verify = verify_batch) -> None:
        directory.mkdir()
        self._verify = verify
        self._now_ms = TimeMs(time.time_ns() // 1_000_000_000 * 1_000)  # checkpoints fall into slots of a second
        self.genesis = genesis_of(VALIDATORS)
        names = [validator.name for validator in self.genesis.validators]
        self.members = {
            name: Member(_folder(directory, name), self.genesis, name, self._now_ms, verify) for name in names
        }
        self.events = self.blocks = 0
        for member in self.members.values():
            for other in names:
                if other != member.name:
                    member.core.connected(other)
        self._round()

    def order(self, batches: Sequence[bytes]) -> None:
        """Submit batches, one to each bank in turn, and go on until all validators have committed all of them."""
        parsed = [(bank_of(number % VALIDATORS), self._taken(raw)) for number, raw in enumerate(batches)]
        wanted = self.events + sum(len(batch.ids) for _, batch in parsed)
        for name, batch in parsed:
            self.members[name].core.submit_batch(batch, self._now_ms)
        for _ in range(STEPS_MAX):
            while self._round():
                pass
            if self.events == wanted and len({member.core.chain.tip_hash for member in self.members.values()}) == 1:
                return
            self._now_ms = TimeMs(self._now_ms + STEP_MS)
            for member in self.members.values():
                member.core.on_tick(self._now_ms)
        raise RuntimeError(f"{self.events} of {wanted} events committed")

    def _taken(self, raw: bytes) -> ParsedBatch:
        """Return a batch as a gateway takes it: parsed, and its signature verified."""
        batch = parse_batch(raw)
        self._verify(batch)
        return batch

    def _round(self) -> bool:
        """Let each take one turn; return whether a message is on its way."""
        first = next(iter(self.members))
        for name, member in self.members.items():
            turn = member.turn(self._now_ms)
            if name == first:
                self.blocks += len(turn.commits)
                self.events += sum(len(result.outcomes) for result in turn.commits)
            for message in turn.outgoing:
                for other in (message.peer,) if message.peer is not None else self.members:
                    if other != name:
                        self.members[other].inbox.append(Message(name, message.kind, message.payload))
        return any(member.inbox for member in self.members.values())

    @property
    def synced_writes(self) -> int:
        """Writes of all four that a node waits for."""
        return sum(member.synced_writes for member in self.members.values())

    def close(self) -> None:
        """Close all stores and logs."""
        for member in self.members.values():
            member.close()


def _folder(directory: Path, name: str) -> Path:
    (directory / name).mkdir()
    return directory / name


def sources() -> list[BenchSource]:
    """Return a source of each bank; its statements are the same in every process."""
    chain_id = genesis_of(VALIDATORS).chain_id
    return [
        BenchSource(chain_id, bank_of(index), key_of(bank_of(index), "source"), index) for index in range(VALIDATORS)
    ]
