"""The genesis as a JSON file: what people read, compare and sign off.

The file has the fields of `ledger.genesis.Genesis` by name, keys in lower-case hex, unknown names refused. Figures of
the policy that the file leaves out take this version's defaults; a file that is written here names all of them, so
that the chain's id does not hang on a version's defaults. The id is the hash of the canonical records, not of the file.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ledger.accreditations import AccreditedRole, Categories
from ledger.catalogue import (
    CATALOGUES_MAX,
    PUBLISHED_CATALOGUES,
    Catalogue,
    Category,
    CategoryName,
    CategoryNumber,
    CategorySlug,
    EvidenceKind,
    VersionNumber,
)
from ledger.genesis import (
    ACCREDITATIONS_MAX,
    AGENTS_A_MEMBER_MAX,
    GENESIS_SIZE_MAX,
    MEMBERS_MAX,
    OFFICERS_A_MEMBER_MAX,
    SOURCES_A_MEMBER_MAX,
    ChainName,
    Genesis,
    GenesisAccreditation,
    GenesisError,
    GenesisMember,
    GenesisSource,
    GenesisTimeMs,
    GenesisValidator,
    check_genesis,
)
from ledger.members import Agent, CaCertificate, MemberName, Officer, OfficerRole, Role, Text
from ledger.nodes import Address, NodeName
from ledger.policy import Policy, policy_figures, policy_of
from ledger.rules import RULES_MAX, RULES_SCHEME
from ledger.shape_errors import KEY_HEX_PATTERN, expected_of, split_error, value_at
from ledger.standards import PUBLISHED_STANDARDS, CatalogueStandards, CategoryStandards
from primitives.errors import InputError
from primitives.hashing import RULES_FIRST
from primitives.validators import VALIDATORS_MAX

_Key = Annotated[str, Meta(pattern=KEY_HEX_PATTERN)]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """Base of the file's objects; their values obey the constraints of the records that they become."""


class _Source(_File):
    key: _Key
    roles: list[Role]


class _Officer(_File):
    key: _Key
    role: OfficerRole


class _Member(_File):
    id: MemberName
    name: Text
    roles: list[Role]
    ca_certificate: CaCertificate = ""
    agents: Annotated[list[Agent], Meta(max_length=AGENTS_A_MEMBER_MAX)] = []
    sources: Annotated[list[_Source], Meta(max_length=SOURCES_A_MEMBER_MAX)] = []
    officers: Annotated[list[_Officer], Meta(max_length=OFFICERS_A_MEMBER_MAX)] = []


class _Validator(_File):
    name: NodeName
    member: MemberName
    vote_key: _Key
    cosign_key: _Key
    log_key: _Key
    address: Address


class _Category(_File):
    number: CategoryNumber
    slug: CategorySlug
    name: CategoryName
    name_zh: CategoryName
    evidence: list[EvidenceKind]


class _Catalogue(_File):
    version: VersionNumber
    effective_from_ms: GenesisTimeMs
    source: CategoryName
    categories: list[_Category]


class _Accreditation(_File):
    member: MemberName
    role: AccreditedRole
    categories: Categories
    valid_from_ms: GenesisTimeMs
    valid_until_ms: GenesisTimeMs
    standard: Text


class _CategoryStandards(_File):
    number: CategoryNumber
    standards: list[Text]


class _CatalogueStandards(_File):
    version: VersionNumber
    categories: list[_CategoryStandards]


class _Genesis(_File):
    chain: ChainName
    time_ms: GenesisTimeMs
    members: Annotated[list[_Member], Meta(min_length=1, max_length=MEMBERS_MAX)]
    validators: Annotated[list[_Validator], Meta(min_length=1, max_length=VALIDATORS_MAX)]
    policy: dict[str, int] = {}
    catalogues: Annotated[list[_Catalogue], Meta(min_length=1, max_length=CATALOGUES_MAX)] | None = None
    rules: Annotated[int, Meta(ge=RULES_FIRST, le=RULES_MAX)] = RULES_FIRST
    accreditations: Annotated[list[_Accreditation], Meta(max_length=ACCREDITATIONS_MAX)] = []
    standards: Annotated[list[_CatalogueStandards], Meta(max_length=CATALOGUES_MAX)] | None = None


def genesis_from_json(data: bytes) -> Genesis:
    """Return the checked genesis of a JSON file.

    Raises `GenesisError`, which names the place, what was expected and what is there.
    """
    if len(data) > GENESIS_SIZE_MAX:
        raise GenesisError("the file is too large", expected=f"at most {GENESIS_SIZE_MAX} bytes", got=len(data))
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GenesisError("not JSON", where="genesis", got=error) from None
    try:
        file = msgspec.convert(document, _Genesis, strict=True)
    except msgspec.ValidationError as error:
        raise _explained(error, document) from None
    genesis = Genesis(
        file.chain,
        file.time_ms,
        tuple(_member(member) for member in file.members),
        tuple(_validator(validator) for validator in file.validators),
        _policy(file.policy),
        PUBLISHED_CATALOGUES if file.catalogues is None else tuple(_catalogue(entry) for entry in file.catalogues),
        file.rules,
        tuple(_accreditation(entry) for entry in file.accreditations),
        _standards(file),
    )
    check_genesis(genesis)
    return genesis


def genesis_to_json(genesis: Genesis) -> bytes:
    """Return the file of a genesis: indented UTF-8, every field and figure named, a newline at the end."""
    return msgspec.json.format(msgspec.json.encode(genesis_to_object(genesis)), indent=2) + b"\n"


def genesis_to_object(genesis: Genesis) -> dict[str, Any]:  # Any: a JSON object
    """Return the genesis as a plain JSON object, keys in hex."""
    return {
        "chain": genesis.chain,
        "time_ms": genesis.time_ms,
        "members": [
            {
                "id": member.id,
                "name": member.name,
                "roles": list(member.roles),
                "ca_certificate": member.ca_certificate,
                "agents": list(member.agents),
                "sources": [{"key": s.key.hex(), "roles": list(s.roles)} for s in member.sources],
                "officers": [{"key": o.key.hex(), "role": o.role} for o in member.officers],
            }
            for member in genesis.members
        ],
        "validators": [
            {
                "name": validator.name,
                "member": validator.member,
                "vote_key": validator.vote_key.hex(),
                "cosign_key": validator.cosign_key.hex(),
                "log_key": validator.log_key.hex(),
                "address": validator.address,
            }
            for validator in genesis.validators
        ],
        "policy": policy_figures(genesis.policy),
        "catalogues": [_catalogue_object(catalogue) for catalogue in genesis.catalogues],
        # A release from before there were other rules takes no file that names them.
        **({} if genesis.rules == RULES_FIRST else {"rules": genesis.rules}),
        **({} if genesis.rules < RULES_SCHEME else _scheme_objects(genesis)),
    }


def _scheme_objects(genesis: Genesis) -> dict[str, Any]:  # Any: a JSON object
    names = GenesisAccreditation.__struct_fields__
    accreditations = [{name: getattr(entry, name) for name in names} for entry in genesis.accreditations]
    standards = [
        {
            "version": item.version,
            "categories": [{"number": each.number, "standards": each.standards} for each in item.categories],
        }
        for item in genesis.standards
    ]
    found: dict[str, Any] = msgspec.to_builtins({"accreditations": accreditations, "standards": standards})
    return found


def _catalogue_object(catalogue: Catalogue) -> dict[str, Any]:  # Any: a JSON object
    return {
        "version": catalogue.version,
        "effective_from_ms": catalogue.effective_from_ms,
        "source": catalogue.source,
        "categories": [
            {"number": c.number, "slug": c.slug, "name": c.name, "name_zh": c.name_zh, "evidence": list(c.evidence)}
            for c in catalogue.categories
        ],
    }


def _member(member: _Member) -> GenesisMember:
    return GenesisMember(
        member.id,
        member.name,
        tuple(member.roles),
        member.ca_certificate,
        tuple(member.agents),
        tuple(GenesisSource(bytes.fromhex(source.key), tuple(source.roles)) for source in member.sources),
        tuple(Officer(bytes.fromhex(officer.key), officer.role) for officer in member.officers),
    )


def _validator(validator: _Validator) -> GenesisValidator:
    return GenesisValidator(
        validator.name,
        validator.member,
        bytes.fromhex(validator.vote_key),
        bytes.fromhex(validator.cosign_key),
        bytes.fromhex(validator.log_key),
        validator.address,
    )


def _catalogue(entry: _Catalogue) -> Catalogue:
    categories = tuple(Category(c.number, c.slug, c.name, c.name_zh, tuple(c.evidence)) for c in entry.categories)
    return Catalogue(entry.version, entry.effective_from_ms, entry.source, categories)


def _accreditation(entry: _Accreditation) -> GenesisAccreditation:
    return GenesisAccreditation(*(getattr(entry, name) for name in GenesisAccreditation.__struct_fields__))


def _standards(file: _Genesis) -> tuple[CatalogueStandards, ...]:
    """Return the standards of a file; where it names none and no catalogues either, those of the published ones."""
    if file.standards is None:
        return PUBLISHED_STANDARDS if file.rules >= RULES_SCHEME and file.catalogues is None else ()
    return tuple(
        CatalogueStandards(
            item.version, tuple(CategoryStandards(each.number, tuple(each.standards)) for each in item.categories)
        )
        for item in file.standards
    )


def _policy(figures: dict[str, int]) -> Policy:
    try:
        return policy_of(figures)
    except InputError as error:
        raise GenesisError(error.what, where=error.where, expected=error.expected, got=error.got) from None


def _explained(error: msgspec.ValidationError, document: Any) -> GenesisError:  # Any: a JSON document
    """Return the error in our words: where in the file, what was expected, what is there."""
    message, place = split_error(error)
    where = f"genesis, {place}" if place else "genesis"
    value = msgspec.json.encode(value_at(document, place)).decode()
    if message.startswith("Invalid enum value"):
        words = EvidenceKind if "evidence" in place else Role
        return GenesisError("unknown word", where=where, expected=f"one of {', '.join(words)}", got=value)
    expected = expected_of(message)
    if expected is not None:
        return GenesisError("wrong value", where=where, expected=expected, got=value)
    # A field that is unknown or missing: the message says which.
    return GenesisError(message.replace("`", ""), where=where, hint="configs/genesis.example.json shows every field")
