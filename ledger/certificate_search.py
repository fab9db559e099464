"""Which certificates fit what is asked for, as of a block and at a time: the filters of every list of certificates.

Here: the filters, what the index offers for them, and holding each record against all of them, so that nothing is found
that does not fit, whatever the index says. Not here: what the index keeps (`ledger.certificate_index`), parameters and
pages (`rpc.methods.certificate_list`). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

from ledger.certificate_bodies import NUMBER_PATTERN
from ledger.certificate_index import (
    Facet,
    Numbers,
    category_value,
    folded,
    month_of,
    name_text,
    product_text,
)
from ledger.certificate_reading import CertificatesAsOf, Found, Glance, Passes
from ledger.certificate_records import CertificateStatus, Status, status_at

MONTHS_MAX = 60
"""A span of dates is looked up by its months up to so many; a longer one lets most certificates pass anyway."""

NUMBERS_AT_ONCE = 256
_FACETED = (Status.SUSPENDED, Status.REVOKED, Status.CANCELLED)
_NUMBER = re.compile(NUMBER_PATTERN)


@dataclass(frozen=True, slots=True)
class Filters:
    """What certificates must have to be listed; None, or an empty beginning, lets all pass. Times are inclusive.

    `number` is the beginning of their number, `holder` their holder's member, `holder_name` and `product` parts of
    these texts, in whatever case, `holder_id` a USCC or LEI. `granted` is about the beginning of their term.
    """

    number: str = ""
    holder: str | None = None
    holder_name: str | None = None
    holder_id: str | None = None
    product: str | None = None
    category: int | None = None
    catalogue: int | None = None
    status: Status | None = None
    granted_from_ms: int | None = None
    granted_to_ms: int | None = None
    until_from_ms: int | None = None
    until_to_ms: int | None = None


class NumberIndex(Protocol):
    """What the index offers: numbers in their order, too many rather than too few."""

    def numbers(self, holder: str | None, numbers: Numbers) -> Iterator[str]: ...

    def numbers_by_facet(self, facet: Facet, values: Sequence[str], numbers: Numbers) -> Iterator[str]: ...

    def numbers_by_text(self, text: str, numbers: Numbers) -> Sequence[str]: ...


class Listed(NamedTuple):
    """A certificate that fits, with its status at the time that is asked about."""

    found: Found
    status: CertificateStatus


def search(
    index: NumberIndex, as_of: CertificatesAsOf, time_ms: int, filters: Filters, numbers: Numbers
) -> Iterator[tuple[str, Listed | None]]:
    """Yield the numbers that may fit, in their order, each with its certificate where it does.

    So whoever walks can stop after so many. `numbers` says where to begin and which way to go. The time must not be
    before that of the block as of which certificates are read.
    """
    passes = _Passing(filters)
    walk = candidates(index, filters, numbers._replace(begins=filters.number))
    while some := list(islice(walk.numbers, NUMBERS_AT_ONCE)):
        for number, found in _read(as_of, some, passes, is_gapless=walk.is_gapless):
            if found is None:
                yield number, None
                continue
            status = status_at(found.certificate, time_ms)
            yield number, Listed(found, status) if fits(found, status, filters) else None


def _read(
    as_of: CertificatesAsOf, numbers: list[str], passes: Passes, *, is_gapless: bool
) -> Iterator[tuple[str, Found | None]]:
    if is_gapless:
        return as_of.find_each(numbers, passes)
    return ((number, as_of.find(number, passes)) for number in numbers)


class Candidates(NamedTuple):
    """Numbers in their order; without a gap if they are all that there are where they begin and end."""

    numbers: Iterator[str]
    is_gapless: bool = False


def candidates(index: NumberIndex, filters: Filters, numbers: Numbers) -> Candidates:
    """Return the numbers of all that may fit: by the filter that likely leaves the fewest."""
    texts = [folded(text) for text in (filters.product, filters.holder_name) if text is not None]
    spans = _spans(filters)
    if _NUMBER.match(filters.number):
        return Candidates(index.numbers(None, numbers))
    if filters.holder_id is not None:
        return Candidates(index.numbers_by_facet(Facet.HOLDER_ID, (filters.holder_id,), numbers))
    if texts:
        return Candidates(iter(index.numbers_by_text(max(texts, key=len), numbers)))
    if filters.holder is not None:
        return Candidates(index.numbers(filters.holder, numbers))
    if filters.status in _FACETED:
        return Candidates(index.numbers_by_facet(Facet.STATE, (filters.status.value,), numbers))
    if spans:
        facet, months = min(spans, key=lambda each: len(each[1]))
        return Candidates(index.numbers_by_facet(facet, months, numbers))
    if filters.category is not None:
        return Candidates(index.numbers_by_facet(Facet.CATEGORY, (category_value(filters.category),), numbers))
    return Candidates(index.numbers(None, numbers), is_gapless=True)


def _spans(filters: Filters) -> list[tuple[Facet, list[str]]]:
    """Return the months that certificates must begin or end in, where these are few."""
    spans = (
        (Facet.UNTIL_MONTH, months_between(filters.until_from_ms, filters.until_to_ms)),
        (Facet.FROM_MONTH, months_between(filters.granted_from_ms, filters.granted_to_ms)),
    )
    return [(facet, months) for facet, months in spans if months is not None]


def months_between(from_ms: int | None, to_ms: int | None) -> list[str] | None:
    """Return the months of a span of times, None where it has no end or too many of them."""
    if from_ms is None or to_ms is None:
        return None
    (year, month), (last_year, last_month) = (map(int, month_of(each).split("-")) for each in (from_ms, to_ms))
    count = (last_year - year) * 12 + last_month - month + 1
    if count > MONTHS_MAX:
        return None
    return [f"{year + (month - 1 + i) // 12:04d}-{(month - 1 + i) % 12 + 1:02d}" for i in range(count)]


class _Passing:
    """Judges a glance at a certificate by the filters on what never changes."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        self._name = None if filters.holder_name is None else folded(filters.holder_name)
        self._product = None if filters.product is None else folded(filters.product)

    def __call__(self, item: Glance) -> bool:
        filters = self._filters
        return (
            item.number.startswith(filters.number)
            and filters.holder in (None, item.holder)
            and filters.category in (None, item.category)
            and filters.catalogue in (None, item.catalogue)
            and _is_in(item.valid_from_ms, filters.granted_from_ms, filters.granted_to_ms)
            and _is_in(item.valid_until_ms, filters.until_from_ms, filters.until_to_ms)
            and (self._name is None or self._name in name_text(item.holder_name))
            and (self._product is None or self._product in product_text(item.product))
        )


def fits(found: Found, status: CertificateStatus, filters: Filters) -> bool:
    """Say whether a certificate that passed at a glance fits what only its whole record tells."""
    return filters.status in (None, status.status) and filters.holder_id in (None, found.scheme.holder_id)


def _is_in(time_ms: int, from_ms: int | None, to_ms: int | None) -> bool:
    return (from_ms is None or time_ms >= from_ms) and (to_ms is None or time_ms <= to_ms)
