"""The auditor as a daemon: rounds in a thread, its own metrics, readiness, and an end on SIGTERM.

Here: time, signals, the listener. Not here: what is found (`chainnode.auditor`).
"""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chainnode.audit_findings import Weight
from chainnode.audit_metrics import AuditMetrics
from chainnode.auditor import Auditor
from chainnode.version import VERSION
from primitives.errors import ChainError
from rpc.ops import OpsServer, OpsSettings
from rpc.ports import Check, Version

ROUNDS_MISSED_MAX: Final = 3


@dataclass(slots=True)
class AuditView:
    """What the operations listener shows of an auditor."""

    auditor: Auditor
    late_s: float
    """After so long without a round the auditor is not ready: it tells nothing then."""
    last_s: float | None = None

    def ready(self) -> tuple[bool, Sequence[Check]]:
        """Return whether rounds are made, and how the findings stand, which say nothing of the auditor itself."""
        age_s = None if self.last_s is None else time.monotonic() - self.last_s
        on_time = age_s is not None and age_s <= self.late_s
        detail = "none yet" if age_s is None else f"the last one ended {age_s:.1f} s ago"
        return on_time, [Check("rounds", on_time, detail)]

    def version(self) -> Version:
        """Return what runs."""
        return Version(VERSION, 1, "none", platform.python_version())


async def watch(
    auditor: Auditor,
    metrics: AuditMetrics,
    *,
    interval_s: float,
    listen: tuple[str, int] | None = None,
    fail_fast: bool = False,
) -> None:
    """Make a round every `interval_s` until SIGTERM or SIGINT, or with `fail_fast` until one has a bad finding."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _stop, auditor, stopping)
    late_s = ROUNDS_MISSED_MAX * interval_s + 2 * len(auditor.sources) * auditor.limits.timeout_s
    view = AuditView(auditor, late_s)
    listener = None if listen is None else OpsServer(OpsSettings(*listen), view, metrics.render)
    if listener is not None:
        await _start(listener, listen)
    try:
        while not stopping.is_set():
            await asyncio.to_thread(one_round, auditor, metrics)
            view.last_s = time.monotonic()
            if fail_fast and auditor.findings.worst() > Weight.TOLD:
                return
            await _pause(stopping, interval_s)
    finally:
        if listener is not None:
            await listener.stop()


async def _start(listener: OpsServer, listen: tuple[str, int] | None) -> None:
    try:
        await listener.start()
    except OSError as error:
        raise ChainError(
            "cannot listen",
            where="{}:{}".format(*(listen or ())),
            got=os.strerror(error.errno) if error.errno else error,
            hint="name another address with --listen",
        ) from None


def one_round(auditor: Auditor, metrics: AuditMetrics) -> None:
    """Make a round, and let the metrics show it."""
    began = time.monotonic()
    auditor.round()
    metrics.after(auditor, time.time(), time.monotonic() - began)


def _stop(auditor: Auditor, stopping: asyncio.Event) -> None:
    auditor.stop()
    stopping.set()


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return
