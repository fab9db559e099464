"""The home of a node without a vote, from a genesis file and two peers' addresses, by commands as operators type."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import tomllib
from collections.abc import Coroutine, Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from chainnode.first_contact import Contact, peer_of
from chainnode.founding import read_genesis
from chainnode.home import Home
from p2p.config import Handler, NetworkConfig, TlsFiles
from p2p.peers import PeerNetwork
from primitives.errors import UsageError

NAMES = ("bank-a", "bank-b")
T = TypeVar("T")


class Listening:
    """A node's listener for peers, with nothing behind it, on a loop and thread of its own."""

    def __init__(self, home: Home) -> None:
        genesis = read_genesis(home.genesis)
        config = NetworkConfig(
            name=home.root.name,
            member=home.root.name,
            chain_id=genesis.chain_id,
            protocol=2,
            protocol_oldest=1,
            software="test",
            tls=TlsFiles(home.tls_key, home.tls_certificate),
            member_cas={member.id: member.ca_certificate for member in genesis.members},
            kinds={},
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        handler = cast("Handler", SimpleNamespace(on_message=None))  # nobody gets as far
        self.network = self._do(self._started(config, handler))
        self.address = f"127.0.0.1:{self.network.listen_port}"

    async def _started(self, config: NetworkConfig, handler: Handler) -> PeerNetwork:
        network = PeerNetwork(config, handler, random=Random(1))
        await network.start()
        return network

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def close(self) -> None:
        self._do(self.network.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with genesis.json, founded by two banks, and their homes."""
    root = tmp_path_factory.mktemp("chain")
    for index, name in enumerate(NAMES):
        address = f"127.0.0.1:{1 + index}"  # where nobody listens
        assert run(["--home", str(root / name), "init", "--name", name, "--address", address]) == 0
    entries = [str(Home(root / name).entry) for name in NAMES]
    assert run(["genesis", "create", *entries, "--chain", "pair", "-f", str(root / "genesis.json")]) == 0
    for name in NAMES:
        assert run(["--home", str(root / name), "init", "--genesis", str(root / "genesis.json")]) == 0
    return root


@pytest.fixture(scope="module")
def peers(chain: Path) -> Iterator[list[str]]:
    nodes = [Listening(Home(chain / name)) for name in NAMES]
    yield [node.address for node in nodes]
    for node in nodes:
        node.close()


@pytest.fixture
def dead() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


def init(chain: Path, home: Path, *words: str, ca: str | None = "bank-a") -> int:
    taken = () if ca is None else ("--ca", str(chain / ca))
    named = ["--name", "bank-a-2", "--member", "bank-a", "--observer", "--genesis", str(chain / "genesis.json")]
    return run(["--home", str(home), "init", *named, *taken, *words])


def peers_of(home: Path) -> list[str]:
    return list(tomllib.loads(Home(home).config.read_text())["p2p"]["peers"])


def with_peers(*addresses: str) -> list[str]:
    return [word for address in addresses for word in ("--peer", address)]


def test_genesis_and_two_addresses_are_enough_and_the_peers_names_are_found(
    chain: Path, peers: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "o"
    pinned = read_genesis(chain / "genesis.json").chain_id.hex()
    assert init(chain, home, *with_peers(*peers), "--genesis-hash", pinned.upper(), "-o", "json") == 0
    told = capsys.readouterr()
    printed, _ = json.JSONDecoder().raw_decode(told.out[told.out.index("{") :])  # the peers here log to stdout
    assert printed["chain_id"] == pinned
    assert f"genesis of pair: {pinned}, as pinned" in told.err
    assert f"{peers[0]} (bank-a) of bank-a lets this node in" in told.err
    assert peers_of(home) == [f"bank-a@{peers[0]}", f"bank-b@{peers[1]}"]
    assert not Home(home).vote_key.exists()
    assert run(["config", "check", "--home", str(home)]) == 0


def test_one_dead_peer_of_two_is_told_and_kept_where_its_name_is_known(
    chain: Path, peers: list[str], dead: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(chain, tmp_path / "o", *with_peers(dead, peers[1], f"bank-a@{dead}", "127.0.0.1:1")) == 0
    told = capsys.readouterr().err
    assert f"{dead}: nobody answers there (dial_failed); left out of the settings" in told
    assert f"{dead} (bank-a): nobody answers there (dial_failed)" in told
    assert peers_of(tmp_path / "o") == [f"bank-b@{peers[1]}", f"bank-a@{dead}", "bank-a@127.0.0.1:1"], "from genesis"


def test_no_peer_that_answers_ends_with_status_4_and_leaves_nothing(
    chain: Path, dead: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(chain, tmp_path / "o", *with_peers(dead)) == Exit.UNREACHABLE
    told = capsys.readouterr().err
    assert f"{dead}: nobody answers there" in told
    assert "no peer lets this node in: expected one at least, got dial_failed; mend it" in told
    assert not (tmp_path / "o").exists()


def test_who_is_no_member_is_told_by_the_peers_and_what_to_do(
    chain: Path, peers: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(chain, tmp_path / "o", *with_peers(*peers), ca=None) == Exit.UNREACHABLE
    told = capsys.readouterr().err
    assert "only nodes of members are let in" in told
    assert "with --tls or --ca" in told
    assert "member propose add" in told
    assert "audit mirror" in told


def test_a_certificate_that_was_issued_where_the_members_ca_is_lets_a_node_in_that_has_no_ca(
    chain: Path, peers: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path / "o")
    at_the_ca = ["--home", str(chain / "bank-a"), "keys", "issue-tls"]
    issued = tmp_path / "issued"
    assert run([*at_the_ca, str(issued), "--name", "bank-a-2", "--host", "127.0.0.1"]) == 0
    assert issued.joinpath("tls.key").stat().st_mode & 0o777 == 0o600
    assert run([*at_the_ca, str(issued), "--name", "bank-a-2", "--host", "127.0.0.1"]) == Exit.USAGE, "nothing is lost"
    assert init(chain, home.root, *with_peers(peers[0]), "--tls", str(issued), ca=None) == 0
    assert not home.ca_key.exists()
    assert not home.ca_certificate.exists()
    assert run(["--home", str(home.root), "keys", "renew-tls"]) == Exit.USAGE
    assert "no key of the member's CA" in capsys.readouterr().err


def test_a_certificate_of_another_node_is_refused_and_nothing_is_left(
    chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    issued, home = tmp_path / "issued", tmp_path / "o"
    at_the_ca = ["--home", str(chain / "bank-a"), "keys", "issue-tls", str(issued), "--host", "127.0.0.1"]
    assert run([*at_the_ca, "--name", "bank-a-3"]) == 0
    assert init(chain, home, "--tls", str(issued), ca=None) == Exit.USAGE
    assert "TLS certificate of another node or chain" in capsys.readouterr().err
    (issued / "tls.crt").write_text("rubbish")
    assert init(chain, home, "--tls", str(issued), ca=None) == Exit.USAGE
    assert "TLS certificate cannot be read" in capsys.readouterr().err
    assert init(chain, home, "--tls", str(issued)) == Exit.USAGE, "and --ca beside it"
    assert init(chain, home, "--tls", str(tmp_path / "none"), ca=None) == Exit.NOT_FOUND
    assert not home.exists()


def test_a_peer_of_another_chain_and_another_name_are_told_apart(
    chain: Path, peers: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index, name in enumerate(NAMES):
        assert run(["--home", str(tmp_path / name), "init", "--name", name, "--address", f"127.0.0.1:{1 + index}"]) == 0
    entries = [str(Home(tmp_path / name).entry) for name in NAMES]
    assert run(["genesis", "create", *entries, "--chain", "other", "-f", str(tmp_path / "genesis.json")]) == 0
    assert init(tmp_path, tmp_path / "o", *with_peers(peers[0])) == Exit.UNREACHABLE
    assert "it is of another chain, or of a member that joined after this genesis" in capsys.readouterr().err
    assert init(chain, tmp_path / "o", *with_peers(f"bank-b@{peers[0]}")) == Exit.UNREACHABLE
    assert "another node answers there than the one named (wrong_name)" in capsys.readouterr().err


def test_another_genesis_than_the_pinned_one_is_refused_before_anything_is_made(
    chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(chain, tmp_path / "o", "--genesis-hash", "00" * 32) == Exit.VERIFICATION_FAILED
    assert "genesis of another chain" in capsys.readouterr().err
    assert init(chain, tmp_path / "o", "--genesis-hash", "00") == Exit.USAGE
    assert run(["--home", str(tmp_path / "o"), "init", "--name", "x", "--peer", "127.0.0.1:1"]) == Exit.USAGE
    assert "no chain to join" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_a_home_that_was_there_joins_and_stays_where_no_peer_answers(
    chain: Path, peers: list[str], dead: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for home in (tmp_path / "first", tmp_path / "second"):
        words = ["--name", "bank-a-2", "--member", "bank-a", "--observer", "--ca", str(chain / "bank-a")]
        assert run(["--home", str(home), "init", *words]) == 0
    then = ["init", "--genesis", str(chain / "genesis.json")]
    assert run(["--home", str(tmp_path / "first"), *then, "--peer", peers[1]]) == 0
    assert peers_of(tmp_path / "first") == [f"bank-b@{peers[1]}"]
    assert run(["--home", str(tmp_path / "second"), *then, "--peer", dead]) == Exit.UNREACHABLE
    assert "name peers in p2p.peers" in capsys.readouterr().err
    assert Home(tmp_path / "second").genesis.exists()


@pytest.mark.parametrize(
    "text", ["", "host", "host:x", "host:70000", "a@b@c:1", "NAME@c:1", "/m@c:1", "a/@c:1", "@c:1"]
)
def test_what_is_no_peer_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        peer_of(text)


def test_a_peer_is_written_in_settings_as_they_have_it() -> None:
    peer = peer_of("bank-a-2/bank-a@[::1]:7400")
    assert (peer.name, peer.member, peer.address) == ("bank-a-2", "bank-a", "[::1]:7400")
    assert Contact(peer.address, peer.name, peer.member).setting == "bank-a-2/bank-a@[::1]:7400"
    assert Contact("h:1", "bank-a", "bank-a").setting == "bank-a@h:1"
    assert Contact("h:1", None, None).setting is None
