"""Founding by the third rules: whose evidence counts from the first block on."""

from __future__ import annotations

from typing import Any

import pytest

from chainnode.founding import assemble_genesis, founding_accreditations, plain_member
from ledger.accreditations import AccreditedRole
from ledger.certificate_records import add_months
from ledger.genesis import GenesisError
from primitives.errors import InputError
from tests.ledger.genesis_fixtures import TIME_MS, bank, public_key, validator

LAB = {"key": public_key("lab desk").hex(), "roles": ["laboratory"]}
HOUSE = {"key": public_key("house desk").hex(), "roles": ["laboratory", "inspector"]}


def entries(**lab: Any) -> list[dict[str, Any]]:  # Any: JSON of an entry
    first, keys = bank("bank-a"), validator("bank-a", 0)
    sources = [{"key": source.key.hex(), "roles": list(source.roles)} for source in first.sources]
    owner = plain_member("bank-a", "Bank A", ["bank"], sources=sources, ca_certificate=first.ca_certificate)
    seat = {"name": "bank-a", "member": "bank-a", "address": "127.0.0.1:7400"}
    seat |= {name: getattr(keys, name).hex() for name in ("vote_key", "cosign_key", "log_key")}
    return [
        {"member": owner, "validator": seat},
        {"member": plain_member("lab", "Laboratory", ["laboratory"], sources=[LAB]), **lab},
        {"member": plain_member("house", "House", ["laboratory", "inspector"], sources=[HOUSE]), "accreditations": []},
    ]


def test_a_laboratory_that_names_no_accreditation_has_one_for_all_categories_for_three_years() -> None:
    genesis = assemble_genesis("test-net", entries(), now_ms=TIME_MS, policy={}, rules=3)
    (only,) = genesis.accreditations
    assert (only.member, only.role, only.standard) == ("lab", AccreditedRole.LABORATORY, "ISO/IEC 17025")
    assert only.categories == tuple(range(1, 15))
    assert (only.valid_from_ms, only.valid_until_ms) == (TIME_MS, add_months(TIME_MS, 36))


def test_an_entry_says_what_its_member_is_accredited_for() -> None:
    named = {
        "member": "bank-a",
        "role": "laboratory",
        "categories": [6],
        "valid_from_ms": TIME_MS - 1,
        "valid_until_ms": TIME_MS + 1,
    }
    found = assemble_genesis(
        "test-net", entries(accreditations=[{**named, "standard": "a"}]), now_ms=TIME_MS, policy={}, rules=3
    )
    assert [(item.member, item.categories) for item in found.accreditations] == [("lab", (6,))]


def test_by_earlier_rules_a_genesis_has_no_accreditations() -> None:
    assert assemble_genesis("test-net", entries(), now_ms=TIME_MS, policy={}, rules=2).accreditations == ()


@pytest.mark.parametrize("bad", [5, [5], {"role": "laboratory"}])
def test_what_is_no_list_of_accreditations_is_refused_with_its_member(bad: Any) -> None:
    with pytest.raises(InputError, match="accreditations of lab"):
        assemble_genesis("test-net", entries(accreditations=bad), now_ms=TIME_MS, policy={}, rules=3)


def test_an_accreditation_that_is_not_of_this_form_is_refused_as_the_genesis_file_is() -> None:
    with pytest.raises(GenesisError):
        assemble_genesis("test-net", entries(accreditations=[{}]), now_ms=TIME_MS, policy={}, rules=3)
    bad = [{"member": {"id": "lab", "roles": 5}}]
    assert founding_accreditations(bad, now_ms=TIME_MS) == []
    with pytest.raises(GenesisError):
        assemble_genesis("test-net", bad, now_ms=TIME_MS, policy={}, rules=3)
