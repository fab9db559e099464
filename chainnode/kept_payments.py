"""Looking among the payments that a bank keeps: what it said of one, and which are a customer's.

The store holds ciphertexts alone, so looking for a value opens every payload in turn. Here: what is looked for, and
what is found. Not here: the store (`chainnode.private_store`), what a payload says (`chainnode.payloads`). Source:
domain §4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from chainnode.ingest.privacy import PrivateField
from chainnode.payloads import read_payload
from chainnode.private_store import Erased, PrivateStore
from ledger.disclosure_bodies import PrivateFieldName

NAMES: Final = dict(zip(PrivateField, PrivateFieldName, strict=True))
"""The name of each private field, as disclosure and people call it."""
SHOWN: Final = tuple(private for private in PrivateField if private is not PrivateField.SOURCE)
"""What says something to a reader: not the digest of the message."""

Tick = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class KeptPayment:
    """What a bank said of a payment in one statement: the private values, as they were committed to, UTF-8."""

    event_id: bytes
    values: Mapping[PrivateField, bytes] = field(repr=False)

    def text(self, private: PrivateField) -> str:
        """Return a field as text; empty where the message had none."""
        return self.values.get(private, b"").decode("utf-8", "replace")

    def row(self) -> dict[str, Any]:
        """Return it as people read it: the event's id, and each field by its name, None where there is none."""
        return {"event_id": self.event_id.hex()} | {NAMES[each].value: self.text(each) or None for each in SHOWN}


@dataclass(frozen=True, slots=True)
class Sought:
    """What is looked for: each that is given must be so, an account or a name on either side of the payment.

    Accounts are compared without spaces and names without their case: one is written in many ways.
    """

    account: str | None = field(default=None, repr=False)
    name: str | None = field(default=None, repr=False)
    reference: str | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        return any(each is not None for each in (self.account, self.name, self.reference))

    def is_in(self, kept: KeptPayment) -> bool:
        """Say whether a payment is one of these."""
        return (
            _is_one(self.account, kept, _account, PrivateField.DEBTOR_ACCOUNT, PrivateField.CREDITOR_ACCOUNT)
            and _is_one(self.name, kept, _name, PrivateField.DEBTOR_NAME, PrivateField.CREDITOR_NAME)
            and _is_one(self.reference, kept, str.strip, PrivateField.REFERENCE)
        )


def _is_one(asked: str | None, kept: KeptPayment, alike: Callable[[str], str], *fields: PrivateField) -> bool:
    return asked is None or alike(asked) in [alike(kept.text(each)) for each in fields if kept.text(each)]


def _account(text: str) -> str:
    return "".join(text.split()).casefold()


def _name(text: str) -> str:
    return " ".join(text.split()).casefold()


def kept_payment(store: PrivateStore, event_id: bytes) -> KeptPayment:
    """Return what is kept of an event. Raises `NotKept`, `Erased`, `PrivateStoreDamaged`."""
    return KeptPayment(event_id, read_payload(store.payload(event_id)).values)


def kept_payments(store: PrivateStore, sought: Sought, tick: Tick = lambda _: None) -> Iterator[KeptPayment]:
    """Yield the kept payments that are looked for, by event id; `tick` is told how many were opened."""
    for opened, event_id in enumerate(store.event_ids(), start=1):
        try:
            kept = kept_payment(store, event_id)
        except Erased:
            continue
        if sought.is_in(kept):
            yield kept
        tick(opened)
