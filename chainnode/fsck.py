"""`fsck` of a home: the chain in a stopped node's store, and what stands beside it.

Here: holding the home, opening its store, whose signatures a checkpoint needs, the write-ahead log, the gateway's
outbox, keys, the index, and the report for the command line. Not here: replaying the chain and comparing its rows
(`ledger.fsck`); comparing the rows of the index, which are rebuilt instead; repairing. Nothing is written but what
LevelDB writes on opening.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chainnode.archive_files import open_archives
from chainnode.config import NodeConfig
from chainnode.files import NotFound
from chainnode.founding import read_genesis
from chainnode.home import Home
from chainnode.identity import load_node_keys, read_key, read_token
from chainnode.opening import check_log_owner, lost_blocks, told
from chainnode.own_keys import key_faults
from chainnode.snapshot_restore import check_finished
from chainnode.source_outbox import Mark, missing_outbox, parse_record
from chainnode.wal import was_lost
from chainnode.wal_format import LogDamaged, scan
from consensus.records import decode_record
from ledger import rows
from ledger.archive_store import ArchivedStore
from ledger.base import read_base
from ledger.batches import parse_batch, verify_batch
from ledger.committed_state import CommittedState
from ledger.completeness_reading import covered_height
from ledger.fsck import Damaged, NoSuchStart, verify_all
from ledger.fsck_positions import SECRET_BYTES, check_positions
from ledger.genesis import Genesis, validator_set
from ledger.handovers import spans_of
from ledger.index_places import reached_of
from ledger.indexes import is_begun
from ledger.log_keys import declared_log_keys
from ledger.members import read_validators
from ledger.packed_map import BUILD_AGAIN
from ledger.reader import LedgerReader
from ledger.state import StateReader
from ledger.store import Store
from ledger.store_leveldb import LevelDBStore
from ledger.trust_policy import parse_policy, policy_text
from p2p.config import TlsFiles
from p2p.tls import show_own
from primitives.encoding import Record
from primitives.errors import ChainError, ProofError, StorageError
from primitives.ids import ZERO_HASH, Hash, Height
from primitives.notes import ED25519, NoteKey, parse_note, parse_vkey, verify_cosignature

NO_STORE = "start the node: it fetches the chain from its peers and verifies every block"
CHECKPOINT = "checkpoint"
Step = Callable[[int, int], None]
"""Told (blocks done, blocks in all) after each block."""


@dataclass(slots=True)
class Report:
    """What was checked, and the first thing that is wrong; `bad_height` is None where that is no block's.

    Blocks are checked above `base_height`: that of the snapshot which the store was made from, or 0.
    """

    chain_id: str
    height: int = 0
    base_height: int = 0
    blocks: int = 0
    batches: int = 0
    events: int = 0
    checkpoints: int = 0
    wal_records: int = 0
    outbox_batches: int = 0
    keys: int = 0
    index_rows: int = 0
    bad_height: int | None = None
    problem: str = ""

    def as_row(self) -> dict[str, Any]:  # Any: JSON values
        """Return the report as JSON has it."""
        found = asdict(self)
        del found["bad_height"], found["problem"]
        return {"ok": not self.problem, **found, "bad_height": self.bad_height, "problem": self.problem or None}


def check_home(
    home: Home,
    config: NodeConfig,
    *,
    step: Step = lambda _done, _of: None,
    archives: Sequence[Path] = (),
    start: int | str | None = None,
) -> Report:
    """Hold the home and check everything that it has of its chain. Raises `HomeInUse` while a node runs on it.

    `start` is the height to begin at, or CHECKPOINT for the newest block that a stable checkpoint covers; what lies
    below is believed then.

    Bodies that were moved are read from the archives of the settings, and from `archives` besides. Raises `NotFound`
    where there is no store.
    """
    path = home.resolve(config.ledger.path)
    check_finished(path)
    if not home.data.is_dir() or not path.is_dir():
        raise NotFound("there is no store to verify", where=str(path), hint=NO_STORE)
    with home.lock():
        genesis = read_genesis(home.genesis)
        bodies = open_archives(home, config.ledger, genesis.chain_id, more=archives)
        store = ArchivedStore(LevelDBStore(path), bodies)
        report = Report(genesis.chain_id.hex())
        try:
            check_chain(store, genesis, report, step=step, start=_start(LedgerReader(store, genesis), start))
            own = read_key(home.log_key, "log").public if home.log_key.exists() else ""
            witnesses = [parse_vkey(entry.partition(" ")[0]) for entry in config.witnesses.ask]
            report.checkpoints = check_signatures(store, genesis, bytes.fromhex(own), witnesses)
            records = _check_log(home, genesis, CommittedState(store), config.node.name, report)
            _check_outbox(home, store, genesis, report)
            _check_keys(home, config, LedgerReader(store, genesis), report)
            indexed = _check_index(home, LedgerReader(store, genesis), report)
            lost = lost_blocks(LedgerReader(store, genesis), records, indexed=indexed, where=str(path))
            if lost is not None:
                raise lost
        except NoSuchStart:
            raise
        except Damaged as error:
            report.bad_height, report.problem = error.height, str(error)
        except ChainError as error:
            report.problem = str(error)
        finally:
            store.close()
        return report


def _start(reader: LedgerReader, start: int | str | None) -> int | None:
    """Return the height to begin at; NoSuchStart where no checkpoint is stable yet."""
    if start != CHECKPOINT:
        return None if start is None else int(start)
    checkpoint = reader.checkpoint()
    height = None if checkpoint is None else covered_height(reader, checkpoint)
    if height is None:
        raise NoSuchStart("no stable checkpoint to begin at", hint="verify from the genesis: leave --from away")
    return height


def check_chain(
    store: Store,
    genesis: Genesis,
    report: Report,
    *,
    step: Step = lambda _done, _of: None,
    start: int | None = None,
) -> None:
    """Replay the chain of a store, counting into `report`. Raises `Damaged`, `NoSuchStart`."""
    report.base_height = int(read_base(store).height) if start is None else start
    for item in verify_all(store, genesis, start=start):
        report.height = int(item.height_max)
        if item.height > report.base_height:
            report.blocks += 1
            report.batches += item.batch_count
            report.events += item.event_count
            step(int(item.height), int(item.height_max))


def check_signatures(
    store: Store, genesis: Genesis, own_log_key: bytes = b"", witnesses: Sequence[NoteKey] = ()
) -> int:
    """Return the number of stored checkpoints; Damaged unless each is signed as its epoch demands.

    What stands under one of `witnesses`, those of the settings, bears its valid cosignature; others' keys are unknown.
    `own_log_key` is this node's: an observer may sign what it serves with a key that its member has not declared.
    """
    reader = LedgerReader(store, genesis)
    tip = reader.tip()
    header = None if tip is None else reader.header(tip.height)
    spans = spans_of(reader, 0 if header is None else header.epoch)
    policy = parse_policy(policy_text(genesis, spans, declared_log_keys(CommittedState(store))))
    if own_log_key and all(key.public != own_log_key for key in policy.logs):
        policy.logs.append(NoteKey(genesis.origin, ED25519, own_log_key))
    asked = {rows.witness_key(key.key_id, key.name): key for key in witnesses}
    count = 0
    for key, note in (*store.iterate(*rows.all_of(b"c")), *store.iterate(*rows.all_of(b"w"))):
        try:
            policy.check(note.decode())
            if key in asked:
                verify_cosignature(parse_note(note.decode()), asked[key])
        except ProofError as error:
            kept = f"size {int.from_bytes(key[1:], 'big')}" if key[:1] == b"c" else f"witness {key[5:].decode()}"
            raise Damaged(None, f"checkpoint of {kept} does not verify", got=error) from None
        count += 1
    return count


def _check_log(home: Home, genesis: Genesis, state: StateReader, name: str, report: Report) -> list[Record]:
    """What this validator signed reads back, record by record; returns the records."""
    if home.vote_key.exists() and was_lost(home.wal, home.learner_wal):
        _log_records(home.learner_wal, genesis)  # a start reads this one
        raise StorageError(
            "a voting key without its write-ahead log",
            where=str(home.wal),
            got=f"{home.learner_wal.name}, which stands in for a lost one" if home.learner_wal.exists() else None,
            hint="the node follows without a vote; it comes back with new keys",
        )
    try:
        found = _log_records(home.wal, genesis) or []
    except LogDamaged as error:
        raise told(error) from None
    records = [decode_record(record) for record in found]
    check_log_owner(records, state, name, where=str(home.wal))
    report.wal_records += len(records)
    return records


def _check_outbox(home: Home, store: Store, genesis: Genesis, report: Report) -> None:
    """What this gateway signed follows without a gap, and the chain has no batch of its key that is not here."""
    if not home.source_key.exists():
        return
    found = _log_records(home.outbox, genesis)
    if found is None:
        raise missing_outbox(home.outbox)
    where, source = str(home.outbox), bytes.fromhex(read_key(home.source_key, "source").public)
    number, previous = 0, ZERO_HASH
    for record in found:
        item = parse_record(record, where=where)
        if isinstance(item, Mark):
            number, previous = item.number, Hash(item.previous)
            continue
        batch = parse_batch(item)
        verify_batch(batch)
        header = batch.header
        if (header.source, header.number, header.previous) != (source, number, previous):
            raise StorageError(
                "a batch in the outbox does not follow the one before",
                where=where,
                expected=f"batch {number} of {source.hex()}",
                got=f"batch {header.number} of {header.source.hex()}",
            )
        number, previous = header.number + 1, batch.hash
        report.outbox_batches += 1
    on_chain = _next_number(store, source)
    if on_chain > number:
        raise StorageError(
            "the chain has batches of the gateway's key that its outbox does not hold",
            where=where,
            expected=f"batch {number} next",
            got=f"batch {on_chain} next on the chain",
            hint="the outbox was lost or the key is used elsewhere: replace the key",
        )


def _check_keys(home: Home, config: NodeConfig, reader: LedgerReader, report: Report) -> None:
    """What a start reads of `keys/` reads back, and a validator has its voting key and those that are registered."""
    keys = load_node_keys(home)
    read_token(home.resolve(config.rpc.token_file))
    show_own(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), TlsFiles(home.tls_key, home.tls_certificate))
    tip, state = reader.tip(), CommittedState(reader.store)
    validators = validator_set(reader.genesis) if tip is None else read_validators(state)
    if not home.vote_key.exists() and config.node.name in validators.indexes:
        raise StorageError(
            "a validator without its voting key",
            where=str(home.vote_key),
            got="no such file",
            hint="the node follows without a vote; it comes back with new keys",
        )
    header = None if tip is None else reader.header(tip.height)
    time_ms = reader.genesis.time_ms if header is None else header.time_ms
    node = config.node
    for fault in key_faults(node.name, node.member, keys.registrable(), validators, state, time_ms):
        if not fault.is_unlisted:  # that is for its member to declare, and harms nothing here
            raise StorageError(fault.sentence(), where=str(home.root), hint=fault.hint)
    files = (home.vote_key, home.cosign_key, home.log_key, home.source_key, home.tls_key, home.tls_certificate)
    report.keys = sum(file.exists() for file in files)


def _check_index(home: Home, reader: LedgerReader, report: Report) -> Height | None:
    """Every row of the index reads back, and it leads to every event; returns the height that it has reached.

    What the rows say of payments and certificates is not compared.
    """
    if not home.index.exists():
        return None  # a start builds it
    index = LevelDBStore(home.index, remedy=BUILD_AGAIN)
    try:
        if is_begun(index):  # else it is of an older format, and a start builds it anew
            check_positions(reader, index, secret=os.urandom(SECRET_BYTES))
        report.index_rows = sum(1 for _ in index.iterate(b"", b"\xff"))
        reached = reached_of(index)
        return None if reached is None else reached.height
    finally:
        index.close()


def _next_number(store: Store, source: bytes) -> int:
    """Return the number that the chain expects next of a source."""
    for key, data in store.iterate(*rows.all_of(b"M")):
        for tip in rows.read_row(rows.MemberLogRow, data, where=f"batch log of {key[1:].decode()}").sources:
            if tip.source == source:
                return tip.next_number
    return 0


def _log_records(path: Path, genesis: Genesis) -> list[bytes] | None:
    return scan(path.read_bytes(), genesis.chain_id, where=str(path)).records if path.exists() else None
