"""Settings for all tests: hypothesis profiles, and real-process tests kept on one worker."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

FUZZ_EXAMPLES_DEFAULT = 5_000

# The gate draws the same examples every time; `make fuzz` looks for new ones and prints how to replay what it finds.
settings.register_profile("gate", derandomize=True, deadline=None, print_blob=True)
settings.register_profile(
    "fuzz",
    max_examples=int(os.environ.get("CHAINNODE_FUZZ_EXAMPLES") or FUZZ_EXAMPLES_DEFAULT),
    deadline=None,
    print_blob=True,
)
settings.load_profile("gate")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file that start real processes on one xdist worker, in order: they share a network."""
    for item in items:
        if item.get_closest_marker("e2e") is not None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
