"""The messages that replicas exchange, as canonical Records, with their wire kinds and size limits.

Not here: what makes a message valid (`verify`), what it does (`ordering`, `view_change`, `catch_up`). A peer's message
names its epoch and view; a signature covers the chain id besides. Source: PBFT (Castro and Liskov, 1999), chained.
"""

from __future__ import annotations

from typing import Final

from primitives.block import Block, CommittedBlock
from primitives.encoding import Record, decode, encode
from primitives.errors import EncodingError
from primitives.hashing import statement
from primitives.ids import Epoch, Hash, Height, View
from primitives.votes import QuorumCertificate

WINDOW: Final = 8
"""Heights that may be voted on above the delivered one."""

BUFFER_HEIGHTS: Final = 2 * WINDOW
"""Heights above the delivered one for which votes and proposals are kept: a peer may have delivered WINDOW more."""

BLOCKS_PER_FETCH_MAX: Final = 64
PROPOSALS_PER_FETCH_MAX: Final = WINDOW
TIME_MS_MAX: Final = 2**53
VIEW_MAX: Final = 2**40


class PrePrepare(Record):
    """A leader's proposal in a view; `signature` is the leader's own PREPARE vote for it."""

    epoch: Epoch
    view: View
    block: Block
    signature: bytes


class Vote(Record):
    """A PREPARE (phase 1) or COMMIT (phase 2) of one validator, by index in the epoch's set."""

    phase: int
    epoch: Epoch
    view: View
    height: Height
    block_hash: Hash
    validator: int
    signature: bytes


class Claim(Record):
    """A block above the delivered one that its sender committed to, with the prepare certificate it rested on."""

    block: Block
    certificate: QuorumCertificate


class ViewChange(Record):
    """A validator's vow to end voting below `view`.

    `delivered` holds the commit certificates of its newest blocks, gapless and ascending, at most WINDOW of them: a
    lone certificate above a gap proves no deliverable base (an honest vote for height h proves that h - WINDOW was
    delivered by an honest node, so WINDOW certificates close every gap). Those of epochs before the last one are left
    out: everybody in this epoch delivered the last one's barrier.
    """

    epoch: Epoch
    view: View
    validator: int
    delivered: tuple[QuorumCertificate, ...]
    claims: tuple[Claim, ...]
    signature: bytes

    def statement(self, chain_id: Hash) -> bytes:
        """Return the bytes that its signature covers."""
        return statement("view-change", chain_id, self.epoch, self.view, self.validator, self.delivered, self.claims)

    @property
    def delivered_height(self) -> Height:
        """The height of the newest delivered block; 0 where it is the genesis block."""
        return self.delivered[-1].height if self.delivered else Height(0)


class NewView(Record):
    """A new leader's proof that its view may start: VIEW-CHANGEs of a quorum, ascending by validator."""

    epoch: Epoch
    view: View
    view_changes: tuple[ViewChange, ...]
    signature: bytes

    def statement(self, chain_id: Hash) -> bytes:
        """Return the bytes that its signature covers."""
        return statement("new-view", chain_id, self.epoch, self.view, self.view_changes)


class CheckpointVote(Record):
    """A validator's C2SP cosignature of the log after a block: `signature` covers the checkpoint text at `time_s`."""

    epoch: Epoch
    height: Height
    size: int
    root: Hash
    time_s: int
    validator: int
    signature: bytes


class Status(Record):
    """Where a replica stands; unsigned, so it proves nothing and only asks for what it lacks.

    `votes` says whether its sender may vote in its epoch: an observer and a learner do not, nor does one that halted or
    whose ledger is still below what it signed.
    """

    epoch: Epoch
    view: View
    active: bool
    delivered: Height
    prepared: Height
    stable: Height
    votes: bool


class FetchBlocks(Record):
    """Asks for committed blocks from a height on."""

    start: Height
    count: int


class Blocks(Record):
    """Committed blocks in ascending order, each with the bytes of its batches where they fit."""

    blocks: tuple[CommittedBlock, ...]
    batches: tuple[bytes, ...]


class FetchProposals(Record):
    """Asks for blocks by hash, delivered or only proposed."""

    hashes: tuple[Hash, ...]


class Proposals(Record):
    """Blocks by hash; each proves itself, since its header hashes to what was asked."""

    blocks: tuple[Block, ...]


class Evidence(Record):
    """Two votes of one validator for the same epoch, view, height and phase that name different blocks."""

    first: Vote
    second: Vote


class CosignatureEvidence(Record):
    """Two cosignatures of one validator: of one size with two roots, or a later one of a smaller log."""

    first: CheckpointVote
    second: CheckpointVote


Message = (
    PrePrepare
    | Vote
    | ViewChange
    | NewView
    | CheckpointVote
    | Status
    | FetchBlocks
    | Blocks
    | FetchProposals
    | Proposals
    | Evidence
    | CosignatureEvidence
)

KIB: Final = 1024
KINDS: Final[dict[int, tuple[type[Record], int]]] = {
    1: (PrePrepare, 32 * KIB),
    2: (Vote, KIB),
    3: (ViewChange, 512 * KIB),
    4: (NewView, 8 * KIB * KIB),
    5: (CheckpointVote, KIB),
    6: (Status, KIB),
    7: (FetchBlocks, KIB),
    8: (Blocks, 12 * KIB * KIB),
    9: (FetchProposals, KIB),
    10: (Proposals, 256 * KIB),
    11: (Evidence, 2 * KIB),
    12: (CosignatureEvidence, 2 * KIB),
}
"""Wire kind to type and largest size in bytes."""

_KIND_OF: Final = {type_: kind for kind, (type_, _) in KINDS.items()}


def kind_of(message: Message) -> int:
    """Return the wire kind of a message."""
    return _KIND_OF[type(message)]


def encode_message(message: Message) -> bytes:
    """Return a message's payload."""
    return encode(message)


def decode_message(kind: int, payload: bytes) -> Message:
    """Return the message of a payload; `EncodingError` where kind, size, type or form do not fit."""
    entry = KINDS.get(kind)
    if entry is None:
        raise EncodingError("unknown kind of consensus message", expected=f"1 to {len(KINDS)}", got=kind)
    type_, size_max = entry
    return decode(type_, payload, size_max=size_max)  # type: ignore[return-value]  # KINDS holds just these types
