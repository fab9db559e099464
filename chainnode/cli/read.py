"""Reading the ledger: `get`, `block`."""

from __future__ import annotations

from typing import Any

import click

from chainnode.cli.context import HASH_DIGITS, event_id_of, hash_of, settings
from chainnode.cli.output import show
from primitives.errors import UsageError


@click.command()
@click.argument("event_id")
def get(event_id: str) -> int:
    """Show event EVENT_ID: who said what, where it stands, and what became of it. Status 5 while it is pending."""
    from chainnode.client import NOT_FOUND, CallRefused

    name = event_id_of(event_id)
    client = settings().client()
    try:
        show(client.call("ledger_getEvent", event_id=name))
        return 0
    except CallRefused as refused:
        if refused.code != NOT_FOUND:
            raise
        # It is in no block: this node's gateway may have accepted or refused it.
        standing = client.call("ledger_getStatus", event_id=name)
        if standing["status"] not in ("Pending", "Refused"):
            raise
    show(standing)
    return 5 if standing["status"] == "Pending" else 1


@click.command()
@click.argument("height")
@click.option("--events", is_flag=True, help="Its events too.")
def block(height: str, events: bool) -> None:
    """Show the block at HEIGHT (a number, earliest or latest), or of a hash."""
    client = settings().client()
    found = client.call("ledger_getBlock", **_block_named(height))
    if events:
        found["events"] = _events(found["header"]["height"])
    show(found)


def _block_named(text: str) -> dict[str, Any]:
    """Return the parameter that an argument means: a height, a word, or a hash."""
    if len(text) == HASH_DIGITS:
        return {"hash": hash_of(text, "a block's hash")}
    if text in ("earliest", "latest"):
        return {"height": text}
    if not text.isascii() or not text.isdigit():
        expected = f"a height, earliest, latest, or a hash of {HASH_DIGITS} hex digits"
        raise UsageError("names no block", expected=expected, got=text[:HASH_DIGITS])
    return {"height": int(text)}


def _events(height: int) -> list[Any]:  # Any: JSON of a node
    client = settings().client()
    rows: list[Any] = []
    page: dict[str, Any] = {}
    while True:
        found = client.call("ledger_getBlockEvents", height=height, limit=100, **page)
        rows += found["events"]
        if not found["cursor"]:
            return rows
        page = {"cursor": found["cursor"]}
