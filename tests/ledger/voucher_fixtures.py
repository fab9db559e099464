"""A wallet that pays without a connection, and a bank that stands for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from ledger.voucher_bodies import (
    NO_VOUCHER,
    RedeemVouchers,
    RegisterWallet,
    Voucher,
    voucher_hash,
    voucher_statement,
    wallet_id,
    wallet_statement,
)
from ledger.wallet_records import Wallet, read_wallet
from tests.ledger.governance_fixtures import DAY_MS, START_MS, bank, key_of
from tests.ledger.payment_council import Paying


@dataclass
class Device:
    """A wallet of a name on a council's chain."""

    council: Paying
    name: str = "wallet"

    def __post_init__(self) -> None:
        self.key = key_of(self.name, "wallet")
        self.id = wallet_id(self.council.chain_id, self.key.public)

    def registration(self, member: str = bank(0), **changes: Any) -> RegisterWallet:
        """Return the event's body by which a bank registers the wallet."""
        body = RegisterWallet(
            key=self.key.public,
            currency="CNY",
            amount_max=50_000,
            count_max=10,
            age_max_s=86_400,
            valid_from_ms=START_MS,
            valid_until_ms=START_MS + 30 * DAY_MS,
            holder_commitment=bytes(32),
            proof=self.key.sign(wallet_statement(self.council.chain_id, member, self.key.public)),
        )
        return replace(body, **changes)

    def registered(self, **changes: Any) -> Device:
        """Have the first bank register the wallet, and return it."""
        outcome = self.council.say(bank(0), self.registration(**changes))
        assert outcome.applied, outcome
        return self

    def voucher(self, counter: int, previous: Voucher | None = None, **changes: Any) -> Voucher:
        """Return a voucher; `changes` are signed as well, but for `signature` itself."""
        unsigned = Voucher(
            key=self.key.public,
            counter=counter,
            previous=NO_VOUCHER if previous is None else self.hash(previous),
            payee_commitment=bytes([7]) * 32,
            amount=1_250,
            currency="CNY",
            issued_at_ms=self.council.now_ms,
            signature=bytes(64),
        )
        unsigned = replace(unsigned, **{name: value for name, value in changes.items() if name != "signature"})
        signature = self.key.sign(voucher_statement(self.council.chain_id, unsigned))
        return replace(unsigned, signature=changes.get("signature", signature))

    def chain(self, count: int) -> list[Voucher]:
        """Return the wallet's first vouchers."""
        made: list[Voucher] = []
        for counter in range(count):
            made.append(self.voucher(counter, made[-1] if made else None))
        return made

    def hash(self, voucher: Voucher) -> bytes:
        """Return a voucher's hash."""
        return voucher_hash(self.council.chain_id, voucher)

    def row(self) -> Wallet:
        """Return the wallet's row."""
        row = read_wallet(self.council.state, self.id)
        assert row is not None
        return row


def redeeming(*vouchers: Voucher) -> RedeemVouchers:
    """Return the event's body by which a bank redeems vouchers."""
    return RedeemVouchers(vouchers)
