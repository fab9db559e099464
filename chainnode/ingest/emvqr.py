"""EMVCo merchant-presented QR payloads: parse, check and build.

Here: the text inside of a QR code. Not here: images, and how a payload becomes a payment (`chainnode.ingest.qr_lines`),
for a code names neither payer nor time. Source: EMV QR Code Specification for Payment Systems, Merchant-Presented
Mode 1.1. A payload is a sequence of data objects: two digits of id, two digits of length in *characters*, value.
The first is 00, the last is the CRC (63), which covers the UTF-8 bytes of everything before its own value.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from chainnode.ingest.errors import QrError, located
from ledger.currencies import CODES, NUMBERS, decimal_text, minor_units
from primitives.errors import InputError

PAYLOAD_CHARACTERS_MAX = 1024  # EMVCo advises 512; text in other scripts and added templates go beyond
VALUE_CHARACTERS_MAX = 99
MEMORY_ENTRIES = 8_192
GLOBAL_ID_CHARACTERS_MAX = 32
AMOUNT_CHARACTERS_MAX = 13

FORMAT, INITIATION = "00", "01"
UNIONPAY = "15"
CATEGORY, CURRENCY, AMOUNT = "52", "53", "54"
TIP, TIP_FIXED, TIP_PERCENT = "55", "56", "57"
COUNTRY, NAME, CITY, POSTAL = "58", "59", "60", "61"
ADDITIONAL, CRC, LANGUAGE = "62", "63", "64"
REFERENCE_LABEL, TERMINAL_LABEL = "05", "07"

_CRC_HEAD = CRC + "04"
_SMALLEST = len("000201") + len(_CRC_HEAD) + 4
_ACCOUNTS = frozenset(f"{number:02d}" for number in range(2, 52))
_TEMPLATES = frozenset(f"{number:02d}" for number in (*range(26, 52), 62, 64, *range(80, 100)))
_TIPS = frozenset({TIP, TIP_FIXED, TIP_PERCENT})
# Every beginning of a data object: what it names, and how long it says it is.
_HEADS = {
    f"{at:02d}{size:02d}": (f"{at:02d}", size) for at in range(100) for size in range(1, VALUE_CHARACTERS_MAX + 1)
}
_MANDATORY = (FORMAT, CATEGORY, CURRENCY, COUNTRY, NAME, CITY)
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UNIONPAY_ACCOUNT = re.compile("[0-9A-Za-z]{31}")
_RULES: dict[str, tuple[re.Pattern[str], str]] = {
    FORMAT: (re.compile("01"), "01"),
    UNIONPAY: (_UNIONPAY_ACCOUNT, "31 characters: acquirer (8), forwarder (8), merchant (15)"),
    INITIATION: (re.compile("1[12]"), "11 (static) or 12 (dynamic)"),
    CATEGORY: (re.compile("[0-9]{4}"), "4 digits"),
    CURRENCY: (re.compile("[0-9]{3}"), "3 digits"),
    AMOUNT: (re.compile(rf"(?=.{{1,{AMOUNT_CHARACTERS_MAX}}}\Z)[0-9]+(?:\.[0-9]*)?"), "at most 13 digits and a point"),
    TIP: (re.compile("0[123]"), "01, 02 or 03"),
    TIP_FIXED: (re.compile(rf"(?=.{{1,{AMOUNT_CHARACTERS_MAX}}}\Z)[0-9]+(?:\.[0-9]*)?"), "an amount"),
    TIP_PERCENT: (re.compile(r"(?:[0-9]{1,2}(?:\.[0-9]{1,2})?|100|100\.00?)"), "00.01 to 99.99"),
    COUNTRY: (re.compile("[A-Z]{2}"), "2 capital letters"),
    NAME: (re.compile(r".{1,25}", re.DOTALL), "1 to 25 characters"),
    CITY: (re.compile(r".{1,15}", re.DOTALL), "1 to 15 characters"),
    POSTAL: (re.compile(r".{1,10}", re.DOTALL), "1 to 10 characters"),
    CRC: (re.compile("[0-9A-Fa-f]{4}"), "4 hex digits"),
}


@dataclass(frozen=True, slots=True)
class QrCode:
    """A checked payload: its data objects by id, templates by id and inner id.

    `amount_minor` is None where the payer enters the amount; the merchant's name stays out of the repr.
    """

    objects: Mapping[str, str] = field(repr=False)
    templates: Mapping[str, Mapping[str, str]] = field(repr=False)
    currency: str
    amount_minor: int | None = field(repr=False)

    @property
    def amount_text(self) -> str | None:
        """The amount as the payload gives it, None where it gives none."""
        return self.objects.get(AMOUNT)

    @property
    def merchant_name(self) -> str:
        """The merchant's name."""
        return self.objects[NAME]

    @property
    def merchant_accounts(self) -> dict[str, str]:
        """The accounts by which payment systems know the merchant, by id: 15 is UnionPay's."""
        return {number: value for number, value in self.objects.items() if number in _ACCOUNTS}


def crc_of(text: str) -> str:
    """Return CRC-16/CCITT-FALSE of the UTF-8 bytes of `text` as 4 capital hex digits."""
    return _crc(text.encode())


def _crc(written: bytes) -> str:
    return f"{binascii.crc_hqx(written, 0xFFFF):04X}"


def parse_qr(payload: str, *, where: str = "QR payload") -> QrCode:
    """Return the checked content of a payload; QrError says which data object is wrong, expected and got."""
    try:
        return _parse(payload)
    except InputError as error:
        raise located(error if isinstance(error, QrError) else _as_qr_error(error), where) from None


def _parse(payload: str) -> QrCode:
    if not _SMALLEST <= len(payload) <= PAYLOAD_CHARACTERS_MAX:
        expected = f"{_SMALLEST} to {PAYLOAD_CHARACTERS_MAX} characters"
        raise QrError("payload of a wrong length", expected=expected, got=len(payload))
    try:
        written = payload.encode()
    except UnicodeEncodeError:
        raise QrError("payload is not text", expected="Unicode characters", got="half of a surrogate pair") from None
    if not payload.isprintable() and _UNPRINTABLE.search(payload):
        raise QrError("control character", expected="text", got="a character that none can see")
    if not payload.startswith(FORMAT + "02"):
        raise QrError("payload has another beginning", expected="the format indicator 000201", got="another")
    objects = parse_objects(payload)
    if next(reversed(objects)) != CRC or len(objects[CRC]) != 4:
        raise QrError("payload has no CRC at its end", expected="6304 and 4 hex digits", got="another end")
    computed = _crc(written[: -len(objects[CRC].encode())])
    if objects[CRC].upper() != computed:
        raise QrError("CRC does not match", where="63", expected=computed, got=objects[CRC])
    _check_objects(objects)
    templates = {number: _template(number, value) for number, value in objects.items() if number in _TEMPLATES}
    currency = _currency(objects[CURRENCY])
    return QrCode(objects, templates, currency, _amount(objects.get(AMOUNT), currency, AMOUNT))


def parse_objects(text: str) -> dict[str, str]:
    """Return the data objects of a payload or template by id, in their order; QrError where they do not fill it."""
    objects: dict[str, str] = {}
    start, position, end, count = 0, 0, len(text), 0
    while position < end:
        start = position + 4
        head = _HEADS.get(text[position:start])
        if head is None:
            raise _bad_object(text, position)
        number, length = head
        position = start + length
        objects[number] = text[start:position]
        count += 1
    if position > end:
        raise _bad_object(text, start - 4)
    if len(objects) != count:
        raise _repeated_object(text)
    return objects


def _bad_object(text: str, position: int) -> QrError:
    """Return what is wrong with the data object at `position`."""
    head = text[position : position + 4]
    if len(head) < 4 or not (head.isascii() and head.isdigit()):
        expected = "2 digits of id and 2 of length"
        return QrError("malformed data object", where=f"character {position}", expected=expected, got="something else")
    length, place = int(head[2:]), f"{head[:2]} at {position}"
    expected = f"{length} characters" if length else "1 to 99 characters"
    return QrError(
        "data object cut short", where=place, expected=expected, got=len(text[position + 4 :]) if length else 0
    )


def _repeated_object(text: str) -> QrError:
    """Return which data object of a well-formed text stands there twice."""
    seen, position = set[str](), 0
    while (number := text[position : position + 2]) not in seen:
        seen.add(number)
        position += 4 + int(text[position + 2 : position + 4])
    return QrError("data object repeated", where=f"{number} at {position}", expected="each id once", got=number)


def _check_objects(objects: Mapping[str, str]) -> None:
    if not _are_plain(objects):
        _name_bad_object(objects)


def _are_plain(objects: Mapping[str, str]) -> bool:
    """Return whether objects keep `_RULES`, as far as that shows without its patterns: nearly always."""
    get = objects.get
    amount = get(AMOUNT, "1")
    return (
        _are_good_codes(objects[FORMAT], get(INITIATION), get(CATEGORY), get(CURRENCY), get(COUNTRY))
        and len(amount) <= AMOUNT_CHARACTERS_MAX
        and amount[0] != "."
        and amount.isascii()
        and amount.replace(".", "", 1).isdecimal()
        and 0 < len(get(NAME, "")) <= 25
        and 0 < len(get(CITY, "")) <= 15
        and (POSTAL not in objects or len(objects[POSTAL]) <= 10)
        and (UNIONPAY not in objects or _UNIONPAY_ACCOUNT.fullmatch(objects[UNIONPAY]) is not None)
        and not _ACCOUNTS.isdisjoint(objects)
        and _TIPS.isdisjoint(objects)
    )


@lru_cache(maxsize=MEMORY_ENTRIES)
def _are_good_codes(*codes: str | None) -> bool:
    """Return whether format, initiation, category, currency and country are well formed, remembered: they are few."""
    found = zip((FORMAT, INITIATION, CATEGORY, CURRENCY, COUNTRY), codes, strict=True)
    return codes[3] in CODES and all(
        number == INITIATION if code is None else _RULES[number][0].fullmatch(code) is not None
        for number, code in found
    )


def _name_bad_object(objects: Mapping[str, str]) -> None:
    """Raise QrError for the first rule that is not kept."""
    for number in _MANDATORY:
        if number not in objects:
            raise QrError("mandatory data object missing", where=number, expected=f"id {number}", got="none")
    if _ACCOUNTS.isdisjoint(objects):
        raise QrError("no merchant account", where="02 to 51", expected="at least one", got="none")
    for number, (pattern, expected) in _RULES.items():
        value = objects.get(number)
        if value is not None and pattern.fullmatch(value) is None:
            raise QrError("malformed value", where=number, expected=expected, got=f"{len(value)} characters")
    tip = objects.get(TIP)
    for number, needed in ((TIP_FIXED, "02"), (TIP_PERCENT, "03")):
        if (number in objects) != (tip == needed):
            raise QrError(
                "tip does not fit its indicator",
                where=number,
                expected=f"{number} if and only if 55 is {needed}",
                got=tip,
            )


def _template(number: str, value: str) -> dict[str, str]:
    """Return the data objects inside of a template, with those that its id asks for."""
    try:
        inner = parse_objects(value)
    except QrError as error:
        raise located(error, number) from None
    if number == LANGUAGE:
        _check_language(inner)
    elif number != ADDITIONAL:
        identifier = inner.get("00", "")
        if not 1 <= len(identifier) <= GLOBAL_ID_CHARACTERS_MAX:
            expected = f"a globally unique identifier (00) of 1 to {GLOBAL_ID_CHARACTERS_MAX} characters"
            raise QrError("template names nobody", where=number, expected=expected, got=len(identifier))
    return inner


def _check_language(inner: Mapping[str, str]) -> None:
    if len(inner.get("00", "")) != 2 or not 1 <= len(inner.get("01", "")) <= 25 or len(inner.get("02", "")) > 15:
        expected = "language (00, 2 letters), name (01, at most 25) and perhaps city (02, at most 15)"
        raise QrError("malformed language template", where=LANGUAGE, expected=expected, got=", ".join(inner))


def _currency(number: str) -> str:
    code = CODES.get(number)
    if code is None:
        raise QrError("unknown currency", where=CURRENCY, expected="an ISO 4217 number such as 156", got=number)
    return code


def _amount(text: str | None, currency: str, where: str) -> int | None:
    if text is None:
        return None
    minor = minor_units(text, currency, where=where)
    if minor == 0:
        raise QrError("amount is zero", where=where, expected="an amount above zero, or none at all", got=text)
    return minor


def _as_qr_error(error: InputError) -> QrError:
    return QrError(error.what, where=error.where, expected=error.expected, got=error.got)


def build_qr(
    *,
    accounts: Mapping[str, str | Sequence[tuple[str, str]]],
    category: str,
    currency: str,
    country: str,
    name: str,
    city: str,
    amount_minor: int | None = None,
    additional: Sequence[tuple[str, str]] = (),
    language: tuple[str, str, str] | None = None,
    others: Mapping[str, str | Sequence[tuple[str, str]]] | None = None,
) -> str:
    """Return a payload with its CRC; it is parsed again before it is given out, so QrError shows what is wrong.

    `accounts` (02 to 51) and `others` give a value or the inner objects of a template; `language` is language, name
    and city in another script. A payload with an amount is dynamic (12), one without is static (11).
    """
    if currency not in NUMBERS:
        raise QrError("unknown currency", where=CURRENCY, expected="an ISO 4217 code such as CNY", got=repr(currency))
    parts = {FORMAT: "01", INITIATION: "11" if amount_minor is None else "12"}
    parts.update({number: _joined(value) for number, value in sorted(accounts.items())})
    parts.update({CATEGORY: category, CURRENCY: NUMBERS[currency]})
    if amount_minor is not None:
        parts[AMOUNT] = decimal_text(amount_minor, currency)
    later = {number: _joined(value) for number, value in (others or {}).items()}
    parts.update({number: value for number, value in sorted(later.items()) if number < COUNTRY})
    parts.update({COUNTRY: country, NAME: name, CITY: city})
    if additional:
        parts[ADDITIONAL] = _joined(additional)
    if language is not None:
        parts[LANGUAGE] = _joined(tuple(zip(("00", "01", "02"), language, strict=True)))
    parts.update({number: value for number, value in sorted(later.items()) if number > COUNTRY})
    body = _joined(tuple(parts.items())) + _CRC_HEAD
    payload = body + crc_of(body)
    parse_qr(payload)
    return payload


def _joined(value: str | Sequence[tuple[str, str]]) -> str:
    """Return a value as it is, or data objects in their written form."""
    if isinstance(value, str):
        return value
    for number, text in value:
        if not 1 <= len(text) <= VALUE_CHARACTERS_MAX:
            expected = f"1 to {VALUE_CHARACTERS_MAX} characters"
            raise QrError("value of a wrong length", where=number, expected=expected, got=len(text))
    return "".join(f"{number}{len(text):02d}{text}" for number, text in value)
