"""Replaying a draw from its inputs: what it must have selected, and where the record says something else.

Pure: the record of the draw, and the certificates that took part with their risk, from wherever they come. So anybody
who has the log, an answer of a node, or a file can say whether a draw was right. Source: `ledger.inspection_selection`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

from ledger.inspection_records import Drawn, Inspection, Phase
from ledger.inspection_selection import commitment_of, lowest_of, lowest_ticket, seed_of
from primitives.errors import InputError
from primitives.ids import Hash


@dataclass(frozen=True, slots=True)
class Candidate:
    """A certificate that was active at the closing: its number, category and risk then."""

    number: str
    category: int
    risk: int


@dataclass(frozen=True, slots=True)
class Replay:
    """What a draw must have selected, and each difference to what is recorded, in a sentence."""

    seed: Hash
    selection: tuple[Drawn, ...]
    eligible: int
    weight: int
    differences: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the record is what follows from its inputs."""
        return not self.differences


def replay(chain_id: bytes, draw: Inspection, candidates: Iterable[Candidate]) -> Replay:
    """Return the draw as it follows from announcement, closing, reveals and certificates.

    InputError where the draw is not finished, or a certificate stands twice among the candidates.
    """
    if draw.phase is not Phase.DRAWN or draw.closing is None or draw.closing.block is None:
        raise InputError("nothing was drawn", where=draw.id, expected="a finished draw", got=draw.void or draw.phase)
    differences = [
        f"{item.member} revealed another secret than it committed to"
        for item in draw.committed
        if item.secret is None or commitment_of(chain_id, draw.id, item.member, item.secret) != item.commitment
    ]
    shown = [(item.member, item.secret) for item in draw.committed if item.secret is not None]
    seed = seed_of(chain_id, draw.id, draw.closing.block, shown)
    if seed != draw.seed:
        differences.append(f"the seed is {seed.hex()}, recorded {None if draw.seed is None else draw.seed.hex()}")
    weights = {item.category: item.weight for item in draw.categories}
    found: dict[str, Drawn] = {}
    for item in candidates:
        if item.number in found:
            raise InputError("a certificate stands twice", where=item.number)
        if item.category in weights:
            weight = weights[item.category] * item.risk
            ticket = lowest_ticket(seed, item.number, weight)
            found[item.number] = Drawn(item.number, item.category, item.risk, weight, ticket)
    selection, weight = lowest_of(found.values(), draw.count), sum(item.weight for item in found.values())
    for what, expected, recorded in (
        ("certificates take part", len(found), draw.eligible),
        ("is their weight in all", weight, draw.weight),
    ):
        if expected != recorded:
            differences.append(f"{expected} {what}, recorded {recorded}")
    differences += _between(selection, draw.selection)
    return Replay(seed, selection, len(found), weight, tuple(differences))


def _between(selection: tuple[Drawn, ...], recorded: tuple[Drawn, ...]) -> list[str]:
    """Return the places at which the recorded selection differs."""
    return [
        f"place {place}: {_shown(mine)}, recorded {_shown(theirs)}"
        for place, (mine, theirs) in enumerate(zip_longest(selection, recorded), 1)
        if mine != theirs
    ]


def _shown(item: Drawn | None) -> str:
    return "none" if item is None else f"{item.number} (weight {item.weight}, ticket {item.ticket.hex()})"
