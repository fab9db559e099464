"""Events: what members say, its canonical bytes, its leaf in the log and its id.

The kinds of event (bodies, rules) are in `ledger.kinds` and the modules that `ledger.registry` names; the signed
groups that carry events are in `ledger.batches`. Source: architecture §4 (bytes).

An event travels as its canonical bytes: the MessagePack array `[member, reference, expires_ms, kind, schema, body]`
whose `body` is itself the canonical bytes of the kind's record. Its leaf in the log is the kind byte followed by
those bytes, and its id is the RFC 6962 hash of that leaf. Kind 0 is the block header's alone, so no event can pose
as a header.
"""

from hashlib import sha256
from typing import Annotated

from msgspec import Meta

from primitives.encoding import Record
from primitives.errors import InputError
from primitives.ids import EventId

HEADER_KIND = 0
REFERENCE_SIZE = 16
LEAF_SIZE_MAX = 65_535  # the length of an entry in an entry bundle is a 16-bit number (C2SP tlog-tiles)
EVENT_SIZE_MAX = LEAF_SIZE_MAX - 1
TIME_MS_MAX = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last time that RFC 3339 can write

Member = Annotated[str, Meta(min_length=1, max_length=64)]
Reference = Annotated[bytes, Meta(min_length=REFERENCE_SIZE, max_length=REFERENCE_SIZE)]
EventTimeMs = Annotated[int, Meta(ge=0, le=TIME_MS_MAX)]
KindNumber = Annotated[int, Meta(ge=1, le=255)]
SchemaNumber = Annotated[int, Meta(ge=1, le=65_535)]
EventBody = Annotated[bytes, Meta(max_length=EVENT_SIZE_MAX)]

KIND_BYTES = tuple(bytes([kind]) for kind in range(256))


class Event(Record):
    """One statement of one member.

    `reference` is 16 bytes chosen by the member; `expires_ms` is the last block time at which the event may be
    ordered; `body` is the canonical encoding of the record that (`kind`, `schema`) names.
    """

    member: Member
    reference: Reference
    expires_ms: EventTimeMs
    kind: KindNumber
    schema: SchemaNumber
    body: EventBody


def event_leaf(event_bytes: bytes, kind: int) -> bytes:
    """Return the event's leaf in the log: kind byte, then canonical bytes."""
    return KIND_BYTES[kind] + event_bytes


def event_id(event_bytes: bytes, kind: int) -> EventId:
    """Return the id of an event: the RFC 6962 hash of its leaf (32 bytes)."""
    return EventId(sha256(b"\0" + KIND_BYTES[kind] + event_bytes).digest())


def check_event_size(event_bytes: bytes) -> None:
    """Raise InputError when the event's leaf would exceed 65,535 bytes."""
    if len(event_bytes) > EVENT_SIZE_MAX:
        raise InputError(
            "event too large",
            expected=f"at most {EVENT_SIZE_MAX} bytes",
            got=f"{len(event_bytes)} bytes",
            hint="keep documents off the chain and submit their digests",
        )
