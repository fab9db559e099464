"""Lies in the extra data of a proof, field by field: every integer, hash, list and flag of its records, changed.

Nothing is signed anew here: each of these must be noticed by a hash, a signature, or a rule about what fits. What is
hashed and signed anew around a lie stands in `proof_forging`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from primitives.encoding import Record, encode
from primitives.errors import EncodingError

Lie = tuple[str, bytes]
OTHER = b"\x5a" * 32
SHOWN = 1
"""Of a list the first ones and the last ones are changed in depth; its order and length are changed anyway."""


def lies(extra: Record, left_out: str = "") -> Iterator[Lie]:
    """Yield (name, canonical bytes) of a record with one thing in it changed, but for what a field `left_out` holds."""
    for name, changed in _of(extra):
        if left_out and name.startswith(f"{left_out}["):
            continue
        try:
            yield name, encode(changed)
        except (EncodingError, TypeError):  # an integer beyond 64 bits has no bytes at all
            continue


def _of(value: Any) -> Iterator[tuple[str, Any]]:  # Any: fields are of any type
    if isinstance(value, Record):
        for name in value.__struct_fields__:
            for what, changed in _of(getattr(value, name)):
                yield f"{name}{'.' if what[0] not in ' [' else ''}{what}", replace(value, **{name: changed})
    elif isinstance(value, bool):
        yield " turned round", not value
    elif isinstance(value, int):
        yield from _integers(value)
    elif isinstance(value, str):
        yield from ((" longer", value + "x"), (" empty", ""), (" with a NUL", value + "\0"))
    elif isinstance(value, bytes):
        yield from _bytes(value)
    elif isinstance(value, tuple | list):
        yield from _tuple(tuple(value))
    elif value is None:
        yield from ((" there", OTHER), (" an empty list", ()))


def _integers(value: int) -> Iterator[tuple[str, int]]:
    yield " one more", value + 1
    yield " one less", value - 1
    if value:
        yield " 0", 0
    yield from ((" 2^63 - 1", 2**63 - 1), (" 2^63", 2**63), (" 2^64 - 1", 2**64 - 1), (" -2^63", -(2**63)))


def _bytes(value: bytes) -> Iterator[tuple[str, bytes]]:
    if value:
        yield " first bit flipped", bytes([value[0] ^ 0x80]) + value[1:]
        yield " last bit flipped", value[:-1] + bytes([value[-1] ^ 1])
        yield " a byte shorter", value[:-1]
    yield " a byte longer", value + b"\0"
    if len(value) == 32 and any(value):
        yield " zeros", bytes(32)


def _tuple(value: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    if value and isinstance(value[0], bytes):
        yield " with one more", (*value, OTHER)
        yield " with one more at the beginning", (OTHER, *value)
    if value:
        yield " empty", ()
        yield " nil", None
        yield " without the first", value[1:]
        yield " without the last", value[:-1]
        yield " with the last twice", (*value, value[-1])
        yield " with the first twice", (value[0], *value)
    if len(value) > 1:
        yield " turned round", value[::-1]
        yield " with the first two swapped", (value[1], value[0], *value[2:])
    for place in sorted({*range(min(SHOWN, len(value))), *range(max(0, len(value) - SHOWN), len(value))}):
        for what, changed in _of(value[place]):
            joint = "" if what[0] in " [" else "."
            yield f"[{place}]{joint}{what}", (*value[:place], changed, *value[place + 1 :])
