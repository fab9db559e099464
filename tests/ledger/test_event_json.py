"""The JSON form of events: there and back without loss, and what wrong JSON is told."""

from typing import Any

import pytest

from ledger.certificate_bodies import Apply, Grant, Product, Suspend
from ledger.event_json import body_from_json, event_from_json, event_to_json
from ledger.events import Event, event_id
from ledger.registry import KINDS
from primitives.encoding import Record, encode
from primitives.errors import InputError
from tests.ledger.certificate_fixtures import DOCUMENTS, START_MS

APPLY = Apply("bank-a.0001", "Bank A", Product("Terminal", "T-1", "2.0"), 6, DOCUMENTS)


def _event(body: Record, kind: int) -> Event:
    return Event("bank-a", bytes(range(16)), START_MS, kind, 1, encode(body))


def _apply_json() -> dict[str, Any]:
    return event_to_json(_event(APPLY, 1))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (APPLY, 1),
        (Grant("bank-a.0001", "FTP-2026-06-000001", START_MS, None, 36), 6),
        (Suspend("FTP-2026-06-000001", "inspection_failed", None, None), 8),
    ],
)
def test_json_of_an_event_gives_its_bytes_again(body: Record, kind: int) -> None:
    event = _event(body, kind)
    shown = event_to_json(event)
    assert shown["kind"] == KINDS[kind].name
    assert shown["id"] == event_id(encode(event), kind).hex()
    assert encode(event_from_json(shown)) == encode(event)


def test_json_words_times_hashes_and_enumerations_for_people() -> None:
    shown = event_to_json(_event(Grant("bank-a.0001", "FTP-2026-06-000001", START_MS, None, None), 6))
    assert shown["expires"] == "2026-01-01T00:00:00Z"
    assert shown["reference"] == bytes(range(16)).hex()
    assert shown["body"]["valid_from"] == "2026-01-01T00:00:00Z"
    assert shown["body"]["valid_until"] is None
    assert _apply_json()["body"]["evidence"][0]["kind"] == "technical_documents"


def test_body_of_an_unknown_kind_is_shown_as_bytes() -> None:
    assert event_to_json(Event("bank-a", bytes(16), START_MS, 250, 9, b"\x90"))["body"] == {"raw": "90"}


def test_fields_that_a_client_leaves_out_are_filled_in() -> None:
    shown = _apply_json()
    for key in ("id", "member", "reference", "expires", "schema"):
        del shown[key]
    event = event_from_json(shown, member="bank-a", reference=bytes(range(16)), expires_ms=START_MS)
    assert encode(event) == encode(_event(APPLY, 1))
    assert body_from_json("certificate.suspend", {"number": "FTP-2026-06-000001", "reason": "late"})[:2] == (8, 1)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("kind",), "certificate.steal", "unknown kind"),
        (("kind",), 1, "unknown kind"),
        (("schema",), 9, "unknown schema"),
        (("schema",), True, "unknown schema"),
        (("id",), "00", "id is not the event's"),
        (("surplus",), 1, "unknown key"),
        (("member",), None, "member: missing or not text"),
        (("reference",), "zz", "reference: not bytes in hex"),
        (("reference",), "00", "32 lower-case hex digits"),
        (("expires",), "tomorrow", "expires: not a time"),
        (("body",), [], "body: not an object"),
        (("body", "surplus"), 1, r"body\.surplus: unknown key"),
        (("body", "application"), "?", r"body\.application: wrong value"),
        (("body", "category"), 1.5, r"body\.category: wrong type"),
        (("body", "category"), "6", r"body\.category: wrong value: expected int, got str"),
        (("body", "product"), "Terminal", r"body\.product: not an object"),
        (("body", "evidence"), {}, r"body\.evidence: not a list"),
        (("body", "evidence", 0, "digest"), "AB" * 32, r"body\.evidence\[0\]\.digest: not bytes in hex"),
        (("body", "evidence", 0, "kind"), "guess", r"body\.evidence: wrong value|evidence\[0\]\.kind: wrong value"),
    ],
)
def test_wrong_json_is_refused_with_its_path(path: tuple[Any, ...], value: object, message: str) -> None:
    shown = _apply_json()
    target: Any = shown
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    with pytest.raises(InputError, match=message):
        event_from_json(shown)


def test_missing_key_is_named() -> None:
    shown = _apply_json()
    del shown["body"]["product"]["model"]
    with pytest.raises(InputError, match=r"body\.product\.model: missing key"):
        event_from_json(shown)
