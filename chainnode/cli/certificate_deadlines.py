"""`chainnode cert deadlines`: what falls due of certificates, what is so already, what to do next and by whom.

Not here: what falls due (`ledger.deadlines`), and the list itself (`rpc.methods.deadlines`).
"""

from __future__ import annotations

import click

from chainnode.cli.context import settings
from chainnode.cli.output import say, show_page

COLUMNS = ("left", "kind", "subject", "due", "next", "by")
DAYS_MAX = 36_500
KINDS = (
    "expiring_180",
    "expiring_90",
    "expiring_30",
    "certificate_expired",
    "renewal_opened",
    "suspension_ended",
    "surveillance_overdue",
    "correction_overdue",
    "appeal_ended",
    "appeal_undecided",
    "inspection_overdue",
    "inspection_uncorrected",
    "accreditation_ended",
)
"""The kinds that `cert_deadlines` takes; a test holds them to the ledger's."""


@click.command()
@click.option("--kind", type=click.Choice(KINDS), help="Only these; else all, each certificate's end once.")
@click.option("--within-days", type=click.IntRange(0, DAYS_MAX), help="How far to look.  [default: 90]")
@click.option("--until", metavar="TIME", help="How far to look, RFC 3339.")
@click.option("--member", help="A holder, an accredited member, or a body that has to see to something.")
@click.option("--at", metavar="TIME", help="What was so at a time (RFC 3339) or a height.")
@click.option("--limit", type=click.IntRange(1, 100), default=30, show_default=True)
@click.option("--order", type=click.Choice(("asc", "desc")), help="The first first, or the last first.")
@click.option("--cursor", help="Where the page before ended.")
def deadlines(limit: int, at: str | None, **asked: str | int | None) -> None:
    """List what falls due and what is overdue: days left, what to do next, and by whom."""
    params = {name: value for name, value in asked.items() if value is not None} | {"limit": limit}
    if at is not None:
        params["at"] = int(at) if at.isascii() and at.isdigit() else at
    answer = settings().client().call("cert_deadlines", **params)
    rows = answer["deadlines"]
    if not rows and not settings().machine:
        say(f"nothing is due, as of {answer['time']}")
        return
    show_page(answer, rows if settings().machine else [row | {"left": left_of(row)} for row in rows], COLUMNS)


def left_of(row: dict[str, int | str]) -> str:
    """Return how many days are left, or since when something is so."""
    days = int(row["days_left"])
    if row["level"] == "ahead":
        return f"{days} days"
    return f"{'since' if row['level'] == 'open' else 'OVERDUE'} {-days - 1} days"
