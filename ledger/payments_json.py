"""The JSON form of a payment statement: what users read, and what a tool may hand in.

Not here: the JSON form of other events. Words instead of numbers, lower-case hex for bytes, decimal text for clear
amounts, RFC 3339 dates; every key is always present, so that what is absent is seen to be absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Any, TypeVar

from ledger.currencies import minor_units
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
    amount_text,
    check_statement,
    date_text,
    uetr_text,
)
from ledger.times import format_time, parse_date, parse_time
from primitives.encoding import decode, encode
from primitives.errors import InputError

E = TypeVar("E", bound=IntEnum)
STATEMENT_SIZE_MAX = 4096


def word(member: IntEnum) -> str:
    """Return the written form of an enumeration's member: lower case with hyphens."""
    return member.name.lower().replace("_", "-")


@lru_cache(maxsize=64)
def _words(type_: type[IntEnum]) -> dict[str, IntEnum]:
    return {word(member): member for member in type_}


def from_word(type_: type[E], text: object, *, where: str) -> E:
    """Return the member that `text` names; InputError lists the words that are known."""
    words = _words(type_)
    found = words.get(text) if isinstance(text, str) else None
    if found is not None:
        return found  # type: ignore[return-value]  # a member of `type_`
    known = ", ".join(words)
    raise InputError("unknown word", where=where, expected=f"one of {known}", got=repr(text))


def statement_to_json(body: PaymentStatement) -> dict[str, Any]:
    """Return the JSON form of a statement."""
    return {
        "side": word(body.side),
        "message_type": body.message_type,
        "status": word(body.status),
        "reason": body.reason or None,
        "amount": amount_text(body),
        "currency": body.currency or None,
        "amount_commitment": body.amount_commitment.hex() or None,
        "settlement_date": date_text(body.settlement_date) if body.settlement_date else None,
        "agents": [
            {"role": word(agent.role), "scheme": agent.scheme.name, "code": agent.code} for agent in body.agents
        ],
        "channel": word(body.channel),
        "uetr": uetr_text(body.uetr) if body.uetr else None,
        "reference_commitment": body.reference_commitment.hex(),
        "pair_key": body.pair_key.hex() or None,
        "tokens": {word(token.field): token.token.hex() for token in body.tokens},
        "fields_root": body.fields_root.hex(),
        "terminal_certificate": body.terminal_certificate or None,
        "source_digest": body.source_digest.hex(),
        "time": format_time(body.time_ms),
        "salt": body.salt.hex(),
    }


_KEYS = frozenset(PaymentStatement.__struct_fields__) - {"time_ms"} | {"time"}
_OPTIONAL = frozenset(
    {"reason", "amount", "currency", "amount_commitment", "settlement_date", "channel", "uetr", "pair_key", "tokens"}
    | {"terminal_certificate"}
)


def statement_from_json(value: Mapping[str, Any]) -> PaymentStatement:
    """Return the statement that a JSON object describes; InputError names the key that is wrong."""
    unknown, missing = sorted(set(value) - _KEYS), sorted(_KEYS - _OPTIONAL - set(value))
    if unknown or missing:
        raise InputError(
            "unknown key" if unknown else "missing key",
            where="payment.statement",
            expected=", ".join(missing) or "only the keys of a statement",
            got=", ".join(unknown) or "none",
        )
    body = PaymentStatement(
        salt=_bytes(value, "salt"),
        side=from_word(Side, value["side"], where="side"),
        message_type=_text(value, "message_type"),
        status=from_word(Status, value["status"], where="status"),
        reason=_text(value, "reason"),
        amount=_amount(value),
        currency=_text(value, "currency"),
        amount_commitment=_bytes(value, "amount_commitment"),
        settlement_date=parse_date(text, where="settlement_date") if (text := _text(value, "settlement_date")) else 0,
        agents=[_agent(agent, f"agents[{index}]") for index, agent in enumerate(_list(value, "agents"))],
        channel=from_word(Channel, value.get("channel") or "none", where="channel"),
        uetr=bytes.fromhex(text.replace("-", "")) if (text := _uetr(value)) else b"",
        reference_commitment=_bytes(value, "reference_commitment"),
        pair_key=_bytes(value, "pair_key"),
        tokens=_tokens(value.get("tokens") or {}),
        fields_root=_bytes(value, "fields_root"),
        terminal_certificate=_text(value, "terminal_certificate"),
        source_digest=_bytes(value, "source_digest"),
        time_ms=parse_time(_text(value, "time"), where="time"),
    )
    checked = decode(PaymentStatement, encode(body), size_max=STATEMENT_SIZE_MAX)  # patterns and sizes, as for bytes
    check_statement(checked)
    return checked


def _text(value: Mapping[str, Any], key: str) -> str:
    text = value.get(key)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise InputError("wrong type", where=key, expected="text", got=type(text).__name__)
    return text


def _list(value: Mapping[str, Any], key: str) -> list[Any]:
    items = value[key]
    if not isinstance(items, list):
        raise InputError("wrong type", where=key, expected="a list", got=type(items).__name__)
    return items


def _bytes(value: Mapping[str, Any], key: str) -> bytes:
    text = _text(value, key)
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if data.hex() != text:
        raise InputError("not hex", where=key, expected="lower-case hex digits", got=repr(text[:80]))
    return data


def _uetr(value: Mapping[str, Any]) -> str:
    text = _text(value, "uetr")
    if text and re.fullmatch(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is None:
        raise InputError("not a UETR", where="uetr", expected="a UUID in lower case", got=repr(text[:80]))
    return text


def _amount(value: Mapping[str, Any]) -> int | None:
    text = _text(value, "amount")
    return minor_units(text, _text(value, "currency"), where="amount") if text else None


def _agent(value: Any, where: str) -> AgentRecord:  # Any: what a JSON decoder gives
    if not isinstance(value, dict) or set(value) != {"role", "scheme", "code"}:
        raise InputError("wrong agent", where=where, expected="role, scheme and code", got=repr(value))
    scheme = from_word(AgentScheme, str(value["scheme"]).lower(), where=f"{where}.scheme")
    return AgentRecord(from_word(AgentRole, value["role"], where=f"{where}.role"), scheme, _text(value, "code"))


def _tokens(value: Any) -> list[TokenRecord]:  # Any: what a JSON decoder gives
    if not isinstance(value, dict):
        raise InputError("wrong type", where="tokens", expected="an object", got=type(value).__name__)
    tokens = [TokenRecord(from_word(TokenField, field, where="tokens"), _bytes(value, field)) for field in value]
    return sorted(tokens, key=lambda token: token.field)
