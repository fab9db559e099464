"""The load generator: what it counts, when it sends, and that a stalled service can't hide what it delays."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from bench.driver import CONNECTION_LOST, TOO_LATE, Job, Lane, content_length, refusal, run_job
from bench.schedule import arrivals, dealt

GOOD = b'[{"status":"Committed"},{"status":"Committed"}]'
FULL = b'{"error":{"code":-32005,"data":{"reason":"gateway_full","retry_after_ms":1}}}'
REQUEST = b"ask"


async def _run(answers: Sequence[bytes], stalls_s: Sequence[float] = (), **options: Any) -> dict[str, Any]:
    """Serve one answer after another, each after its stall, and return what a driver of one lane saw."""
    left, stalls = iter(answers), iter(stalls_s)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(len(REQUEST)):
            body = next(left, b"")
            if not body:
                break
            await asyncio.sleep(next(stalls, 0.0))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        late_s_max = options.pop("late_s_max", 0.0)
        count = options.pop("count", len(answers))
        lane = Lane("127.0.0.1", port, [REQUEST] * count, 2, **options)
        return await run_job(Job([lane], late_s_max=late_s_max))


def test_a_job_survives_its_file() -> None:
    job = Job([Lane("127.0.0.1", 1, [b"one"], 2, [0.5], 3, True)], 4, 5.0)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(job), type=Job) == job


def test_the_length_of_an_answer_is_found_in_its_head() -> None:
    assert content_length(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n") == 12
    with pytest.raises(ValueError, match="length"):
        content_length(b"HTTP/1.1 200 OK\r\n\r\n")


def test_an_answer_that_is_no_error_and_not_good_has_a_word_of_its_own() -> None:
    assert refusal(FULL) == "-32005"
    assert refusal(b'{"result":{"events":[{"status":"Pending"}]}}') == "not_committed"


async def test_a_lane_counts_committed_events_and_keeps_the_first_bad_answer() -> None:
    seen = await _run([GOOD, FULL, b'{"error":{"code":-32602}}'])
    assert seen["committed"] == 2
    assert len(seen["latencies"]) == 1
    assert seen["refusals"] == {"-32005": 1, "-32602": 1}
    assert "gateway_full" in seen["trouble"]
    assert seen["bytes_sent"] == 3 * len(REQUEST)
    assert seen["bytes_received"] > len(GOOD) + len(FULL)


async def test_a_full_node_is_asked_again_where_the_lane_says_so() -> None:
    seen = await _run([FULL, FULL, GOOD], count=1, retry=True)
    assert (seen["committed"], seen["refusals"], seen["trouble"]) == (2, {"-32005": 2}, "")


async def test_requests_behind_a_stalled_one_take_from_their_scheduled_time() -> None:
    due = [0.0, 0.01, 0.02, 0.03]
    seen = await _run([GOOD] * 4, [0.3], due=due)
    by_due = {due_s: latency_s for due_s, latency_s, *_ in seen["samples"]}
    for due_s in due:
        assert by_due[due_s] >= 0.3 - due_s - 0.005
    assert seen["late"][-1] >= 0.25
    assert seen["seconds"] >= 0.3


async def test_no_request_is_sent_before_it_is_due() -> None:
    seen = await _run([GOOD] * 3, due=[0.0, 0.05, 0.1])
    assert seen["seconds"] >= 0.1
    assert seen["committed"] == 6


async def test_more_connections_share_the_requests_of_a_lane() -> None:
    seen = await _run([GOOD] * 4, [0.3], due=[0.0, 0.01, 0.02, 0.03], connections=4)
    assert sorted(latency_s for _, latency_s, *_ in seen["samples"])[0] < 0.25
    assert seen["committed"] == 8


async def test_a_request_too_late_to_be_sent_is_counted_and_left_out() -> None:
    seen = await _run([GOOD] * 2, [0.3], due=[0.0, 0.01], late_s_max=0.1)
    assert seen["refusals"] == {TOO_LATE: 1}
    assert seen["committed"] == 2


async def test_a_link_that_breaks_is_counted_and_opened_again() -> None:
    seen = await _run([GOOD, b"", GOOD], count=2)
    assert seen["refusals"] == {CONNECTION_LOST: 1}
    assert seen["committed"] == 2


def test_arrivals_are_evenly_spaced_and_dealt_in_turn() -> None:
    due = arrivals(100.0, 0.05)
    assert due == pytest.approx([0.0, 0.01, 0.02, 0.03, 0.04])
    assert dealt(due, 2) == [due[0::2], due[1::2]]
    assert sum(map(len, dealt(due, 3))) == 5
