"""Decisions that officers sign elsewhere: changed, stale, or twice signed by one officer, they are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chainnode.decisions import (
    BadDecision,
    Prepared,
    StaleDecision,
    Upon,
    check_case,
    prepare,
    read_decision,
    signed_event,
    write_decision,
)
from chainnode.identity import KeyFile, new_key
from chainnode.submission import NewEvent
from ledger.certificate_bodies import Accept, Grant, GrantSigned, Revoke
from ledger.certificate_records import History
from ledger.scheme_checks import statement_upon
from primitives.encoding import decode, encode
from primitives.errors import InputError, UsageError
from primitives.ids import Hash
from primitives.keys import verify

CHAIN = "ab" * 32
UPON = Upon(5, "cd" * 32)
APPLICATION, NUMBER = "bank-a.0001", "FTP-2026-06-000001"
GRANT = Grant(APPLICATION, NUMBER, None, None, 36)


def officer(number: int, member: str = "cb") -> KeyFile:
    return new_key("officer", member=member, role="certification", seed=bytes([number]) * 32)


def prepared() -> Prepared:
    body = {"application": APPLICATION, "number": NUMBER, "valid_from": None, "valid_until": None, "valid_months": 36}
    return Prepared(CHAIN, "cb", "certificate.grant", body, UPON)


class Node:
    """A node of a chain of these rules, on which the case has had so many events."""

    def __init__(self, rules: int = 3, count: int = UPON.count, chain: str = CHAIN) -> None:
        self._rules, self._count, self._chain = rules, count, chain

    def call(self, method: str, **_: object) -> Any:
        made = {"count": self._count, "hash": UPON.hash}
        case = {"history": made | {"changed": ""}}
        return {
            "gov_getPolicy": {"rules": self._rules},
            "ledger_getCapabilities": {"chain_id": self._chain},
            "cert_getApplication": {"application": case},
            "cert_get": {"certificate": {"history": made | {"count": 99}}, "scheme": {"rulings": made}},
        }[method]


def test_two_officers_sign_what_the_ledger_asks_them_to(tmp_path: Path) -> None:
    path = tmp_path / "decision.json"
    write_decision(path, prepare(Node(), "cb", GRANT), replace=False)  # type: ignore[arg-type]  # a stand-in
    assert read_decision(path) == prepared()
    write_decision(path, read_decision(path).signed(officer(1)), replace=True)
    made = read_decision(path).signed(officer(2)).event()
    assert isinstance(made, GrantSigned)
    history = History(UPON.count, Hash(bytes.fromhex(UPON.hash)), 0)
    said = statement_upon(Hash(bytes.fromhex(CHAIN)), 6, GRANT, history)
    assert [approval.officer for approval in made.approvals] == [officer(1).source, officer(2).source]
    assert all(verify(approval.officer, said, approval.signature) for approval in made.approvals)


def test_one_officer_is_not_two_and_one_of_another_member_is_none() -> None:
    once = prepared().signed(officer(1))
    with pytest.raises(UsageError, match="this officer has signed already"):
        once.signed(officer(1))
    with pytest.raises(UsageError, match="signatures of officers are missing: expected 2, got 1"):
        once.event()
    with pytest.raises(UsageError, match="officer of another member: expected cb, got bank-a"):
        once.signed(officer(2, "bank-a"))
    with pytest.raises(UsageError, match="enough officers have signed"):
        once.signed(officer(2)).signed(officer(3))


def test_a_decision_that_was_changed_after_an_officer_signed_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "decision.json"
    write_decision(path, prepared().signed(officer(1)), replace=False)
    good = json.loads(path.read_bytes())
    changes: list[dict[str, Any]] = [
        {"chain_id": "00" * 32},
        {"upon": {"count": 6, "hash": UPON.hash}},
        {"body": good["body"] | {"number": "FTP-2026-06-000002"}},
        {"body": good["body"] | {"valid_months": 12}},
        {"kind": "certificate.revoke", "body": {"number": NUMBER, "reason": "x", "invalid_from": None}},
        {"approvals": good["approvals"] * 2},
    ]
    for change in changes:
        path.write_text(json.dumps(good | change))
        with pytest.raises(BadDecision):
            read_decision(path)
    for bad in (b"", b"[]", b"{", json.dumps(good | {"more": 1}).encode()):
        path.write_bytes(bad)
        with pytest.raises(BadDecision, match="not a prepared decision"):
            read_decision(path)
    path.write_text(json.dumps(good | {"kind": "certificate.accept"}))
    with pytest.raises(BadDecision, match="not a kind that officers sign"):
        read_decision(path)
    path.write_text(json.dumps(good | {"body": {"application": APPLICATION}}))
    with pytest.raises(InputError, match="missing key"):
        read_decision(path)


def test_a_decision_upon_what_the_case_was_is_stale() -> None:
    check_case(Node(), prepared())  # type: ignore[arg-type]  # a stand-in
    with pytest.raises(StaleDecision, match="the case has changed since this was prepared"):
        check_case(Node(count=6), prepared())  # type: ignore[arg-type]  # a stand-in
    with pytest.raises(UsageError, match="decision for another chain"):
        check_case(Node(chain="00" * 32), prepared())  # type: ignore[arg-type]  # a stand-in


def test_of_events_from_files_decisions_alone_are_signed_and_by_the_chains_rules() -> None:
    keys = [officer(1), officer(2)]
    revocation = NewEvent(10, 1, encode(Revoke(NUMBER, "mark_misused", None)), "line 1")
    made = signed_event(Node(), "cb", revocation, keys)  # type: ignore[arg-type]  # a stand-in
    assert (made.schema, made.where) == (2, "line 1")
    assert len(decode(type_of(10, 2), made.body, size_max=10_000).approvals) == 2
    accept = NewEvent(2, 1, encode(Accept(APPLICATION)), "line 2")
    assert signed_event(Node(), "cb", accept, keys) == accept  # type: ignore[arg-type]  # a stand-in
    assert signed_event(Node(), "cb", made, keys) == made  # type: ignore[arg-type]  # a stand-in
    assert signed_event(Node(rules=2), "cb", revocation, keys) == revocation  # type: ignore[arg-type]  # a stand-in


def type_of(kind: int, schema: int) -> Any:
    from ledger.registry import KINDS

    return KINDS[kind].schemas[schema]
