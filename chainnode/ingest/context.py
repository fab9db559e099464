"""Who reports, and with which secrets: what an adapter needs besides the file.

Here: the frozen context and its JSON form. Not here: reading files, agreeing on pair secrets, or keeping them. One
JSON object, kept beside the keys (mode 0600):

    {"member": "bank-a", "agents": ["BKAACNBJXXX"], "switch": false, "amounts": "committed", "utc_offset_minutes": 480,
     "reporter_secret": "<hex>", "pairs": {"bank-b": "<hex>"}, "directory": {"BKBBCNSHXXX": "bank-b"}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from chainnode.ingest.json_text import parse_object
from chainnode.ingest.parsed import Agent
from chainnode.ingest.privacy import SECRET_SIZE, check_secret
from chainnode.ingest.references import agent_code, same_code
from ledger.payments import Channel
from primitives.errors import InputError

CONTEXT_SIZE_MAX = 1024 * 1024
OFFSET_MINUTES_MAX = 14 * 60


@dataclass(frozen=True, slots=True)
class Reporter:
    """The member that submits, the codes of its own institutions, and whether it is a switch."""

    member: str
    codes: frozenset[str]
    is_switch: bool = False

    def is_agent(self, agent: Agent | None) -> bool:
        """Return whether `agent` is one of the reporter's institutions; a head office's BIC has 8 or 11 characters."""
        return agent is not None and same_code(agent.code) in self.codes


@dataclass(frozen=True, slots=True)
class Secrets:
    """The reporter's own secret, and one for each member that it shares one with; 32 bytes each, never printed."""

    reporter: bytes = field(repr=False)
    pairs: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class IngestContext:
    """What turns a bank's message into its statement.

    `directory` gives the member behind an institution's code. `clear_amounts` puts amounts on the chain in clear
    instead of a commitment. `channel` goes before what a message says. Times without an offset are taken at
    `utc_offset_minutes`.
    """

    reporter: Reporter
    secrets: Secrets
    directory: Mapping[str, str]
    clear_amounts: bool = False
    channel: Channel | None = None
    utc_offset_minutes: int = 0

    def member_of(self, agent: Agent) -> str | None:
        """Return the member that an institution belongs to, or None for one outside of the consortium."""
        return self.directory.get(same_code(agent.code))

    def pair_secret_with(self, agent: Agent) -> bytes | None:
        """Return the secret shared with the member behind `agent`, or None."""
        member = self.member_of(agent)
        return None if member is None else self.secrets.pairs.get(member)


def make_context(
    member: str,
    codes: Mapping[str, str],
    reporter_secret: bytes,
    pair_secrets: Mapping[str, bytes],
    *,
    is_switch: bool = False,
    clear_amounts: bool = False,
    channel: Channel | None = None,
    utc_offset_minutes: int = 0,
) -> IngestContext:
    """Return the context of `member`; `codes` gives the member behind each known institution, its own included."""
    directory = {same_code(agent_code(code, where="directory")[1]): owner for code, owner in codes.items()}
    check_secret(reporter_secret, "reporter secret")
    for other, secret in pair_secrets.items():
        check_secret(secret, f"pair secret with {other}")
    own = frozenset(code for code, owner in directory.items() if owner == member)
    return IngestContext(
        reporter=Reporter(member, own, is_switch),
        secrets=Secrets(reporter_secret, MappingProxyType(dict(pair_secrets))),
        directory=MappingProxyType(directory),
        clear_amounts=clear_amounts,
        channel=channel,
        utc_offset_minutes=utc_offset_minutes,
    )


_KEYS = {"member", "agents", "switch", "amounts", "utc_offset_minutes", "reporter_secret", "pairs", "directory"}


def context_from_json(data: bytes, *, where: str) -> IngestContext:
    """Return the context that a file describes; InputError names the key that is wrong and never shows a secret."""
    value = parse_object(data, where=where, size_max=CONTEXT_SIZE_MAX)
    unknown = sorted(set(value) - _KEYS)
    if unknown:
        raise InputError("unknown key", where=where, expected=", ".join(sorted(_KEYS)), got=", ".join(unknown))
    member = _of_type(value, "member", str, where, "")
    codes = dict.fromkeys(_of_type(value, "agents", list, where, []), member)
    codes.update(_of_type(value, "directory", dict, where, {}))
    if not all(isinstance(text, str) for pair in codes.items() for text in pair):
        raise InputError("wrong type", where=f"{where}: agents, directory", expected="codes and members as text")
    amounts = _of_type(value, "amounts", str, where, "committed")
    if amounts not in ("committed", "clear"):
        raise InputError("unknown word", where=f"{where}: amounts", expected="committed or clear", got=amounts)
    offset = _of_type(value, "utc_offset_minutes", int, where, 0)
    if abs(offset) > OFFSET_MINUTES_MAX:
        raise InputError("out of range", where=f"{where}: utc_offset_minutes", expected="-840 to 840", got=offset)
    pairs = _of_type(value, "pairs", dict, where, {})
    return make_context(
        member,
        codes,
        _secret(value.get("reporter_secret"), f"{where}: reporter_secret"),
        {other: _secret(secret, f"{where}: pairs.{other}") for other, secret in pairs.items()},
        is_switch=_of_type(value, "switch", bool, where, False),
        clear_amounts=amounts == "clear",
        utc_offset_minutes=offset,
    )


def context_to_json(context: IngestContext) -> dict[str, Any]:
    """Return the JSON form, secrets included: for a file of mode 0600 and nothing else."""
    return {
        "member": context.reporter.member,
        "agents": sorted(context.reporter.codes),
        "switch": context.reporter.is_switch,
        "amounts": "clear" if context.clear_amounts else "committed",
        "utc_offset_minutes": context.utc_offset_minutes,
        "reporter_secret": context.secrets.reporter.hex(),
        "pairs": {member: secret.hex() for member, secret in sorted(context.secrets.pairs.items())},
        "directory": dict(sorted(context.directory.items())),
    }


def _of_type(value: Mapping[str, Any], key: str, type_: type[Any], where: str, default: Any) -> Any:
    """Return a key's value (Any: what JSON gives); InputError where it has another type."""
    found = value.get(key, default)
    if type(found) is not type_ or (key == "member" and not found):
        raise InputError("wrong type", where=f"{where}: {key}", expected=type_.__name__, got=type(found).__name__)
    return found


def _secret(value: object, where: str) -> bytes:
    expected = f"{2 * SECRET_SIZE} hex digits"
    try:
        secret = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        secret = b""
    if len(secret) != SECRET_SIZE:
        raise InputError("not a secret", where=where, expected=expected, got="something else")
    return secret
