"""`chainnode payment`: what banks have stated about payments."""

from __future__ import annotations

from typing import Any

import click

from chainnode.cli.context import settings
from chainnode.cli.main import Group
from chainnode.cli.output import show_page
from chainnode.cli.payment_affected import affected_by
from chainnode.cli.payment_disclosure import COMMANDS as DISCLOSURE
from chainnode.cli.payment_erasure import erase
from chainnode.cli.payment_intake import intake
from chainnode.cli.payment_kept import kept
from chainnode.cli.payment_names import payment_name
from chainnode.cli.payment_qr import payment_qr
from chainnode.cli.payment_reconciliation import reconcile, trace
from chainnode.cli.payment_totals import totals
from chainnode.client import NOT_FOUND, CallRefused

COLUMNS = ("time", "member", "side", "status", "message_type", "uetr", "height", "id")


@click.group(cls=Group)
def payment() -> None:
    """Payments and their audit trail."""


payment.add_command(affected_by)
payment.add_command(erase)
payment.add_command(kept)
for command in DISCLOSURE:
    payment.add_command(command)
payment.add_command(intake)
payment.add_command(reconcile)
payment.add_command(trace)
payment.add_command(totals)
payment.add_command(payment_qr)


@payment.command("show")
@click.argument("payment_id", metavar="PAYMENT")
def show_payment(payment_id: str) -> None:
    """Show every statement about PAYMENT: its UETR, the pair key of its two banks, or one statement's event id."""
    client = settings().client()
    name = payment_name(payment_id)
    try:
        found = client.call("payment_get", **name)
    except CallRefused as refused:
        if refused.code != NOT_FOUND or "uetr" in name:
            raise
        found = {"statements": [client.call("ledger_getEvent", event_id=name["pair_key"])["event"]]}
    show_page(found, [_row(item) for item in found["statements"]], COLUMNS)


@payment.command("list")
@click.option("--member", help="Those that this member reported.")
@click.option(
    "--order", type=click.Choice(["asc", "desc"]), default="desc", show_default=True, help="Newest first, or last."
)
@click.option("--limit", type=click.IntRange(1, 100), default=30, show_default=True, help="At most so many.")
@click.option("--cursor", help="Go on where an earlier answer ended.")
def list_payments(member: str | None, order: str, limit: int, cursor: str | None) -> None:
    """List payment statements in the order of the log."""
    filters = {name: value for name, value in (("member", member), ("cursor", cursor)) if value is not None}
    found = settings().client().call("payment_list", order=order, limit=limit, **filters)
    show_page(found, [_row(item) for item in found["statements"]], COLUMNS)


def _row(item: dict[str, Any]) -> dict[str, Any]:
    body = item["body"]
    return {**item, **{name: body.get(name) for name in ("side", "status", "message_type", "uetr")}}
