"""From an executed block to the rows of its one write, and back from the rows to where the chain stands.

Pure: rows in, rows out. What each key means is in `ledger.rows`. Source: architecture §6 (one synced write batch per
block).
"""

from collections.abc import Sequence

from ledger import rows
from ledger.batch_logs import EMPTY_LOGS, batch_log_rows, load_batch_logs
from ledger.committed_state import CommittedState
from ledger.execution import Executed, Standing
from ledger.genesis import Genesis, initial_state
from ledger.log_tiles import EMPTY_TIP, TileReader, tile_rows
from ledger.members import VALIDATORS_KEY, read_validators
from ledger.outcomes import Outcome, outcomes_root, rejected_of
from ledger.policy import POLICY_KEY, read_policy
from ledger.rules import read_rules
from ledger.smt import EMPTY, MapUpdate
from ledger.state import MemoryState, StateView
from ledger.store import MemoryStore, Put, StagedStore
from primitives import merkle
from primitives.block import Block, BlockHeader, CommittedBlock, batches_root
from primitives.encoding import encode
from primitives.errors import StorageError
from primitives.hashing import RULES_FIRST, SUITE
from primitives.ids import ZERO_HASH, Epoch, Hash, Height, TimeMs
from primitives.votes import QuorumCertificate


def genesis_block(genesis: Genesis) -> tuple[Block, MapUpdate]:
    """Return the block of height 0, which holds no events, and the nodes of its state."""
    state = initial_state(genesis)
    update = MapUpdate(lambda _: None)
    state_root = update.apply(EMPTY, state)
    header = BlockHeader(
        suite=SUITE,
        version=RULES_FIRST,
        chain_id=genesis.chain_id,
        height=Height(0),
        epoch=Epoch(0),
        parent=ZERO_HASH,
        time_ms=TimeMs(genesis.time_ms),
        proposer=0,
        batches_root=batches_root(()),
        first_index=0,
        event_count=0,
        outcomes_root=outcomes_root(()),
        log_root=merkle.EMPTY_ROOT,
        state_root=state_root,
        batch_logs_root=EMPTY_LOGS.root(),
        next_validators=read_validators(StateView(MemoryState(state))).hash,
    )
    return Block(header, ()), update


def genesis_rows(genesis: Genesis) -> list[Put]:
    """Return the rows with which a store begins."""
    block, update = genesis_block(genesis)
    block_hash = block.header.hash()
    _, added = EMPTY_TIP.extend([block_hash])
    return [
        *_block_rows(block, block_hash, None, (), ()),
        *tile_rows(MemoryStore(), b"", EMPTY_TIP, added),
        *((rows.state_row_key(key), value) for key, value in initial_state(genesis).items()),
        *((rows.node_key(node), row) for node, row in update.nodes.items()),
        _tip_row(block.header, block_hash, 1),
    ]


def genesis_block_rows(genesis: Genesis) -> list[Put]:
    """Return the rows of the genesis block alone, which every store has: whoever holds the genesis can make them."""
    block, _ = genesis_block(genesis)
    return _block_rows(block, block.header.hash(), None, (), ())


def commit_rows(store: StagedStore, executed: Executed, certificate: QuorumCertificate) -> list[Put]:
    """Return all rows of a block but those of its batches' bytes, which are in the store already."""
    header, after = executed.block.header, executed.after
    counts = tuple(batch.header.count for batch in executed.batches)
    return [
        *_block_rows(executed.block, after.hash, certificate, counts, executed.outcomes),
        *tile_rows(store, b"", executed.log_before, executed.log_added),
        *((rows.state_row_key(key), value) for key, value in executed.view.changes.items()),
        *((rows.node_key(node), row) for node, row in executed.nodes.items()),
        *batch_log_rows(store, after.batch_logs, executed.growth, header.height),
        _tip_row(header, after.hash, after.log.size),
    ]


def _block_rows(
    block: Block,
    block_hash: Hash,
    certificate: QuorumCertificate | None,
    event_counts: tuple[int, ...],
    outcomes: Sequence[Outcome],
) -> list[Put]:
    height = block.header.height
    return [
        (rows.block_key(height), encode(CommittedBlock(block, certificate))),
        (rows.block_hash_key(block_hash), height.to_bytes(8, "big")),
        (rows.execution_key(height), encode(rows.ExecutionRow(event_counts, rejected_of(outcomes)))),
    ]


def _tip_row(header: BlockHeader, block_hash: Hash, log_size: int) -> Put:
    return rows.TIP_KEY, encode(rows.TipRow(header.chain_id, header.height, block_hash, log_size))


def load_standing(store: StagedStore, chain_id: Hash) -> Standing:
    """Return where the chain in the store stands. StorageError where it is another chain or does not fit together."""
    data = store.get(rows.TIP_KEY)
    if data is None:
        raise StorageError("store without a tip", hint="restore a backup, or start with an empty store and catch up")
    tip = rows.read_row(rows.TipRow, data, where="tip")
    if tip.chain_id != chain_id:
        raise StorageError(
            "store of another chain", expected=chain_id, got=tip.chain_id, hint="check the genesis or the home"
        )
    block = store.get(rows.block_key(tip.height))
    if block is None:
        raise StorageError("block of the tip missing", where=f"height {tip.height}")
    header = rows.read_row(CommittedBlock, block, where=f"block {tip.height}").block.header
    if header.hash() != tip.block_hash:
        raise StorageError(
            "block of the tip is another", where=f"height {tip.height}", expected=tip.block_hash, got=header.hash()
        )
    state = CommittedState(store)
    for key in (VALIDATORS_KEY, POLICY_KEY):
        if state.raw(key.encode()) is None:
            raise StorageError("row of the state missing", where=key, hint="run `chainnode fsck`")
    return Standing(
        header=header,
        hash=tip.block_hash,
        state=state,
        log=TileReader(store).tip(tip.log_size),
        batch_logs=load_batch_logs(store),
        validators=read_validators(state),
        policy=read_policy(state),
        rules=read_rules(state),
    )
