"""Questions to an export in SQL: DuckDB over its files, and over nothing else.

Here: views, what a query may do, and rows as JSON has them. Not here: printing (`chainnode.cli.audit_sql`). A query
reads: one statement, a SELECT, and DuckDB itself is held to the files that the manifest names, without network,
extensions, or a change of these settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pyarrow

from chainnode.analysis.export_files import ExportFiles
from chainnode.analysis.manifest import Manifest
from chainnode.analysis.tables import TABLES
from ledger.times import format_time
from primitives.errors import UsageError
from primitives.ids import TimeMs

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

QUERY_CHARACTERS_MAX: Final = 100_000
FETCHED_AT_ONCE: Final = 1_024
WHOLE_MAX: Final = (1 << 53) - 1
"""What every reader of JSON takes as it is; whole numbers beyond it are text."""

_WRITTEN: Final = frozenset({"interval", "bit", "bignum", "union", "timestamp_ns", "time_ns"})
"""Types of DuckDB's that Arrow has no plain value for: DuckDB itself writes them as text."""

_SETTINGS: Final = (
    "temp_directory = ''",
    "autoinstall_known_extensions = false",
    "autoload_known_extensions = false",
    "allow_community_extensions = false",
    "python_enable_replacements = false",
    "TimeZone = 'UTC'",
    "enable_external_access = false",
    "lock_configuration = true",
)
# Both sides of a payment state the same pair_key. Each is one event of one member; of several the newest counts.
_PAIRS: Final = """
CREATE VIEW pairs AS
SELECT pair_key, count(*) AS statements, count(DISTINCT member) AS members,
    string_agg(DISTINCT member, ' ' ORDER BY member) AS who, min("time") AS first_time, max("time") AS last_time,
    count(DISTINCT token_amount) > 1
        OR count(DISTINCT (amount, currency)) FILTER (amount IS NOT NULL) > 1 AS amounts_differ,
    count(DISTINCT token_settlement_date) > 1 OR count(DISTINCT settlement_date) > 1 AS dates_differ
FROM payments WHERE pair_key IS NOT NULL AND applied IS DISTINCT FROM false GROUP BY pair_key
"""
_DAILY: Final = """
CREATE VIEW daily_totals AS
SELECT "day", member, debtor_agent, creditor_agent, side, status, currency, count(*) AS statements,
    count(amount) AS clear, sum(amount) AS amount
FROM payments WHERE applied IS DISTINCT FROM false GROUP BY ALL
"""
VIEWS: Final = (*TABLES, "pairs", "daily_totals")


class BadQuery(UsageError):
    """A query that DuckDB does not take, or that is more than a question."""

    reason = "bad_query"


class Answer:
    """The rows of a query, as they come."""

    def __init__(self, found: DuckDBPyRelation) -> None:
        self.columns = list(found.columns)
        twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if twice:
            raise BadQuery("two columns of one name", got=twice[0], hint="name them apart with AS")
        odd = {name for name, type_ in zip(self.columns, found.types, strict=True) if type_.id in _WRITTEN}
        self._found = found.project(", ".join(_column(name, name in odd) for name in self.columns)) if odd else found

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield each row as JSON has it: bytes in hex, times and dates as text, decimals as whole numbers or text."""
        try:
            for batch in self._found.to_arrow_reader(FETCHED_AT_ONCE):
                for row in zip(*map(_values, batch.columns, self.columns), strict=True):
                    yield dict(zip(self.columns, map(shown, row), strict=True))
        except (duckdb.Error, pyarrow.ArrowException) as error:
            raise _refused(error) from None


class Queries:
    """An export that is open to queries; owned by one thread."""

    def __init__(self, files: ExportFiles, manifest: Manifest) -> None:
        """Open it. Raises ManifestDamaged where a file is not as the manifest says."""
        files.check(manifest)
        self._connection = duckdb.connect(":memory:")
        paths: dict[str, list[str]] = {name: [] for name in TABLES}
        for entry in manifest.files:
            paths[entry.path.partition("/")[0]].append(str((files.directory / entry.path).absolute()))
        opened = [path for found in paths.values() for path in found]
        self._set(f"allowed_paths = {_listed([*opened, *map(_literal, opened)])}")
        for setting in _SETTINGS[:-1]:
            self._set(setting)
        for name, found in paths.items():
            self._connection.execute(_view(name, found))
        for view in (_PAIRS, _DAILY):
            self._connection.execute(view)
        self._set(_SETTINGS[-1])

    def ask(self, query: str) -> Answer:
        """Return what a query finds. Raises BadQuery for anything but one SELECT."""
        if not is_text(query):
            raise BadQuery("query is not text", expected="UTF-8")
        if len(query) > QUERY_CHARACTERS_MAX:
            raise BadQuery("query too long", expected=f"at most {QUERY_CHARACTERS_MAX} characters", got=len(query))
        try:
            statements = self._connection.extract_statements(query)
            kinds = [statement.type.name for statement in statements]
            if kinds != ["SELECT"]:
                got = ", ".join(kind.lower() for kind in kinds) or "none"
                raise BadQuery("an export is read, and nothing else", expected="one SELECT", got=got)
            return Answer(self._connection.sql(query))
        except duckdb.Error as error:
            raise _refused(error) from None

    def close(self) -> None:
        """Let go of the files."""
        self._connection.close()

    def _set(self, setting: str) -> None:
        self._connection.execute(f"SET {setting}")


def _view(name: str, paths: list[str]) -> str:
    """Return the view of a table: of its files, or of none with the columns that it would have."""
    if paths:
        # DuckDB takes each KEY=VALUE of a path for a column, which replaces the file's own: only `day` may be one.
        is_ours = all(path.count("=") == 1 for path in paths)
        chosen = "*" if is_ours else '*, CAST("time" AS DATE) AS "day"'
        files = f"read_parquet({_listed([_literal(path) for path in paths])}, hive_partitioning = {is_ours})"
        return f"CREATE VIEW {name} AS SELECT {chosen} FROM {files}"  # noqa: S608 - paths are quoted
    types = {"decimal128(38, 0)": "DECIMAL(38, 0)", "timestamp[ms, tz=UTC]": "TIMESTAMPTZ", "date32[day]": "DATE"}
    types |= {"binary": "BLOB", "string": "VARCHAR", "int64": "BIGINT", "int32": "INTEGER", "bool": "BOOLEAN"}
    columns = [f'NULL::{types[str(field.type)]} AS "{field.name}"' for field in TABLES[name]]
    return f'CREATE VIEW {name} AS SELECT {", ".join(columns)}, NULL::DATE AS "day" WHERE false'


def _listed(paths: list[str]) -> str:
    """Return paths as a list in SQL."""
    return "[" + ", ".join("'" + path.replace("'", "''") + "'" for path in paths) + "]"


def _literal(path: str) -> str:
    """Return the pattern of DuckDB's that only this path matches."""
    return re.sub(r"[*?\[]", r"[\g<0>]", path)


def is_text(query: str) -> bool:
    """Say whether a query was text: bytes that are not arrive as lone surrogates."""
    return not any("\ud800" <= each <= "\udfff" for each in query)


def _column(name: str, is_odd: bool) -> str:
    """Return a column of an answer as it is asked for, as text where it is odd."""
    quoted = '"' + name.replace('"', '""') + '"'
    return f"CAST({quoted} AS VARCHAR) AS {quoted}" if is_odd else quoted


def _values(column: pyarrow.Array, name: str) -> list[Any]:
    try:
        return list(column.to_pylist())
    except (OverflowError, ValueError) as error:  # such as a time that Python's calendar does not reach
        hint = f'write `CAST("{name}" AS VARCHAR)`'
        raise BadQuery("a value has no form in JSON", where=name, got=error, hint=hint) from None


def _refused(error: Exception) -> BadQuery:
    what = str(error).partition("\n\n")[0]
    return BadQuery("query refused", got=what, hint=f"there are {', '.join(VIEWS)}: `DESCRIBE events` lists columns")


def shown(value: object) -> object:
    """Return a value of DuckDB's as JSON has it."""
    match value:
        case bytes():
            return value.hex()
        case datetime() if value.tzinfo is None:
            return value.isoformat(timespec="milliseconds")  # of no zone, as DuckDB has it
        case datetime():
            return format_time(TimeMs(round(value.timestamp() * 1_000)))
        case date():
            return value.isoformat()
        case Decimal():
            is_exact = value == value.to_integral_value() and abs(value) <= WHOLE_MAX
            return int(value) if is_exact else str(value)
        case float() if value != value or value in (float("inf"), float("-inf")):
            return str(value)
        case list() | tuple():
            return [shown(item) for item in value]
        case dict():
            return {str(name): shown(item) for name, item in value.items()}
        case int() if abs(value) > WHOLE_MAX:
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)
