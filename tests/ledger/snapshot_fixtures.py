"""Snapshots of chains in memory: notes of their checkpoints, making one whole, and putting one into an empty store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from ledger.checkpoint_rows import checkpoint_rows
from ledger.genesis import Genesis
from ledger.reader import LedgerReader
from ledger.snapshots import Manifest
from ledger.snapshots_making import SnapshotMaking
from ledger.snapshots_restoring import Restoring
from ledger.store import MemoryStore, Store
from ledger.trust_policy import assemble_checkpoint
from primitives.ids import Hash
from primitives.keys import SigningKey
from primitives.notes import Checkpoint, cosign_statement
from primitives.validators import ValidatorSet
from tests.ledger import governance_fixtures


@dataclass(frozen=True)
class Snapshot:
    """A snapshot in memory."""

    manifest: Manifest
    chunks: tuple[bytes, ...]


def cosign_key(validator: str, public: bytes) -> SigningKey:
    """Return the cosigning key of a validator of either consortium of the fixtures."""
    return _key(validator, "cosign", public)


def log_key(validator: str, public: bytes) -> SigningKey:
    """Return the log key of a validator of either consortium of the fixtures."""
    return _key(validator, "log", public)


def _key(validator: str, use: str, public: bytes) -> SigningKey:
    names = (validator, validator.removeprefix("node-"))
    found = [governance_fixtures.key_of(name, each) for name in names for each in (use, f"{use}1", f"{use}2")]
    found.append(SigningKey.generate(sha256(use.encode()).digest()))  # of the one node of the certificates' chain
    return next(key for key in found if key.public == public)


def note_of(genesis: Genesis, validators: ValidatorSet, size: int, root: Hash) -> str:
    """Return the note of a checkpoint that a quorum of these validators cosigned."""
    text = Checkpoint(genesis.origin, size, root).text()
    signed = [
        (index, 1_767_225_700, cosign_key(each.name, each.cosign_key).sign(cosign_statement(text, 1_767_225_700)))
        for index, each in enumerate(validators.validators[: validators.quorum])
    ]
    first = validators.validators[0]
    return assemble_checkpoint(genesis, validators, None, log_key(first.name, first.log_key), size, root, signed)


def make_stable(store: Store, genesis: Genesis, validators: ValidatorSet) -> None:
    """Store a stable checkpoint of the tip, cosigned by these validators."""
    reader = LedgerReader(store, genesis)
    size = reader.log_size()
    store.write(checkpoint_rows(store, note_of(genesis, validators, size, reader.log_root(size))), sync=True)


def made(store: Store, genesis: Genesis, *, chunk_bytes: int = 1_024) -> Snapshot:
    """Return the snapshot at the newest stable checkpoint."""
    making = SnapshotMaking(LedgerReader(store, genesis), chunk_bytes=chunk_bytes)
    chunks = tuple(chunk.data for chunk in making.chunks())
    return Snapshot(making.manifest(), chunks)


def restored(snapshot: Snapshot, genesis: Genesis, chunks: Iterable[bytes] | None = None) -> MemoryStore:
    """Return a store with what a snapshot holds, verified. Raises as `Restoring`."""
    restoring, store = Restoring(genesis, snapshot.manifest), MemoryStore()
    for chunk in snapshot.chunks if chunks is None else chunks:
        for puts in restoring.take(chunk):
            store.write(puts, sync=False)
    puts, cosignatures = restoring.finish()
    store.write(puts, sync=False)
    checkpoint, first = restoring.checkpoint, restoring.validators.validators[0]
    key = log_key(first.name, first.log_key)
    note = assemble_checkpoint(genesis, restoring.validators, None, key, checkpoint.size, checkpoint.root, cosignatures)
    store.write(checkpoint_rows(store, note), sync=True)
    return store
