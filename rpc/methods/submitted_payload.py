"""What `ledger_submit` answers about a payload beside its events: their places and sides, and what was left out."""

from __future__ import annotations

from rpc.ports import ReadMessage
from rpc.types import Result


class PlaceResult(Result, frozen=True):
    """Where an event's payment stands in the payload, and the side from which this node's member states it.

    `differs` names fields in which it would be stated otherwise now than it was first: the first event counts.
    """

    where: str
    side: str
    differs: list[str]


class LeftOutResult(Result, frozen=True):
    """A part of a payload that was left out, and why."""

    where: str
    reason: str
    message: str


class PayloadResult(Result, frozen=True):
    """What a payload was: its format, the place of each event in it, and what was left out (with `skip_bad`).

    `left_out` names the first 1,000 of `left_out_count`.
    """

    format: str
    places: list[PlaceResult]
    left_out: list[LeftOutResult]
    left_out_count: int


def payload_result(read: ReadMessage) -> PayloadResult:
    """Return what is told of a message that was read."""
    return PayloadResult(
        read.format,
        [PlaceResult(item.where, item.side, item.differs) for item in read.events],
        [LeftOutResult(item.where, item.reason, item.message) for item in read.refused],
        read.refused_count,
    )
