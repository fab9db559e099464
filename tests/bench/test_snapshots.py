"""The benchmark of snapshots runs, and its stores are those of one chain."""

from pathlib import Path

from bench.snapshots import measure


def test_a_small_run_measures_all_of_it(tmp_path: Path) -> None:
    figures = measure(tmp_path, 3_000, 200)
    assert figures["height"] == 1
    assert figures["state_rows"] > 400
    assert 0 < figures["snapshot_bytes"] < figures["whole_store_bytes"]
    assert all(figures[name] >= 0 for name in ("making_s", "verifying_s", "restoring_s", "executing_s"))
