"""A payment's private life on a real network: stated by two banks, disclosed to an auditor, erased and found nowhere.

The tests build on each other.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from chainnode.cli.context import Settings
from chainnode.cli.exits import Exit, exit_of
from chainnode.cli.main import root
from chainnode.client import CallRefused
from chainnode.localnet_pairing import announce_pairing_keys
from primitives.errors import ChainError
from tests.chainnode.ingest.message_fixtures import pacs008
from tests.e2e.network_fixtures import Json, Network, network

pytestmark = pytest.mark.e2e

SECRETS = {
    "reference": "INVOICE-77-0042",
    "debtor_name": "Ouyang Xiaolan",
    "debtor_account": "6238977499386610805",
    "creditor_name": "Green Willow Clinic",
    "remittance": "treatment in March",
}
LINE = {"amount": "8765.43", "currency": "CNY", "time": "2026-11-20T12:00:00+08:00", "channel": "app"} | SECRETS
AGENTS = {"debtor_agent": "BKAACNBJXXX", "creditor_agent": "BKABCNBJXXX"}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("private")) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("desk")
    (path / "payment.jsonl").write_text(json.dumps({"payment": LINE | AGENTS}) + "\n", "utf-8")
    (path / "mandate.txt").write_text("a mandate\n", "utf-8")
    return path


def command(*words: str) -> tuple[int, Json]:
    """Run a command; return its exit status, and its result or the reason of its error."""
    result = CliRunner().invoke(root, ["-o", "json", *words], obj=Settings(), standalone_mode=False)
    if isinstance(result.exception, ChainError):
        return exit_of(result.exception), {"reason": result.exception.reason, "message": str(result.exception)}
    assert result.exception is None, result.exception
    return result.return_value or 0, json.loads(result.stdout) if result.stdout else {}


def at(net: Network, name: str, *words: str) -> tuple[int, Json]:
    return command("--home", str(net.home(name).root), *words)


def stated(net: Network, name: str, file: Path) -> str:
    status, found = at(net, name, "submit", str(file))
    assert status == 0, found
    return str(found["events"][0]["id"])


def test_two_banks_agree_on_secrets_by_announced_keys_and_their_statements_meet(net: Network, folder: Path) -> None:
    for name in ("bank-a", "bank-b"):
        net.home(name).pairs.unlink()  # nothing was handed over by hand
        status, found = at(net, name, "keys", "pairing", "new")
        assert status == 0
        assert at(net, name, "keys", "pairing", "announce", found["key"], "--from-day", "2026-01-01")[0] == 0
    ids = [stated(net, name, folder / "payment.jsonl") for name in ("bank-a", "bank-b")]
    bodies = [net.call("bank-c", "ledger_getEvent", event_id=each)["event"]["body"] for each in ids]
    assert bodies[0]["pair_key"] == bodies[1]["pair_key"] is not None
    assert bodies[0]["tokens"] == bodies[1]["tokens"]
    assert stated(net, "bank-a", folder / "payment.jsonl") == ids[0], "the same message is the same event"
    (folder / "event").write_text(ids[0])
    # As `localnet up` does for those that have none: the other two banks and the switch.
    assert [announce_pairing_keys(net.net) for _ in range(2)] == [3, 0]
    rows = at(net, "bank-a", "keys", "pairing", "list")[1]["keys"]
    assert [row["member"] for row in rows if row["from"]] == ["bank-a", "bank-b", "bank-c", "bank-d", "switch"]


def test_an_auditor_is_shown_what_was_granted_and_opens_it_offline(net: Network, folder: Path) -> None:
    event = (folder / "event").read_text()
    auditor = ("--as", str(net.net.keys / "auditor-auditor.key"), "--endpoint", net.node("bank-c").rpc)
    asking = ("--field", "amount", "--field", "debtor_name", "--basis", "audit_mandate")
    files = ("--document", str(folder / "mandate.txt"), "--key", str(folder / "auditor.secret"))
    token = ("--token-file", str(net.home("bank-c").token))
    status, asked = command(*auditor, *token, "payment", "request-disclosure", event, *asking, *files)
    assert status == 0, asked
    request = asked["id"] if "id" in asked else asked[0]["id"]  # type: ignore[index]  # one result, or a list of it
    listing = ("payment", "disclosures", "--reporter", "bank-a", "--open")
    assert [row["id"] for row in at(net, "bank-a", *listing)[1]["requests"]] == [request]
    package = str(folder / "package")
    more = at(net, "bank-a", "payment", "disclose", "--request", request, "--field", "remittance", "-f", package)
    assert more[0] == Exit.USAGE
    words = ("--field", "amount", "--field", "debtor_name", "-f", package)
    assert at(net, "bank-b", "payment", "disclose", "--request", request, *words)[0] == Exit.USAGE
    assert at(net, "bank-a", "payment", "disclose", "--request", request, *words)[0] == 0
    assert at(net, "bank-a", *listing)[1]["requests"] == []
    twice = at(net, "bank-a", "payment", "disclose", "--request", request, *words[:-1], f"{package}-again")
    assert twice[0] == Exit.USAGE
    assert "not open" in str(twice[1]["message"])
    assert not Path(f"{package}-again").exists(), "what no answer records is not handed out"
    policy = str(folder / "policy")
    assert command("policy", "export", "--endpoint", net.node("bank-d").rpc, "-f", policy)[0] == 0
    opening = ("--key", str(folder / "auditor.secret"), "--policy", policy)
    status, opened = command("payment", "open", package, *opening)
    assert status == 0, opened
    assert opened["request"] == request
    assert opened["statements"][0]["values"] == {"amount": "CNY 8765.43", "debtor_name": "Ouyang Xiaolan"}
    data = bytearray((folder / "package").read_bytes())
    data[-3] ^= 1
    (folder / "bent").write_bytes(data)
    assert command("payment", "open", str(folder / "bent"), *opening)[0] == Exit.VERIFICATION_FAILED


def test_what_was_erased_is_found_nowhere_in_the_home_and_disclosed_no_more(net: Network, folder: Path) -> None:
    event = (folder / "event").read_text()
    before = net.home("bank-a").private / "keys.bin"
    held = before.read_bytes()
    receipt = folder / "erasure.json"
    erasing = (event, "--basis", "customer_request", "--yes", "-f", str(receipt))
    status, found = at(net, "bank-a", "payment", "erase", *erasing)
    assert status == 0, found
    assert json.loads(receipt.read_text())["erased"] == [event]
    # Keys that were in use before and are not any more stand nowhere, and neither does what they opened.
    gone = [key for key in chunks(held, 32) if any(key) and key not in chunks(before.read_bytes(), 32)]
    assert len(gone) >= 3
    for path in net.home("bank-a").root.rglob("*"):
        if not path.is_file():
            continue
        data = path.read_bytes()
        assert [text for text in SECRETS.values() if text.encode() in data] == [], path
        assert [key for key in gone if key in data or key.hex().encode() in data] == [], path
    words = ("--field", "amount", "--to", "de" * 32, "-f", str(folder / "another"))
    assert at(net, "bank-a", "payment", "disclose", event, *words)[1]["reason"] == "payment_erased"
    status, again = at(net, "bank-a", "submit", str(folder / "payment.jsonl"))
    assert (status, again["events"][0]["reason"]) == (1, "payment_erased")
    proof = str(folder / "receipt")
    assert command("prove", event, "--endpoint", net.node("bank-d").rpc, "-f", proof)[0] == 0
    assert command("verify", proof, "--policy", str(folder / "policy"))[0] == 0


def chunks(data: bytes, size: int) -> list[bytes]:
    """Return the parts of bytes."""
    return [data[start : start + size] for start in range(0, len(data), size)]


def test_any_banks_gateway_takes_a_message_as_it_is_and_both_sides_meet(net: Network) -> None:
    message = pacs008()
    answers = {name: net.call(name, "ledger_submit", payload=message) for name in ("bank-a", "bank-b")}
    for name, side in (("bank-a", "debtor"), ("bank-b", "creditor")):
        found = answers[name]
        assert [row["outcome"]["applied"] for row in found["events"]] == [True, True]
        assert [place["side"] for place in found["payload"]["places"]] == [side, side]
    bodies = [
        net.call("bank-c", "ledger_getEvent", event_id=found["events"][0]["id"])["event"]["body"]
        for found in answers.values()
    ]
    assert bodies[0]["pair_key"] == bodies[1]["pair_key"] is not None
    again = net.call("bank-a", "ledger_submit", payload=message, wait="none")
    assert [row["id"] for row in again["events"]] == [row["id"] for row in answers["bank-a"]["events"]]
    assert [row["status"] for row in again["events"]] == ["Committed", "Committed"]
    status, kept = at(
        net, "bank-a", "payment", "erase", again["events"][0]["id"], "--basis", "customer_request", "--yes"
    )
    assert status == 0, kept
    with pytest.raises(CallRefused) as foreign:
        net.call("bank-d", "ledger_submit", payload=message)
    assert foreign.value.slug == "not_a_party"
    with pytest.raises(CallRefused) as erased:
        net.call("bank-a", "ledger_submit", payload=message)
    assert erased.value.slug == "payment_erased"


def test_a_message_that_came_by_a_call_comes_as_a_file_too(net: Network, folder: Path) -> None:
    message = pacs008(message_id="MSG-FILE")
    (folder / "message.xml").write_text(message)
    asked = {"payload": base64.b64encode(message.encode()).decode(), "encoding": "base64", "format": "iso20022"}
    ids = [row["id"] for row in net.call("bank-a", "ledger_submit", **asked)["events"]]
    status, found = at(net, "bank-a", "submit", str(folder / "message.xml"))
    assert status == 0
    assert [row["id"] for row in found["events"]] == ids


def test_no_value_of_a_bad_message_is_in_the_answer_or_a_log(net: Network) -> None:
    number = "6222021234567890"
    for bad in (pacs008().replace("SHAR", number, 1), f'{{"payment": {{"{number}": 1}}}}', f"<Document>{number}"):
        with pytest.raises(CallRefused) as refused:
            net.call("bank-a", "ledger_submit", payload=bad)
        assert number not in str(refused.value)
    assert number.encode() not in net.home("bank-a").log.read_bytes()
