"""The states of the model: what the honest validators remember, which certificates exist, and when two states are one.

Validators and unused block names are interchangeable. Not here: what may happen (`actions`), why (`protocol`), which
states stand for others (`reduced`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sim.model.protocol import Block, Claim, Vow

GENESIS: Final = 0
ABSENT: Final = 0
"""No block in a vote: the genesis block is never voted on."""
NO_CLAIM: Final = Claim(0, 0, ABSENT)
NO_VOW: Final = Vow(-1, ABSENT, ())
"""Stand-ins for what is not there, so that states hold nothing but integers and compare, sort and hash at C's speed."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far the model reaches: views 0 to `views` - 1, and for each height how many blocks may follow one parent."""

    views: int = 5
    children: tuple[int, ...] = (2, 2)
    n: int = 4

    @property
    def heights(self) -> int:
        """How many heights there are above the genesis block."""
        return len(self.children)

    def blocks(self) -> tuple[tuple[int, int], ...]:
        """Return (height, parent) of each block, the genesis block first."""
        found = [(0, GENESIS)]
        level = [GENESIS]
        for height, count in enumerate(self.children, start=1):
            following: list[int] = []
            for parent in level:
                for _ in range(count):
                    following.append(len(found))
                    found.append((height, parent))
            level = following
        return tuple(found)


class Round(NamedTuple):
    """One validator's part in a view: what the NEW-VIEW that it entered by bound at each height, and its votes."""

    entered: bool
    bound: tuple[int, ...]
    prepared: tuple[int, ...]
    committed: tuple[int, ...]


class Local(NamedTuple):
    """One honest validator: a `protocol.Memory`, and the vows that it has signed."""

    view: int
    active: bool
    chain: tuple[int, ...]
    known: int
    claimed: tuple[Claim, ...]
    rounds: tuple[Round, ...]
    vows: tuple[Vow, ...]

    @property
    def height(self) -> int:
        """The delivered height."""
        return len(self.chain)

    def delivered(self, height: int) -> Block | None:
        """Return the block delivered at a height."""
        if height == 0:
            return GENESIS
        return self.chain[height - 1] if height <= len(self.chain) else None

    def prepared(self, view: int, height: int) -> Block | None:
        """Return the block of my PREPARE."""
        return self.rounds[view].prepared[height - 1] or None if height else None

    def committed(self, view: int, height: int) -> Block | None:
        """Return the block of my COMMIT."""
        return self.rounds[view].committed[height - 1] or None if height else None

    def committed_before(self, view: int, height: int) -> Sequence[Block]:
        """Return the blocks of my COMMITs at a height, of this view and all below."""
        return [part.committed[height - 1] for part in self.rounds[: view + 1] if height and part.committed[height - 1]]

    def chosen(self, view: int, height: int) -> Block | None:
        """Return the block that the view's NEW-VIEW chose."""
        return self.rounds[view].bound[height - 1] or None if height else None

    def entered(self, view: int) -> bool:
        """Say whether the view was active here at some time."""
        return self.rounds[view].entered

    def claims(self) -> tuple[Claim, ...]:
        """Return what I committed to above the delivered height, each with its newest prepare certificate."""
        return tuple(claim for claim in self.claimed if claim.height > len(self.chain))


class Certified(NamedTuple):
    """A block that q COMMITs certify, and the lowest view of such a certificate."""

    block: int
    view: int


NOT_CERTIFIED: Final = Certified(ABSENT, 0)


class State(NamedTuple):
    """The honest validators, the prepare certificates that could be shown (bits), and what is certified by height.

    `front` is the highest view that anybody entered, twice, and one more once somebody committed there.
    """

    locals: tuple[Local, ...]
    prepares: int
    certified: tuple[Certified, ...]
    front: int


def initial(bounds: Bounds) -> State:
    """Return the state before anything was said: everybody in view 0."""
    nothing = (ABSENT,) * bounds.heights
    rounds = [Round(False, nothing, nothing, nothing)] * (bounds.views + 1)
    rounds[0] = Round(True, nothing, nothing, nothing)
    local = Local(0, True, (), 0, (NO_CLAIM,) * bounds.heights, tuple(rounds), (NO_VOW,) * (bounds.views + 1))
    honest = bounds.n - (bounds.n - 1) // 3
    return State((local,) * honest, 0, (NOT_CERTIFIED,) * bounds.heights, 0)
