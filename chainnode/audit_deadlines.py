"""What ends when, as the log's events say: certificates, suspensions, proposals; and the file that keeps it.

A term that an event leaves to the policy's longest is taken to be that of the default policy, and said to be. Whether a
proposal was decided meanwhile takes the voters' shares, which a node computes: its end is told all the same. An appeal
that is upheld brings back the end of a certificate that was revoked; that of a suspension is told with a doubt, for the
event does not say which decision it was about. Not here: which events were applied (`chainnode.audit_entries`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chainnode.audit_findings import Finding, Kind
from chainnode.files import NotFound, read_file, write_file
from chainnode.ingest.json_text import parse_object
from ledger.certificate_bodies import Cancel, DecideAppeal, Grant, ReportInspection, Restore, Revoke, Surveil, Suspend
from ledger.certificate_records import add_months
from ledger.events import EVENT_SIZE_MAX, TIME_MS_MAX, Event
from ledger.governance_bodies import Amend, Propose, Withdraw
from ledger.policy import DAY_MS, Policy
from ledger.register_bodies import Import
from ledger.registry import KINDS
from ledger.times import format_time
from primitives.encoding import Record, decode
from primitives.errors import EncodingError, InputError

DEADLINES_MAX: Final = 50_000
FILE_BYTES_MAX: Final = 64 << 20
BRACKETS_MAX: Final = 4 * DEADLINES_MAX + 16
TOLD_MAX: Final = 1_000
"""Ends that are told at a time, the soonest first."""
UNPROVED: Final = 1
ASSUMED: Final = 2
RETURNED: Final = 4
UNLESS_HELD: Final = 8
"""No doubt: what is known already of the same name stays."""
_DOUBTS: Final = {
    UNPROVED: "; no receipt proves that it was applied",
    ASSUMED: "; the term is the policy's longest, taken to be the default",
    RETURNED: "; an appeal was upheld since",
}
_LONGEST: Final = Policy()
_NUMBER_MAX: Final = 2**53
_TYPES: Final = (
    Grant,
    Import,
    Suspend,
    Restore,
    Revoke,
    Cancel,
    Surveil,
    ReportInspection,
    DecideAppeal,
    Propose,
    Amend,
    Withdraw,
)
_RELEVANT: Final = frozenset(
    kind for kind, spec in KINDS.items() if any(issubclass(type_, _TYPES) for type_ in spec.schemas.values())
)


@dataclass(frozen=True, slots=True)
class Named:
    """What an event begins, with its end, or (`ends_ms` None) what it ends, or (RETURNED) what comes back with it."""

    name: str
    ends_ms: int | None
    doubts: int = 0

    @property
    def begins(self) -> bool:
        """Whether something begins, or comes back, that will end by itself."""
        return self.ends_ms is not None or bool(self.doubts & RETURNED)


@dataclass(frozen=True, slots=True)
class Relevant:
    """What an event that counts names; `doubts` are those of UNPROVED to UNLESS_HELD that hold."""

    name: str
    ends_ms: int | None
    event_id: str
    doubts: int


@dataclass(slots=True)
class Book:
    """The ends that are known from the first `size` entries; `changes` counts.

    `withdrawn` are ends that do not come, for the certificate was revoked or cancelled: an appeal may bring them back.
    """

    size: int = 0
    time_ms: int = 0
    ends: dict[str, tuple[int, str, int]] = field(default_factory=dict)
    changes: int = 0
    withdrawn: dict[str, tuple[int, str, int]] = field(default_factory=dict)

    def take(self, item: Relevant) -> None:
        """Take what an event says."""
        held = self.ends.get(item.name)
        if item.ends_ms is not None and item.doubts & UNPROVED and held is not None and held[0] <= item.ends_ms:
            return  # else anybody could put an end off by an event that was rejected
        if item.doubts & UNLESS_HELD and held is not None:
            return
        self.changes += 1
        if item.doubts & RETURNED:
            self._bring_back(item)
            return
        if item.ends_ms is not None:
            if held is not None or len(self.ends) < DEADLINES_MAX:
                self.ends[item.name] = (item.ends_ms, item.event_id, item.doubts & ~UNLESS_HELD)
            return
        for name in _with_suspension(item.name):
            ended = self.ends.pop(name, None)
            if ended is not None and item.name.startswith("certificate ") and len(self.withdrawn) < DEADLINES_MAX:
                self.withdrawn[name] = ended

    def _bring_back(self, item: Relevant) -> None:
        """Take that an appeal was upheld: what a revocation withdrew is back, and a suspension may be over."""
        names = _with_suspension(item.name)
        for name in names if item.name in self.withdrawn else names[1:]:
            found = self.withdrawn.pop(name, None) or self.ends.get(name)
            if found is not None:
                self.ends[name] = (found[0], found[1], found[2] | item.doubts)

    def ending(self, now_ms: int, warn_ms: int) -> list[Finding]:
        """Return a finding for each end that is near, and forget those that are long past."""
        for name in [name for name, (ends_ms, _, _) in self.ends.items() if ends_ms + warn_ms < now_ms]:
            del self.ends[name]
            self.changes += 1
        for name in [name for name, (ends_ms, _, _) in self.withdrawn.items() if ends_ms + warn_ms < now_ms]:
            del self.withdrawn[name]
            self.changes += 1
        near = [(ends_ms, name) for name, (ends_ms, _, _) in self.ends.items() if ends_ms - now_ms <= warn_ms]
        return [self._finding(name, ends_ms, now_ms) for ends_ms, name in sorted(near)[:TOLD_MAX]]

    def _finding(self, name: str, ends_ms: int, now_ms: int) -> Finding:
        _, identity, doubts = self.ends[name]
        past = ends_ms <= now_ms
        due = ": revocation is due" if past and name.startswith("suspension") else ""
        doubt = "".join(text for bit, text in _DOUBTS.items() if doubts & bit)
        message = f"{name} {'ended' if past else 'ends'} at {format_time(ends_ms)}{due} (event {identity}{doubt})"
        return Finding(Kind.DEADLINE, "", message, f"{name} {ends_ms}{' past' if past else ''}")


def _with_suspension(name: str) -> tuple[str, ...]:
    """Return what ends with something: of a certificate also its suspension."""
    number = name.removeprefix("certificate ")
    return (name,) if number == name else (name, f"suspension of {number}")


def is_relevant(kind: int) -> bool:
    """Say whether events of a kind begin or end what ends by itself."""
    return kind in _RELEVANT


def named(entry: bytes, identity: str, time_ms: int) -> Named | None:
    """Return what an event begins or ends in a block of this time; None where it is nothing of that kind."""
    try:
        event = decode(Event, entry[1:], size_max=EVENT_SIZE_MAX)
        spec = KINDS.get(event.kind)
        type_ = None if spec is None or event.kind != entry[0] else spec.schemas.get(event.schema)
        body = None if type_ is None else decode(type_, event.body, size_max=EVENT_SIZE_MAX)
    except EncodingError:
        return None  # no honest validator votes for such an event
    return None if body is None else _named(body, identity, time_ms)


def _named(body: Record, identity: str, time_ms: int) -> Named | None:
    match body:
        case Grant(number=number, valid_until_ms=until_ms, valid_months=months):
            if until_ms is None:
                start_ms = time_ms if body.valid_from_ms is None else body.valid_from_ms
                until_ms = add_months(start_ms, months or _LONGEST.certificate_validity_months_max)
            assumed = body.valid_until_ms is None and months is None
            return Named(f"certificate {number}", min(until_ms, TIME_MS_MAX), ASSUMED if assumed else 0)
        case Import(row=row):
            return Named(f"certificate {row.number}", row.valid_until_ms)
        case Suspend(number=number, until_ms=until_ms, days=days):
            if until_ms is None:
                until_ms = time_ms + (days or _LONGEST.certificate_suspension_days_max) * DAY_MS
            assumed = body.until_ms is None and days is None
            return Named(f"suspension of {number}", min(until_ms, TIME_MS_MAX), ASSUMED if assumed else 0)
        case Surveil(number=number, grave=True) | ReportInspection(number=number, grave=True):
            until_ms = body.correct_by_ms
            if until_ms is not None:
                return Named(f"suspension of {number}", until_ms, UNLESS_HELD)
            longest_ms = time_ms + _LONGEST.certificate_suspension_days_max * DAY_MS
            return Named(f"suspension of {number}", longest_ms, ASSUMED | UNLESS_HELD)
        case DecideAppeal(subject=subject, upheld=True):
            return Named(f"certificate {subject}", None, RETURNED)
        case Propose(expires_ms=until_ms) | Amend(expires_ms=until_ms):
            return Named(f"proposal {identity}", until_ms)
        case Revoke(number=number) | Cancel(number=number):
            return Named(f"certificate {number}", None)
        case Restore(number=number):
            return Named(f"suspension of {number}", None)
        case Withdraw(proposal=proposal):
            return Named(f"proposal {proposal.hex()}", None)
        case _:
            return None


class BookFile:
    """The file in a state directory. What it lacks is read from the log again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Book:
        """Return what the file has, an empty book where there is none. Raises InputError for something else."""
        try:
            return parse_book(read_file(self.path, size_max=FILE_BYTES_MAX), where=str(self.path))
        except NotFound:
            return Book()

    def write(self, book: Book) -> None:
        """Keep a book; on the disk on return."""
        row: dict[str, Any] = {
            "size": book.size,
            "time_ms": book.time_ms,
            "ends": book.ends,
            "withdrawn": book.withdrawn,
        }
        write_file(self.path, json.dumps(row).encode() + b"\n")


def parse_book(data: bytes, *, where: str) -> Book:
    """Return the book of a file's bytes; InputError where they are something else."""
    row = parse_object(data, where=where, size_max=FILE_BYTES_MAX, brackets_max=BRACKETS_MAX)
    size, time_ms = row.get("size"), row.get("time_ms")
    if not _is_number(size) or not _is_number(time_ms):
        raise InputError("not an auditor's deadlines", where=where, expected="size, time_ms and ends")
    # Files of releases that knew no appeals lack what was withdrawn.
    ends, withdrawn = (_parsed_ends(item, where) for item in (row.get("ends"), row.get("withdrawn", {})))
    return Book(int(row["size"]), int(row["time_ms"]), ends, withdrawn=withdrawn)


def _parsed_ends(ends: object, where: str) -> dict[str, tuple[int, str, int]]:
    if not isinstance(ends, dict) or len(ends) > DEADLINES_MAX:
        raise InputError("not an auditor's deadlines", where=where, expected="ends by name")
    found: dict[str, tuple[int, str, int]] = {}
    for name, item in ends.items():
        if not isinstance(item, list) or len(item) != 3 or not _all_numbers(item[::2]) or item[0] > TIME_MS_MAX:
            raise InputError("not a deadline", where=f"{where}: {name}", expected="[time, event, doubts]")
        found[name] = (item[0], str(item[1]), item[2])
    return found


def _all_numbers(values: list[object]) -> bool:
    return all(map(_is_number, values))


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _NUMBER_MAX
