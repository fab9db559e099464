"""The scheme's transitions, row by row: what each admits and refuses, and what it leaves in the state."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import (
    Appeal,
    ApplyChange,
    ApplyScoped,
    Body,
    DecideAppeal,
    Extend,
    Reduce,
    Reissue,
    Revoke,
    Surveil,
    check_body,
)
from ledger.certificate_records import Certificate, State
from ledger.members import Role
from ledger.policy import DAY_MS
from ledger.scheme_records import Negative, read_application_scheme
from ledger.scheme_transitions import SCHEME_TRANSITIONS
from primitives.errors import InputError
from tests.ledger.certificate_fixtures import APPLICATION, EVENTS, NUMBER, REQUEST, ROLES, grant, piece
from tests.ledger.scheme_fixtures import (
    CHANGE,
    LEI,
    LETTER,
    OPINION,
    REFUSAL,
    REVOKE,
    SCHEME_EVENTS,
    SCOPE,
    SUSPENSION,
    USCC,
    VISIT,
    WIDER,
    Scheme,
    road,
    signed,
)

ROWS = {row.name.removeprefix("certificate."): row for row in SCHEME_TRANSITIONS}
DOMAIN = """
surveil        active,suspended                          -        certification_body,inspector  site_check
apply_change   active                                    applied  bank,vendor                   technical_documents
extend         reviewed                                  granted  certification_body            -
reduce         active,suspended                          -        certification_body            -
reissue        active                                    -        certification_body            holder_request
appeal         active,refused,revoked,suspended          -        bank,vendor                   holder_request
decide_appeal  active,expired,refused,revoked,suspended  -        certification_body,regulator  review_report
"""


def prepared(name: str) -> Scheme:
    scheme = Scheme().granted()
    if name == "extend":
        scheme.reviewed_change()
    if name in ("appeal", "decide_appeal"):
        member, desk, body = SUSPENSION
        scheme.must(member, body, desk)
    if name == "decide_appeal":
        scheme.must("bank-a", Appeal(NUMBER, "disagrees", LETTER))
    return scheme


def event_of(name: str) -> tuple[str, str, Body]:
    return SCHEME_EVENTS[f"certificate.{name}"]


def listed(values: object) -> str:
    return ",".join(sorted(str(v) for v in values)) or "-"  # type: ignore[attr-defined]  # any set


def test_the_table_is_the_one_of_the_domain() -> None:
    written = [
        [name, listed(row.from_states), str(row.to_state or "-"), listed(row.roles), listed(row.needs)]
        for name, row in ROWS.items()
    ]
    assert written == [line.split() for line in DOMAIN.strip().splitlines()]


@pytest.mark.parametrize("name", ROWS)
def test_an_event_is_admitted_and_stands_in_the_certificates_history(name: str) -> None:
    scheme = prepared(name)
    before = scheme.certificate().history.count
    member, desk, body = event_of(name)
    scheme.must(member, body, desk)
    assert scheme.certificate().history.count == before + (name != "apply_change")


@pytest.mark.parametrize("member", sorted(ROLES))
@pytest.mark.parametrize("name", ROWS)
def test_only_the_parties_of_its_row_may_submit_an_event(name: str, member: str) -> None:
    may = {
        "surveil": {"cb", "ins", "conglomerate"},
        "apply_change": {"bank-a"},
        "appeal": {"bank-a"},
        "decide_appeal": {"cb", "regulator"},
    }.get(name, {"cb"})
    scheme = prepared(name)
    before = dict(scheme.view.changes)
    _, desk, body = event_of(name)
    rule = scheme.submit(member, body, desk)
    assert (rule == "") == (member in may), rule
    assert (scheme.view.changes == before) == (member not in may)


@pytest.mark.parametrize("name", ["surveil", "apply_change", "reduce", "reissue", "appeal", "decide_appeal"])
@pytest.mark.parametrize("state", ["cancelled", "expired"])
def test_an_event_is_refused_in_states_beyond_its_row(name: str, state: str) -> None:
    scheme = Scheme().granted()
    if state == "expired":
        scheme.now_ms = scheme.certificate().valid_until_ms
    else:
        member, desk, body = EVENTS["certificate.cancel"]
        scheme.must(member, replace(body, evidence=REQUEST), desk)
    member, desk, body = event_of(name)
    assert scheme.submit(member, body, desk) == (
        "not_appealed" if (name, state) == ("decide_appeal", "expired") else "wrong_state"
    )


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.needs])
def test_an_event_without_the_evidence_it_needs_is_refused(name: str) -> None:
    member, desk, body = event_of(name)
    assert prepared(name).submit(member, replace(body, evidence=()), desk) == "evidence_missing"


def test_decisions_need_two_officers_of_the_member_that_decides() -> None:
    scheme = Scheme()
    for member, desk, body in road(APPLICATION):
        scheme.must(member, body, desk)
    good = scheme.signed(grant())
    for body, rule in (
        (grant(), "four_eyes_needed"),
        (scheme.signed(grant(), "bank-a"), "unknown_officer"),
        (scheme.signed(grant(), numbers=(0, 7)), "unknown_officer"),
        (replace(good, number="FTP-2026-06-000009"), "bad_approval"),
        (replace(good, approvals=signed(REVOKE, scheme.application()).approvals), "bad_approval"),
    ):
        assert scheme.submit("cb", body, "decider") == rule
    scheme.must("cb", good, "decider")
    assert scheme.submit("cb", REVOKE) == "four_eyes_needed"
    scheme.must("regulator", scheme.signed(REVOKE, "regulator"))


def test_officers_signatures_do_not_count_again_once_an_appeal_was_upheld() -> None:
    for subject, made_of in ((NUMBER, REVOKE), (NUMBER, SUSPENSION[2])):
        scheme = Scheme().granted()
        revocation = scheme.signed(REVOKE)
        scheme.must("cb", revocation if made_of is REVOKE else made_of)
        scheme.must("bank-a", Appeal(subject, "disagrees", LETTER))
        scheme.must("cb", DecideAppeal(subject, True, OPINION), "panel")
        assert scheme.certificate().state is State.ACTIVE
        assert scheme.submit("cb", revocation) == "bad_approval", "it was upon what stood before the appeal"
        scheme.must("cb", scheme.signed(REVOKE))


def test_officers_signatures_upon_a_grant_end_with_its_refusal() -> None:
    scheme = Scheme()
    for member, desk, body in road(APPLICATION):
        scheme.must(member, body, desk)
    decision = scheme.signed(grant())
    scheme.must("cb", REFUSAL[2], "decider")
    scheme.must("bank-a", Appeal(APPLICATION, "disagrees", REQUEST))
    scheme.must("cb", DecideAppeal(APPLICATION, True, OPINION), "panel")
    assert scheme.submit("cb", decision, "decider") == "bad_approval"
    scheme.must("cb", scheme.signed(grant()), "decider")


def test_a_holders_id_has_right_check_digits() -> None:
    body = road(APPLICATION)[0][2]
    assert isinstance(body, ApplyScoped)
    for wrong in (LEI[:-1] + "5", USCC[:-1] + "M"):
        assert Scheme().submit("bank-a", replace(body, holder_id=wrong)) == "bad_holder_id"
    Scheme().must("bank-a", replace(body, holder_id=USCC))
    assert Scheme().granted().beside().holder_id == LEI


def test_a_grave_failure_of_surveillance_suspends_by_rule() -> None:
    scheme = Scheme().granted()
    failed = Surveil(NUMBER, False, True, ("seal_broken",), scheme.now_ms + DAY_MS, VISIT)
    for late in (91 * DAY_MS, 90 * DAY_MS + 1):
        assert scheme.submit("ins", replace(failed, correct_by_ms=scheme.now_ms + late)) == "correction_time"
    scheme.must("ins", failed)
    after = scheme.certificate()
    assert after.state is State.SUSPENDED
    assert after.suspension is not None
    assert (after.suspension.reason, after.suspension.until_ms) == ("failed_surveillance", failed.correct_by_ms)
    found = scheme.beside().surveillance
    assert found is not None
    assert found.findings == ("seal_broken",)


def test_an_extension_needs_a_reviewed_change_and_widens_the_scope_in_a_new_version() -> None:
    scheme = Scheme().granted().reviewed_change()
    assert scheme.beside().scope == SCOPE, "the old scope stays valid until the decision"
    assert scheme.submit("cb", scheme.signed(grant(CHANGE, "FTP-2026-06-000002")), "decider") == "change_of_certificate"
    assert scheme.submit("cb", Extend(CHANGE, NUMBER), "reviewer") == "same_officer"
    scheme.must("cb", Extend(CHANGE, NUMBER), "decider")
    assert (scheme.beside().scope, scheme.certificate().version) == (WIDER, 2)
    assert scheme.application(CHANGE).number == NUMBER
    assert scheme.submit("cb", Extend(CHANGE, NUMBER), "decider") == "wrong_state"


def test_a_change_goes_to_the_responsible_body_and_asks_for_more() -> None:
    scheme = Scheme().granted()
    _, _, change = event_of("apply_change")
    for scope in (SCOPE, ("barcode",)):
        assert scheme.submit("bank-a", replace(change, scope=scope)) == "scope_not_wider"
    scheme.must("bank-a", change)
    assert scheme.submit("cb-other", road(CHANGE)[1][2]) == "other_body"
    assert scheme.submit("cb", Extend(APPLICATION, NUMBER), "decider") == "wrong_state"


def test_a_reduction_takes_entries_that_are_there_and_leaves_one() -> None:
    scheme = Scheme().granted()
    _, _, body = event_of("reduce")
    for removes, evidence, rule in (
        (("barcode",), LETTER, "scope_unknown"),
        (SCOPE, LETTER, "scope_empty"),
        (SCOPE[1:], (), "evidence_missing"),
    ):
        assert scheme.submit("cb", replace(body, removes=removes, evidence=evidence)) == rule
    scheme.must("cb", body)
    assert (scheme.beside().scope, scheme.certificate().version) == (SCOPE[:1], 2)


@pytest.mark.parametrize("upheld", [True, False])
@pytest.mark.parametrize("what", Negative)
def test_an_appeal_that_is_upheld_returns_to_the_state_before_and_one_that_is_not_closes_the_window(
    what: Negative, upheld: bool
) -> None:
    scheme, subject = Scheme(), NUMBER
    if what is Negative.REFUSAL:
        subject = APPLICATION
        for member, desk, body in road(APPLICATION):
            scheme.must(member, body, desk)
    else:
        scheme.granted()
    before = scheme.application() if what is Negative.REFUSAL else scheme.certificate()
    scope = scheme.beside().scope
    deciding = {
        Negative.REFUSAL: REFUSAL,
        Negative.SUSPENSION: SUSPENSION,
        Negative.REVOCATION: ("cb", "decider", REVOKE),
        Negative.REDUCTION: event_of("reduce"),
    }
    member, desk, body = deciding[what]
    ask, decide = Appeal(subject, "disagrees", REQUEST), DecideAppeal(subject, upheld, OPINION)
    assert scheme.submit("bank-a", ask) == ("wrong_state" if what is Negative.REFUSAL else "nothing_to_appeal")
    scheme.must(member, scheme.signed(body) if isinstance(body, Revoke) else body, desk)
    assert scheme.submit("cb", decide, "panel") == "not_appealed"
    scheme.must("bank-a", ask)
    again = replace(ask, evidence=(piece(EvidenceKind.HOLDER_REQUEST, "again"),))
    assert scheme.submit("bank-a", again) == "already_appealed"
    for judge in {desk, "reviewer"}:
        assert scheme.submit("cb", decide, judge) == "same_officer"
    scheme.must("cb", decide, "panel")
    record = scheme.application() if what is Negative.REFUSAL else scheme.certificate()
    assert record.appeal_until_ms is None
    assert scheme.beside().scope == (SCOPE[:1] if what is Negative.REDUCTION and not upheld else scope)
    if upheld:
        same = replace(before, history=record.history, evidence=record.evidence)
        if what is Negative.REDUCTION:
            assert isinstance(same, Certificate)
            same = replace(same, version=3)
        assert record == same, "but for its history the record is as it was"
    elif what is not Negative.REDUCTION:
        assert record.state is not before.state
    assert scheme.submit("bank-a", again) in ("wrong_state", "nothing_to_appeal")


def test_nobody_decides_on_an_appeal_against_its_own_decision_and_no_body_on_a_regulators() -> None:
    scheme = Scheme().granted()
    scheme.must("regulator", scheme.signed(REVOKE, "regulator"))
    scheme.must("bank-a", Appeal(NUMBER, "disagrees", REQUEST))
    decide = DecideAppeal(NUMBER, True, OPINION)
    assert scheme.submit("cb", decide, "panel") == "not_permitted"
    assert scheme.submit("regulator", decide) == "same_officer"
    scheme.must("regulator", decide, "panel")
    assert scheme.certificate().state is State.ACTIVE


def test_a_holder_that_is_a_regulator_as_well_does_not_decide_on_its_own_appeal() -> None:
    scheme = Scheme().granted()
    scheme.must("cb", scheme.signed(REVOKE))
    scheme.must("bank-a", Appeal(NUMBER, "disagrees", REQUEST))
    both = frozenset({Role.BANK, Role.REGULATOR})
    assert scheme.submit("bank-a", DecideAppeal(NUMBER, True, OPINION), "panel", both) == "conflict_of_interest"
    assert scheme.certificate().state is State.REVOKED


def test_an_appeal_comes_within_its_window_and_holds_off_further_decisions_of_the_body() -> None:
    scheme = prepared("appeal")
    late = prepared("appeal")
    late.now_ms += late.policy.appeal_window_days * DAY_MS
    _, _, body = event_of("appeal")
    assert late.submit("bank-a", body) == "appeal_too_late"
    scheme.must("bank-a", body)
    reduction = Reduce(NUMBER, "found", SCOPE[1:], VISIT)
    assert scheme.submit("cb", reduction) == "appeal_pending"


def test_the_record_names_the_window_of_the_decision_that_can_still_be_appealed_against() -> None:
    scheme = Scheme().granted()
    scheme.must("cb", SUSPENSION[2])
    scheme.now_ms += DAY_MS
    scheme.must("cb", event_of("reduce")[2])
    window_ms = scheme.certificate().appeal_until_ms
    assert window_ms == scheme.now_ms + scheme.policy.appeal_window_days * DAY_MS
    scheme.must("cb", EVENTS["certificate.restore"][2])
    assert scheme.certificate().appeal_until_ms == window_ms, "restoring does not end that of the reduction"
    change = ApplyChange(CHANGE, NUMBER, SCOPE, (piece(EvidenceKind.TECHNICAL_DOCUMENTS, "change"),))
    scheme.must("bank-a", change)
    for member, desk, body in road(CHANGE)[1:]:
        scheme.must(member, body, desk)
    scheme.must("cb", Extend(CHANGE, NUMBER), "decider")
    assert scheme.certificate().appeal_until_ms is None, "an extension does"
    assert scheme.submit("bank-a", Appeal(NUMBER, "disagrees", REQUEST)) == "nothing_to_appeal"
    scheme.must("cb", SUSPENSION[2])
    again = (piece(EvidenceKind.CORRECTIVE_ACTION, "again"),)
    scheme.must("cb", replace(EVENTS["certificate.restore"][2], evidence=again))
    assert scheme.certificate().appeal_until_ms is None, "restoring does end that of a suspension"


def test_one_officer_who_signs_twice_is_one() -> None:
    scheme = Scheme().granted()
    with pytest.raises(InputError, match="an officer stands twice"):
        check_body(scheme.signed(REVOKE, numbers=(0, 0)))
    check_body(scheme.signed(REVOKE))


def test_a_change_of_another_certificate_extends_nothing() -> None:
    scheme, second = Scheme().granted().reviewed_change(), "FTP-2026-06-000002"
    for member, desk, body in road("bank-a.0002"):
        scheme.must(member, body, desk)
    scheme.must("cb", scheme.signed(grant("bank-a.0002", second)), "decider")
    assert scheme.submit("cb", Extend(CHANGE, second), "decider") == "no_change_application"
    scheme.must("cb", Extend(CHANGE, NUMBER), "decider")


def test_who_decided_on_an_extension_does_not_decide_on_the_appeal_that_follows() -> None:
    scheme = Scheme().granted().reviewed_change()
    scheme.must("cb", Extend(CHANGE, NUMBER), "panel")
    assert scheme.beside().decider == scheme.context("cb", "panel").source
    scheme.must("cb", Reduce(NUMBER, "not_supported", SCOPE[1:], OPINION))
    scheme.must("bank-a", Appeal(NUMBER, "disagrees", LETTER))
    verdict = DecideAppeal(NUMBER, True, (piece(EvidenceKind.REVIEW_REPORT, "verdict"),))
    assert scheme.submit("cb", verdict, "panel") == "same_officer"


def test_who_keeps_a_document_of_an_event_on_a_certificate_is_a_member() -> None:
    scheme = Scheme().granted()
    kept = tuple(replace(item, custodian="nobody") for item in LETTER)
    assert scheme.submit("cb", Reissue(NUMBER, "lost", kept)) == "unknown_custodian"


def test_no_row_grows_with_every_appeal() -> None:
    scheme = Scheme()
    for member, desk, body in road(APPLICATION):
        scheme.must(member, body, desk)
    filed, sizes = scheme.application().evidence, []
    for turn in range(8):
        asked = tuple(piece(EvidenceKind.HOLDER_REQUEST, f"{turn} {number}") for number in range(16))
        found = tuple(piece(EvidenceKind.REVIEW_REPORT, f"{turn} {number}") for number in range(16))
        scheme.must("cb", REFUSAL[2], "decider")
        scheme.must("bank-a", Appeal(APPLICATION, "disagrees", asked))
        assert scheme.submit("bank-a", Appeal(APPLICATION, "disagrees", asked)) == "evidence_repeated"
        scheme.must("cb", DecideAppeal(APPLICATION, True, found), "panel")
        beside = read_application_scheme(scheme.view, APPLICATION)
        sizes.append(len(beside.evidence))
        assert beside.evidence[-1].digest == found[-1].digest
    assert scheme.application().evidence == filed
    assert sizes == [32, 64, 64, 64, 64, 64, 64, 64]
