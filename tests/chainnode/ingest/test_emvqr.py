"""Merchant-presented QR payloads: what EMVCo allows is read, what it forbids is refused by the id that breaks it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainnode.ingest.emvqr import _are_plain, _currency, _name_bad_object, build_qr, crc_of, parse_objects, parse_qr
from chainnode.ingest.errors import QrError
from tests.chainnode.ingest.ingest_fixtures import SAMPLES

PLAIN: dict[str, Any] = {
    "accounts": {"15": "3125156431251564000010000000000"},
    "category": "5812",
    "currency": "CNY",
    "country": "CN",
    "name": "LOTUS GARDEN",
    "city": "BEIJING",
}


def sealed(text: str) -> str:
    """Return a payload's body with the CRC that belongs to it."""
    return text + "6304" + crc_of(text + "6304")


BODY = build_qr(**PLAIN, amount_minor=2372)[:-8]


def test_the_checksum_is_crc_16_ccitt_false() -> None:
    assert crc_of("123456789") == "29B1", "the check value that the CRC catalogue gives"


def test_a_built_payload_is_read_back() -> None:
    code = parse_qr(build_qr(**PLAIN, amount_minor=2372))
    assert (code.currency, code.amount_minor, code.amount_text) == ("CNY", 2372, "23.72")
    assert code.merchant_accounts == {"15": "3125156431251564000010000000000"}
    assert code.objects["01"] == "12", "a payload with an amount is dynamic"


def test_a_payload_without_amount_is_static() -> None:
    code = parse_qr(build_qr(**PLAIN))
    assert (code.amount_minor, code.amount_text, code.objects["01"]) == (None, None, "11")


def test_lengths_count_characters_and_the_checksum_bytes() -> None:
    payload = build_qr(**PLAIN, language=("ZH", "莲花餐厅", "北京"))
    assert "0104莲花餐厅" in payload
    assert parse_qr(payload).templates["64"] == {"00": "ZH", "01": "莲花餐厅", "02": "北京"}
    by_bytes = payload[:-8].replace("0104莲花餐厅", "0112莲花餐厅")
    with pytest.raises(QrError):
        parse_qr(sealed(by_bytes))


def test_a_character_beyond_the_basic_plane_counts_as_one() -> None:
    assert parse_qr(build_qr(**PLAIN, language=("ZH", "𠮷野家", "北京"))).templates["64"]["01"] == "𠮷野家"


def test_the_checksum_may_be_written_in_small_letters() -> None:
    payload = build_qr(**PLAIN, additional=[("05", "REF1")])
    assert parse_qr(payload[:-4] + payload[-4:].lower()).currency == "CNY"


@pytest.mark.parametrize(
    "others",
    [
        {"55": "01"},
        {"55": "02", "56": "1.50"},
        {"55": "03", "57": "5.00"},
        {"61": "100000"},
        {"65": "anything"},
        {"80": [("00", "2f1a64d1c1e64a0b9d7f55a0c4e3b2a1")], "91": [("00", "A011223344998877"), ("07", "12345678")]},
    ],
)
def test_optional_data_objects_are_read(others: dict[str, Any]) -> None:
    code = parse_qr(build_qr(**PLAIN, others=others))
    assert set(others) <= set(code.objects)


def test_data_objects_may_stand_in_any_order_but_the_first_and_the_last() -> None:
    objects = parse_objects(BODY)
    first = objects.pop("00")
    body = f"0002{first}" + "".join(
        f"{number}{len(value):02d}{value}" for number, value in reversed(list(objects.items()))
    )
    assert parse_qr(sealed(body)).amount_minor == 2372


@pytest.mark.parametrize(
    ("currency", "number", "minor", "text"),
    [("CNY", "156", 2372, "23.72"), ("JPY", "392", 500, "500"), ("BHD", "048", 75_125, "75.125")],
)
def test_currencies_go_by_their_numbers(currency: str, number: str, minor: int, text: str) -> None:
    code = parse_qr(build_qr(**{**PLAIN, "currency": currency}, amount_minor=minor))
    assert (code.objects["53"], code.amount_text, code.currency) == (number, text, currency)


@pytest.mark.parametrize(("text", "minor"), [("23", 2300), ("23.", 2300), ("23.7", 2370), ("0023.70", 2370)])
def test_amounts_are_read_in_each_form_that_is_allowed(text: str, minor: int) -> None:
    body = BODY.replace("540523.72", f"54{len(text):02d}{text}")
    assert parse_qr(sealed(body)).amount_minor == minor


def swap(old: str, new: str) -> str:
    assert BODY.count(old) == 1, f"{old} stands once in {BODY}"
    return sealed(BODY.replace(old, new))


REFUSED = {
    "nothing": "",
    "a word": "foo",
    "a checksum of another payload": BODY + "63040000",
    "no checksum": BODY,
    "a checksum that is not last": sealed("000201" + "6304ABCD" + BODY[6:]),
    "another format": sealed("000202" + BODY[6:]),
    "something before the format": sealed("010212000201" + BODY[12:]),
    "a data object twice": swap("5802CN", "5802CN5802CN"),
    "a length beyond the end": swap("5802CN", "5899CN"),
    "a length of zero": swap("5802CN", "58005802CN"),
    "a length in words": swap("5802CN", "58xxCN"),
    "a full-width length": swap("5802CN", "58０２CN"),
    "an id in letters": swap("5802CN", "AB02CN5802CN"),
    "no merchant account": swap("15313125156431251564000010000000000", ""),
    "no country": swap("5802CN", ""),
    "no name": swap("5912LOTUS GARDEN", ""),
    "no city": swap("6007BEIJING", ""),
    "no category": swap("52045812", ""),
    "no currency": swap("5303156", ""),
    "a country in small letters": swap("5802CN", "5802cn"),
    "an unknown currency": swap("5303156", "5303000"),
    "a currency by its letters": swap("5303156", "5303CNY"),
    "a category in words": swap("52045812", "5204food"),
    "an amount of zero": swap("540523.72", "54040.00"),
    "a negative amount": swap("540523.72", "5406-23.72"),
    "an amount with a comma": swap("540523.72", "540523,72"),
    "too many decimals": swap("540523.72", "540623.721"),
    "too long an amount": swap("540523.72", "541412345678901.23"),
    "too long a name": swap("5912LOTUS GARDEN", "5926" + "X" * 26),
    "a line feed in a name": swap("5912LOTUS GARDEN", "5912LOTUS\nGARDEN"),
    "an escape in a city": swap("6007BEIJING", "6007BEIJ\x1bNG"),
    "a UnionPay merchant of one character": swap("15313125156431251564000010000000000", "15013"),
    "a UnionPay merchant of 32 characters": swap("15313125156431251564000010000000000", "1532" + "3" * 32),
    "too long a city": swap("6007BEIJING", "6016" + "X" * 16),
    "another way to begin": swap("010212", "010213"),
    "a fixed tip without its indicator": swap("5802CN", "56041.505802CN"),
    "an indicator without its tip": swap("5802CN", "5502025802CN"),
    "an unknown tip": swap("5802CN", "5502045802CN"),
    "an account template without a name": swap("5802CN", "2608" + "01040001" + "5802CN"),
    "a broken template": swap("5802CN", "62040199" + "5802CN"),
    "a repeated id in a template": swap("5802CN", "6212" + "0502AA0502BB" + "5802CN"),
    "a language template without a name": swap("5802CN", "64060002ZH" + "5802CN"),
    "too long a template's name": swap("5802CN", "8037" + "0033" + "a" * 33 + "5802CN"),
    "half of a surrogate pair": "000201\ud800" + BODY,
    "too long": sealed(BODY + "".join(f"{number}99{'x' * 99}" for number in range(65, 80))),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_payload_that_breaks_the_rules_is_refused(name: str) -> None:
    with pytest.raises(QrError, match="expected") as caught:
        parse_qr(REFUSED[name], where="f.jsonl:7")
    assert str(caught.value).startswith("f.jsonl:7: ")
    assert "\n" not in str(caught.value)


@given(st.integers(0, len(BODY) + 7), st.characters(codec="utf-8"))
def test_no_changed_character_goes_unnoticed(index: int, character: str) -> None:
    payload = sealed(BODY)
    changed = payload[:index] + character + payload[index + 1 :]
    if changed[-4:].upper() == payload[-4:] and changed[:-4] == payload[:-4]:
        return
    with pytest.raises(QrError):
        parse_qr(changed)


@given(
    name=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=25),
    language=st.text(
        st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=25
    ),
    amount=st.one_of(st.none(), st.integers(1, 10**12 - 1)),
    currency=st.sampled_from(["CNY", "JPY", "BHD", "EUR"]),
    extra=st.dictionaries(
        st.sampled_from(["01", "05", "07"]), st.text("ABC123*-", min_size=1, max_size=25), max_size=3
    ),
)
def test_every_payload_that_is_built_is_read_back(
    name: str, language: str, amount: int | None, currency: str, extra: dict[str, str]
) -> None:
    if currency == "BHD" and amount is not None:
        amount %= 10**9
        amount += 1
    payload = build_qr(
        **{**PLAIN, "name": name, "currency": currency},
        amount_minor=amount,
        language=("ZH", language, "北京"),
        additional=sorted(extra.items()),
    )
    code = parse_qr(payload)
    assert (code.merchant_name, code.amount_minor, code.currency) == (name, amount, currency)
    assert code.templates["64"]["01"] == language
    assert code.templates.get("62", {}) == extra


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    for payload in (text, "000201" + text, sealed("000201" + text) if text.isprintable() else text):
        try:
            parse_qr(payload)
        except QrError:
            continue


def test_building_refuses_what_parsing_would() -> None:
    for change in ({"currency": "CNX"}, {"name": "X" * 26}, {"category": "food"}, {"accounts": {}}):
        with pytest.raises(QrError):
            build_qr(**{**PLAIN, **change})
    with pytest.raises(QrError):
        build_qr(**PLAIN, amount_minor=0)


def test_the_samples_are_twenty_payloads_and_some_of_unionpay() -> None:
    lines = [line for path in sorted(SAMPLES.glob("qr-bank-*.jsonl")) for line in path.read_text().splitlines()]
    codes = [parse_qr(json.loads(line)["payload"]) for line in lines]
    assert len(codes) == 20
    assert sum("15" in code.objects for code in codes) >= 5
    assert sum("64" in code.objects for code in codes) >= 5
    assert {code.currency for code in codes} == {"CNY", "JPY", "EUR"}
    assert any(code.amount_minor is None for code in codes)


WORDS = ["01", "11", "12", "5411", "156", "CN", "cn", "C1", "999", "1.50", "1.", ".5", "-1", "1.2.3", "٤٤٤٤", "ＣＮ"]
VALUES = st.one_of(st.sampled_from(WORDS), st.text(min_size=1, max_size=30), st.text("0123456789.", min_size=1))
GOOD_OBJECTS = {
    "00": "01",
    "01": "11",
    "15": "0" * 31,
    "52": "5411",
    "53": "156",
    "54": "1.5",
    "58": "CN",
    "59": "A",
    "60": "B",
    "61": "C",
    "63": "ABCD",
}


@given(
    st.dictionaries(st.sampled_from(sorted(GOOD_OBJECTS.keys() - {"63"})), VALUES, max_size=2),
    st.sets(st.sampled_from(sorted(GOOD_OBJECTS.keys() - {"00", "63"})), max_size=1),
)
def test_what_the_quick_check_lets_pass_breaks_no_rule_and_what_it_stops_breaks_one(
    changed: dict[str, str], gone: set[str]
) -> None:
    objects = {number: value for number, value in {**GOOD_OBJECTS, **changed}.items() if number not in gone}

    def named() -> None:
        _name_bad_object(objects)
        _currency(objects["53"])

    if _are_plain(objects):
        named()
    else:
        with pytest.raises(QrError):
            named()
