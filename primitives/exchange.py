"""X25519 public keys: which ones may be registered for agreeing on secrets.

Here: the check of a public key, by numbers alone. Not here: the agreement, which takes a secret. Source: RFC 7748
(with a point of low order everybody knows what is agreed on: zero, whatever the secret is).
"""

from __future__ import annotations

from typing import Final

from primitives.errors import InputError

EXCHANGE_KEY_BYTES: Final = 32
_PRIME: Final = 2**255 - 19
_ORDER_8: Final = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
LOW_ORDER: Final = frozenset({0, 1, _PRIME - 1, *_ORDER_8})
"""The u-coordinates of the points whose order divides 8, on the curve or its twist."""


def check_exchange_key(public: bytes) -> None:
    """Raise `InputError` unless these are 32 bytes, the canonical form of a point that is not of low order."""
    if len(public) != EXCHANGE_KEY_BYTES:
        raise InputError("an X25519 public key has a wrong size", expected=EXCHANGE_KEY_BYTES, got=len(public))
    coordinate = int.from_bytes(public, "little")
    if coordinate >= _PRIME or coordinate in LOW_ORDER:
        raise InputError(
            "not an acceptable X25519 public key",
            expected="the canonical form of a point that is not of low order",
            got=public,
            hint="make one with `chainnode keys pairing new`",
        )
