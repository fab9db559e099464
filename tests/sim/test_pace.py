"""What `--pace` measures is what it says: two blocks a simulated second, and every statement held against the model."""

from __future__ import annotations

from sim.pace import measure

LASTS_MS = 5_000


def test_the_measured_cluster_orders_two_blocks_a_second_that_the_model_accepts() -> None:
    found = measure(4, LASTS_MS)
    assert found.blocks == 2 * LASTS_MS // 1_000
    assert found.accepted >= 2 * found.nodes * found.blocks, "each validator prepares and commits each block"
