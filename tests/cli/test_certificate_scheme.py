"""What the commands of the scheme send, by the rules of the chain, and what they refuse before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chainnode.cli import certificate_events
from chainnode.cli.certificate_events import _field_of
from chainnode.cli.certificate_scheme import shown_certificate
from chainnode.cli.context import Settings
from chainnode.cli.main import root
from chainnode.identity import new_key, write_key
from chainnode.submission import NewEvent
from ledger.certificate_bodies import Reissue
from ledger.registry import KINDS
from primitives.encoding import Record, decode

LEI = "300300BANKA000DEMO03"
NUMBER, APPLICATION = "FTP-2026-06-000001", "bank-a.0001"
HISTORY = {"count": 5, "hash": "cd" * 32, "changed": "2026-01-01T00:00:00.000Z"}
CASE = {
    "history": HISTORY,
    "product": {"name": "Terminal", "model": "CT-1", "version": "2.0"},
    "holder": "bank-a",
    "holder_name": "Bank A",
    "category": 6,
    "state": "reviewed",
}


class Node:
    """A node that answers from memory, of a chain by these rules."""

    def __init__(self, rules: int) -> None:
        self.rules = rules

    def call(self, method: str, **_: object) -> Any:
        return {
            "gov_getPolicy": {"rules": self.rules},
            "ledger_getCapabilities": {"chain_id": "ab" * 32},
            "cert_getApplication": {"application": CASE},
            "cert_get": {"certificate": CASE, "scheme": {"rulings": HISTORY}},
        }[method]


class Desk:
    """Keys of a member's source and officers, a document, and what was sent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sent: list[NewEvent] = []
        for name, use in (("source", "source"), ("one", "officer"), ("two", "officer")):
            write_key(folder / name, new_key(use, member="cb", role=name))  # type: ignore[arg-type]  # of the words
        (folder / "document").write_text("a document")

    def run(self, *words: str, rules: int = 3) -> Result:
        given = Settings()
        given.client = lambda **_: Node(rules)  # type: ignore[method-assign,assignment,return-value]  # a stand-in
        line = ["-o", "json", "--as", str(self.folder / "source"), "cert", *words]
        return CliRunner().invoke(root, line, obj=given, standalone_mode=False)

    def path(self, name: str) -> str:
        return str(self.folder / name)

    @property
    def body(self) -> Record:
        """The body of the only event that was sent."""
        (event,) = self.sent
        return decode(KINDS[event.kind].schemas[event.schema], event.body, size_max=10_000)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path)

    @contextmanager
    def door(_: object) -> Iterator[None]:
        yield None

    def send(_: object, __: object, events: list[NewEvent], *___: object, **____: object) -> int:
        made.sent += events
        return 0

    monkeypatch.setattr(certificate_events, "open_door", door)
    monkeypatch.setattr(certificate_events, "send_all", send)
    return made


def apply(desk: Desk, *more: str, rules: int = 3) -> Result:
    product = ["--product", "Terminal", "--model", "CT-1", "--version", "2.0", "--category", "6"]
    return desk.run("apply", *product, "--holder-name", "Bank A", "--serial", "0001", *more, rules=rules)


def test_an_application_with_a_scope_is_of_schema_2(desk: Desk) -> None:
    assert apply(desk, "--holder-id", LEI, "--scope", "contact", "--scope", "barcode").exception is None
    assert (desk.sent[0].kind, desk.sent[0].schema) == (1, 2)
    assert (desk.body.holder_id, desk.body.scope) == (LEI, ("contact", "barcode"))  # type: ignore[attr-defined]  # of schema 2


def test_an_application_without_one_is_of_schema_1_on_every_chain(desk: Desk) -> None:
    for rules in (2, 3):
        desk.sent.clear()
        assert apply(desk, rules=rules).exception is None
        assert (desk.sent[0].kind, desk.sent[0].schema) == (1, 1)


@pytest.mark.parametrize(
    ("words", "rules", "told"),
    [
        (["--holder-id", LEI], 3, "names its holder's id: expected --holder-id and --scope"),
        (["--scope", "contact"], 3, "names its holder's id: expected --holder-id and --scope"),
        (["--holder-id", "300300BANKA000DEMO04", "--scope", "contact"], 3, "with right check digits"),
        (["--holder-id", LEI, "--scope", "contact"], 2, "no holder ids and scopes yet: expected rules 3, got 2"),
        (["--holder-id", LEI, "--scope", "contact", "--scope", "contact"], 3, "an entry stands twice"),
    ],
)
def test_an_application_that_the_chain_would_not_take_is_not_sent(
    desk: Desk, words: list[str], rules: int, told: str
) -> None:
    assert told in str(apply(desk, *words, rules=rules).exception)
    assert desk.sent == []


def grant(desk: Desk, *more: str, rules: int = 3) -> Result:
    return desk.run("issue", APPLICATION, "--number", NUMBER, *more, rules=rules)


def test_a_grant_is_sent_with_two_officers_and_not_with_fewer(desk: Desk) -> None:
    one, two = ("--officer", desk.path("one")), ("--officer", desk.path("two"))
    for given in ((), one):
        assert "officers have to sign this decision: expected 2" in str(grant(desk, *given).exception)
    assert "this officer has signed already" in str(grant(desk, *one, *one).exception)
    assert desk.sent == []
    assert grant(desk, *one, *two).exception is None
    assert (desk.sent[0].kind, desk.sent[0].schema) == (6, 2)
    assert len(desk.body.approvals) == 2  # type: ignore[attr-defined]  # of schema 2


def test_a_chain_of_earlier_rules_gets_decisions_without_signatures(desk: Desk) -> None:
    assert grant(desk, rules=2).exception is None
    assert grant(desk, "--officer", desk.path("one"), rules=2).exception is None
    assert [(event.kind, event.schema) for event in desk.sent] == [(6, 1), (6, 1)]
    assert "no decisions for officers to sign" in str(grant(desk, "--prepare", desk.path("file"), rules=2).exception)


def test_a_decision_goes_from_one_officer_to_the_next_and_is_sent_once_both_signed(desk: Desk) -> None:
    file = desk.path("file")
    revoke = ("revoke", NUMBER, "--reason", "forged_report", "--prepare", file)
    assert desk.run(*revoke).exception is None
    assert "file exists already" in str(desk.run(*revoke).exception)
    seen = desk.run("approve", file, "--officer", desk.path("one"), "--dry-run")
    assert json.loads(seen.stdout)["missing"] == 2
    assert "signatures of officers are missing" in str(desk.run("decide", file).exception)
    for name in ("one", "two"):
        shown = json.loads(desk.run("approve", file, "--officer", desk.path(name)).stdout)
        assert (shown["number"], shown["reason"], shown["holder"]) == (NUMBER, "forged_report", "Bank A (bank-a)")
    assert desk.sent == []
    assert desk.run("decide", file).exception is None
    assert (desk.sent[0].kind, desk.sent[0].schema) == (10, 2)


def test_a_decision_upon_what_a_case_no_longer_is_is_neither_signed_nor_sent(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = desk.path("file")
    assert (
        grant(desk, "--prepare", file, "--officer", desk.path("one"), "--officer", desk.path("two")).exception is None
    )
    monkeypatch.setitem(CASE, "history", HISTORY | {"count": 6})
    assert "the case has changed" in str(desk.run("decide", file).exception)
    assert desk.sent == []
    write_key(desk.folder / "three", new_key("officer", member="cb"))
    other = desk.path("other")
    monkeypatch.setitem(CASE, "history", HISTORY)
    assert grant(desk, "--prepare", other).exception is None
    monkeypatch.setitem(CASE, "history", HISTORY | {"count": 6})
    before = Path(other).read_bytes()
    assert "the case has changed" in str(desk.run("approve", other, "--officer", desk.path("three")).exception)
    assert Path(other).read_bytes() == before
    assert desk.run("approve", other, "--officer", desk.path("three"), "--offline").exception is None


DOCUMENT = ("--evidence", "{document}")
COMMANDS: dict[int, tuple[str, ...]] = {
    13: ("surveil", NUMBER, "--failed", "--grave", "--finding", "seal_broken", *DOCUMENT),
    14: ("apply-change", NUMBER, "--scope", "contact", "--scope", "barcode", *DOCUMENT),
    15: ("extend", APPLICATION, NUMBER),
    16: ("reduce", NUMBER, "--reason", "reads_fail", "--remove", "barcode", *DOCUMENT),
    17: ("reissue", NUMBER, "--reason", "lost", *DOCUMENT),
    18: ("appeal", NUMBER, "--reason", "disagrees", *DOCUMENT),
    19: ("decide-appeal", NUMBER, "--dismissed", *DOCUMENT),
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_each_command_sends_its_kind_and_only_on_a_chain_that_has_it(desk: Desk, kind: int) -> None:
    words = [word.format(document=desk.path("document")) for word in COMMANDS[kind]]
    assert f"expected rules {KINDS[kind].rules_min}, got 2" in str(desk.run(*words, rules=2).exception)
    assert desk.sent == []
    assert desk.run(*words).exception is None
    assert [(event.kind, event.schema) for event in desk.sent] == [(kind, 1)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("surveil", NUMBER), "--passed or --failed"),
        (("surveil", NUMBER, "--failed"), "failed without a finding"),
        (("surveil", NUMBER, "--passed", "--grave"), "findings of what passed"),
        (("surveil", NUMBER, "--passed", "--correct-by", "tomorrow"), "--correct-by"),
        (("apply-change", NUMBER), "--scope TEXT for each of its entries"),
        (("reduce", NUMBER, "--reason", "x"), "--remove TEXT for each entry"),
        (("decide-appeal", NUMBER), "--upheld or --dismissed"),
        (("appeal", "ftp-1", "--reason", "x"), "cannot be sent so"),
        (("reissue", NUMBER, "--reason", "It was lost"), "cannot be sent so"),
    ],
)
def test_what_is_missing_or_contradicts_itself_is_told_before_anything_is_sent(
    desk: Desk, words: tuple[str, ...], told: str
) -> None:
    assert told in str(desk.run(*words).exception)
    assert desk.sent == []


def test_a_person_reads_of_a_certificate_what_stands_beside_it() -> None:
    record = {**CASE, "evidence": [], "corrections": [], "suspension": None, "appeal_until": None}
    record["revocation"] = {"reason": "forged_report", "by": "regulator", "invalid_from": "T"}
    decision = {"what": "revocation", "member": "regulator", "time": "T", "appeal_until": "U", "appealed": None}
    seen = {"time": "T", "member": "ins", "passed": False, "grave": True, "findings": ["x"], "correct_by": None}
    scheme = {"holder_id": LEI, "scope": ["contact"], "issues": 2, "decision": decision, "surveillance": seen}
    found = {"certificate": record, "scheme": scheme | {"evidence": []}, "status": {"status": "a", "status_zh": "b"}}
    shown = shown_certificate(found)
    assert (shown["holder_id"], shown["scope"], shown["issues"]) == (LEI, ["contact"], 2)
    assert (shown["decision.what"], shown["surveillance.grave"], shown["revocation.by"]) == (
        "revocation",
        True,
        "regulator",
    )


def test_a_field_that_cannot_be_sent_is_named() -> None:
    body = Reissue("FTP-2026-06-000001", "lost", ())
    assert _field_of(body, "got Expected `str` - at `$[1]`") == body.__struct_fields__[1]
    assert _field_of(body, "got nothing that names a place") is None
    assert _field_of(body, "at `$[99]`") is None
