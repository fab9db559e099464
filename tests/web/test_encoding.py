"""Bytes in JavaScript: canonical MessagePack, SHA-256 and times are what they are in Python."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator
from hashlib import sha256
from random import Random
from typing import Annotated, Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Meta

from ledger.times import format_time, parse_time
from primitives.encoding import Record, decode, encode
from primitives.errors import EncodingError, InputError
from tests.web.node_fixtures import Node, RefusedByNode, running_node

EDGES = sorted({sign * (1 << bits) + off for bits in (0, 5, 7, 8, 15, 16, 31, 32, 53, 63, 64) for sign in (1, -1)
                for off in (-1, 0, 1)})  # fmt: skip
LENGTHS = (0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536)
INT_MIN, INT_MAX = -(1 << 63), (1 << 64) - 1


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node() as process:
        yield process


def spelled(value: Any) -> Any:
    """Return a value as the process takes it: integers and bytes are not JSON's."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, int) and not isinstance(value, bool):
        return {"int": str(value)}
    return [spelled(item) for item in value] if isinstance(value, list | tuple) else value


def read(value: Any) -> Any:
    """Return what the process answered with."""
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    return [read(item) for item in value] if isinstance(value, list) else value


def test_integers_of_all_lengths_are_encoded_and_decoded_without_rounding(node: Node) -> None:
    for value in EDGES:
        if INT_MIN <= value <= INT_MAX:
            assert node.ask("encode", value=spelled(value)) == encode(value).hex()
            assert node.ask("decode", type=["int"], data=encode(value).hex()) == value
        else:
            with pytest.raises(RefusedByNode):
                node.ask("encode", value=spelled(value))


@pytest.mark.parametrize("length", LENGTHS)
def test_bytes_text_and_arrays_of_all_lengths_are_encoded_and_decoded(node: Node, length: int) -> None:
    for value, type_ in ((b"\7" * length, ["bytes"]), ("x" * length, ["text"]), ([None] * length, None)):
        assert node.ask("encode", value=spelled(value)) == encode(value).hex()
        if type_ is not None:
            assert read(node.ask("decode", type=type_, data=encode(value).hex())) == value
    ones = [1] * length
    assert node.ask("decode", type=["list", ["int"]], data=encode(ones).hex()) == ones


class Sample(Record):
    """One of everything that the records of proofs are made of."""

    number: int
    small: Annotated[int, Meta(ge=0, le=300)]
    name: Annotated[str, Meta(min_length=1, max_length=3)]
    data: Annotated[bytes, Meta(min_length=2, max_length=40)]
    maybe: bytes | None
    several: Annotated[tuple[tuple[int, str], ...], Meta(max_length=20)]
    truth: bool


SAMPLE = ["tuple", ["int"], ["int", "0", "300"], ["text", 1, 3], ["bytes", 2, 40], ["optional", ["bytes"]],
          ["list", ["tuple", ["int"], ["text"]], 20], ["bool"]]  # fmt: skip


def accepted(node: Node, data: bytes) -> Any:
    """Return what JavaScript reads of a sample; None where it refuses."""
    try:
        return read(node.ask("decode", type=SAMPLE, data=data.hex()))
    except RefusedByNode:
        return None


def expected(data: bytes) -> Any:
    try:
        sample = decode(Sample, data, size_max=1 << 20)
    except EncodingError:
        return None
    several = [list(item) for item in sample.several]
    return [sample.number, sample.small, sample.name, sample.data, sample.maybe, several, sample.truth]


samples = st.builds(
    Sample,
    st.integers(INT_MIN, INT_MAX),
    st.integers(0, 300),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3),
    st.binary(min_size=2, max_size=40),
    st.none() | st.binary(max_size=300),
    st.lists(st.tuples(st.integers(INT_MIN, INT_MAX), st.text(st.characters(exclude_categories=["Cs"]), max_size=40)),
             max_size=20).map(tuple),
    st.booleans(),
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sample=samples)
def test_a_record_is_read_as_it_was_written(node: Node, sample: Sample) -> None:
    assert accepted(node, encode(sample)) == expected(encode(sample))
    assert expected(encode(sample)) is not None


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sample=samples, seed=st.integers(0, 2**32))
def test_damaged_bytes_are_refused_by_both_or_read_alike_by_both(node: Node, sample: Sample, seed: int) -> None:
    random = Random(seed)
    data = bytearray(encode(sample))
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(data))
        match random.randrange(4):
            case 0:
                data[place] ^= 1 << random.randrange(8)
            case 1:
                data[place] = random.randrange(256)
            case 2:
                del data[place]
            case _:
                data.insert(place, random.randrange(256))
        if not data:
            break
    assert accepted(node, bytes(data)) == expected(bytes(data))


LONGER = [
    b"\xcc\x01",
    b"\xcd\x00\xff",
    b"\xce\x00\x00\xff\xff",
    b"\xcf\x00\x00\x00\x00\xff\xff\xff\xff",
    b"\xd0\x01",
    b"\xd0\xff",
    b"\xd1\xff\x80",
    b"\xd2\xff\xff\x80\x00",
    b"\xd3\xff\xff\xff\xff\x80\x00\x00\x00",
    b"\xd1\x00\x01",
    b"\xca\x00\x00\x00\x00",
    b"\xcb" + bytes(8),
    b"\xc3",
    b"\xa11",
    b"\x01\x01",
    b"\xc1",
    b"\xd4\x01\x01",
    b"\xc7\x01\x01\x01",
    b"\x80",
    b"\x81\x01\x01",
    b"\xde\x00\x00",
    b"",
]


@pytest.mark.parametrize("data", LONGER, ids=lambda data: data.hex() or "nothing")
def test_an_integer_in_another_form_is_refused(node: Node, data: bytes) -> None:
    with pytest.raises(EncodingError):
        decode(int, data, size_max=64)
    with pytest.raises(RefusedByNode):
        node.ask("decode", type=["int"], data=data.hex())


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        (["text"], b"\xd9\x01a"),
        (["text"], b"\xda\x00\x20" + b"a" * 32),
        (["text"], b"\xc4\x01a"),
        (["text"], b"\xa1\xff"),
        (["text"], b"\xa3\xed\xa0\x80"),
        (["text"], b"\xa2\xc0\x80"),
        (["text"], b"\xa5a"),
        (["bytes"], b"\xa1a"),
        (["bytes"], b"\xc5\x00\x01a"),
        (["bytes"], b"\xc6\x00\x00\x01\x00" + bytes(256)),
        (["bytes"], b"\xc4\x02a"),
        (["list", ["int"]], b"\xdc\x00\x01\x01"),
        (["list", ["int"]], b"\xdd\xff\xff\xff\xff"),
        (["list", ["int"]], b"\xdc\xff\xff"),
        (["list", ["int"]], b"\x92\x01"),
        (["optional", ["int"]], b"\xc0\xc0"),
        (["tuple", ["int"]], b"\x92\x01\x01"),
    ],
)
def test_other_forms_of_text_bytes_and_arrays_are_refused(node: Node, type_: list[Any], data: bytes) -> None:
    with pytest.raises(RefusedByNode):
        node.ask("decode", type=type_, data=data.hex())


def test_a_byte_order_mark_is_part_of_a_text(node: Node) -> None:
    data = msgpack.packb("\ufeffx")
    assert node.ask("decode", type=["text"], data=data.hex()) == "\ufeffx"


def test_base64_has_one_spelling(node: Node) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    texts = [f"AQID{start}{last}{end}" for last in alphabet for start, end in (("A", "=="), ("AA", "="), ("AAA", ""))]
    texts += [
        "",
        "=",
        "==",
        "====",
        "A",
        "AA",
        "AAA",
        "A===",
        "AA=A",
        "AAAA=",
        "AAAA====",
        "AA==AAAA",
        "AA-_",
        "AA A",
        "AAA\n",
    ]
    texts += ["AAAA\n", " AAAA", "AAA\u0041\u0301", "\uff21AAA"]
    good = 0
    for text in texts:
        try:
            theirs = b64decode(text, validate=True).hex()
        except ValueError:
            theirs = None
        if theirs is not None and b64encode(bytes.fromhex(theirs)).decode() != text:
            theirs = None
        try:
            ours = node.ask("base64", text=text)
        except RefusedByNode:
            ours = None
        assert ours == theirs, text
        good += ours is not None
    assert good == 4 + 16 + 64 + 1


def test_sha_256_of_all_lengths_up_to_three_blocks(node: Node) -> None:
    for length in (*range(195), 1_000, 65_535):
        data = bytes(i % 251 for i in range(length))
        assert node.ask("sha256", data=data.hex()) == sha256(data).hexdigest()


# --- times


TIMES = [
    "2026-04-13T10:30:00+08:00",
    "2026-04-13T10:30:00.5Z",
    "2024-02-29T23:59:59.999999Z",
    "1970-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2026-11-01T00:00:00-14:00",
    "2026-02-29T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T00:00:60Z",
    "2026-01-01T00:00:00",
    "2026-01-01",
    "1969-12-31T23:59:59Z",
    "2026-01-01T00:00:00+14:01",
    "",
    "2026-01-01T00:00:00z",
    "0000-01-01T00:00:00Z",
    "2026-01-01T00:00:00.Z",
    "2026-00-10T00:00:00Z",
    "2026-01-00T00:00:00Z",
    "1970-01-01T00:30:00+01:00",
    "\u0662026-01-01T00:00:00Z",
    "2026-01-01T00:00:00.1234567891Z",
    "2026-01-01T00:60:00Z",
]


@pytest.mark.parametrize("text", TIMES)
def test_times_are_read_alike(node: Node, text: str) -> None:
    try:
        theirs: int | None = int(parse_time(text))
    except InputError:
        theirs = None
    try:
        ours = node.ask("parseTime", time=text)
    except RefusedByNode:
        ours = None
    assert ours == theirs


def test_times_are_written_alike(node: Node) -> None:
    for ms in (0, 1, 999, 1_000, 1_767_300_000_123, 253_402_300_799_999, 253_402_300_800_000, 2**63, 1_000 * 2**63):
        assert node.ask("formatTime", ms=str(ms)) == format_time(ms)
    with pytest.raises(RefusedByNode):
        node.ask("formatTime", ms="-1")
