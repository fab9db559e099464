"""The whole history of a certificate: all events that made its record what it is, none left out; offline.

What leads to what: a status proof shows the certificate's record, or its absence, in the state at a block. The record
counts its events and holds a hash chain over their ids, the application's first. The chain is computed again over
the events shown, so no other list and no other order gives the record's hash. Each event comes with the header of its
block and its outcome there: else a repetition of the event, which ends as a duplicate, could pass for it at another
time. A long history comes in pages; what a page leaves out before and after stands as one hash and as ids. Events that
were rejected, and an application for a successor, change nothing in the record and are in no history. Pure. Here: the
proof and its verification. Not here: making it (`ledger.certificate_history_reading`). Source: domain §3,
architecture §6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from ledger.batch_places import HashBytes, Path
from ledger.certificate_records import NO_HISTORY, Certificate, History, certificate_key
from ledger.events import EVENT_SIZE_MAX, Event, event_id
from ledger.outcomes import OutcomeProof, verify_outcome
from ledger.proof_steps import EVENT, EXTRA, HEADER, HISTORY, OUTCOME, RECORD, STATE, step
from ledger.receipts import check_header
from ledger.state import STATE_VALUE_SIZE_MAX
from ledger.status_proofs import StatusProof, StatusVerdict, check_status, check_version
from ledger.tlog_proofs import TlogProof, parse_tlog_proof
from ledger.trust_policy import CheckedCheckpoint, parse_policy
from primitives import merkle
from primitives.block import BlockHeader
from primitives.encoding import Record, decode
from primitives.errors import ProofError
from primitives.ids import ZERO_HASH, EventId, Hash, Height, TimeMs

HISTORY_VERSION = 1
HISTORY_SIZE_MAX = 16 << 20
"""Characters of one page's text."""
PAGE_EVENTS_MAX = 256
LATER_MAX = 1 << 16
"""Events after a page: with its own, a certificate's history may have a few more than this and still be proved."""

Index = Annotated[int, Meta(ge=0)]


class HistoryEvent(Record):
    """An event: its bytes, its leaf's place in the log, its block's header, and its outcome in that block."""

    event: Annotated[bytes, Meta(max_length=EVENT_SIZE_MAX)]
    log_index: Index
    path: Path
    header: BlockHeader
    header_path: Path
    outcome: OutcomeProof


class CertificateHistory(Record):
    """The extra data of one page, which is a tlog-proof of the leaf of the status proof's header.

    `events` are those from `first` on; `previous` is the hash chain over those before them, and `later` the ids of
    those that follow.
    """

    version: int
    status: StatusProof
    first: Index
    previous: HashBytes
    events: Annotated[tuple[HistoryEvent, ...], Meta(max_length=PAGE_EVENTS_MAX)]
    later: Annotated[tuple[HashBytes, ...], Meta(max_length=LATER_MAX)]


@dataclass(frozen=True, slots=True)
class HistoricEvent:
    """An event of a proved history, applied at this place."""

    event_id: EventId
    event: Event
    event_bytes: bytes
    height: Height
    log_index: int
    time_ms: TimeMs


@dataclass(frozen=True, slots=True)
class HistoryVerdict:
    """What a page proves: its `events` are those from `first` on of the `count` that the record has.

    `certificate` is None where there was none at the status' block. `previous` and `reached` are the hash chain before
    and after the page, by which pages follow each other.
    """

    status: StatusVerdict
    certificate: Certificate | None
    first: int
    count: int
    previous: Hash
    reached: Hash
    events: tuple[HistoricEvent, ...]


def verify_certificate_history(proof_text: str, policy: str, number: str | None = None) -> HistoryVerdict:
    """Return what a page proves of a certificate's history. Raises ProofError where anything does not hold.

    Without a `number`, of whichever certificate it is: the status' key says which.
    """
    proof = parse_tlog_proof(proof_text, size_max=HISTORY_SIZE_MAX)
    extra = _decoded(proof)
    checked = parse_policy(policy).check(proof.note, extra.status.handovers)
    status = check_status(extra.status, proof, checked)
    key = certificate_key("") if number is None else certificate_key(number)
    if not (status.key.startswith(key.encode()) if number is None else status.key == key.encode()):
        raise ProofError("proof of another key", where=STATE, expected=key, got=status.key.decode(errors="replace"))
    with step(RECORD):
        certificate = _certificate(status.value)
    history = NO_HISTORY if certificate is None else certificate.history
    events = tuple(_proved_events(extra, checked))
    with step(HISTORY):
        reached = _check_chain(extra, [event.event_id for event in events], history)
    return HistoryVerdict(status, certificate, extra.first, history.count, Hash(extra.previous), reached, events)


def joined(pages: Sequence[HistoryVerdict]) -> list[HistoricEvent]:
    """Return the events of all pages of one history; ProofError unless they are the whole of it, in their order."""
    events: list[HistoricEvent] = []
    reached = ZERO_HASH
    for number, page in enumerate(pages, 1):
        if page.status.header_hash != pages[0].status.header_hash or page.status.key != pages[0].status.key:
            raise ProofError(
                "pages of different histories",
                where=f"page {number}",
                expected=f"block {pages[0].status.height}",
                got=f"block {page.status.height}",
            )
        if page.first != len(events) or page.previous != reached:
            raise ProofError(
                "pages do not follow each other",
                where=f"page {number}",
                expected=f"from event {len(events)}",
                got=f"from event {page.first}",
            )
        events += page.events
        reached = page.reached
    if not pages or len(events) != pages[-1].count:
        raise ProofError("pages of a history left out", expected=pages[-1].count if pages else None, got=len(events))
    return events


def chained(previous: Hash, ids: Iterator[bytes] | tuple[bytes, ...] | list[EventId]) -> Hash:
    """Return the hash chain of a history after further events."""
    history = History(0, previous, 0)
    for identity in ids:
        history = history.after(EventId(identity), 0)
    return history.hash


def _decoded(proof: TlogProof) -> CertificateHistory:
    with step(EXTRA):
        extra = decode(CertificateHistory, proof.extra, size_max=HISTORY_SIZE_MAX)
        if extra.version != HISTORY_VERSION:
            raise ProofError("proof of a history of an unknown version", expected=HISTORY_VERSION, got=extra.version)
        check_version(extra.status)
        return extra


def _certificate(value: bytes | None) -> Certificate | None:
    return None if value is None else decode(Certificate, value, size_max=STATE_VALUE_SIZE_MAX)


def _check_chain(extra: CertificateHistory, ids: list[EventId], history: History) -> Hash:
    """Return the hash chain after the page; ProofError unless it gives the record's with what lies around it.

    What stands before a page needs no proof of its own: no other hash leads to the record's.
    """
    count = extra.first + len(ids) + len(extra.later)
    if count != history.count:
        raise ProofError("events are not as many as the record counts", expected=history.count, got=count)
    if history.count and not ids:
        raise ProofError("page of a history without events", expected="at least one")
    reached = chained(Hash(extra.previous), ids)
    whole = chained(reached, extra.later)
    if whole != history.hash:
        raise ProofError("events are not those of the record", expected=history.hash, got=whole)
    return reached


def _proved_events(extra: CertificateHistory, checked: CheckedCheckpoint) -> Iterator[HistoricEvent]:
    """Yield the events, each proved to have been applied at its place."""
    for number, part in enumerate(extra.events, extra.first):
        with step(f"{EVENT} {number}"):
            proved = _proved_event(part, checked)
        yield proved


def _proved_event(part: HistoryEvent, checked: CheckedCheckpoint) -> HistoricEvent:
    header, checkpoint = part.header, checked.checkpoint
    with step(HEADER):
        check_header(header, part.header_path, checked)
    event = decode(Event, part.event, size_max=EVENT_SIZE_MAX)
    identity = event_id(part.event, event.kind)
    merkle.verify_inclusion(checkpoint.root, checkpoint.size, part.log_index, identity, part.path)
    index = part.log_index - header.first_index
    with step(OUTCOME):
        outcome = verify_outcome(part.outcome, header.outcomes_root, header.event_count, index)
        if not outcome.applied:
            raise ProofError("event of a history that was not applied there", expected="applied", got=outcome.rule)
    return HistoricEvent(identity, event, part.event, header.height, part.log_index, header.time_ms)
