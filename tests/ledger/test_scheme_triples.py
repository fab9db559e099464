"""Every (state, event, party) triple of a certificate's life by the third rules, through blocks of a real chain.

Generated from the transition tables (`tests.ledger.triple_fixtures`). One that is refused ends with its rule's name and
leaves nothing in the state but that its reference is taken; the rejection stands in the log, and its receipt proves it.
"""

from __future__ import annotations

from functools import cache

import pytest

from ledger.certificate_bodies import Body, Grant, Revoke
from ledger.certificate_rules import RULES
from ledger.registry import KINDS
from tests.ledger import draw_triples, mark_triples, register_triples
from tests.ledger.governance_fixtures import place_of
from tests.ledger.scheme_chain_fixtures import SchemeChain
from tests.ledger.scheme_fixtures import REVOKE
from tests.ledger.triple_checks import NextBlock, check_refused
from tests.ledger.triple_fixtures import ACTORS, EVENTS, ROWS, STANDINGS, Actor, expected, standing_chain

TRIPLES_MIN = 10_000
OF_BODIES_ALONE = {
    "accreditation_not_begun",
    "accreditation_scope",
    "already_renewed",
    "evidence_negative",
    "invalid_from_out_of_range",
    "no_change_application",
    "not_accredited",
    "outside_renewal_window",
    "scope_empty",
    "scope_not_wider",
    "starts_too_early",
    "starts_too_late",
}
"""Rules that an event breaks by what it says or by other rows: each has tests of its own among those of the events."""


@cache
def chain_of(name: str) -> SchemeChain:
    return standing_chain(STANDINGS[name])


def body_of(name: str, event: str, actor: Actor) -> Body:
    """Return an event's body; where there is no subject to decide upon, its signatures are upon another."""
    said, standing = EVENTS[event], STANDINGS[name]
    body = said.make(f"{event} by {actor[0]}")
    if not said.signed:
        return body
    assert isinstance(body, Grant | Revoke)
    if standing.state_of(said.subject) is not None:
        return chain_of(name).signed(body, actor[0])
    approvals = chain_of("active").signed(REVOKE).approvals
    type_ = KINDS[said.row.kind].schemas[2]
    return type_(*(getattr(body, field) for field in body.__struct_fields__), approvals)  # type: ignore[return-value]  # schema 2 of what was given


def test_the_tables_make_thousands_of_triples_and_name_every_kind() -> None:
    assert len(STANDINGS) * len(EVENTS) * len(ACTORS) >= TRIPLES_MIN
    assert {said.row.kind for said in EVENTS.values()} == {row.kind for row in ROWS.values()} == set(range(1, 20))
    states = {state for standing in STANDINGS.values() for state in (standing.application, standing.certificate)}
    assert states == {state for row in ROWS.values() for state in row.from_states | {row.to_state} | row.also_to}


def test_the_tables_of_all_triples_name_every_kind_of_the_scheme_and_break_every_rule_of_a_standing() -> None:
    others = (draw_triples, mark_triples, register_triples)
    made = [make(chain_of("active"), "cb") for table in others for make in table.EVENTS.values()]
    tried = {said.row.kind for said in EVENTS.values()} | {place_of(body)[0] for body in made}
    assert tried == {kind for kind in KINDS if kind < 32 or 104 <= kind < 128}
    broken = {
        rule
        for table in (draw_triples, register_triples)
        for standing in table.STANDINGS.values()
        for event in table.EVENTS
        for actor in table.ACTORS
        if (rule := table.expected(standing, event, actor))
    }
    broken |= {
        expected(standing, event, actor) for standing in STANDINGS.values() for event in EVENTS for actor in ACTORS
    }
    assert set(RULES) - broken == OF_BODIES_ALONE


@pytest.mark.parametrize("name", STANDINGS)
def test_every_triple_that_the_tables_do_not_admit_is_rejected_by_name_and_changes_nothing(name: str) -> None:
    standing, chain = STANDINGS[name], chain_of(name)
    rules = check_refused(
        chain,
        {
            actor: [
                (event, body_of(name, event, actor), rule)
                for event in EVENTS
                if (rule := expected(standing, event, actor))
            ]
            for actor in ACTORS
        },
    )
    assert rules <= set(RULES)


@pytest.mark.parametrize("name", STANDINGS)
def test_every_triple_that_the_tables_admit_is_applied(name: str) -> None:
    standing, block = STANDINGS[name], NextBlock(chain_of(name))
    for actor in ACTORS:
        for event in EVENTS:
            if not expected(standing, event, actor):
                assert block.rule_of(actor, body_of(name, event, actor)) == "", (event, actor)
