"""Keys, tokens and commitments: what a payment says on the chain instead of its private values.

Here: pure functions of secrets that are passed in. Not here: where secrets are kept, how two banks agree on one, and
the encryption of payloads. Source: domain §4.

Three secrets, each of 32 bytes:
- a pair secret, shared by two banks. `pair_key` (public) and the payment key (secret) are HMACs of a payment's
  reference under it; both sides derive the same. A field's token is HMAC(payment key, field and value), so a reader of
  the log sees whether two tokens are equal and nothing else.
- a reporter secret, held by one bank alone. Salt and reference of a statement are HMACs of the message key under it.
- an event key, one for each event, drawn at random and kept under the reference (`chainnode.private_store`), so that
  the same message gives the same event, byte for byte, whenever it is submitted again. Every private field is committed
  to under a 32-byte salt derived from it; the commitments are the leaves of a tree of fixed size, so that not even the
  number of present fields shows. One field is disclosed by its salt, value and path. Destroying the event key shreds
  the fields, also for who has the other secrets and guesses values.

Every HMAC covers a domain tag, so no value made for one purpose stands for another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256
from hmac import digest as hmac_digest

from ledger.payments import COMMITMENT_SIZE, SALT_SIZE, TOKEN_SIZE, TokenField
from primitives.encoding import encode
from primitives.errors import ProofError, UsageError
from primitives.hashing import DOMAIN, leaf_hash
from primitives.ids import Hash
from primitives.merkle import inclusion_path, root_of, verify_inclusion

EventKeyOf = Callable[[bytes], bytes]
"""From an event's reference to its key, 32 bytes."""
SECRET_SIZE = 32
REFERENCE_SIZE = 16


class PrivateField(IntEnum):
    """A field that is committed to; the number is its leaf in the event's tree. Numbers are never reused."""

    AMOUNT = 0
    REFERENCE = 1
    DEBTOR_NAME = 2
    DEBTOR_ACCOUNT = 3
    CREDITOR_NAME = 4
    CREDITOR_ACCOUNT = 5
    REMITTANCE = 6
    INSTRUCTED_AMOUNT = 7
    TRANSACTION_ID = 8
    MESSAGE_ID = 9
    SETTLEMENT_DATE = 10
    SOURCE = 11


FIELD_COUNT = len(PrivateField)
_TOKEN_PREFIX = {token: bytes([token]) for token in TokenField}
_FIELD_PREFIX = {private: bytes([private]) for private in PrivateField}


def _heads(tag: str) -> dict[PrivateField, bytes]:
    """Return what each field's HMAC of that purpose covers before its value."""
    return {private: DOMAIN + tag.encode() + b"\0" + prefix for private, prefix in _FIELD_PREFIX.items()}


_SALT_HEADS, _VALUE_HEADS, _ABSENT_HEADS = _heads("field-salt"), _heads("field"), _heads("field-absent")
_FIELDS = tuple(PrivateField)


def keyed(key: bytes, tag: str, data: bytes) -> bytes:
    """Return HMAC-SHA256 (32 bytes) of the domain tag, a zero byte and `data`."""
    return hmac_digest(key, DOMAIN + tag.encode() + b"\0" + data, "sha256")


def check_secret(secret: bytes, name: str) -> bytes:
    """Return `secret`; UsageError unless it has 32 bytes."""
    if len(secret) != SECRET_SIZE:
        raise UsageError(f"{name} has a wrong size", expected=f"{SECRET_SIZE} bytes", got=len(secret))
    return secret


@dataclass(frozen=True, slots=True)
class PaymentKeys:
    """What two banks derive alike from a payment's reference: `pair_key` is public, `payment_key` is not."""

    pair_key: bytes
    payment_key: bytes = field(repr=False)


def payment_keys(pair_secret: bytes, reference: str) -> PaymentKeys:
    """Return both keys of the payment that goes by `reference` between the two holders of `pair_secret`."""
    data = reference.encode()
    return PaymentKeys(keyed(pair_secret, "pair-key", data), keyed(pair_secret, "payment-key", data))


def token(payment_key: bytes, token_field: TokenField, value: str) -> bytes:
    """Return the token (16 bytes) by which both sides compare a field; a match needs a second preimage of 128 bits."""
    return keyed(payment_key, "token", _TOKEN_PREFIX[token_field] + value.encode())[:TOKEN_SIZE]


def totals_key(pair_secret: bytes, members: Sequence[str], day: int, currency: str) -> bytes:
    """Return the key (32 bytes) of two members' end-of-day totals of a day (YYYYMMDD) in a currency.

    It opens the sums of these totals and nothing else, so that either bank can hand it to an auditor.
    """
    return keyed(pair_secret, "totals-key", encode([sorted(members), day, currency]))


def sum_token(key: bytes, sender: str, leg: str, amount: str) -> bytes:
    """Return the token (16 bytes) of the sum that a member sent on a leg, `amount` as in `CNY 23.72`."""
    return keyed(key, "totals-sum", encode([sender, leg, amount]))[:TOKEN_SIZE]


@dataclass(frozen=True, slots=True)
class EventSecrets:
    """What is drawn for one event: its salt and reference (both public) and its key (held by the reporter)."""

    salt: bytes
    reference: bytes
    event_key: bytes = field(repr=False)


def event_secrets(
    reporter_secret: bytes, known_by: bytes, index: int, event_key_of: EventKeyOf | None = None
) -> EventSecrets:
    """Return what belongs to payment number `index` of what it is known by (`ParsedPayment.key`), the same each time.

    `event_key_of` draws the event key at random and keeps it. Without it the key is derived, so that nothing has to be
    kept, and then nothing can be erased while the secret and the message are there.
    """
    message_key = known_by + index.to_bytes(4, "big")
    reference = keyed(reporter_secret, "event-reference", message_key)[:REFERENCE_SIZE]
    if event_key_of is None:
        event_key = keyed(reporter_secret, "event-key", message_key)
    else:
        event_key = event_key_of(reference)
    return EventSecrets(keyed(reporter_secret, "event-salt", message_key)[:SALT_SIZE], reference, event_key)


def field_salt(event_key: bytes, private: PrivateField) -> bytes:
    """Return the 32-byte salt of one field; giving it away discloses that field and no other."""
    return hmac_digest(event_key, _SALT_HEADS[private], "sha256")


def commitment(salt: bytes, private: PrivateField, value: bytes) -> bytes:
    """Return the commitment (32 bytes) to a field's value under its salt; hiding, and binding by SHA-256."""
    return hmac_digest(salt, _VALUE_HEADS[private] + value, "sha256")


@dataclass(frozen=True, slots=True)
class FieldTree:
    """The commitments of one event by field number, and the Merkle root over them."""

    commitments: tuple[bytes, ...]
    root: Hash


def commit_fields(event_key: bytes, values: Mapping[PrivateField, bytes]) -> FieldTree:
    """Return the tree over all private fields; an absent field is committed to as absent, unlike an empty one."""
    get = values.get
    # Most of what a statement costs: no call of ours for each of the fields.
    commitments = tuple(
        [
            hmac_digest(
                hmac_digest(event_key, _SALT_HEADS[private], "sha256"),
                _ABSENT_HEADS[private] if (value := get(private)) is None else _VALUE_HEADS[private] + value,
                "sha256",
            )
            for private in _FIELDS
        ]
    )
    return FieldTree(commitments, root_of([leaf_hash(leaf) for leaf in commitments]))


def _commitment_under(salt: bytes, private: PrivateField, value: bytes | None) -> bytes:
    return hmac_digest(salt, _ABSENT_HEADS[private], "sha256") if value is None else commitment(salt, private, value)


@dataclass(frozen=True, slots=True)
class Disclosure:
    """One field opened to somebody: value and salt, and the path from its commitment to the event's fields root.

    `value` None says, and proves, that the message carried no such field.
    """

    private: PrivateField
    value: bytes | None = field(repr=False)
    salt: bytes = field(repr=False)
    path: tuple[Hash, ...]


def disclose(event_key: bytes, values: Mapping[PrivateField, bytes], private: PrivateField) -> Disclosure:
    """Return what opens one field of an event; UsageError for a field that the message did not carry."""
    if private not in values:
        raise UsageError("nothing to disclose", expected="a field of the message", got=private.name.lower())
    return disclose_any(event_key, values, private)


def disclose_any(event_key: bytes, values: Mapping[PrivateField, bytes], private: PrivateField) -> Disclosure:
    """Return what opens one field of an event, or shows that the message did not carry it."""
    leaves = [leaf_hash(leaf) for leaf in commit_fields(event_key, values).commitments]
    path = tuple(inclusion_path(leaves, private))
    return Disclosure(private, values.get(private), field_salt(event_key, private), path)


def verify_disclosure(fields_root: Hash, disclosure: Disclosure) -> bytes | None:
    """Return the disclosed value; ProofError where it is not what the event committed to."""
    if len(disclosure.salt) != COMMITMENT_SIZE:
        raise ProofError("salt has a wrong size", expected=f"{COMMITMENT_SIZE} bytes", got=len(disclosure.salt))
    leaf = _commitment_under(disclosure.salt, disclosure.private, disclosure.value)
    verify_inclusion(fields_root, FIELD_COUNT, disclosure.private, leaf_hash(leaf), list(disclosure.path))
    return disclosure.value


def message_digest_of(message: bytes | memoryview) -> Hash:
    """Return SHA-256 of a message's own bytes: half of its message key; it is never put on the chain bare."""
    return Hash(sha256(message).digest())
