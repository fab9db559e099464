"""What operators do in a run is done again until the chain has it, once, and says so where it came to nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import torment.council
from chainnode.client import TimedOut, Unreachable
from primitives.ids import Epoch, MemberId
from primitives.validators import Validator, ValidatorSet
from torment.council import Council, set_from_json
from torment.manifest import Amend, Join

NAMES = ("bank-a", "bank-b", "bank-c", "bank-d")
PROPOSAL = "aa" * 32


def set_of(epoch: int, *names: str) -> ValidatorSet:
    keys = {name: [bytes([place, use]) * 16 for use in range(3)] for place, name in enumerate(names)}
    return ValidatorSet(Epoch(epoch), tuple(Validator(name, MemberId(name), *keys[name]) for name in names))


def as_json(validators: ValidatorSet) -> dict[str, Any]:
    uses = ("vote", "cosign", "log")
    rows = [
        {"name": v.name, "member": v.member, **{f"{use}_key": getattr(v, f"{use}_key").hex() for use in uses}}
        for v in validators.validators
    ]
    return {"epoch": validators.epoch, "hash": validators.hash.hex(), "validators": rows}


class Chain:
    """Nodes of which one never answers, a chain that takes commands at every second try, and what it was asked."""

    def __init__(self) -> None:
        self.names = NAMES
        self.manifest = SimpleNamespace(founders=NAMES, without_outbox=frozenset({"bank-b"}))
        self.net = SimpleNamespace(keys=Path("keys"))
        self.genesis = SimpleNamespace(validators=())
        self.sent: list[tuple[str, ...]] = []
        self.proposed, self.stage, self.approvals = False, "open", list[str]()
        self.sets = [set_of(1, *NAMES, "bank-a-2")]

    def status(self, name: str, timeout_s: float = 0.0) -> dict[str, Any] | None:
        return None if name == "bank-a" else {"role": "validator"}

    def call(self, name: str, method: str, *, timeout_s: float, **params: Any) -> dict[str, Any]:
        if name == "bank-a":
            raise Unreachable("down")
        row = {"id": PROPOSAL, "action": {"type": "add_validator", "name": "bank-a-2"}, "stage": self.stage}
        row |= {"voters": list(NAMES), "approvals": self.approvals, "detail": "why"}
        days = 30 if self.stage == "enacted" else 60
        answers = {
            "gov_listProposals": {"proposals": [row] if self.proposed else []},
            "gov_getPolicy": {"figures": [{"name": "appeal_window_days", "value": days}]},
            "gov_getProposal": {"proposal": row},
            "net_validators": as_json(self.sets[0] if self.stage == "enacted" else set_of(0, *NAMES)),
        }
        return answers[method]

    def cli(self, name: str, *words: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        self.sent.append((name, *words))
        if len(self.sent) % 2:
            return subprocess.CompletedProcess([], 1, "", "not now")
        if words[1] == "propose":
            self.proposed = True
            return subprocess.CompletedProcess([], 0, json.dumps({"id": PROPOSAL}), "")
        self.approvals.append(Path(words[-3]).name.partition("-governance")[0])
        if len(self.approvals) == 3:
            self.stage = "enacted"
        return subprocess.CompletedProcess([], 0, "{}", "")


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> Chain:
    monkeypatch.setattr(torment.council, "AGAIN_S", 0.0)
    monkeypatch.setattr(torment.council, "validator_set", lambda _: set_of(0, *NAMES))
    return Chain()


def decide(chain: Chain) -> Council:
    council = Council(chain, lambda _: None)  # type: ignore[arg-type]  # a stand-in with what it asks
    council._decide(("add", "file"), "add_validator", "bank-a-2", lambda found: "bank-a-2" in found.indexes)
    return council


def test_a_change_is_asked_for_again_until_the_chain_has_it_and_its_set_is_noted(chain: Chain) -> None:
    council = decide(chain)
    assert council.sets == {0: set_of(0, *NAMES), 1: chain.sets[0]}
    assert sorted(chain.approvals) == sorted(set(chain.approvals))
    assert len(chain.approvals) == 3
    done = [words for place, words in enumerate(chain.sent) if place % 2]
    assert [words[2] for words in done].count("propose") == 1


def test_nothing_is_sent_through_a_node_that_does_not_answer_or_cannot_sign(chain: Chain) -> None:
    decide(chain)
    assert {words[0] for words in chain.sent} == {"bank-c", "bank-d"}


def test_a_proposal_that_is_under_way_is_not_made_again(chain: Chain) -> None:
    chain.proposed = True
    decide(chain)
    assert all(words[2] == "approve" for words in chain.sent)


def test_a_proposal_that_came_to_nothing_is_told_with_its_reason(chain: Chain) -> None:
    chain.proposed, chain.stage = True, "failed"
    with pytest.raises(TimedOut, match="failed: why"):
        decide(chain)


def test_a_step_that_never_comes_through_is_told_with_the_last_refusal(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torment.council, "STEP_S", 0.05)
    refused = subprocess.CompletedProcess(list[str](), 1, "", "the change would leave no quorum that is up")
    monkeypatch.setattr(chain, "cli", lambda *_, **__: refused)
    with pytest.raises(TimedOut, match="no quorum that is up"):
        decide(chain)


def test_a_set_is_taken_only_under_the_hash_that_the_node_says() -> None:
    found = as_json(set_of(3, *NAMES))
    assert set_from_json(found) == set_of(3, *NAMES)
    with pytest.raises(AssertionError, match="another hash"):
        set_from_json({**found, "epoch": 4})


def test_a_command_of_one_node_alone_that_fails_is_told(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = subprocess.CompletedProcess(list[str](), 1, "", "no such home")
    chain.net.directory = Path("net")
    monkeypatch.setattr(chain, "home", lambda _: SimpleNamespace(root=Path("home")), raising=False)
    monkeypatch.setattr(chain, "wires", SimpleNamespace(public_address=lambda _: "127.0.0.1:1"), raising=False)
    monkeypatch.setattr(chain, "cli", lambda *_, **__: refused)
    council = Council(chain, lambda _: None)  # type: ignore[arg-type]  # a stand-in with what it asks
    with pytest.raises(TimedOut, match="no such home"):
        council.join(Join(at_s=0.0, node="bank-a-2", member="bank-a"))


def test_a_figure_is_voted_for_until_a_node_judges_by_it_and_is_noted(chain: Chain) -> None:
    council = Council(chain, lambda _: None)  # type: ignore[arg-type]  # a stand-in with what it asks
    council.amend(Amend(at_s=0.0, figure="appeal_window_days", value=30))
    assert council.figures == {"appeal_window_days": 30}
    done = [words for place, words in enumerate(chain.sent) if place % 2]
    assert done[0][1:] == ("member", "propose", "policy", "appeal_window_days=30", "--timeout", "15")
    assert [words[1:3] for words in done[1:]] == [("validator", "approve")] * 3
