"""gov_*: proposals with their votes, and whether an action could be taken now."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from ledger.event_json import body_from_json, body_to_json, record_to_json
from ledger.governance import PROPOSE
from ledger.governance_bodies import (
    ActivateRules,
    ChangePolicy,
    ExcludeMember,
    Figure,
    Propose,
    RemoveSource,
    RemoveValidator,
)
from ledger.reader import LedgerReader
from primitives.encoding import encode
from primitives.errors import InputError
from rpc.errors import RpcError
from rpc.methods.catalogue import METHODS
from rpc.methods.gov import failure_text
from rpc.ports import Ending, NodeStatus, PeerStatus, Services
from tests.ledger.governance_fixtures import Council, Founded, key_of


def ask(council: Council, name: str, **params: Any) -> Any:  # Any: JSON in, JSON out
    status = NodeStatus("", "node-0", "bank-0", "validator", 0, 0, 0, "node-1", 3, False, "")
    unused: Any = None
    node: Any = SimpleNamespace(status=lambda: status, peers=list, endings=list)
    services = Services(LedgerReader(council.store, council.genesis), unused, node, lambda: council.now_ms)
    item = METHODS[name]
    answer = item.answer(services, msgspec.convert(params, item.params))
    return msgspec.to_builtins(answer)


def test_a_proposal_is_shown_with_its_votes_and_what_it_waits_for() -> None:
    council = Council(4)
    proposal = council.propose(council.addition())
    council.vote(proposal, 0)
    council.vote(proposal, 3, approve=False)
    found = ask(council, "gov_getProposal", id=proposal.hex())["proposal"]
    assert found["action"] == record_to_json(council.addition())
    assert (found["stage"], found["waits_for"], found["votes_needed"]) == ("open", "votes", 3)
    assert (found["approvals"], found["rejections"]) == (["bank-0"], ["bank-3"])
    assert found["voters"] == [f"bank-{i}" for i in range(4)]
    assert ask(council, "gov_listProposals")["proposals"] == [found]
    assert ask(council, "net_validators")["proposals"] == [found]
    council.vote(proposal, 1, 2)
    assert ask(council, "gov_listProposals")["proposals"][0]["waits_for"] == "its node to catch up"
    assert council.say("bank-4", council.ready(proposal, "node-4")).applied
    assert ask(council, "gov_listProposals")["proposals"] == []
    found = ask(council, "gov_getProposal", id=proposal.hex())["proposal"]
    assert (found["stage"], found["closed_height"]) == ("enacted", council.chain.height)


def test_a_proposal_past_its_end_is_shown_as_expired() -> None:
    council = Council(4)
    proposal = council.propose(ActivateRules(2, 1_000), term_ms=1_000)
    council.now_ms += 2_000
    council.block()
    assert ask(council, "gov_getProposal", id=proposal.hex())["proposal"]["stage"] == "expired"
    assert ask(council, "gov_listProposals")["proposals"] == []


def test_an_action_is_judged_before_it_is_proposed() -> None:
    council = Council(7)
    removal = {"type": "remove_validator", "name": "node-6", "fewer_faults": False}
    found = ask(council, "gov_checkAction", action=removal)
    assert found["broken"]["rule"] == "fewer_faults"
    assert found["following"] is None
    found = ask(council, "gov_checkAction", action=removal | {"fewer_faults": True})
    assert found["broken"] is None
    assert (found["present"]["n"], found["present"]["f"], found["present"]["quorum"]) == (7, 2, 5)
    assert (found["following"]["n"], found["following"]["f"], found["following"]["quorum"]) == (6, 1, 4)
    assert found["following"]["validators"] == [f"node-{i}" for i in range(6)]
    rules = {"type": "activate_rules", "version": 2, "height": 1_000}
    assert ask(council, "gov_checkAction", action=rules)["following"] is None


def test_an_unknown_proposal_is_not_found() -> None:
    with pytest.raises(RpcError, match="no such proposal"):
        ask(Council(4), "gov_getProposal", id="00" * 32)


@pytest.mark.parametrize(
    ("action", "place"),
    [
        ({}, "type"),
        ({"type": "rename_validator"}, "type"),
        ({"type": ["add_validator"]}, "type"),
        ({"type": "remove_validator", "name": "node-1"}, "fewer_faults"),
        ({"type": "remove_validator", "name": "Node 1", "fewer_faults": True}, "name"),
        ({"type": "remove_validator", "name": "node-1", "fewer_faults": True, "why": ""}, "why"),
        ({"type": "activate_rules", "version": 0, "height": 1}, "version"),
        ({"type": "activate_rules", "version": 1, "height": -1}, "height"),
    ],
)
def test_an_action_that_is_none_is_refused_with_its_place(action: dict[str, Any], place: str) -> None:
    with pytest.raises(InputError) as refusal:
        ask(Council(4), "gov_checkAction", action=action)
    assert str(refusal.value.where).endswith(place)


def test_a_proposal_goes_to_json_and_back_as_the_same_bytes() -> None:
    council = Council(4)
    for action in (council.addition(), council.rekeying(1), RemoveValidator("node-1", True), ActivateRules(2, 9)):
        body = encode(Propose(action, council.now_ms))
        shown = body_to_json(PROPOSE, 1, body)
        assert shown["action"]["type"] == type(action).__struct_config__.tag
        assert body_from_json("governance.propose", shown) == (PROPOSE, 1, body)


def test_members_are_listed_page_by_page_with_their_sources_and_validators() -> None:
    council = Council(4)
    first = ask(council, "gov_listMembers", limit=3)
    assert [row["id"] for row in first["members"]] == ["bank-0", "bank-1", "bank-2"]
    rest = ask(council, "gov_listMembers", limit=3, cursor=first["cursor"])
    assert [row["id"] for row in rest["members"]] == ["bank-3", "bank-4"]
    assert rest["cursor"] is None
    row = rest["members"][0]
    key = key_of("bank-3", "source").public.hex()
    assert row["sources"] == [{"key": key, "roles": ["bank"], "removed": False}]
    assert (row["validators"], row["officers"][0]["role"], row["excluded"]) == (["node-3"], "governance", False)
    assert rest["members"][1]["validators"] == []
    proposal = council.propose(RemoveSource(key_of("bank-3", "source").public))
    council.vote(proposal, 0, 1, 2)
    row = ask(council, "gov_listMembers", limit=100)["members"][3]
    assert row["sources"] == [{"key": key, "roles": [], "removed": True}]


def test_an_action_about_members_is_checked_like_any_other() -> None:
    council = Council(4)
    found = ask(council, "gov_checkAction", action=record_to_json(ExcludeMember("bank-1")))
    assert found["broken"]["rule"] == "has_validator"
    found = ask(council, "gov_checkAction", action=record_to_json(ExcludeMember("bank-4")))
    assert (found["broken"], found["following"]) == (None, None)


def test_why_a_proposal_failed_is_said_in_words_by_the_number_in_the_state() -> None:
    assert failure_text(0) is None
    assert failure_text(21) == "no_safe_quorum: Too few validators would be left to bear a fault."
    assert failure_text(999) == "a rule that this release does not know, number 999"


def test_the_policy_is_shown_with_what_votes_may_make_of_it() -> None:
    council = Council(7)
    found = ask(council, "gov_getPolicy")
    assert (found["rules"], found["planned_height"], found["as_of"]) == (1, None, 0)
    figures = {row["name"]: row for row in found["figures"]}
    assert figures["appeal_window_days"] == {
        "name": "appeal_window_days",
        "value": 60,
        "least": 0,
        "most": 1_000,
        "planned": None,
    }
    assert figures["block_events_max"]["least"] == 1_024, "room for any batch"
    shares = {row["action"]: (row["share"], row["least"], row["votes_needed"]) for row in found["thresholds"]}
    assert shares["remove_validator"] == ("two_thirds", "two_thirds", 5)
    assert shares["remove_source"] == ("two_thirds", "third", 5)
    assert shares["add_catalogue"] == ("majority", "majority", 4)
    assert found["catalogues"] == []


def test_planned_figures_and_the_catalogue_in_force_are_shown() -> None:
    council = Founded(4, rules=(1, 2))
    height = council.chain.height + 50
    proposal = council.propose(ChangePolicy((Figure("appeal_window_days", 7),), height))
    council.vote(proposal, 0, 1, 2)
    found = ask(council, "gov_getPolicy")
    assert (found["rules"], found["planned_height"]) == (2, height)
    row = next(row for row in found["figures"] if row["name"] == "appeal_window_days")
    assert (row["value"], row["planned"]) == (60, 7)
    assert [(item["version"], item["in_force"]) for item in found["catalogues"]] == [(1, False), (2, True)]
    assert len(found["catalogues"][1]["categories"]) == 14


def test_an_action_that_came_with_later_rules_is_judged_by_those_in_force() -> None:
    action = {"type": "set_roles", "member": "bank-1", "roles": ["bank", "laboratory"]}
    assert ask(Council(4), "gov_checkAction", action=action)["broken"]["rule"] == "rules_needed"
    assert ask(Founded(4, rules=(1, 2)), "gov_checkAction", action=action)["broken"] is None


def judged(council: Council, action: dict[str, Any], *, ends: tuple[Ending, ...] = (), **told: PeerStatus) -> Any:
    """Return what node-0 says of an action where its peers told it this; whoever is not named is up."""
    names = [item.name for item in council.set.validators]
    up = {name: PeerStatus(name, "", "", True, council.chain.height, votes=True) for name in names}
    status = NodeStatus("", "node-0", "bank-0", "validator", council.chain.height, 0, 0, "node-1", 3, False, "")
    peers = {**up, **{key.replace("_", "-"): value for key, value in told.items()}}
    node: Any = SimpleNamespace(status=lambda: status, peers=lambda: list(peers.values()), endings=lambda: list(ends))
    unused: Any = None
    services = Services(LedgerReader(council.store, council.genesis), unused, node, lambda: council.now_ms)
    item = METHODS["gov_checkAction"]
    return msgspec.to_builtins(item.answer(services, msgspec.convert({"action": action}, item.params)))


REMOVAL = {"type": "remove_validator", "name": "node-4", "fewer_faults": False}


def test_a_change_is_shown_with_the_quorum_before_and_after_and_who_decides_on_it() -> None:
    found = judged(Founded(5, rules=(1, 2)), REMOVAL)
    assert [found[key]["n"] for key in ("present", "following")] == [5, 4]
    assert [found[key]["quorum"] for key in ("present", "following")] == [4, 3]
    assert (found["votes"]["share"], found["votes"]["votes_needed"], len(found["votes"]["voters"])) == (
        "two_thirds",
        4,
        5,
    )
    assert (found["liveness"]["safe"], found["warnings"]) == (True, [])
    assert [item["what"] for item in found["changes"]] == ["validator node-4"]


def test_a_change_that_leaves_no_quorum_that_is_up_is_warned_of_with_the_reasons() -> None:
    council = Founded(5, rules=(1, 2))
    while council.chain.height < 20:
        council.block()
    gone = PeerStatus("node-1", "", "", False)
    behind = PeerStatus("node-2", "", "", True, council.chain.height - 9, votes=True)
    found = judged(council, REMOVAL, node_1=gone, node_2=behind)
    assert found["liveness"]["silent"] == [
        {"name": "node-1", "why": "not linked"},
        {"name": "node-2", "why": "behind, at height 11"},
    ]
    assert (found["liveness"]["up"], found["liveness"]["safe"]) == (["node-0", "node-3"], False)
    assert [item["code"] for item in found["warnings"]] == ["no_quorum_up"]
    learner = PeerStatus("node-1", "", "", True, council.chain.height, votes=False)
    near = PeerStatus("node-2", "", "", True, council.chain.height - 8, votes=True)
    found = judged(council, REMOVAL, node_1=learner, node_2=near)
    assert found["liveness"]["silent"] == [{"name": "node-1", "why": "it has no vote"}]
    assert found["liveness"]["safe"]


def test_a_node_that_a_change_waits_for_counts_as_up() -> None:
    council = Founded(4, rules=(1, 2))
    found = judged(council, record_to_json(council.addition()))
    assert "node-4" in found["liveness"]["up"]
    dead = PeerStatus("node-3", "", "", False)
    found = judged(council, record_to_json(council.rekeying(3)), node_3=dead)
    assert found["liveness"]["silent"] == []


def test_what_ends_soon_of_the_next_validators_is_shown() -> None:
    council = Founded(5, rules=(1, 2))
    day = 86_400_000
    ends = (
        Ending("node_certificate", "node-1", "bank-1", council.now_ms + 5 * day, "link"),
        Ending("root_ca", "bank-2", "bank-2", council.now_ms - 1, "chain"),
        Ending("root_ca", "bank-5", "bank-5", council.now_ms, "chain"),
        Ending("root_ca", "bank-3", "bank-3", council.now_ms + 30 * day, "chain"),
    )
    found = judged(council, REMOVAL, ends=ends)["ending"]
    assert [(item["name"], item["level"], item["days_left"]) for item in found] == [
        ("bank-2", "ended", -1),
        ("node-1", "urgent", 5),
    ]


def test_what_ends_is_listed_page_by_page_the_first_to_end_first() -> None:
    council, day = Founded(4, rules=(1, 2)), 86_400_000
    ends = [Ending("root_ca", f"bank-{i}", f"bank-{i}", council.now_ms + i * 40 * day, "chain") for i in range(4)]
    unused: Any = None
    node: Any = SimpleNamespace(endings=lambda: ends)
    services = Services(LedgerReader(council.store, council.genesis), unused, node, lambda: council.now_ms)
    item, rows, cursor = METHODS["net_expiry"], [], None
    for _ in range(3):
        params = {"limit": 1, "within_days": 90, **({} if cursor is None else {"cursor": cursor})}
        page = msgspec.to_builtins(item.answer(services, msgspec.convert(params, item.params)))
        rows += page["ends"]
        cursor = page["cursor"]
    assert cursor is None
    assert [(row["name"], row["level"]) for row in rows] == [("bank-0", "ended"), ("bank-1", "ok"), ("bank-2", "ok")]
    assert not page["complete"], "a node without an index knows of no products"
