"""The rows that members are looked up by say what the members' own rows say, whatever was changed and undone before."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.genesis import initial_state
from ledger.member_index import (
    Held,
    OfficerKey,
    SourceCount,
    put_member,
    put_source,
    read_officer,
    read_roster,
    voter_of,
)
from ledger.members import GOVERNANCE_ROLE, Member, Officer, Role, Source, read_members, read_sources
from ledger.nodes import Node, name_at
from ledger.state import EmptyState, MemoryState, StateView, Transaction
from tests.ledger.genesis_fixtures import small_genesis
from tests.ledger.governance_fixtures import Council, key_of

MEMBERS = ("m-0", "m-1", "m-2")
KEYS = [key_of(str(number), "any").public for number in range(6)]


def assert_index_fits(state: StateView) -> None:
    """Hold every row of the index against what all rows of members and sources say together."""
    members = read_members(state)
    live = [member for member in members if not member.excluded]
    assert dict(rows(state, "agent/", Held)) == {code: Held(item.id) for item in live for code in item.agents}
    assert dict(rows(state, "root-ca/", Held)) == {
        sha256(item.ca_certificate.encode()).hexdigest(): Held(item.id) for item in members if item.ca_certificate
    }
    officers = {key: row for key, row in rows(state, "officer/", OfficerKey) if row.role is not None}
    assert officers == {
        officer.key.hex(): OfficerKey(item.id, officer.role) for item in members for officer in item.officers
    }
    present = Counter(row.member for _, row in read_sources(state) if not row.removed)
    assert {name: row.present for name, row in rows(state, "source-count/", SourceCount) if row.present} == present
    able = {item.id for item in members if any(officer.role == GOVERNANCE_ROLE for officer in item.officers)}
    assert (read_roster(state).count, read_roster(state).able) == (len(members), tuple(sorted(able)))


def rows(state: StateView, prefix: str, type_: type) -> list[tuple[str, object]]:
    return [(key.decode().removeprefix(prefix), row) for key, row in state.scan(prefix, type_)]


def test_the_first_state_of_a_chain_has_its_index() -> None:
    state = StateView(MemoryState(initial_state(small_genesis())))
    assert_index_fits(state)
    assert read_roster(state).count == len(small_genesis().members)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_index_fits_after_any_changes(data: st.DataObject) -> None:
    state = Transaction(EmptyState())
    for _ in range(data.draw(st.integers(1, 8))):
        held = {member.id: member for member in read_members(state)}
        name = data.draw(st.sampled_from(MEMBERS))
        taken = {code for item in held.values() if item.id != name and not item.excluded for code in item.agents}
        codes = sorted({"AAAABBCC", "AAAABBCD", "AAAABBCE"} - taken)
        agents = tuple(data.draw(st.lists(st.sampled_from(codes), unique=True))) if codes else ()
        used = {officer.key for item in held.values() if item.id != name for officer in item.officers}
        free = [key for key in KEYS if key in own(held, name) or (key not in used and read_officer(state, key) is None)]
        role = st.sampled_from((GOVERNANCE_ROLE, "approver"))
        keys = data.draw(st.lists(st.sampled_from(free), unique=True)) if free else []
        officers = tuple(Officer(key, data.draw(role)) for key in keys)
        member = held.get(name) or Member(name, name, (Role.BANK,), f"a CA of {name}", (), ())
        excluded = member.excluded or data.draw(st.booleans())
        put_member(state, replace(member, agents=agents, officers=officers, excluded=excluded))
        source = key_of(f"{name}-{data.draw(st.integers(0, 2))}", "source").public
        put_source(state, source, Source(name, data.draw(st.sampled_from(((), (Role.BANK,))))))
        assert_index_fits(state)


def own(held: dict[str, Member], name: str) -> set[bytes]:
    return {officer.key for officer in held[name].officers} if name in held else set()


def test_the_index_fits_after_changes_by_governance() -> None:
    council = Council(4)
    proposal = council.propose(council.addition(4), "bank-4")
    council.vote(proposal, 0, 1, 2)
    assert council.say("bank-0", council.ready(proposal, "node-4")).applied
    assert_index_fits(council.state)
    nodes = {key.decode().removeprefix("node/"): row for key, row in council.state.scan("node/", Node)}
    assert len(nodes) == 5
    assert {name: name_at(council.state, row.address) for name, row in nodes.items()} == {name: name for name in nodes}


def test_only_an_officer_for_governance_signs_votes() -> None:
    council = Council(4)
    assert voter_of(council.state, key_of("bank-1", "officer").public) == "bank-1"
    assert voter_of(council.state, key_of("bank-1", "clerk").public) is None
    assert voter_of(council.state, key_of("bank-1", "source").public) is None
