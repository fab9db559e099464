"""The guide of docs/certifying.md: its scripts, played on a real network, print what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.guide_fixtures import PAGE, SAMPLES, alike, parts, played, scripts, shown
from tests.e2e.network_fixtures import Network, network

pytestmark = [pytest.mark.e2e, pytest.mark.long]

TEXT = PAGE.read_text("utf-8")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A network of its own: elsewhere the keys of a localnet sign without the outbox that commands keep."""
    with network(tmp_path_factory.mktemp("certifying")) as running:
        yield running


def test_the_sample_scripts_are_the_commands_of_the_guide() -> None:
    for name, text in scripts(TEXT).items():
        assert (SAMPLES / name).read_text("utf-8") == text, "run scripts/make_certifying.py"
        assert (SAMPLES / name).stat().st_mode & 0o100


def test_what_is_alike_on_every_network_is_compared() -> None:
    first = "applied    " + "ab" * 32 + "  certificate X\nheight  7\nstatus  valid"
    assert alike(first) == alike(first.replace("ab", "cd").replace("7", "19"))
    assert alike(first) != alike(first.replace("applied", "rejected"))
    assert alike(first) != alike(first.replace("valid", "expired"))


@pytest.mark.parametrize(("name", "part"), parts(TEXT).items())
def test_a_sample_script_prints_what_the_guide_shows(net: Network, tmp_path: Path, name: str, part: str) -> None:
    expected = list(shown(part))
    assert len(expected) > 15
    for now, then in zip(played(name, net.net.directory, tmp_path), expected, strict=True):
        assert now.command == then.command
        assert alike(now.printed) == alike(then.printed), now.command
