"""Card messages of ISO 8583 about generated payments: what each is about, and its bytes.

Acquirer and issuer both have every message. A payment's reference is that by which the adapter knows it: transmission
time, trace number and acquirer of its request, which reversals and refunds name in field 90. Times are those of the
local network's card network. Not here: which payments there are (`chainnode.generating`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import iso8583
from msgspec.structs import replace

from chainnode.generating_profiles import MINOR_MAX
from chainnode.ingest.iso8583_fields import SPECIFICATIONS
from chainnode.ingest.parsed import Amount, ParsedPayment
from chainnode.localnet_cards import BEIJING_MINUTES, SWITCH
from ledger.currencies import NUMBERS
from ledger.payments import AgentRole, Channel, Status
from primitives.ids import TimeMs

CARD: Final = "iso8583."
REQUEST, ANSWER, REVERSAL = f"{CARD}0200", f"{CARD}0210", f"{CARD}0420"
CARD_MINOR_MAX: Final = min(MINOR_MAX, 10**12 - 1)
TRACES: Final = 1_000_000
_DECLINED: Final = ("05", "14", "51", "61")
_GOODS, _CASH, _REFUND = "000000", "010000", "200000"
_OWN_TRACE: Final = TRACES // 2
"""What a reversal's or refund's trace number is above its original's: no two of an acquirer in a second are alike."""


def card_payment(payment: ParsedPayment, acquirer: str, number: int) -> ParsedPayment:
    """Return a payment as its request tells of it; `number` is that of the payment in its day."""
    assert payment.amount is not None, "a card payment has an amount"
    trace, created_ms = f"{number % TRACES:06d}", _whole_second(payment.created_ms)
    return replace(
        payment,
        message_type=REQUEST,
        created_ms=created_ms,
        amount=Amount(min(payment.amount.minor, CARD_MINOR_MAX), payment.amount.currency),
        end_to_end_id=f"{_transmitted(created_ms)}{trace}{acquirer.zfill(11)}",
        transaction_id=f"{number % 10**12:012d}",
        message_id=trace,
    )


def card_outcome(payment: ParsedPayment, status: Status, time_ms: int, number: int) -> ParsedPayment:
    """Return the message that tells what became of a payment: an answer, or a reversal or refund of its own time."""
    if status in (Status.REJECTED, Status.SETTLED):  # a card payment is settled with its day; its answer approves it
        declined = f"00{_DECLINED[number % len(_DECLINED)]}"
        return replace(
            payment,
            message_type=ANSWER,
            status=Status.REJECTED if status is Status.REJECTED else Status.ACCEPTED,
            reason=declined if status is Status.REJECTED else "",
        )
    return replace(
        payment,
        message_type=REVERSAL if status is Status.REVERSED else REQUEST,
        status=status,
        created_ms=_whole_second(time_ms),
        message_id=f"{(int(payment.message_id) + _OWN_TRACE) % TRACES:06d}",
    )


def card_frame(payment: ParsedPayment, institutions: Mapping[str, str]) -> bytes:
    """Return a message behind its length, as between members of UnionPay; `institutions` are the codes of BICs."""
    raw = bytes(iso8583.encode(_fields(payment, institutions), SPECIFICATIONS["unionpay", "right"])[0])
    return len(raw).to_bytes(2, "big") + raw


def _fields(payment: ParsedPayment, institutions: Mapping[str, str]) -> dict[str, str]:
    amount, acquirer, issuer = payment.amount, payment.agent(AgentRole.ACQUIRER), payment.agent(AgentRole.ISSUER)
    assert amount is not None, "a card message has an amount"
    assert acquirer is not None, "and an acquirer"
    assert issuer is not None, "and an issuer"
    sent = _transmitted(payment.created_ms)
    is_cash, code = payment.channel is Channel.ATM, institutions[acquirer.code]
    processing = _REFUND if payment.status is Status.RETURNED else _CASH if is_cash else _GOODS
    fields = {
        "t": payment.message_type.removeprefix(CARD),
        "2": payment.debtor.account,
        "3": processing,
        "4": f"{amount.minor:012d}",
        "7": sent,
        "11": payment.message_id,
        "12": sent[4:],
        "13": sent[:4],
        "15": f"{payment.settlement_date % 10_000:04d}",
        "18": "6011" if is_cash else "5411",
        "22": "051",
        "25": "00",
        "32": code,
        "33": SWITCH[0],
        "37": payment.transaction_id,
        "41": payment.creditor.account[-8:],
        "42": payment.creditor.account,
        "43": payment.creditor.name.ljust(40),
        "49": NUMBERS[amount.currency],
        "100": institutions[issuer.code],
    }
    if payment.message_type == ANSWER:
        fields["39"] = payment.reason[2:] or "00"
    if payment.status in (Status.REVERSED, Status.RETURNED):
        reference = payment.end_to_end_id
        fields["90"] = f"0200{reference[10:16]}{reference[:10]}{reference[16:]}{SWITCH[0].zfill(11)}"
    return fields


def _transmitted(time_ms: int) -> str:
    at = datetime.fromtimestamp(time_ms // 1_000 + BEIJING_MINUTES * 60, UTC)
    return at.strftime("%m%d%H%M%S")


def _whole_second(time_ms: int) -> TimeMs:
    return TimeMs(time_ms // 1_000 * 1_000)
