"""The load generator: a process of its own that sends requests made beforehand and times the answers.

Here: connections that each send their requests one after another (a closed loop), or with a pause between them. Not
here: what the requests hold (`bench.workload`). It parses as little as it can and leaves the cores to the nodes:
an answer is good if it names as many committed events as the request held.

Run as `python -m bench.driver JOB`; it says `ready`, waits for a line on stdin, and prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path

import msgspec

COMMITTED = b'"status":"Committed"'
ANSWER_BYTES_MAX = 4 << 20


class Lane(msgspec.Struct):
    """One connection to one node: its requests, in order, and how many events each holds."""

    host: str
    port: int
    requests: list[bytes]
    events: int


class Job(msgspec.Struct):
    """What one driver does; `pause_ms` lies between an answer and the next request."""

    lanes: list[Lane]
    pause_ms: int = 0


async def run_lane(lane: Lane, pause_ms: int) -> tuple[list[float], int, str]:
    """Return the seconds that each answer took, the number of committed events, and the first bad answer."""
    reader, writer = await asyncio.open_connection(lane.host, lane.port, limit=ANSWER_BYTES_MAX)
    latencies: list[float] = []
    committed = 0
    trouble = ""
    for request in lane.requests:
        started = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(content_length(head))
        latencies.append(time.perf_counter() - started)
        found = body.count(COMMITTED)
        committed += found
        if found != lane.events and not trouble:
            trouble = body[:300].decode(errors="replace")
        if pause_ms:
            await asyncio.sleep(pause_ms / 1_000)
    writer.close()
    return latencies, committed, trouble


def content_length(head: bytes) -> int:
    """Return the length of the body that follows these headers."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError("answer without a length")


async def run_job(job: Job) -> dict[str, object]:
    """Run all connections side by side."""
    started = time.perf_counter()
    answers = await asyncio.gather(*(run_lane(lane, job.pause_ms) for lane in job.lanes))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": time.perf_counter() - started,
        "latencies": sorted(latency for latencies, _, _ in answers for latency in latencies),
        "committed": sum(committed for _, committed, _ in answers),
        "trouble": next((trouble for _, _, trouble in answers if trouble), ""),
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
    }


def main() -> None:
    """Load the job, wait for the word, run it."""
    job = msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=Job)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(asyncio.run(run_job(job))), flush=True)


if __name__ == "__main__":
    main()
