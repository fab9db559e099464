"""The rules that a register's rows are held to, of which most need no state: files are checked by them before they go.

Here: each rule with the field that breaks it, what was expected and what came; and what needs the state, the holder and
those who keep documents. Execution takes the first that is broken, the command line tells of all. Source: domain §3;
figures come from the policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ledger.catalogue import Catalogue, EvidenceKind
from ledger.certificate_records import add_months
from ledger.holder_ids import is_holder_id
from ledger.members import Member, Role
from ledger.policy import DAY_MS, Policy
from ledger.register_bodies import RegisterRow
from ledger.times import format_time

REGISTER_OPEN_DAYS: Final = 30
"""For so long after its opening a register's rows may come: what it says of the present must not come years later."""
BROUGHT: Final = frozenset(EvidenceKind) - {EvidenceKind.CORRECTIVE_ACTION, EvidenceKind.HOLDER_REQUEST}
"""Documents of a grant; what belongs to later events comes with those."""
HOLDER_ROLES: Final = frozenset({Role.BANK, Role.VENDOR})
_BEIJING_MS: Final = 8 * 3_600_000
"""A number's year is that of the grant in UTC or in Beijing, and a term's months are counted in either."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a row is judged by: the present time, when the register was opened, the policy, and the row's catalogue."""

    body: str
    now_ms: int
    opened_ms: int
    policy: Policy
    catalogues: Mapping[int, Catalogue]


@dataclass(frozen=True, slots=True)
class Problem:
    """A rule that a row breaks: in which field, what was expected, and what came."""

    field: str
    rule: str
    expected: str
    got: str


def row_problems(row: RegisterRow, ground: Ground) -> Iterator[Problem]:
    """Yield every rule that a row breaks by itself, in a fixed order."""
    if not is_holder_id(row.holder_id):
        yield Problem("holder_id", "bad_holder_id", "a USCC or an LEI with right check digits", row.holder_id)
    yield from _category_problems(row, ground)
    yield from _term_problems(row, ground)
    yield from _suspension_problems(row, ground)
    if row.holder == ground.body:
        yield Problem("holder", "conflict_of_interest", f"another member than {ground.body}", row.holder)
    for piece in row.evidence:
        if piece.kind not in BROUGHT:
            yield Problem("evidence", "evidence_not_expected", " or ".join(sorted(BROUGHT)), piece.kind)


def _category_problems(row: RegisterRow, ground: Ground) -> Iterator[Problem]:
    catalogue = ground.catalogues.get(row.catalogue)
    _, year, category, _ = row.number.split("-")
    if catalogue is None:
        yield Problem("catalogue", "unknown_catalogue", "a version of the catalogue", str(row.catalogue))
    elif catalogue.category(row.category) is None:
        known = ", ".join(str(each.number) for each in catalogue.categories)
        yield Problem("category", "unknown_category", f"of version {row.catalogue}: {known}", str(row.category))
    if catalogue is not None and row.granted_ms < catalogue.effective_from_ms:
        start = format_time(catalogue.effective_from_ms)
        yield Problem(
            "granted", "catalogue_not_in_force", f"version {row.catalogue} is from {start}", format_time(row.granted_ms)
        )
    if int(category) != row.category:
        yield Problem("number", "number_of_other_category", f"{row.category:02d}", category)
    years = sorted({format_time(row.granted_ms)[:4], format_time(row.granted_ms + _BEIJING_MS)[:4]})
    if year not in years:
        yield Problem("number", "number_of_other_year", " or ".join(years), year)


def _term_problems(row: RegisterRow, ground: Ground) -> Iterator[Problem]:
    granted_ms, end_ms, now_ms = row.granted_ms, row.valid_until_ms, ground.now_ms
    months = ground.policy.certificate_validity_months_max
    # A register counts months by the days of its own place: from 1 March up to and with 29 February are three years.
    latest_ms = max(add_months(granted_ms, months), add_months(granted_ms + _BEIJING_MS, months) - _BEIJING_MS)
    if granted_ms > ground.opened_ms:
        opened = format_time(ground.opened_ms)
        yield Problem("granted", "granted_too_late", f"up to the register's opening, {opened}", format_time(granted_ms))
    if end_ms <= granted_ms:
        yield Problem("valid_until", "validity_empty", f"after {format_time(granted_ms)}", format_time(end_ms))
    elif end_ms <= now_ms:
        yield Problem("valid_until", "term_ended", f"after {format_time(now_ms)}", format_time(end_ms))
    elif end_ms > latest_ms:
        yield Problem("valid_until", "validity_too_long", f"up to {format_time(latest_ms)}", format_time(end_ms))


def _suspension_problems(row: RegisterRow, ground: Ground) -> Iterator[Problem]:
    if row.suspension is None:
        return
    until_ms, now_ms = row.suspension.until_ms, ground.now_ms
    latest_ms = now_ms + ground.policy.certificate_suspension_days_max * DAY_MS
    if until_ms <= now_ms:
        yield Problem("suspended_until", "suspension_empty", f"after {format_time(now_ms)}", format_time(until_ms))
    elif until_ms > latest_ms:
        latest = format_time(latest_ms)
        yield Problem("suspended_until", "suspension_too_long", f"up to {latest}", format_time(until_ms))


def member_problems(row: RegisterRow, members: Mapping[str, Member]) -> Iterator[Problem]:
    """Yield every rule that a row breaks by whom it names; `members` holds those of the chain."""
    holder = members.get(row.holder)
    if holder is None or holder.excluded:
        got = row.holder if holder is None else f"{row.holder}, which is excluded"
        yield Problem("holder", "unknown_holder", "a member, or one that acts for the holder", got)
    elif not HOLDER_ROLES & set(holder.roles):
        yield Problem("holder", "not_a_holder", "a bank or vendor", f"{row.holder}: {', '.join(holder.roles)}")
    for piece in row.evidence:
        custodian = members.get(piece.custodian)
        if custodian is None:
            yield Problem("evidence", "unknown_custodian", "a member that keeps the document", piece.custodian)
        elif custodian.excluded:
            yield Problem("evidence", "excluded_custodian", "a member that is not excluded", piece.custodian)
