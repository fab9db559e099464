"""`audit sql`: questions to an export, once or at a prompt.

Here: options, the prompt, printing. Not here: views, and what a query may do (`chainnode.analysis.querying`).
"""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chainnode.cli.audit_export import analysis, found_manifest, held
from chainnode.cli.context import settings
from chainnode.cli.output import line, say, show_rows
from primitives.errors import UsageError

if TYPE_CHECKING:
    from chainnode.analysis.querying import Queries

ROWS = 10_000
ROWS_MAX = 100_000_000
STDIN_CHARACTERS_MAX = 100_001
PROMPT, MORE = "audit> ", "  ...> "


@click.command("sql")
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("query", required=False)
@click.option("--limit", type=click.IntRange(1, ROWS_MAX), default=ROWS, show_default=True, help="The most rows.")
def sql(directory: Path, query: str | None, limit: int) -> None:
    """Ask an export in SQL (DuckDB): QUERY, or what is typed, or standard input. A query reads, and nothing else.

    There are the views events, payments, certificates, pairs (by pair_key) and daily_totals.
    """
    with analysis("audit sql"):
        from chainnode.analysis.export_files import ExportFiles
        from chainnode.analysis.querying import Queries
    files = ExportFiles(directory)
    manifest = found_manifest(files)
    with held():
        queries = Queries(files, manifest)
    try:
        if query is not None:
            _answer(queries, query, limit)
        elif sys.stdin.isatty():
            _prompt(queries, limit)
        else:
            _answer(queries, _typed(), limit)
    finally:
        queries.close()


def _typed() -> str:
    """Return what standard input holds."""
    try:
        return sys.stdin.read(STDIN_CHARACTERS_MAX)
    except UnicodeDecodeError:
        raise UsageError("query is not text", where="standard input", expected="UTF-8") from None


def _answer(queries: Queries, query: str, limit: int) -> None:
    """Print what a query finds; one row more than the limit is asked for, to say that there are more."""
    answer = queries.ask(query)
    rows = answer.rows()
    if settings().output == "jsonl":
        for row in islice(rows, limit):
            line(row, "")
    else:
        show_rows(list(islice(rows, limit)), columns=answer.columns)
    if next(rows, None) is not None:
        say(f"there are more than {limit} rows: ask for fewer, or name a larger --limit")


def _prompt(queries: Queries, limit: int) -> None:
    """Read queries from a terminal, each ended by a semicolon, until `exit` or the end of input."""
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # lines can be edited once it is there
    from chainnode.analysis.querying import VIEWS

    say(f"views: {', '.join(VIEWS)}; end a query with ; and the prompt with exit")
    typed: list[str] = []
    while True:
        try:
            text = input(MORE if typed else PROMPT)
        except EOFError:
            click.echo()
            return
        except KeyboardInterrupt:
            click.echo()
            typed.clear()
            continue
        if not typed and text.strip().rstrip(";").lower() in ("exit", "quit"):
            return
        typed.append(text)
        if not text.rstrip().endswith(";"):
            continue
        query = "\n".join(typed)
        typed.clear()
        try:
            _answer(queries, query, limit)
        except UsageError as error:
            say(f"error: {error}")
