"""What the state holds of random inspections: draws, reports, what certificates were found like, and members' faults.

Here: the rows `inspection/<draw>`, `inspection-report/<draw>/<number>`, `certificate-inspections/<number>`,
`inspection-fault/<member>`, `inspections-announced`, `inspections-open` and `inspection-kept/<number>`, all of rules 3,
and how they are read. What events do to them is in `ledger.inspection_events`, what blocks do in
`ledger.inspection_closing`. Source: domain §3 (random inspections).
"""

from __future__ import annotations

import enum

from ledger.inspection_bodies import DrawCategory
from ledger.state import StateGetter
from primitives.encoding import Record
from primitives.ids import EventId, Hash


class Phase(enum.StrEnum):
    """Where a draw stands: `announced` up to the closing, `drawing` from its first step to its last, or `void`."""

    ANNOUNCED = "announced"
    CLOSED = "closed"
    DRAWING = "drawing"
    DRAWN = "drawn"
    VOID = "void"


UNDER_WAY = frozenset({Phase.ANNOUNCED, Phase.CLOSED, Phase.DRAWING})


class Committed(Record):
    """A member's part of a draw: its commitment, and the secret once it is revealed."""

    member: str
    commitment: bytes
    event_id: EventId
    secret: bytes | None
    revealed_by: EventId | None


class Closing(Record):
    """The block with which commitments ended, the first at or after the announced time: its height, time and hash.

    The hash stands here from the next block on. Eligible are the certificates that are active after this block, at its
    time.
    """

    height: int
    time_ms: int
    block: Hash | None


class Drawn(Record):
    """A certificate that takes part, as of the closing: risk, weight (the category's times risk), its lowest ticket."""

    number: str
    category: int
    risk: int
    weight: int
    ticket: bytes


class Inspection(Record):
    """A draw, at `inspection/<id>`.

    `reveal_ms` is how long after the closing reveals are taken. `eligible` and `weight` count the certificates found
    so far that take part, and their weights; `looked_at` all certificates up to `cursor`, a number. `selection` has the
    lowest tickets, of all certificates once the phase is `drawn`. `void` says why a draw came to nothing.
    """

    id: str
    member: str
    event_id: EventId
    time_ms: int
    categories: tuple[DrawCategory, ...]
    count: int
    commit_until_ms: int
    reveal_ms: int
    report_days: int
    replaces: str | None
    phase: Phase
    committed: tuple[Committed, ...] = ()
    closing: Closing | None = None
    seed: Hash | None = None
    cursor: str = ""
    looked_at: int = 0
    eligible: int = 0
    weight: int = 0
    selection: tuple[Drawn, ...] = ()
    drawn_ms: int | None = None
    report_until_ms: int | None = None
    void: str | None = None
    replaced_by: str | None = None

    @property
    def reveal_until_ms(self) -> int | None:
        """The end of the time for reveals; None before the closing."""
        return None if self.closing is None else self.closing.time_ms + self.reveal_ms

    @property
    def missing(self) -> tuple[str, ...]:
        """The members that committed and have not revealed."""
        return tuple(item.member for item in self.committed if item.secret is None)

    def selected(self, number: str) -> Drawn | None:
        """Return what is recorded of a certificate that the finished draw selected, None for any other."""
        if self.phase is not Phase.DRAWN:
            return None
        return next((item for item in self.selection if item.number == number), None)


class Resolution(Record):
    """Which event said that findings were corrected."""

    event_id: EventId
    member: str
    time_ms: int


class Report(Record):
    """What an inspection found, at `inspection-report/<draw>/<number>`."""

    draw: str
    number: str
    event_id: EventId
    member: str
    time_ms: int
    passed: bool
    grave: bool
    findings: tuple[str, ...]
    correct_by_ms: int | None
    resolved: Resolution | None


class CertificateInspections(Record):
    """How a certificate fared, at `certificate-inspections/<number>`: reports, failures, and failures uncorrected."""

    number: str
    reports: int
    failures: int
    open: int
    last_passed: bool


class Fault(Record):
    """The newest fault of a member, at `inspection-fault/<member>`: it committed and did not reveal.

    `count` has all of them; until `barred_until_ms` the member commits to nothing.
    """

    member: str
    draw: str
    time_ms: int
    barred_until_ms: int
    count: int


class OpenDraw(Record):
    """A draw whose certificates are fixed as of a height and not all looked at."""

    draw: str
    height: int


class OpenDraws(Record):
    """The row `inspections-open`: draws that are closed and not finished, and the newest block that took a step."""

    draws: tuple[OpenDraw, ...]
    stepped: int


class AnnouncedDraw(Record):
    """A draw to which members may commit, and until when."""

    draw: str
    commit_until_ms: int


class AnnouncedDraws(Record):
    """The row `inspections-announced`: draws that wait for their closing, the earliest first.

    `closed` are those that the newest block closed; the block after it writes its hash into their records.
    """

    draws: tuple[AnnouncedDraw, ...]
    closed: tuple[str, ...]


class UnderWay(Record):
    """The row `inspections-of/<member>`: the draws under way that a member announced."""

    draws: tuple[str, ...]


class Standing(Record):
    """What a certificate was like up to a height: whether its record was active, and its risk."""

    until_height: int
    active: bool
    risk: int


class Kept(Record):
    """What a certificate that changed was like for draws that were closed before, at `inspection-kept/<number>`."""

    standings: tuple[Standing, ...]


OPEN_KEY = "inspections-open"
ANNOUNCED_KEY = "inspections-announced"
INSPECTION_PREFIX = "inspection/"
REPORT_PREFIX = "inspection-report/"


def inspection_key(draw: str) -> str:
    """Return the state key of a draw."""
    return f"{INSPECTION_PREFIX}{draw}"


def report_key(draw: str, number: str) -> str:
    """Return the state key of the report on a certificate that a draw selected."""
    return f"{REPORT_PREFIX}{draw}/{number}"


def inspections_key(number: str) -> str:
    """Return the state key of how a certificate fared in inspections."""
    return f"certificate-inspections/{number}"


def fault_key(member: str) -> str:
    """Return the state key of a member's faults."""
    return f"inspection-fault/{member}"


def kept_key(number: str) -> str:
    """Return the state key of what a certificate was like for draws under way."""
    return f"inspection-kept/{number}"


def under_way_key(member: str) -> str:
    """Return the state key of a member's draws under way."""
    return f"inspections-of/{member}"


def read_inspection(state: StateGetter, draw: str) -> Inspection | None:
    """Return a draw, or None."""
    return state.get(inspection_key(draw), Inspection)


def read_report(state: StateGetter, draw: str, number: str) -> Report | None:
    """Return the report on a certificate for a draw, or None."""
    return state.get(report_key(draw, number), Report)


def read_certificate_inspections(state: StateGetter, number: str) -> CertificateInspections:
    """Return how a certificate fared: never inspected where nothing is recorded."""
    found = state.get(inspections_key(number), CertificateInspections)
    return CertificateInspections(number, 0, 0, 0, True) if found is None else found


def read_open(state: StateGetter) -> OpenDraws:
    """Return the draws that are closed and not finished."""
    return state.get(OPEN_KEY, OpenDraws) or OpenDraws((), 0)


def read_announced(state: StateGetter) -> AnnouncedDraws:
    """Return the draws that wait for their closing, and those that the newest block closed."""
    return state.get(ANNOUNCED_KEY, AnnouncedDraws) or AnnouncedDraws((), ())


def read_under_way(state: StateGetter, member: str) -> tuple[str, ...]:
    """Return the draws under way that a member announced."""
    found = state.get(under_way_key(member), UnderWay)
    return () if found is None else found.draws
