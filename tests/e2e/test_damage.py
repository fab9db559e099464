"""A flipped bit in every kind of file of a node's home: what the node says at its start, and what `fsck` says of it.

The table in docs/operating.md ("Damage") says the same to operators; a test holds it to these cases.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from chainnode.founding import read_genesis
from chainnode.home import Home
from chainnode.localnet import Localnet, wait_until_ready
from chainnode.wal_format import encode_header
from ledger.leveldb_format import LOG_BLOCK_BYTES, LOG_HEADER_BYTES
from ledger.reader import LedgerReader
from ledger.store_leveldb import LevelDBStore
from tests.e2e.network_fixtures import STUCK_S, free_ports, until
from torment.payments import payment, statement

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/operating.md").read_text("utf-8")
BLOCKS = 12
FSCK_FAILED = 3


@dataclass(frozen=True)
class Case:
    """A file by its pattern, the place of the bit as a fraction, and what must be said; None where the node runs."""

    pattern: str
    place: float
    start: str | None
    fsck: str | None

    @property
    def name(self) -> str:
        return f"{self.pattern}@{self.place:g}"


STORE = r"the store is damaged, {file} at offset \d+.*fetches the chain again"
WAL = r"consensus\.wal: the write-ahead log.* is damaged at offset {offset}.*move the file away"
KEY = r"keys/{file}: (?:not a key file|the key's public part).*put another in its place"
TLS = r"keys/tls\.key.*cannot be used.*issue a new pair"
INDEX = r"index\.ldb: the store is damaged, {file} at.*builds its indexes again"
CASES = [
    Case("data/ledger.ldb/CURRENT", 0.5, STORE, STORE),
    Case("data/ledger.ldb/MANIFEST-*", 0.5, STORE, STORE),
    Case("data/ledger.ldb/*.log", 0.5, STORE, STORE),
    Case("data/ledger.ldb/*.ldb", 1.0, STORE, STORE),
    Case("data/ledger.ldb/bodies/CURRENT", 0.5, STORE, STORE),
    Case("data/ledger.ldb/bodies/*.log", 0.5, STORE, STORE),
    Case("data/ledger.ldb/bodies/*.ldb", 0.3, None, STORE),
    Case("data/index.ldb/CURRENT", 0.5, INDEX, INDEX),
    Case("data/index.ldb/*.log", 0.5, INDEX, INDEX),
    Case("data/consensus.wal", 0.0, WAL, WAL),
    Case("data/consensus.wal", 0.5, WAL, WAL),
    Case("data/consensus.wal", 1.0, WAL, WAL),
    Case("data/outbox", 0.5, None, r"outbox: the write-ahead log.* is damaged at offset {offset}"),
    Case("keys/vote.key", 0.6, KEY, KEY),
    Case("keys/cosign.key", 0.6, KEY, KEY),
    Case("keys/log.key", 0.6, KEY, KEY),
    Case("keys/source.key", 0.6, KEY, KEY),
    Case("keys/tls.key", 0.5, TLS, TLS),
    Case("keys/tls.crt", 0.5, TLS, TLS),
    Case("config/genesis.json", 0.5, r"config/genesis\.json: .*from another member", None),
    Case("config/node.toml", 0.0, r"config/node\.toml: not TOML.*line 1", None),
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the home of a stopped chain of one bank, with a table, a log and an outbox that hold something."""
    import base64
    import os

    from chainnode.client import NodeClient
    from chainnode.identity import read_key, read_token
    from ledger.payments_json import statement_to_json
    from tests.e2e.traffic_fixtures import Source

    net = Localnet(tmp_path_factory.mktemp("damage") / "net")
    net.found(1, base_port=free_ports(1), now_ms=time.time_ns() // 1_000_000 - 1_000, step=lambda _: None)
    (node,) = net.load().nodes
    home = Home(Path(node.home))
    source = Source(read_key(net.keys / "bank-a-bank.key", "source"), bytes.fromhex(net.load().chain_id))
    try:
        for _ in range(2):  # the second start makes a table of what the first one's log held
            net.start()
            wait_until_ready(net, [node.name])
            client = NodeClient(node.rpc, token=read_token(home.token))
            for _ in range(BLOCKS):
                batch = source.sign([payment("bank-a", os.urandom(16), statement(os.urandom(16))) for _ in range(40)])
                client.call("ledger_submitBatch", batch=base64.b64encode(batch).decode(), wait="committed")
                row = {"kind": "payment.statement", "body": statement_to_json(statement(os.urandom(16)))}
                client.call("ledger_submit", events=[row], wait="committed")
            client.close()
            net.stop()
        yield home.root
    finally:
        net.stop()


@pytest.fixture
def home(kept: Path, tmp_path: Path) -> Home:
    shutil.copytree(kept, tmp_path / "home", symlinks=True)
    return Home(tmp_path / "home")


def start(home: Home) -> tuple[int | None, str]:
    """Return how a start by hand ended and its last line; None, and all that it said, where it came up."""
    command = [sys.executable, "-m", "chainnode.main", "--home", str(home.root)]
    log = home.root / "said"
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=ROOT)
    try:
        until(lambda: process.poll() is not None or '"started"' in log.read_text(), describe=log.read_text)
        ended = process.poll()
    finally:
        process.terminate()
        process.wait(STUCK_S)
    said = log.read_text()
    assert "Traceback" not in said
    return ended, said if ended is None else said.splitlines()[-1]


def fsck(home: Home) -> tuple[int, str]:
    """Return the status of `chainnode fsck` and the problem that it names."""
    command = [sys.executable, "-m", "cli", "--home", str(home.root), "-o", "json", "fsck"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=STUCK_S, check=False, cwd=ROOT)
    assert "Traceback" not in done.stderr
    report = json.loads(done.stdout or done.stderr)
    return done.returncode, str(report.get("problem") or report.get("error", {}).get("message") or "")


def flip(home: Home, case: Case) -> tuple[Path, int]:
    """Flip one bit of the largest file of a case's pattern; return it and the byte's offset."""
    path = max(home.root.glob(case.pattern), key=lambda file: file.stat().st_size)
    data = bytearray(path.read_bytes())
    offset = min(len(data) - 2, int(case.place * len(data)))
    data[offset] ^= 0x40
    path.write_bytes(data)
    return path, offset


def expected(pattern: str, path: Path) -> str:
    return pattern.replace("{file}", re.escape(path.name)).replace("{offset}", r"(\d+)")


def test_a_home_that_nobody_touched_starts_and_is_sound(home: Home) -> None:
    assert start(home)[0] is None
    assert fsck(home) == (0, "")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_flipped_bit_is_refused_with_the_file_the_place_and_what_to_do(home: Home, case: Case) -> None:
    path, offset = flip(home, case)
    if case.fsck is not None:
        status, problem = fsck(home)
        assert status in (1, FSCK_FAILED)
        match = re.search(expected(case.fsck, path), problem)
        assert match, problem
        assert not match.groups() or int(match[1]) <= offset
    status, said = start(home)
    if case.start is None:
        assert status is None, said
        if case.pattern == "data/outbox":
            assert "gateway_disabled" in said
        return
    assert status == 1
    assert said.startswith("chainnode: ")
    assert re.search(expected(case.start, path), said), said


@pytest.mark.parametrize("store", ["ledger.ldb", "index.ldb"])
def test_a_flipped_length_in_the_last_block_of_a_log_is_no_torn_write(home: Home, store: str) -> None:
    """LevelDB drops the rows behind it in silence; where the frame overruns its block, and where only the file."""
    (log,) = (home.data / store).glob("*.log")
    sound = log.read_bytes()
    offset = (len(sound) - 1) // LOG_BLOCK_BYTES * LOG_BLOCK_BYTES
    left = len(sound) - offset - LOG_HEADER_BYTES
    length = int.from_bytes(sound[offset + 4 : offset + 6], "little")
    flips = [1 << bit for bit in range(16) if (length ^ 1 << bit) > left]
    for flip_bits in {flips[0], flips[-1]}:
        changed = (length ^ flip_bits).to_bytes(2, "little")
        log.write_bytes(sound[: offset + 4] + changed + sound[offset + 6 :])
        said = rf"{store}: the store is damaged, {log.name} at offset {offset}[;:]"
        status, problem = fsck(home)
        assert status == (1 if store == "ledger.ldb" else FSCK_FAILED)
        assert re.search(said, problem), problem
        assert re.search(said, start(home)[1])
    log.write_bytes(sound)
    assert fsck(home) == (0, "")


@pytest.mark.parametrize("how", ["emptied", "cut between two frames", "a frame cut short", "without the directory"])
def test_a_ledger_that_lost_blocks_is_missed_by_the_log_of_what_was_reached(home: Home, how: str) -> None:
    """What LevelDB cannot know: a log that ends early looks as if a crash had cut it."""
    (log,) = (home.data / "ledger.ldb").glob("*.log")
    sound = log.read_bytes()
    if how == "emptied":
        log.write_bytes(b"")
    elif how == "cut between two frames":
        log.write_bytes(sound[: LOG_HEADER_BYTES + int.from_bytes(sound[4:6], "little")])
    elif how == "a frame cut short":
        log.write_bytes(sound[:-9])
    else:
        shutil.rmtree(log.parent)
        log.parent.mkdir()
    if how != "without the directory":
        status, problem = fsck(home)
        assert status == FSCK_FAILED
        said = (
            r"ledger\.ldb: the ledger lost blocks: expected height (\d+) at least, .*got height (\d+); start the node"
        )
        found = re.search(said, problem)
        assert found, problem
        assert int(found[2]) < int(found[1])
    status, last = start(home)
    assert status is None
    assert "ledger_lost_blocks" in last
    again = start(home)[1]
    assert "ledger_lost_blocks" in again, "as long as they are not there"


@pytest.mark.parametrize("pattern", ["CURRENT", "MANIFEST-*", "*.log", "*.ldb"])
def test_a_file_of_the_store_that_is_gone_is_named_and_nothing_is_begun_anew(home: Home, pattern: str) -> None:
    file = min((home.data / "ledger.ldb").glob(pattern))
    file.unlink()
    said = rf"ledger\.ldb: the store is damaged, {re.escape(file.name)} is missing.*fetches the chain again"
    assert re.search(said, fsck(home)[1])
    for _ in range(2):
        status, last = start(home)
        assert status == 1
        assert re.search(said, last), last


def test_a_log_of_another_chain_is_refused_with_what_to_do(home: Home) -> None:
    home.wal.write_bytes(encode_header(bytes(32)))
    said = r"consensus\.wal: write-ahead log of another chain.*put this node's own log back"
    assert re.search(said, fsck(home)[1])
    assert re.search(said, start(home)[1])


def test_a_damaged_table_names_the_block_that_lies_in_it(home: Home) -> None:
    """The bit is flipped within a certificate's signature, which no compression changes."""
    with closing(LevelDBStore(home.data / "ledger.ldb")) as store:
        committed = LedgerReader(store, read_genesis(home.genesis)).committed_block(BLOCKS)
    assert committed is not None
    assert committed.certificate is not None
    ((_, signature),) = committed.certificate.signatures
    (table,) = (file for file in (home.data / "ledger.ldb").glob("*.ldb") if signature in file.read_bytes())
    data = table.read_bytes()
    offset = data.index(signature)
    table.write_bytes(data[:offset] + bytes([data[offset] ^ 0x40]) + data[offset + 1 :])
    status, problem = fsck(home)
    assert status == FSCK_FAILED
    named = re.match(r"block (\d+): .*the store is damaged", problem)
    assert named, problem
    assert 0 < int(named[1]) <= BLOCKS


def test_the_operators_page_has_every_kind_of_file() -> None:
    table = PAGE.partition("## Damage")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `([^`]+)`", table, re.MULTILINE))
    assert named >= {case.pattern for case in CASES}
