"""What a mark's code says, and everything that is not one: each refused by its name."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.certificate_bodies import Product
from ledger.certificate_records import Certificate, State
from ledger.mark_codes import (
    BASE_CHARACTERS_MAX,
    CODE_CHARACTERS_MAX,
    MarkCode,
    check_chain,
    check_hash,
    check_host,
    checked_base,
    looks_like,
    mark_code,
    mark_hash,
    parse_mark,
    parse_mark_code,
)
from ledger.mark_errors import ForeignCode, ForeignHost, ForgedMark, LookalikeNumber, MarkCodeError, OtherChain
from primitives.errors import UsageError
from primitives.ids import ZERO_HASH, Hash
from tests.ledger.certificate_fixtures import NUMBER, suspend
from tests.ledger.mark_fixtures import Marked
from tests.ledger.scheme_fixtures import REVOKE, SCHEME_EVENTS

BASE = "https://explorer.example"
CHAIN = Hash(sha256(b"a chain").digest())
MARK = "1.0011223344556677.00112233445566778899aabbccddeeff"
CODE = f"{BASE}/certificate/{NUMBER}?mark={MARK}"


def certificate() -> Certificate:
    """Return a certificate in force."""
    return Marked().certificate()


def test_a_code_comes_back_as_it_was_written() -> None:
    code = mark_code(BASE, CHAIN, certificate())
    assert parse_mark_code(code.text) == code
    assert parse_mark(NUMBER, code.mark) == MarkCode("", NUMBER, code.chain, code.hash)
    assert code.text.startswith(f"{BASE}/certificate/{NUMBER}?mark=1.{CHAIN.hex()[:16]}.")


def test_the_code_of_a_known_certificate_is_this_for_good() -> None:
    known = replace(certificate(), valid_from_ms=1_800_000_000_000, valid_until_ms=1_890_000_000_000)
    assert mark_code(BASE, ZERO_HASH, known).mark == "1.0000000000000000.2b10e8e2a989fd10638d190feec334e7"


def test_a_code_holds_through_every_change_of_a_certificates_life() -> None:
    consortium = Marked()
    before = mark_hash(CHAIN, consortium.certificate())
    consortium.must("cb", SCHEME_EVENTS["certificate.reduce"][2])
    consortium.must("cb", suspend())
    consortium.must("cb", consortium.signed(REVOKE), "decider")
    assert consortium.certificate().state is State.REVOKED
    assert mark_hash(CHAIN, consortium.certificate()) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"number": "FTP-2026-06-000002"},
        {"application": "bank-a.0009"},
        {"holder": "bank-b"},
        {"holder_name": "Bank B"},
        {"product": Product("Counter terminal", "CT-1", "2.1")},
        {"category": 7},
        {"catalogue": 1},
        {"body": "cb-other"},
        {"valid_from_ms": 1},
        {"valid_until_ms": 1},
        {"predecessor": NUMBER},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_whatever_a_certificate_says_for_life_changes_the_hash(changes: dict[str, object]) -> None:
    known = certificate()
    assert mark_hash(CHAIN, replace(known, **changes)) != mark_hash(CHAIN, known)
    assert mark_hash(ZERO_HASH, known) != mark_hash(CHAIN, known)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://bank.example/",
        "00020101021226",
        f"{CODE}&next=1",
        f"{CODE}#top",
        f" {CODE}",
        f"{CODE}\n",
        CODE.replace("?mark=", "?Mark="),
        CODE.replace("mark=1.", "mark=2."),
        CODE.replace("https", "ftp"),
        CODE.replace("https", "HTTPS"),
        CODE.replace("explorer.example", "user@explorer.example"),
        CODE.replace("explorer.example", "explorer.example:0"),
        CODE.replace("explorer.example", "Explorer.example"),
        CODE.replace("explorer.example", "explorer.example/../other"),
        CODE.replace("explorer.example", "explоrer.example"),
        CODE.upper(),
        CODE[:-1],
        f"{CODE}0",
        CODE.replace("ddeeff", "DDEEFF"),
        CODE.replace("0011", "٠٠11"),
        f"javascript:alert(1)//certificate/{NUMBER}?mark={MARK}",
        CODE.replace(BASE, f"https://{'a' * BASE_CHARACTERS_MAX}"),
        CODE + "0" * CODE_CHARACTERS_MAX,
        CODE.replace(NUMBER, "hello"),
    ],
)
def test_any_other_text_is_foreign(text: str) -> None:
    with pytest.raises(ForeignCode):
        parse_mark_code(text)


@pytest.mark.parametrize(
    "number",
    [
        "ftp-2026-06-000001",
        "FTP-2O26-06-000001",
        "FTP-2026-O6-00000l",
        "FТP-2026-06-000001",
        "FTP-2026-06-00000\uff11",
        "FTP-2026-06-00000%EF%BC%91",
        "FTP–2026–06–000001",
        "%46TP-2026-06-000001",
        "FTP-２０２６-06-000001",
    ],
)
def test_a_number_that_only_looks_like_one_is_refused_and_the_one_meant_is_told(number: str) -> None:
    assert looks_like(number) == NUMBER
    with pytest.raises(LookalikeNumber) as refused:
        parse_mark_code(CODE.replace(NUMBER, number))
    assert NUMBER in str(refused.value)
    assert str(refused.value).isascii()


def test_a_code_to_another_site_is_refused() -> None:
    code = mark_code("https://explorer.example.evil.example", CHAIN, certificate())
    with pytest.raises(ForeignHost):
        check_host(code, [BASE])
    check_host(mark_code(f"{BASE}/", CHAIN, certificate()), [BASE])


def test_a_code_of_another_chain_is_refused() -> None:
    code = mark_code(BASE, CHAIN, certificate())
    with pytest.raises(OtherChain):
        check_chain(code, ZERO_HASH)
    check_chain(code, CHAIN)


def test_a_forged_hash_and_one_moved_to_another_number_are_refused() -> None:
    known = certificate()
    code = mark_code(BASE, CHAIN, known)
    check_hash(code, CHAIN, known)
    other = replace(known, number="FTP-2026-06-000002")
    for forged, against in (
        (MarkCode(BASE, NUMBER, code.chain, bytes(16)), known),
        (MarkCode(BASE, other.number, code.chain, code.hash), other),
        (code, other),
        (code, replace(known, product=Product("Counter terminal", "CT-9", "2.0"))),
    ):
        with pytest.raises(ForgedMark):
            check_hash(forged, CHAIN, against)


@pytest.mark.parametrize("base", ["explorer.example", "https://", "https://a b", f"https://{'a' * 200}", "file:///etc"])
def test_a_mark_is_not_drawn_for_what_is_no_site(base: str) -> None:
    with pytest.raises(UsageError):
        checked_base(base)


@pytest.mark.parametrize("base", ["http://127.0.0.1:7401", "http://[::1]:7401", "https://bank.example/ledger/"])
def test_a_site_may_have_a_port_and_a_path(base: str) -> None:
    code = mark_code(base, CHAIN, certificate())
    assert parse_mark_code(code.text) == code


@given(st.text(max_size=200))
def test_any_text_is_taken_as_it_is_written_or_refused(text: str) -> None:
    for tried in (text, CODE.replace(NUMBER, text), CODE.replace(MARK, text), CODE.replace(BASE, text)):
        try:
            code = parse_mark_code(tried)
        except MarkCodeError:
            continue
        assert code.text == tried


@given(st.integers(0, len(CODE) - 1), st.characters())
def test_one_changed_character_never_passes_for_the_same_mark(place: int, put: str) -> None:
    changed = CODE[:place] + put + CODE[place + 1 :]
    if changed == CODE:
        return
    try:
        code = parse_mark_code(changed)
    except MarkCodeError:
        return
    assert code != parse_mark_code(CODE)
