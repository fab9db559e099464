"""When the requests of an open loop are due: at a fixed rate, whatever the answers do."""

from __future__ import annotations


def arrivals(rate: float, seconds: float) -> list[float]:
    """Return the seconds after the start at which requests are due, `rate` a second, evenly spaced."""
    return [number / rate for number in range(round(rate * seconds))]


def dealt(due: list[float], lanes: int) -> list[list[float]]:
    """Return the times of each lane: the first to the first lane, the second to the second, and so on around."""
    return [due[lane::lanes] for lane in range(lanes)]
