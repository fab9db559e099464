"""A ledger whose bodies are moved to an archive, and a disk that forgets what was not synced."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path

from chainnode import archive
from chainnode.archive import Mover, size_on_disk
from chainnode.archive_files import ArchiveDirectory, Archives
from ledger import archive_writer as segments
from ledger.archive_store import ArchivedStore
from ledger.checkpoint_rows import checkpoint_rows
from ledger.genesis import Genesis, validator_set
from ledger.reader import LedgerReader
from ledger.store import MemoryStore, Put
from ledger.store_leveldb import LevelDBStore
from ledger.trust_policy import assemble_checkpoint
from primitives.notes import Checkpoint, cosign_statement
from tests.ledger.chain_fixtures import NAMES, Ledger, genesis, key_of

BY = "operator"


class PowerCut(Exception):
    """The machine stops here."""


class Plug:
    """Counts the operations of a machine, and cuts its power at one of them: before it happens, or right after."""

    def __init__(self, at: int | None = None, *, after: bool = False) -> None:
        self.at, self.after = at, after
        self.count = 0

    def guard(self, act: Callable[[], None]) -> None:
        """Perform an operation unless the power goes before it."""
        number, self.count = self.count, self.count + 1
        if number == self.at and not self.after:
            raise PowerCut
        act()
        if number == self.at:
            raise PowerCut


class ForgetfulDisk:
    """Files of which only what was synced is there after `lose_power`; a renamed file has only its synced bytes."""

    def __init__(self, plug: Plug | None = None) -> None:
        self.plug = plug or Plug()
        self.files: dict[str, bytes] = {}
        self.synced: dict[str, bytes] = {}
        self.changes = 0

    def lose_power(self) -> None:
        """Forget what was not synced."""
        self.files = dict(self.synced)
        self.changes += 1
        self.plug = Plug()

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return bytes of a file."""
        if name not in self.files:
            raise FileNotFoundError(name)
        return self.files[name][offset : offset + size]

    def stamp(self, name: str) -> object:
        """Return what changes when a file does."""
        return (self.changes, hash(self.files[name])) if name in self.files else None

    def names(self) -> list[str]:
        """Return the names of all files."""
        return sorted(self.files)

    def begin(self, name: str) -> None:
        """Make an empty file."""
        self.plug.guard(lambda: self.files.__setitem__(name, b""))

    def append(self, name: str, data: bytes) -> None:
        """Write at the end of a file."""
        self.plug.guard(lambda: self.files.__setitem__(name, self.files[name] + data))

    def sync(self, name: str) -> None:
        """Keep a file's bytes."""
        self.plug.guard(lambda: self.synced.__setitem__(name, self.files[name]))

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; of bytes that were not synced nothing is kept."""

        def act() -> None:
            self.files[new] = self.files.pop(old)
            self.synced[new] = self.synced.pop(old, b"")

        self.plug.guard(act)

    def replace(self, name: str, data: bytes) -> None:
        """Write a whole file."""

        def act() -> None:
            self.files[name] = self.synced[name] = data

        self.plug.guard(act)

    def lock(self) -> AbstractContextManager[None]:
        """Keep nobody out."""
        return nullcontext()


class PluggedStore(MemoryStore):
    """A store in memory whose synced writes are operations of the machine, and whose others a power cut forgets."""

    def __init__(self, plug: Plug | None = None) -> None:
        super().__init__()
        self.plug = plug or Plug()
        self.kept: dict[bytes, bytes | None] = {}

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        """Write all rows, as one operation."""
        listed = list(puts)
        write = super().write
        self.plug.guard(lambda: write(listed, sync=sync))
        if not sync:
            raise AssertionError("moving writes nothing unsynced")


def cosigned(ledger: Ledger) -> str:
    """Store the stable checkpoint of the tip, signed by three of the four validators."""
    chain = ledger.chain
    text = Checkpoint(ledger.genesis.origin, chain.log_size, chain.log_root).text()
    time_s = chain.header.time_ms // 1000 + 1
    signed = [(i, time_s, key_of(n, "cosign").sign(cosign_statement(text, time_s))) for i, n in enumerate(NAMES[:3])]
    note = assemble_checkpoint(
        ledger.genesis, validator_set(ledger.genesis), "node-bank-b", key_of("bank-b", "log"), chain.log_size,
        chain.log_root, signed,
    )  # fmt: skip
    ledger.store.write(checkpoint_rows(ledger.store, note), sync=True)
    return note


def history(blocks: int = 12, notes: int = 20) -> Ledger:
    """Return a ledger of some blocks of notes and changes of the state, with a checkpoint of its tip."""
    ledger = Ledger(MemoryStore())
    a, b = ledger.banks["bank-a"], ledger.banks["bank-b"]
    for i in range(blocks):
        ledger.extend(a.notes(notes), b.sets(**{f"k{i}": "v", f"k{i - 1}": ""}))
    cosigned(ledger)
    return ledger


def mover_of(path: Path) -> tuple[LevelDBStore, Mover]:
    """Open the LevelDB store and the archive of a directory, and return what moves between them."""
    store, directory = LevelDBStore(path / "db"), ArchiveDirectory.at(path / "archive", genesis().chain_id)
    reader = LedgerReader(ArchivedStore(store, Archives([directory])), genesis())
    return store, Mover(
        store, reader, directory, now_ms=lambda: 0, compact=store.compact, measure=lambda: size_on_disk(store.path)
    )


def move_and_die(path: Path, upto: int, steps: int) -> None:
    """Move bodies in small pieces, and end this process without a word after so many steps."""
    segments.SEGMENT_BLOCKS_MAX = 3  # type: ignore[misc]  # this process is the test's alone
    archive.ROWS_A_WRITE = 2  # type: ignore[misc]  # the same
    _, mover = mover_of(path)
    for _ in islice(mover.run(upto, BY), steps):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


class Machine:
    """A store and an archive, which may be read together, moved, and lose power."""

    def __init__(self, ledger: Ledger, *, plug: Plug | None = None) -> None:
        assert isinstance(ledger.store, MemoryStore)
        self.genesis: Genesis = ledger.genesis
        self.store = PluggedStore()
        self.store.write(ledger.store.rows().items(), sync=True)
        self.disk = ForgetfulDisk()
        self.plug_in(plug or Plug())

    def plug_in(self, plug: Plug) -> None:
        """Count operations from here on."""
        self.store.plug = self.disk.plug = plug

    @property
    def directory(self) -> ArchiveDirectory:
        """The archive, opened anew."""
        return ArchiveDirectory(self.disk, self.genesis.chain_id, where="archive")

    @property
    def reader(self) -> LedgerReader:
        """A reader that falls back to the archive, opened anew."""
        return LedgerReader(self.archived, self.genesis)

    @property
    def archived(self) -> ArchivedStore:
        """The store with the archive behind it."""
        return ArchivedStore(self.store, Archives([self.directory]))

    def move(self, upto: int, by: str = BY) -> Mover:
        """Move all bodies up to a height."""
        mover = self.mover()
        for _ in mover.run(upto, by):
            pass
        return mover

    def mover(self) -> Mover:
        """Return what moves."""
        return Mover(self.store, self.reader, self.directory, now_ms=lambda: 1_800_000_000_000)

    def segments(self) -> Iterator[str]:
        """Yield the names of segments that are listed."""
        yield from (entry.name for entry in self.directory.manifest().segments)


if __name__ == "__main__":
    move_and_die(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
