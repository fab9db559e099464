"""Which routes a node's links take, so that a fault of its links is one of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chainnode.localnet import planned
from tests.e2e.network_fixtures import free_ports
from torment.manifest import Links
from torment.wires import Wires

FOUNDERS, JOINER = ("bank-a", "bank-b"), "bank-a-2"


@pytest.fixture
def wires(tmp_path: Path) -> Iterator[Wires]:
    ports = free_ports(6)
    nodes = [planned(tmp_path, name, ports + 10 * place) for place, name in enumerate((*FOUNDERS, JOINER))]
    made = Wires(tmp_path / "routes", Links.PROXY, nodes, joiners=[JOINER], link_ports=ports + 30)
    try:
        yield made
    finally:
        made.close()


def test_settings_name_founders_alone_and_the_chain_is_told_where_a_joiner_is(wires: Wires) -> None:
    named = {name: {peer.partition("@")[0] for peer in wires.peers_of(name)} for name in (*FOUNDERS, JOINER)}
    assert named == {"bank-a": {"bank-b"}, "bank-b": {"bank-a"}, JOINER: set(FOUNDERS)}
    assert wires.public_address(JOINER) != wires.listen(JOINER), "the proxy is in between"
    dialled = [peer.partition("@")[2] for name in (*FOUNDERS, JOINER) for peer in wires.peers_of(name)]
    assert len({*dialled, wires.public_address(JOINER)}) == 5, "each has an address of its own"


def test_a_founders_fault_covers_the_one_way_to_a_joiner_and_a_joiners_all_that_lead_to_it(wires: Wires) -> None:
    assert wires.routes_of("bank-a") == (["bank-a>bank-b", "*>bank-a-2"], ["bank-b>bank-a", "bank-a-2>bank-a"])
    assert wires.routes_of(JOINER) == (["bank-a-2>bank-a", "bank-a-2>bank-b"], ["*>bank-a-2"])
