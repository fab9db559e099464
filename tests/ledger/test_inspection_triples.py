"""Every (standing, event, actor) triple of random inspections, kinds 20 to 26, through blocks of a real chain.

Generated from `tests.ledger.draw_triples`. One that is refused ends with its rule's name and leaves nothing in the
state but that its reference is taken; the rejection stands in the log, and its receipt proves it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from ledger.certificate_rules import RULES
from tests.ledger import draw_triples
from tests.ledger.draw_triples import ACTORS, EVENTS, KINDS, STANDINGS, expected, standing_chain
from tests.ledger.governance_fixtures import place_of
from tests.ledger.scheme_chain_fixtures import SchemeChain
from tests.ledger.triple_checks import NextBlock, check_refused

TRIPLES_MIN = 10_000
RULES_OF_DRAWS = {
    "not_permitted",
    "conflict_of_interest",
    "wrong_state",
    "unknown_category",
    "unknown_certificate",
    "evidence_missing",
    "evidence_repeated",
    "correction_time",
    "accreditation_ended",
    *list(RULES)[list(RULES).index("not_own_draw") : list(RULES).index("already_resolved") + 1],
}
"""The rules that stand in the table for draws, and those of others that triples here break."""


@pytest.fixture(autouse=True, scope="module")
def _small_draws() -> Iterator[None]:
    """Let a draw be full with few commitments, and look at one certificate in a step."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("COMMITMENTS_MAX", "STEP_CERTIFICATES"):
            patch.setattr(f"ledger.inspection_events.{name}", getattr(draw_triples, name))
        yield


@cache
def chain_of(name: str) -> SchemeChain:
    return standing_chain(STANDINGS[name])


def test_the_tables_make_thousands_of_triples_and_break_every_rule_of_draws() -> None:
    rules = [
        expected(standing, event, actor) for standing in STANDINGS.values() for event in EVENTS for actor in ACTORS
    ]
    assert len(rules) >= TRIPLES_MIN
    assert set(rules) == {*RULES_OF_DRAWS, ""}


def test_the_events_are_of_every_kind_of_inspections() -> None:
    chain = chain_of("none")
    kinds = {name: place_of(make(chain, "cb"))[0] for name, make in EVENTS.items()}
    assert kinds == {name: KINDS[name.partition(" ")[0]] for name in EVENTS}
    assert set(kinds.values()) == set(range(20, 27))


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
        standing.before,
    )
    assert rules <= set(RULES)


@pytest.mark.parametrize("name", STANDINGS)
def test_every_triple_that_the_table_admits_is_applied(name: str) -> None:
    standing = STANDINGS[name]
    chain = standing_chain(standing)
    block = NextBlock(chain)
    assert [block.say(*said) for said in standing.before] == [""] * len(standing.before)
    for actor in ACTORS:
        for event, make in EVENTS.items():
            if not expected(standing, event, actor):
                assert block.rule_of(actor, make(chain, actor[0])) == "", (event, actor)
