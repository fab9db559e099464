"""Re-verification of a whole store: every byte that others signed or that roots stand for, block by block.

The chain is executed anew from the genesis on a scratch store, every certificate and source signature is verified, and
each row that a block left is compared with the row that it leaves now. Encodings and hashes are made a second time with
`msgpack` and `hashlib` alone, so that a fault of the one encoder does not vouch for itself. Source: design §4 and §6.
Not here: the index (it is rebuilt instead) and the write-ahead log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types

from ledger import rows
from ledger.batches import BATCH_SIZE_MAX, events_of, parse_batch, verify_batch
from ledger.chain import Chain
from ledger.chain_rows import genesis_rows
from ledger.genesis import Genesis
from ledger.kinds import KindSpec
from ledger.reader import LedgerReader
from ledger.registry import KINDS
from ledger.store import MemoryStore, Put, Store
from primitives.block import CommittedBlock
from primitives.errors import ChainError, StorageError
from primitives.ids import Height
from primitives.notes import parse_checkpoint, parse_note
from primitives.votes import verify_certificate

_WRITTEN_ONCE = frozenset(b"bhxptLn")
_CHANGING = (b"s", b"M", b"q")
_NOT_KEPT = frozenset(b"hxpLBW")
_BATCH_TAG = b"chainnode/v1/batch\0"


class DamagedAt(StorageError):
    """The first block at which a store does not hold what it must; `height` names it."""

    reason = "damaged"

    def __init__(self, height: int, what: str, *, expected: object = None, got: object = None) -> None:
        super().__init__(
            what,
            where=f"block {height}",
            expected=expected,
            got=got,
            hint="restore a backup, or start with an empty store and catch up",
        )
        self.height = Height(height)


@dataclass(frozen=True, slots=True)
class Progress:
    """A block that was found good."""

    height: Height
    height_max: Height
    event_count: int


class _Scratch(MemoryStore):
    """Keeps what execution reads; rows that are only compared go by."""

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        super().write((put for put in puts if put[0][0] not in _NOT_KEPT), sync=sync)


def verify_all(store: Store, genesis: Genesis, kinds: dict[int, KindSpec] = KINDS) -> Iterator[Progress]:
    """Yield the progress block by block; DamagedAt names the first bad one. The store is only read."""
    reader = LedgerReader(store, genesis)
    tip = reader.tip()
    if tip is None:
        raise DamagedAt(0, "store without a tip")
    scratch = _Scratch()
    chain = Chain(scratch, genesis, kinds)
    _check_genesis(reader, chain)
    _compare_rows(store, 0, genesis_rows(genesis))
    yield Progress(Height(0), tip.height, 0)
    for height in range(1, tip.height + 1):
        try:
            committed = _check_bytes(reader, height)
            puts = _execute(chain, reader, committed, kinds)
        except DamagedAt:
            raise
        except ChainError as error:
            raise DamagedAt(height, str(error)) from None
        _compare_rows(store, height, puts)
        scratch.write(puts, sync=False)
        chain.written(chain.ticket)
        yield Progress(Height(height), tip.height, committed.block.header.event_count)
    _compare_changing(store, scratch, tip.height)
    _check_checkpoints(reader, tip.height)


def _check_genesis(reader: LedgerReader, chain: Chain) -> None:
    found = reader.block(0)
    if found is None or found.hash != chain.tip_hash or found.certificate is not None:
        raise DamagedAt(
            0, "genesis block is another", expected=chain.tip_hash, got="none" if found is None else found.hash
        )


def _check_bytes(reader: LedgerReader, height: int) -> CommittedBlock:
    """Return the block after encoding and hashing it and its batches with the second implementation."""
    committed = reader.committed_block(height)
    raw = reader.store.get(rows.block_key(height))
    if committed is None or raw is None:
        raise DamagedAt(height, "block missing")
    plain = _repacked(raw, height, "block")
    header_bytes: bytes = msgpack.packb(plain[0][0], use_bin_type=True)
    digest = sha256(b"\0\0" + header_bytes).digest()
    if digest != committed.block.header.hash():
        raise DamagedAt(height, "hash of the header", expected=digest, got=committed.block.header.hash())
    for batch_hash in committed.block.batch_hashes:
        batch = reader.batch_bytes(batch_hash)
        if batch is None or len(batch) > BATCH_SIZE_MAX:
            raise DamagedAt(height, "batch missing", expected=batch_hash)
        parts = _repacked(batch, height, "batch")
        if sha256(_BATCH_TAG + msgpack.packb(parts[0], use_bin_type=True)).digest() != batch_hash:
            raise DamagedAt(height, "hash of a batch", expected=batch_hash)
        for event in events_of(batch):
            body = _repacked(event, height, "event")[-1]
            _repacked(body, height, "body of an event")
    return committed


def _repacked(raw: bytes, height: int, what: str) -> list[Any]:  # Any: what msgpack decodes
    """Return the decoded bytes if `msgpack` encodes them to the same bytes again."""
    try:
        plain = msgpack.unpackb(raw, raw=False, strict_map_key=True)
        same = msgpack.packb(plain, use_bin_type=True) == raw
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise DamagedAt(height, f"{what} is not MessagePack", got=error) from None
    if not same or not isinstance(plain, list):
        raise DamagedAt(height, f"{what} is not canonical MessagePack")
    return plain


def _execute(chain: Chain, reader: LedgerReader, committed: CommittedBlock, kinds: dict[int, KindSpec]) -> list[Put]:
    """Verify signatures, execute the block anew, and return the rows that it leaves."""
    header = committed.block.header
    certificate = committed.certificate
    if certificate is None:
        raise DamagedAt(header.height, "block without a certificate")
    verify_certificate(certificate, chain.chain_id, chain.validators_after(chain.tip_hash))
    for batch_hash in committed.block.batch_hashes:
        parsed = parse_batch(reader.batch_bytes(batch_hash) or b"", kinds)
        verify_batch(parsed)
        chain.add_batch(parsed)
    chain.check(committed.block)
    return chain.commit(header.hash(), certificate).puts


def _compare_rows(store: Store, height: int, puts: Iterable[Put]) -> None:
    for key, value in puts:
        if value is not None and key[0] in _WRITTEN_ONCE and store.get(key) != value:
            raise DamagedAt(height, f"row of kind {chr(key[0])!r} differs", expected=value[:32], got=store.get(key))


def _compare_changing(store: Store, scratch: MemoryStore, height: int) -> None:
    for kind in _CHANGING:
        start, stop = rows.all_of(kind)
        expected = scratch.iterate(start, stop)
        for key, value in store.iterate(start, stop):
            if next(expected, None) != (key, value):
                raise DamagedAt(height, f"present row of kind {kind.decode()!r} differs", got=key)
        missing = next(expected, None)
        if missing is not None:
            raise DamagedAt(height, f"present row of kind {kind.decode()!r} missing", expected=missing[0])
    if store.get(rows.TIP_KEY) != scratch.get(rows.TIP_KEY):
        raise DamagedAt(height, "tip differs")


def _check_checkpoints(reader: LedgerReader, height: int) -> None:
    start, stop = rows.all_of(b"c")
    for key, data in reader.store.iterate(start, stop):
        checkpoint = parse_checkpoint(parse_note(data.decode()).text)
        if key != rows.checkpoint_key(checkpoint.size) or checkpoint.origin != reader.origin:
            raise DamagedAt(height, "checkpoint in the wrong place", got=checkpoint.size)
        if checkpoint.root != reader.log_root(checkpoint.size):
            raise DamagedAt(
                height,
                f"root of the checkpoint of size {checkpoint.size}",
                expected=reader.log_root(checkpoint.size),
                got=checkpoint.root,
            )
