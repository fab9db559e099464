"""Every scenario of faults holds, says what its golden transcript says, and injects what it is named after."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from sim.scenario import command
from sim.scenario.play import play
from sim.scenario.vocabulary import EXPECTATIONS, STATEMENTS, VALUES, find
from sim.scenario.words import SLOTS, ScenarioError, read_lines

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.scenario"))
TABLE = (HERE.parents[1] / "docs/scenarios.md").read_text("utf-8")
ROW = re.compile(r"^\| (\d+) \| (.+) \| \[`(.+)`\]\(\.\./tests/scenarios/(.+)\) \|$", re.MULTILINE)
NUMBER = re.compile(r"(\d\d)-[a-z0-9-]+\.scenario")
FAULTS = 62
INJECTING = {
    "send", "give", "replay", "crash", "doom", "flip", "wipe", "lose", "restore", "clock", "cut", "partition",
    "drop", "hold", "delay", "offer", "fill", "damage",
}  # fmt: skip
"""First words of statements by which a fault comes into the world."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_scenario_holds_and_says_what_its_golden_transcript_says(path: Path) -> None:
    assert command.differences(path, command.transcript(path)) == []


def title(path: Path) -> str:
    """Return a file's first line without its mark."""
    return path.read_text("utf-8").splitlines()[0].removeprefix("# ")


def test_each_fault_has_its_file_and_the_table_names_it() -> None:
    rows = {int(number): (fault, name) for number, fault, shown, name in ROW.findall(TABLE) if shown == name}
    files = {int(match[1]): path for path in FILES if (match := NUMBER.fullmatch(path.name))}
    assert len(files) == len(FILES), "every file is named NN-what.scenario, each number once"
    assert sorted(files) == list(range(1, FAULTS + 1))
    assert sorted(rows) == sorted(files)
    for number, path in files.items():
        assert rows[number] == (title(path).partition(": ")[2], path.name), number
        assert title(path).startswith(f"{number}: ")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_scenario_injects_something_and_then_expects_something(path: Path) -> None:
    first = [line.words[0] for line in read_lines(path.read_text("utf-8"))]
    injected = [index for index, word in enumerate(first) if word in INJECTING]
    assert injected, "a fault comes into the world"
    assert "expect" in first[injected[0] :]


def test_no_golden_transcript_is_left_without_its_scenario() -> None:
    assert {path.stem for path in HERE.glob("*.golden")} == {path.stem for path in FILES}


def test_a_scenario_plays_the_same_twice() -> None:
    text = (HERE / "11-different-views.scenario").read_text("utf-8")
    assert play(text) == play(text)


def test_an_expectation_that_is_not_met_names_line_expected_and_got() -> None:
    with pytest.raises(ScenarioError, match=r"line 3: not met, expected height = 5 on all, got 0: 1, 1: 1"):
        play("offer 1 batches from 1\nrun 1 s\nexpect height = 5 on all\n")
    with pytest.raises(
        ScenarioError, match=r"line 2: not met, expected not view = 0 on 3 within 1 s, got .* after 1000"
    ):
        play("run 1 s\nexpect not view = 0 on 3 within 1 s\n")


def test_a_broken_rule_of_the_protocol_ends_the_play_with_its_line() -> None:
    crafted = (
        "puppet 0 1 2\nlet x = batch from 0\nlet y = batch from 1\nlet a = block on genesis with x by 0\n"
        "let b = block on genesis with y by 0\nlet c = commit certificate of a by 0 1 2\n"
        "let d = commit certificate of b by 0 1 2\nlet m = committed a under c\nlet n = committed b under d\n"
        "send m from 0 to 3\n"
    )
    seven = "nodes 7\npuppet 0 1 2 3 4\n" + crafted.partition("\n")[2]
    seven = seven.replace("by 0 1 2", "by 0 1 2 3 4").replace("from 0 to 3", "from 0 to 5")
    with pytest.raises(ScenarioError, match="line 12: a rule of the protocol is broken: no two committed hashes"):
        play(seven + "send n from 0 to 6\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("crsh 1", "line 1: not a statement, expected one of docs/scenarios.md's statements, got crsh 1"),
        ("\n# why\ncrash 1 keeping some", "line 3: not a statement of this form, expected `crash NODES"),
        ("run fast", "line 1: not a statement of this form, expected `run TIME`, got 'fast' at word 2"),
        ("run 1 s\nnodes 7", "line 2: said too late, expected this among the first lines, got nodes 7"),
        ("crash 9", "line 1: no such node, expected below 4, got 9"),
        ("let x = basket from 1", "line 1: not a value, expected one of docs/scenarios.md's values"),
        ("let x = batch from 1\nsend y from 1 to 2", "line 2: no value is called 'y', expected one of: x"),
        ("let x = batch from 1\nlet p = prepare of x by 1", "line 2: the value 'x', expected Block, got ParsedBatch"),
        ("expect heights = 1 on all", "line 1: not an expectation, expected"),
        ("drop everything", "line 1: no such kind of message, expected batch, blocks"),
        ('expect moved by 1 "no', 'line 1: a text without its end, expected a closing "'),
        ("nodes 0", "line 1: the number after `nodes`, expected 1 to 100, got 0"),
        ("wipe 2", "line 1: the disk of a node that runs, expected a stopped node, got 2"),
        ("crash 2\nrestore 2 from its backup", "line 2: there is no backup of 2, expected `back up 2` before"),
        ("expect order on all within soon", "line 1: a limit, expected within TIME, got soon"),
        ("crash 2\nexpect height = 1 on 2", "line 2: node 2 does not run"),
        ("policy block_batches_max 0", "line 1: a figure of the policy: "),
        ("policy block_bites 4", "line 1: a figure of the policy: "),
        ('let p = batch from 1 that moves "war on 2"', "line 1: no such motion, expected policy or roles or "),
        ('let p = batch from 1 that moves "roles 1 king"', "line 1: not a motion of this form, expected roles BANK"),
        ("rules 9", "line 1: the number after `rules`, expected 1 to "),
        ("expect figure colour = 1 on all", "line 1: no such figure, expected block_bytes_max, "),
        ("", "line 1: nothing to play, expected a statement, got an empty file"),
        ("# nothing\n\n", "line 1: nothing to play"),
        ("offer 100000000 batches from 1", "line 1: the number after `offer`, expected 1 to 10000, got 100000000"),
        ("offer 0 batches from 1", "line 1: the number after `offer`, expected 1 to 10000, got 0"),
        ("offer 2 batches from 1 every -3 s", "line 1: a time after `every`, expected 0 ms or more, got -3000 ms"),
        ("let x = batch from 1 with 99999999 events", "line 1: the number after `with`, expected 1 to 1024, got 9999"),
        ("let x = hashes of 99999999 invented batches", "line 1: the number after `of`, expected 1 to "),
        (f"run {'9' * 5_000} s", "line 1: not a statement of this form, expected `run TIME`"),
        ("weather loss 500 replay 0 delay 5 ms", "line 1: the number after `loss`, expected 0 to 100, got 500"),
        ("weather loss 5 replay 0 delay -5 ms", "line 1: the time after `delay`, expected 0 to "),
        (
            "let x = batch from 1\nlet x = batch from 2",
            "line 2: a second value of this name, expected another name, got",
        ),
        ("let X = batch from 1", "line 1: no name, expected small letters, digits and _"),
        ("run 1 s\nstart 2", "line 2: nothing to start, expected a stopped node, got 2"),
        ("crash 2\ncrash 2", "line 2: nothing to crash, expected a node that runs, got 2, which is stopped"),
        ("malicious 0 1 2 3", "line 1: too many malicious nodes, expected at most 1 of 4, or `beyond f`, got 0 1 2 3"),
        (
            "malicious 3\nmalicious 2",
            "line 2: too many malicious nodes, expected at most 1 of 4, or `beyond f`, got 2 3",
        ),
        ("expect view >= 0 on all within 999999 h", "line 1: a time after `within`, expected at most "),
        ("run 1 s\ndamage block 3 on 1", "line 2: node 1 has no block, expected a committed height, got 3"),
    ],
)
def test_a_line_that_cannot_be_understood_says_what_was_expected(text: str, said: str) -> None:
    with pytest.raises(ScenarioError) as error:
        play(text)
    assert str(error.value).startswith(said)


def test_the_command_shows_what_differs_and_blesses_what_is_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.scenario"
    path.write_text("offer 1 batches from 1\nrun 1 s\nexpect height = 1 on all\n")
    assert command.main([str(path)]) == 0, "a stranger's file holds by its expectations alone"
    assert command.main([str(path), "--bless"]) == 0
    assert command.main([str(path), "--show"]) == 0
    assert "bank-0: proposes block 1 in view 0" in capsys.readouterr().out
    golden = path.with_suffix(".golden")
    golden.write_text(golden.read_text().replace("proposes block 1 ", "proposes block 9 "))
    assert command.main([str(path)]) == 1
    assert "-     0.010 s  bank-0: proposes block 9 in view 0" in capsys.readouterr().err
    assert command.main([str(path), "--no-golden"]) == 0
    path.write_text("expect view = 3 on all\n")
    assert command.main([str(path)]) == 1
    assert "line 1: not met" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (b"", 2, "mine.scenario: cannot be read: line 1: nothing to play"),
        (b"offer 1 batches from 1\ncrsh 1\n", 2, "mine.scenario: cannot be read: line 2: not a statement"),
        (b"\xff\xfe", 2, "mine.scenario: cannot be read: 'utf-8' codec"),
        (b"#" * (1 << 21), 2, "mine.scenario: cannot be read: line 1: too large"),
        (
            b"offer 1 batches from all\n",
            2,
            "mine.scenario: cannot be read: line 1: after `from`, expected one node, got 4",
        ),
        (
            b"run 1 s\nre-key 1\n",
            2,
            "mine.scenario: cannot be read: line 2: keys of a node that runs, expected a stopp",
        ),
        (b"expect view = 3 on all\n", 1, "scenario mine breaks a rule: line 1: not met"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_from_a_rule_that_breaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, status: int, said: str
) -> None:
    path = tmp_path / "mine.scenario"
    path.write_bytes(data)
    assert command.main([str(path)]) == status
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("flags", [[], ["--bless"]])
def test_a_golden_transcript_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    path = tmp_path / "mine.scenario"
    path.write_text("run 1 s\n")
    (tmp_path / "mine.golden").mkdir()
    assert command.main([str(path), *flags]) == 2
    assert capsys.readouterr().err == f"{tmp_path}/mine.golden: cannot be used: Is a directory\n"


def test_a_golden_transcript_that_is_no_text_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.scenario"
    path.write_text("run 1 s\n")
    (tmp_path / "mine.golden").write_bytes(b"\xff")
    assert command.main([str(path)]) == 2
    assert "mine.golden: cannot be used: 'utf-8' codec" in capsys.readouterr().err


def test_one_of_ours_without_its_golden_transcript_does_not_hold() -> None:
    (line,) = command.differences(HERE / "57-nothing.scenario", "")
    assert line == "57-nothing.golden is missing: write it with --bless"


# --- the page about the language


@pytest.mark.parametrize("heading", ["Statements", "Values", "Expectations"])
def test_the_page_shows_every_form_of_the_language_in_order_and_where_it_is_used(heading: str) -> None:
    register = {"Statements": STATEMENTS, "Values": VALUES, "Expectations": EXPECTATIONS}[heading]
    section = TABLE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.replace("\\|", "/").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    shown = [(form.removeprefix("| "), meaning) for form, meaning, _ in rows]
    forms = [(f"`{entry.pattern.usage}`".replace("|", "/"), entry.meaning.replace("|", "/")) for entry in register]
    assert shown == forms
    for entry, (_, _, number) in zip(register, rows, strict=True):
        (path,) = HERE.glob(f"{int(number.removesuffix(' |')):02}-*.scenario")
        assert entry.pattern.usage in forms_of(path)


def test_the_page_shows_every_kind_of_word() -> None:
    section = TABLE.partition("\n## Words\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([A-Z]+)` \| (.+) \|$", section, re.MULTILINE) == list(SLOTS.items())


@pytest.mark.parametrize("text", re.findall(r"^```scenario\n(.*?)^```$", TABLE, re.MULTILINE | re.DOTALL))
def test_the_pages_examples_hold(text: str) -> None:
    assert play(text)
    assert len(text.splitlines()) <= 10


def forms_of(path: Path) -> set[str]:
    """Return the forms of the language that a scenario uses."""
    used = {"let NAME = VALUE", "expect [not] EXPECTATION [within TIME]"}
    for line in read_lines(path.read_text("utf-8")):
        words = line.words
        register, start = STATEMENTS, 0
        if words[0] == "let":
            register, start = VALUES, 3
        elif words[0] == "expect":
            register, start = EXPECTATIONS, 2 if words[1] == "not" else 1
        end = words.index("within") if words[0] == "expect" and "within" in words else len(words)
        used.add(find(register, "form", line, words[start:end])[0].pattern.usage)
    return used


# --- that each can fail


def test_for_each_scenario_a_line_of_the_code_is_named_whose_change_turns_it_red() -> None:
    entries = tomllib.loads((HERE / "rules.toml").read_text("utf-8"))["mutation"]
    runs = [f"sim scenario tests/scenarios/{path.name} --no-golden" for path in FILES]
    assert [entry["runs"] for entry in entries] == [[run] for run in runs]
    for entry in entries:
        text = (HERE.parents[1] / entry["file"]).read_text("utf-8")
        old = entry["old"].strip("\n")
        assert f"\n{text}".count(f"\n{old}\n") == 1, entry["name"]
        assert entry["new"].strip("\n") != old
