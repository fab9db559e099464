"""A register's file: what is read of it, and what is said of each row that is wrong."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainnode.ingest.errors import FormatError
from chainnode.ingest.register_rows import COLUMNS, OPTIONAL, REQUIRED, ReadRow, read_register_rows
from ledger.catalogue import PUBLISHED_CATALOGUES, EvidenceKind
from ledger.certificate_bodies import Evidence, Product
from ledger.register_bodies import RegisterRow, RowSuspension
from ledger.times import parse_time
from primitives.errors import InputError

DIGEST = "ab" * 32
GOOD = {
    "number": "FTP-2025-06-000001",
    "holder": "bank-a",
    "holder_name": "甲银行, Beijing",
    "holder_id": "91110000600037341L",
    "product": 'Terminal "CT"',
    "model": "CT-1",
    "version": "2.0",
    "category": "6",
    "catalogue": "2",
    "scope": "contact | contactless",
    "granted": "2025-06-01",
    "valid_until": "2028-05-31",
    "state": "suspended",
    "suspension_reason": "inspection_failed",
    "suspended_until": "2026-12-31",
    "evidence": f"type_examination:{DIGEST}:1000 site_check:{'cd' * 32}:5:lab",
}
EXPECTED = RegisterRow(
    number="FTP-2025-06-000001",
    holder="bank-a",
    holder_name="甲银行, Beijing",
    holder_id="91110000600037341L",
    product=Product('Terminal "CT"', "CT-1", "2.0"),
    category=6,
    catalogue=2,
    scope=("contact", "contactless"),
    granted_ms=parse_time("2025-05-31T16:00:00Z"),  # midnight in Beijing
    valid_until_ms=parse_time("2028-05-31T16:00:00Z"),  # when that day is over there
    suspension=RowSuspension("inspection_failed", parse_time("2026-12-31T16:00:00Z")),
    evidence=(
        Evidence(EvidenceKind.TYPE_EXAMINATION, bytes.fromhex(DIGEST), "cb", 1000),
        Evidence(EvidenceKind.SITE_CHECK, b"\xcd" * 32, "lab", 5),
    ),
)


def csv_of(*rows: dict[str, str], columns: tuple[str, ...] = COLUMNS, delimiter: str = ",") -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([row.get(column, "") for column in columns])
    return text.getvalue()


def read(data: str | bytes, **options: Any) -> list[ReadRow]:
    raw = data.encode() if isinstance(data, str) else data
    return read_register_rows(raw, where="f", body="cb", catalogues=PUBLISHED_CATALOGUES, **options)


def with_(**changes: str) -> dict[str, str]:
    return {**GOOD, **changes}


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_a_row_of_csv_is_read_as_it_stands(bom: str, delimiter: str, end: str) -> None:
    text = bom + csv_of(GOOD, delimiter=delimiter).replace("\r\n", end)
    assert read(text) == [ReadRow(2, GOOD["number"], EXPECTED)]


def test_gb18030_is_read_where_it_is_asked_for_and_told_of_where_not() -> None:
    data = csv_of(GOOD).encode("gb18030")
    assert read(data, encoding="gb18030")[0].row == EXPECTED
    with pytest.raises(FormatError, match="not UTF-8") as refused:
        read(data)
    assert refused.value.hint == "it reads as GB18030: --encoding gb18030"
    assert refused.value.where == "f:2"


def test_json_lines_are_read_with_lists_and_objects() -> None:
    value = {
        **GOOD,
        "category": 6,
        "scope": ["contact", "contactless"],
        "evidence": [
            {"kind": "type_examination", "digest": DIGEST, "size_bytes": 1000},
            {"kind": "site_check", "digest": "cd" * 32, "size_bytes": 5, "custodian": "lab"},
        ],
    }
    text = "\n" + json.dumps(value, ensure_ascii=False) + "\n\n" + json.dumps({**GOOD, "number": "FTP-2025-06-000002"})
    found = read(text)
    assert [(each.line, each.problems) for each in found] == [(2, ()), (4, ())]
    assert found[0].row == EXPECTED


def test_what_may_be_left_out_has_its_default() -> None:
    row = {name: GOOD[name] for name in REQUIRED}
    found = read(csv_of(row, columns=REQUIRED))[0].row
    assert found is not None
    assert (found.catalogue, found.scope, found.suspension, found.evidence) == (2, (), None, ())
    assert read(csv_of({**row, "granted": "2021-06-01"}, columns=REQUIRED))[0].row.catalogue == 1  # type: ignore[union-attr]  # it is there
    assert set(OPTIONAL) | set(REQUIRED) == set(COLUMNS)


def test_a_quoted_cell_may_hold_lines_and_rows_keep_their_line() -> None:
    rows = [with_(evidence=GOOD["evidence"].replace(" ", "\n")), with_(number="FTP-2025-06-000002")]
    found = read(csv_of(*rows))
    assert [each.line for each in found] == [2, 4]
    assert found[0].row == EXPECTED


def test_other_names_of_columns_are_mapped() -> None:
    text = csv_of(GOOD).replace("number,holder,", "证书编号,持证单位,", 1)
    assert read(text, mapping={"证书编号": "number", "持证单位": "holder"})[0].row == EXPECTED
    with pytest.raises(FormatError, match="wrong columns"):
        read(text)
    with pytest.raises(FormatError, match="mapping to an unknown column"):
        read(text, mapping={"证书编号": "nummer"})


CELLS = {
    "number": ("malformed_value", "FTP-25-6-1"),
    "holder": ("malformed_value", "Bank A"),
    "holder_name": ("malformed_value", "Bank\nA"),
    "holder_id": ("malformed_value", "123"),
    "product": ("value_too_long", "x" * 201),
    "model": ("formula", "=cmd|' /C calc'!A0"),
    "version": ("formula", "@SUM(1+1)"),
    "category": ("malformed_value", "100"),
    "catalogue": ("malformed_value", "two"),
    "scope": ("malformed_value", "contact|contact"),
    "granted": ("malformed_value", "2025-02-30"),
    "valid_until": ("malformed_value", "tomorrow"),
    "state": ("unknown_state", "revoked"),
    "suspension_reason": ("malformed_value", "Because!"),
    "suspended_until": ("malformed_value", "2025-13-01"),
    "evidence": ("malformed_value", "photo:12:1"),
}


@pytest.mark.parametrize("field", CELLS)
def test_a_cell_that_is_wrong_is_told_by_field_and_rule(field: str) -> None:
    rule, value = CELLS[field]
    bad = read(csv_of(with_(**{field: value})))[0]
    assert bad.row is None
    assert [(each.field, each.rule) for each in bad.problems] == [(field, rule)]
    assert all(each.expected and each.got for each in bad.problems)


@pytest.mark.parametrize("field", REQUIRED)
def test_a_cell_that_is_needed_and_empty_is_missing(field: str) -> None:
    bad = read(csv_of(with_(**{field: ""})))[0]
    assert ("missing_value", field) in [(each.rule, each.field) for each in bad.problems]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝", "＋", "－", "＠"])
@pytest.mark.parametrize("field", ["holder_name", "product", "scope"])
def test_no_text_begins_as_a_formula_does(start: str, field: str) -> None:
    bad = read(csv_of(with_(**{field: f"{start}1+1"})))[0]
    assert [each.field for each in bad.problems] == [field]


def test_all_that_is_wrong_with_a_row_is_told_at_once() -> None:
    bad = read(csv_of(with_(number="x", category="", granted="never", state="lost")))[0]
    assert {each.field for each in bad.problems} >= {"number", "category", "granted", "state"}


def test_an_active_certificate_has_no_suspension_and_a_suspended_one_has_a_whole_one() -> None:
    assert {each.field for each in read(csv_of(with_(state="active")))[0].problems} == {
        "suspension_reason",
        "suspended_until",
    }
    bad = read(csv_of(with_(suspended_until="")))[0]
    assert [(each.field, each.rule) for each in bad.problems] == [("suspended_until", "missing_value")]


def test_a_number_that_stands_twice_is_told_where_it_stood_first() -> None:
    found = read(csv_of(GOOD, with_(model="CT-2"), with_(number="FTP-2025-06-000002")))
    assert [each.row is not None for each in found] == [True, False, True]
    problem = found[1].problems[0]
    assert (problem.rule, problem.got) == ("number_taken", "it stands in line 2 already")


def test_a_row_of_another_length_is_told_and_the_others_are_read() -> None:
    text = csv_of(GOOD, with_(number="FTP-2025-06-000002"))
    first, second, third, *_ = text.split("\r\n")
    found = read("\r\n".join([first, second + ",more", third]))
    assert [(each.rule, each.expected, each.got) for each in found[0].problems] == [
        ("wrong_column_count", "16 values", "17")
    ]
    assert found[1].row is not None


FILES: dict[str, tuple[str, bytes]] = {
    "nothing": ("no rows", b""),
    "a header alone": ("no rows", ",".join(COLUMNS).encode()),
    "a header twice": ("column repeated", csv_of(GOOD).replace("model,", "product,", 1).encode()),
    "a column that there is not": ("wrong columns", csv_of(GOOD).replace("model,", "modell,", 1).encode()),
    "a quote that does not end": ("malformed CSV", csv_of(GOOD).encode() + b'"open,\n'),
    "a field beyond all measure": ("malformed CSV", csv_of(with_(scope="x" * 200_000)).encode()),
    "bytes of no text": ("not UTF-8", b"\xff\xfe\x00\xd8" * 3),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_register_is_refused_as_a_whole(case: str) -> None:
    what, data = FILES[case]
    with pytest.raises(FormatError, match=what):
        read(data)


JSON_LINES: dict[str, tuple[str, str]] = {
    "malformed": ("malformed_row", '{"number": '),
    "a key twice": ("malformed_row", '{"number": "a", "number": "b"}'),
    "a fraction": ("malformed_row", '{"category": 6.0}'),
    "no object": ("malformed_row", "[1]"),
    "an unknown key": ("unknown_column", json.dumps({**GOOD, "nummer": 1})),
    "deep nesting": ("malformed_row", '{"scope": ' + "[" * 300 + "]" * 300 + "}"),
    "a number for text": ("malformed_value", json.dumps({**GOOD, "model": 5})),
    "an object for text": ("malformed_value", json.dumps({**GOOD, "holder": {"id": "bank-a"}})),
    "a truth value for a number": ("malformed_value", json.dumps({**GOOD, "category": True})),
    "evidence of another form": ("malformed_value", json.dumps({**GOOD, "evidence": [{"kind": "site_check"}]})),
    "a scope of numbers": ("malformed_value", json.dumps({**GOOD, "scope": [1, 2]})),
}


@pytest.mark.parametrize("case", JSON_LINES)
def test_a_line_of_json_that_is_no_row_is_told_and_the_others_are_read(case: str) -> None:
    rule, line = JSON_LINES[case]
    found = read(line + "\n" + json.dumps({**GOOD, "number": "FTP-2025-06-000009"}), form="jsonl")
    assert rule in [each.rule for each in found[0].problems]
    assert found[0].row is None
    assert found[1].row is not None


def test_what_a_report_repeats_is_short_and_on_one_line() -> None:
    bad = read(csv_of(with_(state="a\nb" * 100)))[0]
    assert all(len(each.got) < 200 and each.got.isprintable() for each in bad.problems)


@given(st.dictionaries(st.sampled_from(COLUMNS), st.text(max_size=30)))
def test_whatever_stands_in_a_row_it_is_read_or_told(cells: dict[str, str]) -> None:
    try:
        found = read(json.dumps({**GOOD, **cells}), form="jsonl")
    except InputError:
        return
    assert all((each.row is None) == bool(each.problems) for each in found)
