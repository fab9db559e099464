"""Two manifests of the full set, with real processes; `make e2e MANIFESTS=24` runs them all.

They need neither the clock's library nor network namespaces, so that they run alike on every machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from torment.generate import generate
from torment.manifest import Links

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (2, 4)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_and_order_returns_after_a_tormented_run(seed: int, tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    command = [sys.executable, "-m", "torment", "--seed", str(seed), "--json", str(report)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=220.0, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stdout[-8_000:] + ended.stderr[-2_000:]
    (row,) = map(json.loads, report.read_text().splitlines())
    assert row["verdict"] == "passed"
    assert row["facts"]["answered_committed"] > 100
    assert row["facts"]["receipts_verified"] > 0


def test_these_two_need_nothing_of_the_machine() -> None:
    for seed in SEEDS:
        run = generate(seed)
        assert run.links is Links.PROXY
        assert not run.set_clocks


def test_what_the_machine_lacks_is_reported_and_never_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    import torment.nodes
    from torment.run import run, summary

    manifest = next(made for made in map(generate, range(1, 25)) if made.set_clocks)
    monkeypatch.setattr(torment.nodes, "FAKETIME", ())
    result = run(manifest)
    assert result.verdict == "not done"
    assert "apt-get install faketime" in summary(manifest, result)
