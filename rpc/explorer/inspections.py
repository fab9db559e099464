"""Pages of random inspections: the draws, and for each one who drew, what was selected and why, and what was found."""

from __future__ import annotations

import re

from ledger.certificate_bodies import APPLICATION_ID_PATTERN
from ledger.inspection_records import Phase
from rpc.errors import invalid_params
from rpc.explorer.asking import ROWS_A_PAGE, Asked, Page, ask, path_to
from rpc.methods.inspections import get_inspection, list_inspections

_ID = re.compile(APPLICATION_ID_PATTERN)


def inspections(asked: Asked) -> Page:
    """All draws, by id, or those of one phase."""
    cursor, phase = asked.word("cursor"), asked.word("phase")
    if phase is not None and phase not in set(Phase):
        raise invalid_params("not a phase of a draw", where="phase", expected=" or ".join(Phase), got=phase)
    found = ask(list_inspections, asked.services, limit=ROWS_A_PAGE, cursor=cursor, phase=phase)
    values = {
        "inspections": found.inspections,
        "phases": list(Phase),
        "chosen": phase,
        "first": path_to("inspections", phase=phase) if cursor else None,
        "more": path_to("inspections", phase=phase, cursor=found.cursor) if found.cursor else None,
    }
    return Page("inspections.html", "inspections.title", values, as_of=found.as_of)


def inspection(asked: Asked) -> Page:
    """One draw, by its id."""
    draw = asked.parts["draw"]
    if _ID.search(draw) is None:
        raise invalid_params("not a draw's id", where="path", expected="MEMBER.SERIAL", got=draw)
    answer = ask(get_inspection, asked.services, draw=draw)
    found = answer.inspection
    values = {
        "found": found,
        "missing": [item.member for item in found.committed if item.secret is None],
        "reported": sum(item.report is not None for item in found.selection),
        "command": f"chainnode cert inspection replay {draw} --prove --policy policy",
    }
    return Page("inspection.html", "inspection.title", values, {"draw": draw}, as_of=answer.as_of)
