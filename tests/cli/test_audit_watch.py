"""`audit watch`: options, exit statuses and the daemon's own listener, over HTTP and without a token."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from tests.chainnode.mirror_fixtures import Served, chain, policy_of
from tests.cli.test_mirror import LogHandler, listening, serving
from tests.e2e.network_fixtures import free_ports
from tests.rpc.conftest import MemoryNode
from tests.rpc.tls_fixtures import self_signed

Look = Callable[..., tuple[int, list[dict[str, Any]], str]]
DEADLINE_S = 20.0


@pytest.fixture
def node() -> MemoryNode:
    made = chain(5, 3)
    made.now = int(time.time() * 1_000)
    made.checkpoint()
    return made


@pytest.fixture
def urls(node: MemoryNode) -> Iterator[list[str]]:
    with ExitStack() as held:
        yield [held.enter_context(serving(Served(node.reader))) for _ in range(2)]


@pytest.fixture
def look(node: MemoryNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Look:
    """Return what runs `audit watch --once` and gives its status, findings and messages."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy").write_text(policy_of(node))

    def call(*words: str) -> tuple[int, list[dict[str, Any]], str]:
        capsys.readouterr()
        status = run(["audit", "watch", "--once", "--policy", "policy", *words])
        told = capsys.readouterr()
        return status, [json.loads(line) for line in told.out.splitlines()], told.err

    return call


def nodes(*urls: str) -> list[str]:
    return [word for url in urls for word in ("--node", url)]


def test_several_honest_nodes_end_with_status_0_and_no_finding(look: Look, urls: list[str], tmp_path: Path) -> None:
    assert look(*nodes(*urls)) == (Exit.OK, [], "")
    row = json.loads((tmp_path / "audit-state/state.json").read_text())
    assert sorted(row["nodes"]) == sorted(urls)
    assert look(*nodes(*urls), "--no-entries", "--interval", "5s") == (Exit.OK, [], "")


def test_a_fork_ends_with_status_3_each_time_is_told_once_and_its_file_convinces(look: Look, urls: list[str]) -> None:
    with serving(Served(chain(5, 9, first=7).reader)) as other:
        status, (row, *_), _ = look(*nodes(*urls, other))
        assert (status, row["kind"], row["node"]) == (Exit.VERIFICATION_FAILED, "fork", other)
        assert run(["audit", "fork", row["proof"], "--policy", "audit-state/policy"]) == Exit.OK
        status, rows, _ = look(*nodes(*urls, other))
        assert (status, [row["kind"] for row in rows]) == (Exit.VERIFICATION_FAILED, [])


def test_a_node_that_is_not_there_ends_with_status_5(look: Look, urls: list[str]) -> None:
    gone = f"http://127.0.0.1:{free_ports(1)}"
    status, rows, _ = look(*nodes(*urls, gone))
    assert (status, [row["kind"] for row in rows]) == (Exit.UNHEALTHY, ["unreachable"])
    status, rows, _ = look(*nodes(*urls))
    assert (status, [row["state"] for row in rows]) == (Exit.OK, ["cleared"])


class Elsewhere(LogHandler):
    """Sends whoever asks to another server."""

    def do_GET(self) -> None:  # noqa: N802  http.server's name
        self.send_response(302)
        self.send_header("Location", f"{self.target}{self.path}")  # type: ignore[attr-defined]  # given by the test
        self.send_header("Content-Length", "0")
        self.end_headers()


class Dribbling(LogHandler):
    """Sends a byte now and then, for ever."""

    def do_GET(self) -> None:  # noqa: N802  http.server's name
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        try:
            for _ in range(200):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            return


class Endless(LogHandler):
    """Sends more than any checkpoint can have."""

    def do_GET(self) -> None:  # noqa: N802  http.server's name
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(1_000):
                self.wfile.write(b"x" * 10_000)
        except OSError:
            return
        finally:
            self.close_connection = True


@pytest.mark.parametrize(
    ("handler", "kind", "status"),
    [
        (Elsewhere, "unreachable", Exit.UNHEALTHY),
        (Dribbling, "unreachable", Exit.UNHEALTHY),
        (Endless, "bad_answer", Exit.VERIFICATION_FAILED),
    ],
)
def test_a_hostile_server_costs_its_own_finding_and_no_more(
    look: Look, urls: list[str], handler: type, kind: str, status: Exit
) -> None:
    bound = type("Bound", (handler,), {"target": urls[1]})
    with listening(bound) as hostile:
        found, rows, _ = look(*nodes(urls[0], hostile), "--timeout", "0.5")
        assert (found, [(row["kind"], row["node"]) for row in rows]) == (status, [(kind, hostile)])


class Guarded(LogHandler):
    """Shows entries and receipts to who has the token alone, as a node off loopback does."""

    def do_GET(self) -> None:  # noqa: N802  http.server's name
        closed = self.path.startswith(("/tile/entries", "/events"))
        if closed and self.headers["Authorization"] != "Bearer " + "t" * 43:
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            super().do_GET()


def test_without_an_account_all_but_entries_is_watched_and_with_a_token_these_too(
    look: Look, node: MemoryNode, urls: list[str], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("t" * 43 + "\n")
    (tmp_path / "token").chmod(0o600)
    with listening(type("Bound", (Guarded,), {"served": Served(node.reader)})) as url:
        status, rows, _ = look(*nodes(url))
        assert (status, [row["kind"] for row in rows]) == (Exit.OK, ["no_entries"])
        status, rows, _ = look(*nodes(url), "--token-file", "token")
        assert (status, [row["state"] for row in rows]) == (Exit.OK, ["cleared"])
        assert look(*nodes(url, urls[0]), "--node-token", url, "token", "--state", "other") == (Exit.OK, [], "")


def test_a_node_with_tls_is_held_to_the_named_roots_and_its_certificates_end_is_told(
    look: Look, node: MemoryNode, tmp_path: Path
) -> None:
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    context, _ = self_signed(tmp_path, age.days + 20)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (LogHandler,), {"served": Served(node.reader)}))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        url = f"https://127.0.0.1:{server.server_port}"
        status, rows, _ = look(*nodes(url))
        assert (status, rows[0]["kind"], "CERTIFICATE_VERIFY_FAILED" in rows[0]["message"]) == (5, "unreachable", True)
        status, rows, _ = look(*nodes(url), "--ca-file", "tls.pem", "--warn-days", "25")
        assert (status, [(row["kind"], row["state"]) for row in rows]) == (
            Exit.OK,
            [("deadline", "raised"), ("unreachable", "cleared")],
        )
        assert "TLS certificate" in rows[0]["message"]
        status, rows, _ = look(*nodes(url), "--ca-file", "tls.pem", "--warn-days", "15")
        assert [(row["kind"], row["state"]) for row in rows] == [("deadline", "cleared")]
    finally:
        server.shutdown()
        server.server_close()


def test_what_is_not_a_use_of_it_is_refused(look: Look, urls: list[str], tmp_path: Path) -> None:
    assert look()[0] == Exit.USAGE
    assert look("--node", "ftp://x")[0] == Exit.USAGE
    assert look(*nodes(urls[0]), "--listen", "0.0.0.0:7399")[0] == Exit.USAGE
    assert look(*nodes(urls[0]), "--interval", "soon")[0] == Exit.USAGE
    (tmp_path / "token").write_text("t" * 43 + "\n")
    (tmp_path / "token").chmod(0o600)
    assert look(*nodes(*urls), "--token-file", "token")[0] == Exit.USAGE
    assert run(["audit", "watch", "--once", *nodes(urls[0])]) == Exit.USAGE, "nobody says whom to trust"
    assert look(*nodes(urls[0]), "--node-token", urls[1], "token")[0] == Exit.USAGE, "a token of nobody who is asked"
    (tmp_path / "policy").write_text("quorum nobody\n")
    assert look(*nodes(urls[0]))[0] == Exit.VERIFICATION_FAILED


def test_another_policy_or_a_changed_state_is_refused(look: Look, urls: list[str], tmp_path: Path) -> None:
    assert look(*nodes(*urls))[0] == Exit.OK
    with (tmp_path / "policy").open("a") as file:
        file.write("# more\n")
    assert look(*nodes(*urls))[0] == Exit.USAGE
    for name in ("state.json", "deadlines.json", "findings.jsonl"):
        path = tmp_path / "audit-state" / name
        whole = path.read_bytes() if path.exists() else None
        path.write_text("{}\n")
        assert run(["audit", "watch", "--once", *nodes(*urls)]) == Exit.VERIFICATION_FAILED, name
        path.unlink() if whole is None else path.write_bytes(whole)


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def until(url: str, text: str) -> str:
    """Return the body that has a text, once it has."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        body = get(url)[1]
        if text in body:
            return body
        time.sleep(0.05)
    raise AssertionError(f"no {text} at {url}")


def test_the_daemon_serves_its_metrics_and_ends_on_sigterm_with_the_status_of_its_worst_finding(
    urls: list[str], node: MemoryNode, tmp_path: Path
) -> None:
    (tmp_path / "policy").write_text(policy_of(node))
    port = free_ports(1)
    forked = Served(node.reader)
    with serving(forked) as other:
        words = ["audit", "watch", "--policy", "policy", *nodes(*urls, other), "--interval", "0.05"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CHAINNODE_")}
        with subprocess.Popen(
            [str(Path(sys.executable).with_name("chainnode")), *words, "--listen", f"127.0.0.1:{port}"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as daemon:
            try:
                base = f"http://127.0.0.1:{port}"
                until(f"{base}/readyz?verbose", "[+] rounds")
                assert get(f"{base}/livez") == (200, "ok\n")
                assert get(f"{base}/readyz")[0] == 200
                forked.reader = chain(5, 9, first=7).reader
                until(f"{base}/metrics", 'chainnode_audit_findings_open{kind="fork",severity="critical"} 1.0')
                daemon.send_signal(signal.SIGTERM)
                told, _ = daemon.communicate(timeout=DEADLINE_S)
            finally:
                daemon.kill()
        assert daemon.returncode == Exit.VERIFICATION_FAILED
        assert [json.loads(line)["kind"] for line in told.splitlines()].count("fork") == 1
