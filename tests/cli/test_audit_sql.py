"""`audit sql`: answers over an export, and nothing but answers."""

from __future__ import annotations

import io
import json
import os
import pty
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from chainnode.analysis.export_files import ExportFiles
from chainnode.analysis.querying import VIEWS, BadQuery, Queries
from chainnode.cli import audit_sql
from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from ledger.payments import TokenField, TokenRecord
from primitives.encoding import encode
from tests.chainnode.analysis_fixtures import export, snapshot
from tests.chainnode.mirror_fixtures import Served, chain, policy_of
from tests.rpc.conftest import MemoryNode, statement


def paired(node: MemoryNode, member: str, number: int, amount: int) -> None:
    """Let a member state a payment whose key and amount's token are those of the other side, or not."""
    node.member = member
    tokens = [TokenRecord(TokenField.AMOUNT, amount.to_bytes(16, "big"))]
    body = replace(statement(number, pair_key=bytes([7]) * 32), tokens=tokens)
    node.commit(node.batch([node.event(number, body=encode(body))]))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    node = chain(30)
    for member, number, amount in (("bank-a", 100, 5), ("bank-b", 101, 6)):
        paired(node, member, number, amount)
    node.checkpoint()
    served = Served(node.reader)
    export(tmp_path / "export", policy_of(node), served, [served])
    return tmp_path / "export"


@pytest.fixture
def queries(directory: Path) -> Iterator[Queries]:
    files = ExportFiles(directory)
    manifest = files.manifest()
    assert manifest is not None
    found = Queries(files, manifest)
    yield found
    found.close()


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any, str]:
    status = run(["-o", "json", "audit", "sql", *map(str, arguments)])
    told = capsys.readouterr()
    return status, json.loads(told.out) if told.out else None, told.err


def test_an_answer_is_printed_as_table_json_or_lines(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = (
        'SELECT height, count(*) AS n, sum(amount) AS total, min("time") AS t FROM payments GROUP BY height ORDER BY 1'
    )
    status, rows, _ = asked(capsys, directory, query)
    assert (status, [row["n"] for row in rows]) == (Exit.OK, [30, 1, 1])
    assert rows[0] == {"height": 1, "n": 30, "total": 370_815, "t": "2026-01-01T00:00:01.500Z"}
    assert run(["-o", "jsonl", "audit", "sql", str(directory), query]) == Exit.OK
    assert [json.loads(each) for each in capsys.readouterr().out.splitlines()] == rows
    assert run(["audit", "sql", str(directory), query]) == Exit.OK
    assert capsys.readouterr().out.splitlines()[0].split() == ["HEIGHT", "N", "TOTAL", "T"]
    status, rows, said = asked(capsys, directory, "FROM events", "--limit", 5)
    assert (status, len(rows), "more than 5 rows" in said) == (Exit.OK, 5, True)
    assert len(rows[0]["event_id"]) == 64


def test_ready_views_show_pairs_and_daily_totals(queries: Queries) -> None:
    (pair,) = queries.ask("SELECT * FROM pairs").rows()
    assert (pair["pair_key"], pair["statements"], pair["who"]) == ("07" * 32, 2, "bank-a bank-b")
    assert (pair["amounts_differ"], pair["dates_differ"]) == (True, False)
    totals = list(
        queries.ask("SELECT day, member, currency, statements, amount FROM daily_totals ORDER BY member").rows()
    )
    assert [(row["day"], row["member"], row["statements"]) for row in totals] == [
        ("2026-01-01", "bank-a", 31),
        ("2026-01-01", "bank-b", 1),
    ]
    assert list(queries.ask("SELECT * FROM certificates").rows()) == []


@pytest.mark.parametrize(
    "query",
    [
        "COPY (SELECT 1) TO '/tmp/written.csv'",
        "CREATE TABLE t AS SELECT 1",
        "DROP VIEW events",
        "INSERT INTO events SELECT 1",
        "ATTACH '/tmp/other.db'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/written.csv'",
        "EXPORT DATABASE '/tmp/all'",
        "PRAGMA database_list",
        "CALL pragma_version()",
        "SELECT 1; SELECT 2",
        "",
    ],
)
def test_a_query_that_is_no_single_select_is_refused(queries: Queries, query: str) -> None:
    with pytest.raises(BadQuery, match="an export is read, and nothing else"):
        queries.ask(query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM read_text('{directory}/manifest.json')",
        "SELECT * FROM read_parquet('http://127.0.0.1:1/x.parquet')",
        "SELECT getenv('HOME')",
        "SELECT * FROM directory",
        "SELECT * FROM query('COPY (SELECT 1) TO ''/tmp/written.csv''')",
    ],
)
def test_a_query_reaches_no_other_file_and_no_network(queries: Queries, directory: Path, query: str) -> None:
    with pytest.raises(BadQuery, match="query refused"):
        list(queries.ask(query.replace("{directory}", str(directory))).rows())


def test_duckdb_itself_would_refuse_to_write_or_to_be_set_free(queries: Queries, directory: Path) -> None:
    import duckdb

    before = snapshot(directory)
    file = next(directory.rglob("*.parquet"))
    for statement_ in (
        f"COPY (SELECT 1) TO '{file}' (FORMAT parquet)",
        f"COPY (SELECT 1) TO '{directory}/x.csv'",
        "SET enable_external_access = true",
        "SET threads = 1",
        "LOAD httpfs",
    ):
        with pytest.raises(duckdb.Error):
            queries._connection.execute(statement_)
    assert snapshot(directory) == before


def test_mistakes_are_told_with_the_views_that_there_are(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, said = asked(capsys, directory, "SELECT * FROM payment")
    assert (status, "query refused" in said, "daily_totals" in said) == (Exit.USAGE, True, True)
    status, _, said = asked(capsys, directory, "SELECT 1 AS a, 2 AS a")
    assert (status, "two columns of one name" in said) == (Exit.USAGE, True)
    status, _, said = asked(capsys, directory, "SELECT " + "1" * 100_001)
    assert (status, "query too long" in said) == (Exit.USAGE, True)
    assert asked(capsys, directory.parent, "SELECT 1")[0] == Exit.NOT_FOUND
    next(directory.rglob("*.parquet")).unlink()
    assert asked(capsys, directory, "SELECT 1")[0] == Exit.VERIFICATION_FAILED


@pytest.mark.parametrize("place", ["member=evil/amount=9", "day=2020-01-01", "br[ab]", "st*r", "wh?t", "it's"])
def test_where_an_export_lies_changes_no_answer(tmp_path: Path, directory: Path, place: str) -> None:
    moved = tmp_path / place / "export"
    for other in (moved, tmp_path / "bra/export", tmp_path / "stXr/export", tmp_path / "what/export"):
        shutil.copytree(directory, other)
    for name in VIEWS:
        found = [sorted(map(str, opened(each, f"SELECT * FROM {name}"))) for each in (directory, moved)]
        assert found[0] == found[1], name
    assert opened(moved, 'SELECT DISTINCT typeof("day") AS t FROM events') == [{"t": "DATE"}]


def opened(directory: Path, query: str) -> list[dict[str, Any]]:
    """Return the rows of a query over an export."""
    files = ExportFiles(directory)
    manifest = files.manifest()
    assert manifest is not None
    queries = Queries(files, manifest)
    try:
        return list(queries.ask(query).rows())
    finally:
        queries.close()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("9007199254740991", 9007199254740991),
        ("9007199254740993", "9007199254740993"),
        ("[-9007199254740993]", ["-9007199254740993"]),
        ("170141183460469231731687303715884105727::HUGEINT", "170141183460469231731687303715884105727"),
        ("TIMESTAMP '2026-01-02 03:04:05.678'", "2026-01-02T03:04:05.678"),
        ("TIMESTAMPTZ '2026-01-02 03:04:05.678+08'", "2026-01-01T19:04:05.678Z"),
        ("INTERVAL 90 SECOND", "00:01:30"),
        ("'0101'::BIT", "0101"),
        ("3::BIGNUM", "3"),
        ("TIMESTAMP_NS '2026-01-02 03:04:05.123456789'", "2026-01-02 03:04:05.123456789"),
        ("'nan'::DOUBLE", "nan"),
        (r"'\xFF'::BLOB", "ff"),
        ("NULL", None),
    ],
)
def test_a_value_of_any_type_is_told_as_it_is_wherever_it_is_asked(
    queries: Queries, monkeypatch: pytest.MonkeyPatch, value: str, told: object
) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert list(queries.ask(f'SELECT {value} AS "a ""b"').rows()) == [{'a "b': told}]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "value", ["DATE '10000-01-01'", "'infinity'::TIMESTAMP", "TIMESTAMPTZ '20000-01-01 00:00:00+00'"]
)
def test_a_time_beyond_the_calendar_is_refused_with_what_to_write(queries: Queries, value: str) -> None:
    with pytest.raises(BadQuery, match=r'CAST\("v" AS VARCHAR\)'):
        list(queries.ask(f"SELECT {value} AS v").rows())


def test_a_query_that_is_no_text_is_refused(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, _, said = asked(capsys, directory, "SELECT '\udcff'")
    assert (status, "not text" in said) == (Exit.USAGE, True)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"SELECT '\xff'"), "utf-8"))
    status, _, said = asked(capsys, directory)
    assert (status, "not text" in said) == (Exit.USAGE, True)


def test_a_query_may_come_from_standard_input(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT count(*) AS n\nFROM events"))
    assert asked(capsys, directory) == (Exit.OK, [{"n": 32}], "")


def test_at_a_terminal_queries_are_typed_until_exit(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    master, slave = pty.openpty()
    typed = iter(["SELECT count(*) AS n", "FROM events;", "DROP VIEW events;", "exit"])
    prompts: list[str] = []

    def answer(prompt: str) -> str:
        prompts.append(prompt)
        return next(typed)

    with os.fdopen(slave, "r") as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        monkeypatch.setattr("builtins.input", answer)
        assert run(["-o", "jsonl", "audit", "sql", str(directory)]) == Exit.OK
    os.close(master)
    told = capsys.readouterr()
    assert json.loads(told.out) == {"n": 32}
    assert "error: an export is read, and nothing else" in told.err
    assert prompts == [audit_sql.PROMPT, audit_sql.MORE, audit_sql.PROMPT, audit_sql.PROMPT]
