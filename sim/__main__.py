"""The command line of the simulator: `python -m sim --seeds N --seed-start K`; status 1 at the first broken rule.

A seed that fails is shrunk and written down with a diagram of its end; `--replay FILE` runs such a file again.
`--pace` and `--scale` measure. `python -m sim scenario FILE...` plays scenarios (`sim.scenario.command`).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from ledger.batch_headers import BATCH_EVENTS_MAX
from primitives.errors import InputError
from sim.arguments import HOURS_24_S, JOBS_MAX, REFUSED, RUNS_MAX, SEED_MAX, Parser, whole
from sim.pace import measure_pace, measure_scale
from sim.plan import NODES_MAX, NODES_MIN, Scenario, draw
from sim.plan_text import read_scenario, to_text
from sim.run import Result, build, run
from sim.scenario import command as scenarios
from sim.seeds import Ran, run_seeds, write_report
from sim.shrink import Shrinker

SEEDS_DEFAULT: Final = 100
SHRINK_S: Final = 120
FOLDER: Final = Path("sim-failures")


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks for; returns the process's status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["scenario"]:
        return scenarios.main(arguments[1:])
    options = _parser().parse_args(arguments)
    if options.pace or options.scale:
        print(measure_pace() if options.pace else measure_scale(options.events))
        return 0
    if options.replay is not None:
        return _replay(options.replay, options.out)
    if options.story:
        return _story(draw(options.seed_start, options.nodes[0]))
    return _seeds(options)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m sim", description="Run simulated clusters from seeds.")
    parser.add_argument("--seeds", type=whole(1, RUNS_MAX), default=SEEDS_DEFAULT, help="how many seeds to run")
    parser.add_argument("--seed-start", type=whole(0, SEED_MAX), default=0, help="the first seed")
    parser.add_argument(
        "--nodes",
        type=whole(NODES_MIN, NODES_MAX),
        nargs="+",
        default=[NODES_MIN],
        help="validators in each run (4 7 runs both)",
    )
    parser.add_argument("--jobs", type=whole(1, JOBS_MAX), default=1, help="processes")
    parser.add_argument("--story", action="store_true", help="run the first seed and print its whole story")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run a scenario that was written down")
    parser.add_argument(
        "--shrink-seconds", type=whole(0, HOURS_24_S), default=SHRINK_S, help="how long to shrink a seed that fails"
    )
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for the report of a failure")
    parser.add_argument("--pace", action="store_true", help="measure simulated time against real time, and end")
    parser.add_argument("--scale", action="store_true", help="measure messages, bytes and CPU by validators, and end")
    parser.add_argument(
        "--events", type=whole(1, BATCH_EVENTS_MAX), default=1, help="events of each block that --scale orders (1)"
    )
    return parser


def _seeds(options: argparse.Namespace) -> int:
    """Run the seeds that were asked for; shrink the first that breaks a rule."""
    began = time.perf_counter()
    wanted = [
        (seed, nodes)
        for nodes in options.nodes
        for seed in range(options.seed_start, options.seed_start + options.seeds)
    ]
    simulated_ms = blocks = recovery_ms = 0
    for ran in _progress(run_seeds(wanted, options.jobs), len(wanted)):
        if ran.result is None:
            _report(ran, options)
            return 1
        simulated_ms += ran.result.simulated_ms
        blocks += ran.result.height
        recovery_ms = max(recovery_ms, ran.result.recovery_ms)
    seconds = time.perf_counter() - began
    print(
        f"{len(wanted)} seeds held every rule: {simulated_ms / 60_000:.0f} simulated minutes, {blocks} blocks, "
        f"order returned within {recovery_ms / 1_000:.1f} s; {seconds:.1f} s, "
        f"{len(wanted) * 60 / seconds:.0f} seeds a minute, {simulated_ms / 1_000 / seconds:.0f} times real time"
    )
    return 0


def _report(ran: Ran, options: argparse.Namespace) -> None:
    """Say which seed failed and how to see it again, then look for a shorter run that fails alike."""
    assert ran.failure is not None, "the caller looked"
    seed, nodes = ran.seed, ran.nodes
    print(f"seed {seed} of {nodes} validators breaks a rule: {ran.failure.rule}: {ran.failure.seen}", file=sys.stderr)
    print(f"replay: python -m sim --seed-start {seed} --nodes {nodes} --story", flush=True)
    deadline = time.monotonic() + options.shrink_seconds
    search = Shrinker(
        draw(seed, nodes), ran.failure.rule, in_time=lambda: time.monotonic() < deadline, progress=_attempt
    )
    shortest = search.search()
    print(
        f"shrunk in {search.attempts} runs to {len(shortest.strikes)} strikes, {len(shortest.malicious)} malicious, "
        f"{len(shortest.loads)} batches, {shortest.chaos_ms} ms"
    )
    try:
        _, files = write_report(shortest, options.out, f"seed-{seed}-of-{nodes}")
    except InputError as error:  # what was found is not lost with the folder
        print(error, file=sys.stderr)
        print(to_text(shortest), end="")
        return
    print(f"written: {', '.join(map(str, files))}")
    print(f"replay: python -m sim --replay {files[0]}")


def _attempt(search: Shrinker) -> None:
    """Show on a terminal how far shrinking is."""
    if sys.stderr.isatty():
        best = search.best
        size = f"{len(best.strikes)} strikes, {len(best.malicious)} malicious, {len(best.loads)} batches"
        print(f"\rshrinking: {search.attempts} runs, {size}   ", end="", file=sys.stderr, flush=True)


def _replay(path: Path, folder: Path) -> int:
    """Run a scenario of a file; print what it breaks, with the diagram of its end."""
    try:
        failure, files = write_report(read_scenario(path), folder, path.stem)
    except InputError as error:
        print(error, file=sys.stderr)
        return REFUSED
    print(next(file for file in files if file.suffix == ".txt").read_text())
    print(f"written: {', '.join(map(str, files))}", file=sys.stderr)
    if failure is not None:
        print(f"scenario {path.stem} breaks a rule: {failure.rule}: {failure.seen}", file=sys.stderr)
    return 0 if failure is None else 1


def _story(scenario: Scenario) -> int:
    """Run one scenario and tell everything."""
    cluster = build(scenario)
    result: Result | None = None
    try:
        result = run(scenario, cluster)
    finally:
        print(to_text(scenario), *cluster.log, sep="\n")
    print(f"digest {result.digest}")
    return 0


def _progress(ran: Iterable[Ran], count: int) -> Iterator[Ran]:
    """Show a progress bar on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield from ran
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(ran, description="seeds", total=count, console=Console(stderr=True), transient=True)


if __name__ == "__main__":
    sys.exit(main())
