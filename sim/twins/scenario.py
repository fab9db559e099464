"""What a Twins scenario consists of, drawn from its number, and said in words.

Five replicas: 0 to 3 are the validators, 4 is the twin of one of them. In each of four rounds the replicas are split
into two sides, one of 15 ways; so there are 15^4 = 50,625 schedules, and any 50,625 numbers in a row hold each once.
All that varies besides is drawn from the number: who is twinned, what is offered to whom and in which order, how long a
round lasts, in which order messages arrive, which are lost, who restarts from its log. Source: Bano et al., "Twins: BFT
Systems Made Robust" (2020); the variations are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from random import Random
from typing import Final

VALIDATORS: Final = 4
REPLICAS: Final = VALIDATORS + 1
TWIN: Final = VALIDATORS
ROUNDS: Final = 4
PARTITIONS: Final = 15
SCHEDULES: Final = PARTITIONS**ROUNDS
HEIGHTS_MAX: Final = 4
HEIGHTS: Final = (1, 1, 2, 2, 3, 4)
ROUND_TICKS: Final = (2, 3, 3, 4)
DEAF_AFTER_MAX: Final = 40

_STRIDE: Final = 17_389
"""Prime, so that it has no factor in common with SCHEDULES: neighbouring numbers have schedules far apart."""


class Loss(IntEnum):
    """What a replica loses in a round, of what it sends or of what is sent to it."""

    NOTHING = 0
    COMMITS = 1
    VOTES = 2
    NEW_VIEWS = 3
    LATE = 4


LOSS_WORDS: Final = {
    Loss.NOTHING: "nothing",
    Loss.COMMITS: "COMMITs",
    Loss.VOTES: "PREPAREs and COMMITs",
    Loss.NEW_VIEWS: "NEW-VIEWs",
    Loss.LATE: "all",
}


@dataclass(frozen=True, slots=True)
class Losses:
    """One replica's losses in a round; `deaf_after` messages have arrived when LATE begins."""

    sent: Loss = Loss.NOTHING
    received: Loss = Loss.NOTHING
    deaf_after: int = 0


@dataclass(frozen=True, slots=True)
class Round:
    """One round: side A of the split as a bit mask of replicas (the twin is always on side B), and what varies.

    `offers` are (batch, bit mask of the replicas that it is offered to), in the order of the offers; `twin_reversed`
    says that the twin proposes what waits in the opposite order; `restarts` is an honest replica that stops before the
    round and comes back from its log.
    """

    side: int
    ticks: int
    offers: tuple[tuple[int, int], ...]
    shuffled: bool
    twin_reversed: bool
    losses: tuple[Losses, ...]
    restarts: int | None

    def sides(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the two sides' replicas."""
        a = tuple(index for index in range(REPLICAS) if self.side >> index & 1)
        return a, tuple(index for index in range(REPLICAS) if not self.side >> index & 1)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Four rounds; `twinned` is the validator whose key runs twice."""

    number: int
    twinned: int
    rounds: tuple[Round, ...]

    def lines(self) -> Iterator[str]:
        """Say in words what happens."""
        name, twin = self._name(self.twinned), self._name(TWIN)
        yield f"Twins scenario {self.number}: the key of {name} runs on two replicas, {name} and {twin}"
        for place, each in enumerate(self.rounds, 1):
            a, b = each.sides()
            yield f"round {place}: {self._names(a)} | {self._names(b)}, {each.ticks} ticks" + (
                ", messages in any order" if each.shuffled else ""
            )
            if each.restarts is not None:
                yield f"  before it {self._name(each.restarts)} restarts from its log"
            for batch, mask in each.offers:
                offered = tuple(index for index in range(REPLICAS) if mask >> index & 1)
                yield f"  batch {batch} is offered to {self._names(offered)}"
            if each.twin_reversed:
                yield f"  {self._name(TWIN)} proposes batches in the opposite order"
            for index, losses in enumerate(each.losses):
                if losses.sent is not Loss.NOTHING:
                    yield f"  {LOSS_WORDS[losses.sent]} that {self._name(index)} sends are lost"
                if losses.received is Loss.LATE:
                    yield f"  {self._name(index)} hears nothing after {losses.deaf_after} messages"
                elif losses.received is not Loss.NOTHING:
                    yield f"  {LOSS_WORDS[losses.received]} sent to {self._name(index)} are lost"

    def _name(self, index: int) -> str:
        return f"v{self.twinned}'" if index == TWIN else f"v{index}"

    def _names(self, indexes: tuple[int, ...]) -> str:
        return ", ".join(map(self._name, indexes))


def sides_of(number: int) -> tuple[int, ...]:
    """Return the four splits of a scenario's number, as bit masks from 1 to 15 of side A."""
    schedule = number * _STRIDE % SCHEDULES
    return tuple(schedule // PARTITIONS**place % PARTITIONS + 1 for place in range(ROUNDS))


def draw(number: int) -> Scenario:
    """Return the scenario of a number."""
    random = Random(f"twins {number}")  # noqa: S311  repeatable
    twinned = random.randrange(VALIDATORS)
    heights = random.choice(HEIGHTS)
    restarting = random.randrange(2 * ROUNDS)  # in half of the scenarios nobody restarts
    rounds = tuple(
        _draw_round(random, place, side, twinned, heights, restarting == place)
        for place, side in enumerate(sides_of(number))
    )
    return Scenario(number, twinned, rounds)


def _draw_round(random: Random, place: int, side: int, twinned: int, heights: int, restart: bool) -> Round:
    everybody = (1 << REPLICAS) - 1
    offers = tuple(
        (place * HEIGHTS_MAX + index, everybody if random.random() < 0.8 else random.randint(1, everybody))
        for index in range(heights)
    )
    lossy = random.random() < 0.6
    honest = [index for index in range(VALIDATORS) if index != twinned]
    return Round(
        side=side,
        ticks=random.choice(ROUND_TICKS),
        offers=offers,
        shuffled=random.random() < 0.5,
        twin_reversed=random.random() < 0.7,
        losses=tuple(_draw_losses(random) if lossy else Losses() for _ in range(REPLICAS)),
        restarts=random.choice(honest) if restart else None,
    )


def _draw_losses(random: Random) -> Losses:
    sent = random.choice((Loss.NOTHING, Loss.NOTHING, Loss.NOTHING, Loss.COMMITS, Loss.VOTES))
    received = random.choice((Loss.NOTHING, Loss.NOTHING, Loss.COMMITS, Loss.VOTES, Loss.NEW_VIEWS, Loss.LATE))
    return Losses(sent, received, random.randint(1, DEAF_AFTER_MAX))
