"""Which reports of misuse fit what is asked for, as of a block.

Here: the filters, what the index offers for them, and holding each report against all of them, so that nothing is found
that does not fit, whatever the index says. Not here: what the index keeps (`ledger.mark_index`), parameters and pages
(`rpc.methods.misuse`). Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ledger.certificate_records import read_certificate
from ledger.committed_state import CommittedState
from ledger.mark_index import UNDECIDED, MisuseFacet
from ledger.mark_records import MISUSE_COUNT_KEY, MisuseReport, read_count, read_report
from ledger.reader import LedgerReader
from ledger.state_at import StateAt
from primitives.block import BlockHeader


@dataclass(frozen=True, slots=True)
class MisuseFilters:
    """What reports must have to be listed; None lets all pass.

    `member` reported, is reported, or holds the certificate that is; `state` is `undecided` or a finding.
    """

    number: str | None = None
    member: str | None = None
    state: str | None = None


class ReportIndex(Protocol):
    """What the index offers: numbers of reports in their order, too many rather than too few."""

    def misuse_reports(
        self, facet: MisuseFacet, value: str, after: int | None, *, descending: bool
    ) -> Iterator[int]: ...


def state_of(report: MisuseReport) -> str:
    """Return what a report is: `undecided`, or as it was found."""
    return UNDECIDED if report.decision is None else report.decision.finding.value


class MisuseAsOf:
    """The reports as of a block. `past` counts how often the state of then had to be looked up."""

    def __init__(self, reader: LedgerReader, header: BlockHeader) -> None:
        self._now = CommittedState(reader.store)
        self._then = StateAt(reader, header.height)
        self._time_ms = header.time_ms
        self.past = 0

    def count(self) -> int:
        """Return how many reports there were: their numbers are 1 to this."""
        return read_count(self._then, MISUSE_COUNT_KEY)

    def find(self, number: int) -> MisuseReport | None:
        """Return a report, None where there was none yet. StorageError where a row is damaged."""
        row = read_report(self._now, number)
        if row is None or (row.time_ms if row.decision is None else row.decision.time_ms) <= self._time_ms:
            return row
        self.past += 1
        return read_report(self._then, number)

    def fits(self, report: MisuseReport, filters: MisuseFilters) -> bool:
        """Say whether a report is what is asked for."""
        return (
            filters.number in (None, report.number)
            and filters.state in (None, state_of(report))
            and (filters.member is None or filters.member in self._members(report))
        )

    def _members(self, report: MisuseReport) -> set[str | None]:
        # A certificate's holder never changes.
        certificate = None if report.number is None else read_certificate(self._now, report.number)
        return {report.reporter, report.holder, None if certificate is None else certificate.holder}


def search_reports(
    index: ReportIndex, as_of: MisuseAsOf, filters: MisuseFilters, after: int | None, *, descending: bool
) -> Iterator[tuple[int, MisuseReport | None]]:
    """Yield the numbers of the reports that may fit, those after one, each with its report where it does.

    So whoever walks can stop after so many. What is undecided is found as of the height that the index has reached,
    everything else as of any before it too.
    """
    for number in _candidates(index, as_of, filters, after, descending=descending):
        report = as_of.find(number)
        yield number, report if report is not None and as_of.fits(report, filters) else None


def _candidates(
    index: ReportIndex, as_of: MisuseAsOf, filters: MisuseFilters, after: int | None, *, descending: bool
) -> Iterator[int]:
    """Return the numbers of all reports that may fit: by the filter that likely leaves the fewest."""
    if filters.number is not None:
        return index.misuse_reports(MisuseFacet.NUMBER, filters.number, after, descending=descending)
    if filters.state == UNDECIDED:
        return index.misuse_reports(MisuseFacet.STATE, UNDECIDED, after, descending=descending)
    if filters.member is not None:
        return index.misuse_reports(MisuseFacet.MEMBER, filters.member, after, descending=descending)
    if filters.state is not None:
        return index.misuse_reports(MisuseFacet.STATE, filters.state, after, descending=descending)
    last = as_of.count()
    if descending:
        return iter(range(last if after is None else min(after - 1, last), 0, -1))
    return iter(range(1 if after is None else after + 1, last + 1))
