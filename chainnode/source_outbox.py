"""A source's outbox: what its key has signed, kept so that it never signs a number twice.

Here: numbering, the signed batches that are not committed yet, and the file that keeps them (in the format of
`chainnode.wal`). Not here: sending (the node's gateway, the command line). Source: architecture §4 (Batch): a source
syncs the whole signed batch, re-sends those bytes, and never signs that number again; its key lives in one process, and
after loss or restore from a backup it is replaced.

Records of the file: `M` and the canonical bytes of a `Mark`, or `B` and a signed batch. The state is what they say in
order; the file begins with a mark whenever it was rewritten.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from chainnode.wal import WriteAheadLog
from ledger.batch_headers import BatchHeader
from ledger.batches import BATCH_SIZE_MAX, Batch, ParsedBatch, ReadEvents, build_batch, seal_batch
from primitives.encoding import Record, decode, encode
from primitives.errors import StorageError, UsageError
from primitives.ids import ZERO_HASH, Hash, MemberId, SourceKey, TimeMs
from primitives.keys import SigningKey

SETTLED_BYTES_MAX = 4 * 1024 * 1024
_MARK, _BATCH = b"M", b"B"


class Mark(Record):
    """All numbers below `number` are settled; `previous` is the hash of the batch before it."""

    number: int
    previous: bytes


class OutboxLost(UsageError):
    """The chain knows batches of this key that its outbox does not."""

    reason = "outbox_lost"


def missing_outbox(path: Path) -> OutboxLost:
    """Return the error of a key whose outbox is not there."""
    return OutboxLost(
        "the source key's outbox is missing",
        where=str(path),
        hint="nobody knows which numbers the key has signed: replace keys/source.key and register the new one",
    )


class SourceRemoved(UsageError):
    """The members took this key's right to submit away, or its member left: nothing of it is ordered any more."""

    reason = "source_removed"


def parse_record(record: bytes, *, where: str) -> Mark | bytes:
    """Return a record of an outbox's file: a mark, or the bytes of a signed batch. StorageError on another kind."""
    kind, data = record[:1], record[1:]
    if kind not in (_MARK, _BATCH):
        raise StorageError("unknown record in an outbox", where=where, got=kind)
    return decode(Mark, data, size_max=128) if kind == _MARK else data


class SourceOutbox:
    """The outbox of one key on one chain, owned by one process (whoever opens it holds a lock).

    `sign` gives a number to a batch and gathers it for `sync`; only what was synced may be sent. `settle` says what
    the chain has, as often as it is known. Only `sync` touches the file: it may run on another thread than the rest,
    one call at a time.
    """

    def __init__(self, path: Path, *, chain_id: Hash, member: MemberId | str, key: SigningKey) -> None:
        """Open or create the file. Raises as `WriteAheadLog` does, `StorageError` where records do not follow."""
        self._chain_id = chain_id
        self._member = str(member)
        self._key = key
        self._log = WriteAheadLog(path, chain_id)
        self._lock = threading.Lock()  # over what is gathered and pending, never held during a write
        self._gathered: list[bytes] = []
        self._settled_bytes = 0
        self.created = self._log.created
        self.next_number = 0
        self.previous: Hash = ZERO_HASH
        self._pending: dict[int, tuple[Hash, bytes]] = {}
        for record in self._log.replay():
            self._replay(record)

    def __repr__(self) -> str:
        return f"SourceOutbox(member={self._member!r}, next_number={self.next_number}, pending={len(self._pending)})"

    @property
    def source(self) -> SourceKey:
        """The public key whose outbox this is."""
        return SourceKey(self._key.public)

    @property
    def pending(self) -> list[bytes]:
        """The signed batches that the chain is not known to have, in order of their numbers."""
        return [raw for _, raw in self._pending.values()]

    @property
    def pending_by_hash(self) -> list[tuple[Hash, bytes]]:
        """The same with their hashes, which name them without being parsed."""
        return list(self._pending.values())

    def sign(self, events: Sequence[bytes], *, time_ms: TimeMs | int) -> bytes:
        """Return the signed batch of these events under the next number; `sync` before sending it."""
        raw = build_batch(
            events,
            chain_id=self._chain_id,
            member=self._member,
            key=self._key,
            number=self.next_number,
            previous=self.previous,
            time_ms=TimeMs(time_ms),
        )
        with self._lock:
            self._add(raw)
            self._gathered.append(_BATCH + raw)
        return raw

    def sign_read(self, events: Sequence[bytes], read: ReadEvents, *, time_ms: TimeMs | int) -> ParsedBatch:
        """Return the signed batch of events that were read just now, as `sign` does, without reading them again."""
        batch = seal_batch(
            events,
            read,
            chain_id=self._chain_id,
            member=self._member,
            key=self._key,
            number=self.next_number,
            previous=self.previous,
            time_ms=TimeMs(time_ms),
        )
        with self._lock:
            self._follow(batch.header, batch.hash, batch.raw)
            self._gathered.append(_BATCH + batch.raw)
        return batch

    def sync(self) -> None:
        """Return when everything signed before the call is on the disk; rewrites a file that has grown."""
        with self._lock:
            gathered, self._gathered = self._gathered, []
            grown = self._settled_bytes > SETTLED_BYTES_MAX
            compact = self._compacted() if grown else []
            self._settled_bytes = 0 if grown else self._settled_bytes
        if grown:
            self._log.rewrite(compact)
        else:
            self._log.append(gathered)
            self._log.sync()

    def settle(self, next_number: int, previous: bytes) -> None:
        """Take what the chain says: the number that it expects next of this key, and the hash of the batch before.

        Forgets the batches below, in the file at a later `sync`. Raises `OutboxLost` where the chain has a batch of
        this key that is not ours.
        """
        ours = self._hash_before(next_number)
        if next_number > self.next_number or (ours is not None and ours != previous):
            raise OutboxLost(
                "this key has signed batches that its outbox does not hold",
                expected=f"batch {self.next_number} next",
                got=f"batch {next_number} next on the chain",
                hint="the outbox was lost or the key is used elsewhere: replace the key",
            )
        with self._lock:
            for number in [number for number in self._pending if number < next_number]:
                self._settled_bytes += len(self._pending.pop(number)[1])

    def close(self) -> None:
        """Release the file."""
        self._log.close()

    def _hash_before(self, number: int) -> bytes | None:
        """The hash of our batch `number - 1`, where it is still known."""
        if number == 0:
            return ZERO_HASH
        if number == self.next_number:
            return self.previous
        found = self._pending.get(number - 1)
        return found[0] if found else None

    def _replay(self, record: bytes) -> None:
        found = parse_record(record, where=str(self._log.path))
        if isinstance(found, Mark):
            self.next_number, self.previous = found.number, Hash(found.previous)
            self._pending.clear()
        else:
            self._add(found)

    def _add(self, raw: bytes) -> None:
        header = decode(Batch, raw, size_max=BATCH_SIZE_MAX).header
        self._follow(header, header.hash(), raw)

    def _follow(self, header: BatchHeader, batch_hash: Hash, raw: bytes) -> None:
        if (header.number, header.previous, header.source) != (self.next_number, self.previous, self._key.public):
            raise StorageError(
                "a batch in the outbox does not follow the one before",
                where=str(self._log.path),
                expected=f"batch {self.next_number} of {self._key.public.hex()}",
                got=f"batch {header.number} of {header.source.hex()}",
            )
        self._pending[header.number] = (batch_hash, raw)
        self.next_number, self.previous = header.number + 1, batch_hash

    def _compacted(self) -> list[bytes]:
        """Return the records of a new file: the mark below the oldest pending batch, and all that is pending."""
        if self._pending:
            number, (_, oldest) = next(iter(self._pending.items()))
            mark = Mark(number, decode(Batch, oldest, size_max=BATCH_SIZE_MAX).header.previous)
        else:
            mark = Mark(self.next_number, self.previous)
        return [_MARK + encode(mark), *(_BATCH + raw for raw in self.pending)]
