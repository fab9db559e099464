"""`chainnode member propose voucher-policy` and `suspend-wallet`: what the members decide on offline vouchers."""

from __future__ import annotations

from typing import Any, Final

import click

from chainnode.cli.context import hash_of
from chainnode.cli.validator import propose_action, proposing

TRUTHS: Final = {"true": True, "false": False}


@click.command("voucher-policy")
@click.argument("figures", nargs=-1, required=True, metavar="FIGURE=VALUE...")
@proposing
def propose_voucher_policy(figures: tuple[str, ...], **options: Any) -> int:
    """Propose other limits of offline vouchers, such as amount_max=50000 (minor units) or enabled=false."""
    from ledger.voucher_policy import VoucherPolicy
    from primitives.errors import UsageError

    names = VoucherPolicy.__struct_fields__
    action: dict[str, Any] = {"type": "set_voucher_policy", **dict.fromkeys(names)}
    for item in figures:
        name, found, value = item.partition("=")
        if not found or name not in names:
            raise UsageError("not a limit of vouchers", expected=" or ".join(names) + "=VALUE", got=item)
        action[name] = int(value) if value.isascii() and value.isdigit() else TRUTHS.get(value, value)
    return propose_action(action, **options)


@click.command("suspend-wallet")
@click.argument("wallet", metavar="WALLET")
@proposing
def propose_suspend_wallet(wallet: str, **options: Any) -> int:
    """Propose to suspend WALLET for good, which was proved to spend twice and its bank has not decided on."""
    return propose_action({"type": "suspend_wallet", "wallet": hash_of(wallet, "a wallet")}, **options)
