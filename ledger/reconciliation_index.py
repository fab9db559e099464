"""The follower of reconciliation: brings its index up to the log, some statements at a time.

It stands in the store of the other indexes with a height of its own, is no part of the consensus, and is made anew from
the ledger whenever it is missing or of another format. It may lag behind: answers name the height that it has reached.
Each block is one write, but for payments of which a side is due: where time has passed over very many, these go before
it, some at a time. In memory is what one block says, and the newest counts. Not here: the rows
(`ledger.reconciliation_rows`), what statements say together (`ledger.reconciliation`), and reading
(`ledger.reconciliation_reading`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from msgspec.structs import astuple, replace

from ledger import reconciliation_rows as at
from ledger.reader import LedgerReader
from ledger.reconciliation import PaymentView, Said, Standing, reconcile
from ledger.reconciliation_rows import Change, Counts, Followed, Parties, PaymentRow, Stood
from ledger.reconciliation_statements import Partners, is_between_banks, said_in, statement_in, totals_in
from ledger.rows import all_of, position_bytes
from ledger.state_after import KnownNodes, StateAfter, header_at
from ledger.store import Put, Store
from ledger.totals_index import TotalsFollower
from ledger.totals_rows import changes_key as totals_changes_key
from primitives.block import BlockHeader
from primitives.encoding import decoder_of, encode
from primitives.errors import ChainError, StorageError
from primitives.ids import Height

STATEMENTS_A_MEMBER_MAX: Final = 32
"""Of one member under one pair key: four legs, of which each goes through a few statuses. More are left out."""

STATEMENTS_A_PIECE: Final = 256
DUE_A_WRITE: Final = 4_096
"""Payments that are due and more than a block's: after a pause of the chain all of its time are due at once."""

CLEARED_A_WRITE: Final = 10_000
COUNTS_KEPT: Final = 16_384
DROPPED_EVERY: Final = 64
"""Blocks after which the changes of as many old ones are deleted."""

_UNPAIRED: Final = len(Standing) + 1
_SLOTS: Final = _UNPAIRED
_read_payment = decoder_of(PaymentRow).decode


class _Touched:
    """A pair key about which a block says something: its row's place, and what it was before."""

    __slots__ = ("left_out", "pair_key", "place", "row", "said")

    def __init__(self, pair_key: bytes, place: bytes, row: PaymentRow | None) -> None:
        self.pair_key = pair_key
        self.place = place
        self.row = row
        self.said: list[Said] = [] if row is None else list(row.said)
        self.left_out = 0 if row is None else row.left_out

    def is_as_it_stood(self, time_ms: int) -> bool:
        """Say whether nothing was added that counts, and no side is due: what a member has said enough of is cheap."""
        row = self.row
        if row is None or len(self.said) > len(row.said):
            return False
        return row.deadline_ms is None or row.deadline_ms > time_ms


class ReconciliationFollower:
    """Brings the index of reconciliation up to the log. One follower writes it."""

    def __init__(self, store: Store, reader: LedgerReader) -> None:
        """Open it; one of another format or another chain begins anew. StorageError where it is damaged."""
        self._store = store
        self._reader = reader
        self._nodes = KnownNodes(reader.store)
        self._state: StateAfter | None = None
        self._partners: Partners | None = None
        self._taking: Iterator[int] | None = None
        self._counts: dict[tuple[int, Parties], list[int]] = {}
        self._counted: set[tuple[int, Parties]] = set()
        self._totals = TotalsFollower(store)
        followed = at.followed_of(store)
        if followed is not None and not self._is_ours(followed):
            self.clear()
            followed = None
        self._height = None if followed is None else followed.height
        self._time_ms: int | None = None
        """The time of the block before, once one was followed: rows up to it were deleted, and are not read over."""

    def _is_ours(self, followed: Followed) -> bool:
        if followed.format != at.FORMAT or followed.height < self._reader.base():
            return False
        header = self._reader.header(followed.height)
        return header is not None and header.hash() == followed.block_hash

    @property
    def height(self) -> Height | None:
        """The height that it has reached; None before the first block."""
        return self._height

    def follow(self, height: int, statements_max: int) -> int:
        """Go on up to this height, by about so many events, and return how many there were; a block counts as one."""
        count = 0
        if self._height is None:
            base = int(self._reader.base())
            if base > height or self._reader.header(base) is None:
                return 0
            self.clear()
            self._finish([], header_at(self._reader, base))
        while count < statements_max:
            if self._taking is None:
                if self._height is None or self._height >= height:
                    break
                self._taking = self._take(header_at(self._reader, self._height + 1))
            try:
                taken = next(self._taking, None)
            except ChainError:  # such as a body that is in the archive: the block is begun anew the next time
                self._taking = None
                self._forget()
                raise
            if taken is None:
                self._taking = None
            else:
                count += taken
        return count

    def clear(self) -> None:
        """Remove all rows, to make the index anew."""
        self._store.write([(at.FOLLOWED_KEY, None)], sync=True)
        self._height = self._taking = self._time_ms = None
        self._forget()
        start, stop = all_of(at.ALL)
        while old := [key for key, _ in islice(self._store.iterate(start, stop), CLEARED_A_WRITE)]:
            self._store.write([(key, None) for key in old], sync=False)

    def _forget(self) -> None:
        self._counts.clear()
        self._counted.clear()
        self._totals.forget()

    def _take(self, block: BlockHeader) -> Iterator[int]:
        """Take a block in pieces; written at the end, so that a reader never sees half of it."""
        height, time_ms = int(block.height), int(block.time_ms)
        touched: dict[bytes, _Touched] = {}
        due = at.DEADLINES if self._time_ms is None else at.deadline_key(self._time_ms + 1, b"")
        part = sum(1 for _ in self._store.iterate(at.changes_key(height), at.changes_key(height + 1)))
        while due := self._load_due(touched, due, time_ms):
            self._write_due(touched, at.changes_key(height, part), time_ms)
            yield len(touched)
            touched.clear()
            part += 1
        yield 1
        batches, rejected = self._reader.recorded_batches(height)
        partners = self._partners_after(block)
        index = 0
        for batch in batches:
            for start in range(0, len(batch.events), STATEMENTS_A_PIECE):
                piece = batch.events[start : start + STATEMENTS_A_PIECE]
                for raw in piece:
                    if index not in rejected:
                        self._add(raw, height, index, time_ms, partners, touched)
                    index += 1
                yield len(piece)
        puts: list[Put] = []
        changes: list[Change] = []
        for number, payment in enumerate(touched.values(), 1):
            self._settle(payment, time_ms, puts, changes)
            if number % STATEMENTS_A_PIECE == 0:
                yield STATEMENTS_A_PIECE
        if changes:
            puts.append((at.changes_key(height, part), encode(tuple(changes))))
        puts += [(key, None) for key, _ in self._changes_too_old(height)]
        self._finish([*puts, *self._counts_changed(), *self._totals.puts(height)], block)

    def _load_due(self, touched: dict[bytes, _Touched], start: bytes, time_ms: int) -> bytes:
        """Take up payments of which a side is due by a block's time; return from where on there may be more.

        None was due by the block before, any more.
        """
        key = b""
        for key, _ in islice(self._store.iterate(start, at.deadline_key(time_ms + 1, b"")), DUE_A_WRITE):
            place = key[-8:]
            row = self._row(place)
            touched[row.pair_key] = _Touched(row.pair_key, place, row)
        return key + b"\0" if len(touched) == DUE_A_WRITE else b""

    def _write_due(self, touched: dict[bytes, _Touched], changes_key: bytes, time_ms: int) -> None:
        """Write how payments stand that are due; the rest of them, and what the block says, follow."""
        puts: list[Put] = []
        changes: list[Change] = []
        for payment in touched.values():
            self._settle(payment, time_ms, puts, changes)
        puts.append((changes_key, encode(tuple(changes))))  # also of none: parts are counted after a restart
        self._store.write([*puts, *self._counts_changed()], sync=False)

    def _partners_after(self, block: BlockHeader) -> Partners:
        """Return who stands behind which codes after a block."""
        before = self._state
        self._state = StateAfter(self._reader, block, self._nodes) if before is None else before.through(block)
        if self._partners is None or self._state is not before:
            self._partners = Partners(self._state)
        return self._partners

    def _add(
        self, raw: bytes, height: int, index: int, time_ms: int, partners: Partners, touched: dict[bytes, _Touched]
    ) -> None:
        found = statement_in(raw)
        if found is None:
            self._add_totals(raw, height, index, time_ms)
            return
        member, brief = found
        if not is_between_banks(brief):
            self._count(at.day_of(time_ms), ("", member), _UNPAIRED, 1)
            return
        payment = touched.get(brief.pair_key)
        if payment is None:
            place = self._store.get(at.PAIR_KEYS + brief.pair_key)
            row = None if place is None else self._row(place)
            payment = _Touched(brief.pair_key, place or position_bytes(height, index), row)
            touched[brief.pair_key] = payment
        if len(payment.said) >= STATEMENTS_A_MEMBER_MAX and (
            sum(one.member == member for one in payment.said) >= STATEMENTS_A_MEMBER_MAX
        ):
            payment.left_out += 1
            return
        partner = partners.other(member, brief.side, bytes(brief.agents))
        payment.said.append(said_in(brief, member, partner, height, index, time_ms))

    def _add_totals(self, raw: bytes, height: int, index: int, time_ms: int) -> None:
        found = totals_in(raw)
        if found is not None:
            assert self._state is not None, "the state is read before the events of its block"
            self._totals.state(*found, height, index, time_ms, self._state)

    def _row(self, place: bytes) -> PaymentRow:
        data = self._store.get(at.PAYMENTS + place)
        if data is None:
            raise StorageError("the index of reconciliation is damaged, a row is missing", hint=at.BUILD_AGAIN)
        return _read_payment(data)  # type: ignore[no-any-return]  # the decoder is of this type

    def _settle(self, payment: _Touched, time_ms: int, puts: list[Put], changes: list[Change]) -> None:
        """Say how the payments of a pair key stand after a block, and change the rows that said otherwise."""
        place, row, said = payment.place, payment.row, payment.said
        if row is not None and payment.is_as_it_stood(time_ms):
            puts.append((at.PAYMENTS + place, encode(replace(row, left_out=payment.left_out))))
            return
        views = reconcile(said, time_ms)
        deadline_ms = _next_deadline(views)
        stood = tuple([Stood(view.parties, view.state) for view in views])
        before = () if row is None else row.stood
        told = () if row is None else row.said
        if len(told) != len(said):
            puts += self._totals.count(payment.pair_key, place, told, said)
        day = at.day_of(said[0].time_ms)
        if row is None:
            puts.append((at.PAIR_KEYS + payment.pair_key, place))
        if before != stood:
            self._restand(place, day, before, stood, puts, changes)
        was_due_ms = None if row is None else row.deadline_ms
        if was_due_ms != deadline_ms:
            if was_due_ms is not None:
                puts.append((at.deadline_key(was_due_ms, place), None))
            if deadline_ms is not None:
                puts.append((at.deadline_key(deadline_ms, place), b""))
        new = PaymentRow(payment.pair_key, tuple(said), stood, deadline_ms, payment.left_out)
        puts.append((at.PAYMENTS + place, encode(new)))

    def _restand(
        self,
        place: bytes,
        day: int,
        before: tuple[Stood, ...],
        now: tuple[Stood, ...],
        puts: list[Put],
        changes: list[Change],
    ) -> None:
        """Change what stands beside a row: lists, counts, and what is told of a block."""
        old, new = dict(map(astuple, before)), dict(map(astuple, now))
        for parties in dict.fromkeys([*old, *new]):
            was, state = old.get(parties), new.get(parties)
            if was is state:
                continue
            changes.append(Change(place, parties, was, state))
            if was is None or state is None:
                puts.append((at.between_prefix(parties) + place, None if state is None else b""))
            if was is not None:
                self._count(day, parties, was, -1)
                puts += [(key, None) for key in _standing_keys(was, parties, place)]
            if state is not None:
                self._count(day, parties, state, 1)
                puts += [(key, b"") for key in _standing_keys(state, parties, place)]

    def _count(self, day: int, parties: Parties, slot: int, change: int) -> None:
        for key in ((day, parties), (at.EVER, parties)):
            counts = self._counts.get(key)
            if counts is None:
                data = self._store.get(at.counts_prefix(key[0]) + at.parties_bytes(parties))
                counts = [0] * _SLOTS if data is None else list(astuple(at.read_row(Counts, data)))
                self._counts[key] = counts
            counts[slot - 1] += change
            self._counted.add(key)

    def _counts_changed(self) -> list[Put]:
        """Return the rows of the counts that changed; the newest stay in memory, so that they are not read again."""
        puts: list[Put] = [
            (at.counts_prefix(day) + at.parties_bytes(parties), encode(Counts(*self._counts[day, parties])))
            for day, parties in sorted(self._counted)
        ]
        self._counted.clear()
        if len(self._counts) > COUNTS_KEPT:
            self._counts.clear()
        return puts

    def _changes_too_old(self, height: int) -> list[Put]:
        """Return, now and then, the changes of old blocks; those before them are gone."""
        if height % DROPPED_EVERY:
            return []
        low, high = (max(0, height - at.CHANGES_KEPT - each) for each in (DROPPED_EVERY, 0))
        keys = at.changes_key, totals_changes_key
        return [row for key_of in keys for row in self._store.iterate(key_of(low), key_of(high))]

    def _finish(self, puts: list[Put], block: BlockHeader) -> None:
        # In one write: a reader never sees rows of a block that is not followed. What a crash takes is followed again.
        followed = Followed(at.FORMAT, Height(int(block.height)), block.hash())
        self._store.write([*puts, (at.FOLLOWED_KEY, encode(followed))], sync=False)
        self._height = followed.height
        self._time_ms = int(block.time_ms)


def _next_deadline(views: list[PaymentView]) -> int | None:
    if len(views) == 1:
        return views[0].deadline_ms
    return min((due for view in views if (due := view.deadline_ms) is not None), default=None)


def _standing_keys(state: Standing, parties: Parties, place: bytes) -> tuple[bytes, ...]:
    """Return the keys of the rows that list a payment by how it stands; one that matches has none."""
    if state is Standing.MATCHED:
        return ()
    return (
        at.standing_prefix(state) + place + at.parties_bytes(parties),
        at.standing_between_prefix(state, parties) + place,
    )
