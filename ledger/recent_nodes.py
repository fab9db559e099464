"""Rows of the state's tree that were written or read lately, so that a change does not ask the disk for its whole path.

Here: a bounded map from a node's hash to its row, in two generations: what is asked for in the older one moves to the
newer, and when that is full the older is let go of. What a block replaced is forgotten at once, so that nearly all of
it is of the newest tree. Not here: the tree (`ledger.smt`), where rows are kept
(`ledger.chain`). A row cannot go stale, since a node is found by the hash of what it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from primitives.ids import Hash

NODES_OF_A_GENERATION: Final = 65_536
"""Two generations of rows of inner nodes take about 40 MB."""
ROW_BYTES_MAX: Final = 512
"""A larger row, which only leaves have, is read from the store each time."""


class RecentNodes:
    """Rows by node hash; at most two generations of `generation` rows."""

    def __init__(self, generation: int = NODES_OF_A_GENERATION) -> None:
        self._generation = generation
        self._newer: dict[bytes, bytes] = {}
        self._older: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def get(self, node: bytes) -> bytes | None:
        """Return the row of a node, or None where it was not used lately."""
        row = self._newer.get(node)
        if row is None:
            row = self._older.pop(node, None)
            if row is not None:
                self._put(node, row)
        return row

    def add(self, node: bytes, row: bytes) -> None:
        """Remember a row."""
        if len(row) <= ROW_BYTES_MAX:
            self._put(node, row)

    def move(self, replaced: Iterable[bytes], rows: Mapping[Hash, bytes]) -> None:
        """Follow a block: forget the nodes that it replaced, remember the rows that it wrote."""
        newer, older = self._newer, self._older
        for node in replaced:
            if newer.pop(node, None) is None:
                older.pop(node, None)
        for node, row in rows.items():
            self.add(node, row)

    def _put(self, node: bytes, row: bytes) -> None:
        if len(self._newer) >= self._generation:
            self._older = self._newer
            self._newer = {}
        self._newer[node] = row
