"""The benchmark's plots: SVG, written without a library.

Three files: what an event costs beside its floor, latency by phase, and throughput run by run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from bench.report import PHASES, figure, loads

WIDTH, LEFT, RIGHT, TOP, ROW, BOTTOM = 880, 130, 130, 56, 26, 44
INK, FAINT = "#222222", "#dddddd"
NODE, FLOOR, VERIFICATION = "#4c78a8", "#f58518", "#e45756"
COLOURS = dict(zip(PHASES, ("#9ecae9", "#72b7b2", "#4c78a8", "#222222"), strict=True))

Figures = Mapping[str, Any]  # Any: JSON


class Drawing:
    """A picture with a logarithmic axis of values to the right and a row for each name."""

    def __init__(self, title: str, unit: str, rows: int, values: Sequence[float]) -> None:
        self.height = TOP + ROW * rows + BOTTOM
        self._low = math.floor(math.log10(max(min(values), 1e-3)))
        self._high = max(self._low + 1, math.ceil(math.log10(max(values))))
        self.parts: list[str] = []
        self.text(LEFT, 22, title, size=15)
        for power in range(self._low, self._high + 1):
            for step in (1, 2, 5) if power < self._high else (1,):
                x = self.x(step * 10.0**power)
                self.line(x, TOP - 6, x, self.height - BOTTOM + 4, FAINT)
                self.text(x, self.height - BOTTOM + 18, f"{step * 10.0**power:,.10g}", anchor="middle", size=10)
        self.text(WIDTH - RIGHT, self.height - 8, unit, anchor="end", size=11)

    def x(self, value: float) -> float:
        """Return where a value lies."""
        share = (math.log10(max(value, 10.0**self._low)) - self._low) / (self._high - self._low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, row: float) -> float:
        """Return the middle of a row."""
        return TOP + ROW * row + ROW / 2

    def text(self, x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> None:
        """Write."""
        style = f'font-family="sans-serif" font-size="{size}" fill="{INK}" text-anchor="{anchor}"'
        self.parts.append(f'<text x="{x}" y="{y}" {style}>{escape(text)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> None:
        """Draw a line."""
        self.parts.append(f'<path d="M{x1} {y1}L{x2} {y2}" stroke="{colour}" stroke-width="{width}"/>')

    def dot(self, row: float, value: float, colour: str, radius: float = 4) -> None:
        """Draw a dot at a value."""
        self.parts.append(f'<circle cx="{self.x(value)}" cy="{self.y(row)}" r="{radius}" fill="{colour}"/>')

    def name(self, row: float, text: str) -> None:
        """Write a row's name."""
        self.text(LEFT - 8, self.y(row) + 4, text, anchor="end")

    def legend(self, entries: Mapping[str, str]) -> None:
        """Say what the colours mean."""
        x = float(LEFT)
        for text, colour in entries.items():
            self.parts.append(f'<rect x="{x}" y="32" width="10" height="10" fill="{colour}"/>')
            self.text(x + 14, 41, text, size=11)
            x += 34 + 6.3 * len(text)

    def svg(self) -> str:
        """Return the file's text."""
        head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{self.height}"'
        head += f' viewBox="0 0 {WIDTH} {self.height}">'
        return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *self.parts, "</svg>", ""])


def costs(figures: Figures) -> str:
    """Draw CPU per event and validator, and the floor: on this axis the way from one to the other is the ratio."""
    found = {name: each for name, each in loads(figures).items() if "cpu_us_per_event_per_validator" in each}
    names = ("cpu_us_per_event_per_validator", "floor_cpu_us_per_event", "floor_verification_us_per_event")
    values = [each[name] for each in found.values() for name in names if each.get(name)]
    drawing = Drawing("Processor time of an event at each validator, and its floor", "µs", len(found), values)
    drawing.legend({"node": NODE, "floor": FLOOR, "of the floor: verification": VERIFICATION})
    for row, (name, each) in enumerate(found.items()):
        node, floor, verification = (each.get(field) for field in names)
        drawing.name(row, name)
        label = figure(node)
        if floor is not None:
            drawing.line(drawing.x(floor), drawing.y(row), drawing.x(node), drawing.y(row), NODE, 3)
            drawing.dot(row, verification, VERIFICATION)
            drawing.dot(row, floor, FLOOR)
            label += f" = {each['node_floor_ratio']:.2f} × {figure(floor)}"
        drawing.dot(row, node, NODE)
        drawing.text(drawing.x(node) + 9, drawing.y(row) + 4, label, size=11)
    return drawing.svg()


def latencies(figures: Figures) -> str:
    """Draw p50, p95 and p99 of each phase: a line from the first to the last, a dot at each."""
    found = loads(figures)
    values = [value for each in found.values() for phase in each["phases_ms"].values() for value in phase.values()]
    drawing = Drawing(
        "Latency since arrival, p50 to p95 to p99, by phase",
        "ms",
        len(found) * len(PHASES),
        [v for v in values if v] or [1],
    )
    drawing.legend(COLOURS)
    for place, (name, each) in enumerate(found.items()):
        drawing.name(place * len(PHASES) + 1, name)
        for offset, phase in enumerate(PHASES):
            told = each["phases_ms"].get(phase, {})
            if not told:
                continue
            row = place * len(PHASES) + offset * 0.85
            y = drawing.y(row)
            drawing.line(drawing.x(told["p50"]), y, drawing.x(told["p99"]), y, COLOURS[phase], 3)
            for share, radius in (("p50", 5), ("p95", 4), ("p99", 3)):
                drawing.dot(row, told[share], COLOURS[phase], radius)
            drawing.text(drawing.x(told["p99"]) + 7, y + 4, f"{figure(told['p50'])}, {figure(told['p99'])}", size=10)
    return drawing.svg()


def throughput(figures: Figures) -> str:
    """Draw committed events a second: a dot for each run, a line at the median."""
    found = {name: each for name, each in loads(figures).items() if each.get("events_per_second_all")}
    values = [value for each in found.values() for value in each["events_per_second_all"]]
    drawing = Drawing("Committed events a second, each run", "events/s", len(found), values)
    for row, (name, each) in enumerate(found.items()):
        drawing.name(row, name)
        x = drawing.x(each["events_per_second"])
        drawing.line(x, drawing.y(row) - 9, x, drawing.y(row) + 9, FLOOR, 3)
        for value in each["events_per_second_all"]:
            drawing.dot(row, value, NODE)
        right = drawing.x(max(each["events_per_second_all"]))
        drawing.text(right + 9, drawing.y(row) + 4, f"{each['events_per_second']:,}", size=11)
    return drawing.svg()


def write_plots(figures: Figures, directory: Path) -> list[Path]:
    """Write the plots of what was measured and return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    found = loads(figures)
    wanted = {"latency": latencies} if found else {}
    if any("events_per_second" in each for each in found.values()):
        wanted |= {"cost": costs, "throughput": throughput}
    paths = []
    for name, draw in wanted.items():
        path = directory / f"{name}.svg"
        path.write_text(draw(figures), "utf-8")
        paths.append(path)
    return paths
