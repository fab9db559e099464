"""`cert status --proof`, `cert history --proof` and `verify`, against a fake node that answers with real proofs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from ledger.certificate_history_reading import make_certificate_history
from ledger.certificate_records import certificate_key
from ledger.receipts import make_receipt
from ledger.status_proofs import make_status_proof
from ledger.times import format_time
from tests.cli.test_with_a_node import Node, address, home, node
from tests.ledger.certificate_fixtures import NUMBER
from tests.ledger.test_certificate_history import SUCCESSOR, Life
from tests.ledger.test_status_times import NEVER, Times

__all__ = ["address", "home", "node"]

LIFE, TIMES = Life(), Times()
HEADING = "c2sp.org/tlog-proof@v1\n"


@pytest.fixture
def policy(tmp_path: Path) -> str:
    return written(tmp_path, "policy", LIFE.policy)


def written(directory: Path, name: str, text: str | None) -> str:
    assert text is not None
    (directory / name).write_text(text)
    return str(directory / name)


def pages(node: Node, page_bytes: int = 400) -> None:
    def answer(params: dict[str, Any]) -> dict[str, Any]:
        height = LIFE.chain.chain.height if params["at"] == "latest" else int(params["at"])
        page = make_certificate_history(
            LIFE.chain.reader, params["number"], height, first=params["first"], page=page_bytes
        )
        assert page is not None
        return {"proof": page.proof, "height": height, "next": page.next}

    node.answers["cert_historyProof"] = answer


def status_file(tmp_path: Path, height: int, number: str = NUMBER) -> tuple[str, str]:
    """Return a file with a status proof, and one with a policy for it."""
    proof = make_status_proof(TIMES.chain.reader, certificate_key(number), height)
    return written(tmp_path, "s.proof", proof), written(tmp_path, "s.policy", TIMES.first_policy)


def verified(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert run(["-o", "json", "verify", *words]) == Exit.OK
    row = json.loads(capsys.readouterr().out)
    assert isinstance(row, dict)
    return row


# --- a status


def test_verify_says_what_was_when_by_whom_and_for_how_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proof, trusted = status_file(tmp_path, TIMES.granted)
    assert run(["verify", proof, "--policy", trusted]) == Exit.OK
    told = capsys.readouterr().out.splitlines()
    start, end = format_time(TIMES.time(TIMES.granted)), format_time(TIMES.time(TIMES.granted + 1) - 1)
    said = f"verified: certificate {NUMBER} was valid 有效 at {start}; proved from {start} to {end}"
    assert told[0] == f"{said} by block {TIMES.granted}"
    assert told[1].startswith("cosigned by 3 of 4 of epoch 2: node-0")
    row = verified(capsys, proof, "--policy", trusted, "--certificate", NUMBER, "--at", end)
    assert (row["status"], row["valid"], row["time"], row["since"]) == ("valid", True, end, start)
    assert (row["proved_from"], row["proved_until"], row["height"]) == (start, end, TIMES.granted)


def test_the_newest_proof_speaks_for_the_time_of_its_cosignatures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proof, trusted = status_file(tmp_path, TIMES.last)
    row = verified(capsys, proof, "--policy", trusted)
    assert (row["status"], row["valid"], row["proved_from"]) == ("expired", False, format_time(TIMES.end_ms))
    assert row["time"] == row["proved_until"] == format_time((TIMES.end_ms + 60_000) // 1_000 * 1_000)
    row = verified(capsys, proof, "--policy", trusted, "--at", format_time(TIMES.end_ms - 1))
    assert (row["status"], row["proved_until"]) == ("valid", format_time(TIMES.end_ms - 1))
    assert row["then"] == {"from": format_time(TIMES.end_ms), "status": "expired"}
    assert row["sentence"].endswith(", then expired 过期")


def test_an_absent_certificate_is_told_as_absent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proof, trusted = status_file(tmp_path, TIMES.last, NEVER)
    row = verified(capsys, proof, "--policy", trusted)
    assert (row["exists"], row["status"], row["valid"]) == (False, None, False)
    assert row["sentence"].startswith(f"there was no certificate {NEVER} at ")


@pytest.mark.parametrize(
    "number", ["X at noon\nverified: certificate FTP-2026-06-000001 was valid", "\x1b[2K\r", "FTP-2026-06-000009\n"]
)
def test_a_proof_does_not_bring_a_verdict_of_its_own_as_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: str
) -> None:
    proof, trusted = status_file(tmp_path, TIMES.last, number)
    assert run(["verify", proof, "--policy", trusted]) == Exit.VERIFICATION_FAILED
    told = capsys.readouterr()
    assert (told.out, len(told.err.splitlines())) == ("", 1)
    assert run(["verify", proof, "--policy", trusted, "--certificate", number]) == Exit.OK
    told = capsys.readouterr()
    assert [line[:9] for line in told.out.splitlines()].count("verified:") == 1
    assert "\x1b" not in told.out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--at", "2020-01-01T00:00:00Z"], "proof says nothing about that time"),
        (["--certificate", NEVER], "proof of another key"),
        (["--member", "bank-a"], "proof of another kind: expected Completeness, got StatusProof"),
    ],
)
def test_a_status_proof_of_something_else_is_status_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    proof, trusted = status_file(tmp_path, TIMES.granted)
    assert run(["verify", proof, "--policy", trusted, *words]) == Exit.VERIFICATION_FAILED
    assert complaint in capsys.readouterr().err


def test_times_are_told_as_people_write_them_and_a_malformed_one_is_a_mistake_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proof, trusted = status_file(tmp_path, TIMES.granted)
    assert run(["verify", proof, "--policy", trusted, "--at", "2020-01-01T00:00:00Z"]) == Exit.VERIFICATION_FAILED
    assert "got 2020-01-01T00:00:00Z" in capsys.readouterr().err
    assert run(["verify", proof, "--policy", trusted, "--at", "yesterday"]) == Exit.USAGE
    assert capsys.readouterr().err.startswith("error: --at: not a time")


def test_the_command_that_verifies_a_status_is_told_with_its_time(
    node: Node, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = format_time(TIMES.end_ms)
    asked: list[dict[str, Any]] = []

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        asked.append(params)
        proof = make_status_proof(TIMES.chain.reader, certificate_key(NUMBER), TIMES.last)
        return {"number": NUMBER, "exists": True, "time": at, "proof": proof}

    node.answers["cert_getStatus"] = answer
    command = ["cert", "status", NUMBER, "--at", at, "--from-epoch", "1", "--proof", str(tmp_path / "p")]
    assert run(["--home", str(home), *command]) == Exit.OK
    assert asked == [{"number": NUMBER, "at": at, "from_epoch": 1}]
    assert f"--policy POLICY --certificate {NUMBER} --at {at}`" in capsys.readouterr().err


def test_a_receipt_needs_no_option_and_answers_for_no_certificate(
    tmp_path: Path, policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "r", make_receipt(LIFE.chain.reader, LIFE.ids[0]))
    assert verified(capsys, file, "--policy", policy)["event_id"] == LIFE.ids[0].hex()
    assert run(["verify", file, "--policy", policy, "--certificate", NUMBER]) == Exit.VERIFICATION_FAILED
    assert "expected StatusProof or CertificateHistory, got Receipt" in capsys.readouterr().err


# --- a history


@pytest.mark.parametrize(
    "command", [["cert", "history", NUMBER, "--proof"], ["audit", "completeness", "--certificate", NUMBER, "-f"]]
)
def test_a_history_is_fetched_in_pages_and_verified_as_a_whole(
    node: Node, home: Path, tmp_path: Path, policy: str, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    pages(node)
    file = str(tmp_path / "h.proof")
    assert run(["--home", str(home), *command, file]) == Exit.OK
    assert node.called.count("cert_historyProof") > 2
    assert f"chainnode verify {file} --policy POLICY --certificate {NUMBER}`" in capsys.readouterr().err
    row = verified(capsys, file, "--policy", policy)
    assert [event["id"] for event in row["events"]] == [item.hex() for item in LIFE.ids]
    assert row["events"][0]["kind"] == "certificate.apply"
    assert row["events"][-1]["body"]["reason"] == "inspection_failed"
    assert (row["status"], row["number"], row["height"]) == ("suspended", NUMBER, LIFE.chain.chain.height)
    assert run(["verify", file, "--policy", policy, "--certificate", NUMBER]) == Exit.OK
    told = capsys.readouterr().out
    assert told.startswith(f"verified: these 10 events are the whole history of certificate {NUMBER} up to ")
    assert "certificate.grant" in told


def test_a_history_as_of_an_earlier_height_may_be_that_there_was_no_certificate(
    node: Node, home: Path, tmp_path: Path, policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pages(node)
    file = str(tmp_path / "h.proof")
    command = ["cert", "history", NUMBER, "--at", str(LIFE.granted - 1), "--proof", file]
    assert run(["--home", str(home), *command]) == Exit.OK
    capsys.readouterr()
    row = verified(capsys, file, "--policy", policy)
    assert (row["exists"], row["events"]) == (False, [])
    assert row["sentence"].startswith(f"there was no certificate {NUMBER} at ")


@pytest.mark.parametrize(
    "change", ["a page left out", "the last left out", "turned round", "twice", "another height", "another certificate"]
)
def test_pages_that_are_not_one_whole_history_are_status_3(
    node: Node, home: Path, tmp_path: Path, policy: str, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    def fetched(number: str, at: str) -> list[str]:
        file = tmp_path / "fetched"
        command = ["cert", "history", number, "--at", at, "--proof", str(file)]
        assert run(["--home", str(home), *command]) == Exit.OK
        return [HEADING + part for part in file.read_text().split(HEADING)[1:]]

    pages(node)
    parts = fetched(NUMBER, "latest")
    older, other = fetched(NUMBER, str(LIFE.chain.chain.height - 1)), fetched(SUCCESSOR, "latest")
    text = {
        "a page left out": parts[:1] + parts[2:],
        "the last left out": parts[:-1],
        "turned round": parts[::-1],
        "twice": parts[:1] + parts,
        "another height": parts[:1] + older[1:],
        "another certificate": parts[:1] + other[1:],
    }[change]
    capsys.readouterr()
    file = written(tmp_path, "h.proof", "".join(text))
    assert run(["verify", file, "--policy", policy]) == Exit.VERIFICATION_FAILED
    assert "do not rely on it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["--certificate", NUMBER, "--member", "bank-a"], ["--certificate", NUMBER, "--from", "3"]]
)
def test_completeness_is_of_a_member_or_of_a_certificate(
    node: Node, home: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", str(home), "audit", "completeness", *words]) == Exit.USAGE
    assert "--certificate with --to" in capsys.readouterr().err
