"""Many payment statements out of JSON at once: typed records, and the quick way from them to canonical bytes.

What `ledger.payments_json` does for one object of any shape, at a fifth of its cost: a JSON decoder that knows the
types reads whole lists of `StatementJson`, and what few statements differ in (words, agents, dates) is judged once and
remembered. Not here: why a statement is refused. Whatever is not taken here is for `payments_json` to judge, so that
nothing is refused here, and nothing is taken that would be refused there.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledger.currencies import minor_units
from ledger.events import TIME_MS_MAX
from ledger.payments import (
    AGENTS_MAX,
    COMMITMENT_SIZE,
    MEMORY_ENTRIES,
    SALT_SIZE,
    TOKEN_SIZE,
    TOKENS_MAX,
    AgentRecord,
    AgentRole,
    AgentScheme,
    CertificateNumber,
    Channel,
    CurrencyCode,
    MessageType,
    PaymentStatement,
    ReasonCode,
    Side,
    Status,
    TokenField,
    TokenRecord,
    check_statement,
)
from ledger.payments_json import from_word
from ledger.times import parse_date, parse_time
from primitives.encoding import decode, encode
from primitives.errors import InputError

STATEMENT_SCHEMA = 1
TEXT_SIZE_MAX = 64
UETR_CHARACTERS = 36
_NONE_OR_DIGEST = (0, 2 * COMMITMENT_SIZE)
_FRACTIONS = {"Z": 0, **{f".{ms:03d}Z": ms for ms in range(1_000)}}

OptionalText = str | None | UnsetType


class AgentJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An institution as JSON has it."""

    role: str
    scheme: str
    code: str


class StatementJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A statement as JSON has it; a key that is left out stays so, and an encoder leaves it out again."""

    salt: str
    side: str
    message_type: str
    status: str
    agents: Annotated[tuple[AgentJson, ...], Meta(max_length=AGENTS_MAX)]
    reference_commitment: str
    fields_root: str
    source_digest: str
    time: str
    reason: OptionalText = UNSET
    amount: OptionalText = UNSET
    currency: OptionalText = UNSET
    amount_commitment: OptionalText = UNSET
    settlement_date: OptionalText = UNSET
    channel: OptionalText = UNSET
    uetr: OptionalText = UNSET
    pair_key: OptionalText = UNSET
    tokens: Annotated[dict[str, str], Meta(max_length=TOKENS_MAX)] | UnsetType | None = UNSET
    terminal_certificate: OptionalText = UNSET


def quick_bodies(statements: Sequence[StatementJson]) -> list[bytes] | None:
    """Return the canonical bytes of statements that are all sound; None settles nothing."""
    try:
        return [encode(_statement(statement)) for statement in statements]
    except (InputError, ValueError):
        return None


def _statement(value: StatementJson) -> PaymentStatement:
    """Return one statement; ValueError or InputError where it is better judged by itself."""
    currency, reason, date = value.currency or "", value.reason or "", value.settlement_date
    words = _words(value.side, value.message_type, value.status, reason, currency, value.channel or "none")
    salt, reference, root, digest = value.salt, value.reference_commitment, value.fields_root, value.source_digest
    commitment, pair_key = value.amount_commitment or "", value.pair_key or ""
    uetr = _uetr_digits(value.uetr) if value.uetr else ""
    if (
        len(salt) != 2 * SALT_SIZE
        or not len(reference) == len(root) == len(digest) == 2 * COMMITMENT_SIZE
        or len(commitment) not in _NONE_OR_DIGEST
        or len(pair_key) not in _NONE_OR_DIGEST
    ):
        raise ValueError
    data = _bytes(f"{salt}{reference}{root}{digest}{uetr}{commitment}{pair_key}")
    rest = 112 + len(uetr) // 2
    end = rest + len(commitment) // 2
    body = PaymentStatement(
        data[:16],
        words.side,
        value.message_type,
        words.status,
        reason,
        minor_units(value.amount, currency) if value.amount else None,
        currency,
        data[rest:end],
        _date(date) if date else 0,
        _agents(value.agents),
        words.channel,
        data[112:rest],
        data[16:48],
        data[end:],
        _tokens(value.tokens) if value.tokens else [],
        data[48:80],
        _certificate(value.terminal_certificate or ""),
        data[80:112],
        _time(value.time),
    )
    check_statement(body)
    return body


class _Words(NamedTuple):
    side: Side
    status: Status
    channel: Channel


@lru_cache(maxsize=MEMORY_ENTRIES)
def _words(side: str, message_type: str, status: str, reason: str, currency: str, channel: str) -> _Words:
    """Return what the words stand for, and check the codes beside them by their own types."""
    _check(MessageType, message_type)
    _check(ReasonCode, reason)
    _check(CurrencyCode, currency)
    return _Words(
        from_word(Side, side, where="side"),
        from_word(Status, status, where="status"),
        from_word(Channel, channel, where="channel"),
    )


@lru_cache(maxsize=MEMORY_ENTRIES)
def _certificate(text: str) -> str:
    _check(CertificateNumber, text)
    return text


def _check(type_: Any, text: str) -> None:  # Any: a type form
    decode(type_, encode(text), size_max=TEXT_SIZE_MAX)


@lru_cache(maxsize=MEMORY_ENTRIES)
def _agents(values: tuple[AgentJson, ...]) -> list[AgentRecord]:
    """Return the agents, each of its own type; nobody may change the list. `check_statement` judges them as such."""
    records = [
        AgentRecord(
            from_word(AgentRole, value.role, where="role"),
            from_word(AgentScheme, value.scheme.lower(), where="scheme"),
            value.code,
        )
        for value in values
    ]
    return decode(list[AgentRecord], encode(records), size_max=AGENTS_MAX * TEXT_SIZE_MAX)


@lru_cache(maxsize=MEMORY_ENTRIES)
def _date(text: str) -> int:
    return parse_date(text)


def _time(text: str) -> int:
    """Return a time in ms: of nearly all, the seconds were seen before and the rest is one of a thousand."""
    rest = _FRACTIONS.get(text[19:])
    time_ms = parse_time(text) if rest is None else _seconds_ms(text[:19]) + rest
    if time_ms > TIME_MS_MAX:
        raise ValueError
    return time_ms


@lru_cache(maxsize=MEMORY_ENTRIES)
def _seconds_ms(text: str) -> int:
    return parse_time(text + "Z")


def _uetr_digits(text: str) -> str:
    digits = text.replace("-", "")
    if not len(text) == UETR_CHARACTERS == len(digits) + 4 or not text[8] == text[13] == text[18] == text[23] == "-":
        raise ValueError
    return digits


def _tokens(values: dict[str, str]) -> list[TokenRecord]:
    return sorted(
        (TokenRecord(_field(name), bytes_of_hex(text, TOKEN_SIZE)) for name, text in values.items()), key=_field_of
    )


@lru_cache(maxsize=MEMORY_ENTRIES)
def _field(name: str) -> TokenField:
    return from_word(TokenField, name, where="tokens")


def _field_of(token: TokenRecord) -> IntEnum:
    return token.field


def bytes_of_hex(text: str, size: int) -> bytes:
    """Return bytes of this size from lower-case hex; ValueError where they are none."""
    if len(text) != 2 * size:
        raise ValueError
    return _bytes(text)


def _bytes(text: str) -> bytes:
    """Return the bytes of lower-case hex; `fromhex` alone takes capitals and spaces too."""
    data = bytes.fromhex(text)
    if data.hex() != text:
        raise ValueError
    return data
