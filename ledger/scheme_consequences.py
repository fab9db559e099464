"""What a decision on the certification scheme changes, in words: accreditations, standards, the scheme's policy.

Rows alone; how they come to change is in `ledger.scheme_governance`, and who asks in `ledger.consequences`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ledger.accreditations import (
    ACCREDITATION_PREFIX,
    Accreditation,
    Term,
    accreditation_refusal,
    read_accreditations,
)
from ledger.scheme_policy import SCHEME_POLICY_KEY, SchemePolicy, read_scheme_policy, scheme_policy_figures
from ledger.standards import STANDARDS_PREFIX, CatalogueStandards
from ledger.state import StateReader
from ledger.times import format_time


def scheme_changes(before: StateReader, after: StateReader, key: str) -> Iterator[tuple[str, str, str]]:
    """Yield what changes in a row of the scheme, how it is, and how it would be; nothing for other rows."""
    if key.startswith(ACCREDITATION_PREFIX):
        yield from _accreditation(before.get(key, Accreditation), after.get(key, Accreditation))
    elif key.startswith(STANDARDS_PREFIX):
        yield from _standards(key, before.get(key, CatalogueStandards), after.get(key, CatalogueStandards))
    elif key == SCHEME_POLICY_KEY:
        yield from _figures(read_scheme_policy(before), read_scheme_policy(after))


def nobody_left(before: StateReader, after: StateReader, key: str) -> tuple[str, tuple[int, ...]] | None:
    """Return the role and the categories that nobody would be accredited for once a vote ended what a row holds.

    None for other rows, where the vote ends nothing, and where others are accredited then.
    """
    new = after.get(key, Accreditation) if key.startswith(ACCREDITATION_PREFIX) else None
    old = before.get(key, Accreditation) if new is not None else None
    if new is None or old is None:
        return None
    ends = [term.ended_ms for term in new.terms if term.ended_ms is not None and term not in old.terms]
    if not ends:
        return None
    others = [row for row in read_accreditations(after) if row.role is new.role]
    lost = {category for term in old.terms for category in term.categories if _covers(old, category, ends[0])}
    left = tuple(sorted(item for item in lost if not any(_covers(row, item, ends[0]) for row in others)))
    return (new.role.value, left) if left else None


def _covers(row: Accreditation, category: int, time_ms: int) -> bool:
    return accreditation_refusal(row, category, time_ms) is None


def _accreditation(before: Accreditation | None, after: Accreditation | None) -> Iterator[tuple[str, str, str]]:
    assert after is not None, "no row of an accreditation leaves the state"
    what = f"accreditation of {after.member} as {after.role}"
    held = () if before is None else before.terms
    for term in after.terms:
        was = next((item for item in held if _same(item, term)), None)
        if was != term:
            yield what, "" if was is None else _term(was), _term(term)


def _same(first: Term, second: Term) -> bool:
    decided = ("categories", "valid_from_ms", "valid_until_ms", "standard")
    return all(getattr(first, name) == getattr(second, name) for name in decided)


def _term(term: Term) -> str:
    numbers = ", ".join(map(str, term.categories))
    return f"{numbers} by {term.standard}, {format_time(term.valid_from_ms)} to {format_time(term.end_ms)}"


def _standards(
    key: str, before: CatalogueStandards | None, after: CatalogueStandards | None
) -> Iterator[tuple[str, str, str]]:
    old, new = (
        {} if row is None else {item.number: item.standards for item in row.categories} for row in (before, after)
    )
    for number in sorted(old.keys() | new.keys()):
        was, will = old.get(number, ()), new.get(number, ())
        if was != will:
            version = key.removeprefix(STANDARDS_PREFIX)
            yield f"standards of category {number}, catalogue {version}", ", ".join(was), ", ".join(will)


def _figures(before: SchemePolicy, after: SchemePolicy) -> Iterator[tuple[str, str, str]]:
    new = scheme_policy_figures(after)
    for name, value in scheme_policy_figures(before).items():
        if new[name] != value:
            yield f"policy of the scheme {name}", str(value), str(new[name])
