"""Payments that a load submits: statements that name nobody, alike but for their salt.

Shared with the tests that drive real processes (tests/e2e). Not here: who submits them, and when (`load`).
"""

from __future__ import annotations

from typing import Final

from ledger.events import TIME_MS_MAX, Event
from ledger.payments import PAYMENT_STATEMENT, Channel, PaymentStatement, Side, Status
from primitives.encoding import encode
from primitives.ids import TimeMs

TIME_MS: Final = TimeMs(1_790_000_000_000)


def statement(salt: bytes) -> PaymentStatement:
    """Return a payment statement that only this salt makes."""
    return PaymentStatement(
        salt=salt,
        side=Side.DEBTOR,
        message_type="pacs.008",
        status=Status.ACCEPTED,
        reason="",
        amount=12_345,
        currency="CNY",
        amount_commitment=b"",
        settlement_date=2026_01_02,
        agents=[],
        channel=Channel.QR,
        uetr=b"",
        reference_commitment=bytes(32),
        pair_key=b"",
        tokens=[],
        fields_root=bytes(32),
        terminal_certificate="",
        source_digest=bytes(32),
        time_ms=TIME_MS,
    )


def payment(member: str, reference: bytes, body: PaymentStatement, *, expires_ms: int = TIME_MS_MAX) -> bytes:
    """Return the canonical bytes of a payment event."""
    return encode(Event(member, reference, expires_ms, PAYMENT_STATEMENT, 1, encode(body)))
