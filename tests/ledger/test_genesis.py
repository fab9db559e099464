"""The genesis: its id, its checks, and the state and validators that it yields."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from ledger.catalogue import CATALOGUE_1, EvidenceKind
from ledger.genesis import (
    Genesis,
    GenesisError,
    GenesisMember,
    GenesisSource,
    GenesisValidator,
    SecondGenesis,
    check_genesis,
    genesis_bytes,
    initial_state,
    parse_address,
    parse_genesis,
    validator_set,
)
from ledger.members import Role
from ledger.nodes import USES
from ledger.policy import Policy
from primitives.encoding import encode
from primitives.errors import EncodingError, InputError
from primitives.hashing import domain_hash
from tests.ledger.genesis_fixtures import BANKS, OTHERS, bank, certificate_pem, public_key, small_genesis

SMALL_ORDER_KEY = bytes([1]) + bytes(31)  # the neutral element: signatures under it would be anyone's


def with_member(index: int, **fields: object) -> Callable[[Genesis], Genesis]:
    def change(genesis: Genesis) -> Genesis:
        members = list(genesis.members)
        members[index] = replace(members[index], **fields)
        return replace(genesis, members=tuple(members))

    return change


def with_validator(index: int, **fields: object) -> Callable[[Genesis], Genesis]:
    def change(genesis: Genesis) -> Genesis:
        validators = list(genesis.validators)
        validators[index] = replace(validators[index], **fields)
        return replace(genesis, validators=tuple(validators))

    return change


def with_category(index: int, **fields: object) -> Callable[[Genesis], Genesis]:
    def change(genesis: Genesis) -> Genesis:
        categories = list(CATALOGUE_1.categories)
        categories[index] = replace(categories[index], **fields)
        return replace(genesis, catalogues=(replace(CATALOGUE_1, categories=tuple(categories)),))

    return change


def with_fields(**fields: object) -> Callable[[Genesis], Genesis]:
    return lambda genesis: replace(genesis, **fields)


def source(name: str, *roles: Role) -> tuple[GenesisSource, ...]:
    return (GenesisSource(public_key(name), roles),)


UNSOUND: dict[str, tuple[Callable[[Genesis], Genesis], str]] = {
    "two members of one id": (with_member(1, id="bank-a"), r"members\[1\].id: a member's id stands twice"),
    "an agent of two members": (with_member(1, agents=("BKAACNBJ",)), r"members\[1\].agents\[0\]: an agent's code"),
    "one CA for two members": (
        with_member(1, ca_certificate=certificate_pem("bank-a")),
        r"members\[1\].ca_certificate: a member's root CA stands twice: expected other than members\[0\]",
    ),
    "a CA that is not PEM": (with_member(0, ca_certificate="no"), r"members\[0\].ca_certificate: not a CA certificate"),
    "a CA that is none": (
        with_member(0, ca_certificate=certificate_pem("leaf", ca=False)),
        r"members\[0\].ca_certificate: not a CA certificate: expected one certificate, with CA:TRUE",
    ),
    "a CA that does not say": (
        with_member(0, ca_certificate=certificate_pem("old", ca=None)),
        r"members\[0\].ca_certificate: not a CA certificate",
    ),
    "two certificates in one PEM": (
        with_member(0, ca_certificate=certificate_pem("one") + certificate_pem("two")),
        r"members\[0\].ca_certificate: not a CA certificate",
    ),
    "a member without roles": (with_member(0, roles=()), r"members\[0\].roles: roles: expected at least one"),
    "a role twice": (with_member(0, roles=(Role.BANK, Role.BANK)), r"members\[0\].roles: roles: .* got bank, bank"),
    "a source without roles": (with_member(0, sources=source("x")), r"members\[0\].sources\[0\].roles: roles"),
    "a source above its member": (
        with_member(0, sources=source("x", Role.REGULATOR)),
        r"members\[0\].sources\[0\].roles: a source has a role that its member lacks: expected some of bank, got reg",
    ),
    "a key that stands twice": (
        with_member(0, sources=source("bank-b source", Role.BANK)),
        r"members\[1\].sources\[0\].key: a key stands twice: expected other than members\[0\].sources\[0\].key",
    ),
    "a voting key that also cosigns": (
        with_validator(2, cosign_key=public_key("bank-c vote")),
        r"validators\[2\].cosign_key: a key stands twice",
    ),
    "a source key that also votes": (
        with_validator(0, vote_key=public_key("bank-a source")),
        r"validators\[0\].vote_key: a key stands twice",
    ),
    "a key of small order": (
        with_validator(3, log_key=SMALL_ORDER_KEY),
        r"validators\[3\].log_key: not an acceptable Ed25519 public key",
    ),
    "a key that is too short": (with_validator(0, vote_key=bytes(31)), "not a well-formed genesis"),
    "two validators of one name": (with_validator(1, name="bank-a"), r"validators\[1\].name: a validator's name"),
    "two validators at one address": (
        with_validator(1, address="127.0.0.1:7400"),
        r"validators\[1\].address: an address stands twice",
    ),
    "a validator of nobody": (
        with_validator(0, member="bank-z"),
        r"validators\[0\].member: unknown member: expected one of bank-a, .* got bank-z",
    ),
    "a validator of a member without CA": (
        with_validator(0, member="lab"),
        r"validators\[0\].member: a member with a validator has no root CA: got lab",
    ),
    "an address without a port": (
        with_validator(0, address="bank-a.example"),
        r"validators\[0\].address: not an address: expected host:port .* got bank-a.example",
    ),
    "no validators": (with_fields(validators=()), "not a well-formed genesis"),
    "no members": (with_fields(members=(), validators=()), "not a well-formed genesis"),
    "no catalogue": (with_fields(catalogues=()), "not a well-formed genesis"),
    "a version twice": (
        with_fields(catalogues=(CATALOGUE_1, CATALOGUE_1)),
        r"catalogues\[1\].version: a catalogue's version stands twice",
    ),
    "a category's number twice": (with_category(1, number=1), r"categories\[1\].number: a category's number stands"),
    "a category's slug twice": (with_category(1, slug="client_software"), r"categories\[1\].slug: a category's slug"),
    "a category without on-site checks": (
        with_category(0, evidence=(EvidenceKind.TYPE_EXAMINATION,)),
        r"catalogues\[0\].categories\[0\].evidence: a category asks too little evidence",
    ),
    "a chain's name with a blank": (with_fields(chain="a b"), "not a well-formed genesis"),
    "a figure out of range": (with_fields(policy=Policy(block_events_max=0)), "not a well-formed genesis"),
}


@pytest.mark.parametrize("what", UNSOUND)
def test_an_unsound_genesis_is_refused_with_its_place(what: str) -> None:
    change, message = UNSOUND[what]
    with pytest.raises(GenesisError, match=message):
        check_genesis(change(small_genesis()))


def test_a_sound_genesis_is_accepted_and_survives_its_canonical_bytes() -> None:
    genesis = small_genesis()
    check_genesis(genesis)
    assert parse_genesis(genesis_bytes(genesis)) == genesis


def test_canonical_bytes_are_judged_too() -> None:
    with pytest.raises(EncodingError):
        parse_genesis(genesis_bytes(small_genesis()) + b"\0")
    with pytest.raises(GenesisError):
        parse_genesis(genesis_bytes(with_member(1, id="bank-a")(small_genesis())))
    for rules in (1, 2):
        with pytest.raises(EncodingError, match="neither accreditations nor standards"):
            parse_genesis(encode(replace(small_genesis(), rules=rules)))
    for rules in (1, 3):
        fields = [getattr(replace(small_genesis(), rules=rules), name) for name in SecondGenesis.__struct_fields__]
        with pytest.raises(EncodingError, match="the first rules left out"):
            parse_genesis(encode(fields))


def test_a_genesis_of_the_first_rules_has_the_id_that_it_had_before_there_were_others() -> None:
    genesis = small_genesis()
    fields = [getattr(genesis, name) for name in genesis.__struct_fields__[:6]]
    assert genesis_bytes(genesis) == encode(fields)
    later = replace(genesis, rules=2)
    assert genesis_bytes(later) == encode([getattr(later, name) for name in later.__struct_fields__[:7]])
    newest = replace(genesis, rules=3)
    assert genesis_bytes(newest) == encode(newest)
    for each in (later, newest):
        assert parse_genesis(genesis_bytes(each)) == each
    assert len({genesis.chain_id, later.chain_id, newest.chain_id}) == 3


def test_the_chain_id_is_the_hash_of_everything_agreed() -> None:
    genesis = small_genesis()
    assert genesis.chain_id == domain_hash("genesis", genesis_bytes(genesis))
    assert genesis.origin == f"test-net/{genesis.chain_id.hex()}"
    others = [
        replace(genesis, time_ms=genesis.time_ms + 1),
        replace(genesis, policy=Policy(checkpoint_slot_ms=201)),
        with_validator(0, address="127.0.0.1:7500")(genesis),
        with_member(0, name="Bank A Ltd")(genesis),
    ]
    assert len({genesis.chain_id, *(other.chain_id for other in others)}) == 5


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_any_number_of_validators_from_one_makes_a_set(count: int) -> None:
    genesis = small_genesis()
    validators = tuple(
        GenesisValidator(f"v{i}", "bank-a", public_key(f"v{i}"), public_key(f"c{i}"), public_key(f"l{i}"), f"h:{i + 1}")
        for i in range(count)
    )
    genesis = replace(genesis, validators=validators)
    check_genesis(genesis)
    validator_set_ = validator_set(genesis)
    validator_set_.check()
    assert (validator_set_.epoch, validator_set_.n) == (0, count)
    assert 3 * validator_set_.f + 1 <= count
    assert [v.name for v in validator_set_.validators] == [v.name for v in validators]


def test_the_first_state_has_a_row_for_everything_that_is_governed() -> None:
    genesis = small_genesis()
    rows = initial_state(genesis)
    expected = {f"member/{name}" for name in (*BANKS, *OTHERS)}
    expected |= {f"source/{public_key(f'{name} source').hex()}" for name in BANKS}
    expected |= {
        f"source/{public_key(f'{name} {desk}').hex()}" for name, (_, desks) in OTHERS.items() for desk in desks
    }
    expected |= {"policy", "catalogue/1", "catalogue/2", "validators", "validators/0000000000"}
    expected |= {f"node/{name}" for name in BANKS}
    expected |= {f"validator-key/{public_key(f'{name} {use}').hex()}" for name in BANKS for use in USES}
    held = [(f"officer/{officer.key.hex()}", 1) for member in genesis.members for officer in member.officers]
    held += [(f"agent/{code}", 1) for member in genesis.members for code in member.agents]
    looked_up = (b"officer/", b"agent/", b"root-ca/", b"node-address/", b"source-count/", b"roster")
    assert {key for key, _ in held} <= {key.decode() for key in rows}
    assert {key for key in rows if not key.startswith(looked_up)} == {key.encode() for key in expected}
    assert list(rows) == sorted(rows)
    assert rows[b"policy"] == encode(Policy())
    assert rows[b"validators"] == encode(validator_set(genesis))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:7400", ("127.0.0.1", 7400)),
        ("node-1.bank-a.example:1", ("node-1.bank-a.example", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_an_address_is_a_host_and_a_port(address: str, expected: tuple[str, int]) -> None:
    assert parse_address(address) == expected


@pytest.mark.parametrize(
    "address",
    ["", ":7400", "host", "host:", "host:0", "host:65536", "host:70000000000", "::1:7400", "a b:1", "host:1\n", "-a:1"],
)
def test_anything_else_is_not_an_address(address: str) -> None:
    with pytest.raises(GenesisError, match="not an address"):
        parse_address(address)


def test_a_genesis_error_is_a_fault_of_the_input() -> None:
    assert issubclass(GenesisError, InputError)
    assert GenesisError.reason == "bad_genesis"


def test_a_member_may_have_no_ca_where_it_runs_no_node() -> None:
    genesis = small_genesis()
    extra = GenesisMember("vendor", "Vendor", (Role.VENDOR,), "", (), source("vendor", Role.VENDOR), ())
    check_genesis(replace(genesis, members=(*genesis.members, extra)))
    assert bank("bank-a").ca_certificate
