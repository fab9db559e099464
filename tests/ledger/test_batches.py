"""Batches: built and read again, and every way in which one can be malformed."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.batch_headers import batch_statement
from ledger.batches import BATCH_SIZE_MAX, Batch, build_batch, check_event, parse_batch, verify_batch
from ledger.events import EVENT_SIZE_MAX, Event, event_id, event_leaf
from primitives.encoding import decode, encode
from primitives.errors import EncodingError, InputError, SignatureError
from primitives.hashing import DOMAIN, leaf_hash
from primitives.ids import ZERO_HASH, Hash, TimeMs
from primitives.merkle import root_of
from tests.ledger.chain_fixtures import KINDS, NOTE, SET, START_MS, Note, SetValue, event, key_of

CHAIN = Hash(b"c" * 32)
KEY = key_of("bank-a", "source")


def raw_batch(events: list[bytes], number: int = 0, previous: Hash = ZERO_HASH) -> bytes:
    """Return a signed batch of bank-a."""
    return build_batch(
        events, chain_id=CHAIN, member="bank-a", key=KEY, number=number, previous=previous, time_ms=TimeMs(START_MS)
    )


@given(st.lists(st.tuples(st.text(min_size=1, max_size=20), st.booleans()), min_size=1, max_size=9))
def test_batch_gives_its_events_ids_and_root_again(texts: list[tuple[str, bool]]) -> None:
    events = [
        event(SetValue("k", text), kind=SET, reference=i) if stateful else event(Note(text), reference=i)
        for i, (text, stateful) in enumerate(texts)
    ]
    parsed = parse_batch(raw_batch(events), KINDS)
    verify_batch(parsed)
    assert parsed.event_bytes == tuple(events)
    assert list(parsed.ids) == [
        leaf_hash(event_leaf(data, e.kind)) for data, e in zip(events, parsed.events, strict=True)
    ]
    assert parsed.header.root == root_of(parsed.ids)
    assert [item.index for item in parsed.stateful] == [i for i, (_, stateful) in enumerate(texts) if stateful]
    assert [item.body for item in parsed.stateful] == [SetValue("k", text) for text, stateful in texts if stateful]


def test_second_implementation_encodes_a_batch_to_the_same_bytes() -> None:
    raw = raw_batch([event(Note("a")), event(Note("b"), reference=1)])
    assert msgpack.packb(msgpack.unpackb(raw, raw=False), use_bin_type=True) == raw


def test_signature_of_another_key_or_over_another_header_is_refused() -> None:
    batch = decode(Batch, raw_batch([event(Note("a"))]), size_max=BATCH_SIZE_MAX)
    other = decode(Batch, raw_batch([event(Note("b"))]), size_max=BATCH_SIZE_MAX)
    with pytest.raises(SignatureError, match="signature of a batch"):
        verify_batch(parse_batch(encode(Batch(batch.header, other.signature, batch.events)), KINDS))


def _changed(**fields: Any) -> bytes:
    """Return a batch of two notes with some header fields replaced."""
    batch = decode(Batch, raw_batch([event(Note("a")), event(Note("b"), reference=1)]), size_max=BATCH_SIZE_MAX)
    header = type(batch.header)(**{**{n: getattr(batch.header, n) for n in batch.header.__struct_fields__}, **fields})
    return encode(Batch(header, batch.signature, batch.events))


def _with_events(*events: bytes) -> bytes:
    """Return a batch whose header fits these events."""
    ids = [event_id(data, NOTE) for data in events]
    batch = decode(Batch, _changed(count=len(events), root=root_of(ids)), size_max=BATCH_SIZE_MAX)
    return encode(Batch(batch.header, batch.signature, events))


GOOD = event(Note("a"))
LONG_INTEGER = GOOD.replace(b"\xcc\xc8\x01", b"\xcd\x00\xc8\x01")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not a valid Batch"),
        (b"\xc0", "not a valid Batch"),
        (raw_batch([GOOD]) + b"\0", "Batch"),
        (raw_batch([GOOD])[:-1], "not a valid Batch"),
        (bytes(BATCH_SIZE_MAX + 1), "too large"),
        (_changed(suite=2), "unknown suite"),
        (_changed(count=1), "another length"),
        (_changed(count=3), "another length"),
        (_changed(count=0), "not a valid Batch"),
        (_changed(root=bytes(32)), "root of a batch"),
        (_changed(member="bank-b"), "event of another member"),
        (_changed(previous=b"x" * 32), "first batch of a source"),
        (_changed(source=b"short"), "not a valid Batch"),
        (_changed(number=-1), "not a valid Batch"),
        (_with_events(GOOD, event(Note("b"), member="bank-b")), "event 1 of a batch: event of another member"),
        (_with_events(GOOD + b"\0"), "event"),
        (_with_events(GOOD[:-1]), "not a valid event"),
        (_with_events(LONG_INTEGER), "not canonical"),
        (_with_events(b"\xc0"), "not a valid event"),
        (_with_events(event(Note("a"), kind=77)), "event 0 of a batch: unknown kind"),
        (_with_events(GOOD, event(SetValue("a", "b"))), "event 1 of a batch: not a valid body of test.note"),
        (_with_events(event(Note(""))), "event 0 of a batch: a note is empty"),
        (
            _with_events(encode(Event("bank-a", bytes(16), 0, NOTE, 2, encode(Note("a"))))),
            "unknown schema of test.note",
        ),
        (_with_events(encode(Event("bank-a", bytes(16), 0, NOTE, 1, b"\x91\xd9\x01a"))), "body that is not canonical"),
        (_with_events(encode(Event("bank-a", bytes(15), 0, NOTE, 1, encode(Note("a"))))), "not a valid event"),
        (_with_events(encode(Event("bank-a", bytes(16), 0, 0, 1, b""))), "not a valid event"),
        (_with_events(encode(Event("bank-a", bytes(16), -1, NOTE, 1, encode(Note("a"))))), "not a valid event"),
    ],
)
def test_malformed_batch_is_refused_with_what_is_wrong(raw: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_batch(raw, KINDS)


def test_event_of_the_largest_leaf_passes_and_one_byte_more_does_not() -> None:
    frame = len(event(Note("x" * 60_000))) - 60_000
    largest = event(Note("x" * (EVENT_SIZE_MAX - frame)))
    assert len(event_leaf(largest, NOTE)) == 65_535
    assert len(parse_batch(raw_batch([largest]), KINDS).ids) == 1
    assert check_event(largest, KINDS)[1] == event_id(largest, NOTE)
    too_large = event(Note("x" * (EVENT_SIZE_MAX - frame + 1)))
    with pytest.raises(InputError):
        parse_batch(raw_batch([too_large]), KINDS)
    with pytest.raises(InputError, match="event too large"):
        check_event(too_large, KINDS)


def test_kind_is_part_of_the_id_so_no_event_can_pose_as_a_header() -> None:
    assert event_id(GOOD, NOTE) != event_id(GOOD, SET)
    assert event_id(GOOD, NOTE) != leaf_hash(b"\0" + GOOD)


@pytest.mark.parametrize("kind", [0, -1, 256])
def test_an_event_of_the_kind_of_headers_or_of_none_is_refused(kind: int) -> None:
    fields = msgpack.unpackb(GOOD)
    assert encode(decode(Event, msgpack.packb(fields, use_bin_type=True), size_max=1_000)) == GOOD
    fields[3] = kind
    with pytest.raises(EncodingError):
        decode(Event, msgpack.packb(fields, use_bin_type=True), size_max=1_000)


@given(st.binary(max_size=300))
def test_rubbish_is_an_input_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(EncodingError):
        parse_batch(data, KINDS)
    with pytest.raises(InputError):
        check_event(data, KINDS)


@given(st.data())
def test_batch_with_a_changed_byte_is_refused_or_fails_its_signature(data: st.DataObject) -> None:
    raw = bytearray(raw_batch([GOOD, event(SetValue("a", "b"), kind=SET, reference=1)]))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(InputError):
        verify_batch(parse_batch(bytes(raw), KINDS))


def test_signature_of_a_batch_stands_for_nothing_else() -> None:
    header = parse_batch(raw_batch([event(Note("x"))]), KINDS).header
    assert batch_statement(header).startswith(DOMAIN + b"batch\0")
