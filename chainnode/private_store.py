"""What a bank keeps of the payments that it stated: private values and messages, encrypted, off the chain, erasable.

Each payload is encrypted under a random key of its own (SecretBox) and lies under its content address, the SHA-256 of
the ciphertext. The keys lie apart, in one file of fixed slots that are overwritten in place: whoever erases an event
zeroes its slot, and neither a database page nor a journal has ever held what was in it. Here: the store. Not here: what
a payload says (`chainnode.payloads`), disclosure and erasure as events (`chainnode.disclosing`, `chainnode.erasing`).
Source: domain §4; decision record 19.

Order of writing: keys, synced; then ciphertexts and rows in one transaction, synced; then the caller sends the event. A
crash leaves slots that no row names, which are given out again, and never a row without its key.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from nacl.bindings import crypto_secretbox, crypto_secretbox_NONCEBYTES, crypto_secretbox_open
from nacl.exceptions import CryptoError

from chainnode.files import check_private, locked, make_private_directory, sync_directory
from primitives.errors import InputError, StorageError, UsageError

KEY_BYTES: Final = 32
SLOT_BYTES: Final = 2 * KEY_BYTES
NO_KEYS: Final = bytes(SLOT_BYTES)
STATEMENTS_MAX: Final = 50_000_000
BYTES_MAX: Final = 256 * 1024**3
PAYLOAD_BYTES_MAX: Final = 64 * 1024
MESSAGE_BYTES_MAX: Final = 256 * 1024**2
SCHEMA_VERSION: Final = 2
IDS_AT_ONCE: Final = 1_000
BUSY_S: Final = 60.0
_HEADER: Final = b"chainnode private store keys 1\n".ljust(SLOT_BYTES, b"\0")
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS contents (address BLOB PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, slot INTEGER NOT NULL, address BLOB);
CREATE TABLE IF NOT EXISTS statements (
  reference BLOB PRIMARY KEY, event_id BLOB NOT NULL UNIQUE, slot INTEGER NOT NULL, address BLOB, message INTEGER,
  erased_ms INTEGER) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS statements_by_message ON statements (message);
CREATE TABLE IF NOT EXISTS bodies (
  reference BLOB PRIMARY KEY, schema INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
"""


class PrivateStoreDamaged(StorageError):
    """The store does not hold what it wrote."""

    reason = "private_store_damaged"


class Erased(InputError):
    """The content of this payment was erased."""

    reason = "payment_erased"


class NotKept(UsageError):
    """Nothing is kept here of this event."""

    reason = "payment_not_kept"


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one statement: `payload` is encrypted under a key of its own, `message` once for its statements.

    `message` is a place in the messages handed over with it, or None. `body` is the event's, in the form `schema`: it
    holds what the chain says anyway.
    """

    reference: bytes
    event_id: bytes
    event_key: bytes = field(repr=False)
    payload: bytes = field(repr=False)
    message: int | None = None
    schema: int = 1
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class First:
    """The event that a reference first stood for; `body` None where a release kept it that kept no bodies."""

    event_id: bytes
    schema: int
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Content:
    """What was kept of one event: its key, its payload with key and ciphertext, and of how many events its message is.

    `message` is the source message in clear, or None where it was not kept or went when another event of it was erased.
    """

    event_key: bytes = field(repr=False)
    payload: bytes = field(repr=False)
    payload_key: bytes = field(repr=False)
    sealed: bytes = field(repr=False)
    message: bytes | None = field(repr=False)
    message_events: int


class PrivateStore:
    """The store of one directory, held by one process at a time; made where there is none."""

    def __init__(self, directory: Path, *, statements_max: int = STATEMENTS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._directory = directory
        self._statements_max = statements_max
        self._bytes_max = bytes_max
        make_private_directory(directory)
        with _stored(directory), ExitStack() as opening:
            opening.enter_context(locked(directory / "lock", "private store", wait=True))
            self._keys = os.open(directory / "keys.bin", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            opening.callback(os.close, self._keys)
            self._check_keys()
            self._database = self._opened(directory / "payloads.db")
            opening.callback(self._database.close)
            sync_directory(directory)
            self._held = opening.pop_all()

    def _check_keys(self) -> None:
        check_private(self._directory / "keys.bin")
        head = os.pread(self._keys, SLOT_BYTES, 0)
        if not head:
            os.pwrite(self._keys, _HEADER, 0)
            os.fsync(self._keys)
        elif head != _HEADER:
            raise PrivateStoreDamaged("not a file of keys", where=str(self._directory / "keys.bin"))

    def _opened(self, path: Path) -> sqlite3.Connection:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # its journal gets the same mode
        check_private(path)
        database = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        database.executescript(
            "PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = EXTRA; PRAGMA secure_delete = ON;"
            "PRAGMA temp_store = MEMORY;"
        )
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if not 0 <= version <= SCHEMA_VERSION:
            raise PrivateStoreDamaged("private store of another release", expected=SCHEMA_VERSION, got=version)
        if version < SCHEMA_VERSION:
            database.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        return database

    def close(self) -> None:
        """Let go of the files."""
        self._held.close()

    def __enter__(self) -> PrivateStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- writing

    def event_key(self, reference: bytes) -> bytes | None:
        """Return the event key that was drawn for a reference; None where none was. Raises `Erased`."""
        row = self._one("SELECT slot, erased_ms FROM statements WHERE reference = ?", reference)
        if row is None:
            return None
        if row[1] is not None:
            raise _erased(reference)
        return self._slot(row[0])[:KEY_BYTES]

    def first(self, reference: bytes) -> First | None:
        """Return the event that was kept under a reference, whether it was sent or not; None where none was."""
        with _stored(self._directory):
            row = self._one(
                "SELECT event_id, schema, body FROM statements LEFT JOIN bodies USING (reference) WHERE reference = ?",
                reference,
            )
            return None if row is None else First(row[0], row[1] or 0, row[2])

    def keep(self, statements: Sequence[Kept], messages: Sequence[bytes] = ()) -> int:
        """Keep statements that are new, and the messages of those; returns how many. On disk when it returns.

        Raises `StorageError` where the store is full or the disk refuses, `UsageError` for one that is too large or
        that another process stated with another key meanwhile.
        """
        with _stored(self._directory):
            return self._keep(statements, messages)

    def _keep(self, statements: Sequence[Kept], messages: Sequence[bytes]) -> int:
        fresh: dict[bytes, Kept] = {}
        partly: set[int | None] = set()
        for kept in statements:
            if len(kept.payload) > PAYLOAD_BYTES_MAX:
                raise UsageError("payload too large to keep", expected=f"at most {PAYLOAD_BYTES_MAX} bytes")
            known = self.event_key(kept.reference)
            earlier = fresh.get(kept.reference)
            if (known or (earlier.event_key if earlier else kept.event_key)) != kept.event_key:
                raise UsageError("stated with another event key meanwhile", hint="submit it again")
            if known is None:
                fresh[kept.reference] = kept
            else:
                partly.add(kept.message)  # kept a second time it would outlive the erasure of these
        if not fresh:
            return 0
        needed = sorted({kept.message for kept in fresh.values() if kept.message is not None} - partly)
        self._check_room(fresh.values(), [messages[place] for place in needed])
        first = self._next_slot()
        slots = bytearray()
        contents: list[tuple[bytes, bytes]] = []

        def seal(data: bytes, event_key: bytes) -> tuple[int, bytes]:
            key, nonce = os.urandom(KEY_BYTES), os.urandom(crypto_secretbox_NONCEBYTES)
            sealed = nonce + crypto_secretbox(data, nonce, key)
            slots.extend(event_key + key)
            contents.append((sha256(sealed).digest(), sealed))
            return first + len(slots) // SLOT_BYTES - 1, contents[-1][0]

        with self._transaction():
            places = {}
            for place in needed:
                slot, address = seal(messages[place], bytes(KEY_BYTES))
                made = self._database.execute("INSERT INTO messages (slot, address) VALUES (?, ?)", (slot, address))
                places[place] = made.lastrowid
            rows, bodies = [], []
            for kept in fresh.values():
                bodies.append((kept.reference, kept.schema, kept.body))
                slot, address = seal(kept.payload, kept.event_key)
                message = None if kept.message is None else places.get(kept.message)
                rows.append((kept.reference, kept.event_id, slot, address, message, None))
            # Keys first: a row must never name a key that is not on the disk.
            self._write_slots(first, slots)
            self._database.executemany("INSERT INTO contents VALUES (?, ?)", contents)
            self._database.executemany("INSERT INTO statements VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._database.executemany("INSERT OR REPLACE INTO bodies VALUES (?, ?, ?)", bodies)
        return len(fresh)

    def _check_room(self, fresh: Iterable[Kept], messages: Sequence[bytes]) -> None:
        fresh = list(fresh)
        if any(len(message) > MESSAGE_BYTES_MAX for message in messages):
            raise UsageError("message too large to keep", expected=f"at most {MESSAGE_BYTES_MAX} bytes")
        (pages,), (size,) = (self._one(f"PRAGMA {name}") or (0,) for name in ("page_count", "page_size"))
        size_after = pages * size + sum(len(kept.payload) + len(kept.body) for kept in fresh) + sum(map(len, messages))
        slots_after = self._next_slot() + len(fresh) + len(messages)
        if size_after > self._bytes_max or slots_after > self._statements_max:
            raise StorageError(
                "the private store is full",
                where=str(self._directory),
                expected=f"at most {self._statements_max} statements and {self._bytes_max} bytes",
                got=f"{slots_after} and {size_after}",
                hint="move the directory away, and keep it for disclosure and erasure: a new one is begun",
            )

    # --- reading

    def content(self, event_id: bytes) -> Content:
        """Return what was kept of an event. Raises `NotKept`, `Erased`, `PrivateStoreDamaged`."""
        with _stored(self._directory):
            slot, address, message = self._row(event_id)
            keys = self._slot(slot)
            event_key, payload_key = keys[:KEY_BYTES], keys[KEY_BYTES:]
            sealed = self._data(address)
            payload = self._opened_box(sealed, payload_key)
            kept, count = (None, 0) if message is None else self._message(message)
            return Content(event_key, payload, payload_key, sealed, kept, count)

    def payload(self, event_id: bytes) -> bytes:
        """Return what was kept of an event without its message. Raises as `content` does."""
        with _stored(self._directory):
            slot, address, _ = self._row(event_id)
            return self._opened_box(self._data(address), self._slot(slot)[KEY_BYTES:])

    def event_ids(self) -> Iterator[bytes]:
        """Yield the ids of what is kept and was not erased, ascending; what comes while this goes on may be missed."""
        after = b""
        while True:
            with _stored(self._directory):
                rows = self._database.execute(
                    "SELECT event_id FROM statements WHERE event_id > ? AND erased_ms IS NULL ORDER BY 1 LIMIT ?",
                    (after, IDS_AT_ONCE),
                ).fetchall()
            yield from (bytes(row[0]) for row in rows)
            if len(rows) < IDS_AT_ONCE:
                return
            after = rows[-1][0]

    def holds(self, event_id: bytes) -> bool:
        """Say whether something is kept of an event that was not erased."""
        row = self._one("SELECT erased_ms FROM statements WHERE event_id = ?", event_id)
        return row is not None and row[0] is None

    def __len__(self) -> int:
        row = self._one("SELECT count(*) FROM statements WHERE erased_ms IS NULL")
        return 0 if row is None else int(row[0])

    # --- erasing

    def erase(self, event_ids: Sequence[bytes], now_ms: int) -> int:
        """Overwrite the keys of events and of their messages, and drop the ciphertexts; returns how many were erased.

        An event that was erased before stays so. Nothing is erased where one of them is not kept here (`NotKept`). The
        message of an event goes with it, for all events of that message: it names what was to be erased.
        """
        with _stored(self._directory):
            rows = [(event_id, *self._row(event_id)) for event_id in event_ids if self.must_hold(event_id)]
            messages = {message for *_, message in rows if message is not None}
            kept = [
                (message, *found)
                for message in sorted(messages)
                if (found := self._one("SELECT slot, address FROM messages WHERE id = ? AND address NOT NULL", message))
            ]
            # Keys first: after a crash in between, the ciphertexts that are left open for nobody.
            for slot in [row[1] for row in rows] + [row[1] for row in kept]:
                os.pwrite(self._keys, NO_KEYS, _offset(slot))
            os.fsync(self._keys)
            with self._transaction():
                for event_id, _, address, _ in rows:
                    self._database.execute("DELETE FROM contents WHERE address = ?", (address,))
                    self._database.execute(
                        "DELETE FROM bodies WHERE reference = (SELECT reference FROM statements WHERE event_id = ?)",
                        (event_id,),
                    )
                    self._database.execute(
                        "UPDATE statements SET address = NULL, erased_ms = ? WHERE event_id = ?", (now_ms, event_id)
                    )
                for message, _, address in kept:
                    self._database.execute("DELETE FROM contents WHERE address = ?", (address,))
                    self._database.execute("UPDATE messages SET address = NULL WHERE id = ?", (message,))
            return len(rows)

    def must_hold(self, event_id: bytes) -> bool:
        """Say whether an event is still to be erased; raises `NotKept` where nothing of it ever was here."""
        row = self._one("SELECT erased_ms FROM statements WHERE event_id = ?", event_id)
        if row is None:
            raise _not_kept(event_id)
        return row[0] is None

    # --- rows and slots

    def _row(self, event_id: bytes) -> tuple[int, bytes, int | None]:
        row = self._one("SELECT slot, address, message, erased_ms FROM statements WHERE event_id = ?", event_id)
        if row is None:
            raise _not_kept(event_id)
        if row[3] is not None:
            raise _erased(event_id)
        return row[0], row[1], row[2]

    def _message(self, message: int) -> tuple[bytes | None, int]:
        found = self._one("SELECT slot, address FROM messages WHERE id = ?", message)
        counted = self._one("SELECT count(*) FROM statements WHERE message = ?", message)
        count = 0 if counted is None else int(counted[0])
        if found is None or found[1] is None:
            return None, count
        return self._opened_box(self._data(found[1]), self._slot(found[0])[KEY_BYTES:]), count

    def _data(self, address: bytes) -> bytes:
        row = self._one("SELECT data FROM contents WHERE address = ?", address)
        if row is None or sha256(row[0]).digest() != address:
            raise PrivateStoreDamaged("content does not lie under its address", where=str(self._directory))
        return bytes(row[0])

    def _opened_box(self, sealed: bytes, key: bytes) -> bytes:
        nonce = sealed[:crypto_secretbox_NONCEBYTES]
        try:
            return bytes(crypto_secretbox_open(sealed[crypto_secretbox_NONCEBYTES:], nonce, key))
        except (CryptoError, ValueError):
            raise PrivateStoreDamaged("a payload does not open with its key", where=str(self._directory)) from None

    def _slot(self, slot: int) -> bytes:
        data = os.pread(self._keys, SLOT_BYTES, _offset(slot))
        if len(data) != SLOT_BYTES or data == NO_KEYS:
            raise PrivateStoreDamaged(
                "a key is not where it was written",
                where=str(self._directory / "keys.bin"),
                hint="where an erasure was cut off, run it again: `chainnode payment erase`",
            )
        return data

    def _next_slot(self) -> int:
        row = self._one("SELECT max(m) FROM (SELECT max(slot) m FROM statements UNION SELECT max(slot) FROM messages)")
        return 0 if row is None or row[0] is None else int(row[0]) + 1

    def _write_slots(self, first: int, data: bytearray) -> None:
        written = os.pwrite(self._keys, data, _offset(first))
        if written != len(data):
            raise StorageError("the disk is full", where=str(self._directory / "keys.bin"))
        os.fsync(self._keys)

    def _one(self, statement: str, *values: object) -> tuple[Any, ...] | None:  # Any: what a column holds
        found: tuple[Any, ...] | None = self._database.execute(statement, values).fetchone()
        return found

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _offset(slot: int) -> int:
    return SLOT_BYTES * (slot + 1)


def _erased(identity: bytes) -> Erased:
    return Erased(
        "the content of this payment was erased here",
        got=identity.hex(),
        hint="its statement and the proofs of it stay; the content is gone for good",
    )


def _not_kept(event_id: bytes) -> NotKept:
    return NotKept("nothing is kept here of this event", got=event_id.hex(), hint="ask at the home that stated it")


@contextmanager
def _stored(directory: Path) -> Iterator[None]:
    """Turn what the database or the disk refuses into an error of ours."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise PrivateStoreDamaged("the private store cannot be used", where=str(directory), got=error) from None
    except OSError as error:
        raise StorageError(
            "the private store cannot be used", where=str(directory), got=error.strerror or error
        ) from None
