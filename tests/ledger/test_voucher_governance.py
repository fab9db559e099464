"""What the members decide on offline vouchers: limits of what is registered, and wallets that spent twice."""

from __future__ import annotations

import pytest

from ledger.consequences import consequences_of
from ledger.event_json import record_to_json
from ledger.execution import BlockRefused
from ledger.governance_actions import proposing_body, sentence_of
from ledger.governance_bodies import PaymentAction, Regulate, SetVoucherPolicy, SuspendWallet
from ledger.governance_records import Stage
from ledger.governance_rules import check_action
from ledger.kinds import RuleBroken
from ledger.voucher_bodies import DecideWallet, WalletDecision, WalletReason, report_of
from ledger.voucher_policy import VoucherPolicy, read_voucher_policy
from ledger.wallet_records import WalletStatus
from tests.ledger.governance_fixtures import START_MS, bank
from tests.ledger.payment_council import AUDITOR, REGULATOR, Paying
from tests.ledger.voucher_fixtures import Device, redeeming


def limits(enabled: bool | None = None, amount: int | None = None) -> SetVoucherPolicy:
    """Return other limits."""
    return SetVoucherPolicy(enabled, amount, None, None, None)


def test_members_decide_on_limits_which_bind_what_is_registered_from_then_on() -> None:
    council = Paying()
    early = Device(council).registered()
    council.vote(council.propose(limits(amount=49_999)), 0, 1, 2)
    assert read_voucher_policy(council.state) == VoucherPolicy(amount_max=49_999)
    late = Device(council, "late")
    assert council.rule(bank(0), late.registration()) == "wallet_limits"
    assert council.rule(bank(0), late.registration(amount_max=49_999)) == ""
    assert council.rule(bank(1), redeeming(early.voucher(0, amount=50_000))) == ""
    council.vote(council.propose(limits(enabled=False)), 0, 1, 2)
    assert read_voucher_policy(council.state) == VoucherPolicy(enabled=False, amount_max=49_999)
    assert council.rule(bank(0), Device(council, "third").registration()) == "vouchers_disabled"


def test_limits_that_are_in_force_are_not_proposed() -> None:
    council = Paying()
    assert council.refused(limits()) == "voucher_policy_unchanged"
    assert council.refused(limits(enabled=True, amount=100_000)) == "voucher_policy_unchanged"


def test_members_suspend_a_wallet_that_was_proved_to_spend_twice_for_good() -> None:
    council = Paying()
    device = Device(council).registered()
    action = SuspendWallet(bytes(device.id))
    assert council.refused(SuspendWallet(bytes(32))) == "wallet_not_accused"
    assert council.refused(action) == "wallet_not_accused"
    assert council.rule(bank(1), report_of(device.voucher(0), device.voucher(0, amount=1))) == ""
    assert council.refused(action, REGULATOR) == "not_a_party"
    proposal = council.propose(action, AUDITOR)
    council.vote(proposal, 0, 1, 2)
    assert device.row().status is WalletStatus.SUSPENDED
    restore = DecideWallet(bytes(device.id), WalletDecision.RESTORE, WalletReason.RESOLVED)
    assert council.rule(bank(0), restore) == "wallet_accused"
    assert council.refused(action) == "wallet_not_accused"


def test_members_see_what_a_decision_would_change() -> None:
    council = Paying()
    device = Device(council).registered()
    council.block((bank(1), report_of(device.voucher(0), device.voucher(0, amount=1))))
    for action, what in (
        (limits(amount=7), ("limits of vouchers amount_max", "100000", "7")),
        (SuspendWallet(bytes(device.id)), (f"wallet {device.id.hex()[:16]} of bank-0", "accused", "suspended")),
    ):
        height = council.chain.height + 1
        seen = consequences_of(council.state, council.chain_id, action, height, council.now_ms + 10).changes
        assert [(each.what, each.before, each.after) for each in seen] == [what]


def test_a_decision_that_its_bank_was_before_fails_by_name() -> None:
    council = Paying()
    device = Device(council).registered()
    council.block((bank(1), report_of(device.voucher(0), device.voucher(0, amount=1))))
    proposal = council.propose(SuspendWallet(bytes(device.id)))
    close = DecideWallet(bytes(device.id), WalletDecision.CLOSE, WalletReason.DOUBLE_SPEND)
    assert council.rule(bank(0), close) == ""
    council.vote(proposal, 0, 1, 2)
    assert (council.stage(proposal), council.proposal(proposal).failure) == (Stage.FAILED, 61)
    assert device.row().status is WalletStatus.CLOSED


def test_no_block_by_earlier_rules_holds_such_a_proposal_and_none_is_found_admissible() -> None:
    old = Paying(first_rules=3)
    with pytest.raises(BlockRefused, match=r"governance\.regulate is of later rules"):
        old.propose(limits(amount=1))
    with pytest.raises(RuleBroken, match="rules_needed"):
        check_action(old.state, old.chain_id, limits(amount=1), old.chain.height + 1)


def test_an_action_survives_its_json_and_has_a_sentence() -> None:
    shown: dict[PaymentAction, str] = {
        limits(enabled=False, amount=5): "limits of vouchers enabled = false, amount_max = 5",
        SuspendWallet(bytes([171]) * 32): "suspend wallet abababababababab for good",
    }
    for action, sentence in shown.items():
        assert proposing_body(record_to_json(action), START_MS, where="$") == Regulate(action, START_MS)
        assert sentence_of(record_to_json(action)) == sentence
