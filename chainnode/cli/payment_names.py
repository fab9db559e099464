"""What commands take as PAYMENT: an event's id, or a payment's UETR or pair key, which mean a member's statements."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from chainnode.cli.context import hash_of
from chainnode.client import NOT_FOUND, CallRefused

if TYPE_CHECKING:
    from chainnode.client import NodeClient


def payment_name(text: str) -> dict[str, str]:
    """Return a payment's name as `payment_get` takes it: `uetr` or `pair_key`; `UsageError` for what cannot be one."""
    if "-" in text:
        return {"uetr": text.lower()}
    return {"pair_key": hash_of(text, "a payment's UETR, pair key or event id")}


def statement_ids(client: NodeClient, payments: Iterable[str], member: str) -> list[str]:
    """Return the ids of what a member stated about payments, each once; what is no payment's name is an event's id."""
    ids: list[str] = []
    for payment in payments:
        name = payment_name(payment)
        try:
            statements = list(client.pages("payment_get", "statements", **name))
        except CallRefused as refused:
            if refused.code != NOT_FOUND or "uetr" in name:
                raise
            ids.append(name["pair_key"])
        else:
            ids += [item["id"] for item in statements if item["member"] == member]
    return list(dict.fromkeys(ids))
