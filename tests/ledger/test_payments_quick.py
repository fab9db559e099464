"""The quick check of many statements against the full check of each."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    are_sound,
    check_statement,
)
from ledger.quick_shapes import lean_of, patterns_of
from primitives.encoding import decode, encode
from primitives.errors import InputError

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


@given(st.lists(bodies(), min_size=1, max_size=4))
def test_the_quick_check_says_what_the_full_check_says_of_each(found: list[bytes]) -> None:
    assert are_sound(found) is all(map(is_taken, found))


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_one_bad_field_among_good_statements_is_seen(name: str) -> None:
    good = encode(STATEMENT)
    assert are_sound([good, good])

    @given(CHANGES[name])
    def check(value: object) -> None:
        values = msgspec.to_builtins(STATEMENT, builtin_types=(bytes,))
        values[PaymentStatement.__struct_fields__.index(name)] = value
        body = msgspec.msgpack.encode(values)
        assert are_sound([good, body, good]) is is_taken(body)

    check()


def test_a_longer_form_of_the_same_statement_is_no_sound_body() -> None:
    good = encode(STATEMENT)
    stretched = b"\xdd\0\0" + good[1:]
    assert msgspec.msgpack.decode(stretched) == msgspec.msgpack.decode(good)
    assert not are_sound([stretched])


def test_lean_records_keep_every_limit_but_patterns() -> None:
    lean = lean_of(PaymentStatement)
    assert lean.__struct_fields__ == PaymentStatement.__struct_fields__
    assert not patterns_of(lean)
    assert set(patterns_of(PaymentStatement)) == {"message_type", "reason", "currency", "terminal_certificate"}
    assert patterns_of(AgentRecord), "the codes of agents are checked by scheme instead"
    values = msgspec.to_builtins(STATEMENT, builtin_types=(bytes,))
    values[0] = bytes(17)
    with pytest.raises(InputError):
        decode(lean, msgspec.msgpack.encode(values), size_max=4096)
