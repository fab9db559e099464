"""`payment affected-by --mirror`: every statement that names a certificate, out of a mirror and judged by proofs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from chainnode.mirror import Mirror
from chainnode.mirror_files import MirrorFiles
from chainnode.monitoring import Trust
from ledger.certificate_versions import read_versions
from ledger.event_json import body_from_json
from ledger.events import Event
from ledger.status_proofs import make_status_proof
from ledger.times import format_time, parse_time
from primitives.encoding import encode
from tests.chainnode.mirror_fixtures import Served, policy_of
from tests.rpc.conftest import MemoryNode
from tests.rpc.test_payment_certificates import pay
from tests.rpc.test_records import NUMBER, life

NEVER = "FTP-2026-06-000009"
ELSEWHERE = "FTP-2026-06-000007"


def say(node: MemoryNode, member: str, use: str, kind: str, body: dict[str, Any]) -> int:
    """Commit an event of a member in a block of its own; return the block's time."""
    number, schema, data = body_from_json(kind, body, None)
    node.member, node.key_use = member, use
    node.references += 1
    reference = sha256(b"said %d" % node.references).digest()[:16]
    node.commit(node.batch([encode(Event(member, reference, node.now + 3_600_000, number, schema, data))]))
    height = int(node.chain.height)
    assert node.reader.outcome(height, 0).applied, node.reader.outcome(height, 0)
    header = node.reader.header(height)
    assert header is not None
    return int(header.time_ms)


class Told:
    """A chain on which a certificate is granted, paid at, suspended, restored and revoked from an earlier time on."""

    def __init__(self) -> None:
        self.node = node = MemoryNode()
        self.granted = [say(node, *step) for step in life()][-1]
        self.paid = {"before": pay(node, self.granted - 1)[0], "early": pay(node, self.granted + 1)[0]}
        self.down = say(node, "cb", "source", "certificate.suspend", suspension())
        self.paid["suspended"] = pay(node, self.down)[0]
        self.up = say(node, "cb", "source", "certificate.restore", restoring())
        self.paid["restored"] = pay(node, self.up)[0]
        node.commit_events(300)
        pay(node, self.up, NEVER)
        self.rejected = pay(node, self.up, ELSEWHERE, member="lab")[0]  # which may state no payments
        body = {"number": NUMBER, "reason": "fraud", "invalid_from": format_time(self.up + 10)}
        self.paid["late"] = pay(node, self.up + 10, member="bank-b")[0]
        self.revoked = say(node, "cb", "source", "certificate.revoke", body)
        node.commit_events(1)
        node.checkpoint()

    def proof(self, params: dict[str, Any]) -> str | None:
        """Return what a node proves of a status at a time, or now."""
        reader, at = self.node.reader, params.get("at")
        time_ms = None if at is None else int(parse_time(at))
        height = int(self.node.chain.height) if time_ms is None else reader.height_at_time(time_ms)
        assert height is not None
        return make_status_proof(reader, f"certificate/{params['number']}", int(height), at_ms=time_ms)


def suspension() -> dict[str, Any]:
    return {"number": NUMBER, "reason": "seal_broken", "until": None, "days": 30}


def restoring() -> dict[str, Any]:
    evidence = {"kind": "corrective_action", "digest": "cd" * 32, "custodian": "bank-a", "size_bytes": 9}
    return {"number": NUMBER, "evidence": [evidence]}


@pytest.fixture(scope="module")
def told() -> Told:
    return Told()


@pytest.fixture
def mirror(told: Told, tmp_path: Path) -> Path:
    files = MirrorFiles(tmp_path / "mirror")
    with files.opened():
        Mirror(files, Trust(policy_of(told.node)), [Served(told.node.reader)]).step()
    return files.directory


@pytest.fixture
def url(told: Told) -> Iterator[str]:
    """A node that proves statuses and answers nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert call["method"] == "cert_getStatus"
            body = json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": {"proof": told.proof(call["params"])}})
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def ask(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[dict[str, Any]], str]:
    """Run `payment affected-by`; return its status, its rows and what it said."""
    status = run(["-o", "jsonl", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, [json.loads(row) for row in printed.out.splitlines()], printed.err


def test_a_mirror_tells_every_payment_and_what_proofs_say_of_each_time(told, mirror, url, capsys) -> None:
    status, rows, said = ask(capsys, "--endpoint", url, "payment", "affected-by", NUMBER, "--mirror", mirror)
    assert status == Exit.OK
    assert [(row["event_id"], row["now_known"]) for row in rows] == [
        (told.paid["before"], "not_yet_valid"),
        (told.paid["suspended"], "suspended"),
        (told.paid["late"], "revoked"),
    ]
    assert f"3 of 5 statements in question; complete: all {told.node.chain.log_size} entries" in said
    status, rows, _ = ask(capsys, "--endpoint", url, "payment", "affected-by", NUMBER, "--mirror", mirror, "--all")
    assert [row["event_id"] for row in rows] == list(told.paid.values())
    assert [row["in_question"] for row in rows] == [True, False, True, False, True]


def test_a_certificate_that_never_was_has_all_its_payments_in_question(told, mirror, url, capsys) -> None:
    status, rows, _ = ask(capsys, "--endpoint", url, "payment", "affected-by", NEVER, "--mirror", mirror)
    assert (status, [(row["now_known"], row["in_question"]) for row in rows]) == (Exit.OK, [(None, True)])


def test_a_mirror_tells_what_the_node_tells_of_each_statement_and_its_block(told, mirror, url, capsys) -> None:
    reader = told.node.reader
    versions = read_versions(reader, NUMBER, int(told.node.chain.height))
    asked = ["payment", "affected-by", NUMBER, "--mirror", mirror, "--all"]
    _, rows, _ = ask(capsys, "--endpoint", url, *asked)
    for row in rows:
        view = reader.event(bytes.fromhex(row["event_id"]))
        paid_ms = int(parse_time(row["payment_time"]))
        known = versions.known_at(view.position.height).status_at(paid_ms)
        assert row["then_known"] == (None if known is None else known.status.value)
        assert row["now_known"] == versions.status_at(paid_ms).status.value
        assert (row["height"], row["log_index"]) == (view.position.height, view.position.log_index)
        assert (row["time"], row["applied"]) == (format_time(view.time_ms), True)
    assert [row["then_known"] for row in rows] == ["not_yet_valid", "valid", "suspended", "valid", "valid"]


def test_a_statement_of_a_block_with_rejections_is_not_called_applied(told, mirror, url, capsys) -> None:
    _, rows, _ = ask(capsys, "--endpoint", url, "payment", "affected-by", ELSEWHERE, "--mirror", mirror)
    assert [(row["event_id"], row["applied"]) for row in rows] == [(told.rejected, None)]


def test_one_proof_alone_judges_what_it_speaks_of_and_says_what_it_leaves_open(told, mirror, tmp_path, capsys) -> None:
    proof = tmp_path / "status"
    proof.write_text(told.proof({"number": NUMBER}))
    status, rows, said = ask(capsys, "payment", "affected-by", NUMBER, "--mirror", mirror, "--status", proof)
    assert status == Exit.OK
    assert {row["event_id"]: row["in_question"] for row in rows} == {
        told.paid[name]: True if name == "late" else None for name in told.paid
    }
    assert "1 of 5 statements in question, 4 not judged by this proof alone" in said
    assert run(["payment", "affected-by", NUMBER, "--mirror", str(mirror), "--status", str(proof)]) == Exit.OK
    assert capsys.readouterr().out.count("not judged") == 4


def test_a_proof_from_before_the_mirrors_end_is_refused_since_it_hides_a_revocation(
    told, mirror, url, tmp_path, capsys, monkeypatch
) -> None:
    reader, key = told.node.reader, f"certificate/{NUMBER}"
    before = make_status_proof(reader, key, int(reader.height_at_time(told.revoked)) - 1)
    proof = tmp_path / "status"
    proof.write_text(before)
    status, rows, said = ask(capsys, "payment", "affected-by", NUMBER, "--mirror", mirror, "--status", proof)
    assert (status, rows, "older than the mirror" in said) == (Exit.VERIFICATION_FAILED, [], True)
    honest = Told.proof
    monkeypatch.setattr(Told, "proof", lambda told, params: honest(told, params) if "at" in params else before)
    status, rows, said = ask(capsys, "--endpoint", url, "payment", "affected-by", NUMBER, "--mirror", mirror)
    assert (status, rows, "older than the mirror" in said) == (Exit.VERIFICATION_FAILED, [], True)


@pytest.mark.parametrize(("number", "found"), [(NUMBER, 3), (NEVER, 1), ("FTP-2026-06-000008", 0)])
def test_as_json_the_list_says_what_it_is_complete_up_to(told, mirror, url, capsys, number, found) -> None:
    asked = ["payment", "affected-by", number, "--mirror", str(mirror)]
    assert run(["-o", "json", "--endpoint", url, *asked]) == Exit.OK
    answer = json.loads(capsys.readouterr().out)
    chain = told.node.chain
    assert (len(answer["payments"]), answer["in_question"], answer["not_judged"]) == (found, found, 0)
    assert (answer["log_size"], answer["height"], answer["certificate"]) == (chain.log_size, chain.height, number)
    assert answer["root"] == told.node.reader.checkpoint().root.hex()
    assert len(answer["cosigners"]) >= 3


def test_a_span_of_payment_times_is_kept_to(told, mirror, url, capsys) -> None:
    span = ["--from", format_time(told.down), "--to", format_time(told.up + 10)]
    _, rows, said = ask(capsys, "--endpoint", url, "payment", "affected-by", NUMBER, "--mirror", mirror, *span)
    assert [row["event_id"] for row in rows] == [told.paid["suspended"]]
    assert "1 of 2 statements" in said
    span = ["--from", format_time(told.up), "--to", format_time(told.down)]
    status, _, said = ask(capsys, "--endpoint", url, "payment", "affected-by", NUMBER, "--mirror", mirror, *span)
    assert (status, "ends before it begins" in said) == (Exit.USAGE, True)


def test_a_mirror_of_which_an_entry_was_changed_fails(told, mirror, url, capsys) -> None:
    path = next((mirror / "tile/entries").rglob("000"))
    data = path.read_bytes()
    place = data.index(NUMBER.encode())
    path.write_bytes(data[:place] + b"XXX" + data[place + 3 :])
    status, _, said = ask(capsys, "--endpoint", url, "payment", "affected-by", NUMBER, "--mirror", mirror)
    assert (status, "entry is not the log's leaf" in said) == (Exit.VERIFICATION_FAILED, True)


def test_proofs_of_another_certificate_or_time_are_refused(told, mirror, url, tmp_path, capsys, monkeypatch) -> None:
    proof = tmp_path / "status"
    proof.write_text(told.proof({"number": NEVER}))
    status, _, said = ask(capsys, "payment", "affected-by", NUMBER, "--mirror", mirror, "--status", proof)
    assert (status, "proof of another key" in said) == (Exit.VERIFICATION_FAILED, True)
    honest = Told.proof
    monkeypatch.setattr(Told, "proof", lambda told, params: honest(told, {"number": params["number"]}))
    status, _, said = ask(capsys, "--endpoint", url, "payment", "affected-by", NUMBER, "--mirror", mirror)
    assert (status, "says nothing about that time" in said) == (Exit.VERIFICATION_FAILED, True)


def test_a_mirror_without_entries_or_none_at_all_is_said_so(told, mirror, url, tmp_path, capsys) -> None:
    status, _, said = ask(capsys, "payment", "affected-by", NUMBER, "--mirror", tmp_path / "none")
    assert (status, "no mirror is here" in said) == (Exit.NOT_FOUND, True)
    bare = MirrorFiles(tmp_path / "bare")
    with bare.opened():
        Mirror(bare, Trust(policy_of(told.node)), [Served(told.node.reader)], entries=False).step()
    status, _, said = ask(capsys, "--endpoint", url, "payment", "affected-by", NUMBER, "--mirror", bare.directory)
    assert (status, "the mirror lacks entries" in said) == (Exit.VERIFICATION_FAILED, True)
    status, _, said = ask(capsys, "payment", "affected-by", NUMBER, "--status", tmp_path / "x")
    assert (status, "--status with --mirror" in said) == (Exit.USAGE, True)
