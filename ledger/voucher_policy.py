"""The limits that the members set to offline vouchers: figures of the chain, and the row `voucher-policy`.

A bank's limits for a wallet lie within these when it registers it. What is registered stays as it is: a payee who holds
a wallet's certificate and has no connection must be able to rely on it. Not here: the limits of the format
(`ledger.voucher_bodies`). Source: domain §4.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from ledger.state import StateGetter, Transaction
from ledger.voucher_bodies import AGE_DAYS_MAX, Amount, Count
from primitives.encoding import Record

VOUCHER_POLICY_KEY: Final = "voucher-policy"
WALLETS_A_BANK_MAX: Final = 10_000_000

AgeDays = Annotated[int, Meta(ge=1, le=AGE_DAYS_MAX)]
WalletCount = Annotated[int, Meta(ge=1, le=WALLETS_A_BANK_MAX)]


class VoucherPolicy(Record):
    """The figures in force.

    `enabled`: whether banks may register wallets; what is registered goes on. `amount_max` is in minor units of a
    wallet's currency, `age_max_days` in days of 86,400,000 ms. `wallets_per_bank_max` counts those that are neither
    closed nor ended.
    """

    enabled: bool = True
    amount_max: Amount = 100_000
    count_max: Count = 1_000
    age_max_days: AgeDays = 30
    wallets_per_bank_max: WalletCount = 1_000_000


def read_voucher_policy(state: StateGetter) -> VoucherPolicy:
    """Return the limits in force: the defaults where the members never decided otherwise."""
    return state.get(VOUCHER_POLICY_KEY, VoucherPolicy) or VoucherPolicy()


def put_voucher_policy(state: Transaction, policy: VoucherPolicy) -> None:
    """Write the limits."""
    state.put(VOUCHER_POLICY_KEY, policy)
