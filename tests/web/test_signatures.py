"""Keys and signatures on which libraries of Ed25519 disagree: JavaScript judges them as the node does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from primitives.errors import SignatureError
from primitives.keys import SigningKey, check_public_key, verify
from tests.web.curve_fixtures import BASE, ORDER, SMALL, ZERO, P, challenge, packed, point_of, signed, times, total
from tests.web.node_fixtures import Node, has_noble, running_node

CRYPTOS = ["node", *(["noble"] if has_noble() else [])]
SECRET, NONCE = 0x1234567, 0x7654321
KEY, FIRST = times(SECRET, BASE), times(NONCE, BASE)
SMALL_POINTS = [times(factor, SMALL) for factor in range(8)]

Case = tuple[bytes, bytes, bytes]
"""Key, message, signature."""


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node() as process:
        yield process


def genuine() -> Iterator[Case]:
    for number in range(20):
        key = SigningKey(bytes([number]) * 32)
        message = bytes(range(number))
        yield key.public, message, key.sign(message)
    yield packed(KEY), b"by hand", signed(SECRET, FIRST, NONCE, packed(KEY), b"by hand")


def damaged() -> Iterator[Case]:
    key = SigningKey(b"\5" * 32)
    signature = key.sign(b"said")
    for bit in range(0, 512, 7):
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        yield key.public, b"said", bytes(flipped)
    for length in (0, 1, 32, 63, 65, 128):
        yield key.public, b"said", (signature * 2)[:length]
    for length in (0, 31, 33):
        yield (key.public * 2)[:length], b"said", signature
    second = int.from_bytes(signature[32:], "little")
    for multiple in range(1, 16):
        if second + multiple * ORDER < 2**256:
            yield key.public, b"said", signature[:32] + (second + multiple * ORDER).to_bytes(32, "little")


def of_small_order() -> Iterator[Case]:
    """Signatures that hold for any message, or nearly any, where nobody looks at the order of their points."""
    for small in SMALL_POINTS:
        for message in (b"one", b"two", b"three", b"four"):
            yield packed(small), message, packed(ZERO) + bytes(32)
            yield packed(small), message, signed(0, FIRST, NONCE, packed(small), message)
            yield packed(KEY), message, signed(SECRET, small, 0, packed(KEY), message)
            for first in SMALL_POINTS:
                yield packed(small), message, packed(first) + bytes(32)


def of_mixed_order() -> Iterator[Case]:
    """Signatures that hold only with the cofactor multiplied in, and keys with which every eighth holds without."""
    for small in SMALL_POINTS[1:]:
        mixed = packed(total(KEY, small))
        for number in range(16):
            message = bytes([number])
            yield mixed, message, signed(SECRET, FIRST, NONCE, mixed, message)
            yield packed(KEY), message, signed(SECRET, total(FIRST, small), NONCE, packed(KEY), message)
            yield mixed, message, signed(SECRET, total(FIRST, small), NONCE, mixed, message)


def not_canonical() -> Iterator[Case]:
    """Other spellings of the same points."""
    for y in range(19):
        for odd in (0, 1):
            spelled = (y + P | odd << 255).to_bytes(32, "little")
            yield spelled, b"said", packed(ZERO) + bytes(32)
            yield packed(KEY), b"said", spelled + bytes(32)
            point = point_of(y, odd)
            if point is not None and point not in SMALL_POINTS:
                yield spelled, b"said", signed(0, FIRST, NONCE, spelled, b"said")
    for y in (1, P - 1):
        spelled = (y | 1 << 255).to_bytes(32, "little")
        yield spelled, b"said", packed(ZERO) + bytes(32)
        yield (
            packed(KEY),
            b"said",
            spelled + (challenge(spelled, packed(KEY), b"said") * SECRET % ORDER).to_bytes(32, "little"),
        )


@pytest.mark.parametrize("crypto", CRYPTOS)
@pytest.mark.parametrize("cases", [genuine, damaged, of_small_order, of_mixed_order, not_canonical])
def test_a_signature_holds_where_the_node_says_so_and_nowhere_else(node: Node, crypto: str, cases: object) -> None:
    assert callable(cases)
    judged = [(verify(key, message, signature), key, message, signature) for key, message, signature in cases()]
    for good, key, message, signature in judged:
        asked = {"key": key.hex(), "message": message.hex(), "signature": signature.hex()}
        assert node.ask("signed", crypto=crypto, **asked) == good, asked
    if cases in (genuine, of_mixed_order):
        assert any(good for good, *_ in judged)
    if cases is not genuine:
        assert not all(good for good, *_ in judged)


def test_a_set_of_validators_may_hold_the_keys_that_the_node_registers(node: Node) -> None:
    keys = [SigningKey(bytes([number]) * 32).public for number in range(20)]
    keys += [packed(small) for small in SMALL_POINTS]
    keys += [packed(total(KEY, small)) for small in SMALL_POINTS]
    keys += [(y + P | odd << 255).to_bytes(32, "little") for y in range(19) for odd in (0, 1)]
    keys += [(y | 1 << 255).to_bytes(32, "little") for y in (1, P - 1)]
    keys += [bytes([number]) + bytes(31) for number in range(40)]
    keys += [b"", bytes(31), keys[0] + b"\0"]
    accepted = 0
    for key in keys:
        try:
            check_public_key(key)
            good = True
        except SignatureError:
            good = False
        assert node.ask("registrable", key=key.hex()) == good, key.hex()
        accepted += good
    assert 20 < accepted < len(keys) - 40
