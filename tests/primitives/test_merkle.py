"""The RFC 6962 tree against a second, recursive definition of it that follows the RFC's text word for word."""

from __future__ import annotations

from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.encoding import decode, encode
from primitives.errors import EncodingError, ProofError
from primitives.hashing import leaf_hash, node_hash
from primitives.ids import Hash
from primitives.merkle import (
    EMPTY_ROOT,
    PATH_HASHES_MAX,
    TREE_SIZE_MAX,
    CompactRange,
    Range,
    Subtree,
    consistency_path,
    consistency_ranges,
    cover,
    inclusion_path,
    inclusion_ranges,
    range_root,
    root_from_inclusion,
    root_of,
    split,
    verify_consistency,
    verify_inclusion,
)

SIZE_MAX = 130
LEAVES = [leaf_hash(index.to_bytes(4, "big")) for index in range(2048)]


@cache
def mth(start: int, stop: int) -> bytes:
    """RFC 6962 2.1: the Merkle Tree Hash of D[start:stop], k the largest power of two smaller than n."""
    n = stop - start
    if n == 0:
        return sha256(b"").digest()
    if n == 1:
        return LEAVES[start]
    k = 1
    while k * 2 < n:
        k *= 2
    return sha256(b"\x01" + mth(start, start + k) + mth(start + k, stop)).digest()


def path(m: int, start: int, stop: int) -> list[bytes]:
    """RFC 6962 2.1.1: PATH(m, D[n])."""
    n = stop - start
    if n == 1:
        return []
    k = 1
    while k * 2 < n:
        k *= 2
    if m < k:
        return [*path(m, start, start + k), mth(start + k, stop)]
    return [*path(m - k, start + k, stop), mth(start, start + k)]


def subproof(m: int, start: int, stop: int, whole: bool) -> list[bytes]:
    """RFC 6962 2.1.2: SUBPROOF(m, D[n], b)."""
    n = stop - start
    if m == n:
        return [] if whole else [mth(start, stop)]
    k = 1
    while k * 2 < n:
        k *= 2
    if m <= k:
        return [*subproof(m, start, start + k, whole), mth(start + k, stop)]
    return [*subproof(m - k, start + k, stop, False), mth(start, start + k)]


SIZES = st.integers(1, SIZE_MAX)
SOME_SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 17, 31, 32, 33]


def flip(data: bytes, bit: int) -> bytes:
    return (int.from_bytes(data, "big") ^ (1 << bit)).to_bytes(len(data), "big")


def test_root_of_every_small_size_follows_the_rfc() -> None:
    for size in range(SIZE_MAX + 1):
        assert root_of(LEAVES[:size]) == mth(0, size)


def test_roots_agree_with_published_ones() -> None:
    # The leaves and roots of the Certificate Transparency project's reference trees.
    leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    hashes = [leaf_hash(bytes.fromhex(leaf)) for leaf in leaves]
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert root_of(hashes[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert root_of(hashes[:2]).hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert root_of(hashes).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def test_inclusion_paths_of_every_leaf_and_small_size_follow_the_rfc_and_verify() -> None:
    for size in range(1, SIZE_MAX + 1):
        root = root_of(LEAVES[:size])
        for index in range(size):
            proof = [mth(start, stop) for start, stop in inclusion_ranges(index, size)]
            assert proof == path(index, 0, size)
            verify_inclusion(root, size, index, LEAVES[index], proof)


def test_consistency_proofs_of_every_pair_of_small_sizes_follow_the_rfc_and_verify() -> None:
    for new in range(1, SIZE_MAX + 1):
        for old in range(1, new + 1):
            proof = [mth(start, stop) for start, stop in consistency_ranges(old, new)]
            assert proof == subproof(old, 0, new, True)
            verify_consistency(old, mth(0, old), new, mth(0, new), proof)


@given(SIZES, st.data())
def test_paths_from_leaves_are_the_paths_from_ranges(size: int, draw: st.DataObject) -> None:
    index = draw.draw(st.integers(0, size - 1))
    assert inclusion_path(LEAVES[:size], index) == path(index, 0, size)
    assert consistency_path(LEAVES[:size], index + 1) == subproof(index + 1, 0, size, True)


def test_every_changed_bit_of_an_inclusion_proof_is_refused() -> None:
    for size in SOME_SIZES:
        root, index = mth(0, size), size * 2 // 3
        leaf, proof = LEAVES[index], path(index, 0, size)
        for bit in range(256):
            tampered = [(flip(root, bit), leaf, proof), (root, flip(leaf, bit), proof)]
            tampered += [
                (root, leaf, [*proof[:at], flip(item, bit), *proof[at + 1 :]]) for at, item in enumerate(proof)
            ]
            for bad_root, bad_leaf, bad_proof in tampered:
                with pytest.raises(ProofError):
                    verify_inclusion(bad_root, size, index, bad_leaf, bad_proof)


def test_every_changed_bit_of_a_consistency_proof_is_refused() -> None:
    for old, new in ((1, 2), (2, 3), (3, 4), (3, 7), (4, 7), (6, 8), (8, 13), (7, 33)):
        old_root, new_root, proof = mth(0, old), mth(0, new), subproof(old, 0, new, True)
        for bit in range(256):
            tampered = [(flip(old_root, bit), new_root, proof), (old_root, flip(new_root, bit), proof)]
            tampered += [
                (old_root, new_root, [*proof[:at], flip(item, bit), *proof[at + 1 :]]) for at, item in enumerate(proof)
            ]
            for bad_old, bad_new, bad_proof in tampered:
                with pytest.raises(ProofError):
                    verify_consistency(old, bad_old, new, bad_new, bad_proof)


def test_proof_is_refused_for_every_other_index_of_its_tree() -> None:
    for size in SOME_SIZES:
        for index in range(size):
            proof = path(index, 0, size)
            for other in range(size):
                if other != index:
                    with pytest.raises(ProofError):
                        verify_inclusion(mth(0, size), size, other, LEAVES[index], proof)


def test_proof_is_refused_for_every_size_that_places_the_leaf_otherwise() -> None:
    # RFC 6962 binds the size only as far as it shapes the path; the checkpoint that names the root binds the rest.
    for size in SOME_SIZES:
        for index in range(size):
            proof = path(index, 0, size)
            for other in range(index + 1, 2 * size + 2):
                sides = [stop <= index for _, stop in inclusion_ranges(index, other)]
                if sides != [stop <= index for _, stop in inclusion_ranges(index, size)]:
                    with pytest.raises(ProofError):
                        verify_inclusion(mth(0, size), other, index, LEAVES[index], proof)


def test_consistency_proof_is_refused_for_other_sizes() -> None:
    for new in range(2, 20):
        for old in range(1, new):
            proof = subproof(old, 0, new, True)
            for other in range(1, new + 1):
                if other != old:
                    with pytest.raises(ProofError):
                        verify_consistency(other, mth(0, old), new, mth(0, new), proof)


@pytest.mark.parametrize(("size", "index"), [(0, 0), (1, 1), (8, 8), (8, -1), (8, 2**64 - 1), (-1, 0), (-5, -6)])
def test_leaf_outside_of_the_tree_has_no_proof(size: int, index: int) -> None:
    with pytest.raises(ProofError, match="no such leaf"):
        verify_inclusion(mth(0, 8), size, index, LEAVES[0], [])


@pytest.mark.parametrize("change", ["shorter", "longer", "first twice", "garbage first", "empty"])
def test_proof_of_wrong_length_is_refused(change: str) -> None:
    proof = path(3, 0, 7)
    changed = {
        "shorter": proof[:-1],
        "longer": [*proof, proof[0]],
        "first twice": [proof[0], *proof],
        "garbage first": [b"\0" * 32, *proof],
        "empty": [],
    }[change]
    with pytest.raises(ProofError, match="wrong length: expected 3"):
        verify_inclusion(mth(0, 7), 7, 3, LEAVES[3], changed)
    consistency = subproof(3, 0, 7, True)
    changed = {
        "shorter": consistency[:-1],
        "longer": [*consistency, consistency[0]],
        "first twice": [consistency[0], *consistency],
        "garbage first": [b"\0" * 32, *consistency],
        "empty": [],
    }[change]
    with pytest.raises(ProofError, match="wrong length: expected 4"):
        verify_consistency(3, mth(0, 3), 7, mth(0, 7), changed)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_hash_of_wrong_length_is_refused_wherever_it_stands(length: int) -> None:
    bad, proof = bytes(length), path(3, 0, 7)
    with pytest.raises(ProofError, match="proof: a hash has the wrong length"):
        verify_inclusion(mth(0, 7), 7, 3, LEAVES[3], [bad, *proof[1:]])
    with pytest.raises(ProofError, match="leaf: a hash has the wrong length"):
        root_from_inclusion(7, 3, bad, proof)
    for roots in ((bad, mth(0, 7)), (mth(0, 4), bad)):
        with pytest.raises(ProofError, match="root: a hash has the wrong length"):
            verify_consistency(4, roots[0], 7, roots[1], subproof(4, 0, 7, True))
    with pytest.raises(ProofError, match="wrong length"):
        verify_consistency(4, bad, 4, bad, [])


def test_inner_node_does_not_pass_for_a_leaf() -> None:
    # Second preimage: the two hashes of a node, given as a leaf's bytes, hash under another prefix.
    inner = mth(0, 2)
    with pytest.raises(ProofError):
        verify_inclusion(mth(0, 4), 2, 0, leaf_hash(LEAVES[0] + LEAVES[1]), [mth(2, 4)])
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != inner


def test_size_beyond_any_log_and_path_beyond_any_tree_are_refused_at_once() -> None:
    for size in (TREE_SIZE_MAX + 1, 1 << 1_000_000):
        with pytest.raises(ProofError, match="too large"):
            verify_inclusion(LEAVES[0], size, 0, LEAVES[0], [])
        with pytest.raises(ProofError, match="too large"):
            verify_consistency(1, LEAVES[0], size, LEAVES[0], [])
    with pytest.raises(ProofError, match=f"at most {PATH_HASHES_MAX} hashes, got 100000"):
        verify_inclusion(LEAVES[0], 2, 0, LEAVES[0], [LEAVES[0]] * 100_000)
    assert len(inclusion_ranges(TREE_SIZE_MAX - 1, TREE_SIZE_MAX)) <= PATH_HASHES_MAX
    assert len(consistency_ranges(TREE_SIZE_MAX - 2, TREE_SIZE_MAX)) <= PATH_HASHES_MAX


def test_trivial_consistency_needs_an_empty_proof_and_the_right_roots() -> None:
    verify_consistency(0, EMPTY_ROOT, 5, mth(0, 5), [])
    verify_consistency(5, mth(0, 5), 5, mth(0, 5), [])
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    for old, old_root, new, new_root, proof in (
        (0, mth(0, 1), 5, mth(0, 5), []),
        (0, EMPTY_ROOT, 5, mth(0, 5), [mth(0, 5)]),
        (5, mth(0, 4), 5, mth(0, 5), []),
        (5, mth(0, 5), 5, mth(0, 5), [mth(0, 5)]),
        (6, mth(0, 6), 5, mth(0, 5), []),
        (-1, mth(0, 1), 5, mth(0, 5), []),
        (0, EMPTY_ROOT, 0, mth(0, 5), []),
    ):
        with pytest.raises(ProofError):
            verify_consistency(old, old_root, new, new_root, proof)


@pytest.mark.parametrize(("old", "new"), [(0, 5), (6, 5), (-1, 5), (1, 0)])
def test_no_consistency_proof_is_made_for_sizes_out_of_order(old: int, new: int) -> None:
    with pytest.raises(ProofError, match="no consistency proof"):
        consistency_ranges(old, new)


def test_split_is_the_largest_power_of_two_below() -> None:
    assert [split(size) for size in (2, 3, 4, 5, 8, 9, 1025)] == [1, 2, 2, 4, 4, 8, 1024]


def test_compact_range_has_the_root_of_every_size_however_it_grew() -> None:
    one_by_one = CompactRange()
    for size in range(SIZE_MAX + 1):
        assert one_by_one.size == size
        assert one_by_one.root() == mth(0, size)
        assert one_by_one == CompactRange().extend(LEAVES[:size])
        one_by_one = one_by_one.append(LEAVES[size])


@given(st.lists(st.integers(0, 90), max_size=6))
def test_compact_range_grows_in_any_steps(steps: list[int]) -> None:
    growing, size = CompactRange(), 0
    for step in steps:
        before = growing
        growing = growing.extend(LEAVES[size : size + step])
        assert before.root() == mth(0, size)  # the old range is left as it was
        size += step
    assert growing.root() == mth(0, size)
    assert decode(CompactRange, encode(growing), size_max=4096) == growing


@pytest.mark.parametrize(("size", "hashes"), [(1, 0), (0, 1), (2, 2), (3, 1), (7, 2), (2**63 - 1, 1), (-1, 1)], ids=str)
def test_compact_range_whose_hashes_do_not_fit_its_size_is_refused(size: int, hashes: int) -> None:
    data = encode((size, (LEAVES[0],) * hashes))
    with pytest.raises(EncodingError, match="compact range"):
        decode(CompactRange, data, size_max=4096)
    with pytest.raises(ValueError, match="compact range"):
        CompactRange(size, (LEAVES[0],) * hashes)


def nodes_of(size: int) -> list[Range]:
    """Return the leaf ranges of all nodes of the tree of `size`."""
    found, waiting = [], [(0, size)]
    while waiting:
        start, stop = waiting.pop()
        found.append((start, stop))
        if stop - start > 1:
            middle = start + split(stop - start)
            waiting += [(start, middle), (middle, stop)]
    return found


def test_cover_makes_up_every_node_of_every_small_tree_from_complete_subtrees() -> None:
    def subtree(piece: Subtree) -> bytes:
        level, index = piece
        return mth(index << level, (index + 1) << level)

    for size in range(1, SIZE_MAX + 1):
        for start, stop in nodes_of(size):
            pieces = cover(start, stop)
            at = start
            for level, index in pieces:
                assert index << level == at
                at += 1 << level
            assert at == stop
            assert [level for level, _ in pieces] == sorted({level for level, _ in pieces}, reverse=True)
            assert range_root((start, stop), subtree) == mth(start, stop)


@given(st.integers(1, 2048), st.data())
def test_proofs_read_from_stored_subtrees_alone_verify(size: int, draw: st.DataObject) -> None:
    # Complete subtrees never change as the log grows, so tiles hold nothing else.
    stored = {
        (level, index): mth(index << level, (index + 1) << level)
        for level in range(size.bit_length())
        for index in range(size >> level)
    }
    index = draw.draw(st.integers(0, size - 1))
    old = draw.draw(st.integers(1, size))
    inclusion = [range_root(part, stored.__getitem__) for part in inclusion_ranges(index, size)]
    consistency = [range_root(part, stored.__getitem__) for part in consistency_ranges(old, size)]
    verify_inclusion(mth(0, size), size, index, LEAVES[index], inclusion)
    verify_consistency(old, mth(0, old), size, mth(0, size), consistency)


def test_cover_of_nothing_is_nothing() -> None:
    assert cover(3, 3) == []


HASHES = st.binary(min_size=32, max_size=32)


@given(st.integers(-2, 2**65), st.integers(-2, 2**65), HASHES, HASHES, st.lists(st.binary(max_size=40), max_size=70))
def test_rubbish_proofs_are_refused_by_type(one: int, two: int, root: bytes, leaf: bytes, proof: list[bytes]) -> None:
    if (one, proof) != (1, []) and (leaf != root):
        with pytest.raises(ProofError):
            verify_inclusion(root, one, two, leaf, proof)
        with pytest.raises(ProofError):
            verify_consistency(one, root, two, leaf, proof)


def test_node_hash_orders_its_children() -> None:
    assert node_hash(LEAVES[0], LEAVES[1]) == mth(0, 2) != node_hash(LEAVES[1], LEAVES[0])
    assert root_of([Hash(LEAVES[0])]) == LEAVES[0]
