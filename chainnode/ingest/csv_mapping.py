"""What columns of a bank's own CSV file mean: a small file in TOML or JSON that is written once for each export.

    encoding = "gb18030"          # utf-8 unless said: also gb18030, gbk, utf-16, latin-1, windows-1252
    delimiter = ";"               # found in the first line unless said; "tab" is a word for it
    decimal = ","                 # "." unless said
    thousands = "."               # none unless said
    amounts = "minor"             # whole numbers of the smallest unit; "major" unless said
    date = "DD.MM.YYYY"           # YYYY-MM-DD unless said
    time = "DD.MM.YYYY hh:mm:ss"  # RFC 3339 unless said
    offset = "+08:00"             # of times that have none; the node's own unless said
    header = false                # columns are then given by number, from 1

    [columns]                     # our field = their column, or columns that are joined by a blank
    amount = "Betrag"
    time = ["Datum", "Uhrzeit"]

    [constants]                   # what holds for every row
    currency = "CNY"

    [values.status]               # their word = ours
    gebucht = "settled"

Fields are those of `chainnode.ingest.payment_lines`. Columns that are not named here are not read.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chainnode.ingest.errors import FormatError, shape_of
from chainnode.ingest.json_text import parse_object
from chainnode.ingest.payment_lines import COLUMNS, REQUIRED
from ledger.currencies import decimal_text, exponent_of
from primitives.errors import InputError

MAPPING_BYTES_MAX = 64 * 1024
COLUMN_NAME_LENGTH_MAX = 200
COLUMNS_JOINED_MAX = 4
VALUES_MAX = 1_000
FORMAT_LENGTH_MAX = 40
ENCODINGS = {
    "utf-8": "utf-8-sig",
    "utf8": "utf-8-sig",
    "gb18030": "gb18030",
    "gbk": "gb18030",  # GB 18030 contains both of its elders
    "gb2312": "gb18030",
    "utf-16": "utf-16",
    "latin-1": "iso-8859-1",
    "iso-8859-1": "iso-8859-1",
    "windows-1252": "cp1252",
}
_DELIMITERS = {",": ",", ";": ";", "|": "|", "\t": "\t", "tab": "\t"}
_TOKENS = {"YYYY": "year", "MM": "month", "DD": "day", "hh": "hour", "mm": "minute", "ss": "second"}
_TOKEN = re.compile("|".join(_TOKENS))
_DAY = ("YYYY", "MM", "DD")
_OFFSET = re.compile(r"[+-](?:0[0-9]|1[0-4]):[0-5][0-9]")
_WORDS = ("encoding", "delimiter", "decimal", "thousands", "amounts", "date", "time", "offset")
_KEYS = frozenset({*_WORDS, "header", "columns", "constants", "values"})
_MINOR = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CsvMapping:
    """How a row becomes named values: which columns each field is of, and how they write numbers and times.

    `columns` gives names, or numbers from 1 in a file without header. `day` and `moment` are None for ISO's own forms.
    """

    columns: Mapping[str, tuple[str, ...]]
    constants: Mapping[str, str]
    values: Mapping[str, Mapping[str, str]]
    codec: str = "utf-8-sig"
    delimiter: str = ""
    decimal: str = "."
    thousands: str = ""
    minor: bool = False
    day: re.Pattern[str] | None = None
    moment: re.Pattern[str] | None = None
    offset: str = ""
    header: bool = True

    def plain(self, row: Mapping[str, str], where: str) -> dict[str, str]:
        """Return a row, by field, as plain values are written; InputError names the field, and shows no value."""
        value = dict(self.constants)
        for key, words in self.values.items():
            if key in row:
                row = {**row, key: _known(row[key], words, f"{where}: {key}")}
        for key, text in row.items():
            if not text:
                continue
            place = f"{where}: {key}"
            if key == "settlement_date" and self.day is not None:
                value[key] = _iso(self.day, text, place)[:10]
            elif key == "time":
                value[key] = text if self.moment is None else _iso(self.moment, text, place)
                if self.offset and not _has_offset(value[key]):
                    value[key] += self.offset
            elif key != "amount":
                value[key] = text
        if row.get("amount"):  # last: the currency tells how many decimals there are
            value["amount"] = self._amount(row["amount"], value.get("currency", ""), f"{where}: amount")
        return value

    def _amount(self, text: str, currency: str, where: str) -> str:
        """Return an amount with a decimal point, as its currency has it; what it is else is judged where it is read."""
        if self.minor:
            if _MINOR.fullmatch(text) is None:
                raise InputError(
                    "amount is not a whole number", where=where, expected="digits of minor units", got=shape_of(text)
                )
            exponent_of(currency, where=where.replace(": amount", ": currency"))
            return decimal_text(int(text), currency)
        if self.decimal == "." and not self.thousands:
            return text
        whole, sign, fraction = text.partition(self.decimal)
        if self.thousands and self.thousands in whole:
            groups = whole.split(self.thousands)
            if not 1 <= len(groups[0]) <= 3 or any(len(group) != 3 for group in groups[1:]):
                expected = f"groups of three digits with {self.thousands!r} between them"
                raise InputError("amount grouped wrongly", where=where, expected=expected, got=shape_of(text))
            whole = "".join(groups)
        if not (whole.isascii() and whole.isdigit()) or (sign and not (fraction.isascii() and fraction.isdigit())):
            expected = f"digits with {self.decimal!r} before the decimals" + (
                f" and {self.thousands!r} between thousands" if self.thousands else ""
            )
            raise InputError("amount is not a decimal number", where=where, expected=expected, got=shape_of(text))
        return f"{whole}.{fraction}" if sign else whole


def _known(text: str, words: Mapping[str, str], where: str) -> str:
    if text in words:
        return words[text]
    expected = ", ".join(words)
    hint = "add the word to the mapping"
    raise InputError("word not in the mapping", where=where, expected=expected, got=shape_of(text), hint=hint)


def _iso(pattern: re.Pattern[str], text: str, where: str) -> str:
    match = pattern.fullmatch(text)
    if match is None:
        raise InputError("not of the mapping's form", where=where, expected=_written(pattern), got=shape_of(text))
    part = {"hour": "00", "minute": "00", "second": "00"} | match.groupdict()
    return "{year}-{month}-{day}T{hour}:{minute}:{second}".format(**part)


def _written(pattern: re.Pattern[str]) -> str:
    """Return the form as the mapping gives it."""
    text = pattern.pattern
    for token, name in _TOKENS.items():
        text = text.replace(_group(token, name), token)
    return re.sub(r"\\(.)", r"\1", text)


def _group(token: str, name: str) -> str:
    return f"(?P<{name}>[0-9]{{{len(token)}}})"


def _has_offset(text: str) -> bool:
    return text.endswith("Z") or re.search(r"[+-][0-9]{2}:[0-9]{2}\Z", text) is not None


def read_mapping(data: bytes, *, where: str) -> CsvMapping:
    """Return the mapping that a TOML or JSON file holds; FormatError or JsonError tells what is wrong with it."""
    value = _object(data, where)
    unknown = sorted(set(value) - _KEYS)
    if unknown:
        raise _wrong("unknown key", where, ", ".join(sorted(_KEYS)), repr(unknown[0]))
    columns = {
        key: _columns(entry, f"{where}: columns.{key}") for key, entry in _table(value, "columns", where).items()
    }
    constants = {
        key: _text(entry, f"{where}: constants.{key}") for key, entry in _table(value, "constants", where).items()
    }
    words = _table(value, "values", where)
    _check_fields(columns, constants, words, where)
    header = value.get("header", True)
    if not isinstance(header, bool):
        raise _wrong("header", where, "true or false", type(header).__name__)
    if not header and any(not name.isdigit() or int(name) < 1 for names in columns.values() for name in names):
        raise _wrong("columns of a file without header", where, "numbers from 1", "names")
    said = {key: _text(value[key], f"{where}: {key}") for key in _WORDS if key in value}
    decimal, thousands = said.get("decimal", "."), said.get("thousands", "")
    if decimal not in (".", ","):
        raise _wrong("decimal", where, '"." or ","', repr(decimal))
    if thousands not in ("", ".", ",", " ", "'", "\u00a0", "\u202f") or thousands == decimal:
        raise _wrong("thousands", where, "a point, comma, blank or apostrophe, another than decimal", repr(thousands))
    if said.get("offset", "") and _OFFSET.fullmatch(said["offset"]) is None:
        raise _wrong("offset", where, "such as +08:00", repr(said["offset"]))
    return CsvMapping(
        columns=columns,
        constants=constants,
        values={key: _dictionary(entry, f"{where}: values.{key}") for key, entry in words.items()},
        codec=_choice(said, "encoding", "utf-8", ENCODINGS, where),
        delimiter=_choice(said, "delimiter", "", {"": "", **_DELIMITERS}, where),
        decimal=decimal,
        thousands=thousands,
        minor=_choice(said, "amounts", "major", {"major": "", "minor": "minor"}, where) == "minor",
        day=_form(said.get("date"), f"{where}: date"),
        moment=_form(said.get("time"), f"{where}: time"),
        offset=said.get("offset", ""),
        header=header,
    )


def _object(data: bytes, where: str) -> dict[str, Any]:  # Any: what TOML or JSON gives
    if len(data) > MAPPING_BYTES_MAX:
        raise _wrong("too large", where, f"at most {MAPPING_BYTES_MAX} bytes", str(len(data)))
    if data.lstrip().startswith(b"{"):
        return parse_object(data, where=where, size_max=MAPPING_BYTES_MAX)
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _wrong("not UTF-8", where, "TOML or JSON in UTF-8", f"a bad byte at {error.start}") from None
    except (ValueError, RecursionError) as error:  # of numbers without end it is not a TOMLDecodeError
        raise _wrong("malformed", where, "TOML or JSON", str(error)) from None


def _check_fields(
    columns: Mapping[str, Any], constants: Mapping[str, Any], words: Mapping[str, Any], where: str
) -> None:
    """Raise FormatError for a field that there is not, is given twice, or that every payment needs (Any: unread)."""
    for key in (*columns, *constants, *words):
        if key not in COLUMNS:
            raise _wrong("unknown field", where, ", ".join(sorted(COLUMNS)), repr(key))
    twice = sorted(set(columns) & set(constants))
    if twice:
        raise _wrong("field given twice", where, "a column or a constant", repr(twice[0]))
    missing = sorted(REQUIRED - set(columns) - set(constants))
    if missing:
        raise _wrong("field missing", where, ", ".join(sorted(REQUIRED)), f"none for {', '.join(missing)}")
    loose = sorted(set(words) - set(columns))
    if loose:
        raise _wrong("words for a field without column", where, "a line for it in [columns]", repr(loose[0]))


def _table(value: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:  # Any: what TOML or JSON gives
    found = value.get(key, {})
    if not isinstance(found, dict) or len(found) > len(COLUMNS):
        raise _wrong(key, where, f"a table of at most {len(COLUMNS)} fields", type(found).__name__)
    return found


def _dictionary(value: Any, where: str) -> dict[str, str]:  # Any: what TOML or JSON gives
    if not isinstance(value, dict) or not 1 <= len(value) <= VALUES_MAX:
        raise _wrong("words", where, f"a table of 1 to {VALUES_MAX} words", type(value).__name__)
    return {key: _text(entry, where) for key, entry in value.items()}


def _text(value: Any, where: str) -> str:  # Any: what TOML or JSON gives
    if not isinstance(value, str) or len(value) > COLUMN_NAME_LENGTH_MAX:
        raise _wrong("wrong value", where, f"a text of at most {COLUMN_NAME_LENGTH_MAX}", type(value).__name__)
    return value


def _columns(value: Any, where: str) -> tuple[str, ...]:  # Any: what TOML or JSON gives
    names = value if isinstance(value, list) else [value]
    if not 1 <= len(names) <= COLUMNS_JOINED_MAX:
        raise _wrong("columns", where, f"1 to {COLUMNS_JOINED_MAX}", str(len(names)))
    texts = tuple(str(name) if type(name) is int else _text(name, where) for name in names)
    if not all(texts):
        raise _wrong("column without name", where, "a name, or a number from 1", "none")
    return texts


def _choice(said: Mapping[str, str], key: str, default: str, known: Mapping[str, str], where: str) -> str:
    word = said.get(key, default)
    found = known.get(word.lower())
    if found is None:
        raise _wrong(key, where, ", ".join(repr(name) for name in known if name), repr(word))
    return found


def _form(text: str | None, where: str) -> re.Pattern[str] | None:
    """Return the pattern of dates or times that are written in this form."""
    if text is None:
        return None
    tokens = _TOKEN.findall(text)
    if len(text) > FORMAT_LENGTH_MAX or len(set(tokens)) != len(tokens) or not set(tokens) >= set(_DAY):
        raise _wrong(
            "form of dates or times", where, "YYYY, MM, DD and for times hh, mm, ss, each once", repr(text[:40])
        )
    pattern = "".join(
        _group(part, _TOKENS[part]) if part in _TOKENS else re.escape(part)
        for part in re.split(f"({_TOKEN.pattern})", text)
        if part
    )
    return re.compile(pattern)


def _wrong(what: str, where: str, expected: str, got: str) -> FormatError:
    hint = "docs/payment-formats.md shows a mapping"
    return FormatError(f"mapping: {what}", where=where, expected=expected, got=got, hint=hint)
