"""The node around its core: what it tells the disk, the network and the log, and what must not end it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chainnode.config import load_config
from chainnode.home import Home
from chainnode.localnet import Localnet
from chainnode.logs import Position
from chainnode.node import Node

NOW_MS = 1_790_000_000_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    net = Localnet(tmp_path_factory.mktemp("node") / "net")
    file = net.found(4, base_port=None, now_ms=NOW_MS, step=lambda _: None)
    return Home(Path(file.nodes[0].home))


@pytest.fixture
def node(home: Home) -> Iterator[Node]:
    opened = Node(home, load_config(home.config).config, Position())
    yield opened
    opened._close()


def test_outbox_that_is_damaged_does_not_keep_the_validator_from_starting(home: Home) -> None:
    sound = home.outbox.read_bytes() if home.outbox.exists() else None
    home.outbox.write_bytes(b"\xff" * 100)
    try:
        node = Node(home, load_config(home.config).config, Position())
        assert node.outbox is None
        node._close()
    finally:
        home.outbox.unlink()
        if sound is not None:
            home.outbox.write_bytes(sound)
