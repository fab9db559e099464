"""`payment totals list` and `show`: what is asked of the node, and what a person and a program read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from chainnode.cli.payment_totals import STATES
from rpc.methods.totals import TotalsStateName
from tests.cli.test_with_a_node import Node, address, home, node  # noqa: F401  fixtures

FOUND = {
    "members": ["bank-a", "bank-b"], "day": "2026-11-23", "currency": "CNY", "state": "one_sided", "fields": ["amount"],
    "deadline": "2026-11-24T08:00:00Z", "overdue": True, "differences": 1,
    "stated": [{"member": "bank-a", "event_id": "ab" * 32, "replaced": []}],
}  # fmt: skip
LISTED = {
    "totals": [FOUND], "counts": {"one_sided": 1, "agreed": 2, "differs": 3}, "cursor": None, "above_height": 0,
    "time": "2026-11-23T09:00:00Z", "as_of": 7,
}  # fmt: skip


def side(member: str, stated: Any, *unlike: str) -> dict[str, Any]:
    return {"member": member, "stated": stated, "counted": 2, "counted_root": None, "unlike_statements": list(unlike)}


ANSWER = LISTED | {
    "totals": FOUND,
    "lines": [{
        "sender": "bank-a", "leg": "payment", "fields": ["count"],
        "sides": [
            side("bank-a", {"count": 3, "amount": "12.50", "token": "11" * 16, "payments_root": "22" * 32}, "count"),
            side("bank-b", None),
        ],
    }],
    "payments": [
        {"pair_key": "ab" * 32, "part": "", "sender": "bank-a", "leg": "payment", "amounts_differ": False,
         "counted_by": [{"member": "bank-a", "event_id": "cd" * 32, "amount": None}],
         "elsewhere": [{"member": "bank-b", "day": "2026-11-24", "currency": "CNY", "sender": "bank-a",
                        "leg": "payment"}]},
        {"pair_key": "ef" * 32, "part": "", "sender": "bank-a", "leg": "payment", "amounts_differ": True,
         "counted_by": [{"member": "bank-a"}, {"member": "bank-b"}], "elsewhere": []},
    ],
}  # fmt: skip


def test_the_states_of_the_command_are_those_of_the_api() -> None:
    assert get_args(TotalsStateName) == STATES


def test_totals_are_listed_with_how_they_stand_and_counted_by_state(
    node: Node,  # noqa: F811
    home: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[dict[str, Any]] = []
    node.answers["payment_listTotals"] = lambda params: asked.append(params) or LISTED
    options = ["--member", "bank-a", "--state", "one_sided", "--day", "2026-11-23", "--currency", "CNY"]
    assert run(["--home", str(home), "payment", "totals", "list", *options]) == Exit.OK
    assert asked == [
        {"member": "bank-a", "state": "one_sided", "day": "2026-11-23", "currency": "CNY", "order": "desc", "limit": 30}
    ]
    shown = capsys.readouterr()
    assert "one_sided (overdue)" in shown.out
    assert "1 one_sided, 2 agreed, 3 differs" in shown.err
    assert run(["--home", str(home), "-o", "json", "payment", "totals", "list"]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == LISTED


def test_both_sides_of_each_line_are_shown_and_why_payments_differ(
    node: Node,  # noqa: F811
    home: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[dict[str, Any]] = []
    node.answers["payment_totals"] = lambda params: asked.append(params) or ANSWER
    words = ["payment", "totals", "show", "bank-a", "bank-b", "--day", "2026-11-23"]
    assert run(["--home", str(home), *words, "--all"]) == Exit.OK
    assert asked == [
        {"member": "bank-a", "counterparty": "bank-b", "day": "2026-11-23", "currency": "CNY", "payments": "all",
         "limit": 100}
    ]  # fmt: skip
    shown = " ".join(capsys.readouterr().out.split())
    for words_ in ("12.50", "own statements: count", "bank-b does not count it", "on 2026-11-24", "amounts differ"):
        assert words_ in shown, words_
    node.answers["payment_totals"] = lambda _: ANSWER | {"payments": []}
    assert run(["--home", str(home), *words]) == Exit.OK
    assert "both count the same payments" in capsys.readouterr().err
