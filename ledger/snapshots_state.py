"""The state's map in the order of its paths: reading all leaves under a root, and building the map from leaves alone.

Both hold one node for each level of the map and no more, however many leaves there are: what a snapshot needs to be
made, verified and put into a store in bounded memory. Not here: what the nodes are (`ledger.smt`), which these equal.
"""

from __future__ import annotations

from collections.abc import Iterator

from ledger import smt
from ledger.smt import EMPTY, ReadNode, inner_children, inner_of, leaf_content, leaf_of, leaf_row, path_of
from primitives.errors import ProofError
from primitives.ids import Hash

NodeRow = tuple[Hash, bytes]
"""A node of the map and its row."""

_BITS = 256


def leaves_of(root: Hash, read: ReadNode) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) of every leaf under a root, ascending by path. StorageError where a node is missing."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node == EMPTY:
            continue
        row = smt.row_of(node, read)
        if smt.is_leaf(row):
            yield leaf_content(row)
        else:
            left, right = inner_children(row)
            waiting += [right, left]


class MapBuilder:
    """Builds a map from its leaves, which must come in ascending order of their paths.

    What waits on the stack are left subtrees whose right neighbour is not complete yet, each with the depth of the node
    that will join them; the newest subtree stands beside it. A leaf floats up to wherever it is joined; an inner node
    stands at its own depth, with an empty neighbour at each depth that it is raised by.
    """

    def __init__(self) -> None:
        self.count = 0
        self._waiting: list[tuple[int, Hash, int | None, bytes]] = []
        self._node: Hash = EMPTY
        self._depth: int | None = None  # of an inner node; None for a leaf
        self._path = b""

    def add(self, key: bytes, value: bytes) -> list[NodeRow]:
        """Take the next leaf and return the rows of the nodes that are complete by it. ProofError out of order."""
        path = path_of(key)
        if self.count and path <= self._path:
            raise ProofError("row of the state out of order", expected="paths ascending", got=key)
        leaf = leaf_of(path, value)
        rows = [(leaf, leaf_row(key, value))]
        if self.count:
            shared = _shared_bits(self._path, path)
            self._join_below(shared, rows)
            self._waiting.append((shared, self._node, self._depth, self._path))
        self._node, self._depth, self._path = leaf, None, path
        self.count += 1
        return rows

    def finish(self) -> tuple[Hash, list[NodeRow]]:
        """Return the root of all leaves, and the rows of the nodes that were left."""
        rows: list[NodeRow] = []
        self._join_below(-1, rows)
        self._node = _raised(self._node, self._depth, 0, self._path, rows)
        self._depth = None if self._depth is None else 0
        return self._node, rows

    def _join_below(self, depth: int, rows: list[NodeRow]) -> None:
        """Join the newest subtree with those that wait to be joined below a depth, the deepest first."""
        while self._waiting and self._waiting[-1][0] > depth:
            at, left, left_depth, left_path = self._waiting.pop()
            left = _raised(left, left_depth, at + 1, left_path, rows)
            right = _raised(self._node, self._depth, at + 1, self._path, rows)
            self._node, self._depth = _joined(left, right, rows), at


def _raised(node: Hash, depth: int | None, to: int, path: bytes, rows: list[NodeRow]) -> Hash:
    """Return the subtree at depth `to` that holds nothing but this one; a leaf stands anywhere."""
    if depth is None:
        return node
    for level in range(depth - 1, to - 1, -1):
        right = path[level >> 3] >> (7 - (level & 7)) & 1
        node = _joined(EMPTY, node, rows) if right else _joined(node, EMPTY, rows)
    return node


def _joined(left: Hash, right: Hash, rows: list[NodeRow]) -> Hash:
    node, row = inner_of(left, right)
    rows.append((node, row))
    return node


def _shared_bits(first: bytes, second: bytes) -> int:
    """Return how many bits two different paths share from the root on."""
    return _BITS - (int.from_bytes(first, "big") ^ int.from_bytes(second, "big")).bit_length()
