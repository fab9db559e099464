"""Two banks' end-of-day totals on a real network: they agree, one leaves a payment out, and the difference is named.

The tests build on each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from chainnode.cli.context import Settings
from chainnode.cli.exits import Exit, exit_of
from chainnode.cli.main import root
from primitives.errors import ChainError
from tests.e2e.network_fixtures import Json, Network, network, until

pytestmark = pytest.mark.e2e

DAY = "2026-11-20"
KEY = {"member": "bank-a", "counterparty": "bank-b", "day": DAY, "currency": "CNY"}
LINE = {
    "currency": "CNY", "time": "2026-11-20T12:00:00+08:00", "settlement_date": DAY, "channel": "app",
    "debtor_account": "1", "creditor_account": "2",
}  # fmt: skip
CODES = {"bank-a": "BKAACNBJXXX", "bank-b": "BKABCNBJXXX"}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("totals")) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("desk")


def at(net: Network, name: str, *words: str) -> tuple[int, Json]:
    """Run a command at a node's home; return its exit status, and its result or the reason of its error."""
    words = ("-o", "json", "--home", str(net.home(name).root), *words)
    result = CliRunner().invoke(root, words, obj=Settings(), standalone_mode=False)
    if isinstance(result.exception, ChainError):
        return exit_of(result.exception), {"reason": result.exception.reason}
    assert result.exception is None, result.exception
    return result.return_value or 0, json.loads(result.stdout) if result.stdout else {}


def pay(net: Network, folder: Path, reference: str, amount: str, sender: str, *tellers: str) -> None:
    """Have banks state a payment."""
    ends = (CODES[sender], CODES["bank-b" if sender == "bank-a" else "bank-a"])
    told = LINE | {"reference": reference, "amount": amount, "debtor_agent": ends[0], "creditor_agent": ends[1]}
    file = folder / f"{reference}.jsonl"
    file.write_text(json.dumps({"payment": told}) + "\n", "utf-8")
    for name in tellers:
        assert at(net, name, "submit", str(file))[0] == 0


def state(net: Network, expected: str) -> Json:
    """Return how both banks' totals stand at a third one, once its index says so."""

    def found() -> Json | None:
        answer: Json = net.call("bank-c", "payment_totals", **KEY)
        return answer if answer["totals"]["state"] == expected else None

    return until(found)


def make(net: Network, name: str, *words: str) -> tuple[int, Json]:
    return at(net, name, "payment", "totals", "make", "--day", DAY, *words)


def test_totals_are_shown_and_stated_only_when_asked(net: Network, folder: Path) -> None:
    pay(net, folder, "ONE", "10.00", "bank-a", "bank-a", "bank-b")
    pay(net, folder, "TWO", "2.50", "bank-a", "bank-a", "bank-b")
    pay(net, folder, "THREE", "0.07", "bank-b", "bank-a", "bank-b")
    status, made = make(net, "bank-a")
    assert status == 0
    assert [(row["flow"], row["count"], row["sum"], row["theirs"]) for row in made["totals"]] == [
        ("received", 1, "0.07", "not stated"), ("sent", 2, "12.50", "not stated"),
    ]  # fmt: skip
    assert made["events"] == []
    assert state(net, "unstated")["totals"]["differences"] == 0


def test_two_banks_agree_without_showing_a_sum(net: Network) -> None:
    status, made = make(net, "bank-a", "--submit")
    assert (status, len(made["events"])) == (0, 1)
    assert state(net, "one_sided")["totals"]["overdue"] is False
    status, made = make(net, "bank-b", "--submit", "--counterparty", "bank-a")
    assert (status, {row["theirs"] for row in made["totals"]}) == (0, {"agrees"})
    answer = state(net, "agreed")
    sides = [side for line in answer["lines"] for side in line["sides"]]
    assert {side["stated"]["amount"] for side in sides} == {None}
    assert [side["unlike_statements"] for side in sides] == [[], [], [], []]
    body = net.call("bank-d", "ledger_getEvent", event_id=made["events"][0]["id"])["event"]["body"]
    assert "12.5" not in json.dumps(body)
    assert "1250" not in json.dumps(body)
    assert make(net, "bank-b", "--submit")[1]["events"] == [], "what is stated is not stated again"


def test_a_payment_that_one_bank_leaves_out_is_named(net: Network, folder: Path) -> None:
    pay(net, folder, "FOUR", "99.00", "bank-a", "bank-a")
    assert make(net, "bank-a", "--submit")[0] == 0
    answer = state(net, "differs")
    assert answer["totals"]["fields"] == ["amount", "count", "payments"]
    (item,) = answer["payments"]
    pair_key = net.call("bank-a", "payment_list", limit=1)["statements"][0]["body"]["pair_key"]
    assert (item["pair_key"], [one["member"] for one in item["counted_by"]]) == (pair_key, ["bank-a"])
    made = make(net, "bank-b")[1]
    assert [row["theirs"] for row in made["totals"] if row["flow"] == "received"] == ["differs: 3"]
    listed = at(net, "bank-c", "payment", "totals", "list", "--state", "differs", "--day", DAY)[1]
    assert [row["members"] for row in listed["totals"]] == [["bank-a", "bank-b"]]
    shown = at(net, "bank-c", "payment", "totals", "show", "bank-b", "bank-a", "--day", DAY)[1]
    assert shown["payments"] == answer["payments"]
    pay(net, folder, "FOUR", "99.00", "bank-a", "bank-b")
    assert make(net, "bank-b", "--submit")[0] == 0
    answer = state(net, "agreed")
    assert (answer["payments"], [len(one["replaced"]) for one in answer["totals"]["stated"]]) == ([], [1, 1])


def test_sums_are_in_clear_where_a_bank_chooses_so_and_still_agree(net: Network) -> None:
    assert make(net, "bank-a", "--submit", "--clear-amounts")[0] == 0
    until(lambda: net.call("bank-c", "payment_totals", **KEY)["lines"][0]["sides"][0]["stated"]["amount"])
    answer = state(net, "agreed")
    assert [line["sides"][0]["stated"]["amount"] for line in answer["lines"]] == ["111.50", "0.07"]


def test_what_was_erased_cannot_be_summed_and_nothing_is_stated(net: Network) -> None:
    (event,) = [
        one["counted_by"][0]["event_id"]
        for one in net.call("bank-a", "payment_totals", **KEY, payments="all")["payments"]
        if one["sender"] == "bank-b"
    ]
    assert at(net, "bank-a", "payment", "erase", event, "--basis", "customer_request", "--yes")[0] == 0
    status, made = make(net, "bank-a", "--submit")
    assert (status, made["totals"], made["events"]) == (Exit.ERROR, [], [])
    assert state(net, "agreed")["payments"] == []


def test_that_nothing_was_paid_is_stated_where_it_is_asked_for_alone(net: Network, folder: Path) -> None:
    key = KEY | {"day": "2026-11-19"}
    told = LINE | {
        "reference": "SIX",
        "amount": "6.00",
        "debtor_agent": CODES["bank-a"],
        "creditor_agent": CODES["bank-b"],
    }
    (folder / "six.jsonl").write_text(json.dumps({"payment": told | {"settlement_date": key["day"]}}) + "\n", "utf-8")
    assert at(net, "bank-a", "submit", str(folder / "six.jsonl"))[0] == 0
    words = ("payment", "totals", "make", "--day", key["day"], "--submit")
    assert at(net, "bank-b", *words)[1]["events"] == [], "nobody stated anything of that day"
    assert len(at(net, "bank-a", *words)[1]["events"]) == 1
    assert at(net, "bank-b", *words)[1]["events"] == []
    status, made = at(net, "bank-b", *words, "--counterparty", "bank-a")
    assert (status, len(made["events"])) == (0, 1)
    assert [(row["flow"], row["count"], row["theirs"]) for row in made["totals"]] == [("received", 0, "differs: 1")]
    until(lambda: net.call("bank-c", "payment_totals", **key)["totals"]["state"] == "differs")
