"""How old `/checkpoint` may be: what was committed is under a stable checkpoint within a second, whatever the traffic.

Measured from outside, by polling log size and checkpoint of a node. A sample counts only if the machine ran the poller
in time while it was taken: a stalled machine says nothing about the nodes. Every one that counts is held to the bound.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from chainnode.log_source import HttpSource
from ledger.trust_policy import parse_policy
from primitives.notes import NOTE_BYTES_MAX
from tests.e2e.network_fixtures import STUCK_S, Network
from tests.e2e.traffic_fixtures import Source, submit

pytestmark = pytest.mark.e2e

BOUND_S = 1.0
POLL_S = 0.01
STALLED_S = 0.08
"""A turn of the poller that takes longer than this was not the nodes' doing alone, and the sample is set aside."""
SAMPLES_MIN = 25
SEED = 20260122


@dataclass
class Watched:
    """What a poller saw of one node: when each log size was first there, and when a checkpoint first covered it."""

    committed: dict[int, float] = field(default_factory=dict)
    covered: dict[int, float] = field(default_factory=dict)
    stalls: list[float] = field(default_factory=list)

    def lags(self) -> list[float]:
        """Return the seconds from each growth of the log to a checkpoint that covers it, where no stall fell."""
        found = []
        for size, at in self.committed.items():
            until = self.covered.get(size)
            if until is not None and not any(at <= stall <= until for stall in self.stalls):
                found.append(until - at)
        return found


@contextmanager
def watching(net: Network, name: str) -> Iterator[Watched]:
    """Poll a node while the block runs, and then until everything is covered."""
    watched, ending = Watched(), threading.Event()
    policy = parse_policy(net.http(name, "GET", "/policy")[1].decode())
    source, client = HttpSource(net.node(name).rpc), net.new_client(name, token=False)

    def run() -> None:
        waiting: list[int] = []
        newest, note = 0, b""
        first = before = time.monotonic()
        while time.monotonic() < first + 4 * STUCK_S:
            size = int(client.call("net_status")["log_size"])
            if newest and size > newest:
                watched.committed[size] = before  # no later than this it was not there yet
                waiting.append(size)
            newest = max(newest, size)
            found = source.get("checkpoint", NOTE_BYTES_MAX) or b""
            now = time.monotonic()
            if found != note:
                note, covered = found, policy.check(found.decode()).checkpoint.size
                for each in [each for each in waiting if each <= covered]:
                    watched.covered[each] = now
                    waiting.remove(each)
            if ending.is_set() and not waiting:
                return
            time.sleep(POLL_S)
            if time.monotonic() - before > STALLED_S:
                watched.stalls.append(time.monotonic())
            before = time.monotonic()

    thread = threading.Thread(target=run, name=f"poller-{name}", daemon=True)
    thread.start()
    try:
        yield watched
    finally:
        ending.set()
        thread.join(5 * STUCK_S)
        client.close()
        source.close()
    assert watched.committed.keys() == watched.covered.keys(), "a growth of the log stayed without a checkpoint"


def alone(net: Network, source: Source, draw: random.Random) -> None:
    """Commit one event after a pause of any length."""
    submit(net, "bank-b", source.payments(1))
    time.sleep(draw.uniform(0, 1.3))


def close_together(net: Network, source: Source, draw: random.Random) -> None:
    """Commit a few events within one slot of checkpoints, of which only the first block is one by its time."""
    for _ in range(3):
        submit(net, "bank-b", source.payments(1))
        time.sleep(draw.uniform(0, 0.06))
    time.sleep(0.9)


def without_pause(net: Network, source: Source, draw: random.Random) -> None:
    """Commit batch after batch."""
    submit(net, "bank-b", source.payments(draw.randrange(1, 60)))


@pytest.mark.parametrize("traffic", [alone, close_together, without_pause], ids=lambda found: found.__name__)
def test_what_is_committed_is_under_a_checkpoint_within_a_second(
    net: Network,
    sources: dict[str, Source],
    record_property: Callable[[str, object], None],
    traffic: Callable[[Network, Source, random.Random], None],
) -> None:
    draw = random.Random(SEED)
    end = time.monotonic() + 2 * STUCK_S
    with watching(net, "bank-b") as near, watching(net, "bank-d") as far:
        while min(len(near.lags()), len(far.lags())) < SAMPLES_MIN:
            traffic(net, sources["bank-b-bank"], draw)
            assert time.monotonic() < end, f"the machine stalls: {len(near.stalls)} times, {len(near.lags())} samples"
    for name, watched in (("bank-b", near), ("bank-d", far)):
        lags = sorted(watched.lags())
        figures = f"{traffic.__name__}, {name}: median {statistics.median(lags):.3f} s, worst {lags[-1]:.3f} s"
        record_property("freshness", figures)
        print(f"{figures}, {len(lags)} samples, {len(watched.stalls)} stalls")
        assert lags[-1] <= BOUND_S, figures
