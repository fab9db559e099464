"""Sending events to a node and learning what became of them, for the command line.

Here: two ways in, one interface. `GatewayDoor` lets the node sign as its member's gateway (a home's token is needed);
`KeyDoor` signs batches with a key file (`--as`) and keeps that key's outbox beside it. Not here: where events come from
(`ingest`, the command line), the node's own gateway (`gateway`).
"""

from __future__ import annotations

import base64
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from chainnode.client import CallRefused, NodeClient, TimedOut, Unreachable, retry_pause_s
from chainnode.files import locked
from chainnode.identity import KeyFile
from chainnode.source_outbox import SourceOutbox
from ledger.batches import check_event
from ledger.event_json import body_to_json
from ledger.events import REFERENCE_SIZE, TIME_MS_MAX, Event, event_id
from ledger.registry import KINDS
from ledger.times import format_time
from primitives.encoding import encode
from primitives.errors import UsageError
from primitives.ids import EventId, Hash

CHUNK_EVENTS = 1_000
CHUNK_BYTES = 2 * 1024 * 1024
RETRY_PATIENCE_S = 30.0
POLL_S = 0.02
CALL_S_MIN = 0.5  # a node that is well answers within this, so the last call before the end is not made in vain
HOUR_MS = 3_600_000
EXPIRY_SLOT_MS = 12 * HOUR_MS

Json = dict[str, Any]  # Any: JSON of a node


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to send: kind, schema, canonical body; `where` says what it came from.

    `differs` names what would be otherwise now in a statement that is sent as it was first stated.
    """

    kind: int
    schema: int
    body: bytes
    where: str
    reference: bytes | None = None
    expires_ms: int | None = None
    differs: tuple[str, ...] = ()


def event_row(event: NewEvent) -> Json:
    """Return an event in its JSON form; reference and expires are left out where the gateway chooses them."""
    row: Json = {"kind": KINDS[event.kind].name, "schema": event.schema}
    if event.reference is not None:
        row["reference"] = event.reference.hex()
    if event.expires_ms is not None:
        row["expires"] = format_time(event.expires_ms)
    return {**row, "body": body_to_json(event.kind, event.schema, event.body)}


class Door(Protocol):
    """A way in for events of one member."""

    member: str

    def send(self, events: Sequence[NewEvent], wait: str, *, patience_s: float = RETRY_PATIENCE_S) -> list[Json]:
        """Send events; return for each, in order, where it stands: id, status, outcome, height, reason, message."""

    def settle(self) -> None:
        """Take note of what was committed meanwhile."""


class GatewayDoor:
    """Through the node's own gateway: it numbers, signs and keeps the batches."""

    def __init__(self, client: NodeClient, member: str) -> None:
        self._client = client
        self.member = member

    def send(self, events: Sequence[NewEvent], wait: str, *, patience_s: float = RETRY_PATIENCE_S) -> list[Json]:
        """Send events; what the door refuses comes back as Refused, the others go on."""
        rows = [event_row(event) for event in events]
        answer = retried(lambda: self._client.call("ledger_submit", events=rows, wait=wait), patience_s=patience_s)
        found: list[Json] = answer["events"]
        return found

    def settle(self) -> None:
        """Do nothing: the node's gateway takes note itself."""


class KeyDoor:
    """With a key of one's own: batches are numbered, signed and kept beside the key file, then sent to any node."""

    def __init__(self, client: NodeClient, key: KeyFile, outbox: SourceOutbox, now_ms: Callable[[], int]) -> None:
        self._client = client
        self._key = key
        self._outbox = outbox
        self._now_ms = now_ms
        self.member = key.member

    def resend(self) -> int:
        """Settle with the chain and send again what it does not have; returns the number of those batches."""
        self.settle()
        pending = self._outbox.pending
        for raw in pending:
            self._offer(raw, "accepted", RETRY_PATIENCE_S)
        if pending:
            self.settle()
        return len(pending)

    def send(self, events: Sequence[NewEvent], wait: str, *, patience_s: float = RETRY_PATIENCE_S) -> list[Json]:
        """Sign the events that the chain does not know as one batch, keep it, and send it."""
        made = [self._make(event) for event in events]
        rows = self._client.call_many("ledger_getStatus", [{"event_id": identity.hex()} for identity, _ in made])
        known = {identity: row for (identity, _), row in zip(made, rows, strict=True)}
        fresh = {identity: data for identity, data in made if known[identity]["status"] in ("Unknown", "Refused")}
        if fresh:
            raw = self._outbox.sign(list(fresh.values()), time_ms=self._now_ms())
            self._outbox.sync()
            for row in self._offer(raw, wait, patience_s):
                known[EventId(Hash(bytes.fromhex(row["id"])))] = row
            if wait == "committed":
                self.settle()
        return [known[identity] for identity, _ in made]

    def _offer(self, raw: bytes, wait: str, patience_s: float) -> list[Json]:
        batch = base64.b64encode(raw).decode()
        answer = retried(lambda: self._client.call("ledger_submitBatch", batch=batch, wait=wait), patience_s=patience_s)
        rows: list[Json] = answer["events"]
        return rows

    def settle(self) -> None:
        """Drop from the outbox what the chain has."""
        found = self._client.call("ledger_getSource", source=self._key.public)
        if found["member"] != self._key.member:
            raise UsageError("the key belongs to another member", expected=found["member"], got=self._key.member)
        self._outbox.settle(int(found["next_number"]), bytes.fromhex(found["previous"]))

    def _make(self, event: NewEvent) -> tuple[EventId, bytes]:
        # A record never expires; what changes the state does, in slots of half a day, so that the same message
        # submitted again soon is the same event.
        slot_ms = (self._now_ms() + HOUR_MS) // EXPIRY_SLOT_MS * EXPIRY_SLOT_MS + EXPIRY_SLOT_MS
        if event.kind in KINDS and not KINDS[event.kind].changes_state:
            slot_ms = TIME_MS_MAX
        made = Event(
            self.member,
            event.reference if event.reference is not None else os.urandom(REFERENCE_SIZE),
            event.expires_ms if event.expires_ms is not None else slot_ms,
            event.kind,
            event.schema,
            event.body,
        )
        data = encode(made)
        check_event(data)
        return event_id(data, event.kind), data


@contextmanager
def key_door(client: NodeClient, path: Path, key: KeyFile, now_ms: Callable[[], int]) -> Iterator[KeyDoor]:
    """Open the outbox beside a key file, held against every other process, and settle it with the chain."""
    if key.use != "source" or not key.member:
        raise UsageError(
            "this key cannot submit events", where=str(path), expected="a source key with its member", got=key.use
        )
    chain_id = Hash(bytes.fromhex(client.call("ledger_getCapabilities")["chain_id"]))
    with locked(path.with_name(path.name + ".lock"), "key", wait=True):
        outbox = SourceOutbox(
            path.with_name(path.name + ".outbox"), chain_id=chain_id, member=key.member, key=key.signing_key
        )
        try:
            door = KeyDoor(client, key, outbox, now_ms)
            door.resend()
            yield door
        finally:
            outbox.close()


def chunks(events: Sequence[NewEvent]) -> Iterator[list[NewEvent]]:
    """Yield events in groups that one request takes."""
    group: list[NewEvent] = []
    size = 0
    for event in events:
        if group and (len(group) >= CHUNK_EVENTS or size + len(event.body) > CHUNK_BYTES):
            yield group
            group, size = [], 0
        group.append(event)
        size += len(event.body)
    if group:
        yield group


def retried(
    call: Callable[[], Json],
    *,
    patience_s: float = RETRY_PATIENCE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Json:
    """Return what a call gives; one that the node refuses for the moment is made again for `patience_s`."""
    end = clock() + patience_s
    for refusals in count():
        try:
            return call()
        except CallRefused as refused:
            left_s = end - clock()
            if not refused.retryable or retry_pause_s(refused.retry_after_ms, 0, 0.0) > left_s:
                raise
            sleep(min(left_s, retry_pause_s(refused.retry_after_ms, refusals, random.random())))  # noqa: S311  no secret
    raise AssertionError("unreachable")


def send_within(client: NodeClient, door: Door, events: Sequence[NewEvent], *, timeout_s: float) -> list[Json]:
    """Send events and wait until they are committed or the time is over; return where each stands then.

    They are accepted first and asked for afterwards, so a time-out takes nobody's id away. What the node did not even
    acknowledge in time comes back as Unknown.
    """
    end = time.monotonic() + timeout_s
    client.limit(max(timeout_s, CALL_S_MIN))
    try:
        rows = door.send(events, "accepted", patience_s=max(timeout_s, 0.0))
    except TimedOut:
        message = "no answer in time: not known whether it was accepted"
        return [{"id": None, "status": "Unknown", "message": message} for _ in events]
    rows = await_committed(client, rows, timeout_s=end - time.monotonic())
    if any(row["status"] == "Pending" for row in rows):
        return [_told(row) for row in rows]
    door.settle()
    return rows


def _told(row: Json) -> Json:
    if row["status"] != "Pending":
        return row
    return {**row, "message": f"accepted, not committed yet; ask again with `chainnode get {row['id']}`"}


def await_committed(client: NodeClient, rows: list[Json], *, timeout_s: float) -> list[Json]:
    """Ask again for the events that are still pending until they are committed or the time is over."""
    end = time.monotonic() + timeout_s
    rows = list(rows)
    places = [place for place, row in enumerate(rows) if row["status"] == "Pending"]
    while places:
        left_s = end - time.monotonic()
        # One block mostly takes all of them: ask for one until it is there, then, and at the end, for the others.
        asked = places[:1] if left_s > 0 else places
        client.limit(max(left_s, CALL_S_MIN))
        try:
            found = client.call_many("ledger_getStatus", [{"event_id": rows[place]["id"]} for place in asked])
        except (TimedOut, Unreachable):
            break  # they are accepted: that stands, whatever becomes of the node
        except CallRefused as refused:
            if not refused.retryable:
                raise
            found = [rows[place] for place in asked]
        for place, row in zip(asked, found, strict=True):
            rows[place] = {**rows[place], **row}
        if left_s <= 0:
            break
        if rows[places[0]]["status"] == "Pending":
            time.sleep(min(POLL_S, left_s))
        else:
            places = _refreshed(client, rows, places[1:])
    return rows


def _refreshed(client: NodeClient, rows: list[Json], places: list[int]) -> list[int]:
    """Ask for several rows once; return the places of those that are still pending."""
    try:
        found = client.call_many("ledger_getStatus", [{"event_id": rows[place]["id"]} for place in places])
    except (TimedOut, Unreachable, CallRefused):
        return places
    for place, row in zip(places, found, strict=True):
        rows[place] = {**rows[place], **row}
    return [place for place in places if rows[place]["status"] == "Pending"]
