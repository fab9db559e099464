"""Who may serve checkpoints as the log: validators of any epoch that is known, and nodes of declared keys."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.handovers import first_span, spans_of
from ledger.log_keys import LOG_KEYS_A_MEMBER_MAX, declared_log_keys, is_listed
from ledger.receipts import make_receipt, verify
from ledger.trust_policy import parse_policy, policy_text
from primitives.errors import ProofError
from primitives.keys import SigningKey
from tests.ledger.certifying_fixtures import Certifying
from tests.ledger.governance_fixtures import bank, key_of

LEFT, JOINED = key_of("node-3", "log"), key_of("node-3", "log2")
"""The log key that node-3 had at genesis, and the one that it got with epoch 2."""


def receipt_by(log: SigningKey) -> tuple[Certifying, list[str], str]:
    """Return a chain of three epochs, a policy of each, and a receipt of epoch 1 that this key signed as the log."""
    council = Certifying()
    policies, receipt = [], ""
    for epoch in range(3):
        if epoch:
            council.next_epoch(epoch)
        policies.append(council.policy())
        if epoch == 1:
            event = council.propose(council.rekeying(2, 9))
            council.stable(log=log)
            receipt = make_receipt(council.reader, event) or ""
    return council, policies, receipt


@pytest.mark.parametrize("policy", range(3))
def test_a_validator_that_left_may_serve_what_a_later_quorum_cosigned(policy: int) -> None:
    _, policies, receipt = receipt_by(LEFT)
    assert verify(receipt, policies[policy]).epoch == 1


def test_a_validator_of_a_later_epoch_may_serve_what_an_earlier_quorum_cosigned() -> None:
    _, policies, receipt = receipt_by(JOINED)
    assert verify(receipt, policies[2]).epoch == 1
    with pytest.raises(ProofError, match="checkpoint without a signature of the log"):
        verify(receipt, policies[1])  # nothing that this policy knows names the key


def test_a_validator_of_an_epoch_to_which_only_handovers_lead_may_serve_after_it_left() -> None:
    council = Certifying()
    genesis_alone = council.policy()
    council.next_epoch(1)
    council.next_epoch(2)
    event = council.propose(council.rekeying(2, 9))
    council.stable(log=key_of("node-3", "log1"))
    receipt = make_receipt(council.reader, event)
    assert receipt is not None
    assert verify(receipt, genesis_alone).epoch == 2
    later = make_receipt(council.reader, event, from_epoch=2)
    assert later is not None
    assert verify(later, council.policy()).epoch == 2


def test_a_log_key_of_any_epoch_makes_up_for_no_cosignature() -> None:
    council = Certifying()
    early = council.stable()
    council.next_epoch(1)
    policy = parse_policy(council.policy())
    assert policy.check(early).epoch == 0
    note = council.stable(log=LEFT)
    lines = note.splitlines(keepends=True)
    with pytest.raises(ProofError, match="too few cosignatures"):
        policy.check("".join(line for line in lines if "/node-0 " not in line))
    with pytest.raises(ProofError, match="checkpoint without a signature of the log"):
        policy.check("".join(lines[:4] + lines[5:]))


def test_a_log_key_that_nobody_knows_is_refused() -> None:
    _, policies, receipt = receipt_by(key_of("node-9", "log"))
    for policy in policies:
        with pytest.raises(ProofError, match="checkpoint without a signature of the log"):
            verify(receipt, policy)


def test_an_observer_whose_member_declared_its_log_key_may_serve_from_then_on() -> None:
    council = Certifying()
    before = council.policy()
    assert council.say(bank(4), council.log_key("node-9", bank(4))).applied
    event = council.propose(council.rekeying(1, 9))
    council.stable(log=key_of("node-9", "log"))
    receipt = make_receipt(council.reader, event)
    assert receipt is not None
    after = policy_text(council.genesis, (first_span(council.genesis),), declared_log_keys(council.state))
    assert verify(receipt, after).applied
    with pytest.raises(ProofError, match="checkpoint without a signature of the log"):
        verify(receipt, before)


def test_a_policy_lists_each_log_key_once() -> None:
    council = Certifying()
    for member in (bank(4), bank(3)):
        assert council.say(member, council.log_key("node-9", member)).applied
    assert council.say(bank(0), council.log_key("node-0", bank(0))).applied
    council.next_epoch(1)
    text = policy_text(council.genesis, spans_of(council.reader, 1), declared_log_keys(council.state))
    logs = [line for line in text.splitlines() if line.startswith("log ")]
    assert len(logs) == len(set(logs)) == 4 + 1 + 1
    assert [key.public for key in parse_policy(text).logs][:4] == [each.log_key for each in council.set.validators]
    with pytest.raises(ProofError, match="a key stands twice"):
        parse_policy(text.replace(logs[0], f"{logs[0]}\n{logs[0]}"))


@pytest.mark.parametrize("change", [{"use": "vote"}, {"name": "node-8"}, {"owner": "bank-3"}])
def test_a_key_must_have_signed_for_this_use_node_and_member(change: dict[str, str]) -> None:
    council = Certifying()
    assert council.rule(bank(4), council.log_key("node-9", bank(4), **change)) == "bad_signature"
    assert declared_log_keys(council.state) == []


def test_a_key_is_declared_once_and_must_be_sound() -> None:
    council = Certifying()
    body = council.log_key("node-9", bank(4))
    assert council.say(bank(4), body).applied
    assert council.rule(bank(4), body) == "already_declared"
    assert council.rule(bank(4), replace(body, key=bytes(32))) == "bad_key"
    assert is_listed(council.state, bank(4), body.key)
    assert not is_listed(council.state, bank(3), body.key)
    assert not is_listed(council.state, bank(4), key_of("node-1", "vote").public), "a voting key is no log key"


def test_of_the_keys_that_a_member_declares_the_newest_count() -> None:
    council = Certifying()
    for number in range(LOG_KEYS_A_MEMBER_MAX + 2):
        assert council.say(bank(4), council.log_key(f"node-{10 + number}", bank(4))).applied
    kept = [key_of(f"node-{10 + number}", "log").public for number in range(2, LOG_KEYS_A_MEMBER_MAX + 2)]
    assert declared_log_keys(council.state) == kept
