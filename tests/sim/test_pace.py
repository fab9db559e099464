"""What `--pace` and `--scale` measure is what they say: blocks of so many events, all held against the model."""

from __future__ import annotations

from sim.pace import measure, measure_scale

LASTS_MS = 5_000


def test_the_measured_cluster_orders_two_blocks_a_second_that_the_model_accepts() -> None:
    found = measure(4, LASTS_MS)
    assert found.blocks == 2 * LASTS_MS // 1_000
    assert found.accepted >= 2 * found.nodes * found.blocks, "each validator prepares and commits each block"


def test_blocks_of_more_events_take_no_more_messages_but_carry_their_bytes() -> None:
    small, large = (measure(4, 1_000, events) for events in (1, 50))
    assert (small.blocks, small.messages) == (large.blocks, large.messages)
    assert large.size_bytes - small.size_bytes > small.blocks * 49 * 200 * 3, "each body goes to three others"


def test_the_table_has_a_line_for_each_number_of_validators() -> None:
    lines = measure_scale(2, (4, 7), 1_000).splitlines()
    assert [line.split("|")[1].strip() for line in lines] == ["validators", "---:", "4", "7"]
    assert "a block of 2 events" in lines[0]
