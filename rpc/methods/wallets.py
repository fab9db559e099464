"""wallet_get, wallet_list, voucher_get: wallets that pay without a connection, and their vouchers that were redeemed.

Here: rows of the state as JSON has them. Not here: what a wallet may do (`ledger.wallets`). Source: domain §4.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from ledger import rows
from ledger.committed_state import CommittedState
from ledger.state import STATE_VALUE_SIZE_MAX
from ledger.store import prefix_stop
from ledger.voucher_bodies import COUNT_MAX, Voucher
from ledger.wallet_records import (
    WALLET_PREFIX,
    VoucherPlace,
    Wallet,
    WalletStatus,
    read_voucher,
    read_wallet,
    voucher_after_key,
)
from primitives.encoding import decode
from rpc.errors import Code, invalid_params, not_found
from rpc.methods.heights import tip_of
from rpc.methods.known_members import check_member
from rpc.paging import page_of
from rpc.ports import Services
from rpc.registry import method
from rpc.types import (
    LIMIT_DEFAULT,
    AskedCursor,
    AskedOrder,
    AsOf,
    HashHex,
    Limit,
    MemberName,
    NextCursor,
    Params,
    Result,
    Time,
    time_text,
)

LOOKED_THROUGH_MAX: Final = 500
"""How many wallets a page looks through."""

CounterNumber = Annotated[int, msgspec.Meta(ge=0, lt=COUNT_MAX)]


class GetWallet(Params, frozen=True):
    """A wallet, by its id."""

    wallet: HashHex


class WalletResult(Result, frozen=True):
    """A wallet: its bank, its limits, and where it stands; amounts are minor units of its currency.

    `proof` is the event that proved that it spent twice, `redeemed` counts the vouchers that banks redeemed, `amount`
    is their sum.
    """

    wallet: HashHex
    member: str
    key: HashHex
    currency: str
    amount_max: int
    count_max: int
    age_max_s: int
    valid_from: Time
    valid_until: Time
    holder_commitment: HashHex
    status: str
    proof: HashHex | None
    redeemed: int
    amount: int


class WalletAnswer(Result, frozen=True):
    """A wallet as it stands."""

    wallet: WalletResult
    as_of: AsOf


class ListWallets(Params, frozen=True):
    """Wallets by id, upwards unless `order` says otherwise."""

    member: Annotated[MemberName | None, msgspec.Meta(description="Those that this bank registered.")] = None
    status: Annotated[WalletStatus | None, msgspec.Meta(description="Those that stand so.")] = None
    limit: Limit = LIMIT_DEFAULT
    cursor: AskedCursor = None
    order: AskedOrder = None


class WalletsAnswer(Result, frozen=True):
    """Wallets in order. A page looks at 500 of them, so it may hold fewer than `limit`, or none, and a cursor."""

    wallets: list[WalletResult]
    cursor: NextCursor
    as_of: AsOf


class GetVoucher(Params, frozen=True):
    """A redeemed voucher of a wallet: by its counter, or by the hash of the voucher that it follows."""

    wallet: HashHex
    counter: Annotated[CounterNumber | None, msgspec.Meta(description="Its place among the wallet's vouchers.")] = None
    previous: Annotated[HashHex | None, msgspec.Meta(description="The hash of the voucher before it.")] = None


class VoucherResult(Result, frozen=True):
    """A voucher as its wallet signed it; `amount` is in minor units."""

    key: HashHex
    counter: int
    previous: HashHex
    payee_commitment: HashHex
    amount: int
    currency: str
    issued_at: Time
    signature: str


class VoucherAnswer(Result, frozen=True):
    """A redeemed voucher, whole: with another one of its place it is a proof of double spending."""

    voucher: VoucherResult
    member: str
    event_id: HashHex
    time: Time
    as_of: AsOf


@method("wallet_get", params=GetWallet, result=WalletAnswer, errors=(Code.NOT_FOUND, Code.UNAVAILABLE), in_thread=True)
def get_wallet(services: Services, params: GetWallet) -> WalletAnswer:
    """A wallet: its limits and where it stands."""
    tip = tip_of(services)
    identity = bytes.fromhex(params.wallet)
    row = read_wallet(CommittedState(services.reads.store), identity)
    if row is None:
        raise not_found("no such wallet", where="$.wallet", got=params.wallet)
    return WalletAnswer(_result(params.wallet, row), int(tip.height))


@method(
    "wallet_list", params=ListWallets, result=WalletsAnswer, errors=(Code.NOT_FOUND, Code.UNAVAILABLE), in_thread=True
)
def list_wallets(services: Services, params: ListWallets) -> WalletsAnswer:
    """Wallets of all banks or of one, by id."""
    tip = tip_of(services)
    check_member(services, params.member)
    page = page_of(services, "wallet_list", params, tuple[str], "asc", member=params.member, status=params.status)
    first = rows.state_row_key(WALLET_PREFIX.encode())
    begin, stop = first, prefix_stop(first)
    if page.after is not None:
        after = first + page.after[0].encode()
        begin, stop = (begin, after) if page.descending else (after + b"\0", stop)
    shown, cursor, identity = list[WalletResult](), None, ""
    for looked_at, (key, raw) in enumerate(services.reads.store.iterate(begin, stop, page.descending)):
        if len(shown) == params.limit or looked_at == LOOKED_THROUGH_MAX:
            cursor = page.cursor(identity)
            break
        identity = key[len(first) :].decode()
        row = decode(Wallet, raw, size_max=STATE_VALUE_SIZE_MAX)
        if params.member in (None, row.issuer) and params.status in (None, row.status):
            shown.append(_result(identity, row))
    return WalletsAnswer(shown, cursor, int(tip.height))


@method(
    "voucher_get", params=GetVoucher, result=VoucherAnswer, errors=(Code.NOT_FOUND, Code.UNAVAILABLE), in_thread=True
)
def get_voucher(services: Services, params: GetVoucher) -> VoucherAnswer:
    """A voucher that was redeemed, and by which bank."""
    tip = tip_of(services)
    state, identity = CommittedState(services.reads.store), bytes.fromhex(params.wallet)
    if (params.counter is None) is (params.previous is None):
        raise invalid_params("which voucher?", where="$.counter", expected="counter or previous, and one of them")
    counter = params.counter
    if params.previous is not None:
        place = state.get(voucher_after_key(identity, bytes.fromhex(params.previous)), VoucherPlace)
        counter = None if place is None else place.counter
    row = None if counter is None else read_voucher(state, identity, counter)
    if row is None:
        raise not_found("no such voucher was redeemed", where="$.wallet", got=params.wallet)
    return VoucherAnswer(_voucher(row.voucher), row.member, row.event.hex(), time_text(row.time_ms), int(tip.height))


def _result(identity: str, row: Wallet) -> WalletResult:
    return WalletResult(
        wallet=identity,
        member=row.issuer,
        key=row.key.hex(),
        currency=row.currency,
        amount_max=row.amount_max,
        count_max=row.count_max,
        age_max_s=row.age_max_s,
        valid_from=time_text(row.valid_from_ms),
        valid_until=time_text(row.valid_until_ms),
        holder_commitment=row.holder_commitment.hex(),
        status=row.status.value,
        proof=None if row.proof is None else row.proof.hex(),
        redeemed=row.redeemed,
        amount=row.amount,
    )


def _voucher(voucher: Voucher) -> VoucherResult:
    return VoucherResult(
        key=voucher.key.hex(),
        counter=voucher.counter,
        previous=voucher.previous.hex(),
        payee_commitment=voucher.payee_commitment.hex(),
        amount=voucher.amount,
        currency=voucher.currency,
        issued_at=time_text(voucher.issued_at_ms),
        signature=voucher.signature.hex(),
    )


METHODS = (get_wallet, list_wallets, get_voucher)
