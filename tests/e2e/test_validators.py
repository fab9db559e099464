"""Validators join, lose their disks, get new keys and leave a running network, under load, by commands as printed."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from chainnode.cli.context import Settings
from chainnode.cli.main import root
from chainnode.localnet_join import add_node
from ledger.receipts import verify
from tests.e2e.network_fixtures import NAMES, Network, network, until
from tests.e2e.traffic_fixtures import Answers, Submitter, submitters_of, traffic

pytestmark = pytest.mark.e2e

JOINER = "bank-a-2"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("validators")) as running:
        yield running


@pytest.fixture(scope="module")
def answers() -> Answers:
    return Answers()


def run(net: Network, name: str, *arguments: str) -> str:
    """Run a command with a node's home and return what it prints to stdout; it must end with status 0."""
    words = ["--home", str(net.home(name).root), "-o", "json", *arguments]
    result = CliRunner().invoke(root, words, obj=Settings(), standalone_mode=False, catch_exceptions=False)
    assert (result.exit_code, result.return_value or 0) == (0, 0), (arguments, result.stdout, result.stderr)
    return result.stdout


def pass_it(net: Network, *arguments: str) -> str:
    """Propose through the first bank and let three approve; return the proposal's id."""
    proposal = str(json.loads(run(net, "bank-a", "validator", "propose", *arguments))["id"])
    for name in NAMES[:3]:
        officer = net.net.keys / f"{name}-governance.key"
        run(net, name, "validator", "approve", proposal, "--officer", str(officer))
    return proposal


def others(net: Network, answers: Answers) -> list[Submitter]:
    """Return submitters but that of bank-d: with its disk it loses its outbox, and so its gateway."""
    return [each for each in submitters_of(net, answers) if not each.name.endswith("bank-d")]


def votes(net: Network) -> dict[str, tuple[bool, bool]]:
    """Return of each validator whether it is up and whether it votes, as the first bank's node lists them."""
    rows = json.loads(run(net, "bank-a", "validator", "list"))["validators"]
    return {row["name"]: (row["up"], row["votes"]) for row in rows}


def said_of_keys(net: Network, name: str) -> list[str]:
    """Return what a node logged of its keys, in order."""
    events = [str(line.get("event")) for line in net.log_lines(name)]
    return [event for event in events if event in ("key_not_registered", "keys_registered")]


def in_epoch(net: Network, epoch: int, *names: str) -> None:
    until(lambda: all(net.status(name)["epoch"] == epoch for name in names))
    assert net.note_validators("bank-a") == epoch


def test_a_further_node_joins_and_its_vote_is_needed(net: Network, answers: Answers) -> None:
    with traffic(submitters_of(net, answers)):
        with net.net.held():
            node = add_node(
                net.net, "bank-a", name=None, now_ms=time.time_ns() // 1_000_000, timeout_s=60.0, step=lambda _: None
            )
        assert node.name == JOINER
        in_epoch(net, 1, *NAMES, JOINER)
        assert net.status(JOINER)["role"] == "validator"
        own = Submitter(net, answers, node=JOINER, key=None)
        before = len(answers.committed)
        with traffic([own]):
            until(lambda: len(answers.committed) > before)
        net.kill("bank-d")
        answers.wait_for_more(20)
        net.start("bank-d")
    net.check_all([*NAMES, JOINER])


def test_a_wiped_validator_follows_until_its_new_keys_are_approved(net: Network, answers: Answers) -> None:
    with traffic(others(net, answers)):
        net.kill("bank-d")
        shutil.rmtree(net.home("bank-d").data)
        net.start("bank-d")  # as the procedure has it: the directory itself is gone
        assert net.home("bank-d").data.stat().st_mode & 0o777 == 0o700
        assert net.status("bank-d")["role"] == "learner"
        until(lambda: votes(net)["bank-d"] == (True, False))
        assert {name for name, seen in votes(net).items() if seen == (True, True)} == {*NAMES[:3], JOINER}
        net.stop("bank-d")
        run(net, "bank-d", "validator", "renew-keys")
        net.start("bank-d")
        assert [line.split()[0] for line in net.status("bank-d")["warnings"]] == [
            f"keys/{use}.key" for use in ("vote", "cosign", "log")
        ]
        entry = Path(json.loads(run(net, "bank-d", "validator", "entry"))["file"])
        pass_it(net, "rekey", str(entry))
        in_epoch(net, 2, *NAMES, JOINER)
        until(lambda: net.status("bank-d")["role"] == "validator")
        until(lambda: "keys_registered" in said_of_keys(net, "bank-d"))
        assert said_of_keys(net, "bank-d") == ["key_not_registered"] * 3 + ["keys_registered"]
        assert net.status("bank-d")["warnings"] == []
    net.check_all([*NAMES, JOINER])


def test_a_change_that_too_few_could_carry_on_is_refused_at_the_door(net: Network) -> None:
    net.kill("bank-b", "bank-c")
    until(lambda: sum(peer["connected"] for peer in net.call("bank-a", "net_peers")["peers"]) == 2)
    words = ["--home", str(net.home("bank-a").root), "validator", "propose", "remove", "bank-d"]
    result = CliRunner().invoke(root, words, obj=Settings(), standalone_mode=False)
    assert "2 of the next 4 validators are up, 3 decide" in str(result.exception)
    assert "--force" in str(result.exception)
    net.start("bank-b", "bank-c")


def test_validators_that_lost_their_logs_and_only_follow_are_not_counted_at_the_door(net: Network) -> None:
    learners = ("bank-b", "bank-c")
    net.kill(*learners)
    for name in learners:
        net.home(name).wal.rename(net.home(name).root / "kept.wal")
    net.spawn(*learners)
    until(lambda: [votes(net)[name] for name in learners] == [(True, False)] * 2)
    words = ["--home", str(net.home("bank-a").root), "validator", "propose", "remove", "bank-d", "--dry-run"]
    result = CliRunner().invoke(root, words, obj=Settings(), standalone_mode=False)
    said = "2 of the next 4 validators are up, 3 decide; not up or behind: bank-b, bank-c"
    assert said in str(result.exception)
    net.kill(*learners)
    for name in learners:  # the very log that was in force: it holds all that was signed, so the vote may come back
        net.home(name).learner_wal.unlink()
        (net.home(name).root / "kept.wal").rename(net.home(name).wal)
    net.start(*learners)
    net.check_all([*NAMES, JOINER])


def test_a_validator_leaves_and_goes_on_to_follow(net: Network, answers: Answers) -> None:
    with traffic(others(net, answers)):
        proposal = pass_it(net, "remove", JOINER)
        in_epoch(net, 3, *NAMES, JOINER)
        assert net.status(JOINER)["role"] == "observer"
        found = net.call("bank-c", "gov_getProposal", id=proposal)["proposal"]
        assert (found["stage"], found["approvals"]) == ("enacted", list(NAMES[:3]))
        answers.wait_for_more(20)
    net.check_all([*NAMES, JOINER])
    for name in NAMES:
        answers.check_on(net, name)
    assert net.status(JOINER)["warnings"] == [], "policies list its log key: it was a validator's"
    for name in NAMES:
        receipt = until(lambda: net.call(JOINER, "ledger_getProof", event_id=proposal)["receipt"])
        assert verify(receipt, net.http(name, "GET", "/policy")[1].decode()).applied


def test_an_observer_becomes_a_validator_with_keys_of_its_own(net: Network) -> None:
    net.stop(JOINER)
    run(net, JOINER, "validator", "renew-keys")
    net.start(JOINER)
    assert net.status(JOINER)["role"] == "observer"
    entry = Path(json.loads(run(net, JOINER, "validator", "entry"))["file"])
    pass_it(net, "add", str(entry))
    in_epoch(net, 4, *NAMES, JOINER)
    until(lambda: net.status(JOINER)["role"] == "validator")
    net.check_all([*NAMES, JOINER])
