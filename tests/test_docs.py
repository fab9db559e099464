"""The documents against the code: tables of fields and transitions, examples, and the check that `make docs` runs."""

from __future__ import annotations

import doctest
import hashlib
import importlib
import importlib.util
import itertools
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from chainnode.cli.exits import Exit
from chainnode.metrics import NodeMetrics
from consensus import messages, records
from ledger import rows
from ledger.certificate_transitions import TRANSITIONS
from ledger.inspection_reports import INSPECTED_TRANSITIONS
from ledger.mark_events import MARK_RULES
from ledger.policy import Policy, policy_figures
from ledger.scheme_transitions import SCHEME_TRANSITIONS
from rpc.errors import ErrorObject
from rpc.methods.capabilities import LimitsResult
from rpc.methods.catalogue import METHODS
from rpc.openrpc import MEANINGS
from rpc.ports import SubmitStatus
from rpc.registry import AnyMethod
from rpc.rights import PUBLIC_PATHS, Access, roles_with

ROOT = Path(__file__).resolve().parents[1]
FORMATS = (ROOT / "docs/formats.md").read_text("utf-8")
DOMAIN = (ROOT / "docs/domain.md").read_text("utf-8")
RECORD = re.compile(r"^### `(?P<module>[a-z_.]+)\.(?P<name>[A-Za-z]+)`\n\n(?P<table>(?:\|.*\n)+)", re.MULTILINE)
EXAMPLE = re.compile(r"^```pycon\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
API = (ROOT / "docs/api.md").read_text("utf-8")
OPERATING = (ROOT / "docs/operating.md").read_text("utf-8")
JSON_BLOCK = re.compile(r"^```json\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
CITED = re.compile(r"\b(?P<page>architecture|domain) §(?P<numbers>[\d.]+(?:(?:,| and) §[\d.]+)*)")
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text("utf-8")


def script(name: str) -> ModuleType:
    """Return one of the scripts as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"scripts/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def check_docs() -> ModuleType:
    """Return the script that `make docs` runs, as a module."""
    return script("check_docs")


@pytest.mark.parametrize("match", list(RECORD.finditer(FORMATS + DOMAIN)), ids=lambda match: match["name"])
def test_a_table_of_fields_names_the_fields_of_the_record_in_order(match: re.Match[str]) -> None:
    record = getattr(importlib.import_module(match["module"]), match["name"])
    assert re.findall(r"^\| `(\w+)` \|", match["table"], re.MULTILINE) == list(record.__struct_fields__)


def test_the_examples_of_the_formats_come_out_as_shown() -> None:
    text = "\n".join(match["text"] for match in EXAMPLE.finditer(FORMATS))
    example = doctest.DocTestParser().get_doctest(text, {"hashlib": hashlib}, "formats.md", "formats.md", 0)
    assert len(example.examples) > 5
    assert doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL).run(example).failed == 0


def test_the_picture_and_the_table_of_a_certificates_life_are_those_of_the_code() -> None:
    assert script("make_life_docs").written(DOMAIN) == DOMAIN, "run `python scripts/make_life_docs.py`"
    shown = re.findall(r"^\| (\d+) \| `((?:certificate|inspection)\.\w+)` \|", DOMAIN, re.MULTILINE)
    assert shown == [(str(row.kind), row.name) for row in TRANSITIONS + SCHEME_TRANSITIONS + INSPECTED_TRANSITIONS]
    drawn = re.findall(r"^    (\S+) --> (\S+): (.+)$", DOMAIN, re.MULTILINE)
    assert len(drawn) > 20
    assert {name for _, _, names in drawn for name in names.split(", ")} - {"its term ends"} == {
        name.removeprefix("certificate.") for _, name in shown
    }
    assert ("revoked", "suspended", "decide_appeal") in drawn
    with pytest.raises(ValueError, match=r"docs/domain\.md: expected a line"):
        script("make_life_docs").written("nothing")


def test_the_table_of_exit_statuses_is_that_of_the_command_line() -> None:
    text = (ROOT / "docs/operating.md").read_text("utf-8").partition("## Exit statuses")[2]
    assert [int(status) for status in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)] == [int(exit_) for exit_ in Exit]


def test_the_invariants_are_numbered_without_a_gap() -> None:
    numbers = [int(number) for number in re.findall(r"\*\*Invariant (\d+)", ARCHITECTURE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 20
    held = re.findall(r"^\| (\d+) \| `tests/", ARCHITECTURE.partition("## 9.")[2], re.MULTILINE)
    assert [int(number) for number in held] == numbers


def sources() -> list[Path]:
    """Return the Python files whose docstrings cite pages."""
    folders = ("bench", "chainnode", "consensus", "ledger", "p2p", "primitives", "rpc", "scripts", "sim", "tests")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_every_section_that_the_code_cites_exists() -> None:
    headings = {
        page: set(re.findall(r"^## (\d+)\.", (ROOT / f"docs/{page}.md").read_text("utf-8"), re.MULTILINE))
        for page in ("architecture", "domain")
    }
    cited, missing = 0, []
    for path in sources():
        for match in CITED.finditer(path.read_text("utf-8")):
            for number in re.findall(r"\d+(?:\.\d+)?", match["numbers"]):
                cited += 1
                if number.partition(".")[0] not in headings[match["page"]]:
                    missing.append(f"{path.relative_to(ROOT)}: {match[0]}")
    assert missing == []
    assert cited > 40


def test_the_code_cites_only_pages_that_exist() -> None:
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources()
        if path != Path(__file__)
        for name in re.findall(
            r"(?<![\w/.])(?:docs/[a-z0-9/-]+|design|interfaces|style)\.md\b", path.read_text("utf-8")
        )
        if not (ROOT / name).exists()
    ]
    assert missing == []


def method_row(item: AnyMethod) -> str:
    """Return a method's row in the page of the API."""
    defaults = item.params.__struct_defaults__
    fields = item.params.__struct_encode_fields__
    shown = [f"`{name}`" + (" (optional)" if n >= len(fields) - len(defaults) else "") for n, name in enumerate(fields)]
    return f"| `{item.name}` | {', '.join(shown)} | {item.summary} |".replace("|  |", "| |")


def test_the_table_of_methods_is_that_of_the_code() -> None:
    expected = [method_row(item) for _, item in sorted(METHODS.items())]
    assert (
        re.findall(r"^\| `(?:admin|audit|cert|gov|ledger|net|payment|rpc|voucher|wallet)[_.].*\|$", API, re.MULTILINE)
        == expected
    )


def rights_rows() -> list[str]:
    """Return the rows that say who may call or see what: each method stands in one of them."""
    rows = []
    for access in Access:
        methods = ", ".join(f"`{name}`" for name, item in sorted(METHODS.items()) if item.access is access)
        paths = {
            Access.PUBLIC: ", ".join(f"`{path}`" for path in sorted({*PUBLIC_PATHS, "/tile/LEVEL/N"})),
            Access.READ: "every other",
        }.get(access, "")
        rows.append(
            f"| {access.value} | {', '.join(roles_with(access))} | {methods} | {paths} |".replace("|  |", "| |")
        )
    return rows


def test_the_table_of_rights_is_that_of_the_code() -> None:
    part = API.partition("\n## Roles\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| (?!access|---).*\|$", part, re.MULTILINE) == rights_rows()


def test_the_tables_of_errors_limits_and_statuses_are_those_of_the_code() -> None:
    errors = re.findall(r"^\| (-\d+) \| (\w+) \| (.+?) \|$", API, re.MULTILINE)
    assert errors == [(str(int(code)), code.name, text) for code, text in MEANINGS.items()]
    limits = re.findall(r"^\| `(\w+_max)` \| (\d+) \|$", API, re.MULTILINE)
    assert limits == [(name, str(getattr(LimitsResult(), name))) for name in LimitsResult.__struct_fields__]
    assert re.findall(r"^\| `([A-Z][a-z]+)` \|", API, re.MULTILINE) == [status.value for status in SubmitStatus]


def test_the_examples_of_the_api_fit_their_methods() -> None:
    blocks = [json.loads(match["text"]) for match in JSON_BLOCK.finditer(API)]
    answered = 0
    for call, answer in itertools.pairwise(blocks):
        if "method" not in call:
            continue
        item, params = METHODS[call["method"]], call.get("params", {})
        if isinstance(params, list):
            params = dict(zip(item.params.__struct_encode_fields__, params, strict=False))
        if "error" in answer:
            with pytest.raises(msgspec.ValidationError):
                item.decoder.decode(json.dumps(params))
            assert msgspec.to_builtins(msgspec.convert(answer["error"], ErrorObject)) == answer["error"]
        else:
            item.decoder.decode(json.dumps(params))
            assert msgspec.to_builtins(msgspec.convert(answer["result"], item.result)) == answer["result"]
        assert call["id"] == answer["id"]
        answered += 1
    assert answered * 2 == len(blocks) == 8


def test_the_table_of_metrics_is_that_of_the_node() -> None:
    shown = re.findall(r"^\| `(chainnode_\w+)` \| (\w+) \|", OPERATING, re.MULTILINE)
    held = []
    for family in NodeMetrics().registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        held.append((name, family.type))
    assert sorted(shown) == sorted(held)


def test_the_table_of_the_policys_figures_has_their_defaults() -> None:
    shown = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", OPERATING, re.MULTILINE)
    assert [(name, int(value.replace(",", ""))) for name, value in shown] == list(policy_figures(Policy()).items())


def test_the_table_of_the_stores_rows_is_that_of_the_code() -> None:
    assert rows.__doc__ is not None
    held = re.findall(r"^    ([a-zA-Z])  (.+?)  +\S", rows.__doc__, re.MULTILINE)
    part = FORMATS.partition("## The store")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-zA-Z])` \| (.+?) \|", part, re.MULTILINE) == held
    assert len(held) > 12


def test_the_tables_of_messages_and_records_are_those_of_the_code() -> None:
    part = FORMATS.partition("## Frames between nodes")[2].partition("\n## ")[0]
    shown = re.findall(r"^\| (\d+) \| `(\w+)` \|", part, re.MULTILINE)
    assert shown == [(str(kind), type_.__name__) for kind, (type_, _) in messages.KINDS.items()]
    part = FORMATS.partition("## The write-ahead log")[2].partition("\n## ")[0]
    shown = re.findall(r"^\| (\d+) \| `(\w+)` \|", part, re.MULTILINE)
    assert shown == [(str(kind), type_.__name__) for kind, type_ in enumerate(records.TYPES)]


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


def test_what_programs_write_need_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = check_docs()
    (tmp_path / "var").mkdir()
    monkeypatch.setattr(module, "ROOT", tmp_path)
    document = tmp_path / "page.md"
    document.write_text("# A demo was run\n\n`var/localnet/genesis.json`\n", "utf-8")
    assert list(module.problems_of(document)) == []


def test_every_rule_of_the_mark_stands_in_its_table() -> None:
    text = (ROOT / "docs/certification.md").read_text("utf-8").partition("## The mark")[2]
    of_all = {"unknown_certificate", "unknown_report", "not_permitted", "unknown_custodian", "excluded_custodian"}
    assert [rule for rule in MARK_RULES if f"`{rule}`" not in text and rule not in of_all] == []
