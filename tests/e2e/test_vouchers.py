"""Wallets without a connection on a real network: registered, paid, received, redeemed, and a double spender stopped.

The wallets are the sample program, which has none of the node's code. The tests build on each other.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from chainnode.cli.context import Settings
from chainnode.cli.exits import Exit, exit_of
from chainnode.cli.main import root
from ledger.event_json import record_to_json
from primitives.errors import ChainError
from tests.e2e.governance_fixtures import pass_it
from tests.e2e.network_fixtures import NAMES, Json, Network, network
from tests.ledger.voucher_fixtures import Device

pytestmark = pytest.mark.e2e

WALLETS = 6
COUNT = 900
WALLET = Path(__file__).resolve().parents[2] / "samples" / "wallet" / "wallet.py"


@dataclass
class Elsewhere:
    """What a wallet knows of the chain: its id, and a time of its own."""

    chain_id: bytes
    now_ms: int = 0


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("vouchers")) as running:
        yield running


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wallets and their papers are."""
    return tmp_path_factory.mktemp("desk")


def wallet(*words: object) -> subprocess.CompletedProcess[str]:
    """Run the sample wallet."""
    command = [sys.executable, str(WALLET), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def told(*words: object) -> str:
    """Run the sample wallet, which must not refuse, and return what it prints."""
    done = wallet(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def at(net: Network, name: str, *words: str) -> tuple[int, Json]:
    """Run a command at a bank; return its exit status, and its result or the reason of its error."""
    whole = ["-o", "json", "--home", str(net.home(name).root), *words]
    result = CliRunner().invoke(root, whole, obj=Settings(), standalone_mode=False)
    if isinstance(result.exception, ChainError):
        return exit_of(result.exception), {"reason": result.exception.reason, "message": str(result.exception)}
    assert result.exception is None, result.exception
    return result.return_value or 0, json.loads(result.stdout) if result.stdout else {}


def redeemed(net: Network, name: str, *words: str) -> tuple[int, list[str]]:
    """Redeem files at a bank; return the exit status and what became of each voucher."""
    status, found = at(net, name, "voucher", "redeem", *words)
    return status, [row["result"] for row in found["vouchers"]]


def test_a_bank_registers_a_wallet_whose_certificate_its_payees_check(net: Network, desk: Path) -> None:
    chain = net.call("bank-a", "ledger_getCapabilities")["chain_id"]
    for who, bank in (("payer", "bank-a"), ("payee", "bank-b"), ("other", "bank-c")):
        request = told("new", desk / who, "--chain", chain, "--bank", bank, "--holder", f"a {who}")
        (desk / f"{who}.json").write_text(request)
    assert at(net, "bank-b", "wallet", "register", str(desk / "payer.json"))[0] == 1, "it signed for bank-a"
    status, found = at(net, "bank-a", "wallet", "register", str(desk / "payer.json"), "--amount-max", "200.00")
    assert status == 0, found
    listed = at(net, "bank-c", "wallet", "list", "--member", "bank-a")[1]["wallets"]
    assert [(row["status"], row["amount_max"]) for row in listed] == [("active", 20_000)]
    (desk / "id").write_text(listed[0]["wallet"])
    assert at(net, "bank-a", "prove", found["id"], "-f", str(desk / "certificate"))[0] == 0
    assert at(net, "bank-b", "policy", "export", "-f", str(desk / "policy"))[0] == 0


def test_a_payee_without_a_connection_takes_what_is_good_and_nothing_else(net: Network, desk: Path) -> None:
    trusted = ("--certificate", desk / "certificate", "--policy", desk / "policy")
    shutil.copytree(desk / "payer", desk / "copied")
    for turn, (payer, payee) in enumerate((("payer", "payee"), ("payer", "payee"), ("copied", "other"))):
        to = told("address", desk / payee).strip()
        voucher = told("pay", desk / payer, "--to", to, "--amount", 1_250 + turn)
        (desk / f"voucher-{turn}").write_text(voucher)
        told("receive", desk / payee, desk / f"voucher-{turn}", *trusted)
    refused = wallet("receive", desk / "payee", desk / "voucher-0", *trusted)
    assert (refused.returncode, "here already" in refused.stderr) == (3, True)
    refused = wallet("receive", desk / "other", desk / "voucher-0", *trusted)
    assert (refused.returncode, "somebody else" in refused.stderr) == (3, True)
    to = told("address", desk / "payee").strip()
    for amount, why in ((1, "spent twice"), (20_001, "at most 20000")):
        (desk / "bad").write_text(told("pay", desk / "copied", "--to", to, "--amount", amount))
        refused = wallet("receive", desk / "payee", desk / "bad", *trusted)
        assert (refused.returncode, why in refused.stderr) == (3, True)
    changed = json.loads((desk / "voucher-1").read_text()) | {"amount": 9_999}
    (desk / "bad").write_text(json.dumps(changed))
    refused = wallet("receive", desk / "payee", desk / "bad", *trusted)
    assert (refused.returncode, "not the payer's" in refused.stderr) == (3, True)


def test_the_payees_bank_redeems_in_bulk_and_again_without_harm(net: Network, desk: Path) -> None:
    (desk / "payee.jsonl").write_text(told("vouchers", desk / "payee"))
    assert redeemed(net, "bank-b", str(desk / "payee.jsonl")) == (0, ["redeemed"] * 2)
    assert redeemed(net, "bank-b", str(desk / "payee.jsonl")) == (0, ["already redeemed"] * 2)
    assert redeemed(net, "bank-c", str(desk / "payee.jsonl")) == (1, ["refused"] * 2), "its payee was paid at bank-b"
    found = at(net, "bank-c", "wallet", "show", (desk / "id").read_text())[1]
    assert (found["redeemed"], found["amount"]) == (2, 2_501)


def test_a_file_with_bad_lines_is_refused_whole_or_taken_without_them(net: Network, desk: Path) -> None:
    good = (desk / "payee.jsonl").read_text()
    (desk / "mixed.jsonl").write_text("{\n" + good + '{"key": 1}\n')
    status, error = at(net, "bank-b", "voucher", "redeem", str(desk / "mixed.jsonl"))
    assert (status, "line 1" in error["message"]) == (1, True)
    status, results = redeemed(net, "bank-b", str(desk / "mixed.jsonl"), "--skip-bad")
    assert (status, results) == (1, ["refused"] * 2 + ["already redeemed"] * 2)


def test_two_banks_with_two_spends_stop_the_wallet_and_anybody_verifies_why(net: Network, desk: Path) -> None:
    (desk / "other.jsonl").write_text(told("vouchers", desk / "other"))
    assert redeemed(net, "bank-c", str(desk / "other.jsonl"), "--proofs", str(desk / "proofs")) == (1, ["refused"])
    found = at(net, "bank-d", "wallet", "show", (desk / "id").read_text())[1]
    assert found["status"] == "accused"
    (proof,) = (desk / "proofs").glob("double-spend-*.json")
    status, verdict = at(net, "bank-d", "voucher", "verify-double-spend", str(proof))
    assert (status, verdict["wallet"]) == (0, (desk / "id").read_text())
    bent = json.loads(proof.read_text())
    bent["second"]["amount"] += 1
    (desk / "bent.json").write_text(json.dumps(bent))
    assert at(net, "bank-d", "voucher", "verify-double-spend", str(desk / "bent.json"))[0] == Exit.VERIFICATION_FAILED
    later = told("pay", desk / "payer", "--to", "ab" * 32, "--amount", 5)
    (desk / "later.jsonl").write_text(later)
    assert redeemed(net, "bank-b", str(desk / "later.jsonl")) == (1, ["refused"])
    identity = (desk / "id").read_text()
    assert at(net, "bank-b", "wallet", "decide", identity, "close", "--reason", "double_spend")[0] == 1
    assert at(net, "bank-a", "wallet", "decide", identity, "restore", "--reason", "resolved")[0] == 1
    (opened,) = at(net, "bank-a", "member", "status")[1]["proposals"]
    assert (opened["id"], opened["member"], opened["action"]["wallet"]) == (found["proof"], "bank-c", identity)
    assert at(net, "bank-c", "member", "withdraw", opened["id"])[0] == 1
    for name in NAMES[:3]:
        officer = str(net.net.keys / f"{name}-governance.key")
        assert at(net, name, "member", "approve", opened["id"], "--officer", officer)[0] == 0
    assert at(net, "bank-d", "wallet", "show", identity)[1]["status"] == "suspended"
    assert at(net, "bank-a", "wallet", "decide", identity, "close", "--reason", "double_spend")[0] == 0
    assert at(net, "bank-a", "wallet", "list", "--status", "closed")[1]["wallets"][0]["wallet"] == identity
    pass_it(net, "member", "propose", "voucher-policy", "amount_max=10000", "enabled=true")
    assert at(net, "bank-b", "wallet", "register", str(desk / "payee.json"))[0] == 1, "500.00 is above the limit now"
    assert at(net, "bank-b", "wallet", "register", str(desk / "payee.json"), "--amount-max", "100.00")[0] == 0
    shown = at(net, "bank-a", "voucher", "show", identity, "0")[1]
    assert (shown["member"], shown["voucher"]["amount"]) == ("bank-b", 1_250)


def test_many_vouchers_of_many_wallets_are_redeemed_at_once_and_a_broken_run_goes_on(net: Network, desk: Path) -> None:
    chain = Elsewhere(bytes.fromhex(net.call("bank-a", "ledger_getCapabilities")["chain_id"]))
    lines: list[str] = []
    for number in range(WALLETS):
        device = Device(chain, f"many {number}")  # type: ignore[arg-type]  # a chain's id and a time are all it needs
        body = record_to_json(device.registration("bank-a"))
        asked = {name: body[name] for name in ("key", "holder_commitment", "proof")}
        (desk / "many.json").write_text(json.dumps(asked))
        assert at(net, "bank-a", "wallet", "register", str(desk / "many.json"), "--amount-max", "100.00")[0] == 0
        chain.now_ms = time.time_ns() // 1_000_000
        lines += [json.dumps(record_to_json(voucher)) for voucher in device.chain(100)]
    (desk / "some.jsonl").write_text("\n".join(lines[: len(lines) // 3]))
    (desk / "all.jsonl").write_text("\n".join(lines))
    some = WALLETS * 100 // 3
    assert redeemed(net, "bank-b", str(desk / "some.jsonl")) == (0, ["redeemed"] * some)
    status, results = redeemed(net, "bank-b", str(desk / "all.jsonl"))
    assert (status, results.count("already redeemed"), results.count("redeemed")) == (0, some, WALLETS * 100 - some)


def test_what_else_a_double_spender_signed_is_redeemed_before_its_proof_stops_it(net: Network, desk: Path) -> None:
    chain = Elsewhere(bytes.fromhex(net.call("bank-a", "ledger_getCapabilities")["chain_id"]))
    device = Device(chain, "forked")  # type: ignore[arg-type]  # a chain's id and a time are all it needs
    body = record_to_json(device.registration("bank-a"))
    (desk / "forked.json").write_text(json.dumps({name: body[name] for name in ("key", "holder_commitment", "proof")}))
    assert at(net, "bank-a", "wallet", "register", str(desk / "forked.json"), "--amount-max", "100.00")[0] == 0
    chain.now_ms = time.time_ns() // 1_000_000
    honest = device.chain(80)
    vouchers = [*honest[:3], device.voucher(2, honest[1], amount=1), *honest[3:]]
    (desk / "forked.jsonl").write_text("\n".join(json.dumps(record_to_json(each)) for each in vouchers))
    status, results = redeemed(net, "bank-b", str(desk / "forked.jsonl"))
    assert (status, results.count("redeemed"), results.count("refused")) == (1, 80, 1)
    found = at(net, "bank-c", "wallet", "show", device.id.hex())[1]
    assert (found["status"], found["redeemed"]) == ("accused", 80)


def test_a_run_that_is_killed_is_given_again_and_pays_each_voucher_once(net: Network, desk: Path) -> None:
    chain = Elsewhere(bytes.fromhex(net.call("bank-a", "ledger_getCapabilities")["chain_id"]))
    device = Device(chain, "killed")  # type: ignore[arg-type]  # a chain's id and a time are all it needs
    body = record_to_json(device.registration("bank-a"))
    (desk / "killed.json").write_text(json.dumps({name: body[name] for name in ("key", "holder_commitment", "proof")}))
    words = ("--amount-max", "100.00", "--count-max", "1000")
    assert at(net, "bank-a", "wallet", "register", str(desk / "killed.json"), *words)[0] == 0
    chain.now_ms = time.time_ns() // 1_000_000
    (desk / "killed.jsonl").write_text("\n".join(json.dumps(record_to_json(each)) for each in device.chain(COUNT)))
    program = Path(sys.executable).with_name("chainnode")
    command = [program, "--home", net.home("bank-b").root, "voucher", "redeem", desk / "killed.jsonl"]
    for _ in range(2):
        with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
            assert running.stdout is not None
            running.stdout.readline()
            running.kill()
    status, results = redeemed(net, "bank-b", str(desk / "killed.jsonl"))
    assert (status, len(results)) == (0, COUNT)
    assert 0 < results.count("already redeemed") < COUNT
    found = at(net, "bank-c", "wallet", "show", device.id.hex())[1]
    assert (found["redeemed"], found["amount"]) == (COUNT, COUNT * 1_250)
