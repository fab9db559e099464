"""The command line of the model: `python -m sim.model --views 5 --walks N`; status 1 where something breaks.

Without bounds it exhausts those of BOUNDS and shows what follows from each rule switched off. With bounds it exhausts
them, as far as `--states-max` allows, and then walks. `--search K` takes the real replica through every run that
differs from the usual one in up to K places.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final

from sim.arguments import RUNS_MAX, SEED_MAX, Parser, whole
from sim.model.actions import Model
from sim.model.cases import SWITCHES, switched, watch_life
from sim.model.checker import Found, Walked, explore, walk
from sim.model.search import Searched, search
from sim.model.states import Bounds

BOUNDS: Final = (Bounds(3, (2,)), Bounds(4, (2,)), Bounds(5, (2,)), Bounds(2, (2, 1)), Bounds(2, (2, 2)))
STATES_MAX: Final = 200_000

VIEWS_MAX: Final = 50
HEIGHTS_MAX: Final = 10
BLOCKS_MAX: Final = 10
DEVIATIONS_MAX: Final = 20
EXPLORED_MAX: Final = 100_000_000
"""What a command line may ask for: already far more than a machine explores."""


def main(arguments: list[str] | None = None) -> int:
    """Explore what was asked for and print a table."""
    parser = Parser(prog="python -m sim.model", description="Explore the abstract model.")
    parser.add_argument("--views", type=whole(1, VIEWS_MAX), help="views that validators may reach (with --heights)")
    parser.add_argument("--heights", type=whole(1, HEIGHTS_MAX), default=1, help="chained heights")
    parser.add_argument("--blocks", type=whole(1, BLOCKS_MAX), default=2, help="blocks that may follow one parent")
    parser.add_argument("--walks", type=whole(1, RUNS_MAX), help="seeded random walks, after the exploration")
    parser.add_argument("--seed", type=whole(0, SEED_MAX), default=0, help="the seed of the walks")
    parser.add_argument(
        "--states-max",
        type=whole(1, EXPLORED_MAX),
        default=STATES_MAX,
        help="states at which an exploration stops",
    )
    parser.add_argument(
        "--search", type=whole(0, DEVIATIONS_MAX), help="search the real replica instead: deviations of a run"
    )
    parser.add_argument("--runs-max", type=whole(1, EXPLORED_MAX), help="runs at which the search stops")
    options = parser.parse_args(arguments)
    if options.search is not None:
        return _search(options.search, options.runs_max)
    asked = BOUNDS if options.views is None else (Bounds(options.views, (options.blocks,) * options.heights),)
    broken = False
    for bounds in asked:
        model = Model(bounds)
        with _Progress(_words(bounds)) as progress:
            found = explore(model, look=watch_life(model), states_max=options.states_max, told=progress.explored)
        print(f"{_words(bounds):<44} {_counted(found)}", *found.trace, sep="\n  ")
        broken |= bool(found.broken)
        if options.walks:
            with _Progress(f"{options.walks} walks") as progress:
                walked = walk(model, options.walks, seed=options.seed, told=progress.walked)
            print(f"{f'{options.walks} walks from seed {options.seed}':<44} {_strolled(walked)}", sep="\n  ")
            broken |= bool(walked.broken)
    if options.views is None:
        for rule in SWITCHES:
            found = switched(rule)
            print(f"without {rule:<36} {_counted(found)}", *found.trace, sep="\n  ")
    return int(broken)


def _search(deviations: int, runs_max: int | None) -> int:
    began = time.perf_counter()
    with _Progress(f"{deviations} deviations") as progress:
        found = search(deviations, runs_max=runs_max, told=progress.searched)
    end = found.broken or f"every rule held{'' if found.complete else ' so far'}"
    print(
        f"{deviations} deviations: {found.runs:,} runs, {found.worlds:,} worlds, {found.steps:,} letters, "
        f"{time.perf_counter() - began:.0f} s: {end}",
        *found.deviations,
        sep="\n  ",
    )
    return int(bool(found.broken))


def _words(bounds: Bounds) -> str:
    children = " and ".join(str(count) for count in bounds.children)
    return f"{bounds.views} views, {bounds.heights} heights, {children} blocks a parent"


def _counted(found: Found) -> str:
    end = "exhausted, every rule held" if found.exhausted else found.broken or "stopped, every rule held so far"
    return f"{found.states:>9,} states {found.transitions:>10,} steps, {found.depth} deep, {found.seconds:.1f} s: {end}"


def _strolled(walked: Walked) -> str:
    end = walked.broken or "every rule held"
    return f"{walked.steps:,} steps, {walked.committed} walks committed something, {walked.seconds:.1f} s: {end}"


class _Progress:
    """A line that counts, on a terminal only."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._show: Callable[[str], None] | None = None

    def __enter__(self) -> _Progress:
        if sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True).status(self._what)
            self._status.start()
            self._show = self._status.update
        return self

    def __exit__(self, *error: object) -> None:
        if self._show is not None:
            self._status.stop()

    def explored(self, found: Found) -> None:
        """Show how far an exploration is."""
        if self._show is not None:
            self._show(f"{self._what}: {found.states:,} states, {found.depth} deep, {found.seconds:.0f} s")

    def walked(self, walked: Walked) -> None:
        """Show how far the walks are."""
        if self._show is not None:
            self._show(f"{self._what}: {walked.walks:,} done, {walked.seconds:.0f} s")

    def searched(self, found: Searched) -> None:
        """Show how far a search is."""
        if self._show is not None:
            self._show(f"{self._what}: {found.runs:,} runs")


if __name__ == "__main__":
    sys.exit(main())
