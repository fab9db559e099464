"""Settings for all tests: hypothesis profiles."""

from __future__ import annotations

import os

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
