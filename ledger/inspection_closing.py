"""When commitments to a draw end: with the first block at or after the announced time, whoever made it come.

No event closes a draw. Execution looks at the draws announced before it runs a block's events: those whose time is over
close with this block, and at the beginning of the next one their record takes its hash, the public part of the seed.
The hash of a block from before the end would not do: on a quiet chain whoever sends the last event in time chooses it,
trying again as long as it dislikes what it sees. This block's hash follows from what its leader puts into it, and
nobody has a second try. Nobody reveals in this block: a leader that has a secret in time could fit the block to it.
Source: domain §3 (random inspections).
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from ledger.inspection_records import (
    ANNOUNCED_KEY,
    OPEN_KEY,
    AnnouncedDraw,
    AnnouncedDraws,
    Closing,
    Inspection,
    OpenDraw,
    Phase,
    UnderWay,
    inspection_key,
    read_announced,
    read_inspection,
    read_open,
    read_under_way,
    under_way_key,
)
from ledger.state import StateView, Transaction
from primitives.ids import Hash

COMMITMENTS_MIN: Final = 2
"""Fewer make a draw void: a lone member would know the seed when it closes."""
TOO_FEW: Final = "too_few_commitments"


def close_commitments(view: StateView, height: int, time_ms: int, parent: Hash) -> None:
    """Close the draws whose time for commitments is over, and note the parent's hash with those that it closed.

    To be called before a block's events are run. Costs one row where no draw was announced.
    """
    before = read_announced(view)
    if not before.closed and not (before.draws and before.draws[0].commit_until_ms <= time_ms):
        return
    state = Transaction(view)
    for name in before.closed:
        draw = _present(state, name)
        assert draw.closing is not None
        state.put(inspection_key(name), replace(draw, closing=replace(draw.closing, block=parent)))
    closed = list[str]()
    for item in before.draws:
        if item.commit_until_ms <= time_ms:
            _close(state, _present(state, item.draw), Closing(height, time_ms, None))
            closed.append(item.draw)
    left = before.draws[len(closed) :]
    if left or closed:
        state.put(ANNOUNCED_KEY, AnnouncedDraws(left, tuple(closed)))
    else:
        state.delete(ANNOUNCED_KEY)
    state.apply(view)


def _close(state: Transaction, draw: Inspection, closing: Closing) -> None:
    if len(draw.committed) < COMMITMENTS_MIN:
        end_draw(state, replace(draw, phase=Phase.VOID, closing=closing, void=TOO_FEW))
        return
    state.put(inspection_key(draw.id), replace(draw, phase=Phase.CLOSED, closing=closing))
    opened = read_open(state)
    state.put(OPEN_KEY, replace(opened, draws=(*opened.draws, OpenDraw(draw.id, closing.height))))


def await_closing(state: Transaction, draw: str, commit_until_ms: int) -> None:
    """Add a draw to those that execution closes, ascending by the end of their commitments."""
    before = read_announced(state)
    draws = sorted((*before.draws, AnnouncedDraw(draw, commit_until_ms)), key=lambda item: item.commit_until_ms)
    state.put(ANNOUNCED_KEY, replace(before, draws=tuple(draws)))


def end_draw(state: Transaction, draw: Inspection) -> None:
    """Write a draw that is no longer under way."""
    state.put(inspection_key(draw.id), draw)
    opened = read_open(state)
    if any(item.draw == draw.id for item in opened.draws):
        state.put(OPEN_KEY, replace(opened, draws=tuple(item for item in opened.draws if item.draw != draw.id)))
    left = tuple(item for item in read_under_way(state, draw.member) if item != draw.id)
    if left:
        state.put(under_way_key(draw.member), UnderWay(left))
    else:
        state.delete(under_way_key(draw.member))


def _present(state: Transaction, draw: str) -> Inspection:
    found = read_inspection(state, draw)
    assert found is not None, f"{draw} was announced"
    return found
