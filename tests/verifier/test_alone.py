"""The verifier stands alone: one file, neither library needed beside the other, nothing of the project importable."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.verifier.agreement_fixtures import node_receipt, node_status
from tests.verifier.proof_fixtures import ABSENT, life
from tests.verifier.test_completeness_agreement import histories, ranges
from tests.verifier.verifier_fixtures import BACKENDS, FOLDER

LINES_MAX = 499
PROJECT = {"chainnode", "consensus", "ledger", "p2p", "primitives", "rpc", "sim", "torment", "bench", "cli"}
THIRD_PARTY = {"nacl", "cryptography"}
ALONE = """
import runpy, sys
assert not any(name.split(".")[0] in {project} for name in sys.modules)
for hidden in {hidden}:
    sys.modules[hidden] = None
for package in {project}:
    sys.modules[package] = None
sys.argv = sys.argv[1:]
sys.path.insert(0, {folder!r})
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def imports_of(path: Path) -> set[str]:
    """Return the top-level packages that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.split(".")[0] for name in names}


def run(
    arguments: list[str], folder: Path, backend: str = "pynacl", text: bytes = b"", name: str = "verify_receipt"
) -> tuple[int, dict[str, object]]:
    """Return exit status and answer of the program, run elsewhere with one library and without the project."""
    script = ALONE.format(hidden=BACKENDS[backend], project=sorted(PROJECT), folder=str(FOLDER))
    command = [sys.executable, "-I", "-c", script, str(FOLDER / f"{name}.py"), *arguments]
    done = subprocess.run(command, cwd=folder, input=text, capture_output=True, timeout=60, check=False)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode, json.loads(done.stdout) if done.stdout else {}


def test_the_verifier_of_receipts_has_fewer_than_500_lines() -> None:
    assert len((FOLDER / "verify_receipt.py").read_text("utf-8").splitlines()) <= LINES_MAX


def test_it_imports_the_standard_library_and_one_of_two_libraries_alone() -> None:
    beside = {path.stem for path in FOLDER.glob("*.py")}
    for path in FOLDER.glob("*.py"):
        others = imports_of(path) - set(sys.stdlib_module_names)
        assert others <= THIRD_PARTY | beside
        assert not others & PROJECT
    assert imports_of(FOLDER / "verify_receipt.py") & beside == set()


@pytest.mark.parametrize("backend", BACKENDS)
def test_as_a_program_it_answers_what_the_node_answers(tmp_path: Path, backend: str) -> None:
    made = life()
    (tmp_path / "receipt").write_text(made.receipts[-1])
    (tmp_path / "policy").write_text(made.policies["epoch 0"])
    status, said = run(["receipt", "--policy", "policy"], tmp_path, backend)
    node = node_receipt(made.receipts[-1], made.policies["epoch 0"])
    assert isinstance(node, dict)
    assert (status, said["verified"]) == (0, True)
    assert node.items() <= said.items()
    text, number, _ = next(each for each in reversed(made.statuses) if each[1] != ABSENT)
    node = node_status(text, made.policies["epoch 0"], number, None)
    assert isinstance(node, dict)
    for at in ([], ["--at", str(node["time_ms"])], ["--at", "2026-01-01T08:00:00.000+08:00"]):
        status, said = run(["-", "--policy", "policy", "--certificate", number, *at], tmp_path, backend, text.encode())
        if at[1:] and at[1][4:5] == "-":
            assert (status, said["step"]) == (3, "time")
        else:
            assert status == 0
            assert node.items() <= said.items()


@pytest.mark.parametrize("backend", BACKENDS)
def test_lists_of_events_are_verified_by_the_program_beside_it(tmp_path: Path, backend: str) -> None:
    proofs, policy = ranges()
    (tmp_path / "policy").write_text(policy)
    text, member = proofs[4]
    asked = ["-", "--policy", "policy", "--member", member]
    status, said = run(asked, tmp_path, backend, text.encode(), "verify_completeness")
    assert (status, said["verified"], said["member"], said["from_height"]) == (0, True, member, 0)
    assert run([*asked[:-1], "bank-c"], tmp_path, backend, text.encode(), "verify_completeness")[0] == 3
    found, policies = histories()
    text, number = found[-1]
    (tmp_path / "policy").write_text(policies[0])
    asked = ["-", "--policy", "policy", "--certificate", number]
    status, said = run(asked, tmp_path, backend, text.encode(), "verify_completeness")
    assert (status, said["proved"], said["count"]) == (0, "history", 10)
    assert run(asked[:-2], tmp_path, backend, text.encode(), "verify_completeness") == (2, {})


def test_it_verifies_a_checkpoint_alone(tmp_path: Path) -> None:
    made = life()
    (tmp_path / "note").write_text(made.receipts[0].partition("\n\n")[2])
    (tmp_path / "policy").write_text(made.policies["guarded 0"])
    status, said = run(["note", "--policy", "policy", "--checkpoint"], tmp_path)
    assert status == 0
    assert said["cosigners"] == ["node-0", "node-1", "node-2", "regulator", "node-3@0"]
    status, said = run(["policy", "--policy", "policy", "--checkpoint"], tmp_path)
    assert (status, said["step"]) == (3, "checkpoint")


def test_what_it_cannot_read_or_does_not_understand_is_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "policy").write_text(life().policies["epoch 0"])
    assert run(["nowhere", "--policy", "policy"], tmp_path) == (2, {})
    assert run([".", "--policy", "policy"], tmp_path) == (2, {})
    assert run(["policy"], tmp_path) == (2, {})
    assert run(["policy", "--policy", "policy", "--certificate", "x", "--at", "soon"], tmp_path) == (2, {})


@pytest.mark.parametrize(
    "garbage", [b"", b"\0", b"\xff\xfe", b"\n" * 2_000_000, "…".encode() * 1000, b"c2sp.org/tlog-proof@v1\n\n"]
)
def test_garbage_is_refused_at_a_step_by_name(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / "policy").write_text(life().policies["epoch 0"])
    (tmp_path / "garbage").write_bytes(garbage)
    status, said = run(["garbage", "--policy", "policy"], tmp_path)
    assert (status, said["verified"]) == (3, False)
    assert said["step"] in ("text", "proof")
    status, said = run(["policy", "--policy", "garbage"], tmp_path)
    assert status == 3
    assert str(said["step"]).startswith(("text", "policy"))


def test_the_pages_command_runs_where_it_is_shown() -> None:
    root = FOLDER.parent
    page = (root / "docs" / "proofs.md").read_text("utf-8")
    (command,) = (line for line in page.splitlines() if line.startswith("python "))
    ran = subprocess.run([sys.executable, *command.split()[1:]], cwd=root, capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr


def test_a_time_is_demanded_of_nothing_but_a_certificates_status() -> None:
    proofs = FOLDER.parent / "samples" / "proofs"
    words = ["--policy", str(proofs / "policy"), "--at", "2026-01-01T00:00:00Z"]
    for name in ("receipt.tlog-proof", "status.tlog-proof"):
        command = [sys.executable, str(FOLDER / "verify_receipt.py"), str(proofs / name), *words]
        ran = subprocess.run(command, capture_output=True, timeout=60, check=False)
        assert ran.returncode == 3, name
        assert json.loads(ran.stdout)["verified"] is False
