"""Putting a snapshot into a home, so that its node begins there and fetches what follows from its peers.

The rows go into a store beside the node's own, each verified before it is written; only when all of them are good does
the store get its name. So a home has a store that was verified to the last row, or none. Where the restoring ended in
between, the unfinished store lies there, and a start says what to do. Not here: the file (`chainnode.snapshot_file`).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chainnode.config import NodeConfig
from chainnode.files import sync_directory
from chainnode.founding import read_genesis
from chainnode.home import Home
from chainnode.identity import load_node_keys
from chainnode.snapshot_file import LastPart, SnapshotFile, Step
from ledger.chain import Chain
from ledger.checkpoint_rows import checkpoint_rows
from ledger.genesis import Genesis
from ledger.store import Put
from ledger.store_leveldb import LevelDBStore
from ledger.trust_policy import assemble_checkpoint
from primitives.errors import StorageError, UsageError
from primitives.keys import SigningKey

UNFINISHED: Final = ".restoring"
STALE: Final = ".before-restore"
"""Where an index goes that was built from another history than the snapshot's: it would list what the store lacks."""
ROWS_A_WRITE: Final = 4_096


class StoreNotEmpty(UsageError):
    """The home has a store already: a snapshot is put into none."""

    reason = "store_not_empty"


class RestoringUnfinished(StorageError):
    """A snapshot was being put into this home, and that did not come to its end."""

    reason = "restoring_unfinished"


@dataclass(frozen=True, slots=True)
class Restored:
    """Where a home begins now."""

    height: int
    snapshot: str
    store: Path


def unfinished_path(store: Path) -> Path:
    """Return where the store lies until all of it is good."""
    return store.with_name(store.name + UNFINISHED)


def check_finished(store: Path) -> None:
    """Raise RestoringUnfinished where a snapshot was being put into this home and there is no store yet."""
    unfinished = unfinished_path(store)
    if unfinished.is_dir() and not store.is_dir():
        raise RestoringUnfinished(
            "a snapshot was being put into this home and that did not end",
            where=str(unfinished),
            hint="run `chainnode snapshot restore FILE` again, or remove that directory to fetch the whole chain",
        )


def restore_home(home: Home, config: NodeConfig, path: Path, *, step: Step = lambda _done, _of: None) -> Restored:
    """Put a snapshot into a stopped node's home that has no store, after verifying all of it under its own genesis.

    Raises StoreNotEmpty, `HomeInUse`, SnapshotRefused, and RulesUnknown where the chain goes on by rules that this
    release lacks.
    """
    home.make_data()
    with home.lock(), SnapshotFile(path) as snapshot:
        store = home.resolve(config.ledger.path)
        _check_empty(store)
        unfinished = unfinished_path(store)
        if unfinished.exists():
            shutil.rmtree(unfinished)
        log_key = load_node_keys(home).log
        try:
            _fill(unfinished, snapshot, read_genesis(home.genesis), log_key, step)
            _sync_all(unfinished)
            _put_index_away(home.index)
            if store.is_dir():
                store.rmdir()
            os.rename(unfinished, store)
            sync_directory(store.parent)
        except BaseException as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            if isinstance(error, OSError):
                raise StorageError("store cannot be written", where=str(store), got=error.strerror or error) from None
            raise
        return Restored(int(snapshot.manifest.height), snapshot.id.hex(), store)


def _check_empty(store: Path) -> None:
    if store.exists() and (not store.is_dir() or any(store.iterdir())):
        raise StoreNotEmpty(
            "this home has a store already",
            where=str(store),
            expected="none",
            hint="move the directory away, then restore again",
        )


def _put_index_away(index: Path) -> None:
    """Let the node build its indexes anew, before the store has its name: no crash leaves the old ones beside it."""
    if index.exists():
        aside = index.with_name(index.name + STALE)
        if aside.exists():
            shutil.rmtree(aside)
        os.rename(index, aside)
        sync_directory(index.parent)


def _fill(path: Path, snapshot: SnapshotFile, genesis: Genesis, log_key: SigningKey, step: Step) -> None:
    """Write the rows into a new store, the tip's last, and see that a chain opens on it."""
    store = LevelDBStore(path)
    try:
        waiting: list[Put] = []
        for part in snapshot.rows(genesis, step=step):
            if isinstance(part, LastPart):
                note = checkpoint_note(genesis, part, log_key)
                store.write([*waiting, *part.puts, *checkpoint_rows(store, note)], sync=True)
                break
            waiting += part
            if len(waiting) >= ROWS_A_WRITE:
                store.write(waiting, sync=False)
                waiting = []
        Chain(store, genesis)
    finally:
        store.close()


def checkpoint_note(genesis: Genesis, last: LastPart, log_key: SigningKey) -> str:
    """Return the checkpoint's note as this node serves it: with its own signature as the log and the cosignatures."""
    size, root = last.checkpoint.size, last.checkpoint.root
    return assemble_checkpoint(genesis, last.validators, None, log_key, size, root, last.cosignatures)


def _sync_all(path: Path) -> None:
    """Return when every file of a store is on the disk: most of its rows were written without waiting for it."""
    for file in path.rglob("*"):  # directories too
        fd = os.open(file, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    sync_directory(path)
