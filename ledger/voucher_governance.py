"""The rules by which members decide on the limits of offline vouchers and on wallets that spent twice.

Judged like all of governance: by the state and the action, when proposed and again when it takes effect. These actions
came with the fourth rules. Not here: what a bank decides on its own wallets (`ledger.wallets`). Source: domain §4,
decision record 10.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from ledger.governance_bodies import PaymentAction, SetVoucherPolicy, SuspendWallet
from ledger.governance_errors import broken
from ledger.rules import RULES_PAYMENTS, read_rules
from ledger.state import StateReader, Transaction
from ledger.voucher_policy import VoucherPolicy, put_voucher_policy, read_voucher_policy
from ledger.wallet_records import WalletStatus, read_wallet, wallet_key


def check_payment_action(state: StateReader, action: PaymentAction, height: int) -> None:
    """Raise RuleBroken where the block at `height` may not make this decision in this state."""
    if read_rules(state).at(height) < RULES_PAYMENTS:
        raise broken("rules_needed", f"version {RULES_PAYMENTS}")
    match action:
        case SetVoucherPolicy():
            present = read_voucher_policy(state)
            if changed_voucher_policy(present, action) == present:
                raise broken("voucher_policy_unchanged")
        case SuspendWallet(wallet=identity):
            wallet = read_wallet(state, identity)
            if wallet is None or wallet.status is not WalletStatus.ACCUSED:
                raise broken("wallet_not_accused", "not registered" if wallet is None else f"it is {wallet.status}")
        case _:
            assert_never(action)


def enact_payment_action(state: Transaction, action: PaymentAction) -> None:
    """Write what a decision that was just checked does."""
    match action:
        case SetVoucherPolicy():
            put_voucher_policy(state, changed_voucher_policy(read_voucher_policy(state), action))
        case SuspendWallet(wallet=identity):
            wallet = read_wallet(state, identity)
            assert wallet is not None, "checked before"
            state.put(wallet_key(identity), replace(wallet, status=WalletStatus.SUSPENDED))
        case _:
            assert_never(action)


def changed_voucher_policy(present: VoucherPolicy, action: SetVoucherPolicy) -> VoucherPolicy:
    """Return the limits with the figures that an action names."""
    figures = {name: getattr(action, name) for name in action.__struct_fields__}
    return replace(present, **{name: value for name, value in figures.items() if value is not None})
