"""One set of certificates for all tests of this package, and both event loops, whose TLS transports differ."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

from tests.p2p.network_fixtures import Consortium


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    return Consortium(tmp_path_factory.mktemp("certificates"))
