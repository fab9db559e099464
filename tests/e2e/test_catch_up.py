"""A node that was away comes back: after a long absence, without its ledger, without its votes; and damaged homes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chainnode.wal_format import FRAME_OVERHEAD_BYTES, HEADER_BYTES
from tests.e2e.network_fixtures import NAMES, STUCK_S, Network, network, until
from tests.e2e.traffic_fixtures import Source, source_of, submit

pytestmark = pytest.mark.e2e

BATCHES = 110
EVENTS_A_BATCH = 50
AWAY = "bank-d"
OTHERS = tuple(name for name in NAMES if name != AWAY)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("away")) as running:
        yield running


@pytest.fixture(scope="module")
def source(net: Network) -> Source:
    return source_of(net, "bank-a-bank")


def order(net: Network, source: Source, *, batches: int, node: str = "bank-a") -> None:
    """Get batches committed one after the other, each in a block of its own."""
    for _ in range(batches):
        rows = submit(net, node, source.payments(EVENTS_A_BATCH))
        assert {row["status"] for row in rows} == {"Committed"}


def start_by_hand(net: Network, name: str) -> subprocess.CompletedProcess[str]:
    """Start a node that is expected to refuse, and return how it ended."""
    command = [sys.executable, "-m", "chainnode.main", "--home", str(net.home(name).root)]
    return subprocess.run(command, capture_output=True, text=True, timeout=STUCK_S, check=False)


def refusal(ended: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that a node ends with: for a person, without a stack trace."""
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("chainnode: ")
    return last


def test_a_node_that_missed_a_hundred_blocks_reaches_the_same_root(net: Network, source: Source) -> None:
    net.kill(AWAY)
    before = net.until_level(OTHERS)
    order(net, source, batches=BATCHES)
    net.start(AWAY)
    top = net.check_all()
    assert top >= before + 100
    assert sum(block["header"]["event_count"] for block in net.blocks(AWAY, top)) >= 5_000
    assert net.status(AWAY)["role"] == "validator"


def test_a_node_without_its_ledger_fetches_it_again_and_votes(net: Network, source: Source) -> None:
    net.kill(AWAY)
    shutil.rmtree(net.home(AWAY).data / "ledger.ldb")
    net.start(AWAY)
    net.check_all()
    assert any(line["event"] == "ledger_lost_blocks" for line in net.log_lines(AWAY))
    net.kill("bank-c")  # now nothing is ordered without the node that came back
    order(net, source, batches=2)
    net.start("bank-c")
    net.check_all()


def test_a_node_without_its_write_ahead_log_follows_and_never_votes(net: Network, source: Source) -> None:
    net.stop(AWAY)
    wal, kept = net.home(AWAY).wal, net.home(AWAY).wal.with_suffix(".kept")
    wal.rename(kept)
    for _ in range(2):  # a second start must not take what the first one wrote for its lost log
        net.start(AWAY)
        before = net.until_level()
        assert net.status(AWAY)["role"] == "learner"
        order(net, source, batches=3)
        top = net.check_all()
        blocks = [block for name in NAMES for block in net.blocks(name, top)[before + 1 :]]
        voters = {vote["validator"] for block in blocks for vote in block["certificate"]["signatures"]}
        assert voters == {0, 1, 2}
        net.stop(AWAY)
    assert any(line["event"] == "voting_key_without_its_log" for line in net.log_lines(AWAY))
    kept.replace(wal)
    net.start(AWAY)
    assert net.status(AWAY)["role"] == "learner", "nobody knows how old a log is that is put back"
    net.stop(AWAY)
    net.home(AWAY).learner_wal.unlink()  # for the tests that follow: it signed nothing meanwhile
    net.start(AWAY)
    assert net.status(AWAY)["role"] == "validator"


def test_an_empty_write_ahead_log_counts_as_lost(net: Network) -> None:
    net.stop(AWAY)
    wal, kept = net.home(AWAY).wal, net.home(AWAY).wal.with_suffix(".kept")
    wal.rename(kept)
    wal.touch(mode=0o600)
    net.start(AWAY)
    assert net.status(AWAY)["role"] == "learner"
    net.stop(AWAY)
    kept.replace(wal)
    net.home(AWAY).learner_wal.unlink()
    net.start(AWAY)
    assert net.status(AWAY)["role"] == "validator"


def test_a_home_in_use_refuses_a_second_process(net: Network) -> None:
    said = refusal(start_by_hand(net, "bank-b"))
    assert "home already in use" in said
    assert f"process {net.node('bank-b').pid}" in said
    assert net.runs("bank-b")


@pytest.fixture
def stopped(net: Network, source: Source) -> Iterator[Path]:
    """Give the data directory of a stopped node that has just written, and put it back as it was, running."""
    order(net, source, batches=3)
    net.check_all()
    net.stop(AWAY)
    data = net.home(AWAY).data
    copy = data.with_name("data.kept")
    shutil.copytree(data, copy)
    try:
        yield data
    finally:
        if net.runs(AWAY):
            net.kill(AWAY)
        shutil.rmtree(data)
        copy.rename(data)
        net.start(AWAY)


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x40
    path.write_bytes(content)


def test_a_flipped_byte_in_the_write_ahead_log_refuses_to_start_and_names_the_offset(
    net: Network, stopped: Path
) -> None:
    wal = stopped / "consensus.wal"
    size = wal.stat().st_size
    assert size > HEADER_BYTES + 20 * FRAME_OVERHEAD_BYTES
    flip(wal, size // 2)
    said = refusal(start_by_hand(net, AWAY))
    assert "the write-ahead log is damaged at offset" in said
    offset = int(said.partition("at offset ")[2].split()[0].rstrip(":;,("))
    assert HEADER_BYTES <= offset <= size // 2
    assert str(wal) in said


@pytest.mark.parametrize("pattern", ["*.log", "MANIFEST-*", "CURRENT"])
def test_a_damaged_store_refuses_to_start_and_says_what_to_do(net: Network, stopped: Path, pattern: str) -> None:
    (damaged,) = (stopped / "ledger.ldb").glob(pattern)
    flip(damaged, damaged.stat().st_size // 2)
    said = refusal(start_by_hand(net, AWAY))
    assert "the store is damaged" in said
    assert "ledger.ldb" in said
    assert "fetches the chain again from its peers" in said


def test_a_damaged_table_is_never_answered_from(net: Network, stopped: Path, source: Source) -> None:
    """It may be read at the start, which then is refused, or later by a call, which then gets an error."""
    net.start(AWAY)  # opening the store turns its log into a table
    net.stop(AWAY)
    largest = max((stopped / "ledger.ldb").glob("*.ldb"), key=lambda path: path.stat().st_size)
    for offset in range(0, largest.stat().st_size // 2, 512):
        flip(largest, offset)
    top = min(net.status("bank-a")["height"], 100)
    asked = [{"height": height, "limit": 1} for height in range(1, top + 1)]
    sound = net.calls("bank-a", "ledger_getBlockEvents", asked)
    net.spawn(AWAY)
    found = until(lambda: not net.runs(AWAY) or net.calls(AWAY, "ledger_getBlockEvents", asked))
    if found is True:
        assert "the store is damaged" in net.wait_gone(AWAY)
        return
    damaged = [mine for mine in found if "error" in mine]
    assert {mine["error"]["data"]["reason"] for mine in damaged} == {"storage"}
    assert len(sound) == len(found) == len(asked)
    for mine, theirs in zip(found, sound, strict=True):
        assert theirs["result"]["events"], "what is compared is not nothing"
        assert "error" in mine or mine["result"]["events"] == theirs["result"]["events"]


def test_a_store_of_another_chain_refuses_to_start(net: Network, stopped: Path) -> None:
    genesis = net.home(AWAY).genesis
    kept = genesis.read_bytes()
    genesis.write_bytes(kept.replace(b'"localnet"', b'"othernet"'))
    try:
        said = refusal(start_by_hand(net, AWAY))
    finally:
        genesis.write_bytes(kept)
    assert "another chain" in said


def test_order_goes_on_with_all_four_after_all_that(net: Network, source: Source) -> None:
    order(net, source, batches=2)
    until(lambda: net.status(AWAY)["peers"] == 3)
    net.check_all()
