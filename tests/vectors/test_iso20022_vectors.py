"""Every published ISO 20022 message of the vectors' folder becomes payment events that say what the message says.

What must come out is read from each file by other means (ElementTree), so other files may be put in their place. The
data is phoughton/iso20022-cbpr-ur's; it is read in place and no part of this project.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from chainnode.ingest.context import IngestContext, make_context
from chainnode.ingest.errors import NotAPartyError
from chainnode.ingest.formats import ingest
from chainnode.ingest.iso20022 import parse_iso20022
from chainnode.ingest.parsed import ParsedPayment
from chainnode.ingest.xml_text import to_utf8
from ledger.currencies import decimal_text
from ledger.payments import AgentScheme, PaymentStatement, Status, uetr_text
from primitives.encoding import decode
from primitives.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("CHAINNODE_VECTORS", REPOSITORY / ".." / "shared" / "vectors")) / "iso20022"
TRANSACTIONS = {
    "FIToFICstmrCdtTrf": "CdtTrfTxInf",
    "FICdtTrf": "CdtTrfTxInf",
    "CstmrCdtTrfInitn": "CdtTrfTxInf",
    "FIToFIPmtStsRpt": "TxInfAndSts",
    "PmtRtr": "TxInf",
    "BkToCstmrDbtCdtNtfctn": "Ntry",
}
AMOUNTS = {
    "FIToFICstmrCdtTrf": "./IntrBkSttlmAmt",
    "FICdtTrf": "./IntrBkSttlmAmt",
    "CstmrCdtTrfInitn": "./Amt//*[@Ccy]",
    "PmtRtr": "./RtrdIntrBkSttlmAmt",
    "BkToCstmrDbtCdtNtfctn": "./Amt",
}
AGENTS = ("InstgAgt", "InstdAgt", "DbtrAgt", "CdtrAgt", "IntrmyAgt1", "IntrmyAgt2", "IntrmyAgt3")
pytestmark = pytest.mark.vectors


def files() -> list[Any]:
    """Return the folder's files as parameters, or one that skips and says why."""
    found = sorted(path for path in FOLDER.glob("*") if path.is_file())
    if found:
        return [pytest.param(path, id=path.name) for path in found]
    reason = f"no published messages in {FOLDER}: set CHAINNODE_VECTORS to the folder that holds iso20022/"
    return [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]


def read_otherwise(path: Path) -> tuple[str, list[ET.Element]]:
    """Return the root of a file's message and its transactions, without namespaces."""
    text = re.sub(r"^<\?xml[^>]*\?>", "", to_utf8(path.read_bytes(), where=path.name).decode())
    tree = ET.fromstring(text)
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]
    root = next(element for element in tree.iter() if element.tag in TRANSACTIONS)
    if root.tag == "BkToCstmrDbtCdtNtfctn":  # an entry without details is a payment by itself
        return root.tag, [one for entry in root.iter("Ntry") for one in (list(entry.iter("TxDtls")) or [entry])]
    return root.tag, list(root.iter(TRANSACTIONS[root.tag]))


def context_for(payments: list[ParsedPayment]) -> IngestContext:
    """Return the context of a bank that has every institution of a file."""
    ends = [agent for one in payments for agent in (*one.agents, one.sender, one.receiver) if agent is not None]
    return make_context("bank", dict.fromkeys((agent.code for agent in ends), "bank"), b"r" * 32, {})


@pytest.mark.parametrize("path", files())
def test_a_message_becomes_payments_that_say_what_it_says(path: Path) -> None:
    data = path.read_bytes()
    if path.name.startswith("invalid_"):
        with pytest.raises(InputError, match="expected"):
            parse_iso20022(data, where=path.name)
        return
    root, transactions = read_otherwise(path)
    payments = parse_iso20022(data, where=path.name).payments
    assert len(payments) == len(transactions)
    for payment, transaction in zip(payments, transactions, strict=True):
        check_payment(payment, transaction, root)
    if any(not (payment.agents or payment.sender or payment.receiver) for payment in payments):
        with pytest.raises(NotAPartyError, match="expected one of no agents at all"):
            ingest(data, context_for(payments), where=path.name)
        return
    drafts = ingest(data, context_for(payments), where=path.name).drafts
    for draft, payment in zip(drafts, payments, strict=True):
        check_statement_of(decode(PaymentStatement, draft.body, size_max=4096), payment)


def check_payment(payment: ParsedPayment, transaction: ET.Element, root: str) -> None:
    amount = transaction.find(AMOUNTS[root]) if root in AMOUNTS else None
    if root == "FIToFIPmtStsRpt":
        assert payment.amount is None
        assert isinstance(payment.status, Status)
    elif amount is not None:
        assert payment.amount is not None
        assert payment.amount.currency == amount.get("Ccy")
        assert Decimal(decimal_text(payment.amount.minor, payment.amount.currency)) == Decimal(amount.text or "")
    else:
        assert payment.amount is not None
    for texts, got in (
        (texts_at(transaction, "UETR", "OrgnlUETR"), uetr_text(payment.uetr) if payment.uetr else ""),
        (texts_at(transaction, "EndToEndId", "OrgnlEndToEndId"), payment.end_to_end_id),
    ):
        assert got in texts if texts else not got
    codes = {agent.code for agent in payment.agents if agent.scheme is AgentScheme.BIC}
    for name in AGENTS:
        bic = transaction.find(f"./{name}/FinInstnId/BICFI")
        assert bic is None or (bic.text or "").strip() in codes, name


def texts_at(transaction: ET.Element, *names: str) -> set[str]:
    return {(found.text or "").strip() for name in names for found in transaction.iter(name)}


def check_statement_of(body: PaymentStatement, payment: ParsedPayment) -> None:
    assert body.currency == (payment.amount.currency if payment.amount else "")
    assert (body.amount, bool(body.amount_commitment)) == (None, payment.amount is not None)
    assert [(agent.role, agent.code) for agent in body.agents] == [(one.role, one.code) for one in payment.agents]
    assert body.uetr == payment.uetr
    assert body.settlement_date == payment.settlement_date
