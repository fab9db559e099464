"""`chainnode payment totals`: what two banks count of their payments of a day, stated by each and compared.

Not here: what is counted and compared (`ledger.totals`), how totals are made (`chainnode.totals`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import settings
from chainnode.cli.main import Group
from chainnode.cli.output import Records, join, say, show, show_page, show_rows
from chainnode.cli.reporting import make_ingest_context, reporter_files
from chainnode.cli.submit import member_of_settings, open_door, send_all, timeout_option, wait_option
from primitives.errors import InputError, UsageError

if TYPE_CHECKING:
    from chainnode.client import NodeClient
    from chainnode.ingest.context import IngestContext
    from chainnode.private_store import PrivateStore
    from chainnode.submission import NewEvent
    from chainnode.totals import Counted

Json = dict[str, Any]  # Any: JSON of a node

STATES = ("unstated", "one_sided", "agreed", "differs")
"""The states that `payment_listTotals` takes; a test holds them to the API's."""

LIST_COLUMNS = ("day", "members", "currency", "state", "fields", "stated", "deadline", "differences")
MADE_COLUMNS = ("counterparty", "currency", "flow", "leg", "count", "sum", "theirs", "statements")
LINE_COLUMNS = ("sender", "leg", "member", "stated", "sum", "counted", "fields")
PAYMENT_COLUMNS = ("pair_key", "sender", "leg", "counted_by", "why")
BEHIND_S = 0.1

day_option = click.option("--day", required=True, metavar="YYYY-MM-DD", help="The day of settlement (UTC).")


@click.group(cls=Group)
def totals() -> None:
    """End-of-day totals of two banks: make one's own, and see whether both agree and which payments differ."""


@totals.command()
@day_option
@click.option("--counterparty", help="Those with this member. [default: all]")
@click.option("--currency", help="Those in this currency. [default: all]")
@click.option("--clear-amounts", is_flag=True, help="State the sums in clear, for all members to read.")
@click.option("--submit", is_flag=True, help="State them on the chain, in place of those stated before.")
@wait_option
@timeout_option
def make(
    day: str,
    counterparty: str | None,
    currency: str | None,
    clear_amounts: bool,
    submit: bool,
    wait: str,
    timeout_s: float,
) -> int:
    """Count what this bank has stated of its payments of a day, with the amounts that it kept, and show or state it.

    Of each other bank and currency by itself. What cannot be summed, because an amount was erased or is kept elsewhere,
    is named, and then nothing is stated of that bank and currency.
    """
    from chainnode.private_store import PrivateStore

    client, member = settings().client(timeout_s=timeout_s, token=True), member_of_settings()
    _wait_for_index(client, timeout_s)
    asked: Json = {"day": day, "member": member}
    asked |= {name: value for name, value in (("counterparty", counterparty), ("currency", currency)) if value}
    keys = client.pages("payment_listTotals", "totals", **asked)
    if _is_ahead(day):
        say(f"{day} is not over: payments may still come")
    files = reporter_files()
    context = make_ingest_context(clear_amounts=False, received_ms=0)
    rows: list[Json] = []
    events: list[NewEvent] = []
    failed = 0
    with ExitStack() as opening:
        store = opening.enter_context(PrivateStore(files.private)) if files.private.is_dir() else None
        for found in keys:
            try:
                made, event = _made(
                    client, context, store, found, member, clear_amounts=clear_amounts, nothing=bool(counterparty)
                )
            except (InputError, UsageError) as error:
                say(f"with {_other(found, member)} in {found['currency']}: {error}")
                failed += 1
                continue
            rows += made
            if event is not None:
                events.append(event)
    out = Records()
    status = 1 if failed else 0
    if settings().output != "json":
        show_rows(rows, columns=MADE_COLUMNS)
    if submit and events:
        with open_door(client) as door:
            status = max(status, send_all(client, door, events, out, wait=wait, timeout_s=timeout_s))
    elif events and not settings().machine:
        say(f"{len(events)} to state: run again with --submit")
    if submit and not events and not failed:
        say("nothing new to state")
    if settings().output == "json":
        show({"totals": rows, "events": out.rows})
    return status


def _made(
    client: NodeClient,
    context: IngestContext,
    store: PrivateStore | None,
    found: Json,
    member: str,
    *,
    clear_amounts: bool,
    nothing: bool,
) -> tuple[list[Json], NewEvent | None]:
    """Return what there is with one bank in one currency as rows, and the event to state it.

    No event where it is stated already. That there was `nothing` is stated where it is asked for, and the other bank
    stated something: else whoever states totals would have this bank state as many.
    """
    from chainnode.ingest.privacy import SECRET_SIZE
    from chainnode.submission import NewEvent
    from chainnode.totals import count_payments, kept_amount, make_totals, totals_reference
    from ledger.times import parse_date
    from ledger.totals_bodies import PAYMENT_TOTALS, SCHEMA
    from primitives.encoding import encode

    other, day, currency = _other(found, member), parse_date(found["day"]), found["currency"]
    asked = {"member": member, "counterparty": other, "day": found["day"], "currency": currency, "payments": "all"}
    counted = count_payments(
        client.pages("payment_totals", "payments", **asked),
        member,
        lambda statement: kept_amount(store, statement, currency),
    )
    secret = context.secrets.with_member(other, day) if counted else bytes(SECRET_SIZE)
    if secret is None:
        raise UsageError(
            "no secret is shared with the other bank on this day",
            got=other,
            hint="both announce a pairing key: `chainnode keys pairing new` and `announce`",
        )
    body = make_totals(member, other, day, currency, counted, secret, clear_amounts=clear_amounts)
    answer = client.call("payment_totals", limit=1, **asked)
    rows = list(
        _rows(answer, counted, {(line.flow.value, line.leg.value): line.token.hex() for line in body.lines}, member)
    )
    before = next((one["event_id"] for one in answer["totals"]["stated"] if one["member"] == member), "")
    if before:
        is_stated = _stated_body(client, before) == encode(body)
    else:
        is_stated = not counted and not (nothing and answer["totals"]["stated"])
    if is_stated:
        return rows, None
    where = f"totals with {other} of {found['day']} in {currency}"
    reference = totals_reference(body, bytes.fromhex(before))
    return rows, NewEvent(PAYMENT_TOTALS, SCHEMA, encode(body), where, reference)


def _rows(answer: Json, counted: list[Counted], tokens: Mapping[tuple[str, str], str], member: str) -> Iterator[Json]:
    """Yield a row for each line that a bank counts or the other one stated."""
    from ledger.currencies import decimal_text

    found = answer["totals"]
    other, currency = _other(found, member), found["currency"]
    theirs = {}
    for line in answer["lines"]:
        side = next(one for one in line["sides"] if one["member"] == other)
        theirs["sent" if line["sender"] == member else "received", line["leg"]] = side["stated"]
    ours = {(one.flow.value, one.leg.value): one for one in counted}
    for at in sorted(ours.keys() | {at for at, said in theirs.items() if said is not None and said["count"]}):
        one, said = ours.get(at), theirs.get(at)
        if said is None:
            word = "not stated"
        elif one is None or (said["count"], said["token"]) != (len(one.names), tokens[at]):
            word = f"differs: {said['count']}" if one is None or said["count"] != len(one.names) else "differs: sum"
        else:
            word = "agrees"
        yield {
            "counterparty": other,
            "currency": currency,
            "flow": at[0],
            "leg": at[1],
            "count": 0 if one is None else len(one.names),
            "sum": "-" if one is None else decimal_text(one.amount, currency),
            "theirs": word,
            "statements": f"{found['differences']} unlike" if found["differences"] else "alike",
        }


def _stated_body(client: NodeClient, event_id: str) -> bytes:
    from ledger.event_json import body_from_json

    body = client.call("ledger_getEvent", event_id=event_id)["event"]["body"]
    return body_from_json("payment.totals", body)[2]


def _other(found: Json, member: str) -> str:
    return next(str(name) for name in found["members"] if name != member)


def _is_ahead(day: str) -> bool:
    from ledger.times import day_of, parse_date

    return parse_date(day, where="--day") >= day_of(time.time_ns() // 1_000_000)


def _wait_for_index(client: NodeClient, timeout_s: float) -> None:
    """Wait until the index of reconciliation holds what is committed now: it may lag, and the totals would be short."""
    height, end_s = client.call("net_status")["height"], time.monotonic() + timeout_s
    while True:
        reached = client.call("payment_listTotals", limit=1)["as_of"]
        if reached >= height:
            return
        if time.monotonic() >= end_s:
            raise UsageError(
                "the index of reconciliation lags behind", expected=height, got=reached, hint="run again later"
            )
        time.sleep(BEHIND_S)


@totals.command("list")
@click.option("--member", help="Those of this member.")
@click.option("--counterparty", help="Those with this member.")
@click.option("--day", metavar="YYYY-MM-DD", help="Those of this day.")
@click.option("--currency", help="Those in this currency.")
@click.option("--state", type=click.Choice(STATES), help="Those that stand so.")
@click.option(
    "--order", type=click.Choice(("asc", "desc")), default="desc", show_default=True, help="Newest day first, or last."
)
@click.option("--limit", type=click.IntRange(1, 100), default=30, show_default=True, help="At most so many.")
@click.option("--cursor", help="Go on where an earlier answer ended.")
def list_totals(order: str, limit: int, **filters: str | None) -> None:
    """List end-of-day totals by how both banks' stand, and count them by state."""
    asked = {name: value for name, value in filters.items() if value is not None}
    answer = settings().client().call("payment_listTotals", order=order, limit=limit, **asked)
    rows = answer["totals"]
    if settings().machine:
        show_page(answer, rows, LIST_COLUMNS)
        return
    show_page(answer, [_list_row(row) for row in rows], LIST_COLUMNS)
    say(", ".join(f"{answer['counts'][state]} {state}" for state in STATES[1:]))


def _list_row(item: Json) -> Json:
    return {
        **item,
        "members": join(item["members"]),
        "state": item["state"] + (" (overdue)" if item["overdue"] else ""),
        "fields": join(item["fields"]),
        "stated": join(one["member"] for one in item["stated"]),
    }


@totals.command("show")
@click.argument("member")
@click.argument("counterparty")
@day_option
@click.option("--currency", default="CNY", show_default=True, help="In this currency.")
@click.option("--all", "is_all", is_flag=True, help="List all payments, not only those that both do not count alike.")
@click.option("--limit", type=click.IntRange(1, 100), default=100, show_default=True, help="At most so many payments.")
@click.option("--cursor", help="Go on where an earlier answer ended.")
def show_totals(
    member: str, counterparty: str, day: str, currency: str, is_all: bool, limit: int, cursor: str | None
) -> None:
    """Show the totals of MEMBER and COUNTERPARTY line by line, and the payments that make the difference."""
    asked: Json = {"member": member, "counterparty": counterparty, "day": day, "currency": currency, "limit": limit}
    asked |= {"payments": "all" if is_all else "differences"} | ({} if cursor is None else {"cursor": cursor})
    answer = settings().client().call("payment_totals", **asked)
    if settings().machine:
        show_page(answer, answer["payments"], PAYMENT_COLUMNS)
        return
    found = answer["totals"]
    row = _list_row(found)
    say(f"{row['members']} on {found['day']} in {currency}: {row['state']}, {row['fields']}; as of {answer['time']}")
    show_rows([each for line in answer["lines"] for each in _line_rows(line)], columns=LINE_COLUMNS)
    if answer["payments"]:
        show_page(answer, [_payment_row(item, found) for item in answer["payments"]], PAYMENT_COLUMNS)
    elif not is_all:
        say("both count the same payments")


def _line_rows(line: Json) -> Iterator[Json]:
    for side in line["sides"]:
        said = side["stated"]
        unlike = f"own statements: {join(side['unlike_statements'])}" if side["unlike_statements"] else ""
        yield {
            "sender": line["sender"],
            "leg": line["leg"],
            "member": side["member"],
            "stated": "-" if said is None else said["count"],
            "sum": "-" if said is None else said["amount"] or (said["token"] or "-")[:16],
            "counted": side["counted"],
            "fields": join(filter(None, [*line["fields"], unlike])),
        }


def _payment_row(item: Json, found: Json) -> Json:
    counting = [one["member"] for one in item["counted_by"]]
    missing = [name for name in found["members"] if name not in counting]
    why = ["amounts differ"] if item["amounts_differ"] else [f"{name} does not count it" for name in missing]
    why += [f"{at['member']} counts it on {at['day']} in {at['currency']}" for at in item["elsewhere"]]
    return {**item, "counted_by": join(counting), "why": join(why)}
