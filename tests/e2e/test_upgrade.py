"""A rolling upgrade of a running network between two builds: node by node, then its rules at a voted height.

The first tests build on each other, in their order: the upgrade of three nodes, the rules that the fourth does not
know, and the way back, which is refused. The last has a chain of its own, which goes from rules 2 to rules 3.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from chainnode.cli.context import Settings
from chainnode.cli.main import root
from ledger.rules import RULES_NEWEST, RULES_SCHEME
from tests.e2e.governance_fixtures import pass_it
from tests.e2e.network_fixtures import NAMES, Json, Network, network, until
from tests.e2e.traffic_fixtures import Answers, Submitter, submitters_of, traffic
from torment.releases import LATER_VERSION, Release, later_release, this_release

pytestmark = pytest.mark.e2e

UPGRADED, LEFT = NAMES[:3], NAMES[3]
NOTICE_HEIGHTS = 40
NEXT_RULES = RULES_NEWEST + 1
"""Which the later release alone knows."""


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return later_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("upgrade")) as running:
        yield running


@pytest.fixture(scope="module")
def answers() -> Answers:
    """All answers of this module: later tests hold the nodes to those of earlier ones too."""
    return Answers()


def start(net: Network, release: Release, name: str, *, ready: bool = True) -> subprocess.CompletedProcess[str]:
    """Start one node of a network from a release; with `ready`, it must come up."""
    done = release.run("localnet", "start", name, "--dir", str(net.net.directory))
    assert not ready or done.returncode == 0, done.stderr
    return done


def versions(net: Network) -> list[str]:
    return [str(net.call(name, "ledger_getCapabilities")["version"]) for name in NAMES]


def govern(net: Network, release: Release, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Send one event of governance through a node's own member."""
    home = str(net.home(name).root)
    return release.run("-o", "jsonl", "--home", home, "--endpoint", net.node(name).rpc, *arguments)


def id_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout.splitlines()[-1])["id"])


def test_a_network_is_upgraded_node_by_node_under_load(net: Network, later: Release, answers: Answers) -> None:
    before_any = versions(net)
    with traffic(submitters_of(net, answers)):
        for number, name in enumerate(UPGRADED):
            net.stop(name)
            start(net, later, name)
            answers.wait_for_more(20)
            protocols = {peer["name"]: peer["protocol"] for peer in net.call(name, "net_peers")["peers"]}
            upgraded = set(NAMES[:number])
            assert all(protocols[peer] == (2 if peer in upgraded else 1) for peer in protocols)
    assert versions(net) == [LATER_VERSION] * len(UPGRADED) + before_any[-1:]
    assert before_any[-1] != LATER_VERSION
    net.check_all()
    for name in NAMES:
        answers.check_on(net, name)


def test_rules_that_a_node_does_not_know_stop_it_by_name_at_their_height(
    net: Network, later: Release, answers: Answers
) -> None:
    height = net.until_level() + NOTICE_HEIGHTS
    early = govern(net, later, LEFT, "rules", "propose", str(NEXT_RULES), "--at", str(height))
    assert early.returncode == 1
    assert "does not know these rules" in early.stderr
    proposal = id_of(govern(net, later, UPGRADED[0], "rules", "propose", str(NEXT_RULES), "--at", str(height)))
    keys = net.net.keys
    votes = {
        name: govern(
            net,
            later,
            name,
            "validator",
            "approve",
            proposal,
            "--officer",
            str(keys / f"{name}-governance.key"),
        )
        for name in (LEFT, *UPGRADED)
    }
    assert votes[LEFT].returncode == 1
    assert "does not know these rules" in votes[LEFT].stderr
    assert [votes[name].returncode for name in UPGRADED] == [0, 0, 0], votes
    with traffic(submitters_of(net, answers, UPGRADED)):
        last = net.wait_gone(LEFT)
        answers.wait_for_more(20)
    assert f"this chain needs rules version {NEXT_RULES} from height {height} on" in last
    assert "install a newer release" in last
    rules = {
        top: net.call(UPGRADED[0], "ledger_getBlock", height=top)["header"]["version"] for top in (height - 1, height)
    }
    assert rules == {height - 1: RULES_NEWEST, height: NEXT_RULES}
    refused = start(net, this_release(), LEFT, ready=False)
    assert refused.returncode != 0
    start(net, later, LEFT)
    net.until_level(at_least=height)
    net.check_all()
    for name in NAMES:
        answers.check_on(net, name)


def test_the_way_back_is_refused_by_name(net: Network) -> None:
    net.stop(LEFT)
    refused: subprocess.CompletedProcess[str] = start(net, this_release(), LEFT, ready=False)
    assert refused.returncode != 0
    last = net.home(LEFT).log.read_text().splitlines()[-1]
    assert "the store was written by a newer release" in last
    assert "a release does not go back" in last


# --- from rules 2 to rules 3


def rejected_by(net: Network, key: str, *arguments: str) -> str | None:
    """Submit an event of a certificate's life as a key; return the rule that rejected it, None where it was applied."""
    who = ["--as", str(net.net.keys / f"{key}.key"), "--endpoint", net.node("bank-b").rpc, "-o", "jsonl"]
    result = CliRunner().invoke(root, [*who, "cert", *arguments], obj=Settings(), standalone_mode=False)
    assert result.exception is None, (arguments, result.exception, result.stderr)
    outcome: Json = json.loads(result.stdout.splitlines()[-1])["outcome"]
    return None if outcome["applied"] else str(outcome["rule"])


def test_between_the_upgrade_to_rules_3_and_the_vote_on_it_no_evidence_counts_for_want_of_an_accreditation(
    tmp_path: Path,
) -> None:
    for kind in ("technical_documents", "type_examination", "site_check", "review_report"):
        (tmp_path / kind).write_text(kind)
    examined_before, neither, whole = "bank-a.0001", "bank-a.0002", "bank-a.0003"
    product = ["--product", "Terminal", "--model", "T-1", "--version", "1", "--category", "6"]
    papers = {kind: f"{kind}={tmp_path / kind}" for kind in ("type_examination", "site_check")}

    def examined(case: str) -> str | None:
        return rejected_by(net, "lab-laboratory", "evidence", case, "--evidence", papers["type_examination"])

    def visited(case: str) -> str | None:
        return rejected_by(net, "ins-inspector", "evidence", case, "--evidence", papers["site_check"])

    with network(tmp_path, rules=RULES_SCHEME - 1) as net:
        for case in (examined_before, neither, whole):
            filed = [
                "--holder-name",
                "Bank A",
                "--serial",
                case[-4:],
                "--evidence",
                str(tmp_path / "technical_documents"),
            ]
            assert rejected_by(net, "bank-a-bank", "apply", *product, *filed) is None
            assert rejected_by(net, "cb-reviewer", "accept", case) is None
        assert [examined(examined_before), examined(whole), visited(whole)] == [None, None, None]

        height = net.until_level() + NOTICE_HEIGHTS
        pass_it(net, "rules", "propose", str(RULES_SCHEME), "--at", str(height))
        answers = Answers()
        with traffic([Submitter(net, answers, node=name, key=None) for name in NAMES]):
            until(lambda: net.status("bank-b")["height"] >= height, progress=lambda: len(answers.committed))
        headers = [net.call("bank-b", "ledger_getBlock", height=at)["header"] for at in (height - 1, height)]
        assert [header["version"] for header in headers] == [RULES_SCHEME - 1, RULES_SCHEME]
        assert net.call("bank-b", "gov_listAccreditations")["accreditations"] == []
        assert [examined(neither), visited(examined_before)] == ["not_accredited", "not_accredited"]

        pass_it(net, "member", "accredit", "lab", "laboratory", "--category", "6", "--months", "12")
        assert [examined(neither), visited(examined_before)] == [None, "not_accredited"]
        pass_it(net, "member", "accredit", "ins", "inspector", "--category", "6", "--months", "12")
        assert [visited(neither), visited(examined_before)] == [None, None]
        for case in (examined_before, neither, whole):  # what was filed by the earlier rules stays evidence
            review = ("--evidence", str(tmp_path / "review_report"))
            assert rejected_by(net, "cb-reviewer", "review", case, *review) is None
        net.check_all()
