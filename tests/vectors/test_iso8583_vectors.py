"""Every published card message of the vectors' folder becomes a payment, and what is broken is refused.

The data is moov-io/iso8583's; it is read in place and no part of this project. A `.json` file there is a table of
fields, and ours is held against it.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from chainnode.ingest.formats import ingest
from chainnode.ingest.iso8583 import parse_iso8583
from chainnode.ingest.iso8583_fields import FIELDS, decode_fields
from chainnode.ingest.iso8583_framing import split_messages
from chainnode.ingest.parsed import ParsedPayment
from ledger.currencies import NUMBERS
from primitives.errors import InputError
from tests.chainnode.ingest.ingest_fixtures import context_of

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("CHAINNODE_VECTORS", REPOSITORY / ".." / "shared" / "vectors")) / "iso8583"
pytestmark = pytest.mark.vectors


def paths(*, tables: bool) -> list[Any]:
    """Return every file of messages, or every table of fields, as a parameter, or one that skips and says why."""
    files = sorted(path for path in FOLDER.glob("*") if path.is_file() and path.name.lower() != "readme.md")
    found = [path for path in files if (path.suffix == ".json") is tables]
    if found:
        return [pytest.param(path, id=path.name) for path in found]
    reason = f"nothing of the kind in {FOLDER}: set CHAINNODE_VECTORS to the folder that holds iso8583/"
    return [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]


@pytest.mark.parametrize("path", paths(tables=False))
def test_a_published_message_becomes_a_payment_or_is_refused(path: Path) -> None:
    # A switch has a part in every message.
    data, context = path.read_bytes(), context_of("switch")
    if path.name.startswith("invalid_"):
        with pytest.raises(InputError, match="expected"):
            ingest(data, context, where=path.name)
        return
    assert ingest(data, context, where=path.name).format == "iso8583"
    found = list(parse_iso8583(data, context, where=path.name))
    messages = list(split_messages(data, where=path.name))
    assert len(found) == len(messages) > 0
    for payment, written in zip(found, messages, strict=True):
        assert isinstance(payment, ParsedPayment)
        assert isinstance(written, tuple)
        check(payment, decode_fields(*written))


def check(payment: ParsedPayment, fields: dict[str, str]) -> None:
    """Assert that a payment says what its message's fields say."""
    assert payment.message_type == f"iso8583.{fields['t']}"
    assert payment.amount is not None
    assert payment.amount.minor == int(fields["4"])
    assert fields["49"] in (payment.amount.currency, NUMBERS[payment.amount.currency])
    assert payment.message_id == fields["11"]
    assert payment.transaction_id == fields.get("37", "").strip()
    assert payment.creditor.account == fields.get("42", "").strip()
    if "7" in fields and fields["t"][1] != "4":
        assert payment.end_to_end_id == fields["7"] + fields["11"] + fields.get("32", "").zfill(11)


@pytest.mark.parametrize("path", paths(tables=True))
def test_our_fields_have_room_for_those_of_a_published_table(path: Path) -> None:
    elements = json.loads(path.read_bytes().decode("utf-8", "replace"))["elements"]
    assert len(elements) > 100
    shape = re.compile(r"([a-z+ ]+?) ?(\.*) ?([0-9]+)")
    for number, element in elements.items():
        theirs, ours = shape.fullmatch(element["Describe"].strip()), shape.fullmatch(FIELDS.get(number, ""))
        if theirs is None or ours is None or theirs[1] in ("b", "x+n", "x + n"):
            continue  # bits, which tables count in their own ways
        assert len(theirs[2]) == len(ours[2]), number
        assert int(theirs[3]) <= int(ours[3]), number
