"""Erasing what is kept of payments: the keys are overwritten, and a record of it goes on the chain.

Here: the erasure itself, its event, and the receipt that lists what was erased. Not here: the store
(`chainnode.private_store`), the command. Source: domain §4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from chainnode.private_store import PrivateStore
from ledger.disclosure_bodies import Erase, ErasureBasis
from ledger.times import format_time
from primitives.errors import UsageError
from primitives.hashing import DOMAIN
from primitives.merkle import root_of

ERASED_AT_ONCE_MAX: Final = 100_000
REFERENCE_BYTES: Final = 16

Json = dict[str, Any]  # Any: what JSON holds


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased: the events' ids, ascending, and how many of them were still there."""

    event_ids: tuple[bytes, ...]
    erased: int
    basis: ErasureBasis
    erased_ms: int

    @property
    def body(self) -> Erase:
        """The event's body."""
        return Erase(bytes(root_of(self.event_ids)), len(self.event_ids), self.basis)

    @property
    def reference(self) -> bytes:
        """The event's reference: the same for the same events, so that the record is made once."""
        return sha256(DOMAIN + b"erasure\0" + self.body.root + self.basis.encode()).digest()[:REFERENCE_BYTES]

    def receipt(self) -> Json:
        """Return what is handed to whom the erasure is shown: with the event's receipt it proves what was recorded."""
        return {
            "erased": [event_id.hex() for event_id in self.event_ids],
            "root": self.body.root.hex(),
            "count": len(self.event_ids),
            "basis": self.basis.value,
            "erased_at": format_time(self.erased_ms),
        }


def erase_payments(store: PrivateStore, event_ids: Sequence[bytes], basis: ErasureBasis, now_ms: int) -> Erasure:
    """Overwrite the keys of events and return what to record; what was erased before is erased still.

    Raises `UsageError` for none or too many, `NotKept` where one is not kept here: then nothing is erased.
    """
    ids = tuple(sorted(set(event_ids)))
    if not 1 <= len(ids) <= ERASED_AT_ONCE_MAX:
        raise UsageError("events to erase", expected=f"1 to {ERASED_AT_ONCE_MAX}", got=len(ids))
    return Erasure(ids, store.erase(ids, now_ms), basis, now_ms)
