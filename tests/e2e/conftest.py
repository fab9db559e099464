"""One peaceful network for all tests that leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.network_fixtures import Network, network
from tests.e2e.traffic_fixtures import Source, source_of

E2E_TIMEOUT_S = 480


@pytest.fixture(scope="session")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("e2e")) as running:
        yield running


@pytest.fixture(scope="session")
def sources(net: Network) -> dict[str, Source]:
    """The sources of DIR/keys that tests submit with, by name; a number is never signed twice."""
    names = ("bank-a-bank", "bank-b-bank", "bank-c-bank", "switch-switch", "cb-reviewer")
    return {name: source_of(net, name) for name in names}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests with real processes longer than others: they wait as long as a busy machine makes progress."""
    for item in items:
        if item.get_closest_marker("e2e") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(E2E_TIMEOUT_S))
