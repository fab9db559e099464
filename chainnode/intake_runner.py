"""Taking the files of a drop folder one by one: read, stated, sent, reported, moved; also what a crash left in work.

Here: the life of one file. Not here: looking for files (`intake_folder`), sending (`intake`), words for people (the
command line).
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from chainnode.files import INPUT_BYTES_MAX, PRIVATE_FILE_MODE
from chainnode.ingest.context import IngestContext
from chainnode.ingest.drafts import Ingested
from chainnode.ingest.errors import FormatError
from chainnode.ingest.formats import Options
from chainnode.ingest.privacy import EventKeyOf
from chainnode.ingesting import is_foreign, new_events, state
from chainnode.intake import Sender, is_good, key_of, refusal_of, sums_of
from chainnode.intake_folder import DONE, FOREIGN, PLACES, REFUSED, DropFolder, Shape, shape_of
from chainnode.intake_journal import Journal, Row
from chainnode.payloads import Keeper
from chainnode.reporting import check_has_secrets
from chainnode.submission import NewEvent
from ledger.times import format_time
from primitives.errors import InputError, StorageError

NOT_READ = "-"

Json = dict[str, Any]  # Any: JSON


class Bar(Protocol):
    """A bar that moves."""

    def advance(self, count: int = 1) -> None:
        """Move on by `count`."""


class Teller(Protocol):
    """Who is told what became of messages and files, each once."""

    def message(self, file: str, row: Json) -> None:
        """Take what became of one message."""

    def file(self, file: str, place: str, sums: Json) -> None:
        """Take where a file went, and the sums of its messages."""

    def progress(self, file: str, total: int) -> AbstractContextManager[Bar]:
        """Return a bar for the messages of a file."""


@dataclass(frozen=True, slots=True)
class Taking:
    """How files are taken, and where what is private of them is kept."""

    form: str
    options: Options
    private: Path
    make_context: Callable[[EventKeyOf], IngestContext]


class Runner:
    """Takes the files of one folder; owned by the thread that holds it."""

    def __init__(self, folder: DropFolder, taking: Taking, sender: Sender, teller: Teller) -> None:
        self._folder = folder
        self._taking = taking
        self._sender = sender
        self._teller = teller
        self.bad = 0
        """Files of which something was refused, and was not to be left out."""

    def resume(self) -> None:
        """Finish what an earlier process has begun."""
        for name in sorted({*self._folder.journals(), *self._folder.in_work()}):
            self.take(name)

    def take(self, name: str) -> None:
        """See a file of work through to its end, and move it there."""
        while not self._take(name):
            pass

    def _take(self, name: str) -> bool:
        """Do so once; returns whether the file was the same all the time: what grew meanwhile is read again."""
        path = self._folder.path(name)
        journal = Journal(self._folder.journal_path(name))
        try:
            if journal.ended is None:
                shape = _shape(path)
                if shape is None:  # somebody took it away: its journal says how far it was
                    self._folder.set_journal_aside(name)
                    return True
                data, refusal = _read(path, name)
                digest = NOT_READ if data is None else sha256(data).hexdigest()
                if journal.digest not in ("", digest):
                    journal.close()
                    self._folder.set_journal_aside(name)
                    journal = Journal(journal.path)
                if not journal.digest:
                    journal.begin(name, digest, shape.size, format_time(time.time_ns() // 1_000_000))
                found = (
                    Ingested("unknown", refused=[refusal]) if refusal is not None else self._state(data or b"", name)
                )
                del data
                events = new_events(found)
                found.drafts.clear()  # with the private values, which nobody needs any more
                self._send(events, journal, name)
                if _shape(path) not in (shape, None):
                    return False
                self._end(found, events, journal, name)
            assert journal.ended is not None, "it was ended"
            place = journal.ended.get("to")
            if place not in PLACES:
                raise StorageError("journal is damaged", where=str(journal.path), expected=", ".join(PLACES), got=place)
            self._folder.finish(name, place)
            self._tell(name, journal.ended)
            return True
        finally:
            journal.close()

    def _state(self, data: bytes, name: str) -> Ingested:
        """Return the events of a file; of one that is refused as a whole, why."""
        taking = self._taking
        with Keeper(taking.private) as keeper:
            context = self._sender.patiently(lambda: taking.make_context(keeper.event_key_of))
            check_has_secrets(context)
            try:
                return state(data, context, keeper, where=name, form=taking.form, options=taking.options)
            except InputError as error:
                return Ingested("unknown", refused=[error])
            except (MemoryError, RecursionError) as error:
                # Tried again it would end the process again, and with it all other files.
                what = "the file takes more than this process has"
                return Ingested("unknown", refused=[FormatError(what, where=name, got=type(error).__name__)])

    def _send(self, events: Sequence[NewEvent], journal: Journal, name: str) -> None:
        with self._teller.progress(name, len(events)) as bar:
            bar.advance(sum(key_of(event) in journal.settled for event in events))

            def done(rows: list[Json]) -> None:
                for row in rows:
                    self._teller.message(name, row)
                bar.advance(len(rows))

            self._sender.send(events, journal, done)

    def _end(self, found: Ingested, events: Sequence[NewEvent], journal: Journal, name: str) -> None:
        refused = [
            refusal_of(name, error, "Foreign" if is_foreign(error, self._taking.options) else "Refused")
            for error in found.refused
        ]
        results = [journal.settled[key_of(event)] for event in events]
        sums = sums_of([*results, *refused])
        place = self._place(results, refused)
        end = {"file": name, "format": found.format, "messages": len(results) + len(refused), **sums, "to": place}
        journal.end(refused, end)
        for row in refused:
            self._teller.message(name, row)

    def _tell(self, name: str, end: Row) -> None:
        """Tell and count a file that is where it belongs, also one that an earlier process came to the end of."""
        sums = {sum_: end.get(sum_, 0) for sum_ in sums_of(())}
        self.bad += end["to"] == REFUSED or bool(sums["refused"])
        self._teller.file(name, end["to"], sums)

    def _place(self, results: Sequence[Row], refused: Sequence[Json]) -> str:
        """Return where a file belongs: done, if all was stated but what was to be left out of it."""
        if any(not is_good(row) for row in results):
            return REFUSED
        if results:
            return DONE
        return FOREIGN if all(row["status"] == "Foreign" for row in refused) else REFUSED


def _shape(path: Path) -> Shape | None:
    """Return the shape of a file, None where it is not there."""
    try:
        return shape_of(path)
    except FileNotFoundError:
        return None


def _read(path: Path, name: str) -> tuple[bytes | None, InputError | None]:
    """Return a file's bytes, or why it is refused unread."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        return None, FormatError("file cannot be read", where=name, got=error.strerror or error)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)  # of a directory no file can be made
        return None, FormatError("no regular file", where=name)
    with os.fdopen(fd, "rb") as file:
        with suppress(OSError):  # it may be another user's
            os.fchmod(fd, PRIVATE_FILE_MODE)
        data = file.read(INPUT_BYTES_MAX + 1)
    if len(data) > INPUT_BYTES_MAX:
        expected = f"at most {INPUT_BYTES_MAX} bytes"
        return None, FormatError("file too large", where=name, expected=expected, got="more", hint="split it")
    return data, None
