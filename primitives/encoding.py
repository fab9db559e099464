"""Canonical MessagePack: the one byte form of everything that is hashed, signed, stored or sent.

Fixed-order arrays, shortest forms, no floats, no maps, no extension types. `msgspec` encodes and decodes; its encoder
emits the shortest forms, so whatever decodes but does not re-encode to the same bytes is refused (MessagePack libraries
accept longer integers, longer length prefixes and trailing elements). What a type may hold is checked once, when its
decoder is made. Source: the MessagePack specification; differential tests hold these bytes against `msgpack`.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar, dataclass_transform

import msgspec
from msgspec import inspect

from primitives.errors import EncodingError

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class _RecordMeta(msgspec.StructMeta):
    """Tells the type checker that every Record is frozen, as msgspec holds at run time."""


class Record(msgspec.Struct, metaclass=_RecordMeta, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Base of every structure with a canonical form: a frozen struct that encodes as an array of its fields."""


_encode = msgspec.msgpack.Encoder().encode


def encode(value: object) -> bytes:
    """Return the canonical bytes of a Record or of a tuple or list of plain values.

    Raises `EncodingError` for an integer beyond 64 bits or text that is not Unicode (a lone surrogate from JSON).
    """
    try:
        return _encode(value)
    except (OverflowError, UnicodeEncodeError) as error:
        raise EncodingError(
            "a value has no canonical form", expected="integers of 64 bits, Unicode text", got=error
        ) from None


@cache
def decoder_of(type_: Any) -> msgspec.msgpack.Decoder[Any]:  # Any: a type form, which typing cannot name on 3.11
    """Return the cached strict decoder of a type; for hot loops that check re-encoding themselves.

    Raises `TypeError` (our own fault) for a type that has no canonical form, such as one with a map in it.
    """
    _check_type(inspect.type_info(type_), set())
    return msgspec.msgpack.Decoder(type_, strict=True)


def decode(type_: type[T], data: bytes | memoryview, *, size_max: int) -> T:
    """Return `data` decoded as `type_`.

    Raises `EncodingError` where it is longer than `size_max` bytes, is not of that type, or is not canonical.
    """
    if len(data) > size_max:
        raise EncodingError("too large", where=_name(type_), expected=f"at most {size_max} bytes", got=len(data))
    try:
        value: T = decoder_of(type_).decode(data)  # type: ignore[arg-type]  # a type form is hashable
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise EncodingError(f"not a valid {_name(type_)}", expected="canonical MessagePack", got=error) from None
    if _encode(value) != data:
        raise EncodingError(
            f"not the canonical bytes of a {_name(type_)}",
            expected="shortest forms and nothing trailing",
            got=f"{len(data)} bytes",
        )
    return value


_LEAVES = (
    inspect.BoolType, inspect.IntType, inspect.StrType, inspect.BytesType, inspect.NoneType, inspect.EnumType,
    inspect.LiteralType,
)  # fmt: skip


def _check_type(info: inspect.Type, seen: set[type]) -> None:
    """Raise `TypeError` unless every value of a type has exactly one encoding.

    Floats (NaN), maps (order, duplicate keys), sets (order), dates and extensions do not, and `Any` and `Raw` would
    let a sender put them, or bytes that nobody checked, where a typed field should stand.
    """
    if isinstance(info, inspect.StructType):
        if info.cls in seen:
            return
        seen.add(info.cls)
        if not (info.array_like and info.forbid_unknown_fields):
            raise TypeError(f"{info.cls.__name__} is not a Record: it must be array_like and forbid_unknown_fields")
        inner: tuple[inspect.Type, ...] = tuple(field.type for field in info.fields)
    elif isinstance(info, inspect.TupleType):
        inner = info.item_types
    elif isinstance(info, inspect.ListType | inspect.VarTupleType):
        inner = (info.item_type,)
    elif isinstance(info, inspect.UnionType):
        inner = info.types
    elif isinstance(info, _LEAVES):
        return
    else:
        raise TypeError(f"a type of `{type(info).__name__.removesuffix('Type')}` has no canonical form")
    for item in inner:
        _check_type(item, seen)


def _name(type_: Any) -> str:  # Any: a type form
    return str(getattr(type_, "__name__", type_))
