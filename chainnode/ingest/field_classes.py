"""What becomes of each field of a payment: the table that decides what may stand on the chain, and in which form.

Four classes. CLEAR: it stands on the chain as it is, a code of a closed form. KEYED: an HMAC under a key that two banks
share stands there. COMMITTED: a commitment under a salt of its own does. SEALED: it is kept off the chain, encrypted
under a key of its own, and opened to who is granted it. Here: the table, for `ParsedPayment` and for the bodies of the
kinds 32 to 63. Not here: the forms themselves (`chainnode.ingest.statements`). Source: domain §4.

Tests hold the table against both: no field is missing, and a sensitive one reaches no event in clear.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from ledger.disclosure_bodies import AnswerDisclosure, Erase, RequestDisclosure
from ledger.pairing_keys import AnnouncePairingKey
from ledger.payments import AgentRecord, PaymentStatement, TokenRecord
from ledger.totals_bodies import PaymentTotals, TotalsLine
from ledger.voucher_bodies import DecideWallet, RedeemVouchers, RegisterWallet, ReportDoubleSpend, Voucher
from primitives.encoding import Record


class FieldClass(IntEnum):
    """In which form a field leaves the bank, from the most open one on."""

    CLEAR = 1
    KEYED = 2
    COMMITTED = 3
    SEALED = 4


CLEAR: Final = frozenset({FieldClass.CLEAR})
KEYED: Final = frozenset({FieldClass.KEYED})
COMMITTED: Final = frozenset({FieldClass.COMMITTED})
PRIVATE: Final = frozenset({FieldClass.COMMITTED, FieldClass.SEALED})
COMPARED: Final = PRIVATE | KEYED
NOWHERE: Final = frozenset[FieldClass]()
"""It leaves the bank in no form: it only decides on others."""

PAYMENT_FIELDS: Final[Mapping[str, frozenset[FieldClass]]] = {
    "message_type": CLEAR,
    "where": NOWHERE,
    "message_digest": PRIVATE,
    "key": NOWHERE,
    "index": NOWHERE,
    "created_ms": CLEAR,
    "amount.minor": COMPARED,
    "amount.currency": CLEAR,
    "agents": CLEAR,
    "end_to_end_id": COMPARED,
    "uetr": CLEAR,
    "transaction_id": PRIVATE,
    "message_id": PRIVATE,
    "instructed_amount.minor": COMPARED,
    "instructed_amount.currency": COMPARED,
    "settlement_date": CLEAR | COMPARED,
    "status": CLEAR,
    "reason": CLEAR,
    "debtor.name": PRIVATE,
    "debtor.account": COMPARED,
    "creditor.name": PRIVATE,
    "creditor.account": COMPARED,
    "remittance": PRIVATE,
    "channel": CLEAR,
    "side": CLEAR,
    "direction": NOWHERE,
    "terminal_certificate": CLEAR,
    "sender": NOWHERE,
    "receiver": NOWHERE,
    "source": frozenset({FieldClass.SEALED}),
}
"""By field of `ParsedPayment`. Amounts stand in clear only where a bank asks for it (`--clear-amounts`)."""

BODY_FIELDS: Final[Mapping[type[Record], Mapping[str, frozenset[FieldClass]]]] = {
    PaymentStatement: {
        **dict.fromkeys(("salt", "side", "message_type", "status", "reason", "amount", "currency"), CLEAR),
        "amount_commitment": COMMITTED,
        **dict.fromkeys(("settlement_date", "agents", "channel", "uetr"), CLEAR),
        "reference_commitment": COMMITTED,
        "pair_key": KEYED,
        "tokens": KEYED,
        "fields_root": COMMITTED,
        "terminal_certificate": CLEAR,
        "source_digest": COMMITTED,
        "time_ms": CLEAR,
    },
    AgentRecord: dict.fromkeys(("role", "scheme", "code"), CLEAR),
    TokenRecord: {"field": CLEAR, "token": KEYED},
    PaymentTotals: {**dict.fromkeys(("counterparty", "day", "currency"), CLEAR), "lines": CLEAR | KEYED},
    TotalsLine: {**dict.fromkeys(("flow", "leg", "count", "amount"), CLEAR), "token": KEYED, "payments_root": KEYED},
    AnnouncePairingKey: dict.fromkeys(("key", "from_day"), CLEAR),
    RequestDisclosure: dict.fromkeys(
        ("reporter", "events", "fields", "payload", "basis", "document", "until_ms", "key"), CLEAR
    ),
    AnswerDisclosure: dict.fromkeys(("request", "fields", "payload", "package", "refusal"), CLEAR),
    Erase: dict.fromkeys(("root", "count", "basis"), CLEAR),
    RegisterWallet: {
        **dict.fromkeys(("key", "currency", "amount_max", "count_max", "age_max_s"), CLEAR),
        **dict.fromkeys(("valid_from_ms", "valid_until_ms", "proof"), CLEAR),
        "holder_commitment": COMMITTED,
    },
    DecideWallet: dict.fromkeys(("wallet", "decision", "reason"), CLEAR),
    Voucher: {
        **dict.fromkeys(("key", "counter", "previous", "amount", "currency", "issued_at_ms", "signature"), CLEAR),
        "payee_commitment": COMMITTED,
    },
    RedeemVouchers: {"vouchers": CLEAR},
    ReportDoubleSpend: dict.fromkeys(("first", "second"), CLEAR),
}
"""By body of the kinds 32 to 63, and by record in one."""
