"""The certification mark by its rules: licence, use, misuse and withdrawal, each rule broken once by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.certificate_bodies import Restore
from ledger.certificate_records import State
from ledger.mark_bodies import (
    LicenseMark,
    MarkBody,
    Medium,
    MisuseFinding,
    ReportMisuse,
    UseMark,
    check_mark_body,
)
from ledger.mark_events import MARK_KINDS, MARK_RULES, UNDECIDED_MAX, USES_MAX
from ledger.mark_records import (
    DeclaredUse,
    MarkStanding,
    breach_of,
    mark_standing,
    read_count,
    undecided_key,
    use_prefix,
)
from ledger.members import Member, Role, member_key
from ledger.registry import KINDS
from ledger.rules import RULES_SCHEME
from ledger.scheme_policy import MarkUse
from ledger.state import Transaction
from primitives.errors import InputError
from tests.ledger.certificate_fixtures import CORRECTION, DAY_MS, EVENTS, NUMBER, suspend
from tests.ledger.mark_fixtures import DECIDE, LICENSE, PLAIN, REPORT, USE, WITHDRAW, Marked, document
from tests.ledger.scheme_fixtures import REVOKE, SCHEME_EVENTS, SCOPE

CONFIRMED, RESOLVED, DISMISSED = MisuseFinding.CONFIRMED, MisuseFinding.RESOLVED, MisuseFinding.DISMISSED
OTHER = "FTP-2026-06-000009"


def use(name: str, medium: Medium = Medium.WEB, covers: tuple[str, ...] = SCOPE) -> UseMark:
    """Return a use of artwork of its own."""
    return UseMark(NUMBER, medium, covers, document(name, "bank-a"))


@dataclass(frozen=True)
class Broken:
    """A rule, what was before, and the event that breaks it."""

    rule: str
    before: Callable[[Marked], object]
    member: str
    body: MarkBody
    desk: str = "first"


def nothing(consortium: Marked) -> None:
    """Leave the certificate without a mark."""


def suspended(consortium: Marked) -> None:
    """License, then suspend."""
    consortium.licensed().must("cb", suspend())


def reported(consortium: Marked) -> None:
    """Report once."""
    consortium.marked("bank-b", REPORT)


def decided(finding: MisuseFinding) -> Callable[[Marked], None]:
    """Return what reports, and decides so."""

    def before(consortium: Marked) -> None:
        reported(consortium)
        consortium.marked("cb", replace(DECIDE, finding=finding))

    return before


def licensed_and_decided(finding: MisuseFinding, report: ReportMisuse = REPORT) -> Callable[[Marked], None]:
    """Return what licenses, reports, and decides so."""

    def before(consortium: Marked) -> None:
        consortium.licensed().marked("bank-b", report)
        consortium.marked("cb", replace(DECIDE, finding=finding))

    return before


def until_end(consortium: Marked) -> None:
    """License until tomorrow, and be there."""
    consortium.marked("cb", replace(LICENSE, until_ms=consortium.now_ms + DAY_MS))
    consortium.now_ms += DAY_MS


def excluded(consortium: Marked) -> None:
    """Exclude the vendor."""
    rows = Transaction(consortium.view)
    rows.put(member_key("vendor"), Member("vendor", "vendor", (Role.VENDOR,), "", (), (), excluded=True))
    rows.apply(consortium.view)


def every_use(consortium: Marked) -> None:
    """Declare as many uses as there may be."""
    consortium.licensed()
    for number in range(USES_MAX):
        consortium.marked("bank-a", use(str(number)))


def every_report(consortium: Marked) -> None:
    """Report as often as a member may without a decision."""
    for number in range(UNDECIDED_MAX):
        consortium.marked("bank-b", replace(REPORT, evidence=(document(f"seen {number}"),)))


def every_use_and_a_new_licence(consortium: Marked) -> None:
    """Declare as many uses as there may be, and have the licence given anew."""
    every_use(consortium)
    consortium.marked("cb", WITHDRAW)
    consortium.licensed()


BROKEN = [
    Broken("mark_uses_many", every_use_and_a_new_licence, "bank-a", USE),
    Broken("unknown_certificate", nothing, "cb", replace(LICENSE, number=OTHER)),
    Broken("unknown_certificate", nothing, "bank-a", replace(USE, number=OTHER)),
    Broken("unknown_certificate", nothing, "bank-b", replace(REPORT, number=OTHER)),
    Broken("unknown_certificate", nothing, "cb", replace(WITHDRAW, number=OTHER)),
    Broken("not_permitted", nothing, "cb-other", LICENSE),
    Broken("not_permitted", Marked.licensed, "bank-b", USE),
    Broken("not_permitted", Marked.licensed, "cb-other", WITHDRAW),
    Broken("not_permitted", reported, "cb-other", DECIDE),
    Broken("not_permitted", nothing, "vendor", REPORT),
    Broken("not_permitted", nothing, "lab", REPORT),
    Broken("wrong_state", lambda c: c.must("cb", suspend()), "cb", LICENSE),
    Broken("wrong_state", suspended, "bank-a", USE),
    Broken("wrong_state", lambda c: setattr(c, "now_ms", c.certificate().valid_until_ms), "cb", LICENSE),
    Broken("mark_licensed", Marked.licensed, "cb", LICENSE),
    Broken("mark_promotion", nothing, "cb", replace(LICENSE, media=(Medium.PROMOTION,))),
    Broken("mark_promotion", Marked.licensed, "bank-a", replace(USE, medium=Medium.PROMOTION)),
    Broken("mark_term", nothing, "cb", replace(LICENSE, until_ms=1)),
    Broken("mark_term", nothing, "cb", replace(LICENSE, until_ms=4_102_444_800_000)),
    Broken("mark_not_licensed", nothing, "bank-a", USE),
    Broken("mark_not_licensed", until_end, "bank-a", USE),
    Broken("mark_not_licensed", lambda c: c.licensed().marked("cb", WITHDRAW), "bank-a", USE),
    Broken("mark_not_licensed", nothing, "cb", WITHDRAW),
    Broken("mark_not_licensed", lambda c: c.licensed().marked("cb", WITHDRAW), "cb", WITHDRAW),
    Broken("mark_medium", lambda c: c.licensed(Medium.APP), "bank-a", USE),
    Broken("mark_beyond_scope", Marked.licensed, "bank-a", replace(USE, covers=("barcode",))),
    Broken("mark_use_repeated", lambda c: c.licensed().marked("bank-a", USE), "bank-a", USE),
    Broken("mark_uses_many", every_use, "bank-a", USE),
    Broken("unknown_holder", nothing, "bank-b", replace(REPORT, number=None, holder="nobody")),
    Broken("misuse_undecided_many", every_report, "bank-b", REPORT),
    Broken("unknown_report", nothing, "cb", DECIDE),
    Broken("unknown_report", Marked.licensed, "cb", replace(WITHDRAW, report=1)),
    Broken("misuse_decided", decided(DISMISSED), "cb", DECIDE),
    Broken("misuse_decided", decided(CONFIRMED), "cb", replace(DECIDE, finding=DISMISSED)),
    Broken("misuse_decided", decided(RESOLVED), "cb", DECIDE),
    Broken("misuse_not_confirmed", licensed_and_decided(DISMISSED), "cb", replace(WITHDRAW, report=1)),
    Broken(
        "misuse_not_confirmed",
        licensed_and_decided(CONFIRMED, replace(REPORT, number=None, product="Another thing")),
        "cb",
        replace(WITHDRAW, report=1),
    ),
    Broken(
        "misuse_not_confirmed",
        lambda c: c.licensed().marked("bank-b", REPORT),
        "cb",
        replace(WITHDRAW, report=1),
    ),
    Broken("same_officer", lambda c: c.marked("cb", REPORT), "cb", DECIDE),
    Broken(
        "conflict_of_interest",
        lambda c: c.marked("bank-b", replace(REPORT, number=None, holder="conglomerate")),
        "conglomerate",
        DECIDE,
    ),
    Broken("unknown_custodian", nothing, "cb", replace(LICENSE, terms=document("terms", "nobody"))),
    Broken("excluded_custodian", excluded, "cb", replace(LICENSE, terms=document("terms", "vendor"))),
]


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: f"{case.rule}-{type(case.body).__name__}")
def test_an_event_that_breaks_a_rule_is_rejected_by_its_name_and_leaves_nothing(case: Broken) -> None:
    consortium = Marked()
    case.before(consortium)
    before = dict(consortium.view.changes)
    assert consortium.mark(case.member, case.body, case.desk) == case.rule
    assert consortium.view.changes == before


def test_every_rule_of_the_table_is_broken_above() -> None:
    assert {case.rule for case in BROKEN} == set(MARK_RULES)


def test_the_kinds_came_with_the_third_rules_and_keep_their_numbers() -> None:
    assert {spec.kind: spec.name for spec in MARK_KINDS} == {
        27: "mark.license",
        28: "mark.use",
        29: "mark.report_misuse",
        30: "mark.withdraw",
        105: "mark.decide_misuse",
    }
    assert all(KINDS[spec.kind] is spec and spec.rules_for(1) == RULES_SCHEME for spec in MARK_KINDS)


# --- what is admitted


def test_a_licence_runs_to_the_certificates_end_unless_it_says_an_earlier_one() -> None:
    consortium = Marked().licensed()
    assert consortium.license().until_ms == consortium.certificate().valid_until_ms
    consortium.marked("cb", WITHDRAW)
    earlier = consortium.now_ms + DAY_MS
    consortium.marked("cb", replace(LICENSE, until_ms=earlier))
    assert (consortium.license().until_ms, consortium.license().count) == (earlier, 2)


def test_a_declared_use_stands_with_its_artwork_and_is_counted() -> None:
    consortium = Marked().licensed()
    consortium.marked("bank-a", USE)
    consortium.marked("bank-a", replace(USE, medium=Medium.WEB))
    uses = [row for _, row in consortium.view.scan(use_prefix(NUMBER), DeclaredUse)]
    assert [row.medium for row in uses] == [Medium.PACKAGING, Medium.WEB]
    assert {row.artwork for row in uses} == {USE.artwork}
    assert consortium.license().uses == 2


def test_by_the_notices_rule_a_promotion_speaks_of_what_is_certified_and_says_of_what() -> None:
    consortium = Marked()
    consortium.allow(MarkUse.NOTICE)
    consortium.licensed(Medium.PROMOTION)
    assert consortium.mark("bank-a", use("banner", Medium.PROMOTION, SCOPE[:1])) == ""
    assert consortium.mark("bank-a", use("poster", Medium.PROMOTION, ())) == "mark_beyond_scope"
    assert consortium.mark("bank-a", use("film", Medium.PROMOTION, (*SCOPE, "barcode"))) == "mark_beyond_scope"
    consortium.allow(MarkUse.STRICT)
    assert consortium.mark("bank-a", use("spot", Medium.PROMOTION, SCOPE[:1])) == "mark_promotion"


def test_a_licence_sleeps_while_the_certificate_is_suspended_and_wakes_without_an_event() -> None:
    consortium = Marked().licensed()
    assert consortium.standing() is MarkStanding.LICENSED
    row = consortium.license()
    consortium.must("cb", suspend())
    assert consortium.standing() is MarkStanding.DORMANT
    consortium.must("cb", Restore(NUMBER, CORRECTION))
    assert consortium.standing() is MarkStanding.LICENSED
    consortium.must(*EVENTS["certificate.suspend"][::2])
    consortium.must("cb", consortium.signed(REVOKE), "decider")
    assert consortium.standing() is MarkStanding.DORMANT
    assert consortium.license() == row


def test_a_licence_sleeps_once_the_certificate_has_expired() -> None:
    consortium = Marked().licensed()
    consortium.now_ms = consortium.certificate().valid_until_ms - 1
    assert consortium.standing() is MarkStanding.LICENSED
    consortium.now_ms += 1
    assert consortium.standing() is MarkStanding.DORMANT


def test_a_licence_that_ended_is_told_from_one_withdrawn() -> None:
    consortium = Marked()
    until_end(consortium)
    assert consortium.standing() is MarkStanding.ENDED
    consortium.licensed()
    assert consortium.standing() is MarkStanding.LICENSED
    consortium.marked("cb", WITHDRAW)
    assert consortium.standing() is MarkStanding.WITHDRAWN


def test_a_reduction_of_scope_stops_new_uses_of_what_was_removed() -> None:
    consortium = Marked().licensed()
    consortium.must("cb", SCHEME_EVENTS["certificate.reduce"][2])
    assert consortium.mark("bank-a", use("before")) == "mark_beyond_scope"
    assert consortium.mark("bank-a", use("now", covers=SCOPE[:1])) == ""


@pytest.mark.parametrize("member", ["bank-b", "bank-a", "regulator", "auditor", "cb", "cb-other"])
def test_banks_bodies_the_regulator_and_auditors_report(member: str) -> None:
    consortium = Marked()
    consortium.marked(member, REPORT)
    assert (consortium.report().reporter, consortium.report().decision) == (member, None)


def test_reports_are_about_a_certificate_a_member_or_an_unknown_product_and_are_numbered() -> None:
    consortium = Marked()
    about = (REPORT, replace(REPORT, number=None, holder="vendor"), replace(REPORT, number=None, product="Terminal X"))
    for body in about:
        consortium.marked("auditor", body)
    found = [consortium.report(number) for number in (1, 2, 3)]
    assert [(r.report, r.number, r.holder, r.product) for r in found] == [
        (1, NUMBER, None, None),
        (2, None, "vendor", None),
        (3, None, None, "Terminal X"),
    ]


def test_confirmed_misuse_may_be_resolved_later_and_is_the_ground_of_a_withdrawal() -> None:
    consortium = Marked().licensed()
    consortium.marked("bank-b", REPORT)
    assert read_count(consortium.view, undecided_key("bank-b")) == 1
    consortium.marked("cb", DECIDE)
    assert read_count(consortium.view, undecided_key("bank-b")) == 0
    consortium.marked("cb", replace(WITHDRAW, report=1))
    withdrawn = consortium.license().withdrawn
    assert withdrawn is not None
    assert withdrawn.report == 1
    consortium.marked("cb", replace(DECIDE, finding=RESOLVED))
    decision = consortium.report().decision
    assert decision is not None
    assert decision.finding is RESOLVED
    assert read_count(consortium.view, undecided_key("bank-b")) == 0


def test_a_report_on_the_holder_is_ground_for_withdrawing_its_mark() -> None:
    consortium = Marked()
    licensed_and_decided(CONFIRMED, replace(REPORT, number=None, holder="bank-a"))(consortium)
    assert consortium.mark("cb", replace(WITHDRAW, report=1)) == ""
    assert consortium.standing() is MarkStanding.WITHDRAWN


def test_the_regulator_decides_on_any_report_and_a_body_by_another_key_on_its_own() -> None:
    consortium = Marked()
    consortium.marked("cb", REPORT)
    assert consortium.mark("cb", DECIDE, "second") == ""
    consortium.marked("bank-b", replace(REPORT, evidence=(document("again"),)))
    assert consortium.mark("regulator", replace(DECIDE, report=2)) == ""
    decided = [consortium.report(number).decision for number in (1, 2)]
    assert [None if each is None else each.member for each in decided] == ["cb", "regulator"]


def test_a_key_that_may_not_act_as_its_member_is_refused() -> None:
    consortium = Marked()
    assert consortium.mark("conglomerate", REPORT, roles=frozenset({Role.LABORATORY})) == "not_permitted"


# --- shape


@pytest.mark.parametrize(
    "body",
    [
        replace(LICENSE, media=(Medium.WEB, Medium.WEB)),
        replace(USE, covers=(SCOPE[0], SCOPE[0])),
        replace(REPORT, holder="bank-a"),
        replace(REPORT, number=None),
        replace(REPORT, evidence=(document("one"), document("one"))),
        replace(DECIDE, evidence=(document("one"), document("one"))),
    ],
    ids=["medium-twice", "entry-twice", "two-subjects", "no-subject", "evidence-twice", "grounds-twice"],
)
def test_a_body_that_contradicts_itself_is_refused_before_it_is_signed(body: MarkBody) -> None:
    with pytest.raises(InputError):
        check_mark_body(body)


@pytest.mark.parametrize("body", [LICENSE, USE, REPORT, WITHDRAW, DECIDE], ids=lambda body: type(body).__name__)
def test_bodies_in_order_pass(body: MarkBody) -> None:
    check_mark_body(body)


# --- properties

MEDIA = st.lists(st.sampled_from(Medium), min_size=1, max_size=6, unique=True).map(tuple)
ENTRIES = st.lists(st.sampled_from(("a", "b", "c")), max_size=3, unique=True).map(tuple)


@given(st.sampled_from(Medium), ENTRIES, MEDIA, ENTRIES, st.sampled_from(MarkUse))
def test_a_use_within_its_licence_is_never_beyond_scope_and_never_a_strict_promotion(
    medium: Medium, covers: tuple[str, ...], media: tuple[Medium, ...], scope: tuple[str, ...], rule: MarkUse
) -> None:
    breach = breach_of(medium, covers, media, scope, rule)
    within = medium in media and set(covers) <= set(scope)
    promotion = medium is Medium.PROMOTION
    admitted = within and not (promotion and rule is MarkUse.STRICT) and not (promotion and scope and not covers)
    assert (breach is None) == admitted
    if breach is None:  # what strict admits, the looser rule admits too
        assert breach_of(medium, covers, media, scope, MarkUse.NOTICE) is None


EVENT = st.sampled_from(("license", "use", "withdraw", "suspend", "restore", "wait"))


@given(st.lists(EVENT, max_size=12))
def test_in_any_life_the_mark_is_licensed_only_while_the_certificate_is_in_force(names: list[str]) -> None:
    consortium = Marked()
    licence: tuple[int, bool] | None = None  # of the model: when it ends, whether it was withdrawn
    state = State.ACTIVE
    for number, name in enumerate(names):
        now_ms = consortium.now_ms
        end_ms = now_ms + 3 * DAY_MS
        counts = licence is not None and not licence[1] and now_ms < licence[0]
        match name:
            case "license":
                expected = "wrong_state" if state is not State.ACTIVE else "mark_licensed" if counts else ""
                body = LicenseMark(NUMBER, PLAIN, end_ms, document(f"terms {number}"))
                assert consortium.mark("cb", body) == expected
                licence = licence if expected else (end_ms, False)
            case "use":
                expected = "wrong_state" if state is not State.ACTIVE else "" if counts else "mark_not_licensed"
                assert consortium.mark("bank-a", use(str(number))) == expected
            case "withdraw":
                withdrawn = licence is None or licence[1]
                assert consortium.mark("cb", WITHDRAW) == ("mark_not_licensed" if withdrawn else "")
                licence = None if licence is None else (licence[0], True)
            case "suspend" if state is State.ACTIVE:
                consortium.must("cb", suspend())
                state = State.SUSPENDED
            case "restore" if state is State.SUSPENDED:
                evidence = (replace(CORRECTION[0], digest=document(str(number)).digest),)
                consortium.must("cb", Restore(NUMBER, evidence))
                state = State.ACTIVE
            case _:
                consortium.now_ms += DAY_MS
        live = licence is not None and not licence[1] and consortium.now_ms < licence[0]
        assert (consortium.standing() is MarkStanding.LICENSED) == (live and state is State.ACTIVE)


def test_the_standing_before_a_withdrawal_is_as_it_was() -> None:
    consortium = Marked().licensed()
    before_ms = consortium.now_ms
    consortium.now_ms += DAY_MS
    consortium.marked("cb", WITHDRAW)
    assert mark_standing(consortium.license(), consortium.certificate(), before_ms) is MarkStanding.LICENSED
    assert mark_standing(None, consortium.certificate(), before_ms) is MarkStanding.NONE
