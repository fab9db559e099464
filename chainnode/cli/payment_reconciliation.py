"""`chainnode payment reconcile` and `payment trace`: what both sides of payments say together, and a payment's way.

Not here: what statements say together (`ledger.reconciliation`), and the lists (`rpc.methods.reconciliation`).
"""

from __future__ import annotations

from typing import Any

import click

from chainnode.cli.context import hash_of, settings
from chainnode.cli.output import join, say, show_page
from chainnode.cli.reporting import reporter_files

STATES = ("matched", "one_sided", "orphan", "mismatch", "equivocation")
"""The states that `payment_listReconciliation` takes; a test holds them to the API's."""

COLUMNS = ("since", "members", "state", "what", "missing", "deadline", "pair_key")
STEPS = ("stated", "member", "side", "status", "message_type", "time", "height", "event_id")


@click.command()
@click.option("--member", help="Those of this member.")
@click.option("--counterparty", help="Those with this member.")
@click.option("--state", type=click.Choice(STATES), help="Those that stand so.")
@click.option("--day", metavar="YYYY-MM-DD", help="Those of which the first statement came on this day (UTC).")
@click.option(
    "--order", type=click.Choice(("asc", "desc")), default="desc", show_default=True, help="Newest first, or last."
)
@click.option("--limit", type=click.IntRange(1, 100), default=30, show_default=True, help="At most so many.")
@click.option("--cursor", help="Go on where an earlier answer ended.")
@click.option("--kept", is_flag=True, help="Show beside it what this bank keeps: its reference and amount, in clear.")
def reconcile(order: str, limit: int, kept: bool, **filters: str | None) -> None:
    """List payments by how both sides' statements stand to each other, and count them by state."""
    asked = {name: value for name, value in filters.items() if value is not None}
    answer = settings().client().call("payment_listReconciliation", order=order, limit=limit, **asked)
    rows = answer["payments"]
    if kept:
        put_kept_beside(rows)
    if settings().machine:
        show_page(answer, rows, COLUMNS)
        return
    shown = [row_of(row) | (row.get("kept") or {}) for row in rows]
    show_page(answer, shown, (*COLUMNS[:-1], "reference", "amount", "pair_key") if kept else COLUMNS)
    counts = answer["counts"]
    hours = answer["answer_within_ms"] / 3_600_000
    say(", ".join(f"{counts[state]} {state}" for state in STATES) + f"; {counts['unpaired']} that stand alone")
    say(f"as of block {answer['as_of']} ({answer['time']}); the other side may take {hours:g} hours")


def put_kept_beside(rows: list[dict[str, Any]]) -> None:  # Any: JSON
    """Put into each payment, as `kept`, reference and amount as this bank stated them; None where it keeps nothing."""
    from chainnode.kept_payments import kept_payment
    from chainnode.private_store import PrivateStore

    files = reporter_files()
    with PrivateStore(files.private) as store:
        for row in rows:
            told = [one for leg in row["legs"] for one in leg["statements"] if one["member"] == files.member]
            here = [each for one in told if store.holds(each := bytes.fromhex(one["event_id"]))]
            values = kept_payment(store, here[0]).row() if here else None
            row["kept"] = None if values is None else {name: values[name] for name in ("reference", "amount")}


def row_of(item: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    """Return a payment as a line: what is not as it should be, and who owes a statement until when."""
    told = [one for leg in item["legs"] for one in leg["statements"]]
    waiting = [leg for leg in item["legs"] if leg["missing"]]
    return {
        "since": min(one["time"] for one in told),
        "members": join(item["members"]),
        "state": item["state"] + (" (intruder)" if item["intruder"] else ""),
        "what": join(what for leg in item["legs"] for what in _what(leg)),
        "missing": join(sorted({member for leg in waiting for member in leg["missing"]})),
        "deadline": min((leg["deadline"] for leg in waiting), default="-"),
        "pair_key": item["pair_key"],
    }


def _what(leg: dict[str, Any]) -> list[str]:
    """Return what is to be said of a leg, each with the leg's name unless it is the payment itself."""
    name = "" if leg["leg"] == "payment" else f"{leg['leg']}: "
    said = [f"{name}{field}" for field in leg["fields"]]
    said += [f"{name}{field} tolerated" for field in leg["tolerated"]]
    said += [f"{name}two statements ({join(found['fields'])})" for found in leg["equivocations"]]
    said += [f"{name}late"] if leg["late"] else []
    return said or ([] if not name else [f"{name}{leg['state']}"])


@click.command()
@click.argument("payment_id", metavar="PAYMENT")
@click.option("--limit", type=click.IntRange(1, 100), default=100, show_default=True, help="At most so many steps.")
@click.option("--cursor", help="Go on where an earlier answer ended.")
def trace(payment_id: str, limit: int, cursor: str | None) -> None:
    """Show PAYMENT (its UETR, or the pair key of two banks) from end to end: hops, statements and times."""
    name = payment_id.lower() if "-" in payment_id else hash_of(payment_id, "a payment's UETR or pair key")
    asked: dict[str, Any] = {"uetr" if "-" in name else "pair_key": name, "limit": limit}
    answer = settings().client().call("payment_trace", **asked, **({} if cursor is None else {"cursor": cursor}))
    show_page(answer, answer["steps"], STEPS)
    if settings().machine:
        return
    for hop in answer["hops"]:
        say(f"{hop['role']}: {hop['code']} ({join(hop['stated_by'])})")
    for item in answer["payments"]:
        row = row_of(item)
        what = "" if row["what"] == "-" else f", {row['what']}"
        say(f"between {row['members']}: {row['state']}{what}")
    say(f"initiated {answer['initiated'] or '-'}, settled {answer['settled'] or '-'}")
