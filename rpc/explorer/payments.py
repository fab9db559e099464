"""Pages of payments: the statements as they came, and one payment with all that both sides said of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from msgspec.structs import astuple

from ledger.totals_rows import TotalsCounts
from rpc.errors import invalid_params
from rpc.explorer.asking import ROWS_A_PAGE, Asked, Page, Redirect, ask, path_to
from rpc.explorer.people import members_of
from rpc.explorer.proofs import payment_steps
from rpc.methods.events import EventResult
from rpc.methods.heights import index_of
from rpc.methods.payment_views import reconcile_payment
from rpc.methods.payments import get_payment, list_payments
from rpc.methods.reconciliation import ReconciledResult

STATEMENTS_SHOWN = 50
_UETR = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PAIR_KEY = re.compile(r"[0-9a-f]{64}")
# What both sides may state in clear and ought to agree on; how far a payment is, each learns in its own time.
COMPARED = ("amount", "currency", "settlement_date", "uetr")

Row = dict[str, Any]  # Any: what a template shows


def payments(asked: Asked) -> Page:
    """Payment statements, the newest first, of one member or of all."""
    member, cursor, order = asked.word("member"), asked.word("cursor"), asked.word("order")
    found = ask(list_payments, asked.services, member=member, limit=ROWS_A_PAGE, order=order, cursor=cursor)
    chosen = {"member": member, "order": order}
    values = {
        "statements": [statement_row(event) for event in found.statements],
        "members": [item.id for item in members_of(asked.services)],
        "chosen": chosen,
        "totals": totals_counts(asked),
        "above": found.above_height,
        "first": path_to("payments", **chosen) if cursor else None,
        "more": path_to("payments", **chosen, cursor=found.cursor) if found.cursor else None,
    }
    return Page("payments.html", "payments.title", values, as_of=found.as_of)


def totals_counts(asked: Asked) -> TotalsCounts | None:
    """Return how many end-of-day totals stand how; None before the index of reconciliation began, or without any."""
    reader = index_of(asked.services).reconciliation
    counts = reader.totals.counts() if reader.height() is not None else TotalsCounts()
    return counts if any(astuple(counts)) else None


def statement_row(event: EventResult) -> Row:
    """Return what pages show of a statement; a schema of a later release is shown by its event alone."""
    body = event.body
    name = body.get("uetr") or body.get("pair_key")
    return {
        "event": event,
        "known": "raw" not in body,
        "body": body,
        "name": name,
        "side": body.get("side", ""),
        "status": body.get("status", ""),
        "amount": body.get("amount"),
        "currency": body.get("currency"),
        "agents": body.get("agents", []),
        "tokens": body.get("tokens", {}),
    }


def payment(asked: Asked) -> Page | Redirect:
    """One payment, by its UETR or by the pair key of two banks."""
    name = asked.parts["name"]
    if name != name.lower():
        return Redirect(path_to("payment", name.lower()))
    by_uetr = _UETR.fullmatch(name) is not None
    if not by_uetr and not _PAIR_KEY.fullmatch(name):
        raise invalid_params("not a payment", where="path", expected="a UETR, or a pair key of 64 hex digits", got=name)
    cursor = asked.word("cursor")
    key = {"uetr": name} if by_uetr else {"pair_key": name}
    found = ask(get_payment, asked.services, **key, limit=STATEMENTS_SHOWN, cursor=cursor)
    rows = [statement_row(event) for event in found.statements]
    known = [row for row in rows if row["known"] and row["event"].outcome.applied]
    fields = compared(known)
    stands = ask(reconcile_payment, asked.services, **key).payments
    judged = [field["agree"] for field in fields if field["agree"] is not None]
    values = {
        "name": name,
        "by_uetr": by_uetr,
        "statements": rows,
        "hops": hops(known),
        "compared": fields,
        "verdict": None if not judged else all(judged),
        "differing": judged.count(False),
        "sides": sides(known),
        "names": other_names(known, name),
        "stands": [standing_row(item) for item in stands],
        "above": found.above_height,
        "steps": payment_steps(),
        "command": "\n".join(f"chainnode prove {row['event'].id} -f {row['event'].id[:12]}.tlog-proof" for row in rows),
        "check": "for proof in *.tlog-proof; do chainnode verify $proof --policy policy; done",
        "first": path_to("payment", name) if cursor else None,
        "more": path_to("payment", name, cursor=found.cursor) if found.cursor else None,
    }
    title = {"name": name if by_uetr else f"{name[:12]}…"}
    return Page("payment.html", "payment.title", values, title, as_of=found.as_of)


def standing_row(item: ReconciledResult) -> Row:
    """Return between whom a payment stands how, and in which fields its sides differ."""
    return {
        "members": item.members,
        "state": item.state,
        "fields": sorted({field for leg in item.legs for field in leg.fields}),
        "pair_key": item.pair_key,
    }


def hops(rows: Sequence[Row]) -> list[Row]:
    """Return the institutions that statements name, in the order of their roles, each with who names it."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        for agent in row["agents"]:
            said = found.setdefault((agent["role"], agent["scheme"], agent["code"]), [])
            if row["event"].member not in said:
                said.append(row["event"].member)
    ranked = sorted(found.items(), key=lambda item: ORDER.get(item[0][0], len(ORDER)))
    return [{"role": role, "scheme": scheme, "code": code, "said": said} for (role, scheme, code), said in ranked]


ORDER = {
    role: place
    for place, role in enumerate(
        (
            *("debtor-agent", "instructing-agent", "acquirer", "intermediary-1", "intermediary-2", "intermediary-3"),
            *("instructed-agent", "issuer", "creditor-agent"),
        )
    )
}


def sides(rows: Sequence[Row]) -> list[Row]:
    """Return the sides that spoke, with the newest statement of each member on it in each hop of the payment."""
    newest: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        newest[row["side"], row["event"].member, row["body"].get("pair_key") or ""] = row
    return [{"side": side, "member": member, "row": row} for (side, member, _), row in newest.items()]


def compared(rows: Sequence[Row]) -> list[Row]:
    """Return what the newest statement of each side says of the same fields, a cell for each side in their order.

    In clear, and by tokens made with the shared secret: what stands under one pair key, since each hop has its own
    secret and may have its own amount. `agree` is None where no two said anything under one; a cell `differs` where it
    is not what the first one under its key said.
    """
    newest = [item["row"] for item in sides(rows)]
    keys = [row["body"].get("pair_key") or "" for row in newest]
    found = [_field(name, keys, [row["body"].get(name) for row in newest], in_clear=True) for name in COMPARED]
    for name in sorted({name for row in newest for name in row["tokens"]}):
        found.append(_field(name, keys, [row["tokens"].get(name) for row in newest], in_clear=False))
    return [field for field in found if any(cell["value"] is not None for cell in field["cells"])]


def _field(name: str, keys: list[str], said: list[Any], *, in_clear: bool) -> Row:  # Any: values of a body
    given: dict[str, list[Any]] = {}
    for key, value in zip(keys, said, strict=True):
        if value:
            given.setdefault(key, []).append(value)
    several = [values for values in given.values() if len(values) > 1]
    agree = all(value == values[0] for values in several for value in values) if several else None
    cells = [
        {"value": value or None, "differs": bool(value) and value != given[key][0]}
        for key, value in zip(keys, said, strict=True)
    ]
    return {"name": name, "cells": cells, "agree": agree, "in_clear": in_clear}


def other_names(rows: Sequence[Row], name: str) -> list[tuple[str, str]]:
    """Return the other names by which statements of this payment go."""
    found = {(kind, row["body"].get(kind)) for row in rows for kind in ("uetr", "pair_key")}
    return sorted((kind, value) for kind, value in found if value and value != name)
