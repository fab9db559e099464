"""The rules by which members decide on the limits of offline vouchers and on wallets that spent twice.

Judged like all of governance: by the state and the action, when proposed and again when it takes effect. These actions
came with the fourth rules. A proof of double spending opens the proposal to suspend its wallet by itself: its id is
that of the proof's event, which is its basis. Not here: what a bank decides on its own wallets (`ledger.wallets`).
Source: domain §4, decision record 10.
"""

from __future__ import annotations

from typing import Final, assert_never

from msgspec.structs import replace

from ledger.governance_bodies import PaymentAction, SetVoucherPolicy, SuspendWallet
from ledger.governance_errors import NUMBERS, broken
from ledger.governance_records import (
    SUSPENSIONS_A_MEMBER_MAX,
    Proposal,
    Stage,
    put_closed,
    put_open,
    read_proposal,
    under_way_of,
)
from ledger.kinds import ApplyContext
from ledger.rules import RULES_PAYMENTS, read_rules
from ledger.state import StateReader, Transaction
from ledger.voucher_bodies import DAY_MS
from ledger.voucher_policy import VoucherPolicy, put_voucher_policy, read_voucher_policy
from ledger.wallet_records import Wallet, WalletStatus, read_wallet, wallet_key

SUSPENSION_TERM_MS: Final = 30 * DAY_MS
"""How long the members may vote on a proposal that a proof opened."""


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


def open_suspension(context: ApplyContext, state: Transaction, wallet: bytes) -> None:
    """Open the proposal to suspend a wallet that the event proves to have spent twice.

    It is its reporter's, whoever that is, and takes none of the places that a member has for what it proposes itself:
    else whoever spends twice often enough would keep a bank from proposing. Where the reporter has as many suspensions
    under way as it may, none is opened; the wallet is stopped all the same, and anybody that may proposes it.
    """
    action = SuspendWallet(bytes(wallet))
    if len(under_way_of(state, context.member, action, context.time_ms)) < SUSPENSIONS_A_MEMBER_MAX:
        proposal = Proposal(context.member, action, context.height, context.time_ms + SUSPENSION_TERM_MS)
        put_open(state, context.event_id, proposal, context.time_ms)


def settle_suspension(context: ApplyContext, state: Transaction, wallet: Wallet) -> None:
    """End the proposal that a wallet's proof opened: its issuer decided, nothing is left to vote on."""
    assert wallet.proof is not None, "accused by it"
    proposal = read_proposal(state, wallet.proof)
    if proposal is not None and proposal.stage_at(context.time_ms) is Stage.OPEN:
        failed = replace(
            proposal, stage=Stage.FAILED, closed_height=context.height, failure=NUMBERS["wallet_not_accused"]
        )
        put_closed(state, wallet.proof, failed)


def opened_by_proof(state: StateReader, proposal_id: bytes, proposal: Proposal) -> bool:
    """Say whether a proof opened a proposal, which then nobody takes back."""
    if not isinstance(proposal.action, SuspendWallet):
        return False
    wallet = read_wallet(state, proposal.action.wallet)
    return wallet is not None and wallet.proof == proposal_id


def changed_voucher_policy(present: VoucherPolicy, action: SetVoucherPolicy) -> VoucherPolicy:
    """Return the limits with the figures that an action names."""
    figures = {name: getattr(action, name) for name in action.__struct_fields__}
    return replace(present, **{name: value for name, value in figures.items() if value is not None})
