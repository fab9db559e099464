"""Many subscribers in a process of their own: `python -m bench.subscriber_reader URL COUNT FILE`.

Each is one connection with one subscription to all events. They do as little as tells whether all came and how late:
frames are counted, and of the last of each that came together the block's time is read. It says `ready` once all have
subscribed, and writes one JSON object to FILE some time after a line on stdin: so that what is on its way arrives.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bench.workload import websocket_frame
from ledger.times import parse_time

TIME = b'"time":"'
QUIET_S = 0.5
WAIT_S = 20.0
_TEXT, _CLOSE, _PING = 0x81, 0x88, 0x89
EMPTY_PONG = bytes((0x8A, 0x80, 0, 0, 0, 0))
REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"ledger_subscribe","params":{"topic":"events"}}'


class Told:
    """What all of them were told."""

    def __init__(self) -> None:
        self.notifications = 0
        self.bytes = 0
        self.closed = 0
        self.delays: list[float] = []
        self.times: dict[bytes, float] = {}

    def time_s(self, text: bytes) -> float:
        """Return a block's time, which many notifications share."""
        found = self.times.get(text)
        if found is None:
            found = self.times[text] = parse_time(text.decode()) / 1_000
        return found


class Reader(asyncio.Protocol):
    """One subscriber."""

    def __init__(self, told: Told, host: str) -> None:
        self._told, self._host = told, host
        self._left = b""
        self.subscribed = asyncio.get_running_loop().create_future()
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade and for all events."""
        self._transport: Any = transport  # Any: uvloop's is no subclass of asyncio's
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET /ws HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Count who was closed before the end."""
        self._told.closed += 1

    def data_received(self, data: bytes) -> None:
        """Count the frames that are whole."""
        now_s = time.time()
        data = self._left + data
        if not self._upgraded:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._left = head
                return
            assert head.startswith(b"HTTP/1.1 101 "), head
            self._upgraded = True
            self._transport.write(websocket_frame(REQUEST))
        at, size, last = 0, len(data), -1
        told, count = self._told, 0
        while at + 2 <= size:
            length, start = data[at + 1], at + 2
            if length == 126:
                start = at + 4
                if start > size:
                    break
                length = data[at + 2] << 8 | data[at + 3]
            elif length == 127:
                start = at + 10
                length = int.from_bytes(data[at + 2 : start], "big") if start <= size else size
            if start + length > size:
                break
            if data[at] == _TEXT:
                count, last = count + 1, start
            elif data[at] == _PING:
                self._transport.write(EMPTY_PONG)
            elif data[at] == _CLOSE:
                print("closed:", data[start + 2 : start + length], file=sys.stderr)
            at = start + length
        self._left = data[at:]
        told.bytes += at
        if not self.subscribed.done() and count:
            self.subscribed.set_result(None)
            count -= 1
        if count:
            told.notifications += count
            place = data.rfind(TIME, last, at) + len(TIME)
            told.delays.append(now_s - told.time_s(data[place : data.index(b'"', place)]))


async def read(url: str, count: int) -> bytes:
    """Subscribe, wait for the word and until nothing comes any more; return what was told, as JSON."""
    loop, told, address = asyncio.get_running_loop(), Told(), urlsplit(url)
    readers = []
    async with asyncio.timeout(WAIT_S):
        for _ in range(count):
            made = await loop.create_connection(lambda: Reader(told, address.netloc), address.hostname, address.port)
            await made[1].subscribed
            readers.append(made[1])
    used = resource.getrusage(resource.RUSAGE_SELF)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    seen, until_s = -1, time.monotonic() + WAIT_S
    while told.notifications != seen and time.monotonic() < until_s:
        seen = told.notifications
        await asyncio.sleep(QUIET_S)
    now = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    names = ("notifications", "bytes", "closed", "delays")
    return json.dumps({name: getattr(told, name) for name in names} | {"cpu_s": cpu_s}).encode()


if __name__ == "__main__":
    Path(sys.argv[3]).write_bytes(uvloop.run(read(sys.argv[1], int(sys.argv[2]))))
