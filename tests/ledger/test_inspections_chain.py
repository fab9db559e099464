"""A draw through blocks: what execution keeps, what the state of the closing's height says, and derived views."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.certificate_bodies import ReportInspection, Surveil
from ledger.certificate_history_reading import history_places
from ledger.certificate_records import State
from ledger.events import Event
from ledger.inspection_bodies import (
    AnnounceInspection,
    CloseInspection,
    CommitInspection,
    DrawBody,
    DrawCategory,
    DrawInspection,
    RevealInspection,
)
from ledger.inspection_records import Closing, Inspection, Phase, read_inspection
from ledger.inspection_replay import Candidate, replay
from ledger.inspection_selection import commitment_of
from ledger.inspection_standing import candidate_at
from ledger.inspection_views import DueCorrection, DueReport, due_corrections, due_reports
from ledger.outcomes import Outcome
from ledger.policy import DAY_MS
from ledger.state_at import StateAt
from primitives.encoding import encode
from tests.ledger.certificate_fixtures import APPLICATION, NUMBER
from tests.ledger.inspection_fixtures import DRAW, SPECS, number_of, secret_of
from tests.ledger.inspection_fixtures import Inspections as World
from tests.ledger.scheme_chain_fixtures import SchemeChain
from tests.ledger.scheme_fixtures import SUSPENSION, VISIT
from tests.ledger.test_inspections import FAILED, PASSED, RESOLVED

MEMBERS = ("cb", "ins", "lab")
OTHER, OTHER_CASE = number_of(2), "bank-a.0002"


def event_of(chain: SchemeChain, who: str, body: DrawBody) -> tuple[str, Event]:
    chain.references += 1
    member, kind = who.partition("/")[0], SPECS[type(body)].kind
    reference = chain.references.to_bytes(16, "big")
    return who, Event(member, reference, chain.now_ms + 1_010, kind, 1, encode(body))


def say(chain: SchemeChain, who: str, body: DrawBody) -> Outcome:
    """Commit a block with one event of a draw, and return its outcome."""
    return chain.events(event_of(chain, who, body)).outcomes[0]


def drawing(chain: SchemeChain, draw: str = DRAW) -> SchemeChain:
    """Bring a draw of all certificates to its closing, and let all reveal."""
    until = chain.now_ms + 2 * DAY_MS
    said = AnnounceInspection(draw, (DrawCategory(6, 1),), 9, until, until + DAY_MS, 30, None)
    assert say(chain, "regulator", said).applied
    for member in MEMBERS:
        commitment = commitment_of(chain.chain_id, draw, member, secret_of(member, draw))
        assert say(chain, member, CommitInspection(draw, commitment)).applied
    chain.now_ms = until
    assert say(chain, "bank-a", CloseInspection(draw)).applied
    return chain


def reveal(chain: SchemeChain, draw: str = DRAW) -> None:
    for member in MEMBERS:
        assert say(chain, member, RevealInspection(draw, secret_of(member, draw))).applied


def drawn(chain: SchemeChain, draw: str = DRAW) -> Inspection:
    found = read_inspection(chain.state, draw)
    assert found is not None
    return found


@pytest.fixture
def chain() -> SchemeChain:
    return SchemeChain().granted().granted(OTHER_CASE, OTHER)


def test_the_closing_names_its_block_and_nothing_after_it_counts(chain: SchemeChain) -> None:
    drawing(chain)
    header, closing = chain.chain.header, drawn(chain).closing
    assert closing == Closing(chain.chain.height, header.time_ms, None)
    chain.act(*SUSPENSION)
    chain.act("ins", "first", Surveil(OTHER, False, False, ("seal_broken",), None, VISIT))
    chain.granted("bank-a.0003", number_of(3))
    reveal(chain)
    assert say(chain, "bank-b", DrawInspection(DRAW)).applied
    found = drawn(chain)
    assert found.closing == replace(closing, block=header.hash())
    assert {item.number: item.risk for item in found.selection} == {NUMBER: 1, OTHER: 1}
    state = StateAt(chain.reader, closing.height)
    candidates = [candidate_at(state, number, closing.time_ms) for number in (NUMBER, OTHER, number_of(3))]
    assert candidates == [Candidate(NUMBER, 6, 1), Candidate(OTHER, 6, 1), None]
    assert replay(chain.chain_id, found, [item for item in candidates if item is not None]).holds


def test_an_event_of_the_same_block_before_the_step_counts_no_more_than_one_of_a_block_before(
    chain: SchemeChain,
) -> None:
    drawing(chain)
    reveal(chain)
    member, desk, body = SUSPENSION
    result = chain.events(
        (f"{member}/{desk}", chain.event(member, body)), event_of(chain, "bank-b", DrawInspection(DRAW))
    )
    assert [outcome.applied for outcome in result.outcomes] == [True, True]
    assert {item.number for item in drawn(chain).selection} == {NUMBER, OTHER}


def test_what_comes_in_the_closing_block_behind_the_closing_counts(chain: SchemeChain) -> None:
    until = chain.now_ms + 2 * DAY_MS
    said = AnnounceInspection(DRAW, (DrawCategory(6, 1),), 9, until, until + DAY_MS, 30, None)
    assert say(chain, "regulator", said).applied
    for member in MEMBERS:
        commitment = commitment_of(chain.chain_id, DRAW, member, secret_of(member, DRAW))
        assert say(chain, member, CommitInspection(DRAW, commitment)).applied
    member, desk, body = SUSPENSION
    chain.now_ms = until
    chain.events(event_of(chain, "bank-b", CloseInspection(DRAW)), (f"{member}/{desk}", chain.event(member, body)))
    reveal(chain)
    assert say(chain, "bank-b", DrawInspection(DRAW)).applied
    assert {item.number for item in drawn(chain).selection} == {OTHER}


def test_roles_are_held_by_execution(chain: SchemeChain) -> None:
    until = chain.now_ms + 2 * DAY_MS
    said = AnnounceInspection("bank-a.1", (DrawCategory(6, 1),), 9, until, until + DAY_MS, 30, None)
    assert say(chain, "bank-a", said).rule == "not_permitted"
    assert say(chain, "bank-a", CommitInspection(DRAW, bytes(32))).rule == "not_permitted"


def test_a_report_is_an_event_of_the_certificates_provable_history(chain: SchemeChain) -> None:
    drawing(chain)
    reveal(chain)
    assert say(chain, "bank-b", DrawInspection(DRAW)).applied
    reported = chain.act("ins", "first", ReportInspection(DRAW, NUMBER, False, True, ("seal_broken",), None, VISIT))
    record = chain.certificate_at()
    assert record.state is State.SUSPENDED
    places = history_places(chain.reader, record, chain.chain.height)
    assert places[-1].event_id == reported
    assert chain.application(APPLICATION).number == NUMBER


def drawn_world() -> World:
    world = World().certified(OTHER)
    return world.announced(count=9).committed().closed().revealed().drawn()


def test_reports_are_due_from_the_draw_on_and_overdue_from_their_end() -> None:
    world = drawn_world()
    end = world.draw().report_until_ms
    assert end is not None
    expected = [DueReport(DRAW, NUMBER, end, False), DueReport(DRAW, OTHER, end, False)]
    assert list(due_reports(world.view, end - 1)) == expected
    assert [item.overdue for item in due_reports(world.view, end)] == [True, True]
    world.must("ins", PASSED)
    assert [item.number for item in due_reports(world.view, end)] == [OTHER]
    world.change(OTHER, state=State.CANCELLED)
    assert list(due_reports(world.view, end)) == []


def test_corrections_are_due_until_the_body_calls_them_made() -> None:
    world = drawn_world()
    by_ms = world.now_ms + DAY_MS
    world.must("ins", replace(PASSED, number=OTHER))
    world.must("ins", replace(FAILED, correct_by_ms=by_ms))
    assert list(due_corrections(world.view, by_ms - 1)) == [DueCorrection(DRAW, NUMBER, ("seal_broken",), by_ms, False)]
    assert [item.overdue for item in due_corrections(world.view, by_ms)] == [True]
    world.must("cb", RESOLVED)
    assert list(due_corrections(world.view, by_ms)) == []


def test_nothing_is_due_of_a_draw_that_is_not_finished() -> None:
    world = World().certified(OTHER).announced().committed().closed()
    assert world.draw().phase is Phase.CLOSED
    assert list(due_reports(world.view, world.now_ms + 400 * DAY_MS)) == []
