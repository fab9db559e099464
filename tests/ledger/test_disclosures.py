"""Requests for disclosure and their answers: who may ask whom, for what, until when, and that there is one answer."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from nacl.public import PrivateKey

from ledger.disclosure_bodies import (
    AnswerDisclosure,
    Erase,
    ErasureBasis,
    LegalBasis,
    PrivateFieldName,
    Refusal,
    RequestDisclosure,
    check_answer,
    check_request,
)
from ledger.disclosures import DAYS_MAX, REQUESTS_MAX, read_disclosure, read_disclosures
from ledger.event_json import body_from_json, body_to_json
from ledger.execution import BlockRefused
from primitives.encoding import encode
from primitives.errors import InputError
from tests.ledger.governance_fixtures import bank
from tests.ledger.payment_council import AUDITOR, REGULATOR, SWITCH, Paying

DAY_MS = 86_400_000
KEY = bytes(PrivateKey(bytes(range(32))).public_key)
AMOUNT, DEBTOR = PrivateFieldName.AMOUNT, PrivateFieldName.DEBTOR_NAME
ALL = tuple(PrivateFieldName)


def request(council: Paying, **changes: Any) -> RequestDisclosure:
    """Return a request to the first bank."""
    body = RequestDisclosure(
        reporter=bank(0),
        events=(bytes(32), bytes([1]) * 32),
        fields=(AMOUNT, DEBTOR),
        payload=False,
        basis=LegalBasis.AUDIT_MANDATE,
        document=bytes(32),
        until_ms=council.now_ms + DAY_MS,
        key=KEY,
    )
    return replace(body, **changes)


def asked(council: Paying, member: str = AUDITOR, **changes: Any) -> bytes:
    """Ask, and return the request's id."""
    result = council.block((member, request(council, **changes)))
    assert result.outcomes[0].applied, result.outcomes[0]
    return bytes(result.event_ids[0])


def granting(about: bytes, *fields: PrivateFieldName, payload: bool = False) -> AnswerDisclosure:
    """Return the answer that grants fields."""
    return AnswerDisclosure(about, fields, payload, bytes(32), None)


@pytest.mark.parametrize("member", [AUDITOR, REGULATOR, bank(1)])
def test_an_auditor_a_regulator_or_a_bank_asks_and_the_reporter_grants(member: str) -> None:
    council = Paying()
    about = asked(council, member)
    row = read_disclosure(council.state, about)
    assert row is not None
    assert (row.requester, row.reporter, row.fields, row.answer) == (member, bank(0), (AMOUNT, DEBTOR), None)
    assert read_disclosures(council.state, member) == (about,)
    outcome = council.block((bank(0), granting(about, DEBTOR)))
    assert outcome.outcomes[0].applied
    answered = read_disclosure(council.state, about)
    assert answered is not None
    assert answered.answer == outcome.event_ids[0]


def test_a_switch_asks_nobody_and_an_auditor_answers_nothing() -> None:
    council = Paying()
    assert council.rule(SWITCH, request(council)) == "not_permitted"
    about = asked(council)
    assert council.rule(AUDITOR, granting(about, AMOUNT)) == "not_permitted"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"reporter": REGULATOR}, "unknown_reporter"),
        ({"reporter": "nobody"}, "unknown_reporter"),
        ({"until_ms": 1}, "disclosure_term"),
        ({"until_ms": 1_790_000_000_000 * 100}, "disclosure_term"),
    ],
)
def test_a_request_names_who_could_have_stated_it_and_a_term(changes: dict[str, Any], rule: str) -> None:
    council = Paying()
    assert council.rule(AUDITOR, request(council, **changes)) == rule


def test_a_term_is_at_most_a_year_and_nobody_asks_itself() -> None:
    council = Paying()
    end = council.now_ms + 10 + DAYS_MAX * DAY_MS
    assert council.rule(AUDITOR, request(council, until_ms=end + 1)) == "disclosure_term"
    assert council.rule(AUDITOR, request(council, until_ms=end + 10)) == ""
    assert council.rule(bank(0), request(council)) == "own_payments"


def test_only_the_reporter_answers_once_in_time_and_grants_what_was_asked_for() -> None:
    council = Paying()
    about = asked(council)
    assert council.rule(bank(0), granting(bytes(32), AMOUNT)) == "unknown_request"
    assert council.rule(bank(1), granting(about, AMOUNT)) == "not_the_reporter"
    assert council.rule(bank(0), granting(about, AMOUNT, PrivateFieldName.REMITTANCE)) == "not_asked_for"
    assert council.rule(bank(0), granting(about, *ALL, payload=True)) == "not_asked_for"
    assert council.rule(bank(0), granting(about, AMOUNT)) == ""
    assert council.rule(bank(0), granting(about, AMOUNT)) == "already_answered"
    late = asked(council)
    council.now_ms += 2 * DAY_MS
    assert council.rule(bank(0), granting(late, AMOUNT)) == "request_over"


def test_a_payload_is_granted_where_it_was_asked_for() -> None:
    council = Paying()
    fields_alone = asked(council, fields=ALL)
    assert council.rule(bank(0), granting(fields_alone, *ALL, payload=True)) == "not_asked_for"
    about = asked(council, fields=ALL, payload=True)
    assert council.rule(bank(0), granting(about, *ALL, payload=True)) == ""


def test_a_member_has_so_many_requests_under_way_and_those_that_are_over_leave() -> None:
    council = Paying()
    first = asked(council)
    for _ in range(REQUESTS_MAX - 1):
        asked(council)
    assert council.rule(AUDITOR, request(council)) == "too_many_requests"
    assert council.rule(REGULATOR, request(council)) == ""
    assert council.rule(bank(0), AnswerDisclosure(first, (), False, b"", Refusal.NO_BASIS)) == ""
    asked(council)
    assert read_disclosure(council.state, first) is None
    assert len(read_disclosures(council.state, AUDITOR)) == REQUESTS_MAX
    council.now_ms += 2 * DAY_MS
    asked(council)
    assert len(read_disclosures(council.state, AUDITOR)) == REQUESTS_MAX


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"fields": ()}, "for nothing"),
        ({"fields": (DEBTOR, AMOUNT)}, "fields out of order"),
        ({"fields": (AMOUNT, AMOUNT)}, "fields out of order"),
        ({"events": (bytes(32), bytes(32))}, "events out of order"),
        ({"events": (bytes([1]) * 32, bytes(32))}, "events out of order"),
        ({"payload": True}, "holds every field"),
        ({"key": bytes(32)}, "low order"),
    ],
)
def test_a_request_that_makes_no_sense_is_not_well_formed(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        check_request(request(Paying(), **changes))


@pytest.mark.parametrize(
    "answer",
    [
        AnswerDisclosure(bytes(32), (), False, b"", None),
        AnswerDisclosure(bytes(32), (AMOUNT,), False, bytes(32), Refusal.ERASED),
        AnswerDisclosure(bytes(32), (AMOUNT,), False, b"", None),
        AnswerDisclosure(bytes(32), (), False, bytes(32), Refusal.ERASED),
        AnswerDisclosure(bytes(32), (AMOUNT,), False, bytes(31), None),
        AnswerDisclosure(bytes(32), (AMOUNT,), True, bytes(32), None),
        AnswerDisclosure(bytes(32), (DEBTOR, AMOUNT), False, bytes(32), None),
    ],
)
def test_an_answer_that_neither_grants_nor_refuses_is_not_well_formed(answer: AnswerDisclosure) -> None:
    with pytest.raises(InputError):
        check_answer(answer)


def test_banks_and_switches_record_erasures_and_no_others() -> None:
    council = Paying()
    body = Erase(bytes(32), 2, ErasureBasis.CUSTOMER_REQUEST)
    assert [council.rule(member, body) for member in (bank(0), SWITCH, AUDITOR)] == ["", "", "not_permitted"]


def test_no_block_by_earlier_rules_holds_any_of_them() -> None:
    for body in (
        request(Paying()),
        AnswerDisclosure(bytes(32), (), False, b"", Refusal.ERASED),
        Erase(bytes(32), 1, ErasureBasis.RETENTION_OVER),
    ):
        with pytest.raises(BlockRefused, match="is of later rules"):
            Paying(first_rules=3).say(bank(0), body)


@pytest.mark.parametrize(
    ("kind", "name", "body"),
    [
        (35, "payment.request_disclosure", request(Paying())),
        (36, "payment.answer_disclosure", AnswerDisclosure(bytes(32), (), False, b"", Refusal.ERASED)),
        (37, "payment.erase", Erase(bytes(32), 9, ErasureBasis.COURT_ORDER)),
    ],
)
def test_their_json_form_goes_there_and_back(kind: int, name: str, body: Any) -> None:
    shown = body_to_json(kind, 1, encode(body))
    assert body_from_json(name, shown) == (kind, 1, encode(body))
