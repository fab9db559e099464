"""Commands of several banks: run with a home, propose through one and approve through others."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from chainnode.cli.context import Settings
from chainnode.cli.main import root
from tests.e2e.network_fixtures import NAMES, Json, Network


def run(home: Path, *arguments: str) -> Json:
    """Run a command with a home and return what it prints to stdout; it must end with status 0."""
    words = ["--home", str(home), "-o", "json", *arguments]
    result = CliRunner().invoke(root, words, obj=Settings(), standalone_mode=False, catch_exceptions=False)
    assert (result.exit_code, result.return_value or 0) == (0, 0), (arguments, result.stdout, result.stderr)
    found: Json = json.loads(result.stdout) if result.stdout else {}
    return found


def pass_it(net: Network, *arguments: str, voters: tuple[str, ...] = NAMES[:3]) -> str:
    """Propose through the first bank and let others approve, each through its own node; return the proposal's id."""
    proposal = str(run(net.home("bank-a").root, *arguments)["id"])
    for name in voters:
        officer = net.net.keys / f"{name}-governance.key"
        run(net.home(name).root, "member", "approve", proposal, "--officer", str(officer))
    return proposal
