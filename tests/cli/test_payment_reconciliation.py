"""`payment reconcile` and `payment trace`: what is asked of the node, and what a person and a program read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from chainnode.cli.payment_reconciliation import STATES
from rpc.methods.reconciliation import StandingName
from tests.cli.test_with_a_node import Node, address, home, node  # noqa: F401  fixtures

UETR = "eb6305c9-1f7f-49de-aed0-16487c27b42d"


def leg(name: str, state: str, **more: Any) -> dict[str, Any]:
    return {
        "leg": name, "state": state, "compared": state, "fields": [], "tolerated": [], "missing": [], "late": False,
        "deadline": "2026-11-24T08:00:00Z", "equivocations": [], "statements": [{"time": "2026-11-23T08:00:00Z"}],
    } | more  # fmt: skip


def item(state: str, *legs: dict[str, Any], intruder: bool = False) -> dict[str, Any]:
    return {
        "pair_key": "ab" * 32, "members": ["bank-a", "bank-b"], "state": state, "legs": list(legs),
        "intruder": intruder,
    }  # fmt: skip


ROWS = [
    item("mismatch", leg("payment", "mismatch", fields=["amount"], late=True)),
    item("orphan", leg("payment", "matched"), leg("return", "orphan", missing=["bank-b"])),
    item("equivocation", leg("payment", "equivocation", equivocations=[{"fields": ["amount"]}])),
    item("matched", leg("payment", "matched", tolerated=["amount"])),
    item("one_sided", leg("payment", "one_sided", missing=["bank-b"]), intruder=True),
]
ANSWER = {
    "payments": ROWS, "cursor": "abc", "answer_within_ms": 86_400_000, "time": "2026-11-23T09:00:00Z",
    "above_height": 0, "as_of": 7,
    "counts": {"matched": 5, "one_sided": 1, "orphan": 1, "mismatch": 1, "equivocation": 1, "unpaired": 2},
}  # fmt: skip


def test_the_states_of_the_command_are_those_of_the_api() -> None:
    assert get_args(StandingName) == STATES


def test_payments_are_listed_with_what_is_wrong_and_counted_by_state(
    node: Node,  # noqa: F811
    home: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[dict[str, Any]] = []
    node.answers["payment_listReconciliation"] = lambda params: asked.append(params) or ANSWER
    options = ["--member", "bank-a", "--state", "mismatch", "--day", "2026-11-23", "--order", "asc"]
    assert run(["--home", str(home), "payment", "reconcile", *options]) == Exit.OK
    assert asked == [
        {"member": "bank-a", "state": "mismatch", "day": "2026-11-23", "order": "asc", "limit": 30}
    ]  # fmt: skip
    out = capsys.readouterr()
    lines = [" ".join(line.split()) for line in out.out.splitlines()]
    for text in (
        "mismatch amount, late -",
        "orphan return: orphan bank-b 2026-11-24T08:00:00Z",
        "equivocation two statements (amount)",
        "matched amount tolerated",
        "one_sided (intruder) - bank-b",
    ):
        assert any(text in line for line in lines), (text, lines)
    assert "5 matched, 1 one_sided, 1 orphan, 1 mismatch, 1 equivocation; 2 that stand alone" in out.err
    assert "as of block 7 (2026-11-23T09:00:00Z); the other side may take 24 hours" in out.err
    assert "--cursor abc" in out.err
    assert run(["--home", str(home), "-o", "json", "payment", "reconcile"]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == ANSWER


def test_a_payment_is_traced_with_its_hops_its_states_and_its_times(
    node: Node,  # noqa: F811
    home: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    step = {"stated": "2026-11-23T08:00:00Z", "member": "bank-a", "side": "debtor", "status": "settled"}
    step |= {"message_type": "pacs.008.001.08", "time": "2026-11-23T08:00:01Z", "height": 3, "event_id": "cd" * 32}
    answer = {
        "steps": [step],
        "hops": [{"role": "debtor-agent", "code": "BKAACNBJ", "stated_by": ["bank-a"]}],
        "payments": ROWS[:1],
        "initiated": "2026-11-23T08:00:00Z",
        "settled": None,
        "cursor": None,
    }
    node.answers["payment_trace"] = lambda params: answer if params == {"uetr": UETR, "limit": 100} else params
    assert run(["--home", str(home), "payment", "trace", UETR.upper()]) == Exit.OK
    out = capsys.readouterr()
    assert "pacs.008.001.08" in out.out
    assert "debtor-agent: BKAACNBJ (bank-a)" in out.err
    assert "between bank-a, bank-b: mismatch, amount, late" in out.err
    assert "initiated 2026-11-23T08:00:00Z, settled -" in out.err
