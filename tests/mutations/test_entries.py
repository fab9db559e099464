"""The mutation gate's own entries: each still applies to the code as it stands, and the gate judges as it says."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def gate() -> ModuleType:
    """Return the script that `make mutate` runs, as a module."""
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


def tree(folder: Path, test: str) -> Path:
    """Write a small tree with one rule and one test."""
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
    tmp_path: Path, test: str, change: dict[str, str], caught: str | None, why: str
) -> None:
    pristine, work = tmp_path / "pristine", tmp_path / "work"
    pristine.mkdir()
    work.mkdir()
    tree(pristine, f"from rules import positive\n\n\n{test}")
    result = MUTATE.try_one(entry(**change), pristine, work)
    assert result.caught_by == caught
    assert why in result.why_not
    assert (pristine / "rules.py").read_text("utf-8").endswith("return x > 0\n")


def test_a_draw_repeats_with_its_seed_and_differs_with_another() -> None:
    draws = [MUTATE.choose(ENTRIES, "", 5, seed) for seed in ("a", "a", "b")]
    assert [len(draw) for draw in draws] == [5, 5, 5]
    assert draws[0] == draws[1] != draws[2]
    assert MUTATE.choose(ENTRIES, "prepare-quorum", 5, "a") == [
        item for item in ENTRIES if item.name == "prepare-quorum"
    ]
