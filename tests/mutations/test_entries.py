"""The mutation gate's own entries: each still applies to the code as it stands, and the gate judges as it says."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def gate() -> ModuleType:
    """Return the script that `make mutate` runs, as a module; its siblings are found as when it is run."""
    sys.path.append(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("mutate", ROOT / "scripts/mutate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutate"] = module
    spec.loader.exec_module(module)
    return module


MUTATE = gate()
ENTRIES = MUTATE.load()


def entry(**fields: object) -> object:
    """Return an entry about a file of two functions."""
    given = {"name": "n", "rule": "r", "file": "rules.py", "old": "    return x > 0", "new": "    return x >= 0"}
    given |= {"tests": ("test_rules.py",), "runs": (), "liveness": False, "reason": ""}
    return MUTATE.Mutation(**(given | fields))


@pytest.fixture(scope="module")
def forks() -> Iterator[object]:
    with MUTATE.Forks(1) as started:
        yield started


def tree(folder: Path, test: str) -> Path:
    """Write a small tree with one rule and one test."""
    folder.mkdir()
    (folder / "rules.py").write_text("def positive(x: int) -> bool:\n    return x > 0\n", "utf-8")
    (folder / "test_rules.py").write_text(test, "utf-8")
    return folder


def test_every_entry_applies_exactly_once_and_names_tests_that_are_there() -> None:
    assert MUTATE.problems(ENTRIES) == []


def test_every_entry_changes_something_that_python_can_compile() -> None:
    for item in ENTRIES:
        text = (ROOT / item.file).read_text("utf-8")
        changed = item.apply(text)
        assert changed != text
        if item.file.endswith(".py"):
            compile(changed, item.file, "exec")


def test_at_least_forty_rules_are_broken_and_their_names_are_slugs_and_sentences() -> None:
    assert len([item for item in ENTRIES if not item.reason]) >= 40
    for item in ENTRIES:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", item.name), item.name
        assert len(item.rule.split()) >= 4, item.rule


def test_the_document_lists_the_entries_with_tests_that_they_name() -> None:
    text = (ROOT / MUTATE.DOCUMENT).read_text("utf-8")
    rows = re.findall(r"^\| (.+?) \| `([^`]+)` \| `([^`]+)` \| `([^`]+)` \|$", text, re.MULTILINE)
    run = [item for item in ENTRIES if not item.reason]
    assert [row[:3] for row in rows] == [(item.rule, item.name, item.file) for item in run], "make mutate MARKDOWN=1"
    for item, row in zip(run, rows, strict=True):
        files = {test.partition("::")[0] for test in item.tests}
        assert row[3].partition("::")[0] in files or row[3] in {f"python -m {run}" for run in item.runs}


def listed_under(heading: str) -> dict[str, list[str]]:
    """Return the mutations that a table of the document lists, by its first column."""
    part = (ROOT / MUTATE.DOCUMENT).read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (?!---)(.+?) \| (`.+`) \|$", part, re.MULTILINE)
    return {first: re.findall(r"`([^`]+)`", names) for first, names in rows}


def test_every_invariant_and_every_attack_is_broken_by_mutations_that_are_run() -> None:
    architecture = (ROOT / "docs/architecture.md").read_text("utf-8")
    numbers = {number for number in re.findall(r"\*\*Invariant (\d+):", architecture) if int(number) > 2}
    security = (ROOT / "docs/security.md").read_text("utf-8").partition("\n## Attacks considered\n")[2]
    attacks = re.findall(r"^\| (?!attack |---)(.+?) \| ", security.partition("\n## ")[0], re.MULTILINE)
    run = {item.name for item in ENTRIES if not item.reason}
    for expected, found in ((numbers, listed_under("By invariant")), (set(attacks), listed_under("By attack"))):
        assert found.keys() == expected
        assert {name for names in found.values() for name in names} <= run
    assert len(numbers) >= 24
    assert len(attacks) >= 15


@pytest.mark.parametrize(
    ("old", "found"),
    [("    return x > 1", 0), ("    return x", 0), ("return x > 0", 0), ("def positive(x: int) -> bool:", 1)],
)
def test_old_lines_must_stand_whole_and_once(old: str, found: int) -> None:
    text = "def positive(x: int) -> bool:\n    return x > 0\n"
    if found:
        assert entry(old=old, new="def positive(x: float) -> bool:").apply(text).startswith("def positive(x: float)")
    else:
        with pytest.raises(MUTATE.Stale, match="expected its old lines once"):
            entry(old=old).apply(text)


@pytest.mark.parametrize(
    ("test", "change", "caught", "why"),
    [
        ("def test_zero():\n    assert not positive(0)\n", {}, "test_rules.py::test_zero", ""),
        ("def test_one():\n    assert positive(1)\n", {}, None, "all tests pass"),
        ("def test_zero():\n    assert not positive(0)\n", {"new": "    return y"}, None, "crashed"),
        ("def test_zero():\n    assert not positive(0)\n", {"new": "    return ("}, None, "does not import"),
        ("def test_zero(nothing):\n    pass\n", {}, None, "did not run"),
    ],
)
def test_only_a_failing_test_counts_as_catching(
    tmp_path: Path, forks: object, test: str, change: dict[str, str], caught: str | None, why: str
) -> None:
    pristine = tree(tmp_path / "pristine", f"from rules import positive\n\n\n{test}")
    result = MUTATE.try_one(entry(**change), pristine, tmp_path, forks)
    assert result.caught_by == caught
    assert why in result.why_not
    assert (pristine / "rules.py").read_text("utf-8").endswith("return x > 0\n")
    assert list(tmp_path.iterdir()) == [pristine], "the copy is gone"


TWO_TESTS = (
    "from rules import positive\n\n\ndef test_a():\n    assert not positive(0)\n\n\ndef test_b():\n    test_a()\n"
)


def test_who_caught_it_before_is_asked_first_and_then_all_others(tmp_path: Path, forks: object) -> None:
    pristine = tree(tmp_path / "pristine", TWO_TESTS + "\n\ndef test_c():\n    assert positive(1)\n")
    for first, caught in (("", "a"), ("test_rules.py::test_b", "b"), ("test_rules.py::test_c", "a")):
        result = MUTATE.try_one(entry(), pristine, tmp_path, forks, first)
        assert result.caught_by == f"test_rules.py::test_{caught}"


def test_a_test_that_an_entry_does_not_name_is_not_asked() -> None:
    item = next(item for item in ENTRIES if item.name == "prepare-quorum")
    (file,) = item.tests
    known = f"{file}::test_commit_waits_for_the_commit_of_its_parent"
    assert MUTATE.first_of(item, {item.name: known}) == known
    for other in (
        f"{file}::test_that_is_not_there",
        "tests/ledger/test_chain.py::test_nothing",
        file,
        "the limit of time",
    ):
        assert MUTATE.first_of(item, {item.name: other}) == ""


def test_a_module_that_is_not_the_copys_own_is_never_tried(tmp_path: Path, forks: object) -> None:
    pristine = tree(tmp_path / "pristine", TWO_TESTS)
    result = MUTATE.try_one(entry(file="./rules.py"), pristine, tmp_path, forks)
    assert (result.caught_by, result.why_not[:15]) == (None, "does not import")


def test_a_renewed_document_keeps_the_rows_of_what_was_not_tried() -> None:
    one, two, three = (entry(name=name, rule=f"rule {name}") for name in ("a-a", "b-b", "c-c"))
    before = "# Head\n\n| rule | m | c | by |\n| --- | --- | --- | --- |\n| old | `a-a` | `x.py` | `t.py::one` |\n"
    caught = MUTATE.Result(two, "t.py::two[7]", "", 0.1, 0.1)
    survived = MUTATE.Result(three, None, "all tests pass", 0.1, 0.1)
    text = MUTATE.markdown(before, [one, two, three], [caught, survived])
    assert text.splitlines() == [
        "# Head", "", "| rule | mutation | code | caught by |", "| --- | --- | --- | --- |",
        "| rule a-a | `a-a` | `rules.py` | `t.py::one` |", "| rule b-b | `b-b` | `rules.py` | `t.py::two` |",
    ]  # fmt: skip


def test_a_draw_repeats_with_its_seed_and_differs_with_another() -> None:
    draws = [MUTATE.choose(ENTRIES, "", 5, seed) for seed in ("a", "a", "b")]
    assert [len(draw) for draw in draws] == [5, 5, 5]
    assert draws[0] == draws[1] != draws[2]
    assert MUTATE.choose(ENTRIES, "prepare-quorum", 5, "a") == [
        item for item in ENTRIES if item.name == "prepare-quorum"
    ]
