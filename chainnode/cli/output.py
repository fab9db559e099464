"""What commands print: data on stdout as a table, JSON or JSON lines; messages and progress on stderr.

`rich` is imported only to draw on a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import click

from chainnode.cli.context import settings

Row = Mapping[str, Any]  # Any: JSON values


def show(value: Any, *, title: str = "") -> None:  # Any: JSON of a node
    """Print one record: JSON as it is, or a table of its fields."""
    if settings().machine:
        _json(value, lines=settings().output == "jsonl")
    elif isinstance(value, Mapping):
        _pairs(value, title)
    else:
        click.echo(_cell(value))


def show_rows(rows: Sequence[Row], *, columns: Sequence[str] | None = None, wrap: str | None = None) -> None:
    """Print a list of records. `wrap` names the field that holds the list in JSON."""
    match settings().output:
        case "jsonl":
            for row in rows:
                _json(row, lines=True)
        case "json":
            _json({wrap: list(rows)} if wrap else list(rows), lines=False)
        case _:
            _table(rows, columns or _columns(rows))


def show_page(answer: Row, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Print a page of a list: the whole answer as JSON, or its rows, and how to go on."""
    if settings().output == "json":
        _json(answer, lines=False)
        return
    show_rows(rows, columns=columns)
    if answer.get("above_height") and not settings().machine:
        say(f"the node holds the events above block {answer['above_height']} alone: ask one that holds the whole chain")
    if answer.get("cursor") and not settings().machine:
        say(f"more follows: --cursor {answer['cursor']}")


class Records:
    """Records that come one by one; `add` prints each at once, but for `-o json`, which is one document at the end."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(self, row: Row, text: str) -> None:
        """Take one record, with what a person reads of it."""
        if settings().output == "json":
            self.rows.append(row)
        else:
            line(row, text)


@contextmanager
def records(wrap: str | None) -> Iterator[Records]:
    """Print what is added meanwhile; `wrap` names the field of the document's list, None prints the only record."""
    found = Records()
    try:
        yield found
    finally:
        if found.rows:
            _json({wrap: found.rows} if wrap is not None else found.rows[0], lines=False)


def line(row: Row, text: str) -> None:
    """Print one record of a stream: a JSON object a line for programs, `text` for a person."""
    if settings().machine:
        _json(row, lines=True)
    else:
        click.echo(printable(text))


def show_verdict(sentence: str) -> None:
    """Print what was proved, for a person."""
    click.echo(f"verified: {printable(sentence)}")


def printable(text: str) -> str:
    """Return text as one line in which nothing moves a terminal's cursor or repaints it.

    Whoever wrote a proof chose the names in it, and could else write a verdict of their own behind ours.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def say(text: str) -> None:
    """Print a message for a person, on stderr."""
    click.echo(text, err=True)


def _json(value: Any, *, lines: bool) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=None if lines else 2))


def _columns(rows: Sequence[Row]) -> list[str]:
    names: dict[str, None] = {}
    for row in rows:
        names |= dict.fromkeys(row)
    return list(names)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value))


def _pairs(value: Row, title: str) -> None:
    if title:
        click.echo(title)
    flat = dict(_flatten(value, ""))
    width = max((len(name) for name in flat), default=0)
    for name, item in flat.items():
        click.echo(f"{name:<{width}}  {_cell(item)}")


def _flatten(value: Row, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _flatten(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", item


def _table(rows: Sequence[Row], columns: Sequence[str]) -> None:
    if _draws(sys.stdout):
        from rich import box
        from rich.console import Console
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(column.upper().replace("_", " "), overflow="fold")
        for row in rows:
            table.add_row(*(_cell(row.get(column)) for column in columns))
        Console(no_color=not settings().color, highlight=False, markup=False).print(table)
        return
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    head = [column.upper() for column in columns]
    widths = [max(len(row[place]) for row in [head, *cells]) for place in range(len(columns))]
    for texts in [head, *cells]:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(texts, widths, strict=True)).rstrip())


def _draws(stream: Any) -> bool:
    return stream is not None and bool(stream.isatty())


class Progress(Protocol):
    """A bar that moves."""

    def advance(self, count: int = 1) -> None:
        """Move on by `count`."""

    def describe(self, text: str) -> None:
        """Say what is being done."""

    def restart(self, total: int) -> None:
        """Begin anew, with so many to come."""


class _Quiet:
    def advance(self, count: int = 1) -> None:
        del count

    def describe(self, text: str) -> None:
        del text

    def restart(self, total: int) -> None:
        del total


class _Drawn:
    def __init__(self, bar: Any, task: Any) -> None:  # Any: rich's types, imported only when drawing
        self._bar, self._task = bar, task

    def advance(self, count: int = 1) -> None:
        self._bar.advance(self._task, count)

    def describe(self, text: str) -> None:
        self._bar.update(self._task, description=text)

    def restart(self, total: int) -> None:
        self._bar.reset(self._task, total=total)


@contextmanager
def progress(text: str, total: int | None) -> Iterator[Progress]:
    """Show a bar on stderr while the block runs; on anything but a terminal, nothing."""
    if not _draws(sys.stderr):
        yield _Quiet()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True, no_color=not settings().color)
    done = [MofNCompleteColumn()] if total is not None else []
    columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), *done, TimeElapsedColumn()]
    with Bar(*columns, console=console, transient=True) as bar:
        yield _Drawn(bar, bar.add_task(text, total=total))


def short(text: str, size: int = 16) -> str:
    """Return the beginning of a hash, for tables."""
    return text if len(text) <= size else text[:size]


def join(items: Iterable[object]) -> str:
    """Return the items separated by commas, `-` for none."""
    return ", ".join(str(item) for item in items) or "-"
