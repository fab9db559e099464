"""What a node looks after now and then: a TLS certificate that was replaced, and what ends soon.

Here: three tasks that the node owns. Not here: making certificates (`chainnode.rotation`), ends (`chainnode.expiry`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final

import structlog

from chainnode.expiry import DAY_MS, Alarms, deadlines_by_kind
from chainnode.home import Home
from chainnode.metrics import NodeMetrics
from ledger.deadline_index import EndsReader
from ledger.deadlines import DueKind
from primitives.errors import ChainError
from rpc.ports import Ending

log = structlog.get_logger("certificates")
RENEW_S: Final = 2.0
"""How often a node looks whether its TLS certificate was replaced."""
FORECAST_S: Final = 600.0
URGENT_DAYS: Final = 7


async def follow_certificate(home: Home, take: Callable[[], object]) -> None:
    """Have a TLS certificate that was put in the place of the present one taken over, without a restart."""
    seen = _stamp(home)
    while True:
        await asyncio.sleep(RENEW_S)
        stamp = _stamp(home)
        if stamp == seen or stamp is None:
            continue
        try:
            take()
        except ChainError as error:  # the key or the certificate may be a moment later
            log.error("certificate_not_taken_over", error=str(error))
            continue
        seen = stamp
        log.info("certificate_taken_over")


def _stamp(home: Home) -> tuple[int, int] | None:
    try:
        return home.tls_key.stat().st_mtime_ns, home.tls_certificate.stat().st_mtime_ns
    except OSError:
        return None


async def count_deadlines_of(executor: Executor, ends: EndsReader, metrics: NodeMetrics) -> None:
    """Count now and then, by a thread, what falls due of certificates, by kind."""
    loop = asyncio.get_running_loop()
    while True:
        counts = await loop.run_in_executor(executor, deadlines_by_kind, ends, time.time_ns() // 1_000_000)
        for kind, count in counts.items():
            metrics.deadlines.labels(kind.value).set(count)
        metrics.products_ending.set(counts[DueKind.EXPIRING_30])
        await asyncio.sleep(FORECAST_S)


async def watch_endings(endings: Callable[[], Sequence[Ending]]) -> None:
    """Log each certificate of a node or member that this node sees once when it ends in 30, 7 and 1 days, and ended."""
    alarms = Alarms()
    while True:
        tell_endings(alarms, endings(), time.time_ns() // 1_000_000)
        await asyncio.sleep(FORECAST_S)


def tell_endings(alarms: Alarms, endings: Sequence[Ending], now_ms: int) -> None:
    """Log what came nearer: `certificate_ends`, a warning within 30 days, an error within 7 and once it has ended."""
    for item, band in alarms.due(endings, now_ms):
        tell = log.warning if band > URGENT_DAYS else log.error
        tell(
            "certificate_ends",
            kind=item.kind,
            name=item.name,
            member=item.member,
            where=item.where,
            days_left=(item.ends_ms - now_ms) // DAY_MS,
            within_days=band,
        )
