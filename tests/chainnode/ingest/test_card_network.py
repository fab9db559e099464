"""What a bank writes down about its card network is checked when it is read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chainnode.ingest.card_network import NO_CARD_NETWORK, make_card_network, parse_card_network
from ledger.payments import AgentRole
from primitives.errors import InputError
from tests.chainnode.ingest.ingest_fixtures import SAMPLES


def test_the_sample_is_read() -> None:
    network = parse_card_network((SAMPLES / "cards.json").read_bytes(), where="cards.json")
    found = network.institution("90010000")
    assert found is not None
    assert [(agent.role, agent.code) for agent in found] == [
        (AgentRole.ACQUIRER, "BKABCNBJ"),
        (AgentRole.ISSUER, "BKABCNBJ"),
    ]
    assert network.institution("90011210") == found, "a branch is found by its head office"
    assert network.institution("91010000") is None
    assert network.institution("900112100") is None
    assert network.certificate_of("103900000000001", "12345678") == "FTP-2026-06-000001"
    assert network.certificate_of("another", "12345678") == ""
    assert network.certificate_of("any", "87654321") == "FTP-2026-05-000002"
    assert NO_CARD_NETWORK.certificate_of("any", "87654321") == ""


def test_the_longest_prefix_names_the_issuer() -> None:
    network = make_card_network(
        {"90000000": "BKAACNBJ", "90010000": "BKABCNBJ"},
        card_prefixes={"6299": "90000000", "62990011": "90010000"},
    )
    assert getattr(network.issuer_of("6299001100000000"), "code", None) == "BKABCNBJ"
    assert getattr(network.issuer_of("6299001200000000"), "code", None) == "BKAACNBJ"
    assert network.issuer_of("4000000000000000") is None
    assert network.issuer_of("") is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"institutions": {"x": "BKAACNBJ"}}, "institutions: x: malformed key"),
        ({"institutions": {"9" * 12: "BKAACNBJ"}}, "at most 11 digits"),
        ({"institutions": {"90000000": "nobody"}}, "institutions: 90000000: not a BIC"),
        ({"card_prefixes": {"62": "90000000"}}, "card_prefixes: 62: malformed key"),
        ({"card_prefixes": {"6222": "1"}}, "card_prefixes: 6222: unknown institution"),
        ({"terminals": {"a/b/c": "FTP-2026-06-000001"}}, "malformed key"),
        ({"terminals": {"12345678": "none"}}, "not a certificate number"),
        ({"utc_offset_minutes": 841}, "offset too large"),
        ({"link": "any"}, "no card network"),
        ({"encoding": "ebcdic"}, "no card network"),
        ({"other": 1}, "no card network"),
    ],
)
def test_a_bad_entry_is_named(changes: dict[str, Any], expected: str) -> None:
    value = {"institutions": {"90000000": "BKAACNBJ"}, **changes}
    with pytest.raises(InputError) as caught:
        parse_card_network(json.dumps(value).encode(), where="cards.json")
    assert str(caught.value).startswith("cards.json: ")
    assert expected in str(caught.value)


def test_a_key_that_stands_twice_is_refused_and_not_overwritten() -> None:
    with pytest.raises(InputError, match="key repeated"):
        parse_card_network(b'{"institutions": {"9": "BKAACNBJ", "9": "BKABCNBJ"}}', where="cards.json")
