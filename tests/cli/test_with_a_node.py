"""Commands that ask a node, against one that answers as each test tells it to."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chainnode.cli import submit as submit_module
from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from chainnode.home import Home

ROOT = Path(__file__).parents[2]
SAMPLE = str(ROOT / "samples" / "payments" / "01-pacs008-cny-single.xml")
NUMBER = "FTP-2026-06-000123"
STATUS = {"member": "bank-a", "height": 7, "catching_up": False}
Answer = Callable[[dict[str, Any]], Any]


class Node:
    """What the fake answers, by method; `ready` is what its /readyz says."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {"net_status": lambda _: STATUS}
        self.ready = b"ready\n"
        self.called: list[str] = []

    def respond(self, call: dict[str, Any]) -> dict[str, Any]:
        self.called.append(call["method"])
        found = self.answers[call["method"]](call["params"])
        part = "error" if isinstance(found, dict) and "code" in found else "result"
        return {"jsonrpc": "2.0", "id": call["id"], part: found}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    node: Node

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = (
            [self.node.respond(one) for one in request] if isinstance(request, list) else self.node.respond(request)
        )
        self.reply(200, json.dumps(answer).encode())

    def do_GET(self) -> None:
        self.reply(200 if self.node.ready == b"ready\n" else 503, self.node.ready)

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def address(node: Node) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"node": node}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def home(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """Return the home of bank-a, whose settings lead to the fake."""
    for name in ("CHAINNODE_HOME", "CHAINNODE_LOCALNET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "its home"
    init = ["--home", str(root), "init"]
    assert run([*init, "--name", "bank-a", "--agent", "BKAACNBJXXX"]) == 0
    assert run(["genesis", "create", str(Home(root).entry), "--chain", "one", "-f", "genesis.json"]) == 0
    capsys.readouterr()
    assert run([*init, "--genesis", "genesis.json"]) == 0
    assert f"run `chainnode start --home '{root}'`" in capsys.readouterr().err, "the path has a blank"
    monkeypatch.setenv("CHAINNODE_RPC__LISTEN", address)
    monkeypatch.setenv("CHAINNODE_OPS__LISTEN", address.replace("127.0.0.1", "localhost"))
    return root


def accepting(params: dict[str, Any]) -> dict[str, Any]:
    return {"events": [{"id": f"{place:064x}", "status": "Pending"} for place in range(len(params["events"]))]}


def committed(params: dict[str, Any]) -> dict[str, Any]:
    return {"id": params["event_id"], "status": "Committed", "height": 8, "outcome": {"applied": True}}


def commits(node: Node) -> None:
    node.answers |= {"ledger_submit": accepting, "ledger_getStatus": committed}


def test_submitting_prints_one_json_document(node: Node, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commits(node)
    assert run(["--home", str(home), "-o", "json", "submit", SAMPLE, "no-such-file.xml"]) == Exit.ERROR
    rows = json.loads(capsys.readouterr().out)["events"]
    assert [row["status"] for row in rows] == ["Refused", "Committed"], "the other files go on"
    assert "no-such-file.xml" in rows[0]["message"]
    assert run(["--home", str(home), "-o", "jsonl", "submit", SAMPLE]) == Exit.OK
    assert [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()] == ["Committed"]
    assert run(["--home", str(home), "-o", "json", "submit", "--dry-run", SAMPLE, SAMPLE]) == Exit.OK
    assert len(json.loads(capsys.readouterr().out)["events"]) == 2


def test_a_rejection_is_told_with_times_as_times(node: Node, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commits(node)
    outcome = {"applied": False, "rule": "expired", "detail": "at 1767225600000, block time 1767225600001"}
    node.answers["ledger_getStatus"] = lambda params: committed(params) | {"outcome": outcome}
    assert run(["--home", str(home), "submit", SAMPLE]) == Exit.ERROR
    assert "expired: at 2026-01-01T00:00:00Z, block time 2026-01-01T00:00:00.001Z" in capsys.readouterr().out
    assert run(["--home", str(home), "-o", "jsonl", "submit", SAMPLE]) == Exit.ERROR
    assert json.loads(capsys.readouterr().out)["outcome"] == outcome, "programs get what is recorded"


def test_directory_among_files_is_refused_and_the_only_missing_file_is_status_6(
    node: Node, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commits(node)
    assert run(["--home", str(home), "submit", str(tmp_path), SAMPLE]) == Exit.ERROR
    assert "applied" in capsys.readouterr().out
    assert run(["--home", str(home), "submit", "no-such-file.xml"]) == Exit.NOT_FOUND


def test_time_out_of_submitting_is_status_5_with_a_row_for_each_event(
    node: Node, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node.answers |= {
        "ledger_submit": accepting,
        "ledger_getStatus": lambda params: {"id": params["event_id"], "status": "Pending"},
    }
    started = time.monotonic()
    assert run(["--home", str(home), "-o", "json", "submit", "--timeout", "0.2", SAMPLE]) == Exit.UNHEALTHY
    assert time.monotonic() - started < 3
    (row,) = json.loads(capsys.readouterr().out)["events"]
    assert (row["id"], row["status"]) == ("0" * 64, "Pending")
    assert "accepted, not committed yet; ask again with `chainnode get" in row["message"]


def test_interrupted_submitting_says_how_far_it_came(
    node: Node, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    commits(node)
    monkeypatch.setattr("chainnode.submission.send_within", interrupted)
    assert run(["--home", str(home), "submit", SAMPLE]) == Exit.INTERRUPTED
    assert f"0 of 1 events were answered; {submit_module.AGAIN}" in capsys.readouterr().err


def test_status_is_5_where_the_node_of_the_home_is_not_ready(
    node: Node, home: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", str(home), "-o", "json", "status"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["ready"] is True
    node.ready = b"not ready: peers\n"
    assert run(["--home", str(home), "-o", "json", "status"]) == Exit.UNHEALTHY
    captured = capsys.readouterr()
    assert json.loads(captured.out)["ready"] is False
    assert "not ready: peers" in captured.err
    assert run(["--endpoint", f"http://{address}", "status"]) == Exit.OK, "another node's ops address is not known"
    node.answers["net_status"] = lambda _: {**STATUS, "catching_up": True}
    assert run(["--endpoint", f"http://{address}", "status"]) == Exit.UNHEALTHY


def test_status_proof_is_waited_for(node: Node, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter([None, {"code": -32002, "message": "not yet"}, "the proof\n"])

    def status(_: dict[str, Any]) -> Any:
        found = next(answers)
        return found if isinstance(found, dict) else {"number": NUMBER, "exists": True, "proof": found}

    node.answers["cert_getStatus"] = status
    assert run(["--home", str(home), "cert", "status", NUMBER, "--proof", "p"]) == Exit.OK
    assert Path("p").read_text() == "the proof\n"
    assert "the proof" not in capsys.readouterr().out


def test_status_proof_that_does_not_come_is_status_5_and_no_wrong_use(
    node: Node, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node.answers["cert_getStatus"] = lambda _: {"number": NUMBER, "exists": True, "proof": None}
    command = ["--home", str(home), "cert", "status", NUMBER, "--proof", "p", "--timeout", "0.2"]
    assert run(command) == Exit.UNHEALTHY
    assert "no status proof yet" in capsys.readouterr().err
    assert not Path("p").exists()
    assert node.called.count("cert_getStatus") > 1


@pytest.mark.parametrize(
    "command",
    [
        ["get", "abc"],
        ["get", "z" * 64],
        ["prove", "1"],
        ["block", "new"],
        ["block", "g" * 64],
        ["payment", "show", "1"],
    ],
    ids=" ".join,
)
def test_malformed_id_is_status_2_without_asking(
    command: list[str], node: Node, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", str(home), *command]) == Exit.USAGE
    assert "64 hex digits" in capsys.readouterr().err
    assert node.called == []


def test_what_a_node_says_of_a_parameter_is_told_as_an_argument(
    node: Node, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node.answers["ledger_getBlock"] = lambda _: {"code": -32602, "message": "not a height: got -1 ($.height)"}
    assert run(["--home", str(home), "block", "99"]) == Exit.USAGE
    assert "got -1 (height)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("standing", "status"),
    [("Pending", Exit.UNHEALTHY), ("Refused", Exit.ERROR), ("Unknown", Exit.NOT_FOUND)],
)
def test_event_in_no_block_is_shown_as_it_stands(
    standing: str, status: Exit, node: Node, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node.answers["ledger_getEvent"] = lambda _: {"code": -32001, "message": "no such event"}
    node.answers["ledger_getStatus"] = lambda params: {"id": params["event_id"], "status": standing}
    assert run(["--home", str(home), "-o", "json", "get", "ab" * 32]) == status
    captured = capsys.readouterr()
    if status is Exit.NOT_FOUND:
        assert "no such event" in captured.err
    else:
        assert json.loads(captured.out) == {"id": "ab" * 32, "status": standing}


def test_home_that_is_none_is_refused(node: Node, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["status"], ["block", "latest"], ["submit", SAMPLE], ["config", "show"]):
        assert run(["--home", "/no/such/dir", *command, "--endpoint", f"http://{address}"]) == Exit.NOT_FOUND
        assert "/no/such/dir: not a node's home" in capsys.readouterr().err
    assert node.called == []


def test_policy_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "receipt").write_text("rubbish\n")
    (tmp_path / "policy").write_text("")
    assert run(["verify", str(tmp_path / "receipt"), "--policy", str(tmp_path / "policy")]) == Exit.VERIFICATION_FAILED
    told = capsys.readouterr().err
    assert str(tmp_path / "policy") in told
    assert str(tmp_path / "receipt") not in told


def test_receipt_may_come_from_standard_input(tmp_path: Path) -> None:
    (tmp_path / "policy").write_text("quorum none\n")
    command = [sys.executable, "-m", "cli", "verify", "-", "--policy", str(tmp_path / "policy")]
    done = subprocess.run(command, input=b"rubbish\n", capture_output=True, cwd=ROOT, check=False)
    assert done.returncode == Exit.VERIFICATION_FAILED
    assert b"standard input" in done.stderr


@pytest.mark.parametrize("command", [["--help"], ["config", "show"], ["version"], ["completion", "bash"]], ids=" ".join)
def test_closed_output_ends_quietly_with_one_status(command: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "cli", *command], stdout=writer, stderr=subprocess.PIPE, cwd=ROOT, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (Exit.CLOSED, b"")


def test_format_that_is_not_read_is_no_choice(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["submit", "--format", "iso9999", SAMPLE]) == Exit.USAGE
    assert "'iso9999' is not one of" in capsys.readouterr().err


def test_all_pages_of_evidence_are_listed_in_one_json_document(
    node: Node, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"event_id": f"{number:064x}", "height": number, "time": "2026-01-01T00:00:00Z", "kind": "evidence.batches",
         "accused": {"validator": None, "source": "ab" * 32, "member": "bank-b"}}
        for number in range(3)
    ]  # fmt: skip

    def pages(params: dict[str, Any]) -> dict[str, Any]:
        start = int(params.get("cursor", 0))
        return {"evidence": rows[start : start + 2], "count": 3, "cursor": "2" if start == 0 else None}

    node.answers["net_evidence"] = pages
    command = ["--home", str(home), "evidence", "list"]
    assert run([command[0], command[1], "-o", "json", *command[2:]]) == 0
    assert json.loads(capsys.readouterr().out) == {"evidence": rows}
    assert run(command) == 0
    assert capsys.readouterr().out.count("source abababababababab of bank-b") == 3


def test_a_proof_of_evidence_is_written_where_it_is_asked_for(
    node: Node, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node.answers["net_evidence"] = lambda _: {"evidence": [{"event_id": "ab" * 32}]}
    node.answers["net_evidenceProof"] = lambda params: {"proof": {"of": params["event_id"]}, "as_of": 1}
    target = tmp_path / "it is here.json"
    assert run(["--home", str(home), "evidence", "show", "ab" * 32, "--proof", str(target)]) == 0
    assert json.loads(target.read_text()) == {"of": "ab" * 32}
    said = capsys.readouterr().err
    assert f"chainnode evidence verify '{target}' --genesis GENESIS" in said


def test_a_rotation_that_is_not_taken_leaves_no_key_behind(node: Node, home: Path) -> None:
    commits(node)
    node.answers["payment_pairingKeys"] = lambda _: {"keys": [], "cursor": None, "as_of": 7}
    folder, rotate = Home(home).pairing, ["--home", str(home), "keys", "pairing", "rotate"]
    outcome = {"applied": False, "rule": "day_not_later", "detail": ""}
    node.answers["ledger_getStatus"] = lambda params: committed(params) | {"outcome": outcome}
    assert run(rotate) == Exit.ERROR
    node.answers["ledger_submit"] = lambda _: {"code": -32002, "message": "no source", "data": {"reason": "no_source"}}
    assert run(rotate) != Exit.OK
    assert run([*rotate, "--from-day", "yesterday"]) != Exit.OK
    assert not folder.exists() or list(folder.iterdir()) == []
    node.answers["ledger_submit"] = lambda _: {"code": -32603, "message": "failed", "data": {}}
    assert run(rotate) != Exit.OK
    assert len(list(folder.iterdir())) == 1, "whether it was taken is not known"
    commits(node)
    assert run(rotate) == Exit.OK
    assert len(list(folder.iterdir())) == 2
