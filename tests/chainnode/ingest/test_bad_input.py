"""Input that nobody meant for us: each is refused by name, with a place, and without a value that was read."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator

import pytest

from chainnode.ingest.csv_mapping import CsvMapping
from chainnode.ingest.errors import FormatError, shown_names
from chainnode.ingest.formats import Options, ingest
from primitives.errors import InputError
from tests.chainnode.ingest.card_fixtures import CARD, PURCHASE, TPDU, message, payments, with_lengths
from tests.chainnode.ingest.ingest_fixtures import SAMPLES, context_of, sample
from tests.chainnode.ingest.message_fixtures import BUILDERS, pacs008

CONTEXT = context_of("bank-a")
VALUES = ("6222021234567890", "Zhang Weiguo", "6222021234567890.5", "2026-13-40T99:00:00Z6222021234567890")
BARE = json.loads(sample("qr-bank-a").splitlines()[0])["payload"].encode()
ENCODINGS = ("ascii", "unionpay", "bcd")


def said(data: bytes, format_name: str = "auto") -> str:
    """Return what is said of a file; nothing where it is taken."""
    try:
        ingest(data, CONTEXT, where="f", format_name=format_name)
    except InputError as error:
        return str(error)
    return ""


MISTAKES = {
    "gzip": (gzip.compress(pacs008().encode()), "a gzip file; unpack it first"),
    "zip": (b"PK\x03\x04" + bytes(40), "a zip file, or a workbook; unpack it first"),
    "xz": (b"\xfd7zXZ\0" + bytes(40), "a packed file; unpack it first"),
    "tar": (b"a.xml".ljust(257, b"\0") + b"ustar\0" + bytes(40), "a tar archive"),
    "PDF": (b"%PDF-1.7\n", "a PDF file"),
    "JSON list": (b'[{"payment": {}}]', "a JSON list; JSON comes with one object on each line"),
    "JSON over lines": (b'{\n  "payment": {}\n}', "JSON over several lines"),
    "MT": (b"{1:F01BKAACNBJAXXX0000000000}{2:I103BKABCNBJXXXXN}{4:\n:20:R\n-}", "a SWIFT MT message"),
    "UTF-16": ("time,amount\n".encode("utf-16"), "text in UTF-16; convert it to UTF-8 first"),
    "UTF-32": ('<?xml version="1.0"?><a/>'.encode("utf-32"), "encoding not accepted"),
    "XML in EBCDIC": ('<?xml version="1.0"?><a/>'.encode("cp037"), "XML in EBCDIC"),
    "bare QR": (BARE, "a bare QR payload; put it into a JSON line"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_file_that_came_by_mistake_is_refused_with_what_to_do(name: str) -> None:
    data, told = MISTAKES[name]
    assert told in said(data)


def test_a_packed_file_is_told_so_whichever_format_was_named() -> None:
    for name in ("iso20022", "iso8583", "jsonl", "csv", "emvqr"):
        assert "a gzip file" in said(gzip.compress(b"x" * 1_000), name)


def test_a_packed_table_is_told_so_also_with_a_mapping_and_its_rows_may_begin_with_anything() -> None:
    columns = {"time": ("2",), "amount": ("3",), "reference": ("1",)}
    constants = {"currency": "CNY", "debtor_agent": "BKAACNBJXXX", "side": "debtor"}
    options = Options(mapping=CsvMapping(columns, constants, {}, header=False))
    row = b"000201,2026-04-13T10:30:00Z,1.00\n"
    assert len(ingest(row, CONTEXT, where="f", options=options).drafts) == 1
    with pytest.raises(FormatError, match="a gzip file"):
        ingest(gzip.compress(row), CONTEXT, where="f", options=options)


def test_half_of_all_gzip_times_are_no_card_messages() -> None:
    for second in range(256):
        assert "a gzip file" in said(gzip.compress(b"x" * 100, mtime=second << 8))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lengths_of_packed_digits_are_read(encoding: str) -> None:
    body = message(PURCHASE, encoding)  # type: ignore[arg-type]  # one of the three
    packed = bytes.fromhex(f"{len(body):04d}") + body
    assert [found.debtor.account for found in payments(packed * 3)] == [CARD] * 3
    binary = payments(with_lengths([body] * 3))
    assert [found.message_digest for found in payments(packed * 3)] == [found.message_digest for found in binary]


def test_a_cut_file_of_packed_lengths_is_refused() -> None:
    body = message(PURCHASE, "bcd")
    packed = bytes.fromhex(f"{len(body):04d}") + body
    assert "length of a message leads nowhere" in said(packed + packed[:-1])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_tpdu_in_hex_belongs_to_no_message(encoding: str) -> None:
    body = message(PURCHASE, encoding)  # type: ignore[arg-type]  # one of the three
    written = TPDU.hex().encode() + body
    framed = with_lengths([written, written], text=True)
    assert [found.debtor.account for found in payments(written)] == [CARD]
    assert [found.message_digest for found in payments(framed)] == [payments(body)[0].message_digest] * 2


def test_lines_may_each_begin_with_a_tpdu() -> None:
    line = TPDU.hex().encode() + message(PURCHASE) + b"\r\n"
    assert len(payments(line * 3)) == 3


@pytest.mark.parametrize("before", [b"", TPDU, b"\0\xcf", TPDU.hex().encode().decode().encode("cp500")])
def test_ebcdic_is_refused_by_name(before: bytes) -> None:
    body = message(PURCHASE).decode("latin-1").encode("cp500")
    for format_name in ("auto", "iso8583"):
        assert "card messages in EBCDIC" in said(before + body, format_name)


def test_a_refused_transaction_is_named_by_its_number_although_all_stands_in_one_line() -> None:
    text = f"<F>{pacs008()}{pacs008(message_id='MSG-2')}</F>"
    with pytest.raises(InputError, match=r"^f: message 1: transaction 1: line 1 \(CdtTrfTxInf\): the reporter is no"):
        ingest(text.encode(), context_of("bank-d"), where="f")
    drafts = ingest(text.encode(), CONTEXT, where="f").drafts
    assert [draft.where for draft in drafts] == [
        f"f: message {number}: transaction {place}: line 1 (CdtTrfTxInf)" for number in (1, 2) for place in (1, 2)
    ]


def test_a_transaction_after_one_left_out_keeps_its_number() -> None:
    text = pacs008().replace("<ChrgBr>SHAR", "<ChrgBr>NONE", 1)
    found = ingest(text.encode(), CONTEXT, where="f", options=Options(skip_bad=True))
    assert [draft.where for draft in found.drafts] == ["f: message 1: transaction 2: line 1 (CdtTrfTxInf)"]


def _misplaced() -> Iterator[tuple[str, bytes, str]]:
    """Yield files in which a card number or a name stands in another value's place, and what must not be told."""
    for builder in BUILDERS.values():
        text = builder(8)
        for match in re.finditer(r'(?<=>)[^<>]+(?=<)|(?<=Ccy=")[A-Z]{3}', text):
            for value in VALUES:
                yield "auto", (text[: match.start()] + value + text[match.end() :]).encode(), value
    for path in sorted(SAMPLES.glob("*.jsonl")):
        line = json.loads(path.read_text().splitlines()[0])
        for key in line:
            for given in (*VALUES, 6222021234567890, 6222021234567890.5):
                yield "jsonl", json.dumps({**line, key: given}).encode(), str(given)
            renamed = {(VALUES[0] if name == key else name): value for name, value in line.items()}
            yield "jsonl", json.dumps(renamed).encode(), VALUES[0]
        twice = f'{{"{VALUES[0]}": 1, "{VALUES[0]}": 2}}'
        yield "jsonl", twice.encode(), VALUES[0]
    for path in sorted(SAMPLES.glob("*.csv")):
        rows = [row.split(",") for row in path.read_text().splitlines()]
        for place in range(len(rows[0])):
            for value in VALUES:
                row = [value if at == place else cell for at, cell in enumerate(rows[1])]
                yield "csv", "\n".join(map(",".join, [rows[0], row])).encode(), value


def test_no_error_tells_a_value_that_stands_in_another_ones_place() -> None:
    told = {message for form, data, value in _misplaced() if value[:8] in (message := said(data, form))}
    assert not told


def test_keys_that_are_no_names_are_counted() -> None:
    assert shown_names({"amount", "6222021234567890", "王小明"}) == "amount, 2 more"
    assert shown_names({"6222021234567890"}) == "1 that look like no name"
    assert shown_names(()) == "nothing"
    assert len(shown_names(f"key_{at}" for at in range(1_000))) < 120


def test_a_count_of_more_digits_than_the_standard_has_is_not_repeated() -> None:
    text = pacs008().replace("<NbOfTxs>2<", "<NbOfTxs>6222021234567890<")
    assert "expected a number, got 2" in said(text.encode())
    with pytest.raises(FormatError):
        ingest(b"", CONTEXT, where="f")
