"""Accreditations: what one is worth at a time and for a category, to the millisecond, and what needs one."""

from __future__ import annotations

from dataclasses import replace as with_fields

import pytest
from msgspec.structs import replace

from ledger.accreditations import (
    TERMS_KEPT_MAX,
    Accreditation,
    AccreditedRole,
    Ending,
    Term,
    TermStatus,
    accreditation_key,
    accreditation_refusal,
    coverage_end,
    ended,
    endings,
    has_room,
    put_term,
    read_accreditation,
    read_accreditations,
)
from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import Body, Surveil
from ledger.certificate_records import read_application
from ledger.certificates import apply_event
from ledger.kinds import ApplyContext
from ledger.members import Member, Role, member_key
from ledger.policy import DAY_MS
from ledger.rules import RULES_SCHEME
from ledger.state import EmptyState, Transaction
from tests.ledger.certificate_fixtures import APPLICATION, CATEGORY, NUMBER, START_MS, piece
from tests.ledger.scheme_fixtures import SCHEME_EVENTS, VISIT, Scheme, road

LAB = AccreditedRole.LABORATORY
TERM = Term((5, 6), 1_000, 2_000, "ISO/IEC 17025")


def held(*terms: Term) -> Accreditation:
    return Accreditation("lab", LAB, terms)


# --- what a term is worth


@pytest.mark.parametrize(
    ("time_ms", "status", "rule"),
    [
        (0, TermStatus.NOT_BEGUN, "accreditation_not_begun"),
        (999, TermStatus.NOT_BEGUN, "accreditation_not_begun"),
        (1_000, TermStatus.VALID, None),
        (1_999, TermStatus.VALID, None),
        (2_000, TermStatus.EXPIRED, "accreditation_ended"),
    ],
)
def test_a_term_counts_from_its_begin_until_before_its_end(time_ms: int, status: TermStatus, rule: str | None) -> None:
    assert TERM.status_at(time_ms) is status
    assert accreditation_refusal(held(TERM), 6, time_ms) == rule


@pytest.mark.parametrize(
    ("ended_ms", "time_ms", "status"),
    [
        (1_500, 1_499, TermStatus.VALID),
        (1_500, 1_500, TermStatus.ENDED),
        (1_500, 2_000, TermStatus.ENDED),
        (500, 499, TermStatus.NOT_BEGUN),
        (500, 1_000, TermStatus.ENDED),
    ],
)
def test_a_vote_ends_a_term_at_its_time_be_it_before_it_began(ended_ms: int, time_ms: int, status: TermStatus) -> None:
    term = replace(TERM, ended_ms=ended_ms, reason="lost_staff")
    assert term.status_at(time_ms) is status


def test_who_has_no_accreditation_and_who_has_one_for_other_categories_are_told_apart() -> None:
    assert accreditation_refusal(None, 6, 1_000) == "not_accredited"
    assert accreditation_refusal(held(TERM), 7, 1_000) == "accreditation_scope"
    assert accreditation_refusal(held(TERM), 7, 2_000) == "accreditation_ended"


def test_several_terms_count_together() -> None:
    further = Term((7,), 1_500, 3_000, "ISO/IEC 17025")
    both = held(TERM, further)
    assert accreditation_refusal(both, 7, 1_499) == "accreditation_scope"
    assert accreditation_refusal(both, 7, 1_500) is None
    assert accreditation_refusal(both, 6, 1_999) is None
    assert accreditation_refusal(both, 6, 2_000) == "accreditation_scope"


def test_what_is_over_stays_as_it_was_when_the_rest_ends() -> None:
    second, third = Term((6,), 2_000, 3_000, "a"), Term((6,), 3_000, 4_000, "a")
    after = ended(held(TERM, second, third), 2_500, "merged")
    assert after.terms[0] == TERM
    assert [(term.ended_ms, term.reason) for term in after.terms[1:]] == [(2_500, "merged")] * 2
    assert ended(after, 2_600, "again") == after
    assert ended(after, 2_400, "sooner").terms[1].end_ms == 2_400


def test_the_oldest_term_that_is_over_makes_room_and_none_that_is_not() -> None:
    state = Transaction(EmptyState())
    for number in range(TERMS_KEPT_MAX):
        put_term(state, "lab", LAB, Term((6,), number, 1_000 + number, "a"), 0)
    found = read_accreditation(state, "lab", LAB)
    assert found is not None
    assert not has_room(found, 999)
    assert has_room(found, 1_000)
    put_term(state, "lab", LAB, TERM, 1_001)
    after = read_accreditation(state, "lab", LAB)
    assert after is not None
    assert len(after.terms) == TERMS_KEPT_MAX
    assert (after.terms[0].valid_from_ms, after.terms[-1]) == (1, TERM)


def test_a_term_that_goes_on_makes_no_room_however_old() -> None:
    state, first = Transaction(EmptyState()), Term((6,), 0, 9_000, "a")
    put_term(state, "lab", LAB, first, 0)
    for number in range(TERMS_KEPT_MAX):
        put_term(state, "lab", LAB, Term((6,), number, 1_000, "a"), 1_000)
    found = read_accreditation(state, "lab", LAB)
    assert found is not None
    assert len(found.terms) == TERMS_KEPT_MAX
    assert found.terms[0] == first


# --- when it ends


def test_a_renewal_without_a_gap_moves_the_end_and_one_with_a_gap_does_not() -> None:
    assert coverage_end(held(TERM), 6, 1_500) == 2_000
    assert coverage_end(held(TERM), 6, 2_000) is None
    assert coverage_end(held(TERM), 7, 1_500) is None
    assert coverage_end(held(TERM, Term((6,), 2_000, 3_000, "a")), 6, 1_500) == 3_000
    assert coverage_end(held(TERM, Term((6,), 2_001, 3_000, "a")), 6, 1_500) == 2_000
    assert coverage_end(held(Term((6,), 1_900, 3_000, "a"), TERM), 6, 1_500) == 3_000
    assert coverage_end(held(TERM, Term((5,), 2_000, 3_000, "a")), 6, 1_500) == 2_000


def test_what_ends_soon_is_listed_once_for_each_end_and_the_next_one_first() -> None:
    day = DAY_MS
    lab = held(Term((5, 6), 0, 90 * day, "a"), Term((7,), 0, 30 * day, "a"), Term((8,), 0, 90 * day + 1, "a"))
    renewed = Accreditation("ins", AccreditedRole.INSPECTOR, (Term((5,), 0, day, "a"), Term((5,), day, 400 * day, "a")))
    over = Accreditation("old", LAB, (replace(TERM, ended_ms=0, reason="x"),))
    assert endings((lab, renewed, over), 0, 90) == (
        Ending("lab", LAB, (7,), 30 * day),
        Ending("lab", LAB, (5, 6), 90 * day),
    )


def test_rows_are_read_by_member_and_role() -> None:
    state = Transaction(EmptyState())
    put_term(state, "lab", LAB, TERM, 0)
    put_term(state, "ins", AccreditedRole.INSPECTOR, TERM, 0)
    view = list(read_accreditations(state))
    assert [(row.member, row.role) for row in view] == [("ins", "inspector"), ("lab", "laboratory")]
    assert read_accreditation(state, "lab", AccreditedRole.INSPECTOR) is None


# --- what needs one


def accredit(scheme: Scheme, member: str, role: AccreditedRole, *terms: Term) -> None:
    rows = Transaction(scheme.view)
    if terms:
        rows.put(accreditation_key(member, role), Accreditation(member, role, terms))
    else:
        rows.delete(accreditation_key(member, role))
    rows.apply(scheme.view)


def surveyed() -> tuple[Scheme, tuple[str, str, Body]]:
    return Scheme().granted(), SCHEME_EVENTS["certificate.surveil"]


def brought(count: int) -> tuple[Scheme, tuple[str, str, Body]]:
    scheme = Scheme()
    for member, desk, body in road(APPLICATION)[:count]:
        scheme.must(member, body, desk)
    return scheme, road(APPLICATION)[count]


CASES = [("type_test", "lab", LAB), ("site_check", "ins", AccreditedRole.INSPECTOR)]
CASES.append(("surveil", "ins", AccreditedRole.INSPECTOR))


@pytest.mark.parametrize(("event", "member", "role"), CASES)
@pytest.mark.parametrize(
    ("begins_ms", "ends_ms", "category", "rule"),
    [
        (0, 1, CATEGORY, ""),
        (-1, 1, CATEGORY, ""),
        (1, 2, CATEGORY, "accreditation_not_begun"),
        (-1, 0, CATEGORY, "accreditation_ended"),
        (0, 1, CATEGORY + 1, "accreditation_scope"),
        (0, 0, 0, "not_accredited"),
    ],
)
def test_evidence_counts_only_within_an_accreditation_at_the_blocks_time(
    event: str, member: str, role: AccreditedRole, begins_ms: int, ends_ms: int, category: int, rule: str
) -> None:
    scheme, (who, desk, body) = surveyed() if event == "surveil" else brought(2 if event == "type_test" else 3)
    now_ms = scheme.now_ms
    terms = (Term((category,), now_ms + begins_ms, now_ms + ends_ms, "a"),) if category else ()
    accredit(scheme, member, role, *terms)
    before = dict(scheme.view.changes)
    assert (who, scheme.submit(who, body, desk)) == (member, rule)
    assert (dict(scheme.view.changes) == before) is bool(rule)


def test_a_laboratory_that_is_accredited_as_an_inspector_alone_examines_nothing() -> None:
    scheme, (who, desk, body) = brought(2)
    accredit(scheme, who, LAB)
    accredit(scheme, who, AccreditedRole.INSPECTOR, Term((CATEGORY,), 0, scheme.now_ms + 1, "a"))
    assert scheme.submit(who, body, desk) == "not_accredited"


def test_the_responsible_body_needs_no_accreditation_for_its_own_surveillance() -> None:
    scheme = Scheme().granted()
    assert scheme.submit("cb", Surveil(NUMBER, True, False, (), None, VISIT)) == ""


def test_a_body_that_is_an_inspector_too_needs_none_as_the_responsible_one() -> None:
    scheme = Scheme().granted()
    rows = Transaction(scheme.view)
    roles = (Role.CERTIFICATION_BODY, Role.INSPECTOR)
    rows.put(member_key("cb"), Member("cb", "cb", roles, "", (), ()))
    rows.apply(scheme.view)
    visit = (piece(EvidenceKind.SITE_CHECK, "own visit"),)
    body = Surveil(NUMBER, True, False, (), None, visit)
    assert scheme.submit("cb", body, "first", frozenset(roles)) == ""
    visit = (piece(EvidenceKind.SITE_CHECK, "other visit"),)
    body = Surveil(NUMBER, True, False, (), None, visit)
    assert scheme.submit("cb", body, "first", frozenset({Role.INSPECTOR})) == "not_accredited"


class Older(Scheme):
    """The same chain, by the second rules."""

    def context(self, member: str, desk: str = "first", roles: frozenset[str] | None = None) -> ApplyContext:
        return with_fields(super().context(member, desk, roles), rules=RULES_SCHEME - 1)


def test_by_earlier_rules_nobody_asks_for_an_accreditation() -> None:
    scheme = Older()
    for role, member in ((LAB, "lab"), (AccreditedRole.INSPECTOR, "ins")):
        accredit(scheme, member, role)
    for member, desk, body in road(APPLICATION):
        transaction = Transaction(scheme.view)
        scheme.submitted += 1
        apply_event(scheme.context(member, desk), transaction, body)  # type: ignore[arg-type]  # of a certificate's life
        transaction.apply(scheme.view)
    assert read_application(scheme.view, APPLICATION) is not None
    assert scheme.now_ms >= START_MS
