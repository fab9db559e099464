"""Two builds of the project for one test: this one, and a later release that differs by what a later one may change.

The later release is this tree with a few lines replaced: it calls itself 9.0.0, also speaks protocol 2, also knows
rules 2 and writes store format 2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.e2e.network_fixtures import Network

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("chainnode", "consensus", "ledger", "p2p", "primitives", "rpc")
LATER_VERSION: Final = "9.0.0"
CHANGES: Final = (
    ("chainnode/version.py", 'VERSION = "0.1.0"', f'VERSION = "{LATER_VERSION}"'),
    ("primitives/hashing.py", "PROTOCOL_VERSION = 1\n", "PROTOCOL_VERSION = 2\n"),
    ("ledger/rules.py", "RULES_SUPPORTED: tuple[int, ...] = (RULES_FIRST,)", "RULES_SUPPORTED = (RULES_FIRST, 2)"),
    ("ledger/rows.py", "FORMAT_NEWEST = 1\n", "FORMAT_NEWEST = 2\n"),
    ("ledger/rows.py", "FORMATS_READ = (1,)\n", "FORMATS_READ = (1, 2)\n"),
)


class Release:
    """A tree from which nodes run."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree

    def start(self, net: Network, name: str, *, ready: bool = True) -> subprocess.CompletedProcess[str]:
        """Start one node of a network from this tree; with `ready`, it must come up."""
        done = self.run("localnet", "start", name, "--dir", str(net.net.directory))
        assert not ready or done.returncode == 0, done.stderr
        return done

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run this release's command line."""
        environment = {**os.environ, "PYTHONPATH": str(self.tree)}
        return subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            cwd=self.tree, env=environment, capture_output=True, text=True, timeout=60.0, check=False,
        )  # fmt: skip


def this_release() -> Release:
    """Return the release under test."""
    return Release(ROOT)


def later_release(directory: Path) -> Release:
    """Return a later release, made of this one."""
    tree = directory / "later"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "cli.py", tree)
    for file, old, new in CHANGES:
        path = tree / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file} holds {old!r} {text.count(old)} times"
        path.write_text(text.replace(old, new))
    return Release(tree)
