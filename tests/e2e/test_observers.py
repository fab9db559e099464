"""A node that joins without a vote serves proofs that hold under the exported policy, once its log key is declared."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from chainnode.cli.context import Settings
from chainnode.cli.main import root
from chainnode.identity import new_key, write_key
from chainnode.localnet_join import add_observer
from ledger.certificate_history import verify_certificate_history
from ledger.receipts import Verdict, verify
from ledger.status_proofs import verify_status
from primitives.errors import ProofError
from tests.e2e.network_fixtures import NAMES, Network, until
from tests.e2e.traffic_fixtures import Source, id_of, payment, submit

pytestmark = pytest.mark.e2e

OBSERVER = "bank-b-2"
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
def observer(net: Network) -> str:
    with net.net.held():
        node = add_observer(
            net.net, "bank-b", name=None, now_ms=time.time_ns() // 1_000_000, timeout_s=60.0, step=lambda _: None
        )
    return node.name


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
