"""Every (standing, event, actor) triple of the mark, kinds 27 to 30 and 105, through blocks of a real chain.

Generated from `tests.ledger.mark_triples`. One that is refused ends with its rule's name and leaves nothing in the
state but that its reference is taken; the rejection stands in the log, and its receipt proves it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from ledger.mark_events import MARK_RULES
from tests.ledger import mark_triples
from tests.ledger.governance_fixtures import place_of
from tests.ledger.mark_triples import ACTORS, EVENTS, STANDINGS, expected, standing_chain
from tests.ledger.scheme_chain_fixtures import SchemeChain
from tests.ledger.triple_checks import NextBlock, check_refused

TRIPLES_MIN = 30_000
NOT_HERE = {"excluded_custodian"}
"""The rule that no triple here breaks: `tests/ledger/test_mark.py` has it."""


@pytest.fixture(autouse=True, scope="module")
def _small_bounds() -> Iterator[None]:
    """Let a licence be used up, and a member have reported enough, with few events."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("USES_MAX", "UNDECIDED_MAX"):
            patch.setattr(f"ledger.mark_events.{name}", getattr(mark_triples, name))
        yield


@cache
def chain_of(name: str) -> SchemeChain:
    return standing_chain(STANDINGS[name])


def test_the_tables_make_thousands_of_triples_and_break_the_rules_of_the_mark() -> None:
    rules = [
        expected(standing, event, actor) for standing in STANDINGS.values() for event in EVENTS for actor in ACTORS
    ]
    assert len(rules) >= TRIPLES_MIN
    assert set(rules) == {*MARK_RULES, ""} - NOT_HERE
    assert {place_of(make(chain_of("used"), "cb"))[0] for make in EVENTS.values()} == {27, 28, 29, 30, 105}


@pytest.mark.parametrize("name", STANDINGS)
def test_every_triple_that_the_table_does_not_admit_is_rejected_by_name_and_changes_nothing(name: str) -> None:
    standing, chain = STANDINGS[name], chain_of(name)
    rules = check_refused(
        chain,
        {
            actor: [
                (event, make(chain, actor[0]), rule)
                for event, make in EVENTS.items()
                if (rule := expected(standing, event, actor))
            ]
            for actor in ACTORS
        },
    )
    assert rules <= set(MARK_RULES)


@pytest.mark.parametrize("name", STANDINGS)
def test_every_triple_that_the_table_admits_is_applied(name: str) -> None:
    standing, chain = STANDINGS[name], chain_of(name)
    block = NextBlock(chain)
    for actor in ACTORS:
        for event, make in EVENTS.items():
            if not expected(standing, event, actor):
                assert block.rule_of(actor, make(chain, actor[0])) == "", (event, actor)
