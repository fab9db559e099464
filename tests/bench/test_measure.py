"""The benchmark's own arithmetic: what it reads from the system, and what it makes of that."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from bench.driver import Lane, content_length, run_lane
from bench.measure import Snapshot, cpu_seconds, latency_ms, metric_sum, peak_memory, percentile
from bench.report import table

STAT = "7 (py) thon) S 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 100 1 1"


def test_processor_time_is_read_behind_a_name_with_brackets() -> None:
    assert cpu_seconds(STAT) == pytest.approx(3.0)


def test_the_peak_of_memory_is_in_bytes() -> None:
    assert peak_memory("VmPeak:\t 9 kB\nVmHWM:\t  1024 kB\n") == 1 << 20
    assert peak_memory("Threads: 1\n") == 0


def test_a_metric_is_summed_over_its_labels() -> None:
    text = '# HELP x\nchainnode_fsyncs_total{file="wal"} 3.0\nchainnode_fsyncs_total{file="ledger"} 4.0\nother 5\n'
    assert metric_sum(text, "chainnode_fsyncs_total") == 7.0
    assert metric_sum(text, "chainnode_height") == 0.0


def test_percentiles_are_values_that_occurred() -> None:
    ordered = [number / 1_000 for number in range(1, 101)]
    assert percentile(ordered, 0.5) == 0.051
    assert latency_ms(ordered) == {"p50": 51.0, "p95": 96.0, "p99": 100.0}
    assert latency_ms([0.25]) == {"p50": 250.0, "p95": 250.0, "p99": 250.0}


def test_a_snapshot_since_another_is_the_growth() -> None:
    early, late = Snapshot(1.0, 10, 100, 5.0, 1.0, 7.0), Snapshot(3.5, 20, 150, 9.0, 4.0, 9.0)
    assert late.since(early) == Snapshot(2.5, 20, 50, 4.0, 3.0, 2.0)


def test_the_table_names_every_figure() -> None:
    shown = table({"events_per_second": 15_000, "latency_ms": {"p50": 1.5}})
    assert "events per second" in shown
    assert "15,000" in shown
    assert "  p50" in shown


def test_the_length_of_an_answer_is_found_in_its_head() -> None:
    assert content_length(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n") == 12
    with pytest.raises(ValueError, match="length"):
        content_length(b"HTTP/1.1 200 OK\r\n\r\n")


async def test_a_lane_counts_committed_events_and_keeps_the_first_bad_answer() -> None:
    bodies = [b'[{"status":"Committed"},{"status":"Committed"}]', b'{"error":"full"}']

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for body in bodies:
            await reader.readexactly(3)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        lane = Lane("127.0.0.1", port, [b"one", b"two"], 2)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(lane), type=Lane) == lane
        latencies, committed, trouble = await run_lane(lane, 0)
    assert len(latencies) == 2
    assert committed == 2
    assert trouble == '{"error":"full"}'
