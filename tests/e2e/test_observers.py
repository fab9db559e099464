"""Nodes without a vote: made out of genesis and two addresses, and believed once their log key is declared."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from chainnode.cli.context import Settings
from chainnode.cli.main import root
from chainnode.client import CallRefused
from chainnode.identity import new_key, write_key
from chainnode.localnet import planned
from chainnode.localnet_join import add_observer
from ledger.certificate_history import verify_certificate_history
from ledger.receipts import Verdict, verify
from ledger.status_proofs import verify_status
from primitives.errors import ProofError
from tests.e2e.network_fixtures import NAMES, QUICK, Network, free_ports, until
from tests.e2e.traffic_fixtures import Source, id_of, payment, submit
from tests.e2e.traffic_fixtures import row as one_row

pytestmark = pytest.mark.e2e

OBSERVER = "bank-b-2"
FOLLOWER = "bank-c-2"
NOBODY = "127.0.0.1:9"
NEVER = "FTP-2026-06-000009"


def run(net: Network, name: str, *arguments: str) -> str:
    """Run a command with a node's home and return what it prints to stdout; it must end with status 0."""
    words = ["--home", str(net.home(name).root), "-o", "json", *arguments]
    result = CliRunner().invoke(root, words, obj=Settings(), standalone_mode=False, catch_exceptions=False)
    assert (result.exit_code, result.return_value or 0) == (0, 0), (arguments, result.stdout, result.stderr)
    return result.stdout


def policy_of(net: Network, name: str) -> str:
    return net.http(name, "GET", "/policy")[1].decode()


@pytest.fixture(scope="module")
def observer(net: Network) -> Iterator[str]:
    with net.net.held():
        node = add_observer(
            net.net, "bank-b", name=None, now_ms=time.time_ns() // 1_000_000, timeout_s=60.0, step=lambda _: None
        )
    yield node.name
    net.stop(node.name)


@pytest.fixture(scope="module")
def event_id(net: Network, sources: dict[str, Source]) -> str:
    event = payment("bank-a")
    submit(net, "bank-a", sources["bank-a-bank"].sign([event]))
    return id_of(event)


def served(net: Network, name: str, event_id: str) -> str:
    return str(until(lambda: net.call(name, "ledger_getProof", event_id=event_id)["receipt"]))


def proved(receipt: str, policy: str) -> Verdict | None:
    """Return what a receipt proves; None where no log of the policy signed its checkpoint."""
    try:
        return verify(receipt, policy)
    except ProofError as error:
        if error.what != "checkpoint without a signature of the log":
            raise
        return None


def test_what_an_observer_that_joined_serves_holds_under_any_nodes_policy(
    net: Network, observer: str, event_id: str
) -> None:
    assert observer == OBSERVER
    assert net.status(observer)["role"] == "observer"
    for name in (*NAMES, observer):
        until(lambda name=name: net.status(name)["warnings"] == [])  # type: ignore[misc]  # the loop's own name
        verdict = proved(served(net, observer, event_id), policy_of(net, name))
        assert verdict is not None
        assert (verdict.event_id.hex(), len(verdict.cosigners)) == (event_id, 3)
    assert verdict is not None
    status = until(lambda: net.call(observer, "cert_getStatus", number=NEVER)["proof"])
    assert verify_status(status, policy_of(net, "bank-a")).value is None
    history = until(lambda: net.call(observer, "cert_historyProof", number=NEVER)["proof"])
    assert verify_certificate_history(history, policy_of(net, "bank-a"), NEVER).certificate is None


def test_an_observer_with_a_key_that_nobody_declared_says_so_until_it_is_declared(
    net: Network, observer: str, sources: dict[str, Source]
) -> None:
    net.stop(observer)
    home = net.home(observer)
    home.log_key.unlink()
    write_key(home.log_key, new_key("log", member="bank-b"))
    net.start(observer)
    (warning,) = net.status(observer)["warnings"]
    assert warning.startswith("no policy lists keys/log.key")
    event = payment("bank-a")  # under a checkpoint that was signed with the new key
    submit(net, "bank-a", sources["bank-a-bank"].sign([event]))
    assert proved(served(net, observer, id_of(event)), policy_of(net, "bank-a")) is None
    entry = Path(json.loads(run(net, observer, "keys", "log-entry"))["file"])
    run(net, "bank-b", "keys", "declare-log", str(entry))
    until(lambda: net.status(observer)["warnings"] == [])
    verdict = until(lambda: proved(served(net, observer, id_of(event)), policy_of(net, "bank-a")))
    assert verdict.applied
    assert net.ops(observer, "/readyz")[0] == 200
    told = [str(line["event"]) for line in net.log_lines(observer) if "event" in line]
    assert [event for event in told if event in ("key_not_registered", "keys_registered")][-2:] == [
        "key_not_registered",
        "keys_registered",
    ]


def test_a_log_key_of_another_members_node_is_refused_at_the_door(net: Network, observer: str) -> None:
    entry = str(net.home(observer).config.parent / "log-key.json")
    words = ["--home", str(net.home("bank-a").root), "keys", "declare-log", entry]
    result = CliRunner().invoke(root, words, obj=Settings(), standalone_mode=False)
    assert "log key of another member's node" in str(result.exception)


@pytest.fixture(scope="module")
def follower(net: Network) -> Iterator[str]:
    """Start a node of bank-c that knows genesis and two peers, of which one is dead, and can reach no other."""
    node = replace(planned(net.net.directory, FOLLOWER, free_ports(1)), member="bank-c", role="observer")
    genesis = net.net.directory / "genesis.json"
    words = ["--observer", "--name", FOLLOWER, "--member", "bank-c", "--ca", str(net.home("bank-c").root)]
    peers = [net.node("bank-a").p2p, *(f"{name}@{NOBODY}" for name in NAMES[1:])]
    told = run(
        net, FOLLOWER, "init", *words, "--address", node.p2p, "--genesis", str(genesis),
        "--genesis-hash", net.genesis.chain_id.hex(), *(word for peer in peers for word in ("--peer", peer)),
    )  # fmt: skip
    assert json.loads(told)["chain_id"] == net.genesis.chain_id.hex()
    ports = {"rpc.listen": node.rpc.rpartition("/")[2], "ops.listen": node.ops.rpartition("/")[2]}
    net.set(FOLLOWER, QUICK | ports)
    with net.net.held():
        net.net.add(node)
    net.start(FOLLOWER)
    yield FOLLOWER
    net.stop(FOLLOWER)


def test_a_node_of_genesis_and_two_addresses_follows_by_the_one_that_answers(net: Network, follower: str) -> None:
    net.until_level([*NAMES, follower], at_least=1)
    wanted = {"role": "observer", "peers": 1, "catching_up": False, "behind_blocks": 0}

    def caught_up() -> bool:  # in one look: what other tests left to be recorded may make a further block
        status = net.status(follower)
        return status["as_of"] == status["height"] and wanted.items() <= status.items()

    until(caught_up, describe=lambda: str(net.status(follower)))
    ready = net.ops(follower, "/readyz?verbose")[1]
    assert "[+] peer_linked 1 voters linked, 1 needed" in ready
    assert "[+] fresh proved until " in ready
    metrics = net.ops(follower, "/metrics")[1]
    assert "chainnode_behind_blocks 0.0" in metrics
    (proved,) = [line for line in metrics.splitlines() if line.startswith("chainnode_proved_time_seconds ")]
    assert abs(time.time() - float(proved.split()[1])) < 180
    top = net.until_level([*NAMES, follower])
    assert net.check_chain(follower, top) == net.check_chain("bank-a", top)


def test_it_passes_on_what_a_source_signed_and_says_where_other_events_go(
    net: Network, follower: str, sources: dict[str, Source]
) -> None:
    event = payment("bank-a")
    (row,) = submit(net, follower, sources["bank-a-bank"].sign([event]))
    assert (row["status"], row["id"]) == ("Committed", id_of(event))
    net.until_level()
    assert net.call("bank-d", "ledger_getStatus", event_id=row["id"])["height"] == row["height"]
    with pytest.raises(CallRefused, match="no source key") as refused:
        net.call(follower, "ledger_submit", events=[one_row()])
    assert (refused.value.slug, refused.value.retryable) == ("source_not_registered", False)
    assert "submit them at bank-c, or send batches that a source has signed" in str(refused.value)


def shown(net: Network, name: str) -> str:
    """Return the TLS certificate that a node shows to its peers, in PEM."""
    host, _, port = net.node(name).p2p.rpartition(":")
    return ssl.get_server_certificate((host, int(port)))


def test_killed_while_it_follows_it_goes_on_from_its_store_and_shows_a_new_tls_certificate(
    net: Network, follower: str, sources: dict[str, Source]
) -> None:
    before = shown(net, follower)
    run(net, follower, "keys", "renew-tls")
    until(lambda: shown(net, follower) != before)
    for _ in range(5):
        submit(net, "bank-a", sources["bank-a-bank"].payments(3))
    net.kill(follower)
    height = net.status("bank-a")["height"]
    submit(net, "bank-a", sources["bank-a-bank"].payments(3))
    net.start(follower)
    assert net.until_level([*NAMES, follower]) > height
    assert "ledger_lost_blocks" not in [line.get("event") for line in net.log_lines(follower)]
    top = net.until_level([*NAMES, follower])
    assert net.check_chain(follower, top) == net.check_chain("bank-a", top)
