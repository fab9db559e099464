"""Every standing of a certificate's life that the rules tell apart, every event, and everybody who might submit it.

What is expected of a triple follows from the rows of the transition tables and from what the domain page says of the
parties; only where a row admits an event and one of its checks does not, the rule is written here by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import (
    Accept,
    Appeal,
    Apply,
    ApplyChange,
    ApplyScoped,
    Body,
    Cancel,
    DecideAppeal,
    Extend,
    Grant,
    Reduce,
    Refuse,
    Reissue,
    Renew,
    Restore,
    Review,
    Revoke,
    SiteCheck,
    Surveil,
    Suspend,
    TypeTest,
)
from ledger.certificate_records import State
from ledger.certificate_transitions import ROLES_OF_PARTY, TRANSITIONS, Party, Transition
from ledger.policy import DAY_MS
from ledger.scheme_transitions import SCHEME_TRANSITIONS
from tests.ledger.certificate_fixtures import APPLICATION, CATEGORY, NUMBER, PRODUCT, ROLES, piece
from tests.ledger.scheme_chain_fixtures import SchemeChain
from tests.ledger.scheme_fixtures import CHANGE, LEI, SCOPE, WIDER
from tests.ledger.triple_checks import Actor

ROWS: Final[dict[str, Transition]] = {
    row.name.removeprefix("certificate."): row for row in TRANSITIONS + SCHEME_TRANSITIONS
}
HOLDER, BODY = "bank-a", "cb"
RENEWAL, SECOND = "bank-a.0200", "FTP-2026-06-000002"
TERM_MONTHS = 5
"""Shorter than the window for renewal, so that time is never what refuses one."""
SUSPENDED_DAYS = 30
BODY_DESKS: Final = ("first", "reviewer", "decider", "panel")
ACTORS: Final = (*((member, "first") for member in ROLES if member != BODY), *((BODY, desk) for desk in BODY_DESKS))

K = EvidenceKind


@dataclass(frozen=True)
class Said:
    """An event of the tables about one `subject`: the application, the change or the certificate."""

    row: Transition
    subject: str
    make: Callable[[str], Body]
    signed: bool = False


def _piece(kind: EvidenceKind) -> Callable[[str], tuple[Any, ...]]:
    return lambda text: (piece(kind, text),)


_DOCUMENTS, _TEST, _SITE, _REPORT, _FIX, _ASKED = (
    _piece(kind)
    for kind in (
        K.TECHNICAL_DOCUMENTS,
        K.TYPE_EXAMINATION,
        K.SITE_CHECK,
        K.REVIEW_REPORT,
        K.CORRECTIVE_ACTION,
        K.HOLDER_REQUEST,
    )
)


def _of_application(name: str, application: str, number: str) -> dict[str, Said]:
    """Return the events between application and decision, about an application."""
    made: dict[str, Callable[[str], Body]] = {
        "accept": lambda _: Accept(application),
        "type_test": lambda text: TypeTest(application, True, _TEST(text)),
        "site_check": lambda text: SiteCheck(application, True, _SITE(text)),
        "review": lambda text: Review(application, _REPORT(text)),
        "grant": lambda _: Grant(application, number, None, None, TERM_MONTHS),
        "refuse": lambda _: Refuse(application, "nonconformity"),
        "appeal": lambda text: Appeal(application, "disagrees", _ASKED(text)),
        "decide_appeal": lambda text: DecideAppeal(application, True, _REPORT(text)),
    }
    return {f"{event} of {name}": Said(ROWS[event], name, make, event == "grant") for event, make in made.items()}


EVENTS: Final[dict[str, Said]] = {
    "apply": Said(
        ROWS["apply"],
        "application",
        lambda text: ApplyScoped(APPLICATION, "Bank A", PRODUCT, CATEGORY, _DOCUMENTS(text), LEI, SCOPE),
    ),
    "apply by schema 1": Said(
        ROWS["apply"], "application", lambda text: Apply(APPLICATION, "Bank A", PRODUCT, CATEGORY, _DOCUMENTS(text))
    ),
    **_of_application("application", APPLICATION, NUMBER),
    **_of_application("change", CHANGE, SECOND),
    "grant by schema 1": Said(
        ROWS["grant"], "application", lambda _: Grant(APPLICATION, NUMBER, None, None, TERM_MONTHS)
    ),
    "suspend": Said(ROWS["suspend"], "certificate", lambda _: Suspend(NUMBER, "found", None, SUSPENDED_DAYS)),
    "restore": Said(ROWS["restore"], "certificate", lambda text: Restore(NUMBER, _FIX(text))),
    "revoke": Said(ROWS["revoke"], "certificate", lambda _: Revoke(NUMBER, "found", None), signed=True),
    "revoke by schema 1": Said(ROWS["revoke"], "certificate", lambda _: Revoke(NUMBER, "found", None)),
    "cancel": Said(ROWS["cancel"], "certificate", lambda text: Cancel(NUMBER, _ASKED(text))),
    "renew": Said(ROWS["renew"], "certificate", lambda text: Renew(RENEWAL, NUMBER, _DOCUMENTS(text))),
    "surveil": Said(
        ROWS["surveil"], "certificate", lambda text: Surveil(NUMBER, False, True, ("seal_broken",), None, _SITE(text))
    ),
    "apply_change": Said(
        ROWS["apply_change"], "certificate", lambda text: ApplyChange(CHANGE, NUMBER, WIDER, _DOCUMENTS(text))
    ),
    "extend": Said(ROWS["extend"], "change", lambda _: Extend(CHANGE, NUMBER)),
    "reduce": Said(
        ROWS["reduce"], "certificate", lambda text: Reduce(NUMBER, "found", SCOPE[1:], _SITE(f"reduce {text}"))
    ),
    "reissue": Said(ROWS["reissue"], "certificate", lambda text: Reissue(NUMBER, "lost", _ASKED(f"reissue {text}"))),
    "appeal": Said(ROWS["appeal"], "certificate", lambda text: Appeal(NUMBER, "disagrees", _ASKED(f"appeal {text}"))),
    "decide_appeal": Said(
        ROWS["decide_appeal"], "certificate", lambda text: DecideAppeal(NUMBER, True, _REPORT(f"decide {text}"))
    ),
}
"""By a name: each event of the tables, about each subject that it may be about."""

WHO: Final[dict[str, Actor]] = {
    "apply": (HOLDER, "first"),
    "accept": (BODY, "first"),
    "type_test": ("lab", "first"),
    "site_check": ("ins", "first"),
    "review": (BODY, "reviewer"),
    "grant": (BODY, "decider"),
    "refuse": (BODY, "decider"),
    "renew": (HOLDER, "first"),
    "surveil": ("ins", "first"),
    "apply_change": (HOLDER, "first"),
    "extend": (BODY, "decider"),
    "appeal": (HOLDER, "first"),
    "decide_appeal": (BODY, "panel"),
}
"""Who submits an event on the road to a standing; the responsible body's first key where nothing else is said."""

DECIDING = frozenset({"review", "grant", "refuse", "extend", "suspend", "restore", "revoke", "reduce"})
"""Whose keys decide on no appeal in the same case; who decided on an appeal before may on the next."""

ROAD = "apply, accept of application, type_test of application, site_check of application, review of application"
GRANTED = f"{ROAD}, grant of application"
CHANGED = f"{GRANTED}, apply_change"
REVIEWED_CHANGE = f"{CHANGED}, accept of change, type_test of change, site_check of change, review of change"
REFUSED = f"{ROAD}, refuse of application"
NOTHING, NOT_APPEALED = {"appeal": "nothing_to_appeal"}, {"decide_appeal": "not_appealed"}
QUIET = NOTHING | NOT_APPEALED
PENDING = {"appeal": "already_appealed", "suspend": "appeal_pending", "reduce": "appeal_pending"}


@dataclass(frozen=True)
class Standing:
    """How a life stands after a road: the states of its subjects, and what a check refuses that the tables admit.

    `wait_days` and `at_end` let time pass after the road; `dismissed` makes the last decision on an appeal a refusal.
    """

    road: str
    application: State | None = None
    certificate: State | None = None
    change: State | None = None
    refused: dict[str, str] = field(default_factory=dict)
    wait_days: int = 0
    at_end: bool = False
    dismissed: bool = False

    def state_of(self, subject: str) -> State | None:
        """Return the state of one of the three subjects."""
        return {"application": self.application, "change": self.change, "certificate": self.certificate}[subject]

    def took_part(self, subject: str) -> set[Actor]:
        """Return who reviewed or decided on a subject; what was on the way to a certificate is part of its case."""
        steps = [(step, *step.split(" of ")) for step in filter(None, self.road.split(", "))]
        way = "change" if "extend" in self.road.split(", ") else "application"
        about = {subject, "application", way} if subject == "certificate" else {subject}
        return {actor_of(step) for step, name, *_ in steps if name in DECIDING and EVENTS[step].subject in about}


S = State
STANDINGS: Final[dict[str, Standing]] = {
    "none": Standing(""),
    "applied": Standing("apply", S.APPLIED),
    "accepted": Standing("apply, accept of application", S.ACCEPTED),
    "type_tested": Standing("apply, accept of application, type_test of application", S.TYPE_TESTED),
    "site_checked": Standing(ROAD.removesuffix(", review of application"), S.SITE_CHECKED),
    "reviewed": Standing(ROAD, S.REVIEWED),
    "refused": Standing(REFUSED, S.REFUSED, refused={"decide_appeal of application": "not_appealed"}),
    "refused, too late": Standing(
        REFUSED,
        S.REFUSED,
        refused={"appeal of application": "appeal_too_late", "decide_appeal of application": "not_appealed"},
        wait_days=61,
    ),
    "refused, appealed": Standing(
        f"{REFUSED}, appeal of application",
        S.REFUSED,
        refused={"appeal of application": "already_appealed"},
    ),
    "refused, dismissed": Standing(
        f"{REFUSED}, appeal of application, decide_appeal of application",
        S.REFUSED,
        refused={"appeal of application": "nothing_to_appeal", "decide_appeal of application": "not_appealed"},
        dismissed=True,
    ),
    "refused, upheld": Standing(f"{REFUSED}, appeal of application, decide_appeal of application", S.REVIEWED),
    "active": Standing(GRANTED, S.GRANTED, S.ACTIVE, refused=QUIET),
    "change applied": Standing(CHANGED, S.GRANTED, S.ACTIVE, S.APPLIED, refused=QUIET),
    "change accepted": Standing(f"{CHANGED}, accept of change", S.GRANTED, S.ACTIVE, S.ACCEPTED, refused=QUIET),
    "change reviewed": Standing(
        REVIEWED_CHANGE, S.GRANTED, S.ACTIVE, S.REVIEWED, refused=QUIET | {"grant of change": "change_of_certificate"}
    ),
    "change refused": Standing(
        f"{REVIEWED_CHANGE}, refuse of change",
        S.GRANTED,
        S.ACTIVE,
        S.REFUSED,
        refused=QUIET | {"decide_appeal of change": "not_appealed"},
    ),
    "change suspended": Standing(
        f"{REVIEWED_CHANGE}, suspend",
        S.GRANTED,
        S.SUSPENDED,
        S.REVIEWED,
        refused=NOT_APPEALED | {"grant of change": "change_of_certificate"},
    ),
    "extended": Standing(f"{REVIEWED_CHANGE}, extend", S.GRANTED, S.ACTIVE, S.GRANTED, refused=QUIET),
    "reduced": Standing(
        f"{GRANTED}, reduce",
        S.GRANTED,
        S.ACTIVE,
        refused=NOT_APPEALED | {"reduce": "scope_unknown"},
    ),
    "reduced, appealed": Standing(
        f"{GRANTED}, reduce, appeal",
        S.GRANTED,
        S.ACTIVE,
        refused=PENDING | {"reduce": "scope_unknown"},
    ),
    "reduced, appealed, change reviewed": Standing(
        f"{REVIEWED_CHANGE}, reduce, appeal",
        S.GRANTED,
        S.ACTIVE,
        S.REVIEWED,
        refused=PENDING
        | {"reduce": "scope_unknown", "extend": "appeal_pending", "grant of change": "change_of_certificate"},
    ),
    "reduced, upheld": Standing(f"{GRANTED}, reduce, appeal, decide_appeal", S.GRANTED, S.ACTIVE, refused=QUIET),
    "suspended": Standing(f"{GRANTED}, suspend", S.GRANTED, S.SUSPENDED, refused=NOT_APPEALED),
    "suspended past its end": Standing(
        f"{GRANTED}, suspend",
        S.GRANTED,
        S.SUSPENDED,
        refused=NOT_APPEALED | {"restore": "suspension_ended"},
        wait_days=SUSPENDED_DAYS,
    ),
    "suspended by rule": Standing(f"{GRANTED}, surveil", S.GRANTED, S.SUSPENDED, refused=NOT_APPEALED),
    "suspended, appealed": Standing(f"{GRANTED}, suspend, appeal", S.GRANTED, S.SUSPENDED, refused=PENDING),
    "suspended, dismissed": Standing(
        f"{GRANTED}, suspend, appeal, decide_appeal", S.GRANTED, S.SUSPENDED, refused=QUIET, dismissed=True
    ),
    "suspended, upheld": Standing(f"{GRANTED}, suspend, appeal, decide_appeal", S.GRANTED, S.ACTIVE, refused=QUIET),
    "restored": Standing(f"{GRANTED}, suspend, restore", S.GRANTED, S.ACTIVE, refused=QUIET),
    "revoked": Standing(f"{GRANTED}, revoke", S.GRANTED, S.REVOKED, refused=NOT_APPEALED),
    "revoked, too late": Standing(
        f"{GRANTED}, revoke",
        S.GRANTED,
        S.REVOKED,
        refused=NOT_APPEALED | {"appeal": "appeal_too_late"},
        wait_days=61,
    ),
    "revoked, appealed": Standing(f"{GRANTED}, revoke, appeal", S.GRANTED, S.REVOKED, refused=PENDING),
    "revoked, dismissed": Standing(
        f"{GRANTED}, revoke, appeal, decide_appeal", S.GRANTED, S.REVOKED, refused=QUIET, dismissed=True
    ),
    "revoked, upheld": Standing(f"{GRANTED}, revoke, appeal, decide_appeal", S.GRANTED, S.ACTIVE, refused=QUIET),
    "cancelled": Standing(f"{GRANTED}, cancel", S.GRANTED, S.CANCELLED),
    "expired": Standing(GRANTED, S.GRANTED, S.EXPIRED, refused=NOT_APPEALED, at_end=True),
    "expired, appealed": Standing(f"{GRANTED}, suspend, appeal", S.GRANTED, S.EXPIRED, at_end=True),
}


def actor_of(step: str) -> Actor:
    """Return who submits an event on the road to a standing."""
    return WHO.get(step.partition(" ")[0], (BODY, "first"))


def standing_chain(standing: Standing) -> SchemeChain:
    """Return a chain on which a life stands so."""
    chain = SchemeChain()
    for place, name in enumerate(filter(None, standing.road.split(", "))):
        said = EVENTS[name]
        member, desk = actor_of(name)
        body = said.make(f"road {place}")
        if isinstance(body, DecideAppeal):
            body = DecideAppeal(body.subject, not standing.dismissed, body.evidence)
        chain.act(member, desk, chain.signed(body) if isinstance(body, Grant | Revoke) else body)
    chain.now_ms += standing.wait_days * DAY_MS
    if standing.at_end:
        chain.wait(chain.certificate_at().valid_until_ms)
    return chain


def expected(standing: Standing, name: str, actor: Actor) -> str:
    """Return the rule by which a triple is refused, empty where it is admitted."""
    said = EVENTS[name]
    row, member = said.row, actor[0]
    if not row.roles & set(ROLES[member]):
        return "not_permitted"
    missing = _existence(standing, name)
    if missing:
        return missing
    state = standing.state_of(said.subject) if row is not ROWS["apply"] else None
    if name == "extend" and standing.certificate is not S.ACTIVE:
        state = standing.certificate
    if state not in row.from_states:
        return "wrong_state"
    return _party(said, standing, actor) or _check(standing, name, actor)


def _existence(standing: Standing, name: str) -> str:
    """Return the rule where what an event names is not there, or what it makes is there already."""
    application, change, certificate = standing.application, standing.change, standing.certificate
    match name:
        case "apply" | "apply by schema 1":
            return "" if application is None else "application_exists"
        case "apply_change" if change is not None:
            return "application_exists"
        case "extend":
            return "unknown_application" if change is None else ""
        case "grant of application" | "grant by schema 1" if certificate is not None:
            return "number_taken"
    if standing.state_of(EVENTS[name].subject) is not None:
        return ""
    return "unknown_certificate" if EVENTS[name].subject == "certificate" else "unknown_application"


def _party(said: Said, standing: Standing, actor: Actor) -> str:
    """Return the rule where the member or key is none of a row's parties."""
    found = [_relation(party, said.subject, standing, actor) for party in said.row.parties]
    return "" if "" in found else next((rule for rule in found if rule != "not_permitted"), "not_permitted")


def _relation(party: Party, subject: str, standing: Standing, actor: Actor) -> str:
    member = actor[0]
    if not ROLES_OF_PARTY[party] & set(ROLES[member]):
        return "not_permitted"
    if party in (Party.APPLICANT, Party.REGULATOR, Party.APPEAL_REGULATOR):
        return ""
    if party is Party.HOLDER:
        return "" if member == HOLDER else "not_permitted"
    if party in (Party.LABORATORY, Party.INSPECTOR, Party.CERTIFICATION_BODY):
        return "conflict_of_interest" if member == HOLDER else ""
    if member != BODY:
        return "not_permitted"
    barred = {Party.DECIDER: {(BODY, "reviewer")}, Party.APPEAL_OFFICER: standing.took_part(subject)}
    return "same_officer" if actor in barred.get(party, set()) else ""


def _check(standing: Standing, name: str, actor: Actor) -> str:
    """Return the rule by which a check refuses what the row's states and parties admit."""
    if name in standing.refused:
        return standing.refused[name]
    if name.startswith("apply") and name != "apply_change" and actor[0] != HOLDER:
        return "not_own_application"
    if name == "accept of change" and actor[0] != BODY:
        return "other_body"
    return "four_eyes_needed" if name in ("grant by schema 1", "revoke by schema 1") else ""
