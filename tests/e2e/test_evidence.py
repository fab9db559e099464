"""A validator whose home was copied runs twice, as a fail-over pair would: the chain records it, anybody can verify.

Both processes sign with the same keys, each what it knows of. Nothing is forged here: the twin is the same program on
other ports. The others must go on, record votes that contradict each other (batches too, where both gateways signed),
and accuse nobody else.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chainnode.cli.context import Settings
from chainnode.cli.exits import VerificationFailed
from chainnode.cli.main import root
from chainnode.client import CallRefused, NodeClient, TimedOut, Unreachable
from chainnode.home import Home
from tests.e2e.network_fixtures import QUICK, Json, Network, free_ports, until
from tests.e2e.traffic_fixtures import Answers, Submitter, row, traffic

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
LIAR = "bank-a"  # the leader of view 0, so that its twins propose
OTHERS = ("bank-b", "bank-c", "bank-d")
FOUND_WITHIN_S = 90.0


class Twin:
    """A second process with a node's keys, in a copy of its home, on ports of its own."""

    def __init__(self, net: Network, name: str, directory: Path) -> None:
        self.home = Home(directory / "twin")
        shutil.copytree(net.home(name).root, self.home.root, symlinks=True)
        base = free_ports(1)
        places = {"p2p": base, "rpc": base + 1, "ops": base + 2}
        text = self.home.config.read_text()
        for section, port in places.items():
            head, mark, rest = text.partition(f"[{section}]\n")
            before, listen, after = rest.partition("listen = ")
            _, quote, tail = after.partition("\n")
            text = f'{head}{mark}{before}{listen}"127.0.0.1:{port}"{quote}{tail}'
        self.home.config.write_text(text)
        self._address = f"http://127.0.0.1:{base + 1}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "chainnode.main", "--home", str(self.home.root)]
        self.home.log.parent.mkdir(parents=True, exist_ok=True)
        with self.home.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)

    def submit(self) -> None:
        """Hand it an event of its member; it may be busy with its other self."""
        client = NodeClient(self._address, token=self.home.token.read_text().strip(), timeout_s=3.0)
        with suppress(Unreachable, TimedOut, CallRefused):
            client.call("ledger_submit", events=[row()], wait="none")
        client.close()

    def end(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A network in which LIAR ran twice until evidence of it was recorded."""
    directory = tmp_path_factory.mktemp("evidence")
    running = Network(directory, QUICK)
    twin = Twin(running, LIAR, directory)
    try:
        running.start()
        twin.start()
        seen: dict[str, object] = {}
        until(lambda: meet(running, twin, seen), describe=seen.__repr__, progress=seen.copy, within_s=FOUND_WITHIN_S)
        twin.end()
        yield running
    finally:
        twin.end()
        running.close()


def meet(net: Network, twin: Twin, seen: dict[str, object]) -> bool:
    """Give both of them, and another, something to order; say whether votes of theirs were recorded.

    Only who leads can contradict itself: as backups both vote for what an honest leader proposes. On a busy machine the
    others may have left the view before both had proposed in it, so they are brought to one that LIAR leads again.
    """
    leader = net.leader(OTHERS)
    kinds = [item["kind"] for item in evidence(net, "bank-b")]
    seen.update(leader=leader, view=max(net.status(name)["view"] for name in OTHERS), kinds=kinds)
    if "evidence.votes" in kinds:
        return True
    if leader == LIAR:
        twin.submit()
        order(net, LIAR, "bank-c")
    else:
        with net.held_up(leader):
            pass_over(net, leader)
    return False


def order(net: Network, *names: str) -> None:
    """Hand each of these nodes an event of its member; one that is busy may refuse."""
    for name in names:
        with suppress(Unreachable, TimedOut, CallRefused):
            net.call(name, "ledger_submit", events=[row()], wait="none")


def pass_over(net: Network, leader: str) -> None:
    """Wait until the others have left the view of a leader that stands still, for want of what they have to order."""
    others = [name for name in OTHERS if name != leader]

    def gone_on() -> bool:
        order(net, *others)
        return all(net.status(name)["leader"] != leader for name in others)

    until(gone_on)


def evidence(net: Network, name: str) -> list[Json]:
    found: list[Json] = net.call(name, "net_evidence", order="asc")["evidence"]
    return found


def run(*arguments: str) -> Any:
    """Run a command and return what it prints as JSON; an error of it is raised."""
    result = CliRunner().invoke(root, ["-o", "json", *arguments], obj=Settings(), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert (result.return_value or 0) == 0, (result.stdout, result.stderr)
    return json.loads(result.stdout)


def test_a_validator_that_runs_twice_is_recorded_on_the_chain_and_nobody_else_is(net: Network) -> None:
    top = net.until_level(OTHERS)
    listed = [evidence(net, name) for name in OTHERS]
    assert listed[0] == listed[1] == listed[2]
    assert {item["accused"]["member"] for item in listed[0]} == {LIAR}
    assert all(item["height"] <= top for item in listed[0])
    for item in listed[0]:
        said = item["first"]["says"], item["second"]["says"]
        assert said[0] != said[1]
        found = net.call("bank-d", "ledger_getEvent", event_id=item["event_id"])["event"]
        assert found["outcome"]["applied"], "evidence is an event on the chain"


def test_the_others_count_what_they_saw_and_go_on(net: Network) -> None:
    counted = [net.ops(name, "/metrics")[1] for name in OTHERS]
    recorded = len(evidence(net, "bank-b"))
    assert all(f"chainnode_evidence_recorded {float(recorded)}" in text for text in counted)
    assert any(f'chainnode_evidence_total{{validator="{LIAR}"}}' in text for text in counted)
    answers = Answers()
    with traffic([Submitter(net, answers, node=name, key=f"{name}-bank") for name in OTHERS]):
        answers.wait_for_more(30)
    net.check_all(OTHERS)


def test_a_stranger_with_the_genesis_and_one_file_verifies_it_while_no_node_runs(net: Network, tmp_path: Path) -> None:
    listed = evidence(net, "bank-b")
    home = str(net.home("bank-b").root)
    shown = run("--home", home, "evidence", "list", "--order", "asc")
    assert [item["event_id"] for item in shown["evidence"]] == [item["event_id"] for item in listed]
    genesis = tmp_path / "genesis.json"
    shutil.copy(net.net.directory / "genesis.json", genesis)
    files = {}
    for item in listed:
        files[item["event_id"]] = tmp_path / f"{item['number']}.json"
        run("--home", home, "evidence", "show", item["event_id"], "--proof", str(files[item["event_id"]]))
    net.close()
    nowhere = tmp_path / "nobody"
    nowhere.mkdir()
    for item in listed:
        file = files[item["event_id"]]
        row = run("--home", str(nowhere), "evidence", "verify", str(file), "--genesis", str(genesis))
        assert (row["verified"], row["member"], row["accused_key"]) == (True, LIAR, item["accused"]["key"])
        data = json.loads(file.read_text())
        data["recorded"]["member"] = "bank-d"
        file.write_text(json.dumps(data))
        with pytest.raises(VerificationFailed):
            run("--home", str(nowhere), "evidence", "verify", str(file), "--genesis", str(genesis))
