"""The load generator of overload runs: sends at a rate of its own, whatever the nodes answer, and notes each answer.

Here: lanes (one source each, on one connection, its requests in order), the clock that sends, and what came back. A
lane whose request was refused sends the same bytes again: at its next turn, or once the refusal's hint is over. Not
here: what the requests hold (`bench.workload`), what the notes mean (`bench.overload`).

Run as `python -m bench.flood JOB`; it says `ready`, waits for a line on stdin, and prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import random
import resource
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bench.driver import COMMITTED, Connection, Seen
from bench.driver import Lane as DriverLane

LENGTH_BYTES = 4
GRACE_S = 40.0
CONNECT_TRIES = 5
GATEWAY_FULL = "gateway_full"


class FloodLane(msgspec.Struct):
    """One source: where it sends, the file of its requests (each after its length), how many events each holds.

    `expects` names, by their places in the file, the requests that are not good, and what has to become of each.
    """

    host: str
    port: int
    path: str
    events: int
    expects: dict[int, str] = {}


class FloodJob(msgspec.Struct):
    """What one process sends: `rate` requests a second over all lanes, or each lane as fast as it is answered (0).

    `honour` lets a refused lane rest for as long as the refusal says, and a little longer by chance. A lane's requests
    are all sent once with `rate` 0 and `seconds` 0.
    """

    lanes: list[FloodLane]
    rate: float = 0.0
    seconds: float = 0.0
    honour: bool = False


class Answered(msgspec.Struct, array_like=True):
    """One answer: seconds since the start when sent and when answered, what it was, and the committed events in it."""

    sent: float
    at: float
    what: str
    code: int
    events: int


class Lane:
    """One connection; keeps its place among its requests."""

    def __init__(self, job: FloodLane) -> None:
        self.job = job
        with open(job.path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._at = 0
        self._place = 0
        self._connection = Connection(DriverLane(job.host, job.port, [], job.events), Seen())

    @property
    def done(self) -> bool:
        """Whether every request was taken."""
        return self._at >= len(self._map)

    def request(self) -> bytes:
        """Return the request that is next."""
        size = int.from_bytes(self._map[self._at : self._at + LENGTH_BYTES], "big")
        return self._map[self._at + LENGTH_BYTES : self._at + LENGTH_BYTES + size]

    @property
    def expected(self) -> str:
        """What has to become of the request that is next; nothing where it is a good one."""
        return self.job.expects.get(self._place, "")

    def taken(self) -> None:
        """Go on to the request after."""
        self._place += 1
        self._at += LENGTH_BYTES + int.from_bytes(self._map[self._at : self._at + LENGTH_BYTES], "big")

    async def exchange(self, request: bytes) -> bytes:
        """Return the body of the answer, on the lane's connection or a new one where the node closed it."""
        for attempt in range(CONNECT_TRIES):
            try:
                return await self._connection.ask(request)
            except (OSError, EOFError):
                self._connection.close()
                await asyncio.sleep(0.05 * attempt)
        return b'{"error":{"code":0,"data":{"reason":"unreachable"}}}'


def told(body: bytes, events: int) -> tuple[str, int, int, int]:
    """Return what an answer says: its name, its code, how many events it calls committed, and the hint in ms."""
    committed = body.count(COMMITTED)
    if committed == events:
        return "committed", 0, committed, 0
    answer: dict[str, Any] = json.loads(body)  # Any: a node's JSON
    error = answer.get("error")
    if error is not None:
        data = error.get("data", {})
        return str(data.get("reason")), int(error.get("code", 0)), 0, int(data.get("retry_after_ms") or 0)
    row = next(row for row in answer["result"]["events"] if row["status"] != "Committed" or len(row) == 0)
    return row["reason"] or row["status"].lower(), 0, committed, 0


class Flood:
    """One run of a job."""

    def __init__(self, job: FloodJob) -> None:
        self.job = job
        self.answers: list[Answered] = []
        self.wrong: list[str] = []
        self.met: list[str] = []
        self.unsent = 0
        self._started = 0.0
        self._idle: deque[Lane] = deque()

    async def run(self) -> dict[str, object]:
        """Send until the time is over, or all is sent; wait for what is under way."""
        lanes = [Lane(lane) for lane in self.job.lanes]
        self._started = time.perf_counter()
        if self.job.rate:
            await self._open(lanes)
        else:
            await asyncio.gather(*(self._closed(lane) for lane in lanes))
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "seconds": time.perf_counter() - self._started,
            "answers": [msgspec.to_builtins(each) for each in self.answers],
            "unsent": self.unsent,
            "wrong": self.wrong,
            "met": self.met,
            "exhausted": sum(lane.done for lane in lanes),
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
        }

    async def _closed(self, lane: Lane) -> None:
        end = self._started + (self.job.seconds or float("inf"))
        while not lane.done and time.perf_counter() < end:
            pause_ms = await self._send(lane)
            if pause_ms:
                await asyncio.sleep(pause_ms / 1_000)

    async def _open(self, lanes: list[Lane]) -> None:
        self._idle.extend(lanes)
        tasks: set[asyncio.Task[None]] = set()
        end = self._started + self.job.seconds
        due = self._started
        while (now := time.perf_counter()) < end:
            while due <= now:
                due += 1 / self.job.rate
                if self._idle:
                    task = asyncio.create_task(self._turn(self._idle.popleft()))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                else:
                    self.unsent += 1
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE_S)

    async def _turn(self, lane: Lane) -> None:
        pause_ms = await self._send(lane)
        if pause_ms and self.job.honour:
            await asyncio.sleep(pause_ms / 1_000 * (1 + random.random()))
        if not lane.done:
            self._idle.append(lane)

    async def _send(self, lane: Lane) -> int:
        """Send a lane's next request and note the answer; return for how long a refused one should rest."""
        sent = time.perf_counter()
        body = await lane.exchange(lane.request())
        what, code, events, hint_ms = told(body, lane.job.events)
        if lane.expected and what != GATEWAY_FULL:
            found = f"{code} {what}"
            (self.met if found == lane.expected else self.wrong).append(f"{found}, expected {lane.expected}")
            lane.taken()
            return 0
        self.answers.append(
            Answered(round(sent - self._started, 4), round(time.perf_counter() - self._started, 4), what, code, events)
        )
        if code == 0:
            lane.taken()
        return hint_ms


def main() -> None:
    """Load the job, wait for the word, run it, write what was seen."""
    job_file, answer_file = map(Path, sys.argv[1:])
    job = msgspec.msgpack.decode(job_file.read_bytes(), type=FloodJob)
    print("ready", flush=True)
    sys.stdin.readline()
    answer_file.write_bytes(msgspec.json.encode(uvloop.run(Flood(job).run())))


if __name__ == "__main__":
    main()
