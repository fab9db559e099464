"""Twins: scenarios hold every rule, each schedule has its number, and rules broken by hand are found within few."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from consensus.invariants import InvariantBroken
from primitives.errors import UsageError
from sim.twins import __main__ as command
from sim.twins import breaks
from sim.twins.breaks import BREAKS, Break, broken
from sim.twins.run import play, run
from sim.twins.scenario import PARTITIONS, REPLICAS, ROUNDS, SCHEDULES, Round, draw, sides_of

CHUNK = 250
SCENARIOS = 1_000
FOUND_WITHIN = 400
RARE = {"lowest-view": 5_000}
"""Breaks that show in fewer scenarios; the first one found today is far below."""


@pytest.mark.parametrize("start", range(0, SCENARIOS, CHUNK))
def test_twins_break_no_rule_and_order_returns_when_the_links_do(start: int) -> None:
    for number in range(start, start + CHUNK):
        try:
            assert run(number).height > 0, number
        except InvariantBroken as error:
            story = "\n".join(draw(number).lines())
            raise AssertionError(f"scenario {number}: {error}\n{story}") from error


def run_from_the_first(count: int = FOUND_WITHIN) -> None:
    for number in range(count):
        run(number)


@pytest.mark.parametrize("rule", BREAKS)
def test_a_rule_broken_by_hand_is_found_within_few_scenarios(rule: str) -> None:
    with broken(rule), pytest.raises(InvariantBroken):
        run_from_the_first(RARE.get(rule, FOUND_WITHIN))


PAGE = (Path(__file__).resolve().parents[2] / "docs/testing-consensus.md").read_text("utf-8")
ROWS = re.findall(r"^\| `([a-z-]+)` \| .+ \| (\d+) \| \d+ \|$", PAGE, re.MULTILINE)


def test_the_page_has_a_row_for_each_rule_broken_by_hand() -> None:
    assert [name for name, _ in ROWS] == list(BREAKS)


@pytest.mark.parametrize(("rule", "first"), ROWS)
def test_the_page_names_the_first_scenario_that_finds_a_broken_rule(
    rule: str, first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--seeds", str(int(first) + 1), "--jobs", "1", "--break", rule, "--keep-going"]) == 1
    said = capsys.readouterr()
    assert said.out == f"1 of {int(first) + 1} scenarios break a rule, the first is {first}\n"
    if f"scenario {first} breaks" in PAGE and rule in PAGE.partition("### That it bites")[0]:
        shown = re.findall(rf"^```text\n(scenario {first} .*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0].splitlines()
        for line in shown:
            assert line.strip().removesuffix("…") in said.err


def test_a_rule_broken_by_hand_is_whole_again_afterwards() -> None:
    with broken("small-quorum"), pytest.raises(InvariantBroken):
        run_from_the_first()
    assert run(3).height > 0


def test_a_break_whose_line_is_gone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Break("none", "consensus.ordering", "_vote", "a line that is not there", "")
    monkeypatch.setitem(breaks.BREAKS, "gone", gone)
    with pytest.raises(UsageError, match="once: a line that is not there"), broken("gone"):
        pass


def test_consecutive_numbers_hold_each_schedule_once() -> None:
    for start in (0, 123_456):
        assert len({sides_of(number) for number in range(start, start + SCHEDULES)}) == SCHEDULES == 15**4


def test_there_are_fifteen_splits_of_five_replicas_into_two_sides() -> None:
    rounds = [Round(side, 1, (), False, False, (), None) for side in range(1, PARTITIONS + 1)]
    splits = {frozenset(map(frozenset, each.sides())) for each in rounds}
    assert len(splits) == 15
    for split in splits:
        assert sorted(index for side in split for index in side) == list(range(REPLICAS))
        assert all(split), "no side is empty"


def test_a_scenario_is_one_run() -> None:
    assert [run(number) for number in (7, 93)] == [run(number) for number in (7, 93)]


def test_scenarios_are_worth_running() -> None:
    """Views change, blocks commit before the links are up again, and the twinned validator is caught."""
    results = [run(number) for number in range(200)]
    assert len({result.view for result in results}) >= 5
    assert sum(result.height_before > 0 for result in results) > len(results) // 2
    assert sum(result.accused for result in results) > len(results) // 10
    leaders = {(draw(result.number).twinned, result.view % 4) for result in results}
    assert len(leaders) == 16, "each validator is twinned, and each leads in the end"


def test_a_scenario_is_told_in_words() -> None:
    lines = list(draw(144).lines())
    assert lines[0] == "Twins scenario 144: the key of v1 runs on two replicas, v1 and v1'"
    assert sum(line.startswith("round ") for line in lines) == ROUNDS
    assert any(" | " in line for line in lines)


def test_a_broken_rule_is_printed_with_its_scenario_and_the_command_that_replays_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main(["--seeds", "50", "--jobs", "1", "--break", "small-quorum"]) == 1
    said = capsys.readouterr().err
    number = int(said.split()[1])
    assert f"--seeds 1 --seed-start {number} --jobs 1 --break small-quorum" in said
    assert "round 4: " in said
    with broken("small-quorum"), pytest.raises(InvariantBroken):
        play(draw(number))


def test_the_command_runs_scenarios_in_several_processes(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seeds", "60", "--jobs", "2"]) == 0
    assert capsys.readouterr().out.startswith("60 scenarios held every rule")
