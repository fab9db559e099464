"""`audit completeness` and verifying what it wrote, against a fake node that answers with real proofs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from ledger.completeness_reading import make_completeness
from ledger.handovers import first_span
from ledger.reader import LedgerReader
from ledger.trust_policy import policy_text
from tests.cli.test_with_a_node import Node, address, home, node
from tests.ledger.test_completeness import NEWEST, history, submitted

__all__ = ["address", "home", "node"]

LEDGER = history()
READER = LedgerReader(LEDGER.store, LEDGER.genesis)


def pages(node: Node, page_bytes: int = 600) -> None:
    def answer(params: dict[str, Any]) -> dict[str, Any]:
        start = 0 if params["from"] == "earliest" else int(params["from"])
        stop = 99 if params["to"] == "latest" else int(params["to"])
        page = make_completeness(READER, params["member"], start, stop, page=page_bytes)
        assert page is not None
        more = page.to_height < min(stop, page.covered)
        return {"proof": page.proof, "covered": page.covered, "next": page.to_height + 1 if more else None}

    node.answers["audit_completeness"] = answer


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy"
    path.write_text(policy_text(LEDGER.genesis, (first_span(LEDGER.genesis),)))
    return str(path)


def test_all_pages_are_fetched_written_and_verified_together(
    node: Node, home: Path, tmp_path: Path, policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pages(node)
    file = str(tmp_path / "a.proof")
    assert run(["--home", str(home), "audit", "completeness", "--member", "bank-a", "-f", file]) == Exit.OK
    assert node.called.count("audit_completeness") > 2
    assert f"chainnode verify {file} --policy POLICY --member bank-a" in capsys.readouterr().err
    assert run(["-o", "json", "verify", file, "--policy", policy, "--member", "bank-a"]) == Exit.OK
    row = json.loads(capsys.readouterr().out)
    assert row["event_ids"] == [item.hex() for item in submitted(LEDGER, "bank-a", 0, NEWEST)]
    assert (row["from_height"], row["to_height"], row["cosigned"]["by"]) == (0, NEWEST, 3)
    assert run(["verify", file, "--policy", policy, "--member", "bank-a"]) == Exit.OK
    assert capsys.readouterr().out.startswith(f"verified: bank-a submitted {row['events']} events in blocks 0 to 12")


def test_a_proof_of_completeness_says_itself_whose_it_is(
    node: Node, home: Path, tmp_path: Path, policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pages(node)
    file = str(tmp_path / "a.proof")
    assert run(["--home", str(home), "audit", "completeness", "--member", "bank-a", "-f", file]) == Exit.OK
    capsys.readouterr()
    assert run(["-o", "json", "verify", file, "--policy", policy]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["member"] == "bank-a"


def test_a_range_of_heights_is_asked_for_as_it_is(
    node: Node, home: Path, policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages(node)
    command = ["--home", str(home), "audit", "completeness", "--member", "bank-b", "--from", "5", "--to", "9"]
    assert run(command) == Exit.OK
    (tmp_path / "b.proof").write_text(capsys.readouterr().out)
    assert run(["-o", "json", "verify", str(tmp_path / "b.proof"), "--policy", policy, "--member", "bank-b"]) == Exit.OK
    row = json.loads(capsys.readouterr().out)
    assert (row["from_height"], row["to_height"], row["events"], row["applied"]) == (5, 9, 4, 3)


@pytest.mark.parametrize(
    "change", ["a page left out", "turned round", "another member", "cut", "a letter", "a receipt"]
)
def test_pages_that_do_not_prove_it_end_with_status_3(
    node: Node, home: Path, policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    pages(node)
    assert run(["--home", str(home), "audit", "completeness", "--member", "bank-a"]) == Exit.OK
    heading = "c2sp.org/tlog-proof@v1\n"
    parts = [heading + part for part in capsys.readouterr().out.split(heading)[1:]]
    letter = parts[1][200]
    text = {
        "a page left out": "".join(parts[:1] + parts[2:]),
        "turned round": "".join(parts[::-1]),
        "another member": "".join(parts),
        "cut": "".join(parts)[:-9],
        "a letter": parts[0] + parts[1][:200] + ("A" if letter != "A" else "B") + parts[1][201:] + "".join(parts[2:]),
        "a receipt": "no proof at all",
    }[change]
    (tmp_path / "p").write_text(text)
    member = "bank-b" if change == "another member" else "bank-a"
    status = run(["verify", str(tmp_path / "p"), "--policy", policy, "--member", member])
    assert status == Exit.VERIFICATION_FAILED
    assert "do not rely on it" in capsys.readouterr().err


def test_two_kinds_of_proof_at_once_are_a_mistake(policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["verify", "x", "--policy", policy, "--member", "bank-a", "--certificate", "FTP-2026-06-000123"]
    assert run(command) == Exit.USAGE
    assert "two kinds of proof at once" in capsys.readouterr().err
