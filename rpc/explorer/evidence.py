"""Pages of evidence: who is proved to have signed two statements that contradict each other, both side by side."""

from __future__ import annotations

import re
from typing import Any

from rpc.errors import invalid_params
from rpc.explorer.asking import ROWS_A_PAGE, Asked, Page, Redirect, ask, path_to
from rpc.explorer.proofs import event_steps
from rpc.methods.blocks import get_block
from rpc.methods.events import get_event
from rpc.methods.evidence import EvidenceResult, net_evidence

_ID = re.compile(r"[0-9a-f]{64}")

Row = dict[str, Any]  # Any: what a template shows


def evidence(asked: Asked) -> Page:
    """What is recorded, the newest first."""
    cursor = asked.word("cursor")
    found = ask(net_evidence, asked.services, limit=ROWS_A_PAGE, cursor=cursor)
    seen = None if asked.services.activity is None else asked.on_loop(asked.services.activity)
    values = {
        "evidence": found.evidence,
        "count": found.count,
        "seen": 0 if seen is None else seen.evidence_seen,
        "first": path_to("evidence") if cursor else None,
        "more": path_to("evidence", cursor=found.cursor) if found.cursor else None,
    }
    return Page("evidence.html", "evidence.title", values, as_of=found.as_of)


def one_evidence(asked: Asked) -> Page | Redirect:
    """One evidence, by the event that holds it."""
    name = asked.parts["id"]
    if _ID.fullmatch(name) is None:
        if _ID.fullmatch(name.lower()):
            return Redirect(path_to("evidence", name.lower()))
        raise invalid_params("not the id of an event", where="path", expected="64 hex digits", got=name)
    answer = ask(net_evidence, asked.services, event_id=name)
    (found,) = answer.evidence
    event = ask(get_event, asked.services, event_id=name).event
    values = {
        "found": found,
        "fields": side_by_side(found),
        "steps": event_steps(event, ask(get_block, asked.services, height=found.height)),
        "proof_url": path_to("events", f"{name}.tlog-proof"),
        "command": f"chainnode evidence show {name} --proof {name[:12]}.evidence",
        "check": f"chainnode evidence verify {name[:12]}.evidence --genesis genesis.json",
    }
    return Page("one_evidence.html", "one_evidence.title", values, {"id": f"{name[:12]}…"}, as_of=answer.as_of)


def side_by_side(found: EvidenceResult) -> list[Row]:
    """Return what both statements say, field by field, and where they differ."""
    first, second = found.first.says, found.second.says
    names = [*first, *(name for name in second if name not in first)]
    pairs = [(name, first.get(name), second.get(name)) for name in names]
    return [{"name": name, "first": one, "second": other, "same": one == other} for name, one, other in pairs]
