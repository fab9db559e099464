"""Whatever bytes come in, an adapter gives events or raises its documented error, and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chainnode.ingest.context import IngestContext
from chainnode.ingest.errors import JsonError
from chainnode.ingest.formats import FORMATS, Options, ingest
from chainnode.ingest.json_text import parse_object
from chainnode.ingest.jsonl import object_digest
from chainnode.ingest.privacy import message_digest_of
from primitives.errors import InputError
from tests.chainnode.ingest.ingest_fixtures import SAMPLES, context_of

CONTEXT: IngestContext = context_of("bank-a")
SEEDS = [
    path.read_bytes() for path in sorted(SAMPLES.iterdir()) if path.suffix in (".xml", ".jsonl", ".csv", ".iso8583")
]


def take(data: bytes, format_name: str, *, skip_bad: bool = False) -> None:
    try:
        ingest(data, CONTEXT, where="fuzz", format_name=format_name, options=Options(skip_bad=skip_bad))
    except InputError:
        return


@pytest.mark.parametrize("format_name", ["auto", *FORMATS])
@given(data=st.binary(max_size=400))
@example(data=b"\xff\xfe<")
@example(data=b"{}")
def test_any_bytes_are_taken_or_refused(format_name: str, data: bytes) -> None:
    take(data, format_name)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a sample with a few bytes changed, cut out or put in."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        size = draw(st.integers(0, 30))
        data[at : at + size] = draw(st.one_of(st.binary(max_size=8), st.just(bytes(data[at : at + size]) * 2)))
    return bytes(data)


@given(damaged(), st.booleans())
def test_a_damaged_sample_is_taken_or_refused(data: bytes, skip_bad: bool) -> None:
    take(data, "auto", skip_bad=skip_bad)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["payload", "payment", "reporter", "side", "debtor_agent", "time", "reference", "amount", "currency", "kind"]


@given(st.dictionaries(st.sampled_from(KEYS), values | st.dictionaries(st.sampled_from(KEYS), values)))
def test_any_json_object_is_taken_or_refused(value: dict[str, object]) -> None:
    take(json.dumps(value).encode(), "jsonl")


@given(st.dictionaries(st.text(max_size=10), values, max_size=5))
@example({"a": '\x7f\u2028\\"/\b\x00', "\U00010000": "", "\uffff": "x"})
@example({"a": 10**19, "b": 2**64})
def test_an_object_has_one_digest_by_whichever_encoder(value: dict[str, object]) -> None:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if "." not in text and "e" not in text:  # fractions are refused before
        assert object_digest(value) == message_digest_of(text.encode())


@given(st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6)), max_size=4), st.booleans())
def test_an_object_of_texts_is_read_alike_by_both_decoders(pairs: list[tuple[str, str]], escaped: bool) -> None:
    inner = ",".join(f"{json.dumps(k, ensure_ascii=escaped)}: {json.dumps(v, ensure_ascii=escaped)}" for k, v in pairs)
    data = f"{{{inner}}}".encode()
    if len(dict(pairs)) != len(pairs):
        with pytest.raises(JsonError, match="key repeated"):
            parse_object(data, where="f", size_max=1_000)
    else:
        found = parse_object(data, where="f", size_max=1_000)
        assert list(found.items()) == pairs


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a": ' * 100_000,
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1.5}',
        '{"a": 1e400}',
        '{"a": ' + "9" * 5000 + "}",
        '{"a": 1, "a": 2}',
        '{"a": "\\ud800"}',
        "{'a': 1}",
        '{"a": 1}}',
        "null",
        '"text"',
        "",
    ],
    ids=range(14),
)
def test_json_that_is_not_strict_is_refused(text: str) -> None:
    with pytest.raises(JsonError):
        parse_object(text.encode(), where="f", size_max=1_000_000)
