"""Admission: how much may wait follows the pace at which it is ordered, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chainnode.admission import BATCH_COST, RETRY_MS_MAX, RETRY_MS_MIN, WAITING_MIN, Admission

WAIT_MS = 1_000
BATCH = 300_000
SLOW, FAST = 10, 20_000  # bytes a millisecond


def driven(admission: Admission, pace: int, *, from_ms: int = 0, for_ms: int = 20_000, every_ms: int = 100) -> int:
    """Keep the queue as long as it may be for a while, ordering at a pace; return the time after."""
    for now_ms in range(from_ms, from_ms + for_ms, every_ms):
        while not admission.full(now_ms):
            admission.enter(BATCH, now_ms)
        admission.ordered(min(pace * every_ms, admission.waiting), now_ms)
    return from_ms + for_ms


def test_an_empty_queue_takes_anything_and_a_full_one_nothing() -> None:
    admission = Admission(WAIT_MS)
    assert not admission.full(0)
    admission.enter(64 * WAITING_MIN, 0)
    assert admission.full(0)


def test_what_enters_waits_about_as_long_as_it_may_at_any_pace() -> None:
    for pace in (2_000, FAST):
        admission = Admission(WAIT_MS)
        now_ms = driven(admission, pace)
        assert 0.9 * WAIT_MS <= admission.room(now_ms) / pace <= 1.1 * WAIT_MS


def test_the_least_room_stays_at_the_slowest_pace() -> None:
    admission = Admission(WAIT_MS)
    now_ms = driven(admission, SLOW)
    assert admission.room(now_ms) == WAITING_MIN


def test_room_falls_while_nothing_is_ordered_and_comes_back_with_the_pace() -> None:
    admission = Admission(WAIT_MS)
    now_ms = driven(admission, FAST)
    before = admission.room(now_ms)
    assert admission.room(now_ms + 60_000) < before / 5
    now_ms = driven(admission, FAST, from_ms=now_ms + 60_000)
    assert admission.room(now_ms) > before * 0.9


def test_room_follows_a_pace_that_falls_within_seconds() -> None:
    admission = Admission(WAIT_MS)
    now_ms = driven(admission, FAST)
    now_ms = driven(admission, FAST // 4, from_ms=now_ms, for_ms=10_000)
    assert admission.room(now_ms) < 1.2 * WAIT_MS * FAST // 4


def test_time_with_nothing_to_do_counts_for_no_pace() -> None:
    admission = Admission(WAIT_MS)
    now_ms = driven(admission, FAST)
    admission.ordered(admission.waiting, now_ms)
    before = admission.room(now_ms)
    assert admission.room(now_ms + 3_600_000) == before
    admission.enter(BATCH, now_ms + 3_600_000)
    assert admission.room(now_ms + 3_600_001) > before * 0.9


def test_what_leaves_without_being_ordered_quickens_no_pace() -> None:
    admission = Admission(WAIT_MS)
    for now_ms in range(0, 10_000, 10):
        admission.enter(BATCH, now_ms)
        admission.leave(BATCH)
    assert admission.room(10_000) == WAITING_MIN


def test_the_hint_is_half_of_what_the_queue_takes_within_bounds() -> None:
    admission = Admission(WAIT_MS)
    assert admission.retry_after_ms(0) == RETRY_MS_MAX, "no pace is known yet"
    now_ms = driven(admission, FAST)
    admission.enter(FAST * 2_000 - admission.waiting, now_ms)
    assert 900 <= admission.retry_after_ms(now_ms) <= 1_100
    admission.ordered(admission.waiting - 1, now_ms)
    assert admission.retry_after_ms(now_ms) == RETRY_MS_MIN


def test_a_clock_that_is_set_back_does_no_harm() -> None:
    admission = Admission(WAIT_MS)
    admission.enter(BATCH, 10_000)
    admission.ordered(BATCH // 2, 4_000)
    admission.ordered(BATCH // 2, 5_000)
    assert (admission.waiting, admission.full(5_000)) == (0, False)


@given(st.lists(st.tuples(st.integers(0, 5 * WAITING_MIN), st.integers(0, 5_000), st.booleans())))
def test_what_waits_is_what_entered_less_what_left(steps: list[tuple[int, int, bool]]) -> None:
    admission, now_ms, held = Admission(WAIT_MS), 0, []
    for size, passed_ms, ordered in steps:
        now_ms += passed_ms
        admission.enter(size + BATCH_COST, now_ms)
        held.append(size + BATCH_COST)
        if len(held) > 3:
            leaving = held.pop(0)
            admission.ordered(leaving, now_ms) if ordered else admission.leave(leaving)
        assert admission.waiting == sum(held)
        assert admission.room(now_ms) >= WAITING_MIN
        assert RETRY_MS_MIN <= admission.retry_after_ms(now_ms) <= RETRY_MS_MAX
