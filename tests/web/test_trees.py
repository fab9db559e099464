"""Merkle trees and maps in JavaScript: whatever proof Python accepts or refuses, so does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.smt import EMPTY, MapUpdate, StateProof, lookup, path_of, verify_state
from primitives import merkle
from primitives.errors import ProofError
from primitives.ids import Hash
from tests.web.node_fixtures import Node, RefusedByNode, running_node


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node() as process:
        yield process


def leaves_of(count: int) -> list[bytes]:
    return [sha256(bytes([number])).digest() for number in range(count)]


def hexes(items: Sequence[bytes]) -> list[str]:
    return [item.hex() for item in items]


def agree(node: Node, op: str, judge: Callable[..., None], **fields: Any) -> bool:
    """Assert that both verifiers judge a proof alike; return whether it is good."""
    try:
        judge(**fields)
        good = True
    except ProofError:
        good = False
    texts = {name: hexes(value) if isinstance(value, list) else value.hex() if isinstance(value, bytes) else str(value)
             for name, value in fields.items()}  # fmt: skip
    try:
        node.ask(op, **texts)
    except RefusedByNode:
        assert not good, fields
    else:
        assert good, fields
    return good


def judge_range(
    root: bytes, size: int, start: int, leaves: list[bytes], before: list[bytes], after: list[bytes]
) -> None:
    if merkle.root_from_range(size, start, leaves, before, after) != root:
        raise ProofError("another root")


def test_ranges_of_leaves_of_small_trees_are_judged_alike(node: Node) -> None:
    refused = 0
    for size in range(14):
        leaves = leaves_of(size)
        for start in range(size + 1):
            for stop in range(start, size + 1):
                before, after = (
                    [merkle.root_of(leaves[index << level : index + 1 << level]) for level, index in parts]
                    for parts in merkle.range_proof(start, stop, size)
                )
                good = {"root": merkle.root_of(leaves), "size": size, "start": start, "leaves": leaves[start:stop]}
                good |= {"before": before, "after": after}
                assert agree(node, "merkleRange", judge_range, **good)
                for wrong in (
                    {"start": start - 1},
                    {"start": start + 1},
                    {"size": size + 1},
                    {"leaves": leaves[start:]},
                    {"leaves": leaves[start : stop + 1][::-1]},
                    {"before": after, "after": before},
                    {"before": before[:-1]},
                    {"after": after[::-1]},
                ):
                    refused += not agree(node, "merkleRange", judge_range, **good | wrong)
    assert refused > 1_000


def test_paths_of_small_trees_are_judged_alike(node: Node) -> None:
    refused = 0
    for size in range(1, 20):
        leaves = leaves_of(size)
        root = merkle.root_of(leaves)
        for index in range(size):
            path = [bytes(item) for item in merkle.inclusion_path(leaves, index)]
            good = {"root": root, "size": size, "index": index, "leaf": leaves[index], "path": path}
            assert agree(node, "merkleInclusion", merkle.verify_inclusion, **good)
            for wrong in (
                *({"index": other} for other in (index + 1, index ^ 1, size, -1, 2**63)),
                *({"size": other} for other in (0, size + 1, size - 1, 2**63, 2**64)),
                *({"path": other} for other in ([*path, root], path[:-1], path[1:], path[::-1], path * 20)),
                {"path": [item[1:] for item in path]},
                {"leaf": root},
                {"root": leaves[0]},
            ):
                refused += not agree(node, "merkleInclusion", merkle.verify_inclusion, **good | wrong)
        for old in range(size + 1):
            path = [bytes(item) for item in merkle.consistency_path(leaves, old)] if 0 < old < size else []
            good = {"size1": old, "root1": merkle.root_of(leaves[:old]), "size2": size, "root2": root, "path": path}
            assert agree(node, "merkleConsistency", judge_consistency, **good)
            for wrong in (
                *({"size1": other} for other in (old + 1, old - 1, 0, size, -1, 2**63)),
                *({"size2": other} for other in (size + 1, size - 1, 0, old, *([2**63] if old else []))),
                *({"path": other} for other in ([*path, root], path[:-1], path[1:], path[::-1], [root] * 65)),
                {"root1": root},
                {"root2": good["root1"]},
            ):
                refused += not agree(node, "merkleConsistency", judge_consistency, **good | wrong)
    assert refused > 3_000


def judge_consistency(size1: int, root1: bytes, size2: int, root2: bytes, path: list[bytes]) -> None:
    merkle.verify_consistency(size1, root1, size2, root2, path)


def test_sizes_up_to_two_to_the_63_are_exact(node: Node) -> None:
    size = 2**63 - 1
    for index in (0, 2**53 + 1, 2**62 - 1, 2**62, size - 1):
        leaf = sha256(b"leaf").digest()
        path = [sha256(bytes([level])).digest() for level in range(len(merkle.inclusion_ranges(index, size)))]
        root = merkle.root_from_inclusion(size, index, leaf, path).hex()
        asked = {"root": root, "size": str(size), "leaf": leaf.hex(), "path": hexes(path)}
        node.ask("merkleInclusion", index=str(index), **asked)
        with pytest.raises(RefusedByNode):
            node.ask("merkleInclusion", index=str(index ^ 1), **asked)


def judged_state(node: Node, root: bytes, key: bytes, value: bytes | None, proof: StateProof) -> bool:
    """Assert that both verifiers judge a proof of the state alike; return whether it is good."""
    try:
        verify_state(root, key, value, proof)
        good = True
    except ProofError:
        good = False
    asked = {"root": root.hex(), "key": key.hex(), "value": None if value is None else value.hex()}
    other = None if proof.other is None else hexes(list(proof.other))
    try:
        node.ask("state", siblings=hexes(list(proof.siblings)), other=other, **asked)
    except RefusedByNode:
        assert not good
    else:
        assert good
    return good


def test_presence_and_absence_in_maps_are_judged_alike(node: Node) -> None:
    refused = 0
    for count in (0, 1, 2, 3, 50):
        update = MapUpdate(lambda _: None)
        values = {b"key/%d" % number: b"value %d" % number for number in range(count)}
        root = update.apply(EMPTY, dict(values))
        for number in range(count + 30):
            key = b"key/%d" % number
            value, proof = lookup(root, key, update.nodes.get)
            assert value == values.get(key)
            assert judged_state(node, root, key, value, proof)
            longer = replace(proof, siblings=(*proof.siblings, EMPTY))
            deepest = replace(proof, siblings=(EMPTY,) * 257)
            swapped = replace(proof, siblings=proof.siblings[::-1])
            own = replace(proof, other=(path_of(key), Hash(sha256(value or b"").digest())))
            apart = replace(proof, other=(bytes(32), EMPTY))
            short = replace(proof, other=(bytes(31), EMPTY))
            refused += not judged_state(node, root, key + b"x", value, proof)
            for said in (value, None, b"", b"another"):
                for wrong in (proof, longer, deepest, swapped, own, apart, short, replace(proof, other=None)):
                    refused += not judged_state(node, root, key, said, wrong)
    assert refused > 1_000


def test_a_leaf_at_a_place_that_is_not_its_own_proves_no_absence(node: Node) -> None:
    """No honest map has one. A quorum of liars might sign its root."""
    node_tag, leaf_tag = b"chainnode/v1/state-node\0", b"chainnode/v1/state-leaf\0"
    good = 0
    for number in range(64):
        key, path = b"key", path_of(b"key")
        other = bytearray(path)
        for bit in range(number % 4, 256):  # the first bits are the key's
            other[bit >> 3] ^= 1 << (7 - (bit & 7))
        value_hash, sibling = sha256(b"value").digest(), Hash(sha256(b"sibling").digest())
        root = sha256(leaf_tag + bytes(other) + value_hash).digest()
        depth = number // 16
        for level in range(depth - 1, -1, -1):
            right = path[level >> 3] >> (7 - (level & 7)) & 1
            root = sha256(node_tag + (sibling + root if right else root + sibling)).digest()
        proof = StateProof((sibling,) * depth, (bytes(other), Hash(value_hash)))
        accepted = judged_state(node, root, key, None, proof)
        assert accepted == (number % 4 >= depth)
        good += accepted
    assert 0 < good < 64
