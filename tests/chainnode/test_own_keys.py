"""A node's key files are held against what the chain knows, or is asked to know, under its name."""

from __future__ import annotations

from chainnode.own_keys import KeyFault, key_faults
from ledger.nodes import USES
from tests.ledger.governance_fixtures import Council, bank, key_of


def own_of(node: str, turn: str = "") -> dict[str, bytes | None]:
    return {use: key_of(node, f"{use}{turn}").public for use in USES}


def files(council: Council, name: str, own: dict[str, bytes | None]) -> list[str]:
    return [fault.file for fault in faults(council, name, own)]


def faults(council: Council, name: str, own: dict[str, bytes | None]) -> list[KeyFault]:
    return key_faults(name, bank(4), own, council.set, council.state, council.now_ms)


def test_a_validators_keys_must_be_those_that_are_registered_for_it() -> None:
    council = Council()
    assert files(council, "node-1", own_of("node-1")) == []
    every = [f"keys/{use}.key" for use in USES]
    for own in (own_of("node-2"), own_of("node-1", "1"), dict.fromkeys(USES)):
        assert files(council, "node-1", own) == every
    assert files(council, "node-1", {**own_of("node-1"), "log": key_of("x", "log").public}) == ["keys/log.key"]


def test_whoever_is_no_validator_may_have_any_keys_but_a_validators() -> None:
    council = Council()
    assert council.say(bank(4), council.log_key("node-9", bank(4))).applied
    for own in (own_of("node-9"), {**own_of("node-9"), "vote": None, "cosign": None}):
        assert files(council, "node-9", own) == []
    (fault,) = faults(council, "node-9", {**own_of("node-9"), "cosign": own_of("node-2")["cosign"]})
    assert "expected a key of node-9's own, got " in fault.sentence()
    assert fault.sentence().endswith("the cosign key of node-2")


def test_an_observer_is_told_of_its_log_key_until_its_own_member_declares_it() -> None:
    council, own = Council(), own_of("node-9")
    (fault,) = faults(council, "node-9", own)
    assert fault.sentence().startswith("no policy lists keys/log.key (")
    assert "chainnode keys declare-log" in fault.hint
    assert council.say(bank(3), council.log_key("node-9", bank(3))).applied
    assert files(council, "node-9", own) == ["keys/log.key"], "it is another member's"
    assert council.say(bank(4), council.log_key("node-9", bank(4))).applied
    assert files(council, "node-9", own) == []


def test_a_validator_that_left_or_has_had_other_keys_since_has_a_log_key_that_policies_list() -> None:
    council = Council()
    council.rekey(1, 1)
    assert files(council, "node-9", {"vote": None, "cosign": None, "log": own_of("node-1")["log"]}) == []


def test_new_keys_are_right_from_their_proposal_on_and_the_old_ones_until_they_count() -> None:
    council = Council()
    assert files(council, "node-1", own_of("node-1", "1"))
    council.propose(council.rekeying(1))
    assert files(council, "node-1", own_of("node-1", "1")) == []
    assert files(council, "node-1", own_of("node-1")) == []
    assert files(council, "node-1", {**own_of("node-1", "1"), "log": own_of("node-1")["log"]})
    assert files(council, "node-2", own_of("node-1", "1"))
    council = Council()
    council.rekey(1, 1)
    assert files(council, "node-1", own_of("node-1", "1")) == []
    assert files(council, "node-1", own_of("node-1"))
