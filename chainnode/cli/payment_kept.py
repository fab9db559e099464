"""`chainnode payment kept`: what this bank itself said of its payments, in clear, out of its private store.

Asks a node only where a payment is named by its UETR or pair key. Not here: the search (`chainnode.kept_payments`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import event_id_of, settings
from chainnode.cli.output import progress, say, show_rows
from chainnode.cli.payment_names import statement_ids
from chainnode.cli.reporting import reporter_files
from primitives.errors import UsageError

if TYPE_CHECKING:
    from chainnode.kept_payments import KeptPayment, Sought
    from chainnode.private_store import PrivateStore

COLUMNS = (
    "amount",
    "reference",
    "debtor_name",
    "debtor_account",
    "creditor_name",
    "creditor_account",
    "remittance",
    "event_id",
)
SHOWN_MAX = 10_000
FROM_STDIN = "-"
Command = Callable[..., Any]  # Any: click's decorators


def sought_options(command: Command) -> Command:
    """Give a command the options that say which kept payments are meant."""
    for name, what in (
        ("--reference", "Those that both banks know by this reference."),
        ("--name", "Those of which this is the debtor's or the creditor's name."),
        ("--account", "Those from or to this account; `-` reads it from stdin, so that no process list shows it."),
    ):
        command = click.option(name, metavar="VALUE", help=what)(command)
    return command


def sought(account: str | None, name: str | None, reference: str | None) -> Sought:
    """Return what is looked for; at most one of them comes from stdin."""
    from chainnode.kept_payments import Sought

    given = {"account": account, "name": name, "reference": reference}
    from_stdin = [each for each, value in given.items() if value == FROM_STDIN]
    if len(from_stdin) > 1:
        raise UsageError("values from stdin", expected="one", got=len(from_stdin))
    for each in from_stdin:
        given[each] = sys.stdin.readline().strip()
    for each, value in given.items():
        if value is not None and not value.strip():
            raise UsageError("nothing to look for", where=f"--{each}", expected="a value", got="an empty one")
    return Sought(**given)


def found_in(store: PrivateStore, wanted: Sought) -> list[KeptPayment]:
    """Return the kept payments that are looked for, with a bar while the store is gone through."""
    from chainnode.kept_payments import kept_payments

    with progress("opening what is kept", len(store)) as bar:
        return list(kept_payments(store, wanted, lambda _: bar.advance()))


@click.command()
@click.argument("payments", nargs=-1, metavar="PAYMENT...")
@sought_options
@click.option("--limit", type=click.IntRange(1, SHOWN_MAX), default=100, show_default=True, help="Show so many.")
def kept(
    payments: tuple[str, ...], account: str | None, name: str | None, reference: str | None, limit: int
) -> int | None:
    """Show what this bank keeps of PAYMENTs (event ids, UETRs, pair keys), or of those that an option names.

    Nothing leaves this machine. What a customer asks for, and what has to be erased, is found here.
    """
    from chainnode.kept_payments import kept_payment
    from chainnode.private_store import PrivateStore

    wanted = sought(account, name, reference)
    if bool(wanted) is bool(payments):
        got = "both" if payments else "neither"
        raise UsageError("which payments is not clear", expected="PAYMENTs, or --account, --name, --reference", got=got)
    files = reporter_files()
    with PrivateStore(files.private) as store:
        found = (
            found_in(store, wanted)
            if wanted
            else [kept_payment(store, bytes.fromhex(each)) for each in own_events(store, payments, files.member)]
        )
    rows = [each.row() for each in found]
    machine = settings().machine
    if rows or machine:
        columns = [each for each in COLUMNS if any(row[each] for row in rows)]
        show_rows(rows[:limit], columns=columns, wrap="kept")
    if not machine:
        say(f"{len(rows)} kept" + (f", {limit} shown: --limit {SHOWN_MAX} shows more" if len(rows) > limit else ""))
    return None if rows else 1


def own_events(store: PrivateStore, payments: Sequence[str], member: str) -> list[str]:
    """Return the ids of what this member stated about payments; no node is asked for an event that is kept here."""
    here = [each for each in payments if "-" not in each and store.holds(bytes.fromhex(event_id_of(each)))]
    elsewhere = [each for each in payments if each not in here]
    return [*here, *(statement_ids(settings().client(), elsewhere, member) if elsewhere else ())]
