"""Finding the shortest scenario that still breaks the same rule: delta debugging over all that a run consists of.

Parts are taken away, in ever smaller groups, as long as the same rule breaks: strikes, malicious nodes, batches; then
the rest is made simpler: a calm network, a shorter run, no observers, smaller batches, shorter strikes. Each attempt is
a whole run, so the work is bounded by attempts and, by the caller's clock, in time. Source: Zeller's ddmin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from consensus.invariants import InvariantBroken
from sim.cluster import RECORDS_MAX, Cluster
from sim.journal import Journal
from sim.lives import until
from sim.membership import Change, Deed
from sim.network import CALM
from sim.plan import Scenario
from sim.run import build, run

ATTEMPTS_MAX: Final = 400
DURATION_STEPS: Final = (0.25, 0.5, 0.75, 0.9)
STRIKE_MS_LEAST: Final = 50
NODES_LEAST: Final = 4


@dataclass(frozen=True, slots=True)
class Failure:
    """The rule that a run broke, what was seen of it, and when, in ms since the run's start."""

    rule: str
    seen: str
    at_ms: int


def failure_of(scenario: Scenario, journal: Journal | None = None) -> tuple[Failure | None, Cluster]:
    """Run a scenario and return what it broke, None where it held everything; an exception of ours is a broken rule."""
    cluster = build(scenario)
    cluster.chronicle.journal = journal
    try:
        run(scenario, cluster)
    except InvariantBroken as error:
        rule, _, seen = str(error).partition(": ")
        return Failure(rule, seen, cluster.elapsed_ms), cluster
    except Exception as error:  # noqa: BLE001  the edge of a run: whatever the product raises is what was looked for
        return Failure(type(error).__name__, str(error), cluster.elapsed_ms), cluster
    return None, cluster


class Shrinker:
    """One search; `best` is the shortest scenario so far, and `progress` hears of each attempt."""

    def __init__(
        self,
        scenario: Scenario,
        rule: str,
        *,
        attempts_max: int = ATTEMPTS_MAX,
        in_time: Callable[[], bool] = lambda: True,
        progress: Callable[[Shrinker], None] = lambda _: None,
    ) -> None:
        self.best = scenario
        self.rule = rule
        self.attempts = 0
        self._attempts_max = attempts_max
        self._in_time = in_time
        self._progress = progress

    def search(self) -> Scenario:
        """Return the shortest scenario found that breaks the same rule."""
        before: Scenario | None = None
        while before != self.best and self._may():
            before = self.best
            self._fewer("strikes")
            self._fewer("malicious")
            self._fewer("loads")
            self._fewer("changes")
            self._fewer("motions")
            self._fewer("lives")
            self._simpler()
        return self.best

    def _may(self) -> bool:
        return self.attempts < self._attempts_max and self._in_time()

    def _fails(self, scenario: Scenario) -> bool:
        """Try a scenario; keep it where it breaks the same rule."""
        if scenario == self.best or not self._may():
            return False
        self.attempts += 1
        found, _ = failure_of(scenario)
        same = found is not None and found.rule == self.rule
        if same:
            self.best = scenario
        self._progress(self)
        return same

    def _fewer(self, name: str) -> None:
        """Take parts away in groups, halving the groups, as long as the rule still breaks."""
        parts: Sequence[object] = getattr(self.best, name)
        size = len(parts)
        while size and self._may():
            start = 0
            while start < len(parts) and self._may():
                rest = (*parts[:start], *parts[start + size :])
                if self._fails(replace(self.best, **{name: rest})):  # type: ignore[arg-type]  # its own parts
                    parts = rest
                else:
                    start += size
            size //= 2

    def _simpler(self) -> None:
        for candidate in self._candidates():
            if not self._may():
                return
            self._fails(candidate(self.best))

    def _candidates(self) -> Iterator[Callable[[Scenario], Scenario]]:
        """Yield ways to make a scenario simpler, each applied to the best one of then."""
        yield _of_four
        yield lambda best: replace(best, observers=0)
        yield lambda best: replace(best, records_max=RECORDS_MAX)
        yield lambda best: replace(best, changes=tuple(replace(change, amounts=()) for change in best.changes))
        yield lambda best: replace(best, core=())
        yield lambda best: replace(best, weather=CALM)
        yield lambda best: replace(best, weather=replace(best.weather, loss=0.0))
        yield lambda best: replace(best, weather=replace(best.weather, replay=0.0))
        yield lambda best: replace(best, weather=replace(best.weather, tail_share=0.0))
        yield lambda best: replace(best, weather=replace(best.weather, delay_ms=CALM.delay_ms))
        yield lambda best: replace(best, loads=tuple(replace(load, events=1) for load in best.loads))
        for share in DURATION_STEPS:
            yield lambda best, share=share: _cut(best, int(best.chaos_ms * share))  # type: ignore[misc]  # a default
        for index in range(len(self.best.strikes)):
            yield lambda best, index=index: _shorter(best, index)  # type: ignore[misc]  # a default


def _of_four(scenario: Scenario) -> Scenario:
    """Return the scenario with four validators, where it names no other."""
    named = [
        *(node for strike in scenario.strikes for node in strike.nodes),
        *(node for node, _ in scenario.malicious),
        *(load.source for load in scenario.loads),
    ]
    return (
        scenario
        if scenario.core
        or scenario.changes
        or scenario.motions
        or scenario.lives
        or any(node >= NODES_LEAST for node in named)
        else replace(scenario, nodes=NODES_LEAST)
    )


def _cut(scenario: Scenario, chaos_ms: int) -> Scenario:
    """Return the scenario that ends its faults earlier, without what would come later."""
    strikes = tuple(strike for strike in scenario.strikes if strike.at_ms < chaos_ms)
    loads = tuple(load for load in scenario.loads if load.at_ms < chaos_ms)
    changes = tuple(_untroubled(change, chaos_ms) for change in scenario.changes if change.at_ms < chaos_ms)
    motions = tuple(motion for motion in scenario.motions if motion.at_ms < chaos_ms)
    lives = tuple(until(life, chaos_ms) for life in scenario.lives if life.at_ms < chaos_ms)
    return replace(
        scenario, chaos_ms=chaos_ms, strikes=strikes, loads=loads, changes=changes, motions=motions, lives=lives
    )


def _untroubled(change: Change, chaos_ms: int) -> Change:
    """Return the change without the stop of a joiner that would come when all is healed."""
    late = change.deed is Deed.JOIN and bool(change.amounts) and change.at_ms + change.amounts[0] >= chaos_ms
    return replace(change, amounts=()) if late else change


def _shorter(scenario: Scenario, index: int) -> Scenario:
    if index >= len(scenario.strikes):
        return scenario
    strike = scenario.strikes[index]
    shorter = replace(strike, lasts_ms=max(STRIKE_MS_LEAST, strike.lasts_ms // 4))
    return replace(scenario, strikes=(*scenario.strikes[:index], shorter, *scenario.strikes[index + 1 :]))
