"""`chainnode cert import`: a register of certificates that were granted before they came to this chain.

Every row is held against every rule before anything is sent; then two officers sign for the whole, and each row comes
as an event of its own. An import that was killed is run again: what came is found on the chain. Not here: reading
(`chainnode.ingest.register_rows`), the procedure (`chainnode.register_import`).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from chainnode.cli.certificate_events import client_of
from chainnode.cli.context import settings
from chainnode.cli.output import Records, progress, records, say
from chainnode.cli.submit import member_of_settings, now_ms, open_door
from chainnode.files import INPUT_BYTES_MAX
from primitives.errors import InputError, StorageError, UsageError

if TYPE_CHECKING:
    from chainnode.client import NodeClient
    from chainnode.register_import import RegisterImport, RowReport
    from chainnode.submission import Door, NewEvent

MAPPING_BYTES_MAX = 64 * 1024
TIMEOUT_S = 600.0
GROUPS_GOING = 3
"""Groups of rows that are sent before the first of them is waited for: the network never waits for the command."""
AGAIN = "run the same command again: what was imported is found on the chain and not sent twice"


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "csv", "jsonl"]),
    default="auto",
    show_default=True,
    help="Format of the file.",
)
@click.option(
    "--encoding",
    type=click.Choice(["utf-8", "gb18030"]),
    default="utf-8",
    show_default=True,
    help="Encoding of the file.",
)
@click.option(
    "--mapping",
    "mapping_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A JSON object that gives our column by the file's.",
)
@click.option(
    "--officer",
    "officers",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="KEYFILE",
    help="Key of an officer of the body; two of them sign for the register.",
)
@click.option("--register", "serial", help="Last part of the register's id. [default: from the file's SHA-256]")
@click.option("--dry-run", is_flag=True, help="Tell of every row what would become of it, and send nothing.")
@click.option("--skip-bad", is_flag=True, help="Import the good rows of a file that has bad ones.")
@click.option(
    "--report", "report_file", type=click.Path(path_type=Path), help="Write a JSON line for each row to this file."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(1, 24 * 3600),
    default=TIMEOUT_S,
    show_default=True,
    help="Seconds for all of it.",
)
def import_(
    file: Path,
    form: str,
    encoding: str,
    mapping_file: Path | None,
    officers: tuple[Path, ...],
    serial: str | None,
    dry_run: bool,
    skip_bad: bool,
    report_file: Path | None,
    timeout_s: float,
) -> int:
    """Import the register of certificates in FILE, as the certification body that granted them.

    CSV or JSON lines, a certificate a row. All rows are checked first: where one is bad nothing is sent, unless
    --skip-bad leaves it out. Status 1 if any row was bad or rejected, 5 if any was not committed within --timeout.
    """
    from chainnode.files import read_file

    end = time.monotonic() + timeout_s
    data = read_file(file, size_max=INPUT_BYTES_MAX)
    mapping = _mapping(mapping_file)
    client = client_of(timeout_s)
    plan = _planned(client, data, str(file), form, encoding, mapping, serial)
    with _report_to(report_file) as report, records("rows") as out:
        telling = _Telling(out, report)
        held = _checked(client, plan)
        bad = plan.counts()["bad"]
        if dry_run or (bad and not skip_bad):
            telling.tell(plan.reports)
            _summary(plan, dry_run=dry_run)
            return 1 if bad else 0
        telling.tell([each for each in plan.reports if each.became.value != "ready"])
        try:
            with open_door(client) as door:
                if plan.ready():
                    _open_register(client, door, plan, officers, end, is_open=held is not None)
                _send(client, door, plan, telling, end)
        except KeyboardInterrupt:
            say(AGAIN)
            raise
        _summary(plan, dry_run=False)
    return _status(plan)


def _planned(
    client: NodeClient, data: bytes, where: str, form: str, encoding: str, mapping: dict[str, str], serial: str | None
) -> RegisterImport:
    """Return the file's rows on their way. Raises InputError where it is no register as a whole."""
    from chainnode.ingest.register_rows import read_register_rows
    from chainnode.register_import import RegisterImport, chain_facts, serial_of
    from ledger.register_bodies import SourceFile

    body = member_of_settings()
    facts = chain_facts(client)
    digest = hashlib.sha256(data).digest()
    read = read_register_rows(
        data, where=where, body=body, catalogues=facts.catalogues, form=form, encoding=encoding, mapping=mapping
    )
    source = SourceFile(digest, body, len(data))
    return RegisterImport(read, body=body, serial=serial or serial_of(digest), source=source, facts=facts)


def _checked(client: NodeClient, plan: RegisterImport) -> dict[str, Any] | None:
    """Hold all rows against the rules and the chain; return the register where it is open already."""
    from ledger.times import parse_time

    held = plan.held(client) if plan.count else None
    plan.check(now_ms(), None if held is None else parse_time(held["opened"]))
    with progress("asking for numbers", plan.count) as bar:
        for asked in plan.ask(client):
            bar.advance(asked)
    return held


def _open_register(
    client: NodeClient, door: Door, plan: RegisterImport, officers: tuple[Path, ...], end: float, *, is_open: bool
) -> None:
    """Open the register where it is not open yet. Raises InputError where the chain refuses it."""
    from chainnode.client import TimedOut
    from chainnode.identity import read_key
    from chainnode.submission import send_within
    from ledger.certificate_bodies import APPROVALS
    from ledger.outcome_texts import why_text

    if is_open:
        return
    keys = [read_key(path, "officer") for path in officers]
    if len({key.public for key in keys}) != APPROVALS:
        raise UsageError(
            "two officers sign for a register",
            expected=f"{APPROVALS} different keys",
            got=len(keys),
            hint="name them with --officer",
        )
    opening = plan.opening([key.signing_key for key in keys])
    row = send_within(client, door, [opening], timeout_s=max(end - time.monotonic(), 1.0))[0]
    outcome = row.get("outcome") or {}
    if not outcome.get("applied"):
        if row["status"] in ("Pending", "Unknown"):
            raise TimedOut("the register is not open yet", where=plan.register, expected="a block with it", hint=AGAIN)
        why = why_text(outcome["rule"], outcome["detail"] or "") if outcome else row.get("message")
        raise InputError("the register was not opened", where=plan.register, expected="two officers' word", got=why)
    say(f"register {plan.register} of {plan.count} rows opened in block {row['height']}")


def _send(client: NodeClient, door: Door, plan: RegisterImport, telling: _Telling, end: float) -> None:
    """Send what is ready in groups, some on their way at a time, and note where each row stands."""
    from chainnode.register_import import Became
    from chainnode.submission import await_committed, chunks

    ready = plan.ready()
    going: deque[tuple[list[RowReport], list[dict[str, Any]]]] = deque()
    with progress("importing", len(ready)) as bar:

        def settle_one() -> None:
            reports, rows = going.popleft()
            answers = await_committed(client, rows, timeout_s=end - time.monotonic())
            for report, answer in zip(reports, answers, strict=True):
                plan.took(report, answer)
            telling.tell(reports)
            bar.advance(len(reports))

        place = 0
        for group in chunks(_events(plan, ready)):
            reports = ready[place : place + len(group)]
            place += len(group)
            left_s = end - time.monotonic()
            if left_s <= 0:
                for each in reports:
                    each.became = Became.NOT_SENT
                telling.tell(reports)
                continue
            going.append((reports, _accepted(client, door, group, left_s)))
            if len(going) >= GROUPS_GOING:
                settle_one()
        while going:
            settle_one()
    if not any(each.became is Became.PENDING for each in ready):
        door.settle()


def _accepted(client: NodeClient, door: Door, group: list[NewEvent], left_s: float) -> list[dict[str, Any]]:
    """Send a group; return where each event stands once the node has it, Unknown where it did not answer in time."""
    from chainnode.client import TimedOut

    client.limit(max(left_s, 1.0))
    try:
        return door.send(group, "accepted", patience_s=left_s)
    except TimedOut:
        return [{"id": None, "status": "Unknown"} for _ in group]


def _events(plan: RegisterImport, ready: list[RowReport]) -> list[NewEvent]:
    return [plan.event(report) for report in ready]


def _status(plan: RegisterImport) -> int:
    counts = plan.counts()
    if counts["bad"] or counts["rejected"]:
        return 1
    return 5 if counts["pending"] or counts["not_sent"] else 0


def _summary(plan: RegisterImport, *, dry_run: bool) -> None:
    counts = plan.counts()
    words = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
    say(f"{plan.register}: {len(plan.reports)} rows: {words}{'; nothing was sent' if dry_run else ''}")
    if counts["bad"] and not dry_run and not counts["imported"] and not counts["present"]:
        say("mend the file, or leave its bad rows out with --skip-bad")


class _Telling:
    """Tells of rows: each to the report and to programs, to people those that did not come."""

    def __init__(self, out: Records, report: IO[str] | None) -> None:
        self._out, self._report = out, report

    def tell(self, rows: list[RowReport]) -> None:
        """Tell of rows, and see to it that the report has them."""
        for row in rows:
            said = row.json()
            if settings().machine:
                self._out.add(said, "")
            elif row.problems or row.became.value in ("pending", "not_sent"):
                self._out.add(said, row.text())
            if self._report is not None:
                self._report.write(json.dumps(said, ensure_ascii=False) + "\n")
        if self._report is not None:
            self._report.flush()


@contextmanager
def _report_to(path: Path | None) -> Iterator[IO[str] | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise StorageError("report cannot be written", where=str(path), got=error.strerror or error) from None
    with file:
        yield file


def _mapping(path: Path | None) -> dict[str, str]:
    """Return our columns by the file's. Raises InputError where the file is no object of text."""
    from chainnode.files import read_file
    from chainnode.ingest.json_text import parse_object

    if path is None:
        return {}
    value = parse_object(read_file(path, size_max=MAPPING_BYTES_MAX), where=str(path), size_max=MAPPING_BYTES_MAX)
    if not all(isinstance(item, str) for item in value.values()):
        raise InputError("not a mapping", where=str(path), expected='{"their column": "our column", …}')
    return {str(key): str(item) for key, item in value.items()}
