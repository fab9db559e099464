"""What is private of a payment is on the disk before anything is sent, and a dry run leaves nothing there."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from chainnode.cli.context import Settings
from chainnode.cli.exits import Exit, exit_of
from chainnode.cli.main import root
from chainnode.home import Home
from chainnode.localnet import Localnet
from chainnode.private_store import PrivateStore
from primitives.errors import ChainError
from tests.chainnode.ingest.ingest_fixtures import SAMPLES

NOBODY = "http://127.0.0.1:1"
NOW_MS = 1_790_000_000_000


@pytest.fixture
def home(tmp_path: Path) -> Home:
    net = Localnet(tmp_path / "net")
    with net.held():
        file = net.found(1, base_port=None, now_ms=NOW_MS, step=lambda _: None)
    return Home(Path(file.nodes[0].home))


def submitted(home: Home, *words: str) -> int:
    """Submit a sample through a node that is not there, and return the exit status."""
    (sample,) = SAMPLES.glob("01-*")
    arguments = ["--home", str(home.root), "--endpoint", NOBODY, "submit", str(sample), *words]
    result = CliRunner().invoke(root, arguments, obj=Settings(), standalone_mode=False)
    if isinstance(result.exception, ChainError):
        return exit_of(result.exception)
    return int(result.return_value or 0)


def test_what_cannot_be_sent_is_kept_already(home: Home) -> None:
    assert submitted(home, "--timeout", "0.2") in (Exit.UNREACHABLE, Exit.UNHEALTHY)
    with PrivateStore(home.private) as store:
        assert len(store) == 1
    assert submitted(home, "--timeout", "0.2") in (Exit.UNREACHABLE, Exit.UNHEALTHY)
    with PrivateStore(home.private) as store:
        assert len(store) == 1, "the same message again is the same event"


def test_a_dry_run_sends_and_keeps_nothing(home: Home) -> None:
    assert submitted(home, "--dry-run") == 0
    assert not home.private.exists()
