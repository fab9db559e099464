"""A receipt from one node is verified offline under the policy of another, and no byte of it can be changed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger.receipts import verify
from primitives.errors import ProofError
from tests.e2e.network_fixtures import STUCK_S, Network, until
from tests.e2e.traffic_fixtures import Source, id_of, payment, submit

pytestmark = pytest.mark.e2e

SAMPLE = 600
CLI = Path(sys.executable).with_name("chainnode")


@dataclass
class Proven:
    event_id: str
    receipt: str
    policy: str


@pytest.fixture(scope="module")
def proven(net: Network, sources: dict[str, Source]) -> Proven:
    source = sources["bank-a-bank"]
    events = [payment("bank-a") for _ in range(300)]  # more than one leaf of outcomes
    rows = submit(net, "bank-a", source.sign(events))
    event = events[270]
    assert rows[270]["id"] == id_of(event)
    receipt = until(lambda: net.call("bank-a", "ledger_getProof", event_id=id_of(event))["receipt"])
    return Proven(id_of(event), receipt, net.http("bank-c", "GET", "/policy")[1].decode())


def test_a_receipt_of_one_node_holds_under_the_policy_of_another(net: Network, proven: Proven) -> None:
    verdict = verify(proven.receipt, proven.policy)
    assert (verdict.event_id.hex(), verdict.applied, verdict.member) == (proven.event_id, True, "bank-a")
    assert verdict.chain_id == net.genesis.chain_id
    assert len(verdict.cosigners) >= 3


def test_every_node_gives_a_receipt_and_the_policy_is_the_same_everywhere(net: Network, proven: Proven) -> None:
    for name in ("bank-b", "bank-c", "bank-d"):
        status, text = net.http(name, "GET", f"/events/{proven.event_id}.tlog-proof")
        assert status == 200
        assert verify(text.decode(), proven.policy).event_id.hex() == proven.event_id
        assert net.http(name, "GET", "/policy")[1].decode() == proven.policy


def refuses(receipt: str, policy: str) -> bool:
    """Whether a receipt is refused; anything but a ProofError would be a defect of `verify`."""
    try:
        verify(receipt, policy)
    except ProofError:
        return True
    return False


def test_no_single_byte_of_a_receipt_can_be_changed(proven: Proven) -> None:
    seed = int(os.environ.get("CHAINNODE_E2E_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"CHAINNODE_E2E_SEED={seed}")
    draw = random.Random(seed)
    receipt = proven.receipt
    # All of the signed note with its signatures and the head, and a sample of the rest.
    note = receipt.index("\n\n")
    places = [*range(60), *range(note - 10, len(receipt)), *draw.sample(range(len(receipt)), SAMPLE)]
    accepted = []
    for place in places:
        changed = chr(ord(receipt[place]) ^ (1 << draw.randrange(7)))
        if not refuses(receipt[:place] + changed + receipt[place + 1 :], proven.policy):
            accepted.append((place, receipt[place], changed))
    assert accepted == []


def test_a_receipt_cut_or_lengthened_anywhere_is_refused(proven: Proven) -> None:
    receipt = proven.receipt
    for place in range(0, len(receipt), 37):
        assert refuses(receipt[:place], proven.policy), place
        assert refuses(receipt[:place] + receipt[place] + receipt[place:], proven.policy) or receipt[place] == "\n", (
            place
        )


def test_a_receipt_of_another_chain_is_refused(proven: Proven) -> None:
    lines = [line for line in proven.policy.splitlines() if not line.startswith("log ")]
    assert refuses(proven.receipt, "\n".join(lines) + "\n")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(CLI), *map(str, arguments)], capture_output=True, text=True, timeout=STUCK_S, check=False
    )


def test_the_command_line_proves_and_verifies_and_says_by_its_status_what_does_not_hold(
    net: Network, proven: Proven, tmp_path: Path
) -> None:
    endpoint = ("--endpoint", net.node("bank-b").rpc)
    receipt, policy, tampered = tmp_path / "event.tlog-proof", tmp_path / "policy", tmp_path / "tampered"
    assert run(*endpoint, "prove", proven.event_id, "-f", receipt).returncode == 0
    policy.write_text(run(*endpoint, "policy", "export").stdout)
    assert run("verify", receipt, "--policy", policy).returncode == 0
    text = receipt.read_text()
    tampered.write_text(text.replace("index ", "index 1", 1))
    ended = run("verify", tampered, "--policy", policy)
    assert ended.returncode == 3
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
