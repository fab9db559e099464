"""The votes of one phase at one height: who voted for what, in which views.

Bounded: of each validator at most `VIEWS_KEPT` views are kept, the highest ones. A validator counts once per view.
Every step asks whether a quorum is there, so how many votes each block has is counted along with them.
"""

from __future__ import annotations

from typing import Final

from primitives.ids import Hash, View

VIEWS_KEPT: Final = 4


class Tally:
    """Votes by validator index and view."""

    __slots__ = ("_counts", "_entries", "_votes")

    def __init__(self) -> None:
        self._votes: dict[int, dict[View, tuple[Hash, bytes]]] = {}
        self._counts: dict[tuple[View, Hash], int] = {}
        self._entries = 0

    def add(self, validator: int, view: View, block_hash: Hash, signature: bytes) -> tuple[Hash, bytes] | None:
        """Count a vote; return the validator's earlier vote of that view where it names another block."""
        views = self._votes.setdefault(validator, {})
        first = views.get(view)
        if first is not None:
            return first if first[0] != block_hash else None
        if len(views) >= VIEWS_KEPT:
            lowest = min(views)
            if view < lowest:
                return None
            self._drop(validator, lowest)
        views[view] = (block_hash, signature)
        self._entries += 1
        self._counts[view, block_hash] = self._counts.get((view, block_hash), 0) + 1
        return None

    def _drop(self, validator: int, view: View) -> None:
        """Forget a vote; a block that has none left is not counted any more."""
        block_hash, _ = self._votes[validator].pop(view)
        self._entries -= 1
        self._counts[view, block_hash] -= 1
        if not self._counts[view, block_hash]:
            del self._counts[view, block_hash]

    def takes(self, validator: int, view: View) -> bool:
        """Say whether a vote of a view would be kept, or is held already."""
        views = self._votes.get(validator, {})
        return view in views or len(views) < VIEWS_KEPT or view > min(views)

    def vote_of(self, validator: int, view: View) -> tuple[Hash, bytes] | None:
        """Return a validator's vote of a view: the block and its signature."""
        return self._votes.get(validator, {}).get(view)

    def voted_for(self, validator: int) -> set[Hash]:
        """Return the blocks for which a validator voted, in whichever view."""
        return {block_hash for block_hash, _ in self._votes.get(validator, {}).values()}

    def of_view(self, view: View) -> tuple[tuple[int, Hash], ...]:
        """Return who voted for what in a view, ascending by validator."""
        return tuple(sorted((validator, views[view][0]) for validator, views in self._votes.items() if view in views))

    def count(self, view: View, block_hash: Hash) -> int:
        """Return how many votes a block has in a view."""
        return self._counts.get((view, block_hash), 0)

    def signatures(self, view: View, block_hash: Hash) -> tuple[tuple[int, bytes], ...]:
        """Return the votes for a block in a view, ascending by validator."""
        found = [
            (validator, views[view][1])
            for validator, views in self._votes.items()
            if view in views and views[view][0] == block_hash
        ]
        return tuple(sorted(found))

    def decided(self, quorum: int) -> tuple[View, Hash] | None:
        """Return the highest view in which a quorum voted for one block, and the block."""
        reached = [key for key, count in self._counts.items() if count >= quorum]
        return max(reached) if reached else None

    def entries(self) -> int:
        """Return how many votes are kept, for the invariant of bounded memory."""
        return self._entries
