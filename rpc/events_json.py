"""placeholder until ledger.event_json."""

from __future__ import annotations

from typing import Any

from ledger.events import Event
from rpc.ports import NewEvent


def event_to_json(event: Event) -> dict[str, Any]:
    return {"raw": event.body.hex()}


def new_event(kind: str, body: dict[str, Any], reference: str | None, expires: str | None, *, where: str) -> NewEvent:
    raise NotImplementedError
