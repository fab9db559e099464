"""The formats that are read, behind one small interface: name them, or let `auto` find out.

Foreign code is never loaded beside signing keys: an adapter is a module of this package, and JSON lines serve whoever
has another format.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from chainnode.ingest.context import IngestContext
from chainnode.ingest.csv_mapping import CsvMapping
from chainnode.ingest.csv_rows import header_of, parse_csv
from chainnode.ingest.drafts import Ingested, statement_draft
from chainnode.ingest.errors import FormatError, NotAPartyError
from chainnode.ingest.iso8583 import parse_iso8583
from chainnode.ingest.iso8583_framing import is_iso8583
from chainnode.ingest.iso20022 import parse_iso20022
from chainnode.ingest.jsonl import EventLine, parse_jsonl
from chainnode.ingest.parsed import ParsedPayment
from chainnode.ingest.payment_lines import REQUIRED
from chainnode.ingest.statements import statement_for
from chainnode.ingest.xml_text import without_blocks
from primitives.errors import InputError

AUTO = "auto"
_XML_STARTS = (b"<", b"\xef\xbb\xbf<", b"\xff\xfe<", b"\xfe\xff\0<", b"\0<", b"\xff\xfe\0\0<", b"\0\0\xfe\xff\0\0\0<")
_GZIP = rb"\x1f\x8b\x08[\0-\x1f]"  # half of them could as well be a long message of packed digits
_UNPACK = "unpack it first, such as: gunzip -c FILE | chainnode submit -"
_ONE_A_LINE = "JSON comes with one object on each line: jq -c '.[]?' FILE | chainnode submit -"
_CONVERT = "convert it to UTF-8 first: iconv -f {} -t UTF-8 FILE | chainnode submit -"
_MT = "messages of SWIFT's MT are not read: submit the ISO 20022 message (MX), or JSON lines"
# What comes in by mistake: first bytes, what it is, what to do. What is packed is no text, in whichever encoding.
_PACKED = (
    (_GZIP, "a gzip file", _UNPACK),
    (rb"PK(?:\x03\x04|\x05\x06)", "a zip file, or a workbook", "unpack it first, or save the sheet as CSV"),
    (rb"BZh[1-9]1AY|\xfd7zXZ\0|\x28\xb5\x2f\xfd|7z\xbc\xaf\x27\x1c", "a packed file", "unpack it first"),
    (rb".{257}ustar", "a tar archive", "unpack it first"),
    (rb"%PDF-", "a PDF file", "submit the messages themselves"),
    (rb"\xd0\xcf\x11\xe0", "a workbook", "save the sheet as CSV"),
)
_TEXTS = (
    (rb"(?:\xef\xbb\xbf)?\s*\[", "a JSON list", _ONE_A_LINE),
    (rb"(?:\xef\xbb\xbf)?\s*\{\s*\n", "JSON over several lines", _ONE_A_LINE.replace(".[]?", ".")),
    (rb"\s*\{1:[AF]\d\d", "a SWIFT MT message", _MT),
    (rb"\xff\xfe[^\0<]\0|\xfe\xff\0[^\0<]", "text in UTF-16", _CONVERT.format("UTF-16")),
    (rb"\x4c\x6f\xa7\x94\x93", "XML in EBCDIC", _CONVERT.format("IBM1047")),
    (rb"\s*000201", "a bare QR payload", "put it into a JSON line: see docs/payment-formats.md"),
)
_SNIFF_BYTES = 4096
_Others = tuple[tuple[re.Pattern[bytes], str, str], ...]


def _compiled(*others: tuple[bytes, str, str]) -> _Others:
    return tuple((re.compile(pattern, re.DOTALL), what, hint) for pattern, what, hint in others)


_NOT_TEXT, _NOT_READ = _compiled(*_PACKED), _compiled(*_PACKED, *_TEXTS)


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is taken: whether bad messages are left out and reported, and who reads events in JSON form.

    `skip_foreign` leaves those out, and reports them, of which the reporter is no party.

    `mapping` tells what the columns of CSV files mean; with one, `auto` takes every file for CSV.
    """

    skip_bad: bool = False
    event_line: EventLine | None = None
    mapping: CsvMapping | None = None
    skip_foreign: bool = False

    def leaves_out(self, error: InputError) -> bool:
        """Say whether what was refused so is left out and reported, and the rest of the file taken."""
        return self.skip_bad or (self.skip_foreign and isinstance(error, NotAPartyError))


@dataclass(frozen=True, slots=True)
class Adapter:
    """One format: `detect` looks at a file's first bytes, `parse` gives its events or raises InputError."""

    name: str
    detect: Callable[[bytes], bool]
    parse: Callable[[bytes, IngestContext, str, Options], Ingested]


def _is_xml(head: bytes) -> bool:
    return without_blocks(head.lstrip(b" \t\r\n")).startswith(_XML_STARTS)


def _is_json_lines(head: bytes) -> bool:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def _is_qr_lines(head: bytes) -> bool:
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0]
    return first.startswith(b"{") and b'"payload"' in first


def _is_csv(head: bytes) -> bool:
    return set(header_of(head)) >= REQUIRED


def _parse_iso20022(data: bytes, context: IngestContext, where: str, options: Options) -> Ingested:
    parsed = parse_iso20022(data, where=where, skip_bad=options.skip_bad, offset_minutes=context.utc_offset_minutes)
    ingested = Ingested("iso20022", refused=parsed.refused, partial=parsed.partial)
    parsed.payments.reverse()
    while parsed.payments:  # each is let go as its statement is made: a large file holds one of the two
        _add_statement(ingested, parsed.payments.pop(), context, options)
    return ingested


def _parse_iso8583(data: bytes, context: IngestContext, where: str, options: Options) -> Ingested:
    ingested, kept = Ingested("iso8583"), []
    for found in parse_iso8583(data, context, where=where, leaves_out=options.leaves_out):
        if isinstance(found, InputError):
            ingested.refuse(found)
        else:
            _add_statement(ingested, found, context, options)
            kept.append(found.source)
    ingested.kept = b"\n".join(kept)  # the file may hold PIN blocks and tracks
    return ingested


def _add_statement(ingested: Ingested, payment: ParsedPayment, context: IngestContext, options: Options) -> None:
    try:
        ingested.drafts.append(statement_draft(statement_for(payment, context), payment.where))
    except InputError as error:
        if not options.leaves_out(error):
            raise
        ingested.partial.add(bytes(payment.message_digest))
        ingested.refuse(error)


def _parse_json_lines(data: bytes, context: IngestContext, where: str, options: Options) -> Ingested:
    return parse_jsonl(data, context, where=where, leaves_out=options.leaves_out, event_line=options.event_line)


def _parse_qr_lines(data: bytes, context: IngestContext, where: str, options: Options) -> Ingested:
    ingested = parse_jsonl(data, context, where=where, leaves_out=options.leaves_out)
    ingested.format = "emvqr"
    return ingested


def _parse_csv(data: bytes, context: IngestContext, where: str, options: Options) -> Ingested:
    return parse_csv(data, context, where=where, leaves_out=options.leaves_out, mapping=options.mapping)


ADAPTERS: tuple[Adapter, ...] = (
    Adapter("iso20022", _is_xml, _parse_iso20022),
    Adapter("iso8583", is_iso8583, _parse_iso8583),
    Adapter("emvqr", _is_qr_lines, _parse_qr_lines),
    Adapter("jsonl", _is_json_lines, _parse_json_lines),
    Adapter("csv", _is_csv, _parse_csv),
)
FORMATS = tuple(adapter.name for adapter in ADAPTERS)


def detect_format(data: bytes, *, where: str) -> str:
    """Return the name of the format that a file's first bytes show; FormatError where none does."""
    head = data[:_SNIFF_BYTES]
    _check_readable(head, _NOT_READ, where)
    # A line may be mixed with others that are no QR payments: `auto` takes JSON of any sort as lines.
    for adapter in ADAPTERS:
        if adapter.name != "emvqr" and adapter.detect(head):
            return adapter.name
    got, hint = f"{len(data)} bytes of something else", "name it with --format"
    raise FormatError("format not recognised", where=where, expected=", ".join(FORMATS), got=got, hint=hint)


def _check_readable(head: bytes, others: _Others, where: str) -> None:
    """Raise FormatError for what often comes by mistake, and say what to do with it."""
    if is_iso8583(head) and re.match(_GZIP, head) is None:
        return
    found = next(((what, hint) for pattern, what, hint in others if pattern.match(head) is not None), None)
    if found is not None:
        what, hint = found
        raise FormatError("format not read", where=where, expected=", ".join(FORMATS), got=what, hint=hint)


def ingest(
    data: bytes, context: IngestContext, *, where: str, format_name: str = AUTO, options: Options | None = None
) -> Ingested:
    """Return the events of a file in the format of that name, or in the one that its bytes show.

    `where` names the file in errors. Raises InputError (one of its classes in `chainnode.ingest.errors`) where the
    file, or unless `skip_bad` any message in it, is not acceptable.
    """
    if not data.strip():
        raise FormatError("file is empty", where=where, expected="at least one message", got="nothing")
    options = options or Options()
    if options.mapping is not None and format_name not in (AUTO, "csv"):
        raise FormatError("a mapping is for CSV", where=where, expected="the format csv", got=format_name)
    name = "csv" if options.mapping is not None else format_name
    name = detect_format(data, where=where) if name == AUTO else name
    adapter = next((adapter for adapter in ADAPTERS if adapter.name == name), None)
    if adapter is None:
        expected = ", ".join((AUTO, *FORMATS))
        raise FormatError("unknown format", where=where, expected=expected, got=repr(name))
    # A mapping may name any encoding, and its rows may begin with anything.
    _check_readable(data[:_SNIFF_BYTES], _NOT_READ if options.mapping is None else _NOT_TEXT, where)
    return adapter.parse(data, context, where, options)
