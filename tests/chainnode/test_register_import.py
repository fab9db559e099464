"""A register on its way: its id, events and references follow from the file; what came is not sent again."""

from __future__ import annotations

from typing import Any

import pytest

from chainnode.client import NOT_FOUND, CallRefused
from chainnode.ingest.register_rows import ReadRow
from chainnode.register_import import Became, ChainFacts, RegisterDiffers, RegisterImport, chain_facts, serial_of
from ledger.catalogue import PUBLISHED_CATALOGUES
from ledger.members import Member
from ledger.policy import Policy, policy_figures
from ledger.register_bodies import Import, OpenRegister, RegisterRow, RowTree, SourceFile, register_statement, row_leaf
from ledger.register_checks import Problem
from ledger.rules import RULES_SCHEME
from ledger.times import format_time
from primitives.encoding import decode
from primitives.errors import UsageError
from primitives.ids import Hash
from primitives.keys import verify
from primitives.merkle import verify_inclusion
from tests.ledger.certificate_fixtures import ROLES, START_MS
from tests.ledger.register_fixtures import row
from tests.ledger.scheme_fixtures import officer_of

CHAIN = Hash(b"\7" * 32)
SOURCE = SourceFile(b"\1" * 32, "cb", 10)
MEMBERS = {name: Member(name, name, roles, "", (), ()) for name, roles in ROLES.items()}
FACTS = ChainFacts(CHAIN, RULES_SCHEME, Policy(), PUBLISHED_CATALOGUES, MEMBERS)


class Client:
    """A node that answers from memory."""

    def __init__(self, taken: list[dict[str, Any]] | None = None, register: dict[str, Any] | None = None) -> None:
        self._taken, self._register = taken or [], register
        self.asked: list[str] = []

    def call(self, method: str, **params: Any) -> Any:
        if method == "cert_checkNumbers":
            self.asked += params["numbers"]
            return {"taken": [row for row in self._taken if row["number"] in params["numbers"]]}
        assert method == "cert_getRegister"
        if self._register is None:
            raise CallRefused({"code": NOT_FOUND, "message": "no such register", "data": {}})
        return self._register


def plan_of(*rows: RegisterRow | None, serial: str = "X") -> RegisterImport:
    """Return the import of rows; None is one that the file has wrong."""
    wrong = (Problem("number", "malformed_value", "x", "y"),)
    read = [
        ReadRow(line, "?", None, wrong) if each is None else ReadRow(line, each.number, each)
        for line, each in enumerate(rows, 2)
    ]
    return RegisterImport(read, body="cb", serial=serial, source=SOURCE, facts=FACTS)


def test_rows_that_the_file_has_wrong_stand_in_no_register_and_the_others_in_their_order() -> None:
    plan = plan_of(row(1), None, row(2))
    assert (plan.count, [report.index for report in plan.reports]) == (2, [0, None, 1])
    assert [report.became for report in plan.reports] == [Became.READY, Became.BAD, Became.READY]


def test_the_register_does_not_hang_on_the_time_or_on_what_the_chain_has() -> None:
    first, later = plan_of(row(1), row(2)), plan_of(row(1), row(2))
    later.check(START_MS + 10**12, None)
    list(later.ask(Client([{"number": row(2).number, "body": "cb-other", "register": None, "index": None}])))
    keys = [officer_of("cb", 0), officer_of("cb", 1)]
    assert first.opening(keys) == later.opening(keys)
    assert [first.event(report) for report in first.reports] == [later.event(report) for report in later.reports]


def test_events_of_a_register_fit_each_other_and_have_references_of_their_own() -> None:
    plan = plan_of(row(1), row(2), row(3))
    keys = [officer_of("cb", 0), officer_of("cb", 1)]
    opening = plan.opening(keys)
    opened = decode(OpenRegister, opening.body, size_max=10_000)
    assert (opened.register, opened.count, opened.source) == ("cb.X", 3, SOURCE)
    assert all(verify(a.officer, register_statement(CHAIN, opened), a.signature) for a in opened.approvals)
    events = [plan.event(report) for report in plan.reports]
    for event in events:
        body = decode(Import, event.body, size_max=10_000)
        verify_inclusion(opened.root, 3, body.index, row_leaf("cb.X", body.index, body.row), body.path)
    assert len({event.reference for event in [opening, *events]}) == 4


def test_every_row_is_held_against_every_rule_at_once() -> None:
    plan = plan_of(row(1), row(2, holder="nobody", valid_until_ms=START_MS), row(3))
    plan.check(START_MS, None)
    assert [{each.rule for each in report.problems} for report in plan.reports] == [
        set(),
        {"unknown_holder", "term_ended"},
        set(),
    ]
    assert [report.became for report in plan.ready()] == [Became.READY] * 2


def test_a_register_that_is_open_judges_grants_by_its_opening() -> None:
    plan = plan_of(row(1))
    plan.check(START_MS, row(1).granted_ms - 1)
    assert {each.rule for each in plan.reports[0].problems} == {"granted_too_late"}


def test_rows_that_came_are_present_whatever_became_of_them_since_and_others_numbers_are_taken() -> None:
    plan = plan_of(row(1, valid_until_ms=START_MS), row(2), row(3), row(4))
    plan.check(START_MS, None)
    client = Client(
        [
            {"number": row(1).number, "body": "cb", "register": "cb.X", "index": 0},
            {"number": row(2).number, "body": "cb", "register": "cb.X", "index": 3},
            {"number": row(3).number, "body": "cb-other", "register": None, "index": None},
        ]
    )
    assert sum(plan.ask(client)) == 4  # type: ignore[arg-type]  # a stand-in
    assert [report.became.value for report in plan.reports] == ["present", "bad", "bad", "ready"]
    assert plan.reports[0].problems == []
    assert [report.problems[0].rule for report in plan.reports[1:3]] == ["number_taken"] * 2


def test_a_register_of_other_rows_is_told_apart() -> None:
    plan = plan_of(row(1))
    true = {"root": RowTree([row_leaf("cb.X", 0, row(1))]).root.hex(), "count": 1, "opened": format_time(START_MS)}
    assert plan.held(Client()) is None  # type: ignore[arg-type]  # a stand-in
    assert plan.held(Client(register=true)) == true  # type: ignore[arg-type]  # a stand-in
    for other in (true | {"count": 2}, true | {"root": "00" * 32}):
        with pytest.raises(RegisterDiffers, match="holds other rows"):
            plan.held(Client(register=other))  # type: ignore[arg-type]  # a stand-in


ANSWERS: dict[str, tuple[dict[str, Any], Became]] = {
    "applied": ({"status": "Committed", "outcome": {"applied": True}, "height": 3}, Became.IMPORTED),
    "there before": (
        {"status": "Committed", "outcome": {"applied": False, "rule": "row_imported", "detail": "x"}},
        Became.PRESENT,
    ),
    "a rule": (
        {"status": "Committed", "outcome": {"applied": False, "rule": "number_taken", "detail": "x"}},
        Became.REJECTED,
    ),
    "the door": ({"status": "Refused", "reason": "too_large", "message": "x"}, Became.REJECTED),
    "pending": ({"status": "Pending"}, Became.PENDING),
    "unknown": ({"status": "Unknown", "id": None}, Became.NOT_SENT),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_what_the_node_answers_is_what_became_of_a_row(case: str) -> None:
    answer, became = ANSWERS[case]
    plan = plan_of(row(1))
    plan.took(plan.reports[0], answer)
    assert plan.reports[0].became is became
    assert bool(plan.reports[0].problems) is (became is Became.REJECTED)
    assert plan.counts()[became.value] == 1


def test_a_row_that_came_too_late_is_told_with_times_as_times() -> None:
    plan = plan_of(row(1))
    outcome = {"applied": False, "rule": "register_closed", "detail": "at 1767225600000, the block's time is 1"}
    plan.took(plan.reports[0], {"status": "Committed", "outcome": outcome})
    assert plan.reports[0].problems[0].got == "at 2026-01-01T00:00:00Z, the block's time is 1"


def test_a_chain_of_earlier_rules_is_told_of_before_anything_is_read() -> None:
    class Old:
        def call(self, method: str) -> Any:
            assert method == "gov_getPolicy"
            return {"rules": 2}

    with pytest.raises(UsageError, match="no registers yet"):
        chain_facts(Old())  # type: ignore[arg-type]  # a stand-in


def test_what_the_chain_says_is_read_as_the_ledger_has_it() -> None:
    class Node:
        def call(self, method: str) -> Any:
            figures = [{"name": name, "value": value} for name, value in policy_figures(Policy()).items()]
            catalogues = [
                {
                    "version": each.version,
                    "effective_from": format_time(each.effective_from_ms),
                    "source": each.source,
                    "categories": [
                        {name: getattr(category, name) for name in category.__struct_fields__}
                        for category in each.categories
                    ],
                }
                for each in PUBLISHED_CATALOGUES
            ]
            return {
                "gov_getPolicy": {"rules": RULES_SCHEME, "figures": figures, "catalogues": catalogues},
                "ledger_getCapabilities": {"chain_id": CHAIN.hex()},
            }[method]

        def members(self) -> Any:
            return [
                {"id": name, "name": name, "roles": list(roles), "excluded": False} for name, roles in ROLES.items()
            ]

    assert chain_facts(Node()) == FACTS  # type: ignore[arg-type]  # a stand-in


def test_the_serial_follows_from_the_file() -> None:
    assert serial_of(b"\xab" * 32) == "AB" * 8
