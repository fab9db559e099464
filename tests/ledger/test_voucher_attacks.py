"""Banks and wallets that state whatever they like: no voucher pays twice, no honest wallet is accused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import ValidationError
from msgspec.structs import replace

from ledger.events import TIME_MS_MAX
from ledger.governance_bodies import ExcludeMember
from ledger.voucher_bodies import (
    AMOUNT_MAX,
    COUNT_MAX,
    DecideWallet,
    RedeemVouchers,
    ReportDoubleSpend,
    WalletDecision,
    WalletReason,
    report_of,
    signed_by_its_wallet,
    voucher_statement,
    wallet_statement,
)
from ledger.wallet_records import WalletStatus, read_voucher
from primitives.encoding import decode, encode
from primitives.errors import EncodingError
from tests.ledger.governance_fixtures import START_MS, bank, key_of
from tests.ledger.payment_council import AUDITOR, Paying
from tests.ledger.voucher_fixtures import Device, redeeming

ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the group of Ed25519."""


def rules_of(council: Paying, *said: tuple[str, RedeemVouchers | ReportDoubleSpend]) -> list[str]:
    """Commit a block and return the rule that each event broke."""
    return [outcome.rule for outcome in council.block(*said).outcomes]


def test_of_two_banks_in_one_block_one_is_paid_and_the_other_has_its_proof() -> None:
    device = Device(Paying()).registered()
    voucher, again = device.voucher(0), device.voucher(0, payee_commitment=bytes([9]) * 32)
    said = ((bank(0), redeeming(voucher)), (bank(1), redeeming(again)), (bank(1), redeeming(voucher)))
    assert rules_of(device.council, *said) == ["", "double_spend", "voucher_redeemed"]
    assert (device.row().redeemed, device.row().amount) == (1, 1_250)


def test_a_proof_and_what_it_stops_in_one_block_hold_in_their_order() -> None:
    device = Device(Paying()).registered()
    first, second = device.chain(2)
    report = report_of(first, device.voucher(0, amount=1))
    said = ((bank(0), redeeming(first)), (AUDITOR, report), (bank(1), redeeming(second)), (bank(1), report))
    assert rules_of(device.council, *said) == ["", "", "wallet_accused", "already_accused"]


def test_one_event_redeems_nothing_where_its_own_vouchers_contradict_each_other() -> None:
    device = Device(Paying()).registered()
    first, second = device.chain(2)
    for pair in ((first, device.voucher(1, device.voucher(0, amount=1))), (second, device.voucher(5, first))):
        assert device.council.rule(bank(1), redeeming(*pair)) == "double_spend"
    assert (device.row().redeemed, read_voucher(device.council.state, device.id, 0)) == (0, None)


def test_a_wallet_fills_the_state_up_to_its_count_and_no_further() -> None:
    device = Device(Paying()).registered(count_max=3)
    far = [device.voucher(counter, device.voucher(0, amount=counter)) for counter in (2, 3, COUNT_MAX - 1)]
    rules = [device.council.rule(bank(1), redeeming(voucher)) for voucher in far]
    assert rules == ["", "voucher_limit_count", "voucher_limit_count"]


@pytest.mark.parametrize("name", ["amount", "counter", "issued_at_ms"])
def test_figures_end_where_they_must(name: str) -> None:
    most = {"amount": AMOUNT_MAX, "counter": COUNT_MAX - 1, "issued_at_ms": TIME_MS_MAX}[name]
    device = Device(Paying()).registered()
    previous = device.voucher(0) if name == "counter" else None
    voucher = replace(device.voucher(0 if previous is None else 1, previous), **{name: most})
    assert decode(RedeemVouchers, encode(redeeming(voucher)), size_max=4_096).vouchers == (voucher,)
    assert device.council.rule(bank(1), redeeming(voucher)) in {
        "voucher_limit_amount",
        "voucher_limit_count",
        "wallet_expired",
    }
    for beyond in (most + 1, 2**63, 2**64 - 1, -1):
        with pytest.raises((EncodingError, ValidationError, OverflowError)):
            decode(RedeemVouchers, encode(redeeming(replace(voucher, **{name: beyond}))), size_max=4_096)


def test_a_bank_redeems_what_its_own_wallets_signed() -> None:
    device = Device(Paying()).registered()
    assert device.council.rule(bank(0), redeeming(*device.chain(2))) == ""


@pytest.mark.parametrize("decision", [WalletDecision.SUSPEND, WalletDecision.CLOSE])
def test_a_wallet_that_its_bank_stopped_redeems_nothing_that_is_out_and_is_still_proved_to_spend_twice(
    decision: WalletDecision,
) -> None:
    device = Device(Paying()).registered()
    first, second = device.chain(2)
    assert device.council.rule(bank(1), redeeming(first)) == ""
    assert device.council.rule(bank(0), DecideWallet(bytes(device.id), decision, WalletReason.LOST)) == ""
    stopped = device.row().status
    assert device.council.rule(bank(1), redeeming(second)) == f"wallet_{stopped}"
    assert device.council.rule(bank(1), report_of(first, device.voucher(0, amount=1))) == ""
    assert device.row().status is stopped


def test_vouchers_of_a_bank_that_is_no_member_any_more_are_not_redeemed() -> None:
    council, issuer = Paying(outsiders=2), bank(5)
    device = Device(council)
    assert council.rule(issuer, device.registration(issuer)) == ""
    first, second = device.chain(2)
    assert council.rule(bank(1), redeeming(first)) == ""
    council.vote(council.propose(ExcludeMember(issuer)), 0, 1, 2)
    assert council.rule(bank(1), redeeming(second)) == "issuer_excluded"


def test_a_bank_registers_no_key_that_it_was_not_handed() -> None:
    device = Device(Paying())
    council, key = device.council, device.key
    for proof in (
        key.sign(wallet_statement(council.chain_id, bank(1), key.public)),  # to another bank
        key.sign(wallet_statement(bytes(32), bank(0), key.public)),  # on another chain
        key.sign(voucher_statement(council.chain_id, device.voucher(0))),  # a voucher that somebody was paid
        key_of(bank(0), "source").sign(wallet_statement(council.chain_id, bank(0), key.public)),
    ):
        assert council.rule(bank(0), device.registration(proof=proof)) == "bad_signature"


def test_a_signature_that_was_bent_is_none() -> None:
    device = Device(Paying()).registered()
    voucher = device.voucher(0)
    scalar = int.from_bytes(voucher.signature[32:], "little")
    for bent in (scalar + ORDER, ORDER - scalar, 0):
        other = replace(voucher, signature=voucher.signature[:32] + bent.to_bytes(32, "little"))
        assert not signed_by_its_wallet(device.council.chain_id, other)
        assert device.council.rule(bank(1), redeeming(other)) == "voucher_signature"


def test_a_proof_of_one_chain_accuses_nobody_on_another() -> None:
    device, elsewhere = Device(Paying()).registered(), Device(Paying(outsiders=2))
    assert device.key.public == elsewhere.key.public
    there = report_of(elsewhere.voucher(0), elsewhere.voucher(0, amount=1))
    assert device.council.rule(bank(1), there) == "voucher_signature"
    mixed = report_of(device.voucher(0), elsewhere.voucher(0, amount=1))
    assert device.council.rule(bank(1), mixed) == "voucher_signature"
    assert device.row().status is WalletStatus.ACTIVE


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=10), st.data())
def test_a_wallet_that_leaves_counters_out_as_it_dies_is_never_accused(handed: list[bool], data: st.DataObject) -> None:
    """A wallet that dies before it signs has named the voucher all the same: what it signs next follows that one."""
    device = Device(Paying()).registered()
    vouchers = device.chain(len(handed))
    out = [voucher for voucher, is_out in zip(vouchers, handed, strict=True) if is_out]
    for voucher in data.draw(st.permutations(out)):
        assert device.council.rule(bank(1), redeeming(voucher)) == ""
    for one in out:
        for other in out:
            if one is not other:
                body = ReportDoubleSpend(*sorted((one, other), key=lambda each: each.counter))
                if abs(one.counter - other.counter) > 1:
                    continue
                assert device.council.rule(AUDITOR, body) == "no_double_spend"
    assert device.row().proof is None


EDGES = {
    "at its first moment": (START_MS, START_MS + 10, ""),
    "before it": (START_MS - 1, START_MS + 10, "wallet_expired"),
}


@pytest.mark.parametrize("edge", EDGES)
def test_a_wallets_time_has_edges(edge: str) -> None:
    issued_ms, now_ms, rule = EDGES[edge]
    device = Device(Paying()).registered()
    device.council.now_ms = max(device.council.now_ms, now_ms)
    assert device.council.rule(bank(1), redeeming(device.voucher(0, issued_at_ms=issued_ms))) == rule
