"""What the model remembers of one real validator in one epoch: a `protocol.Memory` over hashes, filled from its trace.

Not here: which step of a trace is which action (`conformance`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from consensus.messages import NewView, PrePrepare
from sim.model.protocol import Block, Choice, Claim, Vow

VIEWS_REMEMBERED = 64
"""Views back for which a validator's own vows are kept: a NEW-VIEW that comes later than that is not known again."""


@dataclass(slots=True)
class Chain:
    """What a validator delivered, in all epochs; `floor` is where it stood before its ledger was lost."""

    blocks: dict[int, Block]
    height: int = 0
    floor: int = 0


@dataclass(slots=True)
class Witness:
    """One validator in one epoch, as the model knows it; what it said stays said."""

    name: str
    epoch: int
    chain: Chain
    view: int = 0
    active: bool = True
    known: int = 0
    prepares: dict[tuple[int, int], Block] = field(default_factory=dict)
    commits: dict[tuple[int, int], Block] = field(default_factory=dict)
    claimed: dict[int, Claim] = field(default_factory=dict)
    choice: Choice | None = None
    new_view: NewView | None = None
    vows: dict[int, Vow] = field(default_factory=dict)
    proposals: dict[tuple[int, int], PrePrepare] = field(default_factory=dict)

    @property
    def height(self) -> int:
        """The delivered height."""
        return self.chain.height

    def delivered(self, height: int) -> Block | None:
        """Return the block delivered at a height."""
        return self.chain.blocks.get(height) if height <= self.chain.height else None

    def prepared(self, view: int, height: int) -> Block | None:
        """Return the block of my PREPARE."""
        return self.prepares.get((view, height))

    def committed(self, view: int, height: int) -> Block | None:
        """Return the block of my COMMIT."""
        return self.commits.get((view, height))

    def committed_before(self, view: int, height: int) -> Sequence[Block]:
        """Return the blocks of my COMMITs at a height, of this view and all below."""
        return [block for (at, on), block in self.commits.items() if at <= view and on == height]

    def chosen(self, view: int, height: int) -> Block | None:
        """Return the block that the view's NEW-VIEW chose."""
        return None if view != self.view or self.choice is None else self.choice.at(height)

    def entered(self, view: int) -> bool:
        """Say whether the view is active here."""
        return view == self.view and self.active

    def claims(self) -> tuple[Claim, ...]:
        """Return what I committed to above the delivered height."""
        return tuple(self.claimed[height] for height in sorted(self.claimed) if height > self.chain.height)

    # --- what happens to it

    def prepare(self, view: int, height: int, block: Block) -> None:
        """It prepared a block."""
        self.prepares[view, height] = block

    def commit(self, view: int, height: int, block: Block) -> None:
        """It committed to a block, on a prepare certificate of this view."""
        self.commits[view, height] = block
        self.claimed[height] = Claim(height, view, block)

    def deliver(self, height: int, block: Block) -> None:
        """It delivered a block; its own votes there matter no more."""
        self.chain.blocks[height] = block
        self.chain.height = height
        self.claimed.pop(height, None)

    def claim_again(self) -> None:
        """It lost what it had delivered: all that it ever committed to in this epoch has to be claimed once more."""
        for (view, height), block in sorted(self.commits.items()):
            self.claimed[height] = Claim(height, view, block)

    def vow(self, view: int, vow: Vow) -> None:
        """It signed a VIEW-CHANGE."""
        self.view, self.active, self.choice, self.new_view = view, False, None, None
        self.vows[view] = vow
        for old in [held for held in self.vows if held < view - VIEWS_REMEMBERED]:
            del self.vows[old]

    def enter(self, view: int, choice: Choice, message: NewView) -> None:
        """It accepted a NEW-VIEW."""
        self.view, self.active, self.choice, self.new_view = view, True, choice, message
        self.known = max(self.known, choice.base)
