"""`audit export` as auditors run it: sources, policies, exit statuses, and what is said."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from tests.chainnode.analysis_fixtures import rows_of
from tests.chainnode.mirror_fixtures import Served, chain, grow, policy_of
from tests.chainnode.test_mirror import step
from tests.cli.test_mirror import serving, static
from tests.rpc.conftest import MemoryNode


@pytest.fixture
def node() -> MemoryNode:
    return chain(300, 20)


@pytest.fixture
def policy(node: MemoryNode, tmp_path: Path) -> str:
    path = tmp_path / "policy"
    path.write_text(policy_of(node))
    return str(path)


@pytest.fixture
def mirror(node: MemoryNode, tmp_path: Path) -> Path:
    step(tmp_path / "mirror", policy_of(node), Served(node.reader))
    return tmp_path / "mirror"


def exported(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any], str]:
    """Run `audit export`; return its status, what it printed as JSON, and what it said."""
    status = run(["-o", "json", "audit", "export", *map(str, arguments)])
    told = capsys.readouterr()
    return status, json.loads(told.out) if told.out else {}, told.err


def test_the_node_gives_the_log_and_the_parts_that_are_not_in_it(
    node: MemoryNode, policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with serving(Served(node.reader)) as url:
        status, _, said = exported(capsys, "-d", out, "--endpoint", url)
        assert status == Exit.USAGE
        assert "a new export needs a policy" in said
        status, row, _ = exported(capsys, "-d", out, "--endpoint", url, "--policy", policy)
        assert (status, row["rows"]["events"], row["unproved_blocks"]) == (Exit.OK, 320, {"outcomes": 0, "batches": 0})
        grow(node, 5)
        status, row, _ = exported(capsys, "-d", out, "--endpoint", url)
    assert (status, row["new_rows"]["events"], row["to_height"]) == (Exit.OK, 5, 3)
    assert {found["batch_number"] for found in rows_of(out)} == {0, 1, 2}


def test_a_mirror_is_enough_and_a_node_beside_it_gives_the_parts(
    node: MemoryNode, policy: str, mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, row, _ = exported(capsys, "-d", tmp_path / "alone", "--mirror", mirror)
    assert (status, row["unproved_blocks"]) == (Exit.OK, {"outcomes": 0, "batches": 2})
    with serving(Served(node.reader)) as url:
        status, row, _ = exported(capsys, "-d", tmp_path / "both", "--mirror", mirror, "--endpoint", url)
    assert (status, row["unproved_blocks"]["batches"]) == (Exit.OK, 0)
    with static(mirror) as url:
        status, _, said = exported(capsys, "-d", tmp_path / "web", "--mirror", url)
        assert (status, "--policy" in said) == (Exit.USAGE, True)
        status, row, _ = exported(capsys, "-d", tmp_path / "web", "--mirror", url, "--policy", policy)
    assert (status, row["rows"]["payments"]) == (Exit.OK, 320)
    assert run(["audit", "export", "-d", str(tmp_path / "alone"), "--mirror", str(mirror)]) == Exit.OK
    assert "sources and batches of 2 blocks are left empty" in capsys.readouterr().err


def test_what_does_not_hold_ends_with_its_status(
    node: MemoryNode, policy: str, mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert exported(capsys, "-d", out, "--mirror", tmp_path / "none")[0] == Exit.NOT_FOUND
    assert exported(capsys, "-d", out, "--check")[0] == Exit.NOT_FOUND
    assert exported(capsys, "-d", mirror, "--mirror", mirror)[0] == Exit.USAGE
    assert exported(capsys, "-d", out, "--mirror", mirror)[0] == Exit.OK
    status, row, _ = exported(capsys, "-d", out, "--check")
    assert (status, row["verified"]) == (Exit.OK, True)
    other = tmp_path / "other-policy"
    other.write_text(Path(policy).read_text() + "\n")
    status, _, said = exported(capsys, "-d", out, "--mirror", mirror, "--policy", other)
    assert (status, "another policy" in said) == (Exit.USAGE, True)
    (mirror / "tile/entries/000").unlink()
    status, _, said = exported(capsys, "-d", tmp_path / "second", "--mirror", mirror)
    assert (status, "--no-entries" in said) == (Exit.NOT_FOUND, True)
    (mirror / "tile/0/000").write_bytes(bytes(8192))
    status, _, said = exported(capsys, "-d", tmp_path / "third", "--mirror", mirror)
    assert (status, "tile/0/000" in said) == (Exit.VERIFICATION_FAILED, True)
    file = next((out / "events").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    status, _, said = exported(capsys, "-d", out, "--check")
    assert (status, "file was changed" in said) == (Exit.VERIFICATION_FAILED, True)
    (out / "manifest.json").write_text("{}")
    assert exported(capsys, "-d", out, "--check")[0] == Exit.VERIFICATION_FAILED


def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("chainnode.analysis"):
            raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    status, _, said = exported(capsys, "-d", tmp_path / "out", "--mirror", mirror)
    assert status == Exit.USAGE
    assert "`audit export` needs pyarrow, which is not installed" in said
    assert "pip install 'chainnode[analysis]'" in said
