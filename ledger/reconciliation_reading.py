"""Reading the index of reconciliation: payments by how they stand, by members and by day, and how many there are.

Every answer is as of the height that the index has reached, which may lie behind the log's. Lists go by the place of
the first statement under a pair key, and by members where one key tells of several payments. A page looks at a bounded
number of rows. Not here: how the index is kept (`ledger.reconciliation_index`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final, NamedTuple

from msgspec.structs import astuple

from ledger import reconciliation_rows as at
from ledger.policy import DAY_MS
from ledger.reader import LedgerReader
from ledger.reconciliation import PaymentView, Place, Standing, reconcile
from ledger.reconciliation_rows import Change, Counts, Parties, PaymentRow, read_row
from ledger.rows import HEIGHT_MAX, POSITION_SIZE
from ledger.store import Store, prefix_stop
from ledger.totals_reading import TotalsReader
from primitives.errors import StorageError
from primitives.ids import EventId, Height

LOOKED_AT_MAX: Final = 10_000
"""Rows that a page may look at: who asks for what is rare gets short pages with a cursor."""

Spot = tuple[int, int, str, str]
"""A payment's place in lists: the place of its row, and its members."""


class Asked(NamedTuple):
    """Which payments: how they stand, of which member and with whom, begun on which day (days since 1970, UTC)."""

    state: Standing | None = None
    member: str | None = None
    counterparty: str | None = None
    day: int | None = None


class Found(NamedTuple):
    """A payment that was found: the pair key, its place in lists, how it stands; `left_out` counts what does not."""

    pair_key: bytes
    spot: Spot
    view: PaymentView
    left_out: int


class ReconciliationReader:
    """Answers out of the index of reconciliation, beside its follower."""

    def __init__(self, store: Store, reader: LedgerReader) -> None:
        self._store = store
        self._reader = reader
        self.totals = TotalsReader(store)

    def height(self) -> Height | None:
        """Return the height that the index has reached; None before it began."""
        followed = at.followed_of(self._store)
        return None if followed is None or followed.format != at.FORMAT else followed.height

    def find(self, pair_key: bytes, height: int) -> list[Found]:
        """Return the payments under a pair key as of a height that is reached."""
        place = self._store.get(at.PAIR_KEYS + pair_key)
        return [] if place is None else self._found(place, height)

    def page(
        self, asked: Asked, height: int, count: int, after: Spot | None, *, descending: bool
    ) -> tuple[list[Found], Spot | None]:
        """Return up to `count` payments after one, and where to go on, None at the end of the list."""
        found: list[Found] = []
        looked = 0
        last: Spot | None = None
        for place, parties in self._rows(asked, after, descending):
            looked += 1
            for item in self._ordered(place, parties, height, descending):
                last = item.spot
                if not _is_beyond(item.spot, after, descending) or not _fits(item.view, asked):
                    continue
                if len(found) == count:
                    return found, found[-1].spot
                found.append(item)
            if looked >= LOOKED_AT_MAX and last is not None:
                return found, last
        return found, None

    def counts(self, asked: Asked) -> Counts:
        """Return how many payments there are of those asked for, by how they stand; as the index has them now."""
        totals = [0] * len(Counts.__struct_fields__)
        prefix = at.counts_prefix(at.EVER if asked.day is None else asked.day)
        for key, data in self._store.iterate(prefix, prefix_stop(prefix)):
            if _are_asked(at.parse_parties(key[len(prefix) :]), asked):
                totals = [a + b for a, b in zip(totals, astuple(read_row(Counts, data)), strict=True)]
        return Counts(*totals)

    def changes(self, height: int) -> tuple[Change, ...]:
        """Return what a block changed."""
        parts = self._store.iterate(at.changes_key(height), at.changes_key(height + 1))
        return tuple(change for _, data in parts for change in read_row(tuple[Change, ...], data))

    def pair_key(self, change: Change) -> str:
        """Return the pair key of a payment that changed, in hex."""
        data = self._store.get(at.PAYMENTS + change.place)
        if data is None:
            raise StorageError("the index of reconciliation is damaged, a row is missing", hint=at.BUILD_AGAIN)
        return read_row(PaymentRow, data).pair_key.hex()

    def first_changes(self) -> int:
        """Return the height from which on changes are kept."""
        return max(0, int(self.height() or 0) - at.CHANGES_KEPT)

    def event_id(self, place: Place) -> EventId:
        """Return the id of the event at a place."""
        header = self._reader.header(place[0])
        assert header is not None, "the index never reaches above the log"
        return EventId(self._reader.log.leaf_hash(header.first_index + place[1]))

    def _ordered(self, place: bytes, parties: Parties | None, height: int, descending: bool) -> list[Found]:
        items = [item for item in self._found(place, height) if parties in (None, item.view.parties)]
        return sorted(items, key=lambda item: item.spot, reverse=descending)

    def _found(self, place: bytes, height: int) -> list[Found]:
        """Return the payments of a row as of a height, at the time of its block."""
        data = self._store.get(at.PAYMENTS + place)
        if data is None:
            return []
        row = read_row(PaymentRow, data)
        said = [one for one in row.said if one.height <= height]  # the follower may have gone on meanwhile
        header = self._reader.header(height)
        if not said or header is None:
            return []
        key = at.place_in(place)
        return [
            Found(row.pair_key, (*key, *view.parties), view, row.left_out)
            for view in reconcile(said, int(header.time_ms))
        ]

    def _rows(self, asked: Asked, after: Spot | None, descending: bool) -> Iterator[tuple[bytes, Parties | None]]:
        """Yield the places of rows in which there may be what is asked for, in order, and of which members."""
        low, high = self._span(asked.day)
        if after is not None:
            place = at.place_bytes(after[:2])
            low, high = (low, min(high, _next(place))) if descending else (max(low, place), high)
        if low >= high:
            return
        if asked.member is None and asked.counterparty is None:
            prefix = at.PAYMENTS if asked.state in (None, Standing.MATCHED) else at.standing_prefix(_known(asked.state))
            seen = b""
            for key, _ in self._store.iterate(prefix + low, prefix + high, reverse=descending):
                place = key[len(prefix) : len(prefix) + POSITION_SIZE]
                if place != seen:  # of one key several payments may stand so
                    seen = place
                    yield place, None
            return
        lists = [self._between(parties, asked, low, high, descending) for parties in self._pairs(asked)]
        yield from heapq.merge(*lists, reverse=descending)

    def _between(
        self, parties: Parties, asked: Asked, low: bytes, high: bytes, descending: bool
    ) -> Iterator[tuple[bytes, Parties]]:
        if asked.state in (None, Standing.MATCHED):
            prefix = at.between_prefix(parties)
        else:
            prefix = at.standing_between_prefix(_known(asked.state), parties)
        for key, _ in self._store.iterate(prefix + low, prefix + high, reverse=descending):
            yield key[len(prefix) :], parties

    def _pairs(self, asked: Asked) -> list[Parties]:
        """Return the two members between whom there are payments that may be asked for."""
        prefix = at.counts_prefix(at.EVER)
        keys = (key[len(prefix) :] for key, _ in self._store.iterate(prefix, prefix_stop(prefix)))
        return [parties for parties in map(at.parse_parties, keys) if _are_asked(parties, asked)]

    def _span(self, day: int | None) -> tuple[bytes, bytes]:
        """Return from which place to before which the first statements of a day lie."""
        if day is None:
            return bytes(POSITION_SIZE), b"\xff" * POSITION_SIZE
        low, high = (at.place_bytes((self._height_from(DAY_MS * each), 0)) for each in (day, day + 1))
        return low, high

    def _height_from(self, time_ms: int) -> int:
        """Return the height of the first block of a time or later; one above the newest where there is none."""
        tip = self._reader.tip()
        low, high = int(self._reader.base()), 0 if tip is None else int(tip.height) + 1
        while low < high:
            middle = (low + high) // 2
            header = self._reader.header(middle)
            if header is not None and int(header.time_ms) >= time_ms:
                high = middle
            else:
                low = middle + 1
        return min(low, HEIGHT_MAX)


def _next(place: bytes) -> bytes:
    """Return the place after this one, so that a range holds it."""
    return min(int.from_bytes(place, "big") + 1, (1 << 8 * POSITION_SIZE) - 1).to_bytes(POSITION_SIZE, "big")


def _known(state: Standing | None) -> Standing:
    assert state is not None, "rows are by how payments stand"
    return state


def _is_beyond(spot: Spot, after: Spot | None, descending: bool) -> bool:
    return after is None or (spot < after if descending else spot > after)


def _fits(view: PaymentView, asked: Asked) -> bool:
    return asked.state in (None, view.state) and _are_asked(view.parties, asked)


def _are_asked(parties: Parties, asked: Asked) -> bool:
    return all(member in (None, *parties) for member in (asked.member, asked.counterparty))
