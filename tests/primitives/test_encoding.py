"""Canonical MessagePack, held against `msgpack` as a second implementation."""

from __future__ import annotations

import datetime
import decimal
import struct
import tracemalloc
import uuid
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.encoding import Record, decode, decoder_of, encode
from primitives.errors import EncodingError
from primitives.ids import Hash, SourceKey

INTEGERS = st.integers(-(2**63), 2**64 - 1) | st.sampled_from(
    [sign * (2**bits) + step for bits in (5, 7, 8, 15, 16, 31, 32, 63) for sign in (1, -1) for step in (-1, 0, 1)]
).filter(lambda value: value >= -(2**63))
PLAIN = st.none() | st.booleans() | INTEGERS | st.binary(max_size=300) | st.text(max_size=300)
NESTED = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=20).map(tuple), max_leaves=60)


class Inner(Record):
    """A small record."""

    number: int
    name: str = ""


class Outer(Record):
    """One of everything that a record may hold."""

    flag: bool
    number: int
    data: bytes
    text: str
    absent: int | None
    inner: Inner
    many: tuple[Inner, ...]
    pair: tuple[int, bytes]


INNERS = st.builds(Inner, INTEGERS, st.text(max_size=20))
OUTERS = st.builds(
    Outer,
    st.booleans(),
    INTEGERS,
    st.binary(max_size=70_000),
    st.text(max_size=70),
    st.none() | INTEGERS,
    INNERS,
    st.lists(INNERS, max_size=20).map(tuple),
    st.tuples(INTEGERS, st.binary(max_size=3)),
)


def plain(record: Outer) -> list[object]:
    return [
        record.flag, record.number, record.data, record.text, record.absent, [record.inner.number, record.inner.name],
        [[inner.number, inner.name] for inner in record.many], list(record.pair),
    ]  # fmt: skip


@given(NESTED)
def test_plain_values_encode_to_the_bytes_of_msgpack(value: object) -> None:
    data = encode(value)
    assert data == msgpack.packb(value, use_bin_type=True)
    assert encode(msgpack.unpackb(data, use_list=False, strict_map_key=True)) == data


@given(OUTERS)
def test_records_encode_to_the_bytes_of_msgpack_and_come_back(record: Outer) -> None:
    data = encode(record)
    assert data == msgpack.packb(plain(record), use_bin_type=True)
    assert decode(Outer, data, size_max=len(data)) == record
    assert decode(Outer, memoryview(data), size_max=len(data)) == record


@pytest.mark.parametrize("length", [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
def test_headers_of_every_length_are_the_shortest(length: int) -> None:
    for type_, value in ((bytes, b"x" * length), (str, "x" * length), (tuple[int, ...], (1,) * length)):
        data = encode(value)
        assert data == msgpack.packb(value, use_bin_type=True)
        assert decode(type_, data, size_max=len(data)) == value


@given(st.binary(max_size=40))
def test_arbitrary_bytes_decode_to_what_encodes_to_them_or_are_refused(data: bytes) -> None:
    for type_ in (int, bytes, str, tuple[int, ...], Inner, Outer, tuple[tuple[int, bytes], ...]):
        try:
            value: object = decode(type_, data, size_max=40)
        except EncodingError:
            continue
        assert encode(value) == data
        assert msgpack.packb(msgpack.unpackb(data), use_bin_type=True) == data


@given(OUTERS, st.data())
def test_changed_byte_gives_another_record_or_is_refused(record: Outer, draw: st.DataObject) -> None:
    data = bytearray(encode(record))
    place = draw.draw(st.integers(0, len(data) - 1))
    data[place] ^= draw.draw(st.integers(1, 255))
    try:
        other = decode(Outer, bytes(data), size_max=len(data))
    except EncodingError:
        return
    assert other != record
    assert encode(other) == data


NOT_CANONICAL: list[tuple[str, Any, bytes]] = [
    ("1 as uint8", int, b"\xcc\x01"),
    ("1 as uint16", int, b"\xcd\x00\x01"),
    ("1 as uint32", int, b"\xce\x00\x00\x00\x01"),
    ("1 as uint64", int, b"\xcf" + bytes(7) + b"\x01"),
    ("1 as int8", int, b"\xd0\x01"),
    ("200 as int16", int, b"\xd1\x00\xc8"),
    ("-1 as int8", int, b"\xd0\xff"),
    ("-1 as int16", int, b"\xd1\xff\xff"),
    ("-1 as int32", int, b"\xd2\xff\xff\xff\xff"),
    ("-1 as int64", int, b"\xd3" + b"\xff" * 8),
    ("2**32 as int64", int, b"\xd3\x00\x00\x00\x01\x00\x00\x00\x00"),
    ("1 as float64", int, b"\xcb" + struct.pack(">d", 1.0)),
    ("1 as float32", int, b"\xca" + struct.pack(">f", 1.0)),
    ("NaN", int, b"\xcb\x7f\xf8" + bytes(6)),
    ("infinity", int, b"\xca\x7f\x80\x00\x00"),
    ("true as an integer", int, b"\xc3"),
    ("1 as a truth value", bool, b"\x01"),
    ("nil as an integer", int, b"\xc0"),
    ("digits as an integer", int, b"\xa1\x31"),
    ("str8 of 1", str, b"\xd9\x01a"),
    ("str16 of 1", str, b"\xda\x00\x01a"),
    ("str32 of 1", str, b"\xdb\x00\x00\x00\x01a"),
    ("bin16 of 1", bytes, b"\xc5\x00\x01a"),
    ("bin32 of 1", bytes, b"\xc6\x00\x00\x00\x01a"),
    ("text as bytes", bytes, b"\xa1a"),
    ("base64 text as bytes", bytes, b"\xa4YWJj"),
    ("bytes as text", str, b"\xc4\x01a"),
    ("array16 of 1", tuple[int, ...], b"\xdc\x00\x01\x01"),
    ("array32 of 1", tuple[int, ...], b"\xdd\x00\x00\x00\x01\x01"),
    ("record in array16", Inner, b"\xdc\x00\x02\x01\xa0"),
    ("longer integer within", Inner, b"\x92\xcc\x01\xa0"),
    ("trailing byte", Inner, b"\x92\x01\xa0\x00"),
    ("trailing nil", int, b"\x01\xc0"),
    ("trailing second record", Inner, b"\x92\x01\xa0" * 2),
    ("element too many", Inner, b"\x93\x01\xa0\x01"),
    ("element with a default left out", Inner, b"\x91\x01"),
    ("element left out", Inner, b"\x90"),
    ("pair of one", tuple[int, int], b"\x91\x01"),
    ("pair of three", tuple[int, int], b"\x93\x01\x01\x01"),
    ("map for a record", Inner, b"\x82\xa6number\x01\xa4name\xa0"),
    ("map with a duplicate key", Inner, b"\x83\xa6number\x01\xa6number\x02\xa4name\xa0"),
    ("empty map for an array", tuple[int, ...], b"\x80"),
    ("extension", bytes, b"\xd4\x05\x01"),
    ("timestamp extension", int, b"\xd6\xff" + bytes(4)),
    ("ext8 of nothing", bytes, b"\xc7\x00\x05"),
    ("never used opcode", int, b"\xc1"),
    ("nothing", Inner, b""),
    ("truncated integer", int, b"\xcd\x01"),
    ("truncated bytes", bytes, b"\xc4\x05abc"),
    ("truncated text", str, b"\xa5abc"),
    ("truncated array", tuple[int, ...], b"\x93\x01\x01"),
    ("truncated record", Inner, b"\x92\x01"),
    ("invalid UTF-8", str, b"\xa1\xff"),
    ("overlong UTF-8", str, b"\xa2\xc0\x80"),
    ("surrogate in UTF-8", str, b"\xa3\xed\xa0\x80"),
    ("beyond Unicode", str, b"\xa4\xf4\x90\x80\x80"),
    ("invalid UTF-8 in a record", Inner, b"\x92\x01\xa1\xff"),
    ("31 bytes for a hash", Hash, b"\xc4\x1f" + bytes(31)),
    ("33 bytes for a hash", Hash, b"\xc4\x21" + bytes(33)),
    ("no bytes for a key", SourceKey, b"\xc4\x00"),
    ("short hash in a list", tuple[Hash, ...], b"\x91\xc4\x01x"),
    ("bomb of nested arrays", tuple[int, ...], b"\x91" * 100_000 + b"\x01"),
    ("bomb of nested arrays where a record stands", Outer, b"\x91" * 100_000 + b"\x01"),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "data"), [case[1:] for case in NOT_CANONICAL], ids=[c[0] for c in NOT_CANONICAL])
def test_bytes_that_are_not_the_one_encoding_are_refused(type_: Any, data: bytes) -> None:
    with pytest.raises(EncodingError) as caught:
        decode(type_, data, size_max=len(data))
    assert caught.value.expected
    assert caught.value.got
    assert "\n" not in str(caught.value)


class Tree(Record):
    """A record that nests in itself."""

    children: tuple[Tree, ...]


def test_record_nested_deeper_than_the_stack_is_refused() -> None:
    assert decode(Tree, b"\x91\x91" * 20 + b"\x91\x90", size_max=100) is not None
    with pytest.raises(EncodingError, match="recursion"):
        decode(Tree, b"\x91" * 100_000 + b"\x90", size_max=200_000)


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        (bytes, b"\xc6\xff\xff\xff\xff"),
        (str, b"\xdb\xff\xff\xff\xff"),
        (tuple[int, ...], b"\xdd\xff\xff\xff\xff\x01"),
        (list[int], b"\xdd\xff\xff\xff\xff\x01"),
        (tuple[bytes, ...], b"\xdd\xff\xff\xff\xff\xc4\x00"),
        (list[Inner], b"\xdd\x7f\xff\xff\xff\x92\x01\xa0"),
        (tuple[int, int], b"\xdd\xff\xff\xff\xff\x01"),
        (Inner, b"\xdd\xff\xff\xff\xff\x01"),
    ],
)
def test_declared_length_allocates_nothing_before_its_bytes_are_there(type_: Any, data: bytes) -> None:
    decoder_of(type_)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        with pytest.raises(EncodingError):
            decode(type_, data, size_max=100)
        assert tracemalloc.get_traced_memory()[1] - before < 100_000
    finally:
        tracemalloc.stop()


def test_size_limit_is_inclusive_and_comes_before_decoding() -> None:
    data = encode(Inner(1, "name"))
    assert decode(Inner, data, size_max=len(data)) == Inner(1, "name")
    with pytest.raises(EncodingError, match="Inner: too large: expected at most 6 bytes, got 7"):
        decode(Inner, data, size_max=len(data) - 1)
    with pytest.raises(EncodingError, match="too large"):
        decode(int, b"\xff" * 1000, size_max=10)


class WithMap(Record):
    """Not canonical: the order of a map is free."""

    items: dict[str, int]


class Loose(msgspec.Struct, array_like=True):
    """Not canonical: further elements are ignored."""

    number: int


@pytest.mark.parametrize(
    "type_",
    [
        Any, object, float, dict, dict[str, int], set[int], frozenset[int], tuple, list, WithMap, tuple[WithMap, ...],
        Loose, int | float, datetime.datetime, decimal.Decimal, uuid.UUID, msgspec.Raw, msgspec.msgpack.Ext, bytearray,
    ],
    ids=str,
)  # fmt: skip
def test_type_without_one_encoding_has_no_decoder(type_: Any) -> None:
    with pytest.raises(TypeError):
        decoder_of(type_)


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, "\ud800", (1, (2**70,)), Inner(2**64), Inner(1, "\udfff")])
def test_value_without_a_canonical_form_is_refused_when_encoded(value: object) -> None:
    with pytest.raises(EncodingError, match="no canonical form"):
        encode(value)


def test_record_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Inner(1).number = 2  # type: ignore[misc]  # what is tested
