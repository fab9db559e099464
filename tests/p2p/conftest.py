"""One set of certificates for all tests of this package."""

import pytest

from tests.p2p.network_fixtures import Consortium


@pytest.fixture(scope="session")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    return Consortium(tmp_path_factory.mktemp("certificates"))
