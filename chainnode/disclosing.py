"""Disclosure packages: what a bank opens of payments to one asker, sealed to the key that the request names.

A package holds, for each event, its receipt and the fields that were granted: value, salt and path; nothing else that
is kept. It holds the receipt of the request too, so that whoever opens it sees, offline and under a policy of its own,
that it answers this request of its own about these payments. Here: making and opening packages. Not here: the store of
what is private (`chainnode.private_store`), the events around it (`ledger.disclosures`), commands. Source: domain §4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Final

from msgspec import Meta
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from chainnode.ingest.agreement import public_of
from chainnode.ingest.privacy import FIELD_COUNT, Disclosure, PrivateField, disclose_any, verify_disclosure
from chainnode.payloads import read_payload
from chainnode.private_store import Content
from ledger.disclosure_bodies import (
    EVENTS_MAX,
    REQUEST_DISCLOSURE,
    ExchangeKey,
    Hash32,
    HashOrNone,
    PrivateFieldName,
    RequestDisclosure,
    check_fields,
)
from ledger.events import EVENT_SIZE_MAX
from ledger.payments import PAYMENT_STATEMENT, PaymentStatement
from ledger.receipts import Verdict, verify
from primitives.encoding import Record, decode, encode
from primitives.errors import InputError, ProofError, UsageError
from primitives.exchange import check_exchange_key
from primitives.ids import Hash

PACKAGE_VERSION: Final = 1
PACKAGE_BYTES_MAX: Final = 64 * 1024 * 1024
RECEIPT_CHARACTERS_MAX: Final = 16 * 1024 * 1024
VALUE_BYTES_MAX: Final = 64 * 1024
FIELD_OF: Final = {PrivateFieldName(private.name.lower()): private for private in PrivateField}

Version = Annotated[int, Meta(ge=PACKAGE_VERSION, le=PACKAGE_VERSION)]
Receipt = Annotated[str, Meta(max_length=RECEIPT_CHARACTERS_MAX)]


class OpenedField(Record):
    """A field, its value (nil: the message carried none), its salt, and the path to the event's fields root."""

    field: PrivateFieldName
    value: Annotated[bytes, Meta(max_length=VALUE_BYTES_MAX)] | None
    salt: Hash32
    path: Annotated[tuple[Hash32, ...], Meta(max_length=8)]


class OpenedEvent(Record):
    """An event's receipt and what was granted of it, by field.

    Where the payload was granted: its ciphertext as it is kept, its key, and the message, unless it tells of other
    payments too or is not what the event committed to; empty otherwise.
    """

    receipt: Receipt
    fields: Annotated[tuple[OpenedField, ...], Meta(min_length=1, max_length=FIELD_COUNT)]
    payload: bytes
    payload_key: HashOrNone
    message: bytes


class Package(Record):
    """What is sealed: `request` is the id of the request's event, `request_receipt` its receipt; or both are empty."""

    version: Version
    request: HashOrNone
    request_receipt: Receipt
    events: Annotated[tuple[OpenedEvent, ...], Meta(min_length=1, max_length=EVENTS_MAX)]


class SealedPackage(Record):
    """The file: a package in a SealedBox to `key`."""

    version: Version
    request: HashOrNone
    key: ExchangeKey
    box: bytes


@dataclass(frozen=True, slots=True)
class Granted:
    """An event's receipt and what is kept of it, to be opened as far as it is granted."""

    receipt: str
    content: Content = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpenedStatement:
    """What an opened package proves of one event."""

    verdict: Verdict
    body: PaymentStatement
    values: Mapping[PrivateFieldName, bytes | None] = field(repr=False)
    message: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpenedPackage:
    """What an opened package proves: the request that it answers, or None, and the statements."""

    request: Verdict | None
    statements: tuple[OpenedStatement, ...]


# --- the bank's side


def seal_package(
    granted: Sequence[Granted],
    fields: Sequence[PrivateFieldName],
    key: bytes,
    *,
    payload: bool = False,
    request: bytes = b"",
    request_receipt: str = "",
) -> bytes:
    """Return the file of a package that opens these fields, and nothing else, to the holder of an X25519 key."""
    check_exchange_key(key)
    check_fields(fields)
    if payload and len(fields) != len(PrivateFieldName):
        raise UsageError("a payload holds every field", expected="all fields", got=", ".join(fields))
    events = tuple(_opened_event(each, fields, payload=payload) for each in granted)
    inner = encode(Package(PACKAGE_VERSION, request, request_receipt, events))
    return encode(SealedPackage(PACKAGE_VERSION, request, key, SealedBox(PublicKey(key)).encrypt(inner)))


def _opened_event(granted: Granted, fields: Sequence[PrivateFieldName], *, payload: bool) -> OpenedEvent:
    content = granted.content
    values = read_payload(content.payload).values
    opened = []
    for name in fields:
        found = disclose_any(content.event_key, values, FIELD_OF[name])
        opened.append(OpenedField(name, found.value, found.salt, found.path))
    if not payload:
        return OpenedEvent(granted.receipt, tuple(opened), b"", b"", b"")
    # A message of several payments is not this one's alone.
    message = content.message or b""
    is_own = content.message_events == 1 and sha256(message).digest() == values.get(PrivateField.SOURCE)
    return OpenedEvent(granted.receipt, tuple(opened), content.sealed, content.payload_key, message if is_own else b"")


# --- the asker's side


def read_package(data: bytes) -> SealedPackage:
    """Return a sealed package as its file has it. Raises InputError where it is none."""
    return decode(SealedPackage, data, size_max=PACKAGE_BYTES_MAX)


def open_package(data: bytes, secret_key: bytes, policy: str) -> OpenedPackage:
    """Return what a package proves under a policy, offline.

    Raises `UsageError` where it is sealed to another key, ProofError where it does not open, a receipt does not hold, a
    value is not what its event committed to, or it is not an answer to the request that it names.
    """
    sealed = read_package(data)
    if sealed.key != public_of(secret_key):
        raise UsageError("the package is sealed to another key", expected=public_of(secret_key), got=sealed.key)
    try:
        inner = SealedBox(PrivateKey(secret_key)).decrypt(sealed.box)
    except (CryptoError, ValueError):
        raise ProofError("the package does not open with this key: it was changed", got=f"{len(data)} bytes") from None
    package = decode(Package, inner, size_max=PACKAGE_BYTES_MAX)
    if package.request != sealed.request:
        raise ProofError("the package answers another request than it says", expected=sealed.request)
    request, asked = _verified_request(package, sealed.key, policy)
    statements = tuple(_verified_event(each, asked, policy) for each in package.events)
    ids = [bytes(each.verdict.event_id) for each in statements]
    if len(set(ids)) != len(ids):
        raise ProofError("an event stands twice in the package")
    chains = {each.verdict.chain_id for each in statements} | ({request.chain_id} if request else set())
    if len(chains) != 1:
        raise ProofError("events of several chains in one package", got=len(chains))
    return OpenedPackage(request, statements)


def _verified_request(package: Package, key: bytes, policy: str) -> tuple[Verdict | None, RequestDisclosure | None]:
    if not package.request:
        return None, None
    verdict = verify(package.request_receipt, policy)
    event = verdict.event
    if event.kind != REQUEST_DISCLOSURE or not verdict.applied or bytes(verdict.event_id) != package.request:
        raise ProofError("the package does not prove its request", expected=package.request, got=verdict.event_id)
    body = decode(RequestDisclosure, event.body, size_max=EVENT_SIZE_MAX)
    if body.key != key:
        raise ProofError("the package is sealed to another key than the request's", expected=body.key, got=key)
    return verdict, body


def _verified_event(opened: OpenedEvent, asked: RequestDisclosure | None, policy: str) -> OpenedStatement:
    verdict = verify(opened.receipt, policy)
    if verdict.event.kind != PAYMENT_STATEMENT or not verdict.applied:
        raise ProofError("not a payment statement that was recorded", got=verdict.event_id)
    names = [item.field for item in opened.fields]
    check_fields(names)
    if asked is not None:
        _check_asked(verdict, names, bool(opened.payload_key), asked)
    body = decode(PaymentStatement, verdict.event.body, size_max=EVENT_SIZE_MAX)
    values = {}
    for item in opened.fields:
        disclosed = Disclosure(FIELD_OF[item.field], item.value, item.salt, tuple(map(Hash, item.path)))
        try:
            values[item.field] = verify_disclosure(Hash(body.fields_root), disclosed)
        except ProofError:
            raise ProofError(
                f"the value of {item.field} is not what the event committed to", where=verdict.event_id.hex()
            ) from None
    if opened.payload_key or opened.payload or opened.message:
        _check_payload(opened, verdict, values)
    return OpenedStatement(verdict, body, values, opened.message)


def _check_asked(verdict: Verdict, names: Sequence[PrivateFieldName], payload: bool, asked: RequestDisclosure) -> None:
    identity = verdict.event_id.hex()
    if bytes(verdict.event_id) not in asked.events or verdict.member != asked.reporter:
        raise ProofError("an event that was not asked for", where=identity)
    extra = [name for name in names if name not in asked.fields]
    if extra or (payload and not asked.payload):
        raise ProofError("more than was asked for", where=identity, got=", ".join(extra) or "the payload")


def _check_payload(opened: OpenedEvent, verdict: Verdict, values: Mapping[PrivateFieldName, bytes | None]) -> None:
    """Raise ProofError unless the payload opens and says what the event committed to, and so does the message."""
    from nacl.secret import SecretBox

    identity = verdict.event_id.hex()
    try:
        payload = read_payload(SecretBox(opened.payload_key).decrypt(opened.payload))
    except (CryptoError, ValueError, TypeError, InputError):
        raise ProofError("the payload does not open with its key", where=identity) from None
    said = {PrivateFieldName(name.name.lower()): value for name, value in payload.values.items()}
    if payload.event != bytes(verdict.event_id) or said != {n: v for n, v in values.items() if v is not None}:
        raise ProofError("the payload says otherwise than the event committed to", where=identity)
    if opened.message and sha256(opened.message).digest() != values.get(PrivateFieldName.SOURCE):
        raise ProofError("the message is not the one that the event commits to", where=identity)
