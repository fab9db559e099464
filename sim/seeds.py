"""Running many seeds, on one process or several, and what is said of one that fails.

A seed is run in whatever process is free; what comes back depends on the seed alone. Not here: the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from primitives.errors import InputError
from sim.diagram import as_svg, as_text, select
from sim.journal import Journal
from sim.plan import Scenario, draw
from sim.plan_text import to_text
from sim.run import Result, build, run
from sim.shrink import Failure, failure_of

STORY_LINES: Final = 40
AHEAD: Final = 4
"""Seeds handed to each process ahead of time."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of one seed: its result, or what it broke."""

    seed: int
    nodes: int
    result: Result | None
    failure: Failure | None


def run_seed(seed: int, nodes: int) -> Ran:
    """Run one seed."""
    scenario = draw(seed, nodes)
    cluster = build(scenario)
    try:
        return Ran(seed, nodes, run(scenario, cluster), None)
    except Exception:  # noqa: BLE001  the edge of a run: it is run again and looked at
        failure, _ = failure_of(scenario)
        assert failure is not None, f"seed {seed} of {nodes} fails once and not again: it is not deterministic"
        return Ran(seed, nodes, None, failure)


def run_seeds(jobs_of: Iterable[tuple[int, int]], jobs: int = 1) -> Iterator[Ran]:
    """Run (seed, nodes) in up to `jobs` processes; yields in the order in which they end, which may be any."""
    if jobs <= 1:
        yield from (run_seed(seed, nodes) for seed, nodes in jobs_of)
        return
    waiting = iter(jobs_of)
    with ProcessPoolExecutor(jobs) as pool:
        running: set[Future[Ran]] = {pool.submit(run_seed, *item) for item in islice(waiting, AHEAD * jobs)}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(run_seed, *item) for item in islice(waiting, len(done))}
                yield from sorted((future.result() for future in done), key=lambda ran: (ran.nodes, ran.seed))
        finally:
            for future in running:
                future.cancel()


def write_report(scenario: Scenario, folder: Path, name: str) -> tuple[Failure | None, list[Path]]:
    """Run a scenario with a journal, and write it, its story and the diagram of its end into a folder.

    Raises `InputError` where it cannot be written there; a folder that cannot be made is told before the run.
    """
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    journal = Journal()
    failure, cluster = failure_of(scenario, journal)
    names = [node.name for node in cluster.nodes]
    rows = select(journal.entries, nodes=len(names))
    broken = "holds every rule" if failure is None else f"breaks: {failure.rule}: {failure.seen}"
    comment = "".join(f"# {line}\n" for line in broken.splitlines())
    files = {
        folder / f"{name}.scenario": comment + to_text(scenario),
        folder / f"{name}.txt": "\n".join(
            [broken, *cluster.log[-STORY_LINES:], f"journal {journal.digest()}", "", as_text(rows, names)]
        ),
        folder / f"{name}.svg": as_svg(rows, names),
    }
    with _writing(folder):
        for path, text in files.items():
            path.write_text(text)
    return failure, list(files)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError("cannot be written", where=error.filename or str(folder), got=error.strerror) from None
