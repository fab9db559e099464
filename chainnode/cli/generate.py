"""`chainnode generate`: traffic to try a consortium with."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import click

from chainnode.cli.main import Group
from chainnode.cli.output import progress, show


@click.group(cls=Group)
def generate() -> None:
    """Traffic to try a consortium with: files as banks would have them."""


@generate.command("payments")
@click.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    required=True,
    metavar="YYYY-MM-DD",
    help="The day of the payments, UTC.",
)
@click.option("--banks", type=click.IntRange(2, 100), default=4, show_default=True, help="How many banks.")
@click.option(
    "--payments", type=click.IntRange(1, 100_000_000), default=10_000, show_default=True, help="How many payments."
)
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed makes the same files."
)
@click.option(
    "--discrepancies", type=click.FloatRange(0, 1), default=0.001, show_default=True, help="Which share is made wrong."
)
@click.option(
    "-d", "--dir", "directory", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new directory."
)
def generate_payments(
    day: datetime, banks: int, payments: int, seed: int, discrepancies: float, directory: Path
) -> None:
    """Write a day of payments among banks: each bank's files, and the seeded discrepancies as answers.jsonl.

    The banks have the names and codes of a localnet's. ISO 20022 (pacs.008, pacs.009, pacs.002, pacs.004, pain.001,
    camt.054), card messages of ISO 8583, QR payments with their codes and plain payments as JSON lines.
    """
    from chainnode.generating import Plan
    from chainnode.generating_files import write_day

    plan = Plan(date(day.year, day.month, day.day), banks, payments, seed, discrepancies)
    done = 0
    with progress("payments", payments) as bar:

        def advance(made: int) -> None:
            nonlocal done
            bar.advance(made - done)
            done = made

        found = write_day(plan, directory, advance)
    seeded = ", ".join(f"{count} {kind}" for kind, count in found.seeded.items() if count) or "none"
    show(
        {
            "directory": str(directory),
            "payments": found.payments,
            "statements": found.statements,
            "files": found.files,
            "discrepancies": seeded,
        }
    )
