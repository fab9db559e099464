"""The guard passes what it recorded, fails a node that became slower, and measures validators that agree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import guard
from bench.guard import Workload, allowed, settle
from bench.quorum import VALIDATORS, Quorum, Verify, sources
from ledger.batches import ParsedBatch, verify_batch


def _small(batches: int = 96, verify: Verify = verify_batch) -> Workload:
    return Workload("lone", 1, batches=batches, together=48, verify=verify)


def _measured(directory: Path) -> guard.Figures:
    measured = _small()
    for _ in range(3):
        measured.turn(directory)
    return measured.figures()


def _thrice(batch: ParsedBatch) -> None:
    for _ in range(3):
        verify_batch(batch)


def test_four_validators_commit_the_same_blocks(tmp_path: Path) -> None:
    quorum = Quorum(tmp_path / "net")
    made = sources()
    quorum.order([made[number % VALIDATORS].batch(2) for number in range(8)])
    tips = {member.core.chain.tip_hash for member in quorum.members.values()}
    quorum.close()
    assert quorum.events == 16
    assert len(tips) == 1
    assert quorum.blocks >= 1
    assert quorum.synced_writes >= VALIDATORS * quorum.blocks


@pytest.mark.long
def test_a_node_that_verifies_more_often_is_found_out(tmp_path: Path) -> None:
    (tmp_path / "recorded").mkdir()
    recorded = _measured(tmp_path / "recorded")
    slower = _small(verify=_thrice)
    assert not settle(slower, recorded, tmp_path, turns=2, most=4)
    assert slower.turns == 4
    assert slower.ratio > allowed(recorded)


def test_what_was_recorded_passes_and_takes_more_turns_only_where_it_must(tmp_path: Path) -> None:
    generous = {"ratio": 1_000.0, "synced_writes_per_1000_events": 1e6}
    workload = _small()
    assert settle(workload, generous, tmp_path, turns=2, most=9)
    assert workload.turns == 2


def test_more_synced_writes_are_found_out_although_they_take_no_processor_time(tmp_path: Path) -> None:
    few = {"ratio": 1_000.0, "synced_writes_per_1000_events": 1.0}
    assert not settle(_small(), few, tmp_path, turns=1, most=1)


def test_the_least_of_each_piece_counts_and_not_the_least_of_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 6.0, 10.0, 14.0, 16.0])
    monkeypatch.setattr(guard.time, "process_time", lambda: next(clock))
    least = guard.Least()
    for _ in range(2):
        least.start()
        least.piece()
        least.piece()
    assert least.seconds == 1.0 + 2.0


def test_the_bound_is_fifteen_per_cent() -> None:
    assert allowed({"ratio": 2.0}) == pytest.approx(2.3)


@pytest.mark.long
def test_the_guard_records_and_then_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(guard, "workloads", lambda: [_small(8)])
    file = tmp_path / "guard.json"
    assert guard.main(["--file", str(file)]) == 0
    assert "no record" in capsys.readouterr().err
    assert guard.main(["--record", "--turns", "1", "--file", str(file)]) == 0
    records = json.loads(file.read_text())
    assert records[guard.version()]["lone"]["ratio"] > 0
    records[guard.version()]["lone"]["ratio"] = 1_000.0
    file.write_text(json.dumps(records))
    assert guard.main(["--turns", "1", "--file", str(file)]) == 0
    records[guard.version()]["lone"]["ratio"] = 0.001
    file.write_text(json.dumps(records))
    assert guard.main(["--turns", "1", "--file", str(file)]) == 1
    assert "worse than recorded" in capsys.readouterr().err


def test_the_committed_record_names_both_workloads() -> None:
    records = json.loads(guard.RECORD.read_text())
    for record in records.values():
        assert {workload.name for workload in guard.workloads()} <= record.keys()
