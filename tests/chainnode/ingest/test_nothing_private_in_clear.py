"""No name, account, reference or text of any sample or published message occurs in the bytes that go on the chain."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import iso8583
import pytest

from chainnode.ingest.context import IngestContext, make_context
from chainnode.ingest.emvqr import parse_objects, parse_qr
from chainnode.ingest.errors import NotAPartyError
from chainnode.ingest.formats import ingest
from chainnode.ingest.iso8583_fields import SPECIFICATIONS
from chainnode.ingest.iso8583_framing import split_messages
from chainnode.ingest.iso20022 import parse_iso20022
from chainnode.ingest.statements import statement_for
from chainnode.ingest.xml_text import to_utf8
from ledger.payments import BIC_PATTERN, CERTIFICATE_NUMBER_PATTERN, CNAPS_PATTERN, LEI_PATTERN, MESSAGE_TYPE_PATTERN
from primitives.encoding import encode
from primitives.errors import InputError
from tests.chainnode.ingest.ingest_fixtures import MEMBERS, REPOSITORY, SAMPLES, context_of

FILES = sorted(path for path in SAMPLES.iterdir() if path.suffix in (".xml", ".jsonl", ".csv", ".iso8583"))
VECTORS = Path(os.environ.get("CHAINNODE_VECTORS", REPOSITORY / ".." / "shared" / "vectors")) / "iso20022"
# What may stand in clear: codes of institutions, certificates and message types. Short texts are codes of the standard
# (CNY, SHAR, CN) or would occur by chance.
CLEAR = re.compile(
    "|".join((BIC_PATTERN, LEI_PATTERN, CNAPS_PATTERN, CERTIFICATE_NUMBER_PATTERN, MESSAGE_TYPE_PATTERN))
)
LENGTH_MIN = 5
CARD_FIELDS = ("2", "35", "36", "37", "41", "42", "43", "45", "48", "52", "53", "55", "60")


def texts_of_json(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts_of_json(inner)
    elif isinstance(value, str):
        yield value
        if value.startswith("000201"):
            code = parse_qr(value)
            yield from code.objects.values()
            for template in code.templates.values():
                yield from template.values()
            yield from parse_objects(value).values()


def texts_of(path: Path) -> set[str]:
    """Return every text of a file, read by other means than the adapters."""
    data = path.read_bytes()
    if path.suffix == ".xml":
        text = re.sub(r"^<\?xml[^>]*\?>", "", to_utf8(data, where=path.name).decode())
        return {(element.text or "").strip() for element in ET.fromstring(text).iter()}
    if path.suffix == ".iso8583":
        found = [item for item in split_messages(data, where=path.name) if isinstance(item, tuple)]
        decoded = [iso8583.decode(raw, SPECIFICATIONS[encoding, "right"])[0] for raw, encoding in found]
        return {fields[number].strip() for fields in decoded for number in CARD_FIELDS if number in fields}
    if path.suffix == ".csv":
        return {value for row in csv.reader(io.StringIO(data.decode())) for value in row}
    return {text for line in data.splitlines() for text in texts_of_json(json.loads(line))}


def private_texts(path: Path) -> set[bytes]:
    return {
        text.encode() for text in texts_of(path) if len(text.encode()) >= LENGTH_MIN and CLEAR.fullmatch(text) is None
    }


def leaks(path: Path, bodies: list[bytes]) -> set[bytes]:
    return {text for text in private_texts(path) for body in bodies if text in body}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_private_of_a_sample_stands_in_its_events(path: Path) -> None:
    bodies = []
    for member in MEMBERS:
        try:
            bodies += [draft.body for draft in ingest(path.read_bytes(), context_of(member), where=path.name).drafts]
        except NotAPartyError:
            continue
    assert bodies
    assert len(private_texts(path)) >= 3, "the check has something to look for"
    assert leaks(path, bodies) == set()


def test_the_check_would_notice_a_leak() -> None:
    path = FILES[0]
    leaking = max(private_texts(path), key=len)
    assert leaks(path, [b"before " + leaking + b" after"]) == {leaking}


def context_for_anybody(codes: set[str]) -> IngestContext:
    return make_context("anybody", {code: "anybody" for code in codes}, b"r" * 32, {})  # noqa: C420


@pytest.mark.vectors
@pytest.mark.skipif(not VECTORS.is_dir(), reason=f"no published messages in {VECTORS}: set CHAINNODE_VECTORS")
def test_nothing_private_of_a_published_message_stands_in_its_events() -> None:
    for path in sorted(VECTORS.glob("*.xml")):
        if path.name.startswith("invalid_"):
            continue
        payments = parse_iso20022(path.read_bytes(), where=path.name).payments
        for payment in payments:
            ends = [agent for agent in (payment.sender, payment.receiver) if agent is not None]
            codes = {agent.code for agent in (*payment.agents, *ends)}
            if not codes:
                continue  # it names no institution, so nobody can state it
            body = encode(statement_for(payment, context_for_anybody(codes)).body)
            assert leaks(path, [body]) == set(), path.name


@pytest.mark.parametrize("name", ["wrong-control-sum", "wrong-total"])
def test_an_error_about_totals_shows_none(name: str) -> None:
    data = (SAMPLES.parent / "bad" / f"pacs008-{name}.xml").read_bytes()
    with pytest.raises(InputError, match="does not agree") as caught:
        ingest(data, context_of("bank-a"), where="file")
    totals = re.findall(rb"<(?:CtrlSum|TtlIntrBkSttlmAmt)[^>]*>([^<]+)", data)
    assert totals
    assert [total for total in totals if total.decode() in str(caught.value)] == []
