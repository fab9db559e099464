"""CSV: a payment in plain values in each row.

Without a mapping the first row names a column for each key of `chainnode.ingest.payment_lines`; commas or semicolons,
UTF-8, quotes as in RFC 4180. A mapping (`chainnode.ingest.csv_mapping`) tells what the columns of any other file mean.
The message key of a payment is the digest of its plain values, so neither names nor order of columns, nor how numbers
and dates are written, make another payment of it.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Mapping

from chainnode.ingest.context import IngestContext
from chainnode.ingest.csv_mapping import CsvMapping
from chainnode.ingest.drafts import Ingested, statement_draft
from chainnode.ingest.errors import FormatError, LeavesOut, nothing_left_out, shown_names
from chainnode.ingest.jsonl import FILE_SIZE_MAX, LINES_MAX, object_digest, object_text
from chainnode.ingest.payment_lines import COLUMNS, REQUIRED, plain_payment
from chainnode.ingest.statements import statement_for
from primitives.errors import InputError

PIECE_BYTES = 1024 * 1024
_DELIMITERS = ",;\t|"
PLAIN = CsvMapping({name: (name,) for name in COLUMNS}, {}, {})


def header_of(data: bytes) -> list[str]:
    """Return the column names of a CSV file's first line, without judging them."""
    first = data.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    return [name.strip().strip('"') for name in first.split(_delimiter(first))]


def _delimiter(first_line: str) -> str:
    return max(_DELIMITERS, key=first_line.count)  # the first of them where there is none at all


def parse_csv(
    data: bytes,
    context: IngestContext,
    *,
    where: str,
    leaves_out: LeavesOut = nothing_left_out,
    mapping: CsvMapping | None = None,
) -> Ingested:
    """Return a draft for each row; a bad row refuses the file, or is left out and reported (`leaves_out`)."""
    if len(data) > FILE_SIZE_MAX or data.count(b"\n") > LINES_MAX:
        raise FormatError(
            "file too large", where=where, expected=f"{FILE_SIZE_MAX} bytes, {LINES_MAX} lines", got="more"
        )
    used = PLAIN if mapping is None else mapping
    _check_text(data, used.codec, where)
    text = io.TextIOWrapper(io.BytesIO(data), encoding=used.codec, newline="")
    first = text.readline()
    text.seek(0)
    rows = csv.reader(text, delimiter=used.delimiter or _delimiter(first), strict=True)
    ingested, kept = Ingested("csv"), []
    try:
        width, places = _layout(next(rows, []) if used.header else None, mapping, where)
        for row in rows:
            if row:
                kept.append(
                    _add_row(ingested, row, width, places, used, context, f"{where}:{rows.line_num}", leaves_out)
                )
    except csv.Error as error:
        raise FormatError("malformed CSV", where=f"{where}:{rows.line_num}", expected="RFC 4180", got=error) from None
    ingested.kept = b"\n".join(kept)
    return ingested


def _layout(header: list[str] | None, mapping: CsvMapping | None, where: str) -> tuple[int, dict[str, list[int]]]:
    """Return how many values a row has (-1 for any number) and where those of each field stand in it."""
    if header is None:
        assert mapping is not None, "files without header have a mapping"
        return -1, {key: [int(name) - 1 for name in names] for key, names in mapping.columns.items()}
    names = [name.strip() for name in header]
    return len(names), _plain_places(names, where) if mapping is None else _places(names, mapping, where)


def _check_text(data: bytes, codec: str, where: str) -> None:
    """Raise FormatError where the file is not in its encoding; piece by piece, so that a large one is read once."""
    decoder = codecs.getincrementaldecoder(codec)()
    for start in range(0, len(data), PIECE_BYTES):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(data[start : start + PIECE_BYTES], start + PIECE_BYTES >= len(data))
        except UnicodeError as error:  # of UTF-16 without its mark it is not a UnicodeDecodeError
            at = max(0, start - pending + getattr(error, "start", 0))
            name = "utf-8" if codec == "utf-8-sig" else codec
            raise FormatError(
                f"not {name.upper()}",
                where=f"{where}:{data.count(10, 0, at) + 1}",
                expected=f"{name.upper()} text",
                got=f"a bad byte at {at}",
                hint="name the encoding in a mapping",
            ) from None


def _add_row(
    ingested: Ingested,
    row: list[str],
    width: int,
    places: Mapping[str, list[int]],
    mapping: CsvMapping,
    context: IngestContext,
    where: str,
    leaves_out: LeavesOut,
) -> bytes:
    """Add a row's statement, and return the message that it is: what its digest covers; empty where it is left out."""
    try:
        value = mapping.plain(_named(row, width, places, where), where)
        payment = plain_payment(value, context, object_digest(value), where=where)
        ingested.drafts.append(statement_draft(statement_for(payment, context), where))
        return object_text(value).encode()
    except InputError as error:
        told = _with_column(error, mapping, where)
        if not leaves_out(told):
            raise told from None
        ingested.refuse(told)
        return b""


def _plain_places(names: list[str], where: str) -> dict[str, list[int]]:
    """Return where each column stands in a file whose columns have our names and no others."""
    unknown, missing = sorted(set(names) - COLUMNS), sorted(REQUIRED - set(names))
    if unknown or missing or len(set(names)) != len(names):
        expected = (
            "columns " + ", ".join(sorted(REQUIRED)) + " and no others than " + ", ".join(sorted(COLUMNS - REQUIRED))
        )
        # Where names are missing this may be no header but a row, and a row is private.
        got = f"{len(names)} others" if missing else shown_names(unknown or names)
        hint = "or say with --mapping what its columns mean"
        raise FormatError("wrong columns", where=f"{where}:1", expected=expected, got=got, hint=hint)
    return {name: [at] for at, name in enumerate(names)}


def _places(names: list[str], mapping: CsvMapping, where: str) -> dict[str, list[int]]:
    """Return where the columns of each field stand; FormatError for one that is not there, or twice."""
    for key, wanted in mapping.columns.items():
        for name in wanted:
            if names.count(name) != 1:
                raise FormatError(
                    "column missing" if name not in names else "column repeated",
                    where=f"{where}:1",
                    expected=f"one column {name!r}, which the mapping gives for {key}",
                    got=f"{names.count(name)} among {len(names)} columns",
                    hint="mind the mapping's delimiter and encoding too",
                )
    return {key: [names.index(name) for name in wanted] for key, wanted in mapping.columns.items()}


def _named(row: list[str], width: int, places: Mapping[str, list[int]], where: str) -> dict[str, str]:
    if width >= 0 and len(row) != width:
        raise FormatError("row of a wrong length", where=where, expected=f"{width} values", got=len(row))
    last = max(at for found in places.values() for at in found)
    if len(row) <= last:
        raise FormatError("row of a wrong length", where=where, expected=f"at least {last + 1} values", got=len(row))
    return {key: " ".join(row[at].strip() for at in found).strip() for key, found in places.items()}


def _with_column(error: InputError, mapping: CsvMapping, where: str) -> InputError:
    """Return the error with the column that its field is read from, in the words of the file."""
    key = (error.where or "").removeprefix(f"{where}: ")
    names = mapping.columns.get(key)
    if names is None or names == (key,):
        return error
    place = f"{where}: {'column' if mapping.header else 'column number'} {' and '.join(names)} ({key})"
    return type(error)(error.what, where=place, expected=error.expected, got=error.got, hint=error.hint)
