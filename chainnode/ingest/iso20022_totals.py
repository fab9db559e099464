"""What headers of a message say about all of its transactions: how many, in which currency, and of which sum.

A control sum is the sum of numbers whatever their currency; a total has one. Amounts of several currencies in one
message of transfers, one group of an initiation or one account's entries are refused: nobody could hold a sum of them
against anything. Source: the ISO 20022 message definition reports (NumberOfTransactions, ControlSum, Total...).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chainnode.ingest.errors import MessageError
from chainnode.ingest.iso20022_fields import in_sum_units, line_of, read_amount, read_sum
from chainnode.ingest.iso20022_xml import Node
from chainnode.ingest.parsed import Amount, ParsedPayment

_COUNT = re.compile("[0-9]{1,15}")  # Max15NumericText


@dataclass(slots=True)
class Tally:
    """What is counted over transactions; `complete` is False once one of them could not be read."""

    node: Node
    one_currency: bool = False
    count: int = 0
    sum_units: int = 0
    currency: str = ""
    complete: bool = True

    def add(self, amounts: Sequence[Amount], transaction: Node) -> None:
        """Count the amounts of one more transaction; MessageError for one of another currency than those before."""
        for amount in amounts:
            self.sum_units += in_sum_units(amount)
            if amount.currency != self.currency:
                if self.currency and self.one_currency:
                    raise MessageError(
                        "currencies mixed",
                        where=line_of(transaction),
                        expected=f"{self.currency}, as in the transactions of {self.node.tag} before",
                        got=amount.currency,
                        hint="send a message of its own for each currency",
                    )
                self.currency = amount.currency


def payment_amounts(_transaction: Node, payments: Sequence[ParsedPayment]) -> list[Amount]:
    """Return the amounts that a control sum covers: those of the payments, where they have one."""
    return [payment.amount for payment in payments if payment.amount is not None]


def check_tally(
    tally: Tally, header: Node, count: tuple[str, ...], control_sum: tuple[str, ...], total_name: str = ""
) -> None:
    """Raise MessageError where count, control sum or total in `header` are not those of the transactions."""
    number = header.one(*count)
    if number is not None and number.text.strip().lstrip("0") != str(tally.count):
        expected = number.text.strip()
        raise MessageError(
            "count of transactions does not agree",
            where=line_of(number),
            expected=expected if _COUNT.fullmatch(expected) else "a number",
            got=tally.count,
        )
    if not tally.complete:
        return  # without the bad transaction's amount there is no sum to hold the header against
    control = header.one(*control_sum)
    if control is not None and read_sum(control) != tally.sum_units:
        raise MessageError(
            "control sum does not agree", where=line_of(control), expected="the transactions' sum", got="another"
        )
    total = header.one(total_name) if total_name else None
    if total is not None:
        amount = read_amount(total)
        if tally.currency != amount.currency or in_sum_units(amount) != tally.sum_units:
            raise MessageError(
                "total does not agree", where=line_of(total), expected="the transactions' sum", got="another"
            )
