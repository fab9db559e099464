"""A process in the path of every link: delays, losses, stalls, cuts and narrow links over plain TCP.

Here: forwarding, and the faults of each direction of a link. Not here: which fault when (`perturb`). It never reads
what it carries; nodes speak TLS through it. One listener for each link, so that each direction has its own fate. A
listener may also be the door into a network namespace, through which load and checks reach a node's own loopback.

Run as `python -m torment.proxy FILE`: the file is a JSON list of `Route`s; each line of stdin is a `Fate` for routes by
name, answered by `ok`. Losses of TCP are what its users see of them: a pause that doubles with each retransmission,
with all that follows waiting behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import socket
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

SEGMENT_BYTES: Final = 1_448
READ_BYTES: Final = 64 * 1024
QUEUE_BYTES_MAX: Final = 1 << 20
RETRANSMIT_S: Final = 0.2
RETRANSMITS_MAX: Final = 4
_CLONE_NEWNET: Final = 0x40000000


class Route(msgspec.Struct, frozen=True):
    """Where a listener leads; `namespace` is the path of the network namespace in which it connects."""

    name: str
    listen: tuple[str, int]
    target: tuple[str, int]
    namespace: str = ""


class Way(msgspec.Struct, frozen=True):
    """What happens to one direction of a link; `rate` is in bytes a second, 0 for no limit."""

    delay_ms: int = 0
    jitter_ms: int = 0
    loss: float = 0.0
    rate: int = 0
    stalled: bool = False


class Fate(msgspec.Struct, frozen=True):
    """What happens to some routes from now on; a route that is `cut` is reset, and refuses connections."""

    routes: tuple[str, ...]
    there: Way = Way()
    back: Way = Way()
    cut: bool = False


class Line:
    """One route's state; the connections on it look at it all the time."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.fate = Fate(())
        self.changed = asyncio.Event()
        self.writers: set[asyncio.StreamWriter] = set()

    def set(self, fate: Fate) -> None:
        """Begin another fate; a cut resets what is open."""
        self.fate = fate
        self.changed.set()
        self.changed = asyncio.Event()
        if fate.cut:
            for writer in list(self.writers):
                writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection both ways until either side ends it."""
        if self.fate.cut:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self.writers |= both
        pumps = [
            asyncio.create_task(self._carry(reader, far_writer, "there")),
            asyncio.create_task(self._carry(far_reader, writer, "back")),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            self.writers -= both
            for each in both:
                each.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self.route.target
        if not self.route.namespace:
            return await asyncio.open_connection(host, port)
        with inside(self.route.namespace):
            sock = socket.socket()
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
        except OSError:
            sock.close()
            raise
        return await asyncio.open_connection(sock=sock)

    def _way(self, name: str) -> Way:
        way: Way = getattr(self.fate, name)
        return way

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
        """Move bytes: one task reads and says when each piece is due, the other writes it then."""
        queue: deque[tuple[float, bytes]] = deque()
        state = _Queue(queue)
        sender = asyncio.create_task(self._send(state, writer, name))
        loop = asyncio.get_running_loop()
        due = 0.0
        try:
            while data := await reader.read(READ_BYTES):
                due = max(due, self._due(loop.time(), len(data), name))
                await state.put(due, data)
                if sender.done():
                    break
            await state.drained(sender)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            sender.cancel()

    def _due(self, now: float, size: int, name: str) -> float:
        """Return when a piece arrives: order is kept, so a late one holds up all behind it."""
        way = self._way(name)
        late = way.delay_ms + (random.random() * way.jitter_ms if way.jitter_ms else 0.0)
        lost = 0.0
        for _ in range(max(1, size // SEGMENT_BYTES) if way.loss else 0):
            tries = 0
            while random.random() < way.loss and tries < RETRANSMITS_MAX:
                tries += 1
            lost = max(lost, RETRANSMIT_S * (2**tries - 1))
        return now + late / 1_000 + lost

    async def _send(self, state: _Queue, writer: asyncio.StreamWriter, name: str) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await state.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            while self._way(name).stalled:
                await self.changed.wait()
            rate = self._way(name).rate
            # A narrow link carries a little at a time, so that what is small is not held up by a whole read.
            step = max(1, min(len(data), rate // 20)) if rate else len(data)
            for start in range(0, len(data), step):
                writer.write(data[start : start + step])
                await writer.drain()
                if rate and self._way(name).rate:
                    await asyncio.sleep(step / rate)
            state.sent(len(data))


class _Queue:
    """Pieces under way in one direction, bounded in bytes: a full one stops the reading, as a link's window does."""

    def __init__(self, pieces: deque[tuple[float, bytes]]) -> None:
        self._pieces = pieces
        self._bytes = 0
        self._moved = asyncio.Event()

    async def put(self, due: float, data: bytes) -> None:
        """Add a piece, once there is room."""
        while self._bytes > QUEUE_BYTES_MAX:
            self._moved.clear()
            await self._moved.wait()
        self._pieces.append((due, data))
        self._bytes += len(data)
        self._moved.set()

    async def get(self) -> tuple[float, bytes]:
        """Take the next piece."""
        while not self._pieces:
            self._moved.clear()
            await self._moved.wait()
        return self._pieces.popleft()

    def sent(self, size: int) -> None:
        """A piece left."""
        self._bytes -= size
        self._moved.set()

    async def drained(self, sender: asyncio.Task[None]) -> None:
        """Return once all pieces left, or the sender has ended."""
        while self._bytes and not sender.done():
            self._moved.clear()
            waiting = asyncio.ensure_future(self._moved.wait())
            try:
                await asyncio.wait([waiting, sender], return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Let this thread make sockets in another network namespace: a socket stays where it was made (setns(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    other = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(libc, other)
        try:
            yield
        finally:
            _setns(libc, own)
    finally:
        os.close(own)
        os.close(other)


def _setns(libc: ctypes.CDLL, descriptor: int) -> None:
    if libc.setns(descriptor, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


async def serve(routes: list[Route]) -> None:
    """Listen on all routes and take fates from stdin until it ends."""
    lines = {route.name: Line(route) for route in routes}
    for line in lines.values():
        host, port = line.route.listen
        await asyncio.start_server(line.serve, host, port)
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print("ready", flush=True)
    while text := await commands.readline():
        fate = msgspec.json.decode(text, type=Fate)
        for name in fate.routes:
            lines[name].set(fate)
        print("ok", flush=True)


def main() -> None:
    """Run until stdin is closed: a proxy never outlives whoever started it."""
    routes = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=list[Route])
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(routes))


if __name__ == "__main__":
    main()
