"""`audit mirror` and `audit fork`: exit statuses and messages, over a plain web server of the standard library."""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from chainnode.log_source import AnswerTooLarge
from chainnode.mirror_files import MirrorFiles
from tests.chainnode.mirror_fixtures import Served, chain, grow, policy_of
from tests.chainnode.test_mirror import snapshot
from tests.rpc.conftest import MemoryNode


class LogHandler(BaseHTTPRequestHandler):
    """Serves what a `Served` has, lies included, over HTTP."""

    protocol_version = "HTTP/1.1"
    served: Served

    def do_GET(self) -> None:
        try:
            body = self.served.get(self.path.lstrip("/"), 1 << 30)
        except (AnswerTooLarge, AssertionError, ValueError):
            body = None
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        pass


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def listening(handler: Any) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def serving(served: Served) -> Iterator[str]:
    with listening(type("Bound", (LogHandler,), {"served": served})) as url:
        yield url


@contextmanager
def static(directory: Path) -> Iterator[str]:
    """Serve a directory as `python -m http.server` does."""
    with listening(functools.partial(Quiet, directory=str(directory))) as url:
        yield url


@pytest.fixture
def node() -> MemoryNode:
    return chain(300, 20)


@pytest.fixture
def policy(node: MemoryNode, tmp_path: Path) -> str:
    path = tmp_path / "policy"
    path.write_text(policy_of(node))
    return str(path)


def mirrored(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any], str]:
    """Run `audit mirror`; return its status, what it printed as JSON, and what it said."""
    status = run(["-o", "json", "audit", "mirror", *map(str, arguments)])
    told = capsys.readouterr()
    return status, json.loads(told.out) if told.out else {}, told.err


def test_a_mirror_behind_a_plain_web_server_is_enough_for_another_mirror(
    node: MemoryNode, policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with serving(Served(node.reader)) as url:
        status, row, _ = mirrored(capsys, first, "--endpoint", url, "--policy", policy)
    size = node.chain.log_size
    assert (status, row["size"], row["new_leaves"], row["epoch"]) == (Exit.OK, size, size, 0)
    assert row["root"] == node.reader.log_root(size).hex()
    with static(tmp_path) as url:
        status, row, _ = mirrored(capsys, second, "--endpoint", f"{url}/first/", "--policy", policy)
    assert (status, row["new_leaves"]) == (Exit.OK, size)
    assert snapshot(first) == snapshot(second)
    status, row, _ = mirrored(capsys, second, "--check")
    assert (status, row["verified"], row["bundles"]) == (Exit.OK, True, 2)


def test_the_policy_is_pinned_at_the_first_use(
    node: MemoryNode, policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "mirror"
    with serving(Served(node.reader)) as url:
        status, _, said = mirrored(capsys, directory, "--endpoint", url)
        assert status == Exit.USAGE
        assert "a new mirror needs a policy" in said
        assert mirrored(capsys, directory, "--endpoint", url, "--policy", policy)[0] == Exit.OK
        grow(node, 2)
        status, row, _ = mirrored(capsys, directory, "--endpoint", url)
        assert (status, row["new_leaves"]) == (Exit.OK, 3)
        assert mirrored(capsys, directory, "--endpoint", url, "--policy", policy)[0] == Exit.OK
        other = tmp_path / "other"
        other.write_text(Path(policy).read_text() + "# another\n")
        status, _, said = mirrored(capsys, directory, "--endpoint", url, "--policy", other)
        assert status == Exit.USAGE
        assert "held to another policy" in said
        assert mirrored(capsys, directory, "--endpoint", url, "--replace-policy")[0] == Exit.USAGE
        status, _, _ = mirrored(capsys, directory, "--endpoint", url, "--policy", other, "--replace-policy")
        assert status == Exit.OK
        assert (directory / "policy").read_text() == other.read_text()
        foreign = tmp_path / "foreign"
        foreign.write_text(
            policy_of(chain(1)).replace("quorum", "# quorum").replace(" 3 node-bank-a", " 4 node-bank-a")
        )
        status, _, said = mirrored(capsys, directory, "--endpoint", url, "--policy", foreign, "--replace-policy")
        assert status == Exit.VERIFICATION_FAILED
        assert (directory / "policy").read_text() == other.read_text()


def test_a_fork_is_kept_told_and_ends_with_status_3_and_the_file_convinces_others(
    node: MemoryNode, policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, other = tmp_path / "mirror", chain(300, 20, 5, first=7)
    with serving(Served(node.reader)) as url:
        assert mirrored(capsys, directory, "--endpoint", url, "--policy", policy)[0] == Exit.OK
    before = snapshot(directory)
    with serving(Served(other.reader)) as url:
        status, row, said = mirrored(capsys, directory, "--endpoint", url)
    assert (status, row) == (Exit.VERIFICATION_FAILED, {})
    assert "ALARM" in said
    (kept,) = (directory / "forks").iterdir()
    assert str(kept) in said
    assert {path: data for path, data in snapshot(directory).items() if "forks" not in path} == before
    assert run(["-o", "json", "audit", "fork", str(kept), "--policy", policy]) == Exit.OK
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["contradiction"] == "the larger log does not extend the smaller one"
    assert [each["size"] for each in verdict["checkpoints"]] == [node.chain.log_size, other.chain.log_size]
    assert len(verdict["accused"]) == 3
    assert run(["audit", "fork", str(kept), "--policy", policy]) == Exit.OK
    assert capsys.readouterr().out.startswith("verified: test-chain/")
    text = kept.read_text()
    kept.write_text(text[:-30] + text[-29:])
    assert run(["audit", "fork", str(kept), "--policy", policy]) == Exit.VERIFICATION_FAILED
    assert "accuses nobody" in capsys.readouterr().err


def test_a_lie_ends_with_status_3_and_its_step_and_an_honest_endpoint_still_completes_the_mirror(
    node: MemoryNode, policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    liar = Served(node.reader, lies={"tile/entries/000": lambda data: b"\0" * 600})
    with serving(liar) as bad, serving(Served(node.reader)) as good:
        directory = tmp_path / "mirror"
        status, row, said = mirrored(capsys, directory, "--endpoint", bad, "--policy", policy)
        assert (status, row["size"]) == (Exit.VERIFICATION_FAILED, 0)
        assert "tile/entries/000" in said
        assert bad in said
        assert "do not rely on what this source says" in said
        assert said.count("entry is not the log's leaf") + said.count("entry bundle") == 1, "it is told once"
        status, row, said = mirrored(capsys, directory, "--endpoint", bad, "--endpoint", good, "--policy", policy)
        assert (status, row["size"]) == (Exit.VERIFICATION_FAILED, node.chain.log_size)
        assert mirrored(capsys, directory, "--endpoint", good)[0] == Exit.OK
        assert mirrored(capsys, directory, "--check")[0] == Exit.OK


def test_nobody_who_answers_is_status_4_and_one_of_several_is_enough(
    node: MemoryNode, policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = "http://127.0.0.1:9"
    status, _, said = mirrored(capsys, tmp_path / "a", "--endpoint", nobody, "--policy", policy)
    assert status == Exit.UNREACHABLE
    assert "nobody answers" in said
    with serving(Served(node.reader)) as url:
        arguments = ("--endpoint", nobody, "--endpoint", url, "--policy", policy)
        status, row, said = mirrored(capsys, tmp_path / "b", *arguments)
    assert (status, row["size"]) == (Exit.OK, node.chain.log_size)
    assert f"not reached: {nobody}: nobody answers" in said


def test_a_checkpoint_that_is_held_back_is_told_of_when_it_is_old(
    node: MemoryNode, policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Served(node.reader)) as url:
        arguments = (tmp_path / "m", "--endpoint", url, "--policy", policy)
        status, _, said = mirrored(capsys, *arguments)
        assert status == Exit.OK
        assert "stale: nobody shows a newer checkpoint than that of 2026-01-01T" in said
        node.now = int(time.time() * 1_000)
        node.checkpoint()
        assert "stale" not in mirrored(capsys, *arguments)[2]


def test_a_damaged_mirror_is_found_without_a_network(
    node: MemoryNode, policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "mirror"
    with serving(Served(node.reader)) as url:
        mirrored(capsys, directory, "--endpoint", url, "--policy", policy)
    path = directory / "tile/0/000"
    path.write_bytes(path.read_bytes()[::-1])
    status, _, said = mirrored(capsys, directory, "--check")
    assert status == Exit.VERIFICATION_FAILED
    assert "tile/0/000" in said


def test_a_mirror_that_cannot_be_written_is_checked_all_the_same(
    node: MemoryNode, policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "mirror"
    with serving(Served(node.reader)) as url:
        mirrored(capsys, directory, "--endpoint", url, "--policy", policy)
    before = snapshot(directory)
    # As on a read-only disk: root may write whatever the mode says.
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and may(path, mode))
    monkeypatch.setattr(MirrorFiles, "opened", lambda _self: pytest.fail("it takes a lock, which is a file"))
    assert mirrored(capsys, directory, "--check")[0] == Exit.OK
    assert snapshot(directory) == before


def test_what_cannot_be_asked_for_is_a_mistake(policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letters").write_text("mine")
    (tmp_path / "token").write_text("t" * 43 + "\n")
    (tmp_path / "token").chmod(0o600)
    named = [tmp_path / "new", "--policy", policy]
    wrong = [
        [tmp_path / "full", "--policy", policy],
        [*named, "--check", "--follow"],
        [*named, "--endpoint", "ftp://x"],
        [*named, "--endpoint", "http://a", "--endpoint", "http://b", "--token-file", tmp_path / "token"],
    ]
    for arguments in wrong:
        assert mirrored(capsys, *arguments)[0] == Exit.USAGE, arguments
    assert mirrored(capsys, *named, "--check")[0] == Exit.NOT_FOUND
    assert not (tmp_path / "new").exists()
    (tmp_path / "garbage").write_text("quorum nobody\n")
    status, _, said = mirrored(capsys, tmp_path / "new", "--policy", tmp_path / "garbage")
    assert status == Exit.VERIFICATION_FAILED
    assert "garbage" in said


def test_following_takes_each_checkpoint_outlives_lies_and_ends_at_a_fork(
    node: MemoryNode, policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served(node.reader)
    sizes = [node.chain.log_size]
    turns = 0

    def sleep(_: float) -> None:
        nonlocal turns
        turns += 1
        if turns in (1, 2):
            grow(node, 5)
            sizes.append(node.chain.log_size)
        elif turns == 3:
            served.lies["checkpoint"] = lambda data: b"nonsense"
        elif turns == 5:
            served.lies.clear()
            served.reader = chain(300, 20, 5, 5, 9, first=7).reader

    monkeypatch.setattr("chainnode.cli.mirror.time.sleep", sleep)
    with serving(served) as url:
        arguments = ["audit", "mirror", str(tmp_path / "m"), "--endpoint", url, "--policy", policy, "--follow"]
        status = run(["-o", "jsonl", *arguments])
    told = capsys.readouterr()
    assert status == Exit.VERIFICATION_FAILED
    assert [json.loads(line)["size"] for line in told.out.splitlines()] == sizes
    assert told.err.count("refused:") == 1
    assert "ALARM" in told.err
