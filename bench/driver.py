"""The load generator: a process of its own that sends requests made beforehand and times the answers.

Here: connections that send one request after another (a closed loop), or each at the time for which it is scheduled
(an open loop). Not here: what the requests hold (`bench.workload`), when they are due (`bench.schedule`).

In an open loop the latency counts from the scheduled time, also where all connections were busy then: a service that
stalls delays the requests behind it, and a client that waits for its turn to ask would not show that.

It parses as little as it can and leaves the cores to the nodes: an answer is good if it names as many committed events
as the request held. Run as `python -m bench.driver JOB ANSWER`; it says `ready`, waits for a line on stdin, and
writes one JSON object to the file ANSWER.
"""

from __future__ import annotations

import asyncio
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import uvloop

COMMITTED = b'"status":"Committed"'
ANSWER_BYTES_MAX = 4 << 20
LIMIT_EXCEEDED = "-32005"
RETRY_S = 0.5
NOT_COMMITTED = "not_committed"
CONNECTION_LOST = "connection_lost"
TOO_LATE = "too_late"
OP_TEXT, OP_CLOSE, LENGTH_16 = 1, 8, 126
_ERROR_CODE = re.compile(rb'"error":\{"code":(-?\d+)')
_RETRY_AFTER = re.compile(rb'"retry_after_ms":(\d+)')


class Lane(msgspec.Struct):
    """Requests to one node, in order, and how many events each holds.

    `due` has the seconds after the start at which each is to be sent; without it each follows the answer before.
    `connections` share the requests: whichever is free takes the next. With `retry`, a request that was refused because
    the node is full is sent again after the time that the node names. `counts` says how many events each request holds
    where they differ; an empty request stands for a step in which a lane has nothing to say. With an `upgrade`, sent
    first, the connection is a WebSocket and the requests are frames.
    """

    host: str
    port: int
    requests: list[bytes]
    events: int
    due: list[float] = []
    connections: int = 1
    retry: bool = False
    counts: list[int] = []
    upgrade: bytes = b""


class Job(msgspec.Struct):
    """What one driver does; `pause_ms` lies between an answer and the next request of a closed loop.

    A scheduled request that no connection could send within `late_s_max` seconds is not sent at all; 0 for no limit.
    With `in_step`, lanes of one connection send their next requests together, once all are answered that came before.
    """

    lanes: list[Lane]
    pause_ms: int = 0
    late_s_max: float = 0.0
    in_step: bool = False


class Sample(msgspec.Struct, array_like=True):
    """One request: due (or sent) and answered in seconds after the start, sent late by, events committed, refusal."""

    due_s: float
    latency_s: float
    late_s: float
    committed: int
    code: str


@dataclass
class Seen:
    """What all connections saw."""

    began: float = field(default_factory=time.perf_counter)
    samples: list[Sample] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    trouble: str = ""
    bytes_sent: int = 0
    bytes_received: int = 0

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.began


class Connection:
    """One connection to one node, opened again when the node has closed it."""

    def __init__(self, lane: Lane, seen: Seen) -> None:
        self._lane, self._seen = lane, seen
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> bytes:
        """Send a request and return the body of the answer. Raises OSError or EOFError where the link broke."""
        if self._streams is None:
            opened = await asyncio.open_connection(self._lane.host, self._lane.port, limit=ANSWER_BYTES_MAX)
            self._streams = opened
            if self._lane.upgrade:
                opened[1].write(self._lane.upgrade)
                head = await opened[0].readuntil(b"\r\n\r\n")
                if b" 101 " not in head:
                    raise OSError(f"not upgraded: {head[:100]!r}")
        reader, writer = self._streams
        writer.write(request)
        self._seen.bytes_sent += len(request)
        if self._lane.upgrade:
            return await self._message(reader)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(content_length(head))
        self._seen.bytes_received += len(head) + len(body)
        if b"connection: close" in head.lower():
            self.close()
        return body

    async def _message(self, reader: asyncio.StreamReader) -> bytes:
        """Return the next text message; a node sends each in one frame."""
        while True:
            first, size = await reader.readexactly(2)
            if size >= LENGTH_16:
                size = int.from_bytes(await reader.readexactly(2 if size == LENGTH_16 else 8), "big")
            body = await reader.readexactly(size)
            if first & 0x0F == OP_CLOSE:
                raise OSError(f"closed by the node: {body[2:]!r}")
            if first & 0x0F == OP_TEXT:
                self._seen.bytes_received += size + 4
                return body

    def close(self) -> None:
        """Close it; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def run_lane(lane: Lane, job: Job, seen: Seen, step: asyncio.Barrier) -> None:
    """Send all requests of a lane through its connections."""
    numbers = iter(range(len(lane.requests)))
    await asyncio.gather(*(_connection(lane, job, seen, numbers, step) for _ in range(lane.connections)))


async def _connection(lane: Lane, job: Job, seen: Seen, numbers: Iterator[int], step: asyncio.Barrier) -> None:
    connection = Connection(lane, seen)
    for number in numbers:
        if job.in_step:
            await step.wait()
            if not lane.requests[number]:
                continue
        due_s = lane.due[number] if lane.due else seen.now_s
        if due_s > seen.now_s:
            await asyncio.sleep(due_s - seen.now_s)
        late_s = max(0.0, seen.now_s - due_s)
        if job.late_s_max and late_s > job.late_s_max:
            _note(seen, Sample(due_s, late_s, late_s, 0, TOO_LATE), b"")
            continue
        found, code, body = await _answered(connection, lane, seen, number)
        _note(seen, Sample(due_s, seen.now_s - due_s, late_s, found, code), body)
        if job.pause_ms and not lane.due:
            await asyncio.sleep(job.pause_ms / 1_000)
    connection.close()


async def _answered(connection: Connection, lane: Lane, seen: Seen, number: int) -> tuple[int, str, bytes]:
    """Return how many events an answer says are committed, what else it says, and its body; a full node is retried."""
    while True:
        try:
            body = await connection.ask(lane.requests[number])
        except (OSError, EOFError) as error:
            connection.close()
            return 0, CONNECTION_LOST, str(error).encode()
        found = body.count(COMMITTED)
        if found == (lane.counts[number] if lane.counts else lane.events):
            return found, "", body
        code = refusal(body)
        if not (lane.retry and code == LIMIT_EXCEEDED):
            return found, code, body
        seen.refusals[code] += 1
        after = _RETRY_AFTER.search(body)
        await asyncio.sleep(int(after[1]) / 1_000 if after else RETRY_S)


def _note(seen: Seen, sample: Sample, body: bytes) -> None:
    seen.samples.append(sample)
    if sample.code:
        seen.refusals[sample.code] += 1
        seen.trouble = seen.trouble or f"{sample.code}: {body[:300].decode(errors='replace')}"


def refusal(body: bytes) -> str:
    """Return the code of an answer's error; another word where the answer has none and yet is not good."""
    found = _ERROR_CODE.search(body)
    return found[1].decode() if found else NOT_COMMITTED


def content_length(head: bytes) -> int:
    """Return the length of the body that follows these headers."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError("answer without a length")


async def run_job(job: Job) -> dict[str, object]:
    """Run all lanes side by side and return what was seen; `refusals` counts those that a retry followed as well."""
    seen = Seen()
    step = asyncio.Barrier(max(1, len(job.lanes)))
    await asyncio.gather(*(run_lane(lane, job, seen, step) for lane in job.lanes))
    seconds = seen.now_s
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": seconds,
        "latencies": sorted(sample.latency_s for sample in seen.samples if not sample.code),
        "late": sorted(sample.late_s for sample in seen.samples),
        "committed": sum(sample.committed for sample in seen.samples),
        "refusals": dict(seen.refusals),
        "trouble": seen.trouble,
        "bytes_sent": seen.bytes_sent,
        "bytes_received": seen.bytes_received,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "samples": [msgspec.to_builtins(sample) for sample in seen.samples if job.lanes[0].due],
    }


def main() -> None:
    """Load the job, wait for the word, run it, write what was seen."""
    job_file, answer_file = map(Path, sys.argv[1:])
    job = msgspec.msgpack.decode(job_file.read_bytes(), type=Job)
    print("ready", flush=True)
    sys.stdin.readline()
    answer_file.write_bytes(msgspec.json.encode(uvloop.run(run_job(job))))


if __name__ == "__main__":
    main()
