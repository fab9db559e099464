"""Keys, tokens and commitments: fixed for good, separate by purpose, and blind without the secret."""

from __future__ import annotations

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from chainnode.ingest.privacy import (
    FIELD_COUNT,
    PrivateField,
    commit_fields,
    disclose,
    event_secrets,
    field_salt,
    payment_keys,
    token,
    verify_disclosure,
)
from ledger.payments import TokenField

SECRET = bytes(range(32))


def test_keys_are_hmacs_under_the_projects_domain() -> None:
    keys = payment_keys(SECRET, "E2E-1")
    assert keys.pair_key == hmac.digest(SECRET, b"chainnode/v1/pair-key\0E2E-1", hashlib.sha256)
    assert keys.payment_key == hmac.digest(SECRET, b"chainnode/v1/payment-key\0E2E-1", hashlib.sha256)
    expected = hmac.digest(keys.payment_key, b"chainnode/v1/token\0\x01CNY 1.00", hashlib.sha256)[:16]
    assert token(keys.payment_key, TokenField.AMOUNT, "CNY 1.00") == expected


def test_one_value_has_another_token_in_another_field_and_payment() -> None:
    keys = [payment_keys(SECRET, reference).payment_key for reference in ("E2E-1", "E2E-2")]
    tokens = {token(key, name, "same") for key in keys for name in TokenField}
    assert len(tokens) == 2 * len(TokenField)


def test_everything_drawn_for_an_event_is_of_its_own() -> None:
    drawn = set()
    for digest in (b"a" * 32, b"b" * 32):
        for index in (0, 1, 256):
            secrets = event_secrets(SECRET, digest, index)
            drawn |= {secrets.salt, secrets.reference, secrets.event_key, secrets.event_key[:16]}
    assert len(drawn) == 2 * 3 * 4


def test_the_root_hides_which_fields_there_are() -> None:
    full = dict.fromkeys(PrivateField, b"x")
    assert len({len(commit_fields(SECRET, values).commitments) for values in ({}, full)}) == 1
    empty, absent = commit_fields(SECRET, {PrivateField.AMOUNT: b""}), commit_fields(SECRET, {})
    assert empty.root != absent.root, "an empty field is not an absent one"


def test_salts_of_fields_tell_nothing_of_each_other() -> None:
    assert len({field_salt(SECRET, private) for private in PrivateField}) == FIELD_COUNT


@given(
    st.dictionaries(st.sampled_from(PrivateField), st.binary(max_size=60), min_size=1),
    st.binary(min_size=32, max_size=32),
)
def test_every_committed_field_can_be_disclosed(values: dict[PrivateField, bytes], event_key: bytes) -> None:
    root = commit_fields(event_key, values).root
    for private, value in values.items():
        assert verify_disclosure(root, disclose(event_key, values, private)) == value
