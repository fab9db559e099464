"""A run is its seed: twice the same bytes; a replayed node writes and sends the same; the command line says so."""

from __future__ import annotations

from random import Random

import pytest

from consensus.invariants import InvariantBroken
from sim import __main__ as command
from sim import run as runs
from sim.cluster import Cluster
from sim.disk import Disk, Written
from sim.events import Offer
from sim.network import CALM, Network, Weather
from sim.plan import Scenario, draw, draw_loads
from sim.recording import replay
from sim.run import build, run
from sim.streams import Streams
from sim.workload import START_MS


@pytest.mark.parametrize("seed", [3, 8])
def test_one_seed_is_one_run_byte_for_byte(seed: int) -> None:
    scenario = draw(seed)
    first, second = build(scenario), build(scenario)
    results = [run(scenario, cluster) for cluster in (first, second)]
    assert first.log == second.log
    assert [node.disk.digest() for node in first.nodes] == [node.disk.digest() for node in second.nodes]
    assert results[0] == results[1]


def test_different_seeds_are_different_runs() -> None:
    assert len({run(draw(seed)).digest for seed in range(4)}) == 4


@pytest.mark.parametrize("seed", [1, 6, 20])
def test_replaying_a_nodes_inputs_reproduces_its_output_bytes(seed: int) -> None:
    scenario = draw(seed)
    cluster = build(scenario, recorded=2)
    run(scenario, cluster)
    recording = cluster.nodes[2].recording
    assert recording is not None
    assert recording.turns > 100
    disk = Disk()
    disk.store = recording.store
    assert replay(recording.inputs, cluster.open_core(2, disk, None), disk) == recording.digest()


def test_a_replay_with_one_input_changed_is_told_apart() -> None:
    scenario = Scenario(1, 4, CALM, loads=draw_loads(Random(1), 5, 4, 2_000), chaos_ms=2_000)
    cluster = build(scenario, recorded=1)
    run(scenario, cluster)
    recording = cluster.nodes[1].recording
    assert recording is not None
    disk = Disk()
    disk.store = recording.store
    inputs = [item for item in recording.inputs if item[0] != "on_message" or item[1][1] != 2]  # no votes
    assert replay(inputs, cluster.open_core(1, disk, None), disk) != recording.digest()


def test_a_crash_keeps_what_its_disk_kept() -> None:
    for written in Written:
        cluster = Cluster(1, weather=CALM)
        doomed: list[int] = []
        cluster.nodes[1].doom = lambda cluster=cluster, written=written, doomed=doomed: (
            doomed.append(1) or cluster.crash(1, written)
        )
        cluster.schedule(START_MS + 10, Offer(0, 2))
        cluster.run_until(START_MS + 1_000)
        assert doomed == [1]
        assert bool(cluster.nodes[1].disk.records) is (written is Written.ALL)


def test_what_was_answered_is_required_after_a_restart() -> None:
    cluster = Cluster(1, weather=CALM)
    cluster.schedule(START_MS + 10, Offer(0, 2))
    cluster.run_until(START_MS + 1_000)
    cluster.crash(1)
    cluster.nodes[1].disk = Disk()
    with pytest.raises(InvariantBroken, match="never lost"):
        cluster.start(1)


def test_a_partition_cuts_and_healing_joins() -> None:
    network = Network(Streams(1), Weather())
    network.partition([{0, 1}, {2, 3}])
    assert not network.linked(0, 2)
    assert network.linked(0, 1)
    network.heal()
    network.cut(0, 1)
    assert not network.linked(0, 1)
    assert network.linked(1, 0)


def test_the_command_line_ends_with_seeds_time_and_rate(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seeds", "2", "--seed-start", "7"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("2 seeds held every rule: ")
    assert "seeds a minute" in last


def test_a_cluster_that_does_not_recover_is_a_broken_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "heal", lambda cluster: cluster.crash(0) or cluster.crash(1))
    scenario = Scenario(1, 4, CALM, loads=draw_loads(Random(1), 3, 4, 1_000), chaos_ms=1_000)
    with pytest.raises(InvariantBroken, match="order returns when faults end"):
        run(scenario)
