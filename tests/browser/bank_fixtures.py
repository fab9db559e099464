"""A real network with certificates and payments on it, for a browser to look at, and what it needs to know of it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chainnode.identity import NodeKeys, load_node_keys
from ledger.trust_policy import assemble_checkpoint
from primitives.ids import Epoch, Hash
from primitives.notes import cosign_statement
from primitives.validators import ValidatorSet
from tests.e2e.network_fixtures import NAMES, QUICK, Network, until
from tests.e2e.traffic_fixtures import row
from tests.web.node_fixtures import ROOT

SAMPLES = ROOT / "samples"
COMMAND_TIMEOUT_S = 60
DOUBLES = tuple(f"http://127.0.0.1:{port}" for port in (31_001, 31_002, 31_003, 31_004))
"""Where tests have a browser find nodes that are none: nothing listens there."""

HOSTILE = "<img src=x onerror=ran=true>"


@dataclass
class Banks:
    """The network, and the events that stand in it by kind, in the order of the log."""

    net: Network
    events: dict[str, list[str]] = field(default_factory=dict)
    number: str = ""
    payment: str = ""
    statement: str = ""
    hostile: str = ""
    rejected: str = ""

    @property
    def url(self) -> str:
        return self.net.node("bank-a").rpc

    def submit(self, file: Path) -> None:
        """Submit a sample file by the key that its name holds; every event is committed and applied."""
        key = self.net.net.keys / f"{file.stem.partition('-')[2]}.key"
        officers = self.net.net.officers_of(key.stem.rpartition("-")[0])
        command = [
            sys.executable,
            "-m",
            "chainnode.cli.main",
            "submit",
            str(file),
            "--as",
            str(key),
            "--endpoint",
            self.url,
            *(f"--officer={path}" for path in officers),
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CHAINNODE_")}
        done = subprocess.run(
            [*command, "-o", "jsonl"],
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            env=environment,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        asked = [json.loads(line) for line in file.read_text().splitlines()]
        for found, item in zip(map(json.loads, done.stdout.splitlines()), asked, strict=True):
            assert found["outcome"]["applied"], found
            self.events.setdefault(item["kind"], []).append(found["id"])
            self.number = (
                item["body"].get("number", self.number) if item["kind"] == "certificate.grant" else self.number
            )

    def report(self) -> None:
        """Report a payment, apply with a product whose name is HTML, and accept what nobody applied for."""
        paid = row()
        agents = [{"role": "debtor-agent", "scheme": "BIC", "code": "BKAACNBJXXX"}]
        paid["body"] |= {"amount": "1250.00", "amount_commitment": "", "currency": "CNY", "agents": agents}
        self.payment = paid["body"]["uetr"] = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
        events = [
            paid,
            {"kind": "certificate.apply", "reference": "01" * 16, "body": application("bank-a.666", HOSTILE)},
            {"kind": "certificate.apply", "reference": "02" * 16, "body": application("bank-b.1", "of another")},
        ]
        found = self.net.call("bank-a", "ledger_submit", events=events)["events"]
        assert [each["outcome"]["applied"] for each in found] == [True, True, False], found
        self.statement, self.hostile, self.rejected = (each["id"] for each in found)
        other = row()
        other["body"] |= {name: paid["body"][name] for name in ("uetr", "amount", "currency")}
        other["body"] |= {"side": "creditor", "status": "received", "reason": None}
        (answer,) = self.net.call("bank-b", "ledger_submit", events=[other])["events"]
        assert answer["outcome"]["applied"], answer

    def until_proved(self) -> None:
        """Wait until a checkpoint covers the newest block everywhere, and has stood for a while."""
        self.net.until_level()

        def covered() -> bool:
            status = [self.net.status(name) for name in NAMES]
            return all(found["checkpoint_size"] == found["log_size"] for found in status)

        until(covered)

    def note(self) -> str:
        """The newest checkpoint of bank-a."""
        return self.net.http("bank-a", "GET", "/checkpoint")[1].decode()

    def policy(self) -> str:
        return self.net.http("bank-a", "GET", "/policy")[1].decode()

    def signed(self, size: int, root: bytes) -> str:
        """Return a note of any log that all validators sign: what only a majority of liars can do."""
        keys: list[NodeKeys] = [load_node_keys(self.net.home(name)) for name in NAMES]
        validators = ValidatorSet(Epoch(0), tuple(self.net.genesis.validators))
        text = f"{self.net.genesis.origin}\n{size}\n"
        now = int(time.time())
        note = assemble_checkpoint(
            self.net.genesis, validators, None, keys[0].log, size, Hash(root), _cosignatures(text, root, keys, now)
        )
        return str(note)


def _cosignatures(head: str, root: bytes, keys: list[NodeKeys], now: int) -> Iterator[tuple[int, int, bytes]]:
    statement = cosign_statement(f"{head}{base64.b64encode(root).decode()}\n", now)
    for index, own in enumerate(keys):
        assert own.cosign is not None
        yield index, now, own.cosign.sign(statement)


def application(number: str, product: str) -> dict[str, Any]:
    """Return the body of an application for a certificate."""
    return {
        "application": number,
        "holder_name": "Bank A",
        "product": {"name": product, "model": "R", "version": "1"},
        "category": 9,
        "evidence": [{"kind": "technical_documents", "digest": "ab" * 32, "custodian": "bank-a", "size_bytes": 1}],
    }


@contextmanager
def banks(directory: Path) -> Iterator[Banks]:
    """Start four banks, and submit the sample certificates and what else pages show."""
    running = Network(directory, QUICK)
    # bank-a's pages may ask bank-b, and nobody else but what tests answer in the place of nodes.
    running.set("bank-a", {"rpc.explorer_origins": [running.node("bank-b").rpc, *DOUBLES]})
    running.set("bank-b", {"rpc.origins": [running.node("bank-a").rpc]})
    made = Banks(running)
    try:
        running.start()
        for file in sorted((SAMPLES / "certificates").glob("*.jsonl")):
            made.submit(file)
        made.report()
        made.until_proved()
        yield made
    finally:
        running.close()
