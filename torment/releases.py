"""Builds of the project from which nodes run: this tree, and a later release made of it.

The later release is a copy of this tree with a few lines replaced: it calls itself 9.0.0, also speaks protocol 2, also
knows rules 5 and writes store format 3. Not here: which node runs from which, and since when (`nodes`, tests/e2e).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chainnode.version import VERSION

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = ("chainnode", "consensus", "ledger", "p2p", "primitives", "rpc")
LATER_VERSION: Final = "9.0.0"
COMMAND_S: Final = 120.0
CHANGES: Final = (
    ("chainnode/version.py", f'VERSION = "{VERSION}"', f'VERSION = "{LATER_VERSION}"'),
    ("primitives/hashing.py", "PROTOCOL_VERSION = 1\n", "PROTOCOL_VERSION = 2\n"),
    ("ledger/rules.py", "(RULES_FIRST, 2, 3, 4)\n", "(RULES_FIRST, 2, 3, 4, 5)\n"),
    ("ledger/rows.py", "FORMAT_NEWEST = 2\n", "FORMAT_NEWEST = 3\n"),
    ("ledger/rows.py", "FORMATS_READ = (1, 2)\n", "FORMATS_READ = (1, 2, 3)\n"),
)


@dataclass(frozen=True)
class Release:
    """A tree from which nodes run, and the version that they tell."""

    tree: Path
    version: str

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment by which an interpreter finds this tree before any other."""
        return {"PYTHONPATH": str(self.tree)}

    def run(self, *arguments: str, timeout_s: float = COMMAND_S) -> subprocess.CompletedProcess[str]:
        """Run this release's command line."""
        return subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            cwd=self.tree,
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


def this_release() -> Release:
    """Return the release that this tree is."""
    return Release(ROOT, VERSION)


def later_release(directory: Path) -> Release:
    """Make a later release of this one in a directory and return it; it must not be there yet."""
    tree = directory / "later"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "cli.py", tree)
    for file, old, new in CHANGES:
        path = tree / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file} holds {old!r} {text.count(old)} times"
        path.write_text(text.replace(old, new))
    return Release(tree, LATER_VERSION)
