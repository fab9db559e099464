"""A certificate's life as a picture: what it was worth from when to when, as its applied events and its term say.

Found from the history that a page shows, and so of no more weight than it; what is proved is the status of a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from ledger.certificate_records import Status
from ledger.times import parse_time
from rpc.methods.certificates import CertificateRecord
from rpc.methods.events import EventResult
from rpc.types import time_text

WIDTH: Final = 1_000
LEAST: Final = 6
"""The least width of a span, so that a day in three years is seen."""

BEFORE: Final = "application"
TURNS: Final = {
    "certificate.grant": Status.VALID,
    "certificate.suspend": Status.SUSPENDED,
    "certificate.restore": Status.VALID,
    "certificate.revoke": Status.REVOKED,
    "certificate.cancel": Status.CANCELLED,
}
ENDS: Final = (Status.REVOKED, Status.CANCELLED, Status.EXPIRED)


@dataclass(frozen=True, slots=True)
class Span:
    """A time of one status, in units of the picture; `until` is None of what nothing ends any more."""

    status: str
    since: str
    until: str | None
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Life:
    """The spans in order, and where in the picture the time that is asked about lies."""

    spans: tuple[Span, ...]
    now: str
    now_x: float
    width: int = WIDTH


def life(record: CertificateRecord, events: Sequence[EventResult], now_ms: int) -> Life | None:
    """Return the life of a certificate from its whole history, the oldest event first; None where that is not here."""
    turns = _turns(record, events)
    if not turns:
        return None
    start, last = turns[0][0], turns[-1][0]
    stop = max(last + (last - start) // 6, now_ms, start + 1)
    times = [time for time, _ in turns] + [stop]
    widths = [max(LEAST, WIDTH * (after - at) / (stop - start)) for at, after in pairwise(times)]
    scale, x, spans = WIDTH / sum(widths), 0.0, list[Span]()
    now_x = 0.0
    for place, ((at, status), width) in enumerate(zip(turns, widths, strict=True)):
        after, drawn = times[place + 1], width * scale
        if at <= now_ms:
            now_x = x + drawn * min(1.0, (now_ms - at) / max(1, after - at))
        until = time_text(after) if place + 1 < len(turns) else None
        spans.append(Span(status, time_text(at), until, round(x, 1), round(drawn, 1)))
        x += drawn
    return Life(tuple(spans), time_text(now_ms), round(now_x, 1))


def _turns(record: CertificateRecord, events: Sequence[EventResult]) -> list[tuple[int, str]]:
    """Return when each status began."""
    applied = [event for event in events if event.outcome.applied]
    if not applied or not any(event.kind == "certificate.grant" for event in applied):
        return []
    term = _ms(record.valid_from), _ms(record.valid_until)
    turns = [(_ms(applied[0].time), BEFORE)]
    # Against which decision an appeal is: that on what the certificate was worth, if it is the newest one.
    appealable: str | None = None
    for event in applied:
        time, present = _ms(event.time), turns[-1][1]
        status, appealable = _turn(event, present, appealable)
        if status is None or time >= term[1]:
            continue
        if event.kind == "certificate.grant" and time < term[0]:
            turns += [(time, Status.NOT_YET_VALID.value), (term[0], status)]
        else:
            turns.append((time, status))
    if turns[-1][1] not in ENDS:
        turns.append((term[1], Status.EXPIRED.value))
    return sorted(turns, key=lambda turn: turn[0])


def _turn(event: EventResult, present: str, appealable: str | None) -> tuple[str | None, str | None]:
    """Return the status that an event begins, if any, and the one to which an appeal that is upheld would return."""
    match event.kind:
        case "certificate.surveil" | "inspection.report" if event.body["grave"] and present == Status.VALID:
            return Status.SUSPENDED.value, present
        case "certificate.decide_appeal":
            return (appealable if event.body["upheld"] else None), None
        case "certificate.suspend" | "certificate.revoke":
            return TURNS[event.kind].value, present
        case "certificate.reduce" | "certificate.restore":
            status = TURNS.get(event.kind)
            return (None if status is None else status.value), None
        case _:
            status = TURNS.get(event.kind)
            return (None if status is None else status.value), appealable


def _ms(text: str) -> int:
    return int(parse_time(text, where="time"))
