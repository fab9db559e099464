"""The filter over event ids: what was added is always found, of the rest little, and its memory has an end."""

from __future__ import annotations

import random
from hashlib import sha256

import pytest

from ledger import seen
from ledger.seen import EVENTS_A_WORD, WORD_BYTES, Seen
from primitives.ids import EventId, Hash

EVENTS = 1 << 10


@pytest.fixture(autouse=True)
def small_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "LAYER_EVENTS_MIN", EVENTS)
    monkeypatch.setattr(seen, "WORDS_MIN", EVENTS // EVENTS_A_WORD)


def ids(start: int, stop: int) -> list[EventId]:
    return [Hash(sha256(number.to_bytes(8, "big")).digest()) for number in range(start, stop)]


def test_every_id_that_was_added_is_found_whatever_layer_holds_it() -> None:
    filter_, random_ = Seen(), random.Random(1)
    added, start = [], 0
    while start < 20 * EVENTS:
        stop = start + random_.randrange(300)
        part = ids(start, stop)
        filter_.add_all(part)
        added += part
        start = stop
    assert filter_.maybe(added) == added
    assert filter_.size_bytes == sum(EVENTS << layer for layer in range(5)) // EVENTS_A_WORD * WORD_BYTES


def test_a_full_layer_says_maybe_of_less_than_one_in_a_thousand_that_it_does_not_hold() -> None:
    filter_ = Seen()
    filter_.add_all(ids(0, EVENTS))
    found = len(filter_.maybe(ids(EVENTS, 201 * EVENTS)))
    assert 0.000_3 < found / (200 * EVENTS) < 0.001


def test_four_full_layers_say_maybe_of_less_than_one_in_two_hundred() -> None:
    filter_ = Seen()
    for start in range(0, 15 * EVENTS, 256):  # fills the first four
        filter_.add_all(ids(start, start + 256))
    assert len(filter_.maybe(ids(15 * EVENTS, 115 * EVENTS))) < 100 * EVENTS / 200


def test_those_that_may_be_there_are_named_in_the_order_in_which_they_were_asked_for() -> None:
    filter_ = Seen()
    known, other = ids(0, 5), ids(5, 10)
    filter_.add_all(known)
    asked = [other[0], known[3], known[1], other[2], known[3]]
    assert filter_.maybe(asked) == [known[3], known[1], known[3]]
    assert filter_.maybe([]) == []


def test_joined_hashes_are_added_as_ids_are() -> None:
    one, other, known = Seen(), Seen(), ids(0, 100)
    one.add_all(known)
    other.add_hashes(b"".join(known))
    assert one._layers == other._layers


def test_each_mask_has_six_bits_and_they_use_the_whole_word() -> None:
    assert {mask.bit_count() for mask in seen._MASK_OF} == {6}
    assert [sum(mask >> bit & 1 for mask in seen._MASK_OF) > 4_096 * 6 // 64 // 2 for bit in range(64)] == [True] * 64


def test_beyond_its_memory_it_says_maybe_more_often_but_misses_nothing() -> None:
    most = 3 * EVENTS // EVENTS_A_WORD * WORD_BYTES
    filter_, added = Seen(bytes_max=most), ids(0, 30 * EVENTS)
    for start in range(0, len(added), 256):
        filter_.add_all(added[start : start + 256])
    assert filter_.size_bytes == most
    assert filter_.maybe(added) == added
    assert len(filter_.maybe(ids(30 * EVENTS, 31 * EVENTS))) > EVENTS / 2


def test_a_filter_for_many_events_begins_with_a_layer_for_all_of_them() -> None:
    assert Seen(5 * EVENTS).size_bytes == 8 * EVENTS // EVENTS_A_WORD * WORD_BYTES
    assert Seen(5 * EVENTS, bytes_max=4_096).size_bytes == 4_096


@pytest.mark.parametrize("older", [300, 5 * EVENTS], ids=["joined to the layer that is there", "as a layer below it"])
@pytest.mark.parametrize("newer", [300, 3 * EVENTS])
def test_what_another_filter_knew_is_known_once_it_is_taken_over(older: int, newer: int) -> None:
    filter_, other = Seen(), Seen(older)
    other.add_all(ids(0, older))
    filter_.add_all(ids(older, older + newer // 2))
    filter_.add_all(ids(older + newer // 2, older + newer))
    filter_.take_over(other)
    both = ids(0, older + newer)
    assert filter_.maybe(both) == both
    assert len(filter_.maybe(ids(older + newer, older + newer + 10_000))) < 300
    for start in range(older + newer, older + newer + 4 * EVENTS, 256):
        filter_.add_all(ids(start, start + 256))
    both = ids(0, older + newer + 4 * EVENTS)
    assert filter_.maybe(both) == both


def test_two_small_filters_become_one_layer() -> None:
    filter_, other = Seen(), Seen(300)
    size = filter_.size_bytes
    other.add_all(ids(0, 300))
    filter_.take_over(other)
    assert filter_.size_bytes == size
    filter_.add_all(ids(300, EVENTS))
    assert filter_.size_bytes == size
    filter_.add_all(ids(EVENTS, EVENTS + 1))
    assert filter_.size_bytes == 3 * size
