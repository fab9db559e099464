"""The virtual network: loss, delay with a heavy tail, replay, reordering and partitions, all drawn from one seed."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from sim.streams import Streams

COPIES_MAX = 4
REPLAY_MS_MAX = 2_000


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
    """Decides which messages arrive and when; links may be cut in one direction."""

    def __init__(self, streams: Streams, weather: Weather) -> None:
        self.weather = weather
        self._streams = streams
        self._cut: set[tuple[int, int]] = set()

    def partition(self, groups: list[set[int]]) -> None:
        """Cut every link between different groups, both ways."""
        self._cut = {(a, b) for group in groups for other in groups if group is not other for a in group for b in other}

    def cut(self, sender: int, receiver: int) -> None:
        """Cut one link in one direction."""
        self._cut.add((sender, receiver))

    def heal(self) -> None:
        """Restore every link."""
        self._cut.clear()

    def linked(self, sender: int, receiver: int) -> bool:
        """Say whether a link is up."""
        return (sender, receiver) not in self._cut

    def delays(self, sender: int, receiver: int) -> tuple[int, ...]:
        """Return after how many ms the copies of a message arrive: none if lost, several if replayed."""
        random, weather = self._streams.link(sender, receiver), self.weather
        if random.random() < weather.loss:
            return ()
        delays = [self._delay_ms(random)]
        while random.random() < weather.replay and len(delays) < COPIES_MAX:
            delays.append(self._delay_ms(random) + random.randint(0, REPLAY_MS_MAX))
        return tuple(delays)

    def _delay_ms(self, random: Random) -> int:
        delay = random.randint(1, max(1, self.weather.delay_ms))
        if random.random() < self.weather.tail_share:
            delay += random.randint(0, self.weather.tail_ms)
        return delay
