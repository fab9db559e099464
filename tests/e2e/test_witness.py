"""A witness beside four real nodes: its word on receipts, its absence, its return, and a fork that it does not sign."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from chainnode.identity import read_key
from chainnode.witness import origin_hash
from chainnode.witness_protocol import SIZE_TYPE, request_body
from ledger.receipts import verify
from ledger.trust_policy import assemble_checkpoint
from primitives.errors import ProofError
from primitives.hashing import leaf_hash
from primitives.notes import Checkpoint, cosign_statement, parse_note, parse_vkey, sign_note, verify_cosignature
from primitives.validators import ValidatorSet
from tests.e2e.network_fixtures import NAMES, STUCK_S, Network, until
from tests.e2e.traffic_fixtures import Source, id_of, payment, source_of, submit

pytestmark = pytest.mark.e2e

CLI = Path(sys.executable).with_name("chainnode")
NAME = "regulator.example/witness"


def run(*arguments: str | Path, status: int = 0) -> dict[str, Any]:
    ended = subprocess.run(
        [str(CLI), "-o", "json", *map(str, arguments)], capture_output=True, text=True, timeout=STUCK_S, check=False
    )
    assert ended.returncode == status, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout) if ended.stdout.startswith("{") else {"text": ended.stdout}
    return found


class Regulator:
    """A witness's process and directory; owned by the module."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.vkey = run("witness", "init", directory, "--name", NAME)["vkey"]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.directory.parent / "witness.log").read_text()

    def start(self) -> None:
        with (self.directory.parent / "witness.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(CLI), "witness", "serve", str(self.directory), "--listen", f"127.0.0.1:{self.port}"], stderr=log
            )

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        assert self.process.wait(STUCK_S) == -signal.SIGKILL

    def ask(self, body: bytes) -> tuple[int, str, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=STUCK_S / 2)
        try:
            connection.request("POST", "/add-checkpoint", body)
            answer = connection.getresponse()
            return answer.status, str(answer.getheader("Content-Type")), answer.read()
        finally:
            connection.close()

    def latest(self, origin: str) -> str | None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=STUCK_S / 2)
        try:
            connection.request("GET", f"/{origin_hash(origin)}/checkpoint")
            answer = connection.getresponse()
            text = answer.read().decode()
            return text if answer.status == 200 else None
        finally:
            connection.close()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Network, Regulator, Path]]:
    """Four nodes that ask a witness, which knows them by their policy; and a policy that demands it."""
    directory = tmp_path_factory.mktemp("witnessed")
    regulator = Regulator(directory / "regulator")
    running = Network(directory)
    try:
        entry = f"{regulator.vkey} http://127.0.0.1:{regulator.port}"
        for name in NAMES:
            running.set(name, {"witnesses.ask": [entry], "witnesses.interval_ms": 200})
        genesis, policy = running.net.directory / "genesis.json", directory / "policy"
        run("policy", "export", "--genesis", genesis, "-f", policy)
        assert run("witness", "add-log", regulator.directory, "--policy", policy)["quorum"] is True
        demanding = directory / "demanding"
        run("policy", "export", "--genesis", genesis, "--witness", f"regulator={regulator.vkey}", "-f", demanding)
        regulator.start()
        running.start()
        yield running, regulator, demanding
    finally:
        running.close()
        if regulator.process is not None and regulator.process.poll() is None:
            regulator.process.kill()
            regulator.process.wait(STUCK_S)


@pytest.fixture(scope="module")
def source(watched: tuple[Network, Regulator, Path]) -> Source:
    return source_of(watched[0], "bank-a-bank")


def committed(net: Network, source: Source) -> str:
    event = payment("bank-a")
    assert submit(net, "bank-a", source.sign([event]))[0]["status"] == "Committed"
    return id_of(event)


def witnessed_size(regulator: Regulator, net: Network) -> int:
    note = regulator.latest(net.genesis.origin)
    return 0 if note is None else int(parse_note(note).text.split("\n")[1])


def test_a_receipt_holds_under_the_policy_that_demands_the_witness_once_it_has_cosigned(
    watched: tuple[Network, Regulator, Path], source: Source, tmp_path: Path
) -> None:
    net, _, policy = watched
    event_id = committed(net, source)
    receipt = tmp_path / "receipt"
    run("--endpoint", net.node("bank-b").rpc, "prove", event_id, "--witness", NAME, "-f", receipt)
    told = run("verify", receipt, "--policy", policy)
    assert "regulator" in told["cosigners"]
    assert (told["cosigned"]["by"], told["cosigned"]["of"]) == (4, 5)
    # The same receipt without that line holds under the validators' policy alone.
    lines = [line for line in receipt.read_text().split("\n") if NAME not in line]
    (tmp_path / "without").write_text("\n".join(lines))
    run("verify", tmp_path / "without", "--policy", policy, status=3)
    plain = net.http("bank-c", "GET", "/policy")[1].decode()
    assert len(verify((tmp_path / "without").read_text(), plain).cosigners) == 3
    with pytest.raises(ProofError):
        verify((tmp_path / "without").read_text(), policy.read_text())


def test_every_node_asks_and_their_checkpoints_bear_the_line(
    watched: tuple[Network, Regulator, Path], source: Source
) -> None:
    net, regulator, _ = watched
    witness = parse_vkey(regulator.vkey)
    asked: set[str] = set()

    def all_cosigned() -> bool:
        committed(net, source)
        for name in NAMES:
            text = net.ops(name, "/metrics")[1]
            found = re.search(r"chainnode_witness_cosignatures_total\{[^}]*\} ([0-9.]+)", text)
            if found is not None and float(found[1]) >= 2:
                asked.add(name)
        return asked == set(NAMES)

    until(all_cosigned, progress=asked.copy, describe=lambda: str(asked))
    newest = until(lambda: witness.name in (note := net.http("bank-d", "GET", "/checkpoint")[1].decode()) and note)
    assert verify_cosignature(parse_note(newest), witness) > 0
    monitored = regulator.latest(net.genesis.origin)
    assert monitored is not None
    assert monitored.count(f"— {net.genesis.chain}/") >= 3


def test_without_the_witness_the_chain_goes_on_and_it_catches_up_when_it_is_back(
    watched: tuple[Network, Regulator, Path], source: Source
) -> None:
    net, regulator, policy = watched
    before = committed(net, source)
    until(lambda: net.call("bank-a", "ledger_getProof", event_id=before, witnesses=[NAME]))
    regulator.kill()
    missed = [committed(net, source) for _ in range(5)]
    covering = until(lambda: net.call("bank-a", "ledger_getProof", event_id=missed[-1])["receipt"])
    with pytest.raises(ProofError, match="too few cosignatures"):
        verify(covering, policy.read_text())
    age_s = time.time() - newest_time(net)
    assert age_s < STUCK_S / 2, "the checkpoint that is served stays fresh"
    # What was cosigned before is proved under the witness's newest checkpoint all the same.
    assert verify(net.call("bank-a", "ledger_getProof", event_id=before)["receipt"], policy.read_text())
    regulator.start()
    until(lambda: net.call("bank-a", "ledger_getProof", event_id=missed[-1], witnesses=[NAME]))
    caught = net.call("bank-a", "ledger_getProof", event_id=missed[-1])["receipt"]
    assert "regulator" in verify(caught, policy.read_text()).cosigners
    events = {line["event"] for line in net.log_lines("bank-a")}
    assert {"witness_failing", "witness_back"} <= events


def newest_time(net: Network) -> int:
    note = parse_note(net.http("bank-a", "GET", "/checkpoint")[1].decode())
    return max(int.from_bytes(line.signature[:8], "big") for line in note.signatures if len(line.signature) == 72)


def test_a_forked_log_is_refused_and_both_notes_are_kept(
    watched: tuple[Network, Regulator, Path], source: Source
) -> None:
    """Even where a quorum's keys are in one hand: the witness holds the consortium to what it cosigned."""
    net, regulator, _ = watched
    committed(net, source)
    until(lambda: witnessed_size(regulator, net))
    for name in NAMES:  # so that the witness's latest size stands still
        net.stop(name)
    size = witnessed_size(regulator, net)
    assert size > 0
    validators: ValidatorSet = net.sets[0]
    root = leaf_hash(b"another history")
    text, now_s = Checkpoint(net.genesis.origin, size, root).text(), int(time.time())
    log = read_key(net.home("bank-a").log_key).signing_key
    cosigned = [
        (index, now_s, read_key(net.home(each.name).cosign_key).signing_key.sign(cosign_statement(text, now_s)))
        for index, each in enumerate(validators.validators)
    ]
    forked = assemble_checkpoint(net.genesis, validators, "bank-a", log, size, root, cosigned)
    assert regulator.ask(request_body(0, (), forked)) == (409, SIZE_TYPE, f"{size}\n".encode())
    assert regulator.ask(request_body(size, (), forked))[0] == 422
    alone = text + "\n" + sign_note(text, net.genesis.origin, log)
    assert regulator.ask(request_body(size, (), alone))[0] == 403
    (pair,) = (regulator.directory / "logs" / origin_hash(net.genesis.origin) / "forks").iterdir()
    texts = {parse_note(path.read_text()).text for path in pair.glob("*.note")}
    assert len(texts) == 2
    verdict = run("audit", "fork", pair / "fork", "--policy", pair.parents[1] / "policy")
    assert (verdict["verified"], verdict["contradiction"]) == (True, "one size, two roots")
    assert len(verdict["accused"]) >= 2 * validators.quorum - validators.n, "two quorums share at least these"
    assert "witness_fork" in regulator.log
    assert run("witness", "list", regulator.directory)["logs"][0]["forks"] == 1
    net.start()
    event_id = committed(net, source)
    until(lambda: net.call("bank-a", "ledger_getProof", event_id=event_id, witnesses=[NAME]))


def test_what_was_cosigned_passes_fsck(watched: tuple[Network, Regulator, Path]) -> None:
    net, _, _ = watched
    net.stop("bank-d")
    report = run("--home", net.home("bank-d").root, "fsck")
    assert report["ok"] is True
