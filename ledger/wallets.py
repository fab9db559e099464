"""Offline vouchers as events: banks register wallets, decide on them, redeem vouchers, and prove double spending.

A redemption holds as a whole or breaks the rule that its first bad voucher breaks. Vouchers come out of order and by
several banks; what was redeemed is kept whole, so whoever brings a second voucher for one place of a wallet's chain
finds the first one and has a proof (kind 41), which stops the wallet and opens a proposal to suspend it for good.
Here: kinds 38 to 41. Not here: bodies (`ledger.voucher_bodies`), rows (`ledger.wallet_records`), when they leave
(`ledger.voucher_forgetting`), the members' limits (`ledger.voucher_policy`). Source: domain §4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from ledger.kinds import APPLIED_A_MEMBER_MAX, ApplyContext, KindSpec, RuleBroken
from ledger.members import Role, read_member
from ledger.rules import RULES_PAYMENTS
from ledger.state import StateReader, Transaction
from ledger.voucher_bodies import (
    DAY_MS,
    DAY_S,
    DECIDE_WALLET,
    REDEEM_VOUCHERS,
    REGISTER_WALLET,
    REPORT_DOUBLE_SPEND,
    SCHEMA,
    VALID_DAYS_MAX,
    DecideWallet,
    RedeemVouchers,
    RegisterWallet,
    ReportDoubleSpend,
    Voucher,
    WalletDecision,
    agreement,
    check_redemption,
    check_report,
    check_wallet,
    signed_by_its_wallet,
    voucher_hash,
    wallet_id,
    wallet_statement,
)
from ledger.voucher_forgetting import note_end, over_after_ms
from ledger.voucher_governance import open_suspension, settle_suspension
from ledger.voucher_policy import read_voucher_policy
from ledger.wallet_records import (
    RedeemedVoucher,
    VoucherPlace,
    Wallet,
    WalletCount,
    WalletStatus,
    count_wallets,
    read_voucher,
    read_wallet,
    voucher_after_key,
    voucher_key,
    wallet_key,
    wallets_key,
)
from primitives.keys import verify

CLOCK_AHEAD_MS_MAX: Final = 300_000
"""How far a wallet's clock may run ahead of the chain's."""
REDEMPTIONS_A_MEMBER_MAX: Final = 4
"""In a block, of at most 64 signatures each; not among the dear kinds, so that a bank that redeems can still vote.

A voucher takes about 0.1 ms of a processor: where all of two dozen banks redeem at once, a block still takes a fraction
of the time in which it must be voted on.
"""
REPORTS_A_MEMBER_MAX: Final = 64
_FOR_GOOD: Final = frozenset({WalletStatus.CLOSED, WalletStatus.ENDED})


def _register(context: ApplyContext, state: Transaction, body: RegisterWallet) -> None:
    identity, policy = wallet_id(context.chain_id, body.key), read_voucher_policy(state)
    if not policy.enabled:
        raise RuleBroken("vouchers_disabled", "by the members' policy")
    if read_wallet(state, identity) is not None:
        raise RuleBroken("wallet_registered", identity.hex()[:16])
    for name, got, most in (
        ("amount_max", body.amount_max, policy.amount_max),
        ("count_max", body.count_max, policy.count_max),
        ("age_max_s", body.age_max_s, policy.age_max_days * DAY_S),
    ):
        if got > most:
            raise RuleBroken("wallet_limits", f"{name} at most {most}, got {got}")
    if body.valid_until_ms <= context.time_ms:
        raise RuleBroken("wallet_expired", f"valid until {body.valid_until_ms}")
    if body.valid_until_ms > context.time_ms + VALID_DAYS_MAX * DAY_MS:  # what it leaves in the state goes some day
        raise RuleBroken("wallet_limits", f"valid until at most {VALID_DAYS_MAX} days after the block")
    count = count_wallets(state, context.member)
    if count >= policy.wallets_per_bank_max:
        raise RuleBroken("too_many_wallets", f"at most {policy.wallets_per_bank_max} neither closed nor ended")
    if not verify(body.key, wallet_statement(context.chain_id, context.member, body.key), body.proof):
        raise RuleBroken("bad_signature", "the wallet key's")
    state.put(wallets_key(context.member), WalletCount(count + 1))
    wallet = Wallet(
        issuer=context.member,
        key=body.key,
        currency=body.currency,
        amount_max=body.amount_max,
        count_max=body.count_max,
        age_max_s=body.age_max_s,
        valid_from_ms=body.valid_from_ms,
        valid_until_ms=body.valid_until_ms,
        holder_commitment=body.holder_commitment,
        status=WalletStatus.ACTIVE,
        proof=None,
        redeemed=0,
        amount=0,
    )
    state.put(wallet_key(identity), wallet)
    note_end(state, wallet_key(identity), over_after_ms(wallet))


def _decide(context: ApplyContext, state: Transaction, body: DecideWallet) -> None:
    wallet = _known(state, body.wallet)
    if wallet.issuer != context.member:
        raise RuleBroken("not_the_issuer", wallet.issuer)
    if wallet.status in _FOR_GOOD:
        raise RuleBroken(f"wallet_{wallet.status}", body.wallet.hex()[:16])
    match body.decision:
        case WalletDecision.SUSPEND:
            if wallet.status is WalletStatus.SUSPENDED:
                raise RuleBroken("wallet_suspended", body.wallet.hex()[:16])
            after = WalletStatus.SUSPENDED
        case WalletDecision.RESTORE:
            if wallet.proof is not None:
                raise RuleBroken("wallet_accused", f"by {wallet.proof.hex()[:16]}, for good")
            if wallet.status is not WalletStatus.SUSPENDED:
                raise RuleBroken("wallet_not_suspended", wallet.status)
            after = WalletStatus.ACTIVE
        case WalletDecision.CLOSE:
            after = WalletStatus.CLOSED
            state.put(wallets_key(wallet.issuer), WalletCount(count_wallets(state, wallet.issuer) - 1))
    state.put(wallet_key(body.wallet), replace(wallet, status=after))
    if wallet.status is WalletStatus.ACCUSED:
        settle_suspension(context, state, wallet)


def _redeem(context: ApplyContext, state: Transaction, body: RedeemVouchers) -> None:
    identity = wallet_id(context.chain_id, body.vouchers[0].key)
    wallet = _known(state, identity)
    if wallet.status is not WalletStatus.ACTIVE:
        raise RuleBroken(f"wallet_{wallet.status}", identity.hex()[:16])
    issuer = read_member(state, wallet.issuer)
    if issuer is None or issuer.excluded:  # nobody stands for them any more
        raise RuleBroken("issuer_excluded", wallet.issuer)
    over_ms = over_after_ms(wallet)
    for voucher in body.vouchers:
        _check_limits(context, wallet, voucher)
        if not signed_by_its_wallet(context.chain_id, voucher):
            raise _broken("voucher_signature", voucher, "not the wallet's, for this chain")
        _check_chain(context, state, identity, voucher)
        row = RedeemedVoucher(voucher, context.member, bytes(context.event_id), context.time_ms, over_ms)
        state.put(voucher_key(identity, voucher.counter), row)
        note_end(state, voucher_key(identity, voucher.counter), over_ms)
        state.put(voucher_after_key(identity, voucher.previous), VoucherPlace(voucher.counter))
    total = sum(voucher.amount for voucher in body.vouchers)
    counted = replace(wallet, redeemed=wallet.redeemed + len(body.vouchers), amount=wallet.amount + total)
    state.put(wallet_key(identity), counted)


def _check_limits(context: ApplyContext, wallet: Wallet, voucher: Voucher) -> None:
    """Raise RuleBroken where a voucher is not within what its wallet was registered for."""
    if voucher.currency != wallet.currency:
        raise _broken("voucher_currency", voucher, f"expected {wallet.currency}, got {voucher.currency}")
    if voucher.amount > wallet.amount_max:
        raise _broken("voucher_limit_amount", voucher, f"at most {wallet.amount_max}, got {voucher.amount}")
    if voucher.counter >= wallet.count_max:
        raise _broken("voucher_limit_count", voucher, f"counters below {wallet.count_max}")
    if not wallet.valid_from_ms <= voucher.issued_at_ms <= wallet.valid_until_ms:
        raise _broken("wallet_expired", voucher, f"issued at {voucher.issued_at_ms}, until {wallet.valid_until_ms}")
    if voucher.issued_at_ms > context.time_ms + CLOCK_AHEAD_MS_MAX:
        raise _broken("voucher_from_future", voucher, f"issued at {voucher.issued_at_ms}")
    if context.time_ms > voucher.issued_at_ms + 1_000 * wallet.age_max_s:
        raise _broken("voucher_limit_age", voucher, f"until {voucher.issued_at_ms + 1_000 * wallet.age_max_s}")


def _check_chain(context: ApplyContext, state: StateReader, identity: bytes, voucher: Voucher) -> None:
    """Raise RuleBroken where a voucher was redeemed or contradicts one that was."""
    mine = voucher_hash(context.chain_id, voucher)
    for found in redeemed_beside(state, identity, voucher):
        if voucher_hash(context.chain_id, found.voucher) == mine:
            raise _broken("voucher_redeemed", voucher, f"by {found.member}")
        if not agreement(context.chain_id, found.voucher, voucher):
            detail = f"against counter {found.voucher.counter}, redeemed by {found.member}"
            raise _broken("double_spend", voucher, detail)


def redeemed_beside(state: StateReader, identity: bytes, voucher: Voucher) -> Iterator[RedeemedVoucher]:
    """Yield the redeemed vouchers that a voucher can contradict.

    Those of its counter, of the one after the same voucher, and of the counters before and after.
    """
    place = state.get(voucher_after_key(identity, voucher.previous), VoucherPlace)
    follower = () if place is None else (place.counter,)
    for counter in (voucher.counter, *follower, voucher.counter - 1, voucher.counter + 1):
        found = read_voucher(state, identity, counter) if counter >= 0 else None
        if found is not None:
            yield found


def _report(context: ApplyContext, state: Transaction, body: ReportDoubleSpend) -> None:
    identity = wallet_id(context.chain_id, body.first.key)
    wallet = _known(state, identity)
    if wallet.proof is not None:
        raise RuleBroken("already_accused", f"by {wallet.proof.hex()[:16]}")
    for voucher in (body.first, body.second):
        if not signed_by_its_wallet(context.chain_id, voucher):
            raise _broken("voucher_signature", voucher, "not the wallet's, for this chain")
    why = agreement(context.chain_id, body.first, body.second)
    if why:
        raise RuleBroken("no_double_spend", why)
    stops = wallet.status is WalletStatus.ACTIVE
    status = WalletStatus.ACCUSED if stops else wallet.status
    state.put(wallet_key(identity), replace(wallet, status=status, proof=bytes(context.event_id)))
    if stops:
        open_suspension(context, state, identity)


def _known(state: StateReader, identity: bytes) -> Wallet:
    wallet = read_wallet(state, identity)
    if wallet is None:
        raise RuleBroken("wallet_unknown", identity.hex()[:16])
    return wallet


def _broken(rule: str, voucher: Voucher, detail: str) -> RuleBroken:
    return RuleBroken(rule, f"voucher {voucher.counter}: {detail}")


BANKS: Final = frozenset({Role.BANK})

WALLET_KINDS: tuple[KindSpec, ...] = (
    KindSpec(
        kind=REGISTER_WALLET,
        name="wallet.register",
        schemas={SCHEMA: RegisterWallet},
        changes_state=True,
        apply=_register,
        check_shape=check_wallet,
        roles=BANKS,
        rules_min=RULES_PAYMENTS,
        schema_applied_max={SCHEMA: APPLIED_A_MEMBER_MAX},
    ),
    KindSpec(
        kind=DECIDE_WALLET,
        name="wallet.decide",
        schemas={SCHEMA: DecideWallet},
        changes_state=True,
        apply=_decide,
        roles=BANKS,
        rules_min=RULES_PAYMENTS,
        schema_applied_max={SCHEMA: APPLIED_A_MEMBER_MAX},
    ),
    KindSpec(
        kind=REDEEM_VOUCHERS,
        name="voucher.redeem",
        schemas={SCHEMA: RedeemVouchers},
        changes_state=True,
        apply=_redeem,
        check_shape=check_redemption,
        roles=BANKS,
        rules_min=RULES_PAYMENTS,
        schema_applied_max={SCHEMA: REDEMPTIONS_A_MEMBER_MAX},
    ),
    KindSpec(
        kind=REPORT_DOUBLE_SPEND,
        name="voucher.double_spend",
        schemas={SCHEMA: ReportDoubleSpend},
        changes_state=True,
        apply=_report,
        check_shape=check_report,
        rules_min=RULES_PAYMENTS,
        schema_applied_max={SCHEMA: REPORTS_A_MEMBER_MAX},
    ),
)
