"""Changes of who belongs to a simulated consortium, as data: who joins, leaves, is excluded or is stopped, and when.

Like a strike, a change carries all its parameters, so that one can be taken away and the rest stays as it was. Whether
it comes about is for the chain to say: some of those drawn would leave no safe quorum, and must be refused. Not here:
doing them (`sim.changes`), new keys after a lost disk (a strike of `sim.plan`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

from sim.workload import bank_of

CHANGES: Final = (1, 5)
TWO_FAULTY: Final = 7
BEGIN_MS: Final = 500
TAIL_SHARE: Final = 4
"""No change begins in the last quarter of the faults: its votes are to be cast among them."""
TROUBLE_SHARE: Final = 0.5
"""How many joiners stop once on their way."""
TROUBLE_AFTER_MS: Final = 9_000
DOWN_MS: Final = (200, 1_000, 4_000)


class Deed(StrEnum):
    """The kinds of changes, with whom their `who` names."""

    JOIN = "join"
    """a new node of the bank, which follows and is proposed as a validator; amounts: when it stops, and for how long"""
    LEAVE = "leave"
    """a validator; amounts: 1 if its proposal says that fewer faults may be borne after it"""
    EXCLUDE = "exclude"
    """a member"""
    STOP_SOURCE = "stop-source"
    """a member whose source its own officer stops"""


WEIGHTS: Final = {Deed.JOIN: 50, Deed.LEAVE: 30, Deed.EXCLUDE: 12, Deed.STOP_SOURCE: 8}


@dataclass(frozen=True, slots=True)
class Change:
    """One change: when a bank proposes it, counted from the run's start; all banks vote for it."""

    at_ms: int
    deed: Deed
    bank: int
    who: str
    amounts: tuple[int, ...] = ()


def draw_changes(random: Random, chaos_ms: int, nodes: int, guests: int) -> tuple[Change, ...]:
    """Return a few changes in order of time, among `nodes` banks with a validator and `guests` without."""
    times = sorted(
        random.randrange(BEGIN_MS, max(BEGIN_MS + 1, chaos_ms - chaos_ms // TAIL_SHARE))
        for _ in range(random.randint(*CHANGES))
    )
    validators = [bank_of(bank) for bank in range(nodes)]
    found: list[Change] = []
    for number, at_ms in enumerate(times):
        (deed,) = random.choices(list(WEIGHTS), list(WEIGHTS.values()))
        found.append(_draw_change(random, deed, (at_ms, chaos_ms), number, nodes, guests, validators))
        if deed is Deed.JOIN:
            validators.append(found[-1].who)
    return tuple(found)


def _draw_change(
    random: Random,
    deed: Deed,
    times_ms: tuple[int, int],
    number: int,
    nodes: int,
    guests: int,
    validators: Sequence[str],
) -> Change:
    bank, (at_ms, end_ms) = random.randrange(nodes), times_ms
    match deed:
        case Deed.JOIN:
            owner = random.randrange(nodes + guests)
            troubled = random.random() < TROUBLE_SHARE
            stops_ms = random.randrange(min(TROUBLE_AFTER_MS, end_ms - at_ms))
            amounts = (stops_ms, random.choice(DOWN_MS)) if troubled else ()
            return Change(at_ms, deed, owner, f"{bank_of(owner)}-{number}", amounts)
        case Deed.LEAVE:
            # Seven that may bear two faulty ones must go on to: nothing says otherwise there.
            fewer = nodes < TWO_FAULTY and random.random() < 0.5
            return Change(at_ms, deed, bank, random.choice(validators), (1,) if fewer else ())
        case Deed.EXCLUDE | Deed.STOP_SOURCE:
            # Mostly a member without a validator: one that has one cannot be excluded.
            who = nodes if guests and random.random() < 0.8 else random.randrange(nodes)
            return Change(at_ms, deed, bank, bank_of(who))


def change_line(change: Change) -> str:
    """Return a change as a line of a scenario's text."""
    words = [f"change {change.at_ms} {change.deed} by {change.bank} of {change.who}"]
    words += ["amounts", *map(str, change.amounts)] if change.amounts else []
    return " ".join(words)


def parsed_change(words: Sequence[str]) -> Change:
    """Return the change of a line's words after the first."""
    at_ms, deed, _, bank, _, who, *rest = words
    return Change(int(at_ms), Deed(deed), int(bank), who, tuple(map(int, rest[1:])))


def change_in_words(change: Change) -> str:
    """Say a change in words, for the story of a run."""
    return f"{bank_of(change.bank)} wants: {change.deed} {change.who}"
