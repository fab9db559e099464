"""The checks of a run notice what they are there for: each is shown a network that breaks it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chainnode.home import Home
from chainnode.identity import new_key, write_key
from consensus.messages import WINDOW
from primitives.ids import Epoch, MemberId
from primitives.validators import Validator, ValidatorSet
from torment.checks import Answers, Checker, read_answers
from torment.perturb import LostVote

DONE = {"applied": True, "rule": None, "detail": None}
STANDING = json.dumps(DONE, sort_keys=True)


def record(path: Path, *rows: dict[str, Any]) -> Answers:
    path.write_text("".join(json.dumps({"t": 0.0, **row}) + "\n" for row in rows))
    return read_answers(path)


def committed(event: str, height: int = 7, index: int = 0) -> dict[str, Any]:
    return {"node": "bank-a", "via": "batch", "rows": [[event, "Committed", height, index, DONE]]}


class Shown(Checker):
    """A checker of a network whose nodes say what a test says."""

    def __init__(
        self, answers: Answers, standing: dict[str, tuple[int, int, str]], *, in_log: int, forgetful: str = ""
    ) -> None:
        nodes = SimpleNamespace(
            names=("bank-a",), manifest=SimpleNamespace(without_outbox={forgetful}, is_governed=False)
        )
        super().__init__(nodes, answers)  # type: ignore[arg-type]  # a stand-in with what the check reads
        self.shown = standing
        self.facts["events_in_log"] = in_log

    def _standing(self, name: str, ids: list[str]) -> dict[str, tuple[int, int, str]]:
        return {item: place for item, place in self.shown.items() if item in ids}


def test_a_sound_network_has_no_complaints(tmp_path: Path) -> None:
    answers = record(tmp_path / "r", {"asked": ["a", "b"], "via": "lone"}, committed("a"), committed("b", 8))
    checker = Shown(answers, {"a": (7, 0, STANDING), "b": (8, 0, STANDING)}, in_log=2)
    checker._answers(9)
    assert checker.complaints == []


@pytest.mark.parametrize(
    ("standing", "in_log", "said"),
    [
        ({}, 0, "was answered"),
        ({"a": (7, 1, STANDING)}, 1, "was answered"),
        ({"a": (7, 0, json.dumps({"applied": False}))}, 1, "was answered"),
        ({"a": (7, 0, STANDING)}, 2, "stands twice"),
    ],
    ids=["lost", "elsewhere", "another outcome", "twice"],
)
def test_a_committed_event_that_is_lost_moved_changed_or_doubled_is_noticed(
    tmp_path: Path, standing: dict[str, tuple[int, int, str]], in_log: int, said: str
) -> None:
    checker = Shown(record(tmp_path / "r", {"asked": ["a"], "via": "lone"}, committed("a")), standing, in_log=in_log)
    checker._answers(9)
    assert any(said in complaint for complaint in checker.complaints)


def test_an_accepted_event_that_is_nowhere_is_noticed_unless_its_outbox_was_lost(tmp_path: Path) -> None:
    pending = {"node": "bank-a", "via": "lone", "rows": [["a", "Pending", None, None, None]]}
    answers = record(tmp_path / "r", {"asked": ["a"], "via": "lone"}, pending)
    checker = Shown(answers, {}, in_log=0)
    checker._answers(9)
    assert any("accepted" in complaint for complaint in checker.complaints)
    exempt = Shown(answers, {}, in_log=0, forgetful="bank-a")
    exempt._answers(9)
    assert exempt.complaints == []
    assert exempt.facts["lost_with_an_outbox"] == 1


def test_two_answers_that_contradict_each_other_are_noticed(tmp_path: Path) -> None:
    answers = record(tmp_path / "r", {"asked": ["a"], "via": "lone"}, committed("a", 7), committed("a", 8))
    assert len(answers.contradictions) == 1


@pytest.mark.parametrize(
    ("line", "noticed"),
    [
        ('{"level": "info", "event": "started"}', False),
        ('{"level": "critical", "event": "halted"}', True),
        ('{"level": "error", "event": "x", "frames": ["node.py:1 run"]}', True),
        ("Traceback (most recent call last):", True),
        ("chainnode: the disk is full", True),
    ],
)
def test_traces_critical_lines_and_unasked_last_words_in_a_log_are_noticed(
    tmp_path: Path, line: str, noticed: bool
) -> None:
    checker = Shown(Answers(), {}, in_log=0)
    path = tmp_path / "log"
    path.write_text(line + "\n")
    checker.nodes = SimpleNamespace(manifest=SimpleNamespace(perturbations=()), log=lambda _: path)  # type: ignore[assignment]  # stands in for a run
    checker._log("bank-a")
    assert bool(checker.complaints) == noticed


KEYS = {name: new_key("vote", member=name) for name in ("bank-a", "bank-b")}
VOTED = ValidatorSet(
    Epoch(1),
    tuple(Validator(name, MemberId(name), *[bytes.fromhex(key.public)] * 3) for name, key in KEYS.items()),
)
LOST = LostVote("bank-b", bytes.fromhex(KEYS["bank-b"].public), 7)


def told(homes: Path, **changed: Any) -> Checker:
    """Return a checker of two nodes that hold their keys and say what `changed` does not change."""
    for name, key in KEYS.items():
        home = Home(homes / name)
        home.keys.mkdir(parents=True)
        write_key(home.vote_key, key)
    says: dict[str, Any] = {"epoch": 1, "hash": VOTED.hash.hex(), "validators": [], "role": "validator", "version": "1"}
    nodes = SimpleNamespace(
        names=tuple(KEYS),
        manifest=SimpleNamespace(validators=frozenset(changed.pop("voted", KEYS))),
        home=lambda name: Home(homes / name),
        call=lambda name, _: says | (changed if name == "bank-b" else {}),
        release=lambda _: SimpleNamespace(version="1"),
    )
    return Checker(nodes, Answers())  # type: ignore[arg-type]  # a stand-in with what the check reads


def test_a_set_that_is_what_was_voted_has_no_complaints(tmp_path: Path) -> None:
    sound = told(tmp_path / "sound")
    sound._validators([], VOTED)
    learning = told(tmp_path / "learning", role="learner")
    learning._validators([LOST], VOTED)
    assert sound.complaints == learning.complaints == []


@pytest.mark.parametrize(
    ("changed", "losses", "said"),
    [
        ({"voted": ("bank-a",)}, [], "voted were"),
        ({"epoch": 0}, [], "knows other validators"),
        ({"hash": "00"}, [], "knows other validators"),
        ({"role": "learner"}, [], "says that it is learner, not validator"),
        ({"role": "validator"}, [LOST], "says that it is validator, not learner"),
        ({"version": "2"}, [], "is release 2"),
    ],
    ids=["another set", "an older epoch", "another hash", "no vote", "a vote that is lost", "another release"],
)
def test_a_set_or_a_part_in_it_that_was_not_voted_is_noticed(
    tmp_path: Path, changed: dict[str, Any], losses: list[LostVote], said: str
) -> None:
    checker = told(tmp_path, **changed)
    checker._validators(losses, VOTED)
    assert any(said in complaint for complaint in checker.complaints)


def test_a_validator_whose_home_holds_another_key_than_was_voted_for_is_noticed(tmp_path: Path) -> None:
    checker = told(tmp_path)
    Home(tmp_path / "bank-a").vote_key.unlink()
    write_key(Home(tmp_path / "bank-a").vote_key, new_key("vote", member="bank-a"))
    checker._validators([], VOTED)
    assert checker.complaints == ["bank-a holds another key than the one that was voted for"]


@pytest.mark.parametrize(("height", "noticed"), [(7 + WINDOW, False), (8 + WINDOW, True)])
def test_a_signature_by_a_key_that_must_sign_nothing_more_is_noticed(
    tmp_path: Path, height: int, noticed: bool
) -> None:
    checker = told(tmp_path)
    checker.nodes.genesis = SimpleNamespace(chain_id=bytes(32))  # type: ignore[misc, assignment]  # stands in for a run
    signatures = [{"validator": index, "signature": "00" * 64} for index in (0, 1)]
    place = {"epoch": 1, "view": 0, "height": height, "block_hash": "00" * 32}
    block = {"hash": "00" * 32, "certificate": {**place, "signatures": signatures}}
    checker._certified("bank-a", block, SimpleNamespace(height=height), VOTED, [LOST])  # type: ignore[arg-type]  # stands in for a run
    assert any("does not verify" in complaint for complaint in checker.complaints)
    assert any("bank-b lost what it signed" in complaint for complaint in checker.complaints) == noticed


def test_the_members_decisions_are_no_submitted_events_and_anything_else_is_noticed() -> None:
    pages = {
        1: [["payment.statement"] * 2, ["governance.propose"]],
        2: [["governance.vote", "evidence.conflict"]],
        3: [[]],
    }

    def call(_: str, method: str, **asked: Any) -> dict[str, Any]:
        if method == "ledger_getBlocks":
            counts = {height: sum(map(len, found)) for height, found in pages.items()}
            return {"blocks": [{"header": {"height": h, "event_count": count}} for h, count in counts.items()]}
        found, place = pages[asked["height"]], asked.get("cursor", 0)
        return {
            "events": [{"kind": kind} for kind in found[place]],
            "cursor": place + 1 if place + 1 < len(found) else None,
        }

    nodes = SimpleNamespace(names=("bank-a",), manifest=SimpleNamespace(is_governed=True), call=call)
    checker = Checker(nodes, Answers())  # type: ignore[arg-type]  # a stand-in with what the check reads
    assert checker._decisions(3) == 2
    assert any("nobody submitted" in complaint and "evidence" in complaint for complaint in checker.complaints)
