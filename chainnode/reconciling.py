"""Lets the index of reconciliation follow the log beside the node, where and when that costs commits nothing.

It needs several times the processor of the other indexes for a statement, in the same process: while blocks come it
takes a small share of a core and may fall behind, and catches up when less is going on. Not here: what it does
(`ledger.reconciliation_index`).
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Executor
from typing import Final

import structlog

from chainnode.metrics import NodeMetrics
from chainnode.node_index import NodeIndex
from ledger.archive_store import Pruned
from ledger.reconciliation_reading import Asked
from rpc.feed import Feed

STATEMENTS_A_STEP: Final = 256
IDLE_S: Final = 0.1
REST_S_MIN: Final = 0.01
RESTS: Final = 7
"""While blocks come it rests so many times as long as it worked: an eighth of a core is its share."""

BUSY_S: Final = 1.0
"""How long after a block it is taken that blocks come."""

COUNT_S: Final = 10.0
ARCHIVE_RETRY_S: Final = 30.0

log = structlog.get_logger("node")


async def follow_reconciliation(executor: Executor, index: NodeIndex, metrics: NodeMetrics, feed: Feed) -> None:
    """Follow the height that the other indexes have reached, tell of it, and count now and then how payments stand."""
    loop = asyncio.get_running_loop()
    follower = index.reconciliation
    seen, came_s, counted_s = follower.height, -BUSY_S, -COUNT_S
    while True:
        height, began_s = index.follower.height, time.monotonic()
        if height != seen:
            seen, came_s = height, began_s
        try:
            done = (
                0
                if height is None
                else await loop.run_in_executor(executor, follower.follow, height, STATEMENTS_A_STEP)
            )
        except Pruned as error:  # as with the other indexes: it may be put back
            log.error("reconciliation_waits_for_the_archive", error=str(error))
            await asyncio.sleep(ARCHIVE_RETRY_S)
            continue
        feed.reconciled_to(follower.height or 0)
        ended_s = time.monotonic()
        if ended_s >= counted_s + COUNT_S:
            await loop.run_in_executor(executor, count_payments, index, metrics)
            counted_s = ended_s
        if not done:
            await asyncio.sleep(IDLE_S)
        elif ended_s < came_s + BUSY_S:
            await asyncio.sleep(max(REST_S_MIN, RESTS * (ended_s - began_s)))


def count_payments(index: NodeIndex, metrics: NodeMetrics) -> None:
    """Put into the metrics how many payments stand how, and how far the index is."""
    counts = index.answers.reconciliation.counts(Asked())
    for state in counts.__struct_fields__:
        metrics.payments.labels(state).set(getattr(counts, state))
    totals = index.answers.reconciliation.totals.counts()
    for state in totals.__struct_fields__:
        metrics.totals.labels(state).set(getattr(totals, state))
    metrics.reconciled_height.set(index.reconciliation.height or 0)
