"""Processes that outlive the command that started them: starting, knowing again, ending.

Here: one child at a time. A process is known by its id, its start time in the kernel's clock ticks and its command
line, so that an id that the system gave to somebody else is never signalled. Not here: what the processes are
(`localnet`). Source: proc(5), stat and cmdline.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec

from primitives.errors import StorageError

POLL_S = 0.02
NAMED_S = 2.0


class ProcessRecord(msgspec.Struct, frozen=True):
    """How a process is known again: `started` is field 22 of its stat, `mark` an argument of its command line."""

    pid: int
    started: int
    mark: str


def start_process(
    arguments: Sequence[str],
    *,
    mark: str,
    log: Path,
    before: Sequence[str] = (),
    variables: Mapping[str, str] = MappingProxyType({}),
) -> ProcessRecord:
    """Start this Python with arguments (of which `mark` is one) in a session of its own, output appended to `log`.

    `before` is a command that becomes this Python (such as `nsenter`), `variables` are added to the environment.
    """
    assert mark in arguments
    environment = {name: value for name, value in os.environ.items() if not _is_setting(name)} | dict(variables)
    # Found again from any directory, installed or not.
    root = str(Path(__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    try:
        fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError("log cannot be opened", where=str(log), got=error.strerror or error) from None
    try:
        child = subprocess.Popen(  # noqa: S603  our own interpreter with our own module
            [*before, sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=fd,
            stderr=fd,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(fd)
    child.returncode = 0  # ours to wait for in `is_alive`; keeps Popen from warning that it still runs
    _wait_until_named(child.pid)
    return ProcessRecord(child.pid, _started(child.pid) or 0, mark)


def _wait_until_named(pid: int) -> None:
    """Return once a new process has its command line: for a moment after exec it has none, and would look gone."""
    end = time.monotonic() + NAMED_S
    while time.monotonic() < end and _started(pid) is not None:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes():
                return
        time.sleep(POLL_S / 10)


def _is_setting(name: str) -> bool:
    """Whether a variable would be taken for a node's setting, and by all nodes alike."""
    return name == "CHAINNODE_HOME" or (name.startswith("CHAINNODE_") and "__" in name)


def _started(pid: int) -> int | None:
    """The start time of a process that runs; None where there is none, or one of which only its number is left."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # The first thread of a killed process waits, as ended, for those that wait for the disk.
        if fields[0] in ("Z", "X") and len(os.listdir(f"/proc/{pid}/task")) < 2:
            return None
    except (OSError, UnicodeDecodeError):
        return None
    return int(fields[19])


def is_alive(record: ProcessRecord) -> bool:
    """Whether this very process still runs; one of our own that has ended is waited for."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(record.pid, os.WNOHANG)
    if _started(record.pid) != record.started:
        return False
    try:
        command = Path(f"/proc/{record.pid}/cmdline").read_bytes()
    except OSError:
        return False
    # There is none while it is being killed, before its ports and locks are free, and for a moment at each exec: then
    # its number and its start say enough.
    return not command or record.mark.encode() in command.split(b"\0")


def send(record: ProcessRecord, number: signal.Signals) -> bool:
    """Signal the process; False where it no longer runs."""
    if not is_alive(record):
        return False
    try:
        os.kill(record.pid, number)
    except ProcessLookupError:
        return False
    return True


def stop(records: Sequence[ProcessRecord], *, timeout_s: float) -> list[ProcessRecord]:
    """End processes: SIGTERM to all, then SIGKILL to those that still run after `timeout_s`, which are returned."""
    for record in records:
        send(record, signal.SIGTERM)
    late = [record for record in records if not wait_until_gone(record, timeout_s)]
    for record in late:
        send(record, signal.SIGKILL)
        wait_until_gone(record, timeout_s)
    return late


def wait_until_gone(record: ProcessRecord, timeout_s: float) -> bool:
    """Return True once the process has ended, False where it has not in `timeout_s`."""
    end = time.monotonic() + timeout_s
    while is_alive(record):
        if time.monotonic() >= end:
            return False
        time.sleep(POLL_S)
    return True
