"""Bodies of old batches are moved out of running nodes, and all can still be proved as long as an archive is there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chainnode.client import NOT_FOUND, CallRefused
from ledger.archive_store import BODIES_KEPT_BLOCKS_MIN
from ledger.receipts import verify
from tests.e2e.network_fixtures import NAMES, STUCK_S, Network, network, until
from tests.e2e.traffic_fixtures import Source, id_of, payment, source_of, submit

pytestmark = pytest.mark.e2e

CLI = Path(sys.executable).with_name("chainnode")
EVENTS_A_BATCH = 25
OLD_BLOCKS = 60
MOVERS = ("bank-a", "bank-b")
KILLED = "bank-c"


@dataclass
class History:
    """Events that were committed long ago, by their bytes, and the source that signed them."""

    events: list[bytes] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def first(self) -> str:
        """The id of the first of them."""
        return id_of(self.events[0])


def cli(net: Network, name: str, *arguments: str, status: int = 0) -> Any:
    """Run a command on a node's home and return what it prints as JSON."""
    command = [str(CLI), "--home", str(net.home(name).root), "-o", "json", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=4 * STUCK_S, check=False)
    assert ended.returncode == status, ended.stderr
    return json.loads(ended.stdout if ended.stdout else ended.stderr)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("archive")) as running:
        yield running


def order(net: Network, source: Source, blocks: int, events: int) -> list[bytes]:
    """Get so many blocks committed, each of a batch; return the events."""
    made: list[bytes] = []
    for _ in range(blocks):
        batch = [payment(source.key.member) for _ in range(events)]
        rows = submit(net, "bank-a", source.sign(batch))
        assert {row["status"] for row in rows} == {"Committed"}
        made += batch
    return made


@pytest.fixture(scope="module")
def history(net: Network) -> History:
    """Thousands of events in blocks below the floor, and a receipt of one; other blocks above them."""
    source = source_of(net, "bank-a-bank")
    found = History(order(net, source, OLD_BLOCKS, EVENTS_A_BATCH))
    order(net, source, BODIES_KEPT_BLOCKS_MIN, 5)
    net.until_level()
    found.answers = [net.call("bank-a", "ledger_getEvent", event_id=id_of(event)) for event in found.events[::100]]
    return found


def floor(net: Network, name: str) -> int:
    return int(net.call(name, "ledger_getArchive")["floor_height"])


def test_a_running_node_moves_its_bodies_while_it_orders_and_tells_what_was_freed(
    net: Network, history: History
) -> None:
    for name in MOVERS:
        until(lambda name=name: floor(net, name) >= OLD_BLOCKS)
    ended: list[Any] = []
    for name in MOVERS:
        mover = threading.Thread(
            target=lambda name=name: ended.append(cli(net, name, "archive", "create", "--height", str(OLD_BLOCKS)))
        )
        mover.start()
        rows = submit(net, "bank-d", source_of(net, f"{name[:-1]}{'b' if name == 'bank-a' else 'c'}-bank").payments(10))
        assert {row["status"] for row in rows} == {"Committed"}
        mover.join()
    assert len(ended) == len(MOVERS)
    for report in ended:
        assert (report["first_height"], report["last_height"]) == (1, OLD_BLOCKS)
        assert report["events"] == OLD_BLOCKS * EVENTS_A_BATCH
        assert 0 < report["segment_bytes"] < report["body_bytes"]
        assert report["freed_bytes"] == report["store_bytes_before"] - report["store_bytes_after"] > 0
    found = net.call("bank-b", "ledger_getArchive")
    assert [(s["first_height"], s["last_height"], s["by"]) for s in found["segments"]] == [(1, OLD_BLOCKS, "operator")]
    assert (found["archived_height"], found["missing_height"], found["minimum_index"]) == (OLD_BLOCKS, 0, 0)
    assert net.status("bank-b")["archived_height"] == OLD_BLOCKS
    (listed,) = cli(net, "bank-b", "archive", "list")["segments"]
    assert (listed["state"], listed["events"]) == ("here", OLD_BLOCKS * EVENTS_A_BATCH)


def test_what_stays_by_the_floor_and_what_was_moved_is_not_moved(net: Network, history: History) -> None:
    above = floor(net, "bank-b") + 1
    refused = cli(net, "bank-b", "archive", "create", "--height", str(above + 100), status=2)["error"]
    assert "stay in the store" in refused["message"]
    refused = cli(net, "bank-b", "archive", "create", "--height", "3", status=2)["error"]
    assert "nothing to move" in refused["message"]


def test_moved_events_are_read_and_proved_as_before(net: Network, history: History) -> None:
    policy = net.http("bank-c", "GET", "/policy")[1].decode()
    answers = [net.call("bank-b", "ledger_getEvent", event_id=id_of(event)) for event in history.events[::100]]
    assert [answer["event"] for answer in answers] == [answer["event"] for answer in history.answers]
    for event in history.events[::250]:
        receipt = net.call("bank-b", "ledger_getProof", event_id=id_of(event))["receipt"]
        assert verify(receipt, policy).event_id.hex() == id_of(event)
    bundles = [net.http(name, "GET", "/tile/entries/000")[1] for name in ("bank-b", "bank-d")]
    assert bundles[0] == bundles[1] != b""
    page = {"member": "bank-a", "from": 1, "to": OLD_BLOCKS}
    first, second = (net.call(name, "audit_completeness", **page) for name in ("bank-b", "bank-d"))
    assert first["to_height"] == second["to_height"]


def test_an_archive_verifies_offline_and_a_bit_of_it_does_not(net: Network, history: History, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(net.home("bank-b").data / "archive", copy)
    policy = tmp_path / "policy"
    policy.write_bytes(net.http("bank-c", "GET", "/policy")[1])
    trusted = ("--genesis", str(net.net.directory / "genesis.json"), "--policy", str(policy))
    report = cli(net, "bank-b", "archive", "verify", str(copy), *trusted)
    assert (report["ok"], report["from_genesis"], report["checkpoints"], report["gaps"]) == (True, True, 1, 0)
    assert report["events"] == OLD_BLOCKS * EVENTS_A_BATCH
    (segment,) = copy.glob("*.bodies")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    report = cli(net, "bank-b", "archive", "verify", str(copy), *trusted, status=3)
    assert segment.name in report["problem"]


def test_without_its_archive_a_node_says_pruned_and_with_a_peers_copy_it_answers_again(
    net: Network, history: History, tmp_path: Path
) -> None:
    home = net.home("bank-b")
    net.kill("bank-b")
    shutil.move(home.data / "archive", tmp_path / "away")
    shutil.rmtree(home.data / "index.ldb")  # building it anew reads all bodies: it waits, and the node goes on without
    net.start("bank-b")
    with pytest.raises(CallRefused) as refused:
        net.call("bank-b", "ledger_getEvent", event_id=history.first)
    assert (refused.value.code, refused.value.slug) == (NOT_FOUND, "pruned")
    with pytest.raises(CallRefused) as refused:
        net.call("bank-b", "ledger_getProof", event_id=history.first)
    assert (refused.value.code, refused.value.slug) == (NOT_FOUND, "pruned")
    assert net.call("bank-b", "ledger_getStatus", event_id=history.first)["status"] == "Committed"
    assert net.http("bank-b", "GET", "/tile/entries/000")[0] == 404
    assert net.http("bank-b", "GET", "/tile/0/000")[0] == 200
    minimum = until(lambda: net.call("bank-b", "ledger_getCapabilities")["minimum_index"])
    assert minimum % 256 == 0
    assert net.http("bank-b", "GET", f"/tile/entries/{minimum // 256:03d}")[0] == 200
    assert cli(net, "bank-b", "archive", "list", status=3)["segments"][0]["state"] == f"missing at block {OLD_BLOCKS}"
    added = cli(net, "bank-b", "archive", "add", str(net.home("bank-a").data / "archive"))
    assert (added["added"], added["already_there"]) == (1, 0)
    assert "index_waits_for_the_archive" in {line["event"] for line in net.log_lines("bank-b")}
    order(net, source_of(net, "switch-switch"), 1, 1)
    top = net.until_level()
    until(lambda: net.call("bank-b", "payment_list")["as_of"] >= top)
    assert net.call("bank-b", "ledger_getEvent", event_id=history.first)["event"] == history.answers[0]["event"]


def test_fsck_reads_moved_bodies_out_of_the_archive_and_names_what_is_missing(
    net: Network, history: History, tmp_path: Path
) -> None:
    home = net.home("bank-b")
    net.stop("bank-b")
    report = cli(net, "bank-b", "fsck")
    assert (report["ok"], report["events"] > OLD_BLOCKS * EVENTS_A_BATCH) == (True, True)
    shutil.move(home.data / "archive", tmp_path / "away")
    report = cli(net, "bank-b", "fsck", status=3)
    assert "no archive here holds them" in report["problem"]
    assert cli(net, "bank-b", "fsck", "--archive", str(tmp_path / "away"))["ok"]
    shutil.move(tmp_path / "away", home.data / "archive")
    net.start("bank-b")


def test_a_node_that_is_killed_amid_moving_has_every_body_and_goes_on(net: Network, history: History) -> None:
    until(lambda: floor(net, KILLED) >= OLD_BLOCKS)
    for height in (20, 40, OLD_BLOCKS):
        net.call(KILLED, "admin_archive", height=height)
        net.kill(KILLED)
        net.start(KILLED)
        answers = [net.call(KILLED, "ledger_getEvent", event_id=id_of(event)) for event in history.events[::100]]
        assert [answer["event"] for answer in answers] == [answer["event"] for answer in history.answers]
    if net.status(KILLED)["archived_height"] < OLD_BLOCKS:
        cli(net, KILLED, "archive", "create", "--height", str(OLD_BLOCKS))
    net.stop(KILLED)
    assert cli(net, KILLED, "fsck")["ok"]
    assert {each["state"] for each in cli(net, KILLED, "archive", "list")["segments"]} == {"here"}
    net.start(KILLED)


def test_a_node_that_lost_its_ledger_catches_up_from_peers_that_moved_theirs(net: Network, history: History) -> None:
    for name in NAMES:
        if name not in (*MOVERS, KILLED):
            until(lambda name=name: floor(net, name) >= OLD_BLOCKS)
            cli(net, name, "archive", "create", "--height", str(OLD_BLOCKS))
    net.kill("bank-d")
    home = net.home("bank-d")
    for lost in ("ledger.ldb", "index.ldb", "archive"):
        shutil.rmtree(home.data / lost)
    net.start("bank-d")
    net.until_level()
    assert net.status("bank-d")["archived_height"] == 0
    assert net.call("bank-d", "ledger_getEvent", event_id=history.first)["event"] == history.answers[0]["event"]
    net.check_all()


def test_a_stopped_nodes_bodies_are_moved_by_hand_and_a_setting_moves_them_by_itself(
    net: Network, history: History
) -> None:
    net.stop("bank-d")
    report = cli(net, "bank-d", "archive", "create", "--height", "20")
    assert (report["last_height"], report["events"]) == (20, 20 * EVENTS_A_BATCH)
    net.set("bank-d", {"ledger.keep_bodies_blocks": BODIES_KEPT_BLOCKS_MIN - 1})
    refused = cli(net, "bank-d", "config", "check", status=2)["error"]
    assert "below the floor" in refused["message"]
    net.set("bank-d", {"ledger.keep_bodies_blocks": BODIES_KEPT_BLOCKS_MIN})
    net.start("bank-d")
    until(lambda: net.status("bank-d")["archived_height"] >= OLD_BLOCKS, within_s=150)
    newest = net.call("bank-d", "ledger_getArchive")["segments"][0]
    assert newest["by"] == f"keep_bodies_blocks = {BODIES_KEPT_BLOCKS_MIN}, keep_bodies_days = 0"
    assert net.call("bank-d", "ledger_getEvent", event_id=history.first)["event"] == history.answers[0]["event"]
