"""Every standing of a certificate and its mark that the rules tell apart, every event about the mark, and everybody.

What is expected of a triple is written from the table in docs/certification.md ("The mark"), in the order in which a
reader would check it, and not from the code. The scheme's policy is one of the things that differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Final

from msgspec.structs import replace

from ledger.certificate_bodies import Cancel
from ledger.certificate_records import State
from ledger.governance_bodies import SetSchemePolicy
from ledger.mark_bodies import Medium, MisuseFinding, ReportMisuse, UseMark
from ledger.members import Role
from ledger.policy import DAY_MS
from ledger.scheme_policy import MarkUse
from primitives.encoding import Record
from tests.ledger.certificate_fixtures import REQUEST, ROLES, suspend
from tests.ledger.mark_fixtures import DECIDE, LICENSE, REPORT, USE, WITHDRAW, document
from tests.ledger.scheme_chain_fixtures import SchemeChain
from tests.ledger.scheme_fixtures import REVOKE, SCOPE
from tests.ledger.triple_checks import Actor

ACTORS: Final[tuple[Actor, ...]] = (*((member, "first") for member in ROLES), ("cb", "reviewer"))
BODY, HOLDER, REPORTER, REGULATOR = "cb", "bank-a", "bank-b", "regulator"
LICENSED: Final = (Medium.PRODUCT, Medium.PACKAGING)
NO_NUMBER: Final = "FTP-2026-06-000099"
NO_REPORT: Final = 99
USES_MAX, UNDECIDED_MAX = 2, 2
"""What tests set the bounds to, so that a licence is used up, and a member has reported enough, with little."""
BODIES = {name for name, roles in ROLES.items() if Role.CERTIFICATION_BODY in roles}
HOLDERS = {name for name, roles in ROLES.items() if {Role.BANK, Role.VENDOR} & set(roles)}
REPORTERS = {
    name
    for name, roles in ROLES.items()
    if {Role.BANK, Role.CERTIFICATION_BODY, Role.AUDITOR, Role.REGULATOR} & set(roles)
}

Make = Callable[[SchemeChain, str], Record]


def _use(text: str, medium: Medium = Medium.PACKAGING, covers: tuple[str, ...] = SCOPE[:1]) -> UseMark:
    return replace(USE, medium=medium, covers=covers, artwork=document(text, HOLDER))


def _report(text: str, **about: str | None) -> ReportMisuse:
    return replace(REPORT, evidence=(document(text, REPORTER),), **about)


def _past_its_end(chain: SchemeChain) -> int:
    return chain.certificate_at().valid_until_ms + 1


EVENTS: Final[dict[str, Make]] = {
    "license": lambda _chain, _: LICENSE,
    "license for promotion": lambda _chain, _: replace(LICENSE, media=(Medium.PROMOTION,)),
    "license beyond the certificate": lambda chain, _: replace(LICENSE, until_ms=_past_its_end(chain)),
    "license for no time": lambda chain, _: replace(LICENSE, until_ms=chain.now_ms),
    "license by terms that nobody keeps": lambda _chain, _: replace(LICENSE, terms=document("terms", "nobody")),
    "license none": lambda _chain, _: replace(LICENSE, number=NO_NUMBER),
    "use": lambda _, who: _use(f"art of {who}"),
    "use in another medium": lambda _, who: _use(f"art of {who}", Medium.APP),
    "use beyond the scope": lambda _, who: _use(f"art of {who}", covers=("barcode",)),
    "use in promotion": lambda _, who: _use(f"art of {who}", Medium.PROMOTION),
    "use in promotion of nothing": lambda _, who: _use(f"art of {who}", Medium.PROMOTION, ()),
    "use once more": lambda _chain, _: _use("declared 0"),
    "use of none": lambda _, who: replace(_use(f"art of {who}"), number=NO_NUMBER),
    "report": lambda _, who: _report(f"seen by {who}"),
    "report a member": lambda _, who: _report(f"seen by {who}", number=None, holder="bank-c"),
    "report nobody": lambda _, who: _report(f"seen by {who}", number=None, holder="nobody"),
    "report none": lambda _, who: _report(f"seen by {who}", number=NO_NUMBER),
    "report what nobody keeps": lambda _chain, _: replace(REPORT, evidence=(document("seen", "nobody"),)),
    "withdraw": lambda _chain, _: WITHDRAW,
    "withdraw by the report": lambda _chain, _: replace(WITHDRAW, report=1),
    "withdraw by no report": lambda _chain, _: replace(WITHDRAW, report=NO_REPORT),
    "withdraw of none": lambda _chain, _: replace(WITHDRAW, number=NO_NUMBER),
    "decide": lambda _chain, _: DECIDE,
    "decide that it is put right": lambda _chain, _: replace(DECIDE, finding=MisuseFinding.RESOLVED),
    "decide on none": lambda _chain, _: replace(DECIDE, report=NO_REPORT),
}


@dataclass(frozen=True)
class Standing:
    """How a certificate, its mark and report 1 stand.

    `about` is what the report is about: the certificate, a member, or a product; `by` who reported. `promoted` is a
    licence for promotion, given under the looser rule; `uses` how many were declared, `reports` how many are undecided.
    """

    licence: str = "none"
    report: str = "none"
    state: State = State.ACTIVE
    policy: MarkUse = MarkUse.STRICT
    promoted: bool = False
    uses: int = 0
    reports: int = 0
    about: str = "certificate"
    by: Actor = (REPORTER, "first")


STATES: Final = (State.ACTIVE, State.SUSPENDED, State.REVOKED, State.CANCELLED, State.EXPIRED)
STANDINGS: Final[dict[str, Standing]] = {
    **{
        f"{state}, licence {licence}, report {report}": Standing(licence, report, state)
        for licence, report, state in product(
            ("none", "counts", "ended", "withdrawn"),
            ("none", "undecided", "confirmed", "resolved", "dismissed"),
            STATES,
        )
    },
    "looser, not licensed": Standing(policy=MarkUse.NOTICE),
    "looser, licensed": Standing("counts", policy=MarkUse.NOTICE),
    "looser, licensed for promotion": Standing("counts", policy=MarkUse.NOTICE, promoted=True),
    "licensed for promotion, then strict": Standing("counts", promoted=True),
    "used": Standing("counts", uses=1),
    "used up": Standing("counts", uses=USES_MAX),
    "reported enough": Standing(report="undecided", reports=UNDECIDED_MAX),
    "a member reported": Standing("counts", "undecided", about="bank-c"),
    "the holder reported": Standing("counts", "undecided", about=HOLDER),
    "the holder's misuse confirmed": Standing("counts", "confirmed", about=HOLDER),
    "another's misuse confirmed": Standing("counts", "confirmed", about="bank-c"),
    "a body reported": Standing(report="undecided", about="cb-other"),
    "a product reported": Standing(report="undecided", about="product"),
    "reported by the body": Standing(report="undecided", by=(BODY, "first")),
}


def _set_use(chain: SchemeChain, use: MarkUse) -> None:
    chain.vote(chain.propose(SetSchemePolicy(None, use, None, None, None)), 0, 1, 2)


def _reported(standing: Standing) -> ReportMisuse:
    if standing.about == "certificate":
        return _report("road 0")
    if standing.about == "product":
        return _report("road 0", number=None, product="No-name terminal")
    return _report("road 0", number=None, holder=standing.about)


def standing_chain(standing: Standing) -> SchemeChain:
    """Return a chain on which certificate, mark and report stand so."""
    chain = SchemeChain().granted()
    if standing.promoted or standing.policy is MarkUse.NOTICE:
        _set_use(chain, MarkUse.NOTICE)
    if standing.report != "none":
        chain.act(*standing.by, _reported(standing))
    if standing.report in ("confirmed", "resolved", "dismissed"):
        finding = "confirmed" if standing.report == "resolved" else standing.report
        chain.act(REGULATOR, "first", replace(DECIDE, finding=MisuseFinding(finding)))
    if standing.report == "resolved":
        chain.act(REGULATOR, "first", replace(DECIDE, finding=MisuseFinding.RESOLVED))
    for number in range(1, standing.reports):
        chain.act(*standing.by, _report(f"road {number}"))
    if standing.licence != "none":
        media = (*LICENSED, Medium.PROMOTION) if standing.promoted else LICENSED
        end_ms = chain.now_ms + DAY_MS if standing.licence == "ended" else None
        chain.act(BODY, "first", replace(LICENSE, media=media, until_ms=end_ms))
    if standing.licence == "withdrawn":
        chain.act(BODY, "first", WITHDRAW)
    for number in range(standing.uses):
        chain.act(HOLDER, "first", _use(f"declared {number}"))
    if standing.promoted and standing.policy is MarkUse.STRICT:
        _set_use(chain, MarkUse.STRICT)
    chain.now_ms += DAY_MS
    _bring_to(chain, standing.state)
    return chain


def _bring_to(chain: SchemeChain, state: State) -> None:
    match state:
        case State.SUSPENDED:
            chain.act(BODY, "first", suspend())
        case State.REVOKED:
            chain.act(BODY, "decider", chain.signed(REVOKE))
        case State.CANCELLED:
            chain.act(BODY, "first", Cancel(REVOKE.number, REQUEST))
        case State.EXPIRED:
            chain.wait(chain.certificate_at().valid_until_ms)
        case _:
            pass


def expected(standing: Standing, name: str, actor: Actor) -> str:
    """Return the rule by which a triple is refused, empty where it is admitted."""
    member = actor[0]
    match name.partition(" ")[0]:
        case "license":
            return _licensing(standing, name, member)
        case "use":
            return _using(standing, name, member)
        case "report":
            return _reporting(standing, name, actor)
        case "withdraw":
            return _withdrawing(standing, name, member)
        case _:
            return _deciding(standing, name, actor)


def _licensing(standing: Standing, name: str, member: str) -> str:
    if member not in BODIES:
        return "not_permitted"
    if name == "license none":
        return "unknown_certificate"
    if member != BODY:
        return "not_permitted"
    if standing.state is not State.ACTIVE:
        return "wrong_state"
    if standing.licence == "counts":
        return "mark_licensed"
    if name == "license for promotion":
        return "mark_promotion" if standing.policy is MarkUse.STRICT else ""
    wrong = {
        "license beyond the certificate": "mark_term",
        "license for no time": "mark_term",
        "license by terms that nobody keeps": "unknown_custodian",
    }
    return wrong.get(name, "")


def _using(standing: Standing, name: str, member: str) -> str:
    if member not in HOLDERS:
        return "not_permitted"
    if name == "use of none":
        return "unknown_certificate"
    if member != HOLDER:
        return "not_permitted"
    if standing.state is not State.ACTIVE:
        return "wrong_state"
    if standing.licence != "counts":
        return "mark_not_licensed"
    if name == "use beyond the scope":
        return "mark_beyond_scope"
    if name == "use in another medium":
        return "mark_medium"
    if name.startswith("use in promotion"):
        if standing.policy is MarkUse.STRICT:
            return "mark_promotion"
        if not standing.promoted:
            return "mark_medium"
        return "mark_beyond_scope" if name.endswith("of nothing") else ""
    if name == "use once more" and standing.uses:
        return "mark_use_repeated"
    return "mark_uses_many" if standing.uses == USES_MAX else ""


def _reporting(standing: Standing, name: str, actor: Actor) -> str:
    if actor[0] not in REPORTERS:
        return "not_permitted"
    if name == "report none":
        return "unknown_certificate"
    if name == "report nobody":
        return "unknown_holder"
    if actor[0] == standing.by[0] and standing.reports == UNDECIDED_MAX:
        return "misuse_undecided_many"
    return "unknown_custodian" if name == "report what nobody keeps" else ""


def _withdrawing(standing: Standing, name: str, member: str) -> str:
    if member not in BODIES:
        return "not_permitted"
    if name == "withdraw of none":
        return "unknown_certificate"
    if member != BODY:
        return "not_permitted"
    if standing.licence in ("none", "withdrawn"):
        return "mark_not_licensed"
    if name == "withdraw":
        return ""
    if name == "withdraw by no report" or standing.report == "none":
        return "unknown_report"
    about = standing.about in ("certificate", HOLDER)
    return "" if about and standing.report == "confirmed" else "misuse_not_confirmed"


def _deciding(standing: Standing, name: str, actor: Actor) -> str:
    member = actor[0]
    if member not in BODIES | {REGULATOR}:
        return "not_permitted"
    if name == "decide on none" or standing.report == "none":
        return "unknown_report"
    if standing.about == "certificate" and member not in (BODY, REGULATOR):
        return "not_permitted"
    if standing.about == member:
        return "conflict_of_interest"
    if actor == standing.by:
        return "same_officer"
    if standing.report == "confirmed" and name == "decide that it is put right":
        return ""
    return "" if standing.report == "undecided" else "misuse_decided"
