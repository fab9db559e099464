"""Nodes begin from a snapshot: an observer, a validator without its ledger, a joiner; by commands as operators type."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chainnode.client import CallRefused
from chainnode.localnet_join import add_node, add_observer
from ledger.receipts import verify
from tests.e2e.network_fixtures import NAMES, STUCK_S, Network, network, until
from tests.e2e.traffic_fixtures import Source, source_of, submit

pytestmark = pytest.mark.e2e

BATCHES = 80
EVENTS_A_BATCH = 50
CLI = Path(sys.executable).with_name("chainnode")
OBSERVER = "bank-b-far"
JOINER = "bank-c-2"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("snapshots")) as running:
        yield running


@pytest.fixture(scope="module")
def source(net: Network) -> Source:
    return source_of(net, "bank-a-bank")


def run(*arguments: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        [str(CLI), *map(str, arguments)], capture_output=True, text=True, timeout=STUCK_S, check=False
    )
    assert ended.returncode == status, (arguments, ended.stdout, ended.stderr)
    assert "Traceback" not in ended.stderr
    return ended


def order(net: Network, source: Source, *, batches: int, node: str = "bank-a") -> list[str]:
    """Get batches committed one after the other, each in a block of its own; return an event of each."""
    ids = []
    for _ in range(batches):
        rows = submit(net, node, source.payments(EVENTS_A_BATCH))
        assert {row["status"] for row in rows} == {"Committed"}
        ids.append(str(rows[0]["id"]))
    return ids


@pytest.fixture(scope="module")
def history(net: Network, source: Source) -> list[str]:
    """Events that were committed before any snapshot, some thousand in all."""
    return order(net, source, batches=BATCHES)


@pytest.fixture(scope="module")
def file(net: Network, history: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot that a running bank made, verified as another bank would."""
    target = tmp_path_factory.mktemp("file") / "bank.chainsnap"
    until(lambda: net.status("bank-a")["checkpoint_size"] == net.status("bank-a")["log_size"])
    made = json.loads(run("snapshot", "create", target, "--home", net.home("bank-a").root, "-o", "json").stdout)
    assert made["height"] >= BATCHES
    genesis = net.net.directory / "genesis.json"
    verified = json.loads(run("snapshot", "verify", target, "--genesis", genesis, "-o", "json").stdout)
    assert verified["id"] == made["id"]
    assert len(verified["cosigned_by"]) == 3
    return target


def test_an_observer_joins_from_a_snapshot_and_proves_what_follows(
    net: Network, source: Source, history: list[str], file: Path
) -> None:
    with net.net.held():
        add_observer(
            net.net, "bank-b", name=OBSERVER, now_ms=time.time_ns() // 1_000_000, timeout_s=STUCK_S,
            step=lambda _: None, snapshot=file,
        )  # fmt: skip
    status = net.status(OBSERVER)
    base = status["base_height"]
    assert base >= BATCHES
    assert status["role"] == "observer"
    (fresh,) = order(net, source, batches=1)
    net.until_level([*NAMES, OBSERVER])
    policy = str(net.http("bank-a", "GET", "/policy")[1], "utf-8")
    receipt = until(lambda: net.call(OBSERVER, "ledger_getProof", event_id=fresh)["receipt"])
    verdict = verify(receipt, policy)
    assert verdict.applied
    assert verdict.height > base
    top = net.until_level([*NAMES, OBSERVER])
    headers = {json.dumps(net.call(name, "ledger_getBlock", height=top)["header"]) for name in (*NAMES, OBSERVER)}
    assert len(headers) == 1
    for method, params, reason in (
        ("ledger_getBlock", {"height": 3}, "pruned"),
        ("ledger_getBlockEvents", {"height": base}, "pruned"),
        ("audit_completeness", {"member": "bank-a", "from": 1}, "pruned"),
        ("ledger_getEvent", {"event_id": history[0]}, "not_found"),
    ):
        with pytest.raises(CallRefused) as refused:
            net.call(OBSERVER, method, **params)
        assert (refused.value.code, refused.value.slug) == (-32001, reason), method
    assert net.call("bank-a", "ledger_getEvent", event_id=history[0])["event"]["height"] >= 1
    assert net.http(OBSERVER, "GET", "/tile/0/000")[0] == 404
    assert net.call(OBSERVER, "ledger_getCapabilities")["base_height"] == base


def test_a_validator_without_its_ledger_comes_back_from_a_snapshot_and_its_vote_counts(
    net: Network, source: Source, file: Path
) -> None:
    home = net.home("bank-d")
    net.stop("bank-d")
    run("snapshot", "restore", file, "--home", home.root, status=2)  # it has a store
    shutil.rmtree(home.data / "ledger.ldb")
    run("snapshot", "restore", file, "--home", home.root)
    net.start("bank-d")
    assert net.status("bank-d")["role"] == "validator"
    net.kill("bank-c")  # now nothing is ordered without the node that came back
    order(net, source, batches=2)
    net.start("bank-c")
    net.until_level()


def test_a_joiner_from_a_snapshot_becomes_a_validator_and_passes_fsck(net: Network, source: Source, file: Path) -> None:
    with net.net.held():
        node = add_node(
            net.net, "bank-c", name=JOINER, now_ms=time.time_ns() // 1_000_000, timeout_s=STUCK_S,
            step=lambda _: None, snapshot=file,
        )  # fmt: skip
    assert net.status(JOINER)["role"] == "validator"
    order(net, source, batches=3, node=JOINER)
    net.until_level([*NAMES, JOINER])
    again = json.loads(run("snapshot", "create", file.with_name("again"), "--home", node.home, "-o", "json").stdout)
    assert again["epoch"] == 1
    net.stop(JOINER)
    report = json.loads(run("fsck", "--home", node.home, "-o", "json").stdout)
    assert report["ok"], report
    assert report["base_height"] > 0
    assert report["blocks"] == report["height"] - report["base_height"]
    assert report["events"] >= 3 * EVENTS_A_BATCH


def test_whoever_links_only_nodes_that_began_later_is_told_that_nobody_holds_the_blocks(
    net: Network, file: Path
) -> None:
    """A node at the genesis beside one that began from a snapshot alone: it asks, is refused, and says so."""
    net.start(JOINER)
    net.until_level([*NAMES, JOINER])
    net.stop("bank-b")
    shutil.rmtree(net.home("bank-b").data / "ledger.ldb")
    net.kill("bank-a", "bank-c")  # of those that hold all blocks none is left: bank-d and the others began later
    net.spawn("bank-b")
    said = until(lambda: [text for text in net.status("bank-b")["warnings"] if "no linked node holds block 1" in text])
    assert "snapshot" in said[0]
    net.start("bank-a", "bank-c")
    until(lambda: not net.status("bank-b")["catching_up"] and net.status("bank-b")["height"] > 0)
    net.until_level([*NAMES, JOINER, OBSERVER])
