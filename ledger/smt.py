"""The sparse Merkle map that authenticates the state: batch update, proofs of presence and of absence.

The path of a key is its hash, 256 bits from the root downwards. A subtree that holds a single leaf is that leaf, so a
map of n keys is about log2(n) deep. Nodes are found by their hash and never changed, so every old root stays provable.
Source: architecture §6 (the state). Bytes:

    path   SHA-256("chainnode/v1/state-path\\0" || key)
    leaf   SHA-256("chainnode/v1/state-leaf\\0" || path || SHA-256(value))
    inner  SHA-256("chainnode/v1/state-node\\0" || left || right)
    empty  32 zero bytes

A node's row is `N` left right, or `L` and the length of the key (2 bytes), key, value.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256

from primitives.encoding import Record
from primitives.errors import ProofError, StorageError
from primitives.ids import HASH_BYTES, ZERO_HASH, Hash

EMPTY = ZERO_HASH
DEPTH_MAX = 256
_PATH = b"chainnode/v1/state-path\0"
_LEAF = b"chainnode/v1/state-leaf\0"
_NODE = b"chainnode/v1/state-node\0"
_INNER_ROW = b"N"
_LEAF_ROW = b"L"

ReadNode = Callable[[bytes], bytes | None]
Change = tuple[bytes, Hash]
"""(path, leaf hash); the leaf hash is EMPTY where the key is removed."""


def path_of(key: bytes) -> bytes:
    """Return the path of a state key, 32 bytes."""
    return sha256(_PATH + key).digest()


def leaf_of(path: bytes, value: bytes) -> Hash:
    """Return the hash of the leaf that holds `value` at `path`."""
    return _leaf(path, sha256(value).digest())


def _leaf(path: bytes, value_hash: bytes) -> Hash:
    return Hash(sha256(_LEAF + path + value_hash).digest())


def _inner(left: bytes, right: bytes) -> Hash:
    return Hash(sha256(_NODE + left + right).digest())


def _bit(path: bytes, depth: int) -> int:
    return path[depth >> 3] >> (7 - (depth & 7)) & 1


class StateProof(Record):
    """A path in the map: the siblings from the root down, and what stands at its end.

    `other` is (path, value hash) of the leaf that stands where the key's would, in a proof of absence; it is None in
    a proof of presence, and where the place is empty.
    """

    siblings: tuple[Hash, ...]
    other: tuple[bytes, Hash] | None


class MapUpdate:
    """One block's changes to the map: reads nodes through `read`, collects the rows of new ones in `nodes`.

    `replaced` are the inner nodes that the map before had and the one after it has not.
    """

    def __init__(self, read: ReadNode) -> None:
        self._read = read
        self._new_leaves: dict[Hash, bytes] = {}
        self.nodes: dict[Hash, bytes] = {}
        self.replaced: list[Hash] = []

    def apply(self, root: Hash, changes: Mapping[bytes, bytes | None]) -> Hash:
        """Return the root after setting (or, with None, removing) the values of these keys."""
        items: list[Change] = []
        rows: dict[Hash, bytes] = {}
        for key, value in changes.items():
            path = path_of(key)
            if value is None:
                items.append((path, EMPTY))
            else:
                leaf = leaf_of(path, value)
                rows[leaf] = leaf_row(key, value)
                items.append((path, leaf))
        self._new_leaves.update(rows)
        new_root = self._update(root, 0, sorted(items))
        self.nodes.update(rows)
        return new_root

    def _row(self, node: Hash) -> bytes:
        row = self._new_leaves.get(node) or self.nodes.get(node)
        return row_of(node, self._read) if row is None else row

    def _update(self, node: Hash, depth: int, items: list[Change]) -> Hash:
        if not items:
            return node
        if node == EMPTY:
            return self._build(depth, [item for item in items if item[1] != EMPTY])
        row = self._row(node)
        if row[:1] == _LEAF_ROW:
            path = path_of(leaf_content(row)[0])
            live = [item for item in items if item[1] != EMPTY]
            if all(item[0] != path for item in items):
                live = sorted([*live, (path, node)])
            return self._build(depth, live)
        left, right = inner_children(row)
        lows, highs = _split(items, depth)
        joined = self._join(self._update(left, depth + 1, lows), self._update(right, depth + 1, highs))
        if joined != node:
            self.replaced.append(node)
        return joined

    def _build(self, depth: int, leaves: list[Change]) -> Hash:
        """Return the subtree of these leaves, which are all that it holds."""
        if len(leaves) < 2:
            return leaves[0][1] if leaves else EMPTY
        lows, highs = _split(leaves, depth)
        return self._join(self._build(depth + 1, lows), self._build(depth + 1, highs))

    def _join(self, left: Hash, right: Hash) -> Hash:
        """Return the node over two subtrees; a single leaf moves up, so that equal maps have equal roots."""
        if left == EMPTY and (right == EMPTY or self._row(right)[:1] == _LEAF_ROW):
            return right
        if right == EMPTY and self._row(left)[:1] == _LEAF_ROW:
            return left
        node = _inner(left, right)
        self.nodes[node] = _INNER_ROW + left + right
        return node


def _split(items: list[Change], depth: int) -> tuple[list[Change], list[Change]]:
    cut = next((i for i, (path, _) in enumerate(items) if _bit(path, depth)), len(items))
    return items[:cut], items[cut:]


def row_of(node: Hash, read: ReadNode) -> bytes:
    """Return the row of a node. StorageError where there is none."""
    row = read(node)
    if row is None:
        raise StorageError("node of the state missing", where=f"node {node.hex()}", hint="run `chainnode fsck`")
    return row


def is_leaf(row: bytes) -> bool:
    """Say whether a node's row is a leaf's."""
    return row[:1] == _LEAF_ROW


def leaf_row(key: bytes, value: bytes) -> bytes:
    """Return the row of a leaf."""
    return _LEAF_ROW + len(key).to_bytes(2, "big") + key + value


def inner_of(left: Hash, right: Hash) -> tuple[Hash, bytes]:
    """Return the node over two subtrees, and its row."""
    return _inner(left, right), _INNER_ROW + left + right


def inner_children(row: bytes) -> tuple[Hash, Hash]:
    """Return the left and the right subtree of an inner node's row."""
    return Hash(row[1 : 1 + HASH_BYTES]), Hash(row[1 + HASH_BYTES :])


def leaf_content(row: bytes) -> tuple[bytes, bytes]:
    """Return key and value of a leaf's row."""
    size = int.from_bytes(row[1:3], "big")
    return row[3 : 3 + size], row[3 + size :]


def lookup(root: Hash, key: bytes, read: ReadNode) -> tuple[bytes | None, StateProof]:
    """Return the value of `key` under a root, or None, with the proof of it."""
    path = path_of(key)
    siblings: list[Hash] = []
    node = root
    while node != EMPTY:
        row = row_of(node, read)
        if row[:1] == _LEAF_ROW:
            found, value = leaf_content(row)
            if found == key:
                return value, StateProof(tuple(siblings), None)
            return None, StateProof(tuple(siblings), (path_of(found), Hash(sha256(value).digest())))
        left, right = inner_children(row)
        if _bit(path, len(siblings)):
            siblings.append(left)
            node = right
        else:
            siblings.append(right)
            node = left
    return None, StateProof(tuple(siblings), None)


def values_of(root: Hash, keys: Iterable[bytes], read: ReadNode) -> dict[bytes, bytes | None]:
    """Return the values of keys under a root, None where there is none, without proofs: a shared node is read once."""
    items = sorted((int.from_bytes(path_of(key), "big"), key) for key in set(keys))
    found: dict[bytes, bytes | None] = {key: None for _, key in items}
    waiting = [(root, DEPTH_MAX - 1, items)]
    while waiting:
        node, place, below = waiting.pop()
        if node == EMPTY:
            continue
        row = row_of(node, read)
        if row[:1] == _LEAF_ROW:
            key, value = leaf_content(row)
            if key in found:
                found[key] = value
            continue
        cut = bisect_left(below, 1, key=lambda item: item[0] >> place & 1)
        left, right = inner_children(row)
        if cut:
            waiting.append((left, place - 1, below[:cut]))
        if cut < len(below):
            waiting.append((right, place - 1, below[cut:]))
    return found


def changed_leaves(old: Hash, new: Hash, read: ReadNode) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield each key whose value differs between two roots, with its value under the new one; None where it is gone.

    Costs by what differs: subtrees that both have are not read. In the order of paths.
    """
    waiting = [(0, old, new)]
    while waiting:
        depth, before, after = waiting.pop()
        if before == after:
            continue
        rows = [None if node == EMPTY else row_of(node, read) for node in (before, after)]
        if any(row is not None and not is_leaf(row) for row in rows):
            left, right = (_children(row, depth) for row in rows)
            waiting += [(depth + 1, left[1], right[1]), (depth + 1, left[0], right[0])]
            continue
        leaves = [{} if row is None else dict([leaf_content(row)]) for row in rows]
        for key in sorted(leaves[0].keys() | leaves[1].keys(), key=path_of):
            yield key, leaves[1].get(key)


def _children(row: bytes | None, depth: int) -> tuple[Hash, Hash]:
    """Return what stands left and right below a node's row; a leaf stands where its path leads, beside nothing."""
    if row is None:
        return EMPTY, EMPTY
    if not is_leaf(row):
        return inner_children(row)
    key, value = leaf_content(row)
    path = path_of(key)
    leaf = leaf_of(path, value)
    return (EMPTY, leaf) if _bit(path, depth) else (leaf, EMPTY)


def verify_state(root: Hash, key: bytes, value: bytes | None, proof: StateProof) -> None:
    """Raise ProofError unless `key` has `value` (None: is absent) in the map with this root."""
    depth = len(proof.siblings)
    if depth > DEPTH_MAX or any(len(sibling) != HASH_BYTES for sibling in proof.siblings):
        raise ProofError("not a path of the state", expected=f"at most {DEPTH_MAX} hashes of 32 bytes", got=depth)
    path = path_of(key)
    if value is not None:
        if proof.other is not None:
            raise ProofError("proof of presence names another leaf", where="state")
        node = leaf_of(path, value)
    elif proof.other is None:
        node = EMPTY
    else:
        node = _other_leaf(path, depth, *proof.other)
    for level in range(depth - 1, -1, -1):
        sibling = proof.siblings[level]
        node = _inner(sibling, node) if _bit(path, level) else _inner(node, sibling)
    if node != root:
        raise ProofError("proof does not lead to the state root", expected=root, got=node)


def _other_leaf(path: bytes, depth: int, other_path: bytes, value_hash: Hash) -> Hash:
    """Return the leaf that proves an absence: another path that shares the way down to it."""
    if len(other_path) != HASH_BYTES or len(value_hash) != HASH_BYTES or other_path == path:
        raise ProofError("proof of absence names no other leaf", where="state")
    different = int.from_bytes(path, "big") ^ int.from_bytes(other_path, "big")
    if DEPTH_MAX - different.bit_length() < depth:
        raise ProofError("proof of absence names a leaf of another place", where="state")
    return _leaf(other_path, value_hash)
