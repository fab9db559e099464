"""What happened in a run, as typed entries, and each message in one line of the field's words.

Off unless a `Journal` is given to the cluster: a run without one does no work for it. Diagrams, scenarios and people
read it; nothing in a run depends on it. Times are milliseconds since the run's start.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, field
from hashlib import sha256
from typing import Final

from chainnode.core import BATCH, BATCH_HAVE, BATCH_WANT, READY, WIRE_KINDS, BatchIds
from consensus.messages import (
    Blocks,
    CheckpointVote,
    Claim,
    CosignatureEvidence,
    Evidence,
    FetchBlocks,
    FetchProposals,
    NewView,
    PrePrepare,
    Proposals,
    Status,
    ViewChange,
    Vote,
    decode_message,
)
from ledger.batches import BATCH_SIZE_MAX, parse_batch
from ledger.governance_bodies import Ready
from primitives.block import Block
from primitives.encoding import decode, encode
from primitives.errors import InputError
from primitives.votes import COMMIT, PREPARE

SHORT_HASH_CHARACTERS: Final = 6
HASHES_SHOWN_MAX: Final = 3
_PHASES: Final = {PREPARE: "PREPARE", COMMIT: "COMMIT"}


@dataclass(frozen=True, slots=True)
class Sent:
    """A message left a node for another; `number` is its own in this run, also where it is lost or comes twice."""

    number: int
    at_ms: int
    sender: int
    receiver: int
    kind: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Arrived:
    """A copy of a message reached its receiver, and was handed to it."""

    number: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Lost:
    """A copy of a message did not arrive: `cut` link, `weather`, `script`, or the receiver was `down`."""

    number: int
    at_ms: int
    why: str


@dataclass(frozen=True, slots=True)
class Happened:
    """Something at a node, or (`node` None) in the world: starts, crashes, views, deliveries, refusals, faults."""

    at_ms: int
    node: int | None
    text: str


Entry = Sent | Arrived | Lost | Happened


@dataclass(slots=True)
class Journal:
    """The entries of one run in the order in which they happened."""

    entries: list[Entry] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Note one entry."""
        self.entries.append(entry)

    def digest(self) -> str:
        """Return a hash of all entries: of one scenario the same in every process, and on every version of Python."""
        found = sha256()
        for entry in self.entries:
            found.update(encode((type(entry).__name__, *astuple(entry))))
        return found.hexdigest()


def describe(kind: int, payload: bytes) -> str:
    """Return one line for a message; whatever the bytes are, it raises nothing."""
    name = WIRE_KINDS[kind][0] if kind in WIRE_KINDS else f"kind {kind}"
    try:
        if kind == BATCH:
            batch = parse_batch(payload)
            header = batch.header
            return f"BATCH {short(batch.hash)} of {header.member}, number {header.number}, events {header.count}"
        if kind in (BATCH_WANT, BATCH_HAVE):
            word = "WANT" if kind == BATCH_WANT else "HAVE"
            return f"{word} {_hashes(decode(BatchIds, payload, size_max=BATCH_SIZE_MAX).hashes)}"
        if kind == READY:
            said = decode(Ready, payload, size_max=WIRE_KINDS[READY][1])
            return f"READY at h{said.height} {short(said.block_hash)} for proposal {short(said.proposal)}"
        return _consensus(decode_message(kind, payload))
    except InputError:
        return f"{name} that does not decode, {len(payload)} bytes"


def short(digest: bytes) -> str:
    """Return the first characters of a hash."""
    return digest.hex()[:SHORT_HASH_CHARACTERS]


def _consensus(message: object) -> str:
    match message:
        case PrePrepare(epoch, view, block):
            return f"PRE-PREPARE {_place(epoch, view)} {_block(block)}, batches {len(block.batch_hashes)}"
        case Vote():
            return _vote(message)
        case ViewChange():
            claims = "" if not message.claims else f", claims {', '.join(map(_claim, message.claims))}"
            place = _place(message.epoch, message.view)
            return f"VIEW-CHANGE {place} by {message.validator}, delivered h{message.delivered_height}{claims}"
        case NewView():
            signers = " ".join(str(change.validator) for change in message.view_changes)
            return f"NEW-VIEW {_place(message.epoch, message.view)} on the VIEW-CHANGEs of {signers}"
        case CheckpointVote():
            log = f"size {message.size} {short(message.root)}"
            return f"CHECKPOINT h{message.height} {log} by {message.validator}"
        case Evidence(first, second):
            return f"EVIDENCE against {first.validator}: {_vote(first)} and {_vote(second)}"
        case CosignatureEvidence(first, second):
            return f"EVIDENCE against {first.validator}: {_consensus(first)} and {_consensus(second)}"
        case _:
            return _request(message)


def _request(message: object) -> str:
    match message:
        case Status():
            state = "in" if message.active else "leaving for"
            heights = f"delivered h{message.delivered}, prepared h{message.prepared}, stable h{message.stable}"
            return f"STATUS {state} {_place(message.epoch, message.view)}, {heights}"
        case FetchBlocks(start, count):
            return f"FETCH blocks from h{start}, at most {count}"
        case Blocks(blocks, batches):
            heights = _blocks(item.block for item in blocks)
            return f"BLOCKS {heights}, batches {len(batches)}"
        case FetchProposals(hashes):
            return f"FETCH proposals {_hashes(hashes)}"
        case Proposals(blocks):
            return f"PROPOSALS {_blocks(blocks)}"
        case _:
            return type(message).__name__


def _place(epoch: int, view: int) -> str:
    return f"v{view}" if epoch == 0 else f"e{epoch} v{view}"


def _block(block: Block) -> str:
    return f"h{block.header.height} {short(block.header.hash())}"


def _vote(vote: Vote) -> str:
    phase = _PHASES.get(vote.phase, f"vote of phase {vote.phase}")
    return f"{phase} {_place(vote.epoch, vote.view)} h{vote.height} {short(vote.block_hash)} by {vote.validator}"


def _claim(claim: Claim) -> str:
    return f"{_block(claim.block)} of v{claim.certificate.view}"


def _blocks(blocks: Iterable[Block]) -> str:
    return ", ".join(map(_block, blocks)) or "none"


def _hashes(hashes: tuple[bytes, ...]) -> str:
    shown = " ".join(map(short, hashes[:HASHES_SHOWN_MAX]))
    return shown if len(hashes) <= HASHES_SHOWN_MAX else f"{shown} and {len(hashes) - HASHES_SHOWN_MAX} more"
