"""The rows of end-of-day totals in the index of reconciliation, for its follower and its readers.

Members are written ascending; days are numbers YYYYMMDD. A *line* is a place of `ledger.totals.ALL_LINES`. Rows:

    pu  members, day, currency, line, pair key, part   what is counted there: by whom (bits), and its row's place
    pn  day, members, currency                   how many payments are counted on each line, and by whom
    po  day, members, currency                   the totals that both stated
    pq                                           how many pairs' totals stand how
    pv  height                                   what a block changed
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from ledger.reconciliation_rows import HEIGHT_SIZE, parse_parties, parties_bytes
from ledger.totals import BOTH, FIRST, LINES, SECOND, UNLIKE, Key, Stated, TotalsState
from primitives.encoding import Record

COUNTED: Final = b"pu"
NUMBERS: Final = b"pn"
STATED: Final = b"po"
STANDING: Final = b"pq"
CHANGES: Final = b"pv"
DAY_SIZE: Final = 4
CURRENCY_SIZE: Final = 3
STATED_MAX: Final = 16
"""Totals that are kept of one member for one key: the newest, of which the last counts."""

_BITS: Final = (FIRST, SECOND, BOTH, BOTH | UNLIKE)
KINDS_OF_COUNTS: Final = len(_BITS)
COUNT_PLACES: Final = {bits: place for place, bits in enumerate(_BITS)}
"""Of a line's counts: payments that the first, the second, both count alike, both with other amounts."""


class Numbers(Record):
    """How many payments are counted on each line: four numbers a line, as `COUNT_PLACES` has them."""

    counts: tuple[int, ...]

    def of(self, line: int, side: int) -> int:
        """Return how many the first (0) or the second (1) member counts on a line."""
        start = line * KINDS_OF_COUNTS
        one = self.counts[start : start + KINDS_OF_COUNTS]
        return one[side] + one[2] + one[3]

    def on(self, line: int) -> int:
        """Return how many are on a line, whoever counts them."""
        return sum(self.counts[line * KINDS_OF_COUNTS : (line + 1) * KINDS_OF_COUNTS])

    @property
    def unlike(self) -> int:
        """How many payments both do not count alike."""
        matched = sum(self.counts[COUNT_PLACES[BOTH] :: KINDS_OF_COUNTS])
        return sum(self.counts) - matched


NO_NUMBERS: Final = Numbers((0,) * (LINES * KINDS_OF_COUNTS))


class TotalsRow(Record):
    """The totals of both members, in the order of the log; of one that stated more, the newest, and how many before."""

    first: tuple[Stated, ...] = ()
    second: tuple[Stated, ...] = ()
    left_out: tuple[int, int] = (0, 0)


NO_TOTALS: Final = TotalsRow()


class TotalsCounts(Record):
    """How many pairs of banks' totals, each of a day and a currency, stand how."""

    one_sided: Annotated[int, Meta(ge=0)] = 0
    agreed: Annotated[int, Meta(ge=0)] = 0
    differs: Annotated[int, Meta(ge=0)] = 0


class TotalsChange(Record):
    """Totals that a member stated in a block: for whom, how both stood before, and how they stand now."""

    parties: tuple[str, str]
    day: int
    currency: str
    member: str
    before: TotalsState
    state: TotalsState


def key_bytes(key: Key) -> bytes:
    """Return a key as it stands in the rows that go by day."""
    return key.day.to_bytes(DAY_SIZE, "big") + parties_bytes(key.parties) + key.currency.encode()


def parse_key(data: bytes) -> Key:
    """Return the key of a row that goes by day."""
    return Key(parse_parties(data[DAY_SIZE:-CURRENCY_SIZE]), int.from_bytes(data[:DAY_SIZE], "big"), data[-3:].decode())


def counted_prefix(key: Key) -> bytes:
    """Return the prefix of the payments that are counted for a key."""
    return COUNTED + parties_bytes(key.parties) + key.day.to_bytes(DAY_SIZE, "big") + key.currency.encode()


def changes_key(height: int) -> bytes:
    """Return the key of the totals of a block."""
    return CHANGES + height.to_bytes(HEIGHT_SIZE, "big")
