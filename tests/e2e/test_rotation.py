"""Every key and certificate of a running network replaced, also those of a machine that burned, while order goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.governance_fixtures import pass_it, run
from tests.e2e.network_fixtures import NAMES, QUICK, Json, Network, network, until
from tests.e2e.traffic_fixtures import Answers, Submitter, traffic

pytestmark = pytest.mark.e2e

PORTS = ("rpc.listen", "ops.listen")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("rotation")) as running:
        yield running


@pytest.fixture(scope="module")
def answers() -> Answers:
    return Answers()


def light(net: Network, answers: Answers) -> list[Submitter]:
    return [Submitter(net, answers, node=name, key=None, events=1, pause_s=0.1) for name in NAMES[:1]]


def ends(net: Network, seen_by: str, name: str) -> str:
    """Return when a node's certificate ends as another one sees it on its link."""
    rows = run(net.home(seen_by).root, "keys", "expiry", "--within-days", "36500")["ends"]
    return next((str(row["ends"]) for row in rows if (row["kind"], row["name"]) == ("node_certificate", name)), "")


def linked(net: Network, seen_by: str, name: str) -> bool:
    peers = net.call(seen_by, "net_peers")["peers"]
    return any(peer["name"] == name and peer["connected"] for peer in peers)


def events_of(net: Network, name: str) -> list[str]:
    return [str(json.loads(line)["event"]) for line in net.home(name).log.read_text().splitlines()]


def member(net: Network, wanted: str) -> Json:
    return next(row for row in run(net.home("bank-a").root, "member", "list")["members"] if row["id"] == wanted)


def test_a_tls_certificate_is_renewed_while_its_node_runs(net: Network, answers: Answers) -> None:
    with traffic(light(net, answers)):
        first = ends(net, "bank-c", "bank-b")
        run(net.home("bank-b").root, "keys", "renew-tls")
        until(lambda: "certificate_taken_over" in events_of(net, "bank-b"))
        net.stop("bank-c")
        net.start("bank-c")
        until(lambda: ends(net, "bank-c", "bank-b") > first)
        answers.wait_for_more(5)


def test_a_root_ca_is_replaced_without_the_loss_of_a_link(net: Network, answers: Answers) -> None:
    with traffic(light(net, answers)):
        home = net.home("bank-b").root
        entry = str(run(home, "keys", "rotate-ca")["file"])
        taken = events_of(net, "bank-b").count("certificate_taken_over")
        first = (net.home("bank-b").ca_certificate).read_text()
        pass_it(net, "member", "propose", "ca", entry)
        assert all(linked(net, name, "bank-b") for name in ("bank-a", "bank-c", "bank-d"))
        until(lambda: member(net, "bank-b")["ca_certificate"] != first)
        until(lambda: net.status("bank-b")["height"] >= net.status("bank-a")["height"] - 1)
        run(home, "keys", "renew-tls")
        assert net.home("bank-b").ca_certificate.read_text() == member(net, "bank-b")["ca_certificate"]
        until(lambda: events_of(net, "bank-b").count("certificate_taken_over") > taken)
        pass_it(net, "member", "propose", "ca", entry, "--drop-old")
        until(lambda: all(linked(net, name, "bank-b") for name in ("bank-a", "bank-c", "bank-d")))
        net.kill("bank-d")  # of the three that are left, each is needed
        answers.wait_for_more(5)
        net.start("bank-d")


def test_an_officers_key_is_replaced_and_the_one_before_votes_no_more(net: Network, tmp_path: Path) -> None:
    old = member(net, "bank-b")["officers"][0]["key"]
    new = tmp_path / "officer.key"
    pass_it(net, "keys", "rotate-officer", old, str(new))
    until(lambda: old not in [row["key"] for row in member(net, "bank-b")["officers"]])
    proposal = str(run(net.home("bank-a").root, "member", "propose", "policy", "appeal_window_days=30")["id"])
    kept = str(net.net.keys / "bank-b-governance.key")
    with pytest.raises(AssertionError, match="unknown_officer"):
        run(net.home("bank-b").root, "member", "approve", proposal, "--officer", kept)
    run(net.home("bank-b").root, "member", "approve", proposal, "--officer", str(new))
    shutil.copy(new, net.net.keys / "bank-b-governance.key")


def test_a_machine_that_burned_is_replaced_by_another_with_keys_and_ca_of_its_own(
    net: Network, answers: Answers
) -> None:
    with traffic(light(net, answers)):
        net.kill("bank-d")
        home = net.home("bank-d")
        source = run(net.home("bank-a").root, "keys", "show", str(home.source_key))["keys"][0]["public"]
        shutil.rmtree(home.root)
        genesis = str(net.net.directory / "genesis.json")
        address = net.node("bank-d").p2p
        run(home.root, "init", "--name", "bank-d", "--address", address, "--genesis", genesis, "--joins")
        ports = {key: getattr(net.node("bank-d"), key.partition(".")[0]).rpartition("/")[2] for key in PORTS}
        net.set("bank-d", {**QUICK, **ports})
        officer = str(net.net.keys / "bank-d-governance.key")  # a person's, and not on the machine
        run(net.home("bank-a").root, "member", "retire", source, "--officer", officer)
        pass_it(net, "member", "propose", "ca", str(run(home.root, "keys", "ca-entry")["file"]), "--drop-old")
        pass_it(net, "member", "propose", "add-source", str(run(home.root, "keys", "rotate")["file"]))
        net.spawn("bank-d")
        entry = str(run(home.root, "validator", "entry")["file"])
        pass_it(net, "validator", "propose", "rekey", entry)
        until(lambda: net.status("bank-d")["role"] == "validator")
        net.kill("bank-c")  # its vote is needed now
        answers.wait_for_more(5)
        net.start("bank-c")
    assert net.note_validators("bank-a") == 1
    net.check_all()
