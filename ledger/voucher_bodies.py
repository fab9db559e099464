"""Offline vouchers as bytes: what a wallet signs without a connection, and the bodies of the events about it.

Here: vouchers, kinds 38 to 41, the pure checks of their shape, and when two vouchers of a wallet contradict each other.
Not here: when they are admissible (`ledger.wallets`). Amounts are in clear, because validators judge limits; who owns a
wallet and who is paid stand in salted commitments alone. Source: domain §4.

A voucher's hash covers all of it but the signature, so that a wallet that signs the same voucher twice makes no other
voucher; a wallet's vouchers are a chain, each naming the hash of the one before it.
"""

from __future__ import annotations

import enum
from itertools import pairwise
from typing import Annotated, Final

from msgspec import Meta

from ledger.events import EventTimeMs
from primitives.encoding import Record, encode
from primitives.errors import InputError, ProofError, SignatureError
from primitives.hashing import domain_hash, statement
from primitives.ids import Hash
from primitives.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, check_public_key, verify

REGISTER_WALLET: Final = 38
DECIDE_WALLET: Final = 39
REDEEM_VOUCHERS: Final = 40
REPORT_DOUBLE_SPEND: Final = 41
SCHEMA: Final = 1

AMOUNT_MAX: Final = 10**12
"""Minor units of one voucher, whatever the members decide; with COUNT_MAX of them a wallet's sum fits 64 bits."""
COUNT_MAX: Final = 100_000
"""Vouchers of one wallet."""
DAY_S: Final = 86_400
DAY_MS: Final = 1_000 * DAY_S
AGE_DAYS_MAX: Final = 366
VALID_DAYS_MAX: Final = 5 * 366
VOUCHERS_MAX: Final = 64
"""In one event."""
NO_VOUCHER: Final = bytes(32)
"""What the first voucher of a wallet names as the one before it."""

Hash32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
WalletKey = Annotated[bytes, Meta(min_length=PUBLIC_KEY_BYTES, max_length=PUBLIC_KEY_BYTES)]
Signature = Annotated[bytes, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]
Currency = Annotated[str, Meta(pattern=r"\A[A-Z]{3}\Z", max_length=3)]
Amount = Annotated[int, Meta(ge=1, le=AMOUNT_MAX)]
Count = Annotated[int, Meta(ge=1, le=COUNT_MAX)]
Counter = Annotated[int, Meta(ge=0, le=COUNT_MAX - 1)]
AgeSeconds = Annotated[int, Meta(ge=1, le=AGE_DAYS_MAX * DAY_S)]


class WalletDecision(enum.StrEnum):
    """What an issuer decides on a wallet."""

    SUSPEND = "suspend"
    RESTORE = "restore"
    CLOSE = "close"


class WalletReason(enum.StrEnum):
    """Why it does."""

    LOST = "lost"
    STOLEN = "stolen"
    DOUBLE_SPEND = "double_spend"
    DEVICE_FAULT = "device_fault"
    HOLDER_REQUEST = "holder_request"
    RESOLVED = "resolved"


class Voucher(Record):
    """A promise to pay, signed by a wallet over `voucher_statement`.

    `counter` counts the wallet's vouchers from 0, `previous` is the hash of the one before (zeros for the first).
    `payee_commitment` is a salted one to who is paid, `amount` is in minor units of `currency`.
    """

    key: WalletKey
    counter: Counter
    previous: Hash32
    payee_commitment: Hash32
    amount: Amount
    currency: Currency
    issued_at_ms: EventTimeMs
    signature: Signature


class RegisterWallet(Record):
    """A bank stands for the vouchers of a wallet, within limits.

    `amount_max` bounds each voucher (minor units of `currency`), `count_max` how many there are, `age_max_s` the time
    from issue to redemption in seconds; the wallet issues from `valid_from_ms` on until `valid_until_ms`.
    `holder_commitment` is a salted one to its owner, `proof` the wallet key's signature over `wallet_statement`.
    """

    key: WalletKey
    currency: Currency
    amount_max: Amount
    count_max: Count
    age_max_s: AgeSeconds
    valid_from_ms: EventTimeMs
    valid_until_ms: EventTimeMs
    holder_commitment: Hash32
    proof: Signature


class DecideWallet(Record):
    """The issuer suspends, restores or closes a wallet, given by its id."""

    wallet: Hash32
    decision: WalletDecision
    reason: WalletReason


class RedeemVouchers(Record):
    """The payees' bank redeems vouchers of one wallet, ascending by counter: all of them or none."""

    vouchers: Annotated[tuple[Voucher, ...], Meta(min_length=1, max_length=VOUCHERS_MAX)]


class ReportDoubleSpend(Record):
    """Two vouchers of one wallet that no honest wallet signs both; `first` is the lower one, by counter and so on."""

    first: Voucher
    second: Voucher


def voucher_statement(chain_id: bytes, voucher: Voucher) -> bytes:
    """Return what a wallet signs: all of a voucher but the signature."""
    return statement("voucher", bytes(chain_id), *_content(voucher))


def voucher_hash(chain_id: bytes, voucher: Voucher) -> Hash:
    """Return the hash by which the next voucher names this one: SHA-256 of what is signed."""
    return domain_hash("voucher", encode((bytes(chain_id), *_content(voucher))))


def wallet_statement(chain_id: bytes, member: str, key: bytes) -> bytes:
    """Return what a wallet's key signs, so that no bank registers a key that it was not handed."""
    return statement("wallet-key", bytes(chain_id), member, key)


def wallet_id(chain_id: bytes, key: bytes) -> Hash:
    """Return the id of a wallet on a chain."""
    return domain_hash("wallet", encode((bytes(chain_id), key)))


def check_wallet(body: RegisterWallet) -> None:
    """Raise InputError where a wallet's key is none or its time is empty or too long."""
    try:
        check_public_key(body.key)
    except SignatureError as error:
        raise InputError("not a wallet's key", where="key", expected=error.expected, got=body.key) from None
    if not 0 < body.valid_until_ms - body.valid_from_ms <= VALID_DAYS_MAX * DAY_MS:
        raise InputError(
            "wallet valid for no time or too long",
            where="valid_until",
            expected=f"1 ms to {VALID_DAYS_MAX} days after valid_from",
            got=body.valid_until_ms - body.valid_from_ms,
        )


def check_voucher(voucher: Voucher) -> None:
    """Raise InputError where a voucher is the first and follows another, or is a later one and follows none."""
    if (voucher.counter == 0) is not (voucher.previous == NO_VOUCHER):
        raise InputError(
            "voucher at a wrong place of its chain",
            where="previous",
            expected="zeros for counter 0 and for no other",
            got=f"counter {voucher.counter} after {voucher.previous.hex()[:16]}",
        )


def check_redemption(body: RedeemVouchers) -> None:
    """Raise InputError unless the vouchers are of one wallet, ascending."""
    for voucher in body.vouchers:
        check_voucher(voucher)
    if len({voucher.key for voucher in body.vouchers}) > 1:
        raise InputError("vouchers of several wallets", where="vouchers", expected="one wallet an event")
    if any(left.counter >= right.counter for left, right in pairwise(body.vouchers)):
        raise InputError("vouchers out of order", where="vouchers", expected="strictly ascending by counter")


def check_report(body: ReportDoubleSpend) -> None:
    """Raise InputError unless two vouchers may contradict each other and stand in the one order that they have.

    Whether one of consecutive counters follows the other depends on the chain, and is judged by `agreement`.
    """
    for voucher in (body.first, body.second):
        check_voucher(voucher)
    why = _apart(body.first, body.second)
    if why:
        raise InputError("no double spending", expected="vouchers that contradict each other", got=why)
    if _content(body.first) > _content(body.second):
        raise InputError("vouchers out of order", expected="ascending by wallet, counter, previous, payee and so on")


def report_of(one: Voucher, other: Voucher) -> ReportDoubleSpend:
    """Return the report of two vouchers in its one order."""
    first, second = sorted((one, other), key=_content)
    return ReportDoubleSpend(first, second)


def agreement(chain_id: bytes, one: Voucher, other: Voucher) -> str:
    """Return why an honest wallet may sign both vouchers; empty where it never does.

    It never signs two of one counter, or two that follow the same one, or one that does not follow what it signed with
    the counter before: then it signed for that counter twice, though only one of these vouchers is here.
    """
    first, second = sorted((one, other), key=_content)
    why = _apart(first, second)
    if not why and second.counter == first.counter + 1 and second.previous == voucher_hash(chain_id, first):
        return "one follows the other"
    return why


def _apart(one: Voucher, other: Voucher) -> str:
    """Return why two vouchers contradict each other on no chain; empty where they may."""
    if one.key != other.key:
        return "they are of two wallets"
    if _content(one) == _content(other):
        return "they are one voucher"
    if abs(one.counter - other.counter) > 1 and one.previous != other.previous:
        return "they are not of one place, and of no places beside each other"
    return ""


def verify_double_spend(chain_id: bytes, report: ReportDoubleSpend) -> Hash:
    """Return the id of the wallet that spent twice; ProofError where the two vouchers do not prove it.

    Needs nothing but the chain's id: whoever holds both vouchers can tell.
    """
    try:
        check_report(report)
    except InputError as error:
        raise ProofError("not a proof of double spending", expected=error.expected, got=error.got or error) from None
    why = agreement(chain_id, report.first, report.second)
    if why:
        raise ProofError("not a proof of double spending", expected="vouchers that contradict each other", got=why)
    for name, voucher in (("first", report.first), ("second", report.second)):
        if not signed_by_its_wallet(chain_id, voucher):
            raise ProofError("signature does not hold", where=name, expected=f"by {voucher.key.hex()}")
    return wallet_id(chain_id, report.first.key)


def signed_by_its_wallet(chain_id: bytes, voucher: Voucher) -> bool:
    """Say whether the wallet that a voucher names signed it, for this chain."""
    return verify(voucher.key, voucher_statement(chain_id, voucher), voucher.signature)


def _content(voucher: Voucher) -> tuple[bytes, int, bytes, bytes, int, str, int]:
    return (
        voucher.key,
        voucher.counter,
        voucher.previous,
        voucher.payee_commitment,
        voucher.amount,
        voucher.currency,
        voucher.issued_at_ms,
    )
