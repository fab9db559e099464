"""A rolling upgrade of a running network between two builds: node by node, then its rules at a voted height.

The tests build on each other, in their order: the upgrade of three nodes, the rules that the fourth does not know, and
the way back, which is refused.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.network_fixtures import NAMES, Network, network
from tests.e2e.traffic_fixtures import Answers, submitters_of, traffic
from torment.releases import LATER_VERSION, Release, later_release, this_release

pytestmark = pytest.mark.e2e

UPGRADED, LEFT = NAMES[:3], NAMES[3]
NOTICE_HEIGHTS = 40


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return later_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("upgrade")) as running:
        yield running


@pytest.fixture(scope="module")
def answers() -> Answers:
    """All answers of this module: later tests hold the nodes to those of earlier ones too."""
    return Answers()


def start(net: Network, release: Release, name: str, *, ready: bool = True) -> subprocess.CompletedProcess[str]:
    """Start one node of a network from a release; with `ready`, it must come up."""
    done = release.run("localnet", "start", name, "--dir", str(net.net.directory))
    assert not ready or done.returncode == 0, done.stderr
    return done


def versions(net: Network) -> list[str]:
    return [str(net.call(name, "ledger_getCapabilities")["version"]) for name in NAMES]


def govern(net: Network, release: Release, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Send one event of governance through a node's own member."""
    home = str(net.home(name).root)
    return release.run("-o", "jsonl", "--home", home, "--endpoint", net.node(name).rpc, *arguments)


def id_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout.splitlines()[-1])["id"])


def test_a_network_is_upgraded_node_by_node_under_load(net: Network, later: Release, answers: Answers) -> None:
    before_any = versions(net)
    with traffic(submitters_of(net, answers)):
        for number, name in enumerate(UPGRADED):
            net.stop(name)
            start(net, later, name)
            answers.wait_for_more(20)
            protocols = {peer["name"]: peer["protocol"] for peer in net.call(name, "net_peers")["peers"]}
            upgraded = set(NAMES[:number])
            assert all(protocols[peer] == (2 if peer in upgraded else 1) for peer in protocols)
    assert versions(net) == [LATER_VERSION] * len(UPGRADED) + before_any[-1:]
    assert before_any[-1] != LATER_VERSION
    net.check_all()
    for name in NAMES:
        answers.check_on(net, name)


def test_rules_that_a_node_does_not_know_stop_it_by_name_at_their_height(
    net: Network, later: Release, answers: Answers
) -> None:
    height = net.until_level() + NOTICE_HEIGHTS
    early = govern(net, later, LEFT, "rules", "propose", "4", "--at", str(height))
    assert early.returncode == 1
    assert "does not know these rules" in early.stderr
    proposal = id_of(govern(net, later, UPGRADED[0], "rules", "propose", "4", "--at", str(height)))
    keys = net.net.keys
    votes = {
        name: govern(
            net,
            later,
            name,
            "validator",
            "approve",
            proposal,
            "--officer",
            str(keys / f"{name}-governance.key"),
        )
        for name in (LEFT, *UPGRADED)
    }
    assert votes[LEFT].returncode == 1
    assert "does not know these rules" in votes[LEFT].stderr
    assert [votes[name].returncode for name in UPGRADED] == [0, 0, 0], votes
    with traffic(submitters_of(net, answers, UPGRADED)):
        last = net.wait_gone(LEFT)
        answers.wait_for_more(20)
    assert f"this chain needs rules version 4 from height {height} on" in last
    assert "install a newer release" in last
    rules = {
        top: net.call(UPGRADED[0], "ledger_getBlock", height=top)["header"]["version"] for top in (height - 1, height)
    }
    assert rules == {height - 1: 3, height: 4}
    refused = start(net, this_release(), LEFT, ready=False)
    assert refused.returncode != 0
    start(net, later, LEFT)
    net.until_level(at_least=height)
    net.check_all()
    for name in NAMES:
        answers.check_on(net, name)


def test_the_way_back_is_refused_by_name(net: Network) -> None:
    net.stop(LEFT)
    refused: subprocess.CompletedProcess[str] = start(net, this_release(), LEFT, ready=False)
    assert refused.returncode != 0
    last = net.home(LEFT).log.read_text().splitlines()[-1]
    assert "the store was written by a newer release" in last
    assert "a release does not go back" in last
