"""The command line of the simulator: `python -m sim --seeds N --seed-start K`; status 1 at the first broken rule.

`python -m sim scenario FILE...` plays scenarios (`sim.scenario.command`).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Final

from consensus.invariants import InvariantBroken
from sim.plan import draw, to_text
from sim.run import build, run
from sim.scenario import command as scenarios

SEEDS_DEFAULT: Final = 100
STORY_LINES: Final = 40


def main(arguments: list[str] | None = None) -> int:
    """Run the seeds that were asked for; print the first that breaks a rule, and how to see it again."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["scenario"]:
        return scenarios.main(arguments[1:])
    parser = argparse.ArgumentParser(prog="python -m sim", description="Run simulated clusters from seeds.")
    parser.add_argument("--seeds", type=int, default=SEEDS_DEFAULT, help="how many seeds to run")
    parser.add_argument("--seed-start", type=int, default=0, help="the first seed")
    parser.add_argument("--nodes", type=int, choices=(4, 7), default=4, help="validators in each run")
    parser.add_argument("--story", action="store_true", help="print each run's whole story")
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    simulated_ms = blocks = recovery_ms = 0
    for seed in _progress(range(options.seed_start, options.seed_start + options.seeds)):
        cluster = build(scenario := draw(seed, options.nodes))
        try:
            result = run(scenario, cluster)
        except (InvariantBroken, AssertionError) as error:
            print(f"seed {seed} breaks a rule: {error}", *to_text(scenario).splitlines(), sep="\n  ", file=sys.stderr)
            print(*cluster.log[-STORY_LINES:], sep="\n", file=sys.stderr)
            print(f"replay: python -m sim --seeds 1 --seed-start {seed} --nodes {options.nodes} --story")
            return 1
        if options.story:
            print(*to_text(scenario).splitlines(), *cluster.log, f"digest {result.digest}", sep="\n")
        simulated_ms += result.simulated_ms
        blocks += result.height
        recovery_ms = max(recovery_ms, result.recovery_ms)
    seconds = time.perf_counter() - began
    print(
        f"{options.seeds} seeds held every rule: {simulated_ms / 60_000:.0f} simulated minutes, {blocks} blocks, "
        f"order returned within {recovery_ms / 1_000:.1f} s; {seconds:.1f} s, "
        f"{options.seeds * 60 / seconds:.0f} seeds a minute, {simulated_ms / 1_000 / seconds:.0f} times real time"
    )
    return 0


def _progress(seeds: Iterable[int]) -> Iterator[int]:
    """Show a progress bar on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield from seeds
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(seeds, description="seeds", console=Console(stderr=True), transient=True)


if __name__ == "__main__":
    sys.exit(main())
