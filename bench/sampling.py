"""Sampling the stacks of a node: from outside with py-spy, or by a thread of its own where that is not permitted.

Run as `python -m bench.sampling FILE --home DIR` it is a node that samples itself and writes folded stacks when it
ends: each thread's stack, weighted by the processor time that the thread used since the sample before. That needs no
permission, but a sample is taken when the interpreter's lock is free: it says too much of what releases the lock, such
as verifying, writing and waiting for sockets, and too little of the rest.
Not here: what the stacks say (`bench.stacks`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from bench.measure import thread_cpu_us

RATE_HZ: Final = 100
PERMISSION_S: Final = 20.0
SETTLE_S: Final = 1.0
ENDING_S: Final = 60.0
PY_SPY: Final = Path(sys.executable).with_name("py-spy")
ROOT: Final = Path(__file__).parents[1]


def why_not() -> str | None:
    """Return why py-spy cannot sample another process here; None where it can."""
    if not PY_SPY.exists():
        return "py-spy is not installed: run 'make setup'"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as probe:
        try:
            done = subprocess.run(
                [PY_SPY, "dump", "--pid", str(probe.pid)], capture_output=True, text=True, timeout=PERMISSION_S
            )
        except subprocess.TimeoutExpired:
            return f"py-spy gave no answer within {PERMISSION_S:.0f} s"
        finally:
            probe.kill()
    said = done.stderr.strip().splitlines()
    return None if done.returncode == 0 else (said[0] if said else f"py-spy ended with status {done.returncode}")


@contextmanager
def outside(pid: int, target: Path, rate_hz: int) -> Iterator[None]:
    """Let py-spy sample a process meanwhile and write folded stacks to `target`, with the frames of C.

    Raises RuntimeError with what py-spy said where it did not.
    """
    options = ["--pid", str(pid), "--rate", str(rate_hz), "--threads", "--function", "--format", "raw", "--native"]
    command = [PY_SPY, "record", *options, "--output", target]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(SETTLE_S)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=ENDING_S)
    if process.returncode or not target.exists():
        raise RuntimeError(f"py-spy failed: {said.strip()[-300:]}")


class Inside(threading.Thread):
    """Samples all other threads of this process until `finish`, each by the processor time that it used meanwhile."""

    def __init__(self, rate_hz: int = RATE_HZ) -> None:
        super().__init__(daemon=True, name="sampler")
        self._pause_s = 1 / rate_hz
        self._ending = threading.Event()
        self._used_us: dict[int, float] = {}
        self._weights_us: Counter[str] = Counter()

    def run(self) -> None:
        """Sample until the end."""
        while not self._ending.wait(self._pause_s):
            self.sample()

    def sample(self) -> None:
        """Take one sample of every thread."""
        used_us, frames = thread_cpu_us(os.getpid()), sys._current_frames()
        for thread in threading.enumerate():
            number, frame = thread.native_id, frames.get(thread.ident or 0)
            if thread is self or frame is None or number not in used_us:
                continue
            spent_us = round(used_us[number] - self._used_us.get(number, used_us[number]))
            self._used_us[number] = used_us[number]
            if spent_us:
                stack = [f"thread ({number}): {thread.name}", *reversed(_frames(frame))]
                self._weights_us[";".join(stack)] += spent_us

    def sampled_us(self, thread: str) -> int:
        """Return the microseconds of a thread so far."""
        return sum(us for stack, us in self._weights_us.items() if f": {thread};" in stack)

    def finish(self) -> str:
        """End it and return folded stacks, weighted in microseconds."""
        self._ending.set()
        if self.is_alive():
            self.join()
        return "".join(f"{stack} {weight}\n" for stack, weight in sorted(self._weights_us.items()))


def _frames(frame: FrameType | None) -> list[str]:
    """Return what stands on a stack, the innermost first, named as py-spy names it."""
    found: list[str] = []
    while frame is not None:
        code = frame.f_code
        found.append(f"{code.co_qualname} ({short(code.co_filename)})")
        frame = frame.f_back
    return found


def short(path: str) -> str:
    """Return a source file as it is called within its package or library."""
    for root in sorted({str(ROOT), *filter(None, sys.path)}, key=len, reverse=True):
        if path.startswith(root + "/"):
            return path[len(root) + 1 :]
    return path


def run(target: Path, arguments: list[str]) -> int:
    """Run a node that samples itself, and write its stacks when it ends."""
    from chainnode.main import main

    sampler = Inside()
    sampler.start()
    try:
        return main(arguments)
    finally:
        target.write_text(sampler.finish(), "utf-8")


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
