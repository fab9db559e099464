"""A node's readiness: who counts as a voter, and when an observer knows too little to serve it as the present."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chainnode.lag import proved_ms
from chainnode.metrics import NodeMetrics
from chainnode.views import LiveNodeView
from consensus.messages import WINDOW, Status
from ledger.views import CheckpointView
from p2p.config import PeerAddress
from primitives.block import BlockHeader
from primitives.ids import Epoch, Hash, Height, View
from primitives.notes import Checkpoint, assemble_note, cosign
from rpc.ports import Ending
from tests.chainnode.test_readiness import core_of
from tests.ledger.governance_fixtures import Council, key_of

FOR_EVER_MS = 1 << 50


class _View(LiveNodeView):
    """A view of parts without a home: what ends is given."""

    ends: tuple[Ending, ...] = ()

    def endings(self) -> Sequence[Ending]:
        return self.ends


def view_of(
    votes: dict[str, bool],
    *,
    name: str = "node-0",
    learner: bool = False,
    heights: dict[str, int] | None = None,
    proved_ago_ms_max: int = 180_000,
) -> _View:
    """Return what a node of four validators' chain tells, linked to these peers, of which some say that they vote."""
    core = core_of(Council(), name, key_of("node-0", "vote"), learner=learner)
    core.replica.state.statuses.update(
        {
            peer: Status(Epoch(0), View(0), True, Height((heights or {}).get(peer, 0)), Height(0), Height(0), vote)
            for peer, vote in votes.items()
        }
    )
    peers = [SimpleNamespace(name=name, member="", address="", software="", protocol=1) for name in votes]
    node: Any = SimpleNamespace(
        core=core,
        reader=core.reader,
        metrics=NodeMetrics(),
        config=SimpleNamespace(
            node=SimpleNamespace(name=name, member="bank-0"), ops=SimpleNamespace(proved_ago_ms_max=proved_ago_ms_max)
        ),
        network=SimpleNamespace(peers=lambda: peers),
        links=SimpleNamespace(peers=()),
    )  # the parts of a node that its view reads
    return _View(cast("Any", node))


def quorum_linked(view: LiveNodeView) -> tuple[bool, str]:
    ready, checks = view.ready()
    check = next(item for item in checks if item.name == "quorum_linked")
    assert ready == all(item.ok for item in checks)
    return check.ok, check.detail


def test_a_certificate_that_ends_soon_is_a_warning_of_readiness_and_no_failure() -> None:
    view = view_of({"node-1": True, "node-2": True})
    before = view.ready()
    assert all(check.name != "certificates" for check in before[1])
    view.ends = (Ending("root_ca", "bank-0", "bank-0", time.time_ns() // 1_000_000 + 3_600_000, "chain"),)
    ready, checks = view.ready()
    assert ready == before[0]
    assert checks[-1].ok
    assert checks[-1].detail.startswith("warning: the root ca of bank-0 (chain) ends in 0 days")


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


def failing(view: LiveNodeView) -> list[str]:
    ready, checks = view.ready()
    found = [check.name for check in checks if not check.ok]
    assert ready == (not found)
    return found


def test_an_observer_is_ready_with_one_voter_and_not_with_another_observer_alone() -> None:
    def lacks(votes: dict[str, bool]) -> list[str]:
        return failing(view_of(votes, name="bank-a-2", proved_ago_ms_max=FOR_EVER_MS))

    assert lacks({"node-1": True}) == []
    assert lacks({"node-1": False, "bank-b-2": True}) == ["peer_linked"]
    assert lacks({}) == ["peer_linked"]


def test_an_observer_that_can_prove_nothing_young_is_not_ready_whatever_its_peers_say() -> None:
    view = view_of({"node-1": True, "node-2": True, "node-3": True}, name="bank-a-2")
    assert failing(view) == ["fresh"], "the chain of this test is years old"
    fresh = next(check for check in view.ready()[1] if check.name == "fresh")
    assert "180 s allowed" in fresh.detail
    assert view.lag() == (0, view._node.core.chain.header.time_ms / 1_000)


def test_a_validator_is_not_asked_what_it_can_prove() -> None:
    """Where order stands still it must be able to come back, and nothing young can be proved before."""
    assert failing(view_of({"node-1": True, "node-2": True, "node-3": True})) == []


@pytest.mark.parametrize(
    ("heights", "behind"),
    [
        ({"node-1": 50}, 50),
        ({"node-1": 50, "node-2": 9}, 9),
        ({"node-1": 50, "node-2": 8}, 8),
        ({"node-1": 50, "node-2": 40, "node-3": 3}, 40),
        ({"bank-b-2": 99, "bank-c-2": 99, "node-1": 2}, 2),
    ],
)
def test_an_observer_is_behind_what_more_validators_claim_than_may_lie(heights: dict[str, int], behind: int) -> None:
    """Within a window it is there; of one validator alone its word counts; who does not vote is not heard."""
    view = view_of(dict.fromkeys(heights, True), name="bank-a-2", heights=heights, proved_ago_ms_max=FOR_EVER_MS)
    assert view.lag()[0] == behind
    assert failing(view) == (["caught_up"] if behind > WINDOW else [])


def test_a_node_that_nobody_lets_in_says_why_among_its_warnings() -> None:
    view = view_of({}, name="bank-a-2")
    assert view._alone() == [], "it knows no peers that it could be linked to"
    view._node.links.peers = (PeerAddress("node-1", "bank-1", "127.0.0.1", 9),)  # type: ignore[misc]  # a stand-in
    assert view._alone() == ["no peer is linked; refused since the start: nothing yet"]
    for reason in ("dial_failed", "certificate_refused", "certificate_refused"):
        view._node.metrics.connection_refused(reason)
    assert view._alone() == ["no peer is linked; refused since the start: certificate_refused (2), dial_failed (1)"]
    linked = view_of({"node-1": True}, name="bank-a-2")
    linked._node.links.peers = view._node.links.peers  # type: ignore[misc]  # a stand-in
    assert linked._alone() == []


def checkpoint_of(header: BlockHeader, *times_s: int, short: int = 0) -> CheckpointView:
    """Return a checkpoint of a block (or of fewer leaves) that was cosigned at these times."""
    size = header.first_index + header.event_count + 1 - short
    text = Checkpoint("log/00", size, Hash(bytes(32))).text()
    lines = [cosign(text, f"v{index}", key_of(f"v{index}", "cosign"), at) for index, at in enumerate(times_s)]
    return CheckpointView(size, Hash(bytes(32)), assemble_note(text, lines))


def test_what_is_proved_is_the_newest_block_or_a_quorums_later_word_for_just_that_block() -> None:
    header = core_of(Council(), "node-0", key_of("node-0", "vote")).chain.header
    at_s = header.time_ms // 1_000 + 100
    later = checkpoint_of(header, at_s, at_s + 60, at_s + 61, at_s + 62)
    assert proved_ms(header, later, 3) == (at_s + 60) * 1_000, "an old line of a witness does not count"
    assert proved_ms(header, checkpoint_of(header, at_s, at_s, at_s, short=1), 3) == header.time_ms
    assert proved_ms(header, checkpoint_of(header, 1, 2, 3), 3) == header.time_ms
    assert proved_ms(header, None, 3) == header.time_ms
