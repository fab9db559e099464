"""Runs that once broke a rule: each holds now, and breaks the same rule again where its fix is taken back.

A `.scenario` is what `python -m sim --replay FILE` reads, the shortest that was found; a `.play` is in the language of
docs/scenarios.md, written by hand where no seed leads there any more. Where the draws of an old seed have moved since,
the fault was looked for again with its fix taken back, and shrunk. Should a change elsewhere move a run past its fault,
the second test says so: it is then to be looked for once more.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sim.plan_text import parse
from sim.scenario.play import play
from sim.scenario.words import ScenarioError
from sim.shrink import failure_of
from sim.twins import breaks
from sim.twins.breaks import Break, broken

HERE = Path(__file__).parent
FILES = sorted([*HERE.glob("*.scenario"), *HERE.glob("*.play")])
FIXES = {
    "altered-batch": Break(
        "simulated nodes verify batches",
        "sim.cluster:Cluster",
        "open_core",
        "check_batch=self._check_batch,",
        "check_batch=lambda batch: None,",
    ),
    "commit-in-the-ledger-alone": Break(
        "what only the ledger remembers is written to the log as well",
        "consensus.restoring",
        "_remember_reached",
        "if unlogged is not None and not state.learner:",
        "if False:",
    ),
    "entered-view-of-a-later-epoch": Break(
        "an accepted NEW-VIEW of a later epoch than the ledger's is remembered",
        "consensus.restoring",
        "_reached",
        "return new_view.epoch, 0",
        "return None",
    ),
    "learner-shows-a-proposal": Break(
        "what is shown of a leader is no statement of who shows it",
        "consensus.invariants:ReplicaMonitor",
        "_sent",
        "shown = isinstance(message, Vote) and message.validator != self._named(message.epoch)",
        "shown = False",
    ),
    "relabelled-cosignatures": Break(
        "a cosignature that fits its height takes the place of one that does not",
        "consensus.checkpoints",
        "on_vote",
        "(_fits(state, held), held.time_s) >= (_fits(state, vote), vote.time_s)",
        "held.time_s >= vote.time_s",
    ),
    "log-of-a-later-epoch": Break(
        "a log of a later epoch is taken back when the ledger is there",
        "consensus.restoring",
        "resume",
        "if later is None or state.epoch < later.epoch:",
        "if True:",
    ),
    "proposals-without-batches": Break(
        "a leader proposes nothing on a restored proposal that is not executed",
        "consensus.ordering",
        "_propose",
        "if not slot.executed:",
        "if False:",
    ),
    "vote-and-epoch-in-one-step": Break(
        "a vote is judged by the seats of its own epoch",
        "consensus.invariants:ReplicaMonitor",
        "_sent",
        "(seat := self._seats.get(message.epoch)) is not None",
        "(seat := self._seats[max(self._seats)]) is not None",
    ),
}
"""For each file the line that holds the rule, and what stands there without its fix."""


def broken_by(path: Path) -> str | None:
    """Run or play a file, and return the rule that it breaks."""
    text = path.read_text("utf-8")
    if path.suffix == ".scenario":
        failure, _ = failure_of(parse(text))
        return None if failure is None else failure.rule
    try:
        play(text)
    except ScenarioError as error:
        return error.what.removeprefix("a rule of the protocol is broken: ").partition(": ")[0]
    return None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_run_that_once_broke_a_rule_holds(path: Path) -> None:
    assert broken_by(path) is None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_without_its_fix_it_breaks_the_rule_that_its_file_names(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = re.search(r"^# breaks: (.+)$", path.read_text("utf-8"), re.MULTILINE)
    assert rule is not None
    monkeypatch.setitem(breaks.BREAKS, path.stem, FIXES[path.stem])
    with broken(path.stem):
        assert broken_by(path) == rule[1]


def test_every_file_says_what_it_found_and_how_it_comes_back() -> None:
    assert sorted(FIXES) == sorted(path.stem for path in FILES)
    for path in FILES:
        lines = path.read_text("utf-8").splitlines()
        assert lines[0].startswith("# "), path.stem
        assert any(line.startswith("# found by ") for line in lines), path.stem
