"""The command line of Twins: `python -m sim.twins --all`, or `--seeds N --seed-start K`; status 1 at a broken rule."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from multiprocessing import get_context
from typing import Final

from consensus.invariants import InvariantBroken
from sim.arguments import JOBS_MAX, RUNS_MAX, SEED_MAX, Parser, whole
from sim.twins.breaks import BREAKS, broken
from sim.twins.run import Result, run
from sim.twins.scenario import SCHEDULES, draw
from sim.twins.world import PARAMETERS

SEEDS_DEFAULT: Final = 5_000
CHUNK: Final = 25

Outcome = Result | tuple[int, str]
"""A scenario's result, or its number and the rule that it broke."""


def main(arguments: list[str] | None = None) -> int:
    """Run the scenarios that were asked for; print the first that breaks a rule, in words, and how to see it again."""
    options = _options(arguments)
    numbers = range(options.seed_start, options.seed_start + (SCHEDULES if options.all else options.seeds))
    began = time.perf_counter()
    results: list[Result] = []
    failed: list[int] = []
    with broken(options.broken) if options.broken else nullcontext():
        run_one = _counted if options.keep_going else _outcome
        for outcome in _progress(_outcomes(run_one, numbers, options.jobs), len(numbers)):
            if isinstance(outcome, Result):
                results.append(outcome)
                continue
            failed.append(outcome[0])
            if len(failed) == 1:
                _tell(*outcome, options.broken)
            if not options.keep_going:
                return 1
    if failed:
        print(f"{len(failed)} of {len(numbers)} scenarios break a rule, the first is {failed[0]}")
        return 1
    seconds = time.perf_counter() - began
    if options.story:
        print(*(line for number in numbers for line in draw(number).lines()), sep="\n")
    print(f"{_summary(results)}; {seconds:.1f} s on {options.jobs} cores")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m sim.twins", description="Run Twins scenarios: one key, two replicas.")
    parser.add_argument("--all", action="store_true", help=f"run all {SCHEDULES} schedules")
    parser.add_argument("--seeds", type=whole(1, RUNS_MAX), default=SEEDS_DEFAULT, help="how many scenarios to run")
    parser.add_argument("--seed-start", type=whole(0, SEED_MAX), default=0, help="the number of the first")
    parser.add_argument("--jobs", type=whole(1, JOBS_MAX), default=2, help="processes")
    parser.add_argument("--story", action="store_true", help="say in words what each scenario consists of")
    parser.add_argument("--break", dest="broken", choices=BREAKS, help="break a rule first, to see it found")
    parser.add_argument("--keep-going", action="store_true", help="count all that break a rule, instead of ending")
    return parser.parse_args(arguments)


def _summary(results: list[Result]) -> str:
    views = Counter(result.view for result in results)
    caught = 100 * sum(result.accused for result in results) // len(results)
    longest = max(result.healing_ms for result in results) / PARAMETERS.timeout_max_ms
    return (
        f"{len(results)} scenarios held every rule: {sum(result.height for result in results)} blocks, views up to "
        f"{max(views)}, most often {views.most_common(1)[0][0]}; the twinned validator was caught in {caught} %; order "
        f"was back within {longest:.1f} of the longest time-out"
    )


def _tell(number: int, error: str, broken_rule: str | None) -> None:
    print(f"scenario {number} breaks a rule: {error}", *draw(number).lines(), sep="\n  ", file=sys.stderr)
    again = f" --break {broken_rule}" if broken_rule else ""
    print(f"replay: python -m sim.twins --seeds 1 --seed-start {number} --jobs 1{again}", file=sys.stderr)


def _outcomes(run_one: Callable[[int], Outcome], numbers: range, jobs: int) -> Iterator[Outcome]:
    """Run scenarios in processes of their own, in order of their numbers."""
    if jobs == 1:
        yield from map(run_one, numbers)
        return
    with get_context("fork").Pool(jobs, _rarely_collect) as pool:
        yield from pool.imap(run_one, numbers, CHUNK)


def _rarely_collect() -> None:
    """A scenario leaves little garbage that counting references does not free; looking for it costs a tenth."""
    gc.freeze()
    gc.set_threshold(200_000)


def _outcome(number: int) -> Outcome:
    try:
        return run(number)
    except InvariantBroken as error:
        return number, str(error)


def _counted(number: int) -> Outcome:
    """The same for counting: a replica whose rules are broken may also raise what it never should."""
    try:
        return _outcome(number)
    except Exception as error:  # noqa: BLE001  the edge of a run: whatever is raised is what was looked for
        return number, f"a replica raises nothing: {type(error).__name__}: {error}"


def _progress(outcomes: Iterable[Outcome], total: int) -> Iterator[Outcome]:
    """Show a progress bar on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield from outcomes
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(outcomes, "scenarios", total, console=Console(stderr=True), transient=True)


if __name__ == "__main__":
    sys.exit(main())
