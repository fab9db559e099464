"""The genesis file: there and back, and errors that say where, what was expected and what is there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.catalogue import PUBLISHED_CATALOGUES
from ledger.genesis import GENESIS_SIZE_MAX, GenesisError
from ledger.genesis_json import genesis_from_json, genesis_to_json
from ledger.policy import Policy
from tests.ledger.genesis_fixtures import small_genesis

EXAMPLE = Path(__file__).resolve().parents[2] / "configs" / "genesis.example.json"

Json = dict[str, Any]  # Any: JSON values


def document() -> Json:
    """Return the small genesis as its file's object."""
    parsed: Json = json.loads(genesis_to_json(small_genesis()))
    return parsed


def test_a_genesis_survives_its_file() -> None:
    genesis = small_genesis()
    data = genesis_to_json(genesis)
    assert genesis_from_json(data) == genesis
    assert genesis_to_json(genesis_from_json(data)) == data


def test_a_file_that_is_written_names_every_figure() -> None:
    assert set(document()["policy"]) == set(Policy.__struct_fields__)


def test_a_file_may_leave_out_policy_and_catalogues() -> None:
    file = document()
    del file["policy"], file["catalogues"]
    genesis = genesis_from_json(json.dumps(file).encode())
    assert (genesis.policy, genesis.catalogues) == (Policy(), PUBLISHED_CATALOGUES)
    assert genesis.chain_id == small_genesis().chain_id


def test_the_layout_of_the_file_does_not_matter_to_the_chain_id() -> None:
    file = document()
    backwards = dict(reversed(file.items()))
    assert genesis_from_json(json.dumps(backwards, indent=7).encode()).chain_id == small_genesis().chain_id


def put(*path: str | int, value: object) -> Callable[[Json], None]:
    def change(file: Json) -> None:
        target: Any = file  # Any: walks JSON
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = value

    return change


def drop(*path: str | int) -> Callable[[Json], None]:
    def change(file: Json) -> None:
        target: Any = file  # Any: walks JSON
        for step in path[:-1]:
            target = target[step]
        del target[path[-1]]

    return change


BAD: dict[str, tuple[Callable[[Json], None], str]] = {
    "an unknown key": (put("colour", value=1), "genesis: Object contains unknown field colour; configs/genesis.ex"),
    "an unknown key inside": (
        put("members", 0, "phone", value=1),
        "genesis, members[0]: Object contains unknown field phone",
    ),
    "a missing key": (drop("validators", 1, "vote_key"), "genesis, validators[1]: Object missing required field vote_"),
    "a number for a text": (put("chain", value=7), "genesis, chain: wrong value: expected str, got 7"),
    "a text for a number": (put("time_ms", value="now"), 'genesis, time_ms: wrong value: expected int, got "now"'),
    "a fraction": (put("time_ms", value=1.5), "genesis, time_ms: wrong value: expected int, got 1.5"),
    "a truth value for a number": (put("time_ms", value=True), "genesis, time_ms: wrong value: expected int, got true"),
    "a negative time": (put("time_ms", value=-1), "genesis, time_ms: wrong value: expected int >= 0, got -1"),
    "a chain's name with blanks": (
        put("chain", value="my chain"),
        'genesis, chain: wrong value: expected lower-case letters, digits, dots and hyphens, at most 63, got "my',
    ),
    "a member's id in capitals": (
        put("members", 0, "id", value="Bank-A"),
        'genesis, members[0].id: wrong value: expected lower-case letters, digits and hyphens, at most 32, got "Bank',
    ),
    "a role that does not exist": (
        put("members", 0, "roles", value=["king"]),
        "genesis, members[0].roles[0]: unknown word: expected one of certification_body, laboratory,",
    ),
    "evidence that does not exist": (
        put("catalogues", 0, "categories", 0, "evidence", value=["rumour"]),
        "genesis, catalogues[0].categories[0].evidence[0]: unknown word: expected one of technical_documents,",
    ),
    "a key in capitals": (
        put("members", 1, "sources", 0, "key", value="AB" * 32),
        "genesis, members[1].sources[0].key: wrong value: expected 64 digits of lower-case hex, got",
    ),
    "a code that is none": (
        put("members", 0, "agents", value=["HELLO"]),
        'genesis, members[0].agents[0]: wrong value: expected a BIC, an LEI, or a CNAPS code of 12 digits, got "HELLO"',
    ),
    "an unknown figure": (
        put("policy", "coffee_cups_max", value=1),
        "policy.coffee_cups_max: unknown figure: expected block_bytes_max,",
    ),
    "a figure out of range": (
        put("policy", "block_events_max", value=0),
        "policy.block_events_max: a figure of the policy: expected int >= 1, got 0",
    ),
    "a figure that is no number": (
        put("policy", "block_events_max", value="many"),
        "genesis, policy[...]: wrong value: expected int, got",
    ),
    "no validators": (put("validators", value=[]), "genesis, validators: wrong value: expected array of length >= 1"),
    "a list of members that is none": (
        put("members", value={}),
        "genesis, members: wrong value: expected array, got {}",
    ),
    "half a character": (put("members", 0, "name", value="Bank \ud800"), "genesis: not JSON"),
    "an unsound genesis": (
        put("validators", 0, "address", value="nowhere"),
        "validators[0].address: not an address: expected host:port with a port of 1 to 65535, got nowhere",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_refused_with_place_expected_and_got(what: str) -> None:
    change, message = BAD[what]
    file = document()
    change(file)
    with pytest.raises(GenesisError) as refused:
        genesis_from_json(json.dumps(file).encode())
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "genesis: not JSON"),
        (b"{", "genesis: not JSON"),
        (b"[]", "genesis: wrong value: expected object, got []"),
        (b"null", "genesis: wrong value: expected object, got null"),
        (b"\xff\xfe{}", "genesis: not JSON"),
        (b'{"chain": "\xff"}', "genesis: not JSON"),
        (b'{"chain": 1', "genesis: not JSON"),
        (b"[" * 100_000, "genesis: not JSON"),
        (b" " * (GENESIS_SIZE_MAX + 1), "the file is too large: expected at most 16777216 bytes, got 16777217"),
    ],
)
def test_what_is_no_genesis_at_all_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(GenesisError) as refused:
        genesis_from_json(data)
    assert str(refused.value).startswith(message)


SCALARS = st.none() | st.booleans() | st.integers() | st.text()
NAMES = st.sampled_from(["chain", "members", "policy", "id", "x"])
ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(ANY_JSON)
def test_no_json_at_all_makes_anything_but_a_genesis_error(value: object) -> None:
    with pytest.raises(GenesisError):
        genesis_from_json(json.dumps(value).encode())


@given(st.binary(max_size=64))
def test_no_bytes_make_anything_but_a_genesis_error(data: bytes) -> None:
    with pytest.raises(GenesisError):
        genesis_from_json(data)


def test_the_example_is_a_sound_genesis_as_it_would_be_written() -> None:
    data = EXAMPLE.read_bytes()
    genesis = genesis_from_json(data)
    assert genesis_to_json(genesis) == data
    assert len(genesis.validators) == 4
    assert {member.id for member in genesis.members} >= {"bank-a", "cb", "lab", "ins", "switch", "regulator", "auditor"}
