"""What a replica starts from, read from the store: its newest block, and the validators of the epoch before.

Not here: what the write-ahead log gives back (`consensus.replica`), and the ledger's own standing (`ledger.chain`).
"""

from __future__ import annotations

from consensus.ordering import CERTIFICATES_KEPT, HASHES_KEPT
from consensus.state import Tip
from ledger.chain import Chain
from ledger.members import VALIDATORS_KEY
from ledger.reader import LedgerReader
from ledger.state import STATE_VALUE_SIZE_MAX
from primitives.block import BlockHeader
from primitives.encoding import decode
from primitives.errors import StorageError
from primitives.ids import Epoch, Hash
from primitives.validators import ValidatorSet


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
        block = reader.block(height)
        assert block is not None, f"block {height} below the tip is in the store"
        recent[block.header.height] = block.hash
        if block.certificate is not None:
            certificates.append(block.certificate)
    return Tip(chain.height, chain.tip_hash, chain.header.time_ms, tuple(certificates[-CERTIFICATES_KEPT:]), recent)


def previous_validators(reader: LedgerReader, tip: BlockHeader, epoch: Epoch) -> ValidatorSet | None:
    """Return the set of the epoch before `epoch`, None in the first: VIEW-CHANGEs rest on its certificates for a while.

    The state after a barrier's parent names the set that the barrier was voted by. `StorageError` where it does not.
    """
    if epoch == 0:
        return None
    parent = _barrier(reader, tip, epoch) - 1
    value = reader.state_value(VALIDATORS_KEY, parent)
    raw = None if value is None else value.value
    found = None if raw is None else decode(ValidatorSet, raw, size_max=STATE_VALUE_SIZE_MAX)
    if found is None or found.epoch != epoch - 1:
        raise StorageError("the validators of the epoch before", where=f"state after block {parent}")
    return found


def _barrier(reader: LedgerReader, tip: BlockHeader, epoch: Epoch) -> int:
    """Return the height of the last block of an earlier epoch; epochs never fall, so halving finds it."""
    low, high = 0, int(tip.height)
    while low < high:
        middle = (low + high + 1) // 2
        header = reader.header(middle)
        if header is None:
            raise StorageError("block missing", where=f"height {middle}", hint="run `chainnode fsck`")
        low, high = (middle, high) if header.epoch < epoch else (low, middle - 1)
    return low
