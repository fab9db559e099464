"""End-of-day totals as one bank states them: of its payments with another on a day in a currency, by leg and flow.

Here: the body of kind 33 `payment.totals`, the pure check of its shape, and the kind, which is only recorded. Not
here: what two banks' totals say together (`ledger.totals`), how a bank makes them (`chainnode.totals`). Source:
domain §4.

A sum is in a keyed token that both banks can make and nobody else can guess; it is in clear where its bank chooses so.
Which payments are counted is public anyway, by pair keys: their root says that both counted the same ones.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Final

from msgspec import Meta

from ledger.kinds import KindSpec
from ledger.members import MEMBER_ID_PATTERN, Role
from ledger.payments import CalendarDate, Digest, MinorUnits, Token, is_date
from ledger.rules import RULES_PAYMENTS
from primitives.encoding import Record
from primitives.errors import InputError

PAYMENT_TOTALS: Final = 33
SCHEMA: Final = 1
COUNT_MAX: Final = 1_000_000_000


class Flow(StrEnum):
    """Which way the money went, as the member sees it that states the totals."""

    RECEIVED = "received"
    SENT = "sent"


class TotalsLeg(StrEnum):
    """What is counted. What was rejected never moved, and is not."""

    PAYMENT = "payment"
    RETURN = "return"
    REVERSAL = "reversal"


LINES_MAX: Final = len(Flow) * len(TotalsLeg)

Counterparty = Annotated[str, Meta(pattern=MEMBER_ID_PATTERN, max_length=64)]
TotalsCurrency = Annotated[str, Meta(pattern=r"\A[A-Z]{3}\Z", max_length=3)]


class TotalsLine(Record):
    """How many payments of a leg went one way, and how much they come to.

    `amount` is the sum in minor units, None where it is not stated in clear; `token` is the sum under a key of both
    banks (`chainnode.ingest.privacy.sum_token`); `payments_root` is the RFC 6962 root over the pair keys, ascending.
    """

    flow: Flow
    leg: TotalsLeg
    count: Annotated[int, Meta(ge=1, le=COUNT_MAX)]
    amount: MinorUnits | None
    token: Token
    payments_root: Digest


class PaymentTotals(Record):
    """What a bank counts of its payments with `counterparty` whose messages are of a day (YYYYMMDD, UTC).

    `lines` ascend by flow and leg, each once; of what has no line there was nothing.
    """

    counterparty: Counterparty
    day: CalendarDate
    currency: TotalsCurrency
    lines: Annotated[tuple[TotalsLine, ...], Meta(max_length=LINES_MAX)]


def check_totals(body: PaymentTotals) -> None:
    """Raise InputError where totals are of no day, or of one line twice."""
    if not is_date(body.day):
        raise InputError("not a calendar date", expected="YYYYMMDD", got=body.day)
    keys = [(line.flow, line.leg) for line in body.lines]
    if any(left >= right for left, right in pairwise(keys)):
        got = [f"{flow} {leg}" for flow, leg in keys]
        raise InputError("lines out of order", expected="strictly ascending by flow and leg", got=got)


TOTALS_KINDS: tuple[KindSpec, ...] = (
    KindSpec(
        kind=PAYMENT_TOTALS,
        name="payment.totals",
        schemas={SCHEMA: PaymentTotals},
        changes_state=False,
        check_shape=check_totals,
        roles=frozenset({Role.BANK, Role.SWITCH}),
        rules_min=RULES_PAYMENTS,
    ),
)
