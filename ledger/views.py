"""What reading the committed ledger gives: where things stand, events and blocks as ordered, proofs and checkpoints.

Who reads them out of the store is `ledger.reader`.
"""

from dataclasses import dataclass

from ledger.batch_headers import BatchHeader
from ledger.batches import Batch
from ledger.events import Event, event_id, event_leaf
from ledger.outcomes import APPLIED, Outcome
from ledger.smt import StateProof
from primitives.block import BlockHeader
from primitives.encoding import decoder_of
from primitives.ids import EventId, Hash, Height, SourceKey, TimeMs
from primitives.votes import QuorumCertificate


@dataclass(frozen=True, slots=True)
class Tip:
    """Where the committed chain stands; `log_size` includes the block's own header leaf."""

    height: Height
    block_hash: Hash
    log_size: int


@dataclass(frozen=True, slots=True)
class Position:
    """Where an event stands: block, 0-based index in the block, 0-based index in the log."""

    height: Height
    index: int
    log_index: int


@dataclass(frozen=True, slots=True)
class EventView:
    """An event as it was ordered, with what became of it."""

    id: EventId
    event: Event
    event_bytes: bytes
    position: Position
    time_ms: TimeMs
    outcome: Outcome
    source: SourceKey
    batch_hash: Hash

    @property
    def leaf(self) -> bytes:
        """The event's leaf in the log."""
        return event_leaf(self.event_bytes, self.event.kind)


@dataclass(frozen=True, slots=True)
class BlockView:
    """A committed block; `certificate` is None for height 0 only. `log_index` is that of the header's leaf."""

    header: BlockHeader
    hash: Hash
    batch_hashes: tuple[Hash, ...]
    certificate: QuorumCertificate | None
    rejected_count: int

    @property
    def log_index(self) -> int:
        """The log index of the header's own leaf."""
        return self.header.first_index + self.header.event_count


@dataclass(frozen=True, slots=True)
class InclusionView:
    """The proof that leaf `index` stands in the log of `size` leaves with `root`."""

    index: int
    size: int
    root: Hash
    leaf_hash: Hash
    path: tuple[Hash, ...]


@dataclass(frozen=True, slots=True)
class ConsistencyView:
    """The proof that the log of `new_size` leaves extends that of `old_size`."""

    old_size: int
    old_root: Hash
    new_size: int
    new_root: Hash
    path: tuple[Hash, ...]


@dataclass(frozen=True, slots=True)
class CheckpointView:
    """A stable checkpoint: log size, root and the whole signed note."""

    size: int
    root: Hash
    note: str


@dataclass(frozen=True, slots=True)
class StateValue:
    """A state key's canonical value at a height (None: it is absent), proved against that block's state root."""

    key: bytes
    value: bytes | None
    proof: StateProof
    header: BlockHeader


@dataclass(frozen=True, slots=True)
class BatchEvidence:
    """What a receipt says of an event and its batch: the event's bytes and index in it, and the ids of all events."""

    header: BatchHeader
    signature: bytes
    event: bytes
    index: int
    ids: tuple[EventId, ...]


def event_view(
    header: BlockHeader, batch_hash: Hash, batch: Batch, index: int, offset: int, rejected: dict[int, Outcome]
) -> EventView:
    """Return event `index` of a block, which is event `offset` of its batch; `rejected` are the block's."""
    data = batch.events[offset]
    event: Event = decoder_of(Event).decode(data)
    position = Position(header.height, index, header.first_index + index)
    outcome = rejected.get(index, APPLIED)
    source = SourceKey(batch.header.source)
    return EventView(event_id(data, event.kind), event, data, position, header.time_ms, outcome, source, batch_hash)
