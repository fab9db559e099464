"""The JSON form of certificate events: there and back, and errors that name the key, expected and got."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.certificates_json import BODY_OF_KIND, certificate_body_from_json, certificate_body_to_json
from primitives.errors import InputError
from tests.ledger.certificate_fixtures import EVENTS, NUMBER, grant

EVIDENCE = {"kind": "holder_request", "digest": "00" * 32, "custodian": "cb", "size_bytes": 1}


@pytest.mark.parametrize("kind", sorted(EVENTS))
def test_every_body_survives_its_json(kind: str) -> None:
    body = EVENTS[kind][2]
    written = json.loads(json.dumps(certificate_body_to_json(body)))
    assert certificate_body_from_json(kind, written) == body


def test_the_kinds_are_those_of_the_ledger() -> None:
    assert set(BODY_OF_KIND) == set(EVENTS)


def test_times_are_rfc_3339_under_a_name_without_unit_and_optional_keys_may_be_left_out() -> None:
    body = grant(valid_until_ms=1_861_891_200_001)
    written = certificate_body_to_json(body)
    assert written == {
        "application": "bank-a.0001",
        "number": NUMBER,
        "valid_from": None,
        "valid_until": "2028-12-31T16:00:00.001Z",
        "valid_months": None,
    }
    short = {"application": "bank-a.0001", "number": NUMBER, "valid_until": "2029-01-01T00:00:00.001+08:00"}
    assert certificate_body_from_json("certificate.grant", short) == body


def grant_with(**keys: Any) -> tuple[str, dict[str, Any]]:  # Any: JSON values
    return "certificate.grant", {"application": "a.1", "number": NUMBER, **keys}


def cancel_with(**keys: Any) -> tuple[str, dict[str, Any]]:  # Any: JSON values
    return "certificate.cancel", {"number": NUMBER, "evidence": [{**EVIDENCE, **keys}]}


BAD: dict[str, tuple[tuple[str, object], str]] = {
    "an unknown kind": (
        ("certificate.frame", {}),
        "not a kind of certificate event: expected one of certificate.apply,",
    ),
    "a list": (("certificate.accept", []), "body: not an object: expected a JSON object, got []"),
    "nothing": (("certificate.accept", None), "body: not an object: expected a JSON object, got None"),
    "a missing key": (("certificate.accept", {}), "application: missing key"),
    "a key of null": (("certificate.accept", {"application": None}), "application: missing key"),
    "an unknown key": (
        ("certificate.accept", {"application": "a.1", "colour": 1}),
        "colour: unknown key: expected some of application",
    ),
    "a number for a text": (
        ("certificate.accept", {"application": 1}),
        "application: wrong value: expected str, got 1",
    ),
    "an id without a serial": (
        ("certificate.accept", {"application": "bank-a"}),
        "application: wrong value: expected MEMBER.SERIAL such as bank-a.2026-001, got 'bank-a'",
    ),
    "a number of another form": (
        grant_with(number="17"),
        "number: wrong value: expected SCHEME-YEAR-CATEGORY-SERIAL such as FTP-2026-06-000123, got '17'",
    ),
    "a time as a number": (grant_with(valid_until=1), "valid_until: not a time: expected such as 2026-04-13T10:30:00Z"),
    "half a time": (grant_with(valid_until="2026"), "valid_until: not a time: expected such as"),
    "a time with its unit": (
        grant_with(valid_until_ms=1),
        "valid_until_ms: unknown key: expected some of application,",
    ),
    "a fraction": (grant_with(valid_months=1.5), "valid_months: wrong value: expected int | null, got 1.5"),
    "a truth value": (grant_with(valid_months=True), "valid_months: wrong value: expected int | null, got True"),
    "two ends": (
        grant_with(valid_months=1, valid_until="2029-01-01T00:00:00Z"),
        "two ends of one validity: expected valid_until_ms or valid_months, got both",
    ),
    "evidence that is no list": (
        ("certificate.cancel", {"number": NUMBER, "evidence": EVIDENCE}),
        "evidence: not a list: expected a JSON array",
    ),
    "evidence of no kind": (
        cancel_with(kind="rumour"),
        "evidence[0].kind: wrong value: expected one of technical_documents, type_examination,",
    ),
    "a digest in capitals": (
        cancel_with(digest="AB" * 32),
        "evidence[0].digest: not a digest: expected 64 digits of lower-case hex, got 'ABAB",
    ),
    "a short digest": (cancel_with(digest="00"), "evidence[0].digest: not a digest: expected 64 digits of lower-case"),
    "an empty document": (cancel_with(size_bytes=0), "evidence[0].size_bytes: wrong value: expected int >= 1, got 0"),
    "a person's name": (cancel_with(inspector="N. N."), "evidence[0].inspector: unknown key: expected some of kind,"),
    "17 documents": (
        ("certificate.cancel", {"number": NUMBER, "evidence": [EVIDENCE] * 17}),
        "evidence: wrong value: expected array of length <= 16",
    ),
    "a document twice": (
        ("certificate.cancel", {"number": NUMBER, "evidence": [EVIDENCE] * 2}),
        "evidence: a document stands twice: expected distinct digests",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_body_is_refused_by_key(what: str) -> None:
    (kind, value), message = BAD[what]
    with pytest.raises(InputError) as refused:
        certificate_body_from_json(kind, value)
    assert str(refused.value).startswith(message)


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False)
NAMES = st.sampled_from(["application", "number", "evidence", "product", "valid_until", "kind", "digest", "reason"])


@given(st.sampled_from(sorted(EVENTS)), st.dictionaries(NAMES, SCALARS | st.lists(SCALARS, max_size=2), max_size=5))
def test_no_object_makes_anything_but_a_body_or_an_input_error(kind: str, value: dict[str, object]) -> None:
    try:
        body = certificate_body_from_json(kind, value)
    except InputError:
        return
    assert isinstance(body, BODY_OF_KIND[kind])
