"""What a member submitted, the newest first or the earliest: its batch log read batch by batch.

Pure; it only reads. Not here: the proof that nothing is missing (`ledger.completeness_reading`).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from ledger import rows
from ledger.reader import LedgerReader
from ledger.rows import BatchLeafRow, MemberLogRow
from ledger.views import EventView


@dataclass(frozen=True, slots=True)
class MemberEvents:
    """Events, in their order, and where to go on: the batch's index in its member's log and how many of its events
    were shown; None at the end."""

    events: list[EventView]
    after: tuple[int, int] | None


def member_events(
    reader: LedgerReader, member: str, start: tuple[int, int] | None, count: int, *, descending: bool = True
) -> MemberEvents:
    """Return up to `count` events of a member, the newest first, from its newest batch or from `start` on.

    Otherwise from its earliest batch. Those of blocks that are here: where a store begins with a snapshot, the list
    ends there, or begins.
    """
    data = reader.store.get(rows.member_log_key(member))
    if data is None:
        return MemberEvents([], None)
    size = rows.read_row(MemberLogRow, data, where=f"batch log of {member}").size
    step = -1 if descending else 1
    if start is not None:
        batch, shown = min(start[0], size - 1 if descending else size), start[1]
    else:
        batch, shown = size - 1 if descending else _earliest(reader, member, size), 0
    found: list[EventView] = []
    while 0 <= batch < size and len(found) < count:
        leaf = _leaf(reader, member, batch)
        if leaf is None:
            return MemberEvents(found, None)
        part = _part(reader, leaf, shown, count - len(found), descending)
        found += part
        shown += len(part)
        if shown >= leaf.header.count or not part:
            batch, shown = batch + step, 0
    more = 0 <= batch < size and _leaf(reader, member, batch) is not None
    return MemberEvents(found, (batch, shown) if more else None)


def _earliest(reader: LedgerReader, member: str, size: int) -> int:
    """Return the first batch of a member that is here, by bisection: a store that begins with a snapshot lacks some."""
    return bisect_left(range(size), True, key=lambda batch: _leaf(reader, member, batch) is not None)


def _part(reader: LedgerReader, leaf: BatchLeafRow, shown: int, count: int, descending: bool) -> list[EventView]:
    """Return up to `count` events of a batch from its end, or from its beginning, after the `shown` ones."""
    header = reader.header(leaf.height)
    assert header is not None, "a batch of the log has a block"
    first = reader.batch_place(leaf.height, leaf.header.hash()) - header.first_index
    if not descending:
        return reader.block_events(leaf.height, first + shown, max(0, min(count, leaf.header.count - shown)))
    stop = first + leaf.header.count - shown
    start = max(first, stop - count)
    return reader.block_events(leaf.height, start, stop - start)[::-1]


def _leaf(reader: LedgerReader, member: str, index: int) -> BatchLeafRow | None:
    data = reader.store.get(rows.batch_leaf_key(member, index))
    return None if data is None else rows.read_row(BatchLeafRow, data, where=f"batch log of {member}, {index}")
