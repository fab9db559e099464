"""Typed inputs and effects of the replica: all that goes in and all that comes out.

Every `Persist` of a step is on disk, synced, before any `Send` or `Broadcast` of that step leaves: whoever performs the
effects holds to that order. Batches and blocks are persisted by the application, under the same rule.
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus.messages import CosignatureEvidence, Evidence, Message
from consensus.verify import Verified
from primitives.block import Block, CommittedBlock
from primitives.encoding import Record
from primitives.ids import Epoch, Hash, Height, View


@dataclass(frozen=True, slots=True)
class Received:
    """A verified message from a peer, by the peer's name."""

    peer: str
    message: Verified


@dataclass(frozen=True, slots=True)
class BatchesArrived:
    """The application holds batches that it lacked before, or has something new to order."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Input = Received | BatchesArrived | Tick


@dataclass(frozen=True, slots=True)
class Persist:
    """Append a record to the write-ahead log, synced before any send of the same step."""

    record: Record


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to one peer."""

    peer: str
    message: Message


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send a message to every validator but oneself."""

    message: Message


@dataclass(frozen=True, slots=True)
class FetchBatches:
    """Ask these peers, in turn, for the bodies of batches."""

    hashes: tuple[Hash, ...]
    peers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServeBlocks:
    """Send committed blocks from the store to a peer that asked."""

    peer: str
    start: Height
    count: int


@dataclass(frozen=True, slots=True)
class ServeProposals:
    """Send blocks that are still in flight to a peer that asked for them by hash."""

    peer: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Delivered:
    """A block was committed; the application has its rows ready to be synced."""

    committed: CommittedBlock
    view: View


@dataclass(frozen=True, slots=True)
class CheckpointStable:
    """q validators cosigned the log after a block: (validator index, time in seconds, signature), ascending."""

    epoch: Epoch
    height: Height
    size: int
    root: Hash
    cosignatures: tuple[tuple[int, int, bytes], ...]


@dataclass(frozen=True, slots=True)
class ViewEntered:
    """A view became active here, or (`active` false) a view change towards it began."""

    epoch: Epoch
    view: View
    active: bool
    why: str


@dataclass(frozen=True, slots=True)
class EvidenceFound:
    """A validator contradicted itself; told again after a restart."""

    evidence: Evidence | CosignatureEvidence


@dataclass(frozen=True, slots=True)
class Refused:
    """A proposal or message was refused for a reason worth counting; the node goes on."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Halt:
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
