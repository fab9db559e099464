"""The virtual disk of a node: what survives a crash is what was synced, in the order in which the node syncs.

A turn is written in two steps, rows and then records (as `chainnode.node` does); a crash may fall before, between, in
the midst of the log's frame or after them. Rows are written whole or not at all, as LevelDB's batches are. The log is
kept in its real bytes and read back by the node's own code, which cuts a torn tail and refuses damage; whether a node
without its log may vote is the node's own decision too (`chainnode.opening`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from hashlib import sha256
from typing import Final

import msgspec

from chainnode.core import Turn
from chainnode.opening import must_follow
from chainnode.wal_format import (
    HEADER_BYTES,
    SECTOR_BYTES,
    encode_body,
    encode_frame,
    encode_header,
    encode_log,
    is_begun,
    scan,
)
from ledger.store import MemoryStore, Put
from primitives.encoding import encode
from primitives.errors import StorageError
from primitives.ids import ZERO_HASH, Hash

PER_MILLE: Final = 1_000


class Written(IntEnum):
    """How much of a turn reached the disk before a crash; TORN is its rows and a part of its frame in the log."""

    NOTHING = 0
    ROWS = 1
    TORN = 2
    ALL = 3


class DiskStore:
    """A store whose rows can be damaged: reading one fails, as LevelDB's checksums make it, until it is rewritten."""

    def __init__(self) -> None:
        self._rows = MemoryStore()
        self._damaged: set[bytes] = set()

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None. `StorageError` where the row is damaged."""
        if key in self._damaged:
            raise StorageError("the store is damaged", got=key)
        return self._rows.get(key)

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows of a range. `StorageError` where one of them is damaged."""
        if self._damaged and any(start <= key < stop for key in self._damaged):
            raise StorageError("the store is damaged", got=start)
        return self._rows.iterate(start, stop, reverse)

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        """Write all rows."""
        puts = list(puts)
        if self._damaged:
            self._damaged.difference_update(key for key, _ in puts)
        self._rows.write(puts, sync=sync)

    def close(self) -> None:
        """Keep everything, as a disk does."""

    def rows(self) -> dict[bytes, bytes]:
        """Return a copy of all rows, the damaged ones too."""
        return self._rows.rows()

    @property
    def damaged(self) -> bool:
        """Whether a row would not read back."""
        return bool(self._damaged)

    def damage(self, share: int) -> bytes | None:
        """Damage the row at `share` thousandths of the keys in order, and return its key."""
        keys = sorted(self._rows.rows())
        if not keys:
            return None
        key = keys[len(keys) * share // PER_MILLE]
        self._damaged.add(key)
        return key

    def damage_row(self, key: bytes) -> bool:
        """Damage one row; say whether it is there."""
        held = self._rows.get(key) is not None
        if held:
            self._damaged.add(key)
        return held


class LogImage:
    """A write-ahead log as the bytes of its file."""

    def __init__(self, chain_id: Hash) -> None:
        self._chain_id = chain_id
        self.data = bytearray(encode_header(chain_id))
        self.count = 0

    def append(self, records: Sequence[bytes]) -> None:
        """Sync one frame."""
        self.data += encode_frame(self._chain_id, len(self.data), encode_body(records))
        self.count += len(records)

    def tear(self, records: Sequence[bytes], share: int) -> None:
        """Leave `share` thousandths of a frame; by turns, the rest of the file's last sectors is missing or zero."""
        offset = len(self.data)
        frame = encode_frame(self._chain_id, offset, encode_body(records))
        cut = max(1, (len(frame) - 1) * share // PER_MILLE)
        boundary = ((offset + cut) // SECTOR_BYTES + 1) * SECTOR_BYTES - offset
        if share % 2 and boundary < len(frame):
            self.data += frame[:boundary] + bytes(len(frame) - boundary)
        else:
            self.data += frame[:cut]

    def replace(self, records: Sequence[bytes]) -> None:
        """Replace the whole log."""
        self.data = bytearray(b"".join(encode_log(self._chain_id, records)))
        self.count = len(records)

    def lose(self) -> None:
        """Lose the file."""
        self.data, self.count = bytearray(), 0

    def flip(self, share: int, bit: int) -> None:
        """Flip a bit of the byte at `share` thousandths of the log."""
        if self.data:
            self.data[len(self.data) * share // PER_MILLE] ^= 1 << bit

    @property
    def begun(self) -> bool:
        """Whether the log was ever made."""
        return is_begun(bytes(self.data[:HEADER_BYTES]))

    def open(self) -> tuple[list[bytes], int]:
        """Return the records and how many torn bytes were cut. `LogDamaged` where it does not read back."""
        found = scan(bytes(self.data), self._chain_id)
        del self.data[found.sound_bytes :]
        if not self.data:
            self.data += encode_header(self._chain_id)
        self.count = len(found.records)
        return found.records, found.torn_bytes


class Disk:
    """One node's store and write-ahead logs: the voter's, and the learner's that stands in for a lost one.

    `promised` holds the payloads for which a record was ever synced: a signed message may leave only if it is there.
    """

    def __init__(self, chain_id: Hash = ZERO_HASH) -> None:
        self._chain_id = chain_id
        self.store = DiskStore()
        self.voter_log = LogImage(chain_id)
        self.learner_log = LogImage(chain_id)
        self.promised: set[bytes] = set()
        self.full: tuple[Written, int] | None = None
        """What a failing write leaves, and the share of a torn frame; None while there is space."""

    @property
    def log(self) -> LogImage:
        """The log that the node would open now."""
        return self.voter_log if self.voter_log.data else self.learner_log

    @property
    def records(self) -> list[bytes]:
        """The records in the log, by the node's own reading."""
        return scan(bytes(self.log.data), self._chain_id).records

    def open(self, *, votes: bool) -> tuple[list[bytes], bool, int]:
        """Return the log's records, whether the node may only follow, and how many torn bytes were cut.

        Raises `StorageError` where the disk is full, or the log damaged.
        """
        if self.full is not None:
            raise StorageError("the store cannot be opened", got="no space left on the disk")
        learner = must_follow(has_vote_key=votes, log_begun=self.voter_log.begun)
        records, torn_bytes = self.log.open()
        return records, learner, torn_bytes

    def write(self, turn: Turn, how_much: Written, rewrite: list[bytes] | None = None, share: int = 500) -> None:
        """Sync a turn, or the part of it that a crash let through; `rewrite` replaces the whole log."""
        if how_much >= Written.ROWS and turn.rows:
            self.store.write(turn.rows, sync=True)
        if how_much is Written.TORN and rewrite is None and turn.records:
            self.log.tear(turn.records, share)  # a torn replacement is a file of its own: the old log stays
        if how_much >= Written.ALL:
            self.promised.update(map(_payload, turn.records))
            if rewrite is not None:
                self.log.replace(rewrite)
            elif turn.records:
                self.log.append(turn.records)

    def lose_ledger(self) -> None:
        """Lose the store."""
        self.store = DiskStore()

    def lose_log(self) -> None:
        """Lose the write-ahead log, and what stood in for one that was lost before."""
        self.voter_log.lose()
        self.learner_log = LogImage(self._chain_id)

    def digest(self) -> str:
        """Return a hash of everything on the disk."""
        found = sha256()
        for key, value in sorted(self.store.rows().items()):
            found.update(encode((key, value)))
        found.update(bytes(self.voter_log.data))
        found.update(bytes(self.learner_log.data))
        return found.hexdigest()


class _Framed(msgspec.Struct, array_like=True):
    """A record as `consensus.records` frames it."""

    kind: int
    body: bytes


class _First(msgspec.Struct, array_like=True):
    """The first field of any record: the message that it stands for."""

    message: msgspec.Raw


_framed: Final = msgspec.msgpack.Decoder(_Framed)
_first: Final = msgspec.msgpack.Decoder(_First)


def _payload(data: bytes) -> bytes:
    """Return the bytes of the message for which a record stands: every kind of record has it as its first field."""
    return bytes(_first.decode(_framed.decode(data).body).message)
