"""Members of the consortium in the state: their roles, keys and codes, and what a signing key may do.

Here: the records of the rows `member/<id>`, `source/<hex>`, `validators` and `validators/<epoch>`, and the lookups that
permission checks use. Which role may submit which kind stands with each kind (`KindSpec.roles`); how the rows come to
be, in `ledger.genesis` and, later on, in `ledger.member_rules`; how they are written, in `ledger.member_index`. Source:
domain §2.

A right hangs on the roles in the state: a member acts under its roles, and a source (a signing key of the member) under
those of them that it was given, so that a bank's payment gateway cannot grant certificates.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

from ledger.state import StateGetter, StateReader, Transaction
from primitives.encoding import Record, encode
from primitives.ids import Epoch, MemberId, SourceKey
from primitives.validators import ValidatorSet

VALIDATORS_KEY = "validators"
GOVERNANCE_ROLE = "governance"
"""The role of the officers whose signatures are votes."""
CERTIFICATION_ROLE = "certification"
"""The role that founding gives to officers who sign grants and revocations; an officer of any role may."""
MEMBER_ID_PATTERN = r"\A[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?\Z"
# A BIC (ISO 9362), an LEI (ISO 17442) or a CNAPS code (12 digits).
AGENT_PATTERN = r"\A(?:[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?|[A-Z0-9]{18}[0-9]{2}|[0-9]{12})\Z"
OFFICER_ROLE_PATTERN = r"\A[a-z][a-z_]{0,31}\Z"
TEXT_PATTERN = r"\A[^\x00-\x1f\x7f]+\Z"
PEM_SIZE_MAX = 16_384

MemberName = Annotated[str, Meta(pattern=MEMBER_ID_PATTERN)]
Text = Annotated[str, Meta(min_length=1, max_length=200, pattern=TEXT_PATTERN)]
Agent = Annotated[str, Meta(pattern=AGENT_PATTERN)]
OfficerRole = Annotated[str, Meta(pattern=OFFICER_ROLE_PATTERN)]
CaCertificate = Annotated[str, Meta(max_length=PEM_SIZE_MAX)]
PublicKey = Annotated[bytes, Meta(min_length=32, max_length=32)]


class Role(enum.StrEnum):
    """What an organisation does in the consortium (domain §2)."""

    CERTIFICATION_BODY = "certification_body"
    LABORATORY = "laboratory"
    INSPECTOR = "inspector"
    BANK = "bank"
    VENDOR = "vendor"
    SWITCH = "switch"
    REGULATOR = "regulator"
    AUDITOR = "auditor"
    OPERATOR = "operator"


DECIDING_ROLES = frozenset({Role.CERTIFICATION_BODY, Role.REGULATOR})
"""Members of these roles grant or revoke, and need officers for it."""


class Officer(Record):
    """A key by which a person of the member votes on governance or signs its decisions; the person is not named."""

    key: PublicKey
    role: OfficerRole


class Member(Record):
    """A member as the state holds it at `member/<id>`.

    `ca_certificate` is the PEM of the root CA of its nodes, empty for a member that runs none and acts through
    another's node; `agents` are the BIC, LEI or CNAPS codes that it answers for in payments.
    """

    id: MemberName
    name: Text
    roles: tuple[Role, ...]
    ca_certificate: CaCertificate
    agents: tuple[Agent, ...]
    officers: tuple[Officer, ...]
    excluded: bool = False


class Source(Record):
    """A signing key, at `source/<hex>`: whose it is, and which of its member's roles it may act under.

    A key that was removed keeps its row for good, without roles: it may submit nothing, and never comes back.
    """

    member: MemberName
    roles: tuple[Role, ...]

    @property
    def removed(self) -> bool:
        """Whether the key may submit nothing more; one that may has at least one role."""
        return not self.roles


class SourceGrant(Struct, frozen=True):
    """What a source may do now: `source_roles` are its own, never more than its member's `roles`."""

    member: MemberId
    roles: frozenset[str]
    source_roles: frozenset[str]


def member_key(member: str) -> str:
    """Return the state key of a member's row."""
    return f"member/{member}"


def source_key(source: bytes) -> str:
    """Return the state key of a source's row."""
    return f"source/{source.hex()}"


def read_source(state: StateReader, source: bytes) -> Source | None:
    """Return a signing key's record, also of one that was removed; None for a key that never was a source's."""
    return state.get(source_key(source), Source)


def read_member(state: StateReader, member: str) -> Member | None:
    """Return a member's record, or None where there is no such member."""
    return state.get(member_key(member), Member)


def read_members(state: StateReader) -> list[Member]:
    """Return all members, ascending by id."""
    return [member for _, member in state.scan("member/", Member)]


def read_validators(state: StateReader) -> ValidatorSet:
    """Return the validators that the next block's header names; a state without them is our own mistake."""
    validators = state.get(VALIDATORS_KEY, ValidatorSet)
    assert validators is not None, "the state holds no validators"
    return validators


def validators_key(epoch: int) -> str:
    """Return the state key of an epoch's validator set, which stays when the epoch is over."""
    return f"{VALIDATORS_KEY}/{epoch:010d}"


def read_validators_of(state: StateGetter, epoch: Epoch) -> ValidatorSet | None:
    """Return the validator set of an epoch up to the newest, None of one that there is not: keys of later ones differ.

    What an epoch's validators signed can be judged for good with it, years after they left.
    """
    return state.get(validators_key(epoch), ValidatorSet)


def put_validators(state: Transaction, validators: ValidatorSet) -> None:
    """Make this the set that votes from the next block on, and keep it under its epoch."""
    raw = encode(validators)
    state.changes[VALIDATORS_KEY.encode()] = raw
    state.changes[validators_key(validators.epoch).encode()] = raw


def touches_rights(changes: Mapping[bytes, bytes | None]) -> bool:
    """Say whether changed rows may give somebody's key another right, or take one: rows of members and of sources."""
    return any(key.startswith((b"member/", b"source/")) for key in changes)


def source_grant(state: StateReader, source: bytes) -> SourceGrant | None:
    """Return what a source may do; None for a key that is not registered or was removed, or of an excluded member."""
    row = read_source(state, source)
    if row is None or row.removed:
        return None
    member = read_member(state, row.member)
    if member is None or member.excluded:
        return None
    roles: frozenset[str] = frozenset(member.roles)
    return SourceGrant(MemberId(member.id), roles, roles & frozenset(row.roles))


def sources_of(state: StateReader, member: str) -> list[tuple[SourceKey, Source]]:
    """Return a member's sources, ascending by key, also those that were removed."""
    return [(key, row) for key, row in read_sources(state) if row.member == member]


def read_sources(state: StateReader) -> list[tuple[SourceKey, Source]]:
    """Return all sources, ascending by key, also those that were removed."""
    return [
        (SourceKey(bytes.fromhex(key.decode().removeprefix("source/"))), row)
        for key, row in state.scan("source/", Source)
    ]


def member_of_agent(state: StateReader, agent: str) -> Member | None:
    """Return the member that answers for a BIC, LEI or CNAPS code; an 11-character BIC falls back on its first 8.

    The codes of a member that is excluded are free for another.
    """
    found: Member | None = None
    for member in read_members(state):
        if member.excluded:
            continue
        if agent in member.agents:
            return member
        if len(agent) == 11 and agent[:8] in member.agents:
            found = member
    return found
