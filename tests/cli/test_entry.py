"""`audit entry` and `audit verify-entry`, from a mirror that lies in a directory or behind a plain web server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from chainnode.cli.proofs import FILE_BYTES_MAX
from ledger.receipts import make_receipt
from tests.chainnode.mirror_fixtures import Served, chain, policy_of
from tests.chainnode.test_mirror import step
from tests.cli.test_mirror import static
from tests.rpc.conftest import MemoryNode


@pytest.fixture
def node() -> MemoryNode:
    return chain(300, 20)


@pytest.fixture
def mirror(node: MemoryNode, tmp_path: Path) -> Path:
    step(tmp_path / "mirror", policy_of(node), Served(node.reader))
    return tmp_path / "mirror"


def test_an_event_is_proved_from_a_directory_and_over_http(
    node: MemoryNode, mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    event = node.reader.block_events(1, 16, 1)[0].id.hex()
    policy, file = str(mirror / "policy"), str(tmp_path / "event.tlog-proof")
    with static(tmp_path) as url:
        for place in (str(mirror), f"{url}/mirror"):
            assert run(["audit", "entry", event, "--mirror", place, "-f", file]) == Exit.OK
            capsys.readouterr()
            assert run(["audit", "verify-entry", file, "--policy", policy, "--event", event]) == Exit.OK
            said = capsys.readouterr().out
            assert said.startswith(
                f"verified: payment.statement of bank-a stands at 17 in the log of {node.chain.log_size}"
            )
    assert run(["-o", "json", "audit", "verify-entry", file, "--policy", policy]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["leaf"] == event


def test_a_block_is_proved_by_its_hash(
    node: MemoryNode, mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = node.reader.header(2)
    assert header is not None
    assert run(["audit", "entry", header.hash().hex(), "--mirror", str(mirror)]) == Exit.OK
    (tmp_path / "proof").write_text(capsys.readouterr().out)
    assert run(["audit", "verify-entry", str(tmp_path / "proof"), "--policy", str(mirror / "policy")]) == Exit.OK
    assert "the header of block 2" in capsys.readouterr().out


def test_what_is_not_there_or_does_not_hold_ends_with_its_status(
    node: MemoryNode, mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    event = node.reader.block_events(1, 16, 1)[0].id.hex()
    assert run(["audit", "entry", "ab" * 32, "--mirror", str(mirror)]) == Exit.NOT_FOUND
    assert run(["audit", "entry", event, "--mirror", str(tmp_path)]) == Exit.NOT_FOUND
    assert run(["audit", "entry", "short", "--mirror", str(mirror)]) == Exit.USAGE
    file = tmp_path / "proof"
    assert run(["audit", "entry", event, "--mirror", str(mirror), "-f", str(file)]) == Exit.OK
    verify = ["audit", "verify-entry", str(file), "--policy", str(mirror / "policy")]
    assert run([*verify, "--event", "ab" * 32]) == Exit.VERIFICATION_FAILED
    file.write_text(file.read_text().replace("index 17", "index 18"))
    assert run(verify) == Exit.VERIFICATION_FAILED
    assert "do not rely on it" in capsys.readouterr().err
    tile = mirror / "tile/0/000"
    tile.write_bytes(bytes(8192))
    assert run(["audit", "entry", event, "--mirror", str(mirror)]) == Exit.VERIFICATION_FAILED
    assert "tile/0/000" in capsys.readouterr().err


def test_a_place_without_a_mirror_is_not_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "entry", "ab" * 32, "--mirror", str(tmp_path / "none")]) == Exit.NOT_FOUND
    assert f"{tmp_path}/none: no mirror is here" in capsys.readouterr().err


def test_a_policy_that_cannot_be_used_is_blamed_and_not_the_proof(
    node: MemoryNode, mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    event = node.reader.block_events(1, 16, 1)[0].id.hex()
    file, policy, big = tmp_path / "proof", tmp_path / "garbage", tmp_path / "big"
    assert run(["audit", "entry", event, "--mirror", str(mirror), "-f", str(file)]) == Exit.OK
    policy.write_text("nonsense\n")
    with big.open("wb") as sparse:
        sparse.truncate(FILE_BYTES_MAX + 1)
    capsys.readouterr()
    assert run(["audit", "verify-entry", str(file), "--policy", str(policy)]) == Exit.VERIFICATION_FAILED
    assert capsys.readouterr().err.startswith(f"error: {policy}: policy, line 1: ")
    for command in ("verify-entry", "fork"):
        for pair in ((file, big), (big, mirror / "policy")):
            assert run(["audit", command, str(pair[0]), "--policy", str(pair[1])]) == Exit.ERROR
            assert capsys.readouterr().err.startswith(f"error: {big}: file too large")


def test_who_verifies_one_kind_of_proof_by_the_command_of_another_is_told_which(
    node: MemoryNode, mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    event = node.reader.block_events(1, 16, 1)[0].id
    entry, receipt, policy = tmp_path / "entry", tmp_path / "receipt", str(mirror / "policy")
    assert run(["audit", "entry", event.hex(), "--mirror", str(mirror), "-f", str(entry)]) == Exit.OK
    text = make_receipt(node.reader, event)
    assert text is not None
    receipt.write_text(text)
    assert run(["verify", str(receipt), "--policy", policy]) == Exit.OK
    capsys.readouterr()
    assert run(["verify", str(entry), "--policy", policy]) == Exit.VERIFICATION_FAILED
    assert "`chainnode audit verify-entry`" in capsys.readouterr().err
    assert run(["audit", "verify-entry", str(receipt), "--policy", policy]) == Exit.VERIFICATION_FAILED
    assert "`chainnode verify`" in capsys.readouterr().err
