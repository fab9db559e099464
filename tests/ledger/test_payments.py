"""The body of payment statements: what fits together, and that nothing private can ever stand in it."""

from __future__ import annotations

import re
import types
from typing import Annotated, Any, get_args, get_origin

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.certificate_bodies import NUMBER_PATTERN
from ledger.payment_events import PAYMENT_KINDS
from ledger.payments import (
    CERTIFICATE_NUMBER_PATTERN,
    PAYMENT_STATEMENT,
    AgentRecord,
    AgentRole,
    AgentScheme,
    Channel,
    PaymentStatement,
    Side,
    Status,
    TokenField,
    TokenRecord,
    check_statement,
)
from ledger.payments_json import statement_from_json, statement_to_json
from ledger.registry import KINDS
from primitives.encoding import Record, decode, encode
from primitives.errors import EncodingError, InputError

BIC = AgentScheme.BIC
STATEMENT = PaymentStatement(
    salt=b"s" * 16,
    side=Side.DEBTOR,
    message_type="pacs.008.001.08",
    status=Status.ACCEPTED,
    reason="",
    amount=None,
    currency="CNY",
    amount_commitment=b"a" * 32,
    settlement_date=2026_04_13,
    agents=[
        AgentRecord(AgentRole.DEBTOR_AGENT, BIC, "BKAACNBJXXX"),
        AgentRecord(AgentRole.CREDITOR_AGENT, BIC, "BKABCNBJ"),
    ],
    channel=Channel.HVPS,
    uetr=bytes.fromhex("a1b2c3d4e5f64890abcdef1234567890"),
    reference_commitment=b"r" * 32,
    pair_key=b"k" * 32,
    tokens=[TokenRecord(TokenField.AMOUNT, b"1" * 16), TokenRecord(TokenField.DEBTOR_ACCOUNT, b"2" * 16)],
    fields_root=b"f" * 32,
    terminal_certificate="FTP-2026-06-000123",
    source_digest=b"d" * 32,
    time_ms=1_776_076_200_000,
)

BAD_SHAPES = {
    "an amount in clear and committed": {"amount": 5},
    "an amount without a currency": {"currency": ""},
    "a currency without an amount": {"amount_commitment": b""},
    "no amount in a transfer": {"amount_commitment": b"", "currency": ""},
    "half of a commitment": {"amount_commitment": b"a" * 31},
    "half of a pair key": {"pair_key": b"k" * 16},
    "tokens without a pair key": {"pair_key": b""},
    "half of a UETR": {"uetr": b"u" * 8},
    "a UETR of version 1": {"uetr": bytes.fromhex("a1b2c3d4e5f61890abcdef1234567890")},
    "a UETR of another variant": {"uetr": bytes.fromhex("a1b2c3d4e5f64890cbcdef1234567890")},
    "the thirtieth of February": {"settlement_date": 2026_02_30},
    "agents out of order": {"agents": list(reversed(STATEMENT.agents))},
    "an agent's role twice": {"agents": [STATEMENT.agents[0]] * 2},
    "tokens out of order": {"tokens": list(reversed(STATEMENT.tokens))},
    "an LEI that is a BIC": {"agents": [AgentRecord(AgentRole.DEBTOR_AGENT, AgentScheme.LEI, "BKAACNBJ")]},
    "a BIC that is a CNAPS code": {"agents": [AgentRecord(AgentRole.DEBTOR_AGENT, BIC, "999100000017")]},
}

BAD_BYTES = {
    "a name as reason": {"reason": "Chen Meiling"},
    "a lower-case reason": {"reason": "ac04"},
    "a name as currency": {"currency": "Yuan"},
    "a name as message type": {"message_type": "Chen Meiling"},
    "a line feed after the message type": {"message_type": "pacs.008\n"},
    "a line feed after the currency": {"currency": "CNY\n"},
    "a card number as certificate": {"terminal_certificate": "6222021234567890"},
    "a negative amount": {"amount": -1},
    "an amount of nineteen digits": {"amount": 10**18},
    "a short salt": {"salt": b"s" * 15},
    "an account as agent": {"agents": [AgentRecord(AgentRole.DEBTOR_AGENT, BIC, "6222021234567890123")]},
    "an unknown side": {"side": 99},
    "a date of nine digits": {"settlement_date": 100_000_000},
    "seventeen tokens": {"tokens": [STATEMENT.tokens[0]] * 17},
}


def changed(**changes: Any) -> PaymentStatement:
    return msgspec.structs.replace(STATEMENT, **changes)


def test_a_statement_survives_its_canonical_bytes() -> None:
    assert decode(PaymentStatement, encode(STATEMENT), size_max=4096) == STATEMENT
    check_statement(STATEMENT)


def test_a_status_report_needs_no_amount() -> None:
    check_statement(changed(message_type="pacs.002.001.10", amount_commitment=b"", currency="", tokens=[]))


def test_an_amount_may_stand_in_clear() -> None:
    check_statement(changed(amount=2372, amount_commitment=b""))


@pytest.mark.parametrize("name", BAD_SHAPES)
def test_fields_that_do_not_fit_together_are_refused(name: str) -> None:
    body = changed(**BAD_SHAPES[name])
    assert decode(PaymentStatement, encode(body), size_max=4096) == body, "each field is well formed by itself"
    with pytest.raises(InputError, match="expected"):
        check_statement(body)


@pytest.mark.parametrize("name", BAD_BYTES)
def test_a_malformed_field_is_refused_when_it_is_decoded(name: str) -> None:
    with pytest.raises(EncodingError):
        decode(PaymentStatement, encode(changed(**BAD_BYTES[name])), size_max=4096)


def test_statements_are_registered_and_change_no_state() -> None:
    (spec,) = PAYMENT_KINDS
    assert KINDS[PAYMENT_STATEMENT] is spec
    assert spec.name == "payment.statement"
    assert not spec.changes_state
    assert spec.apply is None
    assert spec.schemas == {1: PaymentStatement}
    assert spec.roles == {"bank", "switch"}


def test_certificate_numbers_have_the_pattern_of_certificates() -> None:
    assert rf"\A{CERTIFICATE_NUMBER_PATTERN}\Z" == NUMBER_PATTERN


def text_fields(type_: Any, path: str = "") -> list[tuple[str, msgspec.Meta | None]]:
    """Return every text that can stand in a type, with what limits it."""
    if get_origin(type_) is Annotated:
        base, *metas = get_args(type_)
        if base is str:
            return [(path, metas[0])]
        return text_fields(base, path)
    if type_ is str:
        return [(path, None)]
    if isinstance(type_, type) and issubclass(type_, Record):
        hints = msgspec.structs.fields(type_)
        return [found for field in hints for found in text_fields(field.type, f"{path}.{field.name}")]
    if get_origin(type_) in (list, tuple, types.UnionType, dict):
        return [found for inner in get_args(type_) for found in text_fields(inner, path)]
    return []


ALLOWED_TEXTS = {".message_type": 15, ".reason": 4, ".currency": 3, ".agents.code": 20, ".terminal_certificate": 40}
FREE_TEXTS = [
    "Chen Meiling",
    "王小明",
    "chen",
    "6222021234567890123",
    "6222 0212 3456 7890",
    "GB29NWBK60161331926819",
    "Invoice 2026-118",
    "E2E-20260413-0001",
    "+8613800138000",
    "11010519491231002X",
    "a@b.example",
    "\n",
    " ",
]


def test_no_field_of_a_statement_takes_free_text() -> None:
    found = dict(text_fields(PaymentStatement))
    assert set(found) == set(ALLOWED_TEXTS), "a new text field needs a reason, a pattern and a length"
    for path, meta in found.items():
        assert meta is not None, f"{path} has no pattern"
        assert meta.pattern is not None, f"{path} has no pattern"
        assert meta.pattern.startswith(r"\A"), f"{path} is not anchored"
        assert meta.pattern.endswith(r"\Z"), f"{path} is not anchored"
        assert meta.max_length == ALLOWED_TEXTS[path]
        for text in FREE_TEXTS:
            assert re.search(meta.pattern, text) is None, f"{path} takes {text!r}"


def test_every_other_field_is_a_number_or_bytes_of_a_fixed_size() -> None:
    sizes = {
        field.name: next(meta for meta in get_args(field.type)[1:] if isinstance(meta, msgspec.Meta)).max_length
        for field in msgspec.structs.fields(PaymentStatement)
        if get_origin(field.type) is Annotated and get_args(field.type)[0] is bytes
    }
    assert max(sizes.values()) == 32
    assert set(sizes) == {
        "salt",
        "amount_commitment",
        "uetr",
        "reference_commitment",
        "pair_key",
        "fields_root",
        "source_digest",
    }


statements = st.builds(
    PaymentStatement,
    salt=st.binary(min_size=16, max_size=16),
    side=st.sampled_from(Side),
    message_type=st.sampled_from(["pacs.008.001.08", "pacs.004", "emv.qr", "iso8583.0200", "json"]),
    status=st.sampled_from(Status),
    reason=st.sampled_from(["", "AC04", "NARR"]),
    amount=st.integers(0, 10**18 - 1),
    currency=st.sampled_from(["CNY", "JPY", "BHD"]),
    amount_commitment=st.just(b""),
    settlement_date=st.sampled_from([0, 2026_04_13, 2024_02_29]),
    agents=st.just(STATEMENT.agents),
    channel=st.sampled_from(Channel),
    uetr=st.sampled_from([b"", STATEMENT.uetr]),
    reference_commitment=st.binary(min_size=32, max_size=32),
    pair_key=st.binary(min_size=32, max_size=32),
    tokens=st.just(STATEMENT.tokens),
    fields_root=st.binary(min_size=32, max_size=32),
    terminal_certificate=st.sampled_from(["", "FTP-2026-06-000123"]),
    source_digest=st.binary(min_size=32, max_size=32),
    time_ms=st.integers(0, 253_402_300_799_999),
)


@given(statements)
def test_bytes_and_json_give_the_same_statement_back(body: PaymentStatement) -> None:
    check_statement(body)
    assert decode(PaymentStatement, encode(body), size_max=4096) == body
    assert statement_from_json(statement_to_json(body)) == body


def test_the_json_form_speaks_in_words_and_decimal_text() -> None:
    shown = statement_to_json(changed(amount=2372, amount_commitment=b""))
    assert (shown["amount"], shown["currency"], shown["amount_commitment"]) == ("23.72", "CNY", None)
    assert (shown["side"], shown["status"], shown["channel"]) == ("debtor", "accepted", "hvps")
    assert shown["settlement_date"] == "2026-04-13"
    assert shown["uetr"] == "a1b2c3d4-e5f6-4890-abcd-ef1234567890"
    assert shown["agents"][0] == {"role": "debtor-agent", "scheme": "BIC", "code": "BKAACNBJXXX"}
    assert shown["time"] == "2026-04-13T10:30:00Z"


BAD_JSON: dict[str, dict[str, Any]] = {
    "an unknown side": {"side": "payer"},
    "an unknown key": {"colour": "red"},
    "upper-case hex": {"salt": "AA" * 16},
    "a number for a text": {"currency": 5},
    "a date in another form": {"settlement_date": "13.04.2026"},
    "a UETR without hyphens": {"uetr": "a1b2c3d4e5f64890abcdef1234567890"},
    "an agent without a role": {"agents": [{"scheme": "BIC", "code": "BKAACNBJ"}]},
    "an unknown token": {"tokens": {"colour": "00" * 16}},
    "agents that are no list": {"agents": "BKAACNBJ"},
    "a time without an offset": {"time": "2026-04-13T10:30:00"},
    "a name as reason": {"reason": "Chen Meiling"},
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_a_json_form_that_is_wrong_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        statement_from_json({**statement_to_json(STATEMENT), **BAD_JSON[name]})


def test_a_json_form_without_a_needed_key_is_refused() -> None:
    value = statement_to_json(STATEMENT)
    del value["salt"]
    with pytest.raises(InputError, match="missing key: expected salt"):
        statement_from_json(value)
