"""The rules by which members, their sources and officers change, and what each change writes.

Judged like all of governance: by the state and the action alone, when proposed and again when it takes effect. Of a
member's root CA only the text's form is judged here. Whether it is a usable certificate depends on the release of a
library, so nodes whose releases differ would part ways; people's commands and the links ask that (`chainnode.links`).
Source: decision records 10 and 11, domain §2.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import assert_never

from msgspec.structs import replace

from ledger.genesis import MEMBERS_MAX, SOURCES_A_MEMBER_MAX, GenesisError, check_member_roles, check_source_roles
from ledger.governance_bodies import (
    AddMember,
    AddSource,
    ExcludeMember,
    MemberAction,
    RemoveSource,
    SetOfficers,
    source_statement,
)
from ledger.governance_errors import broken
from ledger.member_index import (
    holder_of_agent,
    holder_of_ca,
    present_sources,
    put_member,
    put_source,
    read_officer,
    read_roster,
)
from ledger.members import GOVERNANCE_ROLE, Member, Source, read_member, read_source, read_validators
from ledger.nodes import read_key_use
from ledger.state import StateReader, Transaction
from ledger.thresholds import votes_needed
from primitives.errors import SignatureError
from primitives.ids import Hash
from primitives.keys import check_public_key, verify
from primitives.validators import ValidatorSet

PEM_LINE = 64
_PEM_BEGIN, _PEM_END = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"
_DER_SEQUENCE = 0x30


def check_member_action(state: StateReader, chain_id: Hash, action: MemberAction) -> None:
    """Raise RuleBroken where a change of members, sources or officers may not be made in this state."""
    match action:
        case AddMember():
            _check_added(state, action)
        case ExcludeMember(member=member):
            present_member(state, member)
            for validator in read_validators(state).validators:
                if validator.member == member:
                    raise broken("has_validator", f"{validator.name} of {member}")
        case AddSource():
            _check_source_added(state, chain_id, action)
        case RemoveSource(key=key):
            registered_source(state, key)
        case SetOfficers(member=member, officers=officers):
            present = present_member(state, member)
            kept = {officer.key for officer in present.officers}
            check_fresh(state, [officer.key for officer in officers], but=kept)
            check_voters(state, read_validators(state), replace(present, officers=officers))
        case _:
            assert_never(action)


def enact_member_action(state: Transaction, action: MemberAction) -> None:
    """Write what a change that was just checked does."""
    match action:
        case AddMember(member=entry):
            member = Member(entry.id, entry.name, entry.roles, entry.ca_certificate, entry.agents, entry.officers)
            put_member(state, member)
            for source in entry.sources:
                put_source(state, source.key, Source(entry.id, source.roles))
        case ExcludeMember(member=member_id):
            put_member(state, replace(present_member(state, member_id), excluded=True))
        case AddSource(member=member_id, key=key, roles=roles):
            put_source(state, key, Source(member_id, roles))
        case RemoveSource(key=key):
            remove_source(state, key)
        case SetOfficers(member=member_id, officers=officers):
            put_member(state, replace(present_member(state, member_id), officers=officers))
        case _:
            assert_never(action)


def registered_source(state: StateReader, key: bytes) -> Source:
    """Return the row of a key that may submit; RuleBroken where there is none, or it was removed already."""
    row = read_source(state, key)
    if row is None or row.removed:
        raise broken("unknown_source", key.hex()[:16])
    return row


def remove_source(state: Transaction, key: bytes) -> None:
    """Take a key's roles: from the next block on it submits nothing, and its row keeps it from coming back."""
    put_source(state, key, replace(registered_source(state, key), roles=()))


def check_fresh(state: StateReader, keys: Iterable[bytes], *, but: Iterable[bytes] = ()) -> None:
    """Raise RuleBroken unless the keys are sound, differ, and nobody has or ever had them; `but` may stay in use."""
    listed = list(keys)
    if len(set(listed)) != len(listed):
        raise broken("bad_key", "one stands twice")
    exempt = set(but)
    for key in listed:
        if key in exempt:
            continue
        try:
            check_public_key(key)
        except SignatureError:
            raise broken("bad_key", key.hex()[:16]) from None
        if (use := use_of(state, key)) is not None:
            raise broken("key_taken", f"{key.hex()[:16]} is {use}")


def use_of(state: StateReader, key: bytes) -> str | None:
    """Return what a key is or was used for, None for a fresh one."""
    used = read_key_use(state, key)
    if used is not None:
        return f"the {used.use} key of {used.name}"
    source = read_source(state, key)
    if source is not None:
        return f"a source of {source.member}"
    return None if read_officer(state, key) is None else "an officer's"


def check_voters(state: StateReader, validators: ValidatorSet, changed: Member | None = None) -> None:
    """Raise RuleBroken where too few of a set's members would have an officer to vote for anything to pass again.

    `changed` is a member as the change would leave it. A chain that began with too few may not get worse.
    """
    able = set(read_roster(state).able)
    before, voting_before = _able(read_validators(state), able)
    if changed is not None:
        able.discard(changed.id)
        if any(officer.role == GOVERNANCE_ROLE for officer in changed.officers):
            able.add(changed.id)
    after, voting = _able(validators, able)
    missing, missing_before = votes_needed(voting) - after, votes_needed(voting_before) - before
    if missing > max(0, missing_before):
        raise broken(
            "too_few_voters",
            f"{after} of {voting} members with a validator would have an officer, {votes_needed(voting)} decide",
        )


def _able(validators: ValidatorSet, able: set[str]) -> tuple[int, int]:
    """Return how many members of a set have an officer for governance, and how many members it has."""
    members = {str(validator.member) for validator in validators.validators}
    return len(members & able), len(members)


def _check_added(state: StateReader, action: AddMember) -> None:
    entry = action.member
    if read_member(state, entry.id) is not None:
        raise broken("member_known", entry.id)
    if read_roster(state).count >= MEMBERS_MAX:
        raise broken("too_many_members", f"at most {MEMBERS_MAX}")
    try:
        check_member_roles("member", entry)
    except GenesisError as error:
        raise broken("bad_member", f"{error.where}: {error.what}") from None
    if len(set(entry.agents)) != len(entry.agents):
        raise broken("agent_taken", "a code stands twice")
    for code in sorted(entry.agents):
        if (other := holder_of_agent(state, code)) is not None:
            raise broken("agent_taken", f"{code} is {other}'s")
    if entry.ca_certificate and (other := holder_of_ca(state, entry.ca_certificate)) is not None:
        raise broken("ca_taken", f"it is {other}'s")
    if entry.ca_certificate and not is_pem_certificate(entry.ca_certificate):
        raise broken("bad_ca", "one certificate as PEM in lines of 64, nothing before or after")
    check_fresh(state, [*(source.key for source in entry.sources), *(officer.key for officer in entry.officers)])


def is_pem_certificate(text: str) -> bool:
    """Say whether a text is one PEM block of a DER sequence in its one form, so that no CA can stand twice."""
    if not (text.startswith(_PEM_BEGIN) and text.endswith(_PEM_END)) or not text.isascii():
        return False
    body = text[len(_PEM_BEGIN) : -len(_PEM_END)]
    try:
        der = binascii.a2b_base64(body.replace("\n", "").encode())
    except binascii.Error:
        return False
    encoded = base64.b64encode(der).decode()
    lines = [encoded[start : start + PEM_LINE] + "\n" for start in range(0, len(encoded), PEM_LINE)]
    return body == "".join(lines) and der[:1] == bytes([_DER_SEQUENCE])


def _check_source_added(state: StateReader, chain_id: Hash, action: AddSource) -> None:
    member = present_member(state, action.member)
    try:
        check_source_roles("roles", action.roles, member.roles)
    except GenesisError as error:
        raise broken("bad_member", f"{error.where}: {error.what}") from None
    if present_sources(state, action.member) >= SOURCES_A_MEMBER_MAX:
        raise broken("too_many_sources", f"at most {SOURCES_A_MEMBER_MAX} of {action.member}")
    check_fresh(state, [action.key])
    if not verify(action.key, source_statement(chain_id, action.member, action.key), action.proof):
        raise broken("bad_signature", "the proof of the source's key")


def present_member(state: StateReader, member_id: str) -> Member:
    """Return a member that may act; RuleBroken where there is none of this id, or it was excluded."""
    member = read_member(state, member_id)
    if member is None or member.excluded:
        raise broken("unknown_member", member_id)
    return member
