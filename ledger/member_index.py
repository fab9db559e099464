"""What the rules of members look up: rows beside the members', so that no event reads every member of the chain.

Here: the rows `officer/<hex>`, `agent/<code>`, `root-ca/<hex>`, `source-count/<member>` and `roster`, and the only two
functions that write members and sources with them. They are part of the state like any other row, and say nothing that
the rows of members and sources do not say. Also here: `old-ca/<member>`,
the root CA before a member's present one. Not here: who may change what (`ledger.member_rules`). Source: domain §2.
"""

from __future__ import annotations

from hashlib import sha256

from ledger.members import (
    GOVERNANCE_ROLE,
    CaCertificate,
    Member,
    MemberName,
    OfficerRole,
    Source,
    member_key,
    read_member,
    read_source,
    source_key,
)
from ledger.state import StateGetter, StateReader, Transaction
from primitives.encoding import Record

ROSTER_KEY = "roster"


class OfficerKey(Record):
    """Whose officer a key is, at `officer/<hex>`, and what for; kept for good, without a role once it is replaced."""

    member: MemberName
    role: OfficerRole | None


class Held(Record):
    """The member that has something only one may have: at `agent/<code>` a code, at `root-ca/<hex>` a root CA."""

    member: MemberName


class OldCa(Record):
    """The root CA that a member had before, at `old-ca/<member>`, while its nodes may still be known by it."""

    ca_certificate: CaCertificate


class SourceCount(Record):
    """How many sources of a member may submit, at `source-count/<member>`."""

    present: int


class Roster(Record):
    """The row `roster`: how many members there are or were, and which have an officer for governance, ascending."""

    count: int = 0
    able: tuple[MemberName, ...] = ()


def officer_key(key: bytes) -> str:
    """Return the state key of the row of an officer's key."""
    return f"officer/{key.hex()}"


def read_officer(state: StateReader, key: bytes) -> OfficerKey | None:
    """Return whose officer a key is or was; None for a key that never was an officer's."""
    return state.get(officer_key(key), OfficerKey)


def voter_of(state: StateReader, key: bytes) -> str | None:
    """Return the member whose votes a key signs, None where it is no officer for governance."""
    officer = read_officer(state, key)
    return officer.member if officer is not None and officer.role == GOVERNANCE_ROLE else None


def holder_of_agent(state: StateGetter, code: str) -> str | None:
    """Return the member that answers for this very code; an excluded one does not."""
    held = state.get(_agent_key(code), Held)
    return None if held is None else held.member


def holder_of_ca(state: StateReader, pem: str) -> str | None:
    """Return the member whose root CA this is, also of one that was excluded."""
    held = state.get(_ca_key(pem), Held)
    return None if held is None else held.member


def present_sources(state: StateReader, member: str) -> int:
    """Return how many sources of a member may submit."""
    counted = state.get(_count_key(member), SourceCount)
    return 0 if counted is None else counted.present


def read_roster(state: StateReader) -> Roster:
    """Return how many members there are, and who has an officer to vote."""
    return state.get(ROSTER_KEY, Roster) or Roster()


def read_old_ca(state: StateReader, member: str) -> str | None:
    """Return the root CA before a member's present one where its nodes may still be known by it, as PEM."""
    held = state.get(_old_ca_key(member), OldCa)
    return None if held is None else held.ca_certificate


def put_old_ca(state: Transaction, member: str, pem: str) -> None:
    """Let a member's nodes be known by this root CA as well."""
    state.put(_old_ca_key(member), OldCa(pem))


def forget_old_ca(state: Transaction, member: str) -> None:
    """Let a member's nodes be known by its present root CA alone."""
    state.delete(_old_ca_key(member))


def put_member(state: Transaction, member: Member) -> None:
    """Write a member's row, and what follows from it: its officers, codes, root CA, and its place in the roster."""
    before = read_member(state, member.id)
    state.put(member_key(member.id), member)
    _put_officers(state, before, member)
    codes = () if member.excluded else member.agents
    for code in () if before is None else before.agents:
        if code not in codes and holder_of_agent(state, code) == member.id:
            state.delete(_agent_key(code))
    for code in codes:
        state.put(_agent_key(code), Held(member.id))
    if member.ca_certificate:
        state.put(_ca_key(member.ca_certificate), Held(member.id))
    roster = read_roster(state)
    able = {*roster.able, member.id} if _is_able(member) else {*roster.able} - {member.id}
    state.put(ROSTER_KEY, Roster(roster.count + (before is None), tuple(sorted(able))))


def put_source(state: Transaction, key: bytes, source: Source) -> None:
    """Write a source's row, and count its member's that may submit."""
    before = read_source(state, key)
    was_present = before is not None and not before.removed
    count = present_sources(state, source.member) + (not source.removed) - was_present
    state.put(source_key(key), source)
    state.put(_count_key(source.member), SourceCount(count))


def _put_officers(state: Transaction, before: Member | None, member: Member) -> None:
    for officer in () if before is None else before.officers:
        state.put(officer_key(officer.key), OfficerKey(member.id, None))
    for officer in member.officers:
        state.put(officer_key(officer.key), OfficerKey(member.id, officer.role))


def _is_able(member: Member) -> bool:
    return any(officer.role == GOVERNANCE_ROLE for officer in member.officers)


def _agent_key(code: str) -> str:
    return f"agent/{code}"


def _ca_key(pem: str) -> str:
    return f"root-ca/{sha256(pem.encode()).hexdigest()}"


def _old_ca_key(member: str) -> str:
    return f"old-ca/{member}"


def _count_key(member: str) -> str:
    return f"source-count/{member}"
