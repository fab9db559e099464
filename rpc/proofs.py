"""placeholder until ledger.receipts."""

from __future__ import annotations

from primitives.ids import EventId
from rpc.ports import Services


def receipt_text(services: Services, event_id: EventId) -> str:
    raise NotImplementedError


def policy_text(services: Services) -> str:
    raise NotImplementedError
