"""What leaves the state of wallets of which nothing can be redeemed any more, a bounded number of rows a block.

A wallet is over once a voucher of its last moment has been too old for KEPT_MS. That is known when it is registered,
and every voucher's row carries it, so a derived row, ordered by it, finds what is to go, as `ledger.references` finds
references. The vouchers leave; the wallet stays and is ended: its key is never registered again, so that no counter of
another life contradicts one of this, and two vouchers prove a double spending for ever, though only whoever holds both
(the first is in the log, with the event that redeemed it) can tell. For KEPT_MS the state still shows the first to
whoever comes late with the second. Source: domain §4.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from msgspec.structs import replace

from ledger.state import DERIVED_PREFIX, STATE_VALUE_SIZE_MAX, StateView, Transaction
from ledger.voucher_bodies import DAY_MS
from ledger.wallet_records import (
    VOUCHER_PREFIX,
    WALLET_PREFIX,
    RedeemedVoucher,
    Wallet,
    WalletCount,
    WalletStatus,
    count_wallets,
    voucher_after_key,
    wallets_key,
)
from primitives.encoding import decode, encode

KEPT_MS: Final = 30 * DAY_MS
"""For so long after the last moment at which a wallet's last voucher could be redeemed its vouchers stay."""
FORGOTTEN_A_BLOCK_MAX: Final = 512
_BY_END: Final = DERIVED_PREFIX + b"over/"
_NIL: Final = encode(None)


def over_after_ms(wallet: Wallet) -> int:
    """Return the block time up to which what the state holds of a wallet's vouchers stays."""
    return wallet.valid_until_ms + 1_000 * wallet.age_max_s + KEPT_MS


def note_end(rows: Transaction, key: str, over_ms: int) -> None:
    """Let a wallet's or a voucher's row be found once it is over."""
    rows.changes[_end_key(over_ms, key.encode())] = _NIL


def ends_of(key: bytes, value: bytes) -> dict[bytes, bytes]:
    """Return the rows that are not in the tree and follow from one that is: by what ends is found."""
    if key.startswith(VOUCHER_PREFIX.encode()):
        over_ms = decode(RedeemedVoucher, value, size_max=STATE_VALUE_SIZE_MAX).over_ms
    elif key.startswith(WALLET_PREFIX.encode()):
        wallet = decode(Wallet, value, size_max=STATE_VALUE_SIZE_MAX)
        if wallet.status is WalletStatus.ENDED:
            return {}
        over_ms = over_after_ms(wallet)
    else:
        return {}
    return {_end_key(over_ms, key): _NIL}


def forget_vouchers(view: StateView, time_ms: int) -> None:
    """End the wallets that are over before `time_ms` and remove their vouchers, at most FORGOTTEN_A_BLOCK_MAX rows."""
    rows = Transaction(view)
    for found, _ in list(islice(view.raw_scan(_BY_END, _end_key(time_ms, b"")), FORGOTTEN_A_BLOCK_MAX)):
        key = found[len(_BY_END) + 8 :].decode()
        rows.changes[found] = None
        if key.startswith(WALLET_PREFIX):
            _end(rows, key)
        else:
            voucher = rows.get(key, RedeemedVoucher)
            assert voucher is not None, "its derived row leaves with it"
            wallet = bytes.fromhex(key.removeprefix(VOUCHER_PREFIX).partition("/")[0])
            rows.delete(voucher_after_key(wallet, voucher.voucher.previous))
            rows.delete(key)
    rows.apply(view)


def _end(rows: Transaction, key: str) -> None:
    wallet = rows.get(key, Wallet)
    assert wallet is not None, "no wallet leaves the state"
    if wallet.status is not WalletStatus.CLOSED:
        rows.put(wallets_key(wallet.issuer), WalletCount(count_wallets(rows, wallet.issuer) - 1))
    rows.put(key, replace(wallet, status=WalletStatus.ENDED))


def _end_key(over_ms: int, key: bytes) -> bytes:
    return _BY_END + over_ms.to_bytes(8, "big") + key
