"""A node's readiness counts voters: learners and observers that are linked make no quorum."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from chainnode.views import LiveNodeView
from consensus.messages import Status
from primitives.ids import Epoch, Height, View
from tests.chainnode.test_readiness import core_of
from tests.ledger.governance_fixtures import Council, key_of


def view_of(votes: dict[str, bool], *, learner: bool = False) -> LiveNodeView:
    """Return what node-0 of four validators tells, linked to these peers, of which some say that they vote."""
    core = core_of(Council(), "node-0", key_of("node-0", "vote"), learner=learner)
    core.replica.state.statuses.update(
        {name: Status(Epoch(0), View(0), True, Height(0), Height(0), Height(0), vote) for name, vote in votes.items()}
    )
    peers = [SimpleNamespace(name=name, member="", address="", software="", protocol=1) for name in votes]
    node: Any = SimpleNamespace(
        core=core, network=SimpleNamespace(peers=lambda: peers), links=SimpleNamespace(peers=())
    )  # the parts of a node that its view reads
    return LiveNodeView(cast("Any", node))


def quorum_linked(view: LiveNodeView) -> tuple[bool, str]:
    ready, checks = view.ready()
    check = next(item for item in checks if item.name == "quorum_linked")
    assert ready == all(item.ok for item in checks)
    return check.ok, check.detail


def test_a_validator_linked_to_two_voters_of_four_is_ready() -> None:
    assert quorum_linked(view_of({"node-1": True, "node-2": True})) == (True, "2 voters linked, 2 needed")


@pytest.mark.parametrize("others", [{"node-2": False}, {"node-4": True}, {"node-0": True}])
def test_a_linked_learner_observer_or_copy_of_itself_makes_no_quorum(others: dict[str, bool]) -> None:
    assert quorum_linked(view_of({"node-1": True, **others})) == (False, "1 voters linked, 2 needed")


def test_a_learner_needs_a_quorum_of_others() -> None:
    votes = {"node-1": True, "node-2": True}
    assert quorum_linked(view_of(votes, learner=True)) == (False, "2 voters linked, 3 needed")
    assert quorum_linked(view_of({**votes, "node-3": True}, learner=True))[0]


def test_peers_are_listed_with_whether_they_vote() -> None:
    assert {peer.name: peer.votes for peer in view_of({"node-1": True, "node-2": False}).peers()} == {
        "node-1": True,
        "node-2": False,
    }
