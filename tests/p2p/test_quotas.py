"""Buckets, bans and lanes over given times."""

from hypothesis import given
from hypothesis import strategies as st

from p2p.lanes import Lane, Outbox
from p2p.quotas import BANS_MAX, Bans, LaneMeter, Quota, TokenBucket


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 5_000)), min_size=1, max_size=50))
def test_a_bucket_that_is_waited_for_never_lets_more_through_than_burst_and_rate(steps: list[tuple[int, int]]) -> None:
    bucket = TokenBucket(1_000, 2_000, 0)
    now_ms = total = 0
    for pause_ms, amount in steps:
        now_ms += pause_ms + bucket.wait_ms()
        assert total <= 2_000 + now_ms
        bucket.charge(amount, now_ms)
        total += amount


def test_a_debt_is_waited_for_exactly() -> None:
    bucket = TokenBucket(1_000, 100, 0)
    bucket.charge(150, 0)
    assert bucket.wait_ms() == 50
    bucket.charge(0, 50)
    assert bucket.wait_ms() == 0


def test_a_peer_over_its_quota_for_long_is_a_flood_and_one_that_pauses_is_not() -> None:
    quota = Quota(
        bytes_per_second=1_000, bytes_burst=1_000, messages_per_second=10, messages_burst=10, held_back_ms_max=3_000
    )
    flooding, pausing = LaneMeter(quota, 0), LaneMeter(quota, 0)
    now_ms = 0
    for _ in range(40):
        now_ms += flooding.charge(100, 10, now_ms)
    assert flooding.is_flood()
    now_ms = 0
    for _ in range(40):
        now_ms += pausing.charge(100, 15, now_ms) + 2_000
    assert not pausing.is_flood()


def test_bans_double_up_to_the_longest_and_are_forgotten() -> None:
    bans = Bans(first_ms=100, longest_ms=1_000, forget_ms=10_000)
    assert [bans.strike("x", 0) for _ in range(6)] == [100, 200, 400, 800, 1_000, 1_000]
    assert bans.left_ms("x", 400) == 600
    assert bans.left_ms("x", 1_001) == 0
    assert bans.left_ms("y", 0) == 0
    assert bans.strike("x", 1_000 + 30_000) == 100  # three quiet spells: 6 >> 3 = 0 offences are left


def test_bans_remember_a_bounded_number_of_names() -> None:
    bans = Bans(100, 1_000, 10_000)
    for number in range(BANS_MAX + 1):
        bans.strike(str(number), 0)
    assert bans.left_ms("0", 0) == 0
    assert bans.left_ms(str(BANS_MAX), 0) == 100


def test_consensus_frames_pass_between_the_fragments_of_a_bulk_message() -> None:
    outbox = Outbox((100, 100))
    assert outbox.put_bulk((b"b1", b"b2", b"b3"), 6)
    assert outbox.take(2) == [b"b1"]
    assert outbox.put_consensus(b"vote")
    assert outbox.take(5) == [b"vote", b"b2"]
    assert outbox.queued_bytes == [0, 2]
    outbox.rewind()
    assert outbox.queued_bytes == [0, 6]
    assert outbox.take(100) == [b"b1", b"b2", b"b3"]
    assert not outbox
    assert outbox.queued_bytes == [0, 0]


def test_a_small_bulk_lane_goes_before_consensus_frames_and_a_large_one_after() -> None:
    outbox = Outbox((100, 100))
    outbox.put_bulk((b"batch",), 5)
    outbox.put_consensus(b"names it")
    assert outbox.take(100, small=5) == [b"batch", b"names it"]
    outbox.put_bulk((b"larger",), 6)
    outbox.put_consensus(b"vote")
    assert outbox.take(100, small=5) == [b"vote", b"larger"]


def test_a_full_lane_drops_whole_messages_and_leaves_the_other_alone() -> None:
    outbox = Outbox((10, 10))
    assert outbox.put_bulk((b"12345", b"67890"), 10)
    assert not outbox.put_bulk((b"1",), 1)
    assert outbox.put_consensus(b"vote")
    assert not outbox.put_consensus(b"another")
    assert outbox.drops == [1, 1]
    assert outbox.queued_bytes[Lane.BULK] == 10


def test_both_bytes_and_messages_are_counted() -> None:
    few_bytes = Quota(bytes_per_second=100, bytes_burst=100, messages_per_second=10_000, messages_burst=10_000)
    few_messages = Quota(bytes_per_second=10**6, bytes_burst=10**6, messages_per_second=10, messages_burst=1)
    assert LaneMeter(few_bytes, 0).charge(200, 1, 0) == 1_000
    assert LaneMeter(few_messages, 0).charge(1, 11, 0) == 1_000
    assert LaneMeter(few_messages, 0).charge(1, 1, 0) == 0
