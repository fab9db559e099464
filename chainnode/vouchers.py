"""Vouchers as files and on their way to the chain: JSON lines in, redemptions out, and proofs of double spending.

A voucher is a JSON object of its fields, a proof an object of `chain_id`, `first` and `second`, a wallet's request one
of `key`, `holder_commitment` and `proof`. Not here: what the chain makes of them (`ledger.wallets`), what is printed
(`chainnode.cli.voucher`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from chainnode.client import NOT_FOUND, CallRefused, NodeClient
from ledger.event_json import record_from_json, record_to_json
from ledger.voucher_bodies import (
    COUNT_MAX,
    VOUCHERS_MAX,
    RedeemVouchers,
    ReportDoubleSpend,
    Voucher,
    agreement,
    check_voucher,
    report_of,
    signed_by_its_wallet,
    voucher_hash,
    wallet_id,
)
from primitives.errors import InputError

VOUCHER_LINES_MAX: Final = 100_000
LINE_SIZE_MAX: Final = 4_096
PROOF_SIZE_MAX: Final = 16_384
HASH_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

Json = dict[str, Any]  # Any: what a JSON decoder gives


@dataclass(frozen=True, slots=True)
class WalletRequest:
    """What a wallet hands to its bank to be registered: its key, its word to this bank, and its owner hidden."""

    key: bytes
    holder_commitment: bytes
    proof: bytes


def read_vouchers(data: bytes, *, where: str, refused: list[InputError] | None = None) -> list[Voucher]:
    """Return the vouchers of JSON lines. Raises InputError with the line and field that is wrong.

    With a list for what is `refused` the bad lines are left out and their errors put into it.
    """
    lines = [(number, line) for number, line in enumerate(data.split(b"\n"), start=1) if line.strip()]
    if len(lines) > VOUCHER_LINES_MAX:
        raise InputError("too many vouchers in a file", where=where, expected=f"at most {VOUCHER_LINES_MAX}")
    vouchers = []
    for number, line in lines:
        place = f"{where}, line {number}"
        try:
            vouchers.append(_voucher(_object(line, place), place))
        except InputError as error:
            if refused is None:
                raise
            refused.append(error)
    return vouchers


def read_double_spend(data: bytes, *, where: str) -> tuple[bytes, ReportDoubleSpend]:
    """Return the chain's id and the two vouchers of a proof, whether it holds or not. Raises InputError."""
    found = _object(data, where, size_max=PROOF_SIZE_MAX)
    _only(found, {"chain_id", "first", "second"}, where)
    first, second = (_voucher(found[name], f"{where}, {name}") for name in ("first", "second"))
    return _bytes(found["chain_id"], HASH_BYTES, f"{where}, chain_id"), ReportDoubleSpend(first, second)


def read_wallet_request(data: bytes, *, where: str) -> WalletRequest:
    """Return what a wallet asks its bank to register. Raises InputError."""
    found = _object(data, where)
    _only(found, {"key", "holder_commitment", "proof"}, where)
    return WalletRequest(
        _bytes(found["key"], HASH_BYTES, f"{where}, key"),
        _bytes(found["holder_commitment"], HASH_BYTES, f"{where}, holder_commitment"),
        _bytes(found["proof"], SIGNATURE_BYTES, f"{where}, proof"),
    )


def proof_document(chain_id: bytes, report: ReportDoubleSpend) -> Json:
    """Return a proof as a file holds it."""
    return {"chain_id": chain_id.hex(), **record_to_json(report)}


def redemptions(vouchers: Sequence[Voucher]) -> Iterator[RedeemVouchers]:
    """Yield events' bodies that redeem vouchers: of one wallet each, ascending, at most 64; each voucher once.

    Two different vouchers of one counter go into two events: the ledger judges which one comes first.
    """
    wallets: dict[bytes, list[Voucher]] = {}
    for voucher in dict.fromkeys(vouchers):
        wallets.setdefault(voucher.key, []).append(voucher)
    for held in wallets.values():
        rest = sorted(held, key=lambda voucher: voucher.counter)
        while rest:
            taken: list[Voucher] = []
            left: list[Voucher] = []
            for voucher in rest:
                fits = len(taken) < VOUCHERS_MAX and (not taken or taken[-1].counter < voucher.counter)
                (taken if fits else left).append(voucher)
            yield RedeemVouchers(tuple(taken))
            rest = left


def batched(bodies: Iterator[RedeemVouchers], size: int) -> Iterator[tuple[RedeemVouchers, ...]]:
    """Yield events' bodies in groups of at most `size`: as many as one block applies."""
    while group := tuple(islice(bodies, size)):
        yield group


def redeemed_by(client: NodeClient, chain_id: bytes, voucher: Voucher) -> str | None:
    """Return the bank that redeemed a voucher; None where nobody did, or where another one of its counter was."""
    found = _redeemed_at(client, chain_id, voucher, {"counter": voucher.counter})
    if found is None or voucher_hash(chain_id, found[0]) != voucher_hash(chain_id, voucher):
        return None
    return found[1]


def redeemed_together(client: NodeClient, chain_id: bytes, vouchers: Sequence[Voucher]) -> list[str] | None:
    """Return the banks that redeemed vouchers, in order, by few calls; None where one of them was not redeemed."""
    asked = [{"wallet": wallet_id(chain_id, each.key).hex(), "counter": each.counter} for each in vouchers]
    try:
        rows = client.call_many("voucher_get", asked)
    except CallRefused as refused:
        if refused.code != NOT_FOUND:
            raise
        return None
    found = [_voucher(row["voucher"], "voucher_get") for row in rows]
    if any(
        voucher_hash(chain_id, one) != voucher_hash(chain_id, other) for one, other in zip(vouchers, found, strict=True)
    ):
        return None
    return [str(row["member"]) for row in rows]


def found_double_spend(client: NodeClient, chain_id: bytes, voucher: Voucher) -> ReportDoubleSpend | None:
    """Return the proof that a voucher makes with one that was redeemed; None where it contradicts none of them."""
    places = (voucher.counter, voucher.counter - 1, voucher.counter + 1)
    asked: list[Json] = [{"counter": counter} for counter in places if 0 <= counter < COUNT_MAX]
    for place in (*asked, {"previous": voucher.previous.hex()}):
        found = _redeemed_at(client, chain_id, voucher, place)
        report = None if found is None else double_spend_of(chain_id, voucher, found[0])
        if report is not None:
            return report
    return None


def double_spend_of(chain_id: bytes, voucher: Voucher, other: Voucher) -> ReportDoubleSpend | None:
    """Return the proof that two vouchers make; None where they are not both signed, or an honest wallet signs both."""
    if agreement(chain_id, voucher, other):
        return None
    signed = all(signed_by_its_wallet(chain_id, each) for each in (voucher, other))
    return report_of(voucher, other) if signed else None


def _redeemed_at(client: NodeClient, chain_id: bytes, voucher: Voucher, place: Json) -> tuple[Voucher, str] | None:
    """Return the redeemed voucher at a place of a voucher's wallet, and the bank that redeemed it; None where none."""
    try:
        found = client.call("voucher_get", wallet=wallet_id(chain_id, voucher.key).hex(), **place)
    except CallRefused as refused:
        if refused.code != NOT_FOUND:
            raise
        return None
    return _voucher(found["voucher"], "voucher_get"), str(found["member"])


def _voucher(value: object, where: str) -> Voucher:
    if not isinstance(value, dict):
        raise InputError("not a voucher", where=where, expected="an object", got=type(value).__name__)
    voucher = record_from_json(Voucher, value, where=where)
    assert isinstance(voucher, Voucher)
    try:
        check_voucher(voucher)
    except InputError as error:
        raise InputError(error.what, where=where, expected=error.expected, got=error.got) from None
    return voucher


def _object(data: bytes, where: str, *, size_max: int = LINE_SIZE_MAX) -> Json:
    if len(data) > size_max:
        raise InputError("too large", where=where, expected=f"at most {size_max} bytes", got=len(data))
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise InputError("not JSON", where=where, expected="a JSON object") from None
    if not isinstance(found, dict):
        raise InputError("not an object", where=where, expected="a JSON object", got=type(found).__name__)
    return found


def _only(found: Json, names: set[str], where: str) -> None:
    wrong = sorted(set(found) ^ names)
    if wrong:
        raise InputError("wrong keys", where=where, expected=" and ".join(sorted(names)), got=wrong[0])


def _bytes(value: object, size: int, where: str) -> bytes:
    try:
        data = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        data = b""
    if len(data) != size or data.hex() != value:
        raise InputError("not bytes in hex", where=where, expected=f"{2 * size} lower-case hex digits")
    return data
