"""Reading the committed ledger: blocks, events with their outcomes, the log, checkpoints and the state at any height.

Reads the store only, so it sees what was synced and nothing else; it may run beside the writer. Lists by payment or
certificate come from the separate index (`ledger.queries`), receipts from `ledger.receipts`. Every answer that is not
found is None; a damaged store raises StorageError, a size or index that the log never had ProofError, and what lies
before the base of a store that was made from a snapshot NotHere.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice

from ledger import rows, smt
from ledger.base import NotHere, before_the_base, read_base
from ledger.batches import Batch
from ledger.checkpoint_rows import checkpoint_view
from ledger.committed_state import CommittedState
from ledger.events import Event
from ledger.genesis import Genesis
from ledger.index_places import EVENTS, Index
from ledger.log_tiles import TILE_WIDTH, TileReader, check_size
from ledger.members import read_validators_of
from ledger.outcomes import APPLIED, Outcome, OutcomeProof, prove_outcome
from ledger.packed_map import KEY_SIZE
from ledger.store import StagedStore, Store
from ledger.views import (
    BatchEvidence,
    BlockView,
    CheckpointView,
    ConsistencyView,
    EventView,
    InclusionView,
    Position,
    StateValue,
    Tip,
    event_view,
)
from primitives.block import BlockHeader, CommittedBlock
from primitives.encoding import decoder_of
from primitives.errors import StorageError
from primitives.ids import HASH_BYTES, Epoch, Hash, Height

EPOCHS_CACHED = 256


class LedgerReader:
    """Typed reading over the store of one chain."""

    def __init__(self, store: Store | StagedStore, genesis: Genesis, index: Index | None = None) -> None:
        """Read a store; without its `index` an event is looked for in the whole log."""
        self.store = store
        self._index = index
        self.genesis = genesis
        self.chain_id = genesis.chain_id
        self.origin = genesis.origin
        self.log = TileReader(store)
        self._epochs: dict[int, Epoch] = {}

    # -- blocks

    def base(self) -> Height:
        """Return the height at which the history of this store begins: blocks above it are here, and its state."""
        return read_base(self.store).height

    def first_index(self) -> int:
        """Return the least index of the log whose leaf hash is surely here; 0 where the store holds all of it."""
        base = self.base()
        header = self._header(base) if base else None
        return 0 if header is None else header.first_index + header.event_count

    def tip(self) -> Tip | None:
        """Return where the chain stands; None where the store holds no chain yet."""
        data = self.store.get(rows.TIP_KEY)
        if data is None:
            return None
        row = rows.read_row(rows.TipRow, data, where="tip")
        return Tip(row.height, row.block_hash, row.log_size)

    def committed_block(self, height: int) -> CommittedBlock | None:
        """Return the block at `height` with its certificate."""
        if not 0 <= height <= rows.HEIGHT_MAX:
            return None
        data = self.store.get(rows.block_key(height))
        if data is None:
            self._check_block(height)
            return None
        return rows.read_row(CommittedBlock, data, where=f"block {height}")

    def header(self, height: int) -> BlockHeader | None:
        """Return the header of the block at `height`."""
        committed = self.committed_block(height)
        return None if committed is None else committed.block.header

    def block(self, height: int) -> BlockView | None:
        """Return the block at `height`."""
        committed = self.committed_block(height)
        if committed is None:
            return None
        header = committed.block.header
        rejected = len(self._execution(height).rejected)
        return BlockView(header, header.hash(), committed.block.batch_hashes, committed.certificate, rejected)

    def block_by_hash(self, block_hash: bytes) -> BlockView | None:
        """Return the committed block with this hash."""
        data = self.store.get(rows.block_hash_key(block_hash))
        return None if data is None else self.block(int.from_bytes(data, "big"))

    def blocks(self, start: int, count: int, *, descending: bool = False) -> list[BlockView]:
        """Return up to `count` blocks from height `start` on, upwards or downwards; the base ends a run of them.

        NotHere where not even the first is here.
        """
        heights = range(start, start - count, -1) if descending else range(start, start + count)
        found: list[BlockView] = []
        for height in heights:
            try:
                block = self.block(height)
            except NotHere:
                if not found:
                    raise
                break
            if block is None:
                break
            found.append(block)
        return found

    def height_at_log_index(self, log_index: int) -> Height | None:
        """Return the height of the block that holds leaf `log_index` (an event's or a header's)."""
        tip = self.tip()
        if tip is None or not 0 <= log_index < tip.log_size:
            return None
        self._check_index(log_index)
        return self._last_height(tip, lambda header: header.first_index <= log_index)

    def epoch_at_size(self, size: int) -> Epoch:
        """Return the epoch of the block that leaf `size` - 1 of the log belongs to, which must be here."""
        known = self._epochs.get(size)
        if known is not None:
            return known
        height = self.height_at_log_index(size - 1)
        header = None if height is None else self.header(height)
        assert header is not None, "a stable checkpoint is of blocks that are here"
        if len(self._epochs) >= EPOCHS_CACHED:
            self._epochs.clear()
        self._epochs[size] = header.epoch
        return header.epoch

    def height_at_time(self, time_ms: int) -> Height | None:
        """Return the height of the last block whose time is not after `time_ms`; None before genesis."""
        tip = self.tip()
        if tip is None or self._header(0).time_ms > time_ms:
            return None
        return self._last_height(tip, lambda header: header.time_ms <= time_ms)

    def height_at_epoch_end(self, epoch: int) -> Height | None:
        """Return the height of an epoch's last block; None for one that is not over, or whose end is not here."""
        tip = self.tip()
        if tip is None or not 0 <= epoch < self._epochs_over(self._header(tip.height)):
            return None
        return self._last_height(tip, lambda header: header.epoch <= epoch)

    def _epochs_over(self, header: BlockHeader) -> int:
        """Return how many epochs are over with a block: with that of its own where it names other validators."""
        present = read_validators_of(CommittedState(self.store), header.epoch)
        return header.epoch + (present is not None and present.hash != header.next_validators)

    def _last_height(self, tip: Tip, holds: Callable[[BlockHeader], bool]) -> Height:
        """Return the last height whose header `holds`: height 0 must, and none above the first that does not.

        NotHere where it lies before the base.
        """
        low, high = int(self.base()), int(tip.height)
        if low and not holds(self._header(low)):
            raise before_the_base("the block that is asked for", low)
        while low < high:
            middle = (low + high + 1) // 2
            if holds(self._header(middle)):
                low = middle
            else:
                high = middle - 1
        return Height(low)

    # -- events

    def positions(self, event_id: bytes) -> Iterator[Position]:
        """Yield every place at which this event was ordered, the first first."""
        reached = None if self._index is None else self._index.reached
        above = self.first_index() if reached is None else self._size_after(reached.height)
        if self._index is not None:
            for place in self._index.places(EVENTS, event_id[:KEY_SIZE]):
                height, index = rows.parse_position(place)
                log_index = self._header(height).first_index + index
                # Two ids may begin alike; and while this reads on, the index goes on above what it had reached.
                if log_index < above and self.log.leaf_hash(log_index) == event_id:
                    yield Position(Height(height), index, log_index)
        yield from self._positions_above(above, event_id)

    def _size_after(self, height: int) -> int:
        """Return the log's size with the block at `height`."""
        header = self._header(height)
        return header.first_index + header.event_count + 1

    def _positions_above(self, start: int, event_id: bytes) -> Iterator[Position]:
        """Yield the places of an event among the leaves from `start` on: its id is its leaf's hash."""
        for tile in range(start // TILE_WIDTH, -(-self.log_size() // TILE_WIDTH)):
            hashes = self.log.tile(0, tile)
            found = hashes.find(event_id)
            while found >= 0:
                log_index = tile * TILE_WIDTH + found // HASH_BYTES
                is_here = found % HASH_BYTES == 0 and log_index >= start
                height = self.height_at_log_index(log_index) if is_here else None
                if height is not None:
                    index = log_index - self._header(height).first_index
                    if index < self._header(height).event_count:  # no header's own leaf
                        yield Position(height, index, log_index)
                found = hashes.find(event_id, found + 1)

    def position(self, event_id: bytes) -> Position | None:
        """Return the place that counts: the first at which the event was applied, else the first."""
        first: Position | None = None
        for place in self.positions(event_id):
            if self.outcome(place.height, place.index).applied:
                return place
            first = first or place
        return first

    def event(self, event_id: bytes) -> EventView | None:
        """Return the event with this id, at the place that counts."""
        place = self.position(event_id)
        return None if place is None else self.event_at(place.height, place.index)

    def event_at(self, height: int, index: int) -> EventView | None:
        """Return event `index` of the block at `height`."""
        committed = self.committed_block(height)
        if committed is None or not 0 <= index < committed.block.header.event_count:
            return None
        execution = self._execution(height)
        number, offset = execution.locate(index)
        batch_hash = committed.block.batch_hashes[number]
        batch = self._batch(batch_hash)
        return event_view(committed.block.header, batch_hash, batch, index, offset, dict(execution.rejected))

    def block_events(self, height: int, start: int = 0, count: int | None = None) -> list[EventView]:
        """Return events `start` up to `start + count` of the block at `height`, in order."""
        committed = self.committed_block(height)
        if committed is None:
            return []
        execution = self._execution(height)
        rejected = dict(execution.rejected)
        stop = committed.block.header.event_count if count is None else start + count
        found: list[EventView] = []
        first = 0
        for batch_hash, length in zip(committed.block.batch_hashes, execution.event_counts, strict=True):
            offsets = range(max(0, start - first), min(length, stop - first))
            if offsets:
                batch = self._batch(batch_hash)
                found.extend(
                    event_view(committed.block.header, batch_hash, batch, first + offset, offset, rejected)
                    for offset in offsets
                )
            first += length
        return found

    def events_of(self, height: int, indexes: Iterable[int]) -> list[EventView]:
        """Return these events of the block at `height`, which must exist, in order; each batch is read once."""
        committed = self.committed_block(height)
        if committed is None:
            raise StorageError("block missing", where=f"height {height}", hint="run `chainnode fsck`")
        execution = self._execution(height)
        rejected = dict(execution.rejected)
        found: list[EventView] = []
        for number, here in groupby(sorted(indexes), key=lambda index: execution.locate(index)[0]):
            batch_hash = committed.block.batch_hashes[number]
            batch = self._batch(batch_hash)
            for index in here:
                offset = execution.locate(index)[1]
                found.append(event_view(committed.block.header, batch_hash, batch, index, offset, rejected))
        return found

    def recorded(self, height: int) -> tuple[list[Event], frozenset[int]]:
        """Return the events of the block at `height`, which must exist, and the indexes of those not applied."""
        batches, rejected = self.recorded_batches(height)
        decode_event = decoder_of(Event).decode
        return [decode_event(data) for batch in batches for data in batch.events], rejected

    def recorded_batches(self, height: int) -> tuple[list[Batch], frozenset[int]]:
        """Return the batches of the block at `height`, which must exist, and the indexes of events not applied."""
        committed = self.committed_block(height)
        if committed is None:
            raise StorageError("block missing", where=f"height {height}", hint="run `chainnode fsck`")
        batches = [self._batch(batch_hash) for batch_hash in committed.block.batch_hashes]
        return batches, frozenset(index for index, _ in self._execution(height).rejected)

    def outcome(self, height: int, index: int) -> Outcome:
        """Return what became of event `index` of the block at `height`, which must exist."""
        return dict(self._execution(height).rejected).get(index, APPLIED)

    def outcomes(self, height: int) -> list[Outcome]:
        """Return the outcomes of all events of the block at `height`, which must exist."""
        execution = self._execution(height)
        outcomes = [APPLIED] * sum(execution.event_counts)
        for index, outcome in execution.rejected:
            outcomes[index] = outcome
        return outcomes

    def outcome_proof(self, height: int, index: int) -> OutcomeProof:
        """Return the proof of one outcome against the outcomes root of its block, which must exist."""
        return prove_outcome(self.outcomes(height), index)

    def batch_bytes(self, batch_hash: bytes) -> bytes | None:
        """Return the bytes of a batch that is held, ordered or not."""
        return self.store.get(rows.batch_key(batch_hash))

    def rejected(self, height: int) -> tuple[tuple[int, Outcome], ...]:
        """Return the index and outcome of each event that was not applied, of the block at `height`, which exists."""
        return self._execution(height).rejected

    def batch_place(self, height: int, batch_hash: bytes) -> int:
        """Return the log index of the first event of a batch of the block at `height`, which holds it."""
        committed = self.committed_block(height)
        if committed is None or batch_hash not in committed.block.batch_hashes:
            raise StorageError("batch is not of its block", where=f"height {height}", hint="run `chainnode fsck`")
        number = committed.block.batch_hashes.index(Hash(batch_hash))
        return committed.block.header.first_index + sum(self._execution(height).event_counts[:number])

    def batch_evidence(self, height: int, index: int) -> BatchEvidence:
        """Return what a receipt needs of the batch that holds event `index` of the block at `height`."""
        committed = self.committed_block(height)
        if committed is None:
            raise StorageError("block missing", where=f"height {height}")
        execution = self._execution(height)
        number, offset = execution.locate(index)
        batch = self._batch(committed.block.batch_hashes[number])
        first = committed.block.header.first_index + index - offset
        ids = tuple(self.log.leaf_hashes(first, first + execution.event_counts[number]))
        return BatchEvidence(batch.header, batch.signature, batch.events[offset], offset, ids)

    # -- the log

    def log_size(self) -> int:
        """Return the number of leaves of the log."""
        tip = self.tip()
        return 0 if tip is None else tip.log_size

    def log_root(self, size: int) -> Hash:
        """Return the root of the first `size` leaves."""
        check_size(size, self.log_size())
        if size:
            self._check_index(size)
        return self.log.root(size)

    def inclusion(self, log_index: int, size: int) -> InclusionView:
        """Return the proof that leaf `log_index` stands in the log of `size` leaves."""
        check_size(size, self.log_size())
        self._check_index(log_index)
        path = self.log.inclusion(log_index, size)
        return InclusionView(log_index, size, self.log.root(size), self.log.leaf_hash(log_index), tuple(path))

    def consistency(self, old_size: int, new_size: int) -> ConsistencyView:
        """Return the proof that the log of `new_size` leaves extends that of `old_size`."""
        check_size(new_size, self.log_size())
        check_size(old_size, new_size)
        if old_size:
            self._check_index(old_size)
        path = self.log.consistency(old_size, new_size)
        return ConsistencyView(old_size, self.log.root(old_size), new_size, self.log.root(new_size), tuple(path))

    def tile(self, level: int, index: int, width: int = TILE_WIDTH) -> bytes | None:
        """Return the first `width` hashes of a tile as C2SP tlog-tiles serves it; None where there are fewer.

        NotHere for a tile that ends before the base: C2SP's minimum index is `first_index`.
        """
        if not (0 <= level < 8 and 0 <= index < 1 << 48 and 1 <= width <= TILE_WIDTH):
            return None
        data = self.log.tile(level, index)[: width * 32]
        if len(data) == width * 32:
            return data
        if (index + 1) << 8 * (level + 1) <= self.first_index():
            raise before_the_base("this tile", self.base())
        return None

    def leaves(self, start: int, stop: int) -> list[bytes]:
        """Return the leaves [start, stop) of the log: events with their kind byte, headers with a zero byte."""
        found: list[bytes] = []
        height = self.height_at_log_index(start)
        while height is not None and start < stop:
            header = self._header(height)
            end = header.first_index + header.event_count
            first = start - header.first_index
            views = self.block_events(height, first, min(stop, end) - start) if start < end else []
            found.extend(view.leaf for view in views)
            start += len(views)
            if start == end < stop:
                found.append(header.leaf())
                start += 1
            height = Height(height + 1)
        return found

    def entry_bundle(self, index: int, width: int = TILE_WIDTH) -> bytes | None:
        """Return the first `width` entries of a bundle, each after its 16-bit length; None where there are fewer."""
        start = index * TILE_WIDTH
        if not (1 <= width <= TILE_WIDTH and index >= 0 and start + width <= self.log_size()):
            return None
        return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in self.leaves(start, start + width))

    # -- checkpoints

    def checkpoint(self, size_min: int = 0) -> CheckpointView | None:
        """Return the latest stable checkpoint, if its size is at least `size_min`."""
        start, stop = rows.all_of(b"c")
        for _, data in self.store.iterate(start, stop, reverse=True):
            view = checkpoint_view(data)
            return view if view.size >= size_min else None
        return None

    def checkpoints(self, after: int | None, count: int, *, descending: bool = True) -> list[CheckpointView]:
        """Return up to `count` stable checkpoints that are still kept, those after a size, the largest first."""
        start, stop = rows.all_of(b"c")
        if after is not None and descending:
            stop = rows.checkpoint_key(after)
        elif after is not None:
            start = rows.checkpoint_key(after + 1)
        return [checkpoint_view(data) for _, data in islice(self.store.iterate(start, stop, reverse=descending), count)]

    def checkpoint_at(self, size: int) -> CheckpointView | None:
        """Return the stable checkpoint of exactly this size, if it is still kept."""
        data = self.store.get(rows.checkpoint_key(size))
        return None if data is None else checkpoint_view(data)

    # -- the state

    def state_value(self, key: bytes | str, height: int | None = None) -> StateValue | None:
        """Return a key's value, or its absence, at `height` (default: the tip) with the proof; None above the tip."""
        tip = self.tip()
        if height is not None and 0 <= height < self.base():
            raise before_the_base(f"the state of block {height}", self.base())
        header = None if tip is None else self.header(tip.height if height is None else height)
        if header is None:
            return None
        name = key.encode() if isinstance(key, str) else key
        value, proof = smt.lookup(header.state_root, name, lambda node: self.store.get(rows.node_key(node)))
        return StateValue(name, value, proof, header)

    # -- rows

    def _check_block(self, height: int) -> None:
        """Raise NotHere where what is missing of a block lies before the base."""
        base = self.base()
        if 0 < height <= base:
            raise before_the_base(f"block {height}", base)

    def _check_index(self, log_index: int) -> None:
        """Raise NotHere for a leaf, or the size of a log, before the base."""
        if 0 <= log_index < self.first_index():
            raise before_the_base("this part of the log", self.base(), got=log_index)

    def _header(self, height: int) -> BlockHeader:
        header = self.header(height)
        if header is None:
            raise StorageError("block missing", where=f"height {height}", hint="run `chainnode fsck`")
        return header

    def _execution(self, height: int) -> rows.ExecutionRow:
        data = self.store.get(rows.execution_key(height))
        if data is None:
            self._check_block(height)
            raise StorageError("outcomes missing", where=f"height {height}", hint="run `chainnode fsck`")
        return rows.read_row(rows.ExecutionRow, data, where=f"outcomes of block {height}")

    def _batch(self, batch_hash: bytes) -> Batch:
        raw = self.store.get(rows.batch_key(batch_hash))
        if raw is None:
            raise StorageError("batch missing", where=f"batch {batch_hash.hex()}", hint="run `chainnode fsck`")
        return rows.read_row(Batch, raw, where=f"batch {batch_hash.hex()}")
