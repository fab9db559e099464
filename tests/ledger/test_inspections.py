"""The rules of draws and reports, each by an event that breaks it, and what the events leave in the state."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from ledger.accreditations import Accreditation, AccreditedRole, Term, accreditation_key
from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import Appeal, ResolveInspection, Restore
from ledger.certificate_records import State
from ledger.events import TIME_MS_MAX
from ledger.inspection_bodies import (
    AnnounceInspection,
    CloseInspection,
    CommitInspection,
    DrawBody,
    DrawCategory,
    DrawInspection,
    RevealInspection,
    check_draw_body,
)
from ledger.inspection_events import BARRED_MS, UNDER_WAY_MAX, WINDOWS_MS_MAX
from ledger.inspection_records import (
    ANNOUNCED_KEY,
    Closing,
    Fault,
    Phase,
    Report,
    fault_key,
    read_announced,
    read_certificate_inspections,
    read_open,
    read_report,
    read_under_way,
)
from ledger.inspection_selection import commitment_of
from ledger.policy import DAY_MS
from ledger.state import Transaction
from primitives.errors import InputError
from primitives.ids import ZERO_HASH
from tests.ledger.certificate_fixtures import NUMBER, ROLES, piece
from tests.ledger.inspection_fixtures import (
    COMMITTERS,
    DRAW,
    FAILED,
    GRAVE,
    MINUTE_MS,
    PASSED,
    Inspections,
    announcement,
    commitment,
    number_of,
    secret_of,
)
from tests.ledger.scheme_fixtures import LETTER

OTHERS = tuple(number_of(serial) for serial in range(2, 8))
CORRECTED = (piece(EvidenceKind.CORRECTIVE_ACTION, "seal renewed"),)
SUPERVISE = {"auditor", "cb", "cb-other", "conglomerate", "ins", "lab", "regulator"}
RESOLVED = ResolveInspection(DRAW, NUMBER, CORRECTED)


def world() -> Inspections:
    return Inspections().certified(*OTHERS)


def drawn_all() -> Inspections:
    """Return a world in which a draw selected every certificate."""
    found = world().announced(count=500).committed().closed().revealed().drawn()
    assert {item.number for item in found.draw().selection} == {NUMBER, *OTHERS}
    return found


def test_a_draw_goes_from_announcement_to_selection() -> None:
    found = world().announced()
    assert found.draw().phase is Phase.ANNOUNCED
    assert read_under_way(found.view, "regulator") == (DRAW,)
    found.committed().closed()
    assert found.draw().phase is Phase.CLOSED
    found.revealed().drawn()
    draw = found.draw()
    assert (draw.phase, draw.eligible, draw.weight, draw.looked_at) == (Phase.DRAWN, 7, 7, 7)
    assert len({item.number for item in draw.selection}) == 3
    assert draw.report_until_ms == found.now_ms + 30 * DAY_MS
    assert read_under_way(found.view, "regulator") == ()
    assert read_open(found.view).draws == ()


@pytest.mark.parametrize("member", sorted(ROLES))
def test_certification_bodies_and_regulators_announce(member: str) -> None:
    found = world()
    may = member in {"cb", "cb-other", "regulator", "conglomerate"}
    rule = found.submit(member, announcement(found, f"{member}.1"))
    assert rule == ("" if may else "not_permitted")


@pytest.mark.parametrize("member", sorted(ROLES))
def test_those_that_supervise_commit_and_no_holder(member: str) -> None:
    rule = world().announced().submit(member, CommitInspection(DRAW, commitment(member)))
    assert rule == ("" if member in SUPERVISE else "not_permitted")


@pytest.mark.parametrize("member", sorted(ROLES))
def test_any_member_closes_and_draws(member: str) -> None:
    found = world().announced().committed()
    found.now_ms = found.draw().commit_until_ms
    assert found.submit(member, CloseInspection(DRAW)) == ""
    assert found.draw().phase is Phase.CLOSED
    found.revealed()
    assert found.submit(member, DrawInspection(DRAW)) == ""
    assert found.draw().phase is Phase.DRAWN


ANNOUNCED_WRONGLY: dict[str, Callable[[Inspections], AnnounceInspection]] = {
    "not_own_draw": lambda w: announcement(w, "cb.1"),
    "draw_exists": lambda w: announcement(w.announced()),
    "unknown_category": lambda w: announcement(w, categories=(DrawCategory(98, 1),)),
    "unknown_draw": lambda w: announcement(w, replaces="regulator.none"),
    "draw_not_void": lambda w: announcement(w.announced("regulator.0"), replaces="regulator.0"),
}


@pytest.mark.parametrize("rule", ANNOUNCED_WRONGLY)
def test_an_announcement_that_breaks_a_rule_is_refused(rule: str) -> None:
    found = world()
    body = ANNOUNCED_WRONGLY[rule](found)
    before = dict(found.view.changes)
    assert found.submit("regulator", body) == rule
    assert before.items() <= found.view.changes.items()


@pytest.mark.parametrize(
    ("commit", "reveal", "rule"),
    [
        (-MINUTE_MS, MINUTE_MS, "draw_windows"),
        (MINUTE_MS - 1, 2 * MINUTE_MS, "draw_windows"),
        (MINUTE_MS, 2 * MINUTE_MS - 1, "draw_windows"),
        (MINUTE_MS, 2 * MINUTE_MS, ""),
        (MINUTE_MS, WINDOWS_MS_MAX, ""),
        (MINUTE_MS, WINDOWS_MS_MAX + 1, "draw_windows"),
    ],
)
def test_the_windows_are_as_long_as_the_policy_asks_and_within_90_days(commit: int, reveal: int, rule: str) -> None:
    found = world()
    now = found.now_ms
    body = announcement(found, commit_until_ms=now + commit, reveal_until_ms=now + reveal)
    assert found.submit("regulator", body) == rule


def test_a_member_has_four_draws_under_way() -> None:
    found = world()
    for number in range(UNDER_WAY_MAX):
        found.announced(f"regulator.{number}")
    assert found.submit("regulator", announcement(found, "regulator.9")) == "too_many_draws"
    found.must("cb", announcement(found, "cb.1"))
    found.now_ms = found.draw("regulator.0").commit_until_ms
    found.must("bank-a", CloseInspection("regulator.0"))  # void, for nobody committed
    found.must("regulator", announcement(found, "regulator.9"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"categories": (DrawCategory(6, 1), DrawCategory(6, 2))}, "distinct, ascending"),
        ({"categories": (DrawCategory(7, 1), DrawCategory(6, 2))}, "distinct, ascending"),
        ({"reveal_until_ms": 1}, "after commit_until"),
    ],
)
def test_an_announcement_that_contradicts_itself_is_malformed(change: dict[str, object], expected: str) -> None:
    found = world()
    check_draw_body(announcement(found))
    with pytest.raises(InputError) as error:
        check_draw_body(announcement(found, **change))
    assert error.value.expected == expected


def test_commitments_end_at_their_time_and_each_member_makes_one() -> None:
    found = world().announced()
    first, again = CommitInspection(DRAW, commitment("cb")), CommitInspection(DRAW, bytes(32))
    assert found.submit("cb", replace(first, draw="regulator.none")) == "unknown_draw"
    found.must("cb", first)
    assert found.submit("cb", again, "reviewer") == "already_committed"
    found.now_ms = found.draw().commit_until_ms - 1
    found.must("lab", CommitInspection(DRAW, commitment("lab")))
    found.now_ms += 1
    assert found.submit("auditor", CommitInspection(DRAW, commitment("auditor"))) == "commitments_ended"
    assert found.submit("ins", CommitInspection(DRAW, commitment("ins"))) == "commitments_ended", "once closed"
    assert [item.member for item in found.draw().committed] == ["cb", "lab"]


def test_a_draw_takes_64_commitments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.inspection_events.COMMITMENTS_MAX", 2)
    found = world().announced().committed(members=("cb", "lab"))
    assert found.submit("ins", CommitInspection(DRAW, commitment("ins"))) == "too_many_commitments"


def test_a_draw_is_closed_once_and_not_before_its_time() -> None:
    found = world().announced().committed()
    assert found.submit("regulator", CloseInspection(DRAW)) == "commitments_open"
    found.now_ms = found.draw().commit_until_ms - 1
    assert found.submit("regulator", CloseInspection(DRAW)) == "commitments_open"
    found.closed()
    assert found.submit("regulator", CloseInspection(DRAW)) == "wrong_phase"
    closing = found.draw().closing
    assert closing is not None
    assert closing.height == found.height - 1
    assert found.submit("regulator", CloseInspection("regulator.none")) == "unknown_draw"


def test_commitments_end_with_the_first_block_in_time_and_its_own_hash_is_the_public_part() -> None:
    found = world().announced().committed()
    found.now_ms = found.draw().commit_until_ms - 1
    found.next_block(b"\5" * 32)
    assert found.draw().closing is None
    found.now_ms += 1
    found.next_block(b"\6" * 32)
    height = found.height
    assert found.draw().closing == Closing(height, found.now_ms, None)
    assert found.draw().phase is Phase.CLOSED
    for _ in range(2):
        assert found.submit("bank-a", CloseInspection(DRAW), same_block=True) == "", "confirms, and changes nothing"
    reveal = RevealInspection(DRAW, secret_of("cb", DRAW))
    assert found.submit("cb", reveal, same_block=True) == "reveal_too_early", "the leader could fit the block to it"
    assert found.submit("cb", DrawInspection(DRAW), same_block=True) == "reveals_open"
    found.next_block(b"\7" * 32)
    assert found.draw().closing == Closing(height, found.now_ms, b"\7" * 32)
    found.next_block(b"\10" * 32)
    assert found.submit("bank-a", CloseInspection(DRAW), same_block=True) == "wrong_phase"
    assert found.draw().closing == Closing(height, found.now_ms, b"\7" * 32), "nobody moves it any more"


def test_nobody_chooses_the_seed_by_when_the_closing_is_sent() -> None:
    seeds = set()
    for waited in (0, 1, 7):
        found = world().announced().committed()
        found.now_ms = found.draw().commit_until_ms
        found.next_block()
        found.next_block(b"\7" * 32)
        for _ in range(waited):
            found.next_block()
        found.submit("cb", CloseInspection(DRAW))
        seeds.add(found.revealed().drawn().draw().seed)
    assert len(seeds) == 1


def test_draws_that_end_together_and_apart_close_each_in_time_and_leave_no_row() -> None:
    found = world()
    now = found.now_ms
    for draw, minutes in (("cb.1", 3), ("cb.2", 1), ("cb.3", 2), ("regulator.1", 1)):
        until = now + minutes * MINUTE_MS
        found.announced(draw, commit_until_ms=until, reveal_until_ms=until + MINUTE_MS).committed(draw, ("cb", "lab"))
    waiting = [item.draw for item in read_announced(found.view).draws]
    assert waiting == ["cb.2", "regulator.1", "cb.3", "cb.1"]
    found.now_ms = now + MINUTE_MS
    found.next_block()
    assert [found.draw(draw).phase for draw in waiting] == [Phase.CLOSED] * 2 + [Phase.ANNOUNCED] * 2
    found.now_ms = now + 3 * MINUTE_MS
    found.next_block(b"\7" * 32)
    assert [found.draw(draw).phase for draw in waiting] == [Phase.CLOSED] * 4
    found.next_block(b"\10" * 32)
    hashes = [closing.block for draw in waiting if (closing := found.draw(draw).closing) is not None]
    assert hashes == [b"\7" * 32] * 2 + [b"\10" * 32] * 2
    found.next_block()
    assert found.view.changes[ANNOUNCED_KEY.encode()] is None


@pytest.mark.parametrize("members", [(), ("cb",)])
def test_a_draw_to_which_fewer_than_two_committed_is_void_without_a_fault(members: tuple[str, ...]) -> None:
    found = world().announced().committed(members=members).closed()
    assert (found.draw().phase, found.draw().void) == (Phase.VOID, "too_few_commitments")
    assert read_open(found.view).draws == ()
    for body in (RevealInspection(DRAW, secret_of("cb", DRAW)), DrawInspection(DRAW)):
        assert found.submit("cb", body) == "wrong_phase"
    assert found.view.get(fault_key("cb"), Fault) is None


def test_a_reveal_is_what_its_member_committed_to_once_and_in_time() -> None:
    found = world().announced().committed(members=("cb", "lab"))
    reveal = RevealInspection(DRAW, secret_of("cb", DRAW))
    assert found.submit("cb", reveal) == "wrong_phase", "not before the closing"
    found.closed()
    assert found.submit("cb", RevealInspection(DRAW, secret_of("lab", DRAW))) == "wrong_reveal"
    assert found.submit("cb", RevealInspection(DRAW, bytes(32))) == "wrong_reveal"
    assert found.submit("ins", reveal) == "no_commitment"
    event_id = found.next_event_id()
    found.must("cb", reveal)
    shown, hidden = found.draw().committed
    assert (shown.member, shown.secret, shown.revealed_by) == ("cb", secret_of("cb", DRAW), event_id)
    assert (hidden.secret, hidden.revealed_by) == (None, None)
    assert found.submit("cb", reveal) == "already_revealed"
    end = found.draw().reveal_until_ms
    assert end == found.now_ms + MINUTE_MS
    found.now_ms = end
    late = RevealInspection(DRAW, secret_of("lab", DRAW))
    assert found.submit("lab", late) == "reveals_ended"
    found.now_ms = end - 1
    found.must("lab", late)


def test_a_commitment_names_its_member_and_draw_so_that_nobody_can_use_anothers() -> None:
    found = world().announced()
    found.must("cb", CommitInspection(DRAW, commitment("cb")))
    found.must("lab", CommitInspection(DRAW, commitment("cb")))
    found.closed()
    assert found.submit("lab", RevealInspection(DRAW, secret_of("cb", DRAW))) == "wrong_reveal"
    secret = secret_of("cb")
    hashes = {
        commitment_of(chain, draw, member, secret)
        for chain in (ZERO_HASH, b"\1" * 32)
        for draw in ("cb.1", "cb.2")
        for member in ("cb", "lab")
    }
    assert len(hashes) == 8


def test_a_late_closing_takes_nothing_from_the_time_for_reveals() -> None:
    found = world().announced().committed()
    found.now_ms += 10 * MINUTE_MS  # long after the announced end of the reveals
    found.closed().revealed()
    assert found.draw().missing == ()


def test_the_draw_waits_for_all_reveals_or_their_end() -> None:
    found = world().announced().committed().closed()
    assert found.submit("cb", DrawInspection(DRAW)) == "reveals_open"
    found.revealed(members=COMMITTERS[1:])
    end = found.draw().reveal_until_ms
    assert end is not None
    found.now_ms = end - 1
    assert found.submit("cb", DrawInspection(DRAW)) == "reveals_open"
    found.revealed(members=COMMITTERS[:1]).drawn()
    assert found.draw().phase is Phase.DRAWN
    assert found.submit("cb", DrawInspection(DRAW)) == "wrong_phase"


def test_who_commits_and_does_not_reveal_makes_the_draw_void_and_is_barred_for_a_year() -> None:
    found = world().announced().committed().closed().revealed(members=("cb", "ins", "lab"))
    end = found.draw().reveal_until_ms
    assert end is not None
    found.now_ms = end
    found.must("bank-a", DrawInspection(DRAW))
    draw = found.draw()
    assert (draw.phase, draw.void, draw.missing) == (Phase.VOID, "not_revealed", ("auditor", "regulator"))
    assert draw.selection == ()
    assert read_open(found.view).draws == ()
    fault = found.view.get(fault_key("auditor"), Fault)
    assert fault == Fault("auditor", DRAW, found.now_ms, found.now_ms + BARRED_MS, 1)
    found.announced("cb.1")
    body = CommitInspection("cb.1", commitment("auditor", "cb.1"))
    assert found.submit("auditor", body) == "barred_from_draws"
    found.committed("cb.1", ("cb",))
    found.now_ms += BARRED_MS
    found.announced("cb.2")
    found.committed("cb.2", ("auditor",))


def test_a_void_draw_is_announced_anew_once_and_alike() -> None:
    found = world().announced("cb.0").closed("cb.0")
    other = announcement(found, "cb.1", replaces="cb.0")
    for change in ({"count": 4}, {"categories": (DrawCategory(6, 2),)}):
        assert found.submit("cb", replace(other, **change)) == "draw_differs"
    found.must("cb", other)
    assert found.draw("cb.0").replaced_by == "cb.1"
    assert found.draw("cb.1").replaces == "cb.0"
    assert found.submit("regulator", announcement(found, "regulator.2", replaces="cb.0")) == "draw_not_void"


def test_a_void_draw_is_announced_anew_by_its_announcer_or_a_regulator_alone() -> None:
    for who, rule in (("cb-other", "not_own_draw"), ("regulator", ""), ("cb", "")):
        found = world().announced("cb.0").closed("cb.0")
        assert found.submit(who, announcement(found, f"{who}.1", replaces="cb.0")) == rule
        assert found.draw("cb.0").replaced_by == (None if rule else f"{who}.1")
    found = world().announced().closed()
    assert found.submit("cb", announcement(found, "cb.1", replaces=DRAW)) == "not_own_draw"


def test_a_block_goes_one_step_in_one_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.inspection_events.STEP_CERTIFICATES", 3)
    found = world()
    for draw in (DRAW, "cb.1"):
        found.announced(draw).committed(draw)
    found.closed().closed("cb.1").revealed().revealed("cb.1")
    assert found.submit("cb", DrawInspection(DRAW)) == ""
    assert (found.draw().phase, found.draw().looked_at) == (Phase.DRAWING, 3)
    for draw in (DRAW, "cb.1"):
        assert found.submit("cb", DrawInspection(draw), same_block=True) == "draw_turn_taken"
    assert found.submit("cb", DrawInspection("cb.1")) == ""
    found.drawn().drawn("cb.1")
    assert found.draw().looked_at == found.draw("cb.1").looked_at == 7


def test_steps_give_what_one_step_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = world().selected().draw()
    monkeypatch.setattr("ledger.inspection_events.STEP_CERTIFICATES", 1)
    pieces = world().selected().draw()
    assert pieces.selection == whole.selection
    assert (pieces.eligible, pieces.weight, pieces.looked_at) == (whole.eligible, whole.weight, whole.looked_at)


def test_who_committed_to_two_draws_can_make_both_void_at_a_fault_each_and_take_part_in_neither_anew() -> None:
    found, second = world(), "cb.1"
    for draw in (DRAW, second):
        found.announced(draw).committed(draw, ("cb", "lab"))
    found.closed().closed(second).revealed(members=("cb",)).revealed(second, ("cb",))
    ends = [found.draw(draw).reveal_until_ms or 0 for draw in (DRAW, second)]
    found.now_ms = max(ends)
    for draw in (DRAW, second):
        found.must("bank-a", DrawInspection(draw))
        assert found.draw(draw).void == "not_revealed"
    fault = found.view.get(fault_key("lab"), Fault)
    assert fault is not None
    assert (fault.count, fault.draw) == (2, second)
    found.announced("cb.2", replaces=second)
    assert found.submit("lab", CommitInspection("cb.2", commitment("lab", "cb.2"))) == "barred_from_draws"


@pytest.mark.parametrize("body", [CommitInspection, RevealInspection])
def test_an_event_of_a_draw_that_there_is_not_is_refused(body: type[CommitInspection | RevealInspection]) -> None:
    assert world().submit("cb", body("cb.none", bytes(32))) == "unknown_draw"


@pytest.mark.parametrize("body", [CloseInspection("cb.none"), DrawInspection("cb.none")])
def test_closing_or_drawing_what_there_is_not_is_refused(body: DrawBody) -> None:
    assert world().submit("cb", body) == "unknown_draw"


@pytest.mark.parametrize("member", sorted(ROLES))
def test_inspectors_report_and_not_on_what_is_their_own(member: str) -> None:
    found = drawn_all()
    rule = found.submit(member, PASSED)
    assert (rule == "") == (member in {"ins", "conglomerate"}), rule
    assert found.certificate().holder == "bank-a"
    found.change(OTHERS[0], holder="conglomerate")
    assert found.submit("conglomerate", replace(PASSED, number=OTHERS[0])) == "conflict_of_interest"


@pytest.mark.parametrize(
    ("term", "rule"),
    [
        (None, "not_accredited"),
        (Term((5,), 0, TIME_MS_MAX, "ISO/IEC 17020"), "accreditation_scope"),
        (Term((6,), 0, 1, "ISO/IEC 17020"), "accreditation_ended"),
        (Term((6,), 0, TIME_MS_MAX, "ISO/IEC 17020"), ""),
    ],
)
def test_an_inspector_reports_within_its_accreditation(term: Term | None, rule: str) -> None:
    found = drawn_all()
    terms = () if term is None else (term,)
    key = accreditation_key("ins", AccreditedRole.INSPECTOR)
    rows = Transaction(found.view)
    if terms:
        rows.put(key, Accreditation("ins", AccreditedRole.INSPECTOR, terms))
    else:
        rows.delete(key)
    rows.apply(found.view)
    assert found.submit("ins", PASSED) == rule


def test_a_report_is_on_a_selected_certificate_once_with_its_evidence() -> None:
    found = drawn_all()
    assert found.submit("ins", replace(PASSED, draw="cb.none")) == "unknown_draw"
    assert found.submit("ins", replace(PASSED, number=number_of(99))) == "unknown_certificate"
    assert found.submit("ins", replace(PASSED, evidence=())) == "evidence_missing"
    assert found.submit("ins", replace(PASSED, evidence=LETTER)) == "evidence_not_expected"
    stranger = (replace(PASSED.evidence[0], custodian="nobody"),)
    assert found.submit("ins", replace(PASSED, evidence=stranger)) == "unknown_custodian"
    before = found.certificate().history.count
    found.must("ins", PASSED)
    assert found.certificate().history.count == before + 1, "it is an event of the certificate's life"
    assert found.beside().evidence[-1].digest == PASSED.evidence[0].digest
    again = replace(PASSED, evidence=(piece(EvidenceKind.SITE_CHECK, "another visit"),))
    assert found.submit("ins", again) == "already_reported"
    assert read_certificate_inspections(found.view, NUMBER).reports == 1


def test_a_certificate_that_was_not_selected_has_no_report() -> None:
    found = world().announced(count=1).committed().closed().revealed()
    report = replace(PASSED, number=NUMBER)
    assert found.submit("ins", report) == "not_drawn", "no draw without its last step"
    found.drawn()
    (only,) = found.draw().selection
    for number in {NUMBER, *OTHERS} - {only.number}:
        assert found.submit("ins", replace(PASSED, number=number)) == "not_drawn"
    found.must("ins", replace(PASSED, number=only.number))


def test_a_grave_finding_suspends_by_rule_and_can_be_appealed() -> None:
    found = drawn_all()
    late = replace(GRAVE, correct_by_ms=found.now_ms + 1_000 * DAY_MS)
    assert found.submit("ins", late) == "correction_time"
    body = replace(GRAVE, correct_by_ms=found.now_ms + DAY_MS)
    found.must("ins", body)
    after = found.certificate()
    assert after.state is State.SUSPENDED
    assert after.suspension is not None
    assert (after.suspension.reason, after.suspension.until_ms) == ("failed_inspection", body.correct_by_ms)
    found.must("bank-a", Appeal(NUMBER, "disagrees", LETTER))


def test_a_finding_that_is_not_grave_suspends_nothing() -> None:
    found = drawn_all()
    found.must("ins", FAILED)
    assert found.certificate().state is State.ACTIVE
    report = read_report(found.view, DRAW, NUMBER)
    assert isinstance(report, Report)
    assert (report.passed, report.findings) == (False, ("seal_broken",))


@pytest.mark.parametrize("member", sorted(ROLES))
def test_the_responsible_body_says_that_findings_were_corrected(member: str) -> None:
    found = drawn_all()
    found.must("ins", FAILED)
    assert (found.submit(member, RESOLVED) == "") == (member == "cb")


def test_findings_are_resolved_once_with_evidence_and_only_where_there_are_some() -> None:
    found = drawn_all()
    assert found.submit("cb", RESOLVED) == "no_findings"
    found.must("ins", replace(PASSED, number=OTHERS[0]))
    assert found.submit("cb", replace(RESOLVED, number=OTHERS[0])) == "no_findings"
    found.must("ins", FAILED)
    assert read_certificate_inspections(found.view, NUMBER).open == 1
    assert found.submit("cb", replace(RESOLVED, evidence=())) == "evidence_missing"
    found.must("cb", RESOLVED)
    fared = read_certificate_inspections(found.view, NUMBER)
    assert (fared.open, fared.failures, fared.last_passed) == (0, 1, False)
    again = replace(RESOLVED, evidence=(piece(EvidenceKind.CORRECTIVE_ACTION, "again"),))
    assert found.submit("cb", again) == "already_resolved"


def test_a_suspension_by_inspection_ends_by_restoring_and_not_by_resolving() -> None:
    found = drawn_all()
    found.must("ins", GRAVE)
    found.must("cb", RESOLVED)
    assert found.certificate().state is State.SUSPENDED
    found.must("cb", Restore(NUMBER, (piece(EvidenceKind.CORRECTIVE_ACTION, "restored"),)))
    assert found.certificate().state is State.ACTIVE


def test_there_is_no_report_on_a_certificate_that_is_no_longer_in_use() -> None:
    found = drawn_all()
    found.change(NUMBER, state=State.CANCELLED)
    assert found.submit("ins", PASSED) == "wrong_state"
