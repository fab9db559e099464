"""Certificates by the third rules through whole chains: schemas, limits, coming from the second rules, renewal."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger import certificates
from ledger.certificate_bodies import (
    Appeal,
    ApplyChange,
    DecideAppeal,
    Extend,
    Reduce,
    Reissue,
    Renew,
    Revoke,
    Surveil,
)
from ledger.certificate_history import joined, verify_certificate_history
from ledger.certificate_history_reading import make_certificate_history
from ledger.certificate_records import State, Status, certificate_key
from ledger.execution import BlockRefused
from ledger.inspection_bodies import AnnounceInspection, DrawCategory
from ledger.kinds import KindSpec
from ledger.policy import DAY_MS
from ledger.registry import KINDS
from ledger.scheme_records import application_scheme_key, certificate_scheme_key
from ledger.status_proofs import certificate_status, make_status_proof, verify_status
from tests.ledger.certificate_fixtures import (
    APPLICATION,
    DOCUMENTS,
    EVENTS,
    NUMBER,
    REQUEST,
    events_to,
    grant,
)
from tests.ledger.scheme_chain_fixtures import SchemeChain
from tests.ledger.scheme_fixtures import (
    CHANGE,
    CHANGE_DOCUMENTS,
    LEI,
    LETTER,
    OPINION,
    REVOKE,
    SCHEME_EVENTS,
    SCOPE,
    VISIT,
    WIDER,
    road,
)
from tests.ledger.test_inspections_chain import event_of

RENEWAL, SECOND = "bank-a.0002", "FTP-2026-06-000002"


def test_a_life_by_the_third_rules_is_in_blocks_of_them_and_its_rows_are_proved() -> None:
    chain = SchemeChain().granted()
    assert chain.chain.header.version == 3
    assert chain.certificate_at().state is State.ACTIVE
    assert (chain.beside().holder_id, chain.beside().scope) == (LEI, SCOPE)
    chain.act("ins", "first", Surveil(NUMBER, False, True, ("seal_broken",), None, VISIT))
    assert chain.certificate_at().state is State.SUSPENDED
    chain.stable()
    for key in (certificate_scheme_key(NUMBER), application_scheme_key(APPLICATION), certificate_key(NUMBER)):
        proof = make_status_proof(chain.reader, key, chain.chain.height)
        assert proof is not None
        verdict = verify_status(proof, chain.policy())
        assert (verdict.rules, verdict.value is not None) == (3, True)


def test_the_history_of_a_changed_certificate_is_whole() -> None:
    chain = SchemeChain().granted()
    for member, desk, body in (
        ("bank-a", "first", ApplyChange(CHANGE, NUMBER, WIDER, CHANGE_DOCUMENTS)),
        *road(CHANGE)[1:],
        ("cb", "decider", Extend(CHANGE, NUMBER)),
        ("cb", "first", Reduce(NUMBER, "found", WIDER[2:], VISIT)),
        ("bank-a", "first", Appeal(NUMBER, "disagrees", LETTER)),
        ("regulator", "first", DecideAppeal(NUMBER, True, OPINION)),
    ):
        chain.act(member, desk, body)
    chain.stable()
    page = make_certificate_history(chain.reader, NUMBER, chain.chain.height)
    assert page is not None
    shown = verify_certificate_history(page.proof, chain.policy(), NUMBER)
    assert page.next is None
    assert [event.event.kind for event in joined([shown])] == [1, 2, 3, 4, 5, 6, 15, 16, 18, 19]
    assert (chain.beside().scope, chain.certificate_at().version) == (WIDER, 4)


@pytest.mark.parametrize("rules", [1, 2])
def test_no_block_by_earlier_rules_holds_what_came_with_the_third(rules: int) -> None:
    chain = SchemeChain(begins_by=rules)
    for member, desk, body in events_to(State.REVIEWED):
        chain.act(member, desk, body)
    scoped = replace(road("bank-a.0007")[0][2])
    for who, later in (
        ("bank-a/first", scoped),
        ("cb/decider", chain.signed(grant())),
        ("ins/first", SCHEME_EVENTS["certificate.surveil"][2]),
    ):
        with pytest.raises(BlockRefused, match="is of later rules"):
            chain.block((who, later))
    chain = SchemeChain(begins_by=rules)
    for member, desk, body in events_to(State.ACTIVE):
        chain.act(member, desk, body)
    assert chain.certificate_at().state is State.ACTIVE
    assert chain.state.changes == {} or chain.beside().decider == b"", "nothing stands beside it"


def test_a_member_decides_by_signatures_on_so_many_a_block_and_the_rest_is_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = KINDS[10]
    assert spec.schema_applied_max == {2: certificates.SIGNED_A_MEMBER_MAX}
    tight = KindSpec(
        **{name: getattr(spec, name) for name in KindSpec.__slots__ if name != "schema_applied_max"},
        schema_applied_max={2: 2},
    )
    monkeypatch.setitem(KINDS, 10, tight)
    chain = SchemeChain().granted()
    body = chain.signed(REVOKE)
    said = [("cb/first", replace(body, reason=f"reason_{number}")) for number in range(3)]
    said += [("regulator/first", replace(body, reason="reason_9")), ("cb/first", Reduce(NUMBER, "a", SCOPE[1:], VISIT))]
    rules = [outcome.rule for outcome in chain.block(*said).outcomes]
    assert rules == ["bad_approval", "bad_approval", "too_many_in_block", "unknown_officer", ""]
    assert chain.rule_of("cb/first", replace(body, reason="reason_3")) == "bad_approval", "a block later"


def test_the_schemes_events_are_bounded_of_each_member_and_kind_in_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in range(13, 27):
        assert KINDS[kind].schema_applied_max == dict.fromkeys(KINDS[kind].schemas, 1_024), KINDS[kind].name
    spec = KINDS[20]
    tight = KindSpec(
        **{name: getattr(spec, name) for name in KindSpec.__slots__ if name != "schema_applied_max"},
        schema_applied_max=dict.fromkeys(spec.schema_applied_max, 2),
    )
    monkeypatch.setitem(KINDS, 20, tight)
    chain = SchemeChain().granted()
    until = chain.now_ms + 2 * DAY_MS
    said = [
        AnnounceInspection(f"cb.{number}", (DrawCategory(6, 1),), 1, until, until + DAY_MS, 30, None)
        for number in range(4)
    ]
    rules = [outcome.rule for outcome in chain.events(*(event_of(chain, "cb", body) for body in said[:3])).outcomes]
    assert rules == ["", "", "too_many_in_block"]
    assert chain.events(event_of(chain, "cb", said[3])).outcomes[0].applied, "a block later"


def test_a_chain_of_the_second_rules_comes_to_the_third_and_its_certificates_go_on() -> None:
    chain = SchemeChain(begins_by=2)
    for member, desk, body in events_to(State.ACTIVE):
        chain.act(member, desk, body)
    before = chain.certificate_at()
    pending = road("bank-a.0009")
    chain.act(*EVENTS["certificate.apply"][:2], replace(EVENTS["certificate.apply"][2], application="bank-a.0009"))
    chain.activate(3)
    chain.accredit()
    assert chain.certificate_at() == before, "a version of the rules changes no record"
    assert chain.beside() == replace(chain.beside(), scope=(), holder_id="", issues=1, decider=b"")
    # Of earlier rules there is no scope: none can be taken, and any can be asked for.
    assert chain.rule_of("cb/first", Reduce(NUMBER, "found", SCOPE[1:], VISIT)) == "scope_unknown"
    chain.act("bank-a", "first", ApplyChange(CHANGE, NUMBER, SCOPE, CHANGE_DOCUMENTS))
    for member, desk, body in road(CHANGE)[1:]:
        chain.act(member, desk, body)
    chain.act("cb", "decider", Extend(CHANGE, NUMBER))
    assert (chain.beside().scope, chain.certificate_at().version) == (SCOPE, 2)
    # An application under way goes on, and ends by officers' signatures.
    for member, desk, body in pending[1:]:
        chain.act(member, desk, body)
    assert chain.rule_of("cb/decider", grant("bank-a.0009", "FTP-2026-06-000009")) == "four_eyes_needed"
    chain.act("cb", "decider", chain.signed(grant("bank-a.0009", "FTP-2026-06-000009")))
    assert chain.beside("FTP-2026-06-000009").scope == ()
    # What was decided by earlier rules cannot be appealed against; what is decided now can.
    chain.act("cb", "first", chain.signed(REVOKE))
    chain.act("bank-a", "first", Appeal(NUMBER, "disagrees", LETTER))
    chain.act("cb", "panel", DecideAppeal(NUMBER, True, OPINION))
    assert chain.certificate_at().state is State.ACTIVE


def test_a_suspension_by_the_second_rules_cannot_be_appealed_against_by_the_third() -> None:
    chain = SchemeChain(begins_by=2)
    for member, desk, body in events_to(State.SUSPENDED):
        chain.act(member, desk, body)
    chain.activate(3)
    chain.accredit()
    assert chain.rule_of("bank-a/first", Appeal(NUMBER, "disagrees", LETTER)) == "nothing_to_appeal"
    chain.act(*EVENTS["certificate.restore"])
    assert chain.certificate_at().state is State.ACTIVE


@pytest.mark.parametrize("begins_by", [2, 3])
def test_a_renewals_certificate_has_the_scope_and_holder_of_the_one_before(begins_by: int) -> None:
    chain = SchemeChain(begins_by=begins_by)
    if begins_by == 2:
        for member, desk, body in events_to(State.ACTIVE):
            chain.act(member, desk, body)
        chain.activate(3)
        chain.accredit()
    else:
        chain.granted()
        chain.act("cb", "first", Reduce(NUMBER, "found", SCOPE[1:], VISIT))
    first = chain.certificate_at()
    chain.wait(first.valid_until_ms - 100 * DAY_MS)
    chain.act("bank-a", "first", Renew(RENEWAL, NUMBER, DOCUMENTS))
    for member, desk, body in road(RENEWAL)[1:]:
        chain.act(member, desk, body)
    assert chain.rule_of("cb/decider", grant(RENEWAL, SECOND)) == "four_eyes_needed"
    chain.act("cb", "decider", chain.signed(grant(RENEWAL, SECOND)))
    successor = chain.certificate_at(SECOND)
    assert (successor.predecessor, chain.certificate_at().successor) == (NUMBER, SECOND)
    beside = chain.beside(SECOND)
    assert (beside.holder_id, beside.scope) == ((LEI, SCOPE[:1]) if begins_by == 3 else ("", ()))
    assert (beside.decision, beside.issues, beside.evidence) == (None, 1, ())
    chain.wait(first.valid_until_ms)
    assert chain.rule_of("cb/first", Reduce(NUMBER, "found", SCOPE[:1], VISIT)) == "wrong_state"


def test_after_a_revocation_that_reached_back_was_set_aside_each_time_has_one_answer() -> None:
    """Before it valid; while it stood revoked, whoever asks since; after the appeal was upheld valid again."""
    chain = SchemeChain().granted()
    granted = chain.chain.height
    start_ms = chain.certificate_at().valid_from_ms
    chain.wait(start_ms + DAY_MS)
    chain.act("cb", "first", chain.signed(Revoke(NUMBER, "mark_misused", start_ms)))
    revoked = chain.chain.height
    assert chain.certificate_at().revocation is not None
    chain.act("bank-a", "first", Appeal(NUMBER, "disagrees", LETTER))
    chain.wait(start_ms + 3 * DAY_MS)
    chain.act("regulator", "first", DecideAppeal(NUMBER, True, OPINION))
    chain.act("cb", "first", Reissue(NUMBER, "lost", REQUEST))
    chain.stable()
    found = {}
    for height in (granted, revoked, revoked + 1, revoked + 2, revoked + 3):
        proof = make_status_proof(chain.reader, certificate_key(NUMBER), height)
        assert proof is not None
        verdict = verify_status(proof, chain.policy())
        first, last = (certificate_status(verdict, NUMBER, at) for at in (verdict.time_ms, verdict.last_ms))
        assert first is not None
        assert last is not None
        assert first.status is last.status
        found[height - revoked] = first.status
    assert found == {
        granted - revoked: Status.VALID,
        0: Status.REVOKED,
        1: Status.REVOKED,
        2: Status.VALID,
        3: Status.VALID,
    }


def test_a_decision_signed_for_another_chain_is_none() -> None:
    chain = SchemeChain().reviewed()
    foreign = SchemeChain(outsiders=2).reviewed()
    assert foreign.chain_id != chain.chain_id
    assert chain.rule_of("cb/decider", foreign.signed(grant())) == "bad_approval"
