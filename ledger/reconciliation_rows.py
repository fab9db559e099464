"""The rows of the index of reconciliation: what stands where, for its follower and its readers.

A payment's row lies at the place of the first statement under its pair key, so that new ones come behind all old ones
and lists go in the order of the log. Two members are written ascending; one alone stands behind "". Rows:

    pk  pair key                             the place of its row
    pp  place                                the statements under a pair key, and how the payments in them stand
    pl  members, place                       the payments between two members
    ps  standing, 0, place, members          payments that are not matched
    pt  standing, members, place             the same, between two members
    pd  deadline, place                      payments of which one side is due
    pc  day, members                         how many payments began on a day (0: ever) and how they stand
    ph  height, part                         what a block changed
    m   reconciliation                       format, height and hash of the last block that was followed

Those of end-of-day totals are in `ledger.totals_rows`.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

from msgspec import Meta

from ledger.policy import DAY_MS
from ledger.reconciliation import Place, Said, Standing
from ledger.rows import POSITION_SIZE, parse_position, position_bytes
from ledger.store import Store
from primitives.encoding import Record, decode
from primitives.errors import EncodingError, StorageError
from primitives.ids import Hash, Height

FORMAT: Final = "6"
FOLLOWED_KEY: Final = b"m/reconciliation"
BUILD_AGAIN: Final = "stop the node and remove the index: it is made anew from the ledger"
ALL: Final = b"p"
PAIR_KEYS: Final = b"pk"
PAYMENTS: Final = b"pp"
BETWEEN: Final = b"pl"
STANDINGS: Final = b"ps"
STANDINGS_BETWEEN: Final = b"pt"
DEADLINES: Final = b"pd"
COUNTS: Final = b"pc"
CHANGES: Final = b"ph"
CHANGES_KEPT: Final = 65_536
"""Blocks whose changes are kept, for those who are told of them."""

EVER: Final = 0
TIME_SIZE: Final = 8
DAY_SIZE: Final = 4
HEIGHT_SIZE: Final = 6
PART_SIZE: Final = 4
_ROW_SIZE_MAX: Final = 1 << 26

T = TypeVar("T")
Parties = tuple[str, str]


class Followed(Record):
    """How far the index of reconciliation is, and what its rows look like."""

    format: str
    height: Height
    block_hash: Hash


class Stood(Record):
    """How a payment of a row stood when the row was written, so that the rows that say so can be changed."""

    parties: tuple[str, str]
    state: Standing


class PaymentRow(Record):
    """The statements under a pair key; `left_out` counts those of members that had said enough under it already.

    `deadline_ms` is the next at which one of them becomes an orphan.
    """

    pair_key: bytes
    said: tuple[Said, ...]
    stood: tuple[Stood, ...]
    deadline_ms: int | None
    left_out: int


class Counts(Record):
    """How many payments stand how, and how many statements stand alone; those of one member."""

    matched: Annotated[int, Meta(ge=0)] = 0
    one_sided: Annotated[int, Meta(ge=0)] = 0
    orphan: Annotated[int, Meta(ge=0)] = 0
    mismatch: Annotated[int, Meta(ge=0)] = 0
    equivocation: Annotated[int, Meta(ge=0)] = 0
    unpaired: Annotated[int, Meta(ge=0)] = 0


class Change(Record):
    """A payment that stands otherwise after a block: its row's place, and how it stood; None where it is new."""

    place: bytes
    parties: tuple[str, str]
    before: Standing | None
    state: Standing | None


def place_bytes(place: Place) -> bytes:
    """Return a place as it stands in keys."""
    return position_bytes(*place)


def place_in(key: bytes) -> Place:
    """Return the place that a key ends with."""
    return parse_position(key[-POSITION_SIZE:])


def parties_bytes(parties: Parties) -> bytes:
    """Return two members as they stand in keys."""
    return b"%b\0%b\0" % (parties[0].encode(), parties[1].encode())


def parse_parties(data: bytes) -> Parties:
    """Return two members out of a key."""
    one, other, _ = data.decode().split("\0")
    return one, other


def between_prefix(parties: Parties) -> bytes:
    """Return the prefix of the rows of the payments between two members."""
    return BETWEEN + parties_bytes(parties)


def standing_prefix(state: Standing) -> bytes:
    """Return the prefix of the rows of the payments that stand so."""
    return STANDINGS + bytes((state, 0))


def standing_between_prefix(state: Standing, parties: Parties) -> bytes:
    """Return the same of those between two members."""
    return STANDINGS_BETWEEN + bytes((state,)) + parties_bytes(parties)


def deadline_key(deadline_ms: int, place: bytes) -> bytes:
    """Return the key of a payment of which one side is due."""
    return DEADLINES + deadline_ms.to_bytes(TIME_SIZE, "big") + place


def day_of(time_ms: int) -> int:
    """Return a day as rows count it: days since 1970 in UTC, which never is 0 on a chain."""
    return time_ms // DAY_MS


def counts_prefix(day: int) -> bytes:
    """Return the prefix of the counts of a day."""
    return COUNTS + day.to_bytes(DAY_SIZE, "big")


def changes_key(height: int, part: int | None = None) -> bytes:
    """Return the key of a part of what a block changed, or where these begin."""
    key = CHANGES + height.to_bytes(HEIGHT_SIZE, "big")
    return key if part is None else key + part.to_bytes(PART_SIZE, "big")


def followed_of(store: Store) -> Followed | None:
    """Return how far the index is; None where there is none. StorageError where that does not read back."""
    data = store.get(FOLLOWED_KEY)
    return None if data is None else read_row(Followed, data)


def read_row(type_: type[T], data: bytes) -> T:
    """Return a row decoded; StorageError where it is damaged."""
    try:
        return decode(type_, data, size_max=_ROW_SIZE_MAX)
    except EncodingError as error:
        raise StorageError("the index of reconciliation is damaged", got=error, hint=BUILD_AGAIN) from None
