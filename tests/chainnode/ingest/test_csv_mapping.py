"""CSV of a bank's own making: a mapping says what columns mean, and an error which of them is wrong where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainnode.ingest import csv_mapping
from chainnode.ingest.csv_mapping import ENCODINGS, CsvMapping, read_mapping
from chainnode.ingest.errors import FormatError
from chainnode.ingest.formats import Options, ingest
from primitives.errors import InputError
from tests.chainnode.ingest.ingest_fixtures import SAMPLES, context_of, sample

HEADER = "时间;金额;币种;参考号;付款账号;状态;备注"
ROWS = (
    "13.04.2026 09:30:00;1.250,00;CNY;REF-1;6222020200112233445;成功;x",
    "13.04.2026 09:31:05;99,5;CNY;REF-2;6222020200112233446;失败;y",
)
TOML = """
encoding = "gb18030"
delimiter = ";"
decimal = ","
thousands = "."
time = "DD.MM.YYYY hh:mm:ss"
offset = "+08:00"

[columns]
time = "时间"
amount = "金额"
currency = "币种"
reference = "参考号"
debtor_account = "付款账号"
status = "状态"

[constants]
side = "debtor"
debtor_agent = "BKAACNBJXXX"
creditor_agent = "BKABCNBJXXX"

[values.status]
"成功" = "settled"
"失败" = "rejected"
"""
PLAIN = (
    "time,amount,currency,reference,debtor_account,status,side,debtor_agent,creditor_agent\n"
    "2026-04-13T09:30:00+08:00,1250.00,CNY,REF-1,6222020200112233445,settled,debtor,BKAACNBJXXX,BKABCNBJXXX\n"
    "2026-04-13T09:31:05+08:00,99.5,CNY,REF-2,6222020200112233446,rejected,debtor,BKAACNBJXXX,BKABCNBJXXX\n"
)
CONTEXT = context_of("bank-a")


def mapped(text: str | dict[str, object]) -> CsvMapping:
    data = text if isinstance(text, str) else json.dumps(text)
    return read_mapping(data.encode(), where="m.toml")


def file_of(*rows: str, header: str = HEADER, encoding: str = "gb18030") -> bytes:
    return "\r\n".join([header, *rows, ""]).encode(encoding)


def bodies(data: bytes, mapping: CsvMapping | None, *, skip_bad: bool = False) -> list[bytes]:
    options = Options(mapping=mapping, skip_bad=skip_bad)
    return [draft.body for draft in ingest(data, CONTEXT, where="f.csv", options=options).drafts]


def refused(data: bytes, mapping: CsvMapping | None) -> str:
    with pytest.raises(InputError) as caught:
        bodies(data, mapping)
    return str(caught.value)


def test_columns_of_any_name_say_what_plain_ones_do() -> None:
    assert bodies(file_of(*ROWS), mapped(TOML)) == bodies(PLAIN.encode(), None)
    assert len(bodies(PLAIN.encode(), None)) == 2


def test_a_mapping_may_be_json() -> None:
    import tomllib

    assert mapped(tomllib.loads(TOML)) == mapped(TOML)


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_every_encoding_is_read_as_it_is_named(encoding: str) -> None:
    header, word = ("时间", "成功") if encoding.startswith(("utf", "gb")) else ("Größe", "ja")
    text = TOML.replace('"gb18030"', f'"{encoding}"').replace("时间", header).replace("成功", word)
    rows = (header + ";B;C;D;E;F;G", ROWS[0].replace("成功", word))
    mapping = mapped(
        text.replace("金额", "B")
        .replace("币种", "C")
        .replace("参考号", "D")
        .replace("付款账号", "E")
        .replace("状态", "F")
    )
    codec = {"utf-8": "utf-8-sig", "utf8": "utf-8"}.get(encoding, encoding)
    assert bodies("\n".join(rows).encode(codec), mapping) == bodies(PLAIN.encode(), None)[:1]


def test_a_file_without_header_gives_columns_by_number() -> None:
    numbers = {"时间": 1, "金额": 2, "币种": 3, "参考号": 4, "付款账号": 5, "状态": 6}
    text = "header = false\n" + TOML
    for name, number in numbers.items():
        text = text.replace(f'= "{name}"', f"= {number}")
    data = "\n".join(ROWS).encode("gb18030")
    assert bodies(data, mapped(text)) == bodies(PLAIN.encode(), None)
    wrong = refused(data.replace(b"13.04.2026 09:31:05", b"2026-04-13"), mapped(text))
    assert wrong.startswith("f.csv:2: column number 1 (time): not of the mapping's form: expected DD.MM.YYYY hh:mm:ss")


def test_a_time_may_stand_in_two_columns() -> None:
    text = TOML.replace('time = "时间"', 'time = ["D", "T"]')
    rows = [row.replace(" ", ";", 1) for row in ROWS]
    data = file_of(*rows, header=HEADER.replace("时间", "D;T"))
    assert bodies(data, mapped(text)) == bodies(PLAIN.encode(), None)


def test_amounts_may_be_whole_numbers_of_the_smallest_unit() -> None:
    text = TOML.replace('decimal = ","\nthousands = "."', 'amounts = "minor"')
    data = file_of(ROWS[0].replace("1.250,00", "125000"), ROWS[1].replace("99,5", "9950"))
    plain = PLAIN.replace(",99.5,", ",99.50,")
    assert bodies(data, mapped(text)) == bodies(plain.encode(), None)
    assert "(amount): amount is not a whole number" in refused(file_of(ROWS[0]), mapped(text))


def test_dates_are_read_in_the_form_of_the_mapping() -> None:
    text = TOML.replace("offset", 'date = "YYYY/MM/DD"\noffset').replace(
        "[constants]", 'settlement_date = "备注"\n[constants]'
    )
    data = file_of(ROWS[0].replace(";x", ";2026/04/14"))
    plain = PLAIN.replace(",debtor_agent", ",settlement_date,debtor_agent").replace(",debtor,", ",debtor,2026-04-14,")
    assert bodies(data, mapped(text)) == bodies(plain.encode(), None)[:1]
    for wrong in ("14.04.2026", "2026/02/30", "2026/4/14"):
        told = refused(file_of(ROWS[0].replace(";x", f";{wrong}")), mapped(text))
        assert "f.csv:2: column 备注 (settlement_date): " in told
        assert wrong not in told


PRIVATE = "6222020200112233445"
WRONG = {
    "an account for an amount": (ROWS[0].replace("1.250,00", PRIVATE), "金额 (amount)", "amount"),
    "an account for a currency": (ROWS[0].replace(";CNY;", f";{PRIVATE};"), "币种 (currency)", "currency"),
    "an account for a time": (ROWS[0].replace("13.04.2026 09:30:00", PRIVATE), "时间 (time)", "form"),
    "an account for a status": (ROWS[0].replace("成功", PRIVATE), "状态 (status)", "word not in the mapping"),
    "a decimal point": (ROWS[0].replace("1.250,00", "1250.00"), "金额 (amount)", "grouped wrongly"),
    "wrong groups": (ROWS[0].replace("1.250,00", "12.50,00"), "金额 (amount)", "grouped wrongly"),
    "a sign": (ROWS[0].replace("1.250,00", "-1.250,00"), "金额 (amount)", "decimal number"),
    "no decimals after a comma": (ROWS[0].replace("1.250,00", "5,"), "金额 (amount)", "decimal number"),
    "three decimals": (ROWS[0].replace("1.250,00", "1,234"), "金额 (amount)", "too many decimals"),
    "a long reference": (ROWS[0].replace("REF-1", PRIVATE * 2), "参考号 (reference)", "wrong length"),
    "an hour that is none": (ROWS[0].replace("09:30", "25:30"), "时间 (time)", "not a time"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_error_names_line_column_and_field_and_shows_no_value(name: str) -> None:
    row, column, what = WRONG[name]
    told = refused(file_of(ROWS[1], row), mapped(TOML))
    assert told.startswith(f"f.csv:3: column {column}: ")
    assert what in told
    assert "expected" in told
    assert "got" in told
    assert PRIVATE not in told
    assert PRIVATE[:8] not in told


def test_bad_rows_are_left_out_and_reported_where_that_is_asked() -> None:
    data = file_of(ROWS[0], "too;short", WRONG["a sign"][0], ROWS[1])
    found = ingest(data, CONTEXT, where="f.csv", options=Options(mapping=mapped(TOML), skip_bad=True))
    assert len(found.drafts) == 2
    assert [error.where for error in found.refused] == ["f.csv:3", "f.csv:4: column 金额 (amount)"]


FILES = {
    "a column that is missing": (file_of(*ROWS, header=HEADER.replace("金额", "数额")), "one column '金额'"),
    "a column that stands twice": (file_of(*ROWS, header=HEADER.replace("备注", "金额")), "column repeated"),
    "another encoding": (file_of(*ROWS, encoding="utf-8"), "got a bad byte|among"),
    "another delimiter": (file_of(*ROWS).replace(b";", b","), "mind the mapping's delimiter"),
    "an open quote": (file_of('"' + ROWS[0]), "malformed CSV"),
    "nothing but a header": (b"", "file is empty"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_does_not_fit_its_mapping_is_refused(name: str) -> None:
    data, match = FILES[name]
    with pytest.raises(FormatError, match=match) as caught:
        bodies(data, mapped(TOML))
    assert PRIVATE not in str(caught.value)


MAPPINGS = {
    "an unknown key": ("colour = 1\n" + TOML, "unknown key: expected amounts"),
    "an unknown field": (TOML.replace("debtor_account =", "iban ="), "unknown field"),
    "a field twice": (TOML.replace("[constants]", '[constants]\ncurrency = "CNY"'), "field given twice"),
    "a field too few": (TOML.replace('currency = "币种"', ""), "got none for currency"),
    "words for no column": (TOML.replace('status = "状态"', ""), "words for a field without column"),
    "an unknown encoding": (TOML.replace("gb18030", "ebcdic"), "encoding"),
    "an unknown delimiter": (TOML.replace('";"', '"x"'), "delimiter"),
    "an odd decimal sign": (TOML.replace('decimal = ","', 'decimal = "x"'), "decimal"),
    "one sign for both": (TOML.replace('thousands = "."', 'thousands = ","'), "thousands"),
    "an odd offset": (TOML.replace("+08:00", "8"), "offset"),
    "a form without day": (TOML.replace("DD.MM.YYYY hh", "MM.YYYY hh"), "form of dates or times"),
    "a form with a part twice": (TOML.replace("DD.MM.YYYY", "DD.DD.MM.YYYY"), "form of dates or times"),
    "no TOML": ("= = =", "malformed"),
    "no UTF-8": ("\udcff", "not UTF-8"),
    "a column that is a table": (TOML.replace('amount = "金额"', "amount = {}"), "wrong value"),
    "too many columns": (TOML.replace('"金额"', '["a", "b", "c", "d", "e"]'), "columns"),
    "names without header": ("header = false\n" + TOML, "numbers from 1"),
    "a header that is a word": ('header = "no"\n' + TOML, "true or false"),
    "JSON that is broken": ("{", "malformed JSON"),
    "too much": ("#" * (csv_mapping.MAPPING_BYTES_MAX + 1), "too large"),
    "a column without name": (TOML.replace('"金额"', '""'), "column without name"),
}


@pytest.mark.parametrize("name", MAPPINGS)
def test_a_mapping_that_is_wrong_is_refused(name: str) -> None:
    text, match = MAPPINGS[name]
    with pytest.raises(InputError, match=match) as caught:
        read_mapping(text.encode("utf-8", "surrogateescape"), where="m.toml")
    assert str(caught.value).startswith("m.toml")


def test_a_mapping_is_for_csv_alone() -> None:
    with pytest.raises(FormatError, match="a mapping is for CSV"):
        ingest(sample("01"), CONTEXT, where="f", format_name="iso20022", options=Options(mapping=mapped(TOML)))


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_whatever_a_file_holds_is_taken_or_refused(content: str | bytes) -> None:
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    for text in (data, file_of() + data):
        try:
            ingest(text, CONTEXT, where="f", options=Options(mapping=mapped(TOML), skip_bad=True))
        except InputError:
            continue


@given(st.text(max_size=100) | st.binary(max_size=100))
def test_whatever_a_mapping_holds_is_read_or_refused(content: str | bytes) -> None:
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    for text in (data, TOML.encode() + data, data + TOML.encode()):
        try:
            read_mapping(text, where="m")
        except InputError:
            continue


def test_the_documented_mapping_is_one() -> None:
    text = (csv_mapping.__doc__ or "").split("\n\n", 1)[1].split("\n\nFields", 1)[0]
    assert mapped(_documented(text)).minor


def _documented(text: str) -> str:
    lines = [line.removeprefix("    ") for line in text.splitlines() if "header = false" not in line]
    return "\n".join(lines).replace('amount = "Betrag"', 'amount = "Betrag"\nreference = "R"\nstatus = "S"')


def test_the_sample_of_a_bank_s_own_export_is_read() -> None:
    folder = SAMPLES.parent / "mapped"
    meaning = read_mapping((folder / "bank-c.toml").read_bytes(), where="bank-c.toml")
    options = Options(mapping=meaning)
    found = ingest((folder / "bank-c.csv").read_bytes(), context_of("bank-c"), where="bank-c.csv", options=options)
    assert len(found.drafts) == 3


def test_a_mapping_comes_from_the_command_line(tmp_path: Path) -> None:
    from chainnode.ingesting import mapping_of

    file = tmp_path / "m.toml"
    file.write_text(TOML, "utf-8")
    assert mapping_of(file) == mapped(TOML)
    assert mapping_of(None) is None
