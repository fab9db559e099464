"""Making proofs of a certificate's whole history.

The record as it stood says when its last event was ordered; in that block are the events that made it so, and below it
stands the record as they found it, back to the application that began it. So no index is needed, and a history is found
at every height. Pure; it only reads. Not here: the proof's form and its verification (`ledger.certificate_history`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeVar

from ledger.base import before_the_base
from ledger.certificate_bodies import ApplyChange, Grant, Renew
from ledger.certificate_history import (
    HISTORY_VERSION,
    LATER_MAX,
    PAGE_EVENTS_MAX,
    CertificateHistory,
    HistoryEvent,
    chained,
)
from ledger.certificate_records import (
    NO_HISTORY,
    Application,
    Certificate,
    History,
    application_key,
    certificate_key,
)
from ledger.certificate_subjects import SUBJECT_BODIES, SubjectBody, all_subjects
from ledger.events import Event, event_id
from ledger.reader import LedgerReader
from ledger.state import STATE_VALUE_SIZE_MAX
from ledger.status_proofs import status_proof_at
from ledger.times import format_time
from ledger.tlog_proofs import TlogProof
from ledger.views import CheckpointView
from primitives.encoding import Record, decode, decoder_of, encode
from primitives.errors import ProofError, StorageError
from primitives.ids import ZERO_HASH, EventId, Height

T = TypeVar("T", bound=Record)

PAGE_BYTES = 1 << 20
"""A page ends with the event by which its events with their proofs reach this size."""
HISTORY_EVENTS_MAX = LATER_MAX


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event of a history was applied."""

    event_id: EventId
    height: Height
    index: int


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """One page: the proof of events `first` up to `first + events` of `count`, as of a height."""

    proof: str
    first: int
    events: int
    count: int

    @property
    def next(self) -> int | None:
        """The event with which the next page begins; None after the last."""
        reached = self.first + self.events
        return reached if reached < self.count else None


def make_certificate_history(
    reader: LedgerReader,
    number: str,
    height: int,
    *,
    first: int = 0,
    from_epoch: int = 0,
    witnesses: Collection[str] = (),
    page: int = PAGE_BYTES,
) -> HistoryPage | None:
    """Return the page that begins with event `first` of a certificate's history as of a height.

    None where no stable checkpoint covers the height; ProofError where `first` lies beyond the history's end, or it is
    longer than can be proved.
    """
    made = status_proof_at(reader, certificate_key(number), height, from_epoch, witnesses)
    if made is None:
        return None
    status, checkpoint = made
    record = None if status.value is None else decode(Certificate, status.value, size_max=STATE_VALUE_SIZE_MAX)
    places = [] if record is None else history_places(reader, record, height)
    if not 0 <= first < max(1, len(places)):
        raise ProofError("page beyond the end of a history", expected=f"below {len(places)}", got=first)
    shown = _shown(reader, checkpoint, places[first : first + PAGE_EVENTS_MAX], page)
    ids = [place.event_id for place in places]
    extra = CertificateHistory(
        version=HISTORY_VERSION,
        status=status,
        first=first,
        previous=chained(ZERO_HASH, ids[:first]),
        events=shown,
        later=tuple(ids[first + len(shown) :]),
    )
    place = status.header.first_index + status.header.event_count
    path = tuple(reader.log.inclusion(place, checkpoint.size))
    text = TlogProof(encode(extra), place, path, checkpoint.note).text()
    return HistoryPage(text, first, len(shown), len(places))


def _shown(
    reader: LedgerReader, checkpoint: CheckpointView, places: list[Place], limit: int
) -> tuple[HistoryEvent, ...]:
    """Return the events of a page with their proofs: as many as it holds, but at least one."""
    shown: list[HistoryEvent] = []
    size = 0
    for place in places:
        if size >= limit:
            break
        shown.append(_event(reader, checkpoint, place))
        size += len(encode(shown[-1]))
    return tuple(shown)


def _event(reader: LedgerReader, checkpoint: CheckpointView, place: Place) -> HistoryEvent:
    view, block = reader.event_at(place.height, place.index), reader.block(place.height)
    assert view is not None, "a place names an event"
    assert block is not None, "a place lies in a block"
    return HistoryEvent(
        event=view.event_bytes,
        log_index=view.position.log_index,
        path=tuple(reader.log.inclusion(view.position.log_index, checkpoint.size)),
        header=block.header,
        header_path=tuple(reader.log.inclusion(block.log_index, checkpoint.size)),
        outcome=reader.outcome_proof(place.height, place.index),
    )


def history_places(reader: LedgerReader, record: Certificate, height: int) -> list[Place]:
    """Return where the events of a record's history were applied, the first first.

    `record` is the certificate as it stood after the block at `height`. StorageError where the ledger does not say so,
    NotHere where it began before what this store holds.
    """
    if record.history.count > HISTORY_EVENTS_MAX:
        raise ProofError(
            "history too long for a proof", expected=f"at most {HISTORY_EVENTS_MAX} events", got=record.history.count
        )
    found: list[Place] = []
    history, successor = record.history, record.successor
    below = height
    while history.count:
        block = _block_of(reader, history, below)
        below = block - 1
        before, successor_before = _before(reader, record, below)
        named = successor if successor != successor_before else None
        places = _applied(reader, record, named, block)
        ids = [place.event_id for place in places]
        if before.count + len(ids) != history.count or chained(before.hash, ids) != history.hash:
            raise _damaged(record, block)
        found[:0] = places
        history, successor = before, successor_before
    return found


def _block_of(reader: LedgerReader, history: History, height: int) -> int:
    """Return the height of the block whose time is that of a history's last event."""
    found = reader.height_at_time(history.changed_ms)
    header = None if found is None else reader.header(found)
    if header is None or header.time_ms != history.changed_ms or header.height > height:
        raise StorageError("block of a certificate's event missing", where=f"time {format_time(history.changed_ms)}")
    if 0 < header.height <= reader.base():
        raise before_the_base("an event of the certificate", reader.base(), got=header.height)
    return int(header.height)


def _before(reader: LedgerReader, record: Certificate, height: int) -> tuple[History, str | None]:
    """Return the history and the successor as of a height: the certificate's or, before it, its application's."""
    certificate = _row(reader, certificate_key(record.number), Certificate, height)
    if certificate is not None:
        return certificate.history, certificate.successor
    application = _row(reader, application_key(record.application), Application, height)
    return (NO_HISTORY if application is None else application.history), None


def _row(reader: LedgerReader, key: str, type_: type[T], height: int) -> T | None:
    value = reader.state_value(key, height)
    if value is None or value.value is None:
        return None
    return decode(type_, value.value, size_max=STATE_VALUE_SIZE_MAX)


def _applied(reader: LedgerReader, record: Certificate, successor: str | None, height: int) -> list[Place]:
    """Return the events of a block that changed the record; `successor` is the certificate that it learned of there."""
    events, rejected = reader.recorded(height)
    found: list[Place] = []
    for index, event in enumerate(events):
        body = _body(event)
        if body is not None and index not in rejected and _changes(body, record, successor):
            found.append(Place(event_id(encode(event), event.kind), Height(height), index))
    return found


def _body(event: Event) -> SubjectBody | None:
    type_ = SUBJECT_BODIES.get((event.kind, event.schema))
    return None if type_ is None else decoder_of(type_).decode(event.body)


def _changes(body: SubjectBody, record: Certificate, successor: str | None) -> bool:
    """Say whether an applied event changed this certificate or its application."""
    if isinstance(body, Renew | ApplyChange):
        return body.application == record.application  # the certificate that it names stays as it is
    if isinstance(body, Grant) and body.number == successor:
        return True
    return bool({record.application, record.number} & set(all_subjects(body)))


def _damaged(record: Certificate, height: int) -> StorageError:
    return StorageError(
        "events of a certificate are not those of its record",
        where=f"{record.number}, height {height}",
        hint="run `chainnode fsck`",
    )
