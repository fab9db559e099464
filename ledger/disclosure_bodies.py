"""Bodies of the events of disclosure and erasure: who asks for what of which payments, what came of it, what is gone.

Here: kinds 35 to 37 and the pure checks of their shape. Not here: when they are admissible (`ledger.disclosures`), what
is handed over (`chainnode.disclosing`). No field takes free text: reasons are words of closed sets, a document is its
SHA-256. Source: domain §4 (disclosure is itself an event).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Final

from msgspec import Meta

from ledger.events import EventTimeMs
from ledger.members import MEMBER_ID_PATTERN
from primitives.encoding import Record
from primitives.errors import InputError
from primitives.exchange import EXCHANGE_KEY_BYTES, check_exchange_key

REQUEST_DISCLOSURE: Final = 35
ANSWER_DISCLOSURE: Final = 36
ERASE: Final = 37
SCHEMA: Final = 1
EVENTS_MAX: Final = 64
ERASED_MAX: Final = 10_000_000


class PrivateFieldName(enum.StrEnum):
    """A private field of a payment, in the order of the leaves of an event's tree."""

    AMOUNT = "amount"
    REFERENCE = "reference"
    DEBTOR_NAME = "debtor_name"
    DEBTOR_ACCOUNT = "debtor_account"
    CREDITOR_NAME = "creditor_name"
    CREDITOR_ACCOUNT = "creditor_account"
    REMITTANCE = "remittance"
    INSTRUCTED_AMOUNT = "instructed_amount"
    TRANSACTION_ID = "transaction_id"
    MESSAGE_ID = "message_id"
    SETTLEMENT_DATE = "settlement_date"
    SOURCE = "source"


class LegalBasis(enum.StrEnum):
    """On what somebody asks for a disclosure; the document itself is named by its digest."""

    AUDIT_MANDATE = "audit_mandate"
    SUPERVISION = "supervision"
    COURT_ORDER = "court_order"
    INVESTIGATION = "investigation"
    DISPUTE = "dispute"
    CONSENT = "consent"


class Refusal(enum.StrEnum):
    """Why nothing is disclosed."""

    NO_BASIS = "no_basis"
    TOO_MUCH = "too_much"
    ERASED = "erased"
    NOT_KEPT = "not_kept"


class ErasureBasis(enum.StrEnum):
    """Why content was erased."""

    RETENTION_OVER = "retention_over"
    CUSTOMER_REQUEST = "customer_request"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    COURT_ORDER = "court_order"
    STATED_IN_ERROR = "stated_in_error"


Reporter = Annotated[str, Meta(pattern=MEMBER_ID_PATTERN, max_length=64)]
Hash32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
HashOrNone = Annotated[bytes, Meta(max_length=32)]
ExchangeKey = Annotated[bytes, Meta(min_length=EXCHANGE_KEY_BYTES, max_length=EXCHANGE_KEY_BYTES)]
Fields = Annotated[tuple[PrivateFieldName, ...], Meta(max_length=len(PrivateFieldName))]
_ORDER = {name: place for place, name in enumerate(PrivateFieldName)}


class RequestDisclosure(Record):
    """The member that submits this asks `reporter` for fields of payments that it stated.

    `events` are ids of its statements, ascending; `fields` go in the order of the tree; `payload` asks for all that is
    kept of them, and then every field is asked for. `document` is the SHA-256 of what the basis says, `key` the X25519
    key that the answer is sealed to, `until_ms` the last block time at which it may be answered.
    """

    reporter: Reporter
    events: Annotated[tuple[Hash32, ...], Meta(min_length=1, max_length=EVENTS_MAX)]
    fields: Fields
    payload: bool
    basis: LegalBasis
    document: Hash32
    until_ms: EventTimeMs
    key: ExchangeKey


class AnswerDisclosure(Record):
    """The reporter's answer to a request: what it granted, and the SHA-256 of the sealed package; or why nothing."""

    request: Hash32
    fields: Fields
    payload: bool
    package: HashOrNone
    refusal: Refusal | None


class Erase(Record):
    """The reporter destroyed what it kept of `count` of its statements, with all keys and salts that it had for them.

    `root` is the RFC 6962 root over them, ascending by id (an id is the hash of a leaf); the receipt of an erasure
    lists all ids.
    """

    root: Hash32
    count: Annotated[int, Meta(ge=1, le=ERASED_MAX)]
    basis: ErasureBasis


def check_request(body: RequestDisclosure) -> None:
    """Raise InputError where a request asks for nothing, twice for the same, or cannot be sealed to."""
    check_exchange_key(body.key)
    _check_ascending(body.events, "events", "by id")
    check_fields(body.fields)
    if not body.fields:
        raise InputError("a request for nothing", expected="at least one field", got="none")
    _check_payload(body)


def check_answer(body: AnswerDisclosure) -> None:
    """Raise InputError where an answer neither grants nor refuses, or does both."""
    check_fields(body.fields)
    granted = bool(body.fields)
    if granted is (body.refusal is not None) or granted is not bool(body.package):
        raise InputError(
            "an answer grants or refuses",
            expected="fields with a package, or a refusal alone",
            got=f"{len(body.fields)} fields, a package of {len(body.package)} bytes, refusal {body.refusal}",
        )
    if len(body.package) not in (0, 32):
        raise InputError("package digest has a wrong size", expected="32 bytes or none", got=len(body.package))
    _check_payload(body)


def check_fields(fields: Sequence[PrivateFieldName]) -> None:
    """Raise InputError unless fields go in the order of the tree, each once."""
    _check_ascending([_ORDER[name] for name in fields], "fields", "in the order of the tree")


def _check_payload(body: RequestDisclosure | AnswerDisclosure) -> None:
    count = len(PrivateFieldName)
    if body.payload and len(body.fields) != count:
        raise InputError("a payload holds every field", expected=f"{count} fields", got=len(body.fields))


def _check_ascending(keys: Sequence[Any], name: str, how: str) -> None:  # Any: bytes or integers
    if any(left >= right for left, right in pairwise(keys)):
        raise InputError(f"{name} out of order", expected=f"strictly ascending {how}", got=f"{len(keys)} of them")
