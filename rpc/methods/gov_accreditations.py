"""gov_listAccreditations: whose evidence counts, for which categories and until when, now or at another time.

Source: docs/certification.md, "Accreditation". What it is worth is judged in `ledger.accreditations`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec.structs import replace

from ledger.accreditations import Accreditation, AccreditedRole, Term, read_accreditations
from ledger.catalogue import CategoryNumber
from ledger.committed_state import CommittedState
from ledger.times import parse_time
from primitives.encoding import encode
from rpc.errors import Code
from rpc.methods.heights import tip_of
from rpc.methods.known_members import check_member
from rpc.paging import page_of
from rpc.ports import Services
from rpc.registry import method
from rpc.rights import Access
from rpc.types import (
    LIMIT_DEFAULT,
    AskedCursor,
    AskedOrder,
    AsOf,
    Limit,
    MemberName,
    NextCursor,
    Params,
    Result,
    Time,
    time_text,
)

At = Annotated[str, msgspec.Meta(max_length=40)]


class ListAccreditations(Params, frozen=True):
    """A page of the accreditations by member, role and the order in which they were decided."""

    member: Annotated[MemberName | None, msgspec.Meta(description="Of this member alone.")] = None
    role: Annotated[AccreditedRole | None, msgspec.Meta(description="In this role alone.")] = None
    category: Annotated[CategoryNumber | None, msgspec.Meta(description="For this category alone.")] = None
    at: Annotated[At | None, msgspec.Meta(description="A time in RFC 3339 UTC; unless told, now.")] = None
    limit: Limit = LIMIT_DEFAULT
    cursor: AskedCursor = None
    order: AskedOrder = None


class AccreditationResult(Result, frozen=True):
    """One accreditation; `status` is `not_begun`, `valid`, `expired` or `ended` (by a vote) at the time asked for.

    `ends` is when it is over: by its term, or by the vote that ended it before.
    """

    member: str
    role: str
    categories: list[int]
    valid_from: Time
    valid_until: Time
    ends: Time
    standard: str
    reason: str | None
    status: str


class AccreditationsAnswer(Result, frozen=True):
    """Accreditations, also such as are over, of each member in a role the newest 32; and what they are worth `at`."""

    accreditations: list[AccreditationResult]
    at: Time
    cursor: NextCursor
    as_of: AsOf


Place = tuple[str, str, int, str, int]
PLACE_BYTES = 8


@method(
    "gov_listAccreditations",
    params=ListAccreditations,
    result=AccreditationsAnswer,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    access=Access.PUBLIC,
)
def list_accreditations(services: Services, params: ListAccreditations) -> AccreditationsAnswer:
    """Accreditations of laboratories and inspectors: for which categories, by which standard, from when until when.

    What they are worth is said for now or the time `at`.
    """
    tip = tip_of(services)
    check_member(services, params.member)
    at_ms = int(services.now_ms()) if params.at is None else parse_time(params.at, where="$.at")
    filters = {"member": params.member, "role": params.role, "category": params.category, "at": params.at}
    page = page_of(services, "gov_listAccreditations", params, tuple[str, str, int, str, int], "asc", **filters)
    rows = [
        (place, accreditation_result(row, term, at_ms))
        for place, row, term in _terms_of(read_accreditations(CommittedState(services.reads.store)))
        if params.member in (None, row.member)
        and params.role in (None, row.role)
        and (params.category is None or params.category in term.categories)
    ]
    rows.sort(key=lambda item: item[0], reverse=page.descending)
    if page.after is not None:
        after = page.after
        rows = [item for item in rows if (item[0] < after if page.descending else item[0] > after)]
    shown = rows[: params.limit]
    cursor = page.cursor(*shown[-1][0]) if len(rows) > params.limit else None
    return AccreditationsAnswer([item for _, item in shown], time_text(at_ms), cursor, int(tip.height))


def accreditation_result(row: Accreditation, term: Term, at_ms: int) -> AccreditationResult:
    """Return a term as JSON has it, with what it is worth at a time."""
    return AccreditationResult(
        row.member,
        row.role.value,
        list(term.categories),
        time_text(term.valid_from_ms),
        time_text(term.valid_until_ms),
        time_text(term.end_ms),
        term.standard,
        term.reason,
        term.status_at(at_ms).value,
    )


def _terms_of(rows: Iterable[Accreditation]) -> Iterator[tuple[Place, Accreditation, Term]]:
    """Yield each term with its place in the list, which stays when older terms leave the state or a vote ends it."""
    for row in rows:
        counts: dict[tuple[int, str], int] = {}
        for term in row.terms:
            decided = encode(replace(term, ended_ms=None, reason=None))
            first = term.valid_from_ms, sha256(decided).hexdigest()[: 2 * PLACE_BYTES]
            counts[first] = counts.get(first, 0) + 1
            yield (row.member, row.role.value, *first, counts[first]), row, term


METHODS = (list_accreditations,)
