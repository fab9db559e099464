"""Offline vouchers: what a wallet may do, which rule each bad voucher breaks, and that double spending is proved."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.event_json import body_from_json, body_to_json
from ledger.events import TIME_MS_MAX
from ledger.execution import BlockRefused
from ledger.kinds import RuleBroken
from ledger.outcome_texts import TIMED_RULES
from ledger.voucher_bodies import (
    NO_VOUCHER,
    VALID_DAYS_MAX,
    DecideWallet,
    RedeemVouchers,
    RegisterWallet,
    ReportDoubleSpend,
    Voucher,
    WalletDecision,
    WalletReason,
    check_redemption,
    check_report,
    check_wallet,
    report_of,
    verify_double_spend,
    voucher_statement,
    wallet_statement,
)
from ledger.voucher_forgetting import over_after_ms
from ledger.voucher_policy import VOUCHER_POLICY_KEY, VoucherPolicy, read_voucher_policy
from ledger.wallet_records import WalletStatus, count_wallets, read_voucher
from ledger.wallets import CLOCK_AHEAD_MS_MAX, REDEMPTIONS_A_MEMBER_MAX, _register
from primitives.encoding import encode
from primitives.errors import InputError, ProofError
from tests.ledger.governance_fixtures import DAY_MS, START_MS, bank
from tests.ledger.payment_council import AUDITOR, REGULATOR, SWITCH, Paying
from tests.ledger.voucher_fixtures import Device, redeeming

SUSPEND, RESTORE, CLOSE = WalletDecision
LATEST_MS = START_MS + 10 + VALID_DAYS_MAX * DAY_MS
"""The latest end of a wallet that the first block registers."""


def deciding(device: Device, decision: WalletDecision) -> DecideWallet:
    """Return a decision on a wallet."""
    return DecideWallet(bytes(device.id), decision, WalletReason.LOST)


# --- wallets


def test_a_bank_registers_a_wallet_and_nobody_else_does() -> None:
    device = Device(Paying())
    for member in (AUDITOR, SWITCH, REGULATOR):
        assert device.council.rule(member, device.registration(member)) == "not_permitted"
    assert device.council.rule(bank(0), device.registration()) == ""
    assert (device.row().issuer, device.row().status, device.row().redeemed) == (bank(0), WalletStatus.ACTIVE, 0)
    assert count_wallets(device.council.state, bank(0)) == 1


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"amount_max": 100_001}, "wallet_limits"),
        ({"count_max": 1_001}, "wallet_limits"),
        ({"age_max_s": 30 * 86_400 + 1}, "wallet_limits"),
        ({"valid_from_ms": START_MS - DAY_MS, "valid_until_ms": START_MS - 1}, "wallet_expired"),
        ({"proof": bytes(64)}, "bad_signature"),
        ({"valid_from_ms": LATEST_MS - DAY_MS, "valid_until_ms": LATEST_MS}, ""),
        ({"valid_from_ms": LATEST_MS - DAY_MS, "valid_until_ms": LATEST_MS + 1}, "wallet_limits"),
        ({"valid_from_ms": TIME_MS_MAX - 1, "valid_until_ms": TIME_MS_MAX}, "wallet_limits"),
        ({"amount_max": 100_000, "count_max": 1_000, "age_max_s": 30 * 86_400}, ""),
    ],
)
def test_a_wallet_lies_within_the_members_limits(changes: dict[str, Any], rule: str) -> None:
    device = Device(Paying())
    assert device.council.rule(bank(0), device.registration(**changes)) == rule


def test_a_wallet_is_registered_once_and_by_the_bank_that_it_signed_for() -> None:
    device = Device(Paying())
    assert device.council.rule(bank(1), device.registration(bank(0))) == "bad_signature"
    device.registered()
    assert device.council.rule(bank(0), device.registration()) == "wallet_registered"
    assert device.council.rule(bank(1), device.registration(bank(1))) == "wallet_registered"


@pytest.mark.parametrize(
    ("policy", "rule"),
    [
        (VoucherPolicy(enabled=False), "vouchers_disabled"),
        (VoucherPolicy(wallets_per_bank_max=1), "too_many_wallets"),
        (VoucherPolicy(amount_max=49_999), "wallet_limits"),
        (VoucherPolicy(), ""),
    ],
)
def test_the_members_limits_are_those_in_the_state(policy: VoucherPolicy, rule: str) -> None:
    from ledger.kinds import ApplyContext
    from ledger.policy import Policy
    from ledger.state import MemoryState, StateView, Transaction
    from primitives.ids import Epoch, EventId, Height, MemberId, SourceKey, TimeMs

    council = Paying()
    state = Transaction(StateView(MemoryState()))
    state.put(VOUCHER_POLICY_KEY, policy)
    assert read_voucher_policy(state) == policy
    context = ApplyContext(
        chain_id=council.chain_id,
        epoch=Epoch(0),
        rules=4,
        member=MemberId(bank(0)),
        source=SourceKey(bytes(32)),
        roles=frozenset(),
        source_roles=frozenset(),
        event_id=EventId(bytes(32)),
        reference=b"",
        height=Height(1),
        time_ms=TimeMs(council.now_ms),
        policy=Policy(),
    )
    broken = ""
    try:
        for name in ("first", "second"):
            _register(context, state, Device(council, name).registration())
    except RuleBroken as error:
        broken = error.rule
    assert broken == rule


STEPS: dict[WalletStatus, dict[WalletDecision, tuple[str, WalletStatus | None]]] = {
    WalletStatus.ACTIVE: {
        SUSPEND: ("", WalletStatus.SUSPENDED),
        RESTORE: ("wallet_not_suspended", None),
        CLOSE: ("", WalletStatus.CLOSED),
    },
    WalletStatus.SUSPENDED: {
        SUSPEND: ("wallet_suspended", None),
        RESTORE: ("", WalletStatus.ACTIVE),
        CLOSE: ("", WalletStatus.CLOSED),
    },
    WalletStatus.ACCUSED: {
        SUSPEND: ("", WalletStatus.SUSPENDED),
        RESTORE: ("wallet_accused", None),
        CLOSE: ("", WalletStatus.CLOSED),
    },
    WalletStatus.CLOSED: dict.fromkeys(WalletDecision, ("wallet_closed", None)),
    WalletStatus.ENDED: dict.fromkeys(WalletDecision, ("wallet_ended", None)),
}


def brought_to(status: WalletStatus) -> Device:
    """Return a wallet of this status."""
    device = Device(Paying()).registered()
    if status is WalletStatus.ACCUSED:
        assert device.council.rule(bank(1), spent_twice(device)) == ""
    elif status is WalletStatus.ENDED:
        device.council.now_ms = over_after_ms(device.row())
        device.council.block()
    elif status is not WalletStatus.ACTIVE:
        decision = SUSPEND if status is WalletStatus.SUSPENDED else CLOSE
        assert device.council.rule(bank(0), deciding(device, decision)) == ""
    assert device.row().status is status
    return device


def spent_twice(device: Device) -> ReportDoubleSpend:
    """Return the proof that a wallet paid two by its first voucher."""
    return report_of(device.voucher(0), device.voucher(0, payee_commitment=bytes([8]) * 32))


@pytest.mark.parametrize("status", WalletStatus)
@pytest.mark.parametrize("decision", WalletDecision)
def test_the_issuer_decides_as_the_table_says_and_no_other_bank_does(
    status: WalletStatus, decision: WalletDecision
) -> None:
    device = brought_to(status)
    assert device.council.rule(bank(1), deciding(device, decision)) == "not_the_issuer"
    rule, after = STEPS[status][decision]
    assert device.council.rule(bank(0), deciding(device, decision)) == rule
    assert device.row().status is (after or status)
    gone = device.row().status in (WalletStatus.CLOSED, WalletStatus.ENDED)
    assert count_wallets(device.council.state, bank(0)) == (0 if gone else 1)


@pytest.mark.parametrize("status", WalletStatus)
def test_a_wallet_redeems_while_it_is_active_and_at_no_other_time(status: WalletStatus) -> None:
    device = brought_to(status)
    rule = "" if status is WalletStatus.ACTIVE else f"wallet_{status}"
    assert device.council.rule(bank(1), redeeming(device.voucher(0))) == rule


def test_a_wallet_that_spent_twice_is_not_restored_though_it_was_suspended_since() -> None:
    device = brought_to(WalletStatus.ACCUSED)
    assert device.council.rule(bank(0), deciding(device, SUSPEND)) == ""
    assert device.council.rule(bank(0), deciding(device, RESTORE)) == "wallet_accused"


def test_nothing_is_decided_on_redeemed_or_proved_of_a_wallet_that_is_not_registered() -> None:
    device = Device(Paying())
    for body in (deciding(device, CLOSE), redeeming(device.voucher(0)), spent_twice(device)):
        assert device.council.rule(bank(0), body) == "wallet_unknown"


# --- redeeming

NOW = START_MS + 10 * DAY_MS
Make = Callable[[Device], Voucher]

BROKEN: dict[str, tuple[Make, str]] = {
    "good": (lambda d: d.voucher(0), ""),
    "of the highest amount": (lambda d: d.voucher(0, amount=50_000), ""),
    "too high": (lambda d: d.voucher(0, amount=50_001), "voucher_limit_amount"),
    "the last": (lambda d: d.voucher(9, d.voucher(0)), ""),
    "one too many": (lambda d: d.voucher(10, d.voucher(0)), "voucher_limit_count"),
    "as old as may be": (lambda d: d.voucher(0, issued_at_ms=NOW + 10 - DAY_MS), ""),
    "too old": (lambda d: d.voucher(0, issued_at_ms=NOW + 9 - DAY_MS), "voucher_limit_age"),
    "by a clock ahead": (lambda d: d.voucher(0, issued_at_ms=NOW + 10 + CLOCK_AHEAD_MS_MAX), ""),
    "from the future": (
        lambda d: d.voucher(0, issued_at_ms=NOW + 11 + CLOCK_AHEAD_MS_MAX),
        "voucher_from_future",
    ),
    "before the wallet": (lambda d: d.voucher(0, issued_at_ms=START_MS - 1), "wallet_expired"),
    "after the wallet": (lambda d: d.voucher(0, issued_at_ms=START_MS + 30 * DAY_MS + 1), "wallet_expired"),
    "in another currency": (lambda d: d.voucher(0, currency="EUR"), "voucher_currency"),
    "not signed": (lambda d: d.voucher(0, signature=bytes(64)), "voucher_signature"),
    "changed": (lambda d: replace(d.voucher(0), amount=1), "voucher_signature"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_voucher_is_refused_by_its_rule(name: str) -> None:
    device = Device(Paying()).registered()
    device.council.now_ms = NOW
    make, rule = BROKEN[name]
    voucher = make(device)
    assert device.council.rule(bank(1), redeeming(voucher)) == rule
    found = read_voucher(device.council.state, device.id, voucher.counter)
    assert (found is None) is bool(rule)
    assert device.row().redeemed == (0 if rule else 1)


def test_a_voucher_of_another_chain_is_not_signed_for_this_one() -> None:
    device = Device(Paying()).registered()
    voucher = device.voucher(0)
    foreign = replace(voucher, signature=device.key.sign(voucher_statement(bytes(32), voucher)))
    assert device.council.rule(bank(1), redeeming(foreign)) == "voucher_signature"


def test_redeemed_vouchers_are_kept_whole_and_counted() -> None:
    device = Device(Paying()).registered()
    vouchers = device.chain(3)
    result = device.council.block((bank(1), redeeming(*vouchers)))
    assert result.outcomes[0].applied
    assert (device.row().redeemed, device.row().amount) == (3, 3_750)
    found = read_voucher(device.council.state, device.id, 1)
    assert found is not None
    assert (found.voucher, found.member, found.event) == (vouchers[1], bank(1), result.event_ids[0])
    assert found.time_ms == device.council.now_ms


def test_vouchers_come_out_of_order_and_by_several_banks_and_each_once() -> None:
    device = Device(Paying()).registered()
    first, second, third = device.chain(3)
    assert device.council.rule(bank(1), redeeming(third)) == ""
    assert device.council.rule(bank(0), redeeming(first)) == ""
    assert device.council.rule(bank(1), redeeming(second)) == ""
    for voucher in (first, second, third):
        assert device.council.rule(bank(0), redeeming(voucher)) == "voucher_redeemed"


def test_an_event_with_one_bad_voucher_redeems_none_and_names_it() -> None:
    device = Device(Paying()).registered()
    first, second = device.chain(2)
    outcome = device.council.say(bank(1), redeeming(first, replace(second, amount=2)))
    assert (outcome.rule, outcome.detail) == ("voucher_signature", "voucher 1: not the wallet's, for this chain")
    assert read_voucher(device.council.state, device.id, 0) is None
    assert device.council.rule(bank(1), redeeming(first, second)) == ""


def test_a_voucher_that_is_signed_twice_is_one_voucher() -> None:
    device = Device(Paying()).registered()
    voucher = device.voucher(0)
    assert device.hash(voucher) == device.hash(replace(voucher, signature=bytes(64)))
    with pytest.raises(InputError, match="no double spending"):
        check_report(report_of(voucher, replace(voucher, signature=bytes(64))))


def test_a_voucher_that_does_not_follow_the_one_beside_it_is_a_double_spend_whichever_comes_first() -> None:
    council = Paying()
    for turn, order in enumerate(((0, 1), (1, 0))):
        device = Device(council, f"wallet {turn}").registered()
        other = device.voucher(0, amount=1)  # nobody brings it, but the wallet signed that it comes before
        pair = device.voucher(0), device.voucher(1, other)
        assert council.rule(bank(0), redeeming(pair[order[0]])) == ""
        assert council.rule(bank(1), redeeming(pair[order[1]])) == "double_spend"
        assert verify_double_spend(council.chain_id, report_of(*pair)) == device.id
        assert council.rule(bank(1), report_of(*pair)) == ""
        assert device.row().status is WalletStatus.ACCUSED


def test_a_block_holds_a_bounded_number_of_a_banks_redemptions() -> None:
    device = Device(Paying()).registered(count_max=1_000)
    vouchers = device.chain(REDEMPTIONS_A_MEMBER_MAX + 1)
    events = [(bank(1), redeeming(voucher)) for voucher in vouchers]
    outcomes = device.council.block(*events).outcomes
    assert [outcome.rule for outcome in outcomes] == [""] * REDEMPTIONS_A_MEMBER_MAX + ["too_many_in_block"]


# --- double spending


@pytest.mark.parametrize("same", ["counter", "previous"])
def test_two_banks_with_two_spends_get_a_proof_and_the_wallet_stops(same: str) -> None:
    device = Device(Paying()).registered()
    first, second, third = device.chain(3)
    if same == "counter":
        again = device.voucher(1, first, payee_commitment=bytes([9]) * 32)
    else:
        again = device.voucher(5, first)
    assert device.council.rule(bank(0), redeeming(second)) == ""
    outcome = device.council.say(bank(1), redeeming(again))
    assert (outcome.rule, outcome.detail) == (
        "double_spend",
        f"voucher {again.counter}: against counter 1, redeemed by bank-0",
    )
    assert device.row().status is WalletStatus.ACTIVE, "a rejected event changes nothing"
    found = read_voucher(device.council.state, device.id, 1)
    assert found is not None
    report = report_of(found.voucher, again)
    assert verify_double_spend(device.council.chain_id, report) == device.id
    result = device.council.block((AUDITOR, report))
    assert result.outcomes[0].applied
    assert (device.row().status, device.row().proof) == (WalletStatus.ACCUSED, result.event_ids[0])
    assert device.council.rule(bank(1), redeeming(third)) == "wallet_accused"
    assert device.council.rule(bank(1), report) == "already_accused"


@pytest.mark.parametrize("status", [WalletStatus.SUSPENDED, WalletStatus.CLOSED])
def test_a_proof_leaves_what_the_issuer_decided(status: WalletStatus) -> None:
    device = brought_to(status)
    assert device.council.rule(SWITCH, spent_twice(device)) == ""
    assert device.row().status is status
    assert device.row().proof is not None


def test_vouchers_that_the_wallet_did_not_sign_prove_nothing() -> None:
    device = Device(Paying()).registered()
    report = spent_twice(device)
    for forged in (
        replace(report, first=replace(report.first, signature=bytes(64))),
        replace(report, second=replace(report.second, signature=bytes(64))),
    ):
        assert device.council.rule(bank(1), forged) == "voucher_signature"
        with pytest.raises(ProofError, match="signature does not hold"):
            verify_double_spend(device.council.chain_id, forged)
    with pytest.raises(ProofError, match="signature does not hold"):
        verify_double_spend(bytes(32), report)


def test_vouchers_that_an_honest_wallet_signs_prove_nothing() -> None:
    device, other = Device(Paying()), Device(Paying(), "other")
    first, second = device.chain(2)
    third = device.voucher(2, second)
    for report in (
        report_of(first, second),
        report_of(first, third),
        report_of(first, first),
        report_of(first, other.voucher(0)),
    ):
        with pytest.raises(ProofError, match="not a proof of double spending"):
            verify_double_spend(device.council.chain_id, report)
    device.registered()
    assert device.council.rule(bank(1), report_of(first, second)) == "no_double_spend"
    assert device.row().proof is None


# --- shape


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"key": bytes(32)}, "not a wallet's key"),
        ({"key": (1).to_bytes(32, "little")}, "not a wallet's key"),
        ({"valid_until_ms": START_MS}, "valid for no time"),
        ({"valid_until_ms": START_MS + VALID_DAYS_MAX * DAY_MS + 1}, "too long"),
    ],
)
def test_a_wallet_that_makes_no_sense_is_not_well_formed(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        check_wallet(Device(Paying()).registration(**changes))


def test_vouchers_out_of_order_of_two_wallets_or_at_a_wrong_place_are_not_well_formed() -> None:
    device = Device(Paying())
    first, second = device.chain(2)
    stray = Device(device.council, "other").voucher(1, first)
    for vouchers, match in (
        ((second, first), "out of order"),
        ((first, first), "out of order"),
        ((first, stray), "several wallets"),
        ((device.voucher(0, previous=first),), "wrong place"),
        ((device.voucher(1),), "wrong place"),
    ):
        with pytest.raises(InputError, match=match):
            check_redemption(RedeemVouchers(vouchers))
    check_redemption(RedeemVouchers((first, second)))


def test_a_proof_has_one_order() -> None:
    report = spent_twice(Device(Paying()))
    check_report(report)
    with pytest.raises(InputError, match="out of order"):
        check_report(ReportDoubleSpend(report.second, report.first))


def bodies() -> dict[int, tuple[str, Any]]:
    """Return a body of each kind."""
    device = Device(Paying())
    return {
        38: ("wallet.register", device.registration()),
        39: ("wallet.decide", deciding(device, CLOSE)),
        40: ("voucher.redeem", redeeming(*device.chain(2))),
        41: ("voucher.double_spend", spent_twice(device)),
    }


@pytest.mark.parametrize("kind", bodies())
def test_their_json_form_goes_there_and_back(kind: int) -> None:
    name, body = bodies()[kind]
    shown = body_to_json(kind, 1, encode(body))
    assert body_from_json(name, shown) == (kind, 1, encode(body))


@pytest.mark.parametrize("kind", bodies())
def test_no_block_by_earlier_rules_holds_any_of_them(kind: int) -> None:
    with pytest.raises(BlockRefused, match="is of later rules"):
        Paying(first_rules=3).say(bank(0), bodies()[kind][1])


def test_no_field_holds_a_persons_name_or_account() -> None:
    closed = {"holder_commitment", "payee_commitment", "previous", "key", "proof", "signature"}
    for type_ in (RegisterWallet, Voucher):
        texts = {name for name in type_.__struct_fields__ if name not in closed}
        assert texts <= {
            *("currency", "amount_max", "count_max", "age_max_s", "valid_from_ms", "valid_until_ms"),
            *("counter", "amount", "issued_at_ms"),
        }


def test_what_wallets_sign_and_how_vouchers_hash_stays() -> None:
    device = Device(Paying())
    voucher = device.voucher(0)
    signed = wallet_statement(bytes(32), "bank-0", device.key.public) + voucher_statement(bytes(32), voucher)
    assert voucher.previous == NO_VOUCHER
    assert sha256(signed).hexdigest() == GOLDEN_STATEMENTS
    assert sha256(device.id + device.hash(voucher)).hexdigest() == GOLDEN_HASHES


def test_a_chain_of_the_fourth_rules_leaves_the_same_blocks_again() -> None:
    device = Device(Paying()).registered()
    vouchers = device.chain(3)
    device.council.block((bank(0), redeeming(vouchers[0])), (bank(1), redeeming(*vouchers[1:])))
    device.council.block((AUDITOR, spent_twice(device)), (bank(0), deciding(device, CLOSE)))
    assert device.council.chain.tip_hash.hex() == GOLDEN_BLOCKS


GOLDEN_STATEMENTS = "2ffc49f3390ab0d101bb67f09d5134c944b5c9deeb9664b360ceb43f9a07ce57"
GOLDEN_HASHES = "02a2453cc737bd83442314584d8078adf05ed33a76d72dc40e90b4eac2f330e3"
GOLDEN_BLOCKS = "e7ab4f930331d077355455ce5ee42b571ac6a37f61b53b54577c5f63a924c5c9"


def test_times_in_their_outcomes_are_shown_as_times() -> None:
    assert {"voucher_from_future", "voucher_limit_age", "wallet_expired"} <= TIMED_RULES
