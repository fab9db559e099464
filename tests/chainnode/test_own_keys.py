"""A node's key files are held against what the chain knows, or is asked to know, under its name."""

from __future__ import annotations

from chainnode.own_keys import key_faults
from ledger.nodes import USES
from tests.ledger.governance_fixtures import Council, key_of


def own_of(node: str, turn: str = "") -> dict[str, bytes | None]:
    return {use: key_of(node, f"{use}{turn}").public for use in USES}


def files(council: Council, name: str, own: dict[str, bytes | None]) -> list[str]:
    return [fault.file for fault in key_faults(name, own, council.set, council.state, council.now_ms)]


def test_a_validators_keys_must_be_those_that_are_registered_for_it() -> None:
    council = Council()
    assert files(council, "node-1", own_of("node-1")) == []
    every = [f"keys/{use}.key" for use in USES]
    for own in (own_of("node-2"), own_of("node-1", "1"), dict.fromkeys(USES)):
        assert files(council, "node-1", own) == every
    assert files(council, "node-1", {**own_of("node-1"), "log": key_of("x", "log").public}) == ["keys/log.key"]


def test_whoever_is_no_validator_may_have_any_keys_but_a_validators() -> None:
    council = Council()
    for own in (own_of("node-9"), {**own_of("node-9"), "vote": None, "cosign": None}):
        assert files(council, "node-9", own) == []
    (fault,) = key_faults(
        "node-9", {**own_of("node-9"), "cosign": own_of("node-2")["cosign"]}, council.set, council.state, council.now_ms
    )
    assert "expected a key of node-9's own, got " in fault.sentence()
    assert fault.sentence().endswith("the cosign key of node-2")


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
