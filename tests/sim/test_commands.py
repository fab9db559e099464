"""The developers' programs refuse what they cannot do, or nothing to do, in one line and with status 2."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sim.arguments import whole

ROOT = Path(__file__).resolve().parents[2]
BOUNDS = "expected a whole number from "

RUN = """seed 17
nodes 4
duration 2000
weather loss 0.1 replay 0.0 delay_ms 20 tail_ms 500 tail_share 0.05
malicious 2 Equivocator
batch 200 source 0 events 3
"""

REFUSED = [
    ("-m sim --seeds 1 --nodes 0", "argument --nodes: out of bounds: expected a whole number from 4 to 100, got 0"),
    ("-m sim --seeds 1 --nodes 1", BOUNDS),
    ("-m sim --seeds 1 --nodes 3", BOUNDS),
    ("-m sim --seeds 1 --nodes -4", BOUNDS),
    ("-m sim --seeds 1 --nodes 101", "got 101"),
    ("-m sim --seeds 0", BOUNDS),
    ("-m sim --seeds -1", BOUNDS),
    ("-m sim --seeds many", "got many"),
    ("-m sim --seeds 1_0", "got 1_0"),
    ("-m sim --seeds +1", "got +1"),
    ("-m sim --seeds 1 --jobs 1000000", "a whole number from 1 to 64"),
    ("-m sim --seeds 1 --jobs 0", BOUNDS),
    ("-m sim.twins --seeds 0", BOUNDS),
    ("-m sim.twins --seeds 1 --jobs 0", BOUNDS),
    ("-m sim.twins --seeds 1 --jobs 1000000", BOUNDS),
    ("-m sim.model --views -1", BOUNDS),
    ("-m sim.model --views 0", BOUNDS),
    ("-m sim.model --views 2 --walks -1", BOUNDS),
    ("-m torment --manifests 0 --print", BOUNDS),
    ("-m torment --manifests 1000000 --print", "a whole number from 1 to 1,000"),
    ("-m torment --manifest nowhere.json", "nowhere.json: cannot be read: expected a manifest, got No such file"),
    ("-m torment --manifest tests/scenarios", "tests/scenarios: cannot be read"),
    ("-m torment --manifest README.md", "README.md, line 1: not a manifest"),
    ("-m bench.recovery view-change --runs 0", BOUNDS),
    ("-m bench --runs 0", BOUNDS),
    ("-m bench.floor --batches 0", BOUNDS),
    ("scripts/mutate.py --count -1", BOUNDS),
    ("scripts/mutate.py --count 0", BOUNDS),
    ("scripts/mutate.py --jobs 1000000", BOUNDS),
    ("scripts/mutation_operators.py nosuch.py", "nosuch.py: expected a Python file of this tree, got none"),
    ("scripts/mutation_operators.py sim/plan.py --count 0", BOUNDS),
    ("-m sim --replay nowhere.scenario", "nowhere.scenario: cannot be read: got No such file"),
    ("-m sim --replay tests/sim/any-python.scenario --out README.md/here", "README.md/here: cannot be written: got "),
    ("-m sim scenario nowhere.scenario", "nowhere.scenario: cannot be read"),
]


def called(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Return what a program said."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=60)


def assert_refused(done: subprocess.CompletedProcess[str], said: str) -> None:
    """Hold that a program refused in one line."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert said in line


@pytest.mark.parametrize(("arguments", "said"), REFUSED, ids=lambda text: text)
def test_what_cannot_be_done_is_refused_in_one_line_with_status_2(arguments: str, said: str) -> None:
    assert_refused(called(arguments.split()), said)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", ": not a manifest"),
        (b"{}", ": not a manifest: expected the fields of `--print`, got Object missing required field"),
        (b'{\n "seed": 1,\n oops', ", line 3: not a manifest"),
        (b"\xff\x00\xfe", ": not a manifest"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused_in_one_line_with_status_2(
    tmp_path: Path, data: bytes, said: str
) -> None:
    path = tmp_path / "wrong.json"
    path.write_bytes(data)
    assert_refused(called(["-m", "torment", "--manifest", str(path)]), said)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Equivocator", "Foo", "line 5: no such behaviour: expected Equivocator or "),
        ("malicious 2", "malicious 9", "line 5: node of a malicious line: expected a whole number from 0 to 3, got 9"),
        ("malicious 2 Equivocator", "malicious 2", "line 5: not a line of this form: expected malicious NODE BEHAV"),
        ("batch 200", "malicious 1 Silent\nbatch 200", "line 6: too many are malicious or lose their memory: expec"),
        ("batch 200", "strike 9 lost-log lasts 5 nodes 0\nbatch 200", "line 6: too many are malicious or lose thei"),
        ("batch 200", "strike 9 crash lasts 5 nodes 0\nbatch 200", "line 6: amounts of crash: expected 2, got 0"),
        ("batch 200", "strike 9 crash lasts 5 nodes 0 amounts 9 0\nbatch 200", "line 6: first amount of a strike"),
        ("batch 200", "strike 9 crash lasts 5 nodes 0 amounts 2 1000\nbatch 200", "line 6: share of a strike line: ex"),
        ("batch 200", "strike 9 power-loss lasts 5 nodes 0 1 amounts 2 0 9 2 1000 9\nbatch 200", "line 6: share of a"),
        ("batch 200", "strike 9 flipped-log lasts 5 nodes 2 amounts 1000 0 0\nbatch 200", "from 0 to 999, got 1000"),
        ("batch 200", "strike 9 flipped-row lasts 5 nodes 2 amounts 1000 0 0\nbatch 200", "line 6: place of a strike"),
        ("batch 200", "strike 9 flipped-log lasts 5 nodes 2 amounts 0 8 0\nbatch 200", "line 6: bit of a strike line"),
        (
            "batch 200",
            "strike 9 flipped-log lasts 5 nodes 2 amounts 0 0 2\nbatch 200",
            "a whole number from 0 to 1, go",
        ),
        ("batch 200", "strike 9 slow-disk lasts 5 nodes 0 amounts 5001\nbatch 200", "from 0 to 5000, got 5001"),
        ("batch 200", "strike 2001 partition lasts 5 nodes 0\nbatch 200", "line 6: time of a strike line: expected a "),
        (
            "batch 200",
            "change 1900 join by 0 of b amounts 101 9\nbatch 200",
            "line 6: stop of a joiner: expected bef",
        ),
        ("batch 200", "change 9 join by 0 of Bank!\nbatch 200", "line 6: name of a change line: expected lower-case"),
        ("batch 200", f"change 9 exclude by 0 of {'b' * 33}\nbatch 200", "digits and hyphens, at most 32, got bbb"),
        ("batch 200", "strike 9 crush lasts 5 nodes 0\nbatch 200", "line 6: no such fault: expected crash or "),
        ("batch 200", "strike 9 one-way lasts 5 nodes 0\nbatch 200", "line 6: nodes of one-way: expected pairs"),
        ("batch 200", "strike 9\nbatch 200", "line 6: not a line of this form: expected strike AT_MS FAULT"),
        ("batch 200", "change 9 join by 9 of bank-1-1\nbatch 200", "line 6: bank of"),
        ("batch 200", "core 0 1 others dead\nbatch 200", "line 6: nodes of a core: expected at least 3 different ones"),
        ("batch 200", "core 0 1 2 others dead\nbatch 200", "line 5: a node of the core: expected nodes that are neit"),
        ("source 0", "source 4", "line 6: source of a batch line: expected a whole number from 0 to 3, got 4"),
        ("events 3", "events 99999999", "line 6: events of a batch line: expected a whole number from 1 to 1024"),
        ("duration 2000", "duration -5", "line 3: number of a duration line: expected a whole number from 0 to 864"),
        ("duration 2000\n", "", "no duration line: expected duration MS"),
        ("nodes 4", "nodes 0", "line 2: number of a nodes line: expected a whole number from 4 to 100, got 0"),
        ("nodes 4", "nodes 4\nnodes 0", "line 3: a second nodes line: expected one, as on line 2, got nodes 0"),
        ("loss 0.1", "loss 7", "line 4: share of a weather line: expected a number from 0 to 1, got 7"),
        ("loss 0.1", "loss nan", "line 4: share of a weather line"),
        ("loss 0.1 ", "", "line 4: not a line of this form: expected weather loss SHARE"),
        ("nodes 4", "knots 4", "line 2: unknown line of a scenario: expected seed or nodes"),
        ("nodes 4", "nodes \xff", "line 2: number of a nodes line"),
    ],
)
def test_a_run_that_cannot_be_meant_is_refused_by_its_line_with_status_2(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    path = tmp_path / "wrong.scenario"
    path.write_text(RUN.replace(old, new), "utf-8")
    done = called(["-m", "sim", "--replay", str(path), "--out", str(tmp_path)])
    assert_refused(done, said)
    assert str(path)[-20:] in done.stderr


@pytest.mark.parametrize("data", [b"", b"seed 1\n\x00\xff\xfe", b"\x7fELF\x02\x01\x01\x00"])
def test_a_file_that_is_no_run_is_refused_in_one_line_with_status_2(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "wrong.scenario"
    path.write_bytes(data)
    assert_refused(called(["-m", "sim", "--replay", str(path), "--out", str(tmp_path)]), "wrong.scenario")


def test_a_run_that_can_be_meant_is_replayed(tmp_path: Path) -> None:
    path = tmp_path / "right.scenario"
    path.write_text(RUN, "utf-8")
    done = called(["-m", "sim", "--replay", str(path), "--out", str(tmp_path)])
    assert done.returncode == 0, done.stderr


def test_the_run_that_the_page_on_simulation_shows_can_be_replayed(tmp_path: Path) -> None:
    page = (ROOT / "docs/simulation.md").read_text("utf-8")
    (text,) = re.findall(r"^```text\n(seed .*?)^```$", page, re.MULTILINE | re.DOTALL)
    path = tmp_path / "shown.scenario"
    path.write_text(text, "utf-8")
    done = called(["-m", "sim", "--replay", str(path), "--out", str(tmp_path)])
    assert done.returncode == 0, done.stderr


def test_a_count_that_is_huge_or_no_number_is_refused_like_any_other() -> None:
    for text in ("", "1.5", "9" * 5_000, "\u0662", "0_2", " 2", "+2", "\u00b2"):
        with pytest.raises(Exception, match="expected a whole number from 1 to 3, got"):
            whole(1, 3)(text)
