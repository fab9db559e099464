"""What is wrong with an event, by name: each bad input of a life ends as its own rule, on record and proved."""

from __future__ import annotations

from functools import cache

import pytest
from msgspec.structs import replace

from ledger.certificate_bodies import Accept, Apply, ApplyScoped, Body, Grant, Renew, Restore, Revoke, Surveil, Suspend
from ledger.certificate_records import add_months
from ledger.policy import DAY_MS
from ledger.receipts import make_receipt, verify
from ledger.scheme_records import read_application_scheme
from ledger.state import DERIVED_PREFIX
from tests.ledger.certificate_fixtures import (
    APPLICATION,
    CORRECTION,
    DOCUMENTS,
    INSPECTION,
    NUMBER,
    START_MS,
    grant,
    piece,
)
from tests.ledger.scheme_chain_fixtures import SchemeChain
from tests.ledger.scheme_fixtures import LEI, USCC, VISIT, road

NOW_MS = START_MS + DAY_MS
OTHER = "bank-a.0002"
APPLY = road("bank-a.0009")[0][2]
assert isinstance(APPLY, ApplyScoped)


def grant_of(**terms: int) -> Grant:
    return grant(OTHER, "FTP-2026-06-000002", **terms)


@cache
def chain() -> SchemeChain:
    """Return a chain with a certificate in force and another application of the same member reviewed."""
    made = SchemeChain().granted().reviewed(OTHER)
    made.act("conglomerate", "first", replace(APPLY, application="conglomerate.0001"))
    return made


LATER_MS = add_months(NOW_MS + DAY_MS, 36)
BAD: dict[str, tuple[str, str, Body]] = {
    "the reviewer decides": ("same_officer", "cb/reviewer", grant_of()),
    "a term beyond three years": ("validity_too_long", "cb/decider", grant_of(valid_months=37)),
    "a term a millisecond beyond three years": (
        "validity_too_long",
        "cb/decider",
        grant_of(valid_from_ms=NOW_MS + DAY_MS, valid_until_ms=LATER_MS + 1),
    ),
    "a number used twice": ("number_taken", "cb/decider", grant(OTHER, NUMBER)),
    "a number of another category": ("number_of_other_category", "cb/decider", grant(OTHER, "FTP-2026-05-000002")),
    "a category that the catalogue lacks": ("unknown_category", "bank-a/first", replace(APPLY, category=99)),
    "a USCC with a wrong check digit": ("bad_holder_id", "bank-a/first", replace(APPLY, holder_id=f"{USCC[:-1]}M")),
    "an LEI with a wrong check digit": ("bad_holder_id", "bank-a/first", replace(APPLY, holder_id=f"{LEI[:-1]}5")),
    "an LEI with two characters exchanged": (
        "bad_holder_id",
        "bank-a/first",
        replace(APPLY, holder_id=LEI[:4] + LEI[5] + LEI[4] + LEI[6:]),
    ),
    "an end before the start": (
        "validity_empty",
        "cb/decider",
        grant_of(valid_from_ms=NOW_MS + 2 * DAY_MS, valid_until_ms=NOW_MS + DAY_MS),
    ),
    "a start before now": (
        "starts_too_early",
        "cb/decider",
        grant_of(valid_from_ms=START_MS, valid_until_ms=LATER_MS - DAY_MS),
    ),
    "a start too far ahead": (
        "starts_too_late",
        "cb/decider",
        grant_of(valid_from_ms=NOW_MS + 300 * DAY_MS, valid_months=1),
    ),
    "a suspension that ends before it begins": (
        "suspension_empty",
        "cb/first",
        Suspend(NUMBER, "found", START_MS, None),
    ),
    "a suspension beyond the longest": ("suspension_too_long", "cb/first", Suspend(NUMBER, "found", None, 181)),
    "a revocation from before the certificate": (
        "invalid_from_out_of_range",
        "cb/first",
        Revoke(NUMBER, "found", START_MS),
    ),
    "a revocation from a time to come": (
        "invalid_from_out_of_range",
        "cb/first",
        Revoke(NUMBER, "found", NOW_MS + DAY_MS),
    ),
    "a correction before the finding": (
        "correction_time",
        "ins/first",
        Surveil(NUMBER, False, False, ("seal_broken",), START_MS, VISIT),
    ),
    "a renewal long before the end": (
        "outside_renewal_window",
        "bank-a/first",
        Renew("bank-a.0009", NUMBER, DOCUMENTS),
    ),
    "a document filed twice": ("evidence_repeated", "ins/first", Surveil(NUMBER, True, False, (), None, INSPECTION)),
    "a member that certifies its own product": (
        "conflict_of_interest",
        "conglomerate/first",
        Accept("conglomerate.0001"),
    ),
    "evidence kept by nobody": (
        "unknown_custodian",
        "bank-a/first",
        replace(APPLY, evidence=(piece(DOCUMENTS[0].kind, "kept", "nobody"),)),
    ),
    "an application in another member's name": (
        "not_own_application",
        "bank-b/first",
        replace(APPLY, application="bank-a.0009"),
    ),
    "an application twice": ("application_exists", "bank-a/first", replace(APPLY, application=APPLICATION)),
    "a decision by one member's word alone": ("four_eyes_needed", "cb/decider", grant_of()),
    "a certificate that never was": ("unknown_certificate", "cb/first", Restore("FTP-2026-06-000099", CORRECTION)),
}
WITHOUT_OFFICERS = {"a decision by one member's word alone"}


def authenticated(made: SchemeChain) -> dict[bytes, bytes]:
    return {k: v for k, v in made.state.raw_scan(b"") if not k.startswith((DERIVED_PREFIX, b"seen/"))}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_rejected_by_its_own_name_recorded_and_proved(what: str) -> None:
    rule, who, body = BAD[what]
    made = chain()
    made.wait(NOW_MS - 10)
    if isinstance(body, Grant | Revoke) and what not in WITHOUT_OFFICERS:
        body = made.signed(body)
    before = authenticated(made)
    result = made.block((who, body))
    assert (result.outcomes[0].rule, authenticated(made) == before) == (rule, True)
    made.stable()
    receipt = make_receipt(made.reader, result.event_ids[0])
    assert receipt is not None
    verdict = verify(receipt, made.policy())
    assert (verdict.applied, verdict.rule) == (False, rule)
    made.now_ms = int(made.chain.header.time_ms)


def test_an_application_of_schema_1_has_no_holder_id_to_check_and_no_scope() -> None:
    made = SchemeChain()
    made.act("bank-a", "first", Apply("bank-a.0003", "A", APPLY.product, APPLY.category, DOCUMENTS))
    beside = read_application_scheme(made.state, "bank-a.0003")
    assert (beside.holder_id, beside.scope) == ("", ())


def test_a_member_of_every_role_takes_no_part_in_the_examination_of_its_own_product() -> None:
    made, own = SchemeChain(), "conglomerate.0001"
    made.act("conglomerate", "first", replace(APPLY, application=own))
    number = "FTP-2026-06-000001"
    surveil = Surveil(number, False, True, ("seal_broken",), None, VISIT)
    for member, desk, body in (*road(own)[1:], ("cb", "decider", grant(own, number)), ("ins", "first", surveil)):
        if isinstance(body, Grant):
            body = made.signed(body)
        rule = made.rule_of("conglomerate/first", body)
        assert rule == ("conflict_of_interest" if desk == "first" else "not_permitted"), body
        made.act(member, desk, body)
