"""JSON lines: one object a line, each an event of its own.

What a line is shows in its keys: `payload` makes it a QR payment (`chainnode.ingest.qr_lines`), `payment` a payment in
plain values (`chainnode.ingest.payment_lines`), and `kind` an event in its JSON form, which is read by the function
that the caller passes. Empty lines are allowed. The message key of a payment is the digest of its object with sorted
keys, so neither spaces nor the order of keys make another payment of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from chainnode.ingest.context import IngestContext
from chainnode.ingest.drafts import Draft, Ingested, statement_draft
from chainnode.ingest.errors import JsonError, LeavesOut, nothing_left_out, shown_names
from chainnode.ingest.json_text import parse_object
from chainnode.ingest.parsed import ParsedPayment
from chainnode.ingest.payment_lines import plain_payment
from chainnode.ingest.privacy import message_digest_of
from chainnode.ingest.qr_lines import qr_payment
from chainnode.ingest.statements import statement_for
from primitives.errors import InputError
from primitives.ids import Hash

FILE_SIZE_MAX = 256 * 1024 * 1024
LINE_SIZE_MAX = 128 * 1024
LINES_MAX = 1_000_000
_SORTED = msgspec.json.Encoder(order="deterministic")

EventLine = Callable[[Mapping[str, Any], str], Draft]  # Any: what JSON gives; the text names file and line


def parse_jsonl(
    data: bytes,
    context: IngestContext,
    *,
    where: str,
    leaves_out: LeavesOut = nothing_left_out,
    event_line: EventLine | None = None,
) -> Ingested:
    """Return a draft for each line; a bad line refuses the file, or is left out and reported (`leaves_out`)."""
    ingested = Ingested("jsonl")
    for number, line in split_lines(data, where):
        place = f"{where}:{number}"
        try:
            value = parse_object(line, where=place, size_max=LINE_SIZE_MAX)
            ingested.drafts.append(_draft(value, context, place, event_line))
        except InputError as error:
            if not leaves_out(error):
                raise
            ingested.refuse(error)
    return ingested


def split_lines(data: bytes, where: str) -> Iterator[tuple[int, bytes]]:
    """Yield number (from 1) and bytes of each line that is not empty; JsonError beyond the limits."""
    if len(data) > FILE_SIZE_MAX:
        raise JsonError("file too large", where=where, expected=f"at most {FILE_SIZE_MAX} bytes", got=len(data))
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    if data.count(b"\n") > LINES_MAX:
        raise JsonError("too many lines", where=where, expected=f"at most {LINES_MAX}", got="more")
    for number, line in enumerate(data.split(b"\n"), start=1):
        stripped = line.strip()
        if stripped:
            yield number, stripped


def _draft(value: dict[str, Any], context: IngestContext, where: str, event_line: EventLine | None) -> Draft:
    if "kind" in value:
        if event_line is None:
            raise JsonError("events are not taken here", where=where, expected="payload or payment", got="kind")
        return event_line(value, where)
    return statement_draft(statement_for(line_payment(value, context, where=where), context), where)


def line_payment(value: dict[str, Any], context: IngestContext, *, where: str) -> ParsedPayment:
    """Return the payment that a line tells."""
    digest = object_digest(value)
    if "payload" in value:
        return qr_payment(value, context, digest, where=where)
    inner = value.get("payment")
    if not isinstance(inner, dict) or len(value) != 1:
        expected = "a QR payment (payload), {payment: {...}} or an event (kind)"
        raise JsonError("line describes no event", where=where, expected=expected, got=shown_names(value))
    return plain_payment(inner, context, digest, where=where)


def object_digest(value: Mapping[str, Any]) -> Hash:
    """Return SHA-256 of an object's JSON in its one form, in UTF-8."""
    return message_digest_of(_written(value))


def object_text(value: Mapping[str, Any]) -> str:
    """Return an object's JSON with sorted keys and no spaces."""
    return _written(value).decode()


def _written(value: Mapping[str, Any]) -> bytes:
    try:
        return _SORTED.encode(value)
    except (OverflowError, msgspec.MsgspecError):  # a number of more than 64 bits
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
