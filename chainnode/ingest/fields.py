"""Values out of a JSON object, each checked where it is read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from chainnode.ingest.errors import JsonError, located, shown_names
from chainnode.ingest.parsed import Agent
from chainnode.ingest.references import agent_code
from ledger.payments import AgentRole
from ledger.times import parse_date
from primitives.errors import InputError

TEXT_LENGTH_MAX = 140
MEMORY_ENTRIES = 8_192


def only_keys(value: Mapping[str, Any], required: frozenset[str], optional: frozenset[str], *, where: str) -> None:
    """Raise JsonError where a key is missing or not known."""
    keys = value.keys()
    if keys >= required and keys <= _either(required, optional):
        return
    missing, unknown = required - keys, keys - required - optional
    if missing:
        raise JsonError("key missing", where=where, expected=", ".join(sorted(missing)), got=shown_names(value))
    if unknown:
        expected = ", ".join(sorted(required | optional))
        raise JsonError("unknown key", where=where, expected=expected, got=shown_names(unknown))


@lru_cache(maxsize=16)
def _either(required: frozenset[str], optional: frozenset[str]) -> frozenset[str]:
    return required | optional


def text_value(
    value: Mapping[str, Any], key: str, where: str, *, length_max: int = TEXT_LENGTH_MAX, empty: bool = False
) -> str:
    """Return a text; JsonError where it is none, too long, or (unless `empty` is allowed) absent or empty."""
    found = value.get(key, "")
    if isinstance(found, str) and (0 < len(found) <= length_max or (empty and not found)):
        return found
    if not isinstance(found, str):
        raise JsonError("wrong type", where=f"{where}: {key}", expected="text", got=type(found).__name__)
    if len(found) > length_max or not (found or empty):
        expected = f"1 to {length_max} characters"
        raise JsonError("text of a wrong length", where=f"{where}: {key}", expected=expected, got=len(found))
    return found


def agent_value(value: Mapping[str, Any], key: str, role: AgentRole, where: str) -> Agent:
    """Return the institution that a BIC, LEI or CNAPS code names."""
    code = text_value(value, key, where)
    try:
        return _agent(role, code)
    except InputError as error:
        raise located(error, f"{where}: {key}") from None


@lru_cache(maxsize=MEMORY_ENTRIES)
def _agent(role: AgentRole, code: str) -> Agent:
    return Agent(role, *agent_code(code))


def date_value(value: Mapping[str, Any], key: str, where: str) -> int:
    """Return a date as YYYYMMDD, 0 where there is none."""
    text = text_value(value, key, where, empty=True)
    return parse_date(text, where=f"{where}: {key}") if text else 0
