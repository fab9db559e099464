"""The virtual network: loss, delay with a heavy tail, replay, reordering, cuts and slow links.

Each direction between two nodes draws from a stream of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Final

from sim.streams import Streams, below

COPIES_MAX: Final = 4
REPLAY_MS_MAX: Final = 2_000
BACKLOG_MS_MAX: Final = 30_000
"""What a slow link holds back: beyond it messages are dropped, as a node's full queue drops them."""

Link = tuple[int, int]
"""Sender and receiver, by node."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How bad the network is: probabilities from 0 to 1, delays in milliseconds."""

    loss: float = 0.0
    replay: float = 0.0
    delay_ms: int = 5
    tail_ms: int = 300
    tail_share: float = 0.05


CALM = Weather(loss=0.0, replay=0.0, delay_ms=5, tail_ms=20, tail_share=0.0)


class Network:
    """Decides which messages arrive and when; links may be cut, or slow, in one direction.

    A link that was cut twice is up when both cuts have ended. Between two of the `calm` nodes the weather is CALM.
    `messages` and `size_bytes` count all that was given to links that were up.
    """

    def __init__(self, streams: Streams, weather: Weather) -> None:
        self.weather = weather
        self.calm: frozenset[int] = frozenset()
        self._streams = streams
        self._cuts: Counter[Link] = Counter()
        self._rates: dict[Link, int] = {}
        self._free_ms: dict[Link, float] = {}
        self.messages = 0
        self.size_bytes = 0

    def partition(self, groups: list[set[int]]) -> list[Link]:
        """Cut every link between different groups, both ways; return them, for `join`."""
        links = [(a, b) for group in groups for other in groups if group is not other for a in group for b in other]
        for link in links:
            self.cut(*link)
        return links

    def cut(self, sender: int, receiver: int) -> None:
        """Cut one link in one direction."""
        self._cuts[sender, receiver] += 1

    def join(self, links: Iterable[Link]) -> None:
        """Undo one cut of each link; where all were undone before, nothing."""
        for link in links:
            self._cuts[link] -= 1
            if self._cuts[link] <= 0:
                del self._cuts[link]

    def slow(self, sender: int, receiver: int, bytes_per_second: int) -> None:
        """Let a link carry no more than this from now on."""
        self._rates[sender, receiver] = bytes_per_second

    def hasten(self, links: Iterable[Link]) -> None:
        """Let links carry whatever is sent again."""
        for link in links:
            self._rates.pop(link, None)
            self._free_ms.pop(link, None)

    def heal(self) -> None:
        """Restore every link."""
        self._cuts.clear()
        self._rates.clear()
        self._free_ms.clear()

    def linked(self, sender: int, receiver: int) -> bool:
        """Say whether a link is up."""
        return not self._cuts or (sender, receiver) not in self._cuts

    def delays(self, sender: int, receiver: int, size_bytes: int, now_ms: int) -> tuple[int, ...]:
        """Return after how many ms the copies of a message arrive: none if lost, several if replayed."""
        self.messages += 1
        self.size_bytes += size_bytes
        random, weather = self._streams.link(sender, receiver), self.weather
        if self.calm and sender in self.calm and receiver in self.calm:
            weather = CALM
        if random.random() < weather.loss:
            return ()
        waited_ms = self._queued_ms((sender, receiver), size_bytes, now_ms) if self._rates else 0
        if waited_ms > BACKLOG_MS_MAX:
            return ()
        delays = [waited_ms + _delay_ms(random, weather)]
        while random.random() < weather.replay and len(delays) < COPIES_MAX:
            delays.append(waited_ms + _delay_ms(random, weather) + random.randint(0, REPLAY_MS_MAX))
        return tuple(delays)

    def _queued_ms(self, link: Link, size_bytes: int, now_ms: int) -> int:
        """Return how long a message takes to get through a slow link, behind those that were sent before."""
        rate = self._rates.get(link)
        if rate is None:
            return 0
        free_ms = max(self._free_ms.get(link, 0.0), float(now_ms)) + size_bytes * 1_000 / rate
        if free_ms - now_ms <= BACKLOG_MS_MAX:
            self._free_ms[link] = free_ms
        return int(free_ms - now_ms)


def _delay_ms(random: Random, weather: Weather) -> int:
    delay = 1 + below(random, max(1, weather.delay_ms))
    if random.random() < weather.tail_share:
        delay += random.randint(0, weather.tail_ms)
    return delay
