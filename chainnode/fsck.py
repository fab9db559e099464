"""`fsck` of a home: the chain in a stopped node's store, and what stands beside it.

Here: holding the home, opening its store, whose signatures a checkpoint needs, the write-ahead log, the gateway's
outbox, and the report for the command line. Not here: replaying the chain and comparing its rows (`ledger.fsck`);
repairing. Nothing is written but the store's own lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainnode.config import NodeConfig
from chainnode.files import NotFound
from chainnode.founding import read_genesis
from chainnode.home import Home
from chainnode.identity import read_key
from chainnode.opening import check_log_owner, lost_blocks, told
from chainnode.source_outbox import Mark, parse_record
from chainnode.wal import was_begun
from chainnode.wal_format import LogDamaged, scan
from consensus.records import decode_record
from ledger import rows
from ledger.batches import parse_batch, verify_batch
from ledger.committed_state import CommittedState
from ledger.fsck import Damaged, verify_all
from ledger.genesis import Genesis
from ledger.reader import LedgerReader
from ledger.state import StateReader
from ledger.store import Store
from ledger.store_leveldb import LevelDBStore
from ledger.trust_policy import TrustPolicy, parse_policy, policy_text
from primitives.encoding import Record
from primitives.errors import ChainError, ProofError, StorageError
from primitives.ids import ZERO_HASH, Epoch, Hash
from primitives.notes import ED25519, NoteKey
from primitives.validators import ValidatorSet

NO_STORE = "start the node: it fetches the chain from its peers and verifies every block"
Step = Callable[[int, int], None]
"""Told (blocks done, blocks in all) after each block."""


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
    outbox_batches: int = 0
    bad_height: int | None = None
    problem: str = ""

    def as_row(self) -> dict[str, Any]:  # Any: JSON values
        """Return the report as JSON has it."""
        names = ("chain_id", "height", "blocks", "batches", "events", "checkpoints", "wal_records", "outbox_batches")
        found = {name: getattr(self, name) for name in names}
        return {"ok": not self.problem, **found, "bad_height": self.bad_height, "problem": self.problem or None}


def check_home(home: Home, config: NodeConfig, *, step: Step = lambda _done, _of: None) -> Report:
    """Hold the home and check everything that it has of its chain. Raises `HomeInUse` while a node runs on it.

    Raises `NotFound` where there is no store.
    """
    path = home.resolve(config.ledger.path)
    if not home.data.is_dir() or not path.is_dir():
        raise NotFound("there is no store to verify", where=str(path), hint=NO_STORE)
    with home.lock():
        genesis = read_genesis(home.genesis)
        store = LevelDBStore(path)
        report = Report(genesis.chain_id.hex())
        try:
            epochs = check_chain(store, genesis, report, step=step)
            own = read_key(home.log_key, "log").public if home.log_key.exists() else ""
            report.checkpoints = check_signatures(store, genesis, epochs, bytes.fromhex(own))
            records = _check_log(home, genesis, CommittedState(store), config.node.name, report)
            lost = lost_blocks(LedgerReader(store, genesis), records, indexed=None, where=str(store.path))
            if lost is not None:
                raise lost
            _check_outbox(home, store, genesis, report)
        except Damaged as error:
            report.bad_height, report.problem = error.height, str(error)
        except ChainError as error:
            report.problem = str(error)
        finally:
            store.close()
        return report


def check_chain(
    store: Store, genesis: Genesis, report: Report, *, step: Step = lambda _done, _of: None
) -> list[ValidatorSet]:
    """Replay the chain of a store, counting into `report`, and return the sets of its epochs. Raises `Damaged`."""
    epochs: dict[Epoch, ValidatorSet] = {}
    for item in verify_all(store, genesis):
        epochs[item.validators.epoch] = item.validators
        report.height = int(item.height_max)
        if item.height:
            report.blocks += 1
            report.batches += item.batch_count
            report.events += item.event_count
            step(int(item.height), int(item.height_max))
    return list(epochs.values())


def check_signatures(store: Store, genesis: Genesis, epochs: Iterable[ValidatorSet], own_log_key: bytes = b"") -> int:
    """Return the number of stored checkpoints; Damaged unless each is signed as the policy of one epoch demands.

    `own_log_key` is this node's: an observer signs what it serves with a key that no validator set names.
    """
    policies = [parse_policy(policy_text(genesis, validators)) for validators in epochs]
    for policy in policies:
        if own_log_key and all(key.public != own_log_key for key in policy.logs):
            policy.logs.append(NoteKey(genesis.origin, ED25519, own_log_key))
    count = 0
    for key, note in store.iterate(*rows.all_of(b"c")):
        refusal = _refusal(note.decode(), policies)
        if refusal is not None:
            raise Damaged(None, f"checkpoint of size {int.from_bytes(key[1:], 'big')} does not verify", got=refusal)
        count += 1
    return count


def _refusal(note: str, policies: Iterable[TrustPolicy]) -> ProofError | None:
    """Return None where one of the policies takes the note, else why the last one does not."""
    refusal: ProofError | None = ProofError("no validators are known")
    for policy in policies:
        try:
            policy.check(note)
        except ProofError as error:
            refusal = error
        else:
            return None
    return refusal


def _check_log(home: Home, genesis: Genesis, state: StateReader, name: str, report: Report) -> list[Record]:
    """What this validator signed reads back, record by record; returns the records."""
    if home.vote_key.exists() and not was_begun(home.wal):
        raise StorageError(
            "a voting key without its write-ahead log",
            where=str(home.wal),
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
    found = _log_records(home.outbox, genesis)
    if found is None or not home.source_key.exists():
        return
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


def _next_number(store: Store, source: bytes) -> int:
    """Return the number that the chain expects next of a source."""
    for key, data in store.iterate(*rows.all_of(b"M")):
        for tip in rows.read_row(rows.MemberLogRow, data, where=f"batch log of {key[1:].decode()}").sources:
            if tip.source == source:
                return tip.next_number
    return 0


def _log_records(path: Path, genesis: Genesis) -> list[bytes] | None:
    return scan(path.read_bytes(), genesis.chain_id, where=str(path)).records if path.exists() else None
