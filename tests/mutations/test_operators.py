"""The operators report: which changes it makes of a file, how it draws them, and what it tells of the survivors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "scripts"))

import mutation_operators as operators  # noqa: E402  # a script, found by the line above
from mutation_changes import Change, all_changes, changes_of  # noqa: E402
from mutation_forks import Forks  # noqa: E402

HEAD = '"""Docstring 1."""\n\n\ndef f(a: "int | None" = 3, *, b=False):\n    """Docstring."""\n'


def made(body: str) -> set[tuple[str, str]]:
    """Return (operator, the line as changed) of all changes of a function's last line."""
    text = f"def f(a, b, c):\n    x = g(a)\n    {body}\n"
    found = [change for change in changes_of("f.py", text) if change.line == 3]
    return {(change.operator, change.apply(text).splitlines()[2].strip()) for change in found}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return a < b", {("flip", "return (a >= b)"), ("boundary", "return (a <= b)")}),
        ("return a == b", {("flip", "return (a != b)")}),
        ("return a not in b", {("flip", "return (a in b)")}),
        ("return a is None", {("flip", "return (a is not None)")}),
        (
            "return a <= b < c",
            {
                ("flip", "return (a > b < c)"), ("boundary", "return (a < b < c)"),
                ("flip", "return (a <= b >= c)"), ("boundary", "return (a <= b <= c)"),
            },
        ),
        ("return a and b or c", {("and/or", "return ((a and b) and (c))"), ("and/or", "return ((a) or (b)) or c")}),
        ("return not a", {("not", "return (a)")}),
        ("return a + b", {("arithmetic", "return ((a) - (b))")}),
        ("return a + 'text'", set()),
        ("return a[1]", {("constant", "return a[(2)]"), ("constant", "return a[(0)]")}),
        ("g(a, b=True)", {("constant", "g(a, b=False)"), ("statement", "pass")}),
        ("x.y = a", {("statement", "pass")}),
        ("x = a", set()),
        ("x += a", {("statement", "pass")}),
        ("if a: return", {("negate", "if (not (a)): return"), ("return", "if a: pass")}),
        ("raise ValueError(f'{a} < 3', 1)", {("raise", "pass")}),
        ("assert a < 3, 'text'", set()),
        ("y: Annotated[int, 3] = a", set()),
        ("'a string alone'", set()),
    ],
)  # fmt: skip
def test_each_operator_makes_its_changes_and_no_others(body: str, expected: set[tuple[str, str]]) -> None:
    assert made(body) == expected


def test_defaults_are_changed_and_annotations_docstrings_and_decorators_are_not() -> None:
    text = f"@decorated(frozen=True)\nclass C:\n    {HEAD.replace(chr(10), chr(10) + '    ').strip()}\n"
    new = {change.new for change in changes_of("f.py", text)}
    assert new == {"(4)", "(2)", "True"}


def test_every_change_of_the_consensus_compiles_and_changes_one_place() -> None:
    sources = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in (ROOT / "consensus").glob("*.py")}
    changes = list(all_changes(sources))
    assert len(changes) > 1_000
    for change in changes:
        text = sources[change.file]
        assert change.apply(text) != text
        compile(change.apply(text), change.file, "exec")


def test_a_text_beyond_ascii_is_changed_at_its_place() -> None:
    text = "def f(a):\n    return '银行', a < 3\n"
    changed = {change.apply(text) for change in changes_of("f.py", text) if change.operator == "boundary"}
    assert changed == {"def f(a):\n    return '银行', (a <= 3)\n"}


def test_a_draw_repeats_with_its_seed_stands_in_order_and_is_all_where_none_is_asked_for() -> None:
    changes = changes_of("f.py", "\n".join(f"a{i} = b < {i}" for i in range(30)))
    first, same, other = (operators.draw(changes, 9, seed) for seed in ("a", "a", "b"))
    assert first == same != other
    assert first == sorted(first)
    assert len(set(first)) == 9
    assert operators.draw(changes, 0, "a") == operators.draw(changes, 10_000, "a") == changes


def at(line: int, end_line: int = 0) -> Change:
    return Change("f.py", line, 0, end_line or line, 1, "flip", "x")


def test_the_quickest_tests_that_run_a_line_are_asked_up_to_a_limit_of_time() -> None:
    times: operators.Times = {
        "slow": (operators.TESTS_SECONDS_MAX, {"f.py": [1, 2]}),
        "quick": (0.1, {"f.py": [2, 3]}),
        "elsewhere": (0.01, {"g.py": [2]}),
        "quicker": (0.05, {"f.py": [3]}),
    }
    assert operators.tests_for(at(3), times) == ["quicker", "quick"]
    assert operators.tests_for(at(2), times) == ["quick"], "the slow one would be beyond the limit"
    assert operators.tests_for(at(1), times) == ["slow"], "but one is always asked"
    assert operators.tests_for(at(9), times) == ["quicker", "quick"], (
        "a line that runs at import: whoever runs its file"
    )
    assert operators.tests_for(at(9), {"elsewhere": times["elsewhere"]}) == ["elsewhere"], "a file of definitions alone"
    assert operators.tests_for(at(9), {}) == []


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(1) as started:
        yield started


RULES = "LIMIT = 3\n\n\ndef allowed(x):\n    if x > 90:\n        x -= 1\n    return x < LIMIT\n"
TESTS = "from rules import allowed\n\n\ndef test_five():\n    assert not allowed(5)\n    assert not allowed(91)\n"


def test_survivors_are_told_with_their_place_and_difference_and_the_rest_is_counted(
    tmp_path: Path, forks: Forks
) -> None:
    pristine = tmp_path / "pristine"
    (pristine / "scripts").mkdir(parents=True)
    (pristine / "rules.py").write_text(RULES, "utf-8")
    (pristine / "test_rules.py").write_text(TESTS, "utf-8")
    (pristine / "scripts/mutation_coverage.py").write_text((ROOT / "scripts/mutation_coverage.py").read_text("utf-8"))
    times = operators.measure(["rules.py"], ["test_rules.py"], pristine)
    assert {test: lines for test, (_, lines) in times.items()} == {"test_rules.py::test_five": {"rules.py": [5, 6, 7]}}
    changes = [change for change in changes_of("rules.py", RULES) if change.operator in ("boundary", "flip")]
    tried = [operators.try_change(change, times, pristine, tmp_path, forks) for change in changes]
    ended = {(one.change.line, one.change.operator): one.ended for one in tried}
    assert ended == {
        (5, "boundary"): "survived",
        (5, "flip"): "survived",
        (7, "boundary"): "survived",
        (7, "flip"): "killed",
    }
    text = operators.report(tried, {"rules.py": RULES})
    assert "survived rules.py:7 boundary\n-    return x < LIMIT\n+    return (x <= LIMIT)\n" in text
    assert text.endswith("| all | 4 | 1 (25 %) | 3 | 0 |")
    assert (pristine / "rules.py").read_text("utf-8") == RULES
