"""Every standing of a random inspection that the rules tell apart, every event of kinds 20 to 26, and everybody.

What is expected of a triple is written from the table in docs/certification.md ("Random inspections") and from the
sentences of the rules, in the order in which a reader would check them, and not from the code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from ledger.accreditations import AccreditedRole
from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import ApplyScoped, Cancel, ReportInspection, ResolveInspection
from ledger.genesis import Genesis, GenesisSource
from ledger.governance_bodies import EndAccreditation, SetSchemePolicy
from ledger.inspection_bodies import (
    AnnounceInspection,
    CloseInspection,
    CommitInspection,
    DrawCategory,
    DrawInspection,
    RevealInspection,
)
from ledger.inspection_events import UNDER_WAY_MAX
from ledger.inspection_records import read_inspection
from ledger.inspection_selection import commitment_of
from ledger.members import Role
from ledger.policy import DAY_MS
from primitives.encoding import Record
from tests.ledger.certificate_fixtures import CATEGORY, NUMBER, REQUEST, ROLES, grant, piece
from tests.ledger.governance_fixtures import key_of
from tests.ledger.inspection_fixtures import number_of, secret_of
from tests.ledger.scheme_chain_fixtures import SchemeChain
from tests.ledger.scheme_fixtures import road
from tests.ledger.triple_checks import Actor, Said

DRAW: Final = "cb.2026-1"
NO_DRAW: Final = "cb.none"
COUNT: Final = 9
OTHER_CATEGORY: Final = 5
OTHER_CASE: Final = "conglomerate.0002"
OTHER: Final = number_of(2, OTHER_CATEGORY)
"""A certificate of the conglomerate, which inspects as well; of a category that takes no part in the draw."""
NO_NUMBER: Final = number_of(99)
COMMITTED: Final = ("cb", "ins", "lab")
FULL: Final = (*COMMITTED, "auditor")
COMMITMENTS_MAX, STEP_CERTIFICATES = len(FULL), 1
"""What tests set the bounds to, so that a draw is full, and takes steps, with as little as there is here."""
TILL: Final[Actor] = ("conglomerate", "till")
"""A key of a member that supervises, which acts for it as a bank alone."""
ACTORS: Final[tuple[Actor, ...]] = (*((member, "first") for member in ROLES), ("cb", "reviewer"), TILL)
ANNOUNCERS = {"cb", "cb-other", "regulator", "conglomerate"}
SUPERVISORS = ANNOUNCERS | {"lab", "ins", "auditor"}
INSPECTORS = {"ins", "conglomerate"}
BODIES = {"cb", "cb-other", "conglomerate"}

Make = Callable[[SchemeChain, str], Record]


def announcement(chain: SchemeChain, draw: str, **change: object) -> AnnounceInspection:
    """Return an announcement that is admitted now, with some fields changed."""
    until = chain.now_ms + 2 * DAY_MS
    body = AnnounceInspection(draw, (DrawCategory(CATEGORY, 1),), COUNT, until, until + 2 * DAY_MS, 30, None)
    return replace(body, **change)


def commit(chain: SchemeChain, member: str, draw: str = DRAW) -> CommitInspection:
    """Return a member's commitment."""
    return CommitInspection(draw, commitment_of(chain.chain_id, draw, member, secret_of(member, draw)))


def reveal(member: str, draw: str = DRAW) -> RevealInspection:
    """Return what a member committed to."""
    return RevealInspection(draw, secret_of(member, draw))


def _report(text: str, number: str = NUMBER, draw: str = DRAW, **change: object) -> ReportInspection:
    body = ReportInspection(draw, number, True, False, (), None, (piece(EvidenceKind.SITE_CHECK, text),))
    return replace(body, **change)


def _resolve(text: str, number: str = NUMBER, draw: str = DRAW) -> ResolveInspection:
    return ResolveInspection(draw, number, (piece(EvidenceKind.CORRECTIVE_ACTION, text),))


EVENTS: Final[dict[str, Make]] = {
    "announce": lambda chain, who: announcement(chain, f"{who}.new"),
    "announce for another": lambda chain, _: announcement(chain, "cb-other.new"),
    "announce again": lambda chain, _: announcement(chain, DRAW),
    "announce for too short": lambda chain, who: announcement(
        chain, f"{who}.new", commit_until_ms=chain.now_ms + DAY_MS
    ),
    "announce for too long": lambda chain, who: announcement(
        chain, f"{who}.new", reveal_until_ms=chain.now_ms + 91 * DAY_MS
    ),
    "announce what is unknown": lambda chain, who: announcement(chain, f"{who}.new", categories=(DrawCategory(98, 1),)),
    "announce anew": lambda chain, who: announcement(chain, f"{who}.new", replaces=DRAW),
    "announce anew otherwise": lambda chain, who: announcement(chain, f"{who}.new", replaces=DRAW, count=COUNT - 1),
    "announce none anew": lambda chain, who: announcement(chain, f"{who}.new", replaces=NO_DRAW),
    "commit": commit,
    "commit to none": lambda chain, who: commit(chain, who, NO_DRAW),
    "close": lambda _chain, _: CloseInspection(DRAW),
    "close none": lambda _chain, _: CloseInspection(NO_DRAW),
    "reveal": lambda _, who: reveal(who),
    "reveal another secret": lambda _chain, _: RevealInspection(DRAW, bytes(32)),
    "reveal for none": lambda _, who: reveal(who, NO_DRAW),
    "draw": lambda _chain, _: DrawInspection(DRAW),
    "draw none": lambda _chain, _: DrawInspection(NO_DRAW),
    "report": lambda _, who: _report(f"found by {who}"),
    "report gravely": lambda _, who: _report(f"found by {who}", passed=False, grave=True, findings=("seal_broken",)),
    "report with a late end": lambda chain, who: _report(
        f"found by {who}", passed=False, findings=("worn",), correct_by_ms=chain.now_ms + 91 * DAY_MS
    ),
    "report with an end in 20 days": lambda chain, who: _report(
        f"found by {who}", passed=False, findings=("worn",), correct_by_ms=chain.now_ms + 20 * DAY_MS
    ),
    "report nothing filed": lambda _chain, _: _report("", evidence=()),
    "report what was found before": lambda _chain, _: _report("on the road"),
    "report on the other": lambda _, who: _report(f"found by {who}", OTHER),
    "report on no certificate": lambda _, who: _report(f"found by {who}", NO_NUMBER),
    "report for no draw": lambda _, who: _report(f"found by {who}", draw=NO_DRAW),
    "resolve": lambda _, who: _resolve(f"mended says {who}"),
    "resolve the other": lambda _, who: _resolve(f"mended says {who}", OTHER),
    "resolve on no certificate": lambda _, who: _resolve(f"mended says {who}", NO_NUMBER),
    "resolve for no draw": lambda _, who: _resolve(f"mended says {who}", draw=NO_DRAW),
}
KINDS: Final = {
    "announce": 20,
    "commit": 21,
    "close": 22,
    "reveal": 23,
    "draw": 24,
    "report": 25,
    "resolve": 26,
}
"""Which kind the first word of an event's name is."""


@dataclass(frozen=True)
class Standing:
    """How a draw stands after a road, and what a table of its own would say of it.

    `phase` is the page's: none, announced, closing (its block), closed, over (no more reveals), drawing, drawn, void.
    `before` comes in the same block as what is tried. `windows` and `corrections` are what the scheme's policy asks:
    a day and 90 days, unless it is said.
    """

    road: str
    phase: str
    committed: tuple[str, ...] = ()
    revealed: tuple[str, ...] = ()
    before: tuple[Said, ...] = ()
    busy: str = ""
    barred: str = ""
    replaced: bool = False
    in_use: bool = True
    report: str = ""
    unaccredited: str = ""
    windows: str = "a day"
    corrections: str = "90 days"
    refused: dict[str, str] = field(default_factory=dict)


CLOSED = "announce, commit, end, close"
SHOWN = f"{CLOSED}, reveal"
DRAWN = f"{SHOWN}, draw, draw"
STEP: Final[Said] = (("bank-b", "first"), DrawInspection(DRAW))
STANDINGS: Final[dict[str, Standing]] = {
    "none": Standing("", "none"),
    "none, longer windows by the policy": Standing("ask 3 days", "none", windows="3 days"),
    "none, shorter windows by the policy": Standing("ask an hour", "none", windows="an hour"),
    "announced": Standing("announce", "announced"),
    "announced, committed": Standing("announce, commit", "announced", COMMITTED),
    "announced, full": Standing("announce, commit, fill", "announced", FULL),
    "announced, its announcer busy": Standing("announce, busy", "announced", busy="cb"),
    "announced, one barred": Standing("fault, announce", "announced", barred="lab"),
    "closing": Standing("announce, commit, end", "closing", COMMITTED),
    "closed": Standing(CLOSED, "closed", COMMITTED),
    "closed, one revealed": Standing(f"{CLOSED}, reveal one", "closed", COMMITTED, COMMITTED[:1]),
    "closed, reveals over": Standing(f"{CLOSED}, reveal one, late", "over", COMMITTED, COMMITTED[:1]),
    "closed, all revealed": Standing(SHOWN, "closed", COMMITTED, COMMITTED),
    "closed, all revealed, a step in this block": Standing(SHOWN, "turn taken", COMMITTED, COMMITTED, (STEP,)),
    "drawing": Standing(f"{SHOWN}, draw", "drawing", COMMITTED, COMMITTED),
    "drawn": Standing(DRAWN, "drawn", COMMITTED, COMMITTED),
    "drawn, the inspector's accreditation ended": Standing(
        f"{DRAWN}, end accreditation", "drawn", COMMITTED, COMMITTED, unaccredited="ins"
    ),
    "drawn, corrections sooner by the policy": Standing(
        f"{DRAWN}, ask 10 days", "drawn", COMMITTED, COMMITTED, corrections="10 days"
    ),
    "reported as passed": Standing(f"{DRAWN}, report", "drawn", COMMITTED, COMMITTED, report="passed"),
    "reported with findings": Standing(f"{DRAWN}, report findings", "drawn", COMMITTED, COMMITTED, report="failed"),
    "reported as grave": Standing(f"{DRAWN}, report gravely", "drawn", COMMITTED, COMMITTED, report="failed"),
    "resolved": Standing(f"{DRAWN}, report findings, resolve", "drawn", COMMITTED, COMMITTED, report="resolved"),
    "drawn, the certificate cancelled": Standing(f"{DRAWN}, cancel", "drawn", COMMITTED, COMMITTED, in_use=False),
    "drawn, the certificate expired": Standing(
        f"{DRAWN}, expire",
        "drawn",
        COMMITTED,
        COMMITTED,
        in_use=False,
        refused={"report on the other": "wrong_state", "resolve the other": "wrong_state"},
    ),
    "void as it closes": Standing("announce, end", "void, closing"),
    "void": Standing("announce, end, close", "void"),
    "void, not revealed": Standing(f"{CLOSED}, reveal one, late, draw", "void", COMMITTED, COMMITTED[:1]),
    "void, announced anew": Standing("announce, end, close, anew", "void", replaced=True),
}


@dataclass
class TillChain(SchemeChain):
    """A council of which one member has a key that acts for it as a bank alone."""

    def founded(self) -> Genesis:
        """Return the genesis."""
        genesis = super().founded()
        till = GenesisSource(key_of(*TILL).public, (Role.BANK,))
        members = (
            replace(each, sources=(*each.sources, till)) if each.id == TILL[0] else each for each in genesis.members
        )
        return replace(genesis, members=tuple(members))


def _two_certificates() -> SchemeChain:
    """Return a chain with bank-a's certificate, and one of the conglomerate's of another category."""
    chain = TillChain().granted()
    for member, desk, body in road(OTHER_CASE):
        if isinstance(body, ApplyScoped):
            member, body = "conglomerate", replace(body, category=OTHER_CATEGORY)
        chain.act(member, desk, body)
    chain.act("cb", "decider", chain.signed(grant(OTHER_CASE, OTHER)))
    return chain


def standing_chain(standing: Standing) -> SchemeChain:
    """Return a chain on which a draw stands so."""
    chain = _two_certificates()
    for step in filter(None, standing.road.split(", ")):
        _STEPS[step](chain)
    return chain


def _wait_for_the_end(chain: SchemeChain) -> None:
    draw = read_inspection(chain.state, DRAW)
    assert draw is not None
    chain.wait(draw.commit_until_ms)


def _wait_for_all_reveals(chain: SchemeChain) -> None:
    draw = read_inspection(chain.state, DRAW)
    assert draw is not None
    assert draw.reveal_until_ms is not None
    chain.wait(draw.reveal_until_ms)


def _fault(chain: SchemeChain) -> None:
    """Let the laboratory commit to a draw of the regulator's and not reveal."""
    draw = "regulator.0"
    chain.act("regulator", "first", announcement(chain, draw))
    for member in ("ins", "lab"):
        chain.act(member, "first", commit(chain, member, draw))
    chain.now_ms += 2 * DAY_MS
    chain.act("bank-b", "first", CloseInspection(draw))
    chain.act("ins", "first", reveal("ins", draw))
    chain.now_ms += 2 * DAY_MS
    chain.act("bank-b", "first", DrawInspection(draw))


def _busy(chain: SchemeChain) -> None:
    """Let the announcer have as many draws under way as it may."""
    for number in range(UNDER_WAY_MAX - 1):
        chain.act("cb", "first", announcement(chain, f"cb.busy{number}"))


def _each(members: tuple[str, ...], make: Make) -> Callable[[SchemeChain], None]:
    def go(chain: SchemeChain) -> None:
        for member in members:
            chain.act(member, "first", make(chain, member))

    return go


def _by(member: str, make: Callable[[SchemeChain], Record]) -> Callable[[SchemeChain], None]:
    return lambda chain: chain.act(member, "first", make(chain)) and None


def _ask(chain: SchemeChain, *, window_s: int | None = None, correction_days: int | None = None) -> None:
    """Let the scheme's policy ask this."""
    chain.vote(chain.propose(SetSchemePolicy(None, None, correction_days, None, window_s)), 0, 1, 2)


def _end_accreditation(chain: SchemeChain) -> None:
    action = EndAccreditation("ins", AccreditedRole.INSPECTOR, chain.now_ms, "found_wanting")
    chain.vote(chain.propose(action), 0, 1, 2)


_FOUND: Final = {"passed": False, "findings": ("seal_broken",)}
_STEPS: Final[dict[str, Callable[[SchemeChain], None]]] = {
    "announce": _by("cb", lambda chain: announcement(chain, DRAW)),
    "commit": _each(COMMITTED, commit),
    "fill": _each(FULL[len(COMMITTED) :], commit),
    "busy": _busy,
    "fault": _fault,
    "end": _wait_for_the_end,
    "close": _by("bank-b", lambda _: CloseInspection(DRAW)),
    "reveal": _each(COMMITTED, lambda _, who: reveal(who)),
    "reveal one": _each(COMMITTED[:1], lambda _, who: reveal(who)),
    "late": _wait_for_all_reveals,
    "draw": _by("bank-b", lambda _: DrawInspection(DRAW)),
    "report": _by("ins", lambda _: _report("on the road")),
    "report findings": _by("ins", lambda _: _report("on the road", **_FOUND)),
    "report gravely": _by("ins", lambda _: _report("on the road", **_FOUND, grave=True)),
    "resolve": _by("cb", lambda _: _resolve("on the road")),
    "cancel": _by("cb", lambda _: Cancel(NUMBER, REQUEST)),
    "expire": lambda chain: chain.wait(chain.certificate_at(OTHER).valid_until_ms),
    "ask 3 days": lambda chain: _ask(chain, window_s=3 * DAY_MS // 1_000),
    "ask an hour": lambda chain: _ask(chain, window_s=3_600),
    "ask 10 days": lambda chain: _ask(chain, correction_days=10),
    "end accreditation": _end_accreditation,
    "anew": _by("cb", lambda chain: announcement(chain, "cb.2026-2", replaces=DRAW)),
}


def expected(standing: Standing, name: str, actor: Actor) -> str:
    """Return the rule by which a triple is refused, empty where it is admitted."""
    member = actor[0]
    match name.partition(" ")[0]:
        case "announce" | "commit" | "report" | "resolve" if actor == TILL:
            return "not_permitted"
        case "announce":
            return _announcing(standing, name, member)
        case "commit" if member not in SUPERVISORS:
            return "not_permitted"
        case "report" if member not in INSPECTORS:
            return "not_permitted"
        case "resolve" if member not in BODIES:
            return "not_permitted"
        case "report" | "resolve":
            return _reporting(standing, name, member)
    if name.endswith(" none") or standing.phase == "none":
        return "unknown_draw"
    match name:
        case "commit":
            return _committing(standing, member)
        case "close":
            return {"announced": "commitments_open", "closing": "", "void, closing": ""}.get(
                standing.phase, "wrong_phase"
            )
        case "draw":
            return _drawing(standing)
        case _:
            return _revealing(standing, name, member)


def _announcing(standing: Standing, name: str, member: str) -> str:
    if member not in ANNOUNCERS:
        return "not_permitted"
    if name == "announce for another" and member != "cb-other":
        return "not_own_draw"
    if name == "announce again":
        if member != "cb":
            return "not_own_draw"
        if standing.phase != "none":
            return "draw_exists"
    if name == "announce for too long" or standing.windows == "3 days":
        return "draw_windows"
    if name == "announce for too short" and standing.windows == "a day":
        return "draw_windows"
    if name == "announce what is unknown":
        return "unknown_category"
    if name == "announce none anew":
        return "unknown_draw"
    if name.startswith("announce anew"):
        if standing.phase == "none":
            return "unknown_draw"
        if member not in ("cb", "regulator"):
            return "not_own_draw"
        if not standing.phase.startswith("void") or standing.replaced:
            return "draw_not_void"
        if name == "announce anew otherwise":
            return "draw_differs"
    return "too_many_draws" if member == standing.busy else ""


def _committing(standing: Standing, member: str) -> str:
    if standing.phase != "announced":
        return "commitments_ended"
    if member in standing.committed:
        return "already_committed"
    if len(standing.committed) == COMMITMENTS_MAX:
        return "too_many_commitments"
    return "barred_from_draws" if member == standing.barred else ""


def _revealing(standing: Standing, name: str, member: str) -> str:
    if standing.phase == "closing":
        return "reveal_too_early"
    if standing.phase == "over":
        return "reveals_ended"
    if standing.phase != "closed":
        return "wrong_phase"
    if member not in standing.committed:
        return "no_commitment"
    if member in standing.revealed:
        return "already_revealed"
    return "wrong_reveal" if name == "reveal another secret" else ""


def _drawing(standing: Standing) -> str:
    match standing.phase:
        case "closing":
            return "reveals_open"
        case "closed":
            return "" if standing.revealed == standing.committed else "reveals_open"
        case "over" | "drawing":
            return ""
        case "turn taken":
            return "draw_turn_taken"
        case _:
            return "wrong_phase"


def _reporting(standing: Standing, name: str, member: str) -> str:
    if name.endswith("no draw") or standing.phase == "none":
        return "unknown_draw"
    if name.endswith("no certificate"):
        return "unknown_certificate"
    if name in standing.refused:
        return standing.refused[name]
    about_other = name.endswith("the other")
    if not about_other and not standing.in_use:
        return "wrong_state"
    if name.startswith("resolve"):
        if member != "cb":
            return "not_permitted"
        findings = {"failed": "", "resolved": "already_resolved"}
        return "no_findings" if about_other else findings.get(standing.report, "no_findings")
    if about_other and member == "conglomerate":
        return "conflict_of_interest"
    if name == "report nothing filed":
        return "evidence_missing"
    if name == "report what was found before" and standing.report:
        return "evidence_repeated"
    if name == "report with a late end" or (name.endswith("20 days") and standing.corrections == "10 days"):
        return "correction_time"
    if member == standing.unaccredited:
        return "accreditation_ended"
    if about_other or standing.phase != "drawn":
        return "not_drawn"
    return "already_reported" if standing.report else ""
