"""Payment statements: one member's signed word about one payment, as it stands on the chain.

Here: the body of kind `payment.statement` and the pure check of its shape. Not here: the kind itself
(`ledger.payment_events`), its JSON form (`ledger.payments_json`), how a statement is made from a bank's message
(`chainnode.ingest`), and what two statements say together (a view over the log). Source: domain §4.

Statements change no state. Nothing that names a person or an account can stand in one: there is no free text, every
text field has a closed pattern, and everything else is a number, a salted commitment or a keyed token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from enum import IntEnum
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Any

from msgspec import Meta

from ledger.currencies import MINOR_UNITS_MAX, decimal_text
from ledger.events import EventTimeMs
from primitives.encoding import Record
from primitives.errors import InputError

PAYMENT_STATEMENT = 32
SALT_SIZE = 16
TOKEN_SIZE = 16
COMMITMENT_SIZE = 32
UETR_SIZE = 16
TOKENS_MAX = 16
AGENTS_MAX = 9
MEMORY_ENTRIES = 8_192


class Side(IntEnum):
    """Where the reporter stands in the payment."""

    DEBTOR = 1
    CREDITOR = 2
    INTERMEDIARY = 3
    ACQUIRER = 4
    ISSUER = 5
    SWITCH = 6


class Status(IntEnum):
    """How far the payment is, as the reporter knows it."""

    RECEIVED = 1
    ACCEPTED = 2
    SETTLED = 3
    REJECTED = 4
    RETURNED = 5
    REVERSED = 6


class Channel(IntEnum):
    """The way that the payment took; NONE where the message does not say."""

    NONE = 0
    QR = 1
    POS = 2
    ATM = 3
    APP = 4
    HVPS = 5
    BEPS = 6
    CIPS = 7
    OFFLINE = 8


class AgentRole(IntEnum):
    """What an institution does in the payment."""

    DEBTOR_AGENT = 1
    CREDITOR_AGENT = 2
    INSTRUCTING_AGENT = 3
    INSTRUCTED_AGENT = 4
    INTERMEDIARY_1 = 5
    INTERMEDIARY_2 = 6
    INTERMEDIARY_3 = 7
    ACQUIRER = 8
    ISSUER = 9


class AgentScheme(IntEnum):
    """Whose code names an institution: ISO 9362, ISO 17442, or China's clearing system."""

    BIC = 1
    LEI = 2
    CNAPS = 3


class TokenField(IntEnum):
    """A field that both sides of a payment compare through keyed tokens."""

    AMOUNT = 1
    SETTLEMENT_DATE = 2
    INSTRUCTED_AMOUNT = 3
    DEBTOR_ACCOUNT = 4
    CREDITOR_ACCOUNT = 5


BIC_PATTERN = r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?"
LEI_PATTERN = r"[A-Z0-9]{18}[0-9]{2}"
CNAPS_PATTERN = r"[0-9]{12}"
CERTIFICATE_NUMBER_PATTERN = r"[A-Z]{2,8}-[0-9]{4}-[0-9]{2}-[0-9]{4,8}"  # as `ledger.certificate_bodies` has it
MESSAGE_TYPE_PATTERN = r"(?:pacs|pain|camt)\.[0-9]{3}(?:\.[0-9]{3}\.[0-9]{2})?|emv\.qr|iso8583\.[0-9]{4}|json"

# Patterns are searched for, so each is anchored; `\Z` and not `$`, which would let a final line feed pass.
AgentCode = Annotated[str, Meta(pattern=rf"\A(?:{BIC_PATTERN}|{LEI_PATTERN}|{CNAPS_PATTERN})\Z", max_length=20)]
MessageType = Annotated[str, Meta(pattern=rf"\A(?:{MESSAGE_TYPE_PATTERN})\Z", max_length=15)]
ReasonCode = Annotated[str, Meta(pattern=r"\A(?:[A-Z0-9]{4})?\Z", max_length=4)]
CurrencyCode = Annotated[str, Meta(pattern=r"\A(?:[A-Z]{3})?\Z", max_length=3)]
CertificateNumber = Annotated[str, Meta(pattern=rf"\A(?:{CERTIFICATE_NUMBER_PATTERN})?\Z", max_length=40)]
MinorUnits = Annotated[int, Meta(ge=0, le=MINOR_UNITS_MAX)]
CalendarDate = Annotated[int, Meta(ge=0, le=9999_12_31)]
Salt = Annotated[bytes, Meta(min_length=SALT_SIZE, max_length=SALT_SIZE)]
Token = Annotated[bytes, Meta(min_length=TOKEN_SIZE, max_length=TOKEN_SIZE)]
Digest = Annotated[bytes, Meta(min_length=COMMITMENT_SIZE, max_length=COMMITMENT_SIZE)]
DigestOrNone = Annotated[bytes, Meta(max_length=COMMITMENT_SIZE)]
UetrOrNone = Annotated[bytes, Meta(max_length=UETR_SIZE)]

_AGENT_CODES = {
    AgentScheme.BIC: re.compile(BIC_PATTERN),
    AgentScheme.LEI: re.compile(LEI_PATTERN),
    AgentScheme.CNAPS: re.compile(CNAPS_PATTERN),
}
_WITHOUT_AMOUNT = re.compile(r"pacs\.002(?:\..*)?|json")


class AgentRecord(Record):
    """One institution of the payment: its role, and its code in a scheme."""

    role: AgentRole
    scheme: AgentScheme
    code: AgentCode


class TokenRecord(Record):
    """The first 16 bytes of the HMAC of a field's value under the payment's key."""

    field: TokenField
    token: Token


class PaymentStatement(Record):
    """Body of `payment.statement`, schema 1.

    `amount` is in minor units of `currency`, or None where `amount_commitment` stands for it (or the message has no
    amount); `settlement_date` is the number YYYYMMDD, 0 where there is none; `agents` ascend by role and `tokens` by
    field; `uetr` is the 16 bytes of the UUID, or empty; `pair_key` is empty where no secret is shared with the other
    side, and then there are no tokens; `fields_root` is the Merkle root over the salted commitments of all private
    fields; `source_digest` commits to the message; `time_ms` is the message's own time.
    """

    salt: Salt
    side: Side
    message_type: MessageType
    status: Status
    reason: ReasonCode
    amount: MinorUnits | None
    currency: CurrencyCode
    amount_commitment: DigestOrNone
    settlement_date: CalendarDate
    agents: Annotated[list[AgentRecord], Meta(max_length=AGENTS_MAX)]
    channel: Channel
    uetr: UetrOrNone
    reference_commitment: Digest
    pair_key: DigestOrNone
    tokens: Annotated[list[TokenRecord], Meta(max_length=TOKENS_MAX)]
    fields_root: Digest
    terminal_certificate: CertificateNumber
    source_digest: Digest
    time_ms: EventTimeMs


def check_statement(body: PaymentStatement) -> None:
    """Raise InputError where fields that are each well formed do not fit together."""
    commitment, uetr, tokens = body.amount_commitment, body.uetr, body.tokens
    # No field is longer than its size, so that nothing but none and all of it is a multiple.
    if len(commitment) % COMMITMENT_SIZE or len(body.pair_key) % COMMITMENT_SIZE or len(uetr) % UETR_SIZE:
        _name_bad_size(body)
    if uetr and (uetr[6] >> 4 != 4 or uetr[8] >> 6 != 2):
        raise InputError("UETR is not a UUID of version 4", expected="RFC 9562 version 4", got=uetr)
    if not body.currency or (body.amount is None) is not bool(commitment):
        _check_amount(body)
    if body.settlement_date and not is_date(body.settlement_date):
        raise InputError("not a calendar date", expected="YYYYMMDD", got=body.settlement_date)
    check_agents(body.agents)
    if tokens:
        _check_order([token.field for token in tokens], "tokens", "by field")
        if not body.pair_key:
            raise InputError("tokens without a pair key", expected="a pair_key of 32 bytes", got="none")


def check_agents(agents: Sequence[AgentRecord]) -> None:
    """Raise InputError where a code is not of its scheme, or agents do not ascend by role."""
    for agent in agents:
        if not _fits_scheme(agent.code, agent.scheme):
            raise InputError("agent's code does not fit its scheme", expected=agent.scheme.name, got=agent.code)
    if len(agents) > 1:
        _check_order([agent.role for agent in agents], "agents", "by role")


def _name_bad_size(body: PaymentStatement) -> None:
    for name, size, value in (
        ("amount_commitment", COMMITMENT_SIZE, body.amount_commitment),
        ("pair_key", COMMITMENT_SIZE, body.pair_key),
        ("uetr", UETR_SIZE, body.uetr),
    ):
        if len(value) not in (0, size):
            raise InputError(f"{name} has a wrong size", expected=f"{size} bytes or none", got=len(value))


def _check_amount(body: PaymentStatement) -> None:
    clear, committed = body.amount is not None, bool(body.amount_commitment)
    if clear and committed:
        raise InputError("amount stands twice", expected="in clear or as a commitment", got="both")
    if (clear or committed) != bool(body.currency):
        raise InputError("amount and currency go together", expected="both or none", got="one of them")
    if not (clear or committed) and _WITHOUT_AMOUNT.fullmatch(body.message_type) is None:
        raise InputError("amount missing", expected=f"an amount in a {body.message_type}", got="none")


def _check_order(keys: list[Any], name: str, how: str) -> None:  # Any: one of two enumerations
    for left, right in pairwise(keys):
        if left >= right:
            got = [int(key) for key in keys]
            raise InputError(f"{name} out of order", expected=f"strictly ascending {how}", got=got)


@lru_cache(maxsize=MEMORY_ENTRIES)
def is_date(number: int) -> bool:
    """Say whether YYYYMMDD is a date."""
    try:
        date(number // 10_000, number // 100 % 100, number % 100)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=MEMORY_ENTRIES)
def _fits_scheme(code: str, scheme: AgentScheme) -> bool:
    return _AGENT_CODES[scheme].fullmatch(code) is not None


def uetr_text(uetr: bytes) -> str:
    """Return 16 bytes in the written form of a UUID."""
    text = uetr.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def date_text(number: int) -> str:
    """Return YYYYMMDD as YYYY-MM-DD."""
    return f"{number // 10_000:04d}-{number // 100 % 100:02d}-{number % 100:02d}"


def amount_text(body: PaymentStatement) -> str | None:
    """Return a clear amount as decimal text; None where it is committed, absent, or of a currency not known here."""
    if body.amount is None:
        return None
    try:
        return decimal_text(body.amount, body.currency)
    except InputError:
        return None
