"""Reading end-of-day totals in the index of reconciliation: lists, one pair's, and which payments make the difference.

Lists go by day, members and currency. A page looks at a bounded number of rows. Not here: how the index is kept
(`ledger.totals_index`), what totals say together (`ledger.totals`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ledger import totals_rows as at
from ledger.reconciliation import Said
from ledger.reconciliation_rows import BUILD_AGAIN, PAYMENTS, PaymentRow, read_row
from ledger.store import Store, prefix_stop
from ledger.totals import (
    ALL_LINES,
    BOTH,
    FIRST,
    SECOND,
    Key,
    Line,
    Stated,
    TotalsState,
    counting,
    payments_root,
    stands,
)
from ledger.totals_rows import NO_TOTALS, Numbers, TotalsChange, TotalsCounts, TotalsRow
from primitives.errors import StorageError
from primitives.ids import HASH_BYTES, Hash

LOOKED_AT_MAX: Final = 10_000
"""Rows that a page may look at: who asks for what is rare gets short pages with a cursor."""

ROOTED_MAX: Final = 100_000
"""Payments over which roots are made when somebody asks for totals; 0.3 s of a core."""

Spot = tuple[int, bytes]
"""A place in the list of what is counted: the number of its line, and its pair key with its part."""


class TotalsAsked(NamedTuple):
    """Which totals: how they stand, of which member and with whom, of which day (YYYYMMDD) and currency."""

    state: TotalsState | None = None
    member: str | None = None
    counterparty: str | None = None
    day: int | None = None
    currency: str | None = None


class FoundTotals(NamedTuple):
    """A pair's totals of a day in a currency: what each stated, oldest first, and what the chain's statements count."""

    key: Key
    stated: tuple[tuple[Stated, ...], tuple[Stated, ...]]
    left_out: tuple[int, int]
    numbers: Numbers

    @property
    def state(self) -> TotalsState:
        """How they stand."""
        return stands(*self.stated)


class CountedPayment(NamedTuple):
    """A payment on a line: who counts it, as bits, and both members' statements that count it there.

    `part` tells several returns or reversals of one payment apart.
    `elsewhere` are the other keys and lines where it is counted between the same members, with their statements.
    """

    line: Line
    pair_key: bytes
    part: bytes
    bits: int
    said: tuple[Said | None, Said | None]
    elsewhere: tuple[tuple[Key, Line, tuple[Said | None, Said | None]], ...]


class TotalsReader:
    """Answers out of the index of reconciliation, beside its follower."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, key: Key) -> FoundTotals | None:
        """Return a pair's totals; None where there is neither a statement nor anything stated of them."""
        data = self._store.get(at.NUMBERS + at.key_bytes(key))
        return None if data is None else self._found(key, data)

    def _found(self, key: Key, data: bytes) -> FoundTotals:
        numbers = read_row(Numbers, data)
        stated = self._store.get(at.STATED + at.key_bytes(key))
        row = NO_TOTALS if stated is None else read_row(TotalsRow, stated)
        return FoundTotals(key, (row.first, row.second), row.left_out, numbers)

    def page(
        self, asked: TotalsAsked, count: int, after: Key | None, *, descending: bool
    ) -> tuple[list[FoundTotals], Key | None]:
        """Return up to `count` totals after one, and where to go on, None at the end of the list."""
        found: list[FoundTotals] = []
        low, high = at.NUMBERS, prefix_stop(at.NUMBERS)
        if asked.day is not None:
            low = at.NUMBERS + asked.day.to_bytes(at.DAY_SIZE, "big")
            high = prefix_stop(low)
        if after is not None:
            place = at.NUMBERS + at.key_bytes(after)
            low, high = (low, min(high, place)) if descending else (max(low, place + b"\0"), high)
        if low >= high:
            return found, None
        for looked, (row, data) in enumerate(self._store.iterate(low, high, reverse=descending), 1):
            key = at.parse_key(row[len(at.NUMBERS) :])
            if _is_asked(key, asked):
                item = self._found(key, data)
                if asked.state in (None, item.state) and any(item.numbers.counts + item.stated[0] + item.stated[1]):
                    if len(found) == count:
                        return found, found[-1].key
                    found.append(item)
            if looked >= LOOKED_AT_MAX:
                return found, key
        return found, None

    def payments(
        self, key: Key, count: int, after: Spot | None, *, differences: bool, descending: bool = False
    ) -> tuple[list[CountedPayment], Spot | None]:
        """Return up to `count` payments that are counted for a key, by line and pair key, and where to go on.

        `differences` leaves out those that both count with one amount, or with amounts that cannot be compared.
        """
        found: list[CountedPayment] = []
        prefix = at.counted_prefix(key)
        low, high = prefix, prefix_stop(prefix)
        if after is not None:
            place = prefix + bytes((after[0],)) + after[1]
            low, high = (low, place) if descending else (place + b"\0", high)
        for looked, (row, data) in enumerate(self._store.iterate(low, high, reverse=descending), 1):
            spot = row[len(prefix)], row[len(prefix) + 1 :]
            if not differences or data[0] != BOTH:
                if len(found) == count:
                    last = found[-1]
                    return found, (last.line.number, last.pair_key + last.part)
                found.append(self._payment(key, ALL_LINES[spot[0]], spot[1], data))
            if looked >= LOOKED_AT_MAX:
                return found, spot
        return found, None

    def _payment(self, key: Key, line: Line, name: bytes, data: bytes) -> CountedPayment:
        row = self._store.get(PAYMENTS + data[1:])
        if row is None:
            raise StorageError("the index of reconciliation is damaged, a row is missing", hint=BUILD_AGAIN)
        pair_key, part = name[:HASH_BYTES], name[HASH_BYTES:]
        found = counting(read_row(PaymentRow, row).said)
        elsewhere = [
            (other, ALL_LINES[number], words)
            for (other, number, same), words in found.items()
            if other.parties == key.parties and (other, number) != (key, line.number) and same == part
        ]
        words = found.get((key, line.number, part), (None, None))
        return CountedPayment(line, pair_key, part, data[0], words, tuple(elsewhere))

    def roots(self, found: FoundTotals) -> dict[int, tuple[Hash | None, Hash | None]]:
        """Return by the number of a line the roots over what the first and the second member's statements count on it.

        None where a member counts nothing; lines are left out once those before are of too many payments.
        """
        made: dict[int, tuple[Hash | None, Hash | None]] = {}
        looked = 0
        for line in range(len(ALL_LINES)):
            rows = found.numbers.on(line)
            looked += rows
            if rows and looked <= ROOTED_MAX:
                prefix = at.counted_prefix(found.key) + bytes((line,))
                names: tuple[list[bytes], list[bytes]] = ([], [])
                for row, data in self._store.iterate(prefix, prefix_stop(prefix)):
                    for side, bit in enumerate((FIRST, SECOND)):
                        if data[0] & bit:
                            names[side].append(row[len(prefix) :])
                first, second = (payments_root(each) if each else None for each in names)
                made[line] = first, second
        return made

    def counts(self) -> TotalsCounts:
        """Return how many totals stand how."""
        data = self._store.get(at.STANDING)
        return TotalsCounts() if data is None else read_row(TotalsCounts, data)

    def changes(self, height: int) -> tuple[TotalsChange, ...]:
        """Return the totals that were stated in a block, and how they stand since."""
        data = self._store.get(at.changes_key(height))
        return () if data is None else read_row(tuple[TotalsChange, ...], data)


def _is_asked(key: Key, asked: TotalsAsked) -> bool:
    return (
        all(member in (None, *key.parties) for member in (asked.member, asked.counterparty))
        and asked.day in (None, key.day)
        and asked.currency in (None, key.currency)
    )
