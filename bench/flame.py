"""Flame graphs as SVG, written without a library: what calls what, and how much of the processor's time each takes.

The widest row is all of it, above it the threads, and above each frame what it called; the colour is the part of the
project that a function belongs to. Frames too narrow to be seen are left out, so that a picture stays small.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape

from bench.stacks import Folded, Stack

WIDTH: Final = 1_200
ROW: Final = 16
TOP: Final = 52
MARGIN: Final = 8
LETTER: Final = 5.9
NARROWEST: Final = 2.5
"""Frames of fewer pixels are left out: a five-hundredth of the whole."""

LABEL_LETTERS_MIN: Final = 3
INK: Final = "#222222"
COLOURS: Final = {
    "rpc": "#f2b134",
    "chainnode": "#9ecae9",
    "ledger": "#8cc084",
    "consensus": "#e58b7b",
    "p2p": "#b79fcb",
    "primitives": "#76c4bd",
    "libraries": "#d9d9d9",
}
THREAD: Final = "#f4f0e6"


@dataclass
class Frame:
    """A function on a stack: what it costs with all that it calls."""

    name: str
    weight: float = 0.0
    called: dict[str, Frame] = field(default_factory=dict)

    def add(self, stack: Stack, weight: float) -> None:
        """Charge a stack that begins here."""
        frame = self
        frame.weight += weight
        for name in stack:
            frame = frame.called.setdefault(name, Frame(name))
            frame.weight += weight


@dataclass(frozen=True)
class Box:
    """A frame as it is drawn: left edge and width in pixels, rows above the lowest, and its colour."""

    frame: Frame
    left: float
    width: float
    row: int
    colour: str


def tree(threads: Mapping[str, Folded]) -> Frame:
    """Return all threads as one tree, each a frame of its own."""
    root = Frame("all threads")
    for name, stacks in threads.items():
        for stack, weight in stacks.items():
            root.add((name, *stack), weight)
    return root


def boxes(root: Frame) -> Iterator[Box]:
    """Yield what is wide enough to be drawn, callers before what they call."""
    scale = (WIDTH - 2 * MARGIN) / (root.weight or 1.0)
    waiting = [(root, float(MARGIN), 0)]
    while waiting:
        frame, left, row = waiting.pop()
        width = frame.weight * scale
        if width < NARROWEST:
            continue
        yield Box(frame, left, width, row, THREAD if row < 2 else COLOURS[part_of(frame.name)])
        for called in sorted(frame.called.values(), key=lambda each: (-each.weight, each.name)):
            waiting.append((called, left, row + 1))
            left += called.weight * scale


def part_of(name: str) -> str:
    """Return the part of the project that a frame's file belongs to, such as `ledger` of `parse (ledger/x.py)`."""
    first = name.rpartition(" (")[2].partition("/")[0]
    return first if first in COLOURS else "libraries"


def flame(threads: Mapping[str, Folded], title: str, unit: str) -> str:
    """Return the picture of what threads spent; `unit` says what the weights are."""
    root = tree(threads)
    drawn = list(boxes(root))
    height = TOP + ROW * (1 + max((box.row for box in drawn), default=0)) + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
        f"<style>text{{font:11px sans-serif;fill:{INK}}}rect{{stroke:#fff;stroke-width:.6}}</style>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{MARGIN}" y="18" style="font-size:15px">{escape(title)}</text>',
        *_legend({"threads": THREAD, **COLOURS}),
    ]
    for box in drawn:
        lines += _box(box, height - MARGIN - ROW * (box.row + 1), root.weight, unit)
    return "\n".join([*lines, "</svg>", ""])


def _legend(colours: Mapping[str, str]) -> Iterator[str]:
    x = float(MARGIN)
    for text, colour in colours.items():
        yield f'<rect x="{x:.0f}" y="28" width="11" height="11" fill="{colour}"/>'
        yield f'<text x="{x + 15:.0f}" y="38">{text}</text>'
        x += 32 + LETTER * len(text)


def _box(box: Box, y: int, whole: float, unit: str) -> Iterator[str]:
    name, weight = box.frame.name, box.frame.weight
    told = escape(f"{name}: {weight:.2f} {unit}, {weight / (whole or 1.0):.1%}")
    yield f'<rect x="{box.left:.1f}" y="{y}" width="{box.width:.1f}" height="{ROW - 1}" fill="{box.colour}">'
    yield f"<title>{told}</title></rect>"
    label = _label(name, box.row, weight, unit, int((box.width - 4) / LETTER))
    if label:
        yield f'<text x="{box.left + 3:.1f}" y="{y + 11.5}">{escape(label)}</text>'


def _label(name: str, row: int, weight: float, unit: str, letters: int) -> str:
    """Return as much of a frame's name as fits: of threads what they cost, of methods the class if it can be."""
    function = name.rpartition(" (")[0] or name
    told = [f"{name}: {weight:.2f} {unit}", f"{name}: {weight:.2f}"] if row < 2 else []
    for text in (*told, function, function.rpartition(".")[2]):
        if len(text) <= letters:
            return text
    return f"{function.rpartition('.')[2][: letters - 1]}…" if letters >= LABEL_LETTERS_MIN else ""
