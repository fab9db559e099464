"""ISO 8583 messages taken apart: from bytes to checked texts by field number.

Here: the table of fields, the three ways in which they are written, and `decode_fields`. Not here: where a message
begins (`chainnode.ingest.iso8583_framing`) and what it means (`chainnode.ingest.iso8583`). Source: ISO 8583:1987, and
China UnionPay's Q/CUP 006.2 (messages between institutions) and Q/CUP 009.1 (terminals) for how they write it.

The library pyiso8583 takes a message apart. It is not trusted with bad input: it takes lengths such as `+7` or `1_0`,
any nibble for a digit and any byte for a letter, its errors carry the whole message with card number and PIN, and a
third bitmap makes it raise KeyError. So what it gives is checked here, and its errors end here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import iso8583

from chainnode.ingest.errors import MessageError

Encoding = Literal["ascii", "unionpay", "bcd"]
Padding = Literal["right", "left"]

# Number, kind and length of each field: n digits, a letters, s signs, z track data, b bits, x a leading C or D; one
# point for each digit of a length of its own. ISO 8583:1987, with the lengths that UnionPay made longer.
_TABLE = """
2 n..19 | 3 n6 | 4 n12 | 5 n12 | 6 n12 | 7 n10 | 8 n8 | 9 n8 | 10 n8 | 11 n6 | 12 n6 | 13 n4 | 14 n4 | 15 n4 | 16 n4 |
17 n4 | 18 n4 | 19 n3 | 20 n3 | 21 n3 | 22 n3 | 23 n3 | 24 n3 | 25 n2 | 26 n2 | 27 n1 | 28 x9 | 29 x9 | 30 x9 | 31 x9 |
32 n..11 | 33 n..11 | 34 ans..28 | 35 z..37 | 36 z...104 | 37 an12 | 38 an6 | 39 an2 | 40 an3 | 41 ans8 | 42 ans15 |
43 ans40 | 44 ans..25 | 45 ans..76 | 46 ans...999 | 47 ans...999 | 48 ans...999 | 49 an3 | 50 an3 | 51 an3 | 52 b8 |
53 n16 | 54 ans...120 | 55 b...999 | 56 ans...999 | 57 ans...999 | 58 ans...999 | 59 ans...999 | 60 ans...999 |
61 ans...999 | 62 ans...999 | 63 ans...999 | 64 b8 | 66 n1 | 67 n2 | 68 n3 | 69 n3 | 70 n3 | 71 n4 | 72 n4 | 73 n6 |
74 n10 | 75 n10 | 76 n10 | 77 n10 | 78 n10 | 79 n10 | 80 n10 | 81 n10 | 82 n12 | 83 n12 | 84 n12 | 85 n12 | 86 n16 |
87 n16 | 88 n16 | 89 n16 | 90 n42 | 91 an1 | 92 an2 | 93 an5 | 94 an7 | 95 an42 | 96 b8 | 97 x17 | 98 ans25 |
99 ans..11 | 100 n..11 | 101 ans..17 | 102 ans..28 | 103 ans..28 | 104 ans...999 | 128 b8
"""
FIELDS: dict[str, str] = dict(entry.split() for entry in _TABLE.split("|"))
FIELDS.update({str(number): "ans...999" for number in range(105, 128)})
_KIND = re.compile(r"(n|an|ans|z|b|x)(\.*)([0-9]+)")

# What identifies the card's holder to the bank alone, and never leaves this module: tracks, PIN and chip data, expiry.
DROPPED = ("14", "35", "36", "45", "52", "53", "55", "57")

NUMERIC = frozenset(number for number, kind in FIELDS.items() if re.match(r"n[.0-9]", kind) is not None)
_VARIABLE = frozenset(number for number, kind in FIELDS.items() if "." in kind)
_TEXTS = ("37", "38", "39", "41", "42", "43", "49", "95")  # those whose text is used
_CONTROL = re.compile("[\x00-\x1f\x7f]")


def _specification(encoding: Encoding, padding: Padding) -> dict[str, dict[str, Any]]:
    """Return the library's description of every field (Any: its own form)."""
    packed, text = encoding == "bcd", "latin-1"  # each byte one character: what stands in it is judged here
    raw = "b" if encoding != "ascii" else text
    found: dict[str, dict[str, Any]] = {
        "h": {"data_enc": text, "len_enc": text, "len_type": 0, "max_len": 0},
        "t": {"data_enc": "b" if packed else text, "len_enc": text, "len_type": 0, "max_len": 4},
        "p": {"data_enc": raw, "len_enc": text, "len_type": 0, "max_len": 8 if raw == "b" else 16},
        "1": {"data_enc": raw, "len_enc": text, "len_type": 0, "max_len": 8 if raw == "b" else 16},
    }
    for number, described in FIELDS.items():
        match = _KIND.fullmatch(described)
        assert match is not None
        kind, points, size = match[1], len(match[2]), int(match[3])
        field = {"data_enc": text, "len_enc": text, "len_type": points, "max_len": size}
        if packed and points:
            field.update(len_enc="bcd", len_type=(points + 1) // 2)
        if packed and kind in ("n", "z"):
            field.update(data_enc="b", len_count="nibbles")
            field["left_pad" if padding == "left" else "right_pad"] = "0"
        if kind == "b" and raw == "b":
            field["data_enc"] = "b"
        elif kind == "b" and not points:
            field["max_len"] = size * 2  # hex
        found[number] = field
    return found


SPECIFICATIONS: Mapping[tuple[Encoding, Padding], dict[str, dict[str, Any]]] = {
    (encoding, padding): _specification(encoding, padding)
    for encoding in ("ascii", "unionpay", "bcd")
    for padding in ("right", "left")
}


def decode_fields(message: bytes, encoding: Encoding, padding: Padding = "right") -> dict[str, str]:
    """Return the fields of a message by number, its type under "t"; without those that are nobody's business.

    `message` begins with its type. Digits are digits and texts that are used have no control characters; bytes above
    ASCII stand as Latin-1. MessageError names the field; no value is repeated in it.
    """
    try:
        fields, written = iso8583.decode(message, SPECIFICATIONS[encoding, padding])
    except iso8583.DecodeError as error:
        raise _refusal(error.field, error.msg) from None
    except KeyError as error:
        expected = "a field of ISO 8583:1987"
        raise MessageError("unknown field", where=f"field {error.args[0]}", expected=expected, got="another") from None
    present = fields.keys()
    if encoding != "bcd":
        lengths = b"".join([written[number]["len"] for number in present & _VARIABLE])
        if lengths and not lengths.isdigit():
            _name_bad_length(written)
    if not "".join([fields[number] for number in present & NUMERIC]).isdecimal():  # Latin-1 has no other decimals
        _name_bad_digits(fields)
    if _CONTROL.search("".join([fields[number] for number in _TEXTS if number in fields])) is not None:
        _name_bad_text(fields)
    for number in DROPPED:
        fields.pop(number, None)
    return fields


def expected_of(number: str) -> str:
    """Return what a field should hold, in words."""
    match = _KIND.fullmatch(FIELDS.get(number, ""))
    if match is None:
        return {"t": "4 digits", "p": "8 bytes", "1": "8 bytes"}.get(number, "a field of ISO 8583:1987")
    unit = {"n": "digits", "b": "bytes", "z": "digits of a track"}.get(match[1], "characters")
    return f"{'at most ' if match[2] else ''}{match[3]} {unit}"


def _refusal(field: str, message: str) -> MessageError:
    """Return the library's complaint without what it carries: the message itself."""
    if message.startswith("Extra data"):
        return MessageError("message is longer than its fields", where=f"field {field}", expected="its end", got="more")
    name = {"t": "message type", "p": "bitmap", "1": "second bitmap"}.get(field, f"field {field}")
    what = "field has a wrong length" if "bytes" in message or "nibbles" in message else "field cannot be read"
    return MessageError(what, where=name, expected=expected_of(field), got=message[:1].lower() + message[1:])


def _name_bad_length(written: Mapping[str, Mapping[str, bytes]]) -> None:
    for number, parts in written.items():
        if parts["len"] and not parts["len"].isdigit():
            raise MessageError("length is not a number", where=f"field {number}", expected="digits", got="others")


def _name_bad_digits(fields: Mapping[str, str]) -> None:
    for number, value in fields.items():
        if number in NUMERIC and value and not value.isdecimal():
            got = f"{len(value)} characters, others among them"
            raise MessageError("not a number", where=f"field {number}", expected=expected_of(number), got=got)


def _name_bad_text(fields: Mapping[str, str]) -> None:
    for number in _TEXTS:
        if _CONTROL.search(fields.get(number, "")) is not None:
            raise MessageError("control character", where=f"field {number}", expected="text", got="another character")
