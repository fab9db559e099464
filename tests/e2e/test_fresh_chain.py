"""A chain before its first event: its genesis block is under a stable checkpoint, which a mirror takes as any other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.trust_policy import CheckedCheckpoint, parse_policy
from tests.e2e.network_fixtures import NAMES, STUCK_S, Network, network, until

pytestmark = pytest.mark.e2e

CLI = Path(sys.executable).with_name("chainnode")
SHORTLY_S = 30
"""Less than the idle minute after which all sign again."""


def checkpoint_of(net: Network, name: str) -> Callable[[], CheckedCheckpoint | None]:
    """Return what looks for a node's checkpoint, held against its policy; None where there is none."""
    policy = parse_policy(net.http(name, "GET", "/policy")[1].decode())

    def look() -> CheckedCheckpoint | None:
        status, body = net.http(name, "GET", "/checkpoint")[:2]
        return policy.check(body.decode()) if status == 200 else None

    return look


def test_a_fresh_network_serves_its_genesis_blocks_checkpoint_and_so_does_who_starts_again(tmp_path: Path) -> None:
    with network(tmp_path) as net:
        for name in NAMES:
            found = until(checkpoint_of(net, name), within_s=SHORTLY_S)
            assert (found.checkpoint.origin, found.checkpoint.size) == (net.genesis.origin, 1)
        assert net.status("bank-a")["height"] == 0
        policy = tmp_path / "policy"
        policy.write_bytes(net.http("bank-c", "GET", "/policy")[1])
        mirror = [CLI, "-o", "json", "audit", "mirror", tmp_path / "mirror", "--policy", policy]
        command = [*map(str, mirror), "--endpoint", net.node("bank-b").rpc]
        done = subprocess.run(command, capture_output=True, text=True, timeout=STUCK_S, check=False)
        assert (done.returncode, json.loads(done.stdout)["size"]) == (0, 1), done.stderr
        net.stop("bank-d")
        net.start("bank-d")
        assert until(checkpoint_of(net, "bank-d"), within_s=SHORTLY_S).checkpoint.size == 1
