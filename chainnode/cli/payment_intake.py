"""`chainnode payment intake`: follow a drop folder, and state what is dropped there.

Here: options, signals, the loop, words. Not here: the life of a file (`chainnode.intake_runner`). This process holds no
signing key: the node of the home signs.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import settings
from chainnode.cli.exits import Exit
from chainnode.cli.output import Progress, Records, progress, records, say
from chainnode.cli.reporting import make_ingest_context, reporter_files
from chainnode.cli.submit import (
    clear_amounts_option,
    format_option,
    mapping_option,
    now_ms,
    skip_bad_option,
    skip_foreign_option,
)
from primitives.errors import UsageError

if TYPE_CHECKING:
    from types import FrameType

    from chainnode.intake import Sender
    from chainnode.intake_folder import DropFolder, Look
    from chainnode.intake_runner import Runner

Json = dict[str, Any]  # Any: JSON

POLL_S = 1.0
SETTLE_S = 2.0


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option("--once", is_flag=True, help="Take what is there and end; else follow until SIGTERM.")
@format_option
@mapping_option
@skip_bad_option
@skip_foreign_option
@clear_amounts_option
@click.option(
    "--settle",
    "settle_s",
    type=click.FloatRange(0, 3600),
    default=SETTLE_S,
    show_default=True,
    help="Seconds for which a file must not change.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1, 3600),
    default=60.0,
    show_default=True,
    help="With --once: seconds without progress after which to end.",
)
def intake(
    directory: Path,
    once: bool,
    form: str,
    mapping: Path | None,
    skip_bad: bool,
    skip_foreign: bool,
    clear_amounts: bool,
    settle_s: float,
    timeout_s: float,
) -> int:
    """State the payments of each file that is dropped into DIR, exactly once; the node of --home signs.

    Files go to DIR/done or DIR/refused, beside FILE.report.jsonl; none is deleted. Killed at any moment, it goes on at
    the next start. With --once status 1 if anything was refused or rejected, else 5 if anything was left.
    """
    from chainnode.ingest.formats import Options
    from chainnode.ingesting import mapping_of
    from chainnode.intake import Pace, Sender, Stopped
    from chainnode.intake_folder import open_folder
    from chainnode.intake_runner import Runner, Taking
    from chainnode.submission import GatewayDoor

    if settings().as_key is not None:
        raise UsageError("a drop folder is taken in beside no signing key", hint="name the node's home with --home")
    if not once and settings().output == "json":
        raise UsageError("a document of JSON has an end, and following has none", hint="use -o jsonl, or --once")
    files = reporter_files()
    options = Options(skip_bad=skip_bad, skip_foreign=skip_foreign, mapping=mapping_of(mapping))
    client = settings().client(token=True)
    stop = Event()
    with records("messages") as out, open_folder(directory, settle_s=settle_s) as folder, _ending(stop):
        sender = Sender(client, GatewayDoor(client, files.member), Pace(stop, timeout_s if once else None, say))
        taking = Taking(
            form,
            options,
            files.private,
            lambda event_key_of: make_ingest_context(
                clear_amounts=clear_amounts, received_ms=now_ms(), event_key_of=event_key_of
            ),
        )
        runner = Runner(folder, taking, sender, _Teller(out))
        try:
            _check_member(sender, client.call, files.member)
            runner.resume()
            left = _once(folder, runner, stop, settle_s) if once else _follow(folder, runner, stop)
        except Stopped:
            left = True
    if not once:
        return Exit.OK
    return Exit.ERROR if runner.bad else Exit.UNHEALTHY if left else Exit.OK


def _check_member(sender: Sender, call: Any, member: str) -> None:  # Any: a client's method
    """Raise UsageError where the node would sign for somebody else."""
    found = sender.patiently(lambda: call("net_status"))["member"]
    if found != member:
        raise UsageError("the node is another member's", expected=member, got=found, hint="name its own with --home")


def _once(folder: DropFolder, runner: Runner, stop: Event, settle_s: float) -> bool:
    """Take what is there, and say whether something was left."""
    told: set[str] = set()
    folder.look(time.monotonic())
    stop.wait(settle_s)
    while not stop.is_set():
        look = folder.look(time.monotonic())
        _tell_passed(look, told)
        if not _round(folder, runner, look, stop):
            for names, why in ((look.growing, "empty or still written to"), (look.temporary, "of a temporary name")):
                for name in names:
                    say(f"left: {name}: {why}")
            return bool(look.growing or look.misnamed)
    return True


def _follow(folder: DropFolder, runner: Runner, stop: Event) -> bool:
    """Take what comes, until somebody asks for an end."""
    told: set[str] = set()
    while not stop.is_set():
        look = folder.look(time.monotonic())
        _tell_passed(look, told)
        if not _round(folder, runner, look, stop):
            stop.wait(POLL_S)
    return True


def _round(folder: DropFolder, runner: Runner, look: Look, stop: Event) -> bool:
    """Take the files that are ready, in the order of their names, and say whether there were any."""
    from chainnode.intake_folder import FILES_A_ROUND

    for name in look.ready[:FILES_A_ROUND]:
        if stop.is_set():
            break
        taken = folder.take(name)
        if taken is not None:
            runner.take(taken)
    return bool(look.ready)


def _tell_passed(look: Look, told: set[str]) -> None:
    found = [*look.passed, *look.misnamed]
    for name, why in found:
        if name not in told:
            # Who drops files chooses names, and must not write lines of his own into a log.
            say(f"passed over: {name if name.isprintable() else ascii(name)}: {why}")
    told.clear()
    told.update(name for name, _ in found)


@contextmanager
def _ending(stop: Event) -> Iterator[None]:
    """Let SIGTERM and SIGINT ask for an end; the second one does not wait for it."""

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Teller:
    """Tells people of files and of what was refused, and programs of each message."""

    def __init__(self, out: Records) -> None:
        self._out = out

    def message(self, file: str, row: Json) -> None:
        from chainnode.intake import is_good

        if settings().machine:
            self._out.add({"file": file, **row}, "")
        elif not is_good(row):
            word = "rejected" if row["status"] == "Committed" else str(row["status"]).lower()
            why = row.get("message") or (row.get("outcome") or {}).get("rule", "")
            place = "" if str(why).startswith(str(row["where"])) else f"{row['where']}: "
            self._out.add(row, f"{word:<10} {place}{why}")

    def file(self, file: str, place: str, sums: Json) -> None:
        if not settings().machine:
            counts = ", ".join(f"{count} {name}" for name, count in sums.items() if count or name == "committed")
            self._out.add({}, f"{place:<10} {file}: {counts}")

    def progress(self, file: str, total: int) -> AbstractContextManager[Progress]:
        return progress(file, total)
