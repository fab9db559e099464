"""What a replica writes to its write-ahead log, and must find there again before it may vote.

Each record is written and synced before the message that it stands for leaves. Encoded as (kind, canonical bytes).
"""

from __future__ import annotations

from typing import Final

from consensus.messages import CheckpointVote, CosignatureEvidence, Evidence, NewView, PrePrepare, ViewChange, Vote
from primitives.encoding import Record, decode, encode
from primitives.errors import StorageError
from primitives.ids import Epoch, Hash, Height
from primitives.votes import QuorumCertificate

RECORD_BYTES_MAX: Final = 16 * 1024 * 1024


class Proposed(Record):
    """A proposal that this replica made or accepted."""

    proposal: PrePrepare


class Prepared(Record):
    """This replica's PREPARE."""

    vote: Vote


class Committed(Record):
    """This replica's COMMIT and the prepare certificate on which it rests."""

    vote: Vote
    certificate: QuorumCertificate


class ViewChanged(Record):
    """This replica's VIEW-CHANGE."""

    view_change: ViewChange


class ViewStarted(Record):
    """The NEW-VIEW under which this replica votes."""

    new_view: NewView


class Cosigned(Record):
    """This replica's newest cosignature: size and root never fall."""

    vote: CheckpointVote


class Reached(Record):
    """How far this replica had delivered when its log was cut: votes up to there are no longer in it."""

    epoch: Epoch
    height: Height


class Accused(Record):
    """Two votes of a validator that contradict each other: they may not be on the chain yet."""

    evidence: Evidence


class AccusedCosigner(Record):
    """Two cosignatures of a validator that contradict each other."""

    evidence: CosignatureEvidence


class _Framed(Record):
    kind: int
    body: bytes


TYPES: Final[tuple[type[Record], ...]] = (
    Proposed,
    Prepared,
    Committed,
    ViewChanged,
    ViewStarted,
    Cosigned,
    Reached,
    Accused,
    AccusedCosigner,
)
"""The kinds of record, each under its place here; the order is part of the format."""


def encode_record(record: Record) -> bytes:
    """Return a record's bytes for the write-ahead log."""
    return encode(_Framed(TYPES.index(type(record)), encode(record)))


def decode_record(data: bytes) -> Record:
    """Return the record of its bytes; `StorageError` where the kind is unknown."""
    framed = decode(_Framed, data, size_max=RECORD_BYTES_MAX)
    if not 0 <= framed.kind < len(TYPES):
        raise StorageError("unknown kind of write-ahead record", expected=f"below {len(TYPES)}", got=framed.kind)
    return decode(TYPES[framed.kind], framed.body, size_max=RECORD_BYTES_MAX)


def own_signer(record: Record) -> tuple[Epoch, int] | None:
    """Return the epoch and index of the validator that wrote a record of what it signed; None for other records."""
    match record:
        case Prepared(vote) | Committed(vote) | Cosigned(vote):
            return vote.epoch, vote.validator
        case ViewChanged(view_change):
            return view_change.epoch, view_change.validator
        case _:
            return None


def height_of(record: Record) -> Height | None:
    """Return the height that a record is of; None for those of a view or against somebody."""
    match record:
        case Proposed(proposal):
            return proposal.block.header.height
        case Prepared(vote) | Committed(vote) | Cosigned(vote):
            return vote.height
        case Reached(height=height):
            return height
        case _:
            return None


def checkpoint_key(vote: CheckpointVote) -> tuple[int, Hash]:
    """Return what a cosignature binds its signer to."""
    return vote.size, vote.root
