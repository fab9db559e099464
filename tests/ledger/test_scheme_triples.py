"""Every (state, event, party) triple of a certificate's life by the third rules, through blocks of a real chain.

Generated from the transition tables (`tests.ledger.triple_fixtures`). One that is refused ends with its rule's name and
leaves nothing in the state but that its reference is taken; the rejection stands in the log, and its receipt proves it.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256

import pytest

from ledger.certificate_bodies import Body, Grant, Revoke
from ledger.certificate_rules import RULES
from ledger.events import Event
from ledger.kinds import ApplyContext, RuleBroken
from ledger.members import source_grant
from ledger.policy import Policy
from ledger.receipts import make_receipt, verify
from ledger.registry import KINDS
from ledger.rules import RULES_SCHEME
from ledger.smt import MapUpdate
from ledger.state import DERIVED_PREFIX, Transaction
from primitives.ids import EventId, Height, MemberId, SourceKey, TimeMs
from tests.ledger.governance_fixtures import key_of, place_of
from tests.ledger.scheme_chain_fixtures import SchemeChain
from tests.ledger.scheme_fixtures import REVOKE
from tests.ledger.triple_fixtures import ACTORS, EVENTS, ROWS, STANDINGS, Actor, expected, standing_chain

TRIPLES_MIN = 10_000
SAMPLE = 3
"""Rejections of each standing whose receipts are verified."""
SEEN = b"seen/"


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


def authenticated(chain: SchemeChain) -> dict[bytes, bytes]:
    """Return the whole state but the table of references."""
    return {
        key: value
        for key, value in chain.state.raw_scan(b"")
        if not key.startswith(DERIVED_PREFIX) and not key.startswith(SEEN)
    }


def test_the_tables_make_thousands_of_triples_and_name_every_kind() -> None:
    assert len(STANDINGS) * len(EVENTS) * len(ACTORS) >= TRIPLES_MIN
    assert {said.row.kind for said in EVENTS.values()} == {row.kind for row in ROWS.values()} == set(range(1, 20))
    states = {state for standing in STANDINGS.values() for state in (standing.application, standing.certificate)}
    assert states == {state for row in ROWS.values() for state in row.from_states | {row.to_state} | row.also_to}


@pytest.mark.parametrize("name", STANDINGS)
def test_every_triple_that_the_tables_do_not_admit_is_rejected_by_name_and_changes_nothing(name: str) -> None:
    standing, chain = STANDINGS[name], chain_of(name)
    before, root, remembered = authenticated(chain), chain.chain.header.state_root, dict(chain.state.raw_scan(SEEN))
    illegal = {
        actor: [(event, rule) for event in EVENTS if (rule := expected(standing, event, actor))] for actor in ACTORS
    }
    said = [
        (
            f"{member}/{desk}",
            [chain.event(member, body_of(name, event, (member, desk))) for event, _ in wanted],
        )
        for (member, desk), wanted in illegal.items()
    ]
    tip = chain.chain.tip_hash
    update = MapUpdate(lambda node: chain.chain._read_node(tip, node))
    result = chain.batches(*said)
    found = [outcome.rule for outcome in result.outcomes]
    triples = [(event, actor, rule) for actor, wanted in illegal.items() for event, rule in wanted]
    assert [(*triple[:2], rule) for triple, rule in zip(triples, found, strict=True)] == triples
    assert set(found) <= set(RULES)
    assert authenticated(chain) == before
    taken: dict[bytes, bytes | None] = dict(chain.state.raw_scan(SEEN))
    forgotten = dict.fromkeys(remembered.keys() - taken.keys())
    assert update.apply(root, taken | forgotten) == chain.chain.header.state_root, (
        "but for the references it is the same"
    )
    _check_receipts(chain, [(bytes(i), rule) for i, rule in zip(result.event_ids, found, strict=True)])


def _check_receipts(chain: SchemeChain, rejected: list[tuple[bytes, str]]) -> None:
    """Hold receipts of a sample, one of each rule at least, to the rules by which their events were rejected."""
    chain.stable()
    by_rule = {rule: event for event, rule in rejected}
    order = sorted(rejected, key=lambda item: sha256(item[0]).digest())
    for event, rule in [*((event, rule) for rule, event in by_rule.items()), *order[:SAMPLE]]:
        receipt = make_receipt(chain.reader, event)
        assert receipt is not None
        verdict = verify(receipt, chain.policy())
        assert (verdict.applied, verdict.rule, verdict.event_id) == (False, rule, event)


@pytest.mark.parametrize("name", STANDINGS)
def test_every_triple_that_the_tables_admit_is_applied(name: str) -> None:
    standing, chain = STANDINGS[name], chain_of(name)
    for actor in ACTORS:
        for event in EVENTS:
            if not expected(standing, event, actor):
                assert refusal(chain, actor, body_of(name, event, actor)) == "", (event, actor)


def refusal(chain: SchemeChain, actor: Actor, body: Body) -> str:
    """Return the rule that an event would break in the next block; the chain stays as it is."""
    member, desk = actor
    source = key_of(member, desk).public
    grant = source_grant(chain.state, source)
    assert grant is not None
    event = Event(member, bytes(16), chain.now_ms, *place_of(body), b"")
    context = ApplyContext(
        chain_id=chain.chain_id,
        epoch=chain.set.epoch,
        rules=RULES_SCHEME,
        member=MemberId(member),
        source=SourceKey(source),
        roles=grant.roles,
        source_roles=grant.source_roles,
        event_id=EventId(sha256(event.member.encode()).digest()),
        reference=bytes(16),
        height=Height(chain.chain.height + 1),
        time_ms=TimeMs(chain.now_ms + 10),
        policy=Policy(),
    )
    apply = KINDS[event.kind].apply
    assert apply is not None
    try:
        apply(context, Transaction(chain.state), body)
    except RuleBroken as broken:
        return broken.rule
    return ""
