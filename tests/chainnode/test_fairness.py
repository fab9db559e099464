"""When passing over a batch is held against a leader, and when it must not be."""

from __future__ import annotations

import pytest

from chainnode.fairness import OFFERS_MAX, Offer, OfferBook, Room
from primitives.hashing import leaf_hash
from primitives.ids import Hash, SourceKey, TimeMs

TIMEOUT_MS = 2_000
ROOMY = Room(events_free=100, bytes_free=10_000, batches_free=10)
FULL = Room(events_free=0, bytes_free=0, batches_free=0)
A, B = SourceKey(b"a" * 32), SourceKey(b"b" * 32)


def offer_of(name: str, at_ms: int, *, count: int = 1, size: int = 100) -> Offer:
    return Offer(leaf_hash(name.encode()), count, size, TimeMs(at_ms))


def judged(book: OfferBook, at_ms: int, room: Room = ROOMY, taken: dict[SourceKey, Hash] | None = None) -> bool:
    book.delivered(taken or {}, TimeMs(at_ms), room, TIMEOUT_MS)
    return book.passed_over()


@pytest.mark.parametrize(
    ("at_ms", "room", "accused"),
    [
        (2_999, ROOMY, False),  # proposed before a time-out had passed
        (3_000, ROOMY, True),
        (3_000, FULL, False),
        (3_000, Room(0, 10_000, 10), False),
        (3_000, Room(100, 99, 10), False),
        (3_000, Room(100, 10_000, 0), False),
        (3_000, Room(1, 100, 1), True),
    ],
)
def test_a_block_a_timeout_later_with_room_accuses(at_ms: int, room: Room, accused: bool) -> None:
    book = OfferBook()
    book.offered(A, offer_of("a0", 1_000))
    assert judged(book, at_ms, room) is accused


def test_a_full_block_that_takes_a_later_offer_accuses() -> None:
    book = OfferBook()
    book.offered(A, offer_of("a0", 1_000))
    book.offered(B, offer_of("b0", 1_500))
    assert judged(book, 3_500, FULL, {B: leaf_hash(b"b0")})


def test_a_full_block_that_takes_an_earlier_offer_does_not_accuse() -> None:
    book = OfferBook()
    book.offered(A, offer_of("a0", 1_000))
    book.offered(B, offer_of("b0", 500))
    assert not judged(book, 3_500, FULL, {B: leaf_hash(b"b0")})


def test_a_taken_number_is_settled_even_by_another_batch() -> None:
    book = OfferBook()
    book.offered(A, offer_of("a0", 1_000))
    assert not judged(book, 9_000, ROOMY, {A: leaf_hash(b"another")})
    assert not judged(book, 20_000)


def test_an_offer_keeps_its_time_when_it_is_noted_again() -> None:
    book = OfferBook()
    book.offered(A, offer_of("a0", 1_000))
    book.offered(A, offer_of("a0", 2_900))
    assert judged(book, 3_000)


def test_the_count_starts_again_with_each_view() -> None:
    book = OfferBook()
    book.offered(A, offer_of("a0", 1_000))
    assert judged(book, 3_000)
    book.view_entered(TimeMs(3_100))
    assert not book.passed_over()
    assert not judged(book, 5_000)
    assert judged(book, 5_100)


def test_offers_are_bounded() -> None:
    book = OfferBook()
    for number in range(OFFERS_MAX + 10):
        book.offered(SourceKey(number.to_bytes(32, "big")), offer_of(f"{number}", 1_000_000))
    assert not judged(book, 1)
    late = SourceKey((OFFERS_MAX + 5).to_bytes(32, "big"))
    book.delivered({SourceKey(n.to_bytes(32, "big")): leaf_hash(b"") for n in range(OFFERS_MAX)}, TimeMs(2), FULL, 1)
    assert not judged(book, 9_000_000), f"{late.hex()[-4:]} was never noted"
