"""Re-verification of a whole store: every byte that others signed or that roots stand for, block by block.

The chain is executed anew from the genesis, or from the block of the snapshot that the store was made from, over a
shadow of the store; every certificate and source signature is verified, and every row that a block leaves is compared
with the one that stands there. Encodings and hashes are made a second time with `msgpack` and `hashlib` alone, so that
a fault of the one encoder does not vouch for itself. Source: architecture §4 and §6. Pure, and it only reads. Not here:
whose signatures a checkpoint needs, the files beside the store and the lock (`chainnode.fsck`); the index, which is
rebuilt instead; repairing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types

from ledger import rows
from ledger.archive_store import Pruned
from ledger.batches import BATCH_SIZE_MAX, events_of, parse_batch, verify_batch
from ledger.chain import Chain
from ledger.evidence_bodies import TYPES, EvidenceBody, accused_bytes, check_contradiction, kind_of
from ledger.fsck_start import proved_rows
from ledger.genesis import Genesis
from ledger.kinds import KindSpec, RuleBroken
from ledger.reader import LedgerReader
from ledger.registry import KINDS
from ledger.store import MemoryStore, Put, Store
from primitives.block import CommittedBlock
from primitives.errors import ChainError, StorageError, UsageError
from primitives.ids import Hash, Height, SourceKey
from primitives.notes import parse_checkpoint, parse_note
from primitives.validators import ValidatorSet
from primitives.votes import verify_certificate

ONCE = frozenset({b"b", b"h", b"x", b"t", b"n", b"L", b"E"})
"""Kinds of rows that are written once and never changed: compared as the replay writes them, and not kept."""

CHANGING = (b"m", b"s", b"M", b"q")
"""Kinds of rows that change: kept by the replay, and compared when it has reached the tip."""

COUNTED = (b"b", b"h", b"x", b"t", b"L", b"E")
"""Those of ONCE of which the replay writes each exactly once; nodes of the state may be written again, as the same."""

_BATCH_TAG = b"chainnode/v1/batch\0"


class Damaged(StorageError):
    """The first thing in a store that is not what the chain makes it; `height` is None where that is no block's."""

    reason = "damaged"

    def __init__(self, height: int | None, what: str, *, expected: object = None, got: object = None) -> None:
        super().__init__(
            what,
            where="store" if height is None else f"block {height}",
            expected=expected,
            got=got,
            hint="restore a backup, or start with an empty store and catch up",
        )
        self.height = None if height is None else Height(height)


class NoSuchStart(UsageError):
    """The block to begin at is not within the history that the store has."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A block that was found good, and the validators of the block that follows it."""

    height: Height
    height_max: Height
    batch_count: int
    event_count: int
    validators: ValidatorSet


class Shadow:
    """The store as the replay sees it: rows of ONCE are compared with the real ones, the others kept in memory.

    So the replay needs no more memory than the present state, however long the chain is. Reading a row of ONCE from the
    real store is sound: execution reads nothing that it did not write before.
    """

    def __init__(self, real: Store) -> None:
        self._real = real
        self.memory = MemoryStore()
        self.written: Counter[bytes] = Counter()
        self.height: int | None = 0

    def get(self, key: bytes) -> bytes | None:
        """Return a row: the real one where rows of its kind never change."""
        return (self._real if key[:1] in ONCE else self.memory).get(key)

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Yield rows, as `get` gives them."""
        return (self._real if start[:1] in ONCE else self.memory).iterate(start, stop, reverse)

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        """Compare or keep rows. Raises Damaged, which names the block `height`."""
        kept: list[Put] = []
        for key, value in puts:
            kind = key[:1]
            if kind in ONCE:
                self.written[kind] += 1
                _compare(self.height, key, value, self._real.get(key))
            else:
                kept.append((key, value))
        self.memory.write(kept, sync=sync)

    def close(self) -> None:
        """Release nothing: the real store is its owner's."""


def verify_all(
    store: Store, genesis: Genesis, kinds: Mapping[int, KindSpec] = KINDS, *, start: int | None = None
) -> Iterator[Progress]:
    """Yield the progress block by block; Damaged names the first bad one. A store without any row holds no block.

    What changes from block to block, waiting batches and checkpoints are judged after the last block, before the
    iteration ends. The store is only read. With `start`, which lies within the history that is here (else NoSuchStart),
    that block and what it leaves is proved, and the blocks above are executed; blocks below are believed, and rows are
    not counted.
    """
    if all(key == rows.FORMAT_KEY for key, _ in store.iterate(b"\0", b"\xff")):
        return
    shadow = Shadow(store)
    try:
        reader = LedgerReader(store, genesis)
        tip = reader.tip()
        if tip is None:
            raise Damaged(None, "store without a tip")
        base = reader.base()
        begin = base if start is None else Height(start)
        if start is not None and not base <= start <= tip.height:
            raise NoSuchStart("no block to begin at", expected=f"a height from {base} to {tip.height}", got=start)
        whole = begin == base
        if begin:
            shadow.height = begin
            for puts in proved_rows(reader, begin):
                shadow.write(puts, sync=False)
        chain = Chain(shadow, genesis, kinds)  # compares the rows of the genesis block, where the history begins there
        yield Progress(begin, tip.height, 0, 0, chain.validators_after(chain.tip_hash))
        for height in range(begin + 1, tip.height + 1):
            shadow.height = height
            committed = _verify_bytes(reader, height)
            _verify_signatures(reader, chain, committed, height, kinds)
            yield _replay(chain, shadow, committed, tip.height)
        shadow.height = None
        _refuse_other_kinds(store)
        _compare_changing(store, shadow.memory)
        waiting = _verify_waiting(reader, kinds)
        moved = _verify_moved(reader)
        if whole:
            _count_rows(store, {**shadow.written, b"B": shadow.written[b"B"] + waiting - moved})
        _verify_checkpoints(reader)
        _verify_findings(store, genesis.chain_id)
    except (Damaged, Pruned, NoSuchStart):
        raise  # a body that is in no archive here is not damage, and cannot be verified either
    except (ChainError, UnicodeDecodeError) as error:
        raise Damaged(shadow.height, str(error)) from None


def _verify_signatures(
    reader: LedgerReader, chain: Chain, committed: CommittedBlock, height: int, kinds: Mapping[int, KindSpec]
) -> None:
    """A quorum committed this block on the chain's tip, and each batch is its source's; the chain then holds them."""
    header, certificate = committed.block.header, committed.certificate
    if header.height != height or header.parent != chain.tip_hash:
        raise Damaged(height, "block does not follow the one below", expected=chain.tip_hash, got=header.parent)
    if certificate is None or (certificate.height, certificate.block_hash) != (height, header.hash()):
        raise Damaged(height, "certificate of another block, or none", expected=header.hash())
    verify_certificate(certificate, chain.chain_id, chain.validators_after(chain.tip_hash))
    for batch_hash in committed.block.batch_hashes:
        batch = parse_batch(reader.batch_bytes(batch_hash) or b"", kinds)
        verify_batch(batch)
        chain.add_batch(batch)


def _replay(chain: Chain, shadow: Shadow, committed: CommittedBlock, height_max: Height) -> Progress:
    """Execute the block anew and compare its rows."""
    assert committed.certificate is not None, "its signatures were verified"
    chain.check(committed.block)
    result = chain.commit(committed.block.header.hash(), committed.certificate)
    shadow.write(result.puts, sync=False)
    shadow.written[b"B"] += len(result.batches)
    chain.written(result.ticket)
    validators = chain.validators_after(chain.tip_hash)
    return Progress(result.header.height, height_max, len(result.batches), result.header.event_count, validators)


def _verify_bytes(reader: LedgerReader, height: int) -> CommittedBlock:
    """Return the block after encoding and hashing it and its batches with the second implementation."""
    committed = reader.committed_block(height)
    raw = reader.store.get(rows.block_key(height))
    if committed is None or raw is None:
        raise Damaged(height, "block missing")
    plain = _repacked(raw, height, "block")
    digest = sha256(b"\0\0" + _packed(plain[0][0])).digest()
    if digest != committed.block.header.hash():
        raise Damaged(height, "hash of the header", expected=digest, got=committed.block.header.hash())
    for batch_hash in committed.block.batch_hashes:
        batch = reader.batch_bytes(batch_hash)
        if batch is None or len(batch) > BATCH_SIZE_MAX:
            raise Damaged(height, "batch missing", expected=batch_hash)
        parts = _repacked(batch, height, "batch")
        if sha256(_BATCH_TAG + _packed(parts[0])).digest() != batch_hash:
            raise Damaged(height, "hash of a batch", expected=batch_hash)
        for event in events_of(batch):
            body = _repacked(event, height, "event")[-1]
            _repacked(body, height, "body of an event")
    return committed


def _packed(value: object) -> bytes:
    data: bytes = msgpack.packb(value, use_bin_type=True)
    return data


def _repacked(raw: bytes, height: int, what: str) -> list[Any]:  # Any: what msgpack decodes
    """Return the decoded bytes if `msgpack` encodes them to the same bytes again."""
    try:
        plain = msgpack.unpackb(raw, raw=False, strict_map_key=True)
        same = _packed(plain) == raw
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise Damaged(height, f"{what} is not MessagePack", got=error) from None
    if not same or not isinstance(plain, list) or not plain:
        raise Damaged(height, f"{what} is not canonical MessagePack of a record")
    return plain


def _compare(height: int | None, key: bytes, expected: bytes | None, got: bytes | None) -> None:
    if expected != got:
        what = "is missing" if got is None else "is one too many" if expected is None else "is another"
        raise Damaged(height, f"row {_shown(key)} {what}")


def _shown(key: bytes) -> str:
    return f"{key[:1].decode('latin-1')}:{key[1:].hex()}"


def _refuse_other_kinds(store: Store) -> None:
    """No row is of a kind that this release does not write."""
    for kind in (bytes([number]) for number in range(255)):
        found = None if kind in rows.KINDS else next(store.iterate(*rows.all_of(kind)), None)
        if found is not None:
            raise Damaged(None, f"row {_shown(found[0])} is one too many, of no known kind")


def _compare_changing(store: Store, replayed: MemoryStore) -> None:
    """The rows that change are, at the tip, those that the replay ended with: none other, none missing."""
    for kind in CHANGING:
        expected = dict(replayed.iterate(*rows.all_of(kind)))
        for key, value in store.iterate(*rows.all_of(kind)):
            if key != rows.FORMAT_KEY:
                _compare(None, key, expected.pop(key, None), value)
        for key, value in expected.items():
            _compare(None, key, value, None)


def _verify_waiting(reader: LedgerReader, kinds: Mapping[int, KindSpec]) -> int:
    """Return the number of batches that wait, after verifying them: a validator may have voted on them."""
    count = 0
    for key, data in reader.store.iterate(*rows.all_of(b"W")):
        raw = reader.batch_bytes(key[1:])
        if raw is None:
            raise Damaged(None, "waiting batch missing", expected=key[1:])
        batch = parse_batch(raw, kinds)
        verify_batch(batch)
        row = rows.read_row(rows.WaitingRow, data, where=f"waiting batch {key[1:].hex()}")
        header = batch.header
        if batch.hash != key[1:] or row != rows.WaitingRow(
            header.member, SourceKey(header.source), header.number, len(raw)
        ):
            raise Damaged(None, "waiting batch is another", expected=key[1:], got=batch.hash)
        count += 1
    return count


def _verify_moved(reader: LedgerReader) -> int:
    """Return the number of bodies that were moved to the archive, after verifying what the store says of them.

    The bodies themselves were read from there and verified as all others.
    """
    upto = reader.base()
    for key, _ in reader.store.iterate(*rows.all_of(b"a")):
        moved = rows.read_row(rows.ArchivedRow, reader.store.get(key) or b"", where=f"row {key.hex()}")
        if key != rows.archived_key(upto + 1) or moved.first_height != upto + 1 or moved.last_height <= upto:
            raise Damaged(None, "what was moved to the archive has a gap", expected=f"block {upto + 1}", got=key)
        _verify_figures(reader, moved)
        upto = moved.last_height
    count = 0
    for key, data in reader.store.iterate(*rows.all_of(b"A")):
        height = int.from_bytes(data, "big")
        committed = reader.committed_block(height) if 0 < height <= upto and len(data) == 8 else None
        if committed is None or key[1:] not in committed.block.batch_hashes:
            raise Damaged(None, "a batch is said to be in the archive that is not of its block", got=key[1:])
        count += 1
    return count


def _verify_figures(reader: LedgerReader, moved: rows.ArchivedRow) -> None:
    """What a segment is said to hold is what its blocks name."""
    batches = events = 0
    for height in range(moved.first_height, moved.last_height + 1):
        committed = reader.committed_block(height)
        if committed is None:
            raise Damaged(None, "a block is said to be in the archive that is not here", got=height)
        batches += len(committed.block.batch_hashes)
        events += committed.block.header.event_count
    if (moved.batches, moved.events) != (batches, events):
        raise Damaged(
            None,
            f"figures of what was moved from block {moved.first_height}",
            expected=f"{batches} batches, {events} events",
            got=f"{moved.batches} batches, {moved.events} events",
        )


def _verify_findings(store: Store, chain_id: Hash) -> None:
    """What was found and waits to be submitted is evidence of this chain, under its own key."""
    for key, data in store.iterate(*rows.all_of(b"e")):
        type_ = TYPES.get(int.from_bytes(key[1:2], "big"))
        if type_ is None:
            raise Damaged(None, "evidence of an unknown kind", got=key)
        body: EvidenceBody = rows.read_row(type_, data, where=f"evidence {key[1:].hex()}")
        if key != rows.finding_key(kind_of(body), accused_bytes(body)):
            raise Damaged(None, "evidence under another key than its own", got=key)
        try:
            check_contradiction(body, chain_id)
        except RuleBroken as broken:
            raise Damaged(None, "what was found is no evidence", got=str(broken)) from None


def _count_rows(store: Store, expected: Mapping[bytes, int]) -> None:
    """No row stands there that no block wrote: a forged block would be found by nothing else."""
    for kind in (*COUNTED, b"B"):
        found = sum(1 for _ in store.iterate(*rows.all_of(kind)))
        if found != expected.get(kind, 0):
            raise Damaged(None, f"number of rows of kind {kind.decode()}", expected=expected.get(kind, 0), got=found)


def _verify_checkpoints(reader: LedgerReader) -> None:
    """Every stored checkpoint is of this log: its size, and the root that the log had then."""
    for key, data in (*reader.store.iterate(*rows.all_of(b"c")), *reader.store.iterate(*rows.all_of(b"w"))):
        note = parse_note(data.decode())
        checkpoint = parse_checkpoint(note.text)
        if key[:1] == b"w":
            in_place = rows.parse_witness(key) in {(line.key_id, line.name) for line in note.signatures}
        else:
            in_place = key == rows.checkpoint_key(checkpoint.size)
        if not in_place or checkpoint.origin != reader.origin:
            raise Damaged(None, "checkpoint in the wrong place", expected=reader.origin, got=checkpoint.origin)
        root = reader.log_root(checkpoint.size)
        if checkpoint.root != root:
            raise Damaged(None, f"root of the checkpoint of size {checkpoint.size}", expected=root, got=checkpoint.root)
