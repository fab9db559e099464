"""Rows of the state's tree that are remembered: never another row than the store's, bounded, and of the newest tree."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from ledger.recent_nodes import ROW_BYTES_MAX, RecentNodes
from ledger.smt import EMPTY, MapUpdate
from primitives.ids import Hash

KEYS = st.integers(0, 40).map(lambda number: b"key %d" % number)
BLOCKS = st.lists(st.dictionaries(KEYS, st.none() | st.binary(max_size=4), max_size=12), max_size=8)


class Remembering:
    """A tree whose nodes are read as a chain reads them: what is remembered first, then the store."""

    def __init__(self, generation: int) -> None:
        self.store: dict[bytes, bytes] = {}
        self.recent = RecentNodes(generation)
        self.asked = 0
        self.root: Hash = EMPTY

    def read(self, node: bytes) -> bytes | None:
        """Return a node's row."""
        row = self.recent.get(node)
        if row is None:
            self.asked += 1
            row = self.store.get(node)
            if row is not None:
                self.recent.add(node, row)
        return row

    def apply(self, changes: dict[bytes, bytes | None]) -> None:
        """Make one block's changes."""
        update = MapUpdate(self.read)
        self.root = update.apply(self.root, changes)
        self.recent.move(update.replaced, update.nodes)
        self.store.update(update.nodes)


def remembered(recent: RecentNodes, nodes: Iterable[bytes]) -> list[bytes]:
    return [node for node in nodes if recent.get(node) is not None]


@given(BLOCKS, st.integers(1, 9))
def test_roots_do_not_depend_on_what_is_remembered(blocks: list[dict[bytes, bytes | None]], generation: int) -> None:
    with_all, with_few = Remembering(1_000_000), Remembering(generation)
    for changes in blocks:
        with_all.apply(changes)
        with_few.apply(changes)
        assert with_few.root == with_all.root
        assert len(with_few.recent) <= 2 * generation


def test_a_change_asks_the_store_for_nothing_of_the_tree_that_was_just_written() -> None:
    tree = Remembering(10_000)
    for number in range(50):
        tree.apply({b"key %d" % (number * 20 + each): b"value" for each in range(20)})
    assert tree.asked == 0


def test_nodes_that_a_block_replaced_are_forgotten() -> None:
    tree = Remembering(10_000)
    tree.apply({b"key %d" % number: b"value" for number in range(200)})
    live = len(tree.recent)
    for number in range(100):
        tree.apply({b"key %d" % number: b"other"})
    assert len(tree.recent) - live <= 100, "besides a leaf for each change nothing is left of the trees before"


def test_what_is_asked_for_outlives_what_is_not() -> None:
    recent = RecentNodes(4)
    for number in range(4):
        recent.add(b"%d" % number, b"row")
    for number in range(4, 10):
        assert recent.get(b"0") == b"row"
        recent.add(b"%d" % number, b"row")
    assert remembered(recent, [b"0", b"1", b"2", b"9"]) == [b"0", b"9"]


def test_a_large_row_is_not_remembered() -> None:
    recent = RecentNodes(4)
    recent.add(b"leaf", bytes(ROW_BYTES_MAX + 1))
    recent.add(b"node", bytes(ROW_BYTES_MAX))
    assert remembered(recent, [b"leaf", b"node"]) == [b"node"]
