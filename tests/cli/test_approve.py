"""`member approve` says what a change would do, and sends no vote for one that stops order unless it is told to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chainnode.cli import validator
from chainnode.cli.context import Settings
from chainnode.cli.main import root
from chainnode.identity import new_key, write_key

NAMES = list("abcd")
REMOVAL = {"type": "remove_validator", "name": "e", "fewer_faults": False}
ROLES = {"type": "set_roles", "member": "a", "roles": ["bank"]}


class Asked:
    """A node that answers from memory: of the next four validators those in `up` are linked and level."""

    def __init__(self, action: dict[str, Any], up: str, broken: dict[str, str] | None = None) -> None:
        self._action, self._up, self._broken = action, up, broken

    def call(self, method: str, **_: object) -> Any:
        following = {"n": 4, "f": 1, "quorum": 3, "validators": NAMES}
        changes_set = self._action["type"] == "remove_validator"
        warned = [] if len(self._up) >= 3 else [{"code": "no_quorum_up", "text": "order would stop"}]
        return {
            "gov_getProposal": {"proposal": {"member": "b", "action": self._action}},
            "gov_checkAction": {
                "broken": self._broken,
                "votes": {"share": "two_thirds", "voters": NAMES, "votes_needed": 3},
                "present": {"n": 5, "f": 1, "quorum": 4},
                "following": following if changes_set else None,
                "liveness": {"n": 4, "quorum": 3, "up": list(self._up), "silent": [], "safe": len(self._up) >= 3},
                "changes": [],
                "warnings": warned,
                "ending": [],
            },
            "net_status": {"chain_id": "00" * 32, "node": "a", "role": "validator", "height": 9, "catching_up": False},
            "net_peers": {
                "peers": [{"name": name, "connected": name in self._up, "height": 9, "votes": True} for name in "bcd"]
            },
        }[method]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return the votes that were sent, each as whether it approves; nothing waits for nodes that do not come up."""
    found: list[bool] = []

    def send(_: object, body: Any, *__: object) -> int:
        found.append(body.approve)
        return 0

    monkeypatch.setattr(validator, "send_event", send)
    monkeypatch.setattr("chainnode.joining.OUTLOOK_WITHIN_S", 0.0)
    return found


def vote(tmp_path: Path, action: dict[str, Any], up: str, *words: str, broken: dict[str, str] | None = None) -> Result:
    key = tmp_path / "officer.key"
    if not key.exists():
        write_key(key, new_key("officer", member="a"))
    given = Settings()
    given.client = lambda **_: Asked(action, up, broken)  # type: ignore[method-assign,assignment,return-value]  # a stand-in
    command, *options = words
    line = ["-o", "json", "member", command, "00" * 32, "--officer", str(key), *options]
    return CliRunner().invoke(root, line, obj=given, standalone_mode=False)


def test_no_vote_for_a_change_that_would_stop_order_is_sent_unless_forced(tmp_path: Path, sent: list[bool]) -> None:
    for options in ((), ("--dry-run",)):
        refused = vote(tmp_path, REMOVAL, "ab", "approve", *options)
        assert getattr(refused.exception, "reason", "") == "unsafe_change"
        assert "2 of the next 4 validators are up, 3 decide; not up or behind: c, d" in str(refused.exception)
        assert "--force" in str(refused.exception)
        assert "warning (no_quorum_up)" in refused.stderr, "what it would do is said all the same"
    assert sent == []
    assert vote(tmp_path, REMOVAL, "ab", "approve", "--force").exception is None
    assert sent == [True]


def test_a_change_that_enough_carry_on_or_that_leaves_the_validators_alone_needs_no_force(
    tmp_path: Path, sent: list[bool]
) -> None:
    assert vote(tmp_path, REMOVAL, "abc", "approve").exception is None
    assert vote(tmp_path, ROLES, "ab", "approve").exception is None
    assert sent == [True, True]


def test_a_vote_against_it_needs_no_force_and_a_dry_run_sends_nothing(tmp_path: Path, sent: list[bool]) -> None:
    assert vote(tmp_path, REMOVAL, "ab", "reject").exception is None
    assert sent == [False]
    seen = vote(tmp_path, REMOVAL, "abcd", "approve", "--dry-run")
    assert '"would_vote"' in seen.stdout
    assert sent == [False]


def test_no_vote_for_what_the_chain_would_refuse_is_sent_unless_forced(tmp_path: Path, sent: list[bool]) -> None:
    broken = {"rule": "policy_pending", "meaning": "Another is decided on.", "detail": "from height 9 on"}
    for options in ((), ("--dry-run",)):
        refused = vote(tmp_path, ROLES, "abcd", "approve", *options, broken=broken)
        assert getattr(refused.exception, "reason", "") == "usage"
        assert "policy_pending" in str(refused.exception)
        assert "--force" in str(refused.exception)
    assert sent == []
    assert vote(tmp_path, ROLES, "abcd", "approve", "--force", broken=broken).exception is None
    assert vote(tmp_path, ROLES, "abcd", "reject", broken=broken).exception is None
    assert sent == [True, False]


def test_all_proposals_are_shown_however_many_there_are() -> None:
    class Pages:
        """A node with two pages of proposals."""

        def pages(self, method: str, key: str) -> list[dict[str, Any]]:
            assert (method, key) == ("gov_listProposals", "proposals")
            row = {"action": ROLES, "approvals": [], "rejections": [], "votes_needed": 3}
            return [{**row, "id": f"{number:064x}"} for number in range(130)]

    given = Settings()
    given.client = lambda **_: Pages()  # type: ignore[method-assign,assignment,return-value]  # a stand-in
    shown = CliRunner().invoke(root, ["-o", "json", "member", "status"], obj=given, standalone_mode=False)
    assert len(json.loads(shown.stdout)["proposals"]) == 130
