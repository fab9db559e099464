"""How long batches took from their arrival here to their commit, by the minute: what the explorer's chart shows.

Counts in the buckets of the phases' histogram, so that a minute costs the same however much it saw. Owned by the loop.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from math import inf
from typing import Final

from rpc.ports import CommitMinute

MINUTES_KEPT: Final = 60
MINUTE_S: Final = 60


class CommitMinutes:
    """The last MINUTES_KEPT minutes in which a batch was committed; `bounds` are of the buckets, in seconds."""

    def __init__(self, bounds: Sequence[float], clock: Callable[[], float] = time.time) -> None:
        self._bounds = (*bounds, inf)
        self._clock = clock
        self._minutes: dict[int, list[int]] = {}  # Unix minute to the count of each bucket, the oldest first

    def observe(self, seconds: float) -> None:
        """Count a batch that was committed now, so many seconds after it arrived."""
        minute = int(self._clock()) // MINUTE_S
        counts = self._minutes.get(minute)
        if counts is None:
            counts = self._minutes[minute] = [0] * len(self._bounds)
            while len(self._minutes) > MINUTES_KEPT:
                del self._minutes[next(iter(self._minutes))]
        counts[bisect_left(self._bounds, seconds)] += 1

    def rows(self) -> tuple[CommitMinute, ...]:
        """Return each minute with its number of batches, their median and the 95th percentile."""
        return tuple(self._row(minute, counts) for minute, counts in sorted(self._minutes.items()))

    def _row(self, minute: int, counts: list[int]) -> CommitMinute:
        below, cumulative = 0, list[tuple[float, float]]()
        for bound, count in zip(self._bounds, counts, strict=True):
            below += count
            cumulative.append((bound, below))
        median, late = (quantile(cumulative, share) * 1_000 for share in (0.5, 0.95))
        return CommitMinute(minute * MINUTE_S * 1_000, below, median, late)


def quantile(buckets: Sequence[tuple[float, float]], share: float) -> float:
    """Return the value below which a share of what was observed lies, straight within its bucket as Prometheus does."""
    wanted, lower, below = share * buckets[-1][1], 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted and count > below:
            return lower if bound == inf else lower + (bound - lower) * (wanted - below) / (count - below)
        lower, below = bound, count
    return lower
