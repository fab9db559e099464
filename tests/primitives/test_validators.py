"""Validator sets: integer quorums that intersect in an honest validator, leaders, and what a set refuses."""

from __future__ import annotations

from itertools import combinations

import msgspec
import pytest

from primitives.encoding import decode, encode
from primitives.errors import EncodingError, InputError, SignatureError
from primitives.ids import Epoch, MemberId, View
from primitives.keys import SigningKey
from primitives.validators import NAME_CHARACTERS_MAX, VALIDATORS_MAX, Validator, ValidatorSet


def key(number: int) -> bytes:
    return SigningKey(number.to_bytes(32, "big")).public


def validator(index: int) -> Validator:
    return Validator(
        f"node-{index}", MemberId(f"bank-{index}"), key(3 * index + 1), key(3 * index + 2), key(3 * index + 3)
    )


def validators(n: int, epoch: int = 0) -> ValidatorSet:
    return ValidatorSet(Epoch(epoch), tuple(validator(index) for index in range(n)))


def changed(n: int, index: int, **fields: object) -> ValidatorSet:
    members = list(validators(n).validators)
    members[index] = msgspec.structs.replace(members[index], **fields)
    return ValidatorSet(Epoch(0), tuple(members))


@pytest.mark.parametrize("n", range(1, 33))
def test_quorums_intersect_in_an_honest_validator_and_live_without_f(n: int) -> None:
    group = validators(n)
    q, f = group.quorum, group.f
    assert group.n == n >= 3 * f + 1
    assert n < 3 * (f + 1) + 1  # f is the most that n bears
    assert 2 * q - n > f  # two quorums share more than f validators, so an honest one
    assert 2 * (q - 1) - n <= f  # q is the least with that property
    assert q <= n - f  # the honest alone make a quorum
    assert q > f  # a quorum holds an honest validator


@pytest.mark.parametrize("n", range(1, 8))
def test_every_two_quorums_of_small_sets_share_more_than_f_validators(n: int) -> None:
    group = validators(n)
    quorums = [set(chosen) for chosen in combinations(range(n), group.quorum)]
    assert all(len(one & two) > group.f for one in quorums for two in quorums)


def test_quorums_of_the_usual_sizes_are_the_ones_of_the_paper() -> None:
    assert [(n, validators(n).f, validators(n).quorum) for n in (1, 4, 5, 6, 7, 10, 31)] == [
        (1, 0, 1), (4, 1, 3), (5, 1, 4), (6, 1, 4), (7, 2, 5), (10, 3, 7), (31, 10, 21),
    ]  # fmt: skip


def test_leader_rotates_with_epoch_and_view() -> None:
    assert [validators(4).leader(View(view)) for view in range(6)] == [0, 1, 2, 3, 0, 1]
    assert [validators(4, epoch).leader(View(1)) for epoch in range(4)] == [1, 2, 3, 0]
    assert [validators(1).leader(View(view)) for view in range(3)] == [0, 0, 0]
    assert 0 <= validators(7, 2**62).leader(View(2**62 + 5)) < 7


def test_set_comes_back_from_its_bytes_with_the_same_hash() -> None:
    group = validators(4, epoch=3)
    assert group.hash == group.hash
    data = encode(group)
    twin = decode(ValidatorSet, data, size_max=4096)
    assert twin == group
    assert twin.hash == group.hash
    assert encode(group) == data  # the cached values are no part of it
    assert group.indexes == {"node-0": 0, "node-1": 1, "node-2": 2, "node-3": 3}


def test_hash_depends_on_epoch_order_and_every_field() -> None:
    group = validators(4)
    others = [
        validators(4, epoch=1),
        validators(3),
        ValidatorSet(Epoch(0), group.validators[::-1]),
        *(changed(4, 2, **{field: b"\1" * 32}) for field in ("vote_key", "cosign_key", "log_key")),
        *(changed(4, 2, **{field: "other"}) for field in ("name", "member")),
    ]
    assert len({group.hash, *(other.hash for other in others)}) == len(others) + 1


def test_good_sets_pass_and_two_validators_of_one_member_are_allowed() -> None:
    for n in (1, 4, 7):
        validators(n).check()
    changed(4, 1, member="bank-0").check()


@pytest.mark.parametrize("n", [0, VALIDATORS_MAX + 1])
def test_number_of_validators_out_of_range_is_refused(n: int) -> None:
    group = ValidatorSet(Epoch(0), (validator(0),) * n)
    with pytest.raises(InputError, match=f"number of validators: expected 1 to {VALIDATORS_MAX}, got {n}"):
        group.check()


def test_negative_epoch_is_refused() -> None:
    with pytest.raises(InputError, match="epoch"):
        validators(4, epoch=-1).check()


def test_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(InputError, match="same name"):
        changed(4, 3, name="node-0").check()


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a+b", "a\nb", "a\x1bb", "a\u00a0b", "\ud800", "x" * (NAME_CHARACTERS_MAX + 1)]
)
def test_name_that_cannot_stand_in_a_note_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="a validator's name") as caught:
        changed(4, 1, name=name).check()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("field", ["vote_key", "cosign_key", "log_key"])
def test_key_that_stands_twice_is_refused_whatever_it_is_for(field: str) -> None:
    for twice in (validator(0).vote_key, validator(0).cosign_key, validator(0).log_key):
        with pytest.raises(InputError, match="a key stands twice"):
            changed(4, 2, **{field: twice}).check()
    own = "cosign_key" if field == "vote_key" else "vote_key"
    with pytest.raises(InputError, match="a key stands twice"):
        changed(4, 2, **{field: getattr(validator(2), own)}).check()


@pytest.mark.parametrize("field", ["vote_key", "cosign_key", "log_key"])
@pytest.mark.parametrize("bad", [b"", bytes(31), bytes(33), bytes(32), b"\1" + bytes(31), b"\xff" * 32])
def test_key_of_wrong_length_or_small_order_is_refused(field: str, bad: bytes) -> None:
    with pytest.raises(SignatureError):
        changed(4, 2, **{field: bad}).check()


@pytest.mark.parametrize(
    "data",
    [
        b"\x91\x00",
        b"\x93\x00\x90\x00",
        b"\x92\xa10\x90",
        b"\x92\x00\x91\x90",
        b"\x92\xcc\x00\x90",
    ],
)
def test_bytes_that_are_no_set_are_refused(data: bytes) -> None:
    with pytest.raises(EncodingError):
        decode(ValidatorSet, data, size_max=4096)
