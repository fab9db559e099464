"""A fifth bank joins a running network as a member and a validator, and stops a stolen key, by commands as printed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from chainnode.client import CallRefused
from chainnode.home import Home
from chainnode.localnet import planned
from tests.e2e.governance_fixtures import pass_it, run
from tests.e2e.network_fixtures import NAMES, Json, Network, free_ports, network, until
from tests.e2e.traffic_fixtures import Answers, Submitter, row, traffic

pytestmark = pytest.mark.e2e

FIFTH = "bank-e"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("members")) as running:
        yield running


def submit(net: Network, name: str) -> Json:
    """Submit an event through a node's gateway and return where it stands."""
    rows = net.call(name, "ledger_submit", events=[row()], wait="committed")["events"]
    found: Json = rows[0]
    return found


def refusal(net: Network, name: str) -> str:
    """Submit an event that a node's gateway must refuse and return why it does."""
    with pytest.raises(CallRefused) as refused:
        submit(net, name)
    return str(refused.value)


def members_of(net: Network, name: str, awaited: str) -> dict[str, dict[str, object]] | None:
    """Return the members by their ids as a node lists them; None before the one that is waited for."""
    listed = {found["id"]: found for found in run(net.home(name).root, "member", "list")["members"]}
    return listed if awaited in listed else None


def test_a_fifth_bank_joins_submits_and_its_vote_is_needed(net: Network) -> None:
    answers = Answers()
    light = [Submitter(net, answers, node=name, key=None, events=1, pause_s=0.3) for name in NAMES[:2]]
    with traffic(light):
        node = planned(net.net.directory, FIFTH, free_ports(1))
        home = Home(Path(node.home))
        genesis = str(net.net.directory / "genesis.json")
        named = ("--name", FIFTH, "--title", "Fifth Bank", "--agent", "FIFTCNBJ", "--address", node.p2p)
        run(home.root, "init", *named, "--genesis", genesis, "--joins")
        with net.net.held():
            net.net.add(msgspec.structs.replace(node, member=FIFTH))
        ports = {"rpc.listen": node.rpc.rpartition("/")[2], "ops.listen": node.ops.rpartition("/")[2]}
        net.set(FIFTH, {**ports, "rpc.requests_per_second_max": 1_000_000})
        pass_it(net, "member", "propose", "add", str(home.entry))
        listed = until(lambda: members_of(net, "bank-b", FIFTH))  # it may be a block behind who voted last
        assert (listed[FIFTH]["name"], listed[FIFTH]["agents"]) == ("Fifth Bank", ["FIFTCNBJ"])
        net.start(FIFTH)
        until(lambda: submit(net, FIFTH)["status"] == "Committed")
        run(home.root, "validator", "entry")
        pass_it(net, "validator", "propose", "add", str(home.config.parent / "validator.json"))
        until(lambda: all(net.status(name)["epoch"] == 1 for name in (*NAMES, FIFTH)))
        assert net.note_validators("bank-a") == 1
        net.kill("bank-d")
        answers.wait_for_more(5)  # 4 of 5 decide: that of the fifth is among them
        net.start("bank-d")
    net.check_all([*NAMES, FIFTH])


def test_a_stolen_source_is_stopped_by_its_own_officer_and_replaced(net: Network) -> None:
    stolen = run(net.home(FIFTH).root, "keys", "show", str(net.home(FIFTH).source_key))["keys"][0]["public"]
    officer = str(net.home(FIFTH).keys / "officer.key")
    began = time.monotonic()
    run(net.home("bank-b").root, "member", "retire", stolen, "--officer", officer)
    assert time.monotonic() - began < 5.0
    top = net.status("bank-b")["height"]
    until(lambda: net.status(FIFTH)["height"] >= top)
    # Refused from that block on; the gateway says by which name as soon as it has seen the block itself.
    until(lambda: "may submit nothing more" in refusal(net, FIFTH))
    net.stop(FIFTH)
    rotated = run(net.home(FIFTH).root, "keys", "rotate")
    net.start(FIFTH)
    with pytest.raises(CallRefused, match="knows no source key"):
        submit(net, FIFTH)
    # Of 5 banks 4 decide; the fifth, whose gateway is mute, votes through another's node.
    proposal = str(run(net.home("bank-a").root, "member", "propose", "add-source", rotated["file"])["id"])
    for name in NAMES[:3]:
        own = str(net.net.keys / f"{name}-governance.key")
        run(net.home(name).root, "member", "approve", proposal, "--officer", own)
    run(net.home("bank-a").root, "member", "approve", proposal, "--officer", officer)
    until(lambda: submit(net, FIFTH)["status"] == "Committed")
    found = net.call("bank-a", "gov_getProposal", id=proposal)["proposal"]
    assert found["approvals"] == ["bank-a", "bank-b", "bank-c", FIFTH]
    net.check_all([*NAMES, FIFTH])
