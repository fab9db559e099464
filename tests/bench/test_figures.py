"""What the benchmark makes of its runs: figures, tables and plots, of runs that nobody had to take."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import workloads
from bench.__main__ import parse
from bench.measure import Snapshot
from bench.network import Run
from bench.plot import Drawing, write_plots
from bench.report import aligned, figure, loads, report
from bench.workloads import Bench, Closed, figures_of

MACHINE = {"cpu": "a", "cores": 2, "memory_gib": 4, "kernel": "6", "python": "3.11", "load_average": 0.1}
PHASES = {"received": {0.001: 10.0, 0.1: 10.0}, "ordered": {0.01: 5.0, 0.1: 10.0}, "committed": {0.1: 10.0}}


def _run(seconds: float, cpu_s: float, refusals: dict[str, int] | None = None) -> Run:
    answer = {
        "committed": 1_000,
        "seconds": seconds,
        "latencies": [0.1, 0.2],
        "late": [0.0, 0.01],
        "refusals": refusals or {},
        "bytes_sent": 400_000,
        "bytes_received": 200_000,
        "cpu_seconds": 0.001,
    }
    used = Snapshot(
        cpu_s=cpu_s, loop_cpu_s=cpu_s / 2, rss_peak=1 << 20, disk=300_000, wire_out=2e5, fsyncs=5, blocks=10
    )
    used = Snapshot(**{**vars(used), "phases": PHASES})
    return Run(answer, [used] * 4)


def _figures() -> dict[str, Any]:
    batches = figures_of([_run(1.0, 0.02), _run(2.0, 0.01), _run(4.0, 0.03, {"-32005": 3})])
    batches |= {"floor_cpu_us_per_event": 5.0, "floor_verification_us_per_event": 0.06, "node_floor_ratio": 4.0}
    opened = figures_of([_run(1.0, 0.1)])
    return {
        "nodes": 4,
        "runs": 3,
        "machine": MACHINE,
        "batches": batches,
        "rpc-batch": figures_of([_run(1.0, 0.024)]) | {"gateway_extra_us_per_event": 16.0},
        "open": {"lone": opened},
        "idle": {"events": 60, "latency_ms": {}, "phases_ms": batches["phases_ms"]},
        "help": {"help_ms": 40.0},
        **batches,
    }


def test_runs_give_medians_and_sums() -> None:
    found = _figures()["batches"]
    assert found["events_per_second"] == 500
    assert found["events_per_second_all"] == [1_000, 500, 250]
    assert found["cpu_us_per_event_per_validator"] == 20.0
    assert found["loop_cpu_us_per_event_per_validator"] == 10.0
    assert found["disk_bytes_per_event"] == 300.0
    assert found["wire_bytes_per_event"] == {
        "sent_to_peers_per_validator": 200.0,
        "sent_by_clients": 400.0,
        "answered_to_clients": 200.0,
    }
    assert found["fsyncs_per_1000_events"] == 5.0
    assert found["events_per_block"] == 100.0
    assert found["refusals"] == {"-32005": 3}
    assert found["phases_ms"]["ordered"]["p50"] == 10.0
    assert found["phases_ms"]["answered"] == found["latency_ms"] == {"p50": 200.0, "p95": 200.0, "p99": 200.0}
    assert found["late_ms_p99"] == 10.0


def test_the_object_holds_what_scripts_read() -> None:
    figures = json.loads(json.dumps(_figures()))
    wanted = {"events_per_second", "cpu_us_per_event_per_validator", "floor_cpu_us_per_event", "node_floor_ratio"}
    assert wanted <= figures.keys()
    assert figures["latency_ms"].keys() == {"p50", "p95", "p99"}


def test_the_gateways_own_work_is_told_of_one_node_and_is_the_median_of_runs_in_turn(monkeypatch) -> None:
    costs = iter([20.0, 24.0, 20.0, 90.0, 21.0, 24.0])  # batches and calls in turn; one run has a wave of the index
    found_nodes = SimpleNamespace(nodes=[None] * 4)
    net = SimpleNamespace(sources=list, groups=list, load=lambda: found_nodes)
    monkeypatch.setattr(workloads, "drive", lambda net, lanes: _run(1.0, next(costs) / 1_000))
    bench = Bench(net, 1, 1.0, lambda _: None)
    monkeypatch.setattr(Bench, "closed", lambda self, name: Closed(name, lambda count: [], 1_000, 48))
    found = bench.gateways_own(3)
    assert found["gateway_extra_us_per_event"] == 16.0
    assert bench.written == {"batches": [], "lone": []}, "the floor takes none of it"


def test_the_report_names_every_workload_and_its_figures() -> None:
    text = report(_figures())
    assert "4 validators, 3 runs each; 2 cores" in text
    for name in ("batches", "rpc-batch", "open lone", "idle", "help ms"):
        assert name in text
    assert "16.0 µs more" in text
    assert list(loads(_figures())) == ["batches", "rpc-batch", "idle", "open lone"]


def test_columns_are_aligned_and_figures_have_the_digits_that_they_are_good_for() -> None:
    assert aligned([["", "b"], ["long", "10"]]) == "       b\nlong  10"
    assert [figure(value) for value in (None, 0.123, 12.34, 1234.5)] == ["-", "0.12", "12.3", "1,234"]


def test_plots_are_pictures_of_all_workloads(tmp_path: Path) -> None:
    paths = write_plots(_figures(), tmp_path / "plots")
    assert [path.name for path in paths] == ["latency.svg", "cost.svg", "throughput.svg"]
    for path in paths:
        root = ElementTree.parse(path).getroot()
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
        shown = {element.text for element in root.iter() if element.tag.endswith("text")}
        assert {"batches", "open lone"} <= shown
        for element in root.iter():
            for name, most in (("x", width), ("cx", width), ("y", height), ("cy", height)):
                assert 0 <= float(element.attrib.get(name, 0)) <= most


def test_a_value_twice_as_large_is_as_far_to_the_right_anywhere_on_the_axis() -> None:
    drawing = Drawing("", "", 1, [1.0, 1_000.0])
    assert drawing.x(2.0) - drawing.x(1.0) == pytest.approx(drawing.x(200.0) - drawing.x(100.0), abs=0.2)


def test_one_or_several_workloads_can_be_asked_for() -> None:
    assert parse(["--only", "open", "lone"]).only == ["open", "lone"]
    assert len(parse([]).only) == 9
    with pytest.raises(SystemExit):
        parse(["--only", "nothing"])
