"""End-of-day totals of two banks: what their statements on the chain come to, and whether what they state agrees.

Pure. A payment counts for a member by its own applied statements alone, once on each leg, however many of them there
are: on their settlement date, or the message's own day (UTC) where they bear none, and in their currency. So nobody
else moves a bank's totals.
Here: what is counted, and how two banks' totals stand to each other. Not here: bodies (`ledger.totals_bodies`), and
following the log (`ledger.totals_index`). Source: domain §4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from ledger.payments import Status
from ledger.reconciliation import ANSWER_WITHIN_MS, Leg, Place, Said
from ledger.totals_bodies import Flow, TotalsLeg, TotalsLine
from primitives.encoding import Record
from primitives.hashing import leaf_hash
from primitives.ids import Hash
from primitives.merkle import root_of

ANSWER_TOTALS_WITHIN_MS: Final = ANSWER_WITHIN_MS
"""How long after the first totals, in block time, the other bank may take to state its own."""

LEGS: Final = tuple(TotalsLeg)
LINES: Final = 2 * len(LEGS)
_LEG_PLACES: Final = {Leg.PAYMENT: 0, Leg.RETURN: 1, Leg.REVERSAL: 2}
_PLAIN: Final = frozenset({Status.RECEIVED, Status.ACCEPTED, Status.SETTLED})
_AMOUNT_SIZE: Final = 8
_AMOUNT_TOKEN: Final = b"\x92\x01\xc4\x10"
"""How the token of an amount begins in the canonical bytes of tokens, of which it is the first."""


class TotalsState(IntEnum):
    """How the totals of two banks stand; UNSTATED where there are statements, and no totals of either."""

    UNSTATED = 0
    ONE_SIDED = 1
    AGREED = 2
    DIFFERS = 3


class Key(NamedTuple):
    """Whose totals: two members ascending, a day (YYYYMMDD, UTC), a currency."""

    parties: tuple[str, str]
    day: int
    currency: str


class Line(NamedTuple):
    """A line of both banks' totals: who of the two sent, and the leg."""

    sender: int
    leg: TotalsLeg

    @property
    def number(self) -> int:
        """Its place among all lines."""
        return self.sender * len(LEGS) + LEGS.index(self.leg)


ALL_LINES: Final = tuple(Line(sender, leg) for sender in (0, 1) for leg in LEGS)
"""In the order of their numbers."""

FIRST, SECOND, BOTH, UNLIKE = 1, 2, 3, 4
"""Who counts a payment, as bits; UNLIKE, beside both, where their amounts are not the same."""


class Stated(Record):
    """Totals that a member stated: where on the chain, when, and their lines."""

    height: int
    index: int
    time_ms: int
    lines: tuple[TotalsLine, ...]

    @property
    def place(self) -> Place:
        """Where they stand on the chain."""
        return self.height, self.index


Where = tuple[Key, int, bytes]
"""A key, the number of a line, and which of a payment's several returns or reversals it is, by its amount."""


def counting(said: Iterable[Said]) -> dict[Where, tuple[Said | None, Said | None]]:
    """Return where the payment that statements under one pair key tell of is counted, and both members' words there.

    Of a member's statements of a leg one counts: the newest, and one that bears a settlement date before any other. Of
    returns and reversals each amount counts, since money may come back in parts.
    """
    chosen: dict[tuple[str, str, int, bytes], Said] = {}
    for one in said:
        if one.currency and one.other:
            leg = _leg_place(one)
            if leg is not None:
                at = one.member, one.other, leg, _part_of(one) if leg else b""
                if one.settlement_date or at not in chosen or not chosen[at].settlement_date:
                    chosen[at] = one
    found: dict[Where, tuple[Said | None, Said | None]] = {}
    for (member, other, leg, part), one in chosen.items():
        is_first = member < other
        parties = (member, other) if is_first else (other, member)
        line = leg if one.is_sent is is_first else len(LEGS) + leg
        where = Key(parties, one.day, one.currency), line, part
        first, second = found.get(where, (None, None))
        found[where] = (one, second) if is_first else (first, one)
    return found


def counted_once(said: Sequence[Said]) -> tuple[tuple[tuple[str, str], int, str], int, int] | None:
    """Return the key, line and bits of a payment that is counted in one place; None where `counted` has to say it.

    Nearly all payments are: nothing comes back, and both sides name each other, one day and one currency.
    """
    one = said[0]
    member, other, is_sent = one.member, one.other, one.is_sent
    day, date, currency = one.day, one.settlement_date, one.currency
    first: Said | None = None
    second: Said | None = None
    for one in said:
        if one.status not in _PLAIN or one.is_reversal or one.currency != currency:
            return None
        if one.day != day or one.settlement_date != date:
            return None
        if one.member == member and one.other == other and one.is_sent is is_sent:
            first = one
        elif one.member == other and one.other == member and one.is_sent is not is_sent:
            second = one
        else:
            return None
    if not currency or not other:
        return None
    if member < other:
        return ((member, other), day, currency), 0 if is_sent else len(LEGS), _bits(first, second)
    return ((other, member), day, currency), len(LEGS) if is_sent else 0, _bits(second, first)


def counted(said: Iterable[Said]) -> dict[Where, int]:
    """Return where a payment is counted, and by whom, as bits."""
    return {where: _bits(*words) for where, words in counting(said).items()}


def _leg_place(one: Said) -> int | None:
    if one.status is Status.REJECTED:
        return None
    return _LEG_PLACES.get(one.leg)


def _bits(first: Said | None, second: Said | None) -> int:
    if first is None:
        return SECOND
    if second is None:
        return FIRST
    return BOTH | UNLIKE if _amounts_differ(first, second) else BOTH


def _amounts_differ(one: Said, other: Said) -> bool:
    """Say whether two statements bear amounts in one form that are not the same."""
    if None not in (one.amount, other.amount) and one.amount != other.amount:
        return True
    tokens = [token for each in (one, other) if (token := _amount_token(each))]
    return len(tokens) == 2 and tokens[0] != tokens[1]


def _amount_token(one: Said) -> bytes:
    return one.tokens[5:21] if one.tokens[1:5] == _AMOUNT_TOKEN else b""


def _part_of(one: Said) -> bytes:
    return _amount_token(one) or (b"" if one.amount is None else one.amount.to_bytes(_AMOUNT_SIZE, "big"))


def payments_root(names: Iterable[bytes]) -> Hash:
    """Return the root over what is counted on a line, in any order: pair keys, of returns and reversals with the part.

    A part is the amount's token (16 bytes), or where it has none the clear amount (8 bytes, big-endian).
    """
    return root_of([leaf_hash(name) for name in sorted(names)])


def lines_of(stated: Stated | None, side: int) -> dict[Line, TotalsLine]:
    """Return what the first (0) or the second (1) bank states, by the line as both have it."""
    if stated is None:
        return {}
    return {Line(side if line.flow is Flow.SENT else 1 - side, line.leg): line for line in stated.lines}


def flow_of(line: Line, side: int) -> Flow:
    """Return which way a line's money goes for the first (0) or the second (1) bank."""
    return Flow.SENT if line.sender == side else Flow.RECEIVED


FIELDS: Final = ("amount", "count", "payments")


def differing(one: TotalsLine | None, other: TotalsLine | None) -> tuple[str, ...]:
    """Return in what two banks' words on a line differ: how many, how much, or which payments."""
    if one is None or other is None:
        return () if one is other else FIELDS
    amounts = one.token != other.token or (None not in (one.amount, other.amount) and one.amount != other.amount)
    unlike = (amounts, one.count != other.count, one.payments_root != other.payments_root)
    return tuple(name for name, differs in zip(FIELDS, unlike, strict=True) if differs)


def all_differing(first: Mapping[Line, TotalsLine], second: Mapping[Line, TotalsLine]) -> tuple[str, ...]:
    """Return in what two banks' totals differ on any line."""
    return tuple(sorted({name for line in ALL_LINES for name in differing(first.get(line), second.get(line))}))


def stands(first: Sequence[Stated], second: Sequence[Stated]) -> TotalsState:
    """Return how two banks' totals stand: of what each stated in the order of the log, the newest counts."""
    if not first and not second:
        return TotalsState.UNSTATED
    if not first or not second:
        return TotalsState.ONE_SIDED
    differs = all_differing(lines_of(first[-1], 0), lines_of(second[-1], 1))
    return TotalsState.DIFFERS if differs else TotalsState.AGREED


def deadline_of(first: Sequence[Stated], second: Sequence[Stated]) -> int | None:
    """Return until when, in block time, the other bank may take; None where none stated anything."""
    return min((each[0].time_ms + ANSWER_TOTALS_WITHIN_MS for each in (first, second) if each), default=None)
