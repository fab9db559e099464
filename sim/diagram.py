"""The last stretch of a run as a message diagram: one column a node, time downward, messages as arrows.

`select` takes a stretch out of a journal, `as_text` renders it for a terminal, `as_svg` for a page; both say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from chainnode.core import WIRE_KINDS
from sim.journal import Arrived, Entry, Happened, Lost, Sent, describe

ROWS_MAX: Final = 60
COLUMN_CHARACTERS: Final = 14
TIME_CHARACTERS: Final = 9
QUIET: Final = frozenset({"Status", "BatchHave", "BatchWant", "CheckpointVote"})
"""Kinds that seldom explain anything; left out unless asked for."""


@dataclass(frozen=True, slots=True)
class Arrow:
    """A message, as one line of the diagram: when it left, and when it came (None: it was lost, `why`)."""

    at_ms: int
    sender: int
    receivers: tuple[int, ...]
    lost: tuple[tuple[int, str], ...]
    arrived_ms: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened, at a node or (None) in the world."""

    at_ms: int
    node: int | None
    text: str


Row = Arrow | Note


def select(entries: Sequence[Entry], *, rows_max: int = ROWS_MAX, quiet: bool = False, nodes: int = 4) -> list[Row]:
    """Return the last rows of a journal; equal messages of one sender and moment are one arrow to many."""
    fates: dict[int, Arrived | Lost] = {}
    for entry in entries:
        if isinstance(entry, Arrived | Lost):
            fates.setdefault(entry.number, entry)
    rows: list[Row] = []
    groups: dict[tuple[int, int, int, bytes], list[Sent]] = {}
    for entry in entries:
        if isinstance(entry, Happened):
            rows.append(Note(entry.at_ms, entry.node, entry.text))
        elif isinstance(entry, Sent) and (quiet or _name(entry.kind) not in QUIET) and entry.receiver < nodes:
            groups.setdefault((entry.at_ms, entry.sender, entry.kind, entry.payload), []).append(entry)
    rows += [_arrow(group, fates) for group in groups.values()]
    return sorted(rows, key=lambda row: row.at_ms)[-rows_max:]


def _name(kind: int) -> str:
    return WIRE_KINDS[kind][0] if kind in WIRE_KINDS else ""


def _arrow(group: list[Sent], fates: dict[int, Arrived | Lost]) -> Arrow:
    first = group[0]
    came: list[tuple[int, int]] = []
    lost: list[tuple[int, str]] = []
    for sent in group:
        fate = fates.get(sent.number)
        if isinstance(fate, Arrived):
            came.append((sent.receiver, fate.at_ms))
        else:
            lost.append((sent.receiver, "under way" if fate is None else fate.why))
    return Arrow(
        at_ms=first.at_ms,
        sender=first.sender,
        receivers=tuple(receiver for receiver, _ in came),
        lost=tuple(lost),
        arrived_ms=max((at_ms for _, at_ms in came), default=None),
        text=describe(first.kind, first.payload),
    )


# --- text


def as_text(rows: Iterable[Row], names: Sequence[str]) -> str:
    """Return the diagram in characters: `o` sends, `>` and `<` receive, `x` did not get it."""
    head = " " * TIME_CHARACTERS + "".join(name.center(COLUMN_CHARACTERS) for name in names)
    lines = [head.rstrip()]
    for row in rows:
        lines.append(f"{row.at_ms:>6} ms " + _cells(row, len(names)).rstrip())
    return "\n".join(lines) + "\n"


def _cells(row: Row, columns: int) -> str:
    line = [" "] * (columns * COLUMN_CHARACTERS)
    middles = [column * COLUMN_CHARACTERS + COLUMN_CHARACTERS // 2 for column in range(columns)]
    for middle in middles:
        line[middle] = "|"
    if isinstance(row, Note):
        if row.node is not None and row.node < columns:
            line[middles[row.node]] = "*"
        return "".join(line) + "  " + row.text
    ends = [middles[index] for index in (*row.receivers, *(index for index, _ in row.lost), row.sender)]
    for at in range(min(ends), max(ends) + 1):
        line[at] = "-" if line[at] == " " else "+"
    for index in row.receivers:
        line[middles[index]] = ">" if index > row.sender else "<"
    for index, _ in row.lost:
        line[middles[index]] = "x"
    line[middles[row.sender]] = "o"
    return "".join(line) + "  " + row.text + _fate(row)


def _fate(row: Arrow) -> str:
    came = "" if row.arrived_ms is None else f" (+{row.arrived_ms - row.at_ms} ms)"
    lost = "".join(f", {index}: {why}" for index, why in row.lost)
    return came + lost


# --- SVG

COLUMN_PIXELS: Final = 120
ROW_PIXELS: Final = 22
MARGIN_PIXELS: Final = 90
TEXT_PIXELS: Final = 620
_STYLE: Final = (
    "text{font:12px ui-monospace,monospace;fill:#1b1f24}.t{fill:#6a737d}.n{font-weight:600}"
    ".l{stroke:#d0d7de}.a{stroke:#0b5fff;stroke-width:1.4;fill:none}.h{fill:#0b5fff}"
    ".x{stroke:#c1121f;stroke-width:1.4;stroke-dasharray:4 3}.e{fill:#8a4b00}.d{fill:#8a4b00}"
)


def as_svg(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Return the diagram as an SVG document: solid arrows arrived, dashed red ones did not, brown dots are notes."""
    width = MARGIN_PIXELS + len(names) * COLUMN_PIXELS + TEXT_PIXELS
    height = ROW_PIXELS * (len(rows) + 3)
    middles = [MARGIN_PIXELS + COLUMN_PIXELS // 2 + COLUMN_PIXELS * column for column in range(len(names))]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for name, middle in zip(names, middles, strict=True):
        parts.append(f'<text class="n" x="{middle}" y="16" text-anchor="middle">{escape(name)}</text>')
        parts.append(f'<line class="l" x1="{middle}" y1="24" x2="{middle}" y2="{height - 8}"/>')
    for number, row in enumerate(rows):
        parts += _svg_row(row, middles, 40 + number * ROW_PIXELS)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _svg_row(row: Row, middles: Sequence[int], y: int) -> list[str]:
    text_x = middles[-1] + COLUMN_PIXELS // 2 + 8
    parts = [f'<text class="t" x="8" y="{y + 4}">{row.at_ms} ms</text>']
    if isinstance(row, Note):
        if row.node is not None and row.node < len(middles):
            parts.append(f'<circle class="d" cx="{middles[row.node]}" cy="{y}" r="4"/>')
        return [*parts, f'<text class="e" x="{text_x}" y="{y + 4}">{escape(row.text)}</text>']
    start = middles[row.sender]
    for index, _ in row.lost:
        parts.append(f'<line class="x" x1="{start}" y1="{y}" x2="{middles[index]}" y2="{y}"/>')
    for index in row.receivers:
        end, back = middles[index], -7 if index > row.sender else 7
        parts.append(f'<line class="a" x1="{start}" y1="{y}" x2="{end + back}" y2="{y}"/>')
        parts.append(f'<path class="h" d="M{end} {y}l{back} -4v8z"/>')
    parts.append(f'<circle class="h" cx="{start}" cy="{y}" r="3"/>')
    return [*parts, f'<text x="{text_x}" y="{y + 4}">{escape(row.text + _fate(row))}</text>']
