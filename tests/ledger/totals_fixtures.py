"""Banks' totals and statements on a chain, for the index of totals and what the API says of it."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from ledger.events import Event
from ledger.reconciliation_statements import totals_in
from ledger.rules import RULES_PAYMENTS
from ledger.totals import payments_root
from ledger.totals_bodies import PAYMENT_TOTALS, SCHEMA, Flow, PaymentTotals, TotalsLeg, TotalsLine
from primitives.encoding import encode
from tests.ledger.reconciliation_fixtures import Books as Statements

TOTALS_DAY = 2026_01_01
"""The day of what `Books` tells: the messages bear no settlement date, and are of the first day."""

__all__ = ["TOTALS_DAY", "Books", "key", "line", "totals", "totals_in"]


def key(number: int) -> bytes:
    """Return a pair key."""
    return sha256(b"payment %d" % number).digest()


def line(
    flow: Flow, pair_keys: Iterable[bytes], amount: int | str = "1", leg: TotalsLeg = TotalsLeg.PAYMENT, **changed: Any
) -> TotalsLine:
    """Return a line over payments; its token is the same where leg and `amount` are."""
    keys = list(pair_keys)
    token = sha256(f"{leg} {amount}".encode()).digest()[:16]
    fields = {"count": len(keys), "amount": None, "token": token, "payments_root": bytes(payments_root(keys))}
    return TotalsLine(flow, leg, **(fields | changed))


def totals(counterparty: str, *lines: TotalsLine, day: int = TOTALS_DAY, currency: str = "CNY") -> PaymentTotals:
    """Return a body."""
    return PaymentTotals(counterparty, day, currency, lines)


class Books(Statements):
    """A chain of four banks that also state totals."""

    def __init__(self, rules: int = RULES_PAYMENTS) -> None:
        super().__init__(rules)

    def tell(self, member: str, **fields: Any) -> None:
        """Commit a member's statement in a block of its own, without a settlement date unless told."""
        super().tell(member, **({"settlement_date": 0} | fields))

    def total(self, member: str, body: PaymentTotals) -> None:
        """Commit a member's totals in a block of their own."""
        node = self.node
        node.member = member
        node.references += 1
        reference = sha256(b"totals %d" % node.references).digest()[:16]
        event = Event(member, reference, node.now + 3_600_000, PAYMENT_TOTALS, SCHEMA, encode(body))
        node.commit(node.batch([encode(event)]))
