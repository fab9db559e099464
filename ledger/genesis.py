"""The genesis: what the members agreed on before the first block, and the chain's id, which is its hash.

Here: its canonical records, the checks that make it sound, and the state and validators that it yields. The file that
people read and sign off is in `ledger.genesis_json`; the block of height 0 is made where blocks are made
(`ledger.chain`). Source: architecture §3 and §6, domain §2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated

from cryptography import x509
from msgspec import Meta

from ledger.accreditations import (
    ACCREDITATION_DAYS_MAX,
    TERMS_KEPT_MAX,
    AccreditedRole,
    Categories,
    Term,
    put_term,
    role_of,
)
from ledger.catalogue import ALWAYS_NEEDED, CATALOGUES_MAX, Catalogue, catalogue_key
from ledger.member_index import put_member, put_source
from ledger.members import (
    Agent,
    CaCertificate,
    Member,
    MemberName,
    Officer,
    PublicKey,
    Role,
    Source,
    Text,
)
from ledger.nodes import Address, NodeName, put_set
from ledger.policy import DAY_MS, POLICY_KEY, Policy, check_policy
from ledger.rules import RULES_KEY, RULES_MAX, RULES_SCHEME, Rules
from ledger.shape_errors import CHAIN_NAME_PATTERN
from ledger.standards import CatalogueStandards, put_standards
from ledger.state import EmptyState, Transaction
from primitives.encoding import Record, decode, encode
from primitives.errors import EncodingError, InputError, SignatureError
from primitives.hashing import RULES_FIRST, domain_hash
from primitives.ids import Epoch, Hash, MemberId
from primitives.keys import check_public_key
from primitives.validators import VALIDATORS_MAX, Validator, ValidatorSet

GENESIS_SIZE_MAX = 16 << 20
MEMBERS_MAX = 1_024
SOURCES_A_MEMBER_MAX = 64
OFFICERS_A_MEMBER_MAX = 64
AGENTS_A_MEMBER_MAX = 256
ACCREDITATIONS_MAX = 2 * MEMBERS_MAX
_FIRST_FIELDS, _SECOND_FIELDS = b"\x96", b"\x97"  # MessagePack's arrays of six and of seven
ChainName = Annotated[str, Meta(pattern=CHAIN_NAME_PATTERN)]
GenesisTimeMs = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]
# A host name or IPv4 address, or an IPv6 address in brackets; then the port.
_ADDRESS = re.compile(
    r"\A(?:([A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)|\[([0-9A-Fa-f:.]{2,45})\]):([0-9]{1,5})\Z"
)


class GenesisError(InputError):
    """A genesis is malformed or contradicts itself."""

    reason = "bad_genesis"


class GenesisSource(Record):
    """A signing key that a member registers, and the roles that it may act under."""

    key: PublicKey
    roles: tuple[Role, ...]


class GenesisMember(Record):
    """A founding member; the fields are those of `ledger.members.Member`, with its sources."""

    id: MemberName
    name: Text
    roles: tuple[Role, ...]
    ca_certificate: CaCertificate
    agents: Annotated[tuple[Agent, ...], Meta(max_length=AGENTS_A_MEMBER_MAX)]
    sources: Annotated[tuple[GenesisSource, ...], Meta(max_length=SOURCES_A_MEMBER_MAX)]
    officers: Annotated[tuple[Officer, ...], Meta(max_length=OFFICERS_A_MEMBER_MAX)]


class GenesisValidator(Record):
    """A founding validator: a node of a member, its keys, and where its peers first find it (`host:port`)."""

    name: NodeName
    member: MemberName
    vote_key: PublicKey
    cosign_key: PublicKey
    log_key: PublicKey
    address: Address


class GenesisAccreditation(Record):
    """An accreditation of a founding member; the fields are those of `ledger.governance_bodies.Accredit`."""

    member: MemberName
    role: AccreditedRole
    categories: Categories
    valid_from_ms: GenesisTimeMs
    valid_until_ms: GenesisTimeMs
    standard: Text


class FirstGenesis(Record):
    """A genesis whose chain begins with the first rules, as it is hashed: it does not name them."""

    chain: ChainName
    time_ms: GenesisTimeMs
    members: Annotated[tuple[GenesisMember, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]
    validators: Annotated[tuple[GenesisValidator, ...], Meta(min_length=1, max_length=VALIDATORS_MAX)]
    policy: Policy
    catalogues: Annotated[tuple[Catalogue, ...], Meta(min_length=1, max_length=CATALOGUES_MAX)]


class SecondGenesis(Record):
    """A genesis whose chain begins with the second rules, as it is hashed: they know of no accreditations."""

    chain: ChainName
    time_ms: GenesisTimeMs
    members: Annotated[tuple[GenesisMember, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]
    validators: Annotated[tuple[GenesisValidator, ...], Meta(min_length=1, max_length=VALIDATORS_MAX)]
    policy: Policy
    catalogues: Annotated[tuple[Catalogue, ...], Meta(min_length=1, max_length=CATALOGUES_MAX)]
    rules: Annotated[int, Meta(ge=RULES_FIRST, le=RULES_MAX)]


class Genesis(Record):
    """All that the founding members agreed on; every field, addresses included, is part of the chain's id.

    `rules` is the version that the first block follows. The canonical bytes of a chain that begins with the first
    rules lack it (`FirstGenesis`), so that chains founded before there were others keep their id; those of the second
    lack the last two fields (`SecondGenesis`): by later rules nobody's evidence counts without an accreditation.
    """

    chain: ChainName
    time_ms: GenesisTimeMs
    members: Annotated[tuple[GenesisMember, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]
    validators: Annotated[tuple[GenesisValidator, ...], Meta(min_length=1, max_length=VALIDATORS_MAX)]
    policy: Policy
    catalogues: Annotated[tuple[Catalogue, ...], Meta(min_length=1, max_length=CATALOGUES_MAX)]
    rules: Annotated[int, Meta(ge=RULES_FIRST, le=RULES_MAX)] = RULES_FIRST
    accreditations: Annotated[tuple[GenesisAccreditation, ...], Meta(max_length=ACCREDITATIONS_MAX)] = ()
    standards: Annotated[tuple[CatalogueStandards, ...], Meta(max_length=CATALOGUES_MAX)] = ()

    @property
    def chain_id(self) -> Hash:
        """The chain's id: the domain hash of the canonical bytes."""
        return domain_hash("genesis", genesis_bytes(self))

    @property
    def origin(self) -> str:
        """The origin line of the chain's checkpoints: NAME/CHAIN_ID."""
        return f"{self.chain}/{self.chain_id.hex()}"


def genesis_bytes(genesis: Genesis) -> bytes:
    """Return the canonical bytes, whose hash is the chain's id."""
    if genesis.rules >= RULES_SCHEME:
        return encode(genesis)
    type_ = FirstGenesis if genesis.rules == RULES_FIRST else SecondGenesis
    return encode(type_(*(getattr(genesis, name) for name in type_.__struct_fields__)))


def parse_genesis(data: bytes) -> Genesis:
    """Return the genesis of canonical bytes; `EncodingError` where they are not, `GenesisError` where unsound."""
    if data[:1] == _FIRST_FIELDS:
        first = decode(FirstGenesis, data, size_max=GENESIS_SIZE_MAX)
        genesis = Genesis(*(getattr(first, name) for name in FirstGenesis.__struct_fields__))
    elif data[:1] == _SECOND_FIELDS:
        second = decode(SecondGenesis, data, size_max=GENESIS_SIZE_MAX)
        genesis = Genesis(*(getattr(second, name) for name in SecondGenesis.__struct_fields__))
        if not RULES_FIRST < genesis.rules < RULES_SCHEME:
            raise EncodingError("not canonical", where="genesis", expected="all fields, or the first rules left out")
    else:
        genesis = decode(Genesis, data, size_max=GENESIS_SIZE_MAX)
        if genesis.rules < RULES_SCHEME:
            raise EncodingError(
                "not canonical", where="genesis", expected="neither accreditations nor standards by these rules"
            )
    check_genesis(genesis)
    return genesis


def validator_set(genesis: Genesis) -> ValidatorSet:
    """Return the validators of epoch 0, in the genesis' order."""
    return ValidatorSet(
        Epoch(0),
        tuple(Validator(v.name, MemberId(v.member), v.vote_key, v.cosign_key, v.log_key) for v in genesis.validators),
    )


def initial_state(genesis: Genesis) -> dict[bytes, bytes]:
    """Return the rows of the state before the first block: canonical record by key, in ascending order of keys."""
    rows = Transaction(EmptyState())
    for member in genesis.members:
        put_member(
            rows, Member(member.id, member.name, member.roles, member.ca_certificate, member.agents, member.officers)
        )
        for source in member.sources:
            put_source(rows, source.key, Source(member.id, source.roles))
    rows.put(POLICY_KEY, genesis.policy)
    if genesis.rules != RULES_FIRST:
        rows.put(RULES_KEY, Rules(genesis.rules))
    for catalogue in genesis.catalogues:
        rows.put(catalogue_key(catalogue.version), catalogue)
    for standards in genesis.standards:
        put_standards(rows, standards)
    for entry in genesis.accreditations:
        term = Term(entry.categories, entry.valid_from_ms, entry.valid_until_ms, entry.standard)
        put_term(rows, entry.member, entry.role, term, genesis.time_ms)
    put_set(rows, validator_set(genesis), {v.name: v.address for v in genesis.validators})
    return {key: value for key, value in sorted(rows.changes.items()) if value is not None}


def parse_address(address: str) -> tuple[str, int]:
    """Return the host and port of `host:port` or `[ipv6]:port`; `GenesisError` where it is neither."""
    match = _ADDRESS.match(address)
    if match is None or not 1 <= int(match[3]) <= 65_535:
        raise GenesisError("not an address", expected="host:port with a port of 1 to 65535", got=address)
    return match[1] or match[2], int(match[3])


def check_genesis(genesis: Genesis) -> None:
    """Raise `GenesisError` unless the genesis is sound: shapes, distinct names and keys, and all that it refers to."""
    try:
        decode(Genesis, encode(genesis), size_max=GENESIS_SIZE_MAX)
    except EncodingError as error:
        raise GenesisError("not a well-formed genesis", got=error.got) from None
    check_policy(genesis.policy)
    _check_members(genesis)
    _check_validators(genesis)
    _check_keys(genesis)
    _check_catalogues(genesis)
    if genesis.rules < RULES_SCHEME and (genesis.accreditations or genesis.standards):
        raise GenesisError(
            "accreditations or standards",
            where="rules",
            expected=f"{RULES_SCHEME} or later with them",
            got=genesis.rules,
        )
    _check_standards(genesis)
    _check_accreditations(genesis)


def _check_members(genesis: Genesis) -> None:
    _distinct("a member's id", ((f"members[{i}].id", m.id) for i, m in enumerate(genesis.members)))
    _distinct(
        "an agent's code",
        ((f"members[{i}].agents[{j}]", a) for i, m in enumerate(genesis.members) for j, a in enumerate(m.agents)),
    )
    _distinct(
        "a member's root CA",
        ((f"members[{i}].ca_certificate", m.ca_certificate) for i, m in enumerate(genesis.members) if m.ca_certificate),
    )
    for i, member in enumerate(genesis.members):
        check_member_roles(f"members[{i}]", member)
        if member.ca_certificate:
            check_ca(f"members[{i}].ca_certificate", member.ca_certificate)


def check_member_roles(where: str, member: GenesisMember) -> None:
    """Raise `GenesisError` unless a member has roles, and each of its sources some of them."""
    _check_roles(f"{where}.roles", member.roles)
    for j, source in enumerate(member.sources):
        check_source_roles(f"{where}.sources[{j}].roles", source.roles, member.roles)


def check_source_roles(where: str, roles: tuple[Role, ...], of_member: tuple[Role, ...]) -> None:
    """Raise `GenesisError` unless a source has roles, each once, and none that its member lacks."""
    _check_roles(where, roles)
    beyond = [role for role in roles if role not in of_member]
    if beyond:
        raise GenesisError(
            "a source has a role that its member lacks",
            where=where,
            expected=f"some of {', '.join(of_member)}",
            got=", ".join(beyond),
        )


def _check_roles(where: str, roles: tuple[Role, ...]) -> None:
    if not roles or len(set(roles)) != len(roles):
        raise GenesisError("roles", where=where, expected="at least one, each once", got=", ".join(roles) or "none")


def check_ca(where: str, pem: str) -> None:
    """Raise `GenesisError` unless the text is one certificate of a root CA, as far as the library at hand can tell.

    Releases of that library differ in what they take, so execution never asks it (`ledger.member_rules`).
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise GenesisError("not a CA certificate", where=where, expected="PEM of a root CA", got=error) from None
    if pem.count("-----BEGIN") != 1 or not constraints.ca:
        raise GenesisError("not a CA certificate", where=where, expected="one certificate, with CA:TRUE")


def _check_validators(genesis: Genesis) -> None:
    members = {member.id: member for member in genesis.members}
    _distinct("a validator's name", ((f"validators[{i}].name", v.name) for i, v in enumerate(genesis.validators)))
    _distinct("an address", ((f"validators[{i}].address", v.address) for i, v in enumerate(genesis.validators)))
    for i, validator in enumerate(genesis.validators):
        member = members.get(validator.member)
        if member is None:
            raise GenesisError(
                "unknown member",
                where=f"validators[{i}].member",
                expected=f"one of {', '.join(members)}",
                got=validator.member,
            )
        if not member.ca_certificate:
            raise GenesisError(
                "a member with a validator has no root CA",
                where=f"validators[{i}].member",
                got=validator.member,
                hint="its ca_certificate signs the TLS certificates of its nodes",
            )
        try:
            parse_address(validator.address)
        except GenesisError as error:
            raise GenesisError(
                error.what, where=f"validators[{i}].address", expected=error.expected, got=error.got
            ) from None


def _check_keys(genesis: Genesis) -> None:
    keys = list(_keys(genesis))
    for where, key in keys:
        try:
            check_public_key(key)
        except SignatureError as error:
            raise GenesisError(error.what, where=where, expected=error.expected, got=error.got) from None
    # One key, one use: a key that stood twice would let one signature or one theft count for two.
    _distinct("a key", ((where, key.hex()) for where, key in keys))


def _keys(genesis: Genesis) -> Iterator[tuple[str, bytes]]:
    for i, member in enumerate(genesis.members):
        for j, source in enumerate(member.sources):
            yield f"members[{i}].sources[{j}].key", source.key
        for j, officer in enumerate(member.officers):
            yield f"members[{i}].officers[{j}].key", officer.key
    for i, validator in enumerate(genesis.validators):
        yield f"validators[{i}].vote_key", validator.vote_key
        yield f"validators[{i}].cosign_key", validator.cosign_key
        yield f"validators[{i}].log_key", validator.log_key


def _check_catalogues(genesis: Genesis) -> None:
    numbered = [(f"catalogues[{i}]", c) for i, c in enumerate(genesis.catalogues)]
    _distinct("a catalogue's version", ((f"{where}.version", str(c.version)) for where, c in numbered))
    for where, catalogue in numbered:
        categories = [(f"{where}.categories[{i}]", c) for i, c in enumerate(catalogue.categories)]
        _distinct("a category's number", ((f"{place}.number", str(c.number)) for place, c in categories))
        _distinct("a category's slug", ((f"{place}.slug", c.slug) for place, c in categories))
        for place, category in categories:
            if not set(ALWAYS_NEEDED) <= set(category.evidence):
                raise GenesisError(
                    "a category asks too little evidence",
                    where=f"{place}.evidence",
                    expected=f"at least {' and '.join(ALWAYS_NEEDED)}",
                    got=", ".join(category.evidence) or "none",
                )


def _check_standards(genesis: Genesis) -> None:
    categories = {catalogue.version: catalogue.categories for catalogue in genesis.catalogues}
    numbered = [(f"standards[{i}]", item) for i, item in enumerate(genesis.standards)]
    _distinct("standards of a catalogue", ((f"{where}.version", str(item.version)) for where, item in numbered))
    for where, item in numbered:
        numbers = [each.number for each in item.categories]
        known = sorted(each.number for each in categories.get(item.version, ()) if each.number in numbers)
        if numbers != known:
            raise GenesisError(
                "standards of categories",
                where=where,
                expected=f"categories of version {item.version}, each once, ascending",
                got=", ".join(map(str, numbers)),
            )


def _check_accreditations(genesis: Genesis) -> None:
    """Raise unless each founding accreditation is one that the members could have voted for, and they are few."""
    roles = {member.id: member.roles for member in genesis.members}
    known = {category.number for catalogue in genesis.catalogues for category in catalogue.categories}
    counts: dict[tuple[str, str], int] = {}
    for i, entry in enumerate(genesis.accreditations):
        where = f"accreditations[{i}]"
        if role_of(entry.role) not in roles.get(entry.member, ()):
            raise GenesisError(
                "accredited without the role", where=f"{where}.member", expected=f"a {entry.role}", got=entry.member
            )
        if list(entry.categories) != sorted(known.intersection(entry.categories)):
            raise GenesisError(
                "categories of an accreditation",
                where=f"{where}.categories",
                expected="categories of the catalogue, each once, ascending",
                got=", ".join(map(str, entry.categories)),
            )
        begins_ms, length_ms = max(entry.valid_from_ms, genesis.time_ms), entry.valid_until_ms - entry.valid_from_ms
        if entry.valid_until_ms <= begins_ms or length_ms > ACCREDITATION_DAYS_MAX * DAY_MS:
            raise GenesisError(
                "the time of an accreditation",
                where=f"{where}.valid_until_ms",
                expected=f"after genesis and its begin, at most {ACCREDITATION_DAYS_MAX} days long",
                got=entry.valid_until_ms,
            )
        counts[entry.member, entry.role] = counts.get((entry.member, entry.role), 0) + 1
        if counts[entry.member, entry.role] > TERMS_KEPT_MAX:
            raise GenesisError("too many accreditations", where=where, expected=f"at most {TERMS_KEPT_MAX} of a role")


def _distinct(what: str, values: Iterable[tuple[str, str]]) -> None:
    """Raise `GenesisError` where a value stands twice, naming both places."""
    seen: dict[str, str] = {}
    for where, value in values:
        if value in seen:
            raise GenesisError(f"{what} stands twice", where=where, expected=f"other than {seen[value]}", got=value)
        seen[value] = where
