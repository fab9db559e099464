"""What an attacker's XML can try: each attempt is refused with its line, before it costs anything."""

from __future__ import annotations

import time

import pytest

from chainnode.ingest import iso20022_xml, xml_text
from chainnode.ingest.errors import XmlError
from chainnode.ingest.iso20022 import parse_iso20022
from chainnode.ingest.xml_text import to_utf8
from primitives.errors import InputError
from tests.chainnode.ingest.ingest_fixtures import BAD, sample

PLAIN = sample("01").decode()
LAUGHS = (
    "<!DOCTYPE lolz ["
    + "".join(f"<!ENTITY l{level + 1} '" + f"&l{level};" * 10 + "'>" for level in range(9))
    + '<!ENTITY l0 "lol">]>'
)

ATTACKS = {
    "an entity bomb": f"<?xml version='1.0'?>{LAUGHS}<Document>&l9;</Document>",
    "a quadratic blow-up": "<!DOCTYPE d [<!ENTITY a '" + "a" * 50_000 + "'>]><Document>" + "&a;" * 1000 + "</Document>",
    "an external entity": '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><Document>&x;</Document>',
    "a parameter entity": '<!DOCTYPE d [<!ENTITY % p SYSTEM "http://127.0.0.1/x"> %p;]><Document/>',
    "an external DTD": '<!DOCTYPE d SYSTEM "http://127.0.0.1/x.dtd"><Document/>',
    "a DTD alone": "<!DOCTYPE Document><Document/>",
    "an undeclared entity": "<Document>&nbsp;</Document>",
    "deep nesting": "<a>" * 100_000,
    "too many attributes": "<a " + " ".join(f"a{number}='x'" for number in range(17)) + "/>",
    "a long attribute": "<a b='" + "x" * 1025 + "'/>",
    "a long text": f"<a>{'x' * 40_000}</a>",
    "a long text in pieces": f"<a>{'x<!-- -->' * 40_000}</a>",
    "a long name": f"<{'x' * 300}/>",
    "too many names": "<F>" + "".join(f"<a{number}/>" for number in range(5_001)) + "</F>",
    "a comment without end": "<F><!--" + "x" * 3_000_000,
    "a tag without end": "<F " + "x" * 3_000_000,
    "an instruction before everything": "<?x " + "x" * 3_000_000,
    "two roots": "<a/><b/>",
    "text before the declaration": "x" + PLAIN,
    "nothing": " ",
    "an attribute twice": '<a b="1" b="2"/>',
    "an unbound prefix": "<p:a/>",
    "a control character": "<a>\x01</a>",
    "a null character": "<a>\0</a>",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_with_its_line(name: str) -> None:
    began = time.process_time()
    with pytest.raises(XmlError) as caught:
        parse_iso20022(ATTACKS[name].encode(), where="f.xml")
    assert str(caught.value).startswith("f.xml:")
    assert time.process_time() - began < 2, "an attack costs next to nothing"


MIXED = {
    "an amount around an element": ('<IntrBkSttlmAmt Ccy="CNY">', "1<b>2</b>"),
    "an amount around an empty element": ('<IntrBkSttlmAmt Ccy="CNY">', "12<b/>"),
    "a reference after an element": ("<EndToEndId>", "<x/>"),
    "a reference around an element": ("<EndToEndId>", "E2E<x/>"),
    "text among elements": ("<CdtTrfTxInf>", "text"),
}


@pytest.mark.parametrize("name", MIXED)
def test_text_and_elements_mixed_are_refused_and_not_read_in_part(name: str) -> None:
    before, added = MIXED[name]
    assert PLAIN.count(before) == 1
    with pytest.raises(XmlError, match="text and elements mixed"):
        parse_iso20022(PLAIN.replace(before, before + added).encode(), where="f.xml")


@pytest.mark.parametrize("skip_bad", [False, True])
def test_an_unsafe_file_is_refused_even_where_bad_messages_may_be_left_out(skip_bad: bool) -> None:
    with pytest.raises(XmlError, match="forbidden"):
        parse_iso20022((BAD / "xml-entity-bomb.xml").read_bytes(), where="f.xml", skip_bad=skip_bad)
    with pytest.raises(XmlError, match="not well-formed"):
        parse_iso20022(PLAIN[:-20].encode(), where="f.xml", skip_bad=skip_bad)


@pytest.mark.parametrize("path", sorted(BAD.glob("xml-*")), ids=lambda path: path.stem)
def test_a_broken_file_is_refused(path: object) -> None:
    with pytest.raises(InputError, match=r"^f\.xml"):
        parse_iso20022(path.read_bytes(), where="f.xml")  # type: ignore[attr-defined]  # parametrized Path


def test_limits_hold_where_they_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in (
        ("FILE_SIZE_MAX", 100),
        ("ELEMENTS_MAX", 10),
        ("TRANSACTION_ELEMENTS_MAX", 10),
        ("DEPTH_MAX", 3),
        ("NAMES_MAX", 10),
        ("TEXT_LENGTH_MAX", 10),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(iso20022_xml, name, limit)
            with pytest.raises(XmlError, match=r"limit|too large"):
                parse_iso20022(PLAIN.encode(), where="f.xml")
    assert parse_iso20022(PLAIN.encode(), where="f.xml").payments


def test_white_space_between_elements_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iso20022_xml, "TEXT_LENGTH_MAX", 80)
    start, stop = PLAIN.index("    <CdtTrfTxInf>"), PLAIN.index("</CdtTrfTxInf>") + len("</CdtTrfTxInf>\n")
    many = PLAIN[:start] + PLAIN[start:stop] * 100 + PLAIN[stop:]
    many = many.replace("<NbOfTxs>1<", "<NbOfTxs>100<")
    assert len(parse_iso20022(many.encode(), where="f.xml").payments) == 100


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030", "gbk"])
def test_an_encoding_that_is_declared_or_shown_is_decoded(codec: str) -> None:
    declared = {"utf-8-sig": "UTF-8", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}.get(codec, codec)
    text = f'<?xml version="1.0" encoding="{declared}"?><a>王小明</a>'
    assert "王小明".encode() in to_utf8(text.encode(codec), where="f.xml")


CONTRADICTIONS = {
    "declared UTF-16 in single bytes": b'<?xml version="1.0" encoding="UTF-16"?><a/>',
    "declared UTF-8 in UTF-16": '<?xml version="1.0" encoding="UTF-8"?><a/>'.encode("utf-16"),
    "declared Latin-1 after the mark of UTF-8": '\ufeff<?xml version="1.0" encoding="ISO-8859-1"?><a/>'.encode(),
    "UTF-32": "<a/>".encode("utf-32"),
    "UTF-7": b'<?xml version="1.0" encoding="UTF-7"?><a>+ADw-</a>',
    "an invented encoding": b'<?xml version="1.0" encoding="x-secret"?><a/>',
    "a broken sequence": b"<a>\xc3\x28</a>",
    "half of a character": b"<a>\xe7\x8e",
    "half of a UTF-16 unit": "<a/>".encode("utf-16") + b"\0",
    "a broken GB 18030 sequence": b'<?xml version="1.0" encoding="GB18030"?><a>\xff\xff</a>',
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_an_encoding_that_contradicts_itself_is_refused(name: str) -> None:
    with pytest.raises(XmlError, match="expected"):
        to_utf8(CONTRADICTIONS[name], where="f.xml")


@pytest.mark.parametrize("piece", [1, 7, 64, 1024])
def test_a_file_is_read_alike_in_pieces_of_any_size(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = parse_iso20022(PLAIN.encode(), where="f.xml").payments
    monkeypatch.setattr(iso20022_xml, "PIECE_BYTES", piece)
    assert parse_iso20022(PLAIN.encode(), where="f.xml").payments == whole


@pytest.mark.parametrize("piece", [1, 2, 3, 7])
@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le", "gb18030"])
def test_text_is_decoded_alike_in_pieces_of_any_size(monkeypatch: pytest.MonkeyPatch, codec: str, piece: int) -> None:
    declared = "UTF-16" if codec == "utf-16-le" else codec
    text = f'<?xml version="1.0" encoding="{declared}"?><a>王小明 𝄞 é</a>'
    monkeypatch.setattr(xml_text, "PIECE_BYTES", piece)
    assert to_utf8(text.encode(codec), where="f.xml") == text.encode()
    for at in range(2):
        broken = bytearray(text.encode(codec))
        broken[-5 - at : -4 - at] = b"\xff\xdc" if codec == "utf-16-le" else b"\xff"
        with pytest.raises(XmlError, match=r"f\.xml:1: text is not in its encoding.* at offset [0-9]+"):
            to_utf8(bytes(broken), where="f.xml")


def test_a_bad_byte_is_told_with_its_line_and_offset_in_any_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml_text, "PIECE_BYTES", 4)
    data = b"<a>\n" + "王王王".encode() + b"\n\xff</a>"
    with pytest.raises(XmlError, match=r"f\.xml:3: .* got byte 0xff at offset 14"):
        to_utf8(data, where="f.xml")


@pytest.mark.parametrize(
    "digits", ["9" * 19, "1" + "0" * 18, "1234567890123456.789", "0.001", "1.", "1,00", "+1.00", "１.00"]
)
def test_an_amount_beyond_18_digits_or_its_currency_s_decimals_is_refused_with_its_field(digits: str) -> None:
    assert "1250.00</IntrBk" in PLAIN
    text = PLAIN.replace("1250.00</IntrBk", f"{digits}</IntrBk")
    if digits == "1.":  # XML Schema's decimals may end with their point
        parse_iso20022(text.encode(), where="f.xml")
        return
    with pytest.raises(InputError, match=r"f\.xml: message 1: transaction 1: line [0-9]+ \(IntrBkSttlmAmt\): amount"):
        parse_iso20022(text.encode(), where="f.xml")
