"""Batches: a source's signed, numbered groups of events; one signature carries a thousand events.

Shape is a pure function of the bytes and is checked before anything is signed; what a batch may do is judged by
execution. Source: architecture §4 (Batch). A batch is `[header, signature, events]`; its hash covers the header alone,
which holds the Merkle root of the events' ids, and the signature covers the header's fields under the tag `batch`.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from ledger.batch_headers import BATCH_BYTES_MAX, BATCH_EVENTS_MAX, BatchHeader, Bytes64, batch_statement
from ledger.events import EVENT_SIZE_MAX, KIND_BYTES, Event, check_event_size, event_id
from ledger.kinds import KindSpec, QuickEvents
from ledger.payment_events import quick_statements
from ledger.registry import KINDS
from primitives import merkle
from primitives.encoding import Record, decode, decoder_of, encode
from primitives.errors import EncodingError, InputError, SignatureError
from primitives.hashing import SUITE
from primitives.ids import EventId, Hash, TimeMs
from primitives.keys import SigningKey, verify

BATCH_SIZE_MAX = BATCH_BYTES_MAX
DECODING_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError)


class BadRoot(InputError):
    """The root that a batch's source signed is not that of its events."""

    reason = "bad_root"


class BadCount(InputError):
    """A batch holds another number of events than its source signed."""

    reason = "bad_count"


class ForeignEvent(InputError):
    """An event of another member than the batch's."""

    reason = "foreign_event"


class Batch(Record):
    """A batch as it is sent and stored: every event is its own canonical bytes."""

    header: BatchHeader
    signature: Bytes64
    events: Annotated[tuple[Annotated[bytes, Meta(max_length=EVENT_SIZE_MAX)], ...], Meta(max_length=BATCH_EVENTS_MAX)]


class StatefulEvent(msgspec.Struct, frozen=True):
    """An event that execution has to look into: its place in the batch, itself and its decoded body."""

    index: int
    event: Event
    body: Any  # the record that the event's kind and schema name


class ParsedBatch(msgspec.Struct, frozen=True):
    """A batch whose shape was found good; its signature was not looked at.

    `ids` are the events' ids, which are their leaf hashes in the log, in order. `kinds` are the kinds that occur.
    Bodies are kept of the events that change the state only; the others are recorded as they are. `quick` is what a
    quick reading found, where the events had a form for it: what the index needs of them.
    """

    header: BatchHeader
    signature: bytes
    hash: Hash
    raw: bytes
    ids: tuple[EventId, ...]
    kinds: frozenset[int]
    expires_ms_min: int
    stateful: tuple[StatefulEvent, ...]
    quick: QuickEvents | None

    @property
    def size(self) -> int:
        """The batch's size in bytes."""
        return len(self.raw)

    @property
    def event_bytes(self) -> tuple[bytes, ...]:
        """The events' canonical bytes, taken out of the batch's bytes again."""
        return events_of(self.raw)

    @property
    def events(self) -> list[Event]:
        """The events, decoded again."""
        decode_event = decoder_of(Event).decode
        return [decode_event(data) for data in self.event_bytes]


class BatchContents(NamedTuple):
    """What the index needs of a sound batch: `quick`, or where that is None the canonical bytes of each event."""

    member: str
    length: int
    quick: QuickEvents | None
    events: tuple[bytes, ...]


def contents_of(batch: Batch | ParsedBatch) -> BatchContents:
    """Return what the index needs of a batch, read once for all its followers."""
    header = batch.header
    if isinstance(batch, ParsedBatch):
        quick, events = batch.quick, batch.event_bytes if batch.quick is None else ()
    else:
        quick, events = quick_statements(batch.events, header.member), batch.events
    return BatchContents(header.member, header.count, quick, () if quick is not None else events)


def parse_batch(data: bytes, kinds: Mapping[int, KindSpec] = KINDS) -> ParsedBatch:
    """Return the batch in `data` after checking its shape.

    Raises InputError where sizes, count, root, members, kinds or bodies do not fit, EncodingError where bytes are not
    canonical. The signature is left to `verify_batch`.
    """
    batch = decode(Batch, data, size_max=BATCH_SIZE_MAX)
    header = batch.header
    if header.suite != SUITE:
        raise InputError("batch of an unknown suite", expected=SUITE, got=header.suite)
    if len(batch.events) != header.count:
        raise BadCount("batch of another length", expected=f"{header.count} events", got=len(batch.events))
    if header.number == 0 and header.previous != bytes(32):
        raise InputError("first batch of a source names a previous one", expected="a zero hash", got=header.previous)
    read = read_events(batch.events, header.member, kinds)
    root = merkle.root_of(read.ids)
    if root != header.root:
        raise BadRoot("root of a batch does not fit its events", expected=header.root, got=root)
    return ParsedBatch(
        header=header,
        signature=batch.signature,
        hash=header.hash(),
        raw=bytes(data),
        ids=read.ids,
        kinds=read.kinds,
        expires_ms_min=read.expires_ms_min,
        stateful=read.stateful,
        quick=read.quick,
    )


class ReadEvents(msgspec.Struct, frozen=True):
    """What was found in sound events of one member; fields as in ParsedBatch."""

    ids: tuple[EventId, ...]
    kinds: frozenset[int]
    expires_ms_min: int
    stateful: tuple[StatefulEvent, ...] = ()
    quick: QuickEvents | None = None


def read_events(items: Sequence[bytes], member: str, kinds: Mapping[int, KindSpec] = KINDS) -> ReadEvents:
    """Check a batch's events, at once where their kind knows a quick way, else each decoded and encoded again.

    There is at least one. Raises InputError as `parse_batch` does.
    """
    check_event_size(max(items, key=len))
    first = _decode_events(items[:1], member)[0]
    spec = kinds.get(first.kind)
    quick_read = None if spec is None else spec.quick_events.get(first.schema)
    quick = None if quick_read is None else quick_read(items, member)
    if quick is not None:
        return ReadEvents(
            _ids(KIND_BYTES[first.kind], items), frozenset((first.kind,)), quick.expires_ms_min, quick=quick
        )
    events = _decode_events(items, member)
    stateful = _check_bodies(events, kinds)
    ids = tuple(event_id(raw, event.kind) for event, raw in zip(events, items, strict=True))
    expires_ms_min = min(event.expires_ms for event in events)
    return ReadEvents(ids, frozenset(event.kind for event in events), expires_ms_min, tuple(stateful))


def _ids(kind: bytes, items: Sequence[bytes]) -> tuple[EventId, ...]:
    """Return the ids of events of one kind; as `event_id`, without its call for each."""
    prefix = b"\0" + kind
    return tuple([sha256(prefix + raw).digest() for raw in items])  # type: ignore[misc]  # a NewType costs a call per event


def _decode_events(items: Sequence[bytes], member: str) -> list[Event]:
    decode_event = decoder_of(Event).decode
    try:
        events: list[Event] = [decode_event(item) for item in items]
    except DECODING_ERRORS as error:
        raise EncodingError("not a valid event", where="batch", got=error) from None
    if [encode(event) for event in events] != list(items):
        raise EncodingError("event that is not canonical", where="batch", expected="shortest forms, nothing trailing")
    for index, event in enumerate(events):
        if event.member != member:
            raise ForeignEvent(
                "event of another member", where=f"event {index} of a batch", expected=member, got=event.member
            )
    return events


def _check_bodies(events: list[Event], kinds: Mapping[int, KindSpec]) -> list[StatefulEvent]:
    """Decode every body as its kind and schema ask, and return the events that change the state."""
    shapes = {(event.kind, event.schema) for event in events}
    stateful: list[StatefulEvent] = []
    for shape in sorted(shapes):
        indexes = range(len(events)) if len(shapes) == 1 else _indexes_of(events, shape)
        spec, decode_body = _body_decoder(events[indexes[0]], indexes[0], kinds)
        try:
            bodies = [decode_body(events[index].body) for index in indexes]
            same = [encode(body) for body in bodies] == [events[index].body for index in indexes]
            if spec.check_shape is not None:
                for body in bodies:
                    spec.check_shape(body)
        except (InputError, *DECODING_ERRORS):
            same = False
        if not same:
            _name_bad_body(events, indexes, spec, decode_body)
        if spec.changes_state:
            stateful += [StatefulEvent(i, events[i], body) for i, body in zip(indexes, bodies, strict=True)]
    return sorted(stateful, key=lambda item: item.index)


def _indexes_of(events: list[Event], shape: tuple[int, int]) -> list[int]:
    return [index for index, event in enumerate(events) if (event.kind, event.schema) == shape]


def _name_bad_body(events: list[Event], indexes: Sequence[int], spec: KindSpec, decode_body: Any) -> None:
    """Raise the InputError of the first body that is not as its kind asks; `decode_body` is msgspec's bound method."""
    for index in indexes:
        where = f"event {index} of a batch"
        try:
            body = decode_body(events[index].body)
            if spec.check_shape is not None:
                spec.check_shape(body)
        except InputError as error:
            place = where if error.where is None else f"{where}, {error.where}"
            raise type(error)(
                error.what, where=place, expected=error.expected, got=error.got, hint=error.hint
            ) from None
        except DECODING_ERRORS as error:
            raise EncodingError(f"not a valid body of {spec.name}", where=where, got=error) from None
        if encode(body) != events[index].body:
            raise EncodingError(
                "body that is not canonical", where=where, expected="shortest forms and nothing trailing"
            )
    raise AssertionError("a body was refused at first and not when asked why")


def _body_decoder(event: Event, index: int, kinds: Mapping[int, KindSpec]) -> tuple[KindSpec, Any]:
    """Return the kind and the decoder of its schema (Any: msgspec's bound method); InputError where unknown."""
    where = f"event {index} of a batch"
    spec = kinds.get(event.kind)
    if spec is None:
        known = ", ".join(map(str, sorted(kinds)))
        raise InputError("unknown kind of event", where=where, expected=f"one of {known}", got=event.kind)
    schema = spec.schemas.get(event.schema)
    if schema is None:
        known = ", ".join(map(str, sorted(spec.schemas)))
        raise InputError(f"unknown schema of {spec.name}", where=where, expected=f"one of {known}", got=event.schema)
    return spec, decoder_of(schema).decode


def check_event(data: bytes, kinds: Mapping[int, KindSpec] = KINDS) -> tuple[Event, EventId]:
    """Return one event and its id after the checks that a batch makes of it; for gateways. Raises InputError."""
    check_event_size(data)
    event = _decode_events([data], decode(Event, data, size_max=EVENT_SIZE_MAX).member)[0]
    _check_bodies([event], kinds)
    return event, event_id(data, event.kind)


def verify_batch(parsed: ParsedBatch) -> None:
    """Raise SignatureError unless the source named in the header signed the header."""
    if not verify(parsed.header.source, batch_statement(parsed.header), parsed.signature):
        raise SignatureError(
            "signature of a batch does not verify",
            where=f"batch {parsed.header.number} of {parsed.header.member}",
            expected=f"a signature by {parsed.header.source.hex()}",
        )


def build_batch(
    events: Sequence[bytes],
    *,
    chain_id: Hash,
    member: str,
    key: SigningKey,
    number: int,
    previous: Hash,
    time_ms: TimeMs,
) -> bytes:
    """Return the bytes of a signed batch of events (canonical bytes, already checked) for `member`'s source `key`."""
    decode_event = decoder_of(Event).decode
    kinds = [decode_event(event).kind for event in events]
    ids = [sha256(b"\0" + KIND_BYTES[kind] + event).digest() for kind, event in zip(kinds, events, strict=True)]
    header = BatchHeader(
        suite=SUITE,
        chain_id=chain_id,
        member=member,
        source=key.public,
        number=number,
        previous=previous,
        count=len(events),
        root=merkle.root_of(ids),
        time_ms=time_ms,
    )
    return encode(Batch(header, key.sign(batch_statement(header)), tuple(events)))


def seal_batch(
    items: Sequence[bytes],
    read: ReadEvents,
    *,
    chain_id: Hash,
    member: str,
    key: SigningKey,
    number: int,
    previous: Hash,
    time_ms: TimeMs,
) -> ParsedBatch:
    """Return the signed batch of events that were read: what `parse_batch` returns of the same bytes."""
    header = BatchHeader(
        suite=SUITE,
        chain_id=chain_id,
        member=member,
        source=key.public,
        number=number,
        previous=previous,
        count=len(items),
        root=merkle.root_of(read.ids),
        time_ms=time_ms,
    )
    signature = key.sign(batch_statement(header))
    raw = encode(Batch(header, signature, tuple(items)))
    assert len(read.ids) == len(items) <= BATCH_EVENTS_MAX
    assert len(raw) <= BATCH_SIZE_MAX
    return ParsedBatch(
        header=header,
        signature=signature,
        hash=header.hash(),
        raw=raw,
        ids=read.ids,
        kinds=read.kinds,
        expires_ms_min=read.expires_ms_min,
        stateful=read.stateful,
        quick=read.quick,
    )


def events_of(raw: bytes) -> tuple[bytes, ...]:
    """Return the events' bytes of a batch whose shape was checked before."""
    events: tuple[bytes, ...] = decoder_of(Batch).decode(raw).events
    return events
