"""Two manifests of the full set, with real processes; `make e2e MANIFESTS=24` runs them all.

Together they need all that a machine may lack: network namespaces, the clock's library, a small disk. Where one cannot
be done a warning says what is missing, and another manifest is run, which needs nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from torment.__main__ import NOT_DONE
from torment.generate import generate
from torment.manifest import Join, Links, Readmit

pytestmark = [pytest.mark.e2e, pytest.mark.long]

ROOT = Path(__file__).resolve().parents[2]
SEEDS = {18: 2, 20: 4}
"""Each with the one that stands in for it."""
RUN_S = 600


def run(seed: int, report: Path) -> tuple[int, dict[str, Any], str]:
    """Run the manifest of a seed; return the exit status, the row of its report, and what was said."""
    command = [sys.executable, "-m", "torment", "--seed", str(seed), "--json", str(report)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False, cwd=ROOT)
    assert ended.returncode in (0, NOT_DONE), ended.stdout[-8_000:] + ended.stderr[-2_000:]
    return ended.returncode, json.loads(report.read_text().splitlines()[-1]), ended.stdout


@pytest.mark.timeout(RUN_S + 60)
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_and_order_returns_after_a_tormented_run(seed: int, tmp_path: Path) -> None:
    status, row, said = run(seed, tmp_path / "report.jsonl")
    if status == NOT_DONE:
        stand_in = SEEDS[seed]
        warnings.warn(f"seed {stand_in} instead of {seed}, which this machine cannot do: {said}", stacklevel=1)
        status, row, said = run(stand_in, tmp_path / "report.jsonl")
        assert status == 0, said
    assert row["verdict"] == "passed"
    assert row["facts"]["answered_committed"] > 100
    assert row["facts"]["receipts_verified"] > 0
    assert row["facts"]["epoch"] > 0


def test_these_two_need_all_that_a_machine_may_lack_and_their_stand_ins_nothing() -> None:
    wanted, stand_ins = [generate(seed) for seed in SEEDS], [generate(seed) for seed in SEEDS.values()]
    assert any(made.links is Links.NAMESPACES for made in wanted)
    assert any(made.set_clocks for made in wanted)
    assert any(made.small_disks for made in wanted)
    assert {type(item) for made in wanted for item in made.perturbations} >= {Join, Readmit}
    for made in stand_ins:
        assert made.links is Links.PROXY
        assert not made.set_clocks


def test_what_the_machine_lacks_is_reported_and_never_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    import torment.nodes
    import torment.report
    import torment.run

    manifest = next(made for made in map(generate, range(1, 25)) if made.set_clocks)
    monkeypatch.setattr(torment.nodes, "FAKETIME", ())
    result = torment.run.run(manifest)
    assert result.verdict == "not done"
    assert "apt-get install faketime" in torment.report.summary(manifest, result)


def test_who_is_not_root_is_told_that_namespaces_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    import torment.report
    import torment.run

    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    manifest = next(made for made in map(generate, range(1, 25)) if made.links is Links.NAMESPACES)
    result = torment.run.run(manifest)
    assert result.verdict == "not done"
    assert "namespaces: root" in torment.report.summary(manifest, result)
