"""`chainnode submit`: events in from files, one line of result for each."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import settings
from chainnode.cli.output import Records, progress, records, say
from chainnode.cli.reporting import make_ingest_context, reporter_files
from primitives.errors import ChainError, InputError, StorageError

if TYPE_CHECKING:
    from chainnode.client import NodeClient
    from chainnode.ingest.context import IngestContext
    from chainnode.ingest.drafts import Ingested
    from chainnode.ingest.formats import Options
    from chainnode.payloads import Keeper
    from chainnode.submission import Door, NewEvent

FORMATS = ("auto", "jsonl", "csv", "iso20022", "iso8583", "emvqr")
WAITS = ("committed", "accepted", "none")
REFERENCE_BYTES = 16
GOOD, BAD, LATE = "good", "bad", "late"
NOT_SENT = "not sent, the time was over; submit it again"
AGAIN = "submitting the same again is safe: payments, and events with a reference of their own, are never taken twice"

wait_option = click.option(
    "--wait", type=click.Choice(WAITS), default="committed", show_default=True, help="What to wait for."
)
timeout_option = click.option(
    "--timeout", "timeout_s", type=click.FloatRange(0.1, 3600), default=60.0, show_default=True, help="Seconds to wait."
)

format_option = click.option(
    "--format", "form", type=click.Choice(FORMATS), default="auto", show_default=True, help="Format of the files."
)
mapping_option = click.option(
    "--mapping",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What the columns of CSV files mean, in TOML or JSON.",
)
skip_bad_option = click.option(
    "--skip-bad", is_flag=True, help="Take a file without its bad messages, and report them."
)
skip_foreign_option = click.option(
    "--skip-foreign", is_flag=True, help="Take a file without the messages of which this member is no party."
)
clear_amounts_option = click.option(
    "--clear-amounts", is_flag=True, help="Put amounts on the chain in clear instead of commitments."
)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@format_option
@wait_option
@timeout_option
@mapping_option
@skip_bad_option
@skip_foreign_option
@click.option("--dry-run", is_flag=True, help="Print the events that would be sent, and send nothing.")
@clear_amounts_option
@click.option(
    "--officer",
    "officers",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="KEYFILE",
    help="Key of an officer; two of them sign the grants and revocations among the events.",
)
def submit(
    files: tuple[str, ...],
    form: str,
    wait: str,
    timeout_s: float,
    mapping: Path | None,
    skip_bad: bool,
    skip_foreign: bool,
    dry_run: bool,
    clear_amounts: bool,
    officers: tuple[Path, ...],
) -> int:
    """Submit the events of FILEs; `-` reads standard input.

    With --home the node signs for its member; with --as KEYFILE that key signs here. A file of which one message is bad
    is refused as a whole; the other files go on. Status 1 if any event was refused or rejected, else 5 if any was not
    committed within --timeout: what was accepted is pending then, and submitting it again does no harm.
    """
    from chainnode.ingest.formats import Options
    from chainnode.ingesting import mapping_of
    from chainnode.payloads import Keeper

    with records("events") as out:
        options = Options(skip_bad, event_line, mapping_of(mapping), skip_foreign)
        # What is private is on the disk before any of it is sent.
        with Keeper(reporter_files().private, dry=dry_run) as keeper:
            context = make_ingest_context(
                clear_amounts=clear_amounts,
                received_ms=now_ms(),
                offline=dry_run,
                event_key_of=keeper.event_key_of,
            )
            events, bad = _events_of(files, form, context, keeper, options, out)
        if dry_run:
            for event in events:
                _preview(event, context.reporter.member, out)
            return 1 if bad else 0
        if not events:
            return 1 if bad else 0
        client = settings().client(timeout_s=timeout_s, token=True)
        events = _signed(client, context.reporter.member, events, officers)
        with open_door(client) as door:
            status = send_all(client, door, events, out, wait=wait, timeout_s=timeout_s)
        return 1 if bad else status


def _signed(client: NodeClient, member: str, events: list[NewEvent], officers: tuple[Path, ...]) -> list[NewEvent]:
    """Return the events with officers' signatures upon the cases as they are now, before any of these is sent."""
    if not officers:
        return events
    from chainnode.decisions import signed_event
    from chainnode.identity import read_key

    keys = [read_key(path, "officer") for path in officers]
    return [signed_event(client, member, event, keys) for event in events]


def _events_of(
    files: tuple[str, ...], form: str, context: IngestContext, keeper: Keeper, options: Options, out: Records
) -> tuple[list[NewEvent], int]:
    """Return the events of all files and how many files and messages were refused, after telling of each."""
    from chainnode.files import NotFound
    from chainnode.ingesting import is_foreign, new_events

    bad = 0
    events: list[NewEvent] = []
    for name in files:
        try:
            found = _read(name, form, context, keeper, options)
        except InputError as error:
            bad += _refuse(name, error, out)
            continue
        except (NotFound, StorageError) as error:
            if len(files) == 1:
                raise
            bad += _refuse(name, error, out)
            continue
        bad += sum(_left_out(name, each, out, foreign=is_foreign(each, options)) for each in found.refused)
        events += new_events(found)
    return events, bad


def _read(name: str, form: str, context: IngestContext, keeper: Keeper, options: Options) -> Ingested:
    from chainnode.files import INPUT_BYTES_MAX, read_file
    from chainnode.ingesting import state

    if name == "-":
        data, where = sys.stdin.buffer.read(INPUT_BYTES_MAX + 1), "standard input"
        if len(data) > INPUT_BYTES_MAX:
            raise InputError("input too large", where=where, expected=f"at most {INPUT_BYTES_MAX} bytes")
    else:
        data, where = read_file(Path(name), size_max=INPUT_BYTES_MAX), name
    return state(data, context, keeper, where=where, form=form, options=options)


def event_line(value: Any, where: str) -> Any:  # Any: JSON of a line in, a Draft out (imported lazily)
    """Return the draft of a line that holds an event in its JSON form: kind, body, and maybe reference and expires."""
    from chainnode.ingest.drafts import Draft
    from chainnode.ingest.errors import located
    from ledger.event_json import EVENT_KEYS, body_from_json
    from ledger.times import parse_time

    unknown = sorted(set(value) - set(EVENT_KEYS))
    if unknown:
        raise InputError("unknown key", where=where, expected=", ".join(EVENT_KEYS), got=unknown[0])
    member = member_of_settings()
    if value.get("member", member) != member:
        raise InputError("event of another member", where=where, expected=member, got=value["member"])
    try:
        kind, schema, body = body_from_json(value.get("kind"), value.get("body"), value.get("schema"))
        reference = _reference(value.get("reference"))
        expires_ms = None if value.get("expires") is None else int(parse_time(str(value["expires"]), where="expires"))
    except InputError as error:
        raise located(error, where) from None
    return Draft(kind, schema, body, reference, expires_ms, where)


def _reference(text: Any) -> bytes:  # Any: what JSON gives
    """Return the event's reference; a line that gives none gets one here, so that sending it twice makes one event."""
    if text is None:
        return secrets.token_bytes(REFERENCE_BYTES)
    try:
        reference = bytes.fromhex(text)
    except (TypeError, ValueError):
        reference = b""
    if len(reference) != REFERENCE_BYTES:
        raise InputError("reference", where="reference", expected=f"{REFERENCE_BYTES} bytes in hex", got=text)
    return reference


def _refuse(name: str, error: ChainError, out: Records, status: str = "Refused") -> int:
    row = {"id": None, "status": status, "outcome": None, "height": None}
    out.add({**row, "file": name, "reason": error.reason, "message": str(error)}, f"{status.lower():<10} {error}")
    return 1


def _left_out(name: str, error: ChainError, out: Records, *, foreign: bool) -> int:
    """Tell of a message that was left out; one that is no business of this member's is nothing bad."""
    _refuse(name, error, out, "Foreign" if foreign else "Refused")
    return 0 if foreign else 1


def _preview(event: NewEvent, member: str, out: Records) -> None:
    from chainnode.submission import event_row

    row = {"where": event.where, "member": member, **event_row(event)}
    row |= {"differs": list(event.differs)} if event.differs else {}
    out.add(row, f"{row['kind']}  {event.where}  {len(event.body)} bytes")


@contextmanager
def open_door(client: NodeClient) -> Iterator[Door]:
    """Open the way in that the global options name: a key of one's own, or the node's gateway."""
    from chainnode.submission import GatewayDoor, key_door

    options = settings()
    if options.as_key is not None:
        with key_door(client, options.as_key, options.require_key(), now_ms) as door:
            yield door
        return
    yield GatewayDoor(client, client.call("net_status")["member"])


def send_all(
    client: NodeClient, door: Door, events: list[NewEvent], out: Records, *, wait: str, timeout_s: float
) -> int:
    """Send events in groups, print where each stands, and return the status: 1 some refused, 5 some not yet there."""
    from chainnode.submission import chunks, send_within

    end = time.monotonic() + timeout_s
    standings: list[str] = []
    try:
        with progress("submitting", len(events)) as bar:
            for group in chunks(events):
                left_s = end - time.monotonic()
                if standings and left_s <= 0:
                    rows = [{"id": None, "status": "Unknown", "message": NOT_SENT} for _ in group]
                elif wait == "committed":
                    rows = send_within(client, door, group, timeout_s=left_s)
                else:
                    client.limit(max(left_s, 0.1))
                    rows = door.send(group, wait, patience_s=left_s)
                for event, row in zip(group, rows, strict=True):
                    standings.append(_print_result(event, row, wait, out))
                bar.advance(len(group))
    except KeyboardInterrupt:
        say(f"{len(standings)} of {len(events)} events were answered; {AGAIN}")
        raise
    good = standings.count(GOOD)
    if not settings().machine:
        say(f"{good} of {len(events)} events {'committed' if wait == 'committed' else 'taken'}")
    return 1 if BAD in standings else 5 if LATE in standings else 0


def _print_result(event: NewEvent, row: dict[str, Any], wait: str, out: Records) -> str:
    """Print one event's result; returns whether it is as good as was waited for, refused or rejected, or late."""
    from ledger.outcome_texts import why_text

    keys = ("id", "status", "outcome", "height", "index", "reason", "message")
    result = {key: row.get(key) for key in keys}
    outcome = row.get("outcome") or {}
    applied = outcome.get("applied") is True
    good = row["status"] == "Committed" and applied
    if wait != "committed":
        good = good or row["status"] == "Pending"
    word = "applied" if applied else "rejected" if outcome else str(row["status"]).lower()
    why = f" {why_text(outcome['rule'], outcome['detail'] or '')}" if outcome and not applied else ""
    why = why or (f" {row['message']}" if row.get("message") else "")
    said = {**result, "where": event.where, **({"differs": list(event.differs)} if event.differs else {})}
    first = f"  as it was first stated; it would differ now: {', '.join(event.differs)}" if event.differs else ""
    out.add(said, f"{word:<10} {row['id'] or '-'}  {event.where}{why}{first}")
    if good:
        return GOOD
    return LATE if row["status"] in ("Pending", "Unknown") else BAD


def now_ms() -> int:
    """Return milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def member_of_settings() -> str:
    """Return the member for whom the global options act: the key's, or the home's."""
    options = settings()
    if options.as_key is not None:
        return options.require_key().member
    home = options.require_home()
    return options.load_config(home).config.node.member
