"""Quorum certificates: what a quorum signed passes, and whatever was cut, doubled, moved or relabelled does not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.encoding import decode, encode
from primitives.errors import EncodingError, SignatureError
from primitives.hashing import domain_hash
from primitives.ids import Epoch, Hash, Height, MemberId, View
from primitives.keys import SigningKey
from primitives.validators import Validator, ValidatorSet
from primitives.votes import (
    COMMIT,
    NUMBER_MAX,
    PREPARE,
    QuorumCertificate,
    check_certificate_shape,
    verify_certificate,
    vote_statement,
)

KEYS = [SigningKey(bytes([index]) * 32) for index in range(1, 14)]


def group_of(n: int, epoch: int = 2) -> ValidatorSet:
    members = tuple(
        Validator(f"node-{index}", MemberId("bank"), KEYS[index].public, bytes(32), bytes(32)) for index in range(n)
    )
    return ValidatorSet(Epoch(epoch), members)


FOUR = group_of(4)
CHAIN = domain_hash("genesis", b"a")
OTHER_CHAIN = domain_hash("genesis", b"b")
BLOCK = domain_hash("test", b"block")
OTHER_BLOCK = domain_hash("test", b"other")
PLACE: dict[str, Any] = {"epoch": 2, "view": 5, "height": 7, "block_hash": BLOCK}


def certificate(
    signers: tuple[int, ...] = (0, 1, 2), phase: int = COMMIT, chain: Hash = CHAIN, **place: Any
) -> QuorumCertificate:
    at = PLACE | place
    message = vote_statement(phase, chain, at["epoch"], at["view"], at["height"], at["block_hash"])
    return QuorumCertificate(phase, **at, signatures=tuple((index, KEYS[index].sign(message)) for index in signers))


def replaced(given: QuorumCertificate, **fields: Any) -> QuorumCertificate:
    return msgspec.structs.replace(given, **fields)


GOOD = certificate()


@pytest.mark.parametrize("signers", [(0, 1, 2), (0, 1, 3), (1, 2, 3), (0, 1, 2, 3)])
@pytest.mark.parametrize("phase", [PREPARE, COMMIT])
def test_quorum_of_votes_makes_a_certificate(signers: tuple[int, ...], phase: int) -> None:
    made = certificate(signers, phase)
    verify_certificate(made, CHAIN, FOUR, phase)
    assert decode(QuorumCertificate, encode(made), size_max=4096) == made


@pytest.mark.parametrize("n", range(1, 14))
def test_one_vote_less_than_the_quorum_is_too_few(n: int) -> None:
    group = group_of(n)
    verify_certificate(certificate(tuple(range(n - group.quorum, n))), CHAIN, group)
    with pytest.raises(SignatureError, match=f"too few signers: expected {group.quorum}, got {group.quorum - 1}"):
        verify_certificate(certificate(tuple(range(group.quorum - 1))), CHAIN, group)


def test_empty_certificate_is_refused_even_by_an_empty_set() -> None:
    empty = certificate(())
    for group in (FOUR, ValidatorSet(Epoch(2), ())):
        with pytest.raises(SignatureError, match="too few signers"):
            verify_certificate(empty, CHAIN, group)


VOTES = dict(certificate((0, 1, 2, 3)).signatures)
REFUSED_SIGNERS = [
    ("one twice", ((0, VOTES[0]), (1, VOTES[1]), (1, VOTES[1])), "ascending and distinct"),
    ("one thrice", ((0, VOTES[0]),) * 3, "ascending and distinct"),
    ("unsorted", ((1, VOTES[1]), (0, VOTES[0]), (2, VOTES[2])), "ascending and distinct"),
    ("quorum and one twice", ((0, VOTES[0]), (1, VOTES[1]), (2, VOTES[2]), (2, VOTES[2])), "ascending and distinct"),
    ("negative", ((-1, VOTES[3]), (0, VOTES[0]), (1, VOTES[1])), "from 0 to 3"),
    ("above the set", ((0, VOTES[0]), (1, VOTES[1]), (4, VOTES[2])), "from 0 to 3"),
    ("far above the set", ((0, VOTES[0]), (1, VOTES[1]), (2**63, VOTES[2])), "from 0 to 3"),
    ("more than there are", tuple((index, VOTES[0]) for index in range(100_000)), "at most 4, got 100000"),
    ("swapped signatures", ((0, VOTES[1]), (1, VOTES[0]), (2, VOTES[2])), "validator node-0"),
    ("one signature under two names", ((0, VOTES[0]), (1, VOTES[0]), (2, VOTES[2])), "validator node-1"),
    ("another's name", ((0, VOTES[0]), (1, VOTES[1]), (3, VOTES[2])), "validator node-3"),
    ("one bad among enough good ones", (*GOOD.signatures, (3, bytes(64))), "validator node-3"),
    ("empty signature", ((0, VOTES[0]), (1, VOTES[1]), (2, b"")), "wrong length"),
    ("63 bytes", ((0, VOTES[0]), (1, VOTES[1]), (2, VOTES[2][:63])), "wrong length"),
    ("65 bytes", ((0, VOTES[0]), (1, VOTES[1]), (2, VOTES[2] + b"\0")), "wrong length"),
    ("degenerate signature", ((0, VOTES[0]), (1, VOTES[1]), (2, b"\1" + bytes(63))), "validator node-2"),
]


@pytest.mark.parametrize(
    ("signatures", "message"), [case[1:] for case in REFUSED_SIGNERS], ids=[case[0] for case in REFUSED_SIGNERS]
)
def test_certificate_whose_signers_do_not_hold_is_refused(
    signatures: tuple[tuple[int, bytes], ...], message: str
) -> None:
    with pytest.raises(SignatureError, match=message) as caught:
        verify_certificate(replaced(GOOD, signatures=signatures), CHAIN, FOUR)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "field",
    [{"phase": PREPARE}, {"epoch": 3}, {"view": 6}, {"view": 0}, {"height": 8}, {"block_hash": OTHER_BLOCK}],
    ids=str,
)
def test_relabelled_certificate_is_refused(field: dict[str, Any]) -> None:
    moved = replaced(GOOD, **field)
    with pytest.raises(SignatureError):
        verify_certificate(moved, CHAIN, group_of(4, epoch=moved.epoch), moved.phase)


def test_certificate_of_another_chain_is_refused() -> None:
    verify_certificate(certificate(chain=OTHER_CHAIN), OTHER_CHAIN, FOUR)
    with pytest.raises(SignatureError, match="does not verify"):
        verify_certificate(certificate(chain=OTHER_CHAIN), CHAIN, FOUR)


def test_certificate_of_another_phase_or_epoch_than_asked_for_is_refused() -> None:
    with pytest.raises(SignatureError, match="a certificate's phase: expected 2, got 1"):
        verify_certificate(certificate(phase=PREPARE), CHAIN, FOUR)
    with pytest.raises(SignatureError, match="a certificate's phase: expected 1, got 2"):
        verify_certificate(GOOD, CHAIN, FOUR, PREPARE)
    with pytest.raises(SignatureError, match="a certificate's epoch: expected 3, got 2"):
        verify_certificate(GOOD, CHAIN, group_of(4, epoch=3))


@pytest.mark.parametrize("phase", [0, 3, -1, 2**63])
def test_unknown_phase_is_refused_even_if_the_caller_takes_it_from_the_certificate(phase: int) -> None:
    with pytest.raises(SignatureError, match="a certificate's phase"):
        verify_certificate(replaced(GOOD, phase=phase), CHAIN, FOUR, phase)


@pytest.mark.parametrize(
    "other",
    [{"view": 6}, {"view": 4}, {"height": 8}, {"epoch": 1}, {"block_hash": OTHER_BLOCK}, {"phase": PREPARE},
     {"chain": OTHER_CHAIN}],
    ids=str,
)  # fmt: skip
def test_certificate_mixed_from_votes_for_two_statements_is_refused(other: dict[str, Any]) -> None:
    stray = certificate((2,), **other).signatures
    with pytest.raises(SignatureError, match="validator node-2"):
        verify_certificate(replaced(GOOD, signatures=(*GOOD.signatures[:2], *stray)), CHAIN, FOUR)


@pytest.mark.parametrize(
    "field",
    [{"view": -1}, {"view": NUMBER_MAX + 1}, {"view": 2**70}, {"height": 0}, {"height": -1},
     {"height": NUMBER_MAX + 1}, {"block_hash": b""}, {"block_hash": bytes(31)}, {"block_hash": bytes(33)}],
    ids=str,
)  # fmt: skip
def test_number_or_hash_out_of_range_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(SignatureError, match="out of range"):
        check_certificate_shape(replaced(GOOD, **field), FOUR, COMMIT)


def test_votes_of_another_set_of_validators_are_refused() -> None:
    others = ValidatorSet(Epoch(2), group_of(8).validators[4:])
    with pytest.raises(SignatureError, match="validator node-4"):
        verify_certificate(GOOD, CHAIN, others)


@given(st.data())
def test_every_changed_bit_of_an_encoded_certificate_is_refused(draw: st.DataObject) -> None:
    data = bytearray(encode(GOOD))
    bit = draw.draw(st.integers(0, 8 * len(data) - 1))
    data[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises((EncodingError, SignatureError)):
        verify_certificate(decode(QuorumCertificate, bytes(data), size_max=4096), CHAIN, FOUR)


NUMBERS = st.integers(0, NUMBER_MAX)
STATEMENTS = st.tuples(
    st.sampled_from([PREPARE, COMMIT]),
    st.sampled_from([CHAIN, OTHER_CHAIN]),
    NUMBERS.map(Epoch),
    NUMBERS.map(View),
    NUMBERS.map(Height),
    st.sampled_from([BLOCK, OTHER_BLOCK]),
)


@given(STATEMENTS, STATEMENTS)
def test_two_votes_sign_the_same_bytes_only_if_they_say_the_same(one: Any, two: Any) -> None:
    assert (vote_statement(*one) == vote_statement(*two)) is (one == two)


@pytest.mark.parametrize(
    "data", [b"", b"\x90", b"\x95\x02\x02\x05\x07\xc4\x00", b"\x96\x02\x02\x05\x07\xc4\x00\x90", encode(GOOD) + b"\0"]
)
def test_bytes_that_are_no_certificate_are_refused(data: bytes) -> None:
    with pytest.raises(EncodingError):
        decode(QuorumCertificate, data, size_max=4096)
