"""Of each kind: from when on it is due, until when it is so, and what ends it; on both sides of each edge."""

from __future__ import annotations

from msgspec.structs import replace

from ledger.accreditations import Accreditation, AccreditedRole, Term, accreditation_key, ended, endings
from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import Appeal, Cancel, DecideAppeal, Evidence, Refuse, Renew, Restore, Revoke, Surveil
from ledger.certificate_records import add_months, certificate_key
from ledger.deadline_reading import deadlines_at
from ledger.deadlines import LISTED, NOTICES, DueKind, End, Level, level_at, next_of
from ledger.events import Event
from ledger.inspection_records import (
    OPEN_KEY,
    Drawn,
    Inspection,
    OpenDraw,
    OpenDraws,
    Phase,
    Report,
    Resolution,
    inspection_key,
    report_key,
)
from ledger.inspection_views import due_reports
from primitives.encoding import encode
from primitives.ids import EventId
from tests.ledger.certificate_fixtures import APPLICATION, DOCUMENTS, NUMBER, REQUEST, grant, piece, suspend
from tests.ledger.deadline_fixtures import DAY_MS, Life
from tests.ledger.scheme_fixtures import LETTER, OPINION, road, signed

K = DueKind
FAR_MS = 10_000 * DAY_MS


def visit(number: int) -> tuple[Evidence, ...]:
    """Return the report of a visit: each is another document."""
    return (piece(EvidenceKind.SITE_CHECK, f"visit {number}"),)


def mended(number: int) -> tuple[Evidence, ...]:
    """Return a document of corrections, another one each time."""
    return (piece(EvidenceKind.CORRECTIVE_ACTION, f"mended {number}"),)


def active() -> Life:
    """Return a life with a certificate in force."""
    life = Life()
    life.granted()
    life.block()
    return life


def due_ms(life: Life, kind: DueKind) -> int | None:
    """Return when something of a kind is due, as the newest state says; None where nothing is."""
    found = {end.due_ms for end in life.scanned(life.height) if end.kind is kind}
    assert len(found) <= 1
    return found.pop() if found else None


def of_certificates(life: Life) -> list[End]:
    """Return all that the newest state says but of accreditations."""
    return [end for end in life.scanned(life.height) if end.kind is not K.ACCREDITATION_ENDED]


def levels(life: Life, kind: DueKind, *times_ms: int) -> list[str]:
    """Return how it stands with a kind at some times, by the index; an empty word where it is not listed."""
    found = []
    for time_ms in times_ms:
        ends = list(deadlines_at(life.ends, (kind,), time_ms, time_ms + FAR_MS, height=life.height))
        assert ends == life.listed(kind, time_ms, time_ms + FAR_MS, life.height)
        found.append(level_at(ends[0], time_ms).value if ends else "")
    return found


def around(edge_ms: int) -> tuple[int, int]:
    return edge_ms - 1, edge_ms


def test_each_kind_says_what_is_to_be_done_and_by_whom() -> None:
    life = active()
    for end in of_certificates(life):
        what, by = next_of(end)
        assert "`" in what
        assert by == ("cb" if end.kind is K.SURVEILLANCE_OVERDUE else "bank-a")
    assert {*NOTICES, *LISTED, K.PROPOSAL_EXPIRED} == set(K)


def test_notices_are_open_from_their_days_before_the_end_until_it() -> None:
    life = active()
    end_ms = life.certificate().valid_until_ms
    for kind, days in NOTICES.items():
        assert levels(life, kind, *around(end_ms - days * DAY_MS)) == [Level.AHEAD, Level.OPEN]
        assert levels(life, kind, *around(end_ms)) == [Level.OPEN, ""]


def test_a_certificate_s_end_is_ahead_until_it_comes_and_then_no_task_of_anybody() -> None:
    life = active()
    assert levels(life, K.CERTIFICATE_EXPIRED, *around(life.certificate().valid_until_ms)) == [Level.AHEAD, ""]
    life.must("cb", Cancel(NUMBER, REQUEST))
    life.block()
    assert of_certificates(life) == []


def test_a_renewal_is_open_in_its_window_until_there_is_a_successor() -> None:
    life = active()
    end_ms = life.certificate().valid_until_ms
    opens_ms = end_ms - 180 * DAY_MS
    assert levels(life, K.RENEWAL_OPENED, *around(opens_ms)) == [Level.AHEAD, Level.OPEN]
    assert levels(life, K.RENEWAL_OPENED, *around(end_ms)) == [Level.OPEN, ""]
    life.block(opens_ms)
    life.must("bank-a", Renew("bank-a.0002", NUMBER, DOCUMENTS))
    for member, desk, body in road("bank-a.0002")[1:]:
        life.must(member, body, desk)
    life.block()
    assert due_ms(life, K.RENEWAL_OPENED) == opens_ms, "an application is no successor yet"
    successor = "FTP-2028-06-000002"
    granted = signed(grant("bank-a.0002", successor), life.application("bank-a.0002"))
    life.must("cb", granted, "decider")
    life.block()
    found = deadlines_at(life.ends, (K.RENEWAL_OPENED,), life.now_ms, life.now_ms + FAR_MS, height=life.height)
    assert [end.subject for end in found] == [successor]
    ends = deadlines_at(life.ends, (K.CERTIFICATE_EXPIRED,), life.now_ms, life.now_ms + FAR_MS, height=life.height)
    assert {end.subject for end in ends} == {NUMBER, successor}


def test_a_suspended_certificate_cannot_be_renewed_and_its_suspension_s_end_makes_its_revocation_due() -> None:
    life = active()
    life.must("cb", suspend(days=10))
    life.block()
    until_ms = life.certificate().suspension.until_ms
    assert levels(life, K.SUSPENSION_ENDED, *around(until_ms)) == [Level.AHEAD, Level.OVERDUE]
    assert levels(life, K.SUSPENSION_ENDED, *around(life.certificate().valid_until_ms)) == [Level.OVERDUE, ""]
    assert due_ms(life, K.RENEWAL_OPENED) is due_ms(life, K.SURVEILLANCE_OVERDUE) is None
    life.must("cb", Restore(NUMBER, mended(4)))
    life.block()
    assert due_ms(life, K.SUSPENSION_ENDED) is None
    assert due_ms(life, K.RENEWAL_OPENED) is not None


def test_a_suspension_that_ends_with_the_certificate_makes_no_revocation_due() -> None:
    life = active()
    life.must("cb", suspend(days=10))
    record = life.certificate()
    for shift, expected in ((1, record.suspension.until_ms), (0, None)):
        life.put(certificate_key(NUMBER), replace(record, valid_until_ms=record.suspension.until_ms + shift))
        life.block()
        assert due_ms(life, K.SUSPENSION_ENDED) == expected


def test_surveillance_is_overdue_an_interval_after_the_grant_or_the_newest_one() -> None:
    life = active()
    record = life.certificate()
    first_ms = add_months(record.valid_from_ms, 12)
    assert levels(life, K.SURVEILLANCE_OVERDUE, *around(first_ms)) == [Level.AHEAD, Level.OVERDUE]
    life.block(first_ms + 5 * DAY_MS)
    life.must("ins", Surveil(NUMBER, True, False, (), None, visit(1)))
    life.block()
    next_ms = add_months(life.now_ms, 12)
    assert levels(life, K.SURVEILLANCE_OVERDUE, *around(next_ms)) == [Level.AHEAD, Level.OVERDUE]
    assert levels(life, K.SURVEILLANCE_OVERDUE, *around(record.valid_until_ms)) == [Level.OVERDUE, ""]
    life.block(record.valid_until_ms - 300 * DAY_MS)
    life.must("ins", Surveil(NUMBER, True, False, (), None, visit(2)))
    life.block()
    assert due_ms(life, K.SURVEILLANCE_OVERDUE) is None, "the certificate ends before"


def test_what_was_found_is_to_be_corrected_by_its_day_until_corrections_come_or_it_is_found_good() -> None:
    life = active()
    by_ms = life.now_ms + 20 * DAY_MS
    life.must("ins", Surveil(NUMBER, False, False, ("label",), by_ms, visit(20)))
    life.block()
    assert levels(life, K.CORRECTION_OVERDUE, *around(by_ms)) == [Level.AHEAD, Level.OVERDUE]
    life.must("ins", Surveil(NUMBER, True, False, (), None, visit(3)))
    life.block()
    assert due_ms(life, K.CORRECTION_OVERDUE) is None
    life.must("cb", suspend(days=30))
    life.now_ms += 1_000
    life.must("cb", Restore(NUMBER, mended(5)))
    life.now_ms += 1_000
    life.must("ins", Surveil(NUMBER, False, False, ("label",), by_ms, visit(21)))
    life.block()
    assert due_ms(life, K.CORRECTION_OVERDUE) == by_ms, "corrections before it are not of what was found"
    life.must("cb", suspend(days=30))
    life.now_ms += 1_000
    life.must("cb", Restore(NUMBER, mended(6)))
    life.block()
    assert due_ms(life, K.CORRECTION_OVERDUE) is None


def test_a_window_to_appeal_is_ahead_until_it_ends_and_an_appeal_is_undecided_until_it_is_decided() -> None:
    life = active()
    life.must("cb", signed(Revoke(NUMBER, "mark_misused", None), life.beside()))
    life.block()
    until_ms = life.now_ms + 60 * DAY_MS
    assert levels(life, K.APPEAL_ENDED, *around(until_ms)) == [Level.AHEAD, ""]
    life.must("bank-a", Appeal(NUMBER, "disagrees", LETTER))
    life.block()
    assert due_ms(life, K.APPEAL_ENDED) is None
    assert levels(life, K.APPEAL_UNDECIDED, *around(until_ms), until_ms + FAR_MS) == [
        Level.AHEAD,
        Level.OVERDUE,
        Level.OVERDUE,
    ]
    life.must("cb", DecideAppeal(NUMBER, False, OPINION), "panel")
    life.block()
    assert due_ms(life, K.APPEAL_UNDECIDED) is due_ms(life, K.APPEAL_ENDED) is None


def test_a_refusal_can_be_appealed_against_until_its_window_ends() -> None:
    life = Life()
    for member, desk, body in road(APPLICATION):
        life.must(member, body, desk)
    life.must("cb", Refuse(APPLICATION, "nonconformity"), "decider")
    life.block()
    assert levels(life, K.APPEAL_ENDED, *around(life.now_ms + 60 * DAY_MS)) == [Level.AHEAD, ""]
    [end] = of_certificates(life)
    assert (end.subject, end.member, end.body) == (APPLICATION, "bank-a", "cb")


def test_a_window_to_appeal_of_a_certificate_in_use_ends_with_its_term() -> None:
    life = active()
    life.must("cb", suspend(days=100))
    record = life.certificate()
    life.put(certificate_key(NUMBER), replace(record, valid_until_ms=life.now_ms + 30 * DAY_MS))
    life.block()
    assert due_ms(life, K.APPEAL_ENDED) == life.now_ms + 30 * DAY_MS


def test_an_accreditation_is_ahead_until_it_ends_for_a_category_and_no_term_goes_on() -> None:
    life = Life()
    life.reads.pruned = True  # no event names what is put into the state here
    day = life.now_ms // DAY_MS

    def term(first: int, last: int, *categories: int) -> Term:
        return Term(categories, (day + first) * DAY_MS, (day + last) * DAY_MS, "ISO/IEC 17025")

    terms = (term(0, 10, 5, 6), term(10, 20, 6), term(22, 30, 6), term(1, 5, 5))
    key = accreditation_key("lab", "laboratory")
    life.put(key, Accreditation("lab", AccreditedRole.LABORATORY, terms))
    height = life.block()
    found = list(deadlines_at(life.ends, (K.ACCREDITATION_ENDED,), life.now_ms, life.now_ms + FAR_MS, height=height))
    assert [end.due_ms // DAY_MS - day for end in found] == [10, 20, 30]
    assert {(end.subject, end.member) for end in found} == {("lab/laboratory", "lab")}
    for item in found:
        whole = {ending.end_ms for at_ms in around(item.due_ms) for ending in endings(_rows(life, key), at_ms, 3_650)}
        assert item.due_ms in whole, "as the accreditations themselves say"
    row = _rows(life, key)[0]
    life.put(key, ended(row, (day + 3) * DAY_MS, "misconduct"))
    life.block()
    found = list(
        deadlines_at(life.ends, (K.ACCREDITATION_ENDED,), life.now_ms, life.now_ms + FAR_MS, height=life.height)
    )
    assert [end.due_ms // DAY_MS - day for end in found] == [3]


def _rows(life: Life, key: str) -> list[Accreditation]:
    row = life.view.get(key, Accreditation)
    assert row is not None
    return [row]


def test_an_inspection_is_to_be_reported_and_what_it_found_to_be_corrected_while_the_certificate_is_in_use() -> None:
    life = active()
    until_ms, by_ms = life.now_ms + 30 * DAY_MS, life.now_ms + 60 * DAY_MS
    draw = Inspection(
        "cb.0001", "cb", EventId(bytes(32)), life.now_ms, (), 1, 0, 0, 30, None, Phase.DRAWING,
        selection=(Drawn(NUMBER, 6, 1, 1, b""),),
    )  # fmt: skip
    kind = 20

    def goes_on(row: Inspection | None, *, named: bool = True) -> None:
        if row is not None:
            life.put(inspection_key(row.id), row)
        if named:
            life.say("cb", encode(Event("cb", bytes(16), life.now_ms + 1, kind, 1, encode(("cb.0001",)))))
        life.block(life.now_ms + 1)

    goes_on(draw)
    assert due_ms(life, K.INSPECTION_OVERDUE) is None, "it is not drawn yet"
    life.put(OPEN_KEY, OpenDraws((OpenDraw("cb.0001", life.height),), 0))
    goes_on(None)
    life.delete(OPEN_KEY)
    drawn = replace(draw, phase=Phase.DRAWN, report_until_ms=until_ms)
    goes_on(drawn, named=False)  # by its last step, which no event names
    assert levels(life, K.INSPECTION_OVERDUE, *around(until_ms)) == [Level.AHEAD, Level.OVERDUE]
    assert [(due.number, due.due_ms) for due in due_reports(_Scan(life), until_ms)] == [(NUMBER, until_ms)]
    life.must("cb", signed(Revoke(NUMBER, "mark_misused", None), life.beside()))
    life.block()
    assert levels(life, K.INSPECTION_OVERDUE, until_ms) == [""]
    life.must("bank-a", Appeal(NUMBER, "disagrees", LETTER))
    life.must("cb", DecideAppeal(NUMBER, True, OPINION), "panel")
    life.block()
    assert levels(life, K.INSPECTION_OVERDUE, until_ms) == [Level.OVERDUE], "the certificate is in use again"
    report = Report("cb.0001", NUMBER, EventId(bytes(32)), "ins", life.now_ms, False, False, ("label",), by_ms, None)
    life.put(report_key("cb.0001", NUMBER), report)
    goes_on(None)
    assert levels(life, K.INSPECTION_OVERDUE, until_ms) == [""]
    assert levels(life, K.INSPECTION_UNCORRECTED, *around(by_ms)) == [Level.AHEAD, Level.OVERDUE]
    solved = replace(report, resolved=Resolution(EventId(bytes(32)), "cb", life.now_ms))
    life.put(report_key("cb.0001", NUMBER), solved)
    goes_on(None)
    assert levels(life, K.INSPECTION_UNCORRECTED, by_ms) == [""]


class _Scan:
    """The state as the views of inspections read it."""

    def __init__(self, life: Life) -> None:
        self.get, self.scan = life.view.get, life.view.scan
