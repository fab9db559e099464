"""Random wallets, banks, orders and double spenders, beside a model that keeps nothing but sets."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.voucher_bodies import (
    NO_VOUCHER,
    ReportDoubleSpend,
    Voucher,
    agreement,
    report_of,
    verify_double_spend,
)
from ledger.wallet_records import WalletStatus, read_voucher
from ledger.wallets import redeemed_beside
from tests.ledger.governance_fixtures import bank
from tests.ledger.payment_council import Paying
from tests.ledger.voucher_fixtures import Device, redeeming

COUNTERS = 4
Pick = tuple[int, int, int, int]


def tree(device: Device) -> dict[tuple[int, int], Voucher]:
    """Return two vouchers of each counter, of which some follow the one twin before them and some the other."""
    made: dict[tuple[int, int], Voucher] = {}
    for counter in range(COUNTERS):
        for twin in (0, 1):
            before = made.get((counter - 1, twin if counter % 2 else 0))
            made[counter, twin] = device.voucher(counter, before, amount=1 + twin)
    return made


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, COUNTERS - 1), st.integers(0, 1)), max_size=14
    )
)
def test_no_voucher_is_applied_twice_and_two_spends_always_lead_to_a_proof(picks: list[Pick]) -> None:
    council = Paying()
    devices = [Device(council, f"wallet {number}").registered() for number in (0, 1)]
    trees = [tree(device) for device in devices]
    redeemed: list[dict[int, Voucher]] = [{}, {}]
    stopped: set[int] = set()
    for submitter, wallet, counter, twin in picks:
        device, voucher, held = devices[wallet], trees[wallet][counter, twin], redeemed[wallet]
        rule = council.rule(bank(submitter), redeeming(voucher))
        same = [one for one in held.values() if one.counter == counter or one.previous == voucher.previous]
        if wallet in stopped:
            assert rule == "wallet_accused"
        elif voucher in held.values():
            assert rule == "voucher_redeemed"
        elif same or not follows(device, held, voucher):
            assert rule == "double_spend"
            report = proof(council, device, voucher)
            assert verify_double_spend(council.chain_id, report) == device.id
            assert council.rule(bank(submitter), report) == ""
            stopped.add(wallet)
        else:
            assert rule == ""
            held[counter] = voucher
    for wallet, device in enumerate(devices):
        kept = {number: read_voucher(council.state, device.id, number) for number in range(COUNTERS)}
        assert {number: row.voucher for number, row in kept.items() if row is not None} == redeemed[wallet]
        assert device.row().redeemed == len(redeemed[wallet])
        assert device.row().amount == sum(voucher.amount for voucher in redeemed[wallet].values())
        assert (device.row().status is WalletStatus.ACCUSED) is (wallet in stopped)


def proof(council: Paying, device: Device, voucher: Voucher) -> ReportDoubleSpend:
    """Return the proof that a refused voucher and one that was redeemed make."""
    found = [row.voucher for row in redeemed_beside(council.state, device.id, voucher)]
    other = next(each for each in found if not agreement(council.chain_id, each, voucher))
    return report_of(other, voucher)


def follows(device: Device, held: dict[int, Voucher], voucher: Voucher) -> bool:
    """Say whether a voucher fits those beside it."""
    before, after = held.get(voucher.counter - 1), held.get(voucher.counter + 1)
    return (before is None or device.hash(before) == voucher.previous) and (
        after is None or after.previous == device.hash(voucher)
    )


def test_an_honest_wallet_never_makes_a_proof() -> None:
    device = Device(Paying())
    vouchers = device.chain(6)
    assert vouchers[0].previous == NO_VOUCHER
    for one in vouchers:
        for other in vouchers:
            if one is not other:
                assert one.counter != other.counter
                assert one.previous != other.previous
        assert replace(one) == one
