"""The index of ends says what a scan of every row of the state says: at each height, for each kind, over appeals."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.accreditations import Accreditation, accreditation_key, ended
from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import Appeal, DecideAppeal, Evidence, Refuse, Restore, Revoke, Surveil
from ledger.certificate_records import certificate_key
from ledger.deadline_index import FOLLOWED_KEY, EndsFollower, EndsReader
from ledger.deadline_reading import ORDER, count_deadlines, deadlines_at, dues_after, place_of
from ledger.deadlines import LISTED, DueKind
from ledger.events import Event
from ledger.governance import VOTE
from ledger.governance_bodies import CastVote
from ledger.policy import POLICY_KEY
from ledger.rules import RULES_KEY, Rules
from ledger.scheme_policy import SCHEME_POLICY_KEY, SchemePolicy
from ledger.store import MemoryStore
from primitives.encoding import encode
from primitives.errors import StorageError
from tests.ledger.certificate_fixtures import NUMBER, piece, suspend
from tests.ledger.deadline_fixtures import DAY_MS, Life
from tests.ledger.scheme_fixtures import LETTER, OPINION, road, signed
from tests.ledger.test_deadline_kinds import mended, visit

FAR_MS = 4_000 * DAY_MS


def agrees(life: Life, height: int, time_ms: int, within_ms: int = FAR_MS, member: str = "") -> None:
    """The index at a height says of a time what the scan says, kind by kind."""
    for kind in DueKind:
        asked = {"height": height, "member": member}
        found = list(deadlines_at(life.ends, (kind,), time_ms, time_ms + within_ms, **asked))
        assert found == life.listed(kind, time_ms, time_ms + within_ms, height, member), (kind, height)


def all_agree(life: Life) -> None:
    """Also at every height before, at the moments around each block's time, and for an index that is made anew."""
    fresh = MemoryStore()
    other = EndsFollower(fresh, life.reads)
    while other.follow(life.height, 3):
        pass
    assert list(fresh.iterate(b"E", b"F")) == list(life.index.iterate(b"E", b"F"))
    for height in range(life.height + 1):
        time_ms = life.reads.header(height).time_ms
        for member in ("", "bank-a", "cb", "bank-b"):
            agrees(life, height, time_ms, member=member)
        agrees(life, height, time_ms + 1, 90 * DAY_MS)


def bring(life: Life, *said: tuple[str, str, object]) -> None:
    """Submit events, a block each."""
    for member, desk, body in said:
        life.must(member, body, desk)
        life.block(life.now_ms + 60_000)


def test_a_certificate_s_ends_stand_in_the_index_until_a_block_has_reached_its_term_s_end() -> None:
    life = Life()
    life.granted()
    height = life.block()
    end_ms = life.certificate().valid_until_ms
    kinds = [end.kind for end in deadlines_at(life.ends, LISTED, life.now_ms, end_ms, height=height)]
    assert sorted(kinds) == sorted([DueKind.SURVEILLANCE_OVERDUE, DueKind.RENEWAL_OPENED, DueKind.CERTIFICATE_EXPIRED])
    life.block(end_ms - 1)
    agrees(life, life.height, end_ms - 1)
    before = life.height
    life.block(end_ms)
    assert not list(deadlines_at(life.ends, LISTED, end_ms, end_ms + FAR_MS, height=life.height))
    rows = [key for key, _ in life.index.iterate(b"El", b"Em") if b"accreditation/" not in key]
    assert not rows, "what is over does not stay in the way of what is not"
    assert list(deadlines_at(life.ends, LISTED, end_ms - 1, end_ms + FAR_MS, height=before))
    all_agree(life)


def test_an_appeal_that_is_upheld_brings_a_revoked_certificate_s_ends_back() -> None:
    life = Life()
    life.granted()
    whole = list(deadlines_at(life.ends, LISTED, life.now_ms, life.now_ms + FAR_MS, height=life.block()))
    bring(life, ("cb", "first", signed(Revoke(NUMBER, "mark_misused", None), life.beside())))
    at = {"height": life.height}
    found = list(deadlines_at(life.ends, LISTED, life.now_ms, life.now_ms + FAR_MS, **at))
    assert [end.kind for end in found] == [DueKind.APPEAL_ENDED]
    bring(life, ("bank-a", "first", Appeal(NUMBER, "disagrees", LETTER)))
    at = {"height": life.height}
    found = list(deadlines_at(life.ends, LISTED, life.now_ms, life.now_ms + FAR_MS, **at))
    assert [end.kind for end in found] == [DueKind.APPEAL_UNDECIDED]
    bring(life, ("cb", "panel", DecideAppeal(NUMBER, True, OPINION)))
    at = {"height": life.height}
    assert list(deadlines_at(life.ends, LISTED, life.now_ms, life.now_ms + FAR_MS, **at)) == whole
    all_agree(life)


def test_a_refusal_that_is_appealed_waits_for_its_decision_and_no_longer() -> None:
    life = Life()
    life.granted()
    life.put("unrelated/row", SchemePolicy())
    other = "bank-b.0001"
    for member, desk, body in road(other):
        life.must("bank-b" if member == "bank-a" else member, body, desk)
    bring(life, ("cb", "decider", Refuse(other, "nonconformity")), ("bank-b", "first", Appeal(other, "why", LETTER)))
    kinds = {
        end.kind
        for end in deadlines_at(
            life.ends, LISTED, life.now_ms, FAR_MS + life.now_ms, height=life.height, member="bank-b"
        )
    }
    assert kinds == {DueKind.APPEAL_UNDECIDED}
    bring(life, ("cb", "panel", DecideAppeal(other, True, OPINION)))
    assert not list(deadlines_at(life.ends, LISTED, 0, FAR_MS + life.now_ms, height=life.height, member="bank-b"))
    all_agree(life)


def test_what_a_vote_changes_in_window_or_interval_moves_all_ends_that_depend_on_it() -> None:
    life = Life(rules=2)
    life.granted()
    height = life.block()
    end_ms, kinds = life.certificate().valid_until_ms, (DueKind.RENEWAL_OPENED, DueKind.SURVEILLANCE_OVERDUE)

    def dues() -> dict[DueKind, int]:
        return {end.kind: end.due_ms for end in deadlines_at(life.ends, kinds, life.now_ms, end_ms, height=life.height)}

    assert dues() == {DueKind.RENEWAL_OPENED: end_ms - 180 * DAY_MS}, "by rules 2 nobody could surveil"
    life.put(RULES_KEY, Rules(2, 3, height + 3))
    life.block(life.now_ms + 1)
    assert len(dues()) == 1
    life.block(life.now_ms + 1)  # the next one is by rules 3
    assert len(dues()) == 2
    life.put(POLICY_KEY, replace(life.policy, certificate_renewal_window_days=10))
    life.put(SCHEME_POLICY_KEY, SchemePolicy(surveillance_interval_months=6))
    before = dues()
    life.block(life.now_ms + 1)
    assert dues()[DueKind.RENEWAL_OPENED] == end_ms - 10 * DAY_MS
    assert dues()[DueKind.SURVEILLANCE_OVERDUE] < before[DueKind.SURVEILLANCE_OVERDUE]
    all_agree(life)


def test_an_index_of_another_format_begins_anew_and_one_that_is_damaged_says_so() -> None:
    life = Life()
    life.granted()
    life.block()
    sound = list(life.index.iterate(b"E", b"F"))
    other = MemoryStore()
    other.write(
        [(b"Elsomething", b"old"), (FOLLOWED_KEY, life.index.get(FOLLOWED_KEY).replace(b"1 cert", b"0 cert"))],
        sync=True,
    )
    assert EndsReader(other).height() is None
    follower = EndsFollower(other, life.reads)
    while follower.follow(life.height, 5):
        pass
    assert list(other.iterate(b"E", b"F")) == sound
    other.write([(FOLLOWED_KEY, b"\xc1")], sync=True)
    with pytest.raises(StorageError, match="damaged"):
        EndsFollower(other, life.reads)


def test_an_index_begins_at_the_base_of_a_snapshot() -> None:
    life = Life()
    life.granted()
    base = life.block()
    life.must("cb", suspend())
    life.block(life.now_ms + DAY_MS)
    life.reads.base_height = base
    store = MemoryStore()
    follower, ends = EndsFollower(store, life.reads), EndsReader(store)
    while follower.follow(life.height, 1):
        pass
    assert ends.height() == life.height
    life.ends = ends
    agrees(life, life.height, life.now_ms)
    agrees(life, base, life.reads.header(base).time_ms)


def test_what_is_due_with_a_block_does_not_depend_on_how_far_the_index_is() -> None:
    life = Life()
    life.granted()
    life.block()
    life.must("cb", suspend(days=10))
    life.block(life.now_ms + DAY_MS)
    end_ms = life.certificate().valid_until_ms
    until_ms = life.certificate().suspension.until_ms
    for time_ms in (until_ms - 1, until_ms, end_ms - 90 * DAY_MS, end_ms):
        life.block(time_ms)
    stores = [None, EndsReader(MemoryStore()), life.ends]
    for stop in range(life.height):
        store = MemoryStore()
        EndsFollower(store, life.reads).follow(stop, stop + 1)
        stores.append(EndsReader(store))
    found = []
    for height in range(life.height):
        next_ms = life.reads.header(height + 1).time_ms
        said = [dues_after(life.reads, ends, height, next_ms) for ends in stores]
        assert all(item == said[0] for item in said), height
        found += said[0]
    kinds = [due.kind for due in found]
    assert kinds == [
        DueKind.SUSPENSION_ENDED,
        DueKind.APPEAL_ENDED,
        DueKind.EXPIRING_180,
        DueKind.EXPIRING_90,
        DueKind.EXPIRING_30,
        DueKind.CERTIFICATE_EXPIRED,
    ], "each once"


def test_pages_of_a_list_join_without_a_gap_or_a_repetition_either_way() -> None:
    life = Life()
    life.reads.pruned = True  # no event names what is put into the state here
    life.granted()
    template = life.certificate()
    for number in range(12):  # four with the same end, each
        name = f"FTP-2026-06-{number + 10:06d}"
        row = replace(template, number=name, valid_until_ms=template.valid_until_ms + number // 4 * DAY_MS)
        life.put(certificate_key(name), row)
    height = life.block()
    kinds = (DueKind.CERTIFICATE_EXPIRED, DueKind.RENEWAL_OPENED, DueKind.EXPIRING_180)
    for descending in (False, True):
        asked = {"height": height, "descending": descending}
        whole = list(deadlines_at(life.ends, kinds, life.now_ms, life.now_ms + FAR_MS, **asked))
        assert len(whole) == 39
        assert [place_of(end) for end in whole] == sorted(map(place_of, whole), reverse=descending)
        for place, end in enumerate(whole):
            rest = deadlines_at(life.ends, kinds, life.now_ms, life.now_ms + FAR_MS, after=place_of(end), **asked)
            assert list(rest) == whole[place + 1 :]


def test_a_count_is_of_what_is_so_and_of_what_will_be_within_days() -> None:
    life = Life()
    life.granted()
    height = life.block()
    end_ms = life.certificate().valid_until_ms
    at = {"height": height}
    for days in (180, 90, 30):
        kind = DueKind(f"expiring_{days}")
        assert count_deadlines(life.ends, kind, end_ms - days * DAY_MS - 1, **at) == 0
        assert count_deadlines(life.ends, kind, end_ms - days * DAY_MS, **at) == 1
        assert count_deadlines(life.ends, kind, end_ms - 1, **at) == 1
        assert count_deadlines(life.ends, kind, end_ms, **at) == 0
    expired = DueKind.CERTIFICATE_EXPIRED
    assert count_deadlines(life.ends, expired, end_ms - 2 * DAY_MS, within_days=1, **at) == 0
    assert count_deadlines(life.ends, expired, end_ms - DAY_MS, within_days=1, **at) == 1


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ("suspend", "restore", "revoke", "appeal", "uphold", "dismiss", "surveil", "grave", "wait", "window")
        ),
        st.integers(0, 500),
        st.booleans(),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_STEPS, st.booleans())
def test_of_any_life_the_index_says_what_the_scan_of_everything_says(steps, pruned) -> None:
    life = Life()
    life.reads.pruned = pruned
    life.granted()
    life.block()

    def paper(kind: str) -> tuple[Evidence, ...]:
        return (piece(EvidenceKind(kind), f"paper {life.submitted}"),)

    bodies = {
        "suspend": lambda days: ("cb", "first", suspend(days=days % 180 + 1)),
        "restore": lambda _: ("cb", "first", Restore(NUMBER, mended(life.submitted))),
        "revoke": lambda _: ("cb", "first", signed(Revoke(NUMBER, "mark_misused", None), life.beside())),
        "appeal": lambda _: ("bank-a", "first", Appeal(NUMBER, "disagrees", paper("holder_request"))),
        "uphold": lambda _: ("cb", "panel", DecideAppeal(NUMBER, True, paper("review_report"))),
        "dismiss": lambda _: ("cb", "panel", DecideAppeal(NUMBER, False, paper("review_report"))),
        "surveil": lambda days: (
            "ins",
            "first",
            Surveil(NUMBER, False, False, ("label",), life.now_ms + (days % 90 + 1) * DAY_MS, visit(life.submitted)),
        ),
        "grave": lambda _: ("ins", "first", Surveil(NUMBER, False, True, ("label",), None, visit(life.submitted))),
    }
    for name, days, joined in steps:
        life.now_ms += days * DAY_MS // 10
        if name == "window":
            life.put(POLICY_KEY, replace(life.policy, certificate_renewal_window_days=days + 1))
        elif name in bodies:
            member, desk, body = bodies[name](days)
            life.submit(member, body, desk)
        if not joined:
            life.block()
    life.block()
    all_agree(life)
    for height in range(life.height):
        next_ms = life.reads.header(height + 1).time_ms
        found = dues_after(life.reads, life.ends, height, next_ms)
        start_ms = life.reads.header(height).time_ms
        scanned = {end.due() for end in life.scanned(height) if start_ms < end.due_ms <= next_ms}
        assert set(found) == scanned
        assert found == sorted(found, key=lambda due: (due.time_ms, ORDER[due.kind], due.subject))
        assert len(found) == len(scanned)


def test_what_members_decide_on_an_accreditation_is_followed_also_where_bodies_are_there() -> None:
    life = Life()
    life.block()
    kind = (DueKind.ACCREDITATION_ENDED,)
    before = list(deadlines_at(life.ends, kind, life.now_ms, life.now_ms + FAR_MS, height=life.height, member="lab"))
    row = life.view.get(accreditation_key("lab", "laboratory"), Accreditation)
    assert row is not None
    life.put(accreditation_key("lab", "laboratory"), ended(row, life.now_ms + DAY_MS, "misconduct"))
    data = encode(
        Event("bank-a", bytes(16), life.now_ms + 1, VOTE, 1, encode(CastVote(bytes(32), True, bytes(32), bytes(64))))
    )
    life.say("bank-a", data)
    life.block(life.now_ms + 1)
    asked = {"height": life.height, "member": "lab"}
    after = list(deadlines_at(life.ends, kind, life.now_ms, life.now_ms + FAR_MS, **asked))
    assert after != before
    assert {end.due_ms for end in after} == {life.now_ms - 1 + DAY_MS}
    all_agree(life)
