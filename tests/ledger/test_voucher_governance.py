"""What the members decide on offline vouchers: limits of what is registered, and wallets that spent twice."""

from __future__ import annotations

import pytest

from ledger.consequences import consequences_of
from ledger.event_json import record_to_json
from ledger.execution import BlockRefused
from ledger.governance_actions import proposing_body, sentence_of
from ledger.governance_bodies import PaymentAction, Regulate, SetVoucherPolicy, SuspendWallet, Withdraw
from ledger.governance_records import SUSPENSIONS_A_MEMBER_MAX, Stage, read_proposal, under_way
from ledger.governance_rules import check_action
from ledger.kinds import RuleBroken
from ledger.voucher_bodies import DecideWallet, WalletDecision, WalletReason, report_of
from ledger.voucher_governance import SUSPENSION_TERM_MS
from ledger.voucher_policy import VoucherPolicy, read_voucher_policy
from ledger.wallet_records import WalletStatus
from primitives.ids import Hash
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
    proposal = council.propose(action, AUDITOR)  # besides the one that the proof opened
    council.vote(proposal, 0, 1, 2)
    assert device.row().status is WalletStatus.SUSPENDED
    restore = DecideWallet(bytes(device.id), WalletDecision.RESTORE, WalletReason.RESOLVED)
    assert council.rule(bank(0), restore) == "wallet_accused"
    assert council.refused(action) == "wallet_not_accused"


def accused(council: Paying, name: str = "wallet", reporter: str = bank(1)) -> tuple[Device, Hash]:
    """Return a wallet that somebody proved to have spent twice, and the id of the event that did."""
    device = Device(council, name).registered()
    result = council.block((reporter, report_of(device.voucher(0), device.voucher(0, amount=1))))
    assert result.outcomes[0].applied
    return device, Hash(result.event_ids[0])


def test_a_proof_opens_the_proposal_to_suspend_its_wallet_which_members_vote_on() -> None:
    council = Paying()
    device, proof = accused(council)
    held = council.proposal(proof)
    assert (held.member, held.action, held.stage) == (bank(1), SuspendWallet(bytes(device.id)), Stage.OPEN)
    assert held.expires_ms == council.now_ms + SUSPENSION_TERM_MS
    assert [each for each, _ in under_way(council.state, council.now_ms)] == [proof]
    council.vote(proof, 0, 1, 2)
    assert council.stage(proof) is Stage.ENACTED
    assert device.row().status is WalletStatus.SUSPENDED
    assert under_way(council.state, council.now_ms) == []


def test_members_refuse_to_suspend_and_the_wallet_stays_stopped() -> None:
    council = Paying()
    device, proof = accused(council)
    council.vote(proof, 0, 1, approve=False)
    assert council.stage(proof) is Stage.REFUSED
    assert device.row().status is WalletStatus.ACCUSED


def test_a_member_that_votes_not_opens_one_as_well_and_nobody_takes_it_back() -> None:
    council = Paying()
    device, proof = accused(council, reporter=REGULATOR)
    for member in (REGULATOR, bank(0)):
        assert council.rule(member, Withdraw(bytes(proof))) == "not_the_proposer"
    council.vote(proof, 0, 1, 2)
    assert device.row().status is WalletStatus.SUSPENDED


def test_a_proposal_by_hand_is_taken_back_though_a_proof_opened_another() -> None:
    council = Paying()
    device, proof = accused(council)
    own = council.propose(SuspendWallet(bytes(device.id)))
    assert council.rule(bank(0), Withdraw(bytes(own))) == ""
    assert (council.stage(own), council.stage(proof)) == (Stage.WITHDRAWN, Stage.OPEN)


@pytest.mark.parametrize("decision", [WalletDecision.SUSPEND, WalletDecision.CLOSE])
def test_what_its_issuer_decides_ends_the_proposal_that_a_proof_opened(decision: WalletDecision) -> None:
    council = Paying()
    device, proof = accused(council)
    assert council.rule(bank(0), DecideWallet(bytes(device.id), decision, WalletReason.DOUBLE_SPEND)) == ""
    assert (council.stage(proof), council.proposal(proof).failure) == (Stage.FAILED, 61)
    assert under_way(council.state, council.now_ms) == []
    assert council.rule(bank(0), council.ballot(bank(0), proof)) == "proposal_closed"


def test_an_issuer_decides_after_the_members_did_or_let_it_expire() -> None:
    council = Paying()
    close = [WalletDecision.CLOSE, WalletReason.DOUBLE_SPEND]
    device, proof = accused(council)
    council.vote(proof, 0, 1, approve=False)
    assert council.rule(bank(0), DecideWallet(bytes(device.id), *close)) == ""  # type: ignore[arg-type]  # a pair
    assert council.stage(proof) is Stage.REFUSED
    other, expired = accused(council, "other")
    council.now_ms += SUSPENSION_TERM_MS
    assert council.rule(bank(0), DecideWallet(bytes(other.id), *close)) == ""  # type: ignore[arg-type]  # a pair
    assert council.stage(expired) is Stage.EXPIRED


def test_proofs_take_no_place_of_what_a_member_proposes_itself_and_open_a_bounded_number() -> None:
    council = Paying()
    found = [accused(council, f"wallet {turn}") for turn in range(SUSPENSIONS_A_MEMBER_MAX + 1)]
    assert len(under_way(council.state, council.now_ms)) == SUSPENSIONS_A_MEMBER_MAX
    beyond, proof = found[-1]
    assert beyond.row().status is WalletStatus.ACCUSED
    assert read_proposal(council.state, proof) is None
    assert council.refused(SuspendWallet(bytes(beyond.id)), bank(1)) == "proposals_under_way"
    council.propose(limits(amount=7), bank(1))
    council.vote(found[0][1], 0, 1, 2)
    council.propose(SuspendWallet(bytes(beyond.id)), bank(1))
    fresh, again = accused(council, "one more", REGULATOR)
    assert council.proposal(again).action == SuspendWallet(bytes(fresh.id))


def test_a_wallet_that_is_stopped_already_is_accused_without_a_proposal() -> None:
    council = Paying()
    device = Device(council).registered()
    suspend = DecideWallet(bytes(device.id), WalletDecision.SUSPEND, WalletReason.LOST)
    assert council.rule(bank(0), suspend) == ""
    assert council.rule(bank(1), report_of(device.voucher(0), device.voucher(0, amount=1))) == ""
    assert under_way(council.state, council.now_ms) == []


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
