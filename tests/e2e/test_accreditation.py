"""Accreditation by commands on a new chain: what counts at first, its end by a vote, and its begin again.

The tests build on each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from chainnode.cli.context import Settings
from chainnode.cli.main import root
from tests.e2e.governance_fixtures import pass_it, run
from tests.e2e.network_fixtures import Json, Network, network, until

pytestmark = pytest.mark.e2e

APPLICATION = "bank-a.0001"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("accreditation")) as running:
        yield running


def as_member(net: Network, key: str, *arguments: str) -> tuple[int, str]:
    """Run a command with a key of a localnet; return its exit status and what it says."""
    words = ["--home", str(net.home("bank-a").root), "--as", str(net.net.keys / f"{key}.key"), *arguments]
    result = CliRunner().invoke(root, words, obj=Settings(), standalone_mode=False)
    return result.return_value or result.exit_code, result.output + str(result.exception or "")


def accreditations(net: Network, *arguments: str) -> list[Json]:
    rows: list[Json] = run(net.home("bank-b").root, "member", "accreditations", *arguments)["accreditations"]
    return rows


def examined(net: Network, report: Path) -> tuple[int, str]:
    return as_member(net, "lab-laboratory", "cert", "evidence", APPLICATION, "--evidence", f"type_examination={report}")


def test_the_laboratory_and_the_inspector_of_a_new_chain_are_accredited_for_all_categories(net: Network) -> None:
    rows = {row["member"]: row for row in accreditations(net)}
    assert {name: (row["role"], row["status"], row["standard"]) for name, row in rows.items()} == {
        "ins": ("inspector", "valid", "ISO/IEC 17020"),
        "lab": ("laboratory", "valid", "ISO/IEC 17025"),
    }
    assert rows["lab"]["categories"] == list(range(1, 15))
    held = run(net.home("bank-a").root, "member", "catalogue")["catalogues"][-1]["categories"]
    assert all(category["standards"] for category in held)


def test_evidence_of_a_laboratory_whose_accreditation_was_ended_is_rejected_by_name(
    net: Network, tmp_path: Path
) -> None:
    pass_it(net, "member", "end-accreditation", "lab", "laboratory", "--reason", "lost_staff")
    (row,) = until(lambda: [row for row in accreditations(net, "lab") if row["status"] == "ended"])
    assert row["reason"] == "lost_staff"
    product = ["--product", "Wallet", "--model", "W1", "--version", "1"]
    (tmp_path / "documents").write_text("documents")
    (tmp_path / "report").write_text("report")
    status, said = as_member(
        net,
        "bank-a-bank",
        *("cert", "apply", "--serial", "0001", "--category", "6", "--holder-name", "Bank A", *product),
        *("--evidence", f"technical_documents={tmp_path / 'documents'}"),
    )
    assert status == 0, said
    assert as_member(net, "cb-reviewer", "cert", "accept", APPLICATION)[0] == 0
    status, said = examined(net, tmp_path / "report")
    assert "accreditation_ended" in said, (status, said)


def test_a_new_accreditation_by_a_vote_lets_it_count_again_for_its_categories(net: Network, tmp_path: Path) -> None:
    (tmp_path / "report").write_text("second report")
    pass_it(net, "member", "accredit", "lab", "laboratory", "--category", "5", "--months", "12")
    assert "accreditation_scope" in examined(net, tmp_path / "report")[1]
    pass_it(net, "member", "propose", "accredit", "lab", "laboratory", "--category", "6", "--standard", "ISO/IEC 17025")
    status, said = examined(net, tmp_path / "report")
    assert status == 0, said
    assert until(lambda: [row["status"] for row in accreditations(net, "lab", "--category", "6")] == ["ended", "valid"])


def test_the_policy_of_the_scheme_and_standards_change_by_a_vote(net: Network, tmp_path: Path) -> None:
    home = net.home("bank-c").root
    assert run(home, "member", "policy")["scheme"]["mark_use"] == "strict"
    pass_it(net, "member", "propose", "scheme-policy", "mark_use=notice", "surveillance_interval_months=6")
    scheme = until(lambda: (run(home, "member", "policy")["scheme"]["mark_use"] == "notice") or None)
    assert scheme
    (tmp_path / "standards.json").write_text(json.dumps({"5": ["JR/T 0002-2016"]}))
    pass_it(net, "member", "propose", "standards", "2", str(tmp_path / "standards.json"))
    named = until(
        lambda: [
            c["standards"] for c in run(home, "member", "catalogue")["catalogues"][1]["categories"] if c["standards"]
        ]
    )
    assert named == [["JR/T 0002-2016"]]
    net.check_all()
