"""Amounts and times at the edges: decimal text to minor units and back, dates and times as numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.currencies import CODES, EXPONENTS, NUMBERS, decimal_text, exponent_of, minor_units
from ledger.times import format_time, parse_date, parse_time
from primitives.errors import InputError

MINOR = [
    ("23.72", "CNY", 2372),
    ("23.7", "CNY", 2370),
    ("23.", "CNY", 2300),
    ("0.01", "CNY", 1),
    ("0", "CNY", 0),
    ("007.10", "CNY", 710),
    ("120000", "JPY", 120_000),
    ("75.125", "BHD", 75_125),
    ("1.0001", "CLF", 10_001),
    ("9999999999999999.99", "CNY", 10**18 - 1),
]


@pytest.mark.parametrize(("text", "currency", "minor"), MINOR)
def test_decimal_text_becomes_minor_units(text: str, currency: str, minor: int) -> None:
    assert minor_units(text, currency) == minor


BAD_AMOUNTS = [
    ("1.001", "CNY"),
    ("1.0", "JPY"),
    ("1.0000", "BHD"),
    ("1", "CNX"),
    ("1", "XXX"),
    ("1", "cny"),
    ("-1", "CNY"),
    ("+1", "CNY"),
    ("", "CNY"),
    (".5", "CNY"),
    ("1,5", "CNY"),
    ("1e3", "CNY"),
    (" 1", "CNY"),
    ("1\n", "CNY"),
    ("１", "CNY"),
    ("NaN", "CNY"),
    ("10000000000000000.00", "CNY"),
    ("9" * 400, "CNY"),
    ("0" * 400_000 + "x", "CNY"),
]


@pytest.mark.parametrize(("text", "currency"), BAD_AMOUNTS, ids=range(len(BAD_AMOUNTS)))
def test_anything_else_is_refused(text: str, currency: str) -> None:
    with pytest.raises(InputError, match="expected"):
        minor_units(text, currency)


@pytest.mark.parametrize("text", ["7654321.987", "76543219876543219876", "7654321,98"])
def test_an_error_never_shows_the_amount(text: str) -> None:
    with pytest.raises(InputError, match="got") as caught:
        minor_units(text, "CNY")
    assert "7654321" not in str(caught.value)


@given(st.integers(0, 10**18 - 1), st.sampled_from(sorted(EXPONENTS)))
def test_minor_units_survive_their_text(minor: int, currency: str) -> None:
    assert minor_units(decimal_text(minor, currency), currency) == minor


def test_exponents_are_those_of_iso_4217() -> None:
    assert {code: exponent_of(code) for code in ("JPY", "CNY", "BHD", "CLF")} == {
        "JPY": 0,
        "CNY": 2,
        "BHD": 3,
        "CLF": 4,
    }
    assert (NUMBERS["CNY"], CODES["156"], NUMBERS["AMD"]) == ("156", "CNY", "051")
    assert len(CODES) == len(NUMBERS) == len(EXPONENTS)
    assert all(len(code) == 3 and code.isupper() for code in EXPONENTS)
    assert all(len(number) == 3 and number.isdigit() for number in CODES)


TIMES = [
    ("1970-01-01T00:00:00Z", 0),
    ("2026-04-13T10:30:00+00:00", 1_776_076_200_000),
    ("2026-04-13T18:30:00+08:00", 1_776_076_200_000),
    ("2026-04-13T10:30:00.5Z", 1_776_076_200_500),
    ("2026-04-13T10:30:00.123456789Z", 1_776_076_200_123),
]


@pytest.mark.parametrize(("text", "time_ms"), TIMES)
def test_times_are_read(text: str, time_ms: int) -> None:
    assert parse_time(text) == time_ms
    assert parse_time(format_time(time_ms)) == time_ms


def test_a_time_without_an_offset_is_local_only_where_that_is_said() -> None:
    assert parse_time("2026-04-13T18:30:00", default_offset_minutes=480) == 1_776_076_200_000
    with pytest.raises(InputError, match="not a time"):
        parse_time("2026-04-13T18:30:00")


@pytest.mark.parametrize(
    "text",
    ["", "2026-04-13", "13.04.2026", "2026-02-30T00:00:00Z", "1969-12-31T23:59:59Z", "2026-04-13T25:00:00Z", "x" * 99],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a time"):
        parse_time(text, default_offset_minutes=0)


@given(st.integers(0, 253_402_300_799_999))
def test_times_survive_their_text(time_ms: int) -> None:
    assert parse_time(format_time(time_ms)) == time_ms


def test_dates_are_numbers() -> None:
    assert parse_date("2026-04-13") == parse_date("2026-04-13Z") == parse_date("2026-04-13+08:00") == 2026_04_13
    for text in ("", "2026-4-13", "2026-02-30", "20260413", "2026-04-13T00:00:00"):
        with pytest.raises(InputError, match="not a date"):
            parse_date(text)
