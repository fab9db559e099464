"""Votes on what the members agreed on: accreditation, the policy, the catalogue, shares; by commands as printed.

The chain begins with the first rules, as one that was founded before there were others; the tests build on each other.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from chainnode.cli.context import Settings
from chainnode.cli.main import root
from tests.e2e.governance_fixtures import pass_it, run
from tests.e2e.network_fixtures import NAMES, Json, Network, network, until
from tests.e2e.traffic_fixtures import source_of, submit

pytestmark = pytest.mark.e2e


NOTICE_HEIGHTS = 45
FILLING = 60


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("governance"), rules=1) as running:
        yield running


def figures(net: Network, name: str) -> dict[str, int]:
    return {row["name"]: row["value"] for row in run(net.home(name).root, "member", "policy")["figures"]}


def member(net: Network, name: str, wanted: str) -> Json:
    rows = run(net.home(name).root, "member", "list")["members"]
    return next((row for row in rows if row["id"] == wanted), {})


def refusal(net: Network, *arguments: str) -> str:
    """Return what a command is refused with."""
    words = ["--home", str(net.home("bank-a").root), *arguments]
    result = CliRunner().invoke(root, words, obj=Settings(), standalone_mode=False)
    return str(result.exception)


def test_a_chain_of_the_first_rules_comes_to_the_second_by_a_vote(net: Network) -> None:
    assert "rule rules_needed" in refusal(net, "member", "propose", "policy", "appeal_window_days=90")
    height = net.until_level() + NOTICE_HEIGHTS
    pass_it(net, "rules", "propose", "2", "--at", str(height))
    source = source_of(net, "bank-a-bank")
    for _ in range(FILLING):
        assert {row["status"] for row in submit(net, "bank-a", source.payments(1))} == {"Committed"}
        if net.status("bank-a")["height"] >= height:
            break
    versions = [net.call("bank-b", "ledger_getBlock", height=at)["header"]["version"] for at in (height - 1, height)]
    assert versions == [1, 2]


def test_a_laboratory_is_admitted_and_then_accredited_as_an_inspector_too(net: Network, tmp_path: Path) -> None:
    home = net.home("bank-a").root
    key, entry = str(tmp_path / "lab.key"), str(tmp_path / "lab.json")
    run(home, "keys", "new", key, "--use", "source", "--member", "lab-x")
    run(home, "member", "entry", entry, "--id", "lab-x", "--title", "Lab X", "--role", "laboratory", "--source", key)
    pass_it(net, "member", "propose", "add", entry)
    until(lambda: member(net, "bank-b", "lab-x"))
    pass_it(net, "member", "propose", "roles", "lab-x", "laboratory", "inspector")
    found = until(
        lambda: (row := member(net, "bank-b", "lab-x")) and row["roles"] == ["laboratory", "inspector"] and row
    )
    source = found["sources"][0]
    assert source["roles"] == ["laboratory"]
    pass_it(net, "member", "propose", "source-roles", source["key"], "laboratory", "inspector")
    until(lambda: member(net, "bank-b", "lab-x")["sources"][0]["roles"] == ["laboratory", "inspector"])


def test_a_figure_of_the_policy_changes_on_every_node(net: Network) -> None:
    began = time.monotonic()
    pass_it(net, "member", "propose", "policy", "appeal_window_days=90", "checkpoint_slot_ms=300")
    for name in NAMES:
        until(lambda name=name: figures(net, name)["appeal_window_days"] == 90)
    print(f"proposed, approved by three and applied on four nodes in {time.monotonic() - began:.2f} s")
    assert figures(net, "bank-d")["checkpoint_slot_ms"] == 300


def test_a_version_of_the_catalogue_adds_a_category(net: Network, tmp_path: Path) -> None:
    home, file = net.home("bank-a").root, tmp_path / "catalogue.json"
    run(home, "member", "catalogue", "--edit", str(file))
    draft = json.loads(file.read_text())
    added = {"number": 15, "slug": "quantum_link", "name": "quantum link", "name_zh": "量子链路"}
    draft["categories"].append({**added, "evidence": ["type_examination", "site_check"]})
    file.write_text(json.dumps(draft))
    pass_it(net, "member", "propose", "catalogue", str(file))
    held = until(lambda: run(net.home("bank-c").root, "member", "catalogue")["catalogues"][2:])
    assert (held[0]["version"], held[0]["in_force"], len(held[0]["categories"])) == (3, True, 15)


def test_another_share_decides(net: Network) -> None:
    pass_it(net, "member", "propose", "threshold", "remove_source", "third")
    rows = run(net.home("bank-a").root, "member", "thresholds")["thresholds"]
    assert {row["action"]: row["votes_needed"] for row in rows}["remove_source"] == 2
    net.check_all()


def test_what_a_change_would_do_is_shown_and_nothing_is_sent(net: Network) -> None:
    home = net.home("bank-a").root
    found = run(home, "member", "propose", "policy", "appeal_window_days=45", "--dry-run")
    assert found["would_send"] == "policy appeal_window_days = 45"
    assert found["changes"] == [{"what": "policy appeal_window_days", "before": "90", "after": "45"}]
    assert (found["present"]["quorum"], found["following"], found["liveness"]["safe"]) == (3, None, True)
    proposal = str(run(home, "member", "propose", "policy", "appeal_window_days=45")["id"])
    officer = str(net.net.keys / "bank-a-governance.key")
    seen = run(home, "member", "approve", proposal, "--officer", officer, "--dry-run")
    assert seen["changes"] == found["changes"]
    assert net.call("bank-a", "gov_getProposal", id=proposal)["proposal"]["approvals"] == []
    run(home, "member", "withdraw", proposal)


def test_a_node_that_is_down_is_named_with_the_reason(net: Network) -> None:
    net.kill("bank-d")
    action = {"type": "set_roles", "member": "lab-x", "roles": ["laboratory"]}
    until(lambda: net.call("bank-a", "gov_checkAction", action=action)["liveness"]["up"] == list(NAMES[:3]))
    found = net.call("bank-a", "gov_checkAction", action=action)
    assert found["liveness"]["silent"] == [{"name": "bank-d", "why": "not linked"}]
    assert found["liveness"]["safe"], "three of four are up, and three decide"
    pass_it(net, "member", "propose", "policy", "appeal_window_days=30")


def test_a_node_that_was_down_has_what_was_decided_from_blocks_and_from_a_snapshot(
    net: Network, tmp_path: Path
) -> None:
    home = net.home("bank-d").root
    assert run(home, "fsck")["ok"] is True
    net.start("bank-d")
    until(lambda: figures(net, "bank-d")["appeal_window_days"] == 30)
    file = str(tmp_path / "bank-a.chainsnap")
    until(lambda: net.status("bank-a")["checkpoint_size"] == net.status("bank-a")["log_size"])
    run(net.home("bank-a").root, "snapshot", "create", file)
    genesis = str(net.net.directory / "genesis.json")
    assert run(net.home("bank-a").root, "snapshot", "verify", file, "--genesis", genesis)["state_rows"] > 100
    net.stop("bank-d")
    for lost in ("ledger.ldb", "index.ldb"):
        shutil.rmtree(net.home("bank-d").data / lost)
    run(home, "snapshot", "restore", file)
    net.start("bank-d")
    assert figures(net, "bank-d") == figures(net, "bank-a")
    assert member(net, "bank-d", "lab-x") == member(net, "bank-a", "lab-x")
    for words in (("member", "catalogue"), ("member", "thresholds")):
        assert run(home, *words) == run(net.home("bank-a").root, *words)
    net.stop("bank-d")
    assert run(home, "fsck")["ok"] is True
