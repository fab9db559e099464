"""Reading what falls due: lists as of a time, counts, and what is due with a block.

All by the index of ends (`ledger.deadline_index`). What is due with a block must not wait for it, and is told by the
state where the index is behind: what the index knows, and whatever changed since. A place in a list is (due, kind,
key), in that order. Not here: what falls due (`ledger.deadlines`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import Final

from ledger.base import before_the_base
from ledger.deadline_index import DUE_MAX, EndsReader, Span
from ledger.deadline_subjects import SelectedInDraws, all_subjects, subjects_touched
from ledger.deadlines import (
    LASTING,
    NOTICES,
    Due,
    DueKind,
    End,
    ends_at,
    notice_of,
    notices_of,
    read_figures,
    rows_of,
)
from ledger.policy import DAY_MS
from ledger.reader import LedgerReader
from ledger.state_after import StateAfter, header_at
from ledger.state_at import StateAt

Place = tuple[int, int, str]
"""Due, the kind's number in the order of `DueKind`, and the subject's key."""
ORDER: Final = {kind: number for number, kind in enumerate(DueKind)}


def place_of(end: End) -> Place:
    """Return the place of an end in a list."""
    return end.due_ms, ORDER[end.kind], end.key


def deadlines_at(
    ends: EndsReader,
    kinds: Sequence[DueKind],
    time_ms: int,
    until_ms: int,
    *,
    height: int,
    member: str = "",
    after: Place | None = None,
    descending: bool = False,
) -> Iterator[End]:
    """Yield what is so at a time, and what will be due up to `until_ms`, as of a height; about a member, or all."""
    lists = [
        _of_kind(ends, kind, time_ms, until_ms, height, member, after, descending=descending) for kind in set(kinds)
    ]
    return heapq.merge(*lists, key=place_of, reverse=descending)


def _of_kind(
    ends: EndsReader,
    kind: DueKind,
    time_ms: int,
    until_ms: int,
    height: int,
    member: str,
    after: Place | None,
    *,
    descending: bool,
) -> Iterator[End]:
    """Yield what a list has of one kind. A notice is so from some days before what it tells of until that."""
    ahead_ms = NOTICES.get(kind, 0) * DAY_MS
    kept = DueKind.CERTIFICATE_EXPIRED if ahead_ms else kind
    from_ms = 0 if kind in LASTING and not ahead_ms else time_ms + 1
    stop_ms = min(until_ms + ahead_ms, DUE_MAX - 1) + 1
    beyond = None
    if after is not None:
        due_ms, number, name = after[0] + ahead_ms, after[1], after[2]
        if number == ORDER[kind]:
            beyond = due_ms, name
        elif descending:
            stop_ms = min(stop_ms, due_ms + (ORDER[kind] < number))
        else:
            from_ms = max(from_ms, due_ms + (ORDER[kind] < number))
    for end in ends.ends(Span(kept, from_ms, stop_ms, beyond), owner=member, height=height, descending=descending):
        shown = notice_of(end, kind) if ahead_ms else end
        if shown.is_at(time_ms):
            yield shown


def dues_after(reads: LedgerReader, ends: EndsReader | None, height: int, until_ms: int) -> list[Due]:
    """Return what is due after the time of the block at `height` and up to a time, by the state after that block.

    The first first. With the time of the next block this is what is due with that block: the same on every node,
    whenever it is asked, and however far the index is. NotHere or Pruned where the block is not here.
    """
    if height < reads.base():
        raise before_the_base(f"the state of block {height}", reads.base())
    header = reads.header(height)
    assert header is not None, "only committed blocks are announced"
    from_ms = int(header.time_ms) + 1
    reached = None if ends is None else ends.height()
    if ends is not None and reached is not None and reached >= height:
        found = _as_the_state_says(reads, height, _indexed(ends, height, from_ms, until_ms))
    else:
        found = _read_beside(reads, ends, height, from_ms, until_ms)
    dues = {item.due() for end in found for item in notices_of(end) if from_ms <= item.due_ms <= until_ms}
    return sorted(dues, key=lambda due: (due.time_ms, ORDER[due.kind], due.subject))


def _as_the_state_says(reads: LedgerReader, height: int, found: Iterator[End]) -> Iterator[End]:
    """Yield ends, but those of proposals that are closed: what closes one need not name it."""
    for end in found:
        if end.kind is not DueKind.PROPOSAL_EXPIRED:
            yield end
        else:
            state = StateAt(reads, height)
            yield from ends_at(state, end.key, read_figures(state, height))


def _indexed(ends: EndsReader, height: int, from_ms: int, until_ms: int) -> Iterator[End]:
    """Yield the ends that are due in a span, and those of certificates that a notice tells of in it."""
    for kind in DueKind:
        if kind not in NOTICES:
            yield from ends.ends(Span(kind, from_ms, until_ms + 1), height=height)
    for days in NOTICES.values():
        ahead_ms = days * DAY_MS
        span = Span(DueKind.CERTIFICATE_EXPIRED, from_ms + ahead_ms, until_ms + ahead_ms + 1)
        yield from ends.ends(span, height=height)


def _read_beside(
    reads: LedgerReader, ends: EndsReader | None, height: int, from_ms: int, until_ms: int
) -> Iterator[End]:
    """Yield the ends of whatever may be due in a span, as the state at a height says them: too many, never too few."""
    state = StateAfter(reads, header_at(reads, height))
    figures = read_figures(state, height)
    reached = None if ends is None else ends.height()
    keys: set[str] = set()
    if ends is None or reached is None or figures != read_figures(StateAt(reads, reached), reached):
        keys.update(all_subjects(reads.store))
    else:
        keys.update(end.key for end in _indexed(ends, reached, from_ms, until_ms))
        draws = SelectedInDraws(reads.store)
        for later in range(reached + 1, height + 1):
            keys |= subjects_touched(reads, later, draws=draws)
    state.load(row for key in keys for row in rows_of(key))
    for key in sorted(keys):
        yield from ends_at(state, key, figures)


def count_deadlines(ends: EndsReader, kind: DueKind, time_ms: int, *, height: int, within_days: int = 0) -> int:
    """Return how many are so at a time, or will be due within some days."""
    found = deadlines_at(ends, (kind,), time_ms, time_ms + within_days * DAY_MS, height=height)
    return sum(1 for _ in found)
