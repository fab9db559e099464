"""Votes on what the members agreed on: accreditation, the policy, the catalogue, shares; by commands as printed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.governance_fixtures import pass_it, run
from tests.e2e.network_fixtures import NAMES, Json, Network, network, until

pytestmark = pytest.mark.e2e

END_TO_END_S = 2.0
"""From the first command's call to the node that applied it last; on an idle machine."""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("governance")) as running:
        yield running


def figures(net: Network, name: str) -> dict[str, int]:
    return {row["name"]: row["value"] for row in run(net.home(name).root, "member", "policy")["figures"]}


def member(net: Network, name: str, wanted: str) -> Json:
    rows = run(net.home(name).root, "member", "list")["members"]
    return next((row for row in rows if row["id"] == wanted), {})


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
