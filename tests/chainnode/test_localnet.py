"""A network on this machine: what is founded, which ports, and whose processes are ended."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chainnode import localnet_join
from chainnode.cli.localnet import _status_row
from chainnode.config import load_config
from chainnode.files import Busy, NotFound
from chainnode.founding import read_genesis
from chainnode.home import Home
from chainnode.identity import load_node_keys, read_key, read_pairs
from chainnode.ingest.card_network import parse_card_network
from chainnode.localnet import (
    OUTSIDERS,
    Localnet,
    LocalNode,
    NetFile,
    PortTaken,
    bank_agents,
    bank_name,
    choose_base_port,
    first_taken,
    tail,
)
from chainnode.processes import ProcessRecord, is_alive, send, start_process, stop, wait_until_gone
from chainnode.wal import WriteAheadLog
from ledger.governance_bodies import CastVote
from ledger.snapshots import SnapshotRefused
from primitives.encoding import Record
from primitives.errors import InputError, UsageError
from tests.chainnode.ingest.ingest_fixtures import SAMPLES

NOW_MS = 1_790_000_000_000


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Localnet, NetFile]:
    net = Localnet(tmp_path_factory.mktemp("net") / "d")
    with net.held():
        return net, net.found(4, base_port=None, now_ms=NOW_MS, step=lambda _: None)


def test_four_banks_and_the_outsiders_are_founded_with_one_genesis(founded: tuple[Localnet, NetFile]) -> None:
    net, file = founded
    genesis = read_genesis(net.directory / "genesis.json")
    assert [validator.name for validator in genesis.validators] == ["bank-a", "bank-b", "bank-c", "bank-d"]
    assert [member.id for member in genesis.members][4:] == [outsider.member for outsider in OUTSIDERS]
    assert genesis.chain_id.hex() == file.chain_id
    for node in file.nodes:
        home = Home(Path(node.home))
        assert home.genesis.read_bytes() == (net.directory / "genesis.json").read_bytes()


def test_each_home_holds_the_keys_that_genesis_names_and_an_empty_log(founded: tuple[Localnet, NetFile]) -> None:
    net, file = founded
    genesis = read_genesis(net.directory / "genesis.json")
    for node, validator in zip(file.nodes, genesis.validators, strict=True):
        home = Home(Path(node.home))
        home.check()
        keys = load_node_keys(home)
        assert keys.vote is not None
        assert keys.vote.public == validator.vote_key
        loaded = load_config(home.config).config
        assert (loaded.node.name, loaded.p2p.listen) == (node.name, validator.address)
        assert node.rpc == f"http://{loaded.rpc.listen}"
        log = WriteAheadLog(home.wal, genesis.chain_id)
        assert not log.created
        log.close()
        for secret in home.keys.iterdir():
            assert secret.stat().st_mode & 0o077 == 0, secret


def test_every_role_has_a_key_file_that_genesis_knows(founded: tuple[Localnet, NetFile]) -> None:
    net, _ = founded
    genesis = read_genesis(net.directory / "genesis.json")
    known = {source.key: member for member in genesis.members for source in member.sources}
    officers = {officer.key: member for member in genesis.members for officer in member.officers}
    files = sorted(net.keys.glob("*.key"))
    assert [path.stem for path in files] == [
        "auditor-auditor",
        "bank-a-bank",
        "bank-a-governance",
        "bank-b-bank",
        "bank-b-governance",
        "bank-c-bank",
        "bank-c-governance",
        "bank-d-bank",
        "bank-d-governance",
        "cb-appeals",
        "cb-decider",
        "cb-officer-1",
        "cb-officer-2",
        "cb-reviewer",
        "ins-inspector",
        "lab-laboratory",
        "regulator-appeals",
        "regulator-officer-1",
        "regulator-officer-2",
        "regulator-regulator",
        "switch-switch",
    ]
    for path in files:
        key = read_key(path, "source", "officer")
        assert (officers if key.use == "officer" else known)[key.source].id == key.member
        if not path.stem[-1].isdigit():
            assert path.stem == f"{key.member}-{key.role}"
    for member in ("cb", "regulator"):
        deciding = [key for key, of in officers.items() if of.id == member]
        assert len(deciding) == 2, "four eyes: whoever grants or revokes has two officers"


def test_two_banks_share_one_secret_and_no_third_has_it(founded: tuple[Localnet, NetFile]) -> None:
    net, file = founded
    pairs = {node.member: read_pairs(Home(Path(node.home)).pairs) for node in file.nodes}
    pairs["switch"] = read_pairs(net.keys / "switch-pairs.json")
    assert pairs["bank-a"]["bank-b"] == pairs["bank-b"]["bank-a"]
    secrets = [secret for row in pairs.values() for secret in row.values()]
    assert len(set(secrets)) == 10
    assert all(secrets.count(secret) == 2 for secret in secrets)


def test_every_bank_knows_the_card_network_of_the_samples(founded: tuple[Localnet, NetFile]) -> None:
    net, file = founded
    paths = [Home(Path(node.home)).cards for node in file.nodes] + [net.keys / "switch-cards.json"]
    networks = [parse_card_network(path.read_bytes(), where=path.name) for path in paths]
    sample = parse_card_network((SAMPLES / "cards.json").read_bytes(), where="cards.json")
    assert all(network == sample for network in networks)


def test_directory_is_held_by_one_command_at_a_time(tmp_path: Path) -> None:
    net = Localnet(tmp_path / "d")
    with net.held(), pytest.raises(Busy, match="localnet already in use"), net.held():
        pass


def test_missing_and_damaged_records_are_told(tmp_path: Path) -> None:
    net = Localnet(tmp_path)
    with pytest.raises(NotFound, match="no localnet here"):
        net.load()
    net.path.write_text("{")
    with pytest.raises(InputError, match="not a localnet's record"):
        net.load()


def test_unknown_node_is_refused_with_the_names(founded: tuple[Localnet, NetFile]) -> None:
    with pytest.raises(NotFound, match="bank-a or bank-b or bank-c or bank-d, got bank-z"):
        founded[0].node("bank-z")


@pytest.mark.parametrize("count", [0, 32, -1])
def test_bad_number_of_nodes_is_refused(count: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="number of nodes"):
        Localnet(tmp_path / "d").found(count, base_port=None, now_ms=NOW_MS, step=lambda _: None)


def test_taken_port_is_named_where_wanted_and_avoided_where_not() -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        base = port - 11
        if base > 1024 and base < 65_000:
            with pytest.raises(PortTaken, match="port is taken"):
                choose_base_port(4, base)
            assert first_taken(4, base) is not None
    chosen = choose_base_port(4, None)
    assert first_taken(4, chosen) is None


@pytest.mark.parametrize("base", [0, -5, 65_535, 70_000])
def test_base_port_out_of_range_is_refused(base: int) -> None:
    with pytest.raises(UsageError, match="base port"):
        choose_base_port(4, base)


def test_names_and_codes_go_on_after_z() -> None:
    assert [bank_name(index) for index in (0, 25, 26, 27)] == ["bank-a", "bank-z", "bank-aa", "bank-ab"]
    assert len({code for index in range(31) for code in bank_agents(index)}) == 93


def test_codes_are_those_of_the_samples() -> None:
    assert bank_agents(0) == ("BKAACNBJ", "999100000011", "300300BANKA000DEMO03")
    assert bank_agents(1) == ("BKABCNBJ", "999100000020", "300300BANKB000DEMO85")


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[ProcessRecord]:
    record = start_process(["-c", "import time; time.sleep(60)", "mark-1"], mark="mark-1", log=tmp_path / "log")
    yield record
    if is_alive(record):
        os.kill(record.pid, signal.SIGKILL)
        wait_until_gone(record, 5)


def test_process_is_known_again_and_ended(sleeper: ProcessRecord) -> None:
    assert is_alive(sleeper)
    assert os.getsid(sleeper.pid) == sleeper.pid
    assert stop([sleeper], timeout_s=10) == []
    assert not is_alive(sleeper)
    assert not send(sleeper, signal.SIGTERM)


def test_a_process_is_known_while_one_program_becomes_the_next(tmp_path: Path) -> None:
    """For a moment at each exec it has no command line, as behind `nsenter` and `env`."""
    code = "import time; time.sleep(60)"
    record = start_process(["-c", code, "mark-5"], mark="mark-5", log=tmp_path / "log", before=["env"] * 300)
    try:
        while not Path(f"/proc/{record.pid}/cmdline").read_bytes().startswith(sys.executable.encode()):
            assert is_alive(record)
    finally:
        assert stop([record], timeout_s=10) == []


def test_recycled_process_id_is_never_signalled(sleeper: ProcessRecord) -> None:
    other_time = msgspec.structs.replace(sleeper, started=sleeper.started + 1)
    other_command = msgspec.structs.replace(sleeper, mark="mark-2")
    for record in (other_time, other_command):
        assert not is_alive(record)
        assert not send(record, signal.SIGKILL)
        assert stop([record], timeout_s=0) == []
    assert is_alive(sleeper)


def test_process_that_ignores_the_request_is_killed_and_named(tmp_path: Path) -> None:
    code = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    log = tmp_path / "log"
    record = start_process(["-c", code, "mark-3"], mark="mark-3", log=log)
    while "up" not in log.read_text():
        assert is_alive(record)
    assert stop([record], timeout_s=0.1) == [record]
    assert not is_alive(record)


def test_settings_in_the_environment_do_not_reach_all_nodes_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAINNODE_RPC__LISTEN", "127.0.0.1:1")
    monkeypatch.setenv("CHAINNODE_HOME", "/x")
    monkeypatch.setenv("KEPT", "1")
    code = "import os; print(sorted(k for k in os.environ if k.startswith(('CHAINNODE', 'KEPT'))))"
    record = start_process(["-c", code, "mark-4"], mark="mark-4", log=tmp_path / "log")
    assert wait_until_gone(record, 10)
    assert (tmp_path / "log").read_text() == "['KEPT']\n"


def test_tail_gives_the_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert tail(path, 3) == []
    path.write_text("".join(f"line {number}\n" for number in range(100)))
    assert tail(path, 2) == ["line 98", "line 99"]
    assert tail(path, 5, bytes_max=9)[-1] == "line 99"
    assert sys.maxsize > len(tail(path, 1000)) == 100


def test_the_role_that_is_listed_is_the_one_that_a_node_has_now(
    founded: tuple[Localnet, NetFile], sleeper: ProcessRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = msgspec.structs.replace(founded[1].nodes[0], process=sleeper)
    answer: dict[str, Any] | None = {"role": "learner", "height": 7}
    monkeypatch.setattr("chainnode.localnet.net_status", lambda _: answer)
    monkeypatch.setattr("chainnode.localnet.is_ready", lambda _: True)
    assert _status_row(node)["role"] == "learner"
    answer = None
    assert _status_row(node)["role"] == "validator"


def test_votes_for_a_joiner_end_when_the_node_that_took_the_last_one_says_so(
    founded: tuple[Localnet, NetFile], sleeper: ProcessRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, file = founded
    votes: list[str] = []

    class Behind:
        """A node that knows of the votes that it took itself, and of those before."""

        def __init__(self, node: LocalNode) -> None:
            del node
            self.known = 0

        def call(self, method: str, **_: object) -> dict[str, Any]:
            if method == "gov_checkAction":
                return {"broken": None, "following": None}
            return {"chain_id": "00" * 32, "proposal": {"waits_for": None if self.known >= 3 else "votes"}}

    def submit(client: Behind, member: str, body: Record) -> str:
        if isinstance(body, CastVote):
            votes.append(member)
            client.known = len(votes)
        return "00" * 32

    running = [msgspec.structs.replace(node, process=sleeper) for node in file.nodes]
    monkeypatch.setattr(localnet_join, "_client", Behind)
    monkeypatch.setattr(localnet_join, "_submit", submit)
    monkeypatch.setattr(net, "load", lambda: msgspec.structs.replace(file, nodes=tuple(running)))
    action = {"type": "exclude_member", "member": "lab"}
    localnet_join._vote_in(net, running[0], action)
    assert votes == ["bank-a", "bank-b", "bank-c"]


def test_a_snapshot_that_is_refused_leaves_the_new_nodes_name_free(
    founded: tuple[Localnet, NetFile], tmp_path: Path
) -> None:
    net, file = founded
    bad = tmp_path / "bad.chainsnap"
    bad.write_bytes(bytes(100))
    for _ in range(2):
        with net.held(), pytest.raises(SnapshotRefused, match="not a snapshot"):
            localnet_join.add_observer(
                net, "bank-a", name=None, now_ms=NOW_MS, timeout_s=1, step=lambda _: None, snapshot=bad
            )
    assert len(list((net.directory / "nodes").iterdir())) == len(file.nodes)
