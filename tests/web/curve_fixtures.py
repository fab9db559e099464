"""Ed25519 by hand, for keys and signatures that no library makes: degenerate ones, on which verifiers disagree.

Source: RFC 8032, section 5.1. Slow and not for secrets.
"""

from __future__ import annotations

from hashlib import sha512

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
ZERO = (0, 1)

Point = tuple[int, int]


def point_of(y: int, odd: int) -> Point | None:
    """Return the point of a y and the lowest bit of its x; None where there is none."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P:
        return None
    return (P - x if x & 1 != odd else x), y


def total(left: Point, right: Point) -> Point:
    """Return the sum of two points."""
    (x1, y1), (x2, y2) = left, right
    both = D * x1 * x2 * y1 * y2
    return (x1 * y2 + x2 * y1) * pow(1 + both, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - both, -1, P) % P


def times(factor: int, point: Point) -> Point:
    """Return a multiple of a point."""
    result = ZERO
    while factor:
        if factor & 1:
            result = total(result, point)
        point, factor = total(point, point), factor >> 1
    return result


def packed(point: Point) -> bytes:
    """Return a point's 32 bytes."""
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def challenge(first: bytes, key: bytes, message: bytes) -> int:
    """Return the number that a signature's second half answers."""
    return int.from_bytes(sha512(first + key + message).digest(), "little") % ORDER


def _base() -> Point:
    found = point_of(4 * pow(5, -1, P) % P, 0)
    assert found is not None
    return found


def _of_order_eight() -> Point:
    for y in range(2, 100):
        point = point_of(y, 0)
        if point is not None and times(4, times(ORDER, point)) != ZERO:
            return times(ORDER, point)
    raise AssertionError("there is one")


BASE = _base()
SMALL = _of_order_eight()
"""A point of order 8; its multiples are all points of small order."""


def signed(secret: int, nonce: Point, nonce_secret: int, key: bytes, message: bytes) -> bytes:
    """Return the signature whose first half is `nonce`, as if that were `nonce_secret` times the base."""
    first = packed(nonce)
    second = (nonce_secret + challenge(first, key, message) * secret) % ORDER
    return first + second.to_bytes(32, "little")
