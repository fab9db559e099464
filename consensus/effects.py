"""Typed inputs and effects of the replica: all that goes in and all that comes out.

Every `Persist` of a step is on disk, synced, before any `Send` or `Broadcast` of that step leaves: whoever performs the
effects holds to that order. Batches and blocks are persisted by the application, under the same rule.

They are structs of msgspec and not frozen dataclasses, which set every field by a call: each step makes several.
"""

from __future__ import annotations

from msgspec import Struct

from consensus.messages import CosignatureEvidence, Evidence, Message
from consensus.verify import Verified
from primitives.block import Block, CommittedBlock
from primitives.encoding import Record
from primitives.ids import Epoch, Hash, Height, View


class Received(Struct, frozen=True):
    """A verified message from a peer, by the peer's name."""

    peer: str
    message: Verified


class BatchesArrived(Struct, frozen=True):
    """The application holds batches that it lacked before, or has something new to order."""


class Tick(Struct, frozen=True):
    """Time has passed."""


Input = Received | BatchesArrived | Tick


class Persist(Struct, frozen=True):
    """Append a record to the write-ahead log, synced before any send of the same step."""

    record: Record


class Send(Struct, frozen=True):
    """Send a message to one peer."""

    peer: str
    message: Message


class Broadcast(Struct, frozen=True):
    """Send a message to every validator but oneself."""

    message: Message


class FetchBatches(Struct, frozen=True):
    """Ask these peers, in turn, for the bodies of batches."""

    hashes: tuple[Hash, ...]
    peers: tuple[str, ...]


class ServeBlocks(Struct, frozen=True):
    """Send committed blocks from the store to a peer that asked."""

    peer: str
    start: Height
    count: int


class ServeProposals(Struct, frozen=True):
    """Send blocks that are still in flight to a peer that asked for them by hash."""

    peer: str
    blocks: tuple[Block, ...]


class Delivered(Struct, frozen=True):
    """A block was committed; the application has its rows ready to be synced."""

    committed: CommittedBlock
    view: View


class CheckpointStable(Struct, frozen=True):
    """q validators cosigned the log after a block: (validator index, time in seconds, signature), ascending."""

    epoch: Epoch
    height: Height
    size: int
    root: Hash
    cosignatures: tuple[tuple[int, int, bytes], ...]


class ViewEntered(Struct, frozen=True):
    """A view became active here, or (`active` false) a view change towards it began."""

    epoch: Epoch
    view: View
    active: bool
    why: str


class EvidenceFound(Struct, frozen=True):
    """A validator contradicted itself; told again after a restart."""

    evidence: Evidence | CosignatureEvidence


class Refused(Struct, frozen=True):
    """A proposal or message was refused for a reason worth counting; the node goes on."""

    reason: str
    detail: str


class Halt(Struct, frozen=True):
    """Safety cannot be upheld by going on: the node stops, says why, and signs nothing more."""

    reason: str


Effect = (
    Persist
    | Send
    | Broadcast
    | FetchBatches
    | ServeBlocks
    | ServeProposals
    | Delivered
    | CheckpointStable
    | ViewEntered
    | EvidenceFound
    | Refused
    | Halt
)
