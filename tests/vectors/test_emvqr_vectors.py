"""Every published QR payload of the vectors' folder is read or refused as its publisher says.

The data is mercari/go-emv-code's; it is read in place and no part of this project.
"""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from chainnode.ingest.emvqr import QrCode, parse_qr
from chainnode.ingest.errors import QrError
from ledger.currencies import decimal_text

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("CHAINNODE_VECTORS", REPOSITORY / ".." / "shared" / "vectors")) / "emvqr"
pytestmark = pytest.mark.vectors


def cases() -> list[Any]:
    """Return every payload of every file as a parameter, or one that skips and says why."""
    found = []
    for path in sorted(path for path in FOLDER.glob("*") if path.is_file()):
        text = path.read_text(encoding="utf-8")
        entries = json.loads(text) if path.suffix == ".json" else [{"payload": line} for line in text.splitlines()]
        for index, entry in enumerate(entries if isinstance(entries, list) else [entries]):
            valid = entry.get("valid", True) and not path.name.startswith("invalid_")
            found.append(pytest.param({**entry, "valid": valid}, id=f"{path.name}-{index}"))
    if found:
        return found
    reason = f"no published payloads in {FOLDER}: set CHAINNODE_VECTORS to the folder that holds emvqr/"
    return [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]


@pytest.mark.parametrize("entry", cases())
def test_a_payload_is_read_or_refused_as_its_publisher_says(entry: dict[str, Any]) -> None:
    if not entry["valid"]:
        with pytest.raises(QrError, match="expected"):
            parse_qr(entry["payload"])
        return
    check(entry, parse_qr(entry["payload"]))


def check(entry: dict[str, Any], code: QrCode) -> None:
    """Assert that a payload gave what its entry says."""
    if "amount" in entry:
        assert code.amount_text == entry["amount"]
        if entry["amount"] is not None:
            assert code.amount_minor is not None
            assert Decimal(decimal_text(code.amount_minor, code.currency)) == Decimal(entry["amount"])
    if "currency" in entry:
        assert entry["currency"] in (code.objects["53"], code.currency)
    if "merchant" in entry:
        assert code.merchant_name == entry["merchant"]
