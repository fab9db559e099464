"""`fsck`: re-verifies a stopped node's store from genesis, and names the first bad block.

Here: replaying the chain with the node's own code over a shadow of the store that compares each row it would write,
and what stands beside the chain (checkpoints, write-ahead log). Not here: repairing. Signatures of batches and commit
certificates are verified, every block is executed again, every batch and block is re-encoded by a second MessagePack
library, byte for byte (design §4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgpack  # type: ignore[import-untyped]  # the library has no annotations

from chainnode.config import NodeConfig
from chainnode.founding import read_genesis
from chainnode.home import Home
from chainnode.wal import scan
from ledger import rows
from ledger.batches import parse_batch, verify_batch
from ledger.chain import Chain
from ledger.genesis import Genesis, validator_set
from ledger.reader import LedgerReader
from ledger.store import MemoryStore, Put, Store
from ledger.store_leveldb import LevelDBStore
from ledger.trust_policy import parse_policy, policy_text
from primitives.block import CommittedBlock
from primitives.encoding import encode
from primitives.errors import ChainError, StorageError
from primitives.validators import ValidatorSet
from primitives.votes import verify_certificate

ONCE = frozenset({b"b", b"h", b"x", b"B", b"p", b"t", b"n", b"L"})
"""Kinds of rows that are written once and never changed: compared when the replay writes them, and not kept."""

AT_THE_END = (b"m", b"s", b"M", b"q")
"""Kinds of rows that change: kept by the replay, compared when it has reached the tip."""


class RowDiffers(StorageError):
    """A row of the store is not what the blocks before it make it."""

    reason = "row_differs"


@dataclass(slots=True)
class Report:
    """What was checked, and the first thing that is wrong; `bad_height` is None where that is no block's."""

    chain_id: str
    height: int = 0
    blocks: int = 0
    batches: int = 0
    events: int = 0
    checkpoints: int = 0
    wal_records: int = 0
    bad_height: int | None = None
    problem: str = ""

    def as_row(self) -> dict[str, Any]:  # Any: JSON values
        """Return the report as JSON has it."""
        names = ("chain_id", "height", "blocks", "batches", "events", "checkpoints", "wal_records")
        found = {name: getattr(self, name) for name in names}
        return {"ok": not self.problem, **found, "bad_height": self.bad_height, "problem": self.problem or None}


class ShadowStore:
    """The store as a replay sees it: rows written once are compared with the real ones, the others kept in memory."""

    def __init__(self, real: Store) -> None:
        self._real = real
        self.memory = MemoryStore()

    def get(self, key: bytes) -> bytes | None:
        """Return a row: the real one where rows of its kind never change."""
        return self._real.get(key) if key[:1] in ONCE else self.memory.get(key)

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Yield rows, as `get` gives them."""
        return (self._real if start[:1] in ONCE else self.memory).iterate(start, stop, reverse)

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        """Compare or keep rows. Raises `RowDiffers`."""
        kept: list[Put] = []
        for key, value in puts:
            if key[:1] not in ONCE:
                kept.append((key, value))
            elif self._real.get(key) != value:
                raise RowDiffers("a row is not what the chain makes it", where=_name(key))
        self.memory.write(kept, sync=sync)

    def close(self) -> None:
        """Release nothing: the real store is its owner's."""


def check_store(
    home: Home, config: NodeConfig, *, step: Callable[[int, int], None] = lambda _done, _of: None
) -> Report:
    """Check everything that a home holds of its chain; the caller holds the home. `step` is told (done, of) blocks."""
    genesis = read_genesis(home.genesis)
    store = LevelDBStore(home.resolve(config.ledger.path))
    try:
        report = check_chain(store, genesis, step=step)
    finally:
        store.close()
    if not report.problem:
        _check_log(home, genesis, report)
    return report


def check_chain(
    store: Store, genesis: Genesis, *, step: Callable[[int, int], None] = lambda _done, _of: None
) -> Report:
    """Replay the chain that a store holds, and compare."""
    report = Report(genesis.chain_id.hex())
    height: int | None = 0
    try:
        reader = LedgerReader(store, genesis)
        tip = reader.tip()
        if tip is None:
            return report
        report.height = int(tip.height)
        shadow = ShadowStore(store)
        chain = Chain(shadow, genesis)
        for height in range(1, report.height + 1):
            _check_block(reader, chain, shadow, height, report)
            step(height, report.height)
        height = None
        _compare_the_rest(store, shadow)
        _check_checkpoints(store, reader, genesis, chain, report)
    except ChainError as error:
        report.bad_height, report.problem = height, str(error)
    return report


def _check_block(reader: LedgerReader, chain: Chain, shadow: ShadowStore, height: int, report: Report) -> None:
    committed = reader.committed_block(height)
    if committed is None:
        raise StorageError("block missing", where=f"height {height}")
    _check_encoding(encode(committed), f"block {height}")
    _check_certificate(committed, chain, height)
    for batch_hash in committed.block.batch_hashes:
        raw = reader.batch_bytes(batch_hash)
        if raw is None:
            raise StorageError("batch missing", where=f"block {height}", got=batch_hash)
        _check_encoding(raw, f"batch {batch_hash.hex()}")
        batch = parse_batch(raw)
        if batch.hash != batch_hash:
            raise StorageError("batch is another", where=f"block {height}", expected=batch_hash, got=batch.hash)
        verify_batch(batch)
        report.batches += 1
        report.events += batch.header.count
    chain.check(committed.block)
    assert committed.certificate is not None, "checked above"
    result = chain.commit(committed.block.header.hash(), committed.certificate)
    shadow.write(result.puts, sync=False)
    chain.written(result.ticket)
    report.blocks += 1


def _check_certificate(committed: CommittedBlock, chain: Chain, height: int) -> None:
    """The block follows the tip, and a quorum of its epoch's validators committed exactly it."""
    header = committed.block.header
    if header.height != height or header.parent != chain.tip_hash:
        raise StorageError(
            "block does not follow", where=f"height {height}", expected=chain.tip_hash, got=header.parent
        )
    certificate = committed.certificate
    if certificate is None or (certificate.height, certificate.block_hash) != (height, header.hash()):
        raise StorageError("certificate of another block, or none", where=f"height {height}", expected=header.hash())
    verify_certificate(certificate, chain.chain_id, chain.validators_after(chain.tip_hash))


def _check_encoding(data: bytes, where: str) -> None:
    """A second library reads these bytes and writes the same ones."""
    try:
        again = msgpack.packb(msgpack.unpackb(data, strict_map_key=True), use_bin_type=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise StorageError("not MessagePack", where=where, got=error) from None
    if again != data:
        raise StorageError(
            "not canonical to a second library", where=where, expected=f"{len(data)} bytes", got=len(again)
        )


def _compare_the_rest(store: Store, shadow: ShadowStore) -> None:
    """The rows that change are, at the tip, those that the replay ended with: none other, none missing."""
    for kind in AT_THE_END:
        start, stop = rows.all_of(kind)
        real = {key: value for key, value in store.iterate(start, stop) if key != rows.FORMAT_KEY}
        replayed = {key: value for key, value in shadow.memory.iterate(start, stop) if key != rows.FORMAT_KEY}
        for key in sorted(real.keys() | replayed.keys()):
            if real.get(key) != replayed.get(key):
                what = "missing" if key not in real else "too many" if key not in replayed else "another"
                raise RowDiffers(f"a row is {what}", where=_name(key))


def _check_checkpoints(store: Store, reader: LedgerReader, genesis: Genesis, chain: Chain, report: Report) -> None:
    """Every stored checkpoint is signed and cosigned, and its root is the log's at that size."""
    sets: list[ValidatorSet] = [validator_set(genesis), chain.validators_after(chain.tip_hash)]
    policies = [parse_policy(policy_text(genesis, validators)) for validators in sets]
    start, stop = rows.all_of(b"c")
    for key, note in store.iterate(start, stop):
        checked = None
        for policy in policies:
            try:
                checked = policy.check(note.decode())
                break
            except ChainError as error:
                problem = error
        if checked is None:
            raise StorageError("checkpoint does not verify", where=_name(key), got=problem)
        root = reader.log_root(checked.checkpoint.size)
        if root != checked.checkpoint.root:
            raise StorageError(
                "checkpoint of another log", where=_name(key), expected=root, got=checked.checkpoint.root
            )
        report.checkpoints += 1


def _check_log(home: Home, genesis: Genesis, report: Report) -> None:
    if not home.wal.exists():
        if home.vote_key.exists():
            report.problem = f"{home.wal}: a voting key without its write-ahead log"
        return
    try:
        report.wal_records = len(scan(home.wal.read_bytes(), genesis.chain_id, where=str(home.wal)).records)
    except ChainError as error:
        report.problem = str(error)


def _name(key: bytes) -> str:
    return f"row {key[:1].decode('latin-1')}:{key[1:].hex()}"
