"""What a replica starts from: whether it may vote, its newest block, and the validators of the epoch before.

Not here: what the write-ahead log gives back (`consensus.replica`), and the ledger's own standing (`ledger.chain`).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from chainnode.wal_format import PUT_BACK, LogDamaged
from consensus.ordering import CERTIFICATES_KEPT, HASHES_KEPT
from consensus.records import Reached, decode_record, encode_record, height_of, own_signer
from consensus.restoring import delivered_height
from consensus.state import Parameters, Tip
from ledger.chain import Chain
from ledger.committed_state import CommittedState
from ledger.members import read_validators, read_validators_of
from ledger.policy import Policy
from ledger.reader import LedgerReader
from ledger.state import StateReader
from primitives.encoding import Record
from primitives.errors import ChainError, StorageError
from primitives.ids import Epoch, Hash, Height
from primitives.validators import ValidatorSet


def must_follow(*, has_vote_key: bool, log_begun: bool) -> bool:
    """Say whether a node may only follow: it has no voting key, or nobody knows any more what that key has signed."""
    return not has_vote_key or not log_begun


def check_log_owner(records: Iterable[Record], state: StateReader, name: str, *, where: str) -> None:
    """Raise StorageError where another validator's log lies in this one's place: what this one signed is unknown then.

    `where` names the log. Judged by the sets that the state holds; records of epochs that it does not know yet pass.
    """
    for record in records:
        signer = own_signer(record)
        validators = None if signer is None else read_validators_of(state, signer[0])
        if signer is None or validators is None:
            continue
        index = signer[1]
        owner = validators.validators[index].name if index < validators.n else f"validator {index}"
        if owner != name:
            place = "" if (height := height_of(record)) is None else f", height {height}"
            raise StorageError(
                "write-ahead log of another validator",
                where=f"{where}: epoch {signer[0]}{place}",
                expected=name,
                got=owner,
                hint=PUT_BACK,
            )


def lost_blocks(
    reader: LedgerReader, records: Iterable[Record], *, indexed: Height | None, where: str
) -> StorageError | None:
    """Return the error of a ledger that ends below what this node delivered from it, None where it does not.

    Rows are synced before what a node signs upon them, and before they are indexed: neither can be ahead of a ledger
    that has all that was written. `where` names the ledger; `indexed` is the height that the index has reached.
    """
    tip = reader.tip()
    found = 0 if tip is None else tip.height
    logged = delivered_height(records)
    delivered = max(logged, indexed or 0)
    if delivered <= found:
        return None
    return StorageError(
        "the ledger lost blocks",
        where=where,
        expected=f"height {delivered} at least, says the {'write-ahead log' if logged == delivered else 'index'}",
        got=f"height {found}",
        hint="start the node: it fetches them again from its peers, and votes when it is there",
    )


def reached_record(reader: LedgerReader) -> bytes | None:
    """Return what the log is told at an orderly end, of the ledger on the disk: what that loses later is missed."""
    tip = reader.tip()
    if tip is None:
        return None
    return encode_record(Reached(read_validators(CommittedState(reader.store)).epoch, tip.height))


def told(error: LogDamaged) -> LogDamaged:
    """Return the error of a damaged log with the height up to which it reads back."""
    heights = []
    for data in error.records:
        with suppress(ChainError):  # what reads back below may be of a later release
            heights.append(height_of(decode_record(data)))
    known = [height for height in heights if height is not None]
    return LogDamaged(
        error.what_damaged, error.offset, where=error.where, got=error.got, records=error.records,
        height=max(known, default=None),
    )  # fmt: skip


def genesis_hash(reader: LedgerReader) -> Hash:
    """Return the hash of the genesis block."""
    genesis = reader.block(0)
    assert genesis is not None, "opening a chain writes its genesis block"
    return genesis.hash


def replica_tip(chain: Chain, reader: LedgerReader) -> Tip:
    """Return the newest block with the certificates and hashes of the last ones, from the store."""
    certificates = []
    recent = {chain.height: chain.tip_hash}
    for height in range(max(1, chain.height - HASHES_KEPT + 1), chain.height + 1):
        committed = reader.committed_block(height)
        assert committed is not None, f"block {height} below the tip is in the store"
        recent[committed.block.header.height] = committed.block.header.hash()
        if committed.certificate is not None:
            certificates.append(committed.certificate)
    return Tip(chain.height, chain.tip_hash, chain.header.time_ms, tuple(certificates[-CERTIFICATES_KEPT:]), recent)


def previous_validators(chain: Chain) -> ValidatorSet | None:
    """Return the set of the epoch before, None in the first: VIEW-CHANGEs rest on its certificates for a while.

    `StorageError` where the state does not name it.
    """
    state = chain.state_after(chain.tip_hash)
    epoch = chain.validators_after(chain.tip_hash).epoch
    if epoch == 0:
        return None
    found = read_validators_of(state, Epoch(epoch - 1))
    if found is None or found.epoch != epoch - 1:
        raise StorageError("the validators of the epoch before", where=f"state after block {chain.height}")
    return found


def timed_by(parameters: Parameters, policy: Policy) -> Parameters:
    """Return a replica's parameters with the times of the policy in force."""
    return replace(
        parameters,
        lag_ms=policy.block_time_lag_ms_max,
        drift_ms=policy.block_time_drift_ms_max,
        checkpoint_slot_ms=policy.checkpoint_slot_ms,
    )
