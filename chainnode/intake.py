"""Sending the messages of one file and following each to its outcome, across crashes of the node and of oneself.

Here: groups, back pressure, what became of each message. Not here: the folder (`intake_folder`), the journal
(`intake_journal`), reading files (`ingesting`), the command line. No signing key is here: the node's gateway signs.

An event is sent again until it has an outcome, which is safe: the private store gives the same event each time, and
gateway and chain take each id once. So the journal has to hold outcomes alone, and may lag behind.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from threading import Event
from typing import Any, Final, TypeVar

from chainnode.client import CallRefused, NodeClient, TimedOut, Unreachable, retry_pause_s
from chainnode.intake_journal import Journal, Row
from chainnode.submission import Door, NewEvent, await_committed, chunks
from primitives.errors import ChainError

GROUPS_IN_FLIGHT: Final = 4
"""Groups (`submission.chunks`) that may be accepted and not yet committed."""
REFUSALS_BEFORE_PARTS: Final = 3
"""A node may take fewer events at once than a group has: after so many refusals it is offered in halves."""
SLICE_S: Final = 1.0
PAUSE_S: Final = 0.5
COMMITTED: Final = "Committed"
_SAID = ("id", "status", "outcome", "height", "index", "reason", "message")

Json = dict[str, Any]  # Any: JSON of a node
T = TypeVar("T")


class Stopped(Exception):
    """The process was asked to end; what is in flight is settled at the next start."""


@dataclass(frozen=True, slots=True)
class Pace:
    """When to give up: `stop` is set by who asks for an end; without progress for `patience_s` (None: never)."""

    stop: Event
    patience_s: float | None
    tell: Callable[[str], None]


class Sender:
    """Sends the events of files through one door; owned by one thread."""

    def __init__(self, client: NodeClient, door: Door, pace: Pace) -> None:
        self._client = client
        self._door = door
        self._pace = pace
        self._progress_s = time.monotonic()
        self._said: str = ""

    def send(self, events: Sequence[NewEvent], journal: Journal, done: Callable[[list[Json]], None]) -> None:
        """Send what the journal has no outcome of, and return when all have one; `done` is told of each group.

        Raises `Stopped`, and what the client raises: at once where the node refuses for good, else without progress.
        """
        left = [event for event in events if key_of(event) not in journal.settled]
        flight: deque[tuple[list[NewEvent], list[Json]]] = deque()
        self._progress_s = time.monotonic()
        for group in chunks(left):
            while (rows := self._offered(group, wait=not flight)) is None:
                self._settle(*flight.popleft(), journal, done)
            flight.append((group, rows))
            if len(flight) >= GROUPS_IN_FLIGHT:
                self._settle(*flight.popleft(), journal, done)
        while flight:
            self._settle(*flight.popleft(), journal, done)

    def patiently(self, call: Callable[[], T]) -> T:
        """Return what a call gives, made again for as long as the node can't be asked."""
        self._progress_s = time.monotonic()
        for refusals in count():
            try:
                found = call()
            except CallRefused as refused:
                if not refused.retryable:
                    raise
                self._pause(refused, retry_pause_s(refused.retry_after_ms, refusals, 0.0))
            except (TimedOut, Unreachable) as error:
                self._pause(error, retry_pause_s(None, refusals, 0.0))
            else:
                self._said = ""
                return found
        raise AssertionError("unreachable")

    def _offered(self, group: Sequence[NewEvent], *, wait: bool) -> list[Json] | None:
        """Return where each stands once the node has accepted them; None where it takes no more for the moment.

        With `wait` that moment is waited for: nothing of ours is in flight that could make room.
        """
        refusals = 0
        while True:
            self._check_stop()
            try:
                rows = self._door.send(group, "accepted", patience_s=0.0)
            except CallRefused as refused:
                if not refused.retryable:
                    raise
                if not wait:
                    return None
                if refusals >= REFUSALS_BEFORE_PARTS and len(group) > 1:
                    parts = group[: len(group) // 2], group[len(group) // 2 :]
                    return [row for part in parts for row in self._offered(part, wait=True) or ()]
                self._pause(refused, retry_pause_s(refused.retry_after_ms, refusals, 0.0))
            except (TimedOut, Unreachable) as error:
                self._pause(error, retry_pause_s(None, refusals, 0.0))
            else:
                self._said = ""
                return [{**row, "accepted": True} if row["status"] == "Pending" else row for row in rows]
            refusals += 1

    def _settle(
        self, group: list[NewEvent], rows: list[Json], journal: Journal, done: Callable[[list[Json]], None]
    ) -> None:
        """Follow a group until each of its events has an outcome, and note it."""
        refused_late = set[int]()
        while True:
            self._check_stop()
            if self._impatient:
                raise TimedOut("nothing was committed in time", expected=f"within {self._pace.patience_s:g} s")
            before = time.monotonic()
            rows = await_committed(self._client, rows, timeout_s=SLICE_S)
            lost = [place for place, row in enumerate(rows) if row["status"] == "Unknown"]
            # Refused once more than what was refused at the door: its gateway went, not the message.
            lost += [
                place
                for place, row in enumerate(rows)
                if row["status"] == "Refused" and row.get("accepted") and place not in refused_late
            ]
            if lost:
                refused_late |= set(lost)
                again = self._offered([group[place] for place in lost], wait=True)
                assert again is not None, "it waits"
                for place, row in zip(lost, again, strict=True):
                    rows[place] = row
            elif all(row["status"] != "Pending" for row in rows):
                break
            elif time.monotonic() - before < SLICE_S / 2:
                self._wait(PAUSE_S)  # the node does not answer
        found = [result_of(event, row) for event, row in zip(group, rows, strict=True)]
        journal.settle(found)
        self._progress_s = time.monotonic()
        done(found)

    def _pause(self, error: ChainError, pause_s: float) -> None:
        if self._impatient:
            raise error
        if self._said != error.reason:
            self._said = error.reason
            self._pace.tell(f"{error}; trying again")
        self._wait(pause_s)

    def _wait(self, pause_s: float) -> None:
        self._pace.stop.wait(pause_s)
        self._check_stop()

    def _check_stop(self) -> None:
        if self._pace.stop.is_set():
            raise Stopped

    @property
    def _impatient(self) -> bool:
        patience_s = self._pace.patience_s
        return patience_s is not None and time.monotonic() - self._progress_s > patience_s


def key_of(event: NewEvent) -> tuple[str, str]:
    """Return by what a message's outcome is found in the journal."""
    assert event.reference is not None, "statements have one"
    return event.reference.hex(), event.where


def result_of(event: NewEvent, row: Json) -> Json:
    """Return what became of a message, as journal and report say it."""
    reference, where = key_of(event)
    said = {name: row.get(name) for name in _SAID if row.get(name) is not None}
    differs = {"differs": list(event.differs)} if event.differs else {}
    return {"where": where, "reference": reference, **said, **differs}


def is_good(row: Row) -> bool:
    """Say whether a message is on the chain and was applied."""
    return bool(row.get("status") == COMMITTED and (row.get("outcome") or {}).get("applied") is True)


def refusal_of(name: str, error: ChainError, status: str = "Refused") -> Json:
    """Return what is said of a message of a file, or of all of it, that was refused; errors repeat nothing private."""
    return {"where": error.where or name, "status": status, "reason": error.reason, "message": str(error)}


def sums_of(rows: Iterable[Row]) -> Json:
    """Return how many messages are committed, rejected by the chain, refused, and of others."""
    sums = {"committed": 0, "rejected": 0, "refused": 0, "foreign": 0}
    for row in rows:
        if is_good(row):
            sums["committed"] += 1
        elif row.get("status") == COMMITTED:
            sums["rejected"] += 1
        elif row.get("status") == "Foreign":
            sums["foreign"] += 1
        else:
            sums["refused"] += 1
    return sums
