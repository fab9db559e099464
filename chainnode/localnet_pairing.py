"""Pairing keys for a localnet: every bank and the switch announce one, so that their statements meet without set-up."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Final

from chainnode.client import NodeClient
from chainnode.home import Home
from chainnode.identity import read_key, read_token
from chainnode.localnet import Localnet, LocalNode
from chainnode.pairing import announced_keys, new_pairing_key, pairing_keys_in
from chainnode.submission import Door, GatewayDoor, NewEvent, key_door, send_within
from ledger.pairing_keys import ANNOUNCE_PAIRING_KEY, SCHEMA, AnnouncePairingKey
from ledger.rules import RULES_PAYMENTS
from primitives.encoding import encode
from primitives.errors import UsageError

FROM_DAY: Final = 2000_01_01
"""Before the days of all samples."""
SWITCH: Final = "switch"
TIMEOUT_S: Final = 30.0


def announce_pairing_keys(net: Localnet) -> int:
    """Make and announce a key for each bank and the switch that has none; return how many announced one.

    Nobody does where the chain's rules do not have it yet. Raises `UsageError` where an announcement is not applied.
    """
    nodes = net.load().nodes
    client = _client(nodes[0])
    if client.call("gov_getPolicy")["rules"] < RULES_PAYMENTS:
        return 0
    announced = announced_keys(client)
    count = 0
    for member in dict.fromkeys(node.member for node in nodes):
        if member in announced:
            continue
        node = next(each for each in nodes if each.member == member)
        own = _client(node)
        _announce(own, GatewayDoor(own, member), Home(Path(node.home)).pairing)
        count += 1
    if SWITCH not in announced:
        path = net.keys / f"{SWITCH}-{SWITCH}.key"
        with key_door(client, path, read_key(path, "source"), _now_ms) as switch:
            _announce(client, switch, net.keys / f"{SWITCH}-pairing")
        count += 1
    return count


def _client(node: LocalNode) -> NodeClient:
    return NodeClient(node.rpc, token=read_token(Home(Path(node.home)).token), timeout_s=TIMEOUT_S)


def _announce(client: NodeClient, door: Door, folder: Path) -> None:
    public = next(iter(pairing_keys_in(folder)), None) or new_pairing_key(folder)
    body = encode(AnnouncePairingKey(public, FROM_DAY))
    event = NewEvent(ANNOUNCE_PAIRING_KEY, SCHEMA, body, "localnet", reference=secrets.token_bytes(16))
    (row,) = send_within(client, door, [event], timeout_s=TIMEOUT_S)
    outcome = row.get("outcome") or {}
    if outcome.get("applied") is not True and outcome.get("rule") != "already_announced":
        got = outcome.get("rule") or row.get("message") or row["status"]
        raise UsageError("pairing key not announced", where=door.member, got=got)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
