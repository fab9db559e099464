"""`chainnode audit-log`: what was done through a node, and whether the record of it is whole.

Not here: the file (`chainnode.audit_log`).
"""

from __future__ import annotations

from collections import deque
from typing import Any

import click

from chainnode.cli.context import settings
from chainnode.cli.main import Group
from chainnode.cli.output import say, show, show_rows

COLUMNS = ("time", "who", "role", "method", "outcome", "count", "remote", "trace_id")


@click.group("audit-log", cls=Group)
def audit_log() -> None:
    """Show and verify the home's record of privileged calls."""


@audit_log.command("show")
@click.option("--last", type=click.IntRange(1, 100_000), default=50, show_default=True, help="So many of the newest.")
@click.option("--who", default="", help="Only of callers whose name holds this.")
def show_(last: int, who: str) -> None:
    """Show the newest privileged calls, the oldest of them first. Status 3 where the record is not whole."""
    import msgspec

    rows: deque[dict[str, Any]] = deque(maxlen=last)  # Any: rows of a table
    for line, _ in _lines():
        if who in line.who:
            rows.append({**msgspec.structs.asdict(line), "count": line.count or len(line.ids)})
    show_rows(list(rows), columns=COLUMNS, wrap="calls")


@audit_log.command()
def verify() -> None:
    """Verify that no line was changed or taken out. Status 3 where one was.

    The newest lines can be cut off without a trace, and once a file had to go the oldest: note the last hash elsewhere,
    and look for it later.
    """
    first = last = None
    count, last_hash = 0, ""
    for line, digest in _lines():
        first, last, count, last_hash = first or line, line, count + 1, digest
    if first is None or last is None:
        say("nothing was recorded yet")
    show(
        {
            "verified": True,
            "lines": count,
            "from": "" if first is None else first.time,
            "to": "" if last is None else last.time,
            "first": 0 if first is None else first.number,
            "last_hash": last_hash,
        }
    )


def _lines() -> Any:  # Any: an iterator whose type would be imported for nothing else
    from chainnode.audit_log import kept_lines
    from chainnode.cli.exits import VerificationFailed
    from primitives.errors import ProofError

    home = settings().require_home()
    home.check()
    try:
        yield from kept_lines(home.audit_log)
    except ProofError as error:
        raise VerificationFailed(
            error.what, where=error.where, expected=error.expected, got=error.got, hint=error.hint
        ) from None
