"""The table of transitions, row by row: what it admits is admitted, all else is refused, by the right rule."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import (
    Accept,
    Apply,
    Body,
    Evidence,
    Grant,
    Refuse,
    Renew,
    Review,
    SiteCheck,
    TypeTest,
    evidence_of,
)
from ledger.certificate_records import FINAL, State
from ledger.certificate_rules import RULES
from ledger.certificate_transitions import ROLES_OF_PARTY, TRANSITIONS, Party, Transition
from ledger.certificates import CERTIFICATE_KINDS, ROWS
from ledger.inspection_reports import INSPECTED_ROWS
from ledger.member_index import put_member
from ledger.members import read_member
from ledger.scheme_events import SCHEME_ROWS
from ledger.scheme_transitions import SCHEME_TRANSITIONS
from ledger.state import Transaction
from tests.ledger.certificate_fixtures import (
    CATEGORY,
    DAY_MS,
    DOCUMENTS,
    EVENTS,
    PRODUCT,
    ROLES,
    Consortium,
    piece,
)

BY_NAME = {transition.name: transition for transition in TRANSITIONS}
CERTIFICATE_STATES = (State.ACTIVE, State.SUSPENDED, State.REVOKED, State.CANCELLED, State.EXPIRED)
APPLICATION_STATES = tuple(state for state in State if state not in CERTIFICATE_STATES)
ON_CERTIFICATES = {"certificate.suspend", "certificate.restore", "certificate.revoke", "certificate.cancel"}
NAMING_CERTIFICATES = ON_CERTIFICATES | {"certificate.renew"}

DOMAIN = """
apply       -                    applied       bank,vendor                   technical_documents
accept      applied              accepted      certification_body            -
type_test   accepted             type_tested   laboratory                    type_examination
site_check  type_tested          site_checked  inspector                     site_check
review      site_checked         reviewed      certification_body            -
grant       reviewed             granted       certification_body            -
refuse      reviewed             refused       certification_body            -
suspend     active               suspended     certification_body            -
restore     suspended            active        certification_body            corrective_action
revoke      active,suspended     revoked       certification_body,regulator  -
cancel      active,suspended     cancelled     certification_body            holder_request
renew       active               applied       bank,vendor                   technical_documents
"""


def states_asked(name: str) -> tuple[State, ...]:
    return CERTIFICATE_STATES if name in NAMING_CERTIFICATES else APPLICATION_STATES


def prepared(name: str, state: State | None) -> Consortium:
    """Return a consortium whose case is in a state, at a time at which a renewal would not be too early."""
    consortium = Consortium()
    if state is not None:
        consortium.bring_to(state)
    if name == "certificate.renew" and state is not State.EXPIRED:
        consortium.now_ms = consortium.certificate().valid_until_ms - DAY_MS
    return consortium


def event_of(name: str, state: State | None) -> tuple[str, str, Body]:
    """Return the sample event; a second grant names a new number, so that it is not the number that is refused."""
    member, desk, body = EVENTS[name]
    if isinstance(body, Grant) and state is State.GRANTED:
        body = replace(body, number="FTP-2026-06-000002")
    return member, desk, body


def in_its_state(name: str) -> tuple[Consortium, str, str, Body]:
    """Return a consortium in the first state that admits an event, and that event."""
    state = min(BY_NAME[name].from_states, key=str)
    return (prepared(name, state), *event_of(name, state))


def with_evidence(body: Body, evidence: tuple[Evidence, ...]) -> Body:
    """Return a body with other evidence, for kinds that have any."""
    return replace(body, evidence=evidence)


def listed(values: object) -> str:
    return ",".join(sorted(str(v) for v in values if v is not None)) or "-"  # type: ignore[attr-defined]  # any set


def test_the_table_is_the_one_of_the_domain() -> None:
    written = [
        [t.name.removeprefix("certificate."), listed(t.from_states), str(t.to_state), listed(t.roles), listed(t.needs)]
        for t in TRANSITIONS
    ]
    assert written == [line.split() for line in DOMAIN.strip().splitlines()]


def test_every_kind_has_one_row_and_one_body_and_needs_only_evidence_that_it_may_bring() -> None:
    assert sorted(spec.kind for spec in CERTIFICATE_KINDS) == [*range(1, 20), 25, 26]
    assert set(ROWS.values()) == set(TRANSITIONS)
    rows = {row.name: row for row in (*TRANSITIONS, *SCHEME_TRANSITIONS, *INSPECTED_ROWS.values())}
    assert set(SCHEME_ROWS.values()) == set(SCHEME_TRANSITIONS)
    for spec in CERTIFICATE_KINDS:
        row = rows[spec.name]
        assert spec.roles == row.roles
        assert row.needs <= row.brings


@pytest.mark.parametrize(
    ("name", "state"), [(t.name, state) for t in TRANSITIONS for state in sorted(t.from_states, key=str)]
)
def test_an_event_is_admitted_in_the_states_of_its_row(name: str, state: State | None) -> None:
    consortium = prepared(name, state)
    member, desk, body = event_of(name, state)
    consortium.must(member, body, desk)
    match body:
        case Apply() | Renew() | Accept() | TypeTest() | SiteCheck() | Review() | Grant() | Refuse():
            assert consortium.application(body.application).state is BY_NAME[name].to_state
        case _:
            assert consortium.certificate(body.number).state is BY_NAME[name].to_state


@pytest.mark.parametrize(
    ("name", "state"),
    [
        (t.name, s)
        for t in TRANSITIONS
        for s in states_asked(t.name)
        if s not in t.from_states and None not in t.from_states
    ],
)
def test_an_event_is_refused_in_every_other_state_and_changes_nothing(name: str, state: State) -> None:
    consortium = prepared(name, state)
    before = dict(consortium.view.changes)
    member, desk, body = event_of(name, state)
    assert consortium.submit(member, body, desk) == "wrong_state"
    assert consortium.view.changes == before


@pytest.mark.parametrize("state", sorted(FINAL))
def test_nothing_leaves_a_final_state(state: State) -> None:
    assert not [t.name for t in TRANSITIONS if state in t.from_states]


@pytest.mark.parametrize("name", [t.name for t in TRANSITIONS if t.name != "certificate.apply"])
def test_an_event_about_nothing_is_refused(name: str) -> None:
    member, desk, body = EVENTS[name]
    expected = "unknown_certificate" if name in NAMING_CERTIFICATES else "unknown_application"
    assert Consortium().submit(member, body, desk) == expected


@pytest.mark.parametrize("state", APPLICATION_STATES)
def test_an_application_id_is_taken_for_good(state: State) -> None:
    consortium = prepared("certificate.apply", state)
    member, _, body = EVENTS["certificate.apply"]
    assert consortium.submit(member, body) == "application_exists"


def expected_refusals(row: Transition, member: str) -> set[str]:
    """Return the rules of which one refuses a member, by the meaning of each party; empty where it is admitted."""
    responsible = {Party.RESPONSIBLE_BODY, Party.DECIDER}
    if row.parties == (Party.APPLICANT,):
        return set() if member == "bank-a" else {"not_permitted", "not_own_application"}
    for party in row.parties:
        if ROLES_OF_PARTY[party] & set(ROLES[member]):
            if party is Party.HOLDER and member != "bank-a":
                continue
            if party in responsible and member != "cb":
                continue
            return set()
    return {"not_permitted"}


@pytest.mark.parametrize("member", sorted(ROLES))
@pytest.mark.parametrize("name", [t.name for t in TRANSITIONS])
def test_only_the_parties_of_its_row_may_submit_an_event(name: str, member: str) -> None:
    consortium, _, desk, body = in_its_state(name)
    rule = consortium.submit(member, body, desk)
    expected = expected_refusals(BY_NAME[name], member)
    assert rule in expected if expected else rule == ""


@pytest.mark.parametrize("name", [t.name for t in TRANSITIONS])
def test_a_key_without_the_role_may_not_act_though_its_member_has_it(name: str) -> None:
    consortium, member, desk, body = in_its_state(name)
    assert consortium.submit(member, body, desk, roles=frozenset({"auditor"})) == "not_permitted"


@pytest.mark.parametrize("name", ["certificate.grant", "certificate.refuse"])
def test_the_key_that_reviewed_may_not_decide(name: str) -> None:
    consortium, member, _, body = in_its_state(name)
    assert consortium.submit(member, body, desk="reviewer") == "same_officer"
    assert consortium.submit(member, body, desk="another") == ""


@pytest.mark.parametrize("name", ["certificate.accept", "certificate.type_test", "certificate.site_check"])
def test_nobody_judges_a_product_of_its_own(name: str) -> None:
    consortium = Consortium()
    own = "conglomerate.0001"
    consortium.must("conglomerate", Apply(own, "Conglomerate", PRODUCT, CATEGORY, DOCUMENTS))
    for earlier in ("certificate.accept", "certificate.type_test", "certificate.site_check"):
        member, _, body = EVENTS[earlier]
        about_own = replace(body, application=own)
        if earlier == name:
            assert consortium.submit("conglomerate", about_own) == "conflict_of_interest"
        consortium.must(member, about_own)


WITH_EVIDENCE = [t.name for t in TRANSITIONS if t.brings]


@pytest.mark.parametrize("name", WITH_EVIDENCE)
def test_an_event_takes_its_own_kinds_of_evidence_alone(name: str) -> None:
    row = BY_NAME[name]
    for kind in EvidenceKind:
        consortium, member, desk, body = in_its_state(name)
        rule = consortium.submit(member, with_evidence(body, (*evidence_of(body), piece(kind, "more"))), desk)
        assert rule == ("" if kind in row.brings else "evidence_not_expected")


@pytest.mark.parametrize("name", [name for name in WITH_EVIDENCE if BY_NAME[name].needs])
def test_an_event_without_the_evidence_it_needs_is_refused(name: str) -> None:
    consortium, member, desk, body = in_its_state(name)
    assert consortium.submit(member, with_evidence(body, ()), desk) == "evidence_missing"


@pytest.mark.parametrize("name", WITH_EVIDENCE)
def test_a_custodian_has_to_be_a_member(name: str) -> None:
    consortium, member, desk, body = in_its_state(name)
    elsewhere = tuple(replace(e, custodian="nobody") for e in evidence_of(body))
    assert consortium.submit(member, with_evidence(body, elsewhere), desk) == "unknown_custodian"


def excluded(consortium: Consortium, member: str) -> None:
    """Exclude a member, as governance does."""
    rows, present = Transaction(consortium.view), read_member(consortium.view, member)
    assert present is not None
    put_member(rows, replace(present, excluded=True))
    rows.apply(consortium.view)


@pytest.mark.parametrize("name", WITH_EVIDENCE)
def test_an_excluded_member_keeps_no_new_evidence(name: str) -> None:
    consortium, member, desk, body = in_its_state(name)
    body = with_evidence(body, tuple(replace(e, custodian="bank-d") for e in evidence_of(body)))
    excluded(consortium, "bank-d")
    assert consortium.submit(member, body, desk) == "excluded_custodian"


def test_what_was_filed_with_a_member_before_it_was_excluded_stays_valid() -> None:
    consortium, member, desk, body = in_its_state("certificate.grant")
    keepers = {piece.custodian for piece in consortium.application().evidence}
    assert keepers
    for keeper in keepers:
        excluded(consortium, keeper)
    consortium.must(member, body, desk)
    assert {piece.custodian for piece in consortium.certificate().evidence} == keepers


@pytest.mark.parametrize("name", ["certificate.type_test", "certificate.site_check", "certificate.review"])
def test_a_document_cannot_be_filed_twice_in_a_case(name: str) -> None:
    consortium, member, desk, body = in_its_state(name)
    (kind, *_) = BY_NAME[name].brings
    again = (replace(DOCUMENTS[0], kind=kind),)
    assert consortium.submit(member, with_evidence(body, again), desk) == "evidence_repeated"


def test_every_rule_is_explained_in_one_sentence() -> None:
    for rule, sentence in RULES.items():
        assert rule.replace("_", "").isalpha()
        assert rule.islower()
        assert sentence.endswith(".")
        assert sentence.count(".") == 1
