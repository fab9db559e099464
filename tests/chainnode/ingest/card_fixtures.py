"""Card messages for tests: written by the library that the adapter reads with, and framed as networks frame them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import iso8583

from chainnode.ingest.card_network import CardNetwork, make_card_network
from chainnode.ingest.context import IngestContext
from chainnode.ingest.iso8583 import parse_iso8583
from chainnode.ingest.iso8583_fields import SPECIFICATIONS, Encoding, Padding
from chainnode.ingest.parsed import ParsedPayment
from tests.chainnode.ingest.ingest_fixtures import SAMPLES, context_of

CARD = "6299001012345678"
TPDU = bytes.fromhex("6000030000")
TERMINAL_HEADER = bytes.fromhex("602200000000")
PURCHASE = {
    "t": "0200",
    "2": CARD,
    "3": "000000",
    "4": "000000001250",
    "7": "0420083015",
    "11": "011392",
    "12": "083014",
    "13": "0420",
    "15": "0421",
    "18": "5411",
    "22": "051",
    "25": "00",
    "32": "90000000",
    "33": "99990000",
    "37": "011083011392",
    "41": "12345678",
    "42": "103900000000001",
    "43": "LOTUS GARDEN".ljust(40),
    "49": "156",
    "60": "00005000030",
}
ANSWER = {**PURCHASE, "t": "0210", "38": "A12345", "39": "00"}
ORIGINAL = "0200" + "011392" + "0420083015" + "00090000000" + "00099990000"
REVERSAL = {**PURCHASE, "t": "0420", "7": "0420083100", "11": "011399", "39": "98", "90": ORIGINAL}
SENSITIVE = {
    "14": "2903",
    "35": "6299001012345678D29031010000012345678",
    "36": "99629900101234567800156",
    "45": "B6299001012345678^WANG/FANG^2903101",
    "52": "0123456789ABCDEF",
    "53": "2600000000000000",
    "55": "9F2608AABBCCDDEEFF0011",
}


def message(fields: dict[str, str], encoding: Encoding = "ascii", padding: Padding = "right") -> bytes:
    """Return a message in bytes; values are texts, bits in hex."""
    raw, _ = iso8583.encode(fields, SPECIFICATIONS[encoding, padding])
    return bytes(raw)


def without(fields: dict[str, str], *numbers: str) -> dict[str, str]:
    return {number: value for number, value in fields.items() if number not in numbers}


def network_header(body: bytes) -> bytes:
    """Return UnionPay's header of 46 bytes before `body`."""
    stations = b"99990000".ljust(11) + b"90000000".ljust(11)
    return b"\x2e\x02" + b"%04d" % (46 + len(body)) + stations + bytes(3) + b"\x01" + bytes(8) + b"\0" + b"00000" + body


def with_lengths(bodies: Iterable[bytes], *, text: bool = False) -> bytes:
    return b"".join((b"%04d" % len(body) if text else len(body).to_bytes(2, "big")) + body for body in bodies)


def network(**changes: Any) -> CardNetwork:
    """Return the sample network; `changes` are arguments of make_card_network."""
    return make_card_network(**{**json.loads((SAMPLES / "cards.json").read_bytes()), **changes})


def card_context(member: str, **changes: Any) -> IngestContext:
    """Return a member's context in a changed network."""
    return context_of(member, card_network=network(**changes))


def payments(data: bytes, member: str = "bank-a", **changes: Any) -> list[ParsedPayment]:
    """Return the payments of a file without bad messages."""
    found = list(parse_iso8583(data, card_context(member, **changes), where="f"))
    return [payment for payment in found if isinstance(payment, ParsedPayment)]


def payment(fields: dict[str, str], member: str = "bank-a", **changes: Any) -> ParsedPayment:
    (found,) = payments(message(fields), member, **changes)
    return found
