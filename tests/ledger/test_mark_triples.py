"""Every standing of a certificate and its mark, every event about the mark, every member: against the page's table.

The expectations are written from the table in docs/certification.md ("The mark"), in the order in which a reader would
check them, and not from the code.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from msgspec.structs import replace

from ledger.certificate_bodies import Cancel
from ledger.certificate_records import State
from ledger.mark_bodies import DecideMisuse, LicenseMark, MarkBody, ReportMisuse, UseMark
from ledger.mark_events import MARK_RULES
from ledger.members import Role
from ledger.state import StateView
from tests.ledger.certificate_fixtures import DAY_MS, NUMBER, REQUEST, ROLES, suspend
from tests.ledger.mark_fixtures import DECIDE, LICENSE, REPORT, USE, WITHDRAW, Marked
from tests.ledger.scheme_fixtures import REVOKE

LICENCES = ("none", "counts", "ended", "withdrawn")
REPORTS = ("none", "undecided", "confirmed", "dismissed")
STATES = (State.ACTIVE, State.SUSPENDED, State.REVOKED, State.CANCELLED, State.EXPIRED)
EVENTS: tuple[MarkBody, ...] = (LICENSE, USE, REPORT, WITHDRAW, replace(WITHDRAW, report=1), DECIDE)
BODY, HOLDER, REPORTER = "cb", "bank-a", "bank-b"


@cache
def standing(licence: str, report: str, state: State) -> Marked:
    """Return a consortium in which mark, report and certificate stand so; nobody changes it."""
    found = Marked()
    if report != "none":
        found.marked(REPORTER, REPORT)
    if report in ("confirmed", "dismissed"):
        found.marked("regulator", replace(DECIDE, finding=report))
    if licence != "none":
        end_ms = found.now_ms + DAY_MS if licence == "ended" else None
        found.marked(BODY, replace(LICENSE, until_ms=end_ms))
    if licence == "withdrawn":
        found.marked(BODY, WITHDRAW)
    found.now_ms += DAY_MS
    match state:
        case State.SUSPENDED:
            found.must(BODY, suspend())
        case State.REVOKED:
            found.must(BODY, found.signed(REVOKE), "decider")
        case State.CANCELLED:
            found.must(BODY, Cancel(NUMBER, REQUEST))
        case State.EXPIRED:
            found.now_ms = found.certificate().valid_until_ms
        case _:
            pass
    return found


def expected(licence: str, report: str, state: State, body: MarkBody, member: str) -> str:
    """Return the rule that an event breaks by the page's table, empty where it is admitted."""
    roles = set(ROLES[member])
    match body:
        case LicenseMark():
            if member != BODY:
                return "not_permitted"
            if state is not State.ACTIVE:
                return "wrong_state"
            return "mark_licensed" if licence == "counts" else ""
        case UseMark():
            if member != HOLDER:
                return "not_permitted"
            if state is not State.ACTIVE:
                return "wrong_state"
            return "" if licence == "counts" else "mark_not_licensed"
        case ReportMisuse():
            allowed = {Role.BANK, Role.REGULATOR, Role.AUDITOR, Role.CERTIFICATION_BODY}
            return "" if roles & allowed else "not_permitted"
        case DecideMisuse():
            if not roles & {Role.CERTIFICATION_BODY, Role.REGULATOR}:
                return "not_permitted"
            if report == "none":
                return "unknown_report"
            if member not in (BODY, "regulator"):
                return "not_permitted"
            return "" if report == "undecided" else "misuse_decided"
        case _:
            if member != BODY:
                return "not_permitted"
            if licence in ("none", "withdrawn"):
                return "mark_not_licensed"
            if body.report is None or report == "confirmed":
                return ""
            return "unknown_report" if report == "none" else "misuse_not_confirmed"


def fork(found: Marked) -> Marked:
    """Return a consortium that stands as this one does, to be changed."""
    made = object.__new__(Marked)
    made.policy, made.now_ms, made.submitted = found.policy, found.now_ms, found.submitted
    made.view = StateView(found.view.parent)
    made.view.changes = dict(found.view.changes)
    return made


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("licence", LICENCES)
def test_every_event_of_every_member_in_every_standing_ends_as_the_table_says(licence: str, state: State) -> None:
    seen: Counter[str] = Counter()
    for report in REPORTS:
        for body in EVENTS:
            for member in ROLES:
                consortium = fork(standing(licence, report, state))
                rule = consortium.mark(member, body)
                said = (licence, report, state, type(body).__name__, member)
                assert rule == expected(licence, report, state, body, member), said
                assert (consortium.view.changes == standing(licence, report, state).view.changes) == bool(rule), said
                seen[rule] += 1
    assert sum(seen.values()) == len(REPORTS) * len(EVENTS) * len(ROLES)
    assert set(seen) <= {*MARK_RULES, ""}


def test_the_standings_events_and_members_are_thousands() -> None:
    assert len(STATES) * len(LICENCES) * len(REPORTS) * len(EVENTS) * len(ROLES) > 6_000
