"""Domain separation: no hash or statement made for one purpose stands for another."""

from __future__ import annotations

from hashlib import sha256

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.hashing import domain_hash, leaf_hash, node_hash, statement

TAGS = st.from_regex(r"[a-z][a-z-]{0,15}", fullmatch=True)


def test_hashes_are_sha256_over_the_documented_bytes() -> None:
    assert domain_hash("batch", b"data") == sha256(b"chainnode/v1/batch\0data").digest()
    assert leaf_hash(b"data") == sha256(b"\0data").digest()
    assert node_hash(b"l" * 32, b"r" * 32) == sha256(b"\1" + b"l" * 32 + b"r" * 32).digest()
    assert statement("prepare", b"c", 1, "x") == b"chainnode/v1/prepare\0" + msgpack.packb([b"c", 1, "x"])


def test_leaf_hash_agrees_with_the_published_hash_of_an_empty_leaf() -> None:
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


@given(TAGS, st.binary(max_size=40), TAGS, st.binary(max_size=40))
def test_tag_and_data_together_decide_the_hash(tag: str, data: bytes, other: str, more: bytes) -> None:
    same = (tag, data) == (other, more)
    assert (domain_hash(tag, data) == domain_hash(other, more)) is same


@given(TAGS, st.binary(max_size=80))
def test_tagged_hash_is_no_hash_of_the_tree(tag: str, data: bytes) -> None:
    assert domain_hash(tag, data) not in (leaf_hash(data), sha256(data).digest())


FIELDS = st.lists(st.integers(0, 9) | st.binary(max_size=3) | st.text(max_size=3) | st.booleans(), max_size=4)


@given(TAGS, FIELDS, TAGS, FIELDS)
def test_statements_are_equal_only_for_the_same_tag_and_fields(
    tag: str, fields: list[object], other: str, more: list[object]
) -> None:
    same = tag == other and repr(fields) == repr(more)  # repr: True and 1 are different fields
    assert (statement(tag, *fields) == statement(other, *more)) is same


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ((b"ab", b"c"), (b"a", b"bc")),
        (("1",), (1,)),
        ((1,), (True,)),
        (("a",), (b"a",)),
        ((), ((),)),
        ((1, 2), ((1, 2),)),
    ],
)
def test_fields_cannot_be_moved_from_one_to_the_next(one: tuple[object, ...], two: tuple[object, ...]) -> None:
    assert statement("tag", *one) != statement("tag", *two)
