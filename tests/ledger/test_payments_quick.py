"""The quick reading of many statements against the full check of each."""

from __future__ import annotations

import dataclasses
from itertools import combinations
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.batches import build_batch, parse_batch
from ledger.events import EVENT_SIZE_MAX, Event
from ledger.payment_events import quick_statements
from ledger.payments import (
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
from ledger.registry import KINDS
from primitives.encoding import decode, encode
from primitives.errors import InputError
from primitives.ids import Hash, TimeMs
from primitives.keys import SigningKey

STATEMENT = PaymentStatement(
    salt=bytes(16),
    side=Side.DEBTOR,
    message_type="pacs.008.001.08",
    status=Status.ACCEPTED,
    reason="",
    amount=None,
    currency="CNY",
    amount_commitment=bytes(32),
    settlement_date=2026_04_13,
    agents=[
        AgentRecord(AgentRole.DEBTOR_AGENT, AgentScheme.BIC, "BKAACNBJXXX"),
        AgentRecord(AgentRole.CREDITOR_AGENT, AgentScheme.CNAPS, "999100000017"),
    ],
    channel=Channel.BEPS,
    uetr=bytes.fromhex("00112233445546778899aabbccddeeff"),
    reference_commitment=bytes(32),
    pair_key=bytes(32),
    tokens=[TokenRecord(TokenField.AMOUNT, bytes(16)), TokenRecord(TokenField.SETTLEMENT_DATE, bytes(16))],
    fields_root=bytes(32),
    terminal_certificate="",
    source_digest=bytes(32),
    time_ms=1_767_225_600_000,
)

CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "side": st.sampled_from([1, 6, 0, 7, -1]),
    "message_type": st.sampled_from(["json", "pacs.002", "pacs.8", "pacs.008\n", "", "x" * 16]),
    "reason": st.sampled_from(["AC04", "ac04", "AC04\n", "A"]),
    "amount": st.sampled_from([0, -1, 10**18, 10**19 - 1, "1"]),
    "currency": st.sampled_from(["", "cny", "CNYX"]),
    "amount_commitment": st.sampled_from([b"", bytes(31), bytes(33), bytes(64)]),
    "settlement_date": st.sampled_from([0, 2026_02_30, 9999_12_31, 10_000_00_00, -1]),
    "uetr": st.sampled_from([b"", bytes(16), bytes(15), bytes(32)]),
    "pair_key": st.sampled_from([b"", bytes(31)]),
    "tokens": st.sampled_from([[], [[2, bytes(16)], [1, bytes(16)]], [[1, bytes(15)]], [[6, bytes(16)]], [[1]]]),
    "agents": st.sampled_from(
        [[], [[2, 1, "BKAACNBJXXX"], [1, 1, "BKAACNBJXXX"]], [[1, 3, "BKAACNBJXXX"]], [[1, 1, "x"]], [[1, 4, "x"]]]
    ),
    "terminal_certificate": st.sampled_from(["FTP-2026-06-000123", "free text", "FTP-2026-06-000123\n"]),
    "channel": st.sampled_from([0, 9, 8]),
    "time_ms": st.sampled_from([-1, 253_402_300_800_000]),
}


def is_taken(body: bytes) -> bool:
    """Say what the full check says."""
    try:
        check_statement(decode(PaymentStatement, body, size_max=65_535))
    except InputError:
        return False
    return True


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Statements with a field or two replaced, and sometimes a byte."""
    fields = dict(
        zip(PaymentStatement.__struct_fields__, msgspec.to_builtins(STATEMENT, builtin_types=(bytes,)), strict=True)
    )
    for name in draw(st.lists(st.sampled_from(sorted(CHANGES)), max_size=2)):
        fields[name] = draw(CHANGES[name])
    body = bytearray(msgspec.msgpack.encode(list(fields.values())))
    if draw(st.booleans()):
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    if draw(st.integers(0, 9)) == 0:
        body += b"\0"
    return bytes(body)


MEMBER = "bank-a"


def event_of(body: bytes, **fields: Any) -> bytes:
    """Return the bytes of an event with this body; fields as of `Event`."""
    values = {"member": MEMBER, "reference": bytes(16), "expires_ms": 1 << 40, "kind": 32, "schema": 1, "body": body}
    return msgspec.msgpack.encode(list((values | fields).values()))


def is_taken_event(data: bytes) -> bool:
    """Say whether the slow way takes an event of MEMBER."""
    try:
        event = decode(Event, data, size_max=EVENT_SIZE_MAX)
    except InputError:
        return False
    return event.member == MEMBER and (event.kind, event.schema) == (32, 1) and is_taken(event.body)


def changed(name: str, value: object) -> bytes:
    """Return the bytes of the statement with one field replaced."""
    values = msgspec.to_builtins(STATEMENT, builtin_types=(bytes,))
    values[PaymentStatement.__struct_fields__.index(name)] = value
    return msgspec.msgpack.encode(values)


GOOD = event_of(encode(STATEMENT))


@given(st.lists(bodies(), min_size=1, max_size=4))
def test_no_statement_is_taken_that_the_full_check_refuses(found: list[bytes]) -> None:
    if quick_statements([event_of(body) for body in found], MEMBER) is not None:
        assert all(map(is_taken, found))


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_one_bad_field_among_good_statements_is_seen(name: str) -> None:
    assert quick_statements([GOOD, GOOD], MEMBER) is not None

    @given(CHANGES[name])
    def check(value: object) -> None:
        body = changed(name, value)
        if not is_taken(body):
            assert quick_statements([GOOD, event_of(body), GOOD], MEMBER) is None

    check()


def test_no_changed_byte_makes_the_quick_reading_take_what_the_slow_one_refuses() -> None:
    taken = 0
    for place in range(len(GOOD)):
        for value in {0, 1, 0x20, 0x5A, 0x7F, 0x90, 0xC0, 0xC4, 0xCC, 0xFF, GOOD[place] ^ 1, GOOD[place] ^ 0x80}:
            data = GOOD[:place] + bytes([value]) + GOOD[place + 1 :]
            if quick_statements([data], MEMBER) is not None:
                assert is_taken_event(data), f"byte {place} as {value:#x}"
                taken += 1
    assert taken > 1_000, "salts, digests and times may hold any byte"


USUAL = {
    "message_type": ["pacs.008.001.08", "pacs.002", "pain.001.001.09", "camt.054", "emv.qr", "iso8583.0200", "json"],
    "reason": ["", "AC04"],
    "settlement_date": [0, 2026_04_13, 9999_12_31],
    "uetr": [b"", STATEMENT.uetr],
    "terminal_certificate": ["", "FTP-2026-06-000123", "ABCDEFGH-2026-11-0001"],
    "agents": [
        [AgentRecord(role, AgentScheme.CNAPS, "999100000017") for role in sorted(AgentRole)[:count]]
        for count in range(len(AgentRole) + 1)
    ],
    "tokens": [
        [TokenRecord(field, bytes(16)) for field in fields]
        for count in range(len(TokenField) + 1)
        for fields in combinations(sorted(TokenField), count)
    ],
}


@pytest.mark.parametrize("name", sorted(USUAL))
def test_usual_statements_are_taken_quickly_with_their_keys(name: str) -> None:
    for value in USUAL[name]:
        statement = replace(STATEMENT, **{name: value})
        quick = quick_statements([event_of(encode(statement)), GOOD], MEMBER)
        assert quick is not None, value
        assert list(quick.uetrs) == [statement.uetr or None, STATEMENT.uetr]
        assert list(quick.pair_keys) == [STATEMENT.pair_key, STATEMENT.pair_key]


@pytest.mark.parametrize("amount", [0, 1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 10**17])
def test_amounts_of_any_length_are_taken_quickly(amount: int) -> None:
    body = encode(replace(STATEMENT, amount=amount, amount_commitment=b""))
    assert quick_statements([event_of(body)], MEMBER) is not None


def test_statements_without_amount_and_without_pair_key_are_taken_quickly() -> None:
    status = replace(STATEMENT, message_type="pacs.002.001.10", amount_commitment=b"", currency="")
    assert quick_statements([event_of(encode(status))], MEMBER) is not None
    alone = replace(STATEMENT, pair_key=b"", tokens=[])
    quick = quick_statements([event_of(encode(alone))], MEMBER)
    assert quick is not None
    assert list(quick.pair_keys) == [None]


@pytest.mark.parametrize(
    "fields",
    [
        {"member": "bank-b"},
        {"member": "bank-aa"},
        {"reference": bytes(15)},
        {"expires_ms": 5},
        {"expires_ms": 253_402_300_800_000},
        {"kind": 33},
        {"schema": 2},
    ],
)
def test_events_of_another_kind_member_or_form_are_left_to_the_slow_way(fields: dict[str, Any]) -> None:
    assert quick_statements([GOOD, event_of(encode(STATEMENT), **fields)], MEMBER) is None


def test_the_earliest_expiry_is_found() -> None:
    events = [event_of(encode(STATEMENT), expires_ms=1 << 40 | number) for number in (7, 3, 9)]
    quick = quick_statements(events, MEMBER)
    assert quick is not None
    assert quick.expires_ms_min == 1 << 40 | 3


@pytest.mark.parametrize("head", [b"\xdd\0\0", b"\xdc\x00"])
def test_a_longer_form_of_the_same_statement_is_not_taken(head: bytes) -> None:
    good = encode(STATEMENT)
    assert quick_statements([event_of(head + good[1:])], MEMBER) is None or head == good[:2]
    assert quick_statements([GOOD + b"\0"], MEMBER) is None
    long_length = GOOD.replace(b"\xc4\x10" + bytes(16), b"\xc5\x00\x10" + bytes(16), 1)
    assert msgspec.msgpack.decode(long_length) == msgspec.msgpack.decode(GOOD)
    assert quick_statements([long_length], MEMBER) is None
    number = changed("terminal_certificate", "FTP-2026-06-000123").replace(b"\xb2FTP", b"\xb1FTP")
    assert quick_statements([event_of(number)], MEMBER) is None


def test_a_batch_read_quickly_is_the_same_as_one_read_slowly() -> None:
    raw = sign_batch([GOOD, event_of(encode(replace(STATEMENT, salt=b"\1" * 16)))])
    slow_kinds = {number: dataclasses.replace(spec, quick_events={}) for number, spec in KINDS.items()}
    quick, slow = parse_batch(raw), parse_batch(raw, slow_kinds)
    assert quick.quick is not None
    assert slow.quick is None
    assert msgspec.structs.replace(quick, quick=None) == slow


def sign_batch(events: list[bytes]) -> bytes:
    """Return a first batch of MEMBER with these events."""
    key = SigningKey(bytes(range(32)))
    return build_batch(
        events, chain_id=Hash(bytes(32)), member=MEMBER, key=key, number=0, previous=Hash(bytes(32)), time_ms=TimeMs(1)
    )
