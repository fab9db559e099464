"""Pages of events: one event with its body, its outcome, its place and why it can be believed."""

from __future__ import annotations

import re
from typing import Any

from ledger.outcome_texts import detail_text
from rpc.errors import Code, RpcError, invalid_params
from rpc.explorer.asking import Asked, Page, Redirect, ask, path_to
from rpc.explorer.proofs import event_steps
from rpc.methods.blocks import get_block
from rpc.methods.events import EventResult, get_event, get_status
from rpc.ports import SubmitStatus

_ID = re.compile(r"[0-9a-f]{64}")
# The fields that tell events of a kind apart in a list, the first that a body has.
TELLING = ("number", "application", "uetr", "pair_key", "source", "validator", "key", "proposal")
TELLING_CHARACTERS_MAX = 64

Row = dict[str, Any]  # Any: what a template shows


def event(asked: Asked) -> Page | Redirect:
    """One event; what is not in a block yet says where it stands."""
    event_id = asked.parts["id"]
    if _ID.fullmatch(event_id) is None:
        if _ID.fullmatch(event_id.lower()):
            return Redirect(path_to("event", event_id.lower()))
        raise invalid_params("not the id of an event", where="path", expected="64 hex digits", got=event_id)
    try:
        answer = ask(get_event, asked.services, event_id=event_id)
    except RpcError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        return _waiting(asked, event_id, error)
    found = answer.event
    block = ask(get_block, asked.services, height=found.height)
    said = detail_text(found.outcome.rule or "", found.outcome.detail or "")
    values = {
        "event": found,
        "why": None if said == (found.outcome.detail or "") else said,
        "block": block,
        "steps": event_steps(found, block),
        "proof_url": path_to("events", f"{found.id}.tlog-proof"),
        "command": f"chainnode prove {found.id} -f {found.id[:12]}.tlog-proof",
        "check": f"chainnode verify {found.id[:12]}.tlog-proof --policy policy",
    }
    return Page("event.html", "event.title", values, {"id": f"{found.id[:12]}…"}, as_of=answer.as_of)


def _waiting(asked: Asked, event_id: str, unknown: RpcError) -> Page:
    """Return the page of an event that is in no block; an unknown one is not found."""
    status = asked.on_loop(lambda: ask(get_status, asked.services, event_id=event_id))
    if status.status is SubmitStatus.UNKNOWN:
        raise unknown
    if status.status is SubmitStatus.COMMITTED:  # since it was looked for
        raise RpcError(Code.UNAVAILABLE, "just_committed", "this event was committed just now", retryable=True)
    values = {"id": event_id, "status": status}
    return Page("event_waiting.html", "event.title", values, {"id": f"{event_id[:12]}…"}, as_of=status.as_of)


def row_of(event: EventResult) -> Row:
    """Return what a list shows of an event."""
    return {
        "id": event.id,
        "kind": event.kind,
        "member": event.member,
        "about": about(event.body),
        "applied": event.outcome.applied,
        "rule": event.outcome.rule,
        "height": event.height,
        "index": event.index,
        "log_index": event.log_index,
        "time": event.time,
    }


def about(body: dict[str, Any]) -> str:
    """Return the reference that a body is about; empty where it names none."""
    for name in TELLING:
        value = body.get(name)
        if isinstance(value, str) and value:
            return value[:TELLING_CHARACTERS_MAX]
    action = body.get("action")
    return str(action.get("type", ""))[:TELLING_CHARACTERS_MAX] if isinstance(action, dict) else ""
