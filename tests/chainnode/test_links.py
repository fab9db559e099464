"""Whom a node dials and trusts: the present validators, for a while those before, and the settings' peers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from chainnode.links import Links, links_of, ties_to_leavers, usable
from ledger.governance_bodies import RemoveValidator, ReplaceCa
from p2p.certificates import certificate_pem, make_member_ca
from tests.ledger.governance_fixtures import START_MS, Council, Founded


def state_of(epoch: int, *, stable: int = 0, barrier: int = 0, name: str = "node-0") -> Any:  # Any: part of a state
    return SimpleNamespace(
        epoch=epoch, name=name, barrier_height=barrier, checkpoints=SimpleNamespace(stable_height=stable)
    )


def addresses(council: Council, state: Any, *extra: str) -> dict[str, str]:
    links = links_of(council.state, state, extra)
    return {peer.name: f"{peer.member} {peer.host}:{peer.port}" for peer in links.peers}


def test_the_founding_validators_are_found_where_genesis_says() -> None:
    council = Council(4)
    found = addresses(council, state_of(0))
    assert found == {f"node-{i}": f"bank-{i} 127.0.0.1:{7400 + i}" for i in (1, 2, 3)}
    assert set(links_of(council.state, state_of(0), ()).member_cas) == {f"bank-{i}" for i in range(5)}


def test_settings_add_peers_and_override_addresses_but_not_members() -> None:
    found = addresses(Council(4), state_of(0), "node-1@10.0.0.1:7", "watcher@10.0.0.2:8")
    assert found["node-1"] == "bank-1 10.0.0.1:7"
    assert found["watcher"] == "watcher 10.0.0.2:8"


def test_settings_name_nodes_that_the_chain_does_not_with_their_members() -> None:
    council = Council(4)
    found = addresses(council, state_of(0, name="node-9"), "node-7/bank-3@10.0.0.7:9", "node-1/bank-3@10.0.0.1:7")
    assert found["node-7"] == "bank-3 10.0.0.7:9", "a joiner reaches the chain by it, whatever became of the founders"
    assert found["node-1"] == "bank-1 10.0.0.1:7", "the chain says whose node it is"


def test_a_joiner_is_dialled_and_a_leaver_only_until_a_checkpoint_of_the_new_epoch_is_stable() -> None:
    council = Council(5)
    joining = council.propose(council.addition(5) if council.outsiders > 1 else council.addition(0, "node-x"))
    council.vote(joining, 0, 1, 2, 3)
    assert council.say("bank-0", council.ready(joining, "node-x")).applied
    leaving = council.propose(RemoveValidator("node-4", False))
    council.vote(leaving, 0, 1, 2, 3)
    barrier = council.chain.height
    assert council.set.epoch == 2
    assert set(addresses(council, state_of(2, barrier=barrier))) == {"node-1", "node-2", "node-3", "node-4", "node-x"}
    later = state_of(2, barrier=barrier, stable=barrier + 1)
    assert set(addresses(council, later)) == {"node-1", "node-2", "node-3", "node-x"}


@pytest.mark.parametrize(
    ("epoch", "stable", "barrier", "tied"), [(0, 0, 0, False), (1, 4, 5, True), (1, 5, 5, True), (1, 6, 5, False)]
)
def test_leavers_are_tied_until_their_successors_sign_a_checkpoint(
    epoch: int, stable: int, barrier: int, tied: bool
) -> None:
    assert ties_to_leavers(state_of(epoch, stable=stable, barrier=barrier)) is tied


def test_a_ca_that_cannot_be_used_costs_nobody_else_their_links() -> None:
    first = certificate_pem(make_member_ca("bank-a", START_MS)[1])
    links = Links({"bank-a": first, "bank-b": first, "bank-c": "no CA", "bank-d": "é"}, ())
    found, left_out = usable(links)
    assert found.member_cas == {"bank-a": first}
    assert left_out == ["bank-b", "bank-c", "bank-d"]


def test_the_cas_of_validators_come_before_those_of_others() -> None:
    links = links_of(Council(2, outsiders=9).state, state_of(0), ())
    assert list(links.member_cas)[:2] == ["bank-0", "bank-1"]
    assert list(links.member_cas)[2:] == sorted(f"bank-{i}" for i in range(2, 11))


def test_a_members_nodes_are_known_by_its_old_ca_as_well_while_the_chain_says_so() -> None:
    council = Founded(4, rules=(1, 2))
    old, new = (certificate_pem(make_member_ca("bank-1", START_MS + i)[1]) for i in range(2))
    for pem in (old, new):
        council.vote(council.propose(ReplaceCa("bank-1", pem, True)), 0, 1, 2)
    links, _ = usable(links_of(council.state, state_of(0), ()))
    assert links.member_cas["bank-1"] == new + old
    council.vote(council.propose(ReplaceCa("bank-1", new, False)), 0, 1, 2)
    links, _ = usable(links_of(council.state, state_of(0), ()))
    assert links.member_cas["bank-1"] == new


def test_an_old_ca_pushes_out_nobodys_and_one_that_cannot_be_used_costs_the_new_one_nothing() -> None:
    first, second = (certificate_pem(make_member_ca(name, START_MS)[1]) for name in ("bank-a", "bank-b"))
    broken = "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n"
    links = Links({"bank-a": first, "bank-b": second}, (), {"bank-a": second, "bank-b": broken})
    assert usable(links)[0].member_cas == {"bank-a": first, "bank-b": second}
