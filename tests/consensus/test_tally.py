"""Votes that are counted along the way are the votes that are held."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from consensus.tally import VIEWS_KEPT, Tally
from primitives.hashing import leaf_hash
from primitives.ids import Hash, View

VALIDATORS = 4
QUORUM = 3
A, B = (Hash(sha256(name).digest()) for name in (b"a", b"b"))


@given(st.lists(st.tuples(st.integers(0, VALIDATORS - 1), st.integers(0, 7), st.sampled_from((A, B))), max_size=60))
def test_counts_are_those_of_the_votes_that_are_held(votes: list[tuple[int, int, Hash]]) -> None:
    tally = Tally()
    for validator, view, block_hash in votes:
        tally.add(validator, View(view), block_hash, b"")
        held: Counter[tuple[View, Hash]] = Counter()
        for other in map(View, range(8)):
            held.update((other, named) for _, named in tally.of_view(other))
        for key in ((View(other), named) for other in range(8) for named in (A, B)):
            assert tally.count(*key) == held[key] == len(tally.signatures(*key))
        assert tally.entries() == sum(held.values()) <= VALIDATORS * VIEWS_KEPT
        assert tally.decided(QUORUM) == max((key for key, count in held.items() if count >= QUORUM), default=None)


def test_a_vote_that_gave_way_to_a_later_view_counts_no_more() -> None:
    tally = Tally()
    for validator in range(QUORUM):
        tally.add(validator, View(0), A, b"")
    assert tally.decided(QUORUM) == (View(0), A)
    for view in range(1, VIEWS_KEPT + 1):
        tally.add(0, View(view), A, b"")
    assert tally.decided(QUORUM) is None
    assert tally.count(View(0), A) == QUORUM - 1


def test_blocks_without_a_vote_are_not_counted_on_for_ever() -> None:
    """A malicious validator may vote for another block in view after view."""
    tally = Tally()
    for view in range(1_000):
        tally.add(1, View(view), leaf_hash(view.to_bytes(4, "big")), b"")
    assert tally.entries() == VIEWS_KEPT
    assert len(tally._counts) == VIEWS_KEPT
