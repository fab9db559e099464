"""docs/proofs.md: its example comes out as shown, its steps and figures are those of the programs, its samples real."""

from __future__ import annotations

import doctest
import hashlib
import re
from pathlib import Path

import pytest

from ledger.receipts import verify
from ledger.status_proofs import certificate_status, verify_status
from tests.ledger.certificate_fixtures import NUMBER
from tests.verifier.proof_fixtures import life
from tests.verifier.verifier_fixtures import BACKENDS, FOLDER, load

ROOT = FOLDER.parent
PAGE = (ROOT / "docs/proofs.md").read_text("utf-8")
SAMPLES = ROOT / "samples/proofs"
EXAMPLE = re.compile(r"^```pycon\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = ("verify_receipt.py", "verify_completeness.py")


def sample(name: str) -> str:
    return (SAMPLES / name).read_text("utf-8")


def test_the_example_comes_out_as_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = "\n".join(match["text"] for match in EXAMPLE.finditer(PAGE))
    example = doctest.DocTestParser().get_doctest(text, {}, "proofs.md", "proofs.md", 0)
    assert len(example.examples) > 20
    assert doctest.DocTestRunner().run(example).failed == 0


def test_every_step_that_a_program_names_is_in_a_table() -> None:
    told = {
        name for row in re.findall(r"^\| (`[^|]+`) \|", PAGE, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)
    }
    source = "".join((FOLDER / name).read_text("utf-8") for name in PROGRAMS)
    named = {re.sub(r"\{\w+\}", "N", name) for name in re.findall(r'(?:step\(|Refused\()f?"([^"]+)"', source)}
    assert {"checkpoint", "source signature", "policy, line N", "event N"} <= named
    assert named <= told


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_programs_are_those_whose_hash_is_published(name: str) -> None:
    digest = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()
    assert f"| `{name}` | `{digest}` |" in PAGE
    assert digest in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_samples_are_what_the_product_makes() -> None:
    made = life()
    assert sample("policy") == made.policies["epoch 0"]
    assert sample("receipt.tlog-proof") in made.receipts
    assert (sample("status.tlog-proof"), NUMBER) in [(text, number) for text, number, _ in made.statuses]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_samples_verify(backend: str) -> None:
    verifier = load(backend)
    policy = verifier.Policy(sample("policy"))
    said = verifier.verify_receipt(sample("receipt.tlog-proof"), policy)
    assert said["event_id"] == verify(sample("receipt.tlog-proof"), sample("policy")).event_id
    assert (said["applied"], said["epoch"]) == (True, 1)
    status = verifier.verify_status(sample("status.tlog-proof"), policy, NUMBER)
    found = certificate_status(verify_status(sample("status.tlog-proof"), sample("policy")), NUMBER)
    assert found is not None
    assert status["status"] == found.status == "valid"


def test_no_node_serves_the_programs_that_check_its_word() -> None:
    served = [path for path in (ROOT / "rpc").rglob("*.py") if "verify_receipt" in Path(path).read_text("utf-8")]
    assert served == []
