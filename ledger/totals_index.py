"""Following end-of-day totals, for the follower of reconciliation: what is counted where, and what was stated of it.

It writes nothing itself: the rows of a block go into that block's one write. Not here: the rows (`ledger.totals_rows`),
what totals say together (`ledger.totals`), reading (`ledger.totals_reading`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import astuple, replace

from ledger import totals_rows as at
from ledger.members import Member, member_key
from ledger.reconciliation import Said
from ledger.reconciliation_rows import read_row
from ledger.state import StateGetter
from ledger.store import Put, Store
from ledger.totals import Key, Stated, TotalsState, counted, counted_once, stands
from ledger.totals_bodies import PaymentTotals
from ledger.totals_rows import NO_NUMBERS, NO_TOTALS, Numbers, TotalsChange, TotalsCounts, TotalsRow
from primitives.encoding import encode

NUMBERS_KEPT: Final = 16_384


PlainKey = tuple[tuple[str, str], int, str]
"""A `Key`, or a tuple that is equal to one: cheaper to make for each payment."""


class _Numbers:
    """The numbers of a key as they change, and the prefix of the rows of what is counted there."""

    __slots__ = ("changed", "counts", "key", "prefix")

    def __init__(self, key: Key, numbers: Numbers) -> None:
        self.key = key
        self.counts = list(numbers.counts)
        self.prefix = at.counted_prefix(key)
        self.changed = False


class TotalsFollower:
    """Gathers what a block changes of totals. What it has gathered is dropped by `forget`, or given by `puts`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._numbers: dict[PlainKey, _Numbers] = {}
        self._changed: list[_Numbers] = []
        self._stated: dict[Key, TotalsRow] = {}
        self._changes: list[TotalsChange] = []

    def forget(self) -> None:
        """Drop what was gathered: its block is begun anew."""
        self._numbers.clear()
        self._changed.clear()
        self._stated.clear()
        self._changes.clear()

    def count(self, pair_key: bytes, place: bytes, before: Sequence[Said], now: Sequence[Said]) -> list[Put]:
        """Take the payment of a pair key out of the lines where it was counted, and into those where it is."""
        is_ = counted_once(now)
        if is_ is not None:
            key, line, bits = is_
            was = counted_once(before) if before else (key, line, None)
            if was is not None and was[0] == key and was[1] == line:
                if was[2] == bits:
                    return []
                return [self._move(key, line, was[2], bits, pair_key, place)]
        old, new = counted(before), counted(now)
        if old == new:
            return []
        puts: list[Put] = []
        for where in dict.fromkeys([*old, *new]):
            key, line, part = where
            if old.get(where) != new.get(where):
                puts.append(self._move(key, line, old.get(where), new.get(where), pair_key + part, place))
        return puts

    def _move(self, key: PlainKey, line: int, was: int | None, bits: int | None, name: bytes, place: bytes) -> Put:
        numbers = self._numbers_of(key)
        if was is not None:
            numbers.counts[line * at.KINDS_OF_COUNTS + at.COUNT_PLACES[was]] -= 1
        if bits is not None:
            numbers.counts[line * at.KINDS_OF_COUNTS + at.COUNT_PLACES[bits]] += 1
        return b"%b%c%b" % (numbers.prefix, line, name), None if bits is None else b"%c%b" % (bits, place)

    def state(
        self, member: str, body: PaymentTotals, height: int, index: int, time_ms: int, state: StateGetter
    ) -> None:
        """Take up totals that a member stated. Those with itself, or with what is no member, concern nobody."""
        other = body.counterparty
        if other == member or state.get(member_key(other), Member) is None:
            return
        key = Key((member, other) if member < other else (other, member), body.day, body.currency)
        row = self._stated.get(key)
        if row is None:
            data = self._store.get(at.STATED + at.key_bytes(key))
            row = NO_TOTALS if data is None else read_row(TotalsRow, data)
        stated = Stated(height, index, time_ms, body.lines)
        before = stands(row.first, row.second)
        side = key.parties.index(member)
        kept = [*(row.second if side else row.first), stated]
        left_out = list(row.left_out)
        left_out[side] += max(0, len(kept) - at.STATED_MAX)
        said = tuple(kept[-at.STATED_MAX :])
        row = replace(row, **{"second" if side else "first": said}, left_out=(left_out[0], left_out[1]))
        self._stated[key] = row
        self._numbers_of(key)
        now = stands(row.first, row.second)
        self._changes.append(TotalsChange(key.parties, body.day, body.currency, member, before, now))

    def puts(self, height: int) -> list[Put]:
        """Return the rows that say what was gathered of a block, and begin with nothing."""
        puts: list[Put] = [
            (at.NUMBERS + at.key_bytes(each.key), encode(Numbers(tuple(each.counts)))) for each in self._changed
        ]
        for each in self._changed:
            each.changed = False
        if self._changes:
            puts += [(at.STATED + at.key_bytes(key), encode(row)) for key, row in sorted(self._stated.items())]
            puts.append((at.changes_key(height), encode(tuple(self._changes))))
            puts.append((at.STANDING, encode(self._counts())))
        self._changed.clear()
        self._stated.clear()
        self._changes.clear()
        if len(self._numbers) > NUMBERS_KEPT:
            self._numbers.clear()
        return puts

    def _counts(self) -> TotalsCounts:
        data = self._store.get(at.STANDING)
        counts = [0, *astuple(TotalsCounts() if data is None else read_row(TotalsCounts, data))]
        for change in self._changes:
            counts[change.before] -= 1
            counts[change.state] += 1
        return TotalsCounts(*counts[TotalsState.ONE_SIDED :])

    def _numbers_of(self, plain: PlainKey) -> _Numbers:
        numbers = self._numbers.get(plain)
        if numbers is None:
            key = Key(*plain)
            data = self._store.get(at.NUMBERS + at.key_bytes(key))
            numbers = self._numbers[key] = _Numbers(key, NO_NUMBERS if data is None else read_row(Numbers, data))
        if not numbers.changed:
            numbers.changed = True
            self._changed.append(numbers)
        return numbers
