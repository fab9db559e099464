"""What the index keeps of certification marks: reports of misuse by what they are about, events by certificate number.

Rows lead from a property to the numbers of reports; like those of certificates (`ledger.certificate_index`) they may
name more than they should, never fewer. Whether a report is undecided is the one property that ends: its row goes with
the decision, so that what waits for one is found among any number of decided ones.

Rows; they belong to the index (`ledger.indexes`), which is rebuilt from the log, and to no consensus; values empty:

    y  facet, value, 0, report (6 bytes)     reports of misuse
    z  certificate number, 0, position       events about its mark, reports and findings among them
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Final, NamedTuple

from ledger import rows
from ledger.certificate_records import read_certificate
from ledger.committed_state import CommittedState
from ledger.mark_bodies import DecideMisuse, MarkBody, MisuseFinding, ReportMisuse
from ledger.mark_events import MARK_KINDS
from ledger.mark_records import MISUSE_COUNT_KEY, MISUSE_PREFIX, MisuseReport, read_count, read_report
from ledger.reader import LedgerReader
from ledger.state import StateGetter
from ledger.state_at import StateAt
from ledger.store import Put, Store, prefix_stop
from primitives.encoding import Record

MARK_BODIES: Final[dict[tuple[int, int], type[Record]]] = {
    (spec.kind, schema): body for spec in MARK_KINDS for schema, body in spec.schemas.items()
}
"""The type of body that a kind and schema have."""

UNDECIDED: Final = "undecided"
MISUSE_STATES: Final = (UNDECIDED, *(finding.value for finding in MisuseFinding))
"""What a report can be: undecided, or as it was found."""

MARK_ROWS: Final = (b"y", b"z")
_REPORT_BYTES: Final = 6


class MisuseFacet(Enum):
    """By what reports are found, each with the byte that stands for it in keys.

    MEMBER is who reported, who is reported, and the holder of the certificate that is; STATE what a report is or was.
    """

    NUMBER = b"n"
    MEMBER = b"m"
    STATE = b"s"


class Marked(NamedTuple):
    """An event about a mark: its place in the block, its body, and whether it was applied."""

    place: int
    body: MarkBody
    applied: bool


def mark_prefix(number: str) -> bytes:
    """Return the prefix of the rows of the events about a certificate's mark."""
    return b"z" + number.encode() + b"\0"


def misuse_prefix(facet: MisuseFacet, value: str) -> bytes:
    """Return the prefix of the rows of the reports of a facet's value."""
    return b"y" + facet.value + value.encode() + b"\0"


def _row_key(facet: MisuseFacet, value: str, report: int) -> bytes:
    return misuse_prefix(facet, value) + report.to_bytes(_REPORT_BYTES, "big")


def mark_rows(reader: LedgerReader, height: int, marked: Sequence[Marked]) -> list[Put]:
    """Return the rows of a block's events about marks; the ledger has taken in the block."""
    now, puts = CommittedState(reader.store), list[Put]()
    reports = 0
    if any(item.applied and isinstance(item.body, ReportMisuse) for item in marked):
        reports = read_count(StateAt(reader, height - 1), MISUSE_COUNT_KEY)
    for place, body, applied in marked:
        number: str | None
        match body:
            case ReportMisuse():
                number = body.number
                if applied:
                    reports += 1  # as execution counts them, in the order of the log
                    row = read_report(now, reports)
                    assert row is not None, "an applied report has its row for good"
                    puts += [*report_rows(now, row), (_row_key(MisuseFacet.STATE, UNDECIDED, reports), b"")]
            case DecideMisuse():
                # What a report is about never changes, and the newest row is read fastest.
                report = read_report(now, body.report)
                number = None if report is None else report.number
                puts += _decision_rows(body.report, body.finding) if applied else []
            case _:
                number = body.number
        if number is not None:
            puts.append((mark_prefix(number) + rows.position_bytes(height, place), b""))
    return puts


def report_rows(now: StateGetter, report: MisuseReport) -> list[Put]:
    """Return the rows of what stays of a report."""
    members = {report.reporter, report.holder}
    puts: list[Put] = []
    if report.number is not None:
        puts.append((_row_key(MisuseFacet.NUMBER, report.number, report.report), b""))
        certificate = read_certificate(now, report.number)
        members.add(None if certificate is None else certificate.holder)
    named = sorted(member for member in members if member is not None)
    return puts + [(_row_key(MisuseFacet.MEMBER, member, report.report), b"") for member in named]


def _decision_rows(report: int, finding: MisuseFinding) -> list[Put]:
    undecided = _row_key(MisuseFacet.STATE, UNDECIDED, report)
    return [(undecided, None), (_row_key(MisuseFacet.STATE, finding.value, report), b"")]


def rows_at_base(state: CommittedState) -> Iterator[Put]:
    """Yield the rows of all reports that a state has: where an index begins without the events before."""
    for _, report in state.scan(MISUSE_PREFIX, MisuseReport):
        yield from report_rows(state, report)
        found = UNDECIDED if report.decision is None else report.decision.finding.value
        yield _row_key(MisuseFacet.STATE, found, report.report), b""


def reports_under(
    store: Store, facet: MisuseFacet, value: str, after: int | None, *, descending: bool
) -> Iterator[int]:
    """Yield the numbers of the reports that have, or ever had, this value of a facet, in order, those after one."""
    prefix = misuse_prefix(facet, value)
    start, stop = prefix, prefix_stop(prefix)
    if after is not None:
        beyond = _row_key(facet, value, after)
        start, stop = (start, beyond) if descending else (beyond + b"\0", stop)
    for key, _ in store.iterate(start, stop, reverse=descending):
        yield int.from_bytes(key[len(prefix) :], "big")
