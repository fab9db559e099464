"""What card messages leave out and a bank knows: whose the institution codes, cards and terminals are.

    {"institutions": {"01020000": "BKAACNBJXXX", "01030000": "BKBBCNSHXXX"},
     "card_prefixes": {"622848": "01030000"},
     "terminals": {"103001000000001/12345678": "FTP-2026-06-000123"},
     "link": "transmission", "encoding": "auto", "padding": "right", "utc_offset_minutes": 480}

All keys may be left out. An institution's code in a message has at most 11 digits, which is no BIC, LEI or CNAPS code,
so `institutions` names the code by which the consortium knows it; a branch (01021210) is found by its head office
(01020000). `card_prefixes` gives the issuer of the cards that begin so, for requests that do not name it. `terminals`
gives a terminal's certificate, by field 41 or by fields 42 and 41. The file holds no secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import msgspec

from chainnode.ingest.errors import JsonError, located
from chainnode.ingest.json_text import parse_object
from chainnode.ingest.parsed import Agent
from chainnode.ingest.references import agent_code, check_certificate_number
from ledger.payments import AgentRole
from primitives.errors import InputError

FILE_SIZE_MAX = 64 * 1024 * 1024
OFFSET_MINUTES_MAX = 14 * 60

Link = Literal["transmission", "retrieval"]
EncodingChoice = Literal["auto", "ascii", "unionpay", "bcd"]
Padding = Literal["right", "left"]

_INSTITUTION = re.compile(r"[0-9]{1,11}")
_PREFIX = re.compile(r"[0-9]{4,12}")
_TERMINAL = re.compile(r"[^/\x00-\x1f\x7f]{1,15}(?:/[^/\x00-\x1f\x7f]{1,8})?")
_HEAD_OFFICE_DIGITS = 8


@dataclass(frozen=True, slots=True)
class CardNetwork:
    """Institutions (each as acquirer and as issuer), card prefixes, terminals, and how messages are written.

    `link` tells which fields are the reference that both banks know a payment by: transmission time, trace number
    and acquirer (7, 11, 32), or retrieval reference and acquirer (37, 32); all banks of a network choose alike.
    """

    institutions: Mapping[str, tuple[Agent, Agent]]
    card_prefixes: Mapping[str, str]
    prefix_lengths: tuple[int, ...]
    terminals: Mapping[str, str]
    link: Link = "transmission"
    encoding: EncodingChoice = "auto"
    padding: Padding = "right"
    utc_offset_minutes: int | None = None

    def institution(self, code: str) -> tuple[Agent, Agent] | None:
        """Return an institution as acquirer and as issuer, or None for an unknown code."""
        found = self.institutions.get(code)
        if found is None and len(code) == _HEAD_OFFICE_DIGITS:
            return self.institutions.get(code[:4] + "0000")
        return found

    def issuer_of(self, card: str) -> Agent | None:
        """Return the issuer of a card by its longest known prefix, or None."""
        for length in self.prefix_lengths:
            code = self.card_prefixes.get(card[:length])
            if code is not None:
                return self.institutions[code][1]
        return None

    def certificate_of(self, merchant: str, terminal: str) -> str:
        """Return the number of a terminal's certificate, or an empty text."""
        if not self.terminals:
            return ""
        return self.terminals.get(f"{merchant}/{terminal}") or self.terminals.get(terminal, "")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    institutions: dict[str, str] = {}
    card_prefixes: dict[str, str] = {}
    terminals: dict[str, str] = {}
    link: Link = "transmission"
    encoding: EncodingChoice = "auto"
    padding: Padding = "right"
    utc_offset_minutes: int | None = None


def make_card_network(
    institutions: Mapping[str, str],
    *,
    card_prefixes: Mapping[str, str] | None = None,
    terminals: Mapping[str, str] | None = None,
    link: Link = "transmission",
    encoding: EncodingChoice = "auto",
    padding: Padding = "right",
    utc_offset_minutes: int | None = None,
) -> CardNetwork:
    """Return a network whose entries were checked; InputError names the bad one by its key."""
    agents: dict[str, tuple[Agent, Agent]] = {}
    for number, text in institutions.items():
        where = f"institutions: {number[:20]}"
        _check(_INSTITUTION, number, where, "an institution's code of at most 11 digits")
        scheme, code = agent_code(text, where=where)
        agents[number] = (Agent(AgentRole.ACQUIRER, scheme, code), Agent(AgentRole.ISSUER, scheme, code))
    for prefix, number in (card_prefixes or {}).items():
        where = f"card_prefixes: {prefix[:20]}"
        _check(_PREFIX, prefix, where, "4 to 12 digits")
        if number not in agents:
            raise JsonError("unknown institution", where=where, expected="one of institutions", got=repr(number[:20]))
    for terminal, certificate in (terminals or {}).items():
        where = f"terminals: {terminal[:30]!r}"
        _check(_TERMINAL, terminal, where, "a terminal's id, or a merchant's, a slash and a terminal's")
        check_certificate_number(certificate, where=where)
    if utc_offset_minutes is not None and abs(utc_offset_minutes) > OFFSET_MINUTES_MAX:
        expected = f"at most {OFFSET_MINUTES_MAX} minutes"
        raise JsonError("offset too large", where="utc_offset_minutes", expected=expected, got=utc_offset_minutes)
    prefixes = dict(card_prefixes or {})
    return CardNetwork(
        institutions=MappingProxyType(agents),
        card_prefixes=MappingProxyType(prefixes),
        prefix_lengths=tuple(sorted({len(prefix) for prefix in prefixes}, reverse=True)),
        terminals=MappingProxyType(dict(terminals or {})),
        link=link,
        encoding=encoding,
        padding=padding,
        utc_offset_minutes=utc_offset_minutes,
    )


def parse_card_network(data: bytes, *, where: str) -> CardNetwork:
    """Return the network that a JSON file describes; JsonError or InputError says what is wrong with it, and where."""
    value = parse_object(data, where=where, size_max=FILE_SIZE_MAX)
    try:
        found = msgspec.convert(value, _File)
    except msgspec.ValidationError as error:
        raise JsonError(
            "no card network", where=where, expected="the keys of docs/payment-formats.md", got=error
        ) from None
    try:
        return make_card_network(
            found.institutions,
            card_prefixes=found.card_prefixes,
            terminals=found.terminals,
            link=found.link,
            encoding=found.encoding,
            padding=found.padding,
            utc_offset_minutes=found.utc_offset_minutes,
        )
    except InputError as error:
        raise located(error, where) from None


def _check(pattern: re.Pattern[str], text: str, where: str, expected: str) -> None:
    if pattern.fullmatch(text) is None:
        raise JsonError("malformed key", where=where, expected=expected, got=f"{len(text)} characters")


NO_CARD_NETWORK = make_card_network({})
