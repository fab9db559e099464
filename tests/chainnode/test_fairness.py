"""When passing over a batch is held against a leader, and when it must not be."""

from __future__ import annotations

import pytest

from chainnode.fairness import OFFERS_MAX, Offer, OfferBook, Room, Taken
from primitives.hashing import leaf_hash
from primitives.ids import SourceKey, TimeMs

TIMEOUT_MS = 2_000
ROOMY = Room(events=100, bytes=10_000, batches=10)
FULL = Room(events=0, bytes=0, batches=0)
A, B, C = SourceKey(b"a" * 32), SourceKey(b"b" * 32), SourceKey(b"c" * 32)


def offer_of(name: str, at_ms: int, *, member: str = "bank-a", count: int = 1, size: int = 100) -> Offer:
    return Offer(leaf_hash(name.encode()), member, count, size, TimeMs(at_ms))


def taken_of(source: SourceKey, member: str, size: int = 100) -> Taken:
    return Taken(source, member, 1, size, TimeMs(0))


def judged(book: OfferBook, at_ms: int, limits: Room = ROOMY, *taken: Taken) -> bool:
    proposed_ms = TimeMs(at_ms)
    batches = [Taken(item.source, item.member, item.count, item.size, proposed_ms) for item in taken]
    book.delivered(batches, proposed_ms, limits, TIMEOUT_MS)
    return book.passed_over()


@pytest.mark.parametrize(
    ("at_ms", "limits", "accused"),
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
def test_a_block_a_timeout_later_with_room_accuses(at_ms: int, limits: Room, accused: bool) -> None:
    book = OfferBook()
    book.offered(A, offer_of("a0", 1_000))
    assert judged(book, at_ms, limits) is accused


@pytest.mark.parametrize("member", ["bank-a", "bank-b"])
@pytest.mark.parametrize(("taken_offered_ms", "accused"), [(500, False), (1_500, False), (2_999, False), (3_000, True)])
def test_a_full_block_accuses_if_its_batch_was_offered_a_timeout_later(
    member: str, taken_offered_ms: int, accused: bool
) -> None:
    book = OfferBook()
    book.offered(A, offer_of("a0", 1_000))
    book.offered(B, offer_of("b0", taken_offered_ms, member=member))
    assert judged(book, 3_500, Room(100, 10_000, 1), taken_of(B, member)) is accused


@pytest.mark.parametrize("member", ["bank-a", "bank-b"])
def test_a_full_block_of_batches_that_nobody_was_offered_accuses(member: str) -> None:
    book = OfferBook()
    book.offered(A, offer_of("a0", 1_000))
    assert not judged(book, 2_999, Room(100, 10_000, 2), taken_of(B, member), taken_of(B, member))
    assert judged(book, 3_000, Room(100, 10_000, 2), taken_of(B, member), taken_of(B, member))


def test_a_full_block_accuses_if_another_member_got_a_second_batch_before_the_first_of_mine() -> None:
    book = OfferBook()
    for source, member in ((A, "bank-a"), (B, "bank-b"), (C, "bank-c")):
        book.offered(source, offer_of(member, 1_000, member=member))
    assert not judged(book, 3_500, Room(100, 10_000, 2), taken_of(B, "bank-b"), taken_of(C, "bank-c"))
    book.offered(B, offer_of("b1", 1_000, member="bank-b"))
    assert judged(book, 3_500, Room(100, 10_000, 2), taken_of(B, "bank-b"), taken_of(B, "bank-b"))


def test_a_batch_that_had_no_room_even_without_later_ones_does_not_accuse() -> None:
    book = OfferBook()
    book.offered(A, offer_of("a0", 1_000, size=9_950))
    book.offered(B, offer_of("b0", 900, member="bank-b"))
    assert not judged(book, 3_500, ROOMY, taken_of(B, "bank-b"), taken_of(C, "bank-a"))
    assert judged(book, 3_500, ROOMY, taken_of(C, "bank-a"))


def test_a_taken_number_is_settled_even_by_another_batch() -> None:
    book = OfferBook()
    book.offered(A, offer_of("a0", 1_000))
    assert not judged(book, 9_000, ROOMY, taken_of(A, "bank-a"))
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
    noted = [taken_of(SourceKey(n.to_bytes(32, "big")), "bank-a") for n in range(OFFERS_MAX)]
    book.delivered(noted, TimeMs(2), FULL, 1)
    assert not judged(book, 9_000_000), f"{late.hex()[-4:]} was never noted"
