"""`watch`: blocks one by one, from a node that is held to the history that it showed before."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from chainnode.home import Home
from ledger.genesis_json import genesis_to_json
from tests.chainnode.mirror_fixtures import Served, chain, grow, policy_of
from tests.cli.test_mirror import LogHandler, listening
from tests.rpc.conftest import MemoryNode


class NodeHandler(LogHandler):
    """A node's two faces, as far as `watch` uses them, behind something that passes no WebSocket on."""

    def do_GET(self) -> None:  # noqa: N802  http.server's name
        if self.path == "/ws":
            self.send_error(404)
        else:
            super().do_GET()

    def do_POST(self) -> None:  # noqa: N802  http.server's name
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        height = self.served.reader.tip().height  # type: ignore[union-attr]  # there is a chain
        result: Any = {"height": height}
        if call["method"] == "ledger_getBlocks":
            heights = range(call["params"]["start"], min(height + 1, call["params"]["start"] + call["params"]["limit"]))
            row = {"time": "2026-01-01T00:00:00Z", "event_count": 1}
            result = {"blocks": [{"header": {"height": each, **row}, "hash": "ab" * 32} for each in heights]}
        body = json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": result}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def node() -> MemoryNode:
    return chain(5, 3)


@pytest.fixture
def served(node: MemoryNode) -> Served:
    return Served(node.reader)


@pytest.fixture
def url(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("CHAINNODE_HOME", "CHAINNODE_LOCALNET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with listening(type("Bound", (NodeHandler,), {"served": served})) as url:
        yield url


@pytest.fixture
def look(url: str, node: MemoryNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Return what runs `watch` over all blocks, and gives its status, heights and messages."""
    (tmp_path / "policy").write_text(policy_of(node))

    def call(*arguments: str) -> tuple[int, list[int], str]:
        status = run(["-o", "jsonl", "--endpoint", url, "watch", "--from", "0", "--count", "2", *arguments])
        told = capsys.readouterr()
        return status, [json.loads(row)["header"]["height"] for row in told.out.splitlines()], told.err

    return call


STATED = ("--policy", "policy", "--state", "seen.json")


def test_blocks_are_shown_and_the_checkpoint_is_remembered(
    look: Callable[..., Any], node: MemoryNode, tmp_path: Path
) -> None:
    assert look(*STATED) == (Exit.OK, [0, 1], "")
    first = json.loads((tmp_path / "seen.json").read_text())
    assert first["note"] == node.checkpoint()
    grow(node, 4)
    assert look("--state", "seen.json")[0] == Exit.OK, "the policy is pinned"
    second = json.loads((tmp_path / "seen.json").read_text())
    assert second["note"].splitlines()[1] == str(node.chain.log_size)
    assert second["policy"] == first["policy"] == (tmp_path / "policy").read_text()


def test_a_fork_between_two_runs_ends_with_status_3_and_is_kept(
    look: Callable[..., Any], served: Served, tmp_path: Path
) -> None:
    look(*STATED)
    remembered = (tmp_path / "seen.json").read_bytes()
    for other in (chain(5, 3, first=7), chain(5, 3, 300, first=7)):
        served.reader = other.reader
        status, heights, said = look(*STATED)
        assert (status, heights) == (Exit.VERIFICATION_FAILED, [])
        assert "ALARM" in said
        assert (tmp_path / "seen.json").read_bytes() == remembered
    kept = sorted(tmp_path.glob("seen.json.fork-*.txt"))
    assert len(kept) == 2
    for path in kept:
        assert run(["audit", "fork", str(path), "--policy", "policy"]) == Exit.OK


def test_a_fork_during_one_run_is_found_without_a_file_that_remembers(
    look: Callable[..., Any], served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = 0

    def sleep(_: float) -> None:
        nonlocal turns
        turns += 1
        assert turns < 3, "the fork is found at the next look"
        served.reader = chain(5, 9, first=7).reader

    monkeypatch.setattr("chainnode.cli.watch.time.sleep", sleep)
    status, heights, said = look("--policy", "policy", "--from", "3")
    assert (status, heights) == (Exit.VERIFICATION_FAILED, [])
    assert "ALARM" in said
    assert len(list(tmp_path.glob("watch.fork-*.txt"))) == 1


def test_a_node_that_lags_is_no_alarm_and_what_is_remembered_stays(
    look: Callable[..., Any], served: Served, node: MemoryNode, tmp_path: Path
) -> None:
    older = chain(5)
    grow(node, 400)
    look(*STATED)
    remembered = (tmp_path / "seen.json").read_bytes()
    served.reader = older.reader  # it has neither the newer tiles nor a later signature
    assert look(*STATED)[0] == Exit.OK
    assert (tmp_path / "seen.json").read_bytes() == remembered


def test_a_rollback_is_an_alarm(look: Callable[..., Any], served: Served, node: MemoryNode) -> None:
    smaller = node.chain.log_size
    grow(node, 4)
    look(*STATED)
    node.now += 3_000
    served.note = node.checkpoint_at(smaller)
    status, _, said = look(*STATED)
    assert status == Exit.VERIFICATION_FAILED
    assert "a smaller log was signed after the larger one" in said


@pytest.mark.parametrize("place", ["checkpoint", "tile/0/000", "tile/0/001.p", "tile/1"])
@pytest.mark.parametrize("lie", ["garbage", "nothing", "zeroes"])
def test_what_does_not_verify_ends_with_status_3_and_its_step(
    look: Callable[..., Any], served: Served, node: MemoryNode, tmp_path: Path, place: str, lie: str
) -> None:
    look(*STATED)
    remembered = (tmp_path / "seen.json").read_bytes()
    grow(node, 300)
    served.lies[place] = lambda data: {"garbage": b"\1", "nothing": None, "zeroes": bytes(len(data or b""))}[lie]
    status, heights, said = look(*STATED)
    if (place, lie) == ("checkpoint", "nothing"):  # a node without a checkpoint, as at its very beginning
        assert status == Exit.OK
    else:
        assert (status, heights) == (Exit.VERIFICATION_FAILED, [])
        assert place.split("/")[0] in said
    assert (tmp_path / "seen.json").read_bytes() == remembered
    served.lies.clear()
    assert look(*STATED)[0] == Exit.OK


def test_without_anybody_to_trust_it_says_that_nothing_is_verified(look: Callable[..., Any]) -> None:
    status, heights, said = look()
    assert (status, heights) == (Exit.OK, [0, 1])
    assert "not verified" in said
    assert look("--state", "seen.json")[0] == Exit.USAGE


def test_another_policy_than_the_remembered_one_is_refused(look: Callable[..., Any], tmp_path: Path) -> None:
    look(*STATED)
    (tmp_path / "policy").write_text((tmp_path / "policy").read_text() + "# more\n")
    status, _, said = look(*STATED)
    assert status == Exit.USAGE
    assert "move the file away" in said


@pytest.mark.parametrize("damage", ["cut", "note", "policy", "fields", "handovers", "text"])
def test_a_damaged_memory_is_told_and_nothing_is_taken_in_its_place(
    look: Callable[..., Any], tmp_path: Path, damage: str
) -> None:
    look(*STATED)
    path = tmp_path / "seen.json"
    row = json.loads(path.read_text())
    match damage:
        case "cut":
            path.write_text(path.read_text()[:-20])
        case "note":
            path.write_text(json.dumps(row | {"note": row["note"][:-20]}))
        case "policy":
            path.write_text(json.dumps(row | {"policy": "quorum none\n"}))
        case "fields":
            path.write_text(json.dumps({"note": row["note"]}))
        case "handovers":
            path.write_text(json.dumps(row | {"handovers": ["AAAA"]}))
        case _:
            path.write_bytes(b"\xff\xfe")
    damaged = path.read_bytes()
    status, heights, said = look("--state", "seen.json")
    assert (status, heights) == (Exit.VERIFICATION_FAILED, [])
    assert "seen.json" in said
    assert path.read_bytes() == damaged


def test_in_a_home_the_genesis_is_trusted_and_its_data_remember(
    url: str, node: MemoryNode, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    home.config.parent.mkdir(parents=True)
    home.data.mkdir()
    home.config.write_text('[node]\nname = "node-bank-a"\nmember = "bank-a"\n')
    home.genesis.write_bytes(genesis_to_json(node.genesis))
    monkeypatch.setattr("chainnode.founding.read_genesis", lambda path: node.genesis)  # whose members have no CAs
    monkeypatch.setenv("CHAINNODE_RPC__LISTEN", url.removeprefix("http://"))
    assert run(["--home", str(home.root), "watch", "--from", "0", "--count", "1"]) == Exit.OK
    assert "not verified" not in capsys.readouterr().err
    assert json.loads(home.watched.read_text())["note"] == node.checkpoint()
