"""`payment kept`, and how `payment erase`, `reconcile` and `request-disclosure` name payments by what is kept."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from chainnode.client import NOT_FOUND
from chainnode.home import Home
from chainnode.ingest.privacy import PrivateField
from chainnode.private_store import PrivateStore
from tests.chainnode.test_kept_payments import ACCOUNT, OTHER, PAYMENTS, kept
from tests.chainnode.test_private_store import digest
from tests.cli.test_payment_reconciliation import ANSWER, UETR, item, leg
from tests.cli.test_with_a_node import Node, address, home, node  # noqa: F401  fixtures

FIRST, SECOND, THIRD, FOURTH = (digest(f"{name} id").hex() for name in PAYMENTS)
PAIR_KEY = "ab" * 32
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def keeping(home: Path) -> Path:  # noqa: F811
    """Return the home of a bank that keeps four payments."""
    with PrivateStore(Home(home).private) as store:
        store.keep([kept(name, {each: text.encode() for each, text in PAYMENTS[name].items()}) for name in PAYMENTS])
    return home


def statements(*told: tuple[str, str]) -> dict[str, Any]:
    """Return what `payment_get` answers, of members and event ids."""
    return {"statements": [{"member": member, "id": event} for member, event in told], "cursor": None}


def unknown(params: dict[str, Any]) -> dict[str, Any]:
    return {"code": NOT_FOUND, "message": f"no statement about this payment: got {params}"}


def found(keeping: Path, capsys: Captured, *words: str) -> list[str]:
    """Return the event ids that `payment kept` prints, in order."""
    status = run(["--home", str(keeping), "-o", "json", "payment", "kept", *words])
    rows = json.loads(capsys.readouterr().out)["kept"]
    assert status == (Exit.OK if rows else 1)
    return [row["event_id"] for row in rows]


def test_payments_are_found_by_what_they_hold(keeping: Path, capsys: Captured) -> None:
    assert found(keeping, capsys, "--account", ACCOUNT) == sorted([FIRST, SECOND])
    assert found(keeping, capsys, "--reference", "E2E-3", "--name", "王伟") == [THIRD]
    assert found(keeping, capsys, "--reference", "nobody's") == []


def test_a_value_comes_from_stdin_so_that_no_process_list_shows_it(
    keeping: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f" {OTHER}\nanother line\n"))
    assert found(keeping, capsys, "--account", "-") == [THIRD]
    assert run(["--home", str(keeping), "payment", "kept", "--account", "-", "--name", "-"]) == Exit.USAGE
    assert "values from stdin: expected one, got 2" in capsys.readouterr().err


def test_a_payment_is_found_by_its_names_and_only_what_this_bank_said_is_meant(
    node: Node,  # noqa: F811
    keeping: Path,
    capsys: Captured,
) -> None:
    told = statements(("bank-b", "cd" * 32), ("bank-a", FOURTH), ("bank-a", FIRST))
    node.answers["payment_get"] = lambda params: told if params.get("uetr") == UETR else unknown(params)
    assert found(keeping, capsys, UETR.upper()) == [FOURTH, FIRST]
    node.called.clear()
    assert found(keeping, capsys, SECOND) == [SECOND]
    assert not node.called, "an event that is kept here asks nobody"
    assert run(["--home", str(keeping), "payment", "kept", "ef" * 32]) == Exit.USAGE
    assert "nothing is kept here of this event" in capsys.readouterr().err
    assert run(["--home", str(keeping), "payment", "kept", UETR.replace("e", "f", 1)]) != Exit.OK
    assert "no statement about this payment" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "which payments is not clear"),
        ((FIRST, "--name", "x"), "which payments is not clear"),
        (("ab",), "not an event's id: expected 64 hex digits, got 2 characters"),
        (("--name", " "), "--name: nothing to look for"),
    ],
)
def test_what_does_not_name_payments_is_refused(
    keeping: Path, capsys: Captured, words: tuple[str, ...], error: str
) -> None:
    assert run(["--home", str(keeping), "payment", "kept", *words]) == Exit.USAGE
    assert error in capsys.readouterr().err


def test_a_table_shows_what_there_is_and_how_many_more(keeping: Path, capsys: Captured) -> None:
    assert run(["--home", str(keeping), "payment", "kept", "--account", ACCOUNT, "--limit", "1"]) == Exit.OK
    out = capsys.readouterr()
    assert len(out.out.splitlines()) == 2
    assert "REFERENCE" not in out.out, "a column of nothing"
    assert "2 kept, 1 shown" in out.err


def test_a_customers_payments_are_erased_by_account_and_nothing_else(
    node: Node,  # noqa: F811
    keeping: Path,
    capsys: Captured,
) -> None:
    erase = ["--home", str(keeping), "payment", "erase", "--basis", "customer_request", "--yes"]
    for words in ((), (FIRST, "--account", ACCOUNT)):
        assert run([*erase, *words]) == Exit.USAGE
        assert "what is to be erased is not clear" in capsys.readouterr().err
    assert run([*erase, "--account", "nobody's"]) == 1
    node.answers["ledger_submit"] = lambda _: {"code": -32005, "message": "no"}
    run([*erase, "--account", ACCOUNT])
    with PrivateStore(Home(keeping).private) as store:
        assert [store.holds(bytes.fromhex(each)) for each in (FIRST, SECOND, THIRD, FOURTH)] == [False] * 2 + [True] * 2
    assert "erased now: 2\n" in capsys.readouterr().err


def test_a_reconciliation_shows_beside_it_what_this_bank_keeps(
    node: Node,  # noqa: F811
    keeping: Path,
    capsys: Captured,
) -> None:
    def said(member: str, event: str) -> dict[str, Any]:
        return {"time": "2026-11-23T08:00:00Z", "member": member, "event_id": event}

    mine = item("mismatch", leg("payment", "mismatch", statements=[said("bank-b", "cd" * 32), said("bank-a", FIRST)]))
    theirs = item("matched", leg("payment", "matched", statements=[said("bank-b", "cd" * 32), said("bank-c", THIRD)]))
    node.answers["payment_listReconciliation"] = lambda _: ANSWER | {"payments": [mine, theirs]}
    assert run(["--home", str(keeping), "payment", "reconcile", "--kept"]) == Exit.OK
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split()[-3:] == ["REFERENCE", "AMOUNT", "PAIR_KEY"]
    assert first.split()[-4:-1] == ["-", "CNY", PAYMENTS["first"][PrivateField.AMOUNT].split()[1]]
    assert second.split()[-3:-1] == ["-", "-"]
    assert run(["--home", str(keeping), "-o", "json", "payment", "reconcile", "--kept"]) == Exit.OK
    rows = json.loads(capsys.readouterr().out)["payments"]
    assert [row["kept"] for row in rows] == [{"reference": None, "amount": "CNY 1.00"}, None]


def test_a_disclosure_is_asked_of_one_member_by_the_payments_names(
    node: Node,  # noqa: F811
    keeping: Path,
    capsys: Captured,
    tmp_path: Path,
) -> None:
    (tmp_path / "mandate").write_text("audit")
    told = statements(("bank-b", "cd" * 32), ("bank-c", "ef" * 32))
    node.answers["payment_get"] = lambda params: told if "uetr" in params else unknown(params)
    asked: list[str] = []
    node.answers["ledger_getEvent"] = lambda params: asked.append(params["event_id"]) or {"event": {"member": "bank-b"}}
    words = ["payment", "request-disclosure", UETR, "--field", "amount", "--basis", "audit_mandate"]
    words += ["--document", str(tmp_path / "mandate"), "--key", str(tmp_path / "key")]
    run(["--home", str(keeping), *words, "--reporter", "bank-b", "--timeout", "0.2"])
    assert asked == ["cd" * 32]
    capsys.readouterr()
    assert run(["--home", str(keeping), *words, "--reporter", "bank-d"]) == Exit.USAGE
    assert "expected bank-d, got no event" in capsys.readouterr().err
    assert run(["--home", str(keeping), *words]) == Exit.USAGE, "without a reporter these are events' ids"
