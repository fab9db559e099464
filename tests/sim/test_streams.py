"""Draws are those of the standard library, whatever spares a call: else all seeds would be others."""

from __future__ import annotations

from random import Random

import pytest

from sim.streams import Streams, below


@pytest.mark.parametrize("bound", [1, 2, 3, 5, 8, 250, 1_000, 2**40 + 1])
def test_a_number_below_a_bound_is_the_one_that_randrange_draws(bound: int) -> None:
    one, other = Random(7), Random(7)
    assert [below(one, bound) for _ in range(200)] == [other.randrange(bound) for _ in range(200)]


def test_what_one_purpose_draws_leaves_the_others_as_they_were() -> None:
    alone, beside = Streams(3), Streams(3)
    beside.of("another").random()
    assert alone.of("one").random() == beside.of("one").random()
