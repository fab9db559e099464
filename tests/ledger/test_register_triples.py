"""Every (standing, event, actor) triple of registers, kinds 31 and 104, through blocks of a real chain.

Generated from `tests.ledger.register_triples`. One that is refused ends with its rule's name and leaves nothing in the
state but that its reference is taken; the rejection stands in the log, and its receipt proves it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from ledger.certificate_rules import RULES
from tests.ledger.governance_fixtures import place_of
from tests.ledger.register_triples import (
    BROKEN,
    EVENTS,
    STANDINGS,
    actors_of,
    expected,
    lawful,
    standing_chain,
)
from tests.ledger.scheme_chain_fixtures import SchemeChain
from tests.ledger.triple_checks import NextBlock, check_refused

TRIPLES_MIN = 5_000
RULES_OF_REGISTERS = {
    "not_permitted",
    "unknown_officer",
    "bad_approval",
    "unknown_custodian",
    "excluded_custodian",
    "number_taken",
    *list(RULES)[list(RULES).index("not_own_register") :],
    *(rule for rule, _ in BROKEN.values()),
}
"""The rules that stand in the table for registers, and those of others that triples here break."""


@pytest.fixture(autouse=True, scope="module")
def _many_openings() -> Iterator[None]:
    """Let a member open, or try to open, more registers in a block than it may: here all are tried in one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ledger.execution.DEAR_EVENTS_A_MEMBER_MAX", 1_000)
        yield


@cache
def chain_of(name: str) -> SchemeChain:
    return standing_chain(STANDINGS[name])


def test_the_tables_make_thousands_of_triples_and_break_every_rule_of_registers() -> None:
    rules = [
        expected(standing, event, actor)
        for standing in STANDINGS.values()
        for event in EVENTS
        for actor in actors_of(standing)
    ]
    assert len(rules) >= TRIPLES_MIN
    assert set(rules) == {*RULES_OF_REGISTERS, ""}
    assert {place_of(make(chain_of("none"), "cb"))[0] for make in EVENTS.values()} == {31, 104}


@pytest.mark.parametrize("name", STANDINGS)
def test_every_triple_that_the_rules_do_not_admit_is_rejected_by_name_and_changes_nothing(name: str) -> None:
    standing, chain = STANDINGS[name], chain_of(name)
    rules = check_refused(
        chain,
        {
            actor: [
                (event, make(chain, actor[0]), rule)
                for event, make in EVENTS.items()
                if (rule := expected(standing, event, actor))
            ]
            for actor in actors_of(standing)
        },
        lawful(standing, chain),
    )
    assert rules <= set(RULES)


@pytest.mark.parametrize("name", STANDINGS)
def test_every_triple_that_the_rules_admit_is_applied(name: str) -> None:
    standing = STANDINGS[name]
    chain = standing_chain(standing)
    block, before = NextBlock(chain), lawful(standing, chain)
    assert [block.say(*said) for said in before] == [""] * len(before)
    for actor in actors_of(standing):
        for event, make in EVENTS.items():
            if not expected(standing, event, actor):
                assert block.rule_of(actor, make(chain, actor[0])) == "", (event, actor)
