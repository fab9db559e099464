"""Kinds and their schemas come with versions of the rules: no block by earlier rules may hold their events."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as with_fields

from ledger.batches import build_batch, parse_batch
from ledger.execution import BlockRefused, Standing, check_kinds
from ledger.kinds import KindSpec, assemble
from ledger.rules import RULES_SCHEME, RULES_SUPPORTED, Rules
from ledger.store import MemoryStore
from primitives.hashing import RULES_FIRST
from primitives.ids import ZERO_HASH, TimeMs
from tests.ledger.chain_fixtures import KINDS, SET, START_MS, Bank, Ledger, SetValue, key_of

TWO = replace(KINDS[SET], schemas={1: SetValue, 2: SetValue}, schema_rules_min={2: RULES_SCHEME})


def standing(rules: int) -> tuple[Ledger, Standing]:
    ledger = Ledger(MemoryStore())
    return ledger, with_fields(ledger.chain._standing(ledger.chain.tip_hash), rules=Rules(rules))


@pytest.mark.parametrize("rules", RULES_SUPPORTED)
@pytest.mark.parametrize("schema", [1, 2])
def test_a_batch_holds_a_schema_of_later_rules_only_by_those_rules(rules: int, schema: int) -> None:
    ledger, before = standing(rules)
    bank = Bank("bank-a", ledger.genesis.chain_id)
    old = bank.event(SetValue("a", "b"), SET, schema=1)
    raw = build_batch(
        [old, bank.event(SetValue("c", "d"), SET, schema=schema)],
        chain_id=ledger.genesis.chain_id,
        member="bank-a",
        key=key_of("bank-a", "source"),
        number=0,
        previous=ZERO_HASH,
        time_ms=TimeMs(START_MS),
    )
    batch = parse_batch(raw, {SET: TWO})
    if schema == 2 and rules < RULES_SCHEME:
        with pytest.raises(BlockRefused, match=r"schema 2 of .* is of later rules.*version 3"):
            check_kinds(before, batch, {SET: TWO})
    else:
        check_kinds(before, batch, {SET: TWO})


def test_the_newest_schema_is_the_newest_that_the_rules_let_in() -> None:
    assert [TWO.newest_schema(rules) for rules in RULES_SUPPORTED] == [1, 1, 2, 2]
    late = replace(TWO, rules_min=RULES_SCHEME)
    assert [late.rules_for(schema) for schema in (1, 2)] == [RULES_SCHEME, RULES_SCHEME]
    assert late.newest_schema(RULES_FIRST) == 1


def test_a_schema_that_a_kind_lacks_has_no_rules() -> None:
    spec: KindSpec = replace(TWO, schema_rules_min={3: RULES_SCHEME})
    with pytest.raises(AssertionError, match="rules for a schema"):
        assemble((spec,))
