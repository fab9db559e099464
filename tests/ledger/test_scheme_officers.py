"""What officers sign a decision upon, and which keys decide on no appeal since they took part in the case."""

from __future__ import annotations

import pytest

from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import (
    Appeal,
    ApplyChange,
    Body,
    DecideAppeal,
    Extend,
    Reduce,
    Reissue,
    Restore,
    Surveil,
)
from ledger.scheme_records import OFFICERS_KEPT_MAX
from tests.ledger.certificate_fixtures import APPLICATION, NUMBER, REQUEST, grant, piece
from tests.ledger.scheme_fixtures import (
    CHANGE,
    CHANGE_DOCUMENTS,
    LETTER,
    OPINION,
    REFUSAL,
    REVOKE,
    SCOPE,
    SUSPENSION,
    VISIT,
    WIDER,
    Scheme,
    road,
)


def test_nothing_that_only_happens_voids_what_officers_signed() -> None:
    scheme = Scheme().granted()
    revocation = scheme.signed(REVOKE)
    for turn in range(3):
        scheme.now_ms += 1_000
        visit = (piece(EvidenceKind.SITE_CHECK, f"visit {turn}"),)
        scheme.must("ins", Surveil(NUMBER, turn == 0, False, (), None, visit))
    scheme.must("cb", Reissue(NUMBER, "lost", LETTER))
    scheme.must("bank-a", ApplyChange(CHANGE, NUMBER, WIDER, CHANGE_DOCUMENTS))
    assert scheme.signed(REVOKE) == revocation
    scheme.must("cb", revocation)
    again = scheme.signed(REVOKE)
    scheme.must("bank-a", Appeal(NUMBER, "disagrees", REQUEST))
    assert scheme.signed(REVOKE) == again, "a holder who appeals voids nothing"


RULINGS: dict[str, tuple[tuple[str, str, Body], ...]] = {
    "a suspension": (SUSPENSION,),
    "a restoring": (SUSPENSION, ("cb", "first", Restore(NUMBER, (piece(EvidenceKind.CORRECTIVE_ACTION, "mended"),)))),
    "a reduction": (("cb", "first", Reduce(NUMBER, "not_supported", SCOPE[1:], OPINION)),),
    "a suspension by rule": (("ins", "first", Surveil(NUMBER, False, True, ("seal_broken",), None, VISIT)),),
    "an extension": (("cb", "decider", Extend(CHANGE, NUMBER)),),
    "a decided appeal": (
        SUSPENSION,
        ("bank-a", "first", Appeal(NUMBER, "disagrees", LETTER)),
        ("cb", "panel", DecideAppeal(NUMBER, False, (piece(EvidenceKind.REVIEW_REPORT, "verdict"),))),
    ),
}


@pytest.mark.parametrize("name", RULINGS)
def test_officers_sign_upon_what_was_decided_and_know_it(name: str) -> None:
    scheme = Scheme().granted().reviewed_change()
    *before, ruling = RULINGS[name]
    for member, desk, body in before:
        scheme.must(member, body, desk)
    revocation, count = scheme.signed(REVOKE), scheme.beside().rulings.count
    member, desk, body = ruling
    scheme.must(member, body, desk)
    assert scheme.beside().rulings.count == count + 1
    assert scheme.submit("cb", revocation) == "bad_approval"
    scheme.must("cb", scheme.signed(REVOKE))


def test_officers_sign_no_revocation_before_there_is_a_certificate() -> None:
    early = Scheme().signed(REVOKE)
    assert Scheme().granted().submit("cb", early) == "bad_approval"


def test_who_reviewed_or_decided_before_an_extension_decides_on_no_appeal_after_it() -> None:
    scheme = Scheme().granted()
    scheme.must("bank-a", ApplyChange(CHANGE, NUMBER, WIDER, CHANGE_DOCUMENTS))
    for member, desk, body in road(CHANGE)[1:]:
        scheme.must(member, body, "second reviewer" if desk == "reviewer" else desk)
    scheme.must("cb", Extend(CHANGE, NUMBER), "second decider")
    scheme.must("cb", Reduce(NUMBER, "not_supported", SCOPE[1:], OPINION))
    scheme.must("bank-a", Appeal(NUMBER, "disagrees", LETTER))
    verdict = DecideAppeal(NUMBER, True, (piece(EvidenceKind.REVIEW_REPORT, "verdict"),))
    for desk in ("reviewer", "decider", "second reviewer", "second decider", "first"):
        assert scheme.submit("cb", verdict, desk) == "same_officer"
    scheme.must("cb", verdict, "panel")


def test_who_suspended_decides_on_no_appeal_against_the_revocation_that_followed() -> None:
    scheme = Scheme().granted()
    scheme.must("cb", SUSPENSION[2], "panel")
    scheme.must("cb", scheme.signed(REVOKE), "first")
    scheme.must("bank-a", Appeal(NUMBER, "disagrees", LETTER))
    for desk in ("panel", "first"):
        assert scheme.submit("cb", DecideAppeal(NUMBER, True, OPINION), desk) == "same_officer"
    scheme.must("cb", DecideAppeal(NUMBER, True, OPINION), "board")


def test_who_refused_once_decides_on_no_appeal_against_the_next_refusal_or_what_comes_of_the_grant() -> None:
    scheme = Scheme()
    for member, desk, body in road(APPLICATION):
        scheme.must(member, body, desk)
    for refuser in ("decider", "first"):
        letter, verdict = (
            (piece(kind, f"of {refuser}"),) for kind in (EvidenceKind.HOLDER_REQUEST, EvidenceKind.REVIEW_REPORT)
        )
        scheme.must("cb", REFUSAL[2], refuser)
        scheme.must("bank-a", Appeal(APPLICATION, "disagrees", letter))
        for desk in ("reviewer", "decider", refuser):
            assert scheme.submit("cb", DecideAppeal(APPLICATION, True, verdict), desk) == "same_officer"
        scheme.must("cb", DecideAppeal(APPLICATION, True, verdict), "panel")
    scheme.must("cb", scheme.signed(grant()), "board")
    scheme.must("cb", SUSPENSION[2], "board")
    scheme.must("bank-a", Appeal(NUMBER, "disagrees", LETTER))
    for desk in ("reviewer", "decider", "first", "board"):
        assert scheme.submit("cb", DecideAppeal(NUMBER, True, OPINION), desk) == "same_officer"
    scheme.must("cb", DecideAppeal(NUMBER, True, OPINION), "panel")


def test_the_keys_that_took_part_are_bounded_and_the_grants_stay_barred() -> None:
    scheme = Scheme().granted()
    for turn in range(OFFICERS_KEPT_MAX + 2):
        mended = (piece(EvidenceKind.CORRECTIVE_ACTION, f"mended {turn}"),)
        scheme.must("cb", SUSPENSION[2], f"desk {turn}")
        scheme.must("cb", Restore(NUMBER, mended), f"desk {turn}")
        assert len(scheme.beside().officers) == min(turn + 3, OFFICERS_KEPT_MAX)
    scheme.must("cb", SUSPENSION[2], "desk 5")
    assert scheme.beside().officers[-1] == scheme.context("cb", "desk 5").source
    assert len(set(scheme.beside().officers)) == OFFICERS_KEPT_MAX
    scheme.must("bank-a", Appeal(NUMBER, "disagrees", LETTER))
    for desk in ("reviewer", "decider", "desk 5", f"desk {OFFICERS_KEPT_MAX}"):
        assert scheme.submit("cb", DecideAppeal(NUMBER, True, OPINION), desk) == "same_officer"
    scheme.must("cb", DecideAppeal(NUMBER, True, OPINION), "desk 0")
