"""Adding a node to a running localnet: a bank's further node becomes a validator by votes, or follows and serves.

Here: what the operators of several banks do by hand elsewhere, done at once, since one directory holds all their keys.
Not here: each of the steps (`joining`, `founding`, `submission`).
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from chainnode.client import NodeClient, TimedOut
from chainnode.config import load_node_config
from chainnode.founding import Json, found_home, join_chain, read_genesis
from chainnode.home import Home
from chainnode.identity import KeyFile, read_key, read_token
from chainnode.joining import (
    OUTLOOK_WITHIN_S,
    check_outlook,
    check_rules,
    log_key_entry,
    outlook,
    source_entry,
    take_ca,
    validator_entry,
)
from chainnode.localnet import (
    HOST,
    PORTS_A_NODE,
    Localnet,
    LocalNode,
    first_taken,
    planned,
    wait_until_ready,
)
from chainnode.snapshot_restore import restore_home
from chainnode.submission import GatewayDoor, NewEvent, send_within
from ledger.event_json import record_from_json
from ledger.governance import KIND_OF, SCHEMA
from ledger.governance_actions import proposing_body
from ledger.governance_bodies import CastVote, vote_statement
from ledger.log_keys import DECLARE_LOG_KEY, DeclareLogKey
from ledger.members import GOVERNANCE_ROLE
from primitives.encoding import Record, encode
from primitives.errors import UsageError
from primitives.ids import Hash

TERM_MS: Final = 3_600_000
VOTE_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.2
PORT_TRIES: Final = 40


def add_node(
    net: Localnet,
    member: str,
    *,
    name: str | None,
    now_ms: int,
    timeout_s: float,
    step: Callable[[str], None],
    snapshot: Path | None = None,
) -> LocalNode:
    """Found, start and propose a further node of a bank, and return once it is a validator with a source of its own.

    With a snapshot it begins there, and otherwise at the genesis.
    Raises `UsageError` for a member without a node, `UnsafeChange` or the chain's refusal, `TimedOut`.
    """
    first, node = _started(
        net, member, name, now_ms=now_ms, timeout_s=timeout_s, step=step, votes=True, snapshot=snapshot
    )
    home, chosen = Home(Path(node.home)), node.name
    step("voting")
    _vote_in(
        net, first, {"type": "add_validator", **validator_entry(home, name=chosen, member=member, address=node.p2p)}
    )
    step("joining")
    _await_seat(first, chosen, timeout_s)
    step("registering its source")
    roles = _roles_of(first, member)
    _vote_in(net, first, {"type": "add_source", **source_entry(home, member=member, roles=roles)})
    _await_source(net.node(chosen), timeout_s)
    return net.node(chosen)


def add_observer(
    net: Localnet,
    member: str,
    *,
    name: str | None,
    now_ms: int,
    timeout_s: float,
    step: Callable[[str], None],
    snapshot: Path | None = None,
) -> LocalNode:
    """Found and start a further node of a bank that follows and serves without a vote, its log key declared.

    Raises as `add_node`.
    """
    first, node = _started(
        net, member, name, now_ms=now_ms, timeout_s=timeout_s, step=step, votes=False, snapshot=snapshot
    )
    step("declaring its log key")
    entry = log_key_entry(Home(Path(node.home)), name=node.name, member=member)
    del entry["member"]
    body = record_from_json(DeclareLogKey, entry, where=node.name)
    _submit(_client(first), member, body, kind=DECLARE_LOG_KEY)
    return net.node(node.name)


def _started(
    net: Localnet,
    member: str,
    name: str | None,
    *,
    now_ms: int,
    timeout_s: float,
    step: Callable[[str], None],
    votes: bool,
    snapshot: Path | None,
) -> tuple[LocalNode, LocalNode]:
    """Return the bank's first node, and a further one that was made, started and has caught up."""
    file = net.load()
    first = next((node for node in file.nodes if node.member == member), None)
    if first is None:
        raise UsageError("a bank that runs a node", expected=" or ".join(sorted({n.member for n in file.nodes})))
    taken = {node.name for node in file.nodes}
    chosen = name or next(f"{member}-{i}" for i in range(2, 100) if f"{member}-{i}" not in taken)
    if chosen in taken:
        raise UsageError("there is a node of this name", got=chosen)
    step("founding")
    node = msgspec.structs.replace(
        planned(net.directory, chosen, _free_port(file.base_port, len(taken))),
        member=member,
        role="validator" if votes else "observer",
    )
    _found(net, Home(Path(node.home)), Home(Path(first.home)), node, now_ms, votes=votes)
    if snapshot is not None:
        step("restoring a snapshot")
        home = Home(Path(node.home))
        try:
            restore_home(home, load_node_config(home.config).config, snapshot)
        except BaseException:
            # Made just above and nobody's yet: it would keep the next attempt from its name.
            shutil.rmtree(home.root, ignore_errors=True)
            raise
    net.add(node)
    step("catching up")
    net.start([chosen])
    wait_until_ready(net, [chosen], timeout_s=timeout_s)
    return first, node


def _found(net: Localnet, home: Home, first: Home, node: LocalNode, now_ms: int, *, votes: bool) -> None:
    ports = {"rpc.listen": node.rpc.rpartition("/")[2], "ops.listen": node.ops.rpartition("/")[2]}
    settings = {"p2p.listen": node.p2p, **ports}
    found_home(home, name=node.name, member=node.member, settings=settings, now_ms=now_ms, validator=votes)
    take_ca(home, first.ca_certificate, first.ca_key)
    genesis = read_genesis(net.directory / "genesis.json")
    join_chain(home, genesis, name=node.name, member=node.member, hosts=[HOST], now_ms=now_ms, joins_later=votes)


def _free_port(base: int, count: int) -> int:
    for index in range(count, count + PORT_TRIES):
        port = base + PORTS_A_NODE * index
        if first_taken(1, port) is None:
            return port
    raise UsageError("no free ports found", got=f"{base + PORTS_A_NODE * count} and above")


def _vote_in(net: Localnet, proposer: LocalNode, action: Json) -> None:
    """Propose an action through one node, and vote for it through each bank's, as far as they run."""
    client = _client(proposer)
    check = client.call("gov_checkAction", action=action)
    check_rules(check)
    waits_for = [action["name"]] if "name" in action else []
    check_outlook(outlook(client, check, waits_for, within_s=OUTLOOK_WITHIN_S))
    body = proposing_body(action, time.time_ns() // 1_000_000 + TERM_MS, where="proposal")
    proposal_id = bytes.fromhex(_submit(client, proposer.member, body))
    chain_id = Hash(bytes.fromhex(client.call("net_status")["chain_id"]))
    for node in net.load().nodes:
        key = net.keys / f"{node.member}-{GOVERNANCE_ROLE}.key"
        if node.name != node.member or node.pid is None or not key.exists():
            continue  # a member votes once, through its first node
        waiting = client.call("gov_getProposal", id=proposal_id.hex())["proposal"]["waits_for"] == "votes"
        if not waiting:
            return
        client = _client(node)  # the next look is at the node that knows this vote: another may be a block behind
        _submit(client, node.member, _ballot(read_key(key, "officer"), chain_id, proposal_id))


def _ballot(officer: KeyFile, chain_id: Hash, proposal_id: bytes) -> CastVote:
    signature = officer.signing_key.sign(vote_statement(chain_id, proposal_id, True))
    return CastVote(proposal_id, True, officer.source, signature)


def _client(node: LocalNode) -> NodeClient:
    return NodeClient(node.rpc, token=read_token(Home(Path(node.home)).token), timeout_s=VOTE_TIMEOUT_S)


def _submit(client: NodeClient, member: str, body: Record, kind: int | None = None) -> str:
    """Submit one event, of governance unless a kind is given, and return its id; `UsageError` unless it was applied."""
    event = NewEvent(
        KIND_OF[type(body)] if kind is None else kind,
        SCHEMA,
        encode(body),
        "localnet",
        reference=secrets.token_bytes(16),
    )
    (row,) = send_within(client, GatewayDoor(client, member), [event], timeout_s=VOTE_TIMEOUT_S)
    outcome = row.get("outcome") or {}
    if outcome.get("applied") is not True:
        raise UsageError("not applied", where=member, got=outcome.get("rule") or row.get("message") or row["status"])
    return str(row["id"])


def _roles_of(node: LocalNode, member: str) -> list[str]:
    return next(list(row["roles"]) for row in _client(node).members() if row["id"] == member)


def _await_source(node: LocalNode, timeout_s: float) -> None:
    """Wait until a node's own copy of the chain knows its source key, so that it takes events at once."""
    client, key = _client(node), read_key(Home(Path(node.home)).source_key, "source").public
    end = time.monotonic() + timeout_s
    while not any(source["key"] == key for row in client.members() for source in row["sources"]):
        if time.monotonic() >= end:
            raise TimedOut("its source is not registered in time", where=node.name, expected=f"within {timeout_s:g} s")
        time.sleep(POLL_S)


def _await_seat(node: LocalNode, name: str, timeout_s: float) -> None:
    client = _client(node)
    end = time.monotonic() + timeout_s
    while name not in {row["name"] for row in client.call("net_validators")["validators"]}:
        if time.monotonic() >= end:
            raise TimedOut("not a validator in time", where=name, expected=f"within {timeout_s:g} s")
        time.sleep(POLL_S)
