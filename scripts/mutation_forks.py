"""Runs Python over copies of the tree: plain processes, and forks of one that has the test tools loaded already.

Starting pytest costs a second, a mutation's own test often a tenth of that. So a server (this file, run as a script)
imports what is not the project's, then forks a child for each request; the child sees the copy of the tree, imports
the project anew from there, and runs pytest. A child is as separate from another as two processes are.

The server reads one JSON list a line, [arguments of pytest, tree, module, output], and answers each with two lines: the
child's process id, then [status, CPU seconds]. `module` is imported before pytest runs, and must come from the tree.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

CPU_SECONDS_MAX: Final = 60
"""What catching one mutation may cost; the clock may show more, since the machine may be busy."""
CLOCK_SECONDS_MAX: Final = 180
NOT_IMPORTED: Final = 97
"""The status of a child that could not import the mutated module, or found another one than the tree's."""
LOADED: Final = (
    "asyncio", "ssl", "pytest", "pytest_asyncio", "pytest_timeout", "xdist", "hypothesis", "hypothesis.strategies",
    "msgspec", "msgpack", "nacl.signing", "cryptography.x509", "aiohttp", "plyvel", "click", "structlog",
)  # fmt: skip
"""What every child finds imported: the tools and libraries that tests use, nothing of the project."""


@dataclass(frozen=True)
class Finished:
    """A process that ended: its status (negative: the signal), what it printed, its CPU time and the time it took."""

    status: int
    output: str
    cpu_s: float
    clock_s: float

    @property
    def hung(self) -> bool:
        """Whether it was ended at a limit."""
        return self.status in (-signal.SIGKILL, -signal.SIGXCPU)


def environment(tree: Path | str) -> dict[str, str]:
    """Return the variables of a process that works on a copy of the tree."""
    return {**os.environ, "PYTHONPATH": str(tree), "NO_COLOR": "1", "PYTHONHASHSEED": "0"}


def run(arguments: Sequence[str], tree: Path, *, limited: bool = True) -> Finished:
    """Run Python in a copy of the tree, ended at the limits of CPU time and clock."""
    limit = CPU_SECONDS_MAX if limited else CPU_SECONDS_MAX * 20
    command = ["/bin/sh", "-c", f'ulimit -t {limit}; exec "$@"', "sh", sys.executable, *arguments]
    began = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603  # our own Python
            command, cwd=tree, env=environment(tree), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        seconds = CLOCK_SECONDS_MAX if limited else CLOCK_SECONDS_MAX * 10
        timer = threading.Timer(seconds, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    return Finished(process.returncode, text, usage.ru_utime + usage.ru_stime, time.monotonic() - began)


class Forks:
    """So many servers, each of which runs one request at a time. A context manager: leaving it ends them."""

    def __init__(self, count: int) -> None:
        self._idle: queue.Queue[subprocess.Popen[str]] = queue.Queue()
        self._all = [self._start() for _ in range(count)]

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for server in self._all:
            assert server.stdin is not None
            server.stdin.close()
            server.wait()

    def _start(self) -> subprocess.Popen[str]:
        server = subprocess.Popen(  # noqa: S603  # our own Python
            [sys.executable, __file__],
            cwd="/",
            env=environment(""),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._idle.put(server)
        return server

    def pytest(self, arguments: Sequence[str], tree: Path, module: str, seconds: float = CLOCK_SECONDS_MAX) -> Finished:
        """Run pytest over a copy of the tree whose module `module` was changed; ended at the limits."""
        server = self._idle.get()
        assert server.stdin is not None
        assert server.stdout is not None
        began = time.monotonic()
        with tempfile.NamedTemporaryFile(suffix=".out") as output:
            request = [list(arguments), str(tree), module, output.name]
            print(json.dumps(request), file=server.stdin, flush=True)
            child = int(server.stdout.readline())
            timer = threading.Timer(seconds, _end, (child,))
            timer.start()
            status, cpu_s = json.loads(server.stdout.readline())
            timer.cancel()
            self._idle.put(server)
            text = Path(output.name).read_text("utf-8", errors="replace")
        return Finished(status, text, cpu_s, time.monotonic() - began)


def _end(child: int) -> None:
    """End a child with all that it started."""
    with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
        os.killpg(child, signal.SIGKILL)


# --- the server


def serve() -> None:
    """Answer requests until the input ends."""
    for name in LOADED:
        importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        arguments, tree, module, output = json.loads(line)
        child = os.fork()
        if child == 0:
            _be_child(arguments, tree, module, output)
        print(child, file=answers, flush=True)
        _, status, usage = os.wait4(child, 0)
        ended = [os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime]
        print(json.dumps(ended), file=answers, flush=True)


def _be_child(arguments: list[str], tree: str, module: str, output: str) -> None:
    """Run pytest in a copy of the tree; never returns."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS_MAX, CPU_SECONDS_MAX))
    written = os.open(output, os.O_WRONLY | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(written, 1)
    os.dup2(written, 2)
    status = NOT_IMPORTED
    try:
        os.chdir(tree)
        os.environ["PYTHONPATH"] = tree
        sys.path[0] = tree
        if module:
            place = importlib.import_module(module).__file__
            expected = str(Path(tree, *module.split(".")).with_suffix(".py"))
            if place != expected:
                raise ImportError(f"expected {expected}, got {place}")
        status = int(importlib.import_module("pytest").main(arguments))
    except BaseException:  # noqa: BLE001  # whatever a mutated module raises when it is imported
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
