"""Every standing of a register that the rules tell apart, every event of kinds 31 and 104, and everybody.

What is expected of a triple is written from docs/domain.md (section 3, imports), docs/certification.md (registers), and
the sentences of the rules, in the order in which a reader would check them, and not from the code. Rows that break a
rule of their own stand in the register: each is what its officers signed, so nothing else is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import Cancel
from ledger.certificate_records import add_months
from ledger.governance_bodies import ExcludeMember, SetSchemePolicy
from ledger.members import Role
from ledger.policy import DAY_MS
from ledger.register_bodies import Import, OpenRegister, RegisterRow, RowSuspension
from ledger.register_checks import REGISTER_OPEN_DAYS
from ledger.scheme_policy import RegisterImports
from primitives.encoding import Record
from tests.ledger.certificate_fixtures import NUMBER, REQUEST, ROLES, START_MS, piece
from tests.ledger.register_fixtures import GRANTED_MS, SOURCE, opening, row, signed_opening, suspended, tree
from tests.ledger.scheme_chain_fixtures import SchemeChain
from tests.ledger.triple_checks import Actor, Said

REGISTER: Final = "cb.2025"
NO_REGISTER: Final = "cb.none"
BODIES: Final = tuple(member for member, roles in ROLES.items() if Role.CERTIFICATION_BODY in roles)
ACTORS: Final[tuple[Actor, ...]] = (*((member, "first") for member in ROLES), ("cb", "reviewer"))
EXCLUDED: Final = "vendor"
"""Who is excluded in some standings: it holds a certificate of the register, and keeps a document of another."""
GOOD, SUSPENDED = row(1), suspended(2)
BROKEN: Final[dict[str, tuple[str, RegisterRow]]] = {
    "a wrong id": ("bad_holder_id", row(3, holder_id="HWUPKR0MPOU8FGXBT395")),
    "an unknown category": ("unknown_category", row(4, category=98, number="FTP-2025-98-000004")),
    "an unknown catalogue": ("unknown_catalogue", row(5, catalogue=9)),
    "a catalogue to come": (
        "catalogue_not_in_force",
        row(6, granted_ms=1_640_000_000_000, number="FTP-2021-06-000006"),
    ),
    "another category's number": ("number_of_other_category", row(7, category=5)),
    "another year's number": ("number_of_other_year", row(8, number="FTP-2024-06-000008")),
    "a grant to come": ("granted_too_late", row(9, granted_ms=START_MS + 300 * DAY_MS, number="FTP-2026-06-000009")),
    "an empty term": ("validity_empty", row(10, valid_until_ms=GRANTED_MS)),
    "a term that is over": ("term_ended", row(11, valid_until_ms=START_MS)),
    "a term too long": ("validity_too_long", row(12, valid_until_ms=add_months(GRANTED_MS, 36) + 1)),
    "a suspension that is over": ("suspension_empty", row(13, suspension=RowSuspension("found", START_MS))),
    "a suspension too long": (
        "suspension_too_long",
        row(14, suspension=RowSuspension("found", START_MS + 300 * DAY_MS)),
    ),
    "the body's own product": ("conflict_of_interest", row(15, holder="cb")),
    "a later event's document": (
        "evidence_not_expected",
        row(16, evidence=(piece(EvidenceKind.CORRECTIVE_ACTION, "later"),)),
    ),
    "no member's product": ("unknown_holder", row(17, holder="nobody")),
    "a laboratory's product": ("not_a_holder", row(18, holder="lab")),
    "a document that nobody keeps": (
        "unknown_custodian",
        row(19, evidence=(piece(EvidenceKind.SITE_CHECK, "visit", "nobody"),)),
    ),
    "a number granted here": ("number_taken", row(20, number=NUMBER, granted_ms=START_MS)),
    "a number of two rows": ("", row(1, holder_name="Another")),
    "what one who is excluded holds": ("", row(21, holder=EXCLUDED)),
    "what one who is excluded keeps": (
        "",
        row(22, evidence=(piece(EvidenceKind.SITE_CHECK, "kept", EXCLUDED),)),
    ),
}
"""Rows of the register, by what is wrong with them: the rule, empty where that depends on the standing."""
ROWS: Final = [GOOD, SUSPENDED, *(each for _, each in BROKEN.values())]
OTHER_ROWS: Final = [replace(GOOD, number="FTP-2025-06-000090"), replace(GOOD, number="FTP-2025-06-000091")]

Make = Callable[[SchemeChain, str], Record]


def open_register(
    chain: SchemeChain, member: str, register: str = REGISTER, rows: list[RegisterRow] = ROWS, **change: object
) -> OpenRegister:
    """Return the event that opens a register, signed by two officers of a member for this chain."""
    plain = replace(opening(rows, register=register), **change)
    return signed_opening(plain, member, chain_id=chain.chain_id)


def import_row(index: int, register: str = REGISTER, rows: list[RegisterRow] = ROWS) -> Import:
    """Return the event that imports a row."""
    return Import(register, index, rows[index], tree(rows, register).path(index))


EVENTS: Final[dict[str, Make]] = {
    "open": lambda chain, who: open_register(chain, who, f"{who}.new"),
    "open again": lambda chain, who: open_register(chain, who),
    "open another's": lambda chain, who: open_register(chain, who, "cb-other.new"),
    "open by others' officers": lambda chain, who: open_register(
        chain, "regulator" if who != "regulator" else "cb", f"{who}.new"
    ),
    "open with other rows than signed": lambda chain, who: replace(
        open_register(chain, who, f"{who}.new"), root=bytes(32)
    ),
    "open for another chain": lambda _, who: signed_opening(opening(ROWS, register=f"{who}.new"), who),
    "open from a file that nobody keeps": lambda chain, who: open_register(
        chain, who, f"{who}.new", source=replace(SOURCE, custodian="nobody")
    ),
    "open from a file of one who is excluded": lambda chain, who: open_register(
        chain, who, f"{who}.new", source=replace(SOURCE, custodian=EXCLUDED)
    ),
    "import": lambda _chain, _: import_row(0),
    "import a suspended one": lambda _chain, _: import_row(1),
    "import from none": lambda _chain, _: import_row(0, NO_REGISTER),
    "import beyond the count": lambda _chain, _: replace(import_row(0), index=len(ROWS)),
    "import at another place": lambda _chain, _: replace(import_row(0), index=1),
    "import what was not signed": lambda _chain, _: replace(import_row(0), row=replace(GOOD, holder="bank-b")),
    "import without the path": lambda _chain, _: replace(import_row(0), path=()),
    "import from another's": lambda _chain, _: import_row(0, "cb-other.2025", OTHER_ROWS),
    **{f"import {name}": lambda _chain, _, at=at: import_row(at) for at, name in enumerate(BROKEN, 2)},  # type: ignore[misc]  # a default of a lambda
}


@dataclass(frozen=True)
class Standing:
    """How a register stands after a road; `before` comes in the same block as what is tried.

    `register` is none, opening (its block), open or over. `policy` is whether registers may be opened.
    """

    road: str
    register: str
    imported: bool = False
    policy_open: bool = True
    excluded: bool = False
    before: tuple[str, ...] = ()


STANDINGS: Final[dict[str, Standing]] = {
    "none": Standing("", "none"),
    "none, and none may be opened": Standing("close policy", "none", policy_open=False),
    "none, one excluded": Standing("exclude", "none", excluded=True),
    "opening": Standing("", "opening", before=("open",)),
    "open": Standing("open", "open"),
    "open, and no other may be": Standing("open, close policy", "open", policy_open=False),
    "open, one excluded": Standing("open, exclude", "open", excluded=True),
    "imported": Standing("open, import", "open", imported=True),
    "imported, cancelled": Standing("open, import, cancel", "open", imported=True),
    "over": Standing("open, import, end", "over", imported=True),
    "none, may be opened again": Standing("close policy, open policy", "none"),
}


def _vote(chain: SchemeChain, action: SetSchemePolicy | ExcludeMember) -> None:
    chain.vote(chain.propose(action), 0, 1, 2)


def _policy(imports: RegisterImports) -> SetSchemePolicy:
    return SetSchemePolicy(None, None, None, imports, None)


def _act(chain: SchemeChain, body: Record) -> None:
    chain.act("cb", "first", body)


_STEPS: Final[dict[str, Callable[[SchemeChain], None]]] = {
    "open": lambda chain: _act(chain, open_register(chain, "cb")),
    "import": lambda chain: [_act(chain, import_row(place)) for place in (0, 1)] and None,
    "cancel": lambda chain: [_act(chain, Cancel(each.number, REQUEST)) for each in (GOOD, SUSPENDED)] and None,
    "end": lambda chain: chain.wait(chain.now_ms + REGISTER_OPEN_DAYS * DAY_MS),
    "exclude": lambda chain: _vote(chain, ExcludeMember(EXCLUDED)),
    "close policy": lambda chain: _vote(chain, _policy(RegisterImports.CLOSED)),
    "open policy": lambda chain: _vote(chain, _policy(RegisterImports.OPEN)),
}


def standing_chain(standing: Standing) -> SchemeChain:
    """Return a chain on which a register stands so; its first certificate was granted here, and another's is open."""
    chain = SchemeChain().granted()
    chain.act("cb-other", "first", open_register(chain, "cb-other", "cb-other.2025", OTHER_ROWS))
    for step in filter(None, standing.road.split(", ")):
        _STEPS[step](chain)
    return chain


def lawful(standing: Standing, chain: SchemeChain) -> list[Said]:
    """Return what comes in the same block before what is tried."""
    return [(("cb", "first"), open_register(chain, "cb")) for _ in standing.before]


def actors_of(standing: Standing) -> tuple[Actor, ...]:
    """Return who may say anything: an excluded member's batches are in no block at all."""
    return tuple(actor for actor in ACTORS if not (standing.excluded and actor[0] == EXCLUDED))


def expected(standing: Standing, name: str, actor: Actor) -> str:
    """Return the rule by which a triple is refused, empty where it is admitted."""
    member = actor[0]
    if member not in BODIES:
        return "not_permitted"
    return _opening(standing, name, member) if name.startswith("open") else _importing(standing, name, member)


def _opening(standing: Standing, name: str, member: str) -> str:
    if name == "open again" and member != "cb":
        return "not_own_register"
    if name == "open another's" and member != "cb-other":
        return "not_own_register"
    if not standing.policy_open:
        return "registers_closed"
    if name == "open again" and standing.register != "none":
        return "register_exists"
    if name == "open from a file of one who is excluded" and standing.excluded:
        return "excluded_custodian"
    wrong = {
        "open by others' officers": "unknown_officer",
        "open with other rows than signed": "bad_approval",
        "open for another chain": "bad_approval",
        "open from a file that nobody keeps": "unknown_custodian",
    }
    return wrong.get(name, "")


def _importing(standing: Standing, name: str, member: str) -> str:
    if name == "import from another's":
        over = "register_closed" if standing.register == "over" else ""
        return over if member == "cb-other" else "not_own_register"
    if name == "import from none" or standing.register == "none":
        return "unknown_register"
    if member != "cb":
        return "not_own_register"
    if standing.register == "opening":
        return "register_not_settled"
    if standing.register == "over":
        return "register_closed"
    match name:
        case "import beyond the count":
            return "register_count_exceeded"
        case "import" | "import a suspended one" | "import without the path" if standing.imported:
            return "row_imported"
        case "import at another place" | "import what was not signed" | "import a number of two rows" if (
            standing.imported
        ):
            return "row_imported" if name == "import what was not signed" else "number_taken"
        case "import at another place" | "import what was not signed" | "import without the path":
            return "not_in_register"
        case "import what one who is excluded holds" if standing.excluded:
            return "unknown_holder"
        case "import what one who is excluded keeps" if standing.excluded:
            return "excluded_custodian"
        case _:
            return BROKEN.get(name.removeprefix("import "), ("", None))[0]
