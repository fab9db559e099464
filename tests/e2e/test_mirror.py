"""A mirror of a running network is killed at any moment, loses a source, and is whole all the same."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.network_fixtures import NAMES, STUCK_S, Network, free_ports, until
from tests.e2e.traffic_fixtures import Source, submit

pytestmark = pytest.mark.e2e

CLI = Path(sys.executable).with_name("chainnode")
KILLS = 6


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(CLI), "-o", "json", *map(str, arguments)], capture_output=True, text=True, timeout=STUCK_S, check=False
    )


def result(*arguments: object) -> dict[str, Any]:
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def process(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([*map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            yield running
        finally:
            running.kill()


def endpoints(net: Network) -> list[str]:
    return [word for name in NAMES for word in ("--endpoint", net.node(name).rpc)]


def size_at(directory: Path) -> int:
    try:
        return int((directory / "checkpoint").read_text().splitlines()[1])
    except FileNotFoundError:
        return 0


@pytest.fixture
def policy(net: Network, tmp_path: Path) -> Path:
    path = tmp_path / "policy"
    path.write_bytes(net.http("bank-c", "GET", "/policy")[1])
    return path


def test_a_mirror_that_is_killed_again_and_again_is_whole_and_enough_for_another(
    net: Network, sources: dict[str, Source], policy: Path, tmp_path: Path
) -> None:
    directory, draw = tmp_path / "mirror", random.Random(int.from_bytes(os.urandom(4), "big"))
    follow = ["audit", "mirror", directory, "--policy", policy, *endpoints(net), "--follow", "--interval", "0.05"]
    for _ in range(KILLS):
        before = size_at(directory)
        with process(CLI, *follow) as running:
            for _ in range(draw.randrange(1, 5)):
                submit(net, "bank-c", sources["bank-c-bank"].payments(90))
            until(lambda size=before: size_at(directory) > size)
            time.sleep(draw.uniform(0, 0.3))
            running.send_signal(signal.SIGKILL)
            running.wait(STUCK_S)
        assert result("audit", "mirror", directory, "--check")["verified"] is True
    leaves = net.call("bank-c", "net_status")["log_size"]
    until(lambda: net.call("bank-c", "net_status")["checkpoint_size"] >= leaves)
    final = result("audit", "mirror", directory, *endpoints(net))
    assert (final["refused"], final["failed"]) == ({}, {})
    assert final["size"] >= leaves
    port = free_ports(1)
    with process(sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1", "--directory", tmp_path):
        until(lambda: answers(port))
        url = f"http://127.0.0.1:{port}/mirror"
        copy = result("audit", "mirror", tmp_path / "copy", "--policy", policy, "--endpoint", url)
        assert (copy["size"], copy["root"]) == (final["size"], final["root"])
    for path in directory.rglob("tile/**/*"):
        if path.is_file() and ".p" not in path.parent.suffix:
            assert (tmp_path / "copy" / path.relative_to(directory)).read_bytes() == path.read_bytes()


def answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/mirror/checkpoint")
        return connection.getresponse().status == 200
    finally:
        connection.close()


def test_watching_a_home_trusts_its_genesis_and_remembers_between_two_runs(
    net: Network, sources: dict[str, Source]
) -> None:
    home = net.home("bank-d")
    submit(net, "bank-c", sources["bank-c-bank"].payments(1))
    until(lambda: net.http("bank-d", "GET", "/checkpoint")[0] == 200)
    assert run("--home", home.root, "watch", "--from", "0", "--count", "1").returncode == 0
    first = json.loads(home.watched.read_text())["note"].splitlines()
    submit(net, "bank-c", sources["bank-c-bank"].payments(3))
    until(lambda: int(net.http("bank-d", "GET", "/checkpoint")[1].splitlines()[1]) > int(first[1]))
    done = run("--home", home.root, "watch", "--from", "0", "--count", "1")
    said, _, cursor = done.stderr.strip().partition(": --from ")
    assert (done.returncode, said) == (0, "to go on")
    follows = run("-o", "jsonl", "--home", home.root, "watch", "--from", cursor, "--count", "1")
    assert json.loads(follows.stdout)["header"]["height"] == 1
    second = json.loads(home.watched.read_text())["note"].splitlines()
    assert int(second[1]) > int(first[1])
    home.watched.unlink()


def test_an_auditor_that_is_killed_again_and_again_goes_on_where_it_was_and_tells_nothing_twice(
    net: Network, sources: dict[str, Source], policy: Path, tmp_path: Path
) -> None:
    state, draw = tmp_path / "audit", random.Random(int.from_bytes(os.urandom(4), "big"))
    nodes = [word for name in NAMES for word in ("--node", net.node(name).rpc)]
    gone = ["--node", f"http://127.0.0.1:{free_ports(1)}"]
    follow = ["audit", "watch", "--state", state, "--policy", policy, *nodes, *gone, "--interval", "0.2"]
    for kill in range(1, KILLS // 3 + 1):
        before = size_of(state)
        with process(CLI, *follow) as running:
            submit(net, "bank-c", sources["bank-c-bank"].payments(90))
            until(lambda size=before: size_of(state) > size)
            if kill == KILLS // 3:  # that nobody answers there is told at the end of a round, the size before
                until(lambda: has_told(state, "unreachable"))
            time.sleep(draw.uniform(0, 0.2))
            running.send_signal(signal.SIGKILL)
            running.wait(STUCK_S)
    before_it = recorded_evidence(net)
    leaves = net.call("bank-c", "net_status")["log_size"]
    until(lambda: net.call("bank-c", "net_status")["checkpoint_size"] >= leaves)
    done = run("audit", "watch", "--state", state, *nodes, "--once")
    rows = [json.loads(line) for line in (state / "findings.jsonl").read_text().splitlines()]
    about_nodes = [(row["kind"], row["state"]) for row in rows if row["kind"] != "new_evidence"]
    assert about_nodes == [("unreachable", "raised"), ("unreachable", "cleared")]
    told = [row["subject"] for row in rows if row["kind"] == "new_evidence"]
    assert len(told) == len(set(told))
    assert before_it <= set(told) <= recorded_evidence(net), "some may have come since"
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, [row["state"] for row in printed if row["kind"] != "new_evidence"]) == (0, ["cleared"])
    assert size_of(state) >= leaves


def recorded_evidence(net: Network) -> set[str]:
    """Return the ids of what is recorded by now of sources that other tests let contradict themselves."""
    return {item["event_id"] for item in net.call("bank-c", "net_evidence", limit=100)["evidence"]}


def has_told(state: Path, kind: str) -> bool:
    """Say whether a finding of this kind is on record."""
    findings = state / "findings.jsonl"
    return findings.exists() and f'"{kind}"' in findings.read_text()


def size_of(state: Path) -> int:
    try:
        return int(json.loads((state / "state.json").read_text())["note"].splitlines()[1])
    except FileNotFoundError:
        return 0
