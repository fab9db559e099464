"""A failing seed becomes the shortest scenario that breaks the same rule, a file to replay, and a diagram."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from xml.etree import ElementTree as Xml

import pytest

from consensus.invariants import InvariantBroken
from primitives.errors import InputError
from sim import __main__ as command
from sim import seeds, shrink
from sim.cluster import Cluster
from sim.diagram import Arrow, Note, as_svg, as_text, select
from sim.events import Offer
from sim.journal import Journal
from sim.membership import Change, Deed
from sim.network import CALM
from sim.plan import Fault, Scenario, Strike, draw, draw_loads, draw_weather
from sim.plan_text import parse, to_text
from sim.run import Result
from sim.shrink import Shrinker, failure_of
from sim.workload import START_MS

RULE = "no bank may be cut off while another is down"


def planted(scenario: Scenario, cluster: Cluster | None = None) -> Result:
    """A run with a rule that only a crash and a partition at once break, in a scenario with a batch."""
    assert cluster is not None
    cluster.run_until(START_MS + min(scenario.chaos_ms, 3_000))
    kinds = {strike.fault for strike in scenario.strikes}
    if {Fault.LEADER_CRASH, Fault.PARTITION} <= kinds and scenario.loads:
        raise InvariantBroken(f"{RULE}: {len(scenario.strikes)} strikes")
    return Result(max(cluster.heights()), 3_000, 0, 1, cluster.digest())


def crowded() -> Scenario:
    random = Random(4)
    strikes = (
        Strike(Fault.SKEW, 100, 500, (1,), (1_000,)),
        Strike(Fault.LEADER_CRASH, 200, 500, (), (0, 500)),
        Strike(Fault.SLOW_DISK, 300, 500, (2,), (100,)),
        Strike(Fault.PARTITION, 400, 2_000, (3,)),
        Strike(Fault.CRASH, 900, 500, (1,), (0, 500)),
    )
    loads = draw_loads(random, 12, 4, 1_500)
    return Scenario(7, 4, draw_weather(random), strikes, ((1, "Silent"),), loads, observers=1, chaos_ms=2_000)


def test_a_planted_failure_shrinks_to_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shrink, "run", planted)
    scenario = crowded()
    found, _ = failure_of(scenario)
    assert found is not None
    assert found.rule == RULE
    shortest = Shrinker(scenario, RULE).search()
    assert [strike.fault for strike in shortest.strikes] == [Fault.LEADER_CRASH, Fault.PARTITION]
    assert shortest.malicious == ()
    assert len(shortest.loads) == 1
    assert shortest.observers == 0
    assert shortest.weather == CALM
    assert shortest.chaos_ms < scenario.chaos_ms
    assert failure_of(shortest)[0] is not None


def test_a_run_that_is_cut_shorter_keeps_no_stop_of_a_joiner_after_its_end() -> None:
    kept = Change(100, Deed.JOIN, 0, "bank-0-0", (899, 4_000))
    troubled = Change(200, Deed.JOIN, 1, "bank-1-1", (800, 4_000))
    left = Change(300, Deed.LEAVE, 1, "bank-2", (1,))
    shorter = shrink._cut(replace(draw(1), changes=(kept, troubled, left)), 1_000)
    assert shorter.changes == (kept, replace(troubled, amounts=()), left)
    assert parse(to_text(shorter)) == shorter


def test_shrinking_stops_in_time_and_after_its_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shrink, "run", planted)
    few = Shrinker(crowded(), RULE, attempts_max=3)
    few.search()
    assert few.attempts == 3
    late = Shrinker(crowded(), RULE, in_time=lambda: False)
    assert late.search() == crowded()
    assert late.attempts == 0


def test_a_failing_seed_is_reported_with_the_commands_that_show_it_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(scenario: Scenario, cluster: Cluster | None = None) -> Result:
        assert cluster is not None
        cluster.run_until(START_MS + 500)
        raise InvariantBroken("no send before its write: as an example")

    monkeypatch.setattr(shrink, "run", broken)
    monkeypatch.setattr(seeds, "run", broken)
    arguments = ["--seeds", "5", "--seed-start", "9", "--out", str(tmp_path), "--shrink-seconds", "1"]
    assert command.main(arguments) == 1
    out, err = capsys.readouterr()
    assert "seed 9 of 4 validators breaks a rule: no send before its write: as an example" in err
    assert "replay: python -m sim --seed-start 9 --nodes 4 --story" in out
    scenario = tmp_path / "seed-9-of-4.scenario"
    assert f"replay: python -m sim --replay {scenario}" in out
    assert parse(scenario.read_text()).strikes == ()
    assert "bank-0 starts at height 0" in (tmp_path / "seed-9-of-4.txt").read_text()
    Xml.fromstring((tmp_path / "seed-9-of-4.svg").read_text())
    assert command.main(["--replay", str(scenario), "--out", str(tmp_path)]) == 1
    assert "breaks: no send before its write" in capsys.readouterr().out


def test_a_run_that_was_found_is_shown_where_its_folder_cannot_be_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(scenario: Scenario, cluster: Cluster | None = None) -> Result:
        raise InvariantBroken("no send before its write: as an example")

    monkeypatch.setattr(shrink, "run", broken)
    monkeypatch.setattr(seeds, "run", broken)
    (tmp_path / "file").touch()
    arguments = ["--seeds", "1", "--seed-start", "9", "--shrink-seconds", "0", "--out", str(tmp_path / "file" / "in")]
    assert command.main(arguments) == 1
    out, err = capsys.readouterr()
    assert f"{tmp_path}/file/in: cannot be written: got Not a directory" in err
    assert parse(out[out.index("seed 9\nnodes 4\n") :]) == draw(9)


@pytest.mark.parametrize("nodes", [4, 7])
def test_a_scenario_is_read_back_from_its_text(nodes: int) -> None:
    for seed in (*range(60), 1207):  # of four nodes it draws a one-way cut of no link
        scenario = draw(seed, nodes)
        assert parse("# why\n" + to_text(scenario)) == scenario


@pytest.mark.parametrize(
    "text",
    ["", "seed 1\nnodes x\n", "weather loss 1\n", to_text(draw(1)) + "thunder 3\n", to_text(draw(1)) + "strike 5\n"],
)
def test_a_text_that_is_no_scenario_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse(text)


def test_a_diagram_shows_who_said_what_to_whom_and_what_was_lost() -> None:
    journal = Journal()
    cluster = Cluster(1, weather=CALM, journal=journal)
    cluster.network.cut(0, 3)
    cluster.schedule(START_MS + 10, Offer(0, 1))
    cluster.run_until(START_MS + 300)
    rows = select(journal.entries)
    names = [node.name for node in cluster.nodes]
    proposal = next(row for row in rows if isinstance(row, Arrow) and row.text.startswith("PRE-PREPARE"))
    assert proposal.sender == 0
    assert proposal.receivers == (1, 2)
    assert proposal.lost == ((3, "cut"),)
    text = as_text(rows, names)
    line = next(line for line in text.splitlines() if "PRE-PREPARE" in line)
    assert line.count("o") >= 1
    assert line.index("o") < line.index(">") < line.index("x")
    assert line.endswith("3: cut")
    assert any(isinstance(row, Note) and "is the first to deliver height 1" in row.text for row in rows)
    assert Xml.fromstring(as_svg(rows, names)).tag.endswith("svg")


def test_seeds_give_the_same_on_several_processes() -> None:
    wanted = [(seed, 4) for seed in range(3)]
    one = list(seeds.run_seeds(wanted))
    two = sorted(seeds.run_seeds(wanted, jobs=2), key=lambda ran: ran.seed)
    assert one == two
