"""Wallets and redeemed vouchers in the state: their rows and how they are read.

`wallet/ID` is a wallet, `wallets/MEMBER` how many of a bank's are neither closed nor ended, `voucher/ID/COUNTER` a
redeemed voucher, whole, so that whoever meets another one of the same place holds a proof; `voucher-after/ID/HASH` says
which counter follows a voucher. Not here: what changes them (`ledger.wallets`, `ledger.voucher_forgetting`).
"""

from __future__ import annotations

import enum
from typing import Final

from ledger.events import EventTimeMs, Member
from ledger.state import StateGetter
from ledger.voucher_bodies import AgeSeconds, Amount, Count, Currency, Hash32, Voucher, WalletKey
from primitives.encoding import Record

WALLET_PREFIX: Final = "wallet/"
VOUCHER_PREFIX: Final = "voucher/"


class WalletStatus(enum.StrEnum):
    """What a wallet may do.

    ACCUSED: it spent twice, and nobody has decided on it yet. CLOSED is for good. ENDED: its time is over, nothing of
    it can be redeemed any more, and its vouchers leave the state (`ledger.voucher_forgetting`).
    """

    ACTIVE = "active"
    SUSPENDED = "suspended"
    ACCUSED = "accused"
    CLOSED = "closed"
    ENDED = "ended"


class Wallet(Record):
    """A wallet, at `wallet/<id>`.

    `proof` is the id of the event that proved that it spent twice, or None; `redeemed` counts its vouchers that banks
    redeemed, and `amount` is their sum in minor units.
    """

    issuer: Member
    key: WalletKey
    currency: Currency
    amount_max: Amount
    count_max: Count
    age_max_s: AgeSeconds
    valid_from_ms: EventTimeMs
    valid_until_ms: EventTimeMs
    holder_commitment: Hash32
    status: WalletStatus
    proof: Hash32 | None
    redeemed: int
    amount: int


class WalletCount(Record):
    """How many wallets of a bank are neither closed nor ended, at `wallets/<member>`."""

    count: int


class RedeemedVoucher(Record):
    """A redeemed voucher, at `voucher/<wallet id>/<counter>`: by whom, in which event, at which block time.

    `over_ms` is the last block time before the row leaves the state.
    """

    voucher: Voucher
    member: Member
    event: Hash32
    time_ms: EventTimeMs
    over_ms: int


class VoucherPlace(Record):
    """The counter of the redeemed voucher that follows another one."""

    counter: int


def wallet_key(wallet: bytes) -> str:
    """Return the state key of a wallet."""
    return f"{WALLET_PREFIX}{wallet.hex()}"


def wallets_key(member: str) -> str:
    """Return the state key of the count of a bank's wallets."""
    return f"wallets/{member}"


def voucher_key(wallet: bytes, counter: int) -> str:
    """Return the state key of a redeemed voucher."""
    return f"{VOUCHER_PREFIX}{wallet.hex()}/{counter:06d}"


def voucher_after_key(wallet: bytes, previous: bytes) -> str:
    """Return the state key of which voucher follows the one of a hash."""
    return f"voucher-after/{wallet.hex()}/{previous.hex()}"


def read_wallet(state: StateGetter, wallet: bytes) -> Wallet | None:
    """Return a wallet by its id; None where it is not registered."""
    return state.get(wallet_key(wallet), Wallet)


def read_voucher(state: StateGetter, wallet: bytes, counter: int) -> RedeemedVoucher | None:
    """Return a redeemed voucher of a wallet; None where none of this counter is redeemed."""
    return state.get(voucher_key(wallet, counter), RedeemedVoucher)


def count_wallets(state: StateGetter, member: str) -> int:
    """Return how many wallets of a bank are neither closed nor ended."""
    row = state.get(wallets_key(member), WalletCount)
    return 0 if row is None else row.count
