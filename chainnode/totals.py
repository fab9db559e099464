"""Making a bank's end-of-day totals: of what its statements on the chain count, and the amounts that it kept of them.

Here: sums, tokens and roots, and the event's reference. Not here: what is counted (`ledger.totals`, which the node has
indexed), the command. Source: domain §4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from chainnode.ingest.parsed import Amount
from chainnode.ingest.privacy import PrivateField, sum_token, totals_key
from chainnode.kept_payments import kept_payment
from chainnode.private_store import PrivateStore
from ledger.currencies import MINOR_UNITS_MAX, minor_units
from ledger.totals import payments_root
from ledger.totals_bodies import Flow, PaymentTotals, TotalsLeg, TotalsLine, check_totals
from primitives.encoding import encode
from primitives.errors import UsageError
from primitives.hashing import DOMAIN

REFERENCE_BYTES: Final = 16
Json = Mapping[str, Any]  # Any: JSON of a node

AmountOf = Callable[[Json], int]
"""From a statement as `payment_totals` names it to its amount in minor units."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a bank counts on one line: names of payments and returns, and their sum in minor units."""

    flow: Flow
    leg: TotalsLeg
    names: tuple[bytes, ...]
    amount: int


def count_payments(payments: Iterable[Json], member: str, amount_of: AmountOf) -> list[Counted]:
    """Return what `member` counts of a list of `payment_totals`, line by line, ascending."""
    lines: dict[tuple[Flow, TotalsLeg], dict[bytes, int]] = {}
    for item in payments:
        own = next((one for one in item["counted_by"] if one["member"] == member), None)
        if own is not None:
            at = Flow.SENT if item["sender"] == member else Flow.RECEIVED, TotalsLeg(item["leg"])
            lines.setdefault(at, {})[bytes.fromhex(item["pair_key"] + item["part"])] = amount_of(own)
    return [Counted(flow, leg, tuple(found), sum(found.values())) for (flow, leg), found in sorted(lines.items())]


def make_totals(
    member: str,
    counterparty: str,
    day: int,
    currency: str,
    counted: Iterable[Counted],
    pair_secret: bytes,
    *,
    clear_amounts: bool = False,
) -> PaymentTotals:
    """Return the totals that state what was counted; UsageError for a sum that is too large to stand in clear."""
    key = totals_key(pair_secret, (member, counterparty), day, currency)
    lines = []
    for one in counted:
        if clear_amounts and one.amount > MINOR_UNITS_MAX:
            expected = f"at most {len(str(MINOR_UNITS_MAX))} digits in minor units"
            raise UsageError("sum too large to stand in clear", expected=expected, hint="leave out --clear-amounts")
        sender = member if one.flow is Flow.SENT else counterparty
        lines.append(
            TotalsLine(
                flow=one.flow,
                leg=one.leg,
                count=len(one.names),
                amount=one.amount if clear_amounts else None,
                token=sum_token(key, sender, one.leg.value, Amount(one.amount, currency).text()),
                payments_root=bytes(payments_root(one.names)),
            )
        )
    body = PaymentTotals(counterparty, day, currency, tuple(lines))
    check_totals(body)
    return body


def totals_reference(body: PaymentTotals, replaced: bytes) -> bytes:
    """Return the reference of an event: one that replaces others differs, also where it goes back to what was said."""
    return sha256(DOMAIN + b"payment-totals\0" + replaced + encode(body)).digest()[:REFERENCE_BYTES]


def kept_amount(store: PrivateStore | None, statement: Json, currency: str) -> int:
    """Return a statement's amount in minor units: in clear on the chain, or out of what was kept of it.

    Raises `NotKept`, `Erased`, `PrivateStoreDamaged`; UsageError where nothing is kept here, or another currency.
    """
    if statement["amount"] is not None:
        return minor_units(statement["amount"], currency)
    if store is None:
        raise UsageError(
            "nothing is kept here of payments",
            got=statement["event_id"],
            hint="make the totals at the home that stated them",
        )
    kept = kept_payment(store, bytes.fromhex(statement["event_id"]))
    named, _, amount = kept.text(PrivateField.AMOUNT).partition(" ")
    if named != currency:
        raise UsageError("kept amount is of another currency", expected=currency, got=named or "none")
    return minor_units(amount, currency)
