"""A register of certificates as others keep it, CSV or JSON lines: each row read, or all that is wrong with it told.

The columns are `COLUMNS`; other names are mapped to them. Times are RFC 3339, or plain days, which are those of
Beijing: a term that ends on a day ends when that day is over. Pure. Not here: the rules that need the chain
(`ledger.register_checks`).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from chainnode.ingest.errors import FormatError
from chainnode.ingest.json_text import parse_object
from chainnode.ingest.jsonl import FILE_SIZE_MAX, LINE_SIZE_MAX, split_lines
from ledger.catalogue import CATEGORY_MAX, Catalogue, EvidenceKind, in_force
from ledger.certificate_bodies import (
    EVIDENCE_A_BODY_MAX,
    HOLDER_ID_PATTERN,
    NUMBER_PATTERN,
    REASON_PATTERN,
    SCOPE_ENTRIES_MAX,
    SCOPE_ENTRY_MAX,
    Evidence,
    Product,
)
from ledger.members import MEMBER_ID_PATTERN, TEXT_PATTERN
from ledger.register_bodies import REGISTER_ROWS_MAX, RegisterRow, RowSuspension
from ledger.register_checks import Problem
from ledger.times import parse_time
from primitives.errors import InputError

REQUIRED: Final = (
    "number",
    "holder",
    "holder_name",
    "holder_id",
    "product",
    "model",
    "version",
    "category",
    "granted",
    "valid_until",
)
OPTIONAL: Final = ("catalogue", "scope", "state", "suspension_reason", "suspended_until", "evidence")
COLUMNS: Final = REQUIRED + OPTIONAL
FORMATS: Final = ("auto", "csv", "jsonl")
ENCODINGS: Final = ("utf-8", "gb18030")
TEXT_MAX: Final = 200
CELL_MAX: Final = 16_384
"""Characters of a cell: 16 pieces of evidence and 32 entries of a scope fit, a file that lost a quote does not."""
SEEN_MAX: Final = 60
"""Characters of a value that a report repeats."""
_BOM: Final = b"\xef\xbb\xbf"
_DAY: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_BEIJING_MS: Final = 8 * 3_600_000
_DAY_MS: Final = 86_400_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FORMULA: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SIZE_MAX: Final = 1 << 50
_DELIMITERS: Final = (",", ";", "\t")

Cells = Mapping[str, Any]  # Any: text of CSV, or what JSON gives


@dataclass(frozen=True, slots=True)
class ReadRow:
    """A row of a file: its line, its number as it stands there, and the row, or what is wrong with it."""

    line: int
    number: str
    row: RegisterRow | None
    problems: tuple[Problem, ...] = ()


def read_register_rows(
    data: bytes,
    *,
    where: str,
    body: str,
    catalogues: Sequence[Catalogue],
    form: str = "auto",
    encoding: str = "utf-8",
    mapping: Mapping[str, str] | None = None,
) -> list[ReadRow]:
    """Return every row of a register's file, in its order. FormatError where it is not such a file as a whole.

    `body` keeps documents of which no custodian is named; `catalogues` tell which version was in force at a grant that
    names none; `mapping` gives our column by the file's. A number's second row is none of the register's.
    """
    if len(data) > FILE_SIZE_MAX:
        raise FormatError("file too large", where=where, expected=f"at most {FILE_SIZE_MAX} bytes", got=len(data))
    names = dict(mapping or {})
    unknown = sorted(set(names.values()) - set(COLUMNS))
    if unknown:
        raise FormatError("mapping to an unknown column", where=where, expected=", ".join(COLUMNS), got=unknown[0])
    text = _text(data, where, encoding)
    if form == "auto":
        form = "jsonl" if text.lstrip().startswith("{") else "csv"
    reader = _json_cells(text, where, names) if form == "jsonl" else _csv_cells(text, where, names)
    found: list[ReadRow] = []
    seen: dict[str, int] = {}
    for line, cells in reader:
        if len(found) >= REGISTER_ROWS_MAX:
            raise FormatError("too many rows", where=where, expected=f"at most {REGISTER_ROWS_MAX}", got="more")
        read = cells if isinstance(cells, ReadRow) else _Reading(cells, body, catalogues).read(line)
        found.append(_once(read, seen))
    if not found:
        raise FormatError("no rows", where=where, expected="a row for each certificate", got="none")
    return found


def _once(read: ReadRow, seen: dict[str, int]) -> ReadRow:
    """Return a row, without what it says where its number stands above it already."""
    if read.row is None:
        return read
    first = seen.setdefault(read.row.number, read.line)
    if first == read.line:
        return read
    problem = Problem("number", "number_taken", "each number once", f"it stands in line {first} already")
    return replace(read, row=None, problems=(*read.problems, problem))


def _text(data: bytes, where: str, encoding: str) -> str:
    try:
        text = data.removeprefix(_BOM).decode(encoding)
    except UnicodeDecodeError as error:
        hint = None
        if encoding == "utf-8" and _is_gb18030(data):
            hint = "it reads as GB18030: --encoding gb18030"
        line = data.count(b"\n", 0, error.start) + 1
        raise FormatError(
            f"not {encoding.upper()}",
            where=f"{where}:{line}",
            expected=f"{encoding.upper()} text",
            got=f"a bad byte at {error.start}",
            hint=hint,
        ) from None
    return text.removeprefix("\ufeff")


def _is_gb18030(data: bytes) -> bool:
    try:
        data.decode("gb18030")
    except UnicodeDecodeError:
        return False
    return True


# --- files


def _json_cells(text: str, where: str, names: Mapping[str, str]) -> Iterator[tuple[int, Cells | ReadRow]]:
    for line, raw in split_lines(text.encode(), where):
        try:
            value = parse_object(raw, where=f"{where}:{line}", size_max=LINE_SIZE_MAX)
        except InputError as error:
            problem = Problem("", "malformed_row", _seen(error.expected), f"{error.what}: {_seen(error.got)}")
            yield line, ReadRow(line, "", None, (problem,))
            continue
        cells: dict[str, Any] = {}
        problems = []
        for key, item in value.items():
            name = names.get(key, key)
            if name not in COLUMNS:
                problems.append(Problem(_seen(key), "unknown_column", f"one of {', '.join(COLUMNS)}", _seen(key)))
            elif name in cells:
                problems.append(Problem(name, "repeated_column", "each column once", _seen(key)))
            else:
                cells[name] = item
        if problems:
            yield line, ReadRow(line, _seen(cells.get("number", "")), None, tuple(problems))
        else:
            yield line, cells


def _csv_cells(text: str, where: str, names: Mapping[str, str]) -> Iterator[tuple[int, Cells | ReadRow]]:
    head = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=head.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] | None = None
    line = 1
    try:
        for cells in rows:
            if columns is None:
                columns = _columns(cells, names, f"{where}:{line}")
            elif cells and any(cells):
                yield line, _cells_of(columns, cells, line)
            line = rows.line_num + 1
    except csv.Error as error:
        raise FormatError("malformed CSV", where=f"{where}:{line}", expected="RFC 4180", got=error) from None
    if columns is None:
        raise FormatError("no rows", where=where, expected="a row of column names", got="nothing")


def _columns(cells: Sequence[str], names: Mapping[str, str], where: str) -> list[str]:
    """Return the columns of the first row. FormatError for unknown, repeated and missing ones."""
    columns = [names.get(cell.strip(), cell.strip()) for cell in cells]
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise FormatError("column repeated", where=where, expected="each column once", got=_seen(repeated[0]))
    unknown, missing = sorted(set(columns) - set(COLUMNS)), [name for name in REQUIRED if name not in columns]
    if unknown or missing:
        got = f"without {', '.join(missing)}" if missing else ", ".join(map(_seen, unknown[:5]))
        raise FormatError(
            "wrong columns",
            where=where,
            expected=f"{', '.join(REQUIRED)} and no others than {', '.join(OPTIONAL)}",
            got=got,
            hint="--mapping FILE gives our columns by the file's",
        )
    return columns


def _cells_of(columns: Sequence[str], cells: Sequence[str], line: int) -> Cells | ReadRow:
    if len(cells) != len(columns):
        number = cells[columns.index("number")] if columns.index("number") < len(cells) else ""
        problem = Problem("", "wrong_column_count", f"{len(columns)} values", str(len(cells)))
        return ReadRow(line, _seen(number), None, (problem,))
    return {column: cell.strip(" ") for column, cell in zip(columns, cells, strict=True) if cell.strip(" ")}


# --- rows


class _Reading:
    """Reads one row, and keeps what is wrong with it."""

    def __init__(self, cells: Cells, body: str, catalogues: Sequence[Catalogue]) -> None:
        self._cells = cells
        self._body = body
        self._catalogues = catalogues
        self._problems: list[Problem] = []

    def read(self, line: int) -> ReadRow:
        """Return the row of the cells."""
        granted_ms = self._time("granted")
        row = RegisterRow(
            number=self._matching("number", NUMBER_PATTERN, "such as FTP-2025-06-000123"),
            holder=self._matching("holder", MEMBER_ID_PATTERN, "a member's id"),
            holder_name=self._text("holder_name"),
            holder_id=self._matching("holder_id", HOLDER_ID_PATTERN, "a USCC or an LEI"),
            product=Product(self._text("product"), self._text("model"), self._text("version")),
            category=self._integer("category", CATEGORY_MAX),
            catalogue=self._catalogue(granted_ms),
            scope=self._scope(),
            granted_ms=granted_ms,
            valid_until_ms=self._time("valid_until", is_end=True),
            suspension=self._suspension(),
            evidence=self._evidence(),
        )
        shown = _seen(self._cells.get("number", ""))
        return ReadRow(line, shown, None if self._problems else row, tuple(self._problems))

    def _wrong(self, field: str, rule: str, expected: str, got: object) -> None:
        self._problems.append(Problem(field, rule, expected, _seen(got)))

    def _cell(self, name: str) -> str:
        """Return a cell as text, empty where there is none; what a spreadsheet would run is told of and left out."""
        value = self._cells.get(name)
        if value is None or value == "":
            if name in REQUIRED:
                self._wrong(name, "missing_value", "a value", "nothing")
            return ""
        if not isinstance(value, str):
            self._wrong(name, "malformed_value", "text", type(value).__name__)
        elif len(value) > CELL_MAX:
            self._wrong(name, "value_too_long", f"at most {CELL_MAX} characters", f"{len(value)} characters")
        elif value.startswith(_FORMULA):
            self._wrong(name, "formula", "no value that a spreadsheet takes for a formula", value)
        else:
            return value
        return ""

    def _text(self, name: str) -> str:
        value = self._cell(name)
        if len(value) > TEXT_MAX:
            self._wrong(name, "value_too_long", f"at most {TEXT_MAX} characters", f"{len(value)} characters")
        elif value and re.search(TEXT_PATTERN, value) is None:
            self._wrong(name, "malformed_value", "one line without control characters", value)
        else:
            return value
        return ""

    def _matching(self, name: str, pattern: str, expected: str) -> str:
        value = self._cell(name)
        if value and re.search(pattern, value) is None:
            self._wrong(name, "malformed_value", expected, value)
        return value

    def _integer(self, name: str, most: int) -> int:
        value = self._cells.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        elif value is not None:
            value = self._cell(name)
        else:
            self._wrong(name, "missing_value", "a value", "nothing")
        if not value:
            return 0
        if not (value.isascii() and value.isdigit() and len(value) <= 4 and 1 <= int(value) <= most):
            self._wrong(name, "malformed_value", f"1 to {most}", value)
            return 0
        return int(value)

    def _catalogue(self, granted_ms: int) -> int:
        """Return the version that the row names or, where it names none, that was in force at the grant."""
        if self._cells.get("catalogue") not in (None, ""):
            return self._integer("catalogue", 9_999)
        found = in_force(self._catalogues, granted_ms)
        if found is None and granted_ms:
            self._wrong("catalogue", "missing_value", "a version: none was in force at the grant", "nothing")
        return 0 if found is None else int(found.version)

    def _time(self, name: str, *, is_end: bool = False) -> int:
        value = self._cell(name)
        if not value:
            return 0
        day = _DAY.fullmatch(value)
        if day is None:
            try:
                return int(parse_time(value, where=name))
            except InputError:
                self._wrong(name, "malformed_value", "a day such as 2025-06-01, or RFC 3339", value)
                return 0
        try:
            start = (datetime(int(day[1]), int(day[2]), int(day[3]), tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
        except ValueError:
            self._wrong(name, "malformed_value", "a day that there is", value)
            return 0
        found = start - _BEIJING_MS + (_DAY_MS if is_end else 0)
        if found < 0 or int(day[1]) > 9_998:
            self._wrong(name, "malformed_value", "a day from 1970-01-02 to 9998-12-31", value)
            return 0
        return found

    def _scope(self) -> tuple[str, ...]:
        value = self._cells.get("scope")
        entries = value if isinstance(value, list) else [part.strip() for part in self._cell("scope").split("|")]
        entries = [entry for entry in entries if entry != ""]
        good = all(
            isinstance(entry, str)
            and len(entry) <= SCOPE_ENTRY_MAX
            and re.search(TEXT_PATTERN, entry) is not None
            and not entry.startswith(_FORMULA)
            for entry in entries
        )
        if not good or len(entries) > SCOPE_ENTRIES_MAX:
            most = f"at most {SCOPE_ENTRIES_MAX} entries of up to {SCOPE_ENTRY_MAX} characters, apart by |"
            self._wrong("scope", "malformed_value", most, value)
        elif len(set(entries)) != len(entries):
            self._wrong("scope", "malformed_value", "each entry once", value)
        else:
            return tuple(entries)
        return ()

    def _suspension(self) -> RowSuspension | None:
        state = self._cell("state") or "active"
        if state == "active":
            for name in ("suspension_reason", "suspended_until"):
                if self._cells.get(name) not in (None, ""):
                    self._wrong(name, "malformed_value", "nothing where the state is active", self._cells[name])
            return None
        if state != "suspended":
            self._wrong("state", "unknown_state", "active or suspended", state)
            return None
        reason = self._matching("suspension_reason", REASON_PATTERN, "a word such as inspection_failed")
        until_ms = self._time("suspended_until", is_end=True)
        for name in ("suspension_reason", "suspended_until"):
            if self._cells.get(name) in (None, ""):
                self._wrong(name, "missing_value", "why, and until when it is suspended", "nothing")
        return RowSuspension(reason, until_ms)

    def _evidence(self) -> tuple[Evidence, ...]:
        value = self._cells.get("evidence")
        parts = value if isinstance(value, list) else self._cell("evidence").split()
        pieces = [piece for part in parts if (piece := self._piece(part)) is not None]
        if len(parts) > EVIDENCE_A_BODY_MAX:
            self._wrong("evidence", "malformed_value", f"at most {EVIDENCE_A_BODY_MAX} documents", len(parts))
        elif len({piece.digest for piece in pieces}) != len(pieces):
            self._wrong("evidence", "malformed_value", "each document once", value)
        return tuple(pieces)

    def _piece(self, part: object) -> Evidence | None:
        """Return a document of KIND:SHA256:SIZE[:CUSTODIAN], or of an object with these keys."""
        if isinstance(part, str):
            fields: list[object] = [*part.split(":")]
        elif isinstance(part, dict) and set(part) <= {"kind", "digest", "size_bytes", "custodian"}:
            fields = [part.get("kind"), part.get("digest"), str(part.get("size_bytes"))]
            fields += [part["custodian"]] if "custodian" in part else []
        else:
            fields = []
        if len(fields) == 3:
            fields.append(self._body)
        if len(fields) == 4 and all(isinstance(field, str) for field in fields):
            kind, digest, size, custodian = map(str, fields)
            is_size = size.isascii() and size.isdigit() and len(size) <= 16 and 1 <= int(size) <= _SIZE_MAX
            is_member = re.search(MEMBER_ID_PATTERN, custodian) is not None
            if kind in set(EvidenceKind) and _DIGEST.fullmatch(digest) and is_size and is_member:
                return Evidence(EvidenceKind(kind), bytes.fromhex(digest), custodian, int(size))
        self._wrong("evidence", "malformed_value", "KIND:SHA256:SIZE or KIND:SHA256:SIZE:CUSTODIAN", part)
        return None


def _seen(value: object) -> str:
    """Return a value for a report: short, on one line."""
    text = str(value)
    text = text if len(text) <= SEEN_MAX else f"{text[:SEEN_MAX]}…"
    return text if text.isprintable() else text.encode("unicode_escape").decode()
