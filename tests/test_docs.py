"""The documents against the code: tables of fields and transitions, examples, and the check that `make docs` runs."""

from __future__ import annotations

import doctest
import hashlib
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from chainnode.cli.exits import Exit
from ledger.certificate_transitions import TRANSITIONS

ROOT = Path(__file__).resolve().parents[1]
FORMATS = (ROOT / "docs/formats.md").read_text("utf-8")
DOMAIN = (ROOT / "docs/domain.md").read_text("utf-8")
RECORD = re.compile(r"^### `(?P<module>[a-z_.]+)\.(?P<name>[A-Za-z]+)`\n\n(?P<table>(?:\|.*\n)+)", re.MULTILINE)
EXAMPLE = re.compile(r"^```pycon\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text("utf-8")


def check_docs() -> ModuleType:
    """Return the script that `make docs` runs, as a module."""
    spec = importlib.util.spec_from_file_location("check_docs", ROOT / "scripts/check_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_docs"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("match", list(RECORD.finditer(FORMATS + DOMAIN)), ids=lambda match: match["name"])
def test_a_table_of_fields_names_the_fields_of_the_record_in_order(match: re.Match[str]) -> None:
    record = getattr(importlib.import_module(match["module"]), match["name"])
    assert re.findall(r"^\| `(\w+)` \|", match["table"], re.MULTILINE) == list(record.__struct_fields__)


def test_the_examples_of_the_formats_come_out_as_shown() -> None:
    text = "\n".join(match["text"] for match in EXAMPLE.finditer(FORMATS))
    example = doctest.DocTestParser().get_doctest(text, {"hashlib": hashlib}, "formats.md", "formats.md", 0)
    assert len(example.examples) > 5
    assert doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL).run(example).failed == 0


def test_the_table_of_a_certificates_life_is_that_of_the_code() -> None:
    shown = re.findall(r"^\| (\d+) \| `(certificate\.\w+)` \| (.+?) \| (.+?) \|$", DOMAIN, re.MULTILINE)
    held = [
        (
            str(transition.kind),
            transition.name,
            ", ".join(sorted(state or "nothing" for state in transition.from_states)),
            "; ".join(party.value for party in transition.parties),
        )
        for transition in TRANSITIONS
    ]
    assert shown == held


def test_the_table_of_exit_statuses_is_that_of_the_command_line() -> None:
    text = (ROOT / "docs/operating.md").read_text("utf-8").partition("## Exit statuses")[2]
    assert [int(status) for status in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)] == [int(exit_) for exit_ in Exit]


def test_the_invariants_are_numbered_without_a_gap() -> None:
    numbers = [int(number) for number in re.findall(r"\*\*Invariant (\d+)", ARCHITECTURE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 20


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[a](missing.md)", "no such file"),
        ("[a](#nowhere)", "no such heading"),
        ("`tests/test_docs.py::test_nothing`", "no such test"),
        ("`consensus/nothing.py`", "no such file"),
        ("`ledger.nothing`", "no such module"),
        ("`make nothing`", "no such target"),
        ("`chainnode nothing`", "no command nothing"),
        ("`chainnode version --nothing`", "no option --nothing"),
        ("```sh\nmake nothing\n```", "no such target"),
        ("```json\n{\n```", "json block"),
        ("```\nx\n```", "without a language"),
        ("```sh\nx", "never closed"),
    ],
)
def test_the_check_of_documents_finds_what_is_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"# Title\n\n{text}\n", "utf-8")
    found = [problem.what for problem in check_docs().problems_of(document)]
    assert len(found) == 1
    assert complaint in found[0]


def test_the_check_of_documents_lets_what_is_right_pass(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(
        "# One, two\n\n[a](#one-two) `make test` `tests/test_docs.py` `ledger.events` `chainnode version`\n",
        "utf-8",
    )
    assert list(check_docs().problems_of(document)) == []
