"""The certification mark, kinds 27 to 30 and 105: who may license, use, report, find, withdraw, and what it writes.

Everything here is of the third rules. A licence is for one certificate; that it counts only while the certificate is in
force follows from both records (`ledger.mark_records.mark_standing`) and needs no event. Source: domain §1; ISO/IEC
17065 (4.1.3, use of licences, certificates and marks), ISO/IEC 17030 (third-party marks of conformity).
"""

from __future__ import annotations

from typing import Final, assert_never

from msgspec.structs import replace

from ledger.certificate_filing import check_custodians, present_certificate
from ledger.certificate_records import Certificate, State, state_at
from ledger.kinds import ApplyContext, KindSpec, RuleBroken
from ledger.mark_bodies import (
    DecideMisuse,
    LicenseMark,
    MarkBody,
    Medium,
    MisuseFinding,
    ReportMisuse,
    UseMark,
    WithdrawMark,
    check_mark_body,
    documents_of,
)
from ledger.mark_records import (
    MISUSE_COUNT_KEY,
    DeclaredUse,
    MarkLicense,
    MarkStanding,
    MisuseCount,
    MisuseDecision,
    MisuseReport,
    Withdrawal,
    breach_of,
    mark_key,
    mark_standing,
    misuse_key,
    read_count,
    read_license,
    read_report,
    undecided_key,
    use_key,
)
from ledger.members import Role, read_member
from ledger.rules import RULES_SCHEME
from ledger.scheme_policy import MarkUse, read_scheme_policy
from ledger.scheme_records import read_certificate_scheme
from ledger.state import StateReader, Transaction
from primitives.encoding import Record

SCHEMA: Final = 1
USES_MAX: Final = 256
"""Uses that may be declared for one certificate: the state must not grow with what one holder prints."""
UNDECIDED_MAX: Final = 64
"""Undecided reports of one member."""

MARK_RULES = {
    "unknown_certificate": "There is no certificate of this number.",
    "unknown_custodian": "The custodian of a document is not a member.",
    "excluded_custodian": "The custodian of a document is an excluded member.",
    "unknown_holder": "The member that a report is about is not a member.",
    "unknown_report": "There is no report of this number.",
    "not_permitted": "The member is not the party that may submit this event.",
    "wrong_state": "The mark is licensed and used only while the certificate is in force.",
    "mark_licensed": "A licence counts already: withdraw it before another is given.",
    "mark_promotion": "By the scheme's policy the mark is never used in promotion.",
    "mark_term": "A licence ends after the block's time and not after its certificate.",
    "mark_not_licensed": "No licence counts at the block's time.",
    "mark_medium": "The licence does not name this medium.",
    "mark_beyond_scope": "A use speaks of more than was certified, or a promotion does not say of what.",
    "mark_use_repeated": "This artwork in this medium has been declared already.",
    "mark_uses_many": "More uses than can be declared for one certificate.",
    "misuse_undecided_many": "The member has more undecided reports than it may have.",
    "misuse_decided": "The report has been decided on; only misuse that was confirmed can be resolved later.",
    "misuse_not_confirmed": "A withdrawal names a report that confirmed misuse of this certificate or by its holder.",
    "conflict_of_interest": "Nobody decides on a report about itself.",
    "same_officer": "The key that reported may not decide on the report.",
}
"""Every rule that an event about the mark can break, with what it says."""


def apply_mark_event(context: ApplyContext, state: Transaction, body: MarkBody) -> None:
    """Write what an event about the mark changes; RuleBroken names the rule that forbids it."""
    match body:
        case LicenseMark():
            _license(context, state, body)
        case UseMark():
            _use(context, state, body)
        case ReportMisuse():
            _report(context, state, body)
        case WithdrawMark():
            _withdraw(context, state, body)
        case DecideMisuse():
            _decide(context, state, body)
        case _:
            assert_never(body)
    check_custodians(state, documents_of(body))


def _license(context: ApplyContext, state: Transaction, body: LicenseMark) -> None:
    certificate = present_certificate(state, body.number)
    _check_is(context, certificate.body)
    _check_in_force(context, certificate)
    before = read_license(state, body.number)
    if before is not None and before.withdrawn is None and context.time_ms < before.until_ms:
        raise broken("mark_licensed", body.number)
    if Medium.PROMOTION in body.media and read_scheme_policy(state).mark_use is MarkUse.STRICT:
        raise broken("mark_promotion", "the scheme's mark_use is strict")
    until_ms = certificate.valid_until_ms if body.until_ms is None else body.until_ms
    if not context.time_ms < until_ms <= certificate.valid_until_ms:
        expected = f"expected after {context.time_ms}, up to {certificate.valid_until_ms}"
        raise broken("mark_term", f"{expected}, got {until_ms}")
    state.put(
        mark_key(body.number),
        MarkLicense(
            number=body.number,
            count=1 if before is None else before.count + 1,
            body=context.member,
            event_id=context.event_id,
            from_ms=context.time_ms,
            until_ms=until_ms,
            media=body.media,
            terms=body.terms,
            uses=0 if before is None else before.uses,
            withdrawn=None,
        ),
    )


def _use(context: ApplyContext, state: Transaction, body: UseMark) -> None:
    certificate = present_certificate(state, body.number)
    _check_is(context, certificate.holder)
    _check_in_force(context, certificate)
    license_ = read_license(state, body.number)
    standing = mark_standing(license_, certificate, context.time_ms)
    if license_ is None or standing is not MarkStanding.LICENSED:
        raise broken("mark_not_licensed", standing)
    scope = read_certificate_scheme(state, body.number).scope
    rule = breach_of(body.medium, body.covers, license_.media, scope, read_scheme_policy(state).mark_use)
    if rule is not None:
        raise broken(rule, body.medium)
    key = use_key(body.number, body.medium, body.artwork.digest)
    if state.get(key, DeclaredUse) is not None:
        raise broken("mark_use_repeated", body.artwork.digest.hex())
    if license_.uses >= USES_MAX:
        raise broken("mark_uses_many", f"{license_.uses} of {body.number}")
    use = DeclaredUse(
        body.number, body.medium, body.covers, body.artwork, context.member, context.event_id, context.time_ms
    )
    state.put(key, use)
    state.put(mark_key(body.number), replace(license_, uses=license_.uses + 1))


def _report(context: ApplyContext, state: Transaction, body: ReportMisuse) -> None:
    if body.number is not None:
        present_certificate(state, body.number)
    if body.holder is not None and read_member(state, body.holder) is None:
        raise broken("unknown_holder", body.holder)
    undecided = read_count(state, undecided_key(context.member))
    if undecided >= UNDECIDED_MAX:
        raise broken("misuse_undecided_many", f"{undecided} of {context.member}")
    report = read_count(state, MISUSE_COUNT_KEY) + 1
    row = MisuseReport(
        report=report,
        number=body.number,
        holder=body.holder,
        product=body.product,
        medium=body.medium,
        misuse=body.misuse,
        evidence=body.evidence,
        reporter=context.member,
        source=context.source,
        event_id=context.event_id,
        time_ms=context.time_ms,
        decision=None,
    )
    state.put(misuse_key(report), row)
    state.put(MISUSE_COUNT_KEY, MisuseCount(report))
    state.put(undecided_key(context.member), MisuseCount(undecided + 1))


def _withdraw(context: ApplyContext, state: Transaction, body: WithdrawMark) -> None:
    certificate = present_certificate(state, body.number)
    _check_is(context, certificate.body)
    license_ = read_license(state, body.number)
    if license_ is None or license_.withdrawn is not None:
        raise broken("mark_not_licensed", body.number)
    if body.report is not None:
        _check_confirmed(state, body.report, certificate)
    withdrawal = Withdrawal(body.reason, context.member, context.event_id, context.time_ms, body.report)
    state.put(mark_key(body.number), replace(license_, withdrawn=withdrawal))


def _decide(context: ApplyContext, state: Transaction, body: DecideMisuse) -> None:
    report = read_report(state, body.report)
    if report is None:
        raise broken("unknown_report", str(body.report))
    _check_may_decide(context, state, report)
    before = None if report.decision is None else report.decision.finding
    resolves = before is MisuseFinding.CONFIRMED and body.finding is MisuseFinding.RESOLVED
    if before is not None and not resolves:
        raise broken("misuse_decided", before)
    decision = MisuseDecision(
        body.finding, body.reason, body.evidence, context.member, context.source, context.event_id, context.time_ms
    )
    state.put(misuse_key(report.report), replace(report, decision=decision))
    if before is None:
        key = undecided_key(report.reporter)
        state.put(key, MisuseCount(read_count(state, key) - 1))


# --- rules


def broken(rule: str, detail: str) -> RuleBroken:
    """Return the outcome of a rule of the table above."""
    assert rule in MARK_RULES, f"{rule} is not in the table of rules"
    return RuleBroken(rule, detail)


def _check_is(context: ApplyContext, member: str) -> None:
    if context.member != member:
        raise broken("not_permitted", f"expected {member}, got {context.member}")


def _check_in_force(context: ApplyContext, certificate: Certificate) -> None:
    """Raise RuleBroken unless the certificate is active; one whose term begins later may have its mark prepared."""
    present = state_at(certificate, context.time_ms)
    if present is not State.ACTIVE:
        raise broken("wrong_state", f"expected {State.ACTIVE}, is {present}")


def _check_confirmed(state: StateReader, number: int, certificate: Certificate) -> None:
    report = read_report(state, number)
    if report is None:
        raise broken("unknown_report", str(number))
    about = report.number == certificate.number or report.holder == certificate.holder
    if not about or report.decision is None or report.decision.finding is not MisuseFinding.CONFIRMED:
        raise broken("misuse_not_confirmed", str(number))


def _check_may_decide(context: ApplyContext, state: StateReader, report: MisuseReport) -> None:
    """Raise RuleBroken unless it is for this member and key to decide: the body in charge, or the regulator.

    About a certificate that is its responsible body; about a member or an unknown product any certification body.
    """
    holder = report.holder
    if report.number is not None:
        certificate = present_certificate(state, report.number)
        holder = certificate.holder
        if Role.REGULATOR not in context.source_roles:
            _check_is(context, certificate.body)
    if context.member == holder:
        raise broken("conflict_of_interest", context.member)
    if context.source == report.source:
        raise broken("same_officer", context.source.hex()[:16])


_REPORTERS = frozenset({Role.BANK, Role.REGULATOR, Role.AUDITOR, Role.CERTIFICATION_BODY})
_BODY = frozenset({Role.CERTIFICATION_BODY})
_HOLDERS = frozenset({Role.BANK, Role.VENDOR})


def _kind(number: int, name: str, body: type[MarkBody], roles: frozenset[Role]) -> KindSpec:
    return KindSpec(
        kind=number,
        name=name,
        schemas={SCHEMA: body},
        changes_state=True,
        apply=apply_mark_event,
        check_shape=check_mark_body,
        roles=frozenset[str](roles),
        rules_min=RULES_SCHEME,
    )


MARK_KINDS: tuple[KindSpec, ...] = (
    _kind(27, "mark.license", LicenseMark, _BODY),
    _kind(28, "mark.use", UseMark, _HOLDERS),
    _kind(29, "mark.report_misuse", ReportMisuse, _REPORTERS),
    _kind(30, "mark.withdraw", WithdrawMark, _BODY),
    _kind(105, "mark.decide_misuse", DecideMisuse, _BODY | {Role.REGULATOR}),
)
MARK_KIND_OF: dict[type[Record], KindSpec] = {body: spec for spec in MARK_KINDS for body in spec.schemas.values()}
