"""A rolling upgrade of a running network between two builds, node by node, under load; and the way back, refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.network_fixtures import NAMES, Network, network, until
from tests.e2e.release_fixtures import LATER_VERSION, Release, later_release, this_release
from tests.e2e.traffic_fixtures import Answers, submitters_of, traffic

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return later_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("upgrade")) as running:
        yield running


def version_of(net: Network, name: str) -> str:
    return str(net.call(name, "ledger_getCapabilities")["version"])


def test_a_network_is_upgraded_node_by_node_under_load(net: Network, later: Release) -> None:
    answers = Answers()
    with traffic(submitters_of(net, answers)):
        for number, name in enumerate(NAMES):
            net.stop(name)
            later.start(net, name)
            before = len(answers.committed)
            until(lambda before=before: len(answers.committed) > before + 20, 15.0)
            protocols = {peer["name"]: peer["protocol"] for peer in net.call(name, "net_peers")["peers"]}
            upgraded = set(NAMES[:number])
            assert all(protocols[peer] == (2 if peer in upgraded else 1) for peer in protocols)
    assert [version_of(net, name) for name in NAMES] == [LATER_VERSION] * len(NAMES)
    net.check_all()
    for name in NAMES:
        answers.check_on(net, name)


def test_the_way_back_is_refused_by_name(net: Network) -> None:
    net.stop("bank-d")
    refused = this_release().start(net, "bank-d", ready=False)
    assert refused.returncode != 0
    last = net.home("bank-d").log.read_text().splitlines()[-1]
    assert "the store was written by a newer release" in last
    assert "a release does not go back" in last
