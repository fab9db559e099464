"""`cert deadlines`: what is asked of the node, and what a person and a program read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from chainnode.cli.certificate_deadlines import KINDS
from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from rpc.errors import RpcError
from rpc.methods.deadlines import KindName
from rpc.methods.known_members import check_member
from tests.cli.test_with_a_node import Node, address, home, node  # noqa: F401  fixtures
from tests.rpc.rich_fixtures import RichNode, services_of


def item(kind: str, days_left: int, level: str, by: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "subject": "FTP-2026-06-000001",
        "member": "bank-a",
        "body": "cb",
        "due": "2027-01-01T00:00:00Z",
        "days_left": days_left,
        "level": level,
        "next": "do it",
        "by": by,
    }


ROWS = [
    item("suspension_ended", -3, "overdue", "cb"),
    item("renewal_opened", -1, "open", "bank-a"),
    item("certificate_expired", 12, "ahead", "bank-a"),
]


def test_the_kinds_of_the_command_are_those_of_the_api() -> None:
    assert get_args(KindName) == KINDS


def test_a_table_says_how_many_days_are_left_and_who_is_to_do_what(
    node: Node,  # noqa: F811
    home: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[dict[str, Any]] = []

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        asked.append(params)
        return {"deadlines": ROWS[: params["limit"]], "cursor": "abc", "time": "2026-12-20T00:00:00Z", "as_of": 7}

    node.answers["cert_deadlines"] = answer
    assert run(["--home", str(home), "cert", "deadlines"]) == Exit.OK
    out = capsys.readouterr()
    assert "--cursor abc" in out.err
    lines = [" ".join(line.split()) for line in out.out.splitlines()]
    for left in ("OVERDUE 2 days suspension_ended", "since 0 days renewal_opened", "12 days certificate_expired"):
        assert any(left in line for line in lines), (left, lines)
    wanted = ["--kind", "renewal_opened", "--within-days", "5", "--member", "cb", "--at", "41", "--order", "desc"]
    assert run(["--home", str(home), "-o", "json", "cert", "deadlines", "--limit", "2", *wanted]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["deadlines"] == ROWS[:2]
    assert run(["--home", str(home), "cert", "deadlines", "--until", "2027-01-01", "--at", "2026-02-01T00:00:00Z"]) == 0
    assert asked == [
        {"limit": 30},
        {"kind": "renewal_opened", "within_days": 5, "member": "cb", "at": 41, "order": "desc", "limit": 2},
        {"limit": 30, "until": "2027-01-01", "at": "2026-02-01T00:00:00Z"},
    ]
    assert run(["--home", str(home), "cert", "deadlines", "--kind", "nothing"]) == Exit.USAGE


def test_nothing_that_is_due_is_said_so(
    node: Node,  # noqa: F811
    home: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    node.answers["cert_deadlines"] = lambda _: {"deadlines": [], "cursor": None, "time": "2026-12-20T00:00:00Z"}
    assert run(["--home", str(home), "cert", "deadlines"]) == Exit.OK
    out = capsys.readouterr()
    assert (out.out, "nothing is due, as of 2026-12-20T00:00:00Z" in out.err) == ("", True)
    assert run(["--home", str(home), "-o", "json", "cert", "deadlines"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["deadlines"] == []


@pytest.mark.parametrize(
    ("words", "method"), [(["deadlines", "--member"], "cert_deadlines"), (["list", "--holder"], "cert_list")]
)
def test_a_member_that_there_is_not_is_not_found_and_told_what_to_do(
    node: Node,  # noqa: F811
    home: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    method: str,
) -> None:
    with pytest.raises(RpcError) as refused:
        check_member(services_of(RichNode()), "nosuch")
    node.answers[method] = lambda _: msgspec.to_builtins(refused.value.object("trace"))
    assert run(["--home", str(home), "cert", *words, "nosuch"]) == Exit.NOT_FOUND
    told = capsys.readouterr().err
    assert "no such member: got nosuch" in told
    assert "chainnode member list" in told
