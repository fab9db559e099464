"""Charts, drawn on the server: the bars of some series over the same places, in units of the chart's own.

A page that shows a chart shows the same figures as a table, which holds all that a script needs to draw it better. Not
here: that script (`static/js/charts.mjs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 600
HEIGHT: Final = 120
GAP: Final = 4

Value = int | float | None


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the series with this number, at a place."""

    place: int
    series: int
    x: float
    y: float
    width: float
    height: float
    value: int | float


@dataclass(frozen=True, slots=True)
class Chart:
    """The bars, those of later series over those of earlier ones; `most` is the highest value."""

    bars: tuple[Bar, ...]
    most: int | float
    width: int = WIDTH
    height: int = HEIGHT


def chart(*series: Sequence[Value], places: int = 0) -> Chart:
    """Return the bars of series of the same length, None where there is no value; at the right of so many places."""
    length = len(series[0])
    assert all(len(values) == length for values in series), "series of one length"
    most = max((value for values in series for value in values if value is not None), default=0)
    first, width = max(0, places - length), WIDTH / max(places, length, 1)
    bars = tuple(
        Bar(
            place,
            number,
            round((first + place) * width, 1),
            round(HEIGHT - (tall := HEIGHT * value / most if most else 0.0), 1),
            round(width - GAP, 1),
            round(tall, 1),
            value,
        )
        for number, values in enumerate(series)
        for place, value in enumerate(values)
        if value is not None
    )
    return Chart(bars, most)
