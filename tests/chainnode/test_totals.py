"""Making end-of-day totals: sums of what was kept, tokens that both banks make alike, and what cannot be summed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chainnode.ingest.privacy import PrivateField, sum_token, totals_key
from chainnode.payloads import payload_of
from chainnode.private_store import Erased, Kept, NotKept, PrivateStore
from chainnode.totals import Counted, count_payments, kept_amount, make_totals, totals_reference
from ledger.currencies import MINOR_UNITS_MAX
from ledger.totals import Stated, TotalsState, stands
from ledger.totals_bodies import Flow, TotalsLeg
from primitives.encoding import encode
from primitives.errors import UsageError

SECRET = bytes(range(32))
DAY = 2026_11_23
GOLDEN_KEY = "f3b06be9033bcc8f9e62b65b962ab525adfb403bba085cfdb42919356436e414"
GOLDEN_TOKEN = "de8abad76927d93c840656a16b720b34"
GOLDEN_BODY = (
    "94a662616e6b2d62ce01352903a3434e599196a87265636569766564a77061796d656e7401ccfac410a53cff313a3c29a3a2"
    "19a69917eb2224c420d9cf8add8675a1b25627d7b0ec33bc177cb3930b0b6e995d79c386b980b2f4d6"
)


def payment(number: int, sender: str, *members: str, leg: str = "payment", part: str = "") -> dict[str, Any]:
    return {
        "pair_key": f"{number:064x}", "part": part, "sender": sender, "leg": leg, "amounts_differ": False,
        "elsewhere": [], "counted_by": [{"member": name, "event_id": "ab" * 32, "amount": None} for name in members],
    }  # fmt: skip


PAYMENTS = [
    payment(1, "bank-a", "bank-a", "bank-b"),
    payment(2, "bank-a", "bank-a"),
    payment(3, "bank-b", "bank-b", "bank-a"),
    payment(1, "bank-b", "bank-a", "bank-b", leg="return", part="11" * 16),
    payment(1, "bank-b", "bank-a", "bank-b", leg="return", part="22" * 16),
]


def counted(member: str, amount: int = 250) -> list[Counted]:
    return count_payments(PAYMENTS, member, lambda _: amount)


def test_a_bank_counts_its_own_on_each_line_with_their_sum() -> None:
    lines = [(one.flow, one.leg, len(one.names), one.amount) for one in counted("bank-a")]
    assert lines == [
        (Flow.RECEIVED, TotalsLeg.PAYMENT, 1, 250),
        (Flow.RECEIVED, TotalsLeg.RETURN, 2, 500),
        (Flow.SENT, TotalsLeg.PAYMENT, 2, 500),
    ]
    assert [len(one.names) for one in counted("bank-b")] == [1, 1, 2]


def both(amounts: tuple[int, int] = (250, 250), days: tuple[int, int] = (DAY, DAY), **how: Any) -> TotalsState:
    """Return how totals stand that both banks make of what both count."""
    shared = [item for item in PAYMENTS if len(item["counted_by"]) == 2]
    said = []
    for member, other, amount, day in zip(("bank-a", "bank-b"), ("bank-b", "bank-a"), amounts, days, strict=True):
        lines = count_payments(shared, member, lambda _, amount=amount: amount)  # type: ignore[misc]  # of this bank
        said.append([Stated(1, 0, 1, make_totals(member, other, day, "CNY", lines, SECRET, **how).lines)])
    return stands(*said)


def test_both_banks_make_the_same_tokens_and_roots_and_no_sum_in_clear() -> None:
    assert both() is both(clear_amounts=True) is TotalsState.AGREED
    assert both((250, 251)) is TotalsState.DIFFERS
    assert both(days=(DAY, DAY + 1)) is TotalsState.DIFFERS
    hidden = make_totals("bank-a", "bank-b", DAY, "CNY", counted("bank-a"), SECRET)
    assert {line.amount for line in hidden.lines} == {None}
    clear = make_totals("bank-a", "bank-b", DAY, "CNY", counted("bank-a"), SECRET, clear_amounts=True)
    assert [line.amount for line in clear.lines] == [250, 500, 500]


def test_a_token_is_of_one_sender_leg_sum_day_currency_and_pair() -> None:
    usual: dict[str, Any] = {
        "secret": SECRET, "members": ("bank-a", "bank-b"), "day": DAY, "currency": "CNY", "sender": "bank-a",
        "leg": "payment", "amount": "CNY 2.50",
    }  # fmt: skip
    others = (
        {}, {"secret": bytes(32)}, {"members": ("bank-a", "bank-c")}, {"day": DAY + 1}, {"currency": "USD"},
        {"sender": "bank-b"}, {"leg": "return"}, {"amount": "CNY 2.51"},
    )  # fmt: skip
    tokens = set()
    for changed in others:
        at = usual | changed
        key = totals_key(at["secret"], at["members"], at["day"], at["currency"])
        tokens.add(sum_token(key, at["sender"], at["leg"], at["amount"]))
    assert len(tokens) == len(others)
    assert totals_key(SECRET, ("bank-b", "bank-a"), DAY, "CNY") == totals_key(SECRET, ("bank-a", "bank-b"), DAY, "CNY")


def test_the_bytes_of_totals_are_as_they_were() -> None:
    key = totals_key(SECRET, ("bank-a", "bank-b"), DAY, "CNY")
    assert key.hex() == GOLDEN_KEY
    assert sum_token(key, "bank-a", "payment", "CNY 2.50").hex() == GOLDEN_TOKEN
    body = make_totals("bank-a", "bank-b", DAY, "CNY", counted("bank-a")[:1], SECRET, clear_amounts=True)
    assert encode(body).hex() == GOLDEN_BODY


def test_a_sum_beyond_what_an_amount_may_be_stands_as_a_token_alone() -> None:
    large = [Counted(Flow.SENT, TotalsLeg.PAYMENT, (bytes(32),), MINOR_UNITS_MAX + 1)]
    assert make_totals("bank-a", "bank-b", DAY, "CNY", large, SECRET).lines[0].amount is None
    with pytest.raises(UsageError, match="sum too large to stand in clear"):
        make_totals("bank-a", "bank-b", DAY, "CNY", large, SECRET, clear_amounts=True)


def test_totals_that_replace_others_have_a_reference_of_their_own() -> None:
    body = make_totals("bank-a", "bank-b", DAY, "CNY", [], SECRET)
    references = [totals_reference(body, replaced) for replaced in (b"", bytes(32), b"\x01" * 32)]
    assert len(set(references)) == 3
    assert totals_reference(body, b"") == references[0]


def test_amounts_are_read_in_clear_or_out_of_what_was_kept(tmp_path: Path) -> None:
    kept, gone, unknown = (bytes([number]) * 32 for number in (1, 2, 3))
    with PrivateStore(tmp_path / "private") as store:
        for number, event in enumerate((kept, gone)):
            payload = encode(payload_of(event, {PrivateField.AMOUNT: b"CNY 12.34"}))
            store.keep([Kept(bytes([number]) * 16, event, bytes([number + 1]) * 32, payload)])
        store.erase([gone], 1)

        def amount(event: bytes, currency: str = "CNY", clear: str | None = None) -> int:
            return kept_amount(store, {"event_id": event.hex(), "amount": clear}, currency)

        assert amount(kept) == 1234
        assert amount(unknown, clear="5.00") == 500
        with pytest.raises(Erased):
            amount(gone)
        with pytest.raises(NotKept):
            amount(unknown)
        with pytest.raises(UsageError, match="another currency"):
            amount(kept, "USD")
    with pytest.raises(UsageError, match="nothing is kept here"):
        kept_amount(None, {"event_id": "ab", "amount": None}, "CNY")
