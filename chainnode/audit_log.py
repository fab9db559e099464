"""The operators' audit log: who did what through this node, one JSON line each, chained by hash. `data/audit.log`.

Here: writing, rotating and verifying the file. Not here: which calls are told of (`rpc.dispatch`), the node's own log
on stderr. A line holds names and ids, never payloads or secrets.

Each line begins with its number and the SHA-256 of the line before, so a line that was changed, moved or taken out is
seen, also across files; the newest lines can go without a trace, unless somebody noted the last hash, and once the
first file had to go the oldest can. Lines are gathered for a moment and written beside the loop: a crash of the process
loses that moment.

Anybody can have calls refused, and the files that are kept hold so many lines: of one caller's refusals and log-ins
only the first in a while have a line each, the others are counted in one, so that no flood pushes out what was done.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
import structlog

from chainnode.files import PRIVATE_FILE_MODE, check_private
from ledger.times import format_time
from primitives.errors import ProofError, StorageError
from rpc.ports import Privileged

GATHER_S: Final = 0.5
GATHERED_MAX: Final = 10_000
FILE_BYTES_MAX: Final = 16 << 20
FILES_KEPT: Final = 8
LINE_BYTES_MAX: Final = 64 << 10
REFUSALS_S: Final = 600.0
REFUSALS_TOLD: Final = 30
"""How many refusals of one caller have a line each, in each REFUSALS_S."""
REFUSED_CALLERS_MAX: Final = 1_000
LOGIN: Final = "login"
OTHERS: Final = "others"
"""Stands for further callers, in a while in which more than REFUSED_CALLERS_MAX were refused."""
FIRST: Final = "0" * 64
"""What the first line of all names as the hash of the one before."""

log = structlog.get_logger("audit")


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line; `previous` is the SHA-256 in hex of the line before, without its line feed."""

    number: int
    previous: str
    time: str
    who: str
    role: str
    remote: str
    method: str
    outcome: str
    trace_id: str
    ids: list[str] = []
    count: int = 0


class _Refusals:
    """Which refusals have a line, and the counts of those that have none. Times in seconds of any one clock."""

    def __init__(self) -> None:
        self._since_s = -REFUSALS_S
        self._told: Counter[str] = Counter()
        self._counted: Counter[tuple[str, str, str, str]] = Counter()

    def has_line(self, call: Privileged, now_s: float) -> bool:
        """Say whether a refused call is to have a line; one that has not is counted."""
        if not self._told:
            self._since_s = now_s
        who = call.who if call.who in self._told or len(self._told) < REFUSED_CALLERS_MAX else OTHERS
        self._told[who] += 1
        if self._told[who] <= REFUSALS_TOLD:
            return True
        self._counted[who, call.role, call.method, call.outcome] += 1
        return False

    def take(self, now_s: float) -> list[Privileged]:
        """Return one call for each count, with how many it stands for, if the while is over; and begin another."""
        if now_s - self._since_s < REFUSALS_S:
            return []
        counted = [Privileged(*key[:2], "", *key[2:], "", (), count) for key, count in self._counted.items()]
        self._told.clear()
        self._counted.clear()
        return counted


class AuditLog:
    """The log of one home. `called` costs an append; `run` and `close` belong to the node, which holds the home."""

    def __init__(self, path: Path) -> None:
        """Take up the chain where the file ends. Raises `UnsafeFile`.

        Where the end is damaged a new chain begins after it: no node stands still for that, and `verify` shows it.
        """
        self._path = path
        self._writing = threading.Lock()
        self._gathered: list[tuple[int, Privileged]] = []
        self._refusals = _Refusals()
        self._wanted = asyncio.Event()
        try:
            last = _last(path)
        except ProofError as error:
            log.error("audit_log_damaged", error=str(error))
            last = None
        self._number = 0 if last is None else last[0].number + 1
        self._previous = FIRST if last is None else last[1]

    def called(self, call: Privileged) -> None:
        """Note a call; it is in the file a moment later."""
        may_flood = call.outcome != "ok" or call.method == LOGIN  # any reader can log in without end
        if may_flood and not self._refusals.has_line(call, time.monotonic()):
            return
        self._gathered.append((time.time_ns() // 1_000_000, call))
        self._wanted.set()
        if len(self._gathered) >= GATHERED_MAX:  # nothing is dropped: whoever floods waits for the disk
            self._write(self._take(time.monotonic()))

    async def run(self) -> None:
        """Write what was gathered, again and again."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFUSALS_S):
                    await self._wanted.wait()
            await asyncio.sleep(GATHER_S)
            await asyncio.to_thread(self._write, self._take(time.monotonic()))

    def close(self) -> None:
        """Write what is left."""
        self._write(self._take(math.inf))

    def _take(self, now_s: float) -> list[tuple[int, Privileged]]:
        at_ms = time.time_ns() // 1_000_000
        counted = [(at_ms, call) for call in self._refusals.take(now_s)]
        taken, self._gathered = self._gathered + counted, []
        self._wanted.clear()
        return taken

    def _write(self, calls: list[tuple[int, Privileged]]) -> None:
        if not calls:
            return
        with self._writing:
            lines = b"".join(self._line(at_ms, call) for at_ms, call in calls)
            try:
                self._rotate(len(lines))
                fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE_MODE)
                with os.fdopen(fd, "ab") as file:
                    file.write(lines)
            except OSError as error:  # the gap is seen by the next line that is written
                log.error("audit_log_not_written", calls=len(calls), error=error.strerror or str(error))

    def _line(self, at_ms: int, call: Privileged) -> bytes:
        line = Line(
            self._number,
            self._previous,
            format_time(at_ms),
            call.who,
            call.role,
            call.remote,
            call.method,
            call.outcome,
            call.trace_id,
            list(call.ids),
            call.count,
        )
        data = msgspec.json.encode(line)
        self._number, self._previous = self._number + 1, sha256(data).hexdigest()
        return data + b"\n"

    def _rotate(self, more: int) -> None:
        if not self._path.exists() or self._path.stat().st_size + more <= FILE_BYTES_MAX:
            return
        for number in range(FILES_KEPT - 1, 0, -1):
            older = _numbered(self._path, number - 1)
            if older.exists():
                os.replace(older, _numbered(self._path, number))


def kept_lines(path: Path) -> Iterator[tuple[Line, str]]:
    """Return the lines of all files that are kept, the oldest first, each with its hash.

    Raises `ProofError` at the first line that does not follow the one before, `UnsafeFile`, `StorageError`.
    """
    files = _files(path)
    # As long as no file had to go, the first line of all is there.
    expected: tuple[int, str] | None = (0, FIRST) if len(files) < FILES_KEPT else None
    for file in files:
        check_private(file)
        try:
            with file.open("rb") as stream:
                for place, data in enumerate(stream, 1):
                    line, digest = _parsed(data, f"{file}:{place}")
                    if expected is not None and (line.number, line.previous) != expected:
                        raise _broken(f"{file}:{place}", f"line {expected[0]}", f"line {line.number}")
                    yield line, digest
                    expected = (line.number + 1, digest)
        except OSError as error:
            raise StorageError("audit log cannot be read", where=str(file), got=error.strerror or error) from None


def _parsed(data: bytes, where: str) -> tuple[Line, str]:
    body = data.removesuffix(b"\n")
    try:
        if body == data or len(data) > LINE_BYTES_MAX:
            raise msgspec.DecodeError("a line that is cut or too long")
        return msgspec.json.decode(body, type=Line), sha256(body).hexdigest()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _broken(where, "a whole line", str(error)) from None


def _broken(where: str, expected: str, got: str) -> ProofError:
    return ProofError(
        "the audit log does not hold together",
        where=where,
        expected=expected,
        got=got,
        hint="something was changed or taken out there; compare with the operator's copies",
    )


def _last(path: Path) -> tuple[Line, str] | None:
    """Return the newest line, from the end of the newest file that has one; a line cut by a crash is cut off."""
    for file in reversed(_files(path)):
        check_private(file)
        data = file.read_bytes()
        whole, mark, cut = data.rpartition(b"\n")
        if cut:
            os.truncate(file, len(whole) + len(mark))
        if whole:
            return _parsed(whole.rpartition(b"\n")[2] + b"\n", str(file))
    return None


def _files(path: Path) -> list[Path]:
    return [file for number in range(FILES_KEPT - 1, -1, -1) if (file := _numbered(path, number)).exists()]


def _numbered(path: Path, number: int) -> Path:
    return path if number == 0 else path.with_name(f"{path.name}.{number}")
