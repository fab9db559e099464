"""The tree's own rules that import-linter cannot state: the module cli.py, package files, names, sizes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("chainnode", "consensus", "ledger", "p2p", "primitives", "rpc", "sim")
LOWER_LAYERS = set(PACKAGES) - {"chainnode"}
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}
FILE_LINES_MAX = 600

MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
WITH_CLI = [*MODULES, ROOT / "cli.py"]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports_of(path: Path) -> set[str]:
    """Return the absolute names of all modules that a file imports, wherever in the file it does so."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports relatively"
            names.add(node.module or "")
    return names


def test_the_command_line_reaches_lower_layers_only_through_chainnode() -> None:
    reached = {name for name in imports_of(ROOT / "cli.py") if name.partition(".")[0] in LOWER_LAYERS}
    assert reached == set()


def test_no_module_imports_the_command_line() -> None:
    assert [name_of(path) for path in MODULES if "cli" in imports_of(path)] == []


def test_nothing_shipped_imports_tests_benchmarks_or_torments() -> None:
    offenders = {
        name_of(path)
        for path in WITH_CLI
        for name in imports_of(path)
        if name.split(".")[0] in {"tests", "bench", "torment"}
    }
    assert offenders == set()


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py"], ids=name_of)
def test_a_package_file_holds_a_docstring_only(path: Path) -> None:
    body = ast.parse(path.read_text("utf-8")).body
    assert len(body) == 1
    assert ast.get_docstring(ast.Module(body=body, type_ignores=[]))


@pytest.mark.parametrize("path", WITH_CLI, ids=name_of)
def test_a_module_says_what_lives_in_it(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), "no module docstring"


@pytest.mark.parametrize("path", WITH_CLI, ids=name_of)
def test_a_module_is_small_enough_to_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= FILE_LINES_MAX


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [
        name_of(path) for path in MODULES if FORBIDDEN_NAMES & set(path.relative_to(ROOT).with_suffix("").parts)
    ] == []
