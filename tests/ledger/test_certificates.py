"""Whole lives of certificates: what the records say afterwards, renewal, evidence, and any sequence of events."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import (
    Accept,
    Apply,
    Body,
    Cancel,
    Grant,
    Product,
    Refuse,
    Renew,
    Restore,
    Review,
    Revoke,
    SiteCheck,
    Suspend,
    TypeTest,
    check_body,
    subjects_of,
)
from ledger.certificate_records import FINAL, Application, Certificate, State, add_months, state_at, status_at
from ledger.certificates import CERTIFICATE_KINDS
from ledger.registry import KINDS_BY_NAME
from primitives.encoding import decode, encode
from primitives.errors import EncodingError, InputError
from primitives.hashing import domain_hash
from tests.ledger.certificate_fixtures import (
    APPLICATION,
    CORRECTION,
    DAY_MS,
    DOCUMENTS,
    EVENTS,
    EXAMINATION,
    INSPECTION,
    NUMBER,
    PRODUCT,
    REQUEST,
    ROLES,
    Consortium,
    events_to,
    grant,
    piece,
    suspend,
)


def history_of(events: int) -> bytes:
    """Return the hash chain over a consortium's first events."""
    value = bytes(32)
    for number in range(1, events + 1):
        value = domain_hash("certificate-history", encode((value, sha256(f"event {number}".encode()).digest())))
    return value


def test_a_granted_certificate_holds_the_whole_case() -> None:
    consortium = Consortium()
    consortium.bring_to(State.ACTIVE)
    certificate = consortium.certificate()
    assert (certificate.number, certificate.application, certificate.holder) == (NUMBER, APPLICATION, "bank-a")
    assert (certificate.product, certificate.category, certificate.catalogue) == (PRODUCT, 6, 2)
    assert (certificate.body, certificate.state, certificate.version) == ("cb", State.ACTIVE, 1)
    filed = [(piece.kind.value, piece.member, piece.passed) for piece in certificate.evidence]
    assert filed == [
        ("technical_documents", "bank-a", True),
        ("type_examination", "lab", True),
        ("site_check", "ins", True),
        ("review_report", "cb", True),
    ]
    assert (certificate.history.count, certificate.history.hash) == (6, history_of(6))
    assert certificate.history.changed_ms == consortium.now_ms
    application = consortium.application()
    assert (application.state, application.number, application.history) == (State.GRANTED, NUMBER, certificate.history)


def test_a_refused_application_gets_no_certificate_but_time_to_appeal() -> None:
    consortium = Consortium()
    consortium.bring_to(State.REFUSED)
    application = consortium.application()
    assert (application.reason, application.number) == ("nonconformity", None)
    assert application.appeal_until_ms == consortium.now_ms + 60 * DAY_MS
    with pytest.raises(AssertionError):
        consortium.certificate()


def test_suspending_and_restoring_leave_evidence_of_the_correction() -> None:
    consortium = Consortium()
    consortium.bring_to(State.SUSPENDED)
    consortium.now_ms += DAY_MS
    consortium.must("cb", Restore(NUMBER, CORRECTION))
    certificate = consortium.certificate()
    assert (certificate.state, certificate.suspension, certificate.appeal_until_ms) == (State.ACTIVE, None, None)
    assert [piece.kind for piece in certificate.corrections] == [EvidenceKind.CORRECTIVE_ACTION]
    assert status_at(certificate, consortium.now_ms).since_ms == consortium.now_ms
    assert certificate.history.count == 8


@pytest.mark.parametrize("member", ["cb", "regulator"])
def test_a_revocation_says_by_whom(member: str) -> None:
    consortium = Consortium()
    consortium.bring_to(State.ACTIVE)
    consortium.must(member, Revoke(NUMBER, "mark_misused", None))
    revocation = consortium.certificate().revocation
    assert revocation is not None
    assert (revocation.by, revocation.reason, revocation.invalid_from_ms) == (member, "mark_misused", consortium.now_ms)


def renewed(consortium: Consortium, number: str = "FTP-2028-06-000009", application: str = "bank-a.0002") -> Grant:
    """Bring a renewal up to its decision and return the grant."""
    consortium.must("bank-a", Renew(application, NUMBER, DOCUMENTS))
    consortium.must("cb", Accept(application))
    consortium.must("lab", TypeTest(application, True, EXAMINATION))
    consortium.must("ins", SiteCheck(application, True, INSPECTION))
    consortium.must("cb", Review(application, ()), "reviewer")
    return grant(application, number)


def in_renewal_window() -> Consortium:
    consortium = Consortium()
    consortium.bring_to(State.ACTIVE)
    consortium.now_ms = consortium.certificate().valid_until_ms - 100 * DAY_MS
    return consortium


def test_a_renewal_makes_a_successor_and_lets_the_predecessor_run_out() -> None:
    consortium = in_renewal_window()
    decision = renewed(consortium)
    consortium.must("cb", decision, "decider")
    old, new = consortium.certificate(), consortium.certificate(decision.number)
    assert (old.successor, new.predecessor) == (new.number, old.number)
    assert (old.state, new.state) == (State.ACTIVE, State.ACTIVE)
    assert (new.product, new.category, new.holder_name) == (old.product, old.category, old.holder_name)
    assert new.valid_until_ms == add_months(consortium.now_ms, 36)
    assert new.history.count == 6
    assert old.history.count == 7


def test_a_certificate_has_one_successor() -> None:
    consortium = in_renewal_window()
    first = renewed(consortium)
    second = renewed(consortium, "FTP-2028-06-000010", "bank-a.0003")
    consortium.must("cb", first, "decider")
    assert consortium.submit("cb", second, "decider") == "already_renewed"
    assert consortium.submit("bank-a", Renew("bank-a.0004", NUMBER, DOCUMENTS)) == "already_renewed"


@pytest.mark.parametrize(
    ("meanwhile", "rule"),
    [
        (suspend(), "wrong_state"),
        (Revoke(NUMBER, "mark_misused", None), "wrong_state"),
        (Cancel(NUMBER, REQUEST), "wrong_state"),
        (None, ""),
    ],
)
def test_a_renewal_does_not_get_round_a_decision_on_its_predecessor(meanwhile: Body | None, rule: str) -> None:
    consortium = in_renewal_window()
    decision = renewed(consortium)
    if meanwhile is None:
        consortium.now_ms = consortium.certificate().valid_until_ms + DAY_MS  # it ran out during the review
    else:
        consortium.must("cb", meanwhile)
    assert consortium.submit("cb", decision, "decider") == rule


@pytest.mark.parametrize("failed", ["certificate.type_test", "certificate.site_check"])
def test_nothing_is_granted_on_a_negative_finding(failed: str) -> None:
    consortium = Consortium()
    for member, desk, body in events_to(State.REVIEWED):
        negative = replace(body, passed=False) if body == EVENTS[failed][2] else body
        consortium.must(member, negative, desk)
    assert consortium.submit("cb", grant(), "decider") == "evidence_negative"
    consortium.must("cb", Refuse(APPLICATION, "test_failed"), "decider")


def test_a_secure_element_needs_a_security_evaluation_besides() -> None:
    for brought, rule in (
        (EXAMINATION, "evidence_missing"),
        ((*EXAMINATION, piece(EvidenceKind.SECURITY_EVALUATION)), ""),
    ):
        consortium = Consortium()
        consortium.must("bank-a", Apply(APPLICATION, "Bank A", Product("Chip", "C-1", "1"), 2, DOCUMENTS))
        consortium.must("cb", Accept(APPLICATION))
        consortium.must("lab", TypeTest(APPLICATION, True, brought))
        consortium.must("ins", SiteCheck(APPLICATION, True, INSPECTION))
        consortium.must("cb", Review(APPLICATION, ()), "reviewer")
        assert consortium.submit("cb", grant(number="FTP-2026-02-000001"), "decider") == rule


@pytest.mark.parametrize(
    ("time", "category", "rule"),
    [
        (1_571_155_199_999, 1, "unknown_category"),  # a millisecond before the first catalogue
        (1_571_155_200_000, 11, ""),
        (1_571_155_200_000, 12, "unknown_category"),
        (1_643_471_999_999, 12, "unknown_category"),
        (1_643_472_000_000, 14, ""),
        (1_643_472_000_000, 15, "unknown_category"),
    ],
)
def test_a_category_is_known_once_its_catalogue_is_in_force(time: int, category: int, rule: str) -> None:
    consortium = Consortium()
    consortium.now_ms = time
    assert consortium.submit("bank-a", Apply(APPLICATION, "Bank A", PRODUCT, category, DOCUMENTS)) == rule


def test_a_number_is_given_once_and_names_the_category() -> None:
    consortium = Consortium()
    consortium.bring_to(State.REVIEWED)
    assert consortium.submit("cb", grant(number="FTP-2026-07-000001"), "decider") == "number_of_other_category"
    consortium.must("cb", grant(), "decider")
    other = "vendor.1"
    for member, desk, body in events_to(State.REVIEWED):
        changed = replace(body, application=other)
        consortium.must("vendor" if member == "bank-a" else member, changed, desk)
    assert consortium.submit("cb", grant(other), "decider") == "number_taken"


def test_an_application_names_its_own_member() -> None:
    consortium = Consortium()
    for application in ("vendor.1", "bank-b.1", "bank.1"):
        body = Apply(application, "Bank A", PRODUCT, 6, DOCUMENTS)
        assert consortium.submit("bank-a", body) == "not_own_application"


BAD_BODIES = {
    "an id without a serial": replace(EVENTS["certificate.accept"][2], application="bank-a"),
    "an id with a path in it": replace(EVENTS["certificate.accept"][2], application="bank-a./1"),
    "an id that ends in a newline": replace(EVENTS["certificate.accept"][2], application="bank-a.1\n"),
    "a number without a category": replace(EVENTS["certificate.revoke"][2], number="FTP-2026-000001"),
    "a number in lower case": replace(EVENTS["certificate.revoke"][2], number="ftp-2026-06-000001"),
    "a reason in prose": replace(EVENTS["certificate.revoke"][2], reason="Mr X misused the mark"),
    "an empty name": replace(EVENTS["certificate.apply"][2], holder_name=""),
    "a name with a control character": replace(EVENTS["certificate.apply"][2], holder_name="Bank\x1bA"),
    "a name of 201 characters": replace(EVENTS["certificate.apply"][2], holder_name="x" * 201),
    "category 0": replace(EVENTS["certificate.apply"][2], category=0),
    "category 100": replace(EVENTS["certificate.apply"][2], category=100),
    "17 pieces of evidence": replace(EVENTS["certificate.cancel"][2], evidence=REQUEST * 17),
    "a short digest": replace(EVENTS["certificate.cancel"][2], evidence=(replace(REQUEST[0], digest=bytes(31)),)),
    "an empty document": replace(EVENTS["certificate.cancel"][2], evidence=(replace(REQUEST[0], size_bytes=0),)),
    "a term of no months": grant(valid_months=0),
    "a time before 1970": grant(valid_from_ms=-1),
    "a suspension of no days": suspend(days=0),
}


@pytest.mark.parametrize("what", BAD_BODIES)
def test_a_malformed_body_is_not_decoded(what: str) -> None:
    body = BAD_BODIES[what]
    with pytest.raises(EncodingError):
        decode(type(body), encode(body), size_max=65_535)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (grant(valid_until_ms=1, valid_months=1), "two ends of one validity: expected valid_until_ms or valid_months"),
        (suspend(until_ms=1, days=1), "two ends of one suspension: expected until_ms or days, got both"),
        (Cancel(NUMBER, REQUEST + REQUEST), "evidence: a document stands twice: expected distinct digests"),
    ],
)
def test_a_body_that_contradicts_itself_is_refused_at_the_door(body: Body, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_body(body)


def test_every_sample_event_is_canonical_and_says_what_it_is_about() -> None:
    for name, (_, _, body) in EVENTS.items():
        check_body(body)
        assert decode(type(body), encode(body), size_max=65_535) == body
        about = {"bank-a.0001", NUMBER, "bank-a.0002"} & set(subjects_of(body))
        assert set(subjects_of(body)) == about, name


def test_the_kinds_are_in_the_registry() -> None:
    assert all(KINDS_BY_NAME[spec.name] == spec for spec in CERTIFICATE_KINDS)


# ---- any sequence of events

APPLICATIONS = st.sampled_from(["bank-a.1", "vendor.1", "bank-a.2"])
NUMBERS = st.sampled_from(["FTP-2026-06-0001", "FTP-2026-06-0002", "FTP-2026-01-0003"])
TIMES = st.none() | st.integers(1_767_225_600_000, 1_900_000_000_000)
DESKS = st.sampled_from(["reviewer", "decider"])
EVIDENCE = st.lists(
    st.builds(piece, st.sampled_from(EvidenceKind), st.sampled_from("abcdefgh")),
    max_size=3,
    unique_by=lambda e: e.digest,
).map(tuple)
BODIES = st.one_of(
    st.builds(Apply, APPLICATIONS, st.just("Bank"), st.just(PRODUCT), st.sampled_from([1, 6, 99]), EVIDENCE),
    st.builds(Renew, APPLICATIONS, NUMBERS, EVIDENCE),
    st.builds(Accept, APPLICATIONS),
    st.builds(TypeTest, APPLICATIONS, st.booleans(), EVIDENCE),
    st.builds(SiteCheck, APPLICATIONS, st.booleans(), EVIDENCE),
    st.builds(Review, APPLICATIONS, EVIDENCE),
    st.builds(Grant, APPLICATIONS, NUMBERS, TIMES, st.none(), st.none() | st.integers(1, 40)),
    st.builds(Grant, APPLICATIONS, NUMBERS, TIMES, TIMES, st.none()),
    st.builds(Refuse, APPLICATIONS, st.just("nonconformity")),
    st.builds(Suspend, NUMBERS, st.just("inspection"), TIMES, st.none()),
    st.builds(Suspend, NUMBERS, st.just("inspection"), st.none(), st.none() | st.integers(1, 400)),
    st.builds(Restore, NUMBERS, EVIDENCE),
    st.builds(Revoke, NUMBERS, st.just("misuse"), TIMES),
    st.builds(Cancel, NUMBERS, EVIDENCE),
)
STEPS = st.tuples(
    st.sampled_from(sorted(ROLES)), DESKS, BODIES, st.sampled_from([1, DAY_MS, 100 * DAY_MS, 900 * DAY_MS])
)
# Lives that go well, of which random steps are then strewn in: random steps alone would hardly ever grant anything.
LIVES = st.lists(st.sampled_from(sorted(EVENTS)), max_size=4).map(
    lambda more: [*events_to(State.ACTIVE), *(EVENTS[name] for name in more)]
)


def check_records(consortium: Consortium, before: dict[str, tuple[State, int]]) -> dict[str, tuple[State, int]]:
    """Assert what must hold of all records at all times; return states and event counts."""
    now: dict[str, tuple[State, int]] = {}
    for key, application in consortium.view.scan("application/", Application):
        now[key.decode()] = application.state, application.history.count
    for row, certificate in consortium.view.scan("certificate/", Certificate):
        state = state_at(certificate, consortium.now_ms)
        now[row.decode()] = state, certificate.history.count
        assert certificate.valid_until_ms - certificate.valid_from_ms > 0
        assert certificate.valid_until_ms <= add_months(certificate.valid_from_ms, 36)
        by = {(piece.kind, piece.member) for piece in certificate.evidence if piece.passed}
        assert {kind for kind, member in by if "laboratory" in ROLES[member]} >= {EvidenceKind.TYPE_EXAMINATION}
        assert {kind for kind, member in by if "inspector" in ROLES[member]} >= {EvidenceKind.SITE_CHECK}
        assert (certificate.suspension is not None) == (certificate.state is State.SUSPENDED)
        assert (certificate.revocation is not None) == (certificate.state is State.REVOKED)
        assert certificate.state is not State.EXPIRED
        status = status_at(certificate, consortium.now_ms)
        assert not (status.valid and state is not State.ACTIVE)
        if certificate.predecessor is not None:
            assert consortium.certificate(certificate.predecessor).successor == certificate.number
    for name, (earlier, count) in before.items():
        assert now[name][1] >= count
        if earlier in FINAL:
            assert now[name][0] is earlier
    return now


@settings(max_examples=150)
@given(LIVES, st.lists(st.tuples(st.integers(0, 10), STEPS), max_size=25))
def test_no_sequence_of_events_breaks_what_must_hold(
    life: list[tuple[str, str, Body]], strewn: list[tuple[int, tuple[str, str, Body, int]]]
) -> None:
    steps = [(member, desk, body, 1) for member, desk, body in life]
    for place, step in strewn:
        steps.insert(min(place, len(steps)), step)
    consortium = Consortium()
    seen: dict[str, tuple[State, int]] = {}
    for member, desk, body, later_ms in steps:
        consortium.now_ms += later_ms
        before = dict(consortium.view.changes)
        rule = consortium.submit(member, body, desk)
        assert (consortium.view.changes == before) == bool(rule), f"{body}: {rule or 'applied'}"
        seen = check_records(consortium, seen)


def test_the_whole_road_is_walked_by_the_lives_that_are_drawn() -> None:
    consortium = Consortium()
    rules = Counter(consortium.submit(member, body, desk) for member, desk, body in events_to(State.ACTIVE))
    assert rules == {"": 6}
