"""`chainnode wallet`: wallets that pay without a connection, registered and decided on by their bank."""

from __future__ import annotations

import time
from pathlib import Path

import click

from chainnode.cli.context import hash_of, settings
from chainnode.cli.main import Group
from chainnode.cli.output import records, say, show, show_page
from chainnode.cli.submit import open_door, send_all, timeout_option, wait_option
from ledger.voucher_bodies import DAY_MS, WalletDecision, WalletReason
from ledger.wallet_records import WalletStatus
from primitives.encoding import Record

COLUMNS = ("wallet", "member", "status", "currency", "amount_max", "count_max", "redeemed", "amount", "valid_until")


@click.group(cls=Group)
def wallet() -> None:
    """Wallets that pay by vouchers without a connection: register, decide, list."""


@wallet.command()
@click.argument("request", type=click.Path(path_type=Path))
@click.option("--currency", default="CNY", show_default=True, help="ISO 4217.")
@click.option("--amount-max", default="500.00", show_default=True, metavar="AMOUNT", help="Of one voucher.")
@click.option("--count-max", type=click.IntRange(1), default=100, show_default=True, help="Vouchers in all.")
@click.option("--age-days", type=click.IntRange(1), default=7, show_default=True, help="From issue to redemption.")
@click.option("--valid-days", type=click.IntRange(1), default=365, show_default=True, help="For how long it issues.")
@wait_option
@timeout_option
def register(
    request: Path,
    currency: str,
    amount_max: str,
    count_max: int,
    age_days: int,
    valid_days: int,
    wait: str,
    timeout_s: float,
) -> int:
    """Register the wallet of a REQUEST file, which the wallet made for this bank: the bank stands for its vouchers."""
    from chainnode.files import read_file
    from chainnode.vouchers import LINE_SIZE_MAX, read_wallet_request
    from ledger.currencies import minor_units
    from ledger.voucher_bodies import REGISTER_WALLET, RegisterWallet, check_wallet, wallet_id

    asked = read_wallet_request(read_file(request, size_max=LINE_SIZE_MAX), where=str(request))
    client = settings().client(timeout_s=timeout_s, token=True)
    now_ms = time.time_ns() // 1_000_000
    body = RegisterWallet(
        key=asked.key,
        currency=currency,
        amount_max=minor_units(amount_max, currency, where="--amount-max"),
        count_max=count_max,
        age_max_s=age_days * (DAY_MS // 1_000),
        valid_from_ms=now_ms,
        valid_until_ms=now_ms + valid_days * DAY_MS,
        holder_commitment=asked.holder_commitment,
        proof=asked.proof,
    )
    check_wallet(body)
    chain_id = bytes.fromhex(client.call("ledger_getCapabilities")["chain_id"])
    identity = wallet_id(chain_id, asked.key).hex()
    say(f"wallet {identity}; `chainnode prove` of its event makes the certificate that payees check")
    return _send(REGISTER_WALLET, body, f"wallet {identity[:16]}", wait, timeout_s)


@wallet.command()
@click.argument("identity", metavar="WALLET")
@click.argument("decision", type=click.Choice([each.value for each in WalletDecision]))
@click.option("--reason", required=True, type=click.Choice([each.value for each in WalletReason]), help="Why.")
@wait_option
@timeout_option
def decide(identity: str, decision: str, reason: str, wait: str, timeout_s: float) -> int:
    """Suspend, restore or close WALLET, as its bank. One that was proved to spend twice is not restored."""
    from ledger.voucher_bodies import DECIDE_WALLET, DecideWallet

    name = hash_of(identity, "a wallet")
    body = DecideWallet(bytes.fromhex(name), WalletDecision(decision), WalletReason(reason))
    return _send(DECIDE_WALLET, body, f"{decision} wallet {name[:16]}", wait, timeout_s)


@wallet.command("show")
@click.argument("identity", metavar="WALLET")
def show_wallet(identity: str) -> None:
    """Show WALLET: its bank, its limits, and where it stands."""
    show(settings().client().call("wallet_get", wallet=hash_of(identity, "a wallet"))["wallet"], title="wallet")


@wallet.command("list")
@click.option("--member", help="Those that this bank registered.")
@click.option("--status", type=click.Choice([each.value for each in WalletStatus]), help="Those that stand so.")
@click.option("--order", type=click.Choice(["asc", "desc"]), default="asc", show_default=True, help="By id.")
@click.option("--limit", type=click.IntRange(1, 100), default=30, show_default=True, help="At most so many.")
@click.option("--cursor", help="Go on where an earlier answer ended.")
def list_wallets(member: str | None, status: str | None, order: str, limit: int, cursor: str | None) -> None:
    """List wallets by id."""
    asked = {"member": member, "status": status, "cursor": cursor}
    filters = {name: value for name, value in asked.items() if value is not None}
    found = settings().client().call("wallet_list", order=order, limit=limit, **filters)
    show_page(found, found["wallets"], COLUMNS)


def _send(kind: int, body: Record, where: str, wait: str, timeout_s: float) -> int:
    import secrets

    from chainnode.submission import NewEvent
    from ledger.voucher_bodies import SCHEMA
    from primitives.encoding import encode

    client = settings().client(timeout_s=timeout_s, token=True)
    event = NewEvent(kind, SCHEMA, encode(body), where, secrets.token_bytes(16))
    with records(None) as out, open_door(client) as door:
        return send_all(client, door, [event], out, wait=wait, timeout_s=timeout_s)
