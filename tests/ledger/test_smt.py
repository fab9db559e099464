"""The sparse Merkle map against a naive model of it."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.smt import DEPTH_MAX, EMPTY, MapUpdate, StateProof, leaf_of, lookup, path_of, values_of, verify_state
from primitives.errors import ProofError, StorageError
from primitives.ids import Hash

KEYS = st.integers(0, 23).map(lambda number: b"key %d" % number)  # few, so that updates meet
VALUES = st.binary(max_size=4)


def naive_root(values: dict[bytes, bytes]) -> bytes:
    """Return the root by definition: split all leaves by bits, a lone leaf stands for its subtree."""

    def build(leaves: list[tuple[bytes, bytes]], depth: int) -> bytes:
        if not leaves:
            return bytes(32)
        if len(leaves) == 1:
            return leaves[0][1]
        left = [leaf for leaf in leaves if not leaf[0][depth // 8] & (128 >> depth % 8)]
        right = [leaf for leaf in leaves if leaf[0][depth // 8] & (128 >> depth % 8)]
        parts = build(left, depth + 1), build(right, depth + 1)
        return sha256(b"chainnode/v1/state-node\0" + parts[0] + parts[1]).digest()

    leaves = []
    for key, value in values.items():
        path = sha256(b"chainnode/v1/state-path\0" + key).digest()
        leaf = sha256(b"chainnode/v1/state-leaf\0" + path + sha256(value).digest()).digest()
        leaves.append((path, leaf))
    return build(leaves, 0)


class Map:
    """A map whose nodes are all kept."""

    def __init__(self) -> None:
        self.nodes: dict[bytes, bytes] = {}
        self.root: Hash = EMPTY

    def apply(self, changes: dict[bytes, bytes | None]) -> None:
        """Make one block's changes."""
        update = MapUpdate(self.nodes.get)
        self.root = update.apply(self.root, changes)
        self.nodes.update(update.nodes)


@given(st.lists(st.dictionaries(KEYS, st.none() | VALUES, max_size=12), max_size=6))
def test_root_after_any_updates_is_that_of_the_values_alone(blocks: list[dict[bytes, bytes | None]]) -> None:
    tree, model = Map(), dict[bytes, bytes]()
    for changes in blocks:
        tree.apply(changes)
        for key, value in changes.items():
            if value is None:
                model.pop(key, None)
            else:
                model[key] = value
        assert tree.root == naive_root(model)


@given(st.dictionaries(KEYS, VALUES, max_size=20), KEYS)
def test_every_key_is_proved_present_or_absent(values: dict[bytes, bytes], other: bytes) -> None:
    tree = Map()
    tree.apply(dict(values))
    for key in {*values, other}:
        value, proof = lookup(tree.root, key, tree.nodes.get)
        assert value == values.get(key)
        verify_state(tree.root, key, value, proof)
        wrong = b"other value" if value is None else None
        with pytest.raises(ProofError):
            verify_state(tree.root, key, wrong, proof)
        if value is not None:
            with pytest.raises(ProofError):
                verify_state(tree.root, key, value + b"!", proof)


@given(st.dictionaries(KEYS, VALUES, min_size=2, max_size=20), st.data())
def test_changed_proof_is_refused(values: dict[bytes, bytes], data: st.DataObject) -> None:
    tree = Map()
    tree.apply(dict(values))
    key = data.draw(st.sampled_from(sorted(values)) | KEYS)
    value, proof = lookup(tree.root, key, tree.nodes.get)
    place = data.draw(st.integers(0, len(proof.siblings) - 1)) if proof.siblings else 0
    siblings = list(proof.siblings)
    if siblings:
        siblings[place] = Hash(bytes([siblings[place][0] ^ 1]) + siblings[place][1:])
        with pytest.raises(ProofError):
            verify_state(tree.root, key, value, StateProof(tuple(siblings), proof.other))
    with pytest.raises(ProofError):
        verify_state(tree.root, key, value, StateProof((*proof.siblings, EMPTY), proof.other))


def test_old_roots_stay_provable() -> None:
    tree = Map()
    roots = []
    for version in range(20):
        tree.apply({b"a": str(version).encode(), str(version).encode(): b"x"})
        roots.append(tree.root)
    for version, root in enumerate(roots):
        value, proof = lookup(root, b"a", tree.nodes.get)
        assert value == str(version).encode()
        verify_state(root, b"a", value, proof)
        absent, proof = lookup(root, str(version + 1).encode(), tree.nodes.get)
        assert absent is None
        verify_state(root, str(version + 1).encode(), None, proof)


def test_depth_grows_with_the_logarithm_of_the_size() -> None:
    tree = Map()
    tree.apply({f"key {i}".encode(): b"v" for i in range(4096)})
    depths = [len(lookup(tree.root, f"key {i}".encode(), tree.nodes.get)[1].siblings) for i in range(100)]
    assert max(depths) < 30
    assert 11 < sum(depths) / len(depths) < 16


def test_leaf_of_another_place_does_not_prove_an_absence() -> None:
    tree = Map()
    tree.apply({f"key {i}".encode(): b"v" for i in range(64)})
    value, proof = lookup(tree.root, b"key 3", tree.nodes.get)
    assert value == b"v"
    # The leaf itself, named as another, and a leaf of elsewhere with the path of this key.
    own = (path_of(b"key 3"), Hash(sha256(b"v").digest()))
    elsewhere = (path_of(b"key 4"), Hash(sha256(b"v").digest()))
    for other in (own, elsewhere):
        with pytest.raises(ProofError):
            verify_state(tree.root, b"key 3", None, StateProof(proof.siblings, other))


def test_leaf_that_a_forged_root_puts_elsewhere_proves_nothing() -> None:
    first = next(key for key in (b"%d" % i for i in range(99)) if not path_of(key)[0] & 128)
    second = next(key for key in (b"%d" % i for i in range(99)) if path_of(key)[0] & 128)
    leaf = leaf_of(path_of(second), b"v")
    root = Hash(sha256(b"chainnode/v1/state-node\0" + leaf + EMPTY).digest())
    other = (path_of(second), Hash(sha256(b"v").digest()))
    with pytest.raises(ProofError, match="another place"):
        verify_state(root, first, None, StateProof((EMPTY,), other))


def test_missing_node_is_a_damaged_store() -> None:
    tree = Map()
    tree.apply({b"a": b"1", b"b": b"2", b"c": b"3"})
    with pytest.raises(StorageError, match="node of the state missing"):
        lookup(tree.root, b"a", lambda _: None)


def test_leaf_hash_binds_key_and_value() -> None:
    assert leaf_of(path_of(b"a"), b"1") != leaf_of(path_of(b"b"), b"1")
    assert leaf_of(path_of(b"a"), b"1") != leaf_of(path_of(b"a"), b"2")


def test_proof_of_presence_that_names_another_leaf_is_refused() -> None:
    tree = Map()
    tree.apply({b"a": b"1", b"b": b"2"})
    value, proof = lookup(tree.root, b"a", tree.nodes.get)
    verify_state(tree.root, b"a", value, proof)
    with pytest.raises(ProofError, match="names another leaf"):
        verify_state(tree.root, b"a", value, StateProof(proof.siblings, (path_of(b"b"), Hash(sha256(b"2").digest()))))


@pytest.mark.parametrize("lengths", [(31, 33), (33, 31), (0, 64), (32, 31)])
def test_path_with_a_hash_of_another_length_is_refused_whatever_it_leads_to(lengths: tuple[int, int]) -> None:
    """Bytes moved between two hashes would leave what is hashed as it was."""
    siblings = tuple(Hash(bytes(length)) for length in lengths)
    with pytest.raises(ProofError, match="not a path of the state"):
        verify_state(EMPTY, b"key", b"value", StateProof(siblings, None))


def test_path_longer_than_a_key_is_refused() -> None:
    siblings = (EMPTY,) * (DEPTH_MAX + 1)
    with pytest.raises(ProofError, match="not a path of the state"):
        verify_state(EMPTY, b"key", b"value", StateProof(siblings, None))
    with pytest.raises(ProofError, match="does not lead to the state root"):
        verify_state(EMPTY, b"key", b"value", StateProof(siblings[1:], None))


@given(st.dictionaries(KEYS, VALUES, max_size=20), st.lists(KEYS, max_size=12))
def test_many_values_at_once_are_those_of_their_lookups_and_no_node_is_read_twice(
    values: dict[bytes, bytes], keys: list[bytes]
) -> None:
    tree, read = Map(), list[bytes]()
    tree.apply(dict(values))

    def node(name: bytes) -> bytes | None:
        read.append(name)
        return tree.nodes.get(name)

    found = values_of(tree.root, keys, node)
    assert found == {key: values.get(key) for key in keys}
    assert len(read) == len(set(read))
    assert found == {key: lookup(tree.root, key, tree.nodes.get)[0] for key in keys}
