"""Reading the index: positions of payment statements and certificate events, numbers of certificates.

Every answer is as of the height that the index has reached. Positions come in the order of the log. Not here: how the
index is kept (`ledger.indexes`), and the events themselves (`ledger.reader`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from ledger import rows
from ledger.certificate_index import (
    Facet,
    Numbers,
    application_in,
    certificate_row_key,
    holder_prefix,
    last_change,
    last_turn,
    numbers_by_facet,
    numbers_by_text,
    numbers_under,
)
from ledger.deadline_index import EndsReader
from ledger.id_prefixes import ids_like
from ledger.index_places import PAIR_KEYS, UETRS, Index
from ledger.indexes import PAYMENT_BLOCKS, member_prefix, subject_prefix, terminal_prefix
from ledger.mark_index import MisuseFacet, mark_prefix, reports_under
from ledger.packed_map import KEY_SIZE
from ledger.payments import PAYMENT_STATEMENT, UETR_SIZE, PaymentStatement
from ledger.reader import LedgerReader
from ledger.reconciliation_reading import ReconciliationReader
from ledger.views import EventView, Position
from primitives.encoding import decoder_of
from primitives.ids import EventId, Height

HEIGHT_SIZE = 6
Place = tuple[int, int]
"""Height and index in the block."""

VIEWS_AT_ONCE = 256
"""Few, so that a page of a list does not read thousands of events; a batch that is cut is read twice."""


class IndexReader:
    """Answers out of an index, beside its follower; `reader` reads the ledger that it belongs to."""

    def __init__(self, reader: LedgerReader, index: Index) -> None:
        self._reader = reader
        self._index = index
        self.ends = EndsReader(index.store)
        """What falls due, which has a height of its own."""
        self.reconciliation = ReconciliationReader(index.store, reader)
        """How payments stand, which has a height of its own."""

    def height(self) -> Height:
        """Return the height that the index has reached, 0 before it began."""
        reached = self._index.reached
        return Height(0) if reached is None else reached.height

    def certificates(self, *, holder: str | None, after: str | None, count: int, descending: bool) -> list[str]:
        """Return up to `count` numbers of granted certificates in their order, those after `after`."""
        return list(islice(self.numbers(holder, Numbers("", after, descending)), count))

    def certificates_since(self, height: int, time_ms: int) -> tuple[int, int]:
        """Return since which block and which time all certificates are what they are at a height and a time.

        The last block up to it that may have changed any, and the last time at which a term began or ended.
        """
        return last_change(self._index.store, height), last_turn(self._index.store, time_ms)

    def numbers(self, holder: str | None, numbers: Numbers) -> Iterator[str]:
        """Yield the numbers of granted certificates, of one holder or of all, in their order."""
        prefix = certificate_row_key("") if holder is None else holder_prefix(holder)
        return numbers_under(self._index.store, prefix, numbers)

    def numbers_by_facet(self, facet: Facet, values: Sequence[str], numbers: Numbers) -> Iterator[str]:
        """Yield, in order, the numbers of the certificates that have, or ever had, any of these values of a facet."""
        return numbers_by_facet(self._index.store, facet, values, numbers)

    def numbers_by_text(self, text: str, numbers: Numbers) -> list[str]:
        """Return, in order, the numbers of the certificates in whose names this folded text stands; some in vain."""
        return numbers_by_text(self._index.store, text, numbers)

    def certificate_events(
        self, number: str, *, count: int, after: Place | None = None, descending: bool = False
    ) -> list[Position]:
        """Return up to `count` events of a certificate and of the application that led to it, those after a place."""
        row = self._index.store.get(certificate_row_key(number))
        places = set(self._places(subject_prefix(number)))
        if row is not None:
            places |= set(self._places(subject_prefix(application_in(row))))
        return [self._position(*place) for place in islice(_onward(places, after, descending), count)]

    def mark_events(
        self, number: str, *, count: int, after: Place | None = None, descending: bool = False
    ) -> list[Position]:
        """Return up to `count` events about the mark of a certificate, those after a place."""
        places = islice(_onward(self._places(mark_prefix(number)), after, descending), count)
        return [self._position(*place) for place in places]

    def misuse_reports(self, facet: MisuseFacet, value: str, after: int | None, *, descending: bool) -> Iterator[int]:
        """Yield, in order, the numbers of the reports of misuse that have, or ever had, this value of a facet."""
        return reports_under(self._index.store, facet, value, after, descending=descending)

    def payment(
        self, key: bytes, *, count: int, after: Place | None = None, descending: bool = False
    ) -> list[Position]:
        """Return up to `count` statements of the payment with this pair key (32 bytes) or UETR (16), after a place."""
        name = UETRS if len(key) == UETR_SIZE else PAIR_KEYS
        places = map(rows.parse_position, self._index.places(name, key[:KEY_SIZE]))
        found: Iterable[Place] = _onward(places, after, descending)
        if name is PAIR_KEYS:
            found = (place for place in found if self._has_pair_key(place, key))
        return [self._position(*place) for place in islice(found, count)]

    def payments(self, *, member: str | None, after: int | None, count: int, descending: bool) -> list[Position]:
        """Return up to `count` payment statements, those after log index `after`, of one member or of all."""
        found: list[Position] = []
        for height in self._payment_blocks(member, after, descending):
            for view in self._block_views(height, after, descending):
                place = view.position
                passed = after is not None and (place.log_index >= after if descending else place.log_index <= after)
                if passed or view.event.kind != PAYMENT_STATEMENT or member not in (None, view.event.member):
                    continue
                if len(found) == count:
                    return found
                found.append(place)
        return found

    def terminal_payments(
        self, number: str, *, after: Place | None = None, descending: bool = False
    ) -> Iterator[tuple[int, list[int]]]:
        """Yield the blocks in which statements name a terminal's certificate, with these statements' indexes there.

        They are those after a place, ascending or, where `descending`, the other way round.
        """
        prefix = terminal_prefix(number)
        start, stop = prefix, prefix + b"\xff" * (HEIGHT_SIZE + 1)
        if after is not None:
            height = prefix + after[0].to_bytes(HEIGHT_SIZE, "big")
            start, stop = (start, height + b"\0") if descending else (height, stop)
        for key, value in self._index.store.iterate(start, stop, reverse=descending):
            height_here = int.from_bytes(key[-HEIGHT_SIZE:], "big")
            indexes = [int.from_bytes(value[at : at + 2], "big") for at in range(0, len(value), 2)]
            if places := _onward([(height_here, index) for index in indexes], after, descending):
                yield height_here, [index for _, index in places]

    def _block_views(self, height: int, after: int | None, descending: bool) -> Iterator[EventView]:
        """Yield a block's events in order or backwards, a part at a time, without most of those up to `after`."""
        header = self._reader.header(height)
        assert header is not None, "the index never reaches above the log"
        starts = range(0, header.event_count, VIEWS_AT_ONCE)
        for start in reversed(starts) if descending else starts:
            first, last = header.first_index + start, header.first_index + start + VIEWS_AT_ONCE - 1
            if after is not None and (first >= after if descending else last <= after):
                continue
            views = self._reader.block_events(height, start, VIEWS_AT_ONCE)
            yield from reversed(views) if descending else views

    def event_ids(self, digits: str, count: int) -> list[EventId]:
        """Return up to `count` ids of events that begin with these lower-case hex digits, 4 or more of them."""
        return ids_like(self._reader, self._index, digits, count)

    def _payment_blocks(self, member: str | None, after: int | None, descending: bool) -> Iterator[int]:
        """Yield the heights of blocks with payment statements, from the block of log index `after` on."""
        prefix = PAYMENT_BLOCKS if member is None else member_prefix(member)
        low, high = 0, rows.HEIGHT_MAX - 1
        if after is not None:
            height = self._reader.height_at_log_index(after)
            if height is None:
                return
            low, high = (low, height) if descending else (height, high)
        start, stop = prefix + low.to_bytes(HEIGHT_SIZE, "big"), prefix + (high + 1).to_bytes(HEIGHT_SIZE, "big")
        for key, _ in self._index.store.iterate(start, stop, reverse=descending):
            yield int.from_bytes(key[-HEIGHT_SIZE:], "big")

    def _places(self, prefix: bytes) -> Iterator[tuple[int, int]]:
        stop = prefix + b"\xff" * (rows.POSITION_SIZE + 1)
        for key, _ in self._index.store.iterate(prefix, stop):
            if len(key) == len(prefix) + rows.POSITION_SIZE:
                yield rows.parse_position(key[len(prefix) :])

    def _has_pair_key(self, place: tuple[int, int], pair_key: bytes) -> bool:
        """Say whether a statement has the whole key: rows hold its first bytes only, which anybody can imitate."""
        view = self._reader.event_at(*place)
        if view is None:
            return False
        body: PaymentStatement = decoder_of(PaymentStatement).decode(view.event.body)
        return body.pair_key == pair_key

    def _position(self, height: int, index: int) -> Position:
        header = self._reader.header(height)
        assert header is not None, "the index never reaches above the log"
        return Position(Height(height), index, header.first_index + index)


def _onward(places: Iterable[Place], after: Place | None, descending: bool) -> list[Place]:
    """Return places in their order, those after one, so that none is skipped or repeated when new ones come."""
    if after is not None:
        places = (place for place in places if (place < after if descending else place > after))
    return sorted(places, reverse=descending)
