"""The checks of a run notice what they are there for: each is shown a network that breaks it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from torment.checks import Answers, Checker, read_answers

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
        nodes = SimpleNamespace(names=("bank-a",), manifest=SimpleNamespace(without_outbox={forgetful}))
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
    checker.nodes = SimpleNamespace(manifest=SimpleNamespace(perturbations=()), log=lambda _: path)  # type: ignore[assignment]
    checker._log("bank-a")
    assert bool(checker.complaints) == noticed
