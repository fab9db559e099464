"""The overload run as a picture: throughput, latency and memory over time, one above the other, as SVG.

Here: drawing what `bench.overload` measured, without a library. Not here: measuring.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

WIDTH, HEIGHT, LEFT, TOP = 760, 150, 90, 40
COLOURS = ("#1f5fa8", "#b8480f", "#2e7d32", "#7b1fa2")

Series = Sequence[tuple[float, float]]
Figures = dict[str, Any]  # Any: JSON


def draw(figures: Figures) -> str:
    """Return the picture."""
    rows, nodes = figures["samples"], range(4)
    rates = [
        (late["at_s"], (late["committed"] - early["committed"]) / (late["at_s"] - early["at_s"]))
        for early, late in zip(rows, rows[4:], strict=False)
    ]
    panels: list[tuple[str, list[Series], float | None]] = [
        ("committed events a second (dashed: the peak)", [rates], figures["peak_events_per_second"]),
        ("latency of what was admitted, median, ms", [figures["latency_by_second"]], None),
        (
            "memory of each node without mapped files, MiB",
            [[(row["at_s"], row["anonymous_mib"][node]) for row in rows] for node in nodes],
            None,
        ),
    ]
    end = max(row["at_s"] for row in rows)
    parts = [_panel(index, *panel, end) for index, panel in enumerate(panels)]
    whole = TOP + len(panels) * (HEIGHT + 50)
    title = (
        f"{figures['offered_events_per_second']:,} events a second offered, peak {figures['peak_events_per_second']:,}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + LEFT + 20}" height="{whole}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="{LEFT}" y="20" font-size="15">{title}</text>{"".join(parts)}</svg>\n'
    )


def _panel(index: int, title: str, lines: list[Series], level: float | None, end: float) -> str:
    base = TOP + index * (HEIGHT + 50) + 20
    top = max([level or 0.0, *(value for line in lines for _, value in line)]) or 1.0

    def at(x: float, y: float) -> str:
        return f"{LEFT + x / end * WIDTH:.1f},{base + HEIGHT - y / top * HEIGHT:.1f}"

    parts = [f'<text x="{LEFT}" y="{base - 6}">{title}</text>']
    for share in (0.0, 0.5, 1.0):
        y = base + HEIGHT - share * HEIGHT
        parts.append(f'<path d="M{LEFT} {y}h{WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{top * share:,.0f}</text>')
    parts.append(f'<text x="{LEFT + WIDTH}" y="{base + HEIGHT + 15}" text-anchor="end">{end:.0f} s</text>')
    if level is not None:
        y = base + HEIGHT - level / top * HEIGHT
        parts.append(f'<path d="M{LEFT} {y:.1f}h{WIDTH}" stroke="#888" stroke-dasharray="6 4"/>')
    for line, colour in zip(lines, COLOURS, strict=False):
        points = " ".join(at(x, y) for x, y in line if x <= end)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    return "".join(parts)
