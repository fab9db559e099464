"""The guides of docs/certifying.md and docs/payments.md: their scripts, on a real network, print what they show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.guide_fixtures import CERTIFYING, FIRST_DAY, Guide, alike, played, shown
from tests.e2e.network_fixtures import Network, network

pytestmark = [pytest.mark.e2e, pytest.mark.long]

GUIDES = (CERTIFYING, FIRST_DAY)
PARTS = [(guide, name) for guide in GUIDES for name in guide.parts()]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A network of its own: elsewhere the keys of a localnet sign without the outbox that commands keep."""
    with network(tmp_path_factory.mktemp("guides")) as running:
        yield running


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.page.stem)
def test_the_sample_scripts_are_the_commands_of_the_guide(guide: Guide) -> None:
    for name, text in guide.scripts().items():
        assert (guide.samples / name).read_text("utf-8") == text, "run scripts/make_guides.py"
        assert (guide.samples / name).stat().st_mode & 0o100


def test_what_is_alike_on_every_network_is_compared() -> None:
    first = "applied    " + "ab" * 32 + "  certificate X\nheight  7\nstatus  valid"
    assert alike(first) == alike(first.replace("ab", "cd").replace("7", "19"))
    assert alike(first) != alike(first.replace("applied", "rejected"))
    assert alike(first) != alike(first.replace("valid", "expired"))


@pytest.mark.parametrize(("guide", "name"), PARTS, ids=[name for _, name in PARTS])
def test_a_sample_script_prints_what_the_guide_shows(net: Network, tmp_path: Path, guide: Guide, name: str) -> None:
    expected = list(shown(guide.parts()[name]))
    assert len(expected) > 10
    for now, then in zip(played(guide.samples / name, net.net.directory, tmp_path), expected, strict=True):
        assert now.command == then.command
        assert alike(now.printed) == alike(then.printed), now.command
