"""`witness` and the policies that demand one: what the commands do, say and refuse."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from chainnode.cli.witness import LISTEN
from chainnode.config import split_address
from chainnode.files import locked
from chainnode.localnet import BASE_PORT
from ledger.genesis_json import genesis_to_json
from ledger.trust_policy import parse_policy
from primitives.notes import parse_vkey
from tests.ledger.genesis_fixtures import small_genesis

NAME = "regulator.example/w1"


@pytest.fixture
def vkey(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["-o", "json", "witness", "init", str(tmp_path / "w"), "--name", NAME]) == Exit.OK
    return str(json.loads(capsys.readouterr().out)["vkey"])


@pytest.fixture
def policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    (tmp_path / "genesis.json").write_bytes(genesis_to_json(small_genesis()))
    assert run(["policy", "export", "--genesis", str(tmp_path / "genesis.json"), "-f", str(tmp_path / "policy")]) == 0
    capsys.readouterr()
    return str(tmp_path / "policy")


def export(tmp_path: Path, *arguments: str) -> int:
    return run(["policy", "export", "--genesis", str(tmp_path / "genesis.json"), *arguments])


def test_a_witness_is_made_once_and_its_key_is_nobody_elses(
    tmp_path: Path, vkey: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parse_vkey(vkey).name == NAME
    assert (tmp_path / "w" / "witness.key").stat().st_mode & 0o777 == 0o600
    assert run(["witness", "init", str(tmp_path / "w"), "--name", NAME]) == Exit.USAGE
    assert "not empty" in capsys.readouterr().err


def test_a_log_is_added_by_its_policy_or_by_its_keys(
    tmp_path: Path, vkey: str, policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["-o", "json", "witness", "add-log", str(tmp_path / "w"), "--policy", policy]) == Exit.OK
    told = json.loads(capsys.readouterr().out)
    assert (told["origin"], told["quorum"]) == (small_genesis().origin, True)
    assert run(["witness", "add-log", str(tmp_path / "w"), "--policy", policy, "--no-require-quorum"]) == Exit.OK
    key = next(line.split()[1] for line in Path(policy).read_text().splitlines() if line.startswith("log "))
    assert run(["witness", "add-log", str(tmp_path / "w"), "--vkey", key]) == Exit.OK
    capsys.readouterr()
    assert run(["-o", "json", "witness", "list", str(tmp_path / "w")]) == Exit.OK
    (row,) = json.loads(capsys.readouterr().out)["logs"]
    assert (row["origin"], row["size"], row["quorum"], row["forks"]) == (small_genesis().origin, 0, "none", 0)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["witness", "add-log", "{w}"], Exit.USAGE, "which log?"),
        (["witness", "add-log", "{w}", "--vkey", "nonsense"], Exit.VERIFICATION_FAILED, "not a verifier key"),
        (["witness", "add-log", "{w}", "--policy", "{w}/vkey"], Exit.VERIFICATION_FAILED, "not understood"),
        (["witness", "add-log", "{w}/none", "--policy", "{policy}"], Exit.NOT_FOUND, "not a witness's directory"),
        (["witness", "list", "{w}/none"], Exit.NOT_FOUND, "no such file"),
        (["witness", "serve", "{w}/none"], Exit.NOT_FOUND, "not a witness's directory"),
        (["witness", "serve", "{w}", "--listen", "0.0.0.0:1"], Exit.USAGE, "off loopback without TLS"),
        (["witness", "serve", "{w}", "--tls-key", "k"], Exit.USAGE, "half of TLS"),
        (
            ["witness", "serve", "{w}", "--tls-certificate", "{w}/none", "--tls-key", "{w}/vkey"],
            Exit.NOT_FOUND,
            "w/none: no such file",
        ),
        (
            ["witness", "serve", "{w}", "--tls-certificate", "{w}/vkey", "--tls-key", "{w}/vkey"],
            Exit.ERROR,
            "w/vkey: not a certificate and its key",
        ),
        (["witness", "init", "{w}2", "--name", "a name"], Exit.USAGE, "a key's name"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: list[str],
    status: int,
    message: str,
    tmp_path: Path,
    vkey: str,
    policy: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [each.format(w=tmp_path / "w", policy=policy) for each in arguments]
    assert run(given) == status
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_a_witness_in_use_is_not_served_twice(tmp_path: Path, vkey: str, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(tmp_path / "w" / "lock", "witness"):
        assert run(["witness", "serve", str(tmp_path / "w")]) == Exit.USAGE
    assert "already in use" in capsys.readouterr().err


def test_a_policy_is_exported_with_the_witnesses_that_it_demands(
    tmp_path: Path, vkey: str, policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["-o", "json", "witness", "init", str(tmp_path / "w2"), "--name", "other.example"]) == Exit.OK
    other = json.loads(capsys.readouterr().out)["vkey"]
    both = ("--witness", f"regulator={vkey}", "--witness", f"auditor={other}")
    assert export(tmp_path, *both, "--require-witnesses", "any") == Exit.OK
    found = parse_policy(capsys.readouterr().out)
    assert found.quorum == "validators-and-witnesses"
    assert found.groups["outside-witnesses"].threshold == 1
    assert export(tmp_path, *both) == Exit.OK
    assert parse_policy(capsys.readouterr().out).groups["outside-witnesses"].threshold == 2
    # Such a policy is for verifiers: the witness itself would wait for its own signature.
    assert export(tmp_path, *both, "-f", str(tmp_path / "demanding")) == Exit.OK
    assert run(["witness", "add-log", str(tmp_path / "w"), "--policy", str(tmp_path / "demanding")]) == Exit.USAGE
    assert "this very witness" in capsys.readouterr().err


@pytest.mark.parametrize("entry", ["{vkey}", "regulator", "a b={vkey}", "regulator=nonsense", "bank-a={vkey}"])
def test_a_witness_that_cannot_be_demanded_is_refused(
    entry: str, tmp_path: Path, vkey: str, policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(tmp_path, "--witness", entry.format(vkey=vkey)) == Exit.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1


def test_a_witness_told_twice_or_a_threshold_without_one_is_refused(
    tmp_path: Path, vkey: str, policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(tmp_path, "--require-witnesses", "any") == Exit.USAGE
    assert export(tmp_path, "--witness", f"r={vkey}", "--witness", f"r={vkey}") == Exit.USAGE
    assert export(tmp_path, "--witness", f"r={vkey}", "--require-witnesses", "2") == Exit.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 3


def test_an_address_that_is_taken_is_named_with_what_to_do(
    tmp_path: Path, vkey: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert run(["witness", "serve", str(tmp_path / "w"), "--listen", address]) == Exit.ERROR
    err = capsys.readouterr().err
    assert f"{address}: cannot listen: got Address already in use" in err
    assert "--listen" in err


def test_the_default_address_is_no_port_of_a_localnet() -> None:
    assert split_address(LISTEN)[1] not in range(BASE_PORT, BASE_PORT + 10 * 26)
