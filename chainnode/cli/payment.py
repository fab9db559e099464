"""`chainnode payment`: what banks have stated about payments."""

from __future__ import annotations

import click

from chainnode.cli.context import settings
from chainnode.cli.main import Group
from chainnode.cli.output import show


@click.group(cls=Group)
def payment() -> None:
    """Payments and their audit trail."""


@payment.command("show")
@click.argument("event_id")
def show_payment(event_id: str) -> None:
    """Show the payment statement EVENT_ID, and the other side's where it is there."""
    show(settings().client().call("payment_get", event_id=event_id))
