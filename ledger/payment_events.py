"""Payment statements as events: their kind, and many of them read at once by one regular expression.

The canonical bytes of nearly every statement have a form that a regular expression over bytes can match whole: order,
shortest integers, lengths, patterns of text. What such an expression cannot say (that a length prefix fits what follows
it, that a date is one, that agents ascend) is about bytes of which few differ, so that each is judged once and
remembered. Here: that expression and what it finds. Not here: the rules themselves (`ledger.payments`); whatever is not
matched is decoded and judged there, so that a statement is never refused here, and none is taken that would be refused
there. At less than half of the cost of decoding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import combinations, repeat
from operator import methodcaller
from typing import Final

from ledger.events import TIME_MS_MAX
from ledger.kinds import KindSpec, QuickEvents
from ledger.members import Role
from ledger.payments import (
    AGENTS_MAX,
    CERTIFICATE_NUMBER_PATTERN,
    MEMORY_ENTRIES,
    PAYMENT_STATEMENT,
    AgentRecord,
    PaymentStatement,
    TokenField,
    check_agents,
    check_statement,
    is_date,
)
from primitives.encoding import decode, encode
from primitives.errors import InputError

AGENTS_SIZE_MAX: Final = 1_024
EXPIRY_MS_MIN: Final = 1 << 32
"""What is less has a shorter form than the eight bytes that are looked for here."""

_DIGEST = rb"\xc4\x20.{32}"
_MESSAGE = rb"(?:pacs|pain|camt)\.[0-9]{3}"
_VERSION = rb"\.[0-9]{3}\.[0-9]{2}"
_TYPE = rb"(?:\xaf" + _MESSAGE + _VERSION + rb"|\xa8" + _MESSAGE + rb"|\xaciso8583\.[0-9]{4}|\xa6emv\.qr|\xa4json)"
_TYPE_WITHOUT_AMOUNT = rb"(?:\xafpacs\.002" + _VERSION + rb"|\xa8pacs\.002|\xa4json)"
_STATUS_AND_REASON = rb"[\x01-\x06](?:\xa0|\xa4[A-Z0-9]{4})"
# Shortest forms; amounts that need more are rare enough to be decoded.
_AMOUNT = rb"(?:\xce(?!\0\0)....|\xcd(?!\0)..|\xcc[\x80-\xff]|[\x00-\x7f]|\xcf(?!\0\0\0\0)[\x00-\x0c].{7})"
_MONEY = rb"(?:\xc0\xa3[A-Z]{3}" + _DIGEST + rb"|" + _AMOUNT + rb"\xa3[A-Z]{3}\xc4\x00)"
_HEAD = rb"(?:%b%b%b|%b%b\xc0\xa0\xc4\x00)" % (
    *(_TYPE, _STATUS_AND_REASON, _MONEY),
    *(_TYPE_WITHOUT_AMOUNT, _STATUS_AND_REASON),
)
_DATE = rb"(\x00|\xce....)"
_AGENT = rb"\x93..(?:\xab.{11}|\xa8.{8}|\xac.{12}|\xb4.{20})"
_UETR = rb"\xc4(?:\x00|\x10(.{6}[\x40-\x4f].[\x80-\xbf].{7}))"
_NO_CERTIFICATE = b"\xa0"
_CERTIFICATE = rb"(\xa0|[\xa1-\xbf]" + CERTIFICATE_NUMBER_PATTERN.encode() + rb")"
_TIME = rb"\xcf\0\0(?!\0\0)[\x00-\xe5]....."


def _agents() -> bytes:
    """Return the expression of an array of agents; the usual numbers first."""
    counts = sorted(range(AGENTS_MAX + 1), key=lambda count: (count != 2, count))
    return rb"(" + b"|".join(re.escape(bytes([0x90 | count])) + _AGENT * count for count in counts) + rb")"


def _tokens() -> bytes:
    """Return the expression of an array of tokens, which ascend by field."""
    forms = []
    for count in range(1, len(TokenField) + 1):
        for fields in combinations(sorted(TokenField), count):
            tokens = b"".join(rb"\x92" + re.escape(bytes([field])) + rb"\xc4\x10.{16}" for field in fields)
            forms.append(re.escape(bytes([0x90 | count])) + tokens)
    return b"|".join(forms)


@cache
def _expression() -> re.Pattern[bytes]:
    """Return the expression of an event behind its member's name: made at the first event, not at every start."""
    event = rb"\xc4\x10.{16}\xcf(.{8})" + re.escape(bytes([PAYMENT_STATEMENT])) + rb"\x01(\xc4.|\xc5..)"
    keys = rb"(?:\xc4\x00\x90|\xc4\x20(.{32})(?:\x90|" + _tokens() + rb"))"
    body = rb"\xdc\x00\x13\xc4\x10.{16}[\x01-\x06]" + _HEAD + _DATE + _agents() + rb"[\x00-\x08]" + _UETR + _DIGEST
    return re.compile(event + body + keys + _DIGEST + _CERTIFICATE + _DIGEST + _TIME, re.DOTALL)


_groups = methodcaller("groups")


def quick_statements(events: Sequence[bytes], member: str) -> QuickEvents | None:
    """Return what is found in events that are all a member's statements, sound and canonical; None settles nothing."""
    prefix = b"\x96" + encode(member)
    place = len(prefix)
    if {event[:place] for event in events} != {prefix}:
        return None
    found = list(map(_expression().fullmatch, events, repeat(place)))
    if None in found:
        return None
    expiries, lengths, dates, agents, uetrs, pair_keys, certificates = zip(*map(_groups, found), strict=True)
    behind = place + 29  # 18 bytes of reference, 9 of expiry, kind and schema
    earliest, latest = int.from_bytes(min(expiries), "big"), int.from_bytes(max(expiries), "big")
    sound = (
        earliest >= EXPIRY_MS_MIN
        and latest <= TIME_MS_MAX
        and all(_fits_body(length, size - behind) for length, size in set(zip(lengths, map(len, events), strict=True)))
        and all(map(_is_sound_date, set(dates)))
        and all(map(_are_sound_agents, set(agents)))
        and all(text[0] == 0x9F + len(text) for text in set(certificates))
    )
    if not sound:
        return None
    named = () if set(certificates) == {_NO_CERTIFICATE} else [text[1:] for text in certificates]
    return QuickEvents(earliest, uetrs, pair_keys, named)


def _fits_body(length: bytes, size: int) -> bool:
    """Say whether a prefix is the shortest that says how long what follows it is; `size` is of both."""
    rest = size - len(length)
    return length[1:] == rest.to_bytes(2, "big").lstrip(b"\0") and (length[0] == 0xC5) is (rest > 0xFF)


@lru_cache(maxsize=MEMORY_ENTRIES)
def _is_sound_date(data: bytes) -> bool:
    number = int.from_bytes(data[1:], "big")
    return len(data) == 1 or (number > 0xFFFF and is_date(number))


@lru_cache(maxsize=MEMORY_ENTRIES)
def _are_sound_agents(data: bytes) -> bool:
    try:
        check_agents(decode(list[AgentRecord], data, size_max=AGENTS_SIZE_MAX))
    except InputError:
        return False
    return True


PAYMENT_KINDS: tuple[KindSpec, ...] = (
    KindSpec(
        kind=PAYMENT_STATEMENT,
        name="payment.statement",
        schemas={1: PaymentStatement},
        changes_state=False,
        check_shape=check_statement,
        quick_events={1: quick_statements},
        roles=frozenset({Role.BANK, Role.SWITCH}),
    ),
)
