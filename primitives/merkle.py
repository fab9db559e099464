"""The Merkle tree of RFC 6962: roots, inclusion and consistency proofs, and the compact range that grows a log.

Works on leaf hashes (`hashing.leaf_hash`). Where a proof's node hashes come from (a list in memory, tiles on disk) is
the caller's: `inclusion_ranges` and `consistency_ranges` name the leaf ranges whose roots make a proof, and `cover`
the complete subtrees that make up a range.
Source: RFC 6962 section 2.1, RFC 9162 sections 2.1.3 and 2.1.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from primitives.encoding import Record
from primitives.errors import ProofError
from primitives.hashing import node_hash
from primitives.ids import HASH_BYTES, Hash

EMPTY_ROOT = Hash(sha256(b"").digest())
PATH_HASHES_MAX = 64
TREE_SIZE_MAX = 2**63 - 1

Subtree = tuple[int, int]
"""(level, index): the complete subtree of 2**level leaves that starts at leaf index * 2**level."""

Range = tuple[int, int]


def root_of(leaf_hashes: Sequence[bytes]) -> Hash:
    """Return the tree's root; O(n) time, one level of hashes at a time."""
    if not leaf_hashes:
        return EMPTY_ROOT
    level: list[bytes] = list(leaf_hashes)
    while len(level) > 1:
        odd = level.pop() if len(level) & 1 else None
        pairs = iter(level)
        level = [sha256(b"\1" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
        if odd is not None:
            level.append(odd)
    return Hash(level[0])


class CompactRange(Record):
    """The frontier of a log: its size and the roots of its complete subtrees, largest first."""

    size: int = 0
    hashes: tuple[Hash, ...] = ()

    def __post_init__(self) -> None:
        # ValueError becomes an EncodingError where the range was decoded, from a damaged disk or a peer's snapshot.
        if self.size < 0 or self.size.bit_count() != len(self.hashes):
            raise ValueError(f"a compact range of {self.size} leaves has {len(self.hashes)} hashes")

    def append(self, leaf: bytes) -> CompactRange:
        """Return the range with one more leaf hash."""
        return self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> CompactRange:
        """Return the range with more leaf hashes, in order."""
        size, stack = self.size, list(self.hashes)
        for leaf in leaves:
            carry, size_left = leaf, size
            while size_left & 1:
                carry = sha256(b"\1" + stack.pop() + carry).digest()
                size_left >>= 1
            stack.append(Hash(carry))
            size += 1
        return CompactRange(size, tuple(stack))

    def root(self) -> Hash:
        """Return the log's root at this size."""
        if not self.hashes:
            return EMPTY_ROOT
        carry = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            carry = node_hash(left, carry)
        return carry


def split(size: int) -> int:
    """Return the largest power of two smaller than `size` (at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def cover(start: int, stop: int) -> list[Subtree]:
    """Return the complete subtrees, left to right, that make up leaves [start, stop), a node of some RFC 6962 tree."""
    parts: list[Subtree] = []
    while start < stop:
        span = (stop - start).bit_length() - 1
        level = span if start == 0 else min(span, (start & -start).bit_length() - 1)
        parts.append((level, start >> level))
        start += 1 << level
    return parts


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Return the leaf ranges whose roots prove leaf `index` in a tree of `size`, lowest first."""
    _check_size(size)
    if not 0 <= index < size:
        raise ProofError("no such leaf", expected=f"an index below {size}", got=index)
    ranges: list[Range] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + split(stop - start)
        if index < middle:
            ranges.append((middle, stop))
            stop = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old_size: int, new_size: int) -> list[Range]:
    """Return the leaf ranges whose roots prove that the tree of `new_size` extends the one of `old_size`."""
    _check_size(new_size)
    if not 0 < old_size <= new_size:
        raise ProofError("no consistency proof", expected=f"an old size from 1 to {new_size}", got=old_size)
    ranges: list[Range] = []
    start, stop = 0, new_size
    whole = True
    while old_size < stop:
        middle = start + split(stop - start)
        if old_size <= middle:
            ranges.append((middle, stop))
            stop = middle
        else:
            ranges.append((start, middle))
            start, whole = middle, False
    if not whole:
        ranges.append((start, stop))
    return ranges[::-1]


def range_root(part: Range, subtree: Callable[[Subtree], bytes]) -> Hash:
    """Return the root of a leaf range, asking `subtree` for the roots of complete subtrees."""
    carry: bytes | None = None
    for piece in reversed(cover(*part)):
        carry = subtree(piece) if carry is None else node_hash(subtree(piece), carry)
    assert carry is not None, "a range of a proof is never empty"
    return Hash(carry)


def range_proof(start: int, stop: int, size: int) -> tuple[list[Subtree], list[Subtree]]:
    """Return the complete subtrees before and after leaves [start, stop) of a tree of `size`."""
    _check_size(size)
    if not 0 <= start <= stop <= size:
        raise ProofError("no such range of leaves", expected=f"within 0 to {size}", got=f"{start} to {stop}")
    return cover(0, start), cover(stop, size)


def root_from_range(
    size: int, start: int, leaves: Sequence[bytes], before: Sequence[bytes], after: Sequence[bytes]
) -> Hash:
    """Return the root of the tree of `size` leaves whose leaves from `start` on are these.

    `before` and `after` are the roots that `range_proof` names. ProofError where their number does not fit.
    """
    left, right = range_proof(start, start + len(leaves), size)
    if len(before) != len(left) or len(after) != len(right):
        raise ProofError(
            "hashes beside a range",
            expected=f"{len(left)} before and {len(right)} after",
            got=f"{len(before)} and {len(after)}",
        )
    parts = [*zip(left, before, strict=True), *(((0, i), leaf) for i, leaf in enumerate(leaves, start))]
    stack: list[tuple[int, bytes]] = []
    for (level, index), value in [*parts, *zip(right, after, strict=True)]:
        carry = value
        while index & 1 and stack and stack[-1][0] == level:
            carry = node_hash(stack.pop()[1], carry)
            level, index = level + 1, index >> 1
        stack.append((level, carry))
    if not stack:
        return EMPTY_ROOT
    root = stack.pop()[1]
    while stack:
        root = node_hash(stack.pop()[1], root)
    return Hash(root)


def inclusion_path(leaf_hashes: Sequence[bytes], index: int) -> list[Hash]:
    """Return the audit path of leaf `index`, lowest hash first."""
    return [root_of(leaf_hashes[start:stop]) for start, stop in inclusion_ranges(index, len(leaf_hashes))]


def consistency_path(leaf_hashes: Sequence[bytes], old_size: int) -> list[Hash]:
    """Return the proof that the tree of all leaves extends the tree of the first `old_size`."""
    return [root_of(leaf_hashes[start:stop]) for start, stop in consistency_ranges(old_size, len(leaf_hashes))]


def root_from_inclusion(size: int, index: int, leaf: bytes, path: Sequence[bytes]) -> Hash:
    """Return the root that an audit path leads to; `ProofError` where its shape does not fit index and size."""
    _check_hash(leaf, "leaf")
    _check_path(path)
    ranges = inclusion_ranges(index, size)
    if len(ranges) != len(path):
        raise ProofError("an inclusion proof has the wrong length", expected=len(ranges), got=len(path))
    carry = Hash(leaf)
    for (_, stop), sibling in zip(ranges, path, strict=True):
        carry = node_hash(sibling, carry) if stop <= index else node_hash(carry, sibling)
    return carry


def verify_inclusion(root: bytes, size: int, index: int, leaf: bytes, path: Sequence[bytes]) -> None:
    """Raise `ProofError` unless `leaf` (a leaf hash) stands at `index` in the tree of `size` leaves with `root`."""
    computed = root_from_inclusion(size, index, leaf, path)
    if computed != root:
        raise ProofError("an inclusion proof does not lead to the root", expected=bytes(root), got=computed)


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """Raise `ProofError` unless the tree of `new_size` extends that of `old_size`."""
    _check_path(path)
    _check_hash(old_root, "old root")
    _check_hash(new_root, "new root")
    if old_size < 0 or old_size > new_size:
        raise ProofError("sizes of a consistency proof", expected=f"an old size of at most {new_size}", got=old_size)
    if old_size in (0, new_size):
        expected_root = EMPTY_ROOT if old_size == 0 else Hash(bytes(new_root))
        if path:
            raise ProofError("a consistency proof has hashes that nothing asks for", expected=0, got=len(path))
        if old_root != expected_root or (new_size == 0 and new_root != EMPTY_ROOT):
            raise ProofError("roots of a trivial consistency proof differ", expected=expected_root, got=bytes(old_root))
        return
    ranges = consistency_ranges(old_size, new_size)
    if len(ranges) != len(path):
        raise ProofError("a consistency proof has the wrong length", expected=len(ranges), got=len(path))
    old, new = _roots_from_consistency(old_size, old_root, ranges, path)
    if old != old_root:
        raise ProofError("a consistency proof does not lead to the old root", expected=bytes(old_root), got=old)
    if new != new_root:
        raise ProofError("a consistency proof does not lead to the new root", expected=bytes(new_root), got=new)


def _roots_from_consistency(
    old_size: int, old_root: bytes, ranges: Sequence[Range], path: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Return the old and new root that the proof leads to; its first hash is left out where it is the old root."""
    hashes = list(path)
    if ranges[0][0] >= old_size:  # the old tree is one complete subtree, so its root is the start
        old = new = bytes(old_root)
    else:
        old = new = bytes(hashes.pop(0))
        ranges = ranges[1:]
    for (start, _), sibling in zip(ranges, hashes, strict=True):
        if start < old_size:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
        else:
            new = node_hash(new, sibling)
    return old, new


def _check_path(path: Sequence[bytes]) -> None:
    if len(path) > PATH_HASHES_MAX:
        raise ProofError("a proof is too long", expected=f"at most {PATH_HASHES_MAX} hashes", got=len(path))
    for item in path:
        _check_hash(item, "proof")


def _check_size(size: int) -> None:
    # Sizes come from proofs in JSON, where a number of a million digits would otherwise be walked bit by bit.
    if size > TREE_SIZE_MAX:
        raise ProofError("a tree is too large", expected=f"at most {TREE_SIZE_MAX} leaves")


def _check_hash(value: bytes, where: str) -> None:
    if len(value) != HASH_BYTES:
        raise ProofError("a hash has the wrong length", where=where, expected=HASH_BYTES, got=len(value))
