"""A node under cProfile: `python -m bench.profiled FILE --home DIR` writes the profile of its loop when it ends."""

from __future__ import annotations

import cProfile
import sys
from pathlib import Path

from chainnode.main import main


def run(target: Path, arguments: list[str]) -> int:
    """Run the node and write the profile of the main thread."""
    profile = cProfile.Profile()
    try:
        return profile.runcall(main, arguments)
    finally:
        profile.dump_stats(target)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
