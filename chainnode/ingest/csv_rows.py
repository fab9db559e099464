"""CSV: payments in plain values, a column for each key of `chainnode.ingest.payment_lines`.

The first row names the columns; commas or semicolons, UTF-8, quotes as in RFC 4180. Mapping other column names to
ours is not done here.
"""

from __future__ import annotations

import csv
import io

from chainnode.ingest.context import IngestContext
from chainnode.ingest.drafts import Ingested, statement_draft
from chainnode.ingest.errors import FormatError
from chainnode.ingest.jsonl import FILE_SIZE_MAX, LINES_MAX, object_digest
from chainnode.ingest.payment_lines import COLUMNS, REQUIRED, plain_payment
from chainnode.ingest.statements import statement_for
from primitives.errors import InputError


def header_of(data: bytes) -> list[str]:
    """Return the column names of a CSV file's first line, without judging them."""
    first = data.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    return [name.strip().strip('"') for name in first.split(_delimiter(first))]


def _delimiter(first_line: str) -> str:
    return ";" if first_line.count(";") > first_line.count(",") else ","


def parse_csv(data: bytes, context: IngestContext, *, where: str, skip_bad: bool = False) -> Ingested:
    """Return a draft for each row; a bad row refuses the file, or with `skip_bad` is left out and reported."""
    if len(data) > FILE_SIZE_MAX or data.count(b"\n") > LINES_MAX:
        raise FormatError(
            "file too large", where=where, expected=f"{FILE_SIZE_MAX} bytes, {LINES_MAX} lines", got="more"
        )
    names = header_of(data)
    unknown, missing = sorted(set(names) - COLUMNS), sorted(REQUIRED - set(names))
    if unknown or missing or len(set(names)) != len(names):
        expected = (
            "columns " + ", ".join(sorted(REQUIRED)) + " and no others than " + ", ".join(sorted(COLUMNS - REQUIRED))
        )
        # Where names are missing this may be no header but a row, and a row is private.
        got = f"{len(names)} others" if missing else ", ".join(names)
        raise FormatError("wrong columns", where=f"{where}:1", expected=expected, got=got)
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        raise FormatError("not UTF-8", where=where, expected="UTF-8 text", got=f"a bad byte at {error.start}") from None
    rows = csv.reader(io.StringIO(text), delimiter=_delimiter(text.split("\n", 1)[0]), strict=True)
    ingested = Ingested("csv")
    try:
        next(rows)
        for row in rows:
            if row:
                _add_row(ingested, names, row, context, f"{where}:{rows.line_num}", skip_bad)
    except csv.Error as error:
        raise FormatError("malformed CSV", where=f"{where}:{rows.line_num}", expected="RFC 4180", got=error) from None
    return ingested


def _add_row(
    ingested: Ingested, names: list[str], row: list[str], context: IngestContext, where: str, skip_bad: bool
) -> None:
    try:
        if len(row) != len(names):
            raise FormatError("row of a wrong length", where=where, expected=f"{len(names)} values", got=len(row))
        value = {name: text for name, text in zip(names, row, strict=True) if text}
        payment = plain_payment(value, context, object_digest(value), where=where)
        ingested.drafts.append(statement_draft(statement_for(payment, context), where))
    except InputError as error:
        if not skip_bad:
            raise
        ingested.refused.append(error)
