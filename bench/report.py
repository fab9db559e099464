"""The benchmark's table for people."""

from __future__ import annotations

from typing import Any


def table(figures: dict[str, Any]) -> str:
    """Return the figures as lines of name and value, nested ones indented."""
    return "\n".join(_lines(figures, ""))


def _lines(figures: dict[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for name, value in figures.items():
        title = f"{indent}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            lines += [title, *_lines(value, indent + "  ")]
        else:
            shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
            lines.append(f"{title:<44} {shown}")
    return lines
