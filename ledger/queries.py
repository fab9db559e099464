"""Lists by payment, certificate, terminal or member, out of the index and the current state.

Every answer names the height that it is of (`as_of`): the index follows the log and may be a little behind. Pages go by
position, so a cursor stays good while the log grows. Not here: how the index is kept (`ledger.indexes`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from ledger import rows
from ledger.certificate_records import Certificate, read_certificate
from ledger.committed_state import CommittedState
from ledger.indexes import (
    member_prefix,
    pair_key_prefix,
    reached_of,
    subject_prefix,
    terminal_prefix,
    uetr_prefix,
)
from ledger.payments import PAYMENT_STATEMENT, PaymentStatement
from ledger.reader import EventView, LedgerReader
from ledger.store import Store, prefix_stop
from primitives.encoding import decoder_of
from primitives.errors import InputError
from primitives.ids import Height

T = TypeVar("T")
PAGE_MAX = 1_000
BLOCKS_SCANNED_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list, in order. `cursor` goes into the next call; None where the list ends. `as_of`: height."""

    items: list[T]
    cursor: bytes | None
    as_of: Height


class LedgerQueries:
    """Lists over one chain's store and its index."""

    def __init__(self, reader: LedgerReader, index: Store) -> None:
        self.reader = reader
        self._index = index
        self._state = CommittedState(reader.store)

    def indexed_height(self) -> Height:
        """Return the height that the index has reached, 0 before it began."""
        reached = reached_of(self._index)
        return Height(0) if reached is None else reached.height

    # -- payments

    def payments_by_pair_key(
        self, pair_key: bytes, limit: int, cursor: bytes | None = None, *, descending: bool = False
    ) -> Page[EventView]:
        """Return the statements about the payment with this key (32 bytes), both sides'."""
        return self._events(
            pair_key_prefix(pair_key), limit, cursor, descending, lambda body: body.pair_key == pair_key
        )

    def payments_by_uetr(
        self, uetr: bytes, limit: int, cursor: bytes | None = None, *, descending: bool = False
    ) -> Page[EventView]:
        """Return the statements with this UETR (16 bytes), whatever their pair."""
        return self._events(uetr_prefix(uetr), limit, cursor, descending)

    def payments_at_terminal(
        self, certificate: str, limit: int, cursor: bytes | None = None, *, descending: bool = False
    ) -> Page[EventView]:
        """Return the statements made at a terminal, by its certificate's number."""
        return self._events(terminal_prefix(certificate), limit, cursor, descending)

    def payment(self, event_id: bytes) -> EventView | None:
        """Return the payment statement with this event id."""
        view = self.reader.event(event_id)
        return view if view is not None and view.event.kind == PAYMENT_STATEMENT else None

    def payments(
        self, limit: int, cursor: bytes | None = None, *, descending: bool = True, member: str | None = None
    ) -> Page[EventView]:
        """Return payment statements in the log's order, all or one member's.

        At most BLOCKS_SCANNED_MAX blocks are looked at in a call, so a page may be short and still have a cursor.
        """
        as_of = self._tip_height() if member is None else self.indexed_height()
        start = _position(cursor)
        found: list[EventView] = []
        heights = list(islice(self._heights(member, start, as_of, descending), BLOCKS_SCANNED_MAX + 1))
        for height in heights[:BLOCKS_SCANNED_MAX]:
            for view in self._payments_of(height, member, start, descending):
                if len(found) == _checked(limit):
                    return Page(found, _cursor(found[-1]), as_of)
                found.append(view)
        if len(heights) > BLOCKS_SCANNED_MAX:
            return Page(found, rows.position_bytes(heights[-2], 0 if descending else 0xFFFF), as_of)
        return Page(found, None, as_of)

    def _heights(
        self, member: str | None, start: tuple[int, int] | None, as_of: int, descending: bool
    ) -> Iterator[int]:
        """Yield the heights that may hold events of interest, from the cursor's block on."""
        first = (as_of if descending else 0) if start is None else start[0]
        low, high = (0, first) if descending else (first, as_of)
        if member is None:
            yield from reversed(range(low, high + 1)) if descending else range(low, high + 1)
            return
        prefix = member_prefix(member)
        bounds = prefix + low.to_bytes(6, "big"), prefix + (high + 1).to_bytes(6, "big")
        for key, _ in self._index.iterate(*bounds, reverse=descending):
            yield int.from_bytes(key[-6:], "big")

    def _payments_of(
        self, height: int, member: str | None, start: tuple[int, int] | None, descending: bool
    ) -> Iterator[EventView]:
        """Yield a block's payment statements beyond the cursor, in the order asked for."""
        views = self.reader.block_events(height)
        for view in reversed(views) if descending else views:
            place = (int(view.position.height), view.position.index)
            if start is not None and (place >= start if descending else place <= start):
                continue
            if view.event.kind == PAYMENT_STATEMENT and member in (None, view.event.member):
                yield view

    # -- certificates

    def certificate(self, number: str) -> Certificate | None:
        """Return a certificate as it stands now."""
        return read_certificate(self._state, number)

    def certificates(self, limit: int, cursor: bytes | None = None) -> Page[Certificate]:
        """Return the certificates as they stand now, ascending by number."""
        as_of = self._tip_height()
        prefix = rows.state_row_key(b"certificate/")
        start = prefix if cursor is None else rows.state_row_key(cursor) + b"\0"
        found: list[Certificate] = []
        for _, data in self.reader.store.iterate(start, prefix_stop(prefix)):
            if len(found) == _checked(limit):
                return Page(found, f"certificate/{found[-1].number}".encode(), as_of)
            certificate: Certificate = decoder_of(Certificate).decode(data)
            found.append(certificate)
        return Page(found, None, as_of)

    def subject_events(
        self, subject: str, limit: int, cursor: bytes | None = None, *, descending: bool = False
    ) -> Page[EventView]:
        """Return the events that name an application id or a certificate's number, rejected ones too."""
        return self._events(subject_prefix(subject), limit, cursor, descending)

    def certificate_history(
        self, number: str, limit: int, cursor: bytes | None = None, *, descending: bool = False
    ) -> Page[EventView]:
        """Return the events of a certificate and of the application that it came from, rejected ones too."""
        certificate = self.certificate(number)
        prefixes = [subject_prefix(number)]
        if certificate is not None:
            prefixes.append(subject_prefix(certificate.application))
        places = {place for prefix in prefixes for place in self._places(prefix, cursor, descending)}
        return self._page(iter(sorted(places, reverse=descending)), limit)

    # -- pages

    def _events(
        self,
        prefix: bytes,
        limit: int,
        cursor: bytes | None,
        descending: bool,
        wanted: Callable[[PaymentStatement], bool] | None = None,
    ) -> Page[EventView]:
        return self._page(self._places(prefix, cursor, descending), limit, wanted)

    def _places(self, prefix: bytes, cursor: bytes | None, descending: bool) -> Iterator[tuple[int, int]]:
        """Yield the positions of the rows under a prefix, beyond the cursor."""
        low, high = prefix, prefix + b"\xff" * (rows.POSITION_SIZE + 1)
        if cursor is not None:
            _position(cursor)
            low, high = (low, prefix + cursor) if descending else (prefix + cursor + b"\0", high)
        for key, _ in self._index.iterate(low, high, reverse=descending):
            if len(key) == len(prefix) + rows.POSITION_SIZE:
                yield rows.parse_position(key[-rows.POSITION_SIZE :])

    def _page(
        self,
        places: Iterator[tuple[int, int]],
        limit: int,
        wanted: Callable[[PaymentStatement], bool] | None = None,
    ) -> Page[EventView]:
        """Return the events at these places; `wanted` sorts out those that only share the first bytes of a key."""
        found: list[EventView] = []
        as_of = self.indexed_height()
        for height, index in places:
            view = self.reader.event_at(height, index)
            if view is None:
                continue
            if wanted is not None and not wanted(decoder_of(PaymentStatement).decode(view.event.body)):
                continue
            if len(found) == _checked(limit):
                return Page(found, _cursor(found[-1]), as_of)
            found.append(view)
        return Page(found, None, as_of)

    def _tip_height(self) -> Height:
        tip = self.reader.tip()
        return Height(0) if tip is None else tip.height


def _cursor(view: EventView) -> bytes:
    return rows.position_bytes(view.position.height, view.position.index)


def _position(cursor: bytes | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    if len(cursor) != rows.POSITION_SIZE:
        raise InputError("not a cursor", expected=f"{rows.POSITION_SIZE} bytes of an earlier page", got=cursor)
    return rows.parse_position(cursor)


def _checked(limit: int) -> int:
    if not 1 <= limit <= PAGE_MAX:
        raise InputError("limit of a page", expected=f"1 to {PAGE_MAX}", got=limit)
    return limit
