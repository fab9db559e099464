"""Accreditations: for which categories and how long the word of a laboratory or an inspector counts as evidence.

Here: the row `accreditation/<member>/<role>`, what it is worth at a time, and when it ends. They begin in genesis or by
the members' votes (`ledger.scheme_governance`); which events need one says the table of a certificate's life. Not here:
roles, which say what a member may submit at all (`ledger.members`). Source: domain §3; ISO/IEC 17025 for laboratories,
ISO/IEC 17020 for inspectors.

Everything is judged at a block's time, so a row answers for its own block and after, as a certificate's record does.
Ends are exclusive.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from typing import Annotated, Final, NamedTuple

from msgspec import Meta
from msgspec.structs import replace

from ledger.catalogue import CATEGORY_MAX, CategoryNumber
from ledger.events import EventTimeMs
from ledger.members import MemberName, Role, Text
from ledger.policy import DAY_MS
from ledger.state import StateGetter, StateReader, Transaction
from primitives.encoding import Record

ACCREDITATION_PREFIX: Final = "accreditation/"
ACCREDITATION_DAYS_MAX: Final = 6 * 366
"""The longest term: accreditation bodies give five or six years and then look again (ISO/IEC 17011, 7.9)."""
TERMS_KEPT_MAX: Final = 32
"""Of a member in one role: renewals and extensions of many years. The oldest that is over makes room for the next."""

Categories = Annotated[tuple[CategoryNumber, ...], Meta(min_length=1, max_length=CATEGORY_MAX)]


class AccreditedRole(enum.StrEnum):
    """The roles whose evidence needs an accreditation."""

    LABORATORY = "laboratory"
    INSPECTOR = "inspector"


USUAL_STANDARD: Final = {AccreditedRole.LABORATORY: "ISO/IEC 17025", AccreditedRole.INSPECTOR: "ISO/IEC 17020"}


class TermStatus(enum.StrEnum):
    """What a term is worth at a time; ENDED is before its end, by a vote."""

    NOT_BEGUN = "not_begun"
    VALID = "valid"
    EXPIRED = "expired"
    ENDED = "ended"


class Term(Record):
    """One accreditation: categories ascending, from when until when, by which standard.

    `ended_ms` is when a vote ended it and `reason` why; None where none did.
    """

    categories: Categories
    valid_from_ms: EventTimeMs
    valid_until_ms: EventTimeMs
    standard: Text
    ended_ms: int | None = None
    reason: str | None = None

    @property
    def end_ms(self) -> int:
        """When it is over, be it by its term or by a vote."""
        return self.valid_until_ms if self.ended_ms is None else min(self.valid_until_ms, self.ended_ms)

    def status_at(self, time_ms: int) -> TermStatus:
        """Return what it is worth at a time."""
        if time_ms >= self.end_ms:
            return TermStatus.EXPIRED if self.ended_ms is None else TermStatus.ENDED
        return TermStatus.VALID if time_ms >= self.valid_from_ms else TermStatus.NOT_BEGUN


class Accreditation(Record):
    """A member's terms in one role, at `accreditation/<member>/<role>`, in the order in which they were decided.

    Several may hold at once, such as one that adds a category, or one that follows before the first is over.
    """

    member: MemberName
    role: AccreditedRole
    terms: tuple[Term, ...]


class Ending(NamedTuple):
    """Of a member in one role: the categories that it is accredited for without a gap up to `end_ms` and no longer."""

    member: str
    role: AccreditedRole
    categories: tuple[int, ...]
    end_ms: int


def accreditation_key(member: str, role: str) -> str:
    """Return the state key of a member's accreditation in a role."""
    return f"{ACCREDITATION_PREFIX}{member}/{role}"


def read_accreditation(state: StateGetter, member: str, role: str) -> Accreditation | None:
    """Return a member's accreditation in a role, None where it never had one."""
    return state.get(accreditation_key(member, role), Accreditation)


def read_accreditations(state: StateReader) -> Iterator[Accreditation]:
    """Yield all accreditations, ascending by member and role."""
    for _, row in state.scan(ACCREDITATION_PREFIX, Accreditation):
        yield row


def put_term(state: Transaction, member: str, role: AccreditedRole, term: Term, time_ms: int) -> None:
    """Add a term; where there are as many as are kept, the oldest that is over at a time makes room.

    Whether there is room says `has_room`.
    """
    found = read_accreditation(state, member, role)
    terms = () if found is None else found.terms
    if len(terms) >= TERMS_KEPT_MAX:
        over = next(item for item in terms if item.end_ms <= time_ms)
        terms = tuple(item for item in terms if item is not over)
    state.put(accreditation_key(member, role), Accreditation(member, role, (*terms, term)))


def has_room(found: Accreditation | None, time_ms: int) -> bool:
    """Say whether a further term can be kept at a time."""
    if found is None or len(found.terms) < TERMS_KEPT_MAX:
        return True
    return any(term.end_ms <= time_ms for term in found.terms)


def ended(found: Accreditation, from_ms: int, reason: str) -> Accreditation:
    """Return an accreditation of which a vote ends whatever is not over at a time; what is over stays as it was."""
    terms = (replace(term, ended_ms=from_ms, reason=reason) if term.end_ms > from_ms else term for term in found.terms)
    return replace(found, terms=tuple(terms))


def accreditation_refusal(found: Accreditation | None, category: int, time_ms: int) -> str | None:
    """Return the rule by which evidence about a category does not count at a time, None where it does."""
    if found is None:
        return "not_accredited"
    at_time: dict[TermStatus, list[Term]] = {status: [] for status in TermStatus}
    for term in found.terms:
        at_time[term.status_at(time_ms)].append(term)
    if any(category in term.categories for term in at_time[TermStatus.VALID]):
        return None
    if at_time[TermStatus.VALID]:
        return "accreditation_scope"
    over = at_time[TermStatus.EXPIRED] or at_time[TermStatus.ENDED]
    return "accreditation_ended" if over else "accreditation_not_begun"


def coverage_end(found: Accreditation, category: int, time_ms: int) -> int | None:
    """Return up to when a category is covered without a gap from a time on; None where it is not at that time."""
    end_ms = time_ms
    terms = sorted((term for term in found.terms if category in term.categories), key=lambda term: term.valid_from_ms)
    for term in terms:
        if term.valid_from_ms <= end_ms:
            end_ms = max(end_ms, term.end_ms)
    return end_ms if end_ms > time_ms else None


def coverage_ends(found: Accreditation) -> tuple[int, ...]:
    """Return all times, past and to come, at which a category is covered no longer, without a term that goes on."""
    ends = set[int]()
    for category in {category for term in found.terms for category in term.categories}:
        terms = [term for term in found.terms if category in term.categories and term.end_ms > term.valid_from_ms]
        for term in terms:
            goes_on = any(other.valid_from_ms <= term.end_ms < other.end_ms for other in terms)
            ends.update(() if goes_on else (term.end_ms,))
    return tuple(sorted(ends))


def endings(accreditations: Iterable[Accreditation], time_ms: int, within_days: int) -> tuple[Ending, ...]:
    """Return which accreditations in force at a time end within so many days and are not renewed, the next one first.

    Whoever is accredited for several categories until different times is here once for each.
    """
    latest_ms = time_ms + within_days * DAY_MS
    found = []
    for item in accreditations:
        by_end: dict[int, list[int]] = {}
        for category in sorted({category for term in item.terms for category in term.categories}):
            end_ms = coverage_end(item, category, time_ms)
            if end_ms is not None and end_ms <= latest_ms:
                by_end.setdefault(end_ms, []).append(category)
        found += [Ending(item.member, item.role, tuple(categories), end_ms) for end_ms, categories in by_end.items()]
    return tuple(sorted(found, key=lambda ending: (ending.end_ms, ending.member, ending.role)))


def role_of(role: AccreditedRole) -> Role:
    """Return the member's role that an accreditation is for."""
    return Role(role.value)
