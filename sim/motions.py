"""What members of a simulated consortium put to the vote besides who validates, as words: a motion of a few of them.

A motion's words are what a scenario's text has: `policy block_batches_max 16 in 3`. Whether it comes about is for the
chain to say; some of those drawn may not be, and some that may are voted down. Not here: who validates
(`sim.membership`), what must hold of the outcome (`sim.statute`).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Final

from ledger.accreditations import ACCREDITATION_DAYS_MAX, USUAL_STANDARD, AccreditedRole
from ledger.catalogue import PUBLISHED_CATALOGUES
from ledger.governance_bodies import (
    Accredit,
    ActivateRules,
    AddCatalogue,
    AnyAction,
    ChangePolicy,
    EndAccreditation,
    Figure,
    RemoveSource,
    RemoveValidator,
    ReplaceCa,
    SetOfficers,
    SetRoles,
    SetSchemePolicy,
    SetSourceRoles,
    SetThreshold,
)
from ledger.governance_rules import RULES_LEAD_HEIGHTS_MIN
from ledger.member_rules import PEM_LINE
from ledger.members import GOVERNANCE_ROLE, Officer, Role
from ledger.policy import DAY_MS, policy_range
from ledger.thresholds import LOWEST, Share
from primitives.errors import InputError
from sim.workload import START_MS, bank_of, key_of

MOTIONS: Final = (1, 6)
BEGIN_MS: Final = 300
TAIL_SHARE: Final = 5
"""No motion is made in the last fifth of the faults: its votes are to be cast among them."""
AGAINST_SHARE: Final = 0.15
"""How often a bank votes against what is moved; it stays silent as often."""
HEIGHT_MAX: Final = 1 << 40
GENERATION_MAX: Final = 99
FIGURES: Final = (
    ("block_batches_max", (2, 16, 256)),
    ("checkpoint_slot_ms", (50, 400, 1_000)),
    ("block_time_lag_ms_max", (5_000, 20_000)),
    ("block_time_drift_ms_max", (1_000, 5_000)),
    ("appeal_window_days", (0, 30)),
)
"""Figures that a drawn motion changes: such as let order go on when faults end."""
AT: Final = ("at", "in")
RULES_NEXT: Final = ("rules", "2", "in", str(RULES_LEAD_HEIGHTS_MIN + 12))
"""The motion by which a chain of the first rules comes to the second, with blocks enough for its votes before that."""


@dataclass(frozen=True, slots=True)
class Motion:
    """One motion: when a bank proposes it, counted from the run's start, in which words, and who votes how."""

    at_ms: int
    bank: int
    words: tuple[str, ...]
    approve: tuple[int, ...]
    reject: tuple[int, ...] = ()


# --- words to actions


def action_of(words: Sequence[str], height: int) -> AnyAction:
    """Return the action that words stand for; `in N` counts from `height`. Raises `InputError`."""
    kind, *rest = words or ("",)
    make = _FORMS.get(kind)
    if make is None:
        raise InputError("no such motion", expected=" or ".join(_FORMS), got=kind)
    try:
        return make(rest, height)
    except (ValueError, IndexError):
        raise InputError("not a motion of this form", expected=USAGE[kind], got=" ".join(words)) from None


def _height(words: Sequence[str], present: int) -> int:
    """Return the height of `at HEIGHT` or `in HEIGHTS`; 0 where nothing is said."""
    if not words:
        return 0
    when, count = words
    AT.index(when)
    return _count(count, HEIGHT_MAX) + (present if when == "in" else 0)


def _count(text: str, most: int) -> int:
    value = int(text)
    if not 0 <= value <= most:
        raise ValueError(text)
    return value


def _policy(words: Sequence[str], height: int) -> ChangePolicy:
    name, value, *when = words
    if policy_range(name) is None:
        raise ValueError(name)
    return ChangePolicy((Figure(name, _count(value, HEIGHT_MAX)),), _height(when, height))


def _roles(words: Sequence[str], _: int) -> SetRoles:
    bank, *roles = words
    return SetRoles(_member(bank), tuple(map(Role, roles)))


def _source_roles(words: Sequence[str], _: int) -> SetSourceRoles:
    bank, *roles = words
    return SetSourceRoles(key_of(_member(bank), "source").public, tuple(map(Role, roles)))


def _ca(words: Sequence[str], _: int) -> ReplaceCa:
    bank, number, *keep = words
    if keep not in ([], ["keep"]):
        raise ValueError(keep)
    member = _member(bank)
    return ReplaceCa(member, certificate_of(member, _count(number, GENERATION_MAX)), bool(keep))


def certificate_of(member: str, number: int) -> str:
    """Return a stand-in for a member's root CA: of its form, which is all that the chain judges."""
    der = b"\x30" + sha256(f"ca {member} {number}".encode()).digest() * 3
    text = b64encode(der).decode()
    lines = "".join(text[at : at + PEM_LINE] + "\n" for at in range(0, len(text), PEM_LINE))
    return f"-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n"


def _catalogue(words: Sequence[str], _: int) -> AddCatalogue:
    version, count = words
    newest = PUBLISHED_CATALOGUES[-1]
    kept = newest.categories[: 1 + _count(count, len(newest.categories) - 1)]
    return AddCatalogue(_count(version, GENERATION_MAX), 0, "a notice", kept)


def _threshold(words: Sequence[str], _: int) -> SetThreshold:
    action, share = words
    return SetThreshold(action, Share(share))


def _rules(words: Sequence[str], height: int) -> ActivateRules:
    version, *when = words
    return ActivateRules(_count(version, GENERATION_MAX), _height(when, height))


def _officers(words: Sequence[str], _: int) -> SetOfficers:
    (bank, generation) = words
    member = _member(bank)
    if generation == "none":
        return SetOfficers(member, ())
    return SetOfficers(member, (Officer(officer_key(member, generation), GOVERNANCE_ROLE),))


def officer_key(member: str, generation: str) -> bytes:
    """Return the public key of a member's officer; generation 0 is that of genesis."""
    number = _count(generation, GENERATION_MAX)
    return key_of(member, f"officer {number}" if number else "officer").public


def _accredited(words: Sequence[str], _: int) -> Accredit:
    bank, role, days = words
    until_ms = START_MS + _count(days, ACCREDITATION_DAYS_MAX) * DAY_MS
    accredited = AccreditedRole(role)
    return Accredit(_member(bank), accredited, (1, 2), START_MS, until_ms, USUAL_STANDARD[accredited])


def _unaccredited(words: Sequence[str], _: int) -> EndAccreditation:
    bank, role = words
    return EndAccreditation(_member(bank), AccreditedRole(role), 0, "moved")


def _scheme(words: Sequence[str], _: int) -> SetSchemePolicy:
    (months,) = words
    return SetSchemePolicy(_count(months, GENERATION_MAX), None, None, None, None)


def _removed(words: Sequence[str], _: int) -> RemoveValidator:
    name, *fewer = words
    if fewer not in ([], ["fewer"]):
        raise ValueError(fewer)
    return RemoveValidator(_member(name), bool(fewer))


def _stopped(words: Sequence[str], _: int) -> RemoveSource:
    (bank,) = words
    return RemoveSource(key_of(_member(bank), "source").public)


def _member(bank: str) -> str:
    return bank_of(_count(bank.removeprefix("bank-"), GENERATION_MAX))


_FORMS: Final[dict[str, Callable[[Sequence[str], int], AnyAction]]] = {
    "policy": _policy,
    "roles": _roles,
    "source-roles": _source_roles,
    "ca": _ca,
    "catalogue": _catalogue,
    "threshold": _threshold,
    "rules": _rules,
    "officers": _officers,
    "accredit": _accredited,
    "end-accreditation": _unaccredited,
    "scheme-policy": _scheme,
    "remove": _removed,
    "stop-source": _stopped,
}
USAGE: Final = {
    "policy": "policy FIGURE NUMBER [at HEIGHT|in HEIGHTS]",
    "roles": "roles BANK ROLE ...",
    "source-roles": "source-roles BANK ROLE ...",
    "ca": "ca BANK NUMBER [keep]",
    "catalogue": "catalogue VERSION CATEGORIES",
    "threshold": "threshold ACTION third|majority|two_thirds",
    "rules": "rules VERSION at HEIGHT|in HEIGHTS",
    "officers": "officers BANK none|NUMBER",
    "accredit": "accredit BANK laboratory|inspector DAYS",
    "end-accreditation": "end-accreditation BANK laboratory|inspector",
    "scheme-policy": "scheme-policy MONTHS",
    "remove": "remove BANK [fewer]",
    "stop-source": "stop-source BANK",
}


# --- drawing


def draw_motions(random: Random, chaos_ms: int, nodes: int) -> tuple[Motion, ...]:
    """Return a few motions in order of time, of `nodes` banks with a vote, some about a guest that there may be."""
    times = sorted(
        random.randrange(BEGIN_MS, max(BEGIN_MS + 1, chaos_ms - chaos_ms // TAIL_SHARE))
        for _ in range(random.randint(*MOTIONS))
    )
    return tuple(_draw_motion(random, at_ms, nodes) for at_ms in times)


def _draw_motion(random: Random, at_ms: int, nodes: int) -> Motion:
    sides = {bank: random.random() for bank in range(nodes)}
    against = tuple(bank for bank, side in sides.items() if side < AGAINST_SHARE)
    approve = tuple(bank for bank, side in sides.items() if side >= 2 * AGAINST_SHARE)
    return Motion(at_ms, random.randrange(nodes), _draw_words(random, nodes + 1), approve, against)


def _draw_words(random: Random, members: int) -> tuple[str, ...]:
    who = str(random.randrange(members))
    match random.choice(("policy", "policy", "policy", "roles", "source-roles", "ca", "catalogue", "threshold")):
        case "policy":
            name, values = random.choice(FIGURES)
            when = () if random.random() < 0.4 else ("in", str(random.randint(1, 12)))
            return ("policy", name, str(random.choice(values)), *when)
        case "roles":
            return ("roles", who, *random.choice((("bank",), ("bank", "laboratory"), ("laboratory",))))
        case "source-roles":
            return ("source-roles", who, *random.choice((("bank",), ("bank", "laboratory"))))
        case "ca":
            return ("ca", who, str(random.randint(1, 3)), *random.choice(((), ("keep",))))
        case "catalogue":
            return ("catalogue", str(random.randint(1, 3)), str(random.randint(1, 9)))
        case _:
            return ("threshold", random.choice(sorted(LOWEST)), random.choice(list(Share)).value)


# --- text


def motion_line(motion: Motion) -> str:
    """Return a motion as a line of a scenario's text."""
    words = [f"motion {motion.at_ms} by {motion.bank}", *motion.words]
    words += ["approved", "by", *map(str, motion.approve)] if motion.approve else []
    words += ["rejected", "by", *map(str, motion.reject)] if motion.reject else []
    return " ".join(words)


def motion_in_words(motion: Motion) -> str:
    """Say a motion in words, for the story of a run."""
    return f"{bank_of(motion.bank)} moves: {' '.join(motion.words)}"
